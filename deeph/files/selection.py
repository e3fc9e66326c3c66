"""What a structure folder holds, told from its small files, and conditions on it: ``atoms<=50``, ``elements=Mo,S``."""

import operator
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.hdf5 import open_hdf5
from deeph.files.matrix_file import CONTENT
from deeph.files.store import HAMILTONIAN, OVERLAP, read_folder, read_info, read_moments, read_poscar
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import NUMBERS, System, formula_of
from deeph.runtime.errors import DataError, UsageError


@dataclass(frozen=True)
class Entry:
    """A structure of a dataset; files are read when they are asked for.

    Attributes
    ----------
    name : str
        In the dataset.
    folder : Path
        Where it is.
    """

    name: str
    folder: Path

    @cached_property
    def system(self) -> System:
        """The atoms."""
        return read_poscar(self.folder / "POSCAR")

    @cached_property
    def info(self) -> dict[str, Any]:
        """``info.json``."""
        return read_info(self.folder)

    @cached_property
    def hamiltonian(self) -> Hamiltonian:
        """Everything, with H if there is one."""
        return read_folder(self.folder)

    @property
    def source(self) -> dict[str, Any]:
        """Where the data come from, as far as that is recorded."""
        source = self.info.get("source")
        return source if isinstance(source, dict) else {}

    @property
    def n_bonds(self) -> int:
        """Pairs of neighbouring atoms, each pair once; from the header of the overlap."""
        with open_hdf5(self.folder / OVERLAP, CONTENT) as file:
            pairs = file["atom_pairs"][:]
            if pairs.ndim != 2 or pairs.shape[1] != 5:
                raise ValueError(pairs.shape)
        onsite = (pairs[:, 3] == pairs[:, 4]) & ~pairs[:, :3].any(axis=1)
        return (len(pairs) - int(onsite.sum())) // 2

    @property
    def moment(self) -> float:
        """Largest magnetic moment of an atom, Bohr magneton; NaN where none is recorded."""
        moments = read_moments(self.info)
        return float("nan") if moments is None else float(np.linalg.norm(moments, axis=1).max(initial=0.0))

    @property
    def largest(self) -> float:
        """Largest absolute element of H, eV."""
        if not (self.folder / HAMILTONIAN).is_file():
            raise DataError(f"{self.folder} holds no {HAMILTONIAN}, which max_H asks for")
        with open_hdf5(self.folder / HAMILTONIAN, CONTENT) as file:
            return float(np.abs(file["entries"][:]).max(initial=0.0))


def _number(key: str) -> Callable[[Entry], float]:
    """A number of ``info.json``; NaN where it is unknown, so that no comparison holds."""

    def read(entry: Entry) -> float:
        value = entry.info.get(key)
        return float(value) if isinstance(value, int | float) else float("nan")

    return read


def _converged(entry: Entry) -> tuple[str, ...]:
    scf = entry.source.get("scf")
    converged = scf.get("converged") if isinstance(scf, dict) else None
    return ("unknown" if converged is None else "yes" if converged else "no",)


NUMBERS_OF: dict[str, Callable[[Entry], float]] = {
    "atoms": lambda entry: entry.system.n_atoms,
    "orbitals": _number("orbits_quantity"),
    "bonds": lambda entry: entry.n_bonds,
    "electrons": _number("occupation"),
    "fermi": _number("fermi_energy_eV"),
    "max_H": lambda entry: entry.largest,
    "moment": lambda entry: entry.moment,
}
"""Quantities that are numbers; energies in eV, moments in Bohr magneton."""
WORDS_OF: dict[str, Callable[[Entry], tuple[str, ...]]] = {
    "name": lambda entry: (entry.name, entry.name.rpartition("/")[2]),
    "formula": lambda entry: (entry.system.formula, entry.system.reduced_formula),
    "spin": lambda entry: (str(entry.info.get("spin", "spinor" if entry.info.get("spinful") else "none")),),
    "code": lambda entry: (str(entry.source.get("code", "unknown")).lower(),),
    "converged": _converged,
}
"""Quantities that are words; one of them has to fit."""
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "!=": operator.ne, "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
"""Of numbers, and of sets of elements, where ``<=`` means "no others than" and ``>=`` "at least"."""
EXPECTED = "QUANTITY=VALUE, such as atoms<=50, elements=Mo,S, formula=MoS2, spin=none, converged=yes, name=run_1*"


def condition(text: str) -> Callable[[Entry], bool]:
    """What a text such as ``atoms<=50`` demands.

    Parameters
    ----------
    text : str
        A quantity, one of ``= != < <= > >=``, and a value. Numbers: atoms, orbitals, bonds, electrons, fermi and max_H (eV), moment (the
        largest, Bohr magneton). Words: name, formula (also that of the smallest unit), spin, code, converged (yes, no, unknown), with
        ``*`` and ``?``; several with commas, one of which has to fit. Elements: ``=`` these, ``<=`` none but these, ``>=`` at least these.

    Raises
    ------
    UsageError
        If it is something else.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|!=|=|<|>)\s*(\S.*?)\s*", text)
    if match is None:
        raise UsageError(f"filter {text!r}: expected {EXPECTED}")
    name, sign, value = match.groups()
    compare = COMPARISONS[sign]
    if name in NUMBERS_OF:
        number, quantity = _float(text, value), NUMBERS_OF[name]
        return lambda entry: bool(compare(quantity(entry), number))
    values = [_usual(word.strip()) if name == "formula" else word.strip() for word in value.split(",")]
    if name == "elements":
        wanted = _elements(text, values)
        return lambda entry: bool(compare(set(entry.system.symbols), wanted))
    if name in WORDS_OF and sign in ("=", "!="):
        words = WORDS_OF[name]
        return lambda entry: any(fnmatchcase(one, wish) for one in words(entry) for wish in values) == (sign == "=")
    if name in WORDS_OF:
        raise UsageError(f"filter {text!r}: {name} is a word; expected {name}=... or {name}!=...")
    known = [*NUMBERS_OF, "elements", *WORDS_OF]
    near = get_close_matches(name, known, n=1)
    raise UsageError(f"filter {text!r}: unknown {name!r}{f', did you mean {near[0]}?' if near else ';'} There are {', '.join(known)}")


def _usual(formula: str) -> str:
    """A formula in the order in which formulas are written here; anything else, such as ``C*``, as it is."""
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    if "".join(symbol + n for symbol, n in parts) != formula or any(symbol not in NUMBERS for symbol, _ in parts):
        return formula
    return formula_of(Counter(symbol for symbol, n in parts for _ in range(int(n or 1))))


def _float(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"filter {text!r}: {value!r} is no number") from None


def _elements(text: str, symbols: Sequence[str]) -> set[str]:
    unknown = [symbol for symbol in symbols if symbol not in NUMBERS]
    if unknown:
        raise UsageError(f"filter {text!r}: {unknown[0]!r} is no element; expected symbols such as elements=Mo,S")
    return set(symbols)
