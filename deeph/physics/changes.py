"""What can be done to a Hamiltonian without a new calculation: fields on its electrons and spins, pieces cut out of it."""

from dataclasses import replace
from typing import Self

import numpy as np

from deeph.physics.blocks import PairBlocks
from deeph.physics.cut import Direction, cut_piece
from deeph.physics.matrices import Matrices
from deeph.physics.potential import Field, add_field, add_potential, connecting_pairs, field_at_atoms, potential_at_atoms
from deeph.runtime.errors import UsageError


class ChangeableMatrices(Matrices):
    """Matrices, and the changes of them that give new ones."""

    def with_potential(self, potential: Field) -> Self:
        """H with a scalar potential V(r) on top, as 1/2 (V_i + V_j) S_ij: displacement field, sublattice potential, gate.

        Parameters
        ----------
        potential : callable, array or float
            Energy of an electron in eV: a function of Cartesian positions (n, 3) in Angstrom that gives (n,) values, periodic like the
            structure; or (n_atoms,) values; or one number.

        Returns
        -------
        Hamiltonian
            A new one. A uniform potential shifts its Fermi level and a zeroth-order Hamiltonian with it, and leaves the density as it is;
            else the Fermi level is not known any more, but counted where it is needed.

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
        changed = self._changed(words)
        if uniform:  # another energy zero: the density is what it was, and a zeroth-order H moves along
            moved = {"H0": add_potential(self.extra["H0"], self.S, V)} if "H0" in self.extra else {}
            changed = replace(changed, moments=self.moments, extra={**self.extra, **moved})
        return replace(changed, H=add_potential(H, self.S, V), fermi_energy=fermi, fermi_guess=guess)

    def with_zeeman(self, field: Field) -> Self:
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

    def cut(self, direction: Direction, width: int, *, at: float | None = None) -> Self:
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

    def _changed(self, words: str) -> Self:
        """The same, with a note on what was done to it, and without what belongs to the density of the H it was."""
        source = {**self.source, "changes": [*self.source.get("changes", []), words]}
        extra = {name: blocks for name, blocks in self.extra.items() if name == "kinetic"}
        return replace(self, source=source, moments=None, extra=extra)

    def _fermi_near_by(self, shift: float, spread: float) -> tuple[float, float] | None:
        """Where the search for the Fermi level of a prediction begins after H was changed."""
        return None if self.fermi_guess is None else (self.fermi_guess[0] + shift, self.fermi_guess[1] + spread)
