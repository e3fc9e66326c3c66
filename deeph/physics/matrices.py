"""A structure with its basis and its matrices, checked against each other: what :class:`deeph.physics.hamiltonian.Hamiltonian` holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.bloch import BlochMatrix, BlochPattern
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.error_bars import ErrorBars, check_error_bars
from deeph.physics.patterns import EXTRA
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError


@dataclass(frozen=True)
class Matrices:
    """A System, a Basis and the matrices between its orbitals, all on one pattern of pairs.

    Attributes
    ----------
    system : System
        Atoms and cell.
    basis : Basis
        Shells and spin.
    S : PairBlocks
        Overlap; always spin-free and real.
    H : PairBlocks or None
        Hamiltonian in eV; None for an overlap-only structure.
    r : PairBlocks or None
        Position matrices x, y, z in Angstrom, relative to the lattice origin.
    fermi_energy : float or None
        eV, on the same energy zero as H; None where it is not known. Infinity or NaN, which a code writes that filled no states, is None.
    n_electrons : float or None
        Valence electrons per cell, both spins.
    source : mapping
        Where the data come from: code, version, constants used.
    moments : (n_atoms, 3) array or None
        Magnetic moments of the atoms, Bohr magneton.
    extra : mapping of name to PairBlocks
        Further matrices on the same pattern, named in :data:`deeph.physics.patterns.EXTRA`.
    predicted : bool
        Whether H is that of a model, not of a DFT run.
    fermi_guess : (float, float) or None
        Fermi level of the data a model was trained on and its spread, eV: where the search for that of a prediction begins. It is never
        taken for the Fermi level.
    error_bars : ErrorBars or None
        Of H, where an ensemble predicted it.
    """

    system: System
    basis: Basis
    S: PairBlocks
    H: PairBlocks | None = None
    r: PairBlocks | None = None
    fermi_energy: float | None = None
    n_electrons: float | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    moments: FloatArray | None = None
    extra: Mapping[str, PairBlocks] = field(default_factory=dict)
    predicted: bool = False
    fermi_guess: tuple[float, float] | None = None
    error_bars: ErrorBars | None = None

    def __post_init__(self) -> None:
        if self.fermi_energy is not None and not np.isfinite(self.fermi_energy):
            object.__setattr__(self, "fermi_energy", None)
        if unknown := set(self.extra) - set(EXTRA):
            raise DataError(f"further matrices {sorted(unknown)}: expected {', '.join(EXTRA)}")
        if self.moments is not None and np.shape(self.moments) != (self.system.n_atoms, 3):
            raise DataError(f"magnetic moments {np.shape(self.moments)}: expected {(self.system.n_atoms, 3)}")
        main = (("S", self.S, False), ("H", self.H, True), ("r", self.r, False))
        for name, blocks, spin in (*main, *((name, blocks, EXTRA[name]) for name, blocks in self.extra.items())):
            if blocks is None:
                continue
            if blocks is not self.S and not np.array_equal(blocks.pairs, self.S.pairs):
                raise DataError(f"{name} and S are on different patterns of atom pairs; bring both on the union first")
            expected = block_shapes(self.basis, self.system.numbers, blocks.pairs, spin=spin)
            wrong = np.flatnonzero((blocks.shapes != expected).any(axis=1))
            if len(wrong):
                R1, R2, R3, i, j = blocks.pairs[wrong[0]].tolist()
                raise DataError(
                    f"block {name}(R = {R1} {R2} {R3}, i = {i}, j = {j}) is {blocks.shapes[wrong[0]].tolist()}, but the basis "
                    f"{self.basis.to_symbols()} with spin '{self.basis.spin}' asks for {expected[wrong[0]].tolist()}"
                )
            components = self.basis.n_spin if spin else 3 if name == "r" else 1
            if blocks.n_components != components:
                raise DataError(f"{name} holds {blocks.n_components} matrices; spin '{self.basis.spin}' asks for {components}")
        if self.H is None or self.error_bars is None:
            object.__setattr__(self, "error_bars", None)
        else:
            check_error_bars(self.error_bars, self.H)

    def __repr__(self) -> str:
        matrices = [name for name, blocks in (("S", self.S), ("H", self.H), ("r", self.r), *self.extra.items()) if blocks is not None]
        predicted = ", predicted" if self.predicted and self.H is not None else ""
        n = int(self.basis.n_orbitals(self.system.numbers).sum())
        return f"Hamiltonian {self.system.formula}, {n} orbitals, spin {self.basis.spin}, {' + '.join(matrices)}{predicted}"

    @property
    def hamiltonian(self) -> PairBlocks:
        """H, or a clear error for an overlap-only structure."""
        if self.H is None:
            raise DataError("this structure holds only the overlap; run deeph-infer on it or point to a folder with H")
        return self.H

    @property
    def n_orbitals(self) -> int:
        """Dimension of H(k), both spins of a spinor counted."""
        factor = 1 if self.H is None else self.basis.spin_factor
        return factor * int(self.basis.n_orbitals(self.system.numbers).sum())

    @cached_property
    def _pattern(self) -> BlochPattern:
        blocks = self.S if self.H is None else self.H
        return BlochPattern(blocks.pairs, blocks.shapes, self.system.n_atoms)

    @cached_property
    def H_bloch(self) -> BlochMatrix:
        """H(k); one component per spin channel."""
        return BlochMatrix(self.system, self.hamiltonian, self._pattern)

    @cached_property
    def S_bloch(self) -> BlochMatrix:
        """S(k), of the same dimension as H(k)."""
        spinor = self.H is not None and self.basis.spin == "spinor"
        return BlochMatrix(self.system, self.S.to_spinor() if spinor else self.S, self._pattern)

    @cached_property
    def error_bloch(self) -> BlochMatrix:
        """The modes of the error as Bloch matrices, one component per mode and spin channel.

        Raises
        ------
        DataError
            If there are none.
        """
        if self.error_bars is None or self.error_bars.modes is None:
            raise DataError("this structure has no modes of the error of H, which error bars of levels are made of; see deeph-ensemble")
        return BlochMatrix(self.system, self.error_bars.modes, self._pattern)

    @property
    def has_modes(self) -> bool:
        """Whether there are modes of the error of H."""
        return self.error_bars is not None and self.error_bars.modes is not None

    def permuted(self, order: IntArray) -> Self:
        """The same structure with its atoms in another order (``new[a] = old[order[a]]``)."""
        if (order == np.arange(len(order))).all():
            return self
        changed = {n: b.permuted(order) for n, b in (("S", self.S), ("H", self.H), ("r", self.r)) if b is not None}
        extra = {name: blocks.permuted(order) for name, blocks in self.extra.items()}
        moments = None if self.moments is None else self.moments[order]
        bars = None if self.error_bars is None else self.error_bars.permuted(order)
        system = self.system.permuted(order)
        return replace(self, system=system, extra=extra, moments=moments, error_bars=bars, **changed)  # type: ignore[arg-type]

    def to_spinor(self) -> Self:
        """The same structure with spinor blocks [[up, 0], [0, down]] in all matrices that have the spin of H."""
        if self.basis.spin == "spinor":
            return self
        spinor = {name: _complex(blocks.to_spinor()) for name, blocks in self.extra.items() if EXTRA[name]}
        H = None if self.H is None else _complex(self.H.to_spinor())
        spinor_basis = replace(self.basis, spin="spinor")
        return replace(self, basis=spinor_basis, H=H, extra={**self.extra, **spinor}, error_bars=None)  # those of spinor blocks are others


def _complex(blocks: PairBlocks) -> PairBlocks:
    """The same numbers as complex ones of the same precision."""
    return replace(blocks, entries=blocks.entries.astype(np.result_type(blocks.entries, np.complex64)))
