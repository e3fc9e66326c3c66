"""A command line whose mistakes are said in one line: what was seen, what was expected, and what may have been meant."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

KINDS = {"int": "a whole number", "float": "a number"}
"""Words for what an option takes."""
REWORDED = (
    (r"invalid (\w+) value: '(.*)'", "{0} {2}: expected {1}"),
    (r"ignored explicit argument '(.*)'", "{0} takes no value, seen {1}"),
    (r"not allowed with argument (?:.*/)?(\S+)", "{0} and {1} exclude each other; give one of them"),
)
"""What argparse says of an argument, and what is said instead: {0} is its name."""


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that ends with one line and exit code 2 instead of its whole usage."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Refuse unknown options first, so that a typing error is not reported as something else that is missing."""
        words = list(sys.argv[1:] if args is None else args)
        for word in self._own(words):
            if word.startswith("--") and word.partition("=")[0] not in self._option_string_actions:
                self._refuse([word])
        found, rest = super().parse_known_args(words, namespace)
        intermixed = any(action.nargs == argparse.SUPPRESS for action in self._get_positional_actions())  # the rest is looked at afterwards
        if rest and not intermixed:
            self._refuse(rest)
        return found, rest

    def error(self, message: str) -> NoReturn:
        """End with one line."""
        self.exit(2, f"{self.prog}: {' '.join(self._reworded(message).split())}\n")

    def _own(self, words: list[str]) -> Iterable[str]:
        """The words that are not those of a subcommand, up to ``--``."""
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return
            yield word

    def _refuse(self, words: list[str]) -> NoReturn:
        """An option that does not exist, or one argument too many."""
        word = next((word for word in words if word.startswith("-")), "")
        if not word:
            self.error(f"unexpected argument {words[0]!r}; expected {self._short()}")
        name = word.partition("=")[0]
        self.error(f"there is no option {name}{_meant(name, self._option_string_actions) or f'; {self.prog} --help lists them'}")

    def _short(self) -> str:
        """The command with its arguments, without options that may be left out."""
        return " ".join([self.prog, *(_usage(a) for a in self._actions if not a.option_strings or a.required)])

    def _reworded(self, message: str) -> str:
        """The message of argparse, for a user of the command."""
        if match := re.fullmatch(r"the following arguments are required: (.*)", message):
            return f"{match[1]} {'are' if ', ' in match[1] else 'is'} missing; expected {self._short()}"
        match = re.fullmatch(r"argument (\S+): (.*)", message, re.DOTALL)
        if not match:
            return re.sub(r"one of the arguments (.*) is required", r"expected one of \1", message)
        name, what = match[1].rpartition("/")[2], match[2]
        if match := re.match(r"invalid choice: '?(.*?)'? \(choose from (.*)\)", what):
            choices = [choice.strip("'\" ") for choice in match[2].split(",")]
            meant = _meant(match[1], choices)
            return f"{name}: invalid choice {match[1]!r}{meant}{' E' if meant else '; e'}xpected one of {', '.join(choices)}"
        if re.match(r"expected .* arguments?$", what) and name in self._option_string_actions:
            return f"{name}: {what.replace('argument', 'value')}, {_usage(self._option_string_actions[name])}"
        for pattern, words in REWORDED:
            if match := re.fullmatch(pattern, what):
                return words.format(name, *[KINDS.get(group, group) for group in match.groups()])
        return f"{name}: {what}"


def _usage(action: argparse.Action) -> str:
    """Such as ``--mn M N``, ``RAW...``."""
    name = action.metavar or (action.dest if action.option_strings else action.dest.upper())
    values = " ".join(name) if isinstance(name, tuple) else name if not isinstance(action.nargs, int) else " ".join([name] * action.nargs)
    values += "..." if action.nargs in ("+", "*") else ""
    return f"{action.option_strings[-1]} {values}" if action.option_strings else f"[{values}]" if action.nargs in ("?", "*") else values


def _meant(word: str, names: Iterable[str]) -> str:
    """``, did you mean NAME?`` for the nearest name, if one is near."""
    plain = {name.lstrip("-").replace("_", "-").lower(): name for name in names}
    typed = word.lstrip("-").replace("_", "-").lower()
    begun = [name for name in plain if len(typed) > 1 and name.startswith(typed)]
    near = begun[:1] or difflib.get_close_matches(typed, plain, n=1, cutoff=0.6)
    return f", did you mean {plain[near[0]]}?" if near else ""
