"""What every command shares: options, errors, exit codes.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from deeph import __version__
from deeph.runtime.errors import DeephError
from deeph.runtime.log import logger, setup_logging


def make_parser(command: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """A parser with ``--version``, ``-v`` and ``-q``."""
    parser = argparse.ArgumentParser(
        prog=command, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="more messages")
    parser.add_argument("-q", "--quiet", action="store_true", help="warnings and errors only")
    return parser


def run_command(parser: argparse.ArgumentParser, body: Callable[[argparse.Namespace], int], argv: list[str] | None = None) -> NoReturn:
    """Parse, run and exit: 0 done, 1 something failed, 2 wrong usage.

    An expected error ends with one message; an unexpected one also writes its traceback to ``error.log``.
    """
    args = parser.parse_args(argv)
    setup_logging(-1 if args.quiet else args.verbose)
    try:
        code = body(args)
    except DeephError as error:
        logger.error("%s: %s", parser.prog, error)
        logger.debug("", exc_info=True)
        code = error.exit_code
    except KeyboardInterrupt:
        logger.error("%s: interrupted", parser.prog)
        code = 130
    except Exception as error:  # noqa: BLE001 - the last line of defence of a command
        log = Path("error.log")
        log.write_text(traceback.format_exc(), encoding="utf-8")
        logger.error("%s: unexpected %s: %s (details in %s; please report it)", parser.prog, type(error).__name__, error, log)
        code = 1
    sys.exit(code)
