"""Whether SIESTA's self-consistent cycle converged: from what the run printed (a file ``*.out`` or ``*.log``), else from ``MESSAGES``."""

import re
from collections import deque
from pathlib import Path

from deeph.files.text import integer, number, read_text
from deeph.runtime.errors import DataError
from preprocess.readers.base import Convergence

_LABEL = re.compile(r"^\s*re(?:init|data):\s*System Label\s*[:=]\s*(\S+)", re.MULTILINE)
_COLUMNS = re.compile(r"^\s*(?:siesta:|scf:)?\s*iscf\s+(Eharris\S*.*)$", re.MULTILINE)
_STEP = re.compile(r"^[ \t]*(?:siesta|scf):[ \t]+(\d+)((?:[ \t]+[-+]?[\d.]+(?:[EeDd][-+]?\d+)?)+)[ \t]*$", re.MULTILINE)
_CONVERGED = re.compile(r"SCF cycle converged after|SCF Convergence by")
_FAILED = "SCF_NOT_CONV"
_FINISHED = re.compile(r">> End of run|Job completed")
_INFO = re.compile(r"scf iteration, dmax:\s*(\d+)\s+(\d+)\s+(\S+)")
_WATCHED = (
    ("dDmax", "change of the density matrix", "DM"),
    ("dHmax(eV)", "change of H (eV)", "H"),
)
"""Column of the table, what it is, and its name in the list of criteria."""
_TOLERANCES = {
    "DM": re.compile(r"DM tolerance for SCF\s*=\s*(\S+)", re.IGNORECASE),
    "H": re.compile(r"Hamiltonian tolerance for SCF\s*=\s*(\S+)", re.IGNORECASE),
}


def read_convergence(matrices: Path) -> Convergence:
    """How the last self-consistent cycle of a run ended.

    Parameters
    ----------
    matrices : path
        The file with the matrices; what the run printed and ``MESSAGES`` lie beside it.

    Returns
    -------
    Convergence
        Unknown without these files. A run that was stopped within a cycle has not converged.

    Raises
    ------
    DataError
        If a file or a number in it cannot be read, or the printed output was cut before the first step.
    """
    if (log := _find_log(matrices)) is not None:
        return _of_log(*log)
    messages = matrices.parent / "MESSAGES"
    return _of_messages(messages) if messages.is_file() else Convergence()


def _find_log(matrices: Path) -> tuple[Path, str] | None:
    """The newest of the files that a run of this label printed, and its text."""
    found = []
    for path in sorted(p for pattern in ("*.out", "*.log") for p in matrices.parent.glob(pattern) if p.is_file()):
        text = read_text(path)
        label = _LABEL.search(text)
        own = label[1].lower() == matrices.stem.lower() if label is not None else not _FINISHED.search(text)  # without: cut before it
        if "WELCOME TO SIESTA" in text and own:
            found.append((path.stat().st_mtime, path, text))
    return max(found)[1:] if found else None


def _of_log(path: Path, text: str) -> Convergence:
    head = _last(_COLUMNS, text)
    columns = head[1].split() if head else []
    steps = [step for step in _STEP.finditer(text) if len(step[2].split()) == len(columns)]  # other lines start with 'siesta:', too
    if not steps and not (_FINISHED.search(text) or _FAILED in text):
        raise DataError(f"{path} has no end ('>> End of run'): the run or the copy was interrupted; repeat it")
    if not steps:
        return Convergence(file=path.name)
    after = text[steps[-1].end() :]
    try:
        quantity, residual, criterion = _residual(text, dict(zip(columns, steps[-1][2].split(), strict=True)))
        n_steps = integer(steps[-1][1])
    except ValueError as error:
        raise DataError(f"{path}: the history of the self-consistent cycle is not understood: {error}") from error
    converged: bool | None = _CONVERGED.search(after) is not None and _FAILED not in after
    if not converged and _FAILED not in after and _FINISHED.search(after):  # versions that do not say it
        converged = None if residual is None or criterion is None else residual < criterion
    return Convergence(converged, n_steps, residual, criterion, quantity, path.name)


def _residual(text: str, last: dict[str, str]) -> tuple[str, float | None, float | None]:
    """Of what has to become small in this run: that farthest from its criterion in the last step, with both numbers."""
    found = []
    for column, quantity, name in _WATCHED:
        required, limit = _last(re.compile(rf"Require {name} convergence for SCF\s*=\s*(\S)"), text), _last(_TOLERANCES[name], text)
        if column in last and limit is not None and not (required and required[1] == "F"):
            found.append((quantity, number(last[column]), number(limit[1])))
    return max(found, key=lambda one: one[1] / one[2] if one[2] > 0 else 0.0) if found else ("", None, None)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return deque(pattern.finditer(text), maxlen=1).pop() if pattern.search(text) else None


def _of_messages(path: Path) -> Convergence:
    text = read_text(path)
    if _FAILED not in text:
        return Convergence(True if "Job completed" in text else None, file=path.name)
    info = _INFO.findall(text)
    try:
        steps, residual = (integer(info[-1][1]), number(info[-1][2])) if info else (None, None)
    except ValueError as error:
        raise DataError(f"{path}: the last step of the self-consistent cycle is not understood: {error}") from error
    return Convergence(False, steps, residual, None, "change of the density matrix", path.name)
