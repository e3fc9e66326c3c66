"""Quantities of many k-points at once, from dense matrices: evaluated at each of them, or summed up with weights.

What :mod:`postprocess.states.integrate` does one by one for states of any solver. Processes, MPI ranks and resumption are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from postprocess.lattice.mesh import Symmetry
from postprocess.states.integrate import distinct_k
from postprocess.states.kjobs import Jobs, Result, fingerprint, run_tasks

BATCH_BYTES = 2**26
"""Of the matrices of a batch of k-points."""
CACHE_BYTES = 2**24
"""Of the matrices of so many k-points as are computed at once: more leave the cache of the processor, which takes a fifth longer."""
MATRICES = 40
"""Complex matrices of the size of H(k) that are held for each k-point."""
LARGEST = 5000
"""Orbitals up to which so many dense matrices are worth it: 15 GiB."""
LARGEST_BATCH = 256
"""k-points; more are no faster, and the shares of several processes become uneven."""


class BatchQuantity(Protocol):
    """What is computed at many k at once; sent to worker processes, so it is picklable, with a telling repr. The same at k and k + G."""

    @property
    def symmetry(self) -> Symmetry:
        """Which points of a mesh need not be computed because others have the same value, see :func:`make_mesh`.

        "all" for scalars alone: symmetries are those of the levels. Vectors turn with k, curvatures change their sign at -k.
        """

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """For one structure: the function of k (n_k, 3) and the spin channel that gives named arrays (n_k, ...)."""


class _Batch(NamedTuple):
    """Some k-points of one spin channel, and what each counts in each of several sums; no sums: every value is wanted."""

    spin: int
    k: tuple[tuple[float, float, float], ...]
    weights: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class _Work:
    """Values of a batch, or their sums and the values named in ``kept``; sent to worker processes."""

    hamiltonian: Hamiltonian
    quantity: BatchQuantity
    kept: str = ""

    @cached_property
    def _compute(self) -> Callable[[FloatArray, int], Result]:
        return self.quantity.of(self.hamiltonian)

    def _values(self, k: FloatArray, spin: int) -> Result:
        """Named arrays (n_k, ...)."""
        step = max(1, CACHE_BYTES // (16 * MATRICES * self.hamiltonian.n_orbitals**2))
        parts = [self._compute(k[start : start + step], spin) for start in range(0, len(k), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def __call__(self, batch: _Batch) -> Result:
        try:
            values = self._values(np.array(batch.k), batch.spin)
        except MemoryError as error:
            need = 16 * MATRICES * self.hamiltonian.n_orbitals**2 * len(batch.k) / 2**30
            raise DataError(
                f"{self.hamiltonian.n_orbitals} orbitals need about {need:.0f} GiB of memory, which is not available"
            ) from error
        if not batch.weights:
            return values
        out = {name: np.tensordot(np.array(batch.weights), value, axes=1) for name, value in values.items()}
        return out | {"kept": values[self.kept]}


def evaluate_batches(hamiltonian: Hamiltonian, k: FloatArray, quantity: BatchQuantity, *, jobs: Jobs | None = None) -> Result:
    """A quantity at any k-points, once at each distinct one.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    k : (n_k, 3) array
        Fractional.
    quantity : BatchQuantity
        What is computed.
    jobs : Jobs, optional
        Processes, and where finished batches are kept.

    Returns
    -------
    dict of str to (n_spin, n_k, ...) array
        By name, in every MPI rank.
    """
    k = np.asarray(k, float).reshape(-1, 3)
    first, place = distinct_k(k, "k+G")
    found = _run(_Work(hamiltonian, quantity), _batches(hamiltonian, k[first]), jobs or Jobs())
    out: Result = {}
    for name in found[0]:
        values = np.concatenate([result[name] for result in found])
        out[name] = values.reshape(hamiltonian.basis.n_spin, len(first), *values.shape[1:])[:, place]
    return out


def sum_batches(
    hamiltonian: Hamiltonian, k: FloatArray, weights: FloatArray, quantity: BatchQuantity, kept: str, *, jobs: Jobs | None = None
) -> Result:
    """Sums of a quantity over k-points with several sets of weights; single values are not held, but for one name.

    Parameters
    ----------
    hamiltonian, quantity, jobs
        As for :func:`evaluate_batches`.
    k : (n_k, 3) array
        Fractional.
    weights : (n_sums, n_k) array
        What each point counts in each sum.
    kept : str
        The one whose values at each point are wanted, too.

    Returns
    -------
    dict of str to array
        (n_spin, n_sums, ...) by name, and ``"kept"`` (n_spin, n_k, ...).
    """
    n_spin = hamiltonian.basis.n_spin
    results = _run(_Work(hamiltonian, quantity, kept), _batches(hamiltonian, k, weights), jobs or Jobs())
    each = len(results) // n_spin
    out: Result = {}
    for result_number, result in enumerate(results):
        for name in (name for name in result if name != "kept"):
            out.setdefault(name, np.zeros((n_spin, *result[name].shape), result[name].dtype))[result_number // each] += result[name]
    values = np.concatenate([result["kept"] for result in results])
    return out | {"kept": values.reshape(n_spin, len(k), *values.shape[1:])}


def _batches(hamiltonian: Hamiltonian, k: FloatArray, weights: FloatArray | None = None) -> list[_Batch]:
    """The k-points in batches, spin channel by spin channel."""
    size = int(np.clip(BATCH_BYTES // (16 * MATRICES * hamiltonian.n_orbitals**2), 1, LARGEST_BATCH))
    out = []
    for spin in range(hamiltonian.basis.n_spin):
        for start in range(0, len(k), size):
            part = slice(start, start + size)
            of_sums = () if weights is None else tuple(map(tuple, weights[:, part].tolist()))
            out.append(_Batch(spin, tuple((a, b, c) for a, b, c in k[part].tolist()), of_sums))
    return out


def _run(work: _Work, batches: Sequence[_Batch], jobs: Jobs) -> list[Result]:
    identity = fingerprint(work.hamiltonian, batches, work.quantity, work.kept) if jobs.scratch else ""
    return list(run_tasks(work, batches, jobs, identity=identity, unit="batches of k-points"))
