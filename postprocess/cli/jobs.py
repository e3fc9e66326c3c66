"""Options of the commands that share k-points among processes."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph.runtime.processes import Group
    from postprocess.states.kjobs import Jobs


def add_job_options(parser: argparse.ArgumentParser, *, device: bool = True) -> None:
    """``-j``, and ``--device`` where dense matrices are solved on one."""
    parser.add_argument(
        "-j", "--jobs", type=int, default=1, metavar="N", help="k-points at a time, each in a process of its own (default 1); or use mpirun"
    )
    if device:
        parser.add_argument("--device", default="cpu", help="for dense matrices: a torch device such as cuda (default: cpu, by LAPACK)")


def start_group(args: argparse.Namespace) -> "Group":
    """The processes of mpirun or srun; only the first one talks.

    Raises
    ------
    UsageError
        If ``-j`` is not positive, or several processes were started that cannot talk to each other.
    """
    import logging

    from deeph.runtime.errors import UsageError
    from deeph.runtime.log import logger
    from deeph.runtime.processes import find_group

    if args.jobs < 1:
        raise UsageError(f"-j {args.jobs}: expected at least one k-point at a time")
    group = find_group(os.environ)
    if group.rank > 0:
        logger.setLevel(logging.CRITICAL)
    return group


def make_jobs(args: argparse.Namespace, group: "Group", files: Sequence[Path], number: int = 0) -> "Jobs":
    """Processes, and the scratch folder beside the first output file; without an output nothing is kept."""
    from postprocess.states.kjobs import Jobs

    scratch = files[0].with_name(f".{files[0].name}.{number}.kpoints") if files else None
    return Jobs(args.jobs, group, scratch, together=getattr(args, "solver", None) == "slepc")
