"""Readers of raw DFT output, one package a code, and the table of them.

A new code adds a package with ``detect``, ``read`` and perhaps ``read_bands`` (see :class:`preprocess.readers.base.Reader`), and one line
here.
"""

from pathlib import Path

from deeph.runtime.errors import DataError, UsageError
from preprocess.readers import abacus, aims, deeptb, folders, openmx, pyscf, siesta
from preprocess.readers.base import Reader

READERS: dict[str, Reader] = {
    "openmx": Reader(openmx.detect, openmx.read, openmx.read_bands),
    "abacus": Reader(abacus.detect, abacus.read, abacus.read_bands),
    "siesta": Reader(siesta.detect, siesta.read, siesta.read_bands),
    "aims": Reader(aims.detect, aims.read, aims.read_bands),
    "pyscf": Reader(pyscf.detect, pyscf.read, pyscf.read_bands),
    "deeptb": Reader(deeptb.detect, deeptb.read, deeptb.read_bands, deeptb.frames),
    "deeph": Reader(folders.detect_deeph, folders.read_deeph),
    "legacy": Reader(folders.detect_legacy, folders.read_legacy_folder),
}


def candidates(folder: Path, code: str = "auto") -> dict[str, str]:
    """The codes a folder may come from, each with the reason.

    Parameters
    ----------
    folder : path
        A folder that exists.
    code : str
        Only look for this code; ``auto`` for all.

    Raises
    ------
    UsageError
        If there is no reader for the code.
    """
    if code != "auto" and code not in READERS:
        raise UsageError(f"no reader for {code!r}; expected auto or one of {', '.join(READERS)}")
    names = READERS if code == "auto" else (code,)
    return {name: reason for name in names if (reason := READERS[name].detect(folder))}


def recognize(folder: Path, code: str = "auto") -> tuple[str, str]:
    """The name of the reader for a folder, and the reason.

    Raises
    ------
    DataError
        If no code, or more than one, is recognized.
    """
    found = candidates(folder, code)
    if not found:
        raise DataError(f"{folder} holds no output of {', '.join(READERS) if code == 'auto' else code}")
    if len(found) > 1:
        reasons = "; ".join(f"{name} because {reason}" for name, reason in found.items())
        raise DataError(f"{folder} could be of several codes ({reasons}); choose one with --code")
    return next(iter(found.items()))


def single_structures(folder: Path, code: str = "auto") -> list[Path]:
    """The folder itself, or a path for each structure of a folder that holds several; what is wrong with it is said when it is read."""
    found = candidates(folder, code)
    frames = READERS[next(iter(found))].frames if len(found) == 1 else None
    try:
        return [folder] if frames is None else frames(folder)
    except DataError:
        return [folder]


def detect(folder: Path, code: str = "auto") -> Reader:
    """The reader for a folder; see :func:`recognize`."""
    return READERS[recognize(folder, code)[0]]
