"""The electrons of a structure, counted as those in states below the Fermi level."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import erfc

from deeph.physics.eigenvalues import solve_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.physics.units import KELVIN
from deeph.runtime.errors import DataError
from preprocess.readers.base import Convergence
from preprocess.readers.kmesh import k_mesh, n_points, stored_mesh

MAX_ERROR = 1e-3
"""Accepted error of the count on the k mesh of the run."""
MAX_ERROR_ELSEWHERE = (1.0, 0.02)
"""Accepted error of the count on another mesh, in electrons and as a part of all: beyond it lies a warning."""
MAX_WORK = 2e9
"""Largest (number of k) x (dimension)^3 spent on the count: seconds, not minutes."""
SMALL = 60
"""Matrices below this dimension take as long as those of this one."""
DENSITY = 40.0
"""Points along a reciprocal vector times the lattice spacing, Angstrom, where the mesh of the run is not known."""


class Count(NamedTuple):
    """Electrons below the Fermi level.

    Attributes
    ----------
    electrons, expected : float
        Counted, and those of the run.
    why_rough : str
        Why the count is not exact; empty if it is, on the k mesh of a run that converged.
    """

    electrons: float
    expected: float
    why_rough: str

    @property
    def fits(self) -> bool:
        """Whether the number is right within the accepted error."""
        one, part = MAX_ERROR_ELSEWHERE
        margin = max(one, part * self.expected) if self.why_rough else MAX_ERROR
        return abs(self.electrons - self.expected) <= margin

    def __str__(self) -> str:
        where = f" ({self.why_rough})" if self.why_rough else ""
        if self.fits:
            return f"{self.expected:g} electrons to {max(abs(self.electrons - self.expected), 1e-9):.0e}{where}"
        found = f"the states below the Fermi level hold {self.electrons:.4f} electrons, but the run has {self.expected:g}"
        if self.why_rough:
            return f"WARNING: {found}{where}; if it is no metal, spin, energies or Fermi level are misread"
        return f"{found} (accepted difference {MAX_ERROR:g}, on its own k mesh): spin, energies, Fermi level or orbital order are misread"


def check_electrons(data: Hamiltonian) -> str:
    """The states below the Fermi level hold the valence electrons: exactly so on the k mesh of the run, with its temperature.

    On another mesh, and in a run that did not converge, the count may be far off and refuses nothing; what is beyond the accepted error
    is a warning in the text.

    Raises
    ------
    DataError
        If the number on the mesh of the run is another one.
    """
    found = count_electrons(data)
    if found is not None and not (found.fits or found.why_rough):
        raise DataError(str(found))
    return "" if found is None else str(found)


def count_electrons(data: Hamiltonian) -> Count | None:
    """Count the electrons on the k mesh of the run, or on a dense one that takes seconds where it is not known or too large.

    None without H, Fermi level or number of electrons, and for matrices too large to diagonalize.
    """
    if data.H is None or data.fermi_energy is None or data.n_electrons is None:
        return None
    real = not np.iscomplexobj(data.H.entries)
    affordable = MAX_WORK / (max(data.n_orbitals, SMALL) ** 3 * data.basis.n_spin)
    if affordable < 1:
        return None
    affordable *= 2 if real else 1  # one of k and -k
    mesh = stored_mesh(data.source)
    why_rough = "of a run that did not converge" if Convergence.of(data.source).converged is False else ""
    if mesh is None or n_points(mesh[0]) > affordable:
        mesh = _dense_mesh(data, max(1.0, affordable / 4)), np.zeros(3)
        why_rough = f"on {' x '.join(map(str, mesh[0].tolist()))} k points, not those of the run"
    k, weights = k_mesh(*mesh, fold=real)
    occupied = _occupation(eigenvalues(data, k) - data.fermi_energy, data.source)
    electrons = float(weights @ occupied.sum(axis=(0, 2))) * (2 if data.basis.spin == "none" else 1)
    return Count(electrons, data.n_electrons, why_rough)


def eigenvalues(data: Hamiltonian, k: FloatArray) -> FloatArray:
    """(n_spin, n_k, n_bands) eigenvalues of H(k) c = E S(k) c in eV, k fractional (n_k, 3).

    Raises
    ------
    DataError
        If S(k) is not positive definite.
    """
    H, S = data.H_bloch, data.S_bloch
    out = np.empty((H.n_components, len(k), H.n_orbitals))
    for n, one in enumerate(k):
        overlap = S.dense(one)
        for spin in range(H.n_components):
            out[spin, n] = solve_at_k(H.dense(one, component=spin), overlap, one)
    return out


def _dense_mesh(data: Hamiltonian, affordable: float) -> IntArray:
    """Points along each reciprocal vector in proportion to its length, as many as wanted or affordable."""
    wanted = DENSITY / np.linalg.norm(data.system.cell, axis=1)
    scale = min(1.0, (affordable / np.prod(np.maximum(wanted, 1.0))) ** (1 / 3))
    return np.asarray(np.maximum(1, (wanted * scale).astype(np.int64)))


def _occupation(energies: FloatArray, source: Mapping[str, Any]) -> FloatArray:
    """Filling of states at energies relative to the Fermi level (eV) with the temperature or the Gaussian smearing of the run."""
    temperature, width = (_positive(source.get(key)) for key in ("electronic_temperature_K", "smearing_width_eV"))
    if temperature > 0:
        return np.asarray(0.5 * (1 - np.tanh(energies / (2 * KELVIN * temperature))))
    if width > 0 and source.get("smearing") == "gauss":
        return np.asarray(0.5 * erfc(energies / width))
    return (energies < 0).astype(float)


def _positive(value: Any) -> float:
    """A stored number; 0 where there is none."""
    return float(value) if isinstance(value, int | float) and np.isfinite(value) and value > 0 else 0.0
