"""Edge spectra of ribbons, as ``deeph-bands --ribbon`` gives them."""

from dataclasses import replace

import numpy as np
import pytest
from lattice_models import changed_basis, graphene
from topology_cases import kane_mele

from deeph.files.store import write_folder
from postprocess.cli.bands import main
from postprocess.output.records import read_record


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    return stop.value.code


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ribbon") / "graphene"
    write_folder(folder, changed_basis(graphene(fermi_energy=0.0), seed=3))
    return folder


def test_flat_edge_states_of_zigzag_graphene(sheet, capsys):
    """Where x = 2 cos(k a / 2) < 1, two levels at zero with (1 - x^2)/2 on the outermost row of each edge, elsewhere none."""
    file = sheet.parent / "edges.h5"
    words = ["--ribbon", "b", 14, "--edge", 1, "--points", 21, "--out", file, sheet.parent / "edges.png"]
    assert call(sheet, *words) == 0
    assert "Fermi level  0.000000 eV (that of the crystal that was cut)" in capsys.readouterr().out
    record = read_record(file)
    k = record["k"][:, 0]
    x = 2 * np.cos(np.pi * k)
    flat = x < 0.8
    assert flat.sum() > 4
    energies, edges = record["energies"][0], record["weights"][:, 0]
    assert np.abs(energies[flat][:, 13:15]).max() < 0.03
    for edge in edges:
        assert np.allclose(edge[flat][:, 13:15].mean(axis=1), (1 - x[flat] ** 2) / 2, atol=4e-3)
    assert (edges[0] + edges[1])[x > 1.2].max() < 0.35
    assert (sheet.parent / "edges.png").stat().st_size > 500


def test_edges_that_are_asked_for(sheet, capsys):
    """More cells in an edge hold more of the state; contradictions are refused first."""
    file = sheet.parent / "wide.h5"
    assert call(sheet, "--ribbon", "2,-1,0", 6, "--edge", 3, "--points", 3, "--out", file) == 0
    record = read_record(file)
    assert list(record["weight_labels"]) == ["edge 1", "edge 2"]
    both = record["weights"].sum(axis=0)
    assert np.allclose(both, 1)
    for words, message in (
        (["--edge", 1], "add --ribbon"),
        (["--ribbon", "b", "x"], "expected a direction and a number of cells"),
        (["--ribbon", "b", 4, "--edge", 3], "edges that do not meet"),
        (["--ribbon", "d", 4], "expected a lattice vector"),
        (["--ribbon", "b", 4, "--compare", sheet], "edges of one folder"),
    ):
        assert call(sheet, *words) == 2
        assert message in capsys.readouterr().err
    assert call(sheet, "--ribbon", "c", 4) == 1
    assert "not periodic" in capsys.readouterr().err


@pytest.mark.parametrize(("mass", "z2"), [(0.2, 1), (0.8, 0)])
def test_edges_cross_the_gap_as_often_as_z2_demands(tmp_path, mass, z2):
    """Kane and Mele's model without inversion and conserved spin: each edge crosses an energy in the gap an odd number of times to pi."""
    write_folder(tmp_path / "sheet", kane_mele(mass=mass, rashba=0.05))
    file = tmp_path / "edges.h5"
    assert call(tmp_path / "sheet", "--ribbon", "b", 10, "--edge", 3, "--points", 41, "--out", file) == 0
    record = read_record(file)
    E, weights = record["energies"][0] - 0.05, record["weights"][:, 0]
    k, band = np.nonzero((E[1:] < 0) != (E[:-1] < 0))
    assert (record["k"][0] == 0).all()
    assert np.abs(record["k"][-1]).max() == 0.5
    first = weights[0, k, band] > weights[1, k, band]
    assert [int(first.sum()) % 2, int((~first).sum()) % 2] == [z2, z2]
    assert len(k) >= 2 * z2
    assert np.maximum(*weights[:, k, band]).min(initial=1.0) > 0.6


@pytest.mark.slow
def test_edge_states_of_a_bismuth_bilayer_cross_the_gap(shared_data, tmp_path):
    """An odd number of Kramers pairs of edge bands at E_F between 0 and pi, of which each edge has one; the bulk has none there."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(shared_data / "openmx" / "bi_bilayer_soc")
    write_folder(tmp_path / "Bi", data)
    file = tmp_path / "edges.h5"
    words = ["--ribbon", "b", 8, "--edge", 1, "--n-bands", 8, "--points", 13, "--out", file]
    assert call(tmp_path / "Bi", *words) == 0
    record = read_record(file)
    energies = record["energies"][0] - record["fermi_energy"]
    below = record["first_band"] + (energies < 0).sum(axis=1)
    crossings = np.abs(np.diff(below)) // 2  # of levels that both edges share
    assert crossings.sum() % 2 == 1
    weight = record["weights"].sum(axis=0)[0]
    k = record["k"][:, 0]
    in_gap = (energies > 0) & (energies < 0.34) & ((k > 0.2) & (k < 0.34))[:, None]
    assert in_gap.sum() == 8  # two at each of four k
    assert weight[in_gap].min() > 0.45  # spread over the ribbon it would be a quarter


def test_another_filling_is_that_of_the_edges(tmp_path, capsys):
    """Where the Fermi level of the crystal fills too many bands of a piece, the warning names the edges, not another H or ghosts."""
    write_folder(tmp_path / "sheet", replace(graphene(fermi_energy=3.5), n_electrons=2.0))
    assert call(tmp_path / "sheet", "--ribbon", "b", 4, "--points", 3) == 0
    told = capsys.readouterr().err
    assert "states of the unsaturated edges" in told
    assert "--project" not in told
