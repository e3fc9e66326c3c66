"""Densities of states in files: csv for a spreadsheet, json and h5 to be read back, and maps of local densities."""

import csv
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.figures import SUFFIXES as FIGURES
from deeph.files.folders import new_file
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from postprocess.density.dos import DOS
from postprocess.lattice.periodic import periodic_directions
from postprocess.output.records import read_record, write_record
from postprocess.states.fermi import FermiLevel
from postprocess.states.layers import find_layers

SUFFIXES = (".csv", ".json", ".h5")
ARRAYS = ("energies", "density", "counts", "filled", "at_fermi", "errors", "density_errors")


def write_dos(path: Path, dos: DOS) -> None:
    """Write a density of states; the suffix tells the format.

    ``.h5`` and ``.json`` hold the attributes of :class:`postprocess.density.dos.DOS` by their names, energies in eV and not shifted. A
    ``.csv`` has a row for each energy: E - E_F (or E, if no Fermi level is known; the head says so), then for each projection (and
    spin) the states per eV and the number of states below.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    if path.suffix not in SUFFIXES:
        expected = f"{', '.join(SUFFIXES)}, or {', '.join(FIGURES)} for a figure"
        raise UsageError(f"{path}: cannot write a table as {path.suffix or 'a file without suffix'}; expected {expected}")
    with new_file(path) as temporary:
        if path.suffix == ".csv":
            _write_csv(temporary, dos)
        else:
            write_record(temporary, _record(dos))


def read_dos(path: str | Path) -> DOS:
    """Read what :func:`write_dos` wrote as ``.h5`` or ``.json``.

    Raises
    ------
    DataError
        If the file is missing, damaged, or of another kind.
    """
    path = Path(path)
    try:
        data = read_record(path)
        data |= {name: np.array(data[name], float) for name in ARRAYS if data.get(name) is not None}
        data["names"] = tuple(data["names"])
        if data.get("counted") is not None:
            energy, low, high = (float(x) for x in data["counted"])
            data["counted"] = FermiLevel(energy, low, high, f"{data['n_electrons']:g} electrons counted")
        dos = DOS(**data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a density of states written by deeph-dos (.json or .h5): {error}") from error
    expected = (len(dos.names), len(dos.energies))
    if dos.density.ndim != 3 or dos.density.shape[1:] != expected or dos.counts.shape != dos.density.shape:
        raise DataError(
            f"{path}: density {dos.density.shape} and counts {dos.counts.shape}; expected (n_spin, {expected[0]}, {expected[1]})"
        )
    return dos


def _record(dos: DOS) -> dict[str, Any]:
    """What is known, by name; the counted level as energy, low, high."""
    record = {f.name: getattr(dos, f.name) for f in fields(dos) if getattr(dos, f.name) is not None}
    if dos.counted is not None:
        record["counted"] = [dos.counted.energy, dos.counted.low, dos.counted.high]
    return record


def _write_csv(path: Path, dos: DOS) -> None:
    zero = dos.fermi_energy or 0.0
    reference = "absolute energies, Fermi level not known" if dos.fermi_energy is None else f"E - E_F, E_F = {zero:.9f}"
    spins = ("",) if len(dos.density) == 1 else (" up", " down")
    columns = [f"{name}{spin}" for spin in spins for name in dos.names]
    values = np.stack([dos.density, dos.counts], axis=2).reshape(2 * len(columns), -1)
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {dos.title}: {reference}, eV; states per eV and cell; {dos.method}\n")
        rows = csv.writer(file)
        rows.writerow(["energy", *(f"{name}{kind}" for name in columns for kind in ("", " states below"))])
        for energy, row in zip(dos.energies - zero, values.T, strict=True):
            rows.writerow([f"{energy:.6f}", *(f"{x:.9g}" for x in row)])


def write_map(path: Path, dos: DOS, system: System) -> None:
    """Write the number of states of each projected atom within the window: a csv with atom, element, layer, x, y, z (Angstrom), states.

    Layers are counted from 1 where there are layers, see :func:`postprocess.states.layers.find_layers`, else 0.

    Raises
    ------
    UsageError
        If the density of states was not projected on atoms.
    """
    names = {f"{symbol}{n + 1}": n for n, symbol in enumerate(system.symbols)}
    atoms = [(names[name], place) for place, name in enumerate(dos.names) if name in names]
    if not atoms:
        raise UsageError(f"{path}: a map shows single atoms, but the projections are {', '.join(dos.names)}; add --projections atom")
    vacuum = 3 - sum(periodic_directions(system))
    layers = find_layers(system) + 1 if vacuum == 1 else np.zeros(system.n_atoms, np.int64)
    states = dos.density.sum(axis=(0, 2)) * (dos.energies[1] - dos.energies[0])
    zero = dos.fermi_energy or 0.0
    with new_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {dos.title}: states within {dos.energies[0] - zero:.6f} to {dos.energies[-1] - zero:.6f} eV; {dos.method}\n")
        rows = csv.writer(file)
        rows.writerow(["atom", "element", "layer", "x", "y", "z", "states"])
        for atom, place in atoms:
            rows.writerow(
                [atom + 1, system.symbols[atom], layers[atom], *(f"{x:.6f}" for x in system.positions[atom]), f"{states[place]:.9g}"]
            )
