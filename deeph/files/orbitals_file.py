"""The file ``orbitals.h5`` of a structure folder: the orbitals of its elements.

A group for each element has the attributes ``source``, ``k_max`` and, where known, ``pair_radius`` and ``n_electrons``; ``l`` (n_shells);
and the tables of all shells one after the other, ``r`` in Angstrom and ``values`` in Angstrom^-3/2, shell s from ``bounds[s]`` to
``bounds[s + 1]``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.hdf5 import new_hdf5, open_hdf5
from deeph.physics.orbitals import Orbitals, RadialFunction
from deeph.physics.system import NUMBERS, SYMBOLS

FILE = "orbitals.h5"
"""Name in a structure folder."""


def write_orbitals(path: Path, orbitals: Mapping[int, Orbitals]) -> None:
    """Write the orbitals of some elements as ``orbitals.h5``."""
    with new_hdf5(path) as file:
        for number, one in orbitals.items():
            group = file.create_group(SYMBOLS[number])
            known = {"source": one.source, "k_max": one.k_max, "pair_radius": one.pair_radius, "n_electrons": one.n_electrons}
            group.attrs.update({name: value for name, value in known.items() if value is not None})
            group["l"] = one.ls
            group["bounds"] = np.cumsum([0, *(len(shell.r) for shell in one.shells)])
            group["r"] = np.concatenate([shell.r for shell in one.shells])
            group["values"] = np.concatenate([shell.values for shell in one.shells])


def read_orbitals(path: str | Path) -> dict[int, Orbitals]:
    """Read what :func:`write_orbitals` wrote.

    Raises
    ------
    DataError
        If the file is missing, damaged, or of another kind.
    """
    with open_hdf5(Path(path), "a file of orbitals, as deeph-overlap writes one from basis files") as file:
        return {NUMBERS[symbol]: _element(NUMBERS[symbol], group) for symbol, group in file.items()}


def _element(number: int, group: Any) -> Orbitals:
    bounds, r, values = group["bounds"][:], group["r"][:], group["values"][:]
    ends = zip(group["l"][:].tolist(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    shells = tuple(RadialFunction(l, r[a:b], values[a:b]) for l, a, b in ends)
    optional = {name: float(group.attrs[name]) for name in ("pair_radius", "n_electrons", "k_max") if name in group.attrs}
    return Orbitals(number, shells, str(group.attrs["source"]), **optional)
