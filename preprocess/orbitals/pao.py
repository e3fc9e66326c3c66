"""OpenMX basis files ``.pao``: radial functions on a logarithmic mesh, ``PAO.Mul`` of each l."""

import re
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from deeph.physics.orbitals import Orbitals, RadialFunction
from deeph.physics.system import NUMBERS, FloatArray
from deeph.physics.units import OPENMX
from deeph.runtime.errors import DataError

POINTS = 3000
"""Uniform mesh on which the functions are handed on: steps of some 0.001 Angstrom."""
_CONTRACTION = re.compile(r"(?:[spdfg]\d+)+")


def parse_contraction(text: str) -> tuple[int, ...]:
    """Angular momentum of each shell from ``s2p2d1``, in OpenMX's order: ascending l.

    Raises
    ------
    DataError
        If it is something else, or names a shell twice.
    """
    counts = {"spdfg".index(l): int(n) for l, n in re.findall(r"([spdfg])(\d+)", text)}
    if not _CONTRACTION.fullmatch(text) or len(re.findall(r"[spdfg]", text)) != len(counts) or min(counts.values()) < 1:
        raise DataError(f"basis {text!r}: expected the number of radial functions of each shell, such as s2p2d1 (no optimized s2>1)")
    return tuple(l for l in sorted(counts) for _ in range(counts[l]))


def read_pao(path: Path, contraction: str) -> Orbitals:
    """The orbitals that a contraction takes from a ``.pao`` file.

    Parameters
    ----------
    path : path
        For example ``C6.0.pao``.
    contraction : str
        For example ``s2p2d1``: the first two s functions, the first two p functions and the first d function.

    Raises
    ------
    DataError
        If the file is damaged or holds fewer functions.
    """
    shells = parse_contraction(contraction)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    element = re.match(r"([A-Z][a-z]?)(?=\d|_)", path.name)
    number = _value(text, "AtomSpecies", path)
    if element and NUMBERS.get(element[1]) not in (None, int(number)):
        raise DataError(f"{path} is named after {element[1]}, but holds orbitals of the element with atomic number {int(number)}")
    cutoff = _value(text, "radial.cutoff.pao", path)
    tables = {l: _table(text, l, path) for l in set(shells)}
    functions = []
    for n, l in enumerate(shells):
        zeta, (r, values) = shells[:n].count(l), tables[l]
        if zeta >= len(values):
            raise DataError(f"{path} holds {len(values)} functions with l = {l}, but {contraction} asks for {shells.count(l)}")
        functions.append(_resampled(l, r, values[zeta], cutoff))
    return Orbitals(int(number), tuple(functions), f"{path.stem}-{contraction}", n_electrons=_value(text, "valence.electron", path))


def _resampled(l: int, r: FloatArray, values: FloatArray, cutoff: float) -> RadialFunction:
    """A function (atomic units) between the points of its file as OpenMX sees it: cubic Hermite with slopes from three points.

    Where the file is coarse, this is the definition of the orbital: Mo7.0 has steps of 0.15 Bohr at its edge, where a natural spline gives
    overlaps that differ by 2e-4. Below the first point R = r^l (c + O(r^2)).
    """
    step, rise = np.diff(r), np.diff(values)
    inner = (rise[1:] / step[1:] * step[:-1] + rise[:-1] / step[:-1] * step[1:]) / (step[1:] + step[:-1])
    slope = np.concatenate([rise[:1] / step[:1], inner, rise[-1:] / step[-1:]])
    mesh = np.linspace(0.0, cutoff, POINTS)
    out = CubicHermiteSpline(r, values, slope, extrapolate=False)(np.clip(mesh, r[0], r[-1]))
    out[mesh > r[-1]] = 0.0
    near = mesh < r[0]
    out[near] = values[0] * (mesh[near] / r[0]) ** l
    out[-1] = 0.0
    return RadialFunction(l, mesh * OPENMX.bohr, out * OPENMX.bohr**-1.5)


def _value(text: str, keyword: str, path: Path) -> float:
    match = re.search(rf"^\s*{re.escape(keyword)}\s+([-+.\deE]+)", text, re.MULTILINE)
    if not match:
        raise DataError(f"{path} has no line '{keyword}': expected an OpenMX .pao file")
    return float(match[1])


def _table(text: str, l: int, path: Path) -> tuple[FloatArray, FloatArray]:
    """Grid in Bohr and the functions (n_functions, n_r) of one l."""
    start, stop = text.find(f"<pseudo.atomic.orbitals.L={l}\n"), text.find(f"pseudo.atomic.orbitals.L={l}>")
    if start < 0 or stop < start:
        raise DataError(f"{path} holds no complete table of functions with l = {l} (<pseudo.atomic.orbitals.L={l} ... >)")
    line = text.count("\n", 0, start) + 2
    rows = text[start:stop].splitlines()[1:]
    try:
        table = np.array([row.split() for row in rows if row.strip()], np.float64)
    except ValueError as error:
        raise DataError(f"{path}, lines {line} to {line + len(rows)}: expected a table of log r, r, functions: {error}") from error
    if table.ndim != 2 or table.shape[1] < 3 or not np.isfinite(table).all():
        raise DataError(f"{path}, lines {line} to {line + len(rows)}: expected columns log r, r and at least one function, finite numbers")
    return table[:, 1], table[:, 2:].T
