"""``deeph-train``: fit a network to DFT Hamiltonians."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.errors import UsageError
from deeph.runtime.version import VERSION

if TYPE_CHECKING:
    from deeph.config import Config

EPILOG = """examples:
  deeph-train --print-config > train.toml
  deeph-train train.toml --check
  deeph-train --set data.path=data --out runs/first    the defaults, without a file
  deeph-train train.toml --out runs/bilayer --set train.max_minutes=60
  deeph-train train.toml --out runs/bilayer --resume
  deeph-train --plot runs/bilayer runs/wider           learning curves of runs over each other: curves.png
  torchrun --nproc-per-node 4 -m deeph.cli.train train.toml
  srun deeph-train train.toml
"""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    p = make_parser("deeph-train", "Train a model on structure folders written by deeph-preprocess.", EPILOG)
    p.add_argument(
        "config", type=Path, nargs="?", help="TOML file, see --print-config; without one, what --set leaves is as it is by default"
    )
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change a setting, e.g. train.epochs=100"
    )
    p.add_argument("--out", type=Path, help="run folder (default: runs/NAME OF THE CONFIG, or of the data); with --plot the figure")
    p.add_argument("--resume", action="store_true", help="continue the run in --out")
    p.add_argument("--check", action="store_true", help="check the settings and read the data, do not train")
    p.add_argument(
        "--plot",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="draw curves of runs into --out (curves.png; file or folder), do not train",
    )
    p.add_argument("--print-config", action="store_true", help="print the settings as TOML, each explained (the defaults without CONFIG)")
    return p


def _body(args: argparse.Namespace) -> int:
    from deeph.files.config_file import load_config, to_toml
    from deeph.files.other_programs import refuse_ini

    if args.plot:
        return _plot(args)
    if args.config is None and not args.overrides:
        if not args.print_config:
            raise UsageError(
                "no configuration file given; deeph-train --print-config > train.toml makes one to start from, and --set data.path=FOLDER "
                "alone trains with the defaults"
            )
        sys.stdout.write(to_toml())
        return 0
    if args.config is not None:
        refuse_ini(args.config)
    config = load_config(args.config, args.overrides)
    if args.print_config:
        sys.stdout.write(to_toml(config))
        return 0
    out = args.out or Path("runs") / (args.config.stem if args.config else config.data.path.resolve().name)
    if not {"WORLD_SIZE", "SLURM_STEP_NUM_TASKS"} & os.environ.keys():  # several processes agree on what is missing when they have met
        _look(config, out, resume=args.resume)
    return _check(config, out, resume=args.resume) if args.check else _train(config, out, args)


def _plot(args: argparse.Namespace) -> int:
    from deeph.runtime.log import logger
    from deeph.training.curves import CURVES, draw_runs

    out = args.out or Path(CURVES)
    out = out / CURVES if out.is_dir() or not out.suffix else out  # a folder is named without suffix
    draw_runs([*args.plot, *([args.config] if args.config else [])], out)
    logger.info("wrote %s", out)
    return 0


def _look(config: "Config", out: Path, *, resume: bool) -> None:
    """Refuse what can be refused before torch is loaded, which takes some seconds."""
    from deeph.training.data import band_structures, check_places, open_split
    from deeph.training.run_folder import check_folder

    check_folder(out, resume=resume)
    check_places(config.data)
    if config.train.band_structures:
        band_structures(*open_split(config), config)


def _train(config: "Config", out: Path, args: argparse.Namespace) -> int:
    from deeph.runtime.log import logger, telling
    from deeph.training.run_log import RunLog

    with RunLog() as log:
        logger.info("deeph-train %s: %s %s", VERSION, "continuing in" if args.resume else "into", out)
        with telling("loading torch"):
            from deeph.training.run import train

        best = train(config, out, resume=args.resume, log=log)
        logger.info("best model: %s", best)
        logger.info("next: deeph-infer %s STRUCTURES OUT   (structure folders with overlap.h5, or structure files and --basis)", out)
    return 0


def _check(config: "Config", out: Path, *, resume: bool) -> int:
    from deeph.runtime.log import telling

    with telling("loading torch"):
        from deeph.training.check import check_run

    sys.stdout.write(check_run(config, out, resume=resume))
    return 0


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _body, argv)


if __name__ == "__main__":
    main()
