"""Several processes training one model: who we are (torchrun, srun), and the few collective operations that are used.

Everything works unchanged with a single process, where each operation returns its argument.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from deeph.runtime.errors import UsageError
from deeph.runtime.log import logger

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """One process among all: ``rank`` of ``size``, ``local`` on its node; ``host`` and ``port`` of rank 0."""

    rank: int = 0
    size: int = 1
    local: int = 0
    host: str = "127.0.0.1"
    port: int = 29500

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0


def find_process(environment: Mapping[str, str] | None = None) -> Process:
    """Who we are, from the variables of torchrun or of a Slurm step.

    Raises
    ------
    UsageError
        If several processes were started in a way that would make each train its own copy of the model.
    """
    env = os.environ if environment is None else environment
    try:
        if "RANK" in env and "WORLD_SIZE" in env:
            host, port = env.get("MASTER_ADDR", "127.0.0.1"), int(env.get("MASTER_PORT", "29500"))
            return Process(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", "0")), host, port)
        if int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # inside srun; a batch script alone is one process
            port = 20000 + int(env["SLURM_JOB_ID"]) % 20000
            host = _first_host(env["SLURM_STEP_NODELIST"])
            return Process(int(env["SLURM_PROCID"]), int(env["SLURM_STEP_NUM_TASKS"]), int(env["SLURM_LOCALID"]), host, port)
        copies = max(int(env.get(name, "1")) for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"))
    except (KeyError, ValueError) as error:
        raise UsageError(f"the variables of torchrun or srun are incomplete ({error}); start with torchrun or srun") from error
    if copies > 1:
        raise UsageError(f"mpirun started {copies} processes, each of which would train a model of its own; start with torchrun or srun")
    if int(env.get("SLURM_NTASKS", "1")) > 1:
        logger.warning("Slurm allotted %s tasks, but this is a single process; start with srun to use them all", env["SLURM_NTASKS"])
    return Process()


def _first_host(nodes: str) -> str:
    """First name of a Slurm node list such as ``gpu[03-05,7],login1``."""
    match = re.match(r"([^,\[]+)(?:\[([^,\-\]]+))?", nodes)
    if match is None:
        raise ValueError(f"node list {nodes!r}")
    return match[1] + (match[2] or "")


def start(process: Process, device_type: str) -> None:
    """Join the group: nccl between GPUs, gloo between CPUs."""
    if process.size > 1:
        import torch.distributed as dist

        dist.init_process_group(
            "nccl" if device_type == "cuda" else "gloo",
            init_method=f"tcp://{process.host}:{process.port}" if "RANK" not in os.environ else "env://",
            rank=process.rank,
            world_size=process.size,
            timeout=timedelta(hours=2),  # rank 0 may fit a baseline to thousands of structures meanwhile
        )


def stop(process: Process) -> None:
    """Leave the group."""
    if process.size > 1:
        import torch.distributed as dist

        dist.destroy_process_group()


def barrier(process: Process) -> None:
    """Wait for all."""
    if process.size > 1:
        import torch.distributed as dist

        dist.barrier()


def maximum(process: Process, values: Sequence[float], device: "torch.device") -> list[float]:
    """The largest of each number over all processes, so that all take the same decision."""
    if process.size == 1:
        return list(values)
    import torch
    import torch.distributed as dist

    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return [float(v) for v in tensor]


def gather(process: Process, value: T) -> list[T]:
    """One object of each process, in the order of their ranks, in every process."""
    if process.size == 1:
        return [value]
    import torch.distributed as dist

    everyone: list[T] = [value] * process.size
    dist.all_gather_object(everyone, value)
    return everyone


def total(process: Process, sums: Mapping[str, float]) -> dict[str, float]:
    """Named sums added over all processes; a process without any share may lack names."""
    everyone = gather(process, dict(sums))
    names = dict.fromkeys(name for one in everyone for name in one)
    return {name: sum(one.get(name, 0.0) for one in everyone) for name in names}


def sum_gradients(process: Process, parameters: Iterable["torch.nn.Parameter"]) -> None:
    """Add the gradients of all processes, in one message; a weight or a process that took no part contributes zeros."""
    import torch

    parameters = list(parameters)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if process.size == 1:
        return
    import torch.distributed as dist

    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
