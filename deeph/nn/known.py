"""What a model was trained on, and which bonds of another structure are not of that kind.

A two-centre function of elements that never met in the training set is not known at all, and a smooth function is known where there were
bonds of about that length. So a prediction is refused for the first, and said to be uncertain for the others.
"""

from collections.abc import Iterator

import numpy as np
import torch

from deeph.nn.kinds import bond_kinds
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import pair_vectors
from deeph.physics.soundness import pair_name
from deeph.physics.system import SYMBOLS, FloatArray, IntArray
from deeph.runtime.errors import ModelError

Kind = tuple[int, int]
Intervals = list[tuple[float, float]]
TrainedLengths = dict[Kind, Intervals]
"""Bond lengths of each pair of elements in the training set, in Angstrom, as intervals in ascending order."""

STEP = 0.01  # Angstrom; resolution of what is kept
GAP = 0.1  # Angstrom; lengths that are closer belong to one interval
NEAR = 0.05  # Angstrom; what is at most as far from a trained length counts as trained
LEAST = 0.75  # of the shortest trained bond: below nothing can be said
SHOWN = 3  # bonds in a message


class LengthSurvey:
    """Bond lengths of many structures, added up."""

    def __init__(self) -> None:
        self._steps: dict[Kind, set[int]] = {}

    def add(self, structure: Hamiltonian, bonds: IntArray) -> None:
        """Add the bonds of a structure, positions in the pattern of its overlap."""
        for kind, _, r in _by_kind(structure, bonds):
            self._steps.setdefault(kind, set()).update(np.unique(np.rint(r / STEP).astype(int)).tolist())

    def lengths(self) -> TrainedLengths:
        """The intervals of each pair of elements that occurred."""
        out: TrainedLengths = {}
        for kind, steps in sorted(self._steps.items()):
            ordered = np.array(sorted(steps))
            cuts = np.flatnonzero(np.diff(ordered) > GAP / STEP)
            first, last = ordered[np.append(0, cuts + 1)], ordered[np.append(cuts, len(ordered) - 1)]
            out[kind] = [(round(a * STEP, 2), round(b * STEP, 2)) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
        return out


def _by_kind(structure: Hamiltonian, bonds: IntArray) -> Iterator[tuple[Kind, IntArray, FloatArray]]:
    """Each pair of elements with its bonds (positions in the pattern) and their lengths."""
    pairs = structure.S.pairs[bonds]
    if not len(pairs):
        return
    r = np.linalg.norm(pair_vectors(structure.system, pairs), axis=1)
    ends = torch.as_tensor(np.ascontiguousarray(pairs[:, 3:].T))
    for kind, rows in bond_kinds(torch.as_tensor(structure.system.numbers), ends):
        index = rows if isinstance(rows, slice) else rows.numpy()
        yield kind, bonds[index], r[index]


def check_known(structure: Hamiltonian, bonds: IntArray, trained: TrainedLengths) -> None:
    """Refuse bonds of which the model knows nothing.

    Parameters
    ----------
    structure : Hamiltonian
        Needs S.
    bonds : (n,) int array
        See :func:`deeph.nn.graph.select_bonds`.
    trained : TrainedLengths
        Of the model.

    Raises
    ------
    ModelError
        If elements are neighbours that never were in the training set, or are much closer than there.
    """
    never, close = [], []
    for kind, members, r in _by_kind(structure, bonds):
        nearest = int(np.argmin(r))
        text = f"{len(r)} bonds {_name(kind)}, such as {_bond(structure, members[nearest])}, {r[nearest]:.2f} Angstrom apart"
        if kind not in trained:
            never.append(text)
        elif r[nearest] < LEAST * trained[kind][0][0]:
            close.append(f"{_bond(structure, members[nearest])} are {r[nearest]:.2f} Angstrom apart, those of the training set "
                         f"at least {trained[kind][0][0]:.2f}")  # fmt: skip
    if never:
        known = ", ".join(_name(kind) for kind in trained)
        raise ModelError(
            f"the structure has pairs of elements that no structure of the training set has within their range: {'; '.join(never)}. "
            f"Nothing is known of H between them (known: {known}); train on structures with such neighbours"
        )
    if close:
        raise ModelError(
            f"{'; '.join(close)}: nothing is known of H below {LEAST:g} of the shortest trained distance; check the structure, or train on "
            "structures with such neighbours"
        )


def unfamiliar(structure: Hamiltonian, bonds: IntArray, trained: TrainedLengths, cutoffs: dict[Kind, float]) -> str | None:
    """One sentence about the bonds whose length is not like any of the training set, None if there are none.

    Parameters
    ----------
    structure, bonds, trained :
        As for :func:`check_known`.
    cutoffs : dict of (zi, zj) to float
        Where H is known to vanish, Angstrom.
    """
    count, kinds, worst = 0, [], []
    for kind, members, r in _by_kind(structure, bonds):
        low, high = np.array([*trained[kind], (cutoffs[kind], cutoffs[kind])]).T
        # the intervals are in order, so the nearest ends are those of the last one that begins below r, and of the next
        place = np.searchsorted(low, r, side="right")
        above = np.where(place > 0, r - high[np.maximum(place - 1, 0)], np.inf)
        below = np.where(place < len(low), low[np.minimum(place, len(low) - 1)] - r, np.inf)
        off = np.minimum(above, below)
        far = np.flatnonzero(off > NEAR)
        if not len(far):
            continue
        count += len(far)
        kinds.append(f"{len(far)} {_name(kind)} ({r[far].min():.2f} to {r[far].max():.2f}; trained {_spelled(trained[kind])})")
        weight = off * np.exp(-r)  # H is larger between near neighbours
        worst += [(float(weight[n]), float(off[n]), float(r[n]), int(members[n])) for n in far[np.argsort(-weight[far])][:SHOWN]]
    if not count:
        return None
    examples = "; ".join(f"{_bond(structure, n)}, {r:.2f}: {off:.2f} off" for _, off, r, n in sorted(worst, reverse=True)[:SHOWN])
    return (
        f"{count} of {len(bonds)} bonds have lengths unlike any of the training set (Angstrom): {', '.join(kinds)}. "
        f"The worst: {examples}. H is continued smoothly there and less certain; compare such a structure with DFT"
    )


def _name(kind: Kind) -> str:
    return "-".join(SYMBOLS[z] for z in kind)


def _spelled(intervals: Intervals) -> str:
    parts = [f"{a:.2f} to {b:.2f}" if b > a else f"{a:.2f}" for a, b in intervals]
    return ", ".join(parts if len(parts) <= 4 else [*parts[:3], "...", parts[-1]])


def _bond(structure: Hamiltonian, member: int) -> str:
    return pair_name(structure.system, structure.S.pairs[member])
