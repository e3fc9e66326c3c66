"""The kernel polynomial method at one k: what it will cost is said before it starts, and how far it is while it runs."""

import logging
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import NamedTuple

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError
from deeph.runtime.log import SILENCE, duration, logger, telling
from postprocess.density.kpm import KPMOperator
from postprocess.density.kpm_moments import BLOCK, Groups, exact_moments, moments_for, random_moments
from postprocess.eigen.pencil import BlochPencils
from postprocess.eigen.work import available_memory
from postprocess.states.kjobs import KTask, Result

VECTORS = 10
"""Blocks of vectors that a recursion holds at the same time, copies of the library included."""


class KPMSettings(NamedTuple):
    """How the polynomials are made.

    Attributes
    ----------
    width : float
        Standard deviation of the kernel in the middle of the spectrum, eV; it sets the number of moments.
    n_vectors : int
        Random vectors at each k and spin.
    single : bool
        Single precision: half of the memory.
    seed : int
        Of the random numbers; each k and spin has its own, whatever process works on it.
    exact : bool
        Projections without statistical error, at the price of a recursion for each of their orbitals.
    """

    width: float = 0.1
    n_vectors: int = 10
    single: bool = False
    seed: int = 0
    exact: bool = False


@dataclass(frozen=True)
class KPMWork:
    """Moments at one k-point, see :func:`postprocess.states.kjobs.run_tasks`.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    settings : KPMSettings
        Kernel, random vectors, precision.
    groups : (n_groups, n_orbitals) bool array
        Of orbitals.
    first : KTask
        The one that tells the cost of all.
    n_tasks : int
        How many there are.
    """

    hamiltonian: Hamiltonian
    settings: KPMSettings
    groups: Groups
    first: KTask
    n_tasks: int

    def __call__(self, task: KTask) -> Result:
        """Moments of the total and of the groups, with the scale of energies."""
        name = f"k = ({', '.join(f'{x:.6g}' for x in task.k)}), spin {task.spin + 1}"
        with telling(f"{name}: preparing H, S and the ends of the spectrum"):
            operator = KPMOperator(self._pencils.at(np.array(task.k), task.spin), single=self.settings.single)
        n_moments, n_vectors = moments_for(operator, self.settings.width), self.settings.n_vectors
        steps = count_steps(self.settings, self.groups, n_moments)
        self._announce(operator, task, name, n_moments, steps)
        with telling(name, steps) as progress:
            sampled = None if self.settings.exact else self.groups
            moments = random_moments(operator, n_moments, n_vectors, self.random(task), sampled, advance=progress.advance).values
            total, local = moments[:, :1], moments[:, 1:]
            if self.settings.exact:
                local = exact_moments(operator, n_moments, self.groups, advance=progress.advance).values
        return {"total": total, "local": local, "center": np.array(operator.center), "half_width": np.array(operator.half_width)}

    def random(self, task: KTask) -> np.random.Generator:
        """Random numbers that no other seed, spin or k has."""
        return np.random.default_rng([self.settings.seed, task.spin, *(np.array(task.k) + 0.0).view(np.uint64).tolist()])

    @cached_property
    def _pencils(self) -> BlochPencils:
        return BlochPencils(self.hamiltonian)

    def _announce(self, operator: KPMOperator, task: KTask, name: str, n_moments: int, steps: int) -> None:
        """Say what the recursion needs, before it starts.

        Raises
        ------
        DataError
            If the moments need more memory than there is.
        """
        block = min(BLOCK, max(1, self.settings.n_vectors))
        seconds = seconds_per_step(operator, block) * steps / block
        samples = self.settings.n_vectors + (1 if self.settings.exact else self.settings.n_vectors) * len(self.groups)
        moments, vectors = 8.0 * samples * n_moments, float(VECTORS * BLOCK * operator.n * operator.dtype.itemsize)
        if moments + vectors > available_memory():
            raise DataError(
                f"{n_moments} moments of {len(self.groups)} projections need {(moments + vectors) / 2**30:.1f} GiB of memory, but "
                f"{available_memory() / 2**30:.1f} GiB are free; choose fewer projections or random vectors, or a larger width"
            )
        level = logging.INFO if task == self.first or seconds > SILENCE else logging.DEBUG
        low, high = operator.center - operator.half_width, operator.center + operator.half_width
        every = f" at each of {self.n_tasks} k-points and spins" if self.n_tasks > 1 else ""
        logger.log(
            level, "%s: levels within %.3f to %.3f eV, %d moments, %d random vectors, %d projections", name, low, high, n_moments,
            self.settings.n_vectors, len(self.groups),
        )  # fmt: skip
        logger.log(
            level, "expected: %.2f GiB of memory (%.2f GiB of them H, S and its factor), %d steps in %s%s",
            (operator.memory + moments + vectors) / 2**30, operator.memory / 2**30, steps, duration(seconds), every,
        )  # fmt: skip


def count_steps(settings: KPMSettings, groups: Groups, n_moments: int) -> int:
    """Products with H and solutions with S that the moments cost, counted per vector."""
    total = settings.n_vectors * (1 + n_moments // 2)
    if not len(groups):
        return total
    return total + n_moments * (int(groups.any(axis=0).sum()) if settings.exact else settings.n_vectors)


def seconds_per_step(operator: KPMOperator, block: int) -> float:
    """Of so many vectors at the same time, measured."""
    recursion = operator.chebyshev(*operator.half_solve(operator.random_phases(block, np.random.default_rng(0))))
    next(recursion)
    start = perf_counter()
    next(recursion)
    next(recursion)
    return (perf_counter() - start) / 2
