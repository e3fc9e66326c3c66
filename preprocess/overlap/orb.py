"""ABACUS's numerical orbitals, the ``.orb`` files."""

import re
from pathlib import Path

import numpy as np

from deeph.files.text import integer, number, numbers, read_text
from deeph.physics.orbitals import Orbitals, RadialFunction
from deeph.physics.system import NUMBERS, FloatArray
from deeph.physics.units import ABACUS
from deeph.runtime.errors import DataError

_SHELLS = re.compile(r"Number of ([SPDFGHI])\s?orbital\s*-+>\s*(\d{1,3})\b", re.IGNORECASE)
NORMALIZED, MAX_NORM_ERROR = 1e-8, 1e-6
"""Where one function of a file is normalized that well, as real files have it, the others must not be off by more."""
MAX_POINTS = 10**6
"""Points of a radial grid; real files have some 1000."""


def read_orb_shells(path: str | Path) -> tuple[int, tuple[int, ...], float]:
    """Element, shells and cutoff from the head of an ``.orb`` file.

    Returns
    -------
    number : int
        Atomic number.
    shells : tuple of int
        l of each radial function, in ABACUS's order: by l, then by zeta.
    cutoff : float
        Angstrom.

    Raises
    ------
    DataError
        If the head is not that of an orbital file.
    """
    path = Path(path)
    head = read_text(path).split("SUMMARY")[0]
    element = re.search(r"^\s*Element\s+([A-Z][a-z]?)\b", head, re.MULTILINE)
    radius = re.search(r"Radius Cutoff\(a\.u\.\)\s+(\d+\.?\d*)", head)
    counts = {"SPDFGHI".index(l.upper()): int(n) for l, n in _SHELLS.findall(head)}
    if element is None or element[1] not in NUMBERS or radius is None or not counts:
        raise DataError(f"{path} does not begin with the element, the cutoff and the numbers of orbitals of an ABACUS orbital file")
    shells = tuple(l for l in sorted(counts) for _ in range(counts[l]))
    return NUMBERS[element[1]], shells, float(radius[1]) * ABACUS.bohr


def read_orb(path: str | Path) -> Orbitals:
    """Read an ``.orb`` file.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Orbitals
        Radial functions R(r) in Angstrom^-3/2, normalized as ABACUS does it: by Simpson's rule on the grid of the file.

    Raises
    ------
    DataError
        If the file is incomplete or damaged.
    """
    from scipy.integrate import simpson

    path = Path(path)
    element, shells, cutoff = read_orb_shells(path)
    body = read_text(path).split("SUMMARY", 1)[-1]
    r = _grid(path, body, cutoff)
    parts = re.split(r"Type\s+L\s+N\s*\n", body)[1:]
    functions: dict[tuple[int, int], RadialFunction] = {}
    norms: list[float] = []
    for part in parts:
        try:
            fields = part.split()
            l, n = integer(fields[1]), integer(fields[2])
            values = numbers(fields[3:])
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}: orbital {len(functions) + 1} cannot be read: {error}") from error
        if len(values) != len(r):
            raise DataError(f"{path}: orbital {len(functions) + 1} (l = {l}) has {len(values)} values, expected {len(r)}")
        norms.append(float(simpson(values**2 * r**2, x=r)))
        if not 0 < norms[-1] < np.inf:
            raise DataError(f"{path}: orbital {len(functions) + 1} (l = {l}) is zero everywhere, or infinite")
        functions[l, n] = RadialFunction(l, r * ABACUS.bohr, values / (norms[-1] * ABACUS.bohr**3) ** 0.5)
    _check_norms(path, np.array(norms))
    if tuple(l for l, _ in sorted(functions)) != shells or len(parts) != len(shells):
        raise DataError(f"{path} holds radial functions with l = {[l for l, _ in functions]}, but its head announces {list(shells)}")
    return Orbitals(element, tuple(functions[key] for key in sorted(functions)), path.name)


def _grid(path: Path, body: str, cutoff: float) -> FloatArray:
    """Uniform grid in Bohr, which ends at the cutoff that the head names."""
    mesh, step = re.search(r"Mesh\s+(\d{1,9})\b", body), re.search(r"\bdr\s+(\S+)", body)
    if mesh is None or step is None:
        raise DataError(f"{path} names no Mesh and dr after its head: the file is truncated or no ABACUS orbital file")
    try:
        points, dr = integer(mesh[1]), number(step[1])
    except ValueError as error:
        raise DataError(f"{path}: Mesh or dr: {error}") from error
    if not (0 < points < MAX_POINTS and dr > 0 and abs((points - 1) * dr - cutoff / ABACUS.bohr) < 1.5 * dr):
        raise DataError(
            f"{path}: a grid of {points} points every {dr:g} Bohr, but the cutoff in the head is {cutoff / ABACUS.bohr:g} Bohr: damaged"
        )
    return np.arange(points, dtype=np.float64) * dr


def _check_norms(path: Path, norms: FloatArray) -> None:
    """ABACUS normalizes, so that files need not be; but a file of which only one function is not has a changed number in it."""
    error = np.abs(norms - 1)
    if len(norms) and error.min() < NORMALIZED and error.max() > MAX_NORM_ERROR:
        n = int(error.argmax())
        raise DataError(f"{path}: orbital {n + 1} has the norm {norms[n]:.8f}, others of the file 1: a number in it was changed")
