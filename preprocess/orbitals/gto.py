"""Gaussian bases: the radial functions of PySCF's basis sets, tabulated for the same engine as numerical orbitals."""

import math
from typing import Any

import numpy as np

from deeph.physics.orbitals import Orbitals, RadialFunction, gaussian_radius
from deeph.physics.system import SYMBOLS, FloatArray
from deeph.physics.units import PYSCF
from deeph.runtime.errors import DataError

TAIL = 1e-11
"""Where r^2 R(r) of a shell has fallen to this part of its largest value, the table ends."""
K_DECAY = 30.0
"""At the largest wave number, f_a f_b = exp(-k^2/2a) of the steepest function a has fallen to exp(-30) = 1e-13."""


def read_gto(name: str, number: int) -> Orbitals:
    """The orbitals of an element in one of PySCF's Gaussian basis sets (spherical, order of PySCF's shells).

    Parameters
    ----------
    name : str
        For example ``cc-pvdz`` or ``gth-dzvp``, or NWChem text.
    number : int
        Atomic number.

    Raises
    ------
    DataError
        If PySCF is not installed, or does not know the basis for this element.
    """
    try:
        from pyscf import gto
    except ImportError as error:
        raise DataError(f"the Gaussian basis {name!r} needs PySCF: pip install pyscf") from error
    try:
        shells = gto.M(atom=f"{SYMBOLS[number]} 0 0 0", basis=name, spin=None, verbose=0)
    except Exception as error:
        raise DataError(f"PySCF has no basis {name!r} for {SYMBOLS[number]}: {error}") from error
    return orbitals_of(shells, 0, number, name)


def orbitals_of(mol: Any, atom: int, number: int, name: str) -> Orbitals:
    """The orbitals of one atom of a PySCF molecule or cell."""
    functions, smallest, largest = [], math.inf, 0.0
    for shell in mol.atom_shell_ids(atom):
        l, exponents = int(mol.bas_angular(shell)), np.asarray(mol.bas_exp(shell))
        smallest, largest = min(smallest, float(exponents.min())), max(largest, float(exponents.max()))
        coefficients = mol._libcint_ctr_coeff(shell)  # noqa: SLF001 - with the normalization of the primitives, which no public name gives
        functions += [_radial(l, exponents, c) for c in np.asarray(coefficients).T]
    k_max = math.sqrt(2 * largest * K_DECAY) / PYSCF.bohr
    return Orbitals(number, tuple(functions), name, pair_radius=gaussian_radius(smallest / PYSCF.bohr**2), k_max=k_max)


def _radial(l: int, exponents: FloatArray, coefficients: FloatArray) -> RadialFunction:
    """R(r) = r^l sum_p c_p exp(-a_p r^2), from the centre to where nothing is left, on a mesh that is dense at the centre."""
    x = np.linspace(0.0, 1.0, 6000)
    outer = math.sqrt(-math.log(TAIL) / float(exponents.min())) + 2.0
    r = outer * x**2 * (1 + x) / 2
    values = r**l * (np.exp(-np.outer(r**2, exponents)) @ coefficients)
    keep = np.flatnonzero(np.abs(values) * r**2 > TAIL * (np.abs(values) * r**2).max())[-1] + 2
    return RadialFunction(l, r[:keep] * PYSCF.bohr, values[:keep] * PYSCF.bohr**-1.5)
