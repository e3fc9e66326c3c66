"""What FHI-aims prints: Fermi level, moments and eigenvalues in aims.out, more eigenvalues in bandXYYY.out."""

import re
from pathlib import Path

import numpy as np

from deeph.files.text import integer, number, numbers, read_text
from deeph.physics.system import FloatArray, System
from deeph.runtime.errors import DataError
from preprocess.readers.aims.input import CONTROL, Control, read_control
from preprocess.readers.base import Convergence, NoBandsError, ReferenceBands

LOG = "aims.out"
FINISHED = "Have a nice day."
GAVE_UP = re.compile(r"scf_solver: SCF cycle not converged", re.IGNORECASE)
"""How a run ends whose self-consistent cycle did not converge."""
VERDICT = re.compile(r"(?<!CP-)self-consistency cycle (converged|not converged|did not converge)|(SCF cycle not converged)", re.IGNORECASE)
ITERATION = re.compile(r"Begin self-consistency iteration #\s*(\d+)")
CHANGE = re.compile(r"\| Change of charge(?:/spin)? density\s*:\s*(\S+)")
CRITERION = re.compile(r"\| Convergence accuracy of self-consistent charge density\s*:\s*(\S+)")
SPIN_TABLE = "Summary of the per-atom spin analysis:"
EIGENVALUES = "Writing Kohn-Sham eigenvalues."
TABLE = re.compile(
    r"(?:Spin-(?P<spin>up|down) eigenvalues:\s+)?"
    r"(?:K-point:\s+\d+ +at +(?P<k>\S+ +\S+ +\S+) +\(in units of recip\. lattice\)\s+)?"
    r"State +Occupation +Eigenvalue \[Ha\] +Eigenvalue \[eV\] *\n(?P<rows>(?: *\d+ +\S+ +\S+ +\S+ *\n)+)"
)
ACCURACY = 1e-4
"""Accepted difference from the eigenvalues in the band files, eV: they have five decimals."""
ACCURACY_OF_LOG = 1e-3
"""The same for aims.out, whose eigenvalues belong to the last step before the density was called converged."""


def _read_log(folder: Path) -> str | None:
    """The text of aims.out; None if there is none.

    Raises
    ------
    DataError
        If the run did not end properly.
    """
    path = folder / LOG
    if not path.is_file():
        return None
    text = read_text(path)
    if FINISHED not in text and not GAVE_UP.search(text):
        raise DataError(f"{path} does not end with '{FINISHED}': the run was interrupted or failed; repeat it")
    return text


def read_convergence(folder: Path, control: Control) -> Convergence:
    """How the last self-consistent cycle ended; unknown without aims.out.

    Raises
    ------
    DataError
        If a number of it cannot be read.
    """
    text = _read_log(folder)
    verdicts = [] if text is None else VERDICT.findall(text)
    if text is None or not verdicts:
        return Convergence()
    iterations, change, criterion = ITERATION.findall(text), CHANGE.findall(text), CRITERION.findall(text)
    try:
        return Convergence(
            verdicts[-1][0].lower() == "converged",
            integer(iterations[-1]) if iterations else None,
            number(change[-1]) if change else None,
            number(criterion[-1]) if criterion else control.number("sc_accuracy_rho", "0") or None,
            "change of the charge density",
            LOG,
        )
    except ValueError as error:
        raise DataError(f"{folder / LOG}: the self-consistent cycle is not understood: {error}") from error


def read_fermi_energy(folder: Path, control: Control) -> float | None:
    """The last Fermi level in aims.out, eV; None if there is no aims.out, or if each spin has its own (fixed spin moment)."""
    text = _read_log(folder)
    if text is None or "fixed_spin_moment" in control.keywords:
        return None
    found = re.findall(r"Chemical potential \(Fermi level\)(?: in eV\s*)?:\s*(\S+)", text)
    if not found:
        raise DataError(f"{folder / LOG}: no line '| Chemical potential (Fermi level):'; is it the output of this run?")
    try:
        return number(found[-1])
    except ValueError as error:
        raise DataError(f"{folder / LOG}: Chemical potential (Fermi level): {error}") from error


def read_moments(folder: Path, n_atoms: int) -> FloatArray | None:
    """(n_atoms, 3) Mulliken moments along z, Bohr magneton, with ``output mulliken``; None if there are none.

    Raises
    ------
    DataError
        If the table has not one line for each atom.
    """
    text = _read_log(folder)
    if text is None or SPIN_TABLE not in text:
        return None
    rows = re.findall(r"^\s*\|\s+(\d{1,9})\s+(\S+)", text.rsplit(SPIN_TABLE, 1)[1].split("| Total")[0], re.MULTILINE)
    if [int(atom) for atom, _ in rows] != list(range(1, n_atoms + 1)):
        raise DataError(f"{folder / LOG}: '{SPIN_TABLE}' lists {len(rows)} atoms, expected {n_atoms}")
    moments = np.zeros((n_atoms, 3))
    try:
        moments[:, 2] = [number(spin) for _, spin in rows]
    except ValueError as error:
        raise DataError(f"{folder / LOG}: '{SPIN_TABLE}' {error}") from error
    return moments


def read_bands(folder: Path, _system: System) -> ReferenceBands:
    """Read the eigenvalues of ``output band``: band1YYY.out, and band2YYY.out for spin down; without them, those in aims.out.

    The files hold energies relative to the Fermi level, whose value is in aims.out. After a run with spin-orbit coupling the
    scalar-relativistic ones, which belong to the matrices, are in bandXYYY.out.no_soc. In aims.out are those of the first k points.

    Raises
    ------
    NoBandsError
        If there are no such files.
    DataError
        If one is incomplete, or there is no Fermi level.
    """
    names = sorted(path.name for path in folder.glob("band[12][0-9][0-9][0-9].out.no_soc"))
    names = names or sorted(path.name for path in folder.glob("band[12][0-9][0-9][0-9].out"))
    if not names:
        return _bands_of_log(folder)
    fermi = read_fermi_energy(folder, read_control(folder / CONTROL))
    if fermi is None:
        raise DataError(f"{folder} has no {LOG} with one Fermi level, the zero of {names[0]}; keep what FHI-aims prints under this name")
    channels = [[_read_band(folder / name) for name in names if name[4] == spin] for spin in sorted({name[4] for name in names})]
    spins = [np.concatenate(tables) if len({table.shape[1] for table in tables}) == 1 else np.zeros(0) for tables in channels]
    if len({spin.shape for spin in spins}) != 1 or spins[0].ndim != 2:
        raise DataError(f"{folder}: {names[0]} to {names[-1]} have different numbers of bands, or up and down of k points")
    table = np.array(spins)
    return ReferenceBands(f"{names[0]} to {names[-1]}", table[0, :, 1:4], table[:, :, 5::2] + fermi, fermi, ACCURACY)


def _bands_of_log(folder: Path) -> ReferenceBands:
    """The eigenvalues printed last in aims.out; a calculation at one k point does not name it, it is Gamma."""
    text = _read_log(folder)
    tables = list(TABLE.finditer(text.rsplit(EIGENVALUES, 1)[1])) if text is not None and EIGENVALUES in text else []
    if not tables:
        raise NoBandsError(f"{folder} has neither band1001.out nor an {LOG} with eigenvalues to compare with; FHI-aims has 'output band'")
    k, energies = [], []
    for spin in sorted({table["spin"] or "" for table in tables}, reverse=True):  # up before down
        own = [table for table in tables if (table["spin"] or "") == spin]
        try:
            k.append([[number(x) for x in (table["k"] or "0 0 0").split()] for table in own])
            energies.append([[number(row.split()[3]) for row in table["rows"].splitlines()] for table in own])
        except ValueError as error:
            raise DataError(f"{folder / LOG}: after '{EIGENVALUES}' a k point or an energy is not a number: {error}") from error
    shapes = {len(rows) for channel in energies for rows in channel}, {len(channel) for channel in energies}
    if any(len(sizes) != 1 for sizes in shapes) or any(points != k[0] for points in k):
        raise DataError(
            f"{folder / LOG}: after '{EIGENVALUES}' the tables have different numbers of states, or up and down different k points"
        )
    return ReferenceBands(LOG, np.array(k[0]), np.array(energies), float("nan"), ACCURACY_OF_LOG)


def _read_band(path: Path) -> FloatArray:
    """Rows ``index k1 k2 k3 occupation energy occupation energy ...`` of one file."""
    try:
        table = np.array([numbers(line.split()) for line in read_text(path).splitlines() if line.strip()])
    except ValueError as error:
        raise DataError(f"{path} is not a complete band file of FHI-aims: {error}") from error
    if table.ndim != 2:
        raise DataError(f"{path} is empty; expected the bands that FHI-aims writes with 'output band'")
    if table.shape[1] < 6 or table.shape[1] % 2:
        raise DataError(f"{path}: {table.shape[1]} columns; expected an index, k, and pairs of occupation and energy")
    return table
