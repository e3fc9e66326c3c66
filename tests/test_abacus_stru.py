"""ABACUS's structure file, its named lattices, and its orbital files."""

from pathlib import Path

import numpy as np
import pytest
from abacus_files import BOHR, SHELLS, made_up, orb_text, stru_text

from deeph.physics.system import System
from deeph.runtime.errors import DataError
from preprocess.overlap.orb import read_orb
from preprocess.readers.abacus.lattice import lattice_vectors
from preprocess.readers.abacus.stru import parse_stru, read_stru

FORMS = [
    "Direct",
    "Cartesian",
    "Cartesian_au",
    "Cartesian_angstrom",
    *(f"Cartesian_angstrom_center_{a}" for a in ("xy", "xz", "yz", "xyz")),
]


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_coordinates(tmp_path: Path, form: str) -> None:
    system = made_up().system
    (tmp_path / "STRU").write_text(stru_text(system, form))
    found = parse_stru(tmp_path / "STRU")
    np.testing.assert_allclose(found.system.cell, system.cell, atol=1e-12)
    np.testing.assert_allclose(found.system.positions, system.positions, atol=1e-12)
    assert found.system.numbers.tolist() == [42, 42, 16]
    assert found.labels == ("Mo", "Mo", "S")
    assert found.lattice_constant == 3.7
    assert set(found.orbital_files) == {"Mo", "S"}


def test_atoms_are_wrapped_into_the_cell(tmp_path: Path) -> None:
    """As ABACUS does before it numbers lattice vectors; -1e-13 is rounded to 0, not to 1."""
    outside = System(np.eye(3) * 4.0, np.array([[-0.4, 4.4, 8.0], [-4e-13, 2.0, 3.9999999]]), np.array([6, 6]))
    (tmp_path / "STRU").write_text(stru_text(outside).replace("X_gga", "C_gga"))
    np.testing.assert_allclose(read_stru(tmp_path / "STRU").fractional, [[0.9, 0.1, 0.0], [0.0, 0.5, 3.9999999 / 4]], atol=1e-9)


def test_species_in_any_order_and_with_numbers(tmp_path: Path) -> None:
    text = stru_text(System(np.eye(3) * 9.0, np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 1]]), np.array([16, 42, 42])))
    text = text.replace("ATOMIC_POSITIONS", "@").replace("Mo ", "Mo2 ").replace("@", "ATOMIC_POSITIONS")
    (tmp_path / "STRU").write_text(text)
    found = parse_stru(tmp_path / "STRU")
    assert found.system.symbols == ["S", "Mo", "Mo"]
    assert found.labels == ("S", "Mo2", "Mo2")


def test_named_lattices(tmp_path: Path) -> None:
    """Lengths and angles are those the name promises."""
    a = lattice_vectors("hexagonal", [1.6])
    np.testing.assert_allclose(a @ a.T, [[1, -0.5, 0], [-0.5, 1, 0], [0, 0, 1.6**2]], atol=1e-12)
    a = lattice_vectors("trigonal", [0.3])
    np.testing.assert_allclose(a @ a.T, np.full((3, 3), 0.3) + 0.7 * np.eye(3), atol=1e-12)
    a = lattice_vectors("triclinic", [1.2, 1.5, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(a @ a.T, [[1, 0.12, 0.3], [0.12, 1.44, 0.54], [0.3, 0.54, 2.25]], atol=1e-12)
    volumes = {
        ("sc",): 1, ("fcc",): 1 / 4, ("bcc",): 1 / 2, ("st", 1.5): 1.5, ("bct", 1.5): 0.75, ("so", 1.2, 1.5): 1.8, ("baco", 1.2, 1.5): 0.9,
        ("fco", 1.2, 1.5): 0.45, ("bco", 1.2, 1.5): 0.9, ("sm", 1.2, 1.5, 0.6): 1.44, ("bacm", 1.2, 1.5, 0.6): 0.72,
    }  # fmt: skip
    for (name, *parameters), volume in volumes.items():
        assert abs(np.linalg.det(lattice_vectors(name, parameters))) == pytest.approx(volume)
    text = stru_text(made_up().system)
    start, stop = text.index("LATTICE_VECTORS"), text.index("ATOMIC_POSITIONS")
    (tmp_path / "STRU").write_text(text[:start] + "LATTICE_PARAMETERS\n2.5 // c/a\n" + text[stop:])
    with pytest.raises(DataError, match="has no LATTICE_VECTORS, and latname 'none'"):
        read_stru(tmp_path / "STRU")
    (tmp_path / "INPUT").write_text("INPUT_PARAMETERS\nlatname  hexagonal  # c/a below\n")
    np.testing.assert_allclose(read_stru(tmp_path / "STRU").cell, lattice_vectors("hexagonal", [2.5]) * 3.7 * BOHR)
    with pytest.raises(DataError, match="latname sm needs 3 LATTICE_PARAMETERS, found 1"):
        read_stru(tmp_path / "STRU", latname="sm")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Direct", "Directly", r"line 19: coordinates 'Directly'"),
        ("ATOMIC_POSITIONS", "POSITIONS", "no section ATOMIC_POSITIONS"),
        ("LATTICE_CONSTANT", "LATTICE", "no section LATTICE_CONSTANT"),
        ("2 // number", "5 // number", r"line \d+: the file ends after 4 of 5 positions|expected 3 numbers"),
        ("3.7 // Bohr", "long // Bohr", "line 11: 'long' is not a finite number"),
        ("Mo // element", "Xx // element", "species Xx has positions but is not in ATOMIC_SPECIES"),
        ("Mo_gga_4au_60Ry_made.orb", "", "names 1 files in NUMERICAL_ORBITAL for 2 species"),
    ],
)
def test_damaged_structures(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "STRU").write_text(stru_text(made_up().system).replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_stru(tmp_path / "STRU")


def test_empty_atoms_are_refused(tmp_path: Path) -> None:
    (tmp_path / "STRU").write_text(stru_text(made_up().system).replace("Mo ", "Mo_empty "))
    with pytest.raises(DataError, match="ghost"):
        read_stru(tmp_path / "STRU")
    with pytest.raises(DataError, match="cannot be read"):
        read_stru(tmp_path / "nothing")


def test_orbital_file(tmp_path: Path) -> None:
    (tmp_path / "Mo.orb").write_text(orb_text(42, SHELLS[42]))
    orbitals = read_orb(tmp_path / "Mo.orb")
    assert (orbitals.number, orbitals.ls, orbitals.source) == (42, (0, 1, 2), "Mo.orb")
    assert orbitals.cutoff == pytest.approx(4.16 * BOHR)
    for shell in orbitals.shells:
        assert shell.norm == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Porbital-->       1", "Porbital-->       2", r"head announces \[0, 1, 1, 2\]"),
        ("Element ", "Elem ", "does not begin with the element"),
        ("Mesh ", "Grid ", "truncated"),
        ("   0 1 0\n", "   0 1 0\n 0.1 ", r"orbital 2 \(l = 1\) has 418 values, expected 417"),
        ("   0 1 0\n", "   0 1 0\n x ", "orbital 2 cannot be read"),
    ],
)
def test_damaged_orbital_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = orb_text(42, SHELLS[42])
    assert old in text
    (tmp_path / "Mo.orb").write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_orb(tmp_path / "Mo.orb")
    (tmp_path / "Mo.orb").write_text(text[: len(text) // 2])
    with pytest.raises(DataError):
        read_orb(tmp_path / "Mo.orb")
