"""``deeph-infer``: predict Hamiltonians of structures whose overlap is known."""

import argparse
import time
from pathlib import Path
from typing import NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.errors import DeephError, UsageError

EPILOG = """examples:
  deeph-infer runs/bilayer/model.safetensors overlaps/twisted predictions
  deeph-infer runs/bilayer data/test/* predictions
"""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    p = make_parser("deeph-infer", "Predict H for structure folders that hold the overlap (of an overlap-only or a full DFT run).", EPILOG)
    p.add_argument("model", type=Path, help="model.safetensors, or the folder of a training run")
    p.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="structure folders, or folders of them")
    p.add_argument("out", type=Path, metavar="OUT", help="gets one folder for each structure, with hamiltonian_pred.h5")
    p.add_argument("--overwrite", action="store_true", help="replace predictions that exist; without it they are skipped")
    p.add_argument("--device", default="cpu", help="torch device, e.g. cuda (default: cpu)")
    p.add_argument("--threads", type=int, help="CPU threads (default: torch decides)")
    return p


def _body(args: argparse.Namespace) -> int:
    from deeph.files.store import find_folders

    found = {folder: args.out / folder.resolve().name for given in args.folders for folder in find_folders(given)}
    if len(set(found.values())) < len(found):
        raise UsageError("two of the structure folders have the same name; predict them into different OUT folders")
    import torch
    from tqdm import tqdm

    from deeph.files.folders import FolderExistsError, remove_leftovers
    from deeph.files.store import read_overlap
    from deeph.inference import predict_folder
    from deeph.runtime.log import logger
    from deeph.training.checkpoint import load_model

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {args.device}, but torch sees no GPU")
    model = load_model(args.model, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(args.out)
    failed = 0
    for folder, target in tqdm(found.items(), unit="structure", disable=None):
        if target.exists() and not args.overwrite:
            logger.info("%s: exists, skipped", target)
            continue
        start = time.monotonic()
        try:
            structure = read_overlap(folder)
            predict_folder(model, structure, target, overwrite=args.overwrite)
        except FolderExistsError as error:
            logger.info("%s, skipped", error)
            continue
        except DeephError as error:
            logger.error("%s: %s", folder, error)
            failed += 1
            continue
        logger.info("%s: %d atoms, %.1f s", target, structure.system.n_atoms, time.monotonic() - start)
    return int(failed > 0)


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _body, argv)


if __name__ == "__main__":
    main()
