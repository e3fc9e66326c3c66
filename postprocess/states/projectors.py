"""What is asked of the states at each k: shares of elements, shells, layers or sublattices, spin, or a function of the user's own."""

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.states.orbital_groups import KINDS, Projections, make_projections
from postprocess.states.states import States, spin_of_orbital

Weights = dict[str, FloatArray]
Projector = Callable[[States], Weights]
"""``projector(states) -> {label: (m,) weights}``; sent to worker processes, so it has to be picklable, with a telling repr. If it has an
attribute ``signed`` that is true, its weights are no shares but quantities with a sign, which figures show as colours. An attribute
``same_at`` tells which other k have the same weights, see :data:`postprocess.states.integrate.SameAt`."""


@dataclass(frozen=True)
class Shares:
    """Mulliken shares of groups of orbitals, see :class:`postprocess.states.orbital_groups.Projections`."""

    same_at: ClassVar[str] = "-k"
    projections: Projections

    def __call__(self, states: States) -> Weights:
        """The share of each group in each state; those of a partition add up to 1."""
        names, groups = self.projections.names, self.projections.groups
        return {name: states.populations[group].sum(axis=0) for name, group in zip(names, groups, strict=True)}


@dataclass(frozen=True)
class SpinComponents:
    """Expectation values of the Pauli matrices, from -1 to 1."""

    signed: ClassVar[bool] = True
    same_at: ClassVar[str] = "k+G"

    def __call__(self, states: States) -> Weights:
        """Sx, sy and sz of each state."""
        down = spin_of_orbital(states.hamiltonian) == 1
        mixed = np.einsum("nm,nm->m", states.C[~down].conj(), states.SC[down])
        sz = states.populations[~down].sum(axis=0) - states.populations[down].sum(axis=0)
        return {"sx": 2 * mixed.real, "sy": 2 * mixed.imag, "sz": sz}


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's own: ``function(states) -> (m,) array`` or ``{label: (m,) array}``.

    Attributes
    ----------
    file, name : str
        The Python file, which is executed, and the function in it.
    digest : str
        Of the file, so that a resumed computation notices a change.
    """

    signed: ClassVar[bool] = True
    file: str
    name: str
    digest: str

    @classmethod
    def from_text(cls, text: str) -> "UserFunction":
        """From ``file.py:function``.

        Raises
        ------
        UsageError
            If there is no such file.
        """
        file, _, name = text.rpartition(":")
        if not file or not name.isidentifier() or not Path(file).is_file():
            raise UsageError(f"{text!r}: expected an existing Python file and a function in it, such as valley.py:polarisation")
        return cls(str(Path(file).resolve()), name, hashlib.sha256(Path(file).read_bytes()).hexdigest())

    def __call__(self, states: States) -> Weights:
        """What the function gives; DataError if it fails or gives something else."""
        where = f"{self.file}, {self.name}"
        try:
            given = self._load()(states)
        except Exception as error:
            raise DataError(f"{where}: {type(error).__name__}: {error}") from error
        weights = dict(given) if isinstance(given, Mapping) else {self.name: given}
        out = {str(label): np.asarray(w) for label, w in weights.items()}
        for label, w in out.items():
            if w.shape != states.energies.shape or w.dtype.kind not in "fiub":
                raise DataError(f"{where}: {label} is {w.dtype} {w.shape}; expected {len(states.energies)} real numbers, one a state")
        return {label: w.astype(float) for label, w in out.items()}

    def _load(self) -> Callable[[States], object]:
        spec = importlib.util.spec_from_file_location("deeph_user_function", self.file)
        if spec is None or spec.loader is None:
            raise DataError(f"{self.file} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return cast("Callable[[States], object]", getattr(module, self.name))


def make_projectors(
    hamiltonian: Hamiltonian, kinds: Sequence[str] = (), groups: Mapping[str, Sequence[int]] | None = None, functions: Sequence[str] = ()
) -> tuple[Projector, ...]:
    """Projectors for a structure.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its atoms and basis.
    kinds : sequence of str
        Of :data:`postprocess.states.orbital_groups.KINDS`; ``spin`` means sx, sy, sz of spinors (collinear channels are apart anyway).
    groups : mapping of name to atoms
        Atoms counted from 0, such as the sublattices.
    functions : sequence of str
        The user's own, see :meth:`UserFunction.from_text`.

    Raises
    ------
    UsageError
        If a kind is unknown or not possible for this structure, or a group holds no or other atoms.
    """
    out: list[Projector] = []
    shares = [kind for kind in dict.fromkeys(kinds) if kind != "spin"]
    if wrong := [kind for kind in shares if kind not in KINDS]:
        raise UsageError(f"projection on {wrong[0]!r}: expected some of {', '.join(KINDS)}")
    if shares or groups:
        out.append(Shares(make_projections(hamiltonian, shares, groups)))
    if "spin" in kinds:
        if hamiltonian.basis.spin != "spinor":
            raise UsageError(f"spin components need spinors; this Hamiltonian has spin '{hamiltonian.basis.spin}'")
        out.append(SpinComponents())
    return (*out, *(UserFunction.from_text(text) for text in functions))
