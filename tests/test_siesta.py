"""SIESTA: eigenvalues against the code's own, spin conventions, every layout of the matrix files, and damaged ones."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from harmonics import rotation_of_atom, rotation_to_z
from scipy.linalg import eigh
from siesta_files import (
    K_CELL,
    K_SHIFT,
    LAYOUTS,
    model,
    rows_of,
    write_dm,
    write_eigenvalues,
    write_hsx,
    write_hsx_0,
    write_texts,
    write_tshs,
    written,
)

from deeph.files.band_files.siesta import read_k_points
from deeph.files.store import read_folder
from deeph.physics import conventions
from deeph.physics.pairs import find_pairs, is_onsite, pair_vectors
from deeph.physics.units import KELVIN, SIESTA_4, SIESTA_5
from deeph.runtime.errors import DataError
from preprocess.cli.preprocess import main
from preprocess.readers import candidates
from preprocess.readers.kmesh import k_mesh, mesh_of_points
from preprocess.readers.siesta import reader as siesta
from preprocess.readers.siesta.bands import read_bands, read_reference
from preprocess.verify import check_bands, count_electrons, eigenvalues, verify

K = np.array([[0.0, 0.0, 0.0], [0.5, 1 / 3, 0.0], [0.5, -1 / 6, 0.25]])
SINGLE = ("HSX 0", "HSX 2 single")


@pytest.fixture(scope="module", params=[1, 2, 4, 8], ids=lambda n: f"nspin {n}")
def rows(request):
    return rows_of(model(request.param), request.param)


@pytest.fixture
def silicon(shared_data) -> Path:
    return shared_data / "peers" / "siesta" / "Si"


def difference(data, expected, name: str = "H") -> float:
    """Largest difference between the blocks of two structures that may list them in another order."""
    ours, theirs = (x.extra[name] if name in x.extra else getattr(x, name) for x in (data, expected))
    place = find_pairs(ours.pairs, theirs.pairs)
    assert len(ours.pairs) == len(theirs.pairs)
    assert (place >= 0).all()
    return float(np.abs(ours.selected(place).entries - theirs.entries).max())


def test_silicon_is_the_converted_folder(silicon):
    data, reference = siesta.read(silicon), read_folder(silicon.parent / "Si-converted")
    assert difference(data, reference, "S") < 1e-8
    place = find_pairs(data.H.pairs, reference.H.pairs)
    H = data.H.selected(place).entries * 27.2113845 / data.source["constants"]["hartree"]  # the other converter's Hartree
    assert np.abs(H - reference.H.entries).max() < 1e-7
    assert np.abs(data.system.positions / data.source["constants"]["bohr"] * 0.529177249 - reference.system.positions).max() < 1e-8
    assert data.fermi_energy == pytest.approx(reference.fermi_energy, abs=1e-8)
    assert data.basis.to_symbols() == {"Si": [0, 0, 1, 1, 2]}
    assert data.source["constants"]["bohr"] == SIESTA_5.bohr


def test_eigenvalues_are_those_of_siesta(silicon):
    data = siesta.read(silicon)
    mesh, lines = read_reference(silicon / "Si.EIG", data.system), read_reference(silicon / "Si.bands", data.system)
    assert np.abs(eigenvalues(data, mesh.k) - mesh.energies).max() < 1e-6  # 296 k points, up to 86 eV
    assert np.abs(eigenvalues(data, lines.k) - lines.energies).max() < 5.1e-5  # four decimals are printed
    assert mesh.energies.shape == (1, 296, 26)
    assert lines.energies.shape == (1, 121, 26)


def test_averages_of_the_two_triangles_would_move_high_bands(silicon, monkeypatch):
    monkeypatch.setattr("preprocess.readers.siesta.blocks.Slots.triangle", lambda _self, blocks: blocks.hermitized())
    data = siesta.read(silicon)
    with pytest.raises(DataError, match=r"differ from Si\.EIG"):
        check_bands(data, read_bands(silicon, data.system))


def test_density_matrix_holds_the_electrons(silicon):
    """Four of the eight, as the density matrix of a run without spin is that of one spin."""
    data = siesta.read(silicon)
    rho = data.extra["density_matrix"]
    assert float(np.vdot(rho.entries, data.S.entries)) == pytest.approx(4.0, abs=1e-9)
    assert data.moments is None


def test_the_command_converts_and_verifies(silicon, tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--verify", "bands", str(silicon), str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert "bands of Si.EIG" in out
    assert "8 electrons" in out
    info = json.loads((tmp_path / "out" / "Si" / "info.json").read_text())
    assert info["source"]["orbital_radii"] == {"Si": pytest.approx(6.844 * SIESTA_5.bohr)}
    assert info["source"]["k_grid"] == [8, 8, 8]


def forbidden_overlap(data) -> float:
    """Largest element of S between different m after each bond is turned to z; zero by symmetry, if orbitals are in order."""
    vectors, worst = pair_vectors(data.system, data.S.pairs), 0.0
    for n in np.flatnonzero(~is_onsite(data.S.pairs))[::17]:
        turn = rotation_to_z(vectors[n])
        shells = [data.basis.shells[int(z)] for z in data.system.numbers[data.S.pairs[n, 3:]]]
        block = rotation_of_atom(turn, shells[0]) @ data.S.take(np.array([n]))[0, 0] @ rotation_of_atom(turn, shells[1]).T
        m = [np.concatenate([np.arange(-l, l + 1) for l in ls]) for ls in shells]
        worst = max(worst, float(np.abs(block[m[0][:, None] != m[1]]).max()))
    return worst


def test_orbitals_and_cells_are_in_order(silicon):
    assert forbidden_overlap(siesta.read(silicon)) < 2e-6


@pytest.mark.parametrize("wrong", ["signs", "order", "cells"])
def test_a_wrong_order_is_noticed(silicon, monkeypatch, wrong):
    if wrong == "signs":
        monkeypatch.setattr(conventions, "shell_signs", lambda _order, l: np.ones(2 * l + 1, int))
    elif wrong == "order":
        monkeypatch.setattr(conventions, "shell_order", lambda _order, l: np.roll(np.arange(2 * l + 1), 1))
    else:
        read = siesta.read_matrices
        monkeypatch.setattr(siesta, "read_matrices", lambda path: replace(read(path), cells=-read(path).cells))
    assert forbidden_overlap(siesta.read(silicon)) > 1e-2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_model_back(tmp_path, rows, layout):
    data = siesta.read(written(tmp_path, rows, layout))
    tolerance = 5e-6 if layout in SINGLE else 1e-12
    assert difference(data, rows.data, "H") < tolerance
    assert difference(data, rows.data, "S") < tolerance
    assert data.basis == rows.data.basis
    assert np.abs(data.system.positions - rows.data.system.positions).max() < (1e-9 if layout == "HSX 0" else 1e-13)
    assert data.n_electrons == 9.0
    assert data.source["electronic_temperature_K"] == pytest.approx(0.0019 * SIESTA_5.hartree / 2 / KELVIN)
    assert data.fermi_energy == (None if layout == "HSX 0" else pytest.approx(-3.25))
    if layout not in ("HSX 0", "HSX 1"):
        assert (data.source["k_grid"], data.source["k_shift"]) == (np.diag(K_CELL).tolist(), K_SHIFT.tolist())
    verify(data, "off")


def siesta_eigenvalues(rows, k: np.ndarray) -> np.ndarray:
    """As SIESTA itself builds H(k) from its rows (diag3k.F): Haux(s', jo, s, io) += <s', jo| H |s, io> exp(-i k.xij), diagonalized."""
    n, H = len(rows.n_row), rows.H
    kxij = rows.vectors @ (2 * np.pi * np.linalg.inv(rows.data.system.cell / rows.constants.bohr) @ k)
    if len(H) == 1:
        box = H[:, None] * np.ones((1, 1, 1))
    elif len(H) == 4:
        box = np.array([[H[0], H[2] - 1j * H[3]], [H[2] + 1j * H[3], H[1]]])
    else:
        box = np.array([[H[0] + 1j * H[4], H[2] - 1j * H[3]], [H[6] + 1j * H[7], H[1] + 1j * H[5]]])
    spins = len(box)
    Haux, Saux = (np.zeros((spins, n, spins, n), complex) for _ in range(2))
    io, jo = np.repeat(np.arange(n), rows.n_row), (rows.column - 1) % n
    for s in range(spins):
        np.add.at(Saux[s, :, s], (jo, io), rows.S * np.exp(-1j * kxij))
        for t in range(spins):
            np.add.at(Haux[s, :, t], (jo, io), box[s, t] * np.exp(-1j * kxij))
    size = spins * n
    return eigh(Haux.reshape(size, size), Saux.reshape(size, size), eigvals_only=True) * rows.constants.hartree / 2


@pytest.mark.parametrize("n_spin", [1, 4, 8])
def test_eigenvalues_are_those_of_siestas_own_formula(tmp_path, n_spin):
    """Independent of the writer's idea of what an element means: rows of noise, made Hermitian only as SIESTA demands."""
    rows = rows_of(model(n_spin, seed=3), n_spin)
    data = siesta.read(written(tmp_path, rows))
    expected = np.array([siesta_eigenvalues(rows, k) for k in K])
    assert np.abs(eigenvalues(data, K)[0] - expected).max() < 1e-10


@pytest.mark.parametrize("component", range(8))
def test_every_spin_component_has_its_sign(tmp_path, component):
    rows = rows_of(model(8), 8)
    H = rows.H.copy()
    H[component] *= -1
    assert changed_or_refused(written(tmp_path, replace(rows, H=H)), rows.data)


def changed_or_refused(folder: Path, expected) -> bool:
    """Whether the run reads as another H, or as none: the imaginary parts are antisymmetric."""
    try:
        return difference(siesta.read(folder), expected) > 0.1
    except DataError as error:
        return "Hermitian conjugate" in str(error)


def test_time_reversal(tmp_path):
    """H with dd = conj(uu) and du = -conj(ud) has the same energies at k and -k, in pairs at k = 0."""
    data = model(8)

    def symmetric(b, _pairs):
        n, m = (size // 2 for size in b.shape[-2:])
        uu, ud, du, dd = b[..., :n, :m], b[..., :n, m:], b[..., n:, :m], b[..., n:, m:]
        uu, ud = (uu + dd.conj()) / 2, (ud - du.conj()) / 2
        return np.concatenate([np.concatenate([uu, ud], -1), np.concatenate([-ud.conj(), uu.conj()], -1)], -2)

    data = replace(data, H=data.H.mapped(symmetric).hermitized())
    read = siesta.read(written(tmp_path, rows_of(data, 8)))
    energies = eigenvalues(read, np.array([[0.0, 0, 0], [0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]))[0]
    assert np.abs(energies[0, ::2] - energies[0, 1::2]).max() < 1e-10
    assert np.abs(energies[1] - energies[2]).max() < 1e-10
    assert np.abs(energies[1, ::2] - energies[1, 1::2]).max() > 1e-3


def test_density_matrix_and_moments(tmp_path):
    for n_spin in (2, 8):
        rows = rows_of(model(n_spin), n_spin)
        folder = written(tmp_path / str(n_spin), rows)
        write_dm(folder / "run.DM", rows)
        data = siesta.read(folder)
        assert difference(data, rows.data, "density_matrix") < 1e-12
        rho, S = (b.take(np.flatnonzero(is_onsite(b.pairs) & (b.pairs[:, 3] == 1))) for b in (data.extra["density_matrix"], data.S))
        assert rho.shape[1] == S.shape[1] == 1
        expected = atom_moments(data)
        assert np.abs(data.moments - expected).max() < 1e-10
        assert np.abs(expected).max() > 1e-3


def atom_moments(data) -> np.ndarray:
    """Tr_atom(rho S sigma), block by block."""
    rho, out = data.extra["density_matrix"], np.zeros((data.system.n_atoms, 3))
    for n, i in enumerate(data.S.pairs[:, 3]):
        S, D = data.S.take(np.array([n]))[0, 0], rho.take(np.array([n]))[:, 0]
        if len(D) == 2:
            out[i, 2] += ((D[0] - D[1]) * S).sum()
            continue
        rows, columns = S.shape
        (uu, ud), (du, dd) = ((D[0].reshape(2, rows, 2, columns).transpose(0, 2, 1, 3) * S).sum((2, 3))).tolist()
        out[i] += np.real([ud + du, 1j * (ud - du), uu - dd])
    return out


def test_density_matrix_of_another_run_is_left_out(tmp_path):
    rows = rows_of(model(2), 2)
    folder = written(tmp_path, rows)
    write_dm(folder / "run.DM", replace(rows, column=rows.column[::-1]))
    data = siesta.read(folder)
    assert data.moments is None
    assert not data.extra


def test_overlap_alone(tmp_path):
    rows = rows_of(model(1), 1)
    write_tshs(tmp_path / "run.onlyS", rows, only_S=True)
    write_texts(tmp_path, rows)
    data = siesta.read(tmp_path)
    assert data.H is None
    assert data.fermi_energy is None
    assert difference(data, rows.data, "S") < 1e-12


def test_constants_come_from_the_printed_cells(tmp_path):
    for name, constants in (("new", SIESTA_5), ("old", SIESTA_4)):
        rows = rows_of(model(1), 1, constants=constants)
        data = siesta.read(written(tmp_path / name, rows))
        assert data.source["constants"]["name"] == constants.name
        assert difference(data, rows.data) < 1e-12


def test_constants_without_struct_out(tmp_path):
    rows = rows_of(model(1), 1, constants=SIESTA_4)
    write_hsx_0(tmp_path / "run.HSX", rows)
    write_texts(tmp_path, rows, struct_out=False)
    assert siesta.read(tmp_path).source["constants"]["name"] == SIESTA_4.name


def test_geometry_from_struct_out(tmp_path):
    rows = rows_of(model(1), 1, constants=SIESTA_4)
    folder = written(tmp_path, rows, "HSX 0")
    (folder / "run.XV").unlink()
    data = siesta.read(folder)
    assert np.abs(data.system.positions - rows.data.system.positions).max() < 1e-8


@pytest.mark.parametrize("n_spin", [1, 2, 8])
def test_printed_eigenvalues(tmp_path, n_spin):
    rows = rows_of(model(n_spin), n_spin)
    folder = written(tmp_path, rows)
    energies = eigenvalues(rows.data, K)
    write_eigenvalues(folder, K, energies, rows)
    data = siesta.read(folder)
    reference = read_bands(folder, data.system)
    assert np.abs(reference.k - K).max() < 1e-12  # moved back onto the mesh
    assert np.abs(reference.energies - energies).max() < 1e-6
    check_bands(data, reference)
    write_eigenvalues(folder, K, energies + 1e-3, rows)
    with pytest.raises(DataError, match=r"differ from run\.EIG"):
        check_bands(data, read_bands(folder, data.system))


def test_fermi_energy_from_the_eigenvalues(tmp_path):
    rows = rows_of(model(1), 1)
    folder = written(tmp_path, rows, "HSX 0")
    write_eigenvalues(folder, K, eigenvalues(rows.data, K), rows)
    assert siesta.read(folder).fermi_energy == pytest.approx(-3.25)


@pytest.mark.parametrize(
    ("fdf", "fermi", "mesh"),
    [
        ("OccupationFunction FD\nSpin.Fix false", True, True),
        ("occupation_function MP", True, False),
        ("Spin.Fix", False, True),
        ("FixSpin .true.", False, True),
        ("%include missing.fdf", True, True),
    ],
)
def test_what_the_input_says_of_fermi_level_and_smearing(tmp_path, fdf, fermi, mesh):
    folder = written(tmp_path, rows_of(model(2), 2))
    (folder / "run.fdf").write_text(fdf)
    data = siesta.read(folder)
    assert (data.fermi_energy is not None) == fermi
    assert ("k_grid" in data.source) == mesh


@pytest.fixture(scope="module")
def molecule():
    """An atom on each side of the boundary of a large cell, and one in the middle of nowhere."""
    return model(1, cell=np.diag([16.0, 15.0, 14.0]), positions=np.array([[0.4, 7, 7], [15.6, 7, 7], [8.0, 7, 7]]))


def test_gamma_point_run_of_a_molecule(tmp_path, molecule):
    assert (molecule.S.pairs[:, :3] != 0).any()
    rows = rows_of(molecule, 1, folded=True)
    write_hsx(tmp_path / "run.HSX", rows)
    write_texts(tmp_path, rows)
    assert difference(siesta.read(tmp_path), molecule) < 1e-12
    write_hsx_0(tmp_path / "run.HSX", rows, gamma=True)
    assert difference(siesta.read(tmp_path), molecule) < 5e-6
    (tmp_path / "run.HSX").unlink()
    write_tshs(tmp_path / "run.TSHS", rows, gamma=True)
    assert difference(siesta.read(tmp_path), molecule) < 1e-12


def test_gamma_point_run_of_a_crystal_is_refused(tmp_path):
    data = model(1)
    home = np.flatnonzero(~data.S.pairs[:, :3].any(axis=1))
    data = replace(data, S=data.S.selected(home), H=data.H.selected(home), extra={})
    folder = written(tmp_path, rows_of(data, 1, folded=True))
    with pytest.raises(DataError, match="ForceAuxCell"):
        siesta.read(folder)


def test_runs_are_recognized(tmp_path):
    written(tmp_path / "run", rows_of(model(1), 1))
    assert candidates(tmp_path / "run") == {"siesta": "it holds run.HSX"}


def test_an_iron_run_has_its_mesh_from_the_printed_points(shared_data):
    """HSX version 1 has no mesh inside; that of the run is a permuted matrix. On a mesh of 2 x 2 x 2, 14.3 of 16 electrons are found."""
    folder = shared_data / "peers" / "siesta" / "Fe-bcc-collinear"
    data = siesta.read(folder)
    assert data.source["k_grid"] == [9, 9, 9]
    assert data.source["k_shift"] == [0.0, 0.0, 0.0]
    found = count_electrons(data)
    assert found.why_rough == ""
    assert found.electrons == pytest.approx(16, abs=1e-6)
    k, weights = read_k_points(folder / "fe.KP", data.system.cell)  # as printed
    occupied = 0.5 * (1 - np.tanh((eigenvalues(data, k) - data.fermi_energy) / (2 * KELVIN * data.source["electronic_temperature_K"])))
    assert weights @ occupied.sum(axis=(0, 2)) == pytest.approx(15.99997, abs=1e-5)


def test_printed_points_are_the_mesh_inside(silicon):
    data = siesta.read(silicon)
    assert mesh_of_points(*read_k_points(silicon / "Si.KP", data.system.cell)) == {key: data.source[key] for key in ("k_grid", "k_shift")}


def test_k_mesh_of_the_run(tmp_path, monkeypatch):
    rows = rows_of(model(1), 1)
    monkeypatch.setattr("siesta_files.K_CELL", np.array([[0, 3, 0], [0, 0, 1], [-2, 0, 0]]))
    monkeypatch.setattr("siesta_files.K_SHIFT", np.array([0.5, 0, 0]))
    assert mesh_of(siesta.read(written(tmp_path / "matrix", rows))) == ([2, 3, 1], [0.0, 0.5, 0.0])
    folder = written(tmp_path / "points", rows, "HSX 1")
    assert mesh_of(siesta.read(folder)) == (None, None)
    k, _ = k_mesh([[2, 1, 0], [0, 3, 0], [0, 0, 1]], [0, 0.5, 0], fold=False)
    write_eigenvalues(folder, k, np.zeros((1, len(k), 4)), rows)
    assert mesh_of(siesta.read(folder)) == ([[2, 1, 0], [0, 3, 0], [0, 0, 1]], [0.0, 0.5, 0.0])
    write_eigenvalues(folder, k[:-1], np.zeros((1, len(k) - 1, 4)), rows)
    assert mesh_of(siesta.read(folder)) == (None, None)
    (folder / "run.KP").write_text("6\n 1 0.0 0.0\n")
    with pytest.raises(DataError, match=r"run\.KP is not a complete list of k points"):
        siesta.read(folder)


def mesh_of(data):
    return data.source.get("k_grid"), data.source.get("k_shift")


@pytest.mark.parametrize("layout", ["HSX 2", "HSX 0", "TSHS"])
def test_an_infinite_fermi_level_is_not_known(tmp_path, layout):
    """A run with HSetupOnly fills no states."""
    rows = rows_of(model(1), 1)
    rows = replace(rows, data=SimpleNamespace(**{**vars(rows.data), "fermi_energy": np.inf}))
    folder = written(tmp_path / "run", rows, layout)
    (folder / "run.EIG").write_text("         Infinity\n 4 1 0\n")
    assert siesta.read(folder).fermi_energy is None
    with pytest.raises(SystemExit, match="0"):
        main(["--verify", "off", str(folder), str(tmp_path / "out")])
    assert json.loads((tmp_path / "out" / "run" / "info.json").read_text())["fermi_energy_eV"] is None
