"""Berry curvatures and Hall conductivities in files: csv, json, h5."""

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.figures import SUFFIXES as FIGURES
from deeph.files.folders import new_file
from deeph.runtime.errors import UsageError
from postprocess.geometry.allowed import what_is_zero
from postprocess.geometry.curvature import Curvature
from postprocess.geometry.hall import HallConductivity
from postprocess.output import records
from postprocess.output.records import write_record

SUFFIXES = (".csv", ".json", ".h5")


def check_suffix(path: Path, what: str) -> None:
    """UsageError if the suffix is none of a table."""
    if path.suffix not in SUFFIXES:
        expected = f"{', '.join(SUFFIXES)}, or {', '.join(FIGURES)} for a figure"
        raise UsageError(f"{path}: cannot write {what} as {path.suffix or 'a file without suffix'}; expected {expected}")


def write_curvature(path: Path, found: Curvature) -> None:
    """Write curvatures; the suffix tells the format.

    ``.h5`` and ``.json`` hold the arrays of :class:`postprocess.geometry.curvature.Curvature` under their names, and the path as those of
    bands do. A ``.csv`` has a row per spin and k: spin, distance along the path if it is one, k1, k2, k3, kx, ky, kz (1/Angstrom), the
    curvature by ``curl`` and by ``kubo`` (Angstrom^2; x, y, z), and the distance of the levels to the others (eV).

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    check_suffix(path, "curvatures")
    with new_file(path) as temporary:
        if path.suffix in records.SUFFIXES:
            write_record(temporary, _curvature_record(found))
        else:
            _write_curvature_csv(temporary, found)


def _curvature_record(found: Curvature) -> dict[str, Any]:
    names = (
        "k", "energies", "curl", "kubo", "levels", "kubo_levels", "metric", "orbital_moment", "spin", "separation", "what",
        "fermi_energy", "fermi_origin", "positions", "divisions", "reciprocal", "title",
    )  # fmt: skip
    record = {name: getattr(found, name) for name in names}
    record["separation"] = np.where(np.isfinite(found.separation), found.separation, np.nan)
    return (asdict(found.path) if found.path is not None else {}) | record


def _write_curvature_csv(path: Path, found: Curvature) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {found.title}: Berry curvature of {found.what}, Angstrom^2; {found.positions}; k fractional and in 1/Angstrom\n")
        rows = csv.writer(file)
        along = [] if found.path is None else ["distance"]
        names = [f"{method}_{c}" for method in ("curl", "kubo") for c in "xyz"]
        rows.writerow(["spin", *along, "k1", "k2", "k3", "kx", "ky", "kz", *names, "separation"])
        cartesian = found.k @ found.reciprocal
        for spin in range(len(found.curl)):
            for n, k in enumerate(found.k):
                place = [] if found.path is None else [found.path.distances[n]]
                values = (*place, *k, *cartesian[n], *found.curl[spin, n], *found.kubo[spin, n], found.separation[spin, n])
                rows.writerow([spin, *(f"{x:.9g}" for x in values)])


def write_hall(path: Path, found: HallConductivity) -> None:
    """Write a Hall conductivity; the suffix tells the format.

    ``.h5`` and ``.json`` hold ``energies`` (eV), ``sigma``, ``sigma_kubo`` and ``errors`` (n, components), ``components``, those that
    symmetry makes zero (``forbidden``), those of the size of rounding (``zero``), ``unit``, ``at_fermi``, ``error_at_fermi``, ``chern``,
    ``fermi_energy``, ``positions``, the mesh and its convergence. A ``.csv`` has a row per Fermi level: the level minus the Fermi energy,
    sigma, sigma_kubo, errors.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    check_suffix(path, "a Hall conductivity")
    with new_file(path) as temporary:
        if path.suffix in records.SUFFIXES:
            write_record(temporary, hall_record(found))
            return
        with temporary.open("w", newline="", encoding="utf-8") as file:
            where = f"E - E_F, E_F = {found.fermi_energy:.9f} eV; {found.temperature:g} K; {found.positions}"
            zero = what_is_zero(found.components, found.everything, found.forbidden, found.unit)
            file.write(f"# {found.title}: anomalous Hall conductivity in {found.unit}, {where}{'; ' * bool(zero)}{zero}\n")
            rows = csv.writer(file)
            rows.writerow(["energy", *(f"{method}_{c}" for method in ("curl", "kubo", "error") for c in found.components)])
            for energy, *values in zip(found.energies - found.fermi_energy, found.sigma, found.sigma_kubo, found.errors, strict=True):
                rows.writerow([f"{x:.9g}" for x in (energy, *np.concatenate(values))])


def hall_record(found: HallConductivity) -> dict[str, Any]:
    """Everything of it by name."""
    integral = found.integral
    names = (
        "energies", "sigma", "sigma_kubo", "errors", "components", "forbidden", "zero", "unit", "at_fermi", "error_at_fermi", "on_meshes",
        "from_coarse", "chern", "fermi_energy", "fermi_origin", "temperature", "positions",
    )  # fmt: skip
    return {name: getattr(found, name) for name in names} | {
        "divisions": integral.divisions, "n_k": integral.n_k, "operations": integral.order, "change": integral.change,
        "error": integral.error, "round_changes": np.array([one.change for one in integral.rounds]),
    }  # fmt: skip
