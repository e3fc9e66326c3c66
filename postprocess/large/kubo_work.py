"""One random vector of a Kubo formula: what it will cost is said before it starts, and how far it is while it runs."""

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
from postprocess.eigen.pencil import BlochPencils
from postprocess.eigen.work import available_memory, multiplication_rate
from postprocess.geometry.positions import Positions
from postprocess.large.kubo import Nodes, PairFunctions, Window, absorbed, sums_over_pairs
from postprocess.large.kubo_moments import CHUNK, Velocity, double_moments
from postprocess.large.sparse_basis import SparseBasis
from postprocess.states.kjobs import Result

SHARE = 0.5
"""Of the free memory, for the vectors of one recursion."""


class VectorTask(NamedTuple):
    """One random vector at one fractional k of one spin channel."""

    spin: int
    k: tuple[float, float, float]
    number: int


@dataclass(frozen=True)
class KuboWork:
    """The sums over pairs of levels that one random vector gives; see :func:`postprocess.states.kjobs.run_tasks`.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    positions : Positions
        On the pattern of S.
    frame : (d, 3) tuple
        Directions.
    functions : PairFunctions
        What is summed.
    hall : bool
        Whether the Hall conductivity is wanted, too.
    seed : int
        Of the random numbers.
    single : bool
        Everything in single precision.
    n_tasks : int
        How many there are, to tell what all of them take.
    """

    hamiltonian: Hamiltonian
    positions: Positions
    frame: tuple[tuple[float, ...], ...]
    functions: PairFunctions
    hall: bool
    seed: int
    single: bool
    n_tasks: int

    def __call__(self, task: VectorTask) -> Result:
        """``absorption`` (d, d, m) and ``hall`` (d, d) of one random vector, Angstrom^2; the number of moments."""
        hall, k = self.hall, np.array(task.k)
        name = f"k = ({', '.join(f'{x:.6g}' for x in k + 0.0)}), vector {task.number + 1}"
        if (task.spin, task.k) not in self._prepared:
            with telling(f"{name}: preparing H, S and the ends of the spectrum"):
                self._prepared.clear()
                operator = KPMOperator(self._pencils.at(k, task.spin), single=self.single)
                velocity = Velocity.along(self._basis, k, task.spin, np.array(self.frame), operator.dtype)
                self._prepared[task.spin, task.k] = operator, velocity
        operator, velocity = self._prepared[task.spin, task.k]
        n = self.functions.moments(operator.half_width, hall=hall)
        near = Nodes.of(n, operator.center, operator.half_width, (self.functions.fermi_energy, self.functions.reach()))
        rows = None if hall else near.rows  # all levels take part in the Hall conductivity
        self._announce(operator, n, n if hall else len(near.rows), first=not task.number and not any(task.k))
        with telling(name, n + 1) as progress:
            phases = operator.random_phases(1, self._random(task))
            window = None if hall else Window.around(self.functions, n, operator.center, operator.half_width)
            filtered = None if window is None else window.coefficients
            moments = double_moments(operator, velocity, n, phases, rows=rows, window=filtered, advance=progress.advance)[0]
        if hall:
            out = sums_over_pairs(self.functions, moments, operator.center, operator.half_width, hall=True)
        else:
            out = {"absorption": absorbed(self.functions, moments, near.energies, window)}
        return {**out, "moments": np.array(n)}

    def _random(self, task: VectorTask) -> np.random.Generator:
        """Random numbers that no other seed, spin, k or vector has."""
        return np.random.default_rng([self.seed, task.spin, task.number, *(np.array(task.k) + 0.0).view(np.uint64).tolist()])

    @cached_property
    def _prepared(self) -> dict[tuple[int, tuple[float, float, float]], tuple[KPMOperator, Velocity]]:
        """Those of the last k, for its next vector."""
        return {}

    @cached_property
    def _pencils(self) -> BlochPencils:
        return BlochPencils(self.hamiltonian)

    @cached_property
    def _basis(self) -> SparseBasis:
        return SparseBasis(self.hamiltonian, self.positions)

    def _announce(self, operator: KPMOperator, n: int, n_sums: int, *, first: bool) -> None:
        """Say what a vector takes, before it starts.

        Raises
        ------
        DataError
            If the vectors need more memory than there is.
        """
        columns, item = 1 + len(self.frame), operator.dtype.itemsize
        size = float(2 * columns * n_sums + (columns + 2) * CHUNK) * operator.n * item
        size += 8.0 * n_sums * n + 8.0 * item * n_sums**2 * (1 if n_sums < n else 4)
        finest = self.functions.finest(hall=self.hall)
        if size > SHARE * available_memory():
            raise DataError(
                f"{n} moments, which {finest} asks for, of {operator.n} orbitals need {size / 2**30:.1f} GiB of memory, but only "
                f"{SHARE * available_memory() / 2**30:.1f} GiB may be taken; choose a larger width (--broadening) or temperature, single "
                "precision, or the levels near the Fermi energy (--method levels)"
            )
        operations = (2.0 if item < 16 else 4.0) * 2 * columns * n_sums * n * operator.n
        seconds = (n + 1) * seconds_per_step(operator, columns) + operations / multiplication_rate("float64")
        low, high = operator.center - operator.half_width, operator.center + operator.half_width
        text = (
            "levels within %.3f to %.3f eV: %d moments, which %s asks for; a random vector takes %.2f GiB of memory and %s, %d to do, "
            "in all %s"
        )
        level = logging.INFO if first or seconds > SILENCE else logging.DEBUG
        words = duration(seconds), self.n_tasks, duration(seconds * self.n_tasks)
        logger.log(level, text, low, high, n, finest, (size + operator.memory) / 2**30, *words)


def seconds_per_step(operator: KPMOperator, columns: int) -> float:
    """Of the recursion with so many vectors, measured."""
    recursion = operator.chebyshev(*operator.half_solve(operator.random_phases(columns, np.random.default_rng(0))))
    next(recursion)
    start = perf_counter()
    next(recursion)
    next(recursion)
    return (perf_counter() - start) / 2
