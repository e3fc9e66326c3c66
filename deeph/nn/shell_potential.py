"""A potential of each shell of each atom, times the overlap: what a smooth change of the potential does to H.

    H_ia,jb = ... + 1/2 (V_ia + V_jb) S_ia,jb f(r_ij)

for the shells a of atom i and b of atom j, on-site too; f is 1 but for the last Angstrom before the cutoff. S is known, so that one number
for each shell says what otherwise every block of the atom would have to learn by itself: charge that moves between atoms shifts their
levels, and H between them in proportion to S (M. Wolfsberg and L. Helmholz, doi:10.1063/1.1700580). V is a scalar, and a scalar times a
block of S transforms as the block of H does.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeph.nn.baseline import EDGE
from deeph.nn.channels import SCALAR, Channels
from deeph.nn.embedding import ShellEmbedding
from deeph.nn.kinds import Kinds, PairKind
from deeph.nn.radial import smooth_cutoff
from deeph.nn.readout import Tables


class Potentials(NamedTuple):
    """Potentials of the shells of all atoms of a graph.

    Attributes
    ----------
    V : (n_atoms, shells of the largest basis) tensor
        In eV.
    tables : Tables
        Of the spin-free part of H.
    cutoffs : mapping of (zi, zj) to float
        Angstrom.
    """

    V: Tensor
    tables: Tables
    cutoffs: Mapping[PairKind, float]

    def offsite(self, kind: PairKind, bonds: Tensor, r: Tensor, S: Tensor) -> Tensor:
        """1/2 (V_i + V_j) S of bonds between two elements, with the cutoff of the baseline.

        Parameters
        ----------
        kind : (zi, zj)
            The elements.
        bonds : (2, n) int tensor
            Atoms.
        r : (n,) tensor
            Lengths, Angstrom.
        S : (n, size) tensor
            Coefficients in the frames of the bonds.

        Returns
        -------
        (n, size) tensor
            eV.
        """
        a, b = torch.as_tensor(self.tables.pairs[kind].shell_pair.T, device=r.device)
        inside = smooth_cutoff(r, torch.full_like(r, self.cutoffs[kind]), EDGE).to(S)
        return 0.5 * (self.V[bonds[0]][:, a] + self.V[bonds[1]][:, b]) * S * inside[:, None]

    def onsite(self, z: int, atoms: Tensor | slice, S: Tensor) -> Tensor:
        """The same of atoms of one element and their (n, size) S."""
        a, b = torch.as_tensor(self.tables.atoms[z].shell_pair.T, device=S.device)
        return 0.5 * (self.V[atoms][:, a] + self.V[atoms][:, b]) * S


class ShellPotential(nn.Module):
    """V of all shells of all atoms from their scalar features; zero at first.

    Parameters
    ----------
    tables, cutoffs
        See :class:`Potentials`.
    channels : Channels
        Of the atom features.
    rank : int
        Length of the code of an atom, which is contracted with codes of the shells.
    """

    def __init__(self, tables: Tables, cutoffs: Mapping[PairKind, float], channels: Channels, rank: int, width: int = 32) -> None:
        super().__init__()
        self.tables, self.cutoffs, self.n_scalars = tables, cutoffs, channels.of_sort(SCALAR)[0].number
        self.most = max(len(own) for own in tables.shells.values())
        self.atom = nn.Linear(self.n_scalars, rank)
        nn.init.zeros_(self.atom.weight)
        nn.init.zeros_(self.atom.bias)
        self.shell = ShellEmbedding(width)
        self.mix = nn.Sequential(nn.Linear(3 * width, 64), nn.SiLU(), nn.Linear(64, rank))

    def forward(self, kinds: Kinds, y: Tensor, unit: Tensor) -> Potentials:
        """From normalized features (n_atoms, K, width); ``unit`` is that of the on-site blocks, eV."""
        codes: Tensor = self.atom(y[:, 0, : self.n_scalars])  # the even scalars come first
        V: Tensor = codes.new_zeros(len(y), self.most)
        for z, rows in kinds.atoms:
            own = codes[rows] @ self.mix(self.shell([(z, self.tables.shells[z])])).T
            padded = nn.functional.pad(own, (0, self.most - own.shape[1]))
            V = padded if isinstance(rows, slice) else V.index_copy(0, rows, padded)
        return Potentials(unit.to(V) * V, self.tables, self.cutoffs)
