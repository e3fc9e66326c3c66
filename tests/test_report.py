"""Numbers a band structure is published with: connected bands, widths, true edges, Fermi velocity."""

import json
from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from test_derivatives import chain

from deeph.files.store import write_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import System
from deeph.physics.units import HBAR2_OVER_MASS
from deeph.runtime.errors import DataError
from postprocess.bands.bands import compute_bands
from postprocess.bands.connect import compute_connected
from postprocess.bands.extrema import true_edge
from postprocess.bands.gap import BandEdge
from postprocess.bands.report import make_report
from postprocess.bands.widths import bandwidths
from postprocess.cli.bands import main
from postprocess.density.dos import compute_dos
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import Eigensolver, compute_energies
from postprocess.lattice.directions import named_directions
from postprocess.lattice.kpath import make_kpath


def ladder(onsite=0.0, shift=0, s=0.2):
    """Two orbitals, neighbours in both directions: even and odd bands -+2 cos k / (1 +- 2 s cos k), which cross at k = 1/4.

    Equal states on both atoms, one of which may be given ``shift`` cells away: the same crystal.
    """
    pairs = np.array(
        [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], *([R - shift, 0, 0, 0, 1] for R in (1, -1)), *([R + shift, 0, 0, 1, 0] for R in (1, -1))]
    )
    shapes = np.ones((6, 2), int)
    system = System(np.diag([3.0, 20, 20]), np.array([[0.1, 0, 0], [0.1 + 3.0 * shift, 1.0, 0]]), np.array([1, 1]))
    S, H = ([1, 1, s, s, s, s], [onsite, -onsite, -1.0, -1, -1, -1])
    return Hamiltonian(system, Basis({1: (0,)}), PairBlocks(pairs, shapes, S), PairBlocks(pairs, shapes, H), fermi_energy=0.0)


@pytest.mark.parametrize("shift", [0, 20, 41])
def test_bands_are_followed_through_a_crossing(shift):
    """The crossing itself is on the path, where the solver mixes the states; the cell of an atom does not matter."""
    data = ladder(shift=shift)
    path = make_kpath(data.system, "0,0,0 1/2,0,0", n_points=41)
    c = np.cos(2 * np.pi * path.k[:, 0])
    spectrum, order = compute_connected(data, path)
    assert np.allclose(spectrum.energies[0], np.stack([-2 * c / (1 + 0.4 * c), 2 * c / (1 - 0.4 * c)], axis=1), atol=1e-9)
    assert (order[0, 0] != order[0, -1]).all()
    assert (compute_connected(ladder(0.3, shift), path)[1] == [0, 1]).all()  # an avoided crossing is none


def test_crossings_without_symmetry_in_a_random_crystal():
    """Along a fine path connected bands have continuous slopes: their second differences are smaller than those of sorted bands."""
    data = random_model(11)
    path = make_kpath(data.system, "0.11,0.02,0 0.83,0.61,0", n_points=300)
    connected = compute_bands(data, path, connect=True).energies[0]
    ordered = compute_bands(data, path).energies[0]
    assert np.allclose(np.sort(connected, axis=1), ordered, rtol=0, atol=1e-10)
    assert np.abs(np.diff(connected, 2, axis=0)).max() <= np.abs(np.diff(ordered, 2, axis=0)).max() + 1e-12


def test_a_changing_number_of_levels_is_refused():
    from postprocess.eigen.solver import Eigensolver

    with pytest.raises(DataError, match="same number"):
        compute_connected(random_model(), make_kpath(random_model().system, "GMKG", n_points=20), solver=Eigensolver(low=-0.3, high=0.3))


def test_widths_of_the_chain():
    t, s = -1.2, 0.15
    data = chain(t, s)
    (width,) = bandwidths(compute_bands(data, make_kpath(data.system, "0,0,0 1/2,0,0", n_points=21)))
    assert width.low == pytest.approx(2 * t / (1 + 2 * s))
    assert width.high == pytest.approx(-2 * t / (1 - 2 * s))
    assert width.width == pytest.approx(width.high - width.low)


def test_true_edges_of_silicon(shared_data):
    """The conduction minimum lies on G-X, 0.83 of the way; masses 0.86 and 0.19 (PBE); three levels at the valence maximum."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(shared_data / "openmx" / "si2")
    report = make_report(data, compute_bands(data, make_kpath(data.system, "XGL", n_points=30)))
    assert not report.is_direct
    assert report.gap == pytest.approx(0.6625, abs=2e-3)
    assert report.vbm.degeneracy == 3
    assert np.allclose(report.vbm.k, 0, atol=1e-3)
    assert sorted(np.abs(np.round(report.cbm.k, 2)).tolist()) == pytest.approx([0, 0.42, 0.42], abs=0.011)
    masses = sorted(m for axis in report.cbm.masses for m in axis)
    assert masses == pytest.approx([0.188, 0.188, 0.86], rel=0.03)


def test_heavy_and_light_holes_of_silicon_are_those_of_its_bands(shared_data):
    """Along [100], [110], [111] of the cubic lattice, against second differences of the three bands."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = hermitian(openmx.read(shared_data / "openmx" / "si2"))
    vbm = make_report(data, compute_bands(data, make_kpath(data.system, "XGL", n_points=30))).vbm
    assert vbm.names == ["[100]", "[110]", "[111]"]
    assert vbm.masses[0][:2] == pytest.approx([-0.266, -0.266], abs=0.01)  # heavy, twice without spin-orbit coupling
    assert vbm.masses[0][2] == pytest.approx(-0.175, abs=0.01)  # light
    h, to_fractional = 0.03, np.linalg.inv(data.system.reciprocal)
    for axis, masses in zip(vbm.axes, vbm.masses, strict=True):
        step = h * np.array(axis) @ to_fractional
        top, side = compute_energies(data, np.array([np.zeros(3), step]))[0, :, 1:4]
        curvature = 2 * (np.sort(side) - top.mean()) / h**2
        assert np.sort(1 / np.array(masses)) == pytest.approx(curvature / HBAR2_OVER_MASS, rel=0.05, abs=0.1)


@pytest.mark.parametrize("kind", ["sc", "bcc", "fcc"])
def test_named_directions_of_cubic_lattices_in_any_cell(kind):
    """Primitive vectors turned, and replaced by others of the same lattice."""
    primitive = {"sc": np.eye(3), "bcc": (1 - 2 * np.eye(3)) / 2, "fcc": (1 - np.eye(3)) / 2}[kind]
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    cell = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]) @ primitive * 4 @ turn
    found = named_directions(System(cell, np.zeros((1, 3)), np.array([14])))
    back = {name: np.sort(np.abs(turn @ u)) for name, u in found.items()}
    assert back["[100]"] == pytest.approx([0, 0, 1], abs=1e-9)
    assert back["[110]"] == pytest.approx(np.array([0, 1, 1]) / np.sqrt(2), abs=1e-9)
    assert back["[111]"] == pytest.approx(np.ones(3) / np.sqrt(3), abs=1e-9)


def test_named_directions_of_other_lattices():
    hexagonal = named_directions(random_model().system)
    assert list(hexagonal) == ["G-M", "G-K"]
    assert hexagonal["G-M"] @ hexagonal["G-K"] == pytest.approx(np.cos(np.pi / 6))
    tetragonal = named_directions(System(np.diag([2, 2, 4.0]), np.zeros((1, 3)), np.array([14])))
    assert list(tetragonal) == ["b1", "b2", "b3"]
    assert named_directions(System(20 * np.eye(3), np.zeros((1, 3)), np.array([14]))) == {}


def test_isotropic_and_anisotropic_edges():
    """C3 makes the tensor of MoS2 at K isotropic; that of a random crystal has axes of its own."""
    data = replace(random_model(5), fermi_energy=0.0)
    edge = true_edge(data, BandEdge(0.0, 0, 0, np.zeros(3)), highest=False)
    assert edge.names is None
    assert len(edge.axes) == 2
    assert np.dot(*edge.axes) == pytest.approx(0, abs=1e-9)
    assert np.abs(edge.axes).max(axis=1) == pytest.approx(np.max(edge.axes, axis=1))  # the largest component is positive


def test_report_names_the_spin_channel():
    data = replace(random_model(2, spin="collinear"), fermi_energy=0.0)
    lines = make_report(data, compute_bands(data, make_kpath(data.system, "GMKG", n_points=20))).describe(0.0)
    assert any("spin up" in line and "wide" in line for line in lines)
    assert any("spin down" in line and "wide" in line for line in lines)
    assert all("spin" in line for line in lines if line.startswith(("Fermi velocity ", "band ")))
    data = replace(random_model(2), fermi_energy=0.0)
    assert not any("spin" in line for line in make_report(data, compute_bands(data, make_kpath(data.system, "GMKG"))).describe(0.0))


def test_a_stored_fermi_level_that_the_electrons_do_not_reach_is_pointed_out():
    data = random_model(2)
    counted = compute_dos(hermitian(data), make_mesh(hermitian(data))).counted
    path = make_kpath(data.system, "GMKG", n_points=20)
    for stored, noted in ((counted.energy, False), (counted.high + 0.1, True)):
        with_level = replace(data, fermi_energy=stored)
        report = make_report(with_level, compute_bands(with_level, path))
        assert report.counted_fermi == (pytest.approx(counted.energy) if noted else None)
        assert any("meV from the stored one" in line for line in report.describe(stored)) == noted
    given = make_report(data, compute_bands(data, path, fermi=counted.high + 0.1))
    assert given.counted_fermi is None  # what the user chose is not questioned


def test_fermi_velocity_in_the_report_of_graphene(shared_data, tmp_path, capsys):
    openmx = pytest.importorskip("preprocess.readers.openmx")
    write_folder(tmp_path / "graphene", openmx.read(shared_data / "openmx" / "graphene"))
    for options in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main([str(tmp_path / "graphene"), "--path", "GMKG", "--points", "60", "--report", *options])
        assert ended.value.code == 0
    text, record = capsys.readouterr().out.split("{", maxsplit=1)
    assert "Fermi velocity 0.83" in text
    assert "x 10^6 m/s" in text
    report = json.loads("{" + record)["structures"][0]["report"]
    assert [c["velocity"] for c in report["crossings"]] == pytest.approx([0.835e6, 0.835e6], rel=0.02)
    assert len(report["widths"]) == 26


def test_window_bands_have_widths_where_they_are_whole():
    data = replace(random_model(2), fermi_energy=0.0)
    bands = compute_bands(data, make_kpath(data.system, "GMKG", n_points=20), solver=Eigensolver(bands=(2, 4)))
    assert [w.band for w in bandwidths(bands)] == [2, 3, 4]
    bands.energies[0, 3, 0] = np.nan
    assert [w.band for w in bandwidths(bands)] == [3, 4]
