"""The look that all figures share: sizes on the page, colours that everybody can tell apart, legends beside the data, fonts in files."""

from itertools import combinations

import numpy as np
import pytest

from deeph.files.figures import COLOURS, TEXT, legend_above, new_figure, save_figure, styled
from deeph.runtime.errors import UsageError

SEEN = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Linear sRGB as it is seen (Machado, Oliveira and Fernandes, doi:10.1109/TVCG.2009.113)."""


def lab(colour, seen):
    """CIE L*a*b* (D65) of a hexadecimal colour."""
    c = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = np.clip(np.array(seen) @ np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", SEEN)
def test_colours_can_be_told_apart(eyes):
    """By everybody, each from each and from the paper; a difference of 2.3 is the smallest that is seen at all."""
    assert len(COLOURS) == 4
    for a, b in combinations((*COLOURS, "#ffffff"), 2):
        assert np.linalg.norm(lab(a, SEEN[eyes]) - lab(b, SEEN[eyes])) > 20


@pytest.mark.parametrize(("columns", "width"), [(1, 8.5), (2, 17.5)])
def test_figures_are_as_wide_as_columns_in_every_file(tmp_path, columns, width):
    """Also when a long legend or label would make the page of a figure grow."""
    from PIL import Image

    with styled():
        ax = new_figure(columns=columns, height=5).subplots()
        ax.plot([0, 1], [0, 1], label="a long name " * 6)
        ax.set_ylabel("$E$ (eV)")
        legend_above(ax)
    save_figure(ax, tmp_path / "f.png")
    save_figure(ax, tmp_path / "f.pdf")
    with Image.open(tmp_path / "f.png") as image:
        assert np.array(image.size) / 300 * 2.54 == pytest.approx([width, 5], abs=0.02)
    page = (tmp_path / "f.pdf").read_bytes()
    low = page.index(b"/MediaBox [") + 11
    assert float(page[low:].split()[2]) / 72 * 2.54 == pytest.approx(width, abs=0.01)
    assert b"/FontFile2" in page  # TrueType fonts are in the file
    assert ax.yaxis.label.get_fontsize() == ax.get_legend().get_texts()[0].get_fontsize() == TEXT == 8


def test_legends_are_above_the_data():
    with styled():
        ax = new_figure().subplots()
        for n in range(7):
            ax.plot([0, 1], [n, n], label=f"curve {n}")
        legend_above(ax, "all of them")
    ax.get_figure().draw_without_rendering()
    legend, axes = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.y0 >= axes.y1
    assert legend.width <= axes.width


def test_a_style_of_the_user_goes_before(tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    (tmp_path / "mine.mplstyle").write_text("font.size: 11\naxes.labelsize: 11\n")
    with styled(tmp_path / "mine.mplstyle"):
        ax = new_figure(size=(12, 9)).subplots()
        ax.set_xlabel("x")
    assert ax.xaxis.label.get_fontsize() == 11
    assert ax.get_figure().get_size_inches() == pytest.approx([12 / 2.54, 9 / 2.54])
    assert dict(mpl.rcParams) == before
    with (
        pytest.raises(UsageError, match=r"none-such: neither .* nor the name of a style; there are .*classic"),
        styled("none-such"),
    ):
        pass


@pytest.mark.parametrize("size", [(0, 5), (8.5, float("nan")), (850, 600), (-8, 5)])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(UsageError, match="expected width and height from 2 to 100 cm"), styled():
        new_figure(size=size)
