"""Numbers a band structure is published with: connected bands, widths, true edges, Fermi velocity."""

import json
from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from test_derivatives import chain

from deeph.basis import Basis
from deeph.blocks import PairBlocks
from deeph.errors import DataError
from deeph.hamiltonian import Hamiltonian
from deeph.store import write_folder
from deeph.system import System
from postprocess.bands.bands import compute_bands
from postprocess.bands.connect import compute_connected
from postprocess.bands.edges import bandwidths
from postprocess.bands.kpath import make_kpath
from postprocess.bands.report import make_report
from postprocess.cli.bands import main
from postprocess.states.states import Dense


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
    from postprocess.eigen.solvers import SomeLevels

    with pytest.raises(DataError, match="same number"):
        compute_connected(random_model(), make_kpath(random_model().system, "GMKG", n_points=20), solver=SomeLevels(low=-0.3, high=0.3))


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
    bands = compute_bands(data, make_kpath(data.system, "GMKG", n_points=20), solver=Dense((2, 4)))
    assert [w.band for w in bandwidths(bands)] == [2, 3, 4]
    bands.energies[0, 3, 0] = np.nan
    assert [w.band for w in bandwidths(bands)] == [3, 4]
