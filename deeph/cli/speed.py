"""How fast this machine is: a few seconds of measuring what the programs spend their time with."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

MACHINE = "one core of an Intel Xeon server (AVX-512, 2.6 GHz), idle"
"""What the timings of the documentation were measured on."""


class Speed(NamedTuple):
    """One measurement.

    Attributes
    ----------
    name, unit : str
        What was measured.
    value, reference : float
        Here, and on :data:`MACHINE`.
    less_is_faster : bool
        Whether it is a time.
    """

    name: str
    unit: str
    value: float
    reference: float
    less_is_faster: bool = False

    @property
    def ratio(self) -> float:
        """How many times as fast as the reference."""
        return self.reference / self.value if self.less_is_faster else self.value / self.reference


def measure(folder: Path) -> Iterator[Speed]:
    """Measure one thing after the other, on one core.

    Parameters
    ----------
    folder : Path
        Where a file of 64 MiB is written and removed.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield Speed("matrix products, double (levels)", "GFLOP/s", _products(), REFERENCE["products"])
            yield Speed("matrix products, single (network)", "GFLOP/s", _network_products(), REFERENCE["network_products"])
            yield Speed("memory", "GB/s", _copies(), REFERENCE["memory"])
            yield Speed("network, H of a new structure", "us a bond", _network(), REFERENCE["network"], less_is_faster=True)
    finally:
        torch.set_num_threads(threads)
    yield Speed(f"disk, writing in {folder.resolve()}", "MB/s", _disk(folder), REFERENCE["disk"])


REFERENCE = {"products": 72.0, "network_products": 175.0, "memory": 14.0, "network": 100.0, "disk": 600.0}
"""The numbers of :data:`MACHINE`, best of several runs."""


def _best(work: Callable[[], object], at_least: float = 0.6) -> float:
    """Shortest time on the processor of some calls, seconds: waiting for other programs is not counted."""
    work()
    times: list[float] = []
    while sum(times) < at_least or len(times) < 3:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def _products(n: int = 600) -> float:
    import numpy as np

    a = np.random.default_rng(0).normal(size=(n, n))
    return 2e-9 * n**3 / _best(lambda: a @ a)


def _network_products(n: int = 600) -> float:
    import torch

    a = torch.randn(n, n)
    return 2e-9 * n**3 / _best(lambda: a @ a)


def _copies(n: int = 1 << 24) -> float:
    """Read and written bytes of a copy that fits no cache."""
    import numpy as np

    a, b = np.ones(n), np.zeros(n)
    return 16e-9 * n / _best(lambda: np.copyto(b, a))


def _network() -> float:
    """The default network on bilayer graphene with 36 atoms and 13 orbitals each."""
    import numpy as np
    import torch

    from deeph.config import ModelConfig
    from deeph.nn.graph import make_graph
    from deeph.nn.model import HamiltonianModel
    from deeph.physics.basis import Basis
    from deeph.physics.blocks import PairBlocks, block_shapes
    from deeph.physics.hamiltonian import Hamiltonian
    from deeph.physics.pairs import neighbour_pairs
    from deeph.physics.system import System

    a, reach = 2.46, 6.35
    cell = np.array([[a, 0, 0], [a / 2, a * 3**0.5 / 2, 0], [0, 0, 16.0]])
    atoms = np.array([[x, x, z] for z in (0, 3.35 / 16) for x in (0, 1 / 3)])
    shifts = np.array([[m, n, 0] for m in range(3) for n in range(3)])
    system = System(cell * [[3], [3], [1]], (shifts[:, None] + atoms).reshape(-1, 3) @ cell, np.full(36, 6))
    basis, pairs = Basis({6: (0, 0, 1, 1, 2)}), neighbour_pairs(system, {6: reach / 2})
    blocks = PairBlocks.zeros(pairs, block_shapes(basis, system.numbers, pairs, spin=False))
    n_bonds = (len(pairs) - system.n_atoms) // 2
    model = HamiltonianModel(ModelConfig(), basis, {(6, 6): reach}, n_bonds * 2 / system.n_atoms).eval()
    with torch.no_grad():
        graph = make_graph(Hamiltonian(system, basis, blocks), model, targets=False)
        return 1e6 * _best(lambda: model(graph), 1.0) / n_bonds


def _disk(folder: Path, n: int = 64 << 20) -> float:
    """Bytes that are on the disk, not in a cache of the system."""
    block = os.urandom(1 << 20)

    def write() -> None:
        with tempfile.TemporaryFile(dir=folder, prefix=".deeph-doctor-") as file:
            for _ in range(n >> 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    start = time.perf_counter()
    write()
    return 1e-6 * n / (time.perf_counter() - start)
