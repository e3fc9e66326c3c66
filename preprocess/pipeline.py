"""From folders of DFT runs to verified structure folders: find the runs, convert each on its own, report every one.

A run is converted completely or not at all, so that an interrupted conversion is resumed by calling it again.
"""

import os
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

from deeph.errors import DataError, DeephError, UsageError
from deeph.hamiltonian import Hamiltonian
from deeph.legacy import is_legacy_folder, write_legacy
from deeph.store import is_structure_folder, write_folder
from preprocess.readers import candidates, detect
from preprocess.verify import Level, verify

Format = Literal["deeph", "legacy"]


@dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes
    ----------
    code : str
        Name of a reader, or ``auto``.
    verify : {"off", "basic", "bands"}
        See :func:`preprocess.verify.verify`.
    format : {"deeph", "legacy"}
        What to write.
    positions : bool
        Whether to write the position matrices, too.
    overwrite : bool
        Whether to convert again what is there already.
    """

    code: str = "auto"
    verify: Level = "basic"
    format: Format = "deeph"
    positions: bool = False
    overwrite: bool = False


class Job(NamedTuple):
    """One run and the folder it becomes."""

    run: Path
    out: Path


class Outcome(NamedTuple):
    """What became of a job; ``trace`` is the traceback of an unexpected error."""

    job: Job
    status: Literal["ok", "failed", "skipped"]
    reason: str
    seconds: float
    trace: str = ""


def find_jobs(raw: Sequence[Path], out: Path, code: str = "auto") -> list[Job]:
    """All runs at or below some folders, each with its output folder.

    Parameters
    ----------
    raw : sequence of path
        Where to look; hidden folders, folders inside a run, and ``out`` itself are left out.
    out : path
        Outputs are named after the run folders; equal names are told apart by the names of the folders above.
    code : str
        Only look for runs of this code.

    Raises
    ------
    UsageError
        If a folder does not exist or is the output folder.
    """
    runs: list[Path] = []
    seen = {out.resolve()}
    for root in raw:
        if not root.is_dir():
            raise UsageError(f"{root} is not a folder; expected a run folder or a folder of run folders")
        if root.resolve() == out.resolve():
            raise UsageError(f"{root} is both input and output; choose another output folder")
        for name, below, _files in os.walk(root.resolve(), followlinks=True):
            folder = Path(name)
            below[:] = sorted(b for b in below if not b.startswith("."))
            if folder.resolve() in seen:  # a link to it came before, or it is the output
                below.clear()
            elif candidates(folder, code):
                runs.append(folder)
                below.clear()
            seen.add(folder.resolve())
    return [Job(run, out / name) for run, name in zip(runs, _output_names(runs), strict=True)]


def _output_names(runs: list[Path]) -> list[str]:
    """The folder name of each run, lengthened from the front where two are equal."""
    length = [1] * len(runs)
    while True:
        names = ["-".join(run.parts[-n:]) for run, n in zip(runs, length, strict=True)]
        counts = Counter(names)
        clashes = [n for n, name in enumerate(names) if counts[name] > 1 and length[n] < len(runs[n].parts)]
        if not clashes:
            return names
        for n in clashes:
            length[n] += 1


def own_share(jobs: list[Job], environment: Mapping[str, str]) -> list[Job]:
    """Every n-th job, where mpirun or srun started n processes; all jobs of a single process."""
    for rank, size in (
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("PMI_RANK", "PMI_SIZE"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ):
        if rank in environment and size in environment:
            return jobs[int(environment[rank]) :: int(environment[size])]
    return jobs


def convert_all(jobs: Sequence[Job], options: Options, n_workers: int = 1) -> Iterator[Outcome]:
    """Convert in parallel; outcomes come as they are done. Memory is that of ``n_workers`` structures."""
    if n_workers <= 1 or len(jobs) <= 1:
        yield from (convert(job, options) for job in jobs)
        return
    threads = str(max(1, (os.cpu_count() or 1) // n_workers))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, threads)  # inherited by the workers, which share the cores
    pool = ProcessPoolExecutor(min(n_workers, len(jobs)), mp_context=get_context("spawn"))
    try:
        futures = {pool.submit(convert, job, options): job for job in jobs}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool:
                reason = "a worker process died, perhaps for want of memory; call again with a smaller -j to do the rest"
                yield Outcome(futures[future], "failed", reason, 0.0)
    finally:
        pool.shutdown(cancel_futures=True)


def convert(job: Job, options: Options) -> Outcome:
    """Convert one run; never raises."""
    start, trace = time.perf_counter(), ""
    status: Literal["ok", "failed", "skipped"] = "failed"
    try:
        if job.out.exists() and _may_skip(job, options):
            return Outcome(job, "skipped", f"{job.out} is there already (--overwrite converts again)", 0.0)
        data, found = _read_verified(job.run, options)
        job.out.parent.mkdir(parents=True, exist_ok=True)
        write = write_folder if options.format == "deeph" else write_legacy
        write(job.out, data, overwrite=options.overwrite)
        orbitals = int(data.basis.n_orbitals(data.system.numbers).sum())
        status, reason = "ok", f"{data.system.formula}, {orbitals} orbitals, spin {data.basis.spin}: {found}"
    except (DeephError, OSError) as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - one strange run must not stop the others
        reason, trace = f"unexpected {type(error).__name__}: {error}", traceback.format_exc()
    return Outcome(job, status, " ".join(reason.split()), time.perf_counter() - start, trace)


def _may_skip(job: Job, options: Options) -> bool:
    """Whether an existing output is complete and to be kept; anything else of that name is not touched."""
    complete = is_structure_folder if options.format == "deeph" else is_legacy_folder
    if job.out.resolve() == job.run.resolve():
        raise DataError(f"{job.out} is the run itself; choose another output folder")
    if not complete(job.out):
        raise DataError(f"{job.out} exists but is no structure folder in the {options.format} format; remove it or choose another output")
    return not options.overwrite


def _read_verified(run: Path, options: Options) -> tuple[Hamiltonian, str]:
    """The data of a run, and what the verification found."""
    reader = detect(run, options.code)
    data = reader.read(run)
    reference = None
    if options.verify == "bands":
        if reader.bands is None:
            raise DataError(f"{run}: its code gives no bands to compare with; use --verify basic")
        reference = reader.bands(run, data.system)
    try:
        found = verify(data, options.verify, reference)
    except DeephError as error:
        raise DataError(f"{run}: {error}") from error
    if not options.positions:
        return replace(data, r=None), found
    if data.r is None:
        raise DataError(f"{run} holds no position matrices; leave --positions out")
    return data, found
