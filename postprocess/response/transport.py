"""Boltzmann transport with one relaxation time, and the Drude weight.

L_p = int d^dk/(2 pi)^d sum_n (-df/dE) (E - mu)^p v_a v_b: sigma = (e^2/hbar) (tau/hbar) L_0, Seebeck S = -(1/eT) L_0^-1 L_1, heat
conductivity of the electrons kappa = (tau/hbar^2 T) (L_2 - L_1 L_0^-1 L_1).
"""

from dataclasses import replace

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import HBAR
from postprocess.response.measure import CHARGE, E2_OVER_HBAR, measure, unit_of
from postprocess.response.scan import FermiResponse, Recipe, Settings, fermi_response, heat, heat_squared
from postprocess.response.transitions import minus_df, velocities_squared
from postprocess.states.fermi import FermiLevel

EMPTY = 1e-12
"""Of the largest L_0 in the scan; a smaller one means that there is nothing to conduct, and no Seebeck coefficient."""


def transport(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: Settings | None = None) -> dict[str, FermiResponse]:
    """Drude weight, conductivity and heat conductivity over tau, Seebeck coefficient.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Periodic in at least one direction.
    fermi : FermiLevel
        The Fermi energy.
    settings : Settings, optional
        Mesh, Fermi levels, temperature.

    Returns
    -------
    dict of str to FermiResponse
        ``drude`` (eV S/m; of a layer eV S), ``sigma`` (S/(m s)), ``seebeck`` (V/K), ``kappa`` (W/(K m s)); the last two are NaN where
        nothing conducts.

    Raises
    ------
    UsageError
        At zero temperature, and if the structure is a molecule.
    """
    settings = settings or Settings()
    settings.warm("transport")
    size, T = measure(hamiltonian), settings.scan.temperature
    d = size.dimension

    def tensors(sums: FloatArray) -> FloatArray:
        """(3, m, d, d) L_0, L_1, L_2 per cell, along the directions of the frame."""
        return np.asarray(size.turned(np.moveaxis(sums, 1, 2).reshape(*sums.shape[::2], 3, 3), 2))

    def drude(sums: FloatArray) -> FloatArray:
        return np.asarray(E2_OVER_HBAR * size.per_size(2) * tensors(sums)[0]).reshape(-1, d * d)

    def over_tau(sums: FloatArray) -> FloatArray:
        return drude(sums) / HBAR

    def seebeck(sums: FloatArray) -> FloatArray:
        L0, L1, _ = tensors(sums)
        return np.asarray(-_divided(L1, L0) / T).reshape(-1, d * d)

    def kappa(sums: FloatArray) -> FloatArray:
        L0, L1, L2 = tensors(sums)
        flow = L2 - L1 @ _divided(L1, L0)
        return np.asarray(CHARGE * size.per_size(2) / (HBAR**2 * T) * flow).reshape(-1, d * d)

    def together(sums: FloatArray) -> FloatArray:
        return np.concatenate([part(sums) for part in (drude, over_tau, seebeck, kappa)], axis=1)

    names, weights, frames = size.components(2), (minus_df, heat, heat_squared), (size.frame, size.frame)
    recipe = Recipe("transport", "", names * 4, velocities_squared, weights, together, ("polar", "polar"), frames, exchange=1, even=True)
    main = fermi_response(hamiltonian, fermi, settings, recipe)
    units = {
        "drude": ("Drude weight", f"eV {unit_of('S', 2 - d)}"),
        "sigma": ("conductivity over tau", ("S m/s", "S/s", "S/(m s)")[d - 1]),
        "seebeck": ("Seebeck coefficient", "V/K"),
        "kappa": ("heat conductivity over tau", ("W m/(K s)", "W/(K s)", "W/(K m s)")[d - 1]),
    }
    return {name: _part(main, n, d * d, *words) for n, (name, words) in enumerate(units.items())}


def _part(found: FermiResponse, number: int, length: int, what: str, unit: str) -> FermiResponse:
    part = slice(number * length, (number + 1) * length)
    return replace(
        found, what=what, unit=unit, components=found.components[part], values=found.values[:, part], at_fermi=found.at_fermi[part],
        on_meshes=found.on_meshes[:, part], from_coarse=found.from_coarse[part], errors=found.errors[:, part],
        error_at_fermi=found.error_at_fermi[part], forbidden=found.forbidden[part],
    )  # fmt: skip


def _divided(L1: FloatArray, L0: FloatArray) -> FloatArray:
    """L0^-1 L1; NaN where L0 is empty, or singular."""
    out = np.full_like(L0, np.nan)
    size = np.linalg.norm(L0, axis=(1, 2))
    rank = np.linalg.matrix_rank(L0, hermitian=True)
    there = (size > EMPTY * size.max(initial=0.0)) & (rank == L0.shape[-1])
    out[there] = np.linalg.solve(L0[there], L1[there])
    return out
