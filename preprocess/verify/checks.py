"""The levels of verification, and the checks of matrices, orbitals and bands."""

from typing import Literal

import numpy as np
from scipy.linalg import eigvalsh

from deeph.physics.covariance import bond_violations
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.soundness import check_finite, check_hermitian
from deeph.physics.system import SYMBOLS, FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.threads import blas_threads
from preprocess.readers.base import ReferenceBands
from preprocess.verify.electrons import check_electrons, eigenvalues

Level = Literal["off", "basic", "bands"]
MAX_ONSITE_DIFFERENCE = 1e-3
"""Accepted difference of on-site overlaps within an element; integrals on grids give up to 1e-4, other radial functions orders more."""
MAX_BOND_VIOLATION = 1e-2
"""Accepted overlap between different m along a bond; real-space grids give up to 1e-4, a wrong order 0.01 to 1."""
MAX_ORBITALS = 3000
"""Above this dimension the smallest eigenvalue of S is not computed: it would take longer than the conversion."""


def verify(data: Hamiltonian, level: Level, reference: ReferenceBands | None = None) -> str:
    """Check a structure and say in a few words what was found.

    Parameters
    ----------
    data : Hamiltonian
        What a reader returned.
    level : {"off", "basic", "bands"}
        ``off`` only refuses NaN and infinities; ``basic`` adds Hermiticity, one basis an element, positive overlap, order and signs of the
        orbitals, and the number of electrons; ``bands`` adds the code's own eigenvalues.
    reference : ReferenceBands, optional
        For ``bands``; None where the code printed none, which is as good as ``basic``.

    Raises
    ------
    DataError
        If a check fails.
    """
    check_finite(data)
    if level == "off":
        return "not verified"
    with blas_threads(data.n_orbitals):
        check_hermitian(data)
        check_one_basis(data)
        found = [check_overlap(data), check_orbitals(data), check_electrons(data)]
        if level == "bands" and data.H is not None and reference is not None:
            found.append(check_bands(data, reference))
        elif level == "bands":
            found.append(f"not compared with bands ({'no H' if data.H is None else 'none were printed'})")
    return ", ".join(text for text in found if text)


def check_one_basis(data: Hamiltonian) -> None:
    """The overlaps of an atom's orbitals with each other, which no neighbour changes, are the same on all atoms of an element."""
    own = data.S.selected(np.flatnonzero(is_onsite(data.S.pairs)))
    first: dict[int, tuple[int, FloatArray]] = {}
    for n, atom in enumerate(own.pairs[:, 3].tolist()):
        z, block = int(data.system.numbers[atom]), own.take(np.array([n]))[0, 0]
        other, expected = first.setdefault(z, (atom, block))
        error = float(np.abs(block - expected).max())
        if not error <= MAX_ONSITE_DIFFERENCE:
            raise DataError(
                f"{SYMBOLS[z]} has two bases: the overlaps of the orbitals with each other on atoms {other + 1} and {atom + 1} differ by "
                f"{error:.1e} (expected below {MAX_ONSITE_DIFFERENCE:g}). Repeat the run with the same orbitals on all atoms of an element"
            )


def check_overlap(data: Hamiltonian) -> str:
    """The overlap is positive definite at Gamma."""
    if data.S_bloch.n_orbitals > MAX_ORBITALS:
        return ""
    smallest = float(eigvalsh(data.S_bloch.dense(np.zeros(3)).real, subset_by_index=(0, 0))[0])
    if not smallest > 0:
        raise DataError(
            f"the overlap has the eigenvalue {smallest:.2e} at Gamma; expected all positive. Orbital order, cell or positions do "
            "not fit the matrices, or the basis is linearly dependent"
        )
    return f"S >= {smallest:.1e}"


def check_orbitals(data: Hamiltonian) -> str:
    """Orbitals, positions and elements belong to the overlap: along a bond it couples only equal m, whatever the structure."""
    found = bond_violations(data)
    if not found:
        return ""
    (one, other), worst = max(found.items(), key=lambda item: item[1])
    if not worst <= MAX_BOND_VIOLATION:
        raise DataError(
            f"the overlap of {one} with {other} orbitals couples different m along the bonds, by {worst:.1e} (expected below "
            f"{MAX_BOND_VIOLATION:g}): order or signs of the orbitals, the positions, or the order of the atoms do not fit the matrices"
        )
    return f"orbitals fit the bonds to {worst:.0e}"


def check_bands(data: Hamiltonian, reference: ReferenceBands) -> str:
    """The recomputed eigenvalues are those the code printed."""
    if not (np.isfinite(reference.k).all() and np.isfinite(reference.energies).all()):
        raise DataError(f"{reference.name} holds NaN or infinity: the run failed or the file is damaged; repeat the run")
    energies = eigenvalues(data, reference.k)[..., : reference.energies.shape[-1]]  # some codes print only the lowest
    if energies.shape != reference.energies.shape:
        raise DataError(
            f"{reference.name} holds {reference.energies.shape} energies (spin, k, band), but the matrices give {energies.shape}: "
            "is it of this run?"
        )
    error = np.abs(energies - reference.energies)
    worst = float(error.max())
    if not worst <= reference.accuracy:
        spin, n, band = np.unravel_index(int(error.argmax()), error.shape)
        raise DataError(
            f"recomputed bands differ from {reference.name} by up to {worst:.1e} eV (spin {spin}, k = {reference.k[n].tolist()}, "
            f"band {band}); expected below {reference.accuracy:g} eV. The file is of another run, or orbital order or spin are misread"
        )
    return f"bands of {reference.name} to {worst:.0e} eV"
