"""Responses in files: csv, json, h5."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.files.folders import new_file
from deeph.physics.system import FloatArray
from postprocess.geometry.allowed import what_is_zero
from postprocess.output import records
from postprocess.output.berry_tables import SUFFIXES, check_suffix
from postprocess.output.records import write_record
from postprocess.response.optics import OpticalResponse
from postprocess.response.scan import FermiResponse
from postprocess.response.second_order import SecondOrder
from postprocess.states.adaptive import Integral

__all__ = ["SUFFIXES", "write_fermi_response", "write_optics", "write_second_order"]


def write_optics(path: Path, found: OpticalResponse) -> None:
    """Write an optical response; the suffix tells the format.

    A ``.csv`` has a row per photon energy (eV): the joint density of states (1/eV and cell), then real and imaginary part of each component
    of the conductivity and, of crystals, of the dielectric function. ``.h5`` and ``.json`` hold the same by name (``sigma_real``), with
    the Drude weight, the convergence and the conditions.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    names = found.measure.components(2)
    columns = {"joint": found.joint[:, None]}
    parts = {"sigma": found.sigma, "interband": found.interband}
    if found.measure.dimension == 3:
        parts["epsilon"] = found.epsilon
    for name, values in parts.items():
        flat = values.reshape(len(values), -1)
        columns |= {f"{name}_real": flat.real, f"{name}_imag": flat.imag}
    units = f"energy in eV, joint in 1/eV and cell, sigma and interband in {found.unit}"
    head = f"{found.title}: optical conductivity; {units}; {_conditions(found)}; {found.positions}"
    head += _told(names, found.interband.reshape(len(found.energies), -1), found.forbidden.ravel(), found.unit)
    record = {
        "energies": found.energies, "joint": found.joint, "components": names, "unit": found.unit, "hall": found.hall,
        "drude_weight": found.drude_weight, "relaxation": found.relaxation, "electronic": found.electronic,
        "interband_coarse_real": found.sigma_coarse.real, "interband_coarse_imag": found.sigma_coarse.imag,
        "scissor": found.conditions.scissor, "fermi_energy": found.conditions.fermi_energy, "temperature": found.conditions.temperature,
        "broadening": found.conditions.broadening.describe(), "positions": found.positions, "title": found.title,
    }  # fmt: skip
    for name, values in parts.items():
        record |= {f"{name}_real": values.real, f"{name}_imag": values.imag}
    named = {name: [f"{name}_{c}" for c in names] if name != "joint" else ["joint"] for name in columns}
    _write(path, head, "energy", found.energies, columns, named, record | _convergence(found.integral))


def write_second_order(path: Path, found: SecondOrder) -> None:
    """Write a response of second order; the suffix tells the format.

    A ``.csv`` has a row per photon energy (eV) with real (and imaginary) parts of the components; ``.h5`` and ``.json`` hold ``real``,
    ``imag`` (m, d, d, d), ``coarse_real``, ``coarse_imag``, ``components``, ``unit`` and the conditions.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    flat = found.values.reshape(len(found.values), -1)
    columns = {"real": flat.real} | ({"imag": flat.imag} if np.iscomplexobj(flat) else {})
    head = f"{found.title}: {found.kind}, energy in eV, values in {found.unit}; {_conditions(found)}; {found.positions}"
    head += _told(found.components, flat, found.forbidden.all(axis=0).ravel(), found.unit)
    record = {
        "kind": found.kind, "energies": found.energies, "real": found.values.real, "imag": np.imag(found.values),
        "coarse_real": found.coarse.real, "coarse_imag": np.imag(found.coarse), "components": found.components, "unit": found.unit,
        "scissor": found.conditions.scissor, "fermi_energy": found.conditions.fermi_energy, "temperature": found.conditions.temperature,
        "broadening": found.conditions.broadening.describe(), "positions": found.positions, "title": found.title,
    }  # fmt: skip
    named = {name: [f"{name}_{c}" for c in found.components] for name in columns}
    _write(path, head, "energy", found.energies, columns, named, record | _convergence(found.integral))


def write_fermi_response(path: Path, found: FermiResponse) -> None:
    """Write a response against the Fermi level; the suffix tells the format.

    A ``.csv`` has a row per Fermi level: the level minus the Fermi energy, the components, and how far each is converged. ``.h5`` and
    ``.json`` hold ``energies`` (eV), ``values`` and ``errors`` (m, components), ``at_fermi``, ``error_at_fermi``, ``on_meshes``,
    ``components``, those that symmetry makes zero (``forbidden``), those of the size of rounding (``zero``), ``unit``,
    ``temperature`` and the convergence.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    where = f"E - E_F, E_F = {found.fermi_energy:.9f} eV; {found.temperature:g} K; {found.positions}"
    names = (
        "what", "energies", "values", "errors", "at_fermi", "error_at_fermi", "on_meshes", "components", "forbidden", "zero", "unit",
        "fermi_energy", "fermi_origin", "temperature", "positions", "title",
    )  # fmt: skip
    record = {name: getattr(found, name) for name in names} | _convergence(found.integral)
    head = f"{found.title}: {found.what} in {found.unit}, {where}{_told(found.components, found.everything, found.forbidden, found.unit)}"
    values = [name.replace(" ", "_") for name in found.components]
    labels = {"values": values, "errors": [f"error_{name}" for name in values]}
    columns = {"values": found.values, "errors": found.errors}
    _write(path, head, "energy", found.energies - found.fermi_energy, columns, labels, record)


def _told(names: Sequence[str], values: npt.NDArray[Any], forbidden: npt.NDArray[np.bool_], unit: str) -> str:
    """What of (m, c) values is no number, for the head of a table."""
    text = what_is_zero(names, values, forbidden, unit)
    return f"; {text}" if text else ""


def _conditions(found: OpticalResponse | SecondOrder) -> str:
    c = found.conditions
    scissor = f", scissor {c.scissor:g} eV" * bool(c.scissor)
    return f"E_F = {c.fermi_energy:.9f} eV, {c.temperature:g} K, {c.broadening.describe()}{scissor}"


def _convergence(integral: Integral) -> dict[str, Any]:
    return {
        "divisions": integral.divisions, "n_k": integral.n_k, "change": integral.change, "error": integral.error,
        "round_changes": np.array([one.change for one in integral.rounds]),
    }  # fmt: skip


def _write(
    path: Path,
    head: str,
    first: str,
    energies: FloatArray,
    columns: Mapping[str, FloatArray],
    names: Mapping[str, list[str]],
    record: Mapping[str, Any],
) -> None:
    """A table of columns, or a record."""
    check_suffix(path, "a response")
    with new_file(path) as temporary:
        if path.suffix in records.SUFFIXES:
            write_record(temporary, record)
            return
        with temporary.open("w", newline="", encoding="utf-8") as file:
            file.write(f"# {head}\n")
            rows = csv.writer(file)
            rows.writerow([first, *(name for group in columns for name in names[group])])
            for row in np.concatenate([energies[:, None], *columns.values()], axis=1):
                rows.writerow([f"{x:.9g}" for x in row])
