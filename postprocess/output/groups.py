"""Which groups of orbitals are shown together: never more than there are colours, and nothing that is everywhere too small to be seen."""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from deeph.files.figures import COLOURS
from deeph.physics.system import FloatArray
from deeph.runtime.log import logger

TOGETHER = len(COLOURS)
"""Groups in one row of panels, or curves in one panel."""
MOST = 16
"""Groups in one figure."""
KINDS = (r"[A-Z][a-z]?", r"[A-Z][a-z]?\d+", r"layer \d+", r"up|down")
"""Names of elements, atoms, layers, spins, see :func:`postprocess.states.orbital_groups.make_projections`."""
SHELL = r"([A-Z][a-z]?) [spdfghi]"


def families(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Names that follow each other and are of one kind (elements, the shells of one element, layers, ...), at most four together."""
    out: list[tuple[str, ...]] = []
    for _, found in groupby(names, _kind):
        members = list(found)
        n = -(-len(members) // TOGETHER)
        size = -(-len(members) // n)  # 5 as 3 and 2, not 4 and 1
        out += [tuple(members[start : start + size]) for start in range(0, len(members), size)]
    return out


def whole_of(family: Sequence[str]) -> str | None:
    """The element whose shells a family holds."""
    shell = re.fullmatch(SHELL, family[0])
    return shell[1] if shell else None


def _kind(name: str) -> str:
    shell = re.fullmatch(SHELL, name)
    if shell:
        return f"shells of {shell[1]}"
    return next((kind for kind in KINDS if re.fullmatch(kind, name)), "")


def visible_groups(sizes: Mapping[str, float], smallest: float) -> list[str]:
    """Groups that are seen, in the given order: those beyond ``smallest`` somewhere, of many the largest; what is left out is said.

    Parameters
    ----------
    sizes : mapping of name to float
        The largest value that is drawn of each group.
    smallest : float
        What cannot be seen in the figure.
    """
    seen = [name for name, size in sizes.items() if size >= smallest] or list(sizes)[:1]
    if hidden := [name for name in sizes if name not in seen]:
        logger.info("not drawn, for nothing could be seen of it in this window: %s", ", ".join(hidden))
    if len(seen) > MOST:
        logger.warning("of %d groups the %d largest in this window are drawn; tables hold all", len(seen), MOST)
        seen = sorted(sorted(seen, key=lambda name: -sizes[name])[:MOST], key=list(sizes).index)
    return seen


def largest_visible(values: FloatArray, energies: FloatArray, window: tuple[float, float]) -> float:
    """The largest absolute value at energies within a window, both (n_spin, n_k, n_bands)."""
    with np.errstate(invalid="ignore"):
        within = (energies >= window[0]) & (energies <= window[1]) & np.isfinite(values)
    return float(np.abs(values[within]).max(initial=0.0))
