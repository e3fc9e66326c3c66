"""Which structures make a batch, and their graphs."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch_geometric.data import Batch, Data

from deeph.config import TrainConfig
from deeph.files.dataset import Dataset
from deeph.nn.graph import make_graph
from deeph.nn.kinds import find_kinds
from deeph.nn.model import HamiltonianModel

STEPS_BETWEEN = 50
"""Optimizer steps between validations that train.validate_every = "auto" aims at."""
VALIDATIONS = 20
"""It makes at least so many, if there are so many epochs."""


def plan_batches(names: Sequence[str], n_bonds: Mapping[str, int], limits: TrainConfig) -> list[list[str]]:
    """Cut a list into batches of at most ``batch_bonds`` bonds and ``batch_structures``; a larger structure is a batch of its own.

    The batches are those of all processes together, so that their number changes no result.
    """
    batches: list[list[str]] = []
    room = 0
    for name in names:
        if not batches or n_bonds[name] > room or len(batches[-1]) == limits.batch_structures:
            batches.append([])
            room = limits.batch_bonds
        batches[-1].append(name)
        room -= n_bonds[name]
    return batches


def idle_processes(names: Sequence[str], n_bonds: Mapping[str, int], limits: TrainConfig, n_processes: int) -> str:
    """What to say if no batch has a structure for each process; else nothing."""
    most = max(len(batch) for batch in plan_batches(names, n_bonds, limits))
    if most >= n_processes:
        return ""
    wanted = n_processes * max(n_bonds[name] for name in names)
    return (
        f"batches hold at most {most} structure(s), by train.batch_bonds = {limits.batch_bonds} and batch_structures = "
        f"{limits.batch_structures}: {n_processes - most} of {n_processes} processes have nothing to do; train.batch_bonds = {wanted} and "
        f"batch_structures = {max(n_processes, limits.batch_structures)} would give work to all, with fewer and larger steps"
    )


def validation_interval(n_steps: int, config: TrainConfig) -> int:
    """Epochs from one validation to the next.

    Parameters
    ----------
    n_steps : int
        Steps of an epoch.
    config : TrainConfig
        With ``validate_every``; "auto" counts steps, never time, so that a result does not depend on the speed of the machine.
    """
    if config.validate_every != "auto":
        return config.validate_every
    return max(1, min(-(-STEPS_BETWEEN // n_steps), config.epochs // VALIDATIONS))


def shuffled(names: Sequence[str], seed: int, epoch: int) -> list[str]:
    """The order of an epoch; the same in every process and after a restart."""
    return [names[i] for i in np.random.default_rng([seed, epoch]).permutation(len(names))]


def share(batch: Sequence[str], n_bonds: Mapping[str, int], rank: int, size: int) -> list[str]:
    """The structures of a batch that one process computes: dealt from the largest to the smallest."""
    return sorted(batch, key=lambda name: -n_bonds[name])[rank::size] if size > 1 else list(batch)


class Graphs:
    """Graphs of the structures of a dataset, kept in memory as long as there is room; the others are made anew each time.

    Every epoch asks for every graph once: which ones are kept makes no difference, and to replace them would only cost time.

    Parameters
    ----------
    dataset : Dataset
        The structures.
    model : HamiltonianModel
        Decides what a graph holds; in main memory, where the graphs are made and stay.
    device : torch.device
        Where batches go.
    room : float
        Bytes for the graphs that are kept.
    """

    def __init__(self, dataset: Dataset, model: HamiltonianModel, device: torch.device, room: float) -> None:
        self.dataset, self.model, self.device = dataset, model, device
        self._kept: dict[str, Data] = {}
        self._room = room

    @torch.no_grad()
    def batch(self, names: Sequence[str]) -> Batch:
        """One batch of some structures, with targets."""
        batch = Batch.from_data_list([self._kept.get(name) or self._make(name) for name in names])
        batch.kinds = find_kinds(batch.numbers, batch.bond_index)  # before it leaves the main memory: nothing waits for a GPU
        return batch.to(self.device)

    def _make(self, name: str) -> Data:
        graph = make_graph(self.dataset.read(name), self.model, targets=True)
        size = sum(values.nbytes for values in graph.to_dict().values() if isinstance(values, torch.Tensor))
        if size <= self._room:
            self._room -= size
            self._kept[name] = graph
        return graph
