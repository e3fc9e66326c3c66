"""Errors of one Hamiltonian against another, entry by entry."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.blocks import Array, PairBlocks, block_shapes, energy_zero
from deeph.errors import DataError
from deeph.hamiltonian import Hamiltonian
from deeph.pairs import find_pairs, is_onsite, pair_vectors
from deeph.system import SYMBOLS, IntArray
from postprocess.match import aligned

Table = dict[str, "Errors"]


class Errors(NamedTuple):
    """Size of a set of differences, in meV; of complex entries the modulus counts."""

    n: int
    mae: float
    rmse: float
    max: float


@dataclass(frozen=True)
class MatrixComparison:
    """How far H is from a reference.

    Attributes
    ----------
    raw : Errors
        H - H_ref as it stands.
    projected : Errors
        H - H_ref - mu S: without the common energy zero, which changes no band structure.
    energy_zero : float
        mu = <H - H_ref, S>/<S, S>, meV.
    by_site, by_elements, by_distance, by_shells : dict of str to Errors
        Parts of the projected error: on-site and off-site blocks, element pairs, bins of 1 Angstrom (off-site only), pairs of shells.
    overlap_difference : float
        Largest difference of the two overlaps, 1.
    only_reference, only_other : tuple of int and float
        Number of blocks that only one of the two has, and the largest entry of H in them, meV; they are compared with zero.
    """

    raw: Errors
    projected: Errors
    energy_zero: float
    by_site: Table
    by_elements: Table
    by_distance: Table
    by_shells: Table
    overlap_difference: float
    only_reference: tuple[int, float]
    only_other: tuple[int, float]


def compare_hamiltonians(reference: Hamiltonian, other: Hamiltonian) -> MatrixComparison:
    """Compare two Hamiltonians of the same structure in the same basis.

    Parameters
    ----------
    reference, other : Hamiltonian
        Atom order, the cell in which an atom is placed, and the patterns may differ.

    Raises
    ------
    DataError
        If H is missing, or structure, shells or spin differ.
    """
    other = aligned(reference, other)
    system, basis, H_ref, H = reference.system, reference.basis, reference.hamiltonian, other.hamiltonian
    if not H_ref.n_pairs:
        raise DataError("the reference holds no blocks at all")
    new = find_pairs(H_ref.pairs, H.pairs) < 0
    lost = find_pairs(H.pairs, H_ref.pairs) < 0
    pairs = np.concatenate([H_ref.pairs, H.pairs[new]])
    shapes, shapes_S = (block_shapes(basis, system.numbers, pairs, spin=spin) for spin in (True, False))
    S = reference.S.on_pattern(pairs, shapes_S)
    overlap = S.entries - other.S.on_pattern(pairs, shapes_S).entries
    difference = PairBlocks(pairs, shapes, 1e3 * (H.on_pattern(pairs, shapes).entries - H_ref.on_pattern(pairs, shapes).entries))
    mu = energy_zero(difference, S)
    S = S.to_spinor() if basis.spin == "spinor" else S
    projected = PairBlocks(pairs, shapes, difference.entries - mu * S.entries)
    return MatrixComparison(
        raw=_errors(_sums(difference.entries)),
        projected=_errors(_sums(projected.entries)),
        energy_zero=mu,
        **_tables(reference, projected),
        overlap_difference=float(np.abs(overlap).max(initial=0.0)),
        only_reference=_largest(H_ref, lost),
        only_other=_largest(H, new),
    )


def _largest(H: PairBlocks, members: npt.NDArray[np.bool_]) -> tuple[int, float]:
    chosen = H.selected(np.flatnonzero(members))
    return chosen.n_pairs, 1e3 * float(np.abs(chosen.entries).max(initial=0.0))


def _sums(values: Array) -> Array:
    """Number, sum of moduli, sum of squares and maximum, which add up over parts."""
    size = np.abs(values)
    return np.array([size.size, size.sum(), (size**2).sum(), size.max(initial=0.0)])


def _errors(sums: Array) -> Errors:
    n, total, squares, largest = sums.tolist()
    return Errors(int(n), total / max(n, 1), float(np.sqrt(squares / max(n, 1))), largest)


def _tables(reference: Hamiltonian, difference: PairBlocks) -> dict[str, Table]:
    system = reference.system
    onsite = is_onsite(difference.pairs)
    distance = np.linalg.norm(pair_vectors(system, difference.pairs), axis=1)
    names = ("by_site", "by_elements", "by_distance", "by_shells")
    sums: dict[str, dict[str, list[Array]]] = {name: defaultdict(list) for name in names}
    for elements, members in _element_pairs(reference, difference.pairs):
        label = "-".join(SYMBOLS[z] for z in sorted(elements, key=list(reference.basis.shells).index))
        blocks = difference.take(members)
        sums["by_elements"][label].append(_sums(blocks))
        for site, chosen in (("on-site", onsite[members]), ("off-site", ~onsite[members])):
            sums["by_site"][site].append(_sums(blocks[:, chosen]))
        ring = np.where(onsite[members], -1, np.floor(distance[members])).astype(int)
        for n in np.unique(ring[ring >= 0]).tolist():
            sums["by_distance"][f"{n}-{n + 1}"].append(_sums(blocks[:, ring == n]))
        for shells, part in _shell_parts(reference, elements, blocks):
            sums["by_shells"][shells].append(_sums(part))
    total = {name: {label: _combined(parts) for label, parts in table.items()} for name, table in sums.items()}
    total["by_distance"] = dict(sorted(total["by_distance"].items(), key=lambda item: int(item[0].split("-")[0])))
    return total


def _combined(parts: list[Array]) -> Errors:
    stacked = np.array(parts)
    return _errors(np.append(stacked[:, :3].sum(axis=0), stacked[:, 3].max()))


def _element_pairs(reference: Hamiltonian, pairs: IntArray) -> Iterator[tuple[tuple[int, int], IntArray]]:
    z = reference.system.numbers[pairs[:, 3:]]
    for a, b in np.unique(z, axis=0).tolist():
        yield (a, b), np.flatnonzero((z == (a, b)).all(axis=1))


def _shell_parts(reference: Hamiltonian, elements: tuple[int, int], blocks: Array) -> Iterator[tuple[str, Array]]:
    """Yield ``"C s1-C p2"`` and the entries between these shells; the two directions of a pair get the same name."""
    position = list(reference.basis.shells).index
    sides = []
    for z in elements:
        shells = reference.basis.shells[z]
        start, n = 0, sum(2 * l + 1 for l in shells)
        side = []
        for number, l in enumerate(shells):
            orbitals = np.arange(start, start + 2 * l + 1)
            name = f"{SYMBOLS[z]} {'spdfghik'[l]}{shells[: number + 1].count(l)}"
            side.append(((position(z), number), name, np.concatenate([orbitals + s * n for s in range(reference.basis.spin_factor)])))
            start += 2 * l + 1
        sides.append(side)
    for key_a, name_a, rows in sides[0]:
        for key_b, name_b, columns in sides[1]:
            label = f"{name_a}-{name_b}" if key_a <= key_b else f"{name_b}-{name_a}"
            yield label, blocks[:, :, rows[:, None], columns]
