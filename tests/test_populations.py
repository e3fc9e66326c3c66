"""Moments and band energies of the occupied states: exact models, PySCF, OpenMX; moments of a prediction beside those it was given."""

import json
import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from lattice_models import graphene, one_orbital_model
from scipy.linalg import eigh

from deeph import facade
from deeph.files.store import read_folder, write_folder
from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.hermitian import hermitian
from postprocess.lattice.mesh import IDENTITY, reduced_mesh
from postprocess.states import populations
from postprocess.states.occupation import fill_levels
from postprocess.states.populations import Populations


def test_zero_temperature_fills_levels_from_below():
    """An insulator up to its gap; equal levels alike; k-points by their weights."""
    levels = np.array([[-2.0, 1.0], [-1.0, 3.0]])
    gap = fill_levels(levels, 1.0, 0.0, weights=0.5)
    assert gap.fermi_energy == pytest.approx(0.0)
    assert np.array_equal(gap(levels), [[1, 0], [1, 0]])
    equal = np.array([0.0, 1.0, 1.0 + 1e-9, 1.0 - 1e-9, 2.0])
    assert fill_levels(equal, 2.0, 0.0)(equal) == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 0])
    assert fill_levels(equal, 4.0, 0.0)(equal) == pytest.approx([1, 1, 1, 1, 0])
    with pytest.raises(UsageError, match="temperature -1 K"):
        fill_levels(equal, 2.0, -1.0)


def test_band_energy_of_a_dimer_and_of_graphene():
    """-t for each electron of a dimer; in graphene the mean of -|f(k)| over the mesh, twice."""
    dimer = one_orbital_model(np.eye(3) * 20, [[5, 5, 5], [6, 5, 5]], [((0, 0, 0), 0, 1, -1.5)], n_electrons=2.0)
    assert dimer.band_energy() == pytest.approx(-3.0)
    assert replace(dimer, n_electrons=3.0).band_energy(temperature=0) == pytest.approx(-1.5)
    n = 7
    k = np.stack(np.meshgrid(np.arange(n) / n, np.arange(n) / n, indexing="ij"), -1).reshape(-1, 2)
    f = np.abs(1 + np.exp(-2j * np.pi * k[:, 0]) + np.exp(-2j * np.pi * (k[:, 0] + k[:, 1])))
    assert graphene(n_electrons=2.0).band_energy((n, n, 1), temperature=0) == pytest.approx(-2 * f.mean())


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_band_energy_is_the_sum_of_the_levels(spin):
    data = hermitian(random_model(5, spin=spin))
    k = reduced_mesh((3, 2, 1), (0.5, 0, 0), IDENTITY[None]).points
    channels = range(data.basis.n_spin)
    H = [data.H_bloch.dense(x, component=spin) for x in k for spin in channels]
    S = [data.S_bloch.dense(x) for x in k for _ in channels]
    levels = np.concatenate([eigh(h, s, eigvals_only=True) for h, s in zip(H, S, strict=True)])
    factor = 2 if spin == "none" else 1
    filled = np.sort(levels)[: 6 * len(k) // factor]
    assert data.band_energy((3, 2, 1), shift=(0.5, 0, 0), temperature=0) == pytest.approx(factor * filled.sum() / len(k))


def test_band_energy_turns_with_the_moments_and_the_lattice_alone():
    """Without spin-orbit coupling it costs nothing to turn all spins."""
    collinear = random_model(6, spin="collinear")
    spinor = collinear.to_spinor()
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)

    def turned(blocks, _pairs):
        c, n, rows, columns = blocks.shape
        split = blocks.reshape(c, n, 2, rows // 2, 2, columns // 2)
        return np.einsum("st,cntaub,vu->cnsavb", turn, split, turn).reshape(blocks.shape)

    energies = [h.band_energy((2, 2, 1)) for h in (collinear, spinor, replace(spinor, H=spinor.H.mapped(turned)))]
    assert energies == pytest.approx([energies[0]] * 3, abs=1e-10)


@pytest.mark.parametrize(
    ("case", "mesh"), [("fe_nc_soc", (5, 5, 5)), ("o2_nc", None), ("fe_soc_z", (11, 11, 11)), ("fe_bcc_spin", (8, 8, 8))]
)
def test_moments_of_openmx(shared_data, case, mesh):
    """On the mesh of the run: 1e-4 Bohr magneton, 0.01 degrees."""
    data = pytest.importorskip("preprocess.readers.openmx").read(shared_data / "openmx" / case)
    found = data.mulliken(mesh, shift=(0.5,) * 3 if case == "fe_bcc_spin" else (0.0,) * 3)
    assert np.abs(found.moments - data.moments).max() < 1e-4
    assert found.angles(data.moments).max() < 0.01
    assert found.electrons.sum() == pytest.approx(data.n_electrons)


def test_moments_of_cri3(shared_data, tmp_path):
    """Moments 36 degrees apart, two meshes, numbers of single precision: 0.05 Bohr magneton and 1 degree would do."""
    subprocess.run([sys.executable, shared_data / "unpack.py", tmp_path, shared_data / "cri3_nc" / "011.npz"], check=True)
    data = read_folder(tmp_path / "011")
    for found in (data.mulliken((3, 3, 1)), data.mulliken()):
        assert np.abs(found.moments - data.moments).max() < 0.005
        assert found.angles(data.moments)[:2].max() < 0.05
    assert found.divisions == (6, 6, 1)


def test_band_energy_of_openmx_is_the_sum_of_dense_levels(shared_data):
    """MoS2 with spin-orbit coupling, 26 electrons, a gap: the lowest 26 levels at each k."""
    data = pytest.importorskip("preprocess.readers.openmx").read(shared_data / "openmx" / "mos2_soc")
    k = [[a / 3, b / 3, 0] for a in range(3) for b in range(3)]
    levels = [eigh(data.H_bloch.dense(x), data.S_bloch.dense(x), eigvals_only=True)[:26].sum() for x in k]
    for temperature in (0, 300):
        assert data.band_energy((3, 3, 1), temperature=temperature) == pytest.approx(np.mean(levels), abs=1e-7)


def test_the_default_mesh(shared_data):
    """It needs to be no more than good enough: for a molecule one point, across empty space none."""
    data = pytest.importorskip("preprocess.readers.openmx").read(shared_data / "openmx" / "o2_nc")
    assert data.mulliken().divisions == (1, 1, 1)
    assert random_model(spin="collinear").mulliken().divisions[2] == 1


@pytest.fixture(scope="module")
def oxygen(tmp_path_factory):
    """The triplet of O2 in unrestricted Kohn-Sham theory, as deeph-pyscf makes it."""
    pytest.importorskip("pyscf")
    from preprocess.cli import pyscf

    folder = tmp_path_factory.mktemp("o2")
    (folder / "job.toml").write_text(
        '[system]\natoms = [["O", 0, 0, 0], ["O", 0, 0, 1.21]]\nmolecule = true\nspin = 2\n'
        '[method]\nkind = "UKS"\nfunctional = "pbe"\nbasis = "6-31g"\n'
    )
    with pytest.raises(SystemExit) as ended:
        pyscf.main([str(folder / "job.toml"), str(folder / "data")])
    assert not ended.value.code
    from deeph.files.store import find_folders

    return read_folder(find_folders(folder / "data")[0])


def test_the_total_moment_of_a_molecule_is_a_whole_number(oxygen):
    """Two unpaired electrons of O2, and the same moments as PySCF's own density."""
    found = oxygen.mulliken(temperature=0)
    assert found.total_moment == pytest.approx([0, 0, 2], abs=1e-6)
    assert found.moments == pytest.approx(oxygen.moments, abs=1e-6)


def test_the_total_moment_of_an_insulator_is_a_whole_number():
    """Levels of up and down far apart; at room temperature, too, since the gap is wide."""
    data = random_model(6, spin="collinear").with_zeeman(40.0)
    for temperature in (0, 300):
        assert data.mulliken((3, 3, 1), temperature=temperature).total_moment == pytest.approx([0, 0, -6], abs=1e-6)


def test_what_is_refused():
    data = random_model(spin="collinear")
    with pytest.raises(DataError, match="occupation"):
        replace(data, n_electrons=None).band_energy()
    with pytest.raises(DataError, match="only the overlap"):
        replace(data, H=None).mulliken()
    for mesh in ((0, 1, 1), (2, 2), 5, (2.5, 1, 1)):
        with pytest.raises(UsageError, match="three positive numbers"):
            data.mulliken(mesh)
    with pytest.raises(UsageError, match="temperature"):
        data.band_energy((1, 1, 1), temperature=float("nan"))


def found_with(moments):
    data = random_model()
    return Populations(data.system, np.zeros(3), np.array(moments, float), 0.0, (1, 1, 1))


def test_moments_that_turned_or_vanished_are_found():
    given = np.array([[0, 0, 2.0], [0, 1, 0], [0, 0, 0]])
    kept = found_with([[0.3, 0, 2.0], [0, 0.9, 0.1], [0.1, 0, 0]])
    assert kept.angles(given) == pytest.approx([np.degrees(np.arctan(0.15)), np.degrees(np.arctan(1 / 9)), np.nan], nan_ok=True)
    assert kept.changed(given).tolist() == []
    assert found_with([[0.5, 0, 2.0], [0, -1, 0], [3, 0, 0]]).changed(given).tolist() == [0, 1]
    assert found_with([[0, 0, 0.9], [0, 0, 0], [0, 0, 0]]).changed(given).tolist() == [0, 1]


def test_moments_that_were_forgotten_are_told(caplog):
    """Atoms without a given moment were not looked at."""
    caplog.set_level(logging.INFO)
    given = np.array([[0, 0, 2.0], [0, 0, 0], [0, 0, 0]])  # of C N C
    for moments, atoms in (
        ([[0, 0, 2.0], [0, 0, 0.2], [0.9, 0, 0]], []),
        ([[0, 0, 2.0], [0, 0, 0.2], [1.1, 0, 0]], [2]),
        ([[0, 0, 2.0], [0, 0, -1.1], [0, 0, 0]], [1]),
    ):
        caplog.clear()
        found = found_with(moments)
        assert found.appeared(given).tolist() == atoms
        assert found.appeared(np.zeros((3, 3))).tolist() == []
        populations.tell_change(found, given)
        rows = caplog.records[0].getMessage().splitlines()[2:]
        assert [int(row.split()[0]) - 1 for row in rows] == sorted([0, *atoms])
        assert [record.levelname for record in caplog.records[1:]] == ["WARNING"] * len(atoms)
        for atom in atoms:
            assert f"on 1 atom: {found.system.symbols[atom]} {atom + 1}. Were they forgotten?" in caplog.text


@pytest.fixture
def predicted(shared_data, tmp_path):
    """H of DFT in place of a prediction, said to be given other moments than it has."""
    data = pytest.importorskip("preprocess.readers.openmx").read(shared_data / "openmx" / "o2_nc")
    data = replace(data, extra={}, r=None, predicted=True)

    def write(moments):
        write_folder(tmp_path / "o2", replace(data, moments=moments), overwrite=True)
        return tmp_path / "o2"

    return data, write


def test_a_prediction_tells_its_own_moments_beside_the_given_ones(predicted, caplog):
    caplog.set_level(logging.INFO)
    data, write = predicted
    facade.check_moments(write(data.moments))
    assert "O2: Mulliken moments of H on a 1 x 1 x 1 mesh, in all (1.5000 0.8660 1.0000) Bohr magneton" in caplog.text
    row = caplog.text.splitlines()[-1].split()
    assert row[:2] == ["2", "O"]
    assert np.array(row[2:], float) == pytest.approx([1, 0.75, 0.433, 0.5, 1, 0], abs=0.01)
    assert all(record.levelname == "INFO" for record in caplog.records)
    turned = data.moments.copy()
    turned[1] = 0, 0, 1
    facade.check_moments(write(turned))
    assert "turned by more than 10 degrees" in caplog.records[-1].getMessage()
    assert "on 1 atom: O 2." in caplog.records[-1].getMessage()
    before = len(caplog.records)
    facade.check_moments(write(np.zeros((2, 3))))
    facade.check_moments(write(None))
    assert len(caplog.records) == before


def test_large_cells_name_the_command_instead(predicted, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    data, write = predicted
    folder = write(data.moments)
    monkeypatch.setattr(populations, "PATIENCE", 1e-6)
    facade.check_moments(folder)
    assert "all states of 52 orbitals at 1 k-point take about 1 s" in caplog.text
    assert f"'deeph-states {folder} --charges' computes them" in caplog.text
    info = json.loads((folder / "info.json").read_text())
    for electrons, words in ((None, "without the number of electrons"), (60.0, "the prediction is there, but this H has no Mulliken")):
        monkeypatch.undo()
        (folder / "info.json").write_text(json.dumps(info | {"occupation": electrons}))
        facade.check_moments(folder)
        assert words in caplog.text
    assert populations.too_much(212, 36) == ""
    assert populations.too_much(9000, 2) == "all states of 9,000 orbitals at 2 k-points take about 73 minutes by dense matrices"
