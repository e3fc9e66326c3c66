"""The central object: a structure with its basis and its matrices."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from deeph.basis import Basis
from deeph.bloch import BlochMatrix, BlochPattern
from deeph.blocks import PairBlocks, block_shapes
from deeph.errors import DataError
from deeph.pairs import find_pairs
from deeph.system import FloatArray, IntArray, System

EXTRA = {"density_matrix": True, "H0": True, "kinetic": False}
"""Further matrices a structure may carry, and whether their blocks have the spin of H: the density matrix (of each spin: for spin "none"
its trace with S is half the number of electrons), a zeroth-order Hamiltonian (eV) and the kinetic energy (eV)."""


@dataclass(frozen=True)
class Hamiltonian:
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
        eV, on the same energy zero as H.
    n_electrons : float or None
        Valence electrons per cell, both spins.
    source : mapping
        Where the data come from: code, version, constants used.
    moments : (n_atoms, 3) array or None
        Magnetic moments of the atoms, Bohr magneton.
    extra : mapping of name to PairBlocks
        Further matrices on the same pattern, named in :data:`EXTRA`.
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

    def __post_init__(self) -> None:
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

    @property
    def hamiltonian(self) -> PairBlocks:
        """H, or a clear error for an overlap-only structure."""
        if self.H is None:
            raise DataError("this structure holds only the overlap; run deeph-infer on it or point to a folder with H")
        return self.H

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

    def permuted(self, order: IntArray) -> "Hamiltonian":
        """The same structure with its atoms in another order (``new[a] = old[order[a]]``)."""
        if (order == np.arange(len(order))).all():
            return self
        changed = {n: b.permuted(order) for n, b in (("S", self.S), ("H", self.H), ("r", self.r)) if b is not None}
        extra = {name: blocks.permuted(order) for name, blocks in self.extra.items()}
        moments = None if self.moments is None else self.moments[order]
        return replace(self, system=self.system.permuted(order), extra=extra, moments=moments, **changed)  # type: ignore[arg-type]

    def to_spinor(self) -> "Hamiltonian":
        """The same structure with spinor blocks [[up, 0], [0, down]] in all matrices that have the spin of H."""
        if self.basis.spin == "spinor":
            return self
        spinor = {name: _complex(blocks.to_spinor()) for name, blocks in self.extra.items() if EXTRA[name]}
        H = None if self.H is None else _complex(self.H.to_spinor())
        return replace(self, basis=replace(self.basis, spin="spinor"), H=H, extra={**self.extra, **spinor})


def _complex(blocks: PairBlocks) -> PairBlocks:
    """The same numbers as complex ones of the same precision."""
    return replace(blocks, entries=blocks.entries.astype(np.result_type(blocks.entries, np.complex64)))


def on_union(system: System, basis: Basis, H: PairBlocks, S: PairBlocks) -> tuple[PairBlocks, PairBlocks]:
    """Bring H and S on the union of their patterns; missing blocks are zero."""
    extra = H.pairs[find_pairs(S.pairs, H.pairs) < 0]
    pairs = np.concatenate([S.pairs, extra])
    return (
        H.on_pattern(pairs, block_shapes(basis, system.numbers, pairs, spin=True)),
        S.on_pattern(pairs, block_shapes(basis, system.numbers, pairs, spin=False)),
    )
