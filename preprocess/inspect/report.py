"""The result of an inspection: facts, and checks with a verdict, as text or JSON."""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Verdict = Literal["ok", "note", "warning", "bad"]
SEVERITY: tuple[Verdict, ...] = ("ok", "note", "warning", "bad")
LINE = 140
"""Characters after which a fact goes on in the next line."""


class Check(NamedTuple):
    """One question and its answer.

    Attributes
    ----------
    name : str
        What was looked at.
    verdict : {"ok", "note", "warning", "bad"}
        ``note``: nothing to judge (not known, not checked, and why).
    text : str
        What was seen, and if it is not sound, what was expected and what to do.
    value : float or None
        The number the verdict rests on.
    """

    name: str
    verdict: Verdict
    text: str
    value: float | None = None


@dataclass(frozen=True)
class Report:
    """What one path holds.

    Attributes
    ----------
    path, kind : str
        What was looked at, and what it is, with the reason.
    facts : mapping
        Its properties, JSON-able.
    checks : list of Check
        In the order of the text.
    tables : mapping of title to text
        Longer listings, for the text only.
    """

    path: str
    kind: str
    facts: Mapping[str, Any]
    checks: Sequence[Check]
    tables: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all checks."""
        return max((check.verdict for check in self.checks), key=SEVERITY.index, default="ok")

    def to_text(self) -> str:
        """The report for a reader."""
        facts = {name: _short(value) for name, value in self.facts.items() if value is not None and not isinstance(value, dict | list)}
        width = max(map(len, [*facts, *(check.name for check in self.checks)]), default=0)
        lines = [f"{self.path}: {self.kind}"]
        lines += [f"           {name:<{width}}  {_broken(value, 13 + width)}" for name, value in facts.items()]
        lines += [f"  {check.verdict:<8} {check.name:<{width}}  {check.text}" for check in self.checks]
        for title, table in self.tables.items():
            lines += ["", f"  {title}", *(f"    {line}" for line in table.splitlines())]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; numbers that are not finite become null."""
        checks = [check._asdict() for check in self.checks]
        return dict(_plain({"path": self.path, "kind": self.kind, "verdict": self.verdict, "facts": self.facts, "checks": checks}))


def to_json(reports: Sequence[Report]) -> str:
    """All reports as one JSON list."""
    return json.dumps([report.to_dict() for report in reports], indent=1)


def _broken(text: str, indent: int) -> str:
    """A text that is too long for a line, on several."""
    if indent + len(text) <= LINE:
        return text
    lines = textwrap.wrap(text, max(LINE - indent, LINE // 2), break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Only what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):  # numpy
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
