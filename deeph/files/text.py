"""Text files of DFT codes: words, keywords and numbers as Fortran and C write them, whatever the line ends."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError

_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))(?:[eEdD]([-+]?\d+)|([-+]\d+))?")
_OVERFLOW = 2**62
"""Integers beyond are no count of anything, and would overflow."""
_MANY = 10**12


def number(word: str) -> float:
    """A number as Fortran or C writes it: also ``1.d-2``, ``0.5D+00``, and ``0.12-101`` whose exponent left no room for the letter.

    Raises
    ------
    ValueError
        If it is something else; NaN and infinity are no numbers either.
    """
    match = _NUMBER.fullmatch(word)
    value = float(f"{match[1]}e{match[2] or match[3] or 0}") if match else float("nan")
    if not np.isfinite(value):
        raise ValueError(f"{word[:40]!r} is not a finite number")
    return value


def numbers(words: Sequence[str]) -> FloatArray:
    """Many numbers as :func:`number` reads them, fast where they are written plainly."""
    try:
        values = np.array(words, np.float64)
    except ValueError:
        return np.array([number(word) for word in words])
    if not np.isfinite(values).all():
        raise ValueError(f"{words[int(np.argmin(np.isfinite(values)))][:40]!r} is not a finite number")
    return values


def integer(word: str) -> int:
    """An integer of a size that can be a count or an index; ``ValueError`` if it is something else."""
    if not re.fullmatch(r"[-+]?\d{1,19}", word) or abs(int(word)) > _OVERFLOW:
        raise ValueError(f"{word[:40]!r} is not an integer")
    return int(word)


def count(word: str) -> int:
    """How many of something there are, of a size that memory might hold; ``ValueError`` if it is something else."""
    if not 1 <= integer(word) < _MANY:
        raise ValueError(f"{word[:40]!r} is not a positive number of a reasonable size")
    return int(word)


def read_text(path: Path, why: str = "") -> str:
    """A text file with any line ends; bytes that are no text become marks.

    Parameters
    ----------
    path : path
        The file.
    why : str
        What it is needed for, or how the code writes it; ends the message.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")  # universal newlines: DOS line ends are gone
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})" + (f"; {why}" if why else "")) from error


def lines_of_words(text: str, comment: str = "#") -> list[tuple[int, list[str]]]:
    """Number, from 1, and words of every line that holds more than a comment.

    Keywords are the first word of a line, and are compared in lower case in all readers.

    Parameters
    ----------
    text : str
        With any line ends.
    comment : str
        Regular expression of what starts a comment.
    """
    start = re.compile(comment)
    split = ((n, start.split(line, maxsplit=1)[0].split()) for n, line in enumerate(text.splitlines(), start=1))
    return [(n, words) for n, words in split if words]
