"""H, S and r averaged over the symmetry of their structure, and how far they are from it.

DFT on a real-space grid breaks the group of its own crystal by up to some ten meV in single elements of H, so that components that
symmetry forbids are not zero and degenerate levels split. The mean over all operations is the nearest matrix that keeps them all; it is the
mean over one factor of the group after the other. Position matrices are averaged about the middle of each pair,
r - S (tau_i + tau_j + R)/2, which turns as a vector wherever the origin lies, and whose Hermitian partner is its transpose.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from deeph.physics.blocks import Array, PairBlocks, block_shapes
from deeph.physics.covariance import difference, turned
from deeph.physics.difference import ErrorSums, sum_errors
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs
from deeph.physics.patterns import EXTRA
from deeph.physics.soundness import check_hermitian, pair_name
from deeph.physics.symmetry import TOLERANCE, Operation, turned_blocks
from deeph.physics.symmetry_group import SymmetryGroup, symmetry_group
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError

NOISE = 1e-3
"""meV; what is broken by less is not worth an average."""
LISTED = 5
"""Pairs of shells whose change is told."""


@dataclass(frozen=True)
class Violation:
    """How far a matrix is from one that keeps the group.

    Attributes
    ----------
    largest : float
        |M' - M| of the elements of M and of M' = g M, over all operations g; in units of M.
    pair : (5,) int array
        R1 R2 R3 i j of the block where that is.
    operation : Operation or None
        Which g; None if the group is trivial or M kept exactly.
    """

    largest: float
    pair: IntArray
    operation: Operation | None

    def where(self, system: System) -> str:
        """Such as ``C3, atoms 1 (Ga) and 2 (As)``."""
        return "" if self.operation is None else f"{self.operation.name}, {pair_name(system, self.pair)}"


def violation(data: Hamiltonian, blocks: PairBlocks, operations: Iterable[Operation]) -> Violation:
    """The largest change of H or S of a structure under some operations; blocks that only one side has are left out."""
    worst = Violation(0.0, blocks.pairs[0], None)
    for operation in operations:
        value, n = difference(turned(data, blocks, operation), blocks)
        if value > worst.largest:
            worst = Violation(value, operation.pairs(blocks.pairs[n : n + 1])[0], operation)
    return worst


def describe_symmetry(data: Hamiltonian) -> str:
    """How far H is from its group, in a sentence for every report of what symmetry forbids or makes degenerate."""
    try:
        group = symmetry_group(data)
    except DataError as error:
        return f"not known: {error}"
    if not group.generators:
        return f"{group}, to {TOLERANCE:g} Angstrom"
    found = violation(data, data.hamiltonian, group.generators)
    meV = 1e3 * found.largest
    text = f"H is up to {meV:.2g} meV from its images under the {group.order} operations that keep structure and moments"
    return text + (f" ({found.where(data.system)}); --symmetrize averages over them" if meV > NOISE else "")


@dataclass(frozen=True)
class Symmetrized:
    """A structure whose matrices keep its group, and what was changed for that.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        The new one, on a pattern that the group maps onto itself, with atoms and moments at symmetric places.
    group : SymmetryGroup
        What was averaged over.
    H : ErrorSums or None
        Changes of H, meV, by shells and distance.
    S, r : float
        Largest change of an element of S, and of r about the middle of the pair (Angstrom).
    moved : float
        Largest way of an atom, Angstrom.
    added : int
        Blocks that the pattern lacked.
    """

    hamiltonian: Hamiltonian
    group: SymmetryGroup
    H: ErrorSums | None
    S: float
    r: float
    moved: float
    added: int

    def describe(self) -> list[str]:
        """Lines of text: the group, and what changed."""
        lines = [f"symmetry     {self.group}; atoms were moved by up to {self.moved:.1e} Angstrom"]
        if self.H is not None:
            total = self.H.table("total")["raw"]
            rows = sorted(self.H.table("by_shells").items(), key=lambda row: -row[1].max)
            listed = [f"  {shells:<12} {e.max:9.3g}  {e.mae:9.3g}" for shells, e in rows[:LISTED] if e.max > NOISE]
            most = ", most between" if listed else ""
            lines += [f"H changed    by {total.max:.3g} meV at most, {total.mae:.3g} meV in the mean{most}", *listed]
        r = "" if self.hamiltonian.r is None else f", r by up to {self.r:.1e} Angstrom"
        added = f"; {self.added} blocks of zeros were added to the pattern" if self.added else ""
        return [*lines, f"S changed    by up to {self.S:.1e}{r}{added}"]


def symmetrize(data: Hamiltonian, tolerance: float = TOLERANCE) -> Symmetrized:
    """Average all matrices of a structure over its group; once more changes nothing.

    Parameters
    ----------
    data : Hamiltonian
        With or without H and r. Error bars are left behind.
    tolerance : float
        How far an atom may lie from the image of another one, Angstrom.

    Raises
    ------
    DataError
        If H or S is not Hermitian, or the group is not known, see :func:`deeph.physics.symmetry_group.symmetry_group`.
    """
    check_hermitian(data)
    group = symmetry_group(data, tolerance)
    system = group.system
    pairs = closed_pattern(data.S.pairs, group)
    old = _centred(data, pairs, data.system)
    new = dict(zip(old, _averaged(data, old, group), strict=True))
    S = new["S"]
    r = new.pop("r", None)
    changed = None if data.H is None else sum_errors(system, data.basis, new["H"], old["H"], S)[0]
    full = replace(
        data,
        system=system,
        S=S,
        H=new.get("H"),
        r=None if r is None else replace(r, entries=r.entries + _middle(system, S) * S.entries),
        moments=_symmetric_moments(data, group),
        extra={name: new[name] for name in data.extra},
        source={**data.source, "changes": [*data.source.get("changes", []), f"averaged over {group}"]},
        error_bars=None,
    )
    return Symmetrized(
        full,
        group,
        changed,
        float(np.abs(S.entries - old["S"].entries).max(initial=0.0)),
        0.0 if r is None else float(np.abs(r.entries - old["r"].entries).max(initial=0.0)),
        float(np.linalg.norm(system.positions - data.system.positions, axis=1).max(initial=0.0)),
        len(pairs) - data.S.n_pairs,
    )


def closed_pattern(pairs: IntArray, group: SymmetryGroup) -> IntArray:
    """The pairs, and behind them all images that were missing."""
    for operation in group.generators:
        images = operation.pairs(pairs)
        pairs = np.concatenate([pairs, images[find_pairs(pairs, images) < 0]])
    return pairs


def _centred(data: Hamiltonian, pairs: IntArray, system: System) -> dict[str, PairBlocks]:
    """All matrices on a larger pattern, r about the middle of each pair."""

    def wider(blocks: PairBlocks, *, spin: bool) -> PairBlocks:
        return blocks.on_pattern(pairs, block_shapes(data.basis, data.system.numbers, pairs, spin=spin))

    out = {"S": wider(data.S, spin=False)}
    if data.H is not None:
        out["H"] = wider(data.H, spin=True)
    if data.r is not None:
        r = wider(data.r, spin=False)
        out["r"] = replace(r, entries=r.entries - _middle(system, r) * out["S"].entries)
    return out | {name: wider(blocks, spin=EXTRA[name]) for name, blocks in data.extra.items()}


def _middle(system: System, blocks: PairBlocks) -> FloatArray:
    """(3, n_entries) the middle of the pair of each entry, Angstrom."""
    i, j = blocks.pairs[:, 3], blocks.pairs[:, 4]
    middle = (system.positions[i] + system.positions[j] + blocks.pairs[:, :3] @ system.cell) / 2
    return np.asarray(np.repeat(middle.T, blocks.shapes.prod(axis=1), axis=1))


def _averaged(data: Hamiltonian, matrices: Mapping[str, PairBlocks], group: SymmetryGroup) -> Iterator[PairBlocks]:
    """Each matrix averaged, one factor of the group after the other."""
    pairs = matrices["S"].pairs
    places = {n: find_pairs(pairs, operation.pairs(pairs)) for n, operation in enumerate(group.generators)}
    kinds = data.system.numbers[pairs[:, 3:]]
    members = [(z, np.flatnonzero((kinds == z).all(axis=1))) for z in np.unique(kinds, axis=0)]
    for name, blocks in matrices.items():
        spin = EXTRA.get(name, name == "H")
        rotations = [operation.orbitals(data.basis, spin=spin) for operation in group.generators]
        out = PairBlocks.zeros(pairs, blocks.shapes, blocks.n_components, np.result_type(blocks.entries, float))
        for (zi, zj), own in members:
            values = blocks.take(own)
            within = np.zeros(len(pairs), np.int64)
            within[own] = np.arange(len(own))
            first = 0
            for factor in group.factors:
                total: Array = values.astype(out.entries.dtype)
                for n, operation in enumerate(factor[1:], first):
                    D = rotations[n]
                    image = turned_blocks(
                        values, operation, D[zi], D[zj], collinear=spin and data.basis.spin == "collinear", vector=name == "r"
                    )
                    total[:, within[places[n][own]]] += image if np.iscomplexobj(total) else image.real
                first += len(factor) - 1
                values = total / len(factor)
            out.put(own, values)
        yield out


def _symmetric_moments(data: Hamiltonian, group: SymmetryGroup) -> FloatArray | None:
    """The mean of the moments over the group."""
    moments = data.moments
    if moments is None or data.H is None:
        return moments
    for factor in group.factors:
        mean = np.zeros_like(moments)
        for operation in factor:
            turn = np.linalg.det(operation.Q) * operation.Q if group.spin_orbit else np.eye(3)
            mean[operation.image] += (-1 if operation.reversed else 1) * moments @ turn.T / len(factor)
        moments = mean
    return moments
