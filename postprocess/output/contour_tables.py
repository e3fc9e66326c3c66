"""Contours and maps over the zone in files: csv, json, h5."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.folders import new_file
from postprocess.contours.maps import ZoneMap
from postprocess.contours.plane import KPlane
from postprocess.contours.result import Contours
from postprocess.output import records
from postprocess.output.berry_tables import check_suffix
from postprocess.output.records import write_record

PLACE = ("k1", "k2", "k3", "kx", "ky", "kz")


def write_contours(path: Path, found: Contours) -> None:
    """Write contours; the suffix tells the format.

    A ``.csv`` has a row per point: line (from 0), energy (eV from the zero), band (from 1), spin (1, 2), fractional k, Cartesian k
    (1/Angstrom), E(k) - E (eV), the same half-way to the next point, and curvature (Angstrom^2) and spin where they are known. ``.h5``
    and ``.json`` hold the same columns as arrays under these names, the section of the zone, for each line ``closed`` and ``area``
    (1/Angstrom^2), and ``largest_midway`` (eV).

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    check_suffix(path, "contours")
    head, rows = _contour_rows(found)
    with new_file(path) as temporary:
        if path.suffix not in records.SUFFIXES:
            _write_csv(
                temporary, f"contours of {found.title}, energies in eV from {found.zero:.6f}, {_plane_text(found.plane)}", head, rows
            )
            return
        record: dict[str, Any] = dict(zip(head, np.array(rows).T, strict=True)) | _plane_record(found.plane)
        record |= {
            "closed": np.array([line.closed for line in found.lines], float), "area": np.array([line.area for line in found.lines]),
            "filled": found.filled, "energies": np.array(found.energies), "zero": found.zero, "tolerance": found.tolerance,
            "largest_midway": found.midway,
            "first_band": found.first_band + 1, "positions": found.positions or None, "title": found.title,
        }  # fmt: skip
        write_record(temporary, record)


def _contour_rows(found: Contours) -> tuple[list[str], list[list[float]]]:
    first = found.lines[0]
    head = ["line", "energy", "band", "spin", *PLACE, "off", "midway"]
    head += ["curvature"] * (first.curvature is not None) + ["sx", "sy", "sz"] * (first.spins is not None)
    rows = []
    for number, line in enumerate(found.lines):
        parts = [line.k, line.k @ found.plane.reciprocal, line.off[:, None], line.midway[:, None]]
        parts += [] if line.curvature is None else [line.curvature[:, None]]
        parts += [] if line.spins is None else [line.spins]
        own = [float(number), line.energy - found.zero, line.band + 1.0, line.spin + 1.0]
        rows += [[*own, *point] for point in np.concatenate(parts, axis=1).tolist()]
    return head, rows


def write_map(path: Path, found: ZoneMap) -> None:
    """Write a map; the suffix tells the format: a ``.csv`` has a row per k, ``.h5`` and ``.json`` arrays (n1, n2).

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    check_suffix(path, "maps")
    n = found.values.shape
    xy = np.stack(np.meshgrid(np.arange(n[0]) / n[0], np.arange(n[1]) / n[1], indexing="ij"), axis=-1)
    k = found.plane.fractional(xy)
    with new_file(path) as temporary:
        if path.suffix in records.SUFFIXES:
            record = {"k": k, found.what: found.values, "spin_xyz": found.spins, "bands": np.array(found.bands) + 1, "zero": found.zero}
            write_record(temporary, record | {"title": found.title, "positions": found.positions or None} | _plane_record(found.plane))
            return
        parts = [k, k @ found.plane.reciprocal, found.values[..., None], *([] if found.spins is None else [found.spins])]
        head = [*PLACE, found.what, *(["sx", "sy", "sz"] * (found.spins is not None))]
        rows = np.concatenate(parts, axis=-1).reshape(-1, len(head)).tolist()
        _write_csv(temporary, f"{found.what} of {found.band_text} of {found.title}, {_plane_text(found.plane)}", head, rows)


def _plane_text(plane: KPlane) -> str:
    return f"plane {plane.text}, k in 1/Angstrom"


def _plane_record(plane: KPlane) -> dict[str, Any]:
    points = np.array([*plane.points.values()]).reshape(-1, 2)
    out: dict[str, Any] = {"plane": plane.text, "origin": plane.origin, "vectors": plane.vectors, "axes": plane.axes, "zone": plane.zone}
    return out | {"reciprocal": plane.reciprocal, "point_names": [*plane.points], "point_places": points}


def _write_csv(path: Path, comment: str, head: list[str], rows: list[list[float]]) -> None:
    whole = ("line", "band", "spin")
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {comment}\n")
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows([int(x) if name in whole else f"{x:.10g}" for name, x in zip(head, row, strict=True)] for row in rows)
