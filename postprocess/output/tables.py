"""Band structures in files: json and h5 to be read back, csv, gnuplot and OpenMX's ``.Band`` for other programs."""

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.figures import SUFFIXES as FIGURES
from deeph.files.folders import new_file
from deeph.runtime.errors import DataError, UsageError
from postprocess.bands.bands import Bands
from postprocess.lattice.kpath import KPath
from postprocess.output import records
from postprocess.output.records import read_record, write_record
from postprocess.states.level_errors import LEVEL_ERROR

SUFFIXES = (".csv", ".json", ".h5", ".dat", ".Band")


def write_bands(path: Path, bands: Bands) -> None:
    """Write a band structure; the suffix tells the format.

    ``.h5`` and ``.json`` hold ``energies`` (n_spin, n_k, n_bands) in eV, not shifted; ``fermi_energy``, ``fermi_origin``, ``title``; and
    the path: ``k`` (n_k, 3) fractional, ``distances`` and ``ticks`` in 1/Angstrom with 2 pi, ``labels``, ``bounds``; fat bands as
    ``weights`` (n_labels, n_spin, n_k, n_bands) with ``weight_labels``; ``signed`` are those that are no shares; ``order`` joins levels to
    bands, see :class:`postprocess.bands.bands.Bands`; ``errors`` (n_spin, n_k, n_bands) are standard deviations of the levels in eV. A
    ``.csv`` has a row per spin and k: spin, segment, distance, k1, k2, k3, the energies minus the Fermi level if it is known (the head says
    so), then the weights, then the errors.
    ``.dat`` and ``.Band``: see
    :mod:`postprocess.output.band_files`.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    from postprocess.output.band_files import write_gnuplot, write_openmx

    if path.suffix not in SUFFIXES:
        expected = f"{', '.join(SUFFIXES)}, or {', '.join(FIGURES)} for a figure"
        raise UsageError(f"{path}: cannot write bands as {path.suffix or 'a file without suffix'}; expected {expected}")
    with new_file(path) as temporary:
        if path.suffix in records.SUFFIXES:
            write_record(temporary, _record(bands))
        else:
            {".csv": _write_csv, ".dat": write_gnuplot, ".Band": write_openmx}[path.suffix](temporary, bands)


def read_bands(path: str | Path) -> Bands:
    """Read what :func:`write_bands` wrote as ``.h5`` or ``.json``.

    Raises
    ------
    DataError
        If the file is missing, damaged, or of another kind.
    """
    path = Path(path)
    try:
        data = read_record(path)
        arrays: dict[str, Any] = {name: np.array(data[name], dtype) for name, dtype in _ARRAYS.items() if data.get(name) is not None}
        energies, weights, order = arrays.pop("energies"), arrays.pop("weights", ()), arrays.pop("order", None)
        errors = arrays.pop("errors", None)
        kpath = KPath(labels=tuple(data["labels"]), **arrays)
        labelled = dict(zip(data.get("weight_labels", ()), weights, strict=True))
        first = data.get("first_band", 0)
        later = {name: data[name] for name in ("counted", "solver") if name in data}  # files of earlier versions have none
        level, origin, signed = data.get("fermi_energy"), data["fermi_origin"], tuple(data.get("signed", ()))
        bands = Bands(energies, kpath, level, origin, data["title"], first, labelled, signed, order=order, errors=errors, **later)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a band structure written by deeph-bands (.json or .h5): {error}") from error
    if bands.energies.ndim != 3 or bands.energies.shape[1] != len(kpath.k):
        raise DataError(f"{path}: energies {bands.energies.shape} for {len(kpath.k)} k-points; expected (n_spin, n_k, n_bands)")
    if bands.order is not None and not (
        bands.order.shape == bands.energies.shape and (np.sort(bands.order, axis=-1) == np.arange(bands.n_bands)).all()
    ):
        raise DataError(f"{path}: order {bands.order.shape} does not say for each k how its {bands.n_bands} levels are joined to bands")
    if bands.errors is not None and bands.errors.shape != bands.energies.shape:
        raise DataError(f"{path}: errors {bands.errors.shape} for energies {bands.energies.shape}")
    return bands


_ARRAYS: dict[str, type] = {
    "energies": float, "k": float, "distances": float, "ticks": float, "bounds": np.int64, "reciprocal": float, "weights": float,
    "order": np.int64, "errors": float,
}  # fmt: skip


def _record(bands: Bands) -> dict[str, Any]:
    flat = {f.name: getattr(bands, f.name) for f in fields(bands) if f.name not in ("path", "weights", "searched")}
    if bands.weights:
        flat |= {"weights": np.stack(list(bands.weights.values())), "weight_labels": tuple(bands.weights)}
    return flat | asdict(bands.path)


def _write_csv(path: Path, bands: Bands) -> None:
    zero = bands.fermi_energy or 0.0
    reference = "absolute energies, Fermi level not known" if bands.fermi_energy is None else f"E - E_F, E_F = {zero:.9f}"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {bands.title}: {reference}, eV; distance in 1/Angstrom with 2 pi; k fractional\n")
        rows = csv.writer(file)
        quantities = {**bands.weights, **({} if bands.errors is None else {LEVEL_ERROR: bands.errors})}
        numbers = [bands.first_band + n for n in range(1, bands.n_bands + 1)]
        columns = [f"{label}{name}{n}" for label, name in [("", "band"), *((w, " of band") for w in quantities)] for n in numbers]
        rows.writerow(["spin", "segment", "distance", "k1", "k2", "k3", *columns])
        for spin, energies in enumerate(bands.energies):
            for segment, points in enumerate(bands.path.segments):
                for n in range(points.start, points.stop):
                    shares = [x for weight in quantities.values() for x in weight[spin, n]]
                    values = (bands.path.distances[n], *bands.path.k[n], *(energies[n] - zero), *shares)
                    rows.writerow([spin, segment, *(f"{x:.9f}" for x in values)])
