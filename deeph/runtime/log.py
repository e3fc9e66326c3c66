"""Logging: one logger for the three packages; commands choose the level."""

import logging
import sys

logger = logging.getLogger("deeph")


def setup_logging(verbosity: int) -> None:
    """Send messages to stderr.

    Parameters
    ----------
    verbosity : int
        -1 shows warnings only, 0 the normal messages, 1 or more debugging messages.
    """
    level = {-1: logging.WARNING, 0: logging.INFO}.get(max(-1, min(verbosity, 1)), logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s" if level > logging.DEBUG else "%(asctime)s %(name)s: %(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
