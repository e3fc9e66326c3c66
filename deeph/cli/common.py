"""What every command shares: options, errors, exit codes.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import argparse
import atexit
import gc
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from deeph.cli.arguments import Parser
from deeph.runtime.errors import DeephError
from deeph.runtime.log import logger, setup_logging
from deeph.runtime.version import VERSION


def make_parser(command: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """A parser with ``--version``, ``-v`` and ``-q``."""
    parser = Parser(
        prog=command, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="more messages")
    parser.add_argument("-q", "--quiet", action="store_true", help="warnings and errors only")
    return parser


def run_command(parser: argparse.ArgumentParser, body: Callable[[argparse.Namespace], int], argv: list[str] | None = None) -> NoReturn:
    """Parse, run and exit: 0 done, 1 something failed, 2 wrong usage.

    An expected error, and one of the system, ends with one message; an unexpected one also writes its traceback to ``error.log``. Processes
    that work together end together, see :func:`deeph.runtime.processes.end_together`.
    """
    args = parser.parse_args(argv)
    atexit.register(gc.freeze)  # nothing is collected at the end, where the million objects of torch would take a second or two
    setup_logging(-1 if args.quiet else args.verbose)
    error = ""
    try:
        code = body(args)
    except DeephError as expected:
        code, error = expected.exit_code, str(expected)
        logger.debug("", exc_info=True)
    except KeyboardInterrupt:
        code, error = 130, "interrupted"
    except OSError as failed:  # a full disk, a folder where one may not write, a disk that is gone
        code, error = 1, f"{failed.filename or 'a file'}: {failed.strerror or failed}"
        logger.debug("", exc_info=True)
    except Exception as unexpected:  # noqa: BLE001 - the last line of defence of a command
        code, error = 1, f"unexpected {type(unexpected).__name__}: {unexpected}{_write_trace()}; please report it"
    if error:
        error = f"{parser.prog}: {error}"
        logger.error("%s", error)
    if "deeph.runtime.processes" in sys.modules:
        from deeph.runtime.processes import end_together

        end_together(code, error)
    sys.exit(code)


def _write_trace() -> str:
    """Where the traceback of the present error was written, for its message."""
    try:
        Path("error.log").write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return f"\n{traceback.format_exc()}"
    return " (details in error.log)"
