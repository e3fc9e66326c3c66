"""The central object: a structure with its basis and its matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.bloch import BlochMatrix, BlochPattern
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.cut import Direction, cut_piece
from deeph.physics.error_bars import ErrorBars, check_error_bars
from deeph.physics.pairs import find_pairs
from deeph.physics.potential import Field, add_field, add_potential, connecting_pairs, field_at_atoms, potential_at_atoms
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from deeph.facade import DOS, Bands, KPath, Populations

Divisions = tuple[int, int, int]
"""k-points along the reciprocal vectors."""
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

    def permuted(self, order: IntArray) -> "Hamiltonian":
        """The same structure with its atoms in another order (``new[a] = old[order[a]]``)."""
        if (order == np.arange(len(order))).all():
            return self
        changed = {n: b.permuted(order) for n, b in (("S", self.S), ("H", self.H), ("r", self.r)) if b is not None}
        extra = {name: blocks.permuted(order) for name, blocks in self.extra.items()}
        moments = None if self.moments is None else self.moments[order]
        bars = None if self.error_bars is None else self.error_bars.permuted(order)
        system = self.system.permuted(order)
        return replace(self, system=system, extra=extra, moments=moments, error_bars=bars, **changed)  # type: ignore[arg-type]

    def to_spinor(self) -> "Hamiltonian":
        """The same structure with spinor blocks [[up, 0], [0, down]] in all matrices that have the spin of H."""
        if self.basis.spin == "spinor":
            return self
        spinor = {name: _complex(blocks.to_spinor()) for name, blocks in self.extra.items() if EXTRA[name]}
        H = None if self.H is None else _complex(self.H.to_spinor())
        spinor_basis = replace(self.basis, spin="spinor")
        return replace(self, basis=spinor_basis, H=H, extra={**self.extra, **spinor}, error_bars=None)  # those of spinor blocks are others

    def with_potential(self, potential: Field) -> "Hamiltonian":
        """H with a scalar potential V(r) on top, as 1/2 (V_i + V_j) S_ij: displacement field, sublattice potential, gate.

        Parameters
        ----------
        potential : callable, array or float
            Energy of an electron in eV: a function of Cartesian positions (n, 3) in Angstrom that gives (n,) values, periodic like the
            structure; or (n_atoms,) values; or one number.

        Returns
        -------
        Hamiltonian
            A new one. A uniform potential shifts its Fermi level; else that is not known any more, but counted where it is needed.

        Raises
        ------
        DataError
            If a function differs at two images of an atom that H or S connects.
        UsageError
            If it gives something else than a number for each atom.

        Notes
        -----
        ``h.with_potential(lambda r: -0.01 * r[:, 2])`` is a displacement field of 10 mV/Angstrom across a layer. See
        :mod:`deeph.physics.potential` for what is neglected.
        """
        H = self.hamiltonian
        V = potential_at_atoms(potential, self.system, connecting_pairs(self.S, H))
        uniform = not np.ptp(V) > 0
        mean = float(V.mean())
        fermi = None if self.fermi_energy is None or not uniform else self.fermi_energy + mean
        guess = self._fermi_near_by(mean, float(np.abs(V - mean).max()))
        words = f"scalar potential from {V.min():g} to {V.max():g} eV"
        return replace(self._changed(words), H=add_potential(H, self.S, V), fermi_energy=fermi, fermi_guess=guess)

    def with_zeeman(self, field: Field) -> "Hamiltonian":
        """H with a magnetic field that acts on spins, as 1/2 (b_i + b_j) . sigma S_ij: Zeeman splitting, exchange field.

        Parameters
        ----------
        field : array, float or callable
            b in eV: one vector; (n_atoms, 3) vectors, such as the exchange field of a magnetic substrate; a number for one along z; or a
            function of positions (n, 3) in Angstrom that gives (n, 3). Levels of spin-degenerate states split by ``2 |b|``. A field of B
            Tesla has b = 1/2 g mu_B B = 5.788e-5 eV B (g = 2), and acts on spins alone.

        Returns
        -------
        Hamiltonian
            A new one, whose Fermi level is not known.

        Raises
        ------
        UsageError
            If H has no spin (``h.to_spinor().with_zeeman(b)``), or is collinear and the field not along z.
        """
        if self.basis.spin == "none":
            raise UsageError("H has no spin for a magnetic field to act on: h.to_spinor().with_zeeman(...)")
        H = self.hamiltonian
        b = field_at_atoms(field, self.system, connecting_pairs(self.S, H))
        most = float(np.linalg.norm(b, axis=1).max(initial=0.0))
        changed = self._changed(f"magnetic field up to {most:g} eV on the spins")
        return replace(changed, H=add_field(H, self.S, b), fermi_energy=None, fermi_guess=self._fermi_near_by(0.0, most))

    def symmetrized(self, tolerance: float = 1e-3) -> "Hamiltonian":
        """H, S, r and the moments averaged over the group that keeps structure and moments, with time reversal where it is kept.

        DFT on a real-space grid breaks the symmetry of its own crystal by up to some ten meV in single elements of H. What was changed is
        logged; once more changes nothing. Atoms are put where the symmetry has them to rounding.

        Parameters
        ----------
        tolerance : float
            How far an atom may lie from the image of another one, Angstrom.

        Returns
        -------
        Hamiltonian
            A new one with the same Fermi level, without error bars.

        Raises
        ------
        DataError
            If H or S is not Hermitian, or what was found is no group.
        UsageError
            If the tolerance is no length.

        Notes
        -----
        Spins turn with the lattice where there is spin-orbit coupling and stay where there is none; see docs/symmetry.md.
        """
        from deeph.facade import symmetrized

        return symmetrized(self, tolerance)

    def cut(self, direction: Direction, width: int, *, at: float | None = None) -> "Hamiltonian":
        """A ribbon of a layer or a slab of a crystal: so many cells with open boundaries, by dropping what leads out of them.

        Parameters
        ----------
        direction : int, str or (h, k, l)
            The lattice vector across the piece (0 to 2, or "a", "b", "c"); the other two lie in the planes of the cut. Or the Miller
            indices of these planes: ``(1, 1, 1)``, or ``(2, -1, 0)`` for a graphene ribbon with armchair edges.
        width : int
            Cells across.
        at : float, optional
            Where the first plane of the cut is, as a fractional coordinate; by default in the widest gap between planes of atoms, so that
            few bonds are cut.

        Returns
        -------
        Hamiltonian
            Atoms cell by cell, empty space along the direction, edges as they are in the crystal. Its Fermi level is to be counted.

        Raises
        ------
        UsageError
            If the direction or the width is none.
        DataError
            If the structure is not periodic along the direction.
        """
        piece = cut_piece(self.system, self.S.pairs, direction, width, at)

        def part(blocks: PairBlocks) -> PairBlocks:
            return replace(blocks.selected(piece.source), pairs=piece.pairs)

        S = part(self.S)
        r = None if self.r is None else part(self.r)
        if r is not None:
            moved = np.repeat(piece.shifts[piece.pairs[:, 3]].T, S.shapes.prod(axis=1), axis=1)
            r = replace(r, entries=r.entries + moved * S.entries)
        return replace(
            self._changed(f"cut to {int(width)} cells along {direction}"),
            system=piece.system,
            S=S,
            H=None if self.H is None else part(self.H),
            error_bars=None if self.error_bars is None else self.error_bars.selected(piece.source, piece.pairs),
            r=r,
            fermi_energy=None,
            fermi_guess=None,
            n_electrons=None if self.n_electrons is None else self.n_electrons * int(width),
            moments=None if self.moments is None else self.moments[piece.atoms],
            extra={name: part(blocks) for name, blocks in self.extra.items() if name != "density_matrix"},
        )

    def bands(
        self,
        path: "str | Path | KPath | Any" = None,
        n_bands: int | None = None,
        around: float | str = "fermi",
        *,
        fermi: float | str | None = None,
        points: int | None = None,
        projections: str | Sequence[str] = (),
    ) -> "Bands":
        """Band structure along a path; of a molecule its levels.

        Parameters
        ----------
        path : str, path, KPath or ase.dft.kpoints.BandPath, optional
            Labels such as ``"GMKG"``, also with coordinates (``"G M=1/2,0,0"``), or a file that holds a path; by default the usual one of
            the lattice.
        n_bands : int, optional
            Only so many levels nearest ``around`` at each k, by a sparse solver in large cells; by default all.
        around : float or "fermi"
            Energy in eV on the zero of H.
        fermi : float or "count", optional
            Fermi level in eV, or "count" to fill levels with the electrons; by default the one that is known, else counted.
        points : int, optional
            k-points of the whole path.
        projections : str or sequence of str
            What the states are made of, for fat bands: some of "element", "shell", "atom", "layer", "spin".

        Returns
        -------
        postprocess.bands.bands.Bands
            With ``energies``, ``fermi_energy``, ``gap``, ``plot()`` and ``save("bands.pdf")``.

        Raises
        ------
        DataError
            If there is no H, or the Fermi level is needed but not known.
        UsageError
            If a label is not one of this lattice, or the cell is too large for all bands.
        """
        from deeph.facade import bands

        return bands(self, path, n_bands, around, fermi=fermi, points=points, projections=projections)

    def dos(
        self,
        window: tuple[float, float] | None = None,
        *,
        width: float | None = None,
        mesh: tuple[int, int, int] | None = None,
        projections: str | Sequence[str] = (),
        fermi: float | str | None = None,
    ) -> "DOS":
        """Density of states: by tetrahedra (triangles, intervals), of large cells by the kernel polynomial method.

        Parameters
        ----------
        window : (low, high), optional
            eV from the Fermi level, absolute if that is not known; by default -10 to 10 eV around it, else all levels.
        width : float, optional
            Standard deviation in eV of Gaussians instead of tetrahedra; in large cells that of the kernel (0.1).
        mesh : (n1, n2, n3), optional
            k-points; by default 10 per 1/Angstrom, and the special points among them.
        projections : str or sequence of str
            Some of "element", "shell", "atom", "layer", "spin".
        fermi
            As in :meth:`bands`.

        Returns
        -------
        postprocess.density.dos.DOS
            With ``energies``, ``density``, ``plot()`` and ``save("dos.csv")``.
        """
        from deeph.facade import dos

        return dos(self, window, width=width, mesh=mesh, projections=projections, fermi=fermi)

    def eigenvalues(self, k: Any = (0.0, 0.0, 0.0)) -> FloatArray:
        """All levels at any k, by dense matrices.

        Parameters
        ----------
        k : str or (..., 3) array
            Fractional, or the name of a special point such as ``"K"``; Gamma by default.

        Returns
        -------
        (..., n_orbitals) array
            eV, ascending, on the energy zero of H; for collinear spin (2, ..., n_orbitals), up and down.

        Raises
        ------
        DataError
            If there is no H, or S(k) is not positive definite.
        UsageError
            If k is something else, or the cell is too large for dense matrices.
        """
        from deeph.facade import eigenvalues

        return eigenvalues(self, k)

    def mulliken(
        self, mesh: Divisions | None = None, *, shift: tuple[float, float, float] = (0.0, 0.0, 0.0), temperature: float = 300.0
    ) -> "Populations":
        """Mulliken electrons and moments of the atoms, from all occupied states on a mesh.

        Parameters
        ----------
        mesh : (n1, n2, n3), optional
            k-points; by default 5 per 1/Angstrom (with 2 pi).
        shift : (x, y, z)
            Of the mesh, in steps.
        temperature : float
            Of the Fermi-Dirac occupation, Kelvin; 0 fills the levels from below.

        Returns
        -------
        postprocess.states.populations.Populations
            With ``electrons``, ``moments``, ``total_moment`` (Bohr magneton) and ``fermi_energy``.

        Raises
        ------
        DataError
            If there is no H, or the number of electrons is not known.
        UsageError
            If the mesh or the temperature is none, or the cell is too large for dense matrices.

        Notes
        -----
        The total moment of a collinear H is a whole number if there is a gap: to rounding at ``temperature=0``.
        """
        from deeph.facade import mulliken

        return mulliken(self, mesh, shift=shift, temperature=temperature)

    def band_energy(
        self, mesh: Divisions | None = None, *, shift: tuple[float, float, float] = (0.0, 0.0, 0.0), temperature: float = 300.0
    ) -> float:
        """Sum of the occupied levels, both spins, on the energy zero of H.

        Its change as the exchange field of one H is turned, all else kept, estimates that of the total energy: the magnetic force theorem
        (A. I. Liechtenstein et al., doi:10.1016/0304-8853(87)90721-9; G. H. O. Daalderop, P. J. Kelly and M. F. H. Schuurmans,
        doi:10.1103/PhysRevB.41.11919). Of two H with densities of their own it does not: see :mod:`postprocess.states.band_energy`.

        Parameters
        ----------
        mesh, shift, temperature
            As for :meth:`mulliken`.

        Returns
        -------
        float
            eV per cell.

        Raises
        ------
        DataError, UsageError
            As :meth:`mulliken`.
        """
        from deeph.facade import band_energy

        return band_energy(self, mesh, shift=shift, temperature=temperature)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write a structure folder, which every command reads; atoms are put in the order of the elements.

        Parameters
        ----------
        folder : path
            Must not exist unless ``overwrite``; it appears complete or not at all.
        overwrite : bool
            Whether to replace what is there.
        """
        from deeph.facade import save

        save(self, folder, overwrite=overwrite)

    def export(self, to: str, out: str | Path, **options: Any) -> None:
        """Write H, S and r for another program: ``h.export("wannier90", "folder", mesh=(12, 12, 1))``.

        Parameters
        ----------
        to : str
            "wannier90", "wanniertools", "sisl", "pythtb", "wannierberri", "hoptb", "deeptb", "hamgnn" or "petsc".
        out : path
            A new folder; of "sisl" (.TSHS, .HSX, .nc) and "hamgnn" (.npz) a file.
        **options
            As of :func:`postprocess.export.formats.export`: ``mesh``, ``k``, ``scalars``, ``zero``, ``overwrite``.
        """
        from deeph.facade import export

        export(self, to, out, options)

    def to_sisl(self, *, zero: str = "h") -> Any:
        """A ``sisl.Hamiltonian`` with S, of any spin; ``zero="fermi"`` puts the Fermi level at 0, where TBtrans expects it."""
        return self._made("sisl", zero=zero)

    def to_pythtb(self, *, mesh: Divisions | None = None, zero: str = "h") -> Any:
        """A ``pythtb.tb_model`` of orthonormal (Loewdin) orbitals, made on a mesh of k-points; the truncation error is told."""
        return self._made("pythtb", mesh=mesh, zero=zero)

    def to_wannierberri(self, *, mesh: Divisions | None = None, zero: str = "h") -> Any:
        """A ``wannierberri.System_R`` with H and r of orthonormal (Loewdin) orbitals; see :meth:`to_pythtb`."""
        return self._made("wannierberri", mesh=mesh, zero=zero)

    def to_kwant(self, *, mesh: Divisions | None = None, zero: str = "h") -> Any:
        """A ``kwant.Builder`` of the bulk with orthonormal (Loewdin) orbitals, one site an atom; see :meth:`to_pythtb`."""
        return self._made("kwant", mesh=mesh, zero=zero)

    def _made(self, to: str, **options: Any) -> Any:
        from deeph.facade import make

        return make(self, to, options)

    def _changed(self, words: str) -> "Hamiltonian":
        """The same, with a note on what was done to it, and without what belongs to the density of the H it was."""
        source = {**self.source, "changes": [*self.source.get("changes", []), words]}
        extra = {name: blocks for name, blocks in self.extra.items() if name == "kinetic"}
        return replace(self, source=source, moments=None, extra=extra)

    def _fermi_near_by(self, shift: float, spread: float) -> tuple[float, float] | None:
        """Where the search for the Fermi level of a prediction begins after H was changed."""
        return None if self.fermi_guess is None else (self.fermi_guess[0] + shift, self.fermi_guess[1] + spread)


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
