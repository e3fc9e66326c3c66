"""Figures of fat bands and densities of states: nothing hidden, equal shares look equal, spins apart, scales that are shared."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from band_cases import random_model
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

from deeph.runtime.errors import UsageError
from postprocess.bands.bands import Bands, compute_bands
from postprocess.density.dos import DOS
from postprocess.lattice.kpath import KPath, make_kpath
from postprocess.output.dos_plot import plot_dos
from postprocess.output.fat_lines import WIDEST, average_degenerate, split_partitions
from postprocess.output.plot import group_colours, plot_bands, save_figure
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


def lines(ax):
    (found,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    return found


def legend(ax):
    return [t.get_text() for t in ax.get_legend().get_texts()]


def drawn_levels(collection):
    return np.array([segment[0, 1] for segment in collection.get_segments()])


def test_equal_shares_look_equal():
    """A known fault: of two dots at one place rounding errors decided which one was seen, so a gap looked polarised."""
    noise = 1e-6
    (ax,) = plot_fat_bands(flat([-1, 1, 2], {"A": [0.5 + noise, 0.5 - noise, 1], "B": [0.5 - noise, 0.5 + noise, 0]}))
    collection = lines(ax)
    ax.figure.draw_without_rendering()
    colours, levels = collection.get_edgecolor(), drawn_levels(collection)
    assert np.abs(colours[levels == -1][0] - colours[levels == 1][0]).max() < 0.01
    assert to_hex(colours[levels == 2][0]) == group_colours(2)[0]
    assert collection.get_clim() == (-1, 1)
    assert collection.colorbar.ax.get_xlabel() == "A − B"
    assert np.allclose(collection.get_linewidth(), WIDEST / 2)  # the shares add up to 1


def test_the_width_of_two_groups_is_their_sum():
    (ax,) = plot_fat_bands(flat([-1, 1], {"A": [0.1, 0.4], "B": [0.1, 0.4]}))
    widths = np.array(lines(ax).get_linewidth())
    assert np.allclose(widths[drawn_levels(lines(ax)) == -1], 0.1 * WIDEST)
    assert np.allclose(widths[drawn_levels(lines(ax)) == 1], 0.4 * WIDEST)


def test_each_of_many_groups_is_seen_as_wide_as_its_share():
    """What is left uncovered of each stripe, from the order and the widths in which the figure draws them."""
    shares = {"a": [0.3, 0.0], "b": [0.2, 0.7], "c": [0.4, 0.3], "d": [0.1, 0.0]}
    (ax,) = plot_fat_bands(flat([-1, 1], shares))
    collection = lines(ax)
    colours = [to_hex(c) for c in collection.get_edgecolor()]
    names = dict(zip(group_colours(4), shares, strict=True))
    for number, level in enumerate((-1, 1)):
        order: dict[str, float] = {}
        for at, colour, width in zip(drawn_levels(collection), colours, collection.get_linewidth(), strict=True):
            if at == level and colour in names:
                assert order.setdefault(names[colour], width) == width
        visible = {n: w - v for (n, w), (_, v) in pairwise([*order.items(), ("nothing", 0.0)])}
        expected = {name: WIDEST * share[number] for name, share in shares.items() if share[number]}
        assert visible == pytest.approx(expected)
    assert legend(ax) == list(shares)


def test_one_panel_for_each_kind_with_different_colours():
    bands = fat(random_model(1), "element", "shell", "atom")
    axes = plot_fat_bands(bands)
    assert len(axes) == 3
    assert lines(axes[0]).colorbar.ax.get_xlabel() == "C − N"
    assert legend(axes[1]) == ["C s", "C p", "N s"]
    assert legend(axes[2]) == ["C1", "N2", "C3"]
    assert [ax.get_ylabel() for ax in axes] == [r"$E - E_\mathrm{F}$ (eV)", "", ""]
    for n in (3, 8, 9, 40):
        assert len(set(group_colours(n))) == n


def test_partitions_are_found_also_with_negative_and_zero_shares():
    whole = np.array([[0.7, 1.3], [0.3, -0.3]])
    names = {"Mo": whole[0], "S": whole[1], "Mo s": 0.4 * whole[0], "Mo d": 0.6 * whole[0], "S s": whole[1], "S d": 0 * whole[0]}
    groups = {"tip": np.array([0.2, 0.1]), "edge": np.array([0.3, 0.1]), "both": np.array([0.9, 0.95])}
    assert split_partitions(names | groups) == [("Mo", "S"), ("Mo s", "Mo d", "S s", "S d"), ("tip", "edge"), ("both",)]


def test_channels_of_collinear_spin_have_panels_of_their_own():
    bands = fat(random_model(1, spin="collinear"), "shell")
    up, down = plot_fat_bands(bands, window=(-2, 2))
    assert [ax.get_legend().get_title().get_text() for ax in (up, down)] == ["spin up", "spin down"]
    for spin, ax in enumerate((up, down)):
        levels = np.concatenate([line.get_ydata() for line in ax.lines if len(line.get_ydata()) > 2])
        assert np.isin(np.round(bands.energies[spin], 9), np.round(levels, 9)).all()
        assert not np.isin(np.round(bands.energies[1 - spin], 9), np.round(levels, 9)).any()


def test_signed_quantities_share_a_scale():
    """A known fault: each panel had the scale of its own maximum, so that no polarisation looked like one."""
    spin = {"sx": [1e-7, -2e-7], "sy": [0.1, 0.0], "sz": [0.9, -0.9]}
    own = {"large": [40.0, -10.0], "small": [0.5, 0.0]}
    axes = plot_fat_bands(flat([-1, 1], spin | own, signed=(*spin, *own)))
    assert [lines(ax).get_clim() for ax in axes] == [(-1, 1)] * 3 + [(-40, 40)] * 2


def test_levels_that_lie_on_each_other_show_their_mean():
    """A known fault: the upper one of two opposite spins 0.3 meV apart covered the other, so their band looked polarised."""
    (ax,) = plot_fat_bands(flat([-1, -0.9997, 1], {"sz": [1, -1, 1]}, signed=("sz",)), window=(-3, 3))
    values = lines(ax).get_array()
    assert np.allclose(values[drawn_levels(lines(ax)) < 0], 0)
    assert np.allclose(values[drawn_levels(lines(ax)) > 0], 1)
    (near,) = plot_fat_bands(flat([-1, -0.9997, 1], {"sz": [1, -1, 1]}, signed=("sz",)), window=(-1.001, -0.999))
    assert np.allclose(np.abs(lines(near).get_array()), 1)  # there they are apart
    energies, weights = np.array([[[2.0, 1.0, np.nan, 1.0]]]), np.array([[[5.0, 1.0, np.nan, 3.0]]])
    assert np.array_equal(average_degenerate(energies, weights, within=0.1), [[[5, 2, np.nan, 2]]], equal_nan=True)
    assert np.array_equal(average_degenerate(energies, weights, within=0.1, add=True), [[[5, 4, np.nan, 4]]], equal_nan=True)


def test_unfolded_bands_are_dots_without_lines():
    (ax,) = plot_fat_bands(flat([-1, 0.5, 1], {"unfolded": [0.5, 0.001, 1]}))
    (dots,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert set(dots.get_offsets()[:, 1]) == {-1, 1}
    sizes = dots.get_sizes()
    assert sizes.max() == pytest.approx(2 * sizes.min())
    assert not [line for line in ax.lines if len(line.get_ydata()) == N_K]
    both = plot_fat_bands(flat([-1, 1], {"A": [0.5, 0.5], "B": [0.5, 0.5], "unfolded": [0.5, 1]}))
    assert np.unique(np.round(lines(both[0]).get_linewidth(), 9)).tolist() == [WIDEST / 4, WIDEST / 2]  # A and B as far as they are seen


def test_spinors_have_panels_for_shares_and_spin(tmp_path):
    bands = fat(random_model(1, spin="spinor"), "element", "spin")
    assert len(plot_fat_bands(bands, window=(-1, 1))) == 4
    bands.weights["C"][0, 0, 0] = -1.5  # a Mulliken share may be so in high states; it stays a share
    axes = plot_fat_bands(bands)
    assert len(axes) == 4
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
    bands = fat(random_model(1, spin="collinear"), "shell")
    axes = plot_fat_bands(bands, window=(-1, 1), dos=dos_of([2.0, 1.0, 0.7, 0.3, 1.0], "total", "C", "C s", "C p", "N s", n_spin=2))
    assert len(axes) == 3
    assert axes[-1].get_ylim() == axes[0].get_ylim() == (-1, 1)
    low, high = axes[-1].get_xlim()
    assert low == -high
    assert "down" in axes[-1].get_xlabel()
    assert "per cell" in axes[-1].get_xlabel()
    drawn = [to_hex(line.get_color()) for line in axes[-1].lines if len(line.get_ydata()) == 50]
    assert drawn[1:4] == group_colours(3)  # the colours of the shells beside it, which the legend there explains
    assert legend(axes[-1]) == ["total"]
    alone = plot_fat_bands(replace(bands, weights={}), dos=dos_of([2.0, 1.0], "total", "C"))
    assert legend(alone[0]) == ["up", "down"]
    with pytest.raises(UsageError, match="--projections"):
        plot_fat_bands(replace(bands, weights={}))


def test_equal_curves_of_a_density_of_states_are_all_seen():
    ax = plot_dos(dos_of([3.0, 1.0, 1.0, 1.0, 0.0, 3.0], "total", "C1", "C2", "C3", "s", "C"))
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
    assert not curves["s"].is_dashed()
    assert curves["C"].get_linewidth() < curves["total"].get_linewidth()  # which is seen at its sides
    assert ax.get_ylabel() == "DOS (states/eV per cell)"
    both = plot_dos(dos_of([3.0, 1.0], "total", "C", n_spin=2))
    assert both.get_ylabel().split("\n")[0].startswith("down")
    box, axes = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert box.y0 >= axes.y1 - 1  # above the curves, not over them


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
