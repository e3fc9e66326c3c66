"""``deeph-train``: fit a network to DFT Hamiltonians."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.errors import UsageError

if TYPE_CHECKING:
    from deeph.config import Config

EPILOG = """examples:
  deeph-train --print-config > train.toml
  deeph-train train.toml --check
  deeph-train train.toml --out runs/bilayer --set train.max_minutes=60
  deeph-train train.toml --out runs/bilayer --resume
  torchrun --nproc-per-node 4 -m deeph.cli.train train.toml
  srun deeph-train train.toml
"""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    p = make_parser("deeph-train", "Train a model on structure folders written by deeph-preprocess.", EPILOG)
    p.add_argument("config", type=Path, nargs="?", help="TOML file; see --print-config")
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change a setting, e.g. train.epochs=100"
    )
    p.add_argument("--out", type=Path, help="run folder (default: runs/NAME OF THE CONFIG)")
    p.add_argument("--resume", action="store_true", help="continue the run in --out")
    p.add_argument("--check", action="store_true", help="check the settings and read the data, do not train")
    p.add_argument("--print-config", action="store_true", help="print the settings as TOML, each explained (the defaults without CONFIG)")
    return p


def _body(args: argparse.Namespace) -> int:
    from deeph.files.config_file import load_config, to_toml

    if args.config is None:
        if not args.print_config:
            raise UsageError("no configuration file given; deeph-train --print-config > train.toml makes one to start from")
        sys.stdout.write(to_toml())
        return 0
    config = load_config(args.config, args.overrides)
    if args.print_config:
        sys.stdout.write(to_toml(config))
        return 0
    if args.check:
        return _check(config)
    from deeph.runtime.log import logger
    from deeph.training.loop import train

    logger.info("best model: %s", train(config, args.out or Path("runs") / args.config.stem, resume=args.resume))
    return 0


def _check(config: "Config") -> int:
    from deeph.training.check import check_data

    sys.stdout.write(check_data(config))
    return 0


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _body, argv)


if __name__ == "__main__":
    main()
