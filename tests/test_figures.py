"""Figures and files of bands for other programs, and the scripts in examples/."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from conftest import ROOT
from test_report import ladder

from deeph.files.store import write_folder
from deeph.runtime.errors import DataError, UsageError
from postprocess.bands.bands import compute_bands
from postprocess.eigen.solver import Eigensolver
from postprocess.lattice.kpath import make_kpath, read_kpath
from postprocess.output.plot import plot_bands
from postprocess.output.plot_fat import plot_fat_bands
from postprocess.output.tables import read_bands
from postprocess.states.projectors import make_projectors


def fat(data, *kinds, **options):
    data = replace(data, fermi_energy=0.0)
    return compute_bands(data, make_kpath(data.system, "GMK|GK", n_points=30), projectors=make_projectors(data, kinds), **options)


def widths(axes):
    """Of the legend and of the axes, in pixels of the finished figure."""
    axes.get_figure().draw_without_rendering()
    return axes.get_legend().get_window_extent().width, axes.get_window_extent().width


@pytest.mark.parametrize("length", [5, 30, 90, 300])
def test_legend_is_not_wider_than_the_axes(length):
    """A known fault: long folder names pushed the legend over the edges of the figure."""
    data = random_model(1)
    bands = compute_bands(data, make_kpath(data.system, "GMKG", n_points=20), fermi=0.0, title="x_" * (length // 2))
    ax = plot_bands([bands, replace(bands, title="y" * length)])
    legend, axes = widths(ax)
    assert legend <= axes
    assert axes > 100  # and it did not squeeze them
    text = [t.get_text().replace("\n", "") for t in ax.get_legend().get_texts()]
    assert text == [bands.title, "y" * length]  # nothing is cut off


def test_bands_of_a_window_are_drawn_and_read_back(tmp_path):
    """NaN outside the window, numbers of the first band and weights survive the files."""
    data = replace(random_model(2), fermi_energy=0.0)
    bands = compute_bands(
        data, make_kpath(data.system, "GMKG", n_points=20), solver=Eigensolver(bands=(2, 4)), projectors=make_projectors(data, ["element"])
    )
    bands.energies[0, 3, 0] = np.nan
    for name in ("b.h5", "b.json"):
        bands.save(tmp_path / name)
        back = read_bands(tmp_path / name)
        assert np.array_equal(back.energies, bands.energies, equal_nan=True)
        assert back.first_band == 2
        assert list(back.weights) == ["C", "N"]
        assert all(np.array_equal(back.weights[n], bands.weights[n]) for n in back.weights)
        assert np.array_equal(back.path.reciprocal, data.system.reciprocal)
    bands.save(tmp_path / "b.csv")
    head = (tmp_path / "b.csv").read_text().splitlines()[1].split(",")
    assert head[6:] == ["band3", "band4", "band5", *(f"{e} of band{n}" for e in "CN" for n in (3, 4, 5))]
    assert plot_fat_bands(bands)[0].get_xlim()[0] == 0
    with pytest.raises(UsageError, match="same bands at every k"):
        bands.save(tmp_path / "b.Band")
    assert not (tmp_path / "b.Band").exists()


def test_gnuplot_columns(tmp_path):
    bands = fat(random_model(2, spin="collinear"), "element")
    bands.save(tmp_path / "b.dat")
    text = (tmp_path / "b.dat").read_text()
    blocks = [b for b in text.split("\n\n\n") if b.strip()]
    assert len(blocks) == 2 * bands.n_bands  # gnuplot's index
    table = np.loadtxt(tmp_path / "b.dat")
    assert table.shape == (bands.energies.size, 4)
    expected = np.concatenate([bands.energies[s, :, n] for s in range(2) for n in range(bands.n_bands)])
    assert np.allclose(table[:, 1], expected - bands.fermi_energy, atol=1e-8)
    assert np.allclose(table[:, 2] + table[:, 3], 1, atol=1e-8)
    assert text.count("\n\n") >= 2 * bands.n_bands * len(bands.path.segments)


@pytest.mark.parametrize("case", ["mini_graphene", "fe_bcc_spin"])
def test_openmx_band_file_is_that_of_openmx(shared_data, tmp_path, case):
    """Our file along OpenMX's own path, read by the reader of OpenMX's files, against OpenMX's file."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    folder = shared_data / "openmx" / case
    data = openmx.read(folder)
    (tmp_path / f"{case}.scfout").symlink_to(folder / f"{case}.scfout")
    compute_bands(data, read_kpath(folder / f"{case}.dat", data.system)).save(tmp_path / f"{case}.Band")
    ours, theirs = openmx.read_bands(tmp_path, data.system), openmx.read_bands(folder, data.system)
    assert np.abs(ours.k - theirs.k).max() < 1e-12
    assert np.abs(ours.energies - theirs.energies).max() < 1e-6
    assert ours.fermi_energy == pytest.approx(theirs.fermi_energy, abs=1e-9)
    own, other = ((f / f"{case}.Band").read_text().splitlines() for f in (tmp_path, folder))
    assert len(own) == len(other)
    assert [float(x) for x in own[1].split()] == pytest.approx([float(x) for x in other[1].split()], abs=1e-9)
    n_segments = int(other[2])
    assert [line.split()[0] for line in own[2 : 3 + n_segments]] == [line.split()[0] for line in other[2 : 3 + n_segments]]


@pytest.fixture(scope="module")
def structures(tmp_path_factory, mini_graphene):
    folder = tmp_path_factory.mktemp("examples")
    write_folder(folder / "dft", mini_graphene)
    noise = np.random.default_rng(0).normal(scale=1e-3, size=mini_graphene.H.entries.shape)
    H = replace(mini_graphene.H, entries=mini_graphene.H.entries + noise).hermitized()
    write_folder(folder / "pred", replace(mini_graphene, H=H, extra={}), predicted=True)
    return folder


@pytest.mark.parametrize(
    ("script", "folders", "said"),
    [
        ("plot_dft_and_prediction.py", ["dft", "pred"], "meV"),
        ("plot_fat_bands.py", ["dft"], ""),
        ("plot_flat_bands.py", ["dft"], ""),
    ],
)
def test_examples_run(structures, script, folders, said):
    words = [sys.executable, ROOT / "examples" / script, *folders, f"{script}.pdf"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(words, cwd=structures, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert said in result.stdout
    assert (structures / f"{script}.pdf").read_bytes().startswith(b"%PDF")
    assert not [p for p in structures.iterdir() if "kpoints" in p.name]


def test_default_window_is_that_of_the_levels():
    """A few levels of a large cell fill the figure; all bands of a small one are shown 3 eV around the Fermi level."""
    data = random_model(1)
    path = make_kpath(data.system, "GMKG", n_points=20)
    whole = compute_bands(data, path, fermi=0.0)
    assert plot_bands([replace(whole, energies=10 * whole.energies)]).get_ylim() == (-3.0, 3.0)
    few = replace(whole, energies=whole.energies[..., 4:6] / 50)
    low, high = plot_bands([few]).get_ylim()
    assert low < few.energies.min() < few.energies.max() < high < 0.2
    assert plot_bands([replace(few, energies=few.energies + 100)]).get_ylim()[0] > 99  # all of it above: still to be seen


def test_levels_that_were_not_counted_are_dots():
    """The n-th level of one k-point may belong to another band than that of the next: no lines between them."""
    data = random_model(1)
    bands = compute_bands(data, make_kpath(data.system, "GMKG", n_points=20), fermi=0.0)
    assert {line.get_linestyle() for line in plot_bands([bands]).get_lines()[: bands.n_bands]} == {"-"}
    assert {line.get_linestyle() for line in plot_bands([replace(bands, counted=False)]).get_lines()[: bands.n_bands]} == {"None"}


def drawn_lines(ax, n):
    return np.array([line.get_ydata() for line in ax.get_lines()[:n]])


def test_crossings_are_followed_without_being_asked():
    """A known fault: on coarse paths levels joined by energy look like anticrossings where bands cross."""
    data = ladder()
    path = make_kpath(data.system, "0,0,0 1/2,0,0", n_points=6)
    c = np.cos(2 * np.pi * path.k[:, 0])
    bands = compute_bands(data, path)
    assert (np.diff(bands.energies, axis=2) > 0).all()  # gaps and tables have ascending levels, as before
    assert np.allclose(drawn_lines(plot_bands([bands]), 2), [-2 * c / (1 + 0.4 * c), 2 * c / (1 - 0.4 * c)])
    assert np.array_equal(compute_bands(data, path, connect=True).energies, bands.connected.energies)
    assert compute_bands(data, path, connect=False).order is None
    assert compute_bands(data, path, solver=Eigensolver(n_bands=1)).order is None


def test_weights_stay_with_their_levels_when_crossings_are_followed():
    data = replace(random_model(2), fermi_energy=0.0)
    path = make_kpath(data.system, "GMK", n_points=12)
    options = {"projectors": make_projectors(data, ["element"])}
    with_order, without = compute_bands(data, path, **options), compute_bands(data, path, connect=False, **options)
    assert with_order.order is not None
    assert with_order.energies == pytest.approx(without.energies, abs=1e-10)
    assert with_order.weights["C"] == pytest.approx(without.weights["C"], abs=1e-7)


def test_large_cells_are_drawn_in_the_order_of_energies(monkeypatch):
    """There the states of the whole path would cost more than the levels."""
    monkeypatch.setattr("postprocess.bands.connect.FOLLOWED_BYTES", 16 * 6 * 2**2 - 1)
    data = ladder()
    assert compute_bands(data, make_kpath(data.system, "0,0,0 1/2,0,0", n_points=6)).order is None
    assert compute_bands(data, make_kpath(data.system, "0,0,0 1/2,0,0", n_points=5)).order is not None


def test_the_order_of_bands_is_kept_in_tables(tmp_path):
    data = replace(random_model(2), fermi_energy=0.0)
    bands = compute_bands(data, make_kpath(data.system, "GMK", n_points=12))
    for name in ("b.h5", "b.json"):
        bands.save(tmp_path / name)
        assert np.array_equal(read_bands(tmp_path / name).order, bands.order)
    replace(bands, order=bands.order[:, :-1]).save(tmp_path / "wrong.json")
    replace(bands, order=np.zeros_like(bands.order)).save(tmp_path / "twice.json")
    for name in ("wrong.json", "twice.json"):
        with pytest.raises(DataError, match="how its 10 levels are joined"):
            read_bands(tmp_path / name)


def test_states_of_nearly_dependent_orbitals_are_not_taken_for_others(shared_data):
    """A known fault: beside Gamma the lowest band was continued 165 eV higher, by a state that overlaps with everything."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(shared_data / "openmx" / "bilayer_ab")
    bands = compute_bands(data, make_kpath(data.system, "GMK", n_points=60)).connected
    assert np.abs(np.diff(bands.energies[0, bands.path.segments[0]], axis=0)).max() < 15


@pytest.mark.parametrize(("points", "marker"), [(4, "o"), (9, "o"), (10, "None")])
def test_a_path_of_few_points_is_drawn_as_dots(points, marker):
    """A known fault: three levels at G, M and K were joined by straight lines, which said what nobody had computed."""
    data = random_model(1)
    bands = compute_bands(data, make_kpath(data.system, "GMK", n_points=points), fermi=0.0)
    ax = plot_bands([bands])
    for line in ax.get_lines()[: bands.n_bands]:
        assert line.get_marker() == marker
        assert line.get_linestyle() == ("None" if marker == "o" else "-")
    low, high = ax.get_xlim()
    assert (low < bands.path.ticks[0]) == (high > bands.path.ticks[-1]) == (marker == "o")  # whole dots at both ends
    both = plot_bands([replace(bands, title="DFT"), replace(bands, title="network")], dots=[False, True])
    markers = [line.get_marker() for line in both.get_lines() if line.get_label() in ("DFT", "network")]
    assert markers == (["_", "o"] if marker == "o" else ["None", "o"])


def test_the_look_can_be_chosen(tmp_path):
    data = random_model(1)
    path = make_kpath(data.system, "GMKG", n_points=40)
    bands = [compute_bands(data, path, fermi=0.0, title=title) for title in ("a", "b")]
    ax = bands[0].plot()
    assert ax.figure.get_size_inches() == pytest.approx([8.5 / 2.54, 6.5 / 2.54])
    assert {t.get_fontsize() for t in (ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels())} == {8}
    (tmp_path / "mine.mplstyle").write_text("axes.labelsize: 10\n")
    ax = plot_bands(bands, label=["DFT", "network"], title="graphene", size=(12, 9), style=tmp_path / "mine.mplstyle")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["DFT", "network"]
    assert ax.figure.get_suptitle() == "graphene"
    assert ax.figure.get_size_inches() == pytest.approx([12 / 2.54, 9 / 2.54])
    assert ax.yaxis.label.get_fontsize() == 10
    assert plot_bands(bands, zero="none").get_ylabel() == "$E$ (eV)"
    with pytest.raises(UsageError, match="1 labels for 2 names of the figure: a, b"):
        plot_bands(bands, label=["DFT"])
    with pytest.raises(UsageError, match="'homo': expected one of fermi, vbm, none"):
        plot_bands(bands, zero="homo")
    with pytest.raises(UsageError, match="its bands cross the Fermi level; use the zero fermi or none"):
        plot_bands([compute_bands(ladder(), make_kpath(ladder().system, "0,0,0 1/2,0,0", n_points=9), fermi=1.0)], zero="vbm")


def test_energies_from_the_top_of_the_valence_band():
    bands = compute_bands(ladder(0.5), make_kpath(ladder().system, "0,0,0 1/2,0,0", n_points=41), fermi=0.1)
    top = bands.gap.vbm.energy
    ax = bands.plot(zero="vbm")
    assert ax.get_ylabel() == r"$E - E_\mathrm{VBM}$ (eV)"
    assert drawn_lines(ax, 2)[0].max() == pytest.approx(0)
    assert drawn_lines(bands.plot(), 2)[0].max() == pytest.approx(top - 0.1)


@pytest.mark.parametrize(("n_spin", "others"), [(1, 3), (2, 1), (2, 2)])
def test_results_are_told_apart_with_at_most_four_colours(n_spin, others):
    data = random_model(3, spin="collinear" if n_spin == 2 else "none")
    bands = compute_bands(data, make_kpath(data.system, "GMK", n_points=30), fermi=0.0)
    results = [replace(bands, title=str(n)) for n in range(1 + others)]
    ax = plot_bands(results, dots=[False] + [True] * (others == 1))
    named = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    looks = {(line.get_color(), str(line._dash_pattern), line.get_linestyle(), line.get_marker()) for line in named}
    assert len(named) == len(looks) == n_spin * (1 + others)
    assert len({line.get_color() for line in named}) <= 4


def test_levels_of_molecules_stand_side_by_side_with_their_names():
    from deeph.physics.system import System

    data = random_model(1)
    box = replace(data, system=System(40 * np.eye(3), data.system.positions, data.system.numbers))
    bands = compute_bands(box, make_kpath(box.system), fermi=0.0, title="water")
    assert len(bands.path.k) == 1
    ax = bands.plot()
    assert [t.get_text() for t in ax.texts] == ["HOMO", "LUMO"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["water"]
    both = plot_bands([bands, replace(bands, title="network")], dots=[False, True], zero="vbm")
    assert both.get_ylabel() == r"$E - E_\mathrm{HOMO}$ (eV)"
    assert [t.get_text() for t in both.get_xticklabels()] == ["water", "network"]
    left, right = (np.array(c.get_segments())[:, :, 0] for c in both.collections)
    assert left.max() < right.min()


@pytest.mark.parametrize(
    ("low", "high", "labels"), [(0.1, 9.0, [0.1, 0.2, 0.5, 1, 2, 5]), (0.55, 1.6, [0.6, 0.7, 0.8, 0.9, 1]), (1.31, 1.58, [1.4, 1.5])]
)
def test_narrow_logarithmic_axes_have_two_labels(low, high, labels) -> None:
    """One number says nothing about an axis."""
    from matplotlib.figure import Figure

    from deeph.training.log_axis import log_axis

    ax = Figure().subplots()
    ax.set_ylim(low, high)
    log_axis(ax, "y")
    inside = [
        float(text) for text, at in zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True) if low <= at <= high
    ]
    assert inside == pytest.approx(labels)
