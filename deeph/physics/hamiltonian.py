"""The central object: a structure with its basis and its matrices."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.bloch import BlochMatrix, BlochPattern
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.pairs import find_pairs
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError

EXTRA = {"density_matrix": True, "H0": True, "kinetic": False}
"""Further matrices a structure may carry, and whether their blocks have the spin of H: the density matrix (of each spin: for spin "none"
its trace with S is half the number of electrons), a zeroth-order Hamiltonian (eV) and the kinetic energy (eV)."""
MAX_SPIN_OF_OVERLAP = 1e-8
"""Largest accepted imaginary or spin-dependent part of an overlap: rounding of single precision stays below."""


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
        eV, on the same energy zero as H; None where it is not known. Infinity or NaN, which a code writes that filled no states, is None.
    n_electrons : float or None
        Valence electrons per cell, both spins.
    source : mapping
        Where the data come from: code, version, constants used.
    moments : (n_atoms, 3) array or None
        Magnetic moments of the atoms, Bohr magneton.
    extra : mapping of name to PairBlocks
        Further matrices on the same pattern, named in :data:`EXTRA`.
    predicted : bool
        Whether H is that of a model, not of a DFT run.
    fermi_guess : (float, float) or None
        Fermi level of the data a model was trained on and its spread, eV: where the search for that of a prediction begins. It is never
        taken for the Fermi level.
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
    both = on_common_pattern(system, basis, {"S": S, "H": H})
    return both["H"], both["S"]


def on_common_pattern(system: System, basis: Basis, matrices: Mapping[str, PairBlocks]) -> dict[str, PairBlocks]:
    """Bring matrices on the union of their patterns; missing blocks are zero.

    Parameters
    ----------
    system, basis : System, Basis
        They tell the shapes of the blocks.
    matrices : mapping of name to PairBlocks
        S, H, r and the names in :data:`EXTRA`; the pairs of the first one come first.

    Raises
    ------
    DataError
        If a block has another shape than the basis asks for.
    """
    pairs = next(iter(matrices.values())).pairs
    for blocks in matrices.values():
        if blocks.pairs is not pairs and not np.array_equal(blocks.pairs, pairs):
            pairs = np.concatenate([pairs, blocks.pairs[find_pairs(pairs, blocks.pairs) < 0]])
    out = {}
    for name, blocks in matrices.items():
        shapes = block_shapes(basis, system.numbers, pairs, spin=name == "H" or EXTRA.get(name, False))
        if np.array_equal(blocks.pairs, pairs):
            out[name] = blocks
            continue
        known = find_pairs(pairs, blocks.pairs)
        wrong = np.flatnonzero((shapes[known] != blocks.shapes).any(axis=1))
        if len(wrong):
            R1, R2, R3, i, j = blocks.pairs[wrong[0]].tolist()
            raise DataError(
                f"block {name}(R = {R1} {R2} {R3}, i = {i}, j = {j}) is {blocks.shapes[wrong[0]].tolist()}, but the basis "
                f"{basis.to_symbols()} with spin '{basis.spin}' asks for {shapes[known][wrong[0]].tolist()}"
            )
        out[name] = blocks.on_pattern(pairs, shapes)
    return out


def spin_free_overlap(system: System, basis: Basis, S: PairBlocks) -> PairBlocks:
    """The n x n overlap, also where it is stored as the spin-diagonal 2n x 2n one [[S, 0], [0, S]], or as complex numbers.

    Raises
    ------
    DataError
        If it depends on spin or is not real: then it is no overlap.
    """
    shapes = block_shapes(basis, system.numbers, S.pairs, spin=False)
    doubled = bool(S.n_pairs) and np.array_equal(S.shapes, 2 * shapes)
    rest = float(np.abs(S.entries.imag).max(initial=0.0)) if np.iscomplexobj(S.entries) else 0.0
    if doubled:
        half = S.mapped(lambda blocks, _: blocks[..., : blocks.shape[-2] // 2, : blocks.shape[-1] // 2])
        rest = max(rest, float(np.abs(S.entries - half.to_spinor().entries).max(initial=0.0)))
        S = half
    if rest > MAX_SPIN_OF_OVERLAP:
        raise DataError(
            f"the overlap has parts of {rest:.1e} that are not real and the same for both spins; expected real n x n blocks, or "
            "[[S, 0], [0, S]]: is it another matrix, or of another code's layout?"
        )
    return replace(S, entries=np.ascontiguousarray(S.entries.real))
