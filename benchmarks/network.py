"""Cost of the default network on one core: microseconds per directed edge, memory, operations, the fraction of the matrix rate.

    python benchmarks/network.py [--repeats 5] [--profile]

64-atom bilayer graphene, carbon s2p2d1, bonds up to 6.35 Angstrom, float32; and the same atoms as eight elements. Times are CPU seconds of
one thread; the matrix rate is measured between them, because other work on the machine slows both alike. The figures of the peers come
from another run.
"""

import argparse
import math
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import Data

from deeph import Basis, Hamiltonian, PairBlocks, System
from deeph.config import LossConfig, ModelConfig, TrainConfig
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import block_shapes
from deeph.physics.pairs import neighbour_pairs, pair_vectors
from deeph.physics.system import SYMBOLS
from deeph.training.loss import compute_loss
from deeph.training.optim import INTERVAL, make_optimizer

CUTOFF = 6.35
PEERS = {
    "DeepH-E3 (0.63 M)": (600, 1240),
    "MACE-H (1.18 M)": (617, 1410),
    "DeePTB SLEM (0.70 M)": (421, 970),
    "QHNet (20.3 M)": (3260, 8100),
}
"""Forward and training step at released defaults, us per directed edge; from another run, on an idle core of the same kind, same atoms."""
ELEMENTS = (6, 5, 7, 8, 13, 14, 15, 16)


def bilayer(seed: int = 0, n_elements: int = 1) -> Hamiltonian:
    """AB bilayer of 4 x 4 cells, atoms displaced at random; H and S are smooth stand-ins, only their pattern and size matter.

    The atoms are of the first ``n_elements`` elements in turn, all with the shells of carbon.
    """
    cell = np.array([[2.46, 0, 0], [1.23, 1.23 * 3**0.5, 0], [0, 0, 20.0]])
    fractions = np.array([[0, 0, 0], [1 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 3.35 / 20], [2 / 3, 2 / 3, 3.35 / 20]])
    shifts = np.array([[i, j, 0] for i in range(4) for j in range(4)])
    rng = np.random.default_rng(seed)
    positions = (fractions[None] + shifts[:, None]).reshape(-1, 3) @ cell
    elements = ELEMENTS[:n_elements]
    numbers = np.array(elements)[np.arange(64) % n_elements]
    system = System(cell * [[4], [4], [1]], positions + rng.normal(scale=0.05, size=positions.shape), numbers)
    basis, pairs = Basis(dict.fromkeys(elements, (0, 0, 1, 1, 2))), neighbour_pairs(system, dict.fromkeys(elements, CUTOFF / 2))
    shapes = block_shapes(basis, system.numbers, pairs, spin=False)
    decay = np.repeat(np.exp(-np.linalg.norm(pair_vectors(system, pairs), axis=1)), shapes.prod(axis=1))
    H = PairBlocks(pairs, shapes, rng.normal(size=(1, len(decay))) * decay).hermitized()
    radii = {SYMBOLS[z]: CUTOFF / 2 for z in elements}
    return Hamiltonian(system, basis, PairBlocks(pairs, shapes, decay[None]).hermitized(), H, source={"orbital_radii": radii})


def gemm_rate() -> float:
    """GFLOP per CPU second of a 1024 x 1024 x 1024 product in float32."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    torch.mm(a, b)
    return 10 * 2 * 1024**3 / cpu_time(lambda: [torch.mm(a, b) for _ in range(10)]) / 1e9


def network_rate(model: HamiltonianModel) -> float:
    """The same for the products of one bond layer, chunk by chunk as the network makes them."""
    rows = model.config.chunk_bonds or 1024
    shapes = [(rows * row.components, len(row.channels)) for row in model.trunk.layout.sectors]
    pairs = [(torch.randn(2, m, n), torch.randn(2, n, n)) for m, n in shapes]
    flops = sum(2 * 2 * m * n * n for m, n in shapes)
    return 20 * flops / cpu_time(lambda: [torch.bmm(a, b) for _ in range(20) for a, b in pairs]) / 1e9


def cpu_time(task: Callable[[], object]) -> float:
    """CPU seconds of a task."""
    start = time.process_time()
    task()
    return time.process_time() - start


def count_flops(task: Callable[[], object]) -> float:
    """Floating-point operations in matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    def added(_sum: Any, a: Any, b: Any, **_rest: Any) -> int:
        return 2 * math.prod(a) * int(b[-1])

    in_place = dict.fromkeys((torch.ops.aten.addmm_, torch.ops.aten.baddbmm_), added)  # torch counts only those that make a tensor
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        task()
    return float(counter.get_total_flops())


def count_operations(task: Callable[[], object]) -> int:
    """Calls of torch's operations: what a GPU waits for."""
    with _Counter() as counter:
        task()
    return counter.calls


class _Counter(TorchDispatchMode):
    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def peak_memory(task: Callable[[], object]) -> float:
    """MB by which a task raises the memory of this process; measured in a child, which begins at the present size."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        base = resident()
        task()
        os.write(writer, f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - base}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    return float(os.read(reader, 100))


def resident() -> float:
    """Memory of this process now, MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 2**20


def tasks(model: HamiltonianModel, structure: Hamiltonian) -> dict[str, Callable[[], object]]:
    """Prediction as in deeph-infer (frames made on the way), and a step of training as in deeph-train (frames kept)."""
    graph, batch = make_graph(structure, model, targets=False), make_graph(structure, model, targets=True)
    optimizer = make_optimizer(model, TrainConfig())

    def forward() -> None:
        with torch.inference_mode():
            model(graph)

    def step() -> None:
        optimizer.zero_grad()
        compute_loss(model.train(), Data(**batch.to_dict()), LossConfig())[0].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return {"forward": forward, "training step": step}


def profile(task: Callable[[], object], n_edges: int) -> None:
    """The operations that cost most, us per edge."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CPU]) as result:
        task()
    rows = sorted(result.key_averages(), key=lambda row: -row.self_cpu_time_total)
    for row in rows[:16]:
        print(f"    {row.key[:44]:44s} {row.self_cpu_time_total / n_edges:7.2f} us/edge {row.count:6d} calls")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    structure = bilayer()
    n_edges = structure.S.n_pairs - structure.system.n_atoms
    model = fit_model(ModelConfig(), [structure])
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"{n_parameters / 1e6:.2f} M parameters, {structure.system.n_atoms} atoms, {n_edges} directed edges, torch {torch.__version__}")
    print("                 us/edge  (spread)   edges/s   MFLOP/edge  GFLOP/s  of 1024^3  of its shapes   MB over base  operations")
    work = tasks(model, structure)
    peaks = {name: peak_memory(task) for name, task in work.items()}  # before this process has memory to spare
    for number, (name, task) in enumerate(work.items()):
        task()
        samples, rates, own = [], [], []
        for _ in range(args.repeats):
            rates.append(gemm_rate())
            own.append(network_rate(model))
            several = INTERVAL if name == "training step" else 1  # in one of so many steps SOAP turns its bases
            samples.append(cpu_time(lambda task=task, n=several: [task() for _ in range(n)]) / several)
        median, flops = statistics.median(samples), count_flops(task)
        speed, rate = flops / median / 1e9, statistics.median(rates)
        print(
            f"{name:14s} {1e6 * median / n_edges:9.1f}  {1e6 * min(samples) / n_edges:.0f}-{1e6 * max(samples) / n_edges:.0f}"
            f"  {n_edges / median:9.0f}  {flops / n_edges / 1e6:9.2f}  {speed:9.1f}  {speed / rate:6.0%} of {rate:.0f}"
            f"  {speed / statistics.median(own):5.0%} of {statistics.median(own):.0f}  {peaks[name]:8.0f}"
            f"  {count_operations(task):8d}"
        )
        for peer, figures in PEERS.items():
            ratio = figures[number] * n_edges / median / 1e6
            print(f"    {peer:22s} {figures[number]:6d} us/edge: {ratio:5.1f} x ours (another run, idle core)")
        if args.profile:
            profile(task, n_edges)
    eight = bilayer(n_elements=8)
    for name, task in tasks(fit_model(ModelConfig(), [eight]), eight).items():
        task()
        work[name]()
        pairs = [(cpu_time(task), cpu_time(work[name])) for _ in range(args.repeats)]  # by turns
        ratios = [many / one for many, one in pairs]
        print(
            f"eight elements, {name}: {statistics.median(ratios):.2f} x one ({min(ratios):.2f}-{max(ratios):.2f}), "
            f"{count_operations(task)} operations"
        )


if __name__ == "__main__":
    main()
