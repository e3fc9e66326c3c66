"""SIESTA: damaged and contradictory runs are refused with a message that says what to do."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from siesta_files import model, rows_of, write_texts, written

from deeph.runtime.errors import DataError
from preprocess.cli.preprocess import main
from preprocess.readers.siesta import reader as siesta


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
    "two bases": (edited("XV", "  2     1 ", "  2     6 "), "two bases for C"),
    "two radii": (edited("ORB_INDX", "4.663  0  0  0    19", "4.600  0  0  0    19"), "two bases for C"),
    "short XV": (lines_of("XV", 6), "not a complete list"),
    "other atoms": (lambda folder: [edited("XV", " 3\n", " 2\n")(folder), lines_of("XV", 6)(folder)], "3 atoms in the matrices, but 2"),
    "ghost atoms": (edited("XV", "     6 ", "    -6 "), "ghost atoms"),
    "no elements": (removed("XV", "STRUCT_OUT"), "neither .XV nor .STRUCT_OUT"),
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
