"""k-points as typed: special points of the lattice by name, or fractional coordinates."""

import re
from fractions import Fraction

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, System
from deeph.runtime.errors import UsageError
from postprocess.lattice.special_points import special_points


def point_name(text: str) -> str:
    """A label as the tables have it: ``G`` for Gamma, however it is written."""
    return "G" if text.strip("\\").upper() in ("G", "GAMMA", "Γ") else text


def coordinates(text: str) -> FloatArray | None:
    """(3,) fractional coordinates of ``1/3,1/3,0``, with commas or spaces; None if the text is something else."""
    try:
        k = np.array([float(Fraction(x)) for x in re.split(r"\s*,\s*|\s+", text.strip())])
    except (ValueError, ArithmeticError):
        return None
    return k if k.shape == (3,) and np.isfinite(k).all() else None


def find_point(structure: System | Hamiltonian, text: str, option: str = "--k") -> FloatArray:
    """(3,) fractional k of a label of the lattice, or of coordinates.

    Raises
    ------
    UsageError
        If it is neither; ``option`` is where it was typed.
    """
    lattices, name = special_points(structure), point_name(text.strip())
    for lattice in lattices:
        if name in lattice.points:
            return lattice.points[name]
    k = coordinates(text)
    if k is None:
        known = lattices[0].describe()
        raise UsageError(f"{option} {text}: expected three fractional coordinates such as 1/3,1/3,0, or one of {known}")
    return k
