"""A potential of each shell of each atom, times the overlap: what a smooth change of the potential does to H.

    H_ia,jb = ... + 1/2 (V_ia + V_jb) S_ia,jb

for the shells a of atom i and b of atom j, on-site too. S is known, so that one number for each shell says what otherwise every block of
the atom would have to learn by itself: charge that moves between atoms shifts their levels, and H between them in proportion to S
(M. Wolfsberg and L. Helmholz, doi:10.1063/1.1700580). V is a scalar, and a scalar times a block of S transforms as the block of H does.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from deeph.nn.baseline import EDGE
from deeph.nn.embedding import ShellEmbedding
from deeph.nn.kinds import atom_kinds
from deeph.nn.radial import smooth_cutoff
from deeph.nn.tables import AtomTable, PairTable

Shells = tuple[int, ...]


class ShellPotential(nn.Module):
    """V of all shells of all atoms from their scalar features; zero at first.

    Parameters
    ----------
    shells : mapping of int to tuple of int
        Of each element.
    scalars : int
        Number of scalar features of an atom.
    rank : int
        Length of the code of an atom, which is contracted with codes of the shells.
    """

    def __init__(self, shells: Mapping[int, Shells], scalars: int, rank: int, width: int = 32) -> None:
        super().__init__()
        self.shells = shells
        self.most = max(len(own) for own in shells.values())
        self.atom = nn.Linear(scalars, rank)
        nn.init.zeros_(self.atom.weight)
        nn.init.zeros_(self.atom.bias)
        self.shell = ShellEmbedding(width)
        self.mix = nn.Sequential(nn.Linear(3 * width, 64), nn.SiLU(), nn.Linear(64, rank))

    def forward(self, numbers: Tensor, scalars: Tensor) -> Tensor:
        """(n_atoms,) elements and (n_atoms, scalars) features -> (n_atoms, shells of the largest basis) V in units of the baseline."""
        codes: Tensor = self.atom(scalars)
        out: Tensor = codes.new_zeros(len(numbers), self.most)
        for z, rows in atom_kinds(numbers):
            V = codes[rows] @ self.mix(self.shell(z, self.shells[z])).T
            padded = nn.functional.pad(V, (0, self.most - V.shape[1]))
            out = padded if isinstance(rows, slice) else out.index_copy(0, rows, padded)
        return out


def offsite_shift(V: Tensor, bonds: Tensor, r: Tensor, S: Tensor, table: PairTable, cutoff: float) -> Tensor:
    """1/2 (V_i + V_j) S of bonds between two elements, with the cutoff of the baseline.

    Parameters
    ----------
    V : (n_atoms, n) tensor
        Of :class:`ShellPotential`, eV.
    bonds : (2, n_bonds) int tensor
        Atoms.
    r : (n_bonds,) tensor
        Lengths, Angstrom.
    S : (n_bonds, size) tensor
        Coefficients in the frames of the bonds.
    table : PairTable
        Their layout.
    cutoff : float
        Angstrom.

    Returns
    -------
    (n_bonds, size) tensor
    """
    a, b = (torch.as_tensor(shells, device=V.device) for shells in table.shell_pair.T)
    inside = smooth_cutoff(r, torch.full_like(r, cutoff), EDGE).to(S)
    return 0.5 * (V[bonds[0]][:, a] + V[bonds[1]][:, b]) * S * inside[:, None]


def onsite_shift(V: Tensor, S: Tensor, table: AtomTable) -> Tensor:
    """The same of atoms of one element: (n, shells) V and (n, size) S -> (n, size)."""
    a, b = (torch.as_tensor(shells, device=V.device) for shells in table.shell_pair.T)
    return 0.5 * (V[:, a] + V[:, b]) * S
