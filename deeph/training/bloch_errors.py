"""From errors of coefficients to errors of H(k): dH(k) = sum_R exp(ik.(R + tau_j - tau_i)) dH_ij(R), differentiable.

The blocks are turned out of the frames of their bonds, and the parts of the spin put together; the other direction of each bond is the
adjoint. Everything is in double precision: near-dependent orbitals enlarge what is rounded here a thousandfold in the levels.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from deeph.nn.frames import bond_matrices
from deeph.nn.model import HamiltonianModel
from deeph.physics.basis import Spin
from deeph.physics.spin_parts import PartName
from deeph.training.metrics import PartErrors


class Places(NamedTuple):
    """Where the orbitals of the atoms of a batch lie in the matrices of its structures, all of them one after the other.

    Attributes
    ----------
    size : list of int
        Orbitals of each structure, both spins of a spinor counted.
    first : (n_atoms,) tensor
        Place of the element [o, o] of the first orbital o of each atom.
    stride : (n_atoms,) tensor
        Length of the rows.
    """

    size: list[int]
    first: Tensor
    stride: Tensor

    def block(self, i: Tensor, j: Tensor, rows: int, columns: int) -> Tensor:
        """(n, rows, columns) places of the blocks of the atoms i and j of one structure each."""
        down = torch.arange(rows, device=i.device)[:, None] * self.stride[i][:, None, None]
        along = (self.first[j] - self.first[i]) // (self.stride[i] + 1)  # first of i plus so many columns
        return (self.first[i] + along)[:, None, None] + down + torch.arange(columns, device=i.device)


def find_places(n_orbitals: Tensor, graph: Tensor) -> Places:
    """Lay out the matrices; n_orbitals and structure of each atom."""
    size = torch.zeros(int(graph.max()) + 1, dtype=torch.int64, device=graph.device).index_add(0, graph, n_orbitals)
    before = torch.cumsum(size.square(), 0) - size.square()
    orbital = torch.cumsum(n_orbitals, 0) - n_orbitals - (torch.cumsum(size, 0) - size)[graph]
    return Places(size.tolist(), before[graph] + orbital * (size[graph] + 1), size[graph])


def spin_matrices(spin: Spin, like: Tensor) -> dict[PartName, Tensor]:
    """(n_components, n_spin, f, f) what a part of H is multiplied with: H = A0 + i B0 + sum_a (A_a + i B_a) sigma_a."""
    if spin == "none":
        return {"A0": like.new_ones(1, 1, 1, 1)}
    if spin == "collinear":
        return {"A0": like.new_ones(2, 1, 1, 1), "A": like.new_tensor([1.0, -1.0]).view(2, 1, 1, 1)}
    pauli = like.new_tensor([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])[None]
    unit = like.new_tensor([[1, 0], [0, 1]])[None, None]
    return {"A0": unit, "B0": 1j * unit, "A": pauli, "B": 1j * pauli}


def bloch_errors(
    model: HamiltonianModel, batch: Data, graphs: tuple[Tensor, Tensor], errors: Mapping[PartName, PartErrors], k: Sequence[Tensor]
) -> list[Tensor]:
    """dH(k) of each structure of a batch, without pairs beyond the cutoffs of the model, which no weight can change.

    Parameters
    ----------
    model : HamiltonianModel
        With the tables of the coefficients.
    batch : torch_geometric Data or Batch
        The structures.
    graphs : two tensors
        Structure of each bond and of each atom.
    errors : mapping of str to PartErrors
        Of each part of H, eV.
    k : sequence of (3,) tensors
        Wave vector of each structure, 1/Angstrom, with 2 pi.

    Returns
    -------
    list of (n_components, n, n) tensors
        eV, complex128; float64 if every k is zero and there are no spinors. In the atomic gauge.
    """
    spin, spinor = model.basis.spin, model.basis.spin_factor
    turns = (batch.bond_vector * torch.stack(list(k))[graphs[0]]).sum(1)
    phase = torch.exp(1j * turns) if spinor > 1 or any(bool(one.any()) for one in k) else torch.ones_like(turns)
    places = find_places(spinor * model.get_buffer("n_orbitals")[batch.numbers], graphs[1])
    components = 2 if spin == "collinear" else 1
    n = sum(size**2 for size in places.size)
    offsite, onsite = (torch.zeros(components, n, dtype=phase.dtype, device=phase.device) for _ in range(2))
    matrices = spin_matrices(spin, phase)
    for name, part in errors.items():
        copies, tables = next(p.copies for p in model.spin if p.name == name), model.tables(name)
        for kind, rows, error in part.offsite:
            D = bond_matrices(batch.bond_vector[rows], max(model.largest_shell, 1))
            blocks = tables.pair_blocks(kind, error.double().unflatten(1, (copies, -1)), D) * phase[rows][:, None, None, None]
            offsite = _added(offsite, places, batch.bond_index[:, rows], _with_spin(blocks, matrices[name]))
        for z, rows, error in part.onsite:
            atoms = torch.arange(len(batch.numbers), device=phase.device)[rows]
            blocks = tables.atom_blocks(z, error.double().unflatten(1, (copies, -1))).to(phase.dtype)
            onsite = _added(onsite, places, torch.stack([atoms, atoms]), _with_spin(blocks, matrices[name]))
    whole = [part.split([size**2 for size in places.size], 1) for part in (offsite, onsite)]
    both = zip(*([m.unflatten(1, (size, size)) for m, size in zip(part, places.size, strict=True)] for part in whole), strict=True)
    return [bonds + bonds.mH + atoms for bonds, atoms in both]


def _with_spin(blocks: Tensor, matrices: Tensor) -> Tensor:
    """(n, n_spin, rows, columns) -> (n_components, n, f rows, f columns)."""
    return torch.einsum("cast,naij->cnsitj", matrices, blocks).flatten(4, 5).flatten(2, 3)


def _added(flat: Tensor, places: Places, ends: Tensor, blocks: Tensor) -> Tensor:
    where = places.block(ends[0], ends[1], blocks.shape[2], blocks.shape[3])
    return flat.index_add(1, where.flatten(), blocks.flatten(1))
