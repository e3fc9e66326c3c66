"""The fourteen lattices that ABACUS builds from the keyword ``latname`` and LATTICE_PARAMETERS.

Definitions from the ABACUS manual, section "The STRU file", LATTICE_PARAMETERS.
"""

from collections.abc import Callable, Sequence

import numpy as np

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError

Rows = list[list[float]]


def _trigonal(x: float) -> Rows:
    tx, ty, tz = np.sqrt([(1 - x) / 2, (1 - x) / 6, (1 + 2 * x) / 3]).tolist()
    return [[tx, -ty, tz], [0, 2 * ty, tz], [-tx, -ty, tz]]


def _oblique(b: float, cosine: float) -> list[float]:
    """The second vector of the monoclinic lattices: length b, at an angle to the first one."""
    return [b * cosine, b * np.sqrt(1 - cosine**2).item(), 0]


def _triclinic(b: float, c: float, ab: float, ac: float, bc: float) -> Rows:
    sine = np.sqrt(1 - ab**2).item()
    height = np.sqrt(1 + 2 * ab * ac * bc - ab**2 - ac**2 - bc**2).item() / sine
    return [[1, 0, 0], [b * ab, b * sine, 0], [c * ac, c * (bc - ac * ab) / sine, c * height]]


_LATTICES: dict[str, tuple[int, Callable[..., Rows]]] = {
    "sc": (0, lambda: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "fcc": (0, lambda: [[-0.5, 0, 0.5], [0, 0.5, 0.5], [-0.5, 0.5, 0]]),
    "bcc": (0, lambda: [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]]),
    "hexagonal": (1, lambda c: [[1, 0, 0], [-0.5, 3**0.5 / 2, 0], [0, 0, c]]),
    "trigonal": (1, _trigonal),
    "st": (1, lambda c: [[1, 0, 0], [0, 1, 0], [0, 0, c]]),
    "bct": (1, lambda c: [[0.5, -0.5, c / 2], [0.5, 0.5, c / 2], [-0.5, -0.5, c / 2]]),
    "so": (2, lambda b, c: [[1, 0, 0], [0, b, 0], [0, 0, c]]),
    "baco": (2, lambda b, c: [[0.5, b / 2, 0], [-0.5, b / 2, 0], [0, 0, c]]),
    "fco": (2, lambda b, c: [[0.5, 0, c / 2], [0.5, b / 2, 0], [0, b / 2, c / 2]]),
    "bco": (2, lambda b, c: [[0.5, b / 2, c / 2], [-0.5, b / 2, c / 2], [-0.5, -b / 2, c / 2]]),
    "sm": (3, lambda b, c, ab: [[1, 0, 0], _oblique(b, ab), [0, 0, c]]),
    "bacm": (3, lambda b, c, ab: [[0.5, 0, -c / 2], _oblique(b, ab), [0.5, 0, c / 2]]),
    "triclinic": (5, _triclinic),
}


def lattice_vectors(latname: str, parameters: Sequence[float]) -> FloatArray:
    """Lattice vectors of a named lattice.

    Parameters
    ----------
    latname : str
        As in ABACUS's INPUT.
    parameters : sequence of float
        b/a, c/a and cosines of angles, as many as the lattice needs.

    Returns
    -------
    (3, 3) array
        Rows, in units of the lattice constant.

    Raises
    ------
    DataError
        If the name is unknown or the parameters are too few.
    """
    if latname.lower() not in _LATTICES:
        raise DataError(f"latname {latname!r} in INPUT names no lattice; expected one of {', '.join(_LATTICES)}")
    count, build = _LATTICES[latname.lower()]
    if len(parameters) < count:
        raise DataError(f"latname {latname} needs {count} LATTICE_PARAMETERS, found {len(parameters)}")
    return np.array(build(*parameters[:count]), float)
