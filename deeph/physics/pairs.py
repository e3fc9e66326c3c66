"""Atom pairs (R, i, j): which blocks a sparse matrix has.

A pair is a row ``R1 R2 R3 i j`` of integers: atom i in the home cell, atom j in the cell R.
"""

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError

MAX_IMAGES = 1e6
"""Neighbour cells of a structure; more come from damaged numbers only."""


def pair_vectors(system: System, pairs: IntArray) -> FloatArray:
    """(n_pairs, 3) vectors tau_j + R.A - tau_i from atom i to atom j, Angstrom."""
    i, j = pairs[:, 3], pairs[:, 4]
    return np.asarray(system.positions[j] + pairs[:, :3] @ system.cell - system.positions[i])


def reversed_pairs(pairs: IntArray) -> IntArray:
    """(n_pairs, 5) the partner (-R, j, i) of each pair (R, i, j)."""
    return np.concatenate([-pairs[:, :3], pairs[:, [4, 3]]], axis=1)


def pair_keys(pairs: IntArray, *others: IntArray) -> tuple[IntArray, ...]:
    """One integer per pair, the same for equal pairs of all given lists.

    Returns
    -------
    tuple of (n_pairs,) int arrays
        One array for each list; sorting by it sorts by (i, j, R).
    """
    lists = (pairs, *others)
    columns = np.concatenate(lists)[:, [3, 4, 0, 1, 2]]
    if not len(columns):
        return tuple(np.zeros(0, np.int64) for _ in lists)
    low, span = columns.min(0), np.ptp(columns, axis=0) + 1
    if np.prod(span.astype(float)) > 2.0**62:
        raise DataError(f"pair indices span {span.tolist()}: too wide to be atom pairs of one structure")
    weights = np.concatenate([np.cumprod(span[::-1])[::-1][1:], [1]])
    return tuple((p[:, [3, 4, 0, 1, 2]] - low) @ weights for p in lists)


def find_pairs(pairs: IntArray, wanted: IntArray) -> IntArray:
    """Position of each wanted pair in a list without duplicates, -1 where it is absent."""
    keys, wanted_keys = pair_keys(pairs, wanted)
    if not len(keys):
        return np.full(len(wanted), -1)
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys[order], wanted_keys), len(keys) - 1)
    return np.where(keys[order][place] == wanted_keys, order[place], -1)


def is_onsite(pairs: IntArray) -> npt.NDArray[np.bool_]:
    """Which pairs are an atom with itself in the same cell."""
    return np.asarray((pairs[:, 3] == pairs[:, 4]) & ~pairs[:, :3].any(axis=1))


def half_pairs(pairs: IntArray) -> IntArray:
    """Positions of one of each two partners (R,i,j), (-R,j,i), on-site pairs left out.

    The kept one is the first in the order of (i, j, R); which one is kept changes no result.
    """
    keys, partner = pair_keys(pairs, reversed_pairs(pairs))
    return np.flatnonzero(keys < partner)


def neighbour_pairs(system: System, radii: dict[int, float]) -> IntArray:
    """All pairs whose orbitals can overlap: the distance of the two atoms is at most radius_i + radius_j.

    Parameters
    ----------
    system : System
        The structure; images are taken along its periodic directions.
    radii : dict of atomic number to float
        Orbital cutoff radius of each element, Angstrom.

    Returns
    -------
    (n_pairs, 5) int array
        Both directions and the on-site pairs, sorted by (i, j, R).
    """
    from scipy.spatial import cKDTree

    missing = sorted({s for s, z in zip(system.symbols, system.numbers, strict=True) if int(z) not in radii})
    if missing:
        raise DataError(f"no orbital radius for {', '.join(missing)}")
    radius = np.array([radii[int(z)] for z in system.numbers])
    reach = 2 * radius.max()
    # images: every translation whose cell can come within reach of the home atoms
    heights = 2 * np.pi / np.linalg.norm(system.reciprocal, axis=1)
    spread = np.ptp(system.fractional, axis=0)
    images = np.where(system.pbc, np.ceil(reach / heights + spread), 0)
    if not np.prod(2 * images + 1) < MAX_IMAGES:
        raise DataError(
            f"orbitals of {radius.max():.3g} Angstrom in a cell of {heights.min():.3g} Angstrom with atoms spread over "
            f"{spread.max():.3g} cells have more than {MAX_IMAGES:g} neighbour cells; the cell, the positions or the radii are wrong"
        )
    n = images.astype(int).tolist()
    R = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in n], indexing="ij"), -1).reshape(-1, 3)
    images = (system.positions[None] + (R @ system.cell)[:, None]).reshape(-1, 3)
    low, high = system.positions.min(0) - reach, system.positions.max(0) + reach
    near = np.flatnonzero(((images >= low) & (images <= high)).all(1))
    found = cKDTree(system.positions).sparse_distance_matrix(cKDTree(images[near]), reach, output_type="coo_matrix")
    i, image = found.row.astype(np.int64), near[found.col]
    j, cell = image % system.n_atoms, image // system.n_atoms
    distance = np.linalg.norm(images[image] - system.positions[i], axis=1)
    keep = distance <= radius[i] + radius[j]
    pairs = np.concatenate([R[cell], i[:, None], j[:, None]], axis=1)[keep]
    onsite = np.zeros((system.n_atoms, 5), np.int64)
    onsite[:, 3] = onsite[:, 4] = np.arange(system.n_atoms)
    pairs = np.unique(np.concatenate([pairs, onsite])[:, [3, 4, 0, 1, 2]], axis=0)
    return np.ascontiguousarray(pairs[:, [2, 3, 4, 0, 1]])
