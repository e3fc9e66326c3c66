"""Whether OpenMX's self-consistent cycle converged: from the ``.out`` file, or what the run printed (``.std``)."""

import re
from pathlib import Path

from deeph.files.text import number, read_text
from deeph.runtime.errors import DataError
from preprocess.readers.base import Convergence
from preprocess.readers.openmx.input import keyword

_OUT = re.compile(r"^\s*SCF=\s*(\d+)\s+NormRD=\s*(\S+)\s+Uele=\s*(\S+)", re.MULTILINE)
_STD_STEP = re.compile(r"SCF=\s*(\d+)")
_STD = re.compile(r"<DFT>\s+Uele\s*=\s*(\S+)\s+dUele\s*=\s*(\S+)")
OUT_END, STD_END = "Computational Time (second)", "The calculation was normally finished."
"""What stands at the end of the two files."""
QUANTITY = "change of the band energy (Hartree)"
"""What ``scf.criterion`` is compared with; ``NormRD``, the change of the density, stays above it in sound runs, too."""


def read_convergence(scfout: Path, text: str) -> Convergence:
    """How the last self-consistent cycle of a run ended.

    Parameters
    ----------
    scfout : path
        The ``.scfout``; OpenMX writes a ``.out`` of the same name. Without it, the only ``.std`` in the folder is taken.
    text : str
        The input file.

    Returns
    -------
    Convergence
        OpenMX ends the cycle when the band energy of two steps differs by less than ``scf.criterion``, or at ``scf.maxIter``.

    Raises
    ------
    DataError
        If the file has no end, or a number in it or in the input cannot be read.
    """
    out, others = scfout.with_suffix(".out"), sorted(scfout.parent.glob("*.std"))
    path = out if out.is_file() else others[0] if len(others) == 1 else None
    if path is None:
        return Convergence()
    log, end = read_text(path), OUT_END if path == out else STD_END
    if end not in log:
        raise DataError(f"{path} has no end ('{end}'): the run or the copy was interrupted; repeat it")
    try:
        criterion = number(keyword(text, "scf.criterion", "1e-6")[0])
        steps, residual = _of_out(log) if path == out else _of_std(log)
    except ValueError as error:
        raise DataError(f"{path}: the history of the self-consistent cycle, or scf.criterion, is not understood: {error}") from error
    if steps is None:
        return Convergence()
    return Convergence(residual is not None and residual < criterion, steps, residual, criterion, QUANTITY, path.name)


def _of_out(log: str) -> tuple[int | None, float | None]:
    """Steps of the last cycle (a run that moves atoms has several), and the last change of the band energy."""
    rows = _OUT.findall(log)
    if not rows:
        return None, None
    steps = int(rows[-1][0])
    return steps, abs(number(rows[-1][2]) - number(rows[-2][2])) if steps > 1 and len(rows) > 1 else None


def _of_std(log: str) -> tuple[int | None, float | None]:
    """The same from what OpenMX prints while it runs."""
    changes, steps = _STD.findall(log), _STD_STEP.findall(log)
    if not changes or not steps:
        return None, None
    return int(steps[-1]), abs(number(changes[-1][1]))
