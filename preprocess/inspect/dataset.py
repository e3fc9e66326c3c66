"""The report on many structures: what they have in common, what differs, and which stand out."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from deeph.files.duplicates import duplicates
from deeph.files.training_set import Member
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DeephError
from preprocess.inspect.report import SEVERITY, Check, Report
from preprocess.inspect.statistics import BIN, Kind, Summary, find_outliers, summarize
from preprocess.inspect.structure import structure_checks
from preprocess.inspect.training import check_split

Label = TypeVar("Label", bound=Hashable)
THOROUGH = 20
"""Number of structures, evenly spread, that get the expensive checks, too."""


def dataset_report(path: str, kind: str, folders: Sequence[Path], read: Callable[[Path], Hamiltonian], names: Iterable[Path]) -> Report:
    """Read the structures one after the other, keep a summary of each, and judge them together.

    Parameters
    ----------
    path, kind : str
        What is reported on.
    folders : sequence of Path
        The structures.
    read : callable
        Reads one of them.
    names : iterable of Path
        The folders again, perhaps with a progress bar.
    """
    thorough = {folders[n] for n in np.linspace(0, len(folders) - 1, min(THOROUGH, len(folders))).astype(int)}
    checks: dict[str, dict[str, Check]] = {}
    summaries: dict[str, Summary] = {}
    members: dict[str, Member] = {}
    for folder in names:
        name = str(folder.relative_to(path)) if folder.is_relative_to(path) else str(folder)
        try:
            data = read(folder)
        except DeephError as error:
            checks.setdefault("readable", {})[name] = Check("readable", "bad", " ".join(str(error).split()))
            continue
        for check in structure_checks(data, thorough=folder in thorough):
            checks.setdefault(check.name, {})[name] = check
        if checks["numbers"][name].verdict != "bad":
            summaries[name] = summarize(data)
            if data.H is not None and not data.predicted:
                members[name] = Member(data.basis, summaries[name].magnetism)
    joined = [_joined(found, len(folders)) for found in checks.values()]
    return Report(
        path,
        f"{len(folders)} structures, {kind}",
        _facts(summaries),
        [*joined, *_mixed(summaries), *check_split(Path(path), members), _duplicates(summaries), _outliers(summaries)],
        _tables(summaries),
    )


def _joined(found: dict[str, Check], total: int) -> Check:
    """One check over all structures: the worst verdict, who has it, and the range of the numbers."""
    name = next(iter(found.values())).name
    worst = max((check.verdict for check in found.values()), key=SEVERITY.index)
    those = [folder for folder, check in found.items() if check.verdict == worst]
    values = [check.value for check in found.values() if check.value is not None]
    spread = f", {min(values):.3g} to {max(values):.3g}" if values else ""
    looked = f"{len(found)}" + (f" looked at, {total} in all" if len(found) < total else "")
    text = f"{len(those)} of {looked}{spread}"
    if worst != "ok":
        text += f"; {', '.join(those[:3])}{', ...' if len(those) > 3 else ''}: {found[those[0]].text}"
    return Check(name, worst, text, max(values, default=None))


def _mixed(summaries: dict[str, Summary]) -> list[Check]:
    """Spin, basis, constants and code are the same in all structures."""
    out = []
    for label in dict.fromkeys(label for summary in summaries.values() for label in summary.labels):
        counts = Counter(summary.labels[label] for summary in summaries.values() if label in summary.labels)
        if len(counts) > 1:
            listed = "; ".join(f"{value}: {n}" for value, n in counts.most_common())
            out.append(Check(f"one {label}", "warning", f"{listed}; a model needs one and the same in all structures"))
    return out or [Check("uniform", "ok", "spin, basis, constants and code are the same in all")]


def _duplicates(summaries: dict[str, Summary]) -> Check:
    """The same structure twice: identical data are harmless but may end up in training and test; other matrices are a contradiction."""
    twice, different = duplicates({name: summary.signature for name, summary in summaries.items()})
    if different:
        return Check("duplicates", "warning", f"{' and '.join(different[0])} are the same structure with other matrices")
    if twice:
        name, first = next(iter(twice.items()))
        return Check("duplicates", "warning", f"{len(twice)}, such as {first} and {name}: keep one of each (--deduplicate)")
    return Check("duplicates", "ok", "none")


def _outliers(summaries: dict[str, Summary]) -> Check:
    """Structures unlike the others."""
    found = find_outliers(summaries)
    if not found:
        return Check("outliers", "ok", "none")
    listed = "; ".join(f"{name}: {reason}" for name, reason in list(found.items())[:5])
    return Check("outliers", "warning", f"{len(found)}: {listed}{'; ...' if len(found) > 5 else ''}")


def _facts(summaries: dict[str, Summary]) -> dict[str, Any]:
    """Composition, and the ranges of the numbers."""
    formulas = Counter(summary.formula for summary in summaries.values())
    listed = ", ".join(f"{n} {formula}" for formula, n in formulas.most_common(8))
    out: dict[str, Any] = {"formulas": listed + (f", and {len(formulas) - 8} more" if len(formulas) > 8 else "")}
    for label in dict.fromkeys(label for summary in summaries.values() for label in summary.labels):
        out[label] = ", ".join(dict.fromkeys(summary.labels[label] for summary in summaries.values() if label in summary.labels))
    for title in dict.fromkeys(title for summary in summaries.values() for title in summary.numbers):
        values = np.array([summary.numbers[title] for summary in summaries.values() if title in summary.numbers])
        out[title] = f"{values.min():.4f} to {values.max():.4f}, mean {values.mean():.4f}, deviation {values.std():.4f}"
    out["norms"] = _rms(summaries, lambda kind: kind.name)
    return out


def _rms(summaries: dict[str, Summary], label: Callable[[Kind], Label]) -> dict[Label, float]:
    """Root mean square of H - mu S in eV over all structures, entries with the same label together."""
    totals: dict[Label, float] = {}
    counts: dict[Label, int] = {}
    for summary in summaries.values():
        for kind, (total, count) in summary.norms.items():
            one = label(kind)
            totals[one] = totals.get(one, 0.0) + total
            counts[one] = counts.get(one, 0) + count
    return {one: (total / counts[one]) ** 0.5 for one, total in totals.items()}


def _tables(summaries: dict[str, Summary]) -> dict[str, str]:
    """Number of pairs and norms of H by distance."""
    width = max((len(summary.lengths) for summary in summaries.values()), default=0)
    pairs = np.zeros(width)
    for summary in summaries.values():
        pairs[: len(summary.lengths)] += summary.lengths
    norms = _rms(summaries, lambda kind: (min(kind.l_first, kind.l_second), max(kind.l_first, kind.l_second), kind.bin))
    if not norms:
        return {}
    shells = sorted({(la, lb) for la, lb, _ in norms})
    rows = ["distance (Angstrom)    pairs  " + "  ".join(f"{'spdfghi'[la]}-{'spdfghi'[lb]:<5}" for la, lb in shells)]
    for place in [-1, *np.flatnonzero(pairs).tolist()]:
        label, count = ("on site", "") if place < 0 else (f"{place * BIN:.1f} - {(place + 1) * BIN:.1f}", f"{pairs[place]:.0f}")
        values = "  ".join(f"{norms[la, lb, place]:<7.3g}" if (la, lb, place) in norms else 7 * " " for la, lb in shells)
        rows.append(f"{label:<19}{count:>9}  {values}".rstrip())
    return {"root mean square of H - mu S (eV) by angular momenta": "\n".join(rows)}
