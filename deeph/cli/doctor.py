"""``deeph doctor``: what is installed, what is missing and what that is for, and how fast this machine is."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.version import VERSION

if TYPE_CHECKING:
    from deeph.cli.packages import Package

EPILOG = """\
examples:
  deeph doctor                 in the Python and on the machine where the other commands run (in a batch job: on its node)
  deeph doctor --no-speed      versions only, a few seconds less
  deeph doctor --disk /scratch measure another disk than that of this folder

Exit code 0: everything that all commands need works; 1: it does not, and the line says how to mend it."""
BUSY = 1.5
"""Wall time over time on the processor from which on the machine counts as busy."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph doctor``."""
    out = make_parser("deeph-doctor", "Say what is installed, what is missing, and how fast this machine is.", EPILOG)
    out.add_argument("--no-speed", action="store_true", help="do not measure the speed")
    out.add_argument("--disk", type=Path, default=Path(), metavar="FOLDER", help="where to measure the disk (default: this folder)")
    return out


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _examine, argv)


def _examine(args: argparse.Namespace) -> int:
    from deeph.cli.packages import packages

    _write(*_machine())
    found = packages()
    _write("", "packages", *_rows(found, core=True), "", "only for some purposes", *_rows(found, core=False))
    broken = [one for one in found if one.core and one.status != "ok"]
    if broken:
        _write("", *(f"{one.name} is {one.status}, and no command works without it: {one.install}" for one in broken))
        return 1
    if not args.no_speed:
        _write("", *_head())
        for line in _speed(args.disk):
            _write(line)
    return 0


def _write(*lines: str) -> None:
    """Lines that are out at once."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _machine() -> Iterator[str]:
    """What this process runs on, and what of it it may use."""
    from deeph.runtime.machine import allowed_cores, free_memory, processor
    from deeph.runtime.threads import VARIABLES

    cores, limit = allowed_cores()
    free, of = free_memory()
    yield f"deeph {VERSION} in {Path(__file__).parents[1]}, Python {platform.python_version()} ({sys.executable})"
    yield f"{processor()}, {platform.system()}: {cores} core{'s' if cores > 1 else ''} {limit}; {free:.1f} GiB free {of}"
    threads = [f"{name}={os.environ[name]}" for name in (*VARIABLES, "DEEPH_SLEPC_PYTHON") if name in os.environ]
    if threads:
        yield f"set: {', '.join(threads)}"


def _rows(found: "list[Package]", *, core: bool) -> Iterator[str]:
    for one in found:
        if one.core == core:
            install = f"; {one.install}" if one.install else ""
            yield f"  {one.status:<8} {one.name:<16} {one.version:<12} {one.text}{install}".rstrip()


def _head() -> Iterator[str]:
    from deeph.cli.speed import MACHINE

    yield f"speed of one core (some seconds); reference: {MACHINE}"


def _speed(disk: Path) -> Iterator[str]:
    """A line for each measurement, and what they mean for the timings of the documentation."""
    from deeph.cli.speed import measure

    wall, own, ratios = time.perf_counter(), time.process_time(), []
    for one in measure(disk):
        yield f"  {one.name:<34} {one.value:>8.3g} {one.unit:<9} reference {one.reference:>4g}: {one.ratio:.2f} times as fast"
        ratios.append(one.ratio)
        if len(ratios) == 1:
            levels = one.ratio
        if one.unit == "us a bond":
            wait = (time.perf_counter() - wall) / (time.process_time() - own)
            yield from () if wait < BUSY else (f"  other programs are busy here: a second of work takes {wait:.1f} s",)
            network = one.ratio
    yield f"times in the documentation: divide those of training and prediction by {network:.2f}, those of bands by {levels:.2f}"


if __name__ == "__main__":
    main()
