"""Is what was read a Hamiltonian? Checks that need no knowledge of the code it came from."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy.linalg import LinAlgError, eigh, eigvalsh
from scipy.special import erfc

from deeph.physics.covariance import bond_violations
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import KELVIN
from deeph.runtime.errors import DataError
from preprocess.readers.base import ReferenceBands

Level = Literal["off", "basic", "bands"]
MAX_ASYMMETRY = 1e-6
"""Accepted |M - M^dagger| of H (eV) and S."""
MAX_ELECTRON_ERROR = 1e-3
"""Accepted error of the electron count on the k mesh of the run; on another mesh see :func:`check_electrons`."""
MAX_BOND_VIOLATION = 1e-2
"""Accepted overlap between different m along a bond; real-space grids give up to 1e-4, a wrong order 0.01 to 1."""
MAX_ORBITALS = 3000
"""Above this dimension the smallest eigenvalue of S is not computed: it would take longer than the conversion."""
MAX_WORK = 2e9
"""Largest (number of k) x (dimension)^3 spent on counting electrons: seconds, not minutes."""


def verify(data: Hamiltonian, level: Level, reference: ReferenceBands | None = None) -> str:
    """Check a structure and say in a few words what was found.

    Parameters
    ----------
    data : Hamiltonian
        What a reader returned.
    level : {"off", "basic", "bands"}
        ``off`` only refuses NaN and infinities; ``basic`` adds Hermiticity, positive overlap, order and signs of the orbitals, and the
        number of electrons; ``bands`` adds the code's own eigenvalues.
    reference : ReferenceBands, optional
        Required for ``bands``.

    Raises
    ------
    DataError
        If a check fails.
    """
    check_finite(data)
    if level == "off":
        return "not verified"
    check_hermitian(data)
    found = [check_overlap(data), check_orbitals(data), check_electrons(data)]
    if level == "bands":
        if reference is None:
            raise DataError("no reference bands to compare with; use --verify basic")
        found.append(check_bands(data, reference))
    return ", ".join(text for text in found if text)


def check_finite(data: Hamiltonian) -> None:
    """No NaN and no infinity in any matrix or in the Fermi level."""
    for name, blocks in (("S", data.S), ("H", data.H), ("r", data.r), *data.extra.items()):
        if blocks is not None and not np.isfinite(blocks.entries).all():
            entry = int(np.argmin(np.isfinite(blocks.entries).all(axis=0)))
            R1, R2, R3, i, j = blocks.pairs[np.searchsorted(blocks.offsets, entry, side="right") - 1].tolist()
            raise DataError(f"{name} holds NaN or infinity in block R = {R1} {R2} {R3}, i = {i}, j = {j} (atoms counted from 0)")
    if data.fermi_energy is not None and not np.isfinite(data.fermi_energy):
        raise DataError(f"the Fermi level is {data.fermi_energy}")


def check_hermitian(data: Hamiltonian) -> None:
    """Every pair has its partner (-R, j, i), and the blocks are each other's adjoint."""
    for name, blocks in (("S", data.S), ("H", data.H)):
        if blocks is None:
            continue
        lonely = np.flatnonzero(blocks.partners < 0)
        if len(lonely):
            R1, R2, R3, i, j = blocks.pairs[lonely[0]].tolist()
            raise DataError(
                f"{len(lonely)} of {blocks.n_pairs} blocks lack the partner (-R, j, i), e.g. R = {R1} {R2} {R3}, i = {i}, j = {j}"
            )
        error = blocks.hermiticity_error()
        if not error <= MAX_ASYMMETRY:
            raise DataError(f"{name} differs from its Hermitian conjugate by {error:.1e}; expected below {MAX_ASYMMETRY:g}")


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
            try:
                out[spin, n] = eigh(H.dense(one, component=spin), overlap, eigvals_only=True)
            except LinAlgError as error:
                raise DataError(f"H(k) c = E S(k) c has no solution at k = {one.tolist()}: {error}") from error
    return out


def check_electrons(data: Hamiltonian) -> str:
    """The states below the Fermi level hold the valence electrons.

    On the k mesh of the run, with its temperature, the count is exact to 1e-3 electrons. Where that mesh is unknown or too large, a coarse
    one must agree to one electron and 2 %, which still tells a misread spin, unit or Fermi level.
    """
    if data.H is None or data.fermi_energy is None or data.n_electrons is None:
        return ""
    real, known = not np.iscomplexobj(data.H.entries), {"k_grid", "k_shift"} <= set(data.source)
    meshes = [k_mesh([n, n, n], [0.0, 0.0, 0.0], fold=real) for n in (2, 1)]
    if known:
        meshes.insert(0, k_mesh(data.source["k_grid"], data.source["k_shift"], fold=real))
    work = data.H_bloch.n_orbitals**3 * data.basis.n_spin
    chosen = next((n for n, (k, _) in enumerate(meshes) if len(k) * work <= MAX_WORK), None)
    if chosen is None:
        return ""
    k, weights = meshes[chosen]
    margin = MAX_ELECTRON_ERROR if known and chosen == 0 else 1 + 0.02 * data.n_electrons
    occupied = _occupation(eigenvalues(data, k) - data.fermi_energy, data.source)
    count = float(weights @ occupied.sum(axis=(0, 2))) * (2 if data.basis.spin == "none" else 1)
    if not abs(count - data.n_electrons) <= margin:
        raise DataError(
            f"the states below the Fermi level hold {count:.4f} electrons, but the run has {data.n_electrons:g} (accepted difference "
            f"{margin:g} on {len(k)} k points): spin, energies, Fermi level or orbital order are misread"
        )
    return f"{data.n_electrons:g} electrons to {max(abs(count - data.n_electrons), 1e-9):.0e}"


def check_bands(data: Hamiltonian, reference: ReferenceBands) -> str:
    """The recomputed eigenvalues are those the code printed."""
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


def _occupation(energies: FloatArray, source: Mapping[str, Any]) -> FloatArray:
    """Filling of states at energies relative to the Fermi level (eV) with the temperature or the Gaussian smearing of the run."""
    temperature = float(source.get("electronic_temperature_K", 0.0))
    if temperature > 0:
        return np.asarray(0.5 * (1 - np.tanh(energies / (2 * KELVIN * temperature))))
    width = float(source.get("smearing_width_eV", 0.0)) if source.get("smearing") == "gauss" else 0.0
    return np.asarray(0.5 * erfc(energies / width)) if width > 0 else (energies < 0).astype(float)


def k_mesh(size: Sequence[int], shift: Sequence[float], *, fold: bool) -> tuple[FloatArray, FloatArray]:
    """Regular mesh k = (n + shift)/size.

    Parameters
    ----------
    size : three int
        Points along each reciprocal vector.
    shift : three float
        0 or 0.5.
    fold : bool
        Keep one of k and -k, as is allowed where H(R) is real.

    Returns
    -------
    (n_k, 3), (n_k,) arrays
        Fractional wave vectors and their weights, which sum to 1.
    """
    period = 2 * np.array(size)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"), -1).reshape(-1, 3)
    twice = 2 * index + np.rint(2 * np.array(shift)).astype(int)
    radix = np.array([period[1] * period[2], period[2], 1])
    code, inverse = (twice % period) @ radix, (-twice % period) @ radix
    keep = code <= inverse if fold else np.ones(len(code), bool)
    multiplicity = np.where(code == inverse, 1, 2)[keep] if fold else np.ones(len(code))
    return (twice / period)[keep], multiplicity / len(code)
