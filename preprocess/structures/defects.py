"""Vacancies and substitutions, at given atoms or at random ones that keep a distance from each other."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from deeph.physics.system import NUMBERS, FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError

ATTEMPTS = 200


def with_defects(system: System, *, vacancies: Sequence[int] = (), substitutions: Mapping[int, str] | None = None) -> System:
    """Remove some atoms and replace others.

    Parameters
    ----------
    system : System
        The structure.
    vacancies : sequence of int
        Atoms to remove, counted from 0.
    substitutions : mapping of int to str
        New element of an atom, counted from 0.

    Raises
    ------
    UsageError
        If there is no such atom or element, an atom is meant twice, an element is replaced by itself, or nothing is left.
    """
    changed = dict(substitutions or {})
    meant = [*vacancies, *changed]
    if outside := [n for n in meant if not 0 <= n < system.n_atoms]:
        raise UsageError(f"no atom {outside[0] + 1}: the structure has {system.n_atoms}, counted from 1")
    if len(set(meant)) != len(meant):
        raise UsageError(f"atoms {sorted(n + 1 for n in meant)}: one of them is meant twice")
    if len(vacancies) == system.n_atoms:
        raise UsageError("all atoms would be removed")
    numbers = system.numbers.copy()
    for n, symbol in changed.items():
        if symbol not in NUMBERS:
            raise UsageError(f"no element {symbol!r}")
        if numbers[n] == NUMBERS[symbol]:
            raise UsageError(f"atom {n + 1} is {symbol} already")
        numbers[n] = NUMBERS[symbol]
    kept = np.setdiff1d(np.arange(system.n_atoms), vacancies)
    return System(system.cell, system.positions[kept], numbers[kept], system.pbc)


def random_sites(
    system: System, rng: np.random.Generator, counts: Sequence[tuple[str, int]], separation: float, given: Sequence[int] = ()
) -> list[IntArray]:
    """Random atoms of given elements, no two of them closer than a distance.

    Parameters
    ----------
    system : System
        The structure.
    rng : numpy Generator
        Source of the random numbers.
    counts : sequence of (symbol, number)
        How many atoms of which element; no atom is taken twice.
    separation : float
        Shortest distance of two of the atoms, periodic images included, Angstrom.
    given : sequence of int
        Defects that are there already; they are not taken, and the distance is kept from them, too.

    Returns
    -------
    list of int arrays
        The atoms for each entry of ``counts``.

    Raises
    ------
    UsageError
        If there are not so many atoms of an element.
    DataError
        If so many do not fit at that distance.
    """
    symbols = np.array(system.symbols)
    for symbol in dict.fromkeys(symbol for symbol, _ in counts):
        wanted, there = sum(n for s, n in counts if s == symbol), int((symbols == symbol).sum())
        if wanted > there:
            raise UsageError(f"{wanted} defects at {symbol}, but the structure has {there} of {system.n_atoms} atoms")
    allowed = np.ones(system.n_atoms, bool)
    for site in given:
        allowed &= _distances(system, site) >= separation
        allowed[site] = False
    for _ in range(ATTEMPTS):
        free = allowed.copy()
        chosen = [_choose(system, rng, free, symbols == symbol, n, separation) for symbol, n in counts]
        if all(len(sites) == n for sites, (_, n) in zip(chosen, counts, strict=True)):
            return chosen
    total = sum(n for _, n in counts)
    raise DataError(
        f"{total} defects {separation:g} Angstrom apart found no place in {ATTEMPTS} tries: fewer, a larger cell, or less --separation"
    )


def _choose(
    system: System, rng: np.random.Generator, free: npt.NDArray[np.bool_], kind: npt.NDArray[np.bool_], count: int, separation: float
) -> IntArray:
    """Up to ``count`` atoms of a kind one after the other; whatever is too close to a chosen one is no longer free."""
    chosen: list[int] = []
    while len(chosen) < count and (candidates := np.flatnonzero(free & kind)).size:
        site = int(rng.choice(candidates))
        chosen.append(site)
        free &= _distances(system, site) >= separation
        free[site] = False
    return np.array(chosen, np.int64)


def _distances(system: System, site: int) -> FloatArray:
    """(n_atoms,) distance of every atom to one, the nearest image in the neighbouring cells."""
    images = [np.arange(-1, 2) if p else np.zeros(1) for p in system.pbc]
    R = np.stack(np.meshgrid(*images, indexing="ij"), -1).reshape(-1, 3)
    offsets = system.fractional - system.fractional[site]
    offsets -= np.where(system.pbc, np.rint(offsets), 0.0)
    return np.asarray(np.linalg.norm((offsets[:, None] + R) @ system.cell, axis=-1).min(1))
