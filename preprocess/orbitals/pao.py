"""OpenMX basis files ``.pao``: radial functions on a logarithmic mesh, ``PAO.Mul`` of each l."""

import re
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from deeph.files.text import number, numbers, read_text
from deeph.physics.orbitals import Orbitals, RadialFunction
from deeph.physics.system import NUMBERS, SYMBOLS, FloatArray
from deeph.physics.units import OPENMX
from deeph.runtime.errors import DataError

POINTS = 3000
"""Uniform mesh on which the functions are handed on: steps of some 0.001 Angstrom."""
MAX_CUTOFF = 100.0
"""Bohr."""
MAX_GRID_ERROR = 1e-6
"""Accepted relative difference of r and exp(log r); files show 1e-11."""
MAX_NORM_ERROR = 0.1
"""Accepted |norm - 1| of a function; most files show 1e-3, coarse ones (Mo7.0) 0.015."""
_CONTRACTION = re.compile(r"(?:[spdfg]\d{1,2})+")


def parse_contraction(text: str) -> tuple[int, ...]:
    """Angular momentum of each shell from ``s2p2d1``, in OpenMX's order: ascending l.

    Raises
    ------
    DataError
        If it is something else, or names a shell twice.
    """
    counts = {"spdfg".index(l): int(n) for l, n in re.findall(r"([spdfg])(\d{1,2})", text)}
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
    text = read_text(path)
    element = re.match(r"([A-Z][a-z]?)(?=\d|_)", path.name)
    species = _value(text, "AtomSpecies", path)
    if element and NUMBERS.get(element[1]) not in (None, int(species)):
        raise DataError(f"{path} is named after {element[1]}, but holds orbitals of the element with atomic number {int(species)}")
    cutoff = _value(text, "radial.cutoff.pao", path)
    if not 0 < cutoff < MAX_CUTOFF or not 0 < species < len(SYMBOLS):
        raise DataError(f"{path}: a cutoff of {cutoff:g} Bohr and the atomic number {species:g} make no sense: the file is damaged")
    tables = {l: _table(text, l, path) for l in set(shells)}
    functions = []
    for n, l in enumerate(shells):
        zeta, (r, values) = shells[:n].count(l), tables[l]
        if zeta >= len(values):
            raise DataError(f"{path} holds {len(values)} functions with l = {l}, but {contraction} asks for {shells.count(l)}")
        functions.append(_resampled(l, r, values[zeta], cutoff))
        if not abs(functions[-1].norm - 1) < MAX_NORM_ERROR:
            raise DataError(
                f"{path}: function {zeta + 1} with l = {l} has the norm {functions[-1].norm:.4f}, expected 1: the file is damaged"
            )
    return Orbitals(int(species), tuple(functions), f"{path.stem}-{contraction}", n_electrons=_value(text, "valence.electron", path))


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
    match = re.search(rf"^\s*{re.escape(keyword)}\s+(\S+)", text, re.MULTILINE | re.IGNORECASE)
    if not match:
        raise DataError(f"{path} has no line '{keyword}': expected an OpenMX .pao file")
    try:
        return number(match[1])
    except ValueError as error:
        raise DataError(f"{path}: {keyword}: {error}") from error


def _table(text: str, l: int, path: Path) -> tuple[FloatArray, FloatArray]:
    """Grid in Bohr and the functions (n_functions, n_r) of one l."""
    found = re.search(rf"<\s*pseudo\.atomic\.orbitals\.L={l}\s*\n(.*?)pseudo\.atomic\.orbitals\.L={l}\s*>", text, re.IGNORECASE | re.DOTALL)
    if found is None:
        raise DataError(f"{path} holds no complete table of functions with l = {l} (<pseudo.atomic.orbitals.L={l} ... >)")
    first = text.count("\n", 0, found.start(1)) + 1
    lines = [(n, words) for n, line in enumerate(found[1].splitlines(), start=first) if (words := line.split())]
    where = f"{path}, lines {first} to {lines[-1][0] if lines else first}"
    try:
        table = np.array([numbers(words) for _, words in lines])
    except ValueError as error:
        raise DataError(f"{where}: expected a table of log r, r, functions: {error}") from error
    if table.ndim != 2 or table.shape[1] < 3 or len(table) < 3:
        raise DataError(f"{where}: expected columns log r, r and at least one function, in three lines or more")
    r = table[:, 1]
    wrong = np.flatnonzero((np.diff(r, prepend=0.0) <= 0) | (np.abs(np.exp(table[:, 0]) - r) > MAX_GRID_ERROR * r))
    if len(wrong):
        raise DataError(
            f"{path}, line {lines[wrong[0]][0]}: log r = {table[wrong[0], 0]:g}, r = {r[wrong[0]]:g}: expected r that ascends, and its "
            "logarithm before it: a doubled, missing or changed line"
        )
    return r, table[:, 2:].T
