"""Several processes training one model: who we are (torchrun, srun), and a group of them by torch.distributed.

Objects travel between the main memories (gloo), gradients between the GPUs where there are any (nccl).
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from deeph.runtime.errors import UsageError
from deeph.runtime.log import logger
from deeph.runtime.processes import Group

if TYPE_CHECKING:
    import torch

TIMEOUT = timedelta(hours=2)
"""How long processes wait for each other: the first one may fit a baseline to thousands of structures meanwhile."""


@dataclass(frozen=True)
class Launch:
    """How this process was started, one among all: ``rank`` of ``size``, ``local`` on its node; ``host`` and ``port`` of rank 0."""

    rank: int = 0
    size: int = 1
    local: int = 0
    host: str = "127.0.0.1"
    port: int = 29500


def find_launch(environment: Mapping[str, str] | None = None) -> Launch:
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
            return Launch(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", "0")), host, port)
        if int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # inside srun; a batch script alone is one process
            port = 20000 + int(env["SLURM_JOB_ID"]) % 20000
            host = _first_host(env["SLURM_STEP_NODELIST"])
            return Launch(int(env["SLURM_PROCID"]), int(env["SLURM_STEP_NUM_TASKS"]), int(env["SLURM_LOCALID"]), host, port)
        copies = max(int(env.get(name, "1")) for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"))
    except (KeyError, ValueError) as error:
        raise UsageError(f"the variables of torchrun or srun are incomplete ({error}); start with torchrun or srun") from error
    if copies > 1:
        raise UsageError(f"mpirun started {copies} processes, each of which would train a model of its own; start with torchrun or srun")
    if int(env.get("SLURM_NTASKS", "1")) > 1:
        logger.warning("Slurm allotted %s tasks, but this is a single process; start with srun to use them all", env["SLURM_NTASKS"])
    return Launch()


def _first_host(nodes: str) -> str:
    """First name of a Slurm node list such as ``gpu[03-05,7],login1``."""
    match = re.match(r"([^,\[]+)(?:\[([^,\-\]]+))?", nodes)
    if match is None:
        raise ValueError(f"node list {nodes!r}")
    return match[1] + (match[2] or "")


class TorchCommunicator:
    """The messages of torch.distributed.

    Attributes
    ----------
    gradients : process group or None
        Connects the GPUs; None where gradients travel as all the rest.
    """

    def __init__(self) -> None:
        self.gradients: Any = None

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """The object of one process, in every process."""
        import torch.distributed as dist

        objects = [obj]
        dist.broadcast_object_list(objects, src=root)
        return objects[0]

    def allgather(self, obj: Any) -> list[Any]:
        """The objects of all processes in the order of their ranks, in every process."""
        import torch.distributed as dist

        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, obj)
        return everyone

    def add(self, tensor: "torch.Tensor") -> None:
        """Add the tensors of all processes, in place."""
        import torch.distributed as dist

        dist.all_reduce(tensor, group=self.gradients)


@contextmanager
def joined(launch: Launch) -> Iterator[Group]:
    """The group of all processes, left at the end of the ``with`` block."""
    if launch.size == 1:
        yield Group()
        return
    import torch.distributed as dist

    dist.init_process_group(
        "gloo",
        init_method=f"tcp://{launch.host}:{launch.port}" if "RANK" not in os.environ else "env://",
        rank=launch.rank,
        world_size=launch.size,
        timeout=TIMEOUT,
    )
    if launch.rank > 0:
        logger.setLevel("CRITICAL")  # from here on the first process speaks for all
    try:
        yield Group(launch.rank, launch.size, TorchCommunicator())
    finally:
        dist.destroy_process_group()


def use_device(group: Group, device: "torch.device") -> None:
    """Let a group compute on a device of each process: its GPU becomes the present one, and gradients travel between the GPUs.

    Raises
    ------
    UsageError
        If some processes have a GPU and others not.
    """
    kinds = group.gathered([device.type])
    if len(set(kinds)) > 1:
        raise UsageError(
            f"process {kinds.index('cuda')} has a GPU, but process {kinds.index('cpu')} sees none; start them where all have one, or set "
            "train.device to 'cpu'"
        )
    if device.type == "cuda":
        import torch

        torch.cuda.set_device(device)
        if group.size > 1:
            group.communicator.gradients = torch.distributed.new_group(backend="nccl", timeout=TIMEOUT)


def sum_gradients(group: Group, parameters: Iterable["torch.nn.Parameter"], *, failed: bool = False) -> bool:
    """Add the gradients of all processes, in one message; a weight or a process that took no part contributes zeros.

    Parameters
    ----------
    group : Group
        All processes.
    parameters : iterable of Parameter
        In the same order everywhere.
    failed : bool
        Whether this process has no gradients because of an error.

    Returns
    -------
    bool
        Whether any process failed; the sums are of no use then.
    """
    import torch

    parameters = list(parameters)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if group.size == 1:
        return failed
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([*(g.reshape(-1) for g in gradients), gradients[0].new_tensor([float(failed)])])
    group.communicator.add(flat)
    *parts, failures = torch.split(flat, [*(g.numel() for g in gradients), 1])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return bool(failures.item() != 0)


def take_from_first(group: Group, tensors: Iterable["torch.Tensor"]) -> None:
    """Give all processes the tensors of the first, in place, in one message.

    Equal gradients make equal steps only where they are rounded alike; on unlike processors or GPUs the weights would drift apart.
    """
    import torch

    if group.size == 1:
        return
    tensors = list(tensors)
    with torch.no_grad():
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        group.communicator.add(flat if group.is_main else flat.zero_())
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
