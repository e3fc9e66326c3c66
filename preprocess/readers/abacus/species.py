"""The orbitals of each element of an ABACUS run, from the ``.orb`` files or the log."""

import re
from pathlib import Path
from typing import NamedTuple

from deeph.physics.system import SYMBOLS
from deeph.physics.units import ABACUS
from deeph.runtime.errors import DataError
from preprocess.orbitals.orb import read_orb_shells
from preprocess.readers.abacus.files import RunFiles
from preprocess.readers.abacus.log import Log
from preprocess.readers.abacus.stru import Stru


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
    """

    shells: tuple[int, ...]
    cutoff: float | None
    source: str


def read_orbitals(files: RunFiles, stru: Stru, log: Log) -> dict[int, Orbital]:
    """Shells of every element, by atomic number, in order of first appearance.

    Raises
    ------
    DataError
        If they are neither in an orbital file nor in the log, or one element has two bases.
    """
    out: dict[int, Orbital] = {}
    for label, number in dict(zip(stru.labels, stru.system.numbers.tolist(), strict=True)).items():
        one = _orbital(files, stru, log, label, number)
        first = out.setdefault(number, one)
        if first.shells != one.shells:
            raise DataError(
                f"{files.stru}: {SYMBOLS[number]} has two bases, {first.source} {list(first.shells)} and {one.source} {list(one.shells)}: "
                "expected one basis an element"
            )
    return out


def _orbital(files: RunFiles, stru: Stru, log: Log, label: str, number: int) -> Orbital:
    """The basis of one species."""
    name = stru.orbital_files.get(label, "")
    path = _find(files, name)
    if path is not None:
        element, shells, cutoff = read_orb_shells(path)
        if element != number:
            raise DataError(f"{files.stru} gives {label} the orbitals {path}, which are of {SYMBOLS[element]}")
        return Orbital(shells, cutoff, path.name)
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
