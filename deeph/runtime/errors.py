"""Exceptions whose message is written for a physicist: what was seen, what was expected, what to do."""


class DeephError(Exception):
    """Base of every error this project raises on purpose; ends a command with exit code 1."""

    exit_code = 1


class UsageError(DeephError):
    """The command line or the configuration asks for something that cannot be done; exit code 2."""

    exit_code = 2


class DataError(DeephError):
    """A file or folder holds something else than expected."""


class ModelError(DeephError):
    """A model cannot be applied to this structure (unknown element, other basis, other conventions)."""
