"""Real ABACUS 3.10 runs: a converted folder, the code's own eigenvalues, and symmetry tell whether they are read rightly."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from harmonics import rotation_of_atom
from scipy.integrate import simpson
from scipy.interpolate import CubicSpline

from deeph.files.store import read_folder
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs, pair_vectors
from deeph.physics.units import ABACUS
from deeph.runtime.errors import DataError
from preprocess.orbitals.orb import read_orb
from preprocess.readers import common
from preprocess.readers.abacus import bands as abacus_bands
from preprocess.readers.abacus import reader as abacus
from preprocess.verify import check_bands, check_electrons, eigenvalues


@pytest.fixture(scope="module")
def peers(shared_data: Path) -> Path:
    return shared_data / "peers" / "abacus"


@pytest.fixture(scope="module")
def mos2(peers: Path) -> Hamiltonian:
    return abacus.read(peers / "MoS2")


@pytest.fixture(scope="module")
def silicon(peers: Path) -> Hamiltonian:
    return abacus.read(peers / "Si-integrals")


def test_equal_to_the_converted_folder(mos2: Hamiltonian, peers: Path) -> None:
    reference = read_folder(peers / "MoS2-converted")
    for ours, theirs in ((mos2.H, reference.H), (mos2.S, reference.S)):
        assert np.abs(ours.on_pattern(theirs.pairs, theirs.shapes).entries - theirs.entries).max() < 1e-12  # same Rydberg, same order
    # the converted folder leaves out blocks that S does not have; we keep them
    lacking = mos2.H.selected(np.flatnonzero(find_pairs(reference.H.pairs, mos2.H.pairs) < 0))
    assert (mos2.H.n_pairs, reference.H.n_pairs) == (353, 239)
    assert 1e-5 < np.abs(lacking.entries).max() < 1e-4
    assert not mos2.S.selected(np.flatnonzero(find_pairs(reference.S.pairs, mos2.S.pairs) < 0)).entries.any()
    # its lengths are numbers of the log: 3.16003 Angstrom instead of 5.9716 Bohr, and lattice vectors of six digits
    constant = 5.9716 * ABACUS.bohr
    np.testing.assert_allclose(np.round(mos2.system.cell / constant, 6) * 3.16003, reference.system.cell, atol=1e-10)
    np.testing.assert_allclose(mos2.system.positions / constant * 3.16003, reference.system.positions, atol=1e-9)
    assert mos2.fermi_energy == reference.fermi_energy
    assert mos2.basis.shells == reference.basis.shells


def test_eigenvalues_of_the_code(mos2: Hamiltonian, peers: Path) -> None:
    reference = abacus_bands.read_bands(peers / "MoS2", mos2.system)
    assert reference.energies.shape == (1, 3, 23)
    error = np.abs(eigenvalues(mos2, reference.k)[..., :23] - reference.energies).max()
    assert error < 1e-6  # 3.4e-7: the entries of the matrices have eight decimals
    assert "istate.info" in check_bands(mos2, reference)
    with pytest.raises(DataError, match=r"differ from istate\.info"):
        check_bands(replace(mos2, H=replace(mos2.H, entries=mos2.H.entries * (27.2113845 / 27.211396))), reference)
    assert "26 electrons" in check_electrons(mos2)


def test_command_line(peers: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "preprocess.cli.preprocess", peers / "MoS2", tmp_path / "data", "--verify", "bands"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bands of istate.info to 3e-07 eV" in done.stdout
    assert read_folder(tmp_path / "data" / "MoS2").H.n_pairs == 353


def rotation_about(axis: list[float]) -> np.ndarray:
    """A turn by 120 degrees."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = 2 * np.pi / 3
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K


def rotated(data: Hamiltonian, blocks: PairBlocks, turn: np.ndarray, center: np.ndarray) -> PairBlocks:
    """The matrix of the rotated crystal, on the same pairs, because the rotation is a symmetry."""
    system = data.system
    D = [rotation_of_atom(turn, data.basis.shells[int(z)]) for z in system.numbers]
    moved = (system.positions - center) @ turn.T + center
    images = np.linalg.solve(system.cell.T, (moved[:, None] - system.positions[None]).reshape(-1, 3).T).T.reshape(len(moved), -1, 3)
    images[system.numbers[:, None] != system.numbers[None]] = 0.25
    image = np.abs(images - np.rint(images)).max(-1).argmin(1)
    shift = np.rint(images[np.arange(len(image)), image]).astype(int)
    R = np.rint(blocks.pairs[:, :3] @ system.cell @ turn.T @ np.linalg.inv(system.cell)).astype(int)
    i, j = blocks.pairs[:, 3], blocks.pairs[:, 4]
    pairs = np.c_[R + shift[j] - shift[i], image[i], image[j]]
    np.testing.assert_allclose(pair_vectors(system, pairs), pair_vectors(system, blocks.pairs) @ turn.T, atol=1e-5)

    def turned(values: np.ndarray, which: np.ndarray) -> np.ndarray:
        return np.stack([D[p[3]] @ values[:, n] @ D[p[4]].T for n, p in enumerate(which)], axis=1)

    out = replace(blocks.mapped(turned), pairs=pairs)
    place = find_pairs(blocks.pairs, pairs)
    assert (place >= 0).all() == (np.sort(place) == np.arange(len(place))).all()
    return out.on_pattern(blocks.pairs, blocks.shapes)


def asymmetry(data: Hamiltonian, blocks: PairBlocks, turn: np.ndarray, center: np.ndarray) -> float:
    return float(np.abs(rotated(data, blocks, turn, center).entries - blocks.entries).max())


def test_threefold_axis_of_mos2(mos2: Hamiltonian, monkeypatch: pytest.MonkeyPatch, peers: Path) -> None:
    """The f shell of Mo is in it; a wrong order is off by far. Signs (-1)^m are a turn about the same axis, which this cannot see."""
    turn, center = rotation_about([0, 0, 1]), mos2.system.positions[0]
    assert asymmetry(mos2, mos2.S, turn, center) < 1e-7  # positions in STRU have nine decimals
    assert asymmetry(mos2, mos2.H, turn, center) < 1e-4  # grid of the potential
    order = common.atom_order
    monkeypatch.setattr(common, "atom_order", lambda _, shells: order("siesta", shells))
    unordered = abacus.read(peers / "MoS2")
    assert asymmetry(unordered, unordered.S, turn, center) > 0.1
    assert asymmetry(unordered, unordered.H, turn, center) > 1.0


def test_silicon_matrices_under_rotation(silicon: Hamiltonian, monkeypatch: pytest.MonkeyPatch, peers: Path) -> None:
    """About an axis that mixes x, y and z, so that wrong signs show."""
    turn, origin = rotation_about([1, 1, 1]), np.zeros(3)
    for blocks, limit in ((silicon.S, 1e-7), (silicon.extra["kinetic"], 1e-6), (silicon.H, 1e-3)):
        assert asymmetry(silicon, blocks, turn, origin) < limit
    turned = np.einsum("ab,bn->an", turn, rotated(silicon, silicon.r, turn, origin).entries)  # x, y, z turn, too
    assert np.abs(turned - silicon.r.entries).max() < 1e-6
    assert np.abs(turned[[1, 2, 0]] - silicon.r.entries).max() > 0.1
    monkeypatch.setattr(common, "atom_signs", lambda _, shells: np.ones(sum(2 * l + 1 for l in shells), int))
    unsigned = abacus.read(peers / "Si-integrals")
    assert asymmetry(unsigned, unsigned.S, turn, origin) > 0.1
    assert asymmetry(unsigned, unsigned.H, turn, origin) > 1.0


def test_positions_are_relative_to_the_lattice_origin(silicon: Hamiltonian) -> None:
    """<s, 0| r |s, 0> of an atom is its position: s functions have no dipole."""
    for atom in (0, 1):
        onsite = silicon.r.block((0, 0, 0, atom, atom))
        np.testing.assert_allclose(onsite[:, 0, 0], silicon.system.positions[atom], atol=1e-6)
        p = slice(2, 5)  # y, z, x of the first p shell: <s| r |p> is along the orbital
        dipole = onsite[:, 0, p][[1, 2, 0]]
        assert np.abs(dipole - np.diag(np.diag(dipole))).max() < 1e-6
        assert abs(dipole[0, 0]) > 0.1


def test_onsite_integrals_of_the_orbital_file(silicon: Hamiltonian, peers: Path) -> None:
    """S and T between the functions of one atom follow from the .orb file alone: normalization, order and units."""
    orbitals = read_orb(peers / "Si-integrals" / "Si_gga_8au_60Ry_2s2p1d.orb")
    assert orbitals.ls == silicon.basis.shells[14] == (0, 0, 1, 1, 2)
    assert orbitals.cutoff == pytest.approx(8 * ABACUS.bohr)
    S, T = silicon.S.block((0, 0, 0, 0, 0))[0], silicon.extra["kinetic"].block((0, 0, 0, 0, 0))[0]
    rydberg_bohr2 = ABACUS.hartree / 2 * ABACUS.bohr**2
    starts = [0, 1, 2, 5, 8]
    for a, one in enumerate(orbitals.shells):
        assert one.norm == pytest.approx(1, abs=1e-6)
        for b, other in enumerate(orbitals.shells):
            if one.l != other.l:
                continue
            r = np.linspace(0, one.r[-1], 8001)
            f, g = (CubicSpline(shell.r, shell.values) for shell in (one, other))
            overlap = simpson(f(r) * g(r) * r**2, x=r)
            kinetic = rydberg_bohr2 * simpson(f(r, 1) * g(r, 1) * r**2 + one.l * (one.l + 1) * f(r) * g(r), x=r)
            assert S[starts[a], starts[b]] == pytest.approx(overlap, abs=1e-9)
            assert T[starts[a], starts[b]] == pytest.approx(kinetic, abs=1e-5)


def upper_triangle(path: Path) -> np.ndarray:
    """The Hermitian matrix of a file with its size and the rows of its upper triangle, ``(re,im)`` each."""
    size, *words = path.read_text().split()
    values = np.array([complex(*map(float, word.strip("()").split(","))) for word in words])
    matrix = np.zeros((int(size), int(size)), complex)
    matrix[np.triu_indices(int(size))] = values
    return matrix + np.triu(matrix, 1).conj().T


def test_a_real_spinor_run_has_the_matrices_abacus_wrote_at_gamma(peers):
    """Carbon with nspin 4: the spectrum of H(k), S(k) that ABACUS printed at its first k-point, which agree to 6e-8 eV."""
    from scipy.linalg import eigh

    data = abacus.read(peers / "C-spinor")
    H, S = (upper_triangle(peers / "C-spinor" / f"data-1-{name}.ref") for name in "HS")
    expected = ABACUS.hartree / 2 * eigh(H, S, eigvals_only=True)
    found = eigenvalues(data, np.zeros((1, 3)))[0, 0]
    assert data.basis.spin == "spinor"
    assert len(found) == 26
    assert np.abs(found - expected).max() < 1e-6
