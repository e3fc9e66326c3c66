"""Responses made of Berry curvatures: spin Hall conductivity, anomalous Nernst coefficient, Berry-curvature dipole."""

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import KELVIN
from deeph.runtime.errors import UsageError
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.symmetries import curvatures
from postprocess.response.measure import AXES, E2_OVER_HBAR, METRE, measure, unit_of
from postprocess.response.scan import FermiResponse, Recipe, Settings, entropy, fermi_response, filled
from postprocess.response.transitions import minus_df
from postprocess.states.fermi import FermiLevel


def curvature_dipoles(g: Geometry) -> FloatArray:
    """(n_k, 9, n) v_a Omega_b, eV Angstrom^3; degenerate levels have means of both."""
    together = g.groups[:, :, None] == g.groups[:, None, :]
    v = np.einsum("kann->kan", g.velocity).real @ (together / together.sum(axis=1, keepdims=True))
    return np.asarray(v[:, :, None] * g.curvature("curl")[:, None]).reshape(len(g.k), 9, -1)


def spin_curvatures(g: Geometry) -> FloatArray:
    """(n_k, 27, n) -2 Im sum_m <n|{sigma_s, v_a}/2|m> <m|v_b|n> / (E_m - E_n)^2, components s, a, b; Angstrom^2, by the Kubo sum."""
    v, sigma = g.velocity, g.spin_matrix
    step = g.energies[:, None, :] - g.energies[:, :, None]
    apart = g.groups[:, :, None] != g.groups[:, None, :]
    divided = v * (apart / np.where(apart, step, 1.0) ** 2)[:, None]
    out = np.empty((len(g.k), 3, 3, 3, v.shape[-1]))
    for s in range(3):
        for a in range(3):
            current = sigma[:, s] @ v[:, a]
            current = (current + current.conj().swapaxes(-1, -2)) / 2
            out[:, s, a] = -2 * np.einsum("knm,kbmn->kbn", current, divided).imag
    return out.reshape(len(g.k), 27, -1)


def spin_hall_conductivity(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: Settings | None = None) -> FermiResponse:
    """The intrinsic spin Hall conductivity of the conventional spin current {s, v}/2.

    Spin s (in units of hbar/2 as Pauli matrices; a spin hbar/2 along it moving along a counts 1/2) along a in a field along b:
    sigma = (e/2) int d^dk/(2 pi)^d sum f_n Omega^s_ab,n.

    Returns
    -------
    FermiResponse
        Components s ab, in (hbar/e) S/m, of a layer (hbar/e) S: e/(2 pi) is e^2/h in these units.

    Raises
    ------
    UsageError
        If H has no spin, or the structure is not periodic in two directions.
    """
    if hamiltonian.basis.spin == "none":
        raise UsageError("a spin Hall conductivity takes spinors with spin-orbit coupling; H has no spin")
    settings, size = settings or Settings(), measure(hamiltonian, least=2)

    def make(sums: FloatArray) -> FloatArray:
        tensor = np.moveaxis(sums[0], 0, 1).reshape(-1, 3, 3, 3)
        return np.asarray(E2_OVER_HBAR / 2 * size.per_size(2) * size.turned(tensor, 2)).reshape(len(tensor), -1)

    names = tuple(f"{s} {pair}" for s in AXES for pair in size.components(2))
    unit = f"(hbar/e) {unit_of('S', 2 - size.dimension)}"
    even = (
        hamiltonian.basis.spin == "spinor"
    )  # time reversal turns spins over; a channel of collinear spins has the opposite curvature at -k
    frames = (np.eye(3), size.frame, size.frame)
    recipe = Recipe("spin Hall conductivity", unit, names, spin_curvatures, (filled,), make, ("spin", "polar", "polar"), frames, even=even)
    return fermi_response(hamiltonian, fermi, settings, recipe)


def nernst_coefficient(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: Settings | None = None) -> FermiResponse:
    """The intrinsic anomalous Nernst coefficient alpha: j = alpha (-grad T).

    alpha_xy = (e k_B/hbar) int d^dk/(2 pi)^d sum_n Omega_n s(f_n) with the entropy s of a level, which is
    -(1/eT) int (E - mu)(-df/dE) sigma_xy(E) dE (Mott) with the anomalous Hall conductivity at zero temperature. D. Xiao et al.,
    doi:10.1103/PhysRevLett.97.026603.

    Returns
    -------
    FermiResponse
        Components as those of the Hall conductivity, in A/(K m), of a layer A/K.

    Raises
    ------
    UsageError
        At zero temperature, and if the structure is not periodic in two directions.
    """
    settings, size = settings or Settings(), measure(hamiltonian, least=2)
    settings.warm("a Nernst coefficient")

    def make(sums: FloatArray) -> FloatArray:
        return np.asarray((E2_OVER_HBAR * KELVIN * size.per_size(2) * size.normal @ sums[0]).T)

    names = ("yz", "zx", "xy") if size.dimension == 3 else ("".join(size.names),)
    unit = "A/(K m)" if size.dimension == 3 else "A/K"
    recipe = Recipe("anomalous Nernst coefficient", unit, names, curvatures, (entropy,), make, ("axial",), (size.normal,), "odd")
    return fermi_response(hamiltonian, fermi, settings, recipe)


def curvature_dipole(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: Settings | None = None) -> FermiResponse:
    """The Berry-curvature dipole D_ab = int d^dk/(2 pi)^d sum_n (-df/dE) d_a E_n Omega_b,n.

    I. Sodemann and L. Fu, doi:10.1103/PhysRevLett.115.216806: the Hall current of second order in the field.

    Returns
    -------
    FermiResponse
        Components a b without unit; of a layer a, in m, for the curvature normal to it.

    Raises
    ------
    UsageError
        At zero temperature, and if the structure is not periodic in two directions.
    """
    settings, size = settings or Settings(), measure(hamiltonian, least=2)
    settings.warm("a Berry-curvature dipole")

    def make(sums: FloatArray) -> FloatArray:
        tensor = np.moveaxis(sums[0], 0, 1).reshape(-1, 3, 3)
        turned = np.einsum("pa,qb,mab->mpq", size.frame, size.normal, tensor)
        return np.asarray(METRE ** (3 - size.dimension) / size.size * turned).reshape(len(tensor), -1)

    names = size.components(2) if size.dimension == 3 else size.names
    unit = "1" if size.dimension == 3 else "m"
    frames = (size.frame, size.normal)
    recipe = Recipe("Berry-curvature dipole", unit, names, curvature_dipoles, (minus_df,), make, ("polar", "axial"), frames, even=True)
    return fermi_response(hamiltonian, fermi, settings, recipe)
