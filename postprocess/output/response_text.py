"""Responses in words: what was computed, its size, and how far it is converged."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from postprocess.geometry.allowed import ROUNDING, what_is_zero
from postprocess.response.dichroism import Dichroism
from postprocess.response.forbidden import Mask
from postprocess.response.optics import OpticalResponse, smallest_direct_gap
from postprocess.response.scan import FermiResponse
from postprocess.response.second_order import SecondOrder
from postprocess.states.adaptive import Integral
from postprocess.states.fermi import FermiLevel

Found = OpticalResponse | SecondOrder | dict[str, FermiResponse] | Dichroism
SMALL = 1e-2
"""Components below this part of the largest one are told together."""


def summary(found: Found) -> dict[str, Any]:
    """What is printed, by name."""
    if isinstance(found, dict):
        return {
            name: {
                "values": dict(zip(part.components, part.at_fermi, strict=True)), "unit": part.unit, "on_meshes": part.on_meshes,
                "error_at_fermi": part.error_at_fermi, "forbidden": part.forbidden, "zero": part.zero,
                "temperature": part.temperature, "fermi_energy": part.fermi_energy, "positions": part.positions, **_mesh(part.integral),
            }
            for name, part in found.items()
        }  # fmt: skip
    if isinstance(found, Dichroism):
        bands = {"from": [n + 1 for n in found.valence], "to": [n + 1 for n in found.conduction]}  # from 1, as the options count
        return bands | {name: getattr(found, name) for name in ("k", "degree", "strength", "energy", "positions")}
    out: dict[str, Any] = {"unit": found.unit, "fermi_energy": found.conditions.fermi_energy, "positions": found.positions}
    if isinstance(found, SecondOrder):
        zero = {name.strip() or found.kind: _named(found.components, mask) for name, _, mask in _parts(found, found.values)}
        return out | {"kind": found.kind, "largest": _largest(found.values, found.components), "forbidden": zero, **_mesh(found.integral)}
    names = found.measure.components(2)
    out |= {"electronic": found.electronic, "drude_weight": found.drude_weight, "hall": found.hall}
    return out | {"largest": _largest(found.interband.real, names), "forbidden": _named(names, found.forbidden), **_mesh(found.integral)}


def _mesh(integral: Integral) -> dict[str, Any]:
    return {"divisions": integral.divisions, "n_k": integral.n_k, "change": integral.change, "error": integral.error}


def _largest(values: npt.NDArray[Any], names: tuple[str, ...]) -> dict[str, float]:
    """Largest value of each component, complex ones by their magnitude."""
    flat = values.reshape(len(values), -1)
    size = np.abs(flat).max(axis=0)
    return {name: float(x) for name, x in zip(names, size, strict=True)}


def _named(names: tuple[str, ...], mask: Mask) -> list[str]:
    return [name for name, chosen in zip(names, mask.ravel().tolist(), strict=True) if chosen]


def describe(data: Hamiltonian, fermi: FermiLevel, found: Found) -> list[str]:
    """Lines of text."""
    positions = next(iter(found.values())).positions if isinstance(found, dict) else found.positions
    lines = [f"positions    {positions}", f"Fermi level  {fermi.energy:.6f} eV ({fermi.origin})"]
    if isinstance(found, Dichroism):
        return lines + _dichroism(found)
    if isinstance(found, dict):
        return lines + _static(found)
    c = found.conditions
    lines.append(f"transitions  {c.broadening.describe()}; {c.temperature:g} K" + f"; scissor {c.scissor:g} eV" * bool(c.scissor))
    body = _second_order(found) if isinstance(found, SecondOrder) else _optics(data, found)
    halved = "; one of k and -k, by time reversal" * c.reversal
    return lines + body + _converged(found.integral, halved)


def _converged(integral: Integral, halved: str = "") -> list[str]:
    n_k = [f"{integral.n_k} k-points computed{halved}"] if integral.order == 1 else []  # else it says so itself
    return [f"  {line}" for line in [*integral.describe(), *n_k]]


def _components(names: tuple[str, ...], values: npt.NDArray[Any], forbidden: Mask | None = None, digits: int = 4) -> str:
    """Those that are not small, with one value for those that agree in these digits, and how large the others are.

    Forbidden ones are left out; :func:`_zero` tells of them.
    """
    values = np.asarray(values, float).ravel()
    possible = np.ones(len(values), bool) if forbidden is None else ~forbidden.ravel()
    largest = float(np.nanmax(np.abs(values[possible]), initial=0.0))
    seen = possible & (np.isnan(values) | (np.abs(values) > SMALL * largest))
    alike: dict[str, list[str]] = {}
    for name, x, shown in zip(names, values, seen, strict=True):
        if shown:
            alike.setdefault(f"{x:.{digits}g}", []).append(name)
    told = [f"{' '.join(group)} {x}" for x, group in alike.items()]
    if not told:
        return "all components zero"
    rest = np.abs(values[possible & ~seen])
    size = f"up to {rest.max(initial=0.0):.1e}" if rest.max(initial=0.0) > ROUNDING * largest else "zero to rounding"
    return ", ".join(told) + f"; others {size}" * bool(len(rest))


def _zero(names: tuple[str, ...], values: npt.NDArray[Any], forbidden: Mask, unit: str) -> list[str]:
    """A line on the components that are forbidden or zero to rounding, at any energies, if there are some."""
    if forbidden.all():
        return [f"  zero by symmetry: all components; up to {np.abs(values).max(initial=0.0):.1e} {unit} as computed"]
    text = what_is_zero(names, values.reshape(-1, len(names)), forbidden.ravel(), unit)
    return [f"  {text}"] if text else []


def _optics(data: Hamiltonian, found: OpticalResponse) -> list[str]:
    names, zero = found.measure.components(2), found.forbidden
    real = found.interband.real
    peak = int(np.argmax(np.einsum("maa->m", real)))
    lines = [f"conductivity Re sigma of transitions at its highest, {found.energies[peak]:.3f} eV, {found.unit}"]
    lines.append(f"  {_components(names, real[peak], zero)}")
    half = " x ".join(map(str, found.integral.coarse_divisions))
    lines.append(f"  {_components(names, found.sigma_coarse.real[peak], zero)} on {half} k-points")
    lines += _zero(names, found.interband, zero, found.unit)
    gap, k = smallest_direct_gap(data, found.integral.divisions, found.conditions)
    where = ", ".join(f"{x:.4f}" for x in k)
    lines.append(f"  smallest direct distance of a filled and an empty level on this mesh {gap:.4f} eV  at k = ({where})")
    if found.drude_weight.any():
        lines.append(f"  Drude weight {_components(names, found.drude_weight, zero)} eV {found.unit}; hbar/tau {found.relaxation:g} eV")
        if found.measure.dimension == 3:
            lines.append(f"  plasma energy {', '.join(f'{a} {x:.4f}' for a, x in zip('xyz', found.plasma_energy, strict=True))} eV")
    what = {3: "dielectric tensor of the electrons", 2: "susceptibility, Angstrom,", 1: "susceptibility, Angstrom^2,"}
    lines.append(f"  {what[found.measure.dimension]} at {found.energies[0]:g} eV: {_components(names, found.electronic, zero)}")
    if np.abs(found.hall).max() > SMALL * np.abs(real).max():
        lines.append(f"  anomalous Hall conductivity (Kubo sum) {_components(names, found.hall)} {found.unit}")
    return lines


def _second_order(found: SecondOrder) -> list[str]:
    name = {"shift": "shift current", "injection": "injection current", "harmonic": "second harmonic"}[found.kind]
    half = " x ".join(map(str, found.integral.coarse_divisions))
    lines = [f"{name:12s} {found.unit}; largest values:"]
    for values, where in ((found.values, ""), (found.coarse, f" on {half} k-points")):
        allowed = (part for part in _parts(found, values) if not part[2].all())
        lines += [f"  {part}{_components(found.components, _sizes(x), zero)}{where}" for part, x, zero in allowed]
    if found.kind == "harmonic" and not found.forbidden.all():
        at = f"  at {found.energies[0]:g} eV: "
        lines.append(at + _components(found.components, found.values[0].real, found.forbidden[0]))
    for part, x, zero in _parts(found, found.values):
        lines += [f"  {part}{line.strip()}" for line in _zero(found.components, x, zero, found.unit)]
    return lines


def _sizes(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The largest magnitude of each component."""
    return np.asarray(np.abs(values).max(axis=0))


def _parts(found: SecondOrder, values: npt.NDArray[Any]) -> list[tuple[str, npt.NDArray[Any], Mask]]:
    """(m, c) values and what is forbidden, of injection currents those of linear and of circular light."""
    flat = values.reshape(len(values), -1)
    real, imaginary = found.forbidden
    if found.kind == "injection":
        return [("linear light   ", flat.real, real), ("circular light ", flat.imag, imaginary)]
    return [("", flat, real)]


def _static(found: dict[str, FermiResponse]) -> list[str]:
    lines: list[str] = []
    for part in found.values():
        lines.append(f"{part.what}, {part.unit}, at the Fermi level, {part.temperature:g} K")
        if not part.forbidden.all():  # else they are told below
            lines.append(f"  {_components(part.components, part.at_fermi)}")
            for mesh, values in zip((part.integral.coarse_divisions, part.integral.divisions), part.on_meshes, strict=True):
                lines.append(f"  {_components(part.components, values)} on {' x '.join(map(str, mesh))} k-points")
        lines += [f"  {line}" for line in part.describe_convergence()]
    return lines + _converged(next(iter(found.values())).integral)


def _dichroism(found: Dichroism) -> list[str]:
    below, above = (", ".join(str(n + 1) for n in group) for group in (found.valence, found.conduction))
    lines = [
        "dichroism    degree of circular polarization along z, strength in (eV Angstrom)^2, distance in eV",
        f"  from band{'s' * (len(found.valence) > 1)} {below} to {above}"
        + (f"; the next level is {found.apart:.4f} eV from these" if np.isfinite(found.apart) else ""),
    ]
    for spin, (degrees, strengths, energies) in enumerate(zip(found.degree, found.strength, found.energy, strict=True)):
        for k, degree, strength, energy in zip(found.k, degrees, strengths, energies, strict=True):
            where = ", ".join(f"{x:.4f}" for x in k)
            name = f"  spin {('up', 'down')[spin]}" * (len(found.degree) > 1)
            lines.append(f"  {degree:+.6f}  strength {strength:.4f}  distance {energy:.6f}  at k = ({where}){name}")
    return lines
