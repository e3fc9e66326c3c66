"""``deeph-ensemble``: one model file of several runs, whose predictions have error bars."""

import argparse
from pathlib import Path
from typing import NoReturn

from deeph.cli.common import make_parser, run_command

EPILOG = """examples:
  deeph-train train.toml --out runs/a --set train.seed=0      the same settings and data, other seeds
  deeph-train train.toml --out runs/b --set train.seed=1
  deeph-train train.toml --out runs/c --set train.seed=2
  deeph-ensemble runs/a runs/b runs/c --out ensemble.safetensors
  deeph-infer ensemble.safetensors twisted.vasp predicted/ --basis C6.0.pao:s2p2d1
  deeph-bands predicted/twisted --out bands.pdf               with error bars

Two runs are the least; three to five tell more. A prediction takes as many times as long."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    p = make_parser("deeph-ensemble", "Make one model of several runs; how far they are apart tells the error of a prediction.", EPILOG)
    p.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a training run, or its model file; of the same data")
    p.add_argument("--out", type=Path, default=Path("ensemble.safetensors"), metavar="FILE", help="default ensemble.safetensors")
    p.add_argument("--data", type=Path, metavar="DATASET", help="structures of the training, if they are not where the first run had them")
    p.add_argument("--split", type=Path, metavar="FILE", help="its split; default: split.json in the dataset, or that of the first run")
    p.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1 (default auto)")
    return p


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.log import logger, telling
    from deeph.training.run_folder import check_runs, data_of_run

    check_runs(args.runs, args.out / "ensemble.safetensors" if args.out.is_dir() else args.out)
    data_of_run(args.runs[0], args.data, args.split)
    with telling("loading torch"):  # some seconds
        from deeph.cli.infer import choose_device
        from deeph.training.ensemble import make_ensemble

    ensemble = make_ensemble(args.runs, args.out, args.data, args.split, choose_device(args.device))
    logger.info("%s: %d models as one", args.out, len(ensemble.members))
    logger.info("next: deeph-infer %s STRUCTURES OUT", args.out)
    return 0


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _body, argv)


if __name__ == "__main__":
    main()
