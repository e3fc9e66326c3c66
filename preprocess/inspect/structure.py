"""The report on one structure: its facts and all checks."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from deeph.physics.basis import shells_text
from deeph.physics.difference import NOTHING, SPIN_PARTS
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import Magnetism, moments_text
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.physics.soundness import pair_name
from preprocess.inspect.checks import (
    check_density,
    check_distances,
    check_electron_count,
    check_energy_zero,
    check_hermiticity,
    check_normalization,
    check_numbers,
    check_overlap,
    check_pattern,
    check_units,
)
from preprocess.inspect.report import Check, Report
from preprocess.inspect.rotation_checks import check_bonds, check_symmetry
from preprocess.inspect.spin_checks import check_moments, check_time_reversal
from preprocess.inspect.training import check_training
from preprocess.readers.base import Convergence

WORST = 3
"""Blocks with the largest error bars that are named."""


def structure_report(path: str, kind: str, data: Hamiltonian) -> Report:
    """All facts and checks of one structure."""
    return Report(path, kind, structure_facts(data), list(structure_checks(data)))


def structure_checks(data: Hamiltonian, *, thorough: bool = True) -> Iterator[Check]:
    """The checks, one after the other.

    Parameters
    ----------
    data : Hamiltonian
        Any structure.
    thorough : bool
        Also those that diagonalize H or search for symmetries.
    """
    yield check_units(data)
    yield from check_self_consistency(data)
    numbers = check_numbers(data)
    yield numbers
    if numbers.verdict == "bad":
        return
    yield check_distances(data)
    normalization = check_normalization(data)
    yield normalization
    hermitian = check_hermiticity(data)
    yield hermitian
    yield check_pattern(data)
    yield check_bonds(data)
    yield check_energy_zero(data)
    if "density_matrix" in data.extra:
        yield check_density(data)
    if data.H is not None and data.basis.spin != "none":
        yield check_time_reversal(data)
        if data.moments is not None:
            yield check_moments(data)
    yield check_training(data)
    if "bad" in (normalization.verdict, hermitian.verdict):  # no eigenvalues without
        return
    overlap = check_overlap(data)
    yield overlap
    if thorough:
        if overlap.verdict != "bad":
            yield check_electron_count(data)
        yield from check_symmetry(data)


def check_self_consistency(data: Hamiltonian) -> Iterator[Check]:
    """Nothing where the cycle converged or is not known; the facts tell which."""
    scf = Convergence.of(data.source)
    if data.H is not None and scf.converged is False:
        yield Check("SCF", "bad", f"{scf}: H is not that of the ground state; repeat the run until it converges", scf.residual)


def structure_facts(data: Hamiltonian) -> dict[str, Any]:
    """Composition, basis, spin, moments and origin of one structure."""
    source, system = data.source, data.system
    lengths = np.linalg.norm(system.cell, axis=1)
    a, b, c = system.cell / lengths[:, None]
    angles = np.degrees(np.arccos(np.clip([b @ c, a @ c, a @ b], -1, 1)))
    matrices = ["S", *(["H"] if data.H is not None else []), *(["r"] if data.r is not None else []), *data.extra]
    out: dict[str, Any] = {
        "formula": str(system),
        "basis": "; ".join(f"{symbol} {shells_text(ls)}" for symbol, ls in data.basis.to_symbols().items()),
        "orbitals": f"{int(data.basis.n_orbitals(system.numbers).sum())}, m = -l..l, real harmonics without Condon-Shortley sign",
        "spin": {"none": "none", "collinear": "collinear (up, down)", "spinor": "spinor [[uu, ud], [du, dd]]"}[data.basis.spin],
        "cell": f"{', '.join(f'{x:.4f}' for x in lengths)} Angstrom; {', '.join(f'{x:.2f}' for x in angles)} degrees",
        "matrices": ", ".join(matrices),
        "source": ", ".join(str(source[key]) for key in ("code", "version", "format") if key in source) or "not recorded",
        "SCF": None if data.H is None or data.predicted else str(Convergence.of(source)).removeprefix("SCF "),
        "electrons": data.n_electrons,
    }
    if isinstance(model := source.get("model"), dict):
        out["model"] = f"{_model(model)}, overlap of {source.get('overlap', {}).get('code', 'unknown origin')}"
    if data.error_bars is not None:
        out["error bars"] = error_bars_text(data)
    if data.fermi_guess is not None:
        out["Fermi level expected (eV)"] = "{:.4f} within {:.4f}".format(*data.fermi_guess)
    magnetism = Magnetism.of(data)
    if data.basis.spin != "none" and magnetism.parts:
        sizes = [f"{SPIN_PARTS[name]} {size:.3g}" for name, size in magnetism.parts.items() if 1e3 * size > NOTHING]
        out["parts of H"] = f"largest element (eV): {', '.join(sizes)}"
    if magnetism.moments is not None and data.moments is not None:
        total = ", ".join(f"{x:.4f}" for x in data.moments.sum(axis=0))
        out["moments"] = f"{moments_text(magnetism.moments)}; total ({total}) Bohr magneton"
    return out


def error_bars_text(data: Hamiltonian) -> str:
    """How uncertain a predicted H is: on-site and off-site blocks, and the worst ones."""
    if data.error_bars is None:
        return ""
    sigma, pairs, onsite = 1e3 * data.error_bars.sigma, data.S.pairs, is_onsite(data.S.pairs)
    lengths = np.linalg.norm(pair_vectors(data.system, pairs), axis=1)
    parts = [
        f"{site} {np.sqrt((sigma[chosen] ** 2).mean()):.3g} meV"
        for site, chosen in (("on-site", onsite), ("off-site", ~onsite))
        if chosen.any()
    ]
    half = np.flatnonzero((pairs[:, 3] < pairs[:, 4]) | onsite | ((pairs[:, 3] == pairs[:, 4]) & (pairs[:, 0] >= 0)))
    worst = half[np.argsort(-sigma[half], kind="stable")[:WORST]]
    shown = [f"{sigma[n]:.3g} meV at {pair_name(data.system, pairs[n])}, {lengths[n]:.2f} Angstrom" for n in worst]
    return f"{', '.join(parts)} (rms of the blocks); largest {'; '.join(shown)}"


def _model(model: dict[str, Any]) -> str:
    """File and errors of the model a prediction was made with."""
    file, mae, projected = (model.get(key) for key in ("file", "validate_mae_meV", "validate_projected_mae_meV"))
    errors = "" if mae is None else f", validation MAE {mae:.3g} meV"
    several = f", {model['members']} models" if "members" in model else ""
    text = f"{file or 'not from a file'}{several}{errors}{'' if projected is None else f' ({projected:.3g} without the energy zero)'}"
    found = {name: model.get(f"validate_{key}_mae_meV") for name, key in (("exchange", "exchange"), ("spin-orbit", "spin_orbit"))}
    parts = [f"{name} {value:.3g}" for name, value in found.items() if value is not None]
    return f"{text} of the spin-free part, {', '.join(parts)}" if parts else text
