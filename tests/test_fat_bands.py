"""Figures of fat bands and densities of states: nothing hidden, areas tell weights, spins apart, few colours, legends beside the data."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from band_cases import random_model
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex, to_rgb

from deeph.files.figures import BLUE, COLOURS, ORANGE, save_figure
from deeph.runtime.errors import UsageError
from postprocess.bands.bands import Bands, compute_bands
from postprocess.density.dos import DOS
from postprocess.lattice.kpath import KPath, make_kpath
from postprocess.output.dos_plot import plot_dos
from postprocess.output.fat_dots import LARGEST, average_degenerate
from postprocess.output.groups import families
from postprocess.output.plot import plot_bands
from postprocess.output.plot_fat import plot_fat_bands
from postprocess.output.tables import read_bands
from postprocess.states.projectors import make_projectors

N_K = 6


def fat(data, *kinds, groups=None):
    data = replace(data, fermi_energy=0.0)
    return compute_bands(data, make_kpath(data.system, "GMK|GK", n_points=30), projectors=make_projectors(data, kinds, groups))


def flat(levels, weights, *, n_spin=1, signed=()):
    """Flat bands with constant weights: {name: one number for each level}."""
    x = np.linspace(0, 1, N_K)
    path = KPath(np.outer(x, [0.5, 0, 0]), x, np.array([0.0, 1.0]), ("G", "M"), np.array([0, N_K]))
    shape = (n_spin, N_K, len(levels))
    full = {name: np.array(np.broadcast_to(np.array(w, float), shape)) for name, w in weights.items()}
    return Bands(np.array(np.broadcast_to(np.array(levels, float), shape)), path, 0.0, "given", "test", 0, full, signed)


def dots(ax):
    """Energies, areas and colours of the dots of a panel."""
    (found,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    y = np.asarray(found.get_offsets())[:, 1]
    colours = [to_hex(c) for c in found.get_facecolor()]
    return y, np.broadcast_to(found.get_sizes(), y.shape), colours * (len(y) if len(colours) == 1 else 1)


def colours_of(figure):
    """Everything that has a hue, and black, in a figure: what a reader has to tell apart."""
    found = set()
    for ax in figure.axes:
        found |= {to_hex(line.get_color()) for line in ax.lines}
        found |= {to_hex(c) for collection in ax.collections for c in collection.get_facecolor()}
    return {c for c in found if c == "#000000" or max(to_rgb(c)) - min(to_rgb(c)) > 0.05}


def titles(axes):
    return [ax.get_title() for ax in axes]


def legend(ax):
    return [t.get_text() for t in ax.get_legend().get_texts()]


def test_each_group_is_seen_in_a_panel_of_its_own_whatever_the_others_are():
    """Known faults: of two dots at one place one was seen; six stripes could not be read; equal shares were black."""
    shares = {"a": [0.3, 0.0], "b": [0.2, 0.7], "c": [0.4, 0.3], "d": [0.1, 0.005]}
    axes = plot_fat_bands(flat([-1, 1], shares))
    assert titles(axes) == list(shares)
    for ax, share in zip(axes, shares.values(), strict=True):
        y, areas, _ = dots(ax)
        for level, part in zip((-1, 1), share, strict=True):
            assert areas[y == level] == pytest.approx(LARGEST * part if part > 0.01 else [])
    assert [dots(ax)[2][0] for ax in axes] == [c.lower() for c in COLOURS]


def test_six_shells_are_two_rows_in_at_most_four_colours():
    names = ["Mo", "S", "Mo s", "Mo p", "Mo d", "S s", "S p", "S d"]
    assert families(names) == [("Mo", "S"), ("Mo s", "Mo p", "Mo d"), ("S s", "S p", "S d")]
    assert families(["C1", "C2", "N3", "N4", "N5", "tip", "edge"]) == [("C1", "C2", "N3"), ("N4", "N5"), ("tip", "edge")]
    axes = plot_fat_bands(flat([-1, 1], {name: [0.3, 0.2] for name in names[2:]}))
    figure = axes[0].figure
    figure.draw_without_rendering()
    assert len(colours_of(figure)) == 3
    rows = {round(ax.get_window_extent().y0) for ax in axes}
    assert len(axes) == 6
    assert len(rows) == 2
    assert figure.get_size_inches()[0] == pytest.approx(17.5 / 2.54)
    assert plot_fat_bands(flat([-1, 1], {"A": [0.3, 0.2], "B": [0.7, 0.8]}))[0].figure.get_size_inches()[0] == pytest.approx(8.5 / 2.54)
    many = {f"C{n}": [0.01 * n, 0.01 * n] for n in range(1, 31)}
    assert titles(plot_fat_bands(flat([-1, 1], many))) == [f"C{n}" for n in range(15, 31)]  # the largest, in their order


def test_nothing_of_a_panel_is_cut_off_or_lies_over_another():
    """Names, ticks and legends stay on the page, and no legend lies over data."""
    data = random_model(1)
    axes = plot_fat_bands(fat(data, "element", "shell"), dos=dos_of([2.0, 1.0, 1.0], "total", "C", "N"), title="a title")
    figure = axes[0].figure
    figure.draw_without_rendering()
    page = figure.bbox
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert page.x0 <= box.x0
    assert page.y0 <= box.y0
    for ax in axes:
        whole = ax.get_tightbbox()
        assert page.x0 - 1 <= whole.x0 < whole.x1 <= page.x1 + 1
        assert page.y0 - 1 <= whole.y0 < whole.y1 <= page.y1 + 1
        assert not box.overlaps(ax.get_window_extent())
    assert {text.get_fontsize() for ax in axes for text in (ax.title, ax.xaxis.label, ax.yaxis.label)} == {8}


def test_groups_of_which_nothing_is_seen_have_no_panel(caplog):
    spin = {"sx": [1e-7, -2e-7], "sy": [0.0, 0.0], "sz": [0.9, -0.9]}
    assert titles(plot_fat_bands(flat([-1, 1], spin, signed=tuple(spin)))) == [r"$\langle\sigma_z\rangle$"]
    far = flat([-1, 1, 50], {"Mo": [1, 1, 0], "S": [0, 0, 1]})
    assert titles(plot_fat_bands(far, window=(-2, 2))) == ["Mo"]


def test_channels_of_collinear_spin_have_panels_of_their_own():
    bands = fat(random_model(1, spin="collinear"), "shell")
    axes = plot_fat_bands(bands, window=(-2, 2))
    assert titles(axes)[:2] == ["C s, spin up", "C p, spin up"]
    for spin, name in enumerate(("up", "down")):
        (ax,) = [a for a in axes if a.get_title() == f"N s, spin {name}"]
        levels = np.concatenate([line.get_ydata() for line in ax.lines if len(line.get_ydata()) > 2])
        assert np.isin(np.round(bands.energies[spin], 9), np.round(levels, 9)).all()
        assert not np.isin(np.round(bands.energies[1 - spin], 9), np.round(levels, 9)).any()
    assert len(axes) == 6


def test_signs_have_colours_and_functions_share_a_scale():
    """A known fault: each panel had the scale of its own maximum, so that no polarisation looked like one; zero was the darkest colour."""
    own = {"large": [40.0, -10.0], "small": [2.0, 0.0]}
    axes = plot_fat_bands(flat([-1, 1], {"sz": [0.5, -1.0]} | own, signed=("sz", *own)))
    y, areas, colours = dots(axes[0])
    assert areas == pytest.approx(np.where(y < 0, LARGEST / 2, LARGEST))
    assert all(c == (ORANGE if at < 0 else BLUE).lower() for at, c in zip(y, colours, strict=True))
    assert dots(axes[2])[1] == pytest.approx(LARGEST * 2 / 40)
    assert [t.get_text() for t in axes[0].figure.legends[0].get_texts()] == ["+1", "−1", "+40", "−40"]


def test_levels_that_lie_on_each_other_show_their_mean():
    """A known fault: the upper one of two opposite spins 0.3 meV apart covered the other, so their band looked polarised."""
    (ax,) = plot_fat_bands(flat([-1, -0.9997, 1], {"sz": [1, -1, 1]}, signed=("sz",)), window=(-3, 3))
    assert set(dots(ax)[0]) == {1}
    (near,) = plot_fat_bands(flat([-1, -0.9997, 1], {"sz": [1, -1, 1]}, signed=("sz",)), window=(-1.001, -0.999))
    assert set(dots(near)[0]) == {-1, -0.9997}  # there they are apart
    energies, weights = np.array([[[2.0, 1.0, np.nan, 1.0]]]), np.array([[[5.0, 1.0, np.nan, 3.0]]])
    assert np.array_equal(average_degenerate(energies, weights, within=0.1), [[[5, 2, np.nan, 2]]], equal_nan=True)
    assert np.array_equal(average_degenerate(energies, weights, within=0.1, add=True), [[[5, 4, np.nan, 4]]], equal_nan=True)


def test_a_pair_of_equal_levels_is_not_torn_apart():
    """A known fault: of a Kramers pair at the end of what belongs together, one was averaged and the other looked polarised."""
    energies = np.array([[[0.0, 1e-12, 0.1 - 1e-13, 0.1 + 1e-13]]])
    assert average_degenerate(energies, np.array([[[1.0, -1.0, 1.0, -1.0]]]), within=0.1) == pytest.approx(0)


def test_unfolded_bands_are_dots_without_lines():
    (ax,) = plot_fat_bands(flat([-1, 0.5, 1], {"unfolded": [0.5, 0.001, 1]}))
    y, areas, _ = dots(ax)
    assert set(y) == {-1, 1}
    assert areas.max() == pytest.approx(2 * areas.min())
    assert not [line for line in ax.lines if len(line.get_ydata()) == N_K]
    both = plot_fat_bands(flat([-1, 1], {"A": [0.5, 0.5], "B": [0.5, 0.5], "unfolded": [0.5, 1]}))
    assert sorted(set(np.round(dots(both[0])[1], 9))) == [LARGEST / 4, LARGEST / 2]  # A and B as far as they are seen


def test_spinors_have_panels_for_shares_and_spin(tmp_path):
    bands = fat(random_model(1, spin="spinor"), "element", "spin")
    assert len(plot_fat_bands(bands, window=(-1, 1))) == 5
    bands.weights["C"][0, 0, 0] = -1.5  # a Mulliken share may be so in high states; it stays a share
    axes = plot_fat_bands(bands)
    assert len(axes) == 5
    for name in ("b.h5", "b.json"):
        bands.save(tmp_path / name)
        assert read_bands(tmp_path / name).signed == ("sx", "sy", "sz")
    for suffix, head in ((".pdf", b"%PDF"), (".png", b"\x89PNG"), (".svg", b"<?xml")):
        save_figure(axes[0], tmp_path / f"fat{suffix}")
        assert (tmp_path / f"fat{suffix}").read_bytes().startswith(head)


def dos_of(density, *names, n_spin=1):
    energies = np.linspace(-2, 2, 50)
    density = np.broadcast_to(np.array(density)[None, :, None] + 0 * energies, (n_spin, len(names), 50))
    return DOS(energies, density, 0 * density, names, "test", fermi_energy=0.0)


def test_dos_panel_shares_the_energy_axis():
    bands = fat(random_model(1, spin="collinear"), "element")
    axes = plot_fat_bands(bands, window=(-1, 1), dos=dos_of([2.0, 1.0, 0.7, 0.3], "total", "C", "C s", "N", n_spin=2))
    assert len(axes) == 5
    assert axes[-1].get_ylim() == axes[0].get_ylim() == (-1, 1)
    low, high = axes[-1].get_xlim()
    assert low == -high
    assert axes[-1].get_title().startswith("down")
    assert axes[-1].get_xlabel() == "states/eV\nper cell"
    drawn = [to_hex(line.get_color()) for line in axes[-1].lines if len(line.get_ydata()) == 50]
    assert drawn[:2] == [dots(ax)[2][0] for ax in axes[:2]] == [BLUE.lower(), ORANGE.lower()]  # the colours of the panels beside it
    alone = plot_fat_bands(replace(bands, weights={}), dos=dos_of([2.0, 1.0], "total", "C"), zero="none")
    assert [t.get_text() for t in alone[0].figure.legends[0].get_texts()] == ["up", "down", "total", "C"]
    with pytest.raises(UsageError, match="--projections"):
        plot_fat_bands(replace(bands, weights={}))


def test_equal_curves_of_a_density_of_states_are_all_seen():
    ax = plot_dos(dos_of([3.0, 1.0, 1.0, 1.0], "total", "C1", "C2", "C3"))
    named = {to_hex(line.get_color()): line.get_label() for line in ax.lines if not line.get_label().startswith("_")}
    curves = {named[to_hex(line.get_color())]: line for line in ax.lines if len(line.get_ydata()) == 50}
    assert not any(line.is_dashed() for line in ax.get_legend().get_lines())  # each name beside its whole colour
    covered = np.zeros(3000)
    for name in ("C1", "C2", "C3"):
        offset, (on, off) = curves[name]._unscaled_dash_pattern
        width = curves[name].get_linewidth()
        x = np.arange(3000) / 100  # points along the line
        covered += ((x / width + offset) % (on + off)) < on
    assert np.all(np.abs(covered - 1) < 1.5)
    assert np.mean(covered == 1) > 0.98  # side by side, without gaps
    assert ax.get_ylabel() == "DOS\n(states/eV per cell)"
    both = plot_dos(dos_of([3.0, 1.0], "total", "C", n_spin=2))
    assert both.get_ylabel().split("\n")[0].startswith("down")
    box, axes = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert box.y0 >= axes.y1 - 1  # above the curves, not over them


def test_lines_of_densities_are_thin_and_shells_stand_beside_their_element():
    """Known faults: outlines of up to 3 points hid peaks 0.1 eV apart, and sums and parts stood in one list of nine equal lines."""
    names = ("total", "Mo", "S", "Mo s", "Mo p", "Mo d", "S s", "S p", "S d")
    first = plot_dos(dos_of([3, 2, 1, 0.5, 0.5, 1.0, 0.001, 0.9, 0.1], *names))
    axes = first.figure.axes
    assert [legend(ax) for ax in axes] == [["total", "Mo", "S"], ["Mo", "s", "p", "d"], ["S", "p", "d"]]  # of S s nothing could be seen
    for ax in axes:
        assert max(line.get_linewidth() for line in ax.lines) <= 0.8
        assert max(float(np.max(c.get_linewidth())) for c in ax.collections) <= 0.8
    assert len(colours_of(first.figure)) <= 4
    first.figure.draw_without_rendering()
    for ax in axes:
        assert not any(ax.get_legend().get_window_extent().overlaps(other.get_window_extent()) for other in axes)
    chosen = plot_dos(dos_of([3, 2, 1], "total", "Mo", "S"), names=["S"], label=["all", "sulphur"])
    assert legend(chosen) == ["all", "sulphur"]
    with pytest.raises(UsageError, match="1 labels for 2 names of the figure: total, S"):
        plot_dos(dos_of([3, 2, 1], "total", "Mo", "S"), names=["S"], label=["one"])


def test_errors_of_random_vectors_are_drawn_around_the_total():
    dos = dos_of([3.0, 1.0], "total", "C")
    ax = plot_dos(replace(dos, density_errors=0.2 * dos.density))
    assert legend(ax) == ["total", "± standard error", "C"]
    (band,) = [c for c in ax.collections if c.get_label() == "± standard error"]
    assert band.get_paths()[0].get_extents().ymin == pytest.approx(2.4)
    assert band.get_paths()[0].get_extents().ymax == pytest.approx(3.6)


@pytest.mark.parametrize("text", ["G M K=1/3,1/3,0 G", "G M K=0.51,0.02,0 Q=0.52,0.04,0 G"])
def test_names_of_corners_do_not_touch(text):
    data = random_model(1)
    ax = plot_bands([compute_bands(data, make_kpath(data.system, text, n_points=20), fermi=0.0)])
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert any("\n" in label for label in labels) == ("Q" in text)
    for row in (0, 1):
        same = [box for box, label in zip(boxes, labels, strict=True) if label.count("\n") == row]
        assert all(a.x1 < b.x0 for a, b in pairwise(same))
