"""ABACUS's log ``running_*.log``, and the Mulliken charges.

The wording changed between versions (``EFERMI``, ``E_Fermi``, ``atom label``, ``Atom label``), so lines are recognized without regard to
case and surroundings. All facts are collected from the whole text; of those that each iteration prints, the last one counts.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.files.text import integer, number, read_text
from deeph.physics.system import FloatArray
from deeph.physics.units import ABACUS
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from preprocess.readers.base import Convergence

_FLAGS = re.IGNORECASE | re.MULTILINE
_END = re.compile(r"^\s*(?:finish|total)\s+time\s*:", _FLAGS)
_VERSION = re.compile(r"ABACUS\s+v(\S+)")
_NSPIN = re.compile(r"^\s*nspin\s*=\s*(\S+)", _FLAGS)
_CUTOFF = re.compile(r"^\s*longest orb rcut \(Bohr\)\s*=\s*(\S+)", _FLAGS)
_ELECTRONS = re.compile(r"^\s*(?:autoset number of electrons|nelec now|(?:total )?number of electrons)\s*:?\s*=\s*(\S+)", _FLAGS)
_FERMI = re.compile(r"^\s*e_?fermi\s*=\s*(\S+)\s*eV", _FLAGS)
_FERMI_TABLE = re.compile(r"^\s*e_fermi\s+\S+\s+(\S+)\s*$", _FLAGS)
_SPECIES = re.compile(r"^\s*atom label\s*=\s*(\S+)(.*?)(?=^\s*(?:number of atoms? for this type|reading atom type))", _FLAGS | re.DOTALL)
_ZETA = re.compile(r"l\s*=\s*(\d{1,2})\s*,\s*number of zeta\s*=\s*(\d{1,3})\b", re.IGNORECASE)
_VERDICT = re.compile(r"charge density convergence is achieved|convergence has not been achieved|scf is (?:not )?converged", re.IGNORECASE)
_STEP = re.compile(r"\belec(?:\s*iter#?)?\s*=?\s*(\d+)", re.IGNORECASE)
_DENSITY_ERROR = re.compile(r"^\s*(?:density error is|electron density deviation)\s*=?\s*(\S+)", _FLAGS)
_MOMENT = re.compile(r"^\s*total magnetism on atom:?\s+\S+\s+(.*)$", _FLAGS)


class Log(NamedTuple):
    """What was found in a log; None where it does not say.

    Attributes
    ----------
    version : str
        ``3.10.0``; empty if unknown.
    nspin : int or None
        1, 2 or 4.
    shells : dict of str to tuple of int
        l of every radial function of each species.
    cutoff : float or None
        Longest orbital, Angstrom.
    fermi_energy : float or None
        eV, of the last iteration.
    n_electrons : float or None
        Valence electrons.
    scf : Convergence
        How the self-consistent cycle ended; without its criterion, which is in INPUT.
    """

    version: str = ""
    nspin: int | None = None
    shells: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 - never changed
    cutoff: float | None = None
    fermi_energy: float | None = None
    n_electrons: float | None = None
    scf: Convergence = Convergence()


def read_log(path: Path | None) -> Log:
    """Read a ``running_*.log``; everything unknown if there is none.

    Raises
    ------
    DataError
        If the log has no end, so that what it said last is that of some iteration, or a number in it is none.
    """
    if path is None:
        return Log()
    text = read_text(path)
    if not _END.search(text):
        raise DataError(f"{path} has no end ('Finish Time', 'Total Time'): the run or the copy was interrupted; repeat it")
    version = _VERSION.search(text)
    try:
        nspin, cutoff, electrons = (_last(pattern, text) for pattern in (_NSPIN, _CUTOFF, _ELECTRONS))
        fermi = _last(_FERMI, text)
        return Log(
            version[1] if version else "",
            None if nspin is None else int(nspin),
            {label: shells for label, body in _SPECIES.findall(text) if (shells := _shells(body))},
            None if cutoff is None else cutoff * ABACUS.bohr,
            _last(_FERMI_TABLE, text) if fermi is None else fermi,
            electrons,
            _convergence(text, path.name),
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}, expected a number") from error


def _last(pattern: re.Pattern[str], text: str) -> float | None:
    """The number in the last line of a kind."""
    found = pattern.findall(text)
    return number(found[-1]) if found else None


def _shells(body: str) -> tuple[int, ...]:
    """L of every radial function from the lines ``L=0, number of zeta = 2`` of a species."""
    return tuple(l for l, n in sorted((int(l), int(n)) for l, n in _ZETA.findall(body)) for _ in range(n))


def _convergence(text: str, name: str) -> Convergence:
    """The last verdict, iteration and density error; unknown without a verdict."""
    verdicts, steps = _VERDICT.findall(text), _STEP.findall(text)
    if not verdicts:
        return Convergence()
    return Convergence(
        "not" not in verdicts[-1].lower(),
        integer(steps[-1]) if steps else None,
        _last(_DENSITY_ERROR, text),
        quantity="density error",
        file=name,
    )


def read_moments(path: Path, n_atoms: int) -> FloatArray | None:
    """(n_atoms, 3) Mulliken moments in Bohr magneton from ``mulliken.txt`` (written with ``out_mul 1``), None if there is none.

    A collinear moment is along z.
    """
    if not path.is_file():
        return None
    try:
        rows = [[number(x) for x in re.sub(r"[(),]", " ", rest).split()] for rest in _MOMENT.findall(read_text(path))]
    except ValueError as error:
        raise DataError(f"{path}: a magnetic moment is not a number: {error}") from error
    rows = [row if len(row) == 3 else [0.0, 0.0, *row] for row in rows]
    if not rows or len(rows) % n_atoms or any(len(row) != 3 for row in rows):
        logger.warning("%s: %d magnetic moments for %d atoms; they are left out", path, len(rows), n_atoms)
        return None
    return np.array(rows[-n_atoms:])
