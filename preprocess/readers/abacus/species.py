"""The orbitals of each element of an ABACUS run, from the ``.orb`` files or the log."""

import re
from collections.abc import Mapping
from itertools import combinations_with_replacement
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.physics.blocks import PairBlocks
from deeph.physics.system import SYMBOLS, System
from deeph.physics.units import ABACUS
from deeph.runtime.errors import DataError
from preprocess.orbitals.orb import read_orb, read_orb_shells
from preprocess.readers.abacus.files import RunFiles
from preprocess.readers.abacus.log import Log
from preprocess.readers.abacus.stru import Stru
from preprocess.readers.common import one_basis

MAX_ONSITE = 1e-3
"""Largest accepted difference between the overlap of two functions of one atom and that in the matrix; real files show 1e-8."""


class Orbital(NamedTuple):
    """The basis of one element.

    Attributes
    ----------
    shells : tuple of int
        l of each radial function.
    cutoff : float or None
        Angstrom; None if unknown.
    source : str
        The orbital file, or the log.
    path : Path or None
        The orbital file, if it is there.
    """

    shells: tuple[int, ...]
    cutoff: float | None
    source: str
    path: Path | None = None

    def __str__(self) -> str:
        radius = "" if self.cutoff is None else f" within {self.cutoff:.3f} Angstrom"
        return f"{self.source} {list(self.shells)}{radius}"


def read_orbitals(files: RunFiles, stru: Stru, log: Log) -> dict[int, Orbital]:
    """Shells of every element, by atomic number, in order of first appearance.

    Raises
    ------
    DataError
        If they are neither in an orbital file nor in the log, or one element has two bases.
    """
    species = dict(zip(stru.labels, stru.system.numbers.tolist(), strict=True))
    try:
        return one_basis((number, _orbital(files, stru, log, label, number)) for label, number in species.items())
    except DataError as error:
        raise error if str(files.stru) in str(error) else DataError(f"{files.stru}: {error}") from error


def check_functions(files: RunFiles, system: System, orbitals: Mapping[int, Orbital], S: PairBlocks) -> None:
    """The radial functions of the orbital files have the overlaps of the matrices: files and matrices belong together.

    Parameters
    ----------
    files, system, orbitals
        The run, its atoms and the basis of each element.
    S : PairBlocks
        Overlap in the project's orbital order.

    Raises
    ------
    DataError
        If two functions of one l on one atom have another overlap than in the matrix, or a file is damaged.
    """
    from scipy.integrate import simpson

    for number, orbital in orbitals.items():
        if orbital.path is None:
            continue
        atom = int(np.argmax(system.numbers == number))
        onsite = S.block((0, 0, 0, atom, atom))[0]
        functions = read_orb(orbital.path).shells
        start = np.cumsum([0, *(2 * one.l + 1 for one in functions)])
        for (n, a), (m, b) in combinations_with_replacement(enumerate(functions), 2):
            expected = float(simpson(a.values * b.values * a.r**2, x=a.r)) if a.l == b.l else 0.0
            error = abs(expected - float(onsite[start[n], start[m]]))
            if not error < MAX_ONSITE:
                raise DataError(
                    f"{orbital.path}: functions {n + 1} and {m + 1} overlap by {expected:.6f}, but in {files.matrices['S'].name} by "
                    f"{onsite[start[n], start[m]]:.6f}: the file is damaged, or not the one of the run"
                )


def _orbital(files: RunFiles, stru: Stru, log: Log, label: str, number: int) -> Orbital:
    """The basis of one species."""
    name = stru.orbital_files.get(label, "")
    path = _find(files, name)
    if path is not None:
        element, shells, cutoff = read_orb_shells(path)
        if element != number:
            raise DataError(f"{files.stru} gives {label} the orbitals {path}, which are of {SYMBOLS[element]}")
        return Orbital(shells, cutoff, path.name, path)
    if label in log.shells:
        radius = re.search(r"_(\d+(?:\.\d+)?)au_", name)
        return Orbital(log.shells[label], float(radius[1]) * ABACUS.bohr if radius else log.cutoff, Path(name).name or "log")
    where = files.log or files.out / "running_scf.log"
    raise DataError(
        f"{files.stru}: the orbitals of {label} are unknown: {name or 'no file'} in NUMERICAL_ORBITAL is not found (orbital_dir in INPUT: "
        f"{files.keywords.get('orbital_dir', 'not set')}), and {where} does not list them. Copy the .orb file beside STRU or the log into "
        f"{files.out.name}"
    )


def _find(files: RunFiles, name: str) -> Path | None:
    """The orbital file: below ``orbital_dir``, where the run was started, or beside STRU."""
    if not name:
        return None
    folder = files.folder / files.keywords.get("orbital_dir", "").strip("\"'")
    return next((p for p in (folder / name, files.folder / name, files.folder / Path(name).name) if p.is_file()), None)
