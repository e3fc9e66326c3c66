"""SIESTA: damaged and contradictory runs are refused with a message that says what to do."""

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from siesta_files import model, rows_of, write_texts, written

from deeph.runtime.errors import DataError
from preprocess.cli.preprocess import main
from preprocess.readers.siesta import reader as siesta
from preprocess.readers.siesta.files import read_geometry, read_orb_indx
from preprocess.readers.siesta.matrix import read_matrices
from preprocess.readers.siesta.species import check_species


def patched(at: int, value: object):
    """Overwrite bytes of the HSX file, counted from its end if negative."""

    def damage(folder: Path) -> None:
        path = folder / "run.HSX"
        content, new = path.read_bytes(), np.asarray(value).tobytes()
        start = at % len(content)
        path.write_bytes(content[:start] + new + content[start + len(new) :])

    return damage


def cut(part: float):
    def damage(folder: Path) -> None:
        path = folder / "run.HSX"
        content = path.read_bytes()
        path.write_bytes((content * 2)[: int(part * len(content))])

    return damage


def edited(suffix: str, old: str, new: str):
    def damage(folder: Path) -> None:
        path = folder / f"run.{suffix}"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return damage


def lines_of(suffix: str, keep: int):
    def damage(folder: Path) -> None:
        path = folder / f"run.{suffix}"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:keep]))

    return damage


def removed(*suffixes: str):
    return lambda folder: [(folder / f"run.{suffix}").unlink() for suffix in suffixes]


def another_basis(folder: Path) -> None:
    """The list of orbitals of a run in which hydrogen has one p function less."""
    path = folder / "run.ORB_INDX"
    lines = path.read_text().splitlines()
    rows = [line for n, line in enumerate(lines[3:33]) if n not in (14, 15, 16)]
    path.write_text("\n".join(["27 27 = orbitals", *lines[1:3], *(f"{n + 1:6d}{line[6:]}" for n, line in enumerate(rows))]))


DAMAGE = {
    "truncated": (cut(0.5), "truncated"),
    "in the first record": (lambda folder: (folder / "run.HSX").write_bytes(b"\4\0\0\0\2"), "does not start with a Fortran record"),
    "longer": (cut(1.01), "goes on after its last part|truncated"),
    "first marker": (patched(8, np.int32(5)), "does not start with a Fortran record"),
    "marker": (patched(56, np.int32(5)), "length markers"),
    "record length": (patched(20, np.int32([4, 4])), "length markers|bytes for"),
    "version": (patched(4, np.int32(7)), "version 7"),
    "spin components": (patched(36, np.int32(3)), "3 spin components"),
    "NaN": (patched(-12, np.nan), "NaN or infinity"),
    "not Hermitian": (patched(-12, 0.5), "Hermitian conjugate"),
    "no list of orbitals": (removed("ORB_INDX"), "ORB_INDX is missing"),
    "short list of orbitals": (lines_of("ORB_INDX", 9), "truncated or damaged"),
    "other orbitals": (another_basis, "4 orbitals in the matrices, but 1 in"),
    "part of a shell": (edited("ORB_INDX", "  1 -1  1  F", "  1  0  1  F"), "not a whole shell"),
    "two bases": (edited("XV", "  2     1 ", "  2     6 "), "C has two bases"),
    "two radii": (edited("ORB_INDX", "4.663  0  0  0    19", "4.600  0  0  0    19"), "C has two bases"),
    "short XV": (lines_of("XV", 6), "not a complete list"),
    "other atoms": (lambda folder: [edited("XV", " 3\n", " 2\n")(folder), lines_of("XV", 6)(folder)], "3 atoms in the matrices, but 2"),
    "ghost atoms": (edited("XV", "     6 ", "    -6 "), "ghost atoms"),
    "no elements": (removed("XV", "STRUCT_OUT"), "neither .XV nor .STRUCT_OUT"),
    "another element": (
        edited("XV", "  1     6 ", "  1    14 "),
        "atom 1 is Si in .XV or .STRUCT_OUT, but its species 1, 'C', is C",
    ),
    "species exchanged": (edited("XV", "  2     1 ", "  1     1 "), "atom 2 is of species 1 in .XV or .STRUCT_OUT, but of species 2"),
    "cells disagree": (edited("STRUCT_OUT", "4.1", "4.2"), "different runs"),
    "no matrices": (removed("HSX"), "SaveHS true"),
    "two runs": (lambda folder: shutil.copy(folder / "run.HSX", folder / "other.HSX"), "2 .HSX files"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_runs_are_explained(tmp_path, name):
    damage, message = DAMAGE[name]
    folder = written(tmp_path, rows_of(model(1), 1))
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        siesta.read(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("layout", ["HSX 0", "HSX 1", "TSHS", "nc"])
def test_truncated_files_of_other_layouts(tmp_path, layout):
    folder = written(tmp_path, rows_of(model(2), 2), layout)
    path = siesta.find_matrices(folder)
    content = path.read_bytes()
    for part in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(DataError, match="run"):
            siesta.read(folder)


def test_vectors_of_another_geometry_are_refused(tmp_path):
    rows = rows_of(model(1), 1)
    folder = written(tmp_path, rows, "HSX 0")
    moved = replace(rows.data.system, positions=rows.data.system.positions + np.outer([0, 1, 0], [0.05, 0, 0]))
    write_texts(folder, replace(rows, data=replace(rows.data, system=moved)))
    with pytest.raises(DataError, match="different steps or runs"):
        siesta.read(folder)


def test_a_failed_conversion_leaves_nothing(tmp_path, capsys):
    folder = written(tmp_path / "run", rows_of(model(1), 1))
    path = folder / "run.HSX"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SystemExit, match="1"):
        main([str(folder), str(tmp_path / "out")])
    assert "truncated" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("*/*.h5"))


def test_species_of_the_matrices_and_of_the_input(tmp_path):
    folder = written(tmp_path, rows_of(model(1), 1))
    assert read_matrices(folder / "run.HSX").species.tolist() == [1, 2, 1]
    listed, orbitals = read_geometry(folder / "run.XV"), read_orb_indx(folder / "run.ORB_INDX")
    with pytest.raises(DataError, match=r"atom 2 is of species 2 in \.XV or \.STRUCT_OUT, but of species 1"):
        check_species(listed, orbitals, np.array([1, 1, 1]), [])
    with pytest.raises(DataError, match="species 2, 'H', is He by the input"):
        check_species(listed, orbitals, None, [{1: 6, 2: 2}])
    misleading = [one._replace(label="Cs" if one.label == "C" else "top") for one in orbitals]
    with pytest.raises(DataError, match="is Cs by the input or by its label"):
        check_species(listed, misleading, None, [])
    check_species(listed, misleading, None, [{1: 6, 2: 1}])  # the input decides
    (folder / "run.fdf").write_text("%block ChemicalSpeciesLabel\n 1 14 C\n 2 1 H\n%endblock\n")
    with pytest.raises(DataError, match=r"atom 1 is C in .*, 'C', is Si by the input"):
        siesta.read(folder)


@pytest.mark.parametrize(("label", "z"), [("Fe_up", 26), ("C1", 6), ("Cup", None), ("Oads", None), ("top", None), ("Xx", None), ("CH3", 6)])
def test_elements_of_labels(tmp_path, label, z):
    folder = written(tmp_path, rows_of(model(1), 1))
    listed, orbitals = read_geometry(folder / "run.XV"), read_orb_indx(folder / "run.ORB_INDX")
    named = [one._replace(label=label) for one in orbitals]
    if z in (6, None):
        check_species(listed._replace(numbers=np.full(3, 6)), named, None, [])
    if z is not None:
        with pytest.raises(DataError, match="by its label"):
            check_species(listed._replace(numbers=np.full(3, 7)), named, None, [])


def test_what_is_missing_beside_a_netcdf_file(tmp_path, capsys):
    folder = written(tmp_path / "run", rows_of(model(1), 1), "nc")
    for suffix in ("ORB_INDX", "XV", "STRUCT_OUT"):
        (folder / f"run.{suffix}").unlink()
    with h5py.File(folder / "C.ion.nc", "w") as file:
        file["orb"] = 1.0
    (folder / "Rho.grid.nc").write_bytes(b"CDF\1 a grid")
    assert siesta.detect(folder) == "it holds run.nc"
    with pytest.raises(SystemExit, match="1"):
        main([str(folder), str(tmp_path / "out")])
    assert "run.ORB_INDX is missing: it lists the orbitals of the matrices" in capsys.readouterr().out
    (folder / "run.nc").unlink()
    assert siesta.detect(folder) is None
