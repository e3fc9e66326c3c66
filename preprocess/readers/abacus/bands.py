"""ABACUS's own eigenvalues: ``istate.info`` (3.0 to 3.10) and ``eig_occ.txt`` or ``eig.txt`` (later versions)."""

import re
from pathlib import Path

import numpy as np

from deeph.files.text import number, read_text
from deeph.physics.system import FloatArray, System
from deeph.physics.units import ABACUS
from deeph.runtime.errors import DataError
from preprocess.readers.abacus.files import RunFiles, find_files
from preprocess.readers.abacus.log import read_log
from preprocess.readers.base import NoBandsError, ReferenceBands

ACCURACY = 2e-5
"""Accepted difference, eV; 3e-7 was seen. The matrices are printed with eight decimals."""
ACCURACY_SHORT = 1e-4
"""The same where the eigenvalues are printed with six digits, as older versions do."""
_ISTATE = re.compile(r"^\s*BAND\b.*kpoint\s*=\s*\d+\s*\(([^)]*)\)", re.IGNORECASE)
_EIG = re.compile(r"^\s*spin=(\d+)\s+k-point=\s*\d+/\d+\s+cartesian=\s*(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)
Block = tuple[list[float], list[list[float]]]


def read_bands(folder: Path, system: System) -> ReferenceBands:
    """Read the eigenvalues ABACUS printed.

    Parameters
    ----------
    folder : path
        The run folder.
    system : System
        The structure of the run.

    Returns
    -------
    ReferenceBands
        The lowest bands; ABACUS prints only ``nbands`` of them.

    Raises
    ------
    NoBandsError
        If there is no such file.
    DataError
        If it is incomplete.
    """
    files = find_files(folder)
    names = ("istate.info", "eig_occ.txt", "eig.txt")
    path = next((files.out / name for name in names if (files.out / name).is_file()), None)
    if path is None:
        raise NoBandsError(f"{files.out} holds no {', '.join(names)}: there are no eigenvalues to compare with")
    lines = read_text(path).splitlines()
    try:
        if path.name == "istate.info":
            k, energies = _istate(lines)
        else:
            k, energies = _eig(lines, _lattice_constant(files), system)
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of eigenvalues: {error}") from error
    fermi = read_log(files.log).fermi_energy
    accuracy = ACCURACY if re.search(r"\d\.\d{8}", "".join(lines[1:])) else ACCURACY_SHORT
    return ReferenceBands(path.name, k, energies, float("nan") if fermi is None else fermi, accuracy)


def _istate(lines: list[str]) -> tuple[FloatArray, FloatArray]:
    """Rows of band, energy and occupation, both spins side by side; k fractional."""
    blocks: list[Block] = []
    for line in lines:
        if match := _ISTATE.match(line):
            blocks.append(([number(x) for x in match[1].split()], []))
        elif line.strip():
            blocks[-1][1].append([number(x) for x in line.split()])
    columns = np.array([rows for _, rows in blocks])
    return np.array([k for k, _ in blocks]).reshape(-1, 3), columns[:, :, 1::2].transpose(2, 0, 1)


def _eig(lines: list[str], lattice_constant: float, system: System) -> tuple[FloatArray, FloatArray]:
    """One block a spin and k; k Cartesian in units of 2 pi / lattice constant."""
    if sum("ionic step" in line.lower() for line in lines) > 1:
        raise ValueError("several ionic steps, expected one")
    spins: dict[int, list[Block]] = {}
    current: list[list[float]] | None = None
    for line in lines:
        if match := _EIG.match(line):
            current = []
            spins.setdefault(int(match[1]), []).append(([number(x) for x in match.groups()[1:]], current))
        elif current is not None and line.strip():
            current.append([number(x) for x in line.split()[:2]])
    blocks = list(spins.values())
    k = np.array([k for k, _ in blocks[0]]) / (lattice_constant * ABACUS.bohr) @ system.cell.T
    return k, np.array([[rows for _, rows in one] for one in blocks])[..., 1]


def _lattice_constant(files: RunFiles) -> float:
    """Bohr."""
    from preprocess.readers.abacus.stru import parse_stru

    return parse_stru(files.stru, files.keywords.get("latname")).lattice_constant
