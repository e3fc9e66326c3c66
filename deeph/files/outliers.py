"""Structures of a dataset whose numbers lie far from those of the others: a run with other settings, or matrices in other units."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from deeph.physics.blocks import energy_zero
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.system import SYMBOLS

FLOOR = 0.1
"""Spread that is always allowed for: Angstrom, eV (a Fermi level in a gap is arbitrary), or of the logarithm of a norm."""
MIN_STRUCTURES = 8
"""Outliers are looked for among at least so many values."""
MAX_SCORE = 8.0
"""Robust standard deviations from the median that make an outlier."""
SMALL = 0.01
"""Root mean square of H (eV) below which norms are not compared."""
FLOOR_OF_SIZES, MIN_OF_SIZES = 0.05, 4
"""The same of logarithms of sizes of H: times :data:`MAX_SCORE` a factor of 1.5. On site they scatter by 0.001 to 0.01 in displaced
crystals and in molecules of many kinds (H: 0.06), so that few structures tell; those of bonds by 0.03 in one composition."""


class Sizes(NamedTuple):
    """Root mean squares of H - mu S of one structure, eV: of the blocks of the atoms of an element, and of the bonds of two elements."""

    formula: str
    onsite: dict[str, float]
    bonds: dict[str, float]

    @classmethod
    def of(cls, data: Hamiltonian) -> "Sizes":
        """Of a structure with H."""
        H, out = data.hamiltonian, cls(data.system.formula, {}, {})
        S = data.S.to_spinor() if data.basis.spin == "spinor" else data.S
        squares = np.add.reduceat((np.abs(H.entries - energy_zero(H, data.S) * S.entries) ** 2).sum(axis=0), H.offsets[:-1])
        counts, own = H.shapes.prod(axis=1) * H.n_components, is_onsite(H.pairs)
        ends = np.sort(data.system.numbers[H.pairs[:, 3:]], axis=1)
        for a, b, site in np.unique(np.column_stack([ends, own]), axis=0).tolist():
            members = (ends == (a, b)).all(axis=1) & (own == site)
            size = float((squares[members].sum() / counts[members].sum()) ** 0.5)
            (out.onsite if site else out.bonds)[SYMBOLS[a] if site else f"{SYMBOLS[a]}-{SYMBOLS[b]}"] = size
        return out


def robust_scores(values: Mapping[str, float], floor: float = FLOOR, least: int = MIN_STRUCTURES) -> dict[str, float]:
    """How far the outliers are from the median, in robust standard deviations: 1.4826 times the median absolute deviation.

    Parameters
    ----------
    values : mapping of str to float
        One of each structure.
    floor : float
        Standard deviation that is always allowed for.
    least : int
        Among fewer values there are no outliers.
    """
    if len(values) < least:
        return {}
    x = np.array(list(values.values()))
    middle = np.median(x)
    spread = max(1.4826 * float(np.median(np.abs(x - middle))), floor)
    scores = (x - middle) / spread
    return {name: float(score) for name, score in zip(values, scores, strict=True) if not abs(score) <= MAX_SCORE}


def unusual_sizes(structures: Mapping[str, Sizes]) -> dict[str, str]:
    """Structures whose H is much larger or smaller than that of the others, each with the size that says so.

    On-site blocks of an element are compared in all structures, blocks of bonds in those of one composition.
    """
    groups: dict[tuple[str, str], dict[str, float]] = {}
    for name, sizes in structures.items():
        for element, size in sizes.onsite.items():
            groups.setdefault((f"{element} on site", ""), {})[name] = size
        for pair, size in sizes.bonds.items():
            groups.setdefault((f"the bonds {pair}", sizes.formula), {})[name] = size
    out: dict[str, str] = {}
    for (title, _), values in groups.items():
        usual = float(np.median(list(values.values())))
        logs = {name: float(np.log(size)) for name, size in values.items() if size > SMALL}
        for name in robust_scores(logs, FLOOR_OF_SIZES, MIN_OF_SIZES):
            size = values[name]
            out.setdefault(name, f"H of {title} is {size:.3g} eV (rms), {size / usual:.3g} times the median of {usual:.3g} eV")
    return out
