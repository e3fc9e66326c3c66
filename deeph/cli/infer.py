"""``deeph-infer``: predict Hamiltonians of structures; inputs that are not there are computed from basis files."""

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.errors import DataError, DeephError, ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeph.files.moments_file import MomentRows
    from deeph.inference_cost import Cost
    from deeph.inference_jobs import Inputs
    from deeph.inference_structures import Job
    from deeph.nn.ensemble import Predictor

EPILOG = """examples:
  deeph-infer model twisted.vasp predicted/ --basis C6.0.pao:s2p2d1      S and H of a structure
  deeph-infer model twisted.vasp predicted/ --basis C6.0.pao:s2p2d1 --check      only what it would take
  deeph-infer model data/test/* predicted/                               H of structure folders, which hold S
  deeph-infer model MoS2.cif predicted/ --basis Mo.orb S.orb             one file for each element
  deeph-infer model CrI3.vasp predicted/ --basis Cr.pao:s3p2d1 I.pao:s2p2d1 --moments up.txt     with a row such as "Cr 0 0 1"

The basis is that of the training data; without --basis the error says which orbitals the model wants. What is predicted already is skipped.
Next: deeph-bands predicted/twisted"""
WORK = 1e4
"""Parts that the work is counted in."""
MEASURED = 10
"""Structures that --check looks at, of many."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    p = make_parser("deeph-infer", "Predict H of structures; S is read from structure folders, or computed with --basis.", EPILOG)
    p.usage = "deeph-infer MODEL STRUCTURE [STRUCTURE ...] OUT [--basis FILE ...] [options]"
    p.add_argument("model", type=Path, metavar="MODEL", help="model.safetensors, the folder of a training run, or an ensemble")
    p.add_argument(
        "paths", type=Path, nargs="+", metavar="STRUCTURE",
        help="POSCAR, cif, xyz, input of OpenMX, ABACUS (STRU) or SIESTA; a structure folder with S; or a folder of these. The last one is "
        "OUT: it gets one folder for each structure, with overlap.h5 and hamiltonian_pred.h5",
    )  # fmt: skip
    p.add_argument(
        "--basis", nargs="+", default=[], metavar="FILE",
        help="one file an element: FILE.pao:s2p2d1 (OpenMX), FILE.orb (ABACUS), FILE.ion, .ion.xml, .ion.nc (SIESTA); gto:NAME (PySCF)",
    )  # fmt: skip
    p.add_argument(
        "--moments", type=Path, metavar="FILE",
        help="magnetic moments, instead of those in structure folders: rows ATOM x y z [SIZE]; ATOM is a number from 1 or an element, "
        "x y z a direction, SIZE in Bohr magneton (default: the mean in training). Atoms without a row are non-magnetic",
    )  # fmt: skip
    p.add_argument("--cutoff", type=float, metavar="ANGSTROM", help="blocks of all pairs up to this distance; default: those that overlap")
    p.add_argument(
        "--modes", action="store_true",
        help="of an ensemble: keep what error bars of levels need also of large cells (as many times the size of H as there are members)",
    )  # fmt: skip
    p.add_argument("--check", action="store_true", help="say what would be done, with the time and memory it will take, and stop")
    p.add_argument("--overwrite", action="store_true", help="replace predictions that exist; without it they are skipped")
    p.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1 (default auto)")
    p.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch decides)")
    p.parse_args = p.parse_intermixed_args  # type: ignore[method-assign] # options may stand between STRUCTURE and OUT
    return p


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _body, argv)


def _body(args: argparse.Namespace) -> int:
    start = time.monotonic()
    given, out = _paths(args)
    if (args.threads is not None and args.threads < 1) or (args.cutoff is not None and not args.cutoff > 0):
        raise UsageError(f"--threads {args.threads}, --cutoff {args.cutoff}: expected positive numbers")
    from deeph.inference_structures import find_jobs
    from deeph.runtime.log import logger, telling

    file = args.model / "model.safetensors" if args.model.is_dir() else args.model
    if not file.is_file():
        raise DataError(f"{file} is missing; expected model.safetensors, or the folder of a training run")
    jobs = find_jobs(given, out)  # what is missing is said before torch is loaded
    moments = _moments(args, jobs)
    logger.info("reading %s", args.model)  # torch takes some seconds
    with telling(f"still reading {args.model}"):
        from deeph.files.folders import remove_leftovers
        from deeph.inference_jobs import Inputs
        from deeph.nn.ensemble import members_of

        model = _load(args)
        inputs = Inputs(members_of(model)[0], args.basis, args.cutoff, args.threads or 1, moments)
        if args.modes and len(members_of(model)) == 1:
            raise UsageError(f"--modes, but {args.model} is a single model without error bars; deeph-ensemble makes one of several runs")
        bare = [job for job in jobs if job.file is not None]
        if args.basis and not bare:
            logger.warning("--basis is not used: the structure folders hold S")
        if moments is not None and not inputs.model.magnetic:
            raise UsageError(f"--moments {args.moments}, but {args.model} is not magnetic: no element had a moment in its training data")
        for job in bare:  # a wrong basis is said before any work; a wrong structure, when it is its turn
            with suppress(DataError, ModelError):
                inputs.describe(job)
    if args.check:
        return _check_all(jobs, model, inputs, time.monotonic() - start, overwrite=args.overwrite)
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    return _each(jobs, lambda job: _predict(job, model, inputs, args))


def _paths(args: argparse.Namespace) -> tuple[list[Path], Path]:
    """The structures, and OUT, which may have been taken for the last basis file."""
    paths = list(args.paths)
    if len(args.basis) > 1 and (len(paths) == 1 or paths[-1].is_file()):
        paths.append(Path(args.basis.pop()))
    if len(paths) < 2:
        raise UsageError("no output folder: expected deeph-infer MODEL STRUCTURE... OUT --basis FILE...")
    return paths[:-1], paths[-1]


def _moments(args: argparse.Namespace, jobs: "list[Job]") -> "MomentRows | None":
    """The file of moments; numbers of atoms are those of one structure."""
    from deeph.files.moments_file import read_moments_file

    if args.moments is None:
        return None
    rows = read_moments_file(args.moments)
    if rows.atoms and len(jobs) > 1:
        row = next(iter(rows.atoms.values()))
        raise UsageError(f"{row.where} is of an atom of one structure, but {len(jobs)} are given: give one, or moments of elements alone")
    return rows


def _load(args: argparse.Namespace) -> "Predictor":
    import torch

    from deeph.training.checkpoint import load_model

    if args.threads:
        torch.set_num_threads(args.threads)
    return load_model(args.model, choose_device(args.device))


def choose_device(name: str) -> str:
    """The device as torch calls it: a GPU if there is one, or that which was asked for."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {name}, but torch sees no GPU")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: expected auto, cpu, cuda, or cuda:N for a GPU that is there ({error})") from error
    return name


def _each(jobs: "list[Job]", work: "Callable[[Job], None]") -> int:
    """Do the structures one after the other; an error of one is said, and the others are done."""
    from deeph.runtime.log import logger

    failed = 0
    for job in jobs:
        try:
            work(job)
        except UsageError:
            raise
        except DeephError as error:
            logger.error("%s: %s", job.given, error)
            failed += 1
    if failed and len(jobs) > 1:
        logger.error("%d of %d structures failed", failed, len(jobs))
    return int(failed > 0)


def _predict(job: "Job", model: "Predictor", inputs: "Inputs", args: argparse.Namespace) -> None:
    from deeph.files.folders import FolderExistsError
    from deeph.inference import predict_folder
    from deeph.inference_jobs import is_done
    from deeph.runtime.log import logger, telling

    start = time.monotonic()
    if is_done(job, inputs.model, inputs.moments_of(job), overwrite=args.overwrite):
        logger.info("%s: predicted already, skipped", job.out)
        return
    try:
        with telling(job.out.name, WORK, "work") as told:
            given = job.given if job.file is None else None
            options = {"overwrite": args.overwrite, "modes": args.modes, "done": lambda share: told.advance(WORK * share)}
            n_blocks = predict_folder(model, inputs.get(job), job.out, given=given, **options)
    except FolderExistsError as error:
        logger.info("%s, skipped", error)
        return
    logger.info("%s: %s, %d blocks, %.1f s%s", job.out, job.system(), n_blocks, time.monotonic() - start, _largest_error(job.out))
    if inputs.model.magnetic:
        from deeph.facade import check_moments

        check_moments(job.out)


def _largest_error(folder: Path) -> str:
    """The error bars of a prediction in a few words, nothing of a single model."""
    from deeph.files.error_files import read_sigma

    sigma = read_sigma(folder)
    if sigma is None:
        return ""
    return f", error bars {1e3 * float((sigma**2).mean() ** 0.5):.2g} meV (rms of the blocks), {1e3 * float(sigma.max()):.2g} at most"


def _check_all(jobs: "list[Job]", model: "Predictor", inputs: "Inputs", begun: float, *, overwrite: bool) -> int:
    """Say what the structures will take, of many of them what some take; ``begun``: seconds that it took to begin."""
    from deeph.runtime.log import duration

    chosen = jobs[:: -(-len(jobs) // MEASURED)]
    costs: list[Cost] = []
    code = _each(chosen, lambda job: costs.append(_check(job, model, inputs, overwrite=overwrite)))
    seconds = sum(sum(cost.seconds.values()) for cost in costs) * len(jobs) / max(len(chosen), 1)
    measured = f", from {len(chosen)} of them" if len(chosen) < len(jobs) else ""
    every = f"all {len(jobs)} structures{measured}: {duration(seconds)}, and" if len(jobs) > 1 else "and once"
    sys.stdout.write(f"{every} {duration(begun)} to start\n")
    return code


def _check(job: "Job", model: "Predictor", inputs: "Inputs", *, overwrite: bool) -> "Cost":
    from deeph.inference_cost import estimate
    from deeph.inference_jobs import is_done
    from deeph.inference_moments import tell

    structure = inputs.describe(job)
    if structure.moments is not None:
        tell(structure.system, structure.moments, inputs.model.magnetic)
    done = is_done(job, inputs.model, structure.moments, overwrite=overwrite)
    compute = None if job.file is None else lambda piece: inputs.compute(job, piece)
    cost = estimate(model, structure, compute, inputs.cutoff)
    sys.stdout.write(f"{job.given} -> {job.out}{' (there already)' if done else ''}\n{cost.to_text()}\n")
    return cost


if __name__ == "__main__":
    main()
