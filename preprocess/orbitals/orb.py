"""ABACUS's numerical orbitals, the ``.orb`` files."""

import re
from pathlib import Path

import numpy as np

from deeph.physics.orbitals import Orbitals, RadialFunction
from deeph.physics.system import NUMBERS
from deeph.physics.units import ABACUS
from deeph.runtime.errors import DataError

_SHELLS = re.compile(r"Number of ([SPDFGHI])\s?orbital\s*-+>\s*(\d+)", re.IGNORECASE)


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
    try:
        head = path.read_text(encoding="utf-8", errors="replace").split("SUMMARY")[0]
    except OSError as error:
        raise DataError(f"no orbital file {path}: {error}") from error
    element = re.search(r"^\s*Element\s+([A-Z][a-z]?)\b", head, re.MULTILINE)
    radius = re.search(r"Radius Cutoff\(a\.u\.\)\s+([\d.]+)", head)
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
    number, shells, _ = read_orb_shells(path)
    body = path.read_text(encoding="utf-8", errors="replace").split("SUMMARY", 1)[-1]
    mesh, step = re.search(r"Mesh\s+(\d+)", body), re.search(r"\bdr\s+([\d.eE+-]+)", body)
    if mesh is None or step is None:
        raise DataError(f"{path} names no Mesh and dr after its head: the file is truncated or no ABACUS orbital file")
    r = np.arange(int(mesh[1]), dtype=np.float64) * float(step[1])
    parts = re.split(r"Type\s+L\s+N\s*\n", body)[1:]
    functions: dict[tuple[int, int], RadialFunction] = {}
    for part in parts:
        try:
            fields = part.split()
            l, n = int(fields[1]), int(fields[2])
            values = np.array(fields[3:], float)
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}: orbital {len(functions) + 1} cannot be read: {error}") from error
        if len(values) != len(r) or not np.isfinite(values).all():
            raise DataError(f"{path}: orbital {len(functions) + 1} (l = {l}) has {len(values)} values, expected {len(r)} finite numbers")
        norm = float(simpson(values**2 * r**2, x=r))
        if not norm > 0:
            raise DataError(f"{path}: orbital {len(functions) + 1} (l = {l}) is zero everywhere")
        functions[l, n] = RadialFunction(l, r * ABACUS.bohr, values / (norm * ABACUS.bohr**3) ** 0.5)
    if tuple(l for l, _ in sorted(functions)) != shells or len(parts) != len(shells):
        raise DataError(f"{path} holds radial functions with l = {[l for l, _ in functions]}, but its head announces {list(shells)}")
    return Orbitals(number, tuple(functions[key] for key in sorted(functions)), path.name)
