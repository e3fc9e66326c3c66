"""The command ``deeph-pyscf``."""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.errors import UsageError

if TYPE_CHECKING:
    from preprocess.pyscf.config import PyscfConfig

EPILOG = """\
examples:
  deeph-pyscf --print-config > job.toml       a file to start from, every setting explained
  deeph-pyscf job.toml data/ -j 4             run PySCF, four structures at a time; again: resume
  deeph-pyscf job.toml data/ --set scf.k_mesh=[6,6,1]

OUT gets one verified structure folder for each structure: the one of the settings, or perturb.number random
variations of it, or all of a folder of structure files or of an xyz file of many frames. Under mpirun or srun the processes share them.
Exit code 0: all done; 1: at least one failed."""


class PrintConfig(argparse.Action):
    """Print the default settings, like ``--version`` without the other arguments."""

    def __call__(self, *_: object) -> NoReturn:
        """Print and exit."""
        from deeph.files.config_file import to_toml
        from preprocess.pyscf.config import PyscfConfig

        sys.stdout.write(to_toml(PyscfConfig))
        sys.exit(0)


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph-pyscf``."""
    out = make_parser("deeph-pyscf", "Calculate structures with PySCF, from a TOML file to verified structure folders.", EPILOG)
    out.add_argument("config", type=Path, metavar="JOB.toml", help="settings")
    out.add_argument("out", type=Path, metavar="OUT", help="folder for the structure folders")
    out.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="number of calculations at the same time (default 1)")
    out.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of each calculation (default 1); it changes the last digits"
    )
    out.add_argument("--set", action="append", default=[], dest="overrides", metavar="SECTION.KEY=VALUE", help="change a setting")
    out.add_argument("--overwrite", action="store_true", help="calculate again what is there already")
    out.add_argument("--print-config", action=PrintConfig, nargs=0, help="print all settings as TOML, each explained, and exit")
    return out


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _body, argv)


def _body(args: argparse.Namespace) -> int:
    if min(args.jobs, args.threads) < 1:
        raise UsageError(f"-j {args.jobs} --threads {args.threads}: expected at least one each")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(args.threads)  # before numpy is loaded: equal results however many run beside each other

    from deeph.files.config_file import load_settings
    from preprocess.pyscf.config import PyscfConfig

    config = load_settings(PyscfConfig, args.config, args.overrides)
    if find_spec("pyscf") is None:
        raise UsageError("deeph-pyscf needs PySCF: pip install pyscf")
    return _calculate(config, args)


def _calculate(config: "PyscfConfig", args: argparse.Namespace) -> int:
    from preprocess.cli.table import run_jobs
    from preprocess.pyscf.job import Calculation, find_calculations

    work = Calculation(config, args.overwrite)
    return run_jobs(lambda: find_calculations(config, args.config.stem, args.out), work, args.jobs, quiet=args.quiet)


if __name__ == "__main__":
    main()
