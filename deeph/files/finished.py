"""Files that appear complete or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeph.runtime.errors import DataError, UsageError


@contextmanager
def finished_file(path: Path) -> Iterator[Path]:
    """A temporary name with the same suffix; it is renamed to ``path`` when the block ends without an error."""
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.absolute().parent} does not exist")
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
