"""The frame of a bond and the matrices that rotate features into it.

The rotation Q takes the bond direction to the polar axis. No angles and no poles: two charts, each smooth where it is used. Which
roll about the bond they give is arbitrary, and the network's result does not depend on it.
"""

from functools import cache

import torch
from torch import Tensor

from deeph.nn.irreps import bond_rows, clebsch_gordan


def bond_rotation(direction: Tensor) -> Tensor:
    """(n, 3, 3) proper rotations Q with Q n = z.

    Parameters
    ----------
    direction : (n, 3) tensor
        Unit vectors n.
    """
    x, y, z = direction.unbind(-1)
    flip = torch.where(z < 0, -1.0, 1.0).to(direction)  # for z < 0 first turn by pi about x, so that 1 + z stays >= 1
    y, z = y * flip, z * flip
    a = 1 / (1 + z)
    Q = torch.stack([1 - a * x * x, -a * x * y, -x, -a * x * y, 1 - a * y * y, -y, x, y, z], -1).unflatten(-1, (3, 3))
    turn = torch.stack([torch.ones_like(flip), flip, flip], -1)
    return torch.mul(Q, turn[:, None, :])


@cache
def _step(l: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.as_tensor(clebsch_gordan(l - 1, 1, l), dtype=dtype, device=device)


def wigner_matrices(Q: Tensor, l_max: int) -> list[Tensor]:
    """D^l(Q) for l = 0..l_max, each (n, 2l+1, 2l+1), acting on components m = -l..l of real harmonics.

    D^1 is Q with its axes in the order y, z, x; D^l = C^T (D^(l-1) x D^1) C with constant couplings C.
    """
    axes = torch.tensor([1, 2, 0], device=Q.device)
    D = [torch.ones_like(Q[:, :1, :1]), Q[:, axes][:, :, axes]]
    for l in range(2, l_max + 1):
        C = _step(l, Q.dtype, Q.device)
        half = torch.einsum("nab,bcz->nacz", D[-1], C)  # rotate one factor at a time
        half = torch.einsum("nacz,ndc->nadz", half, D[1])
        D.append(torch.einsum("ady,nadz->nyz", C, half))
    return D[: l_max + 1]


def frame_matrix(D: list[Tensor]) -> Tensor:
    """(n, K, K) with K = (l_max+1)^2: block-diagonal D with its rows in the order of the bond frame.

    One batched product with it rotates all components and groups them by order m.
    """
    l_max = len(D) - 1
    size = (l_max + 1) ** 2
    full = D[0].new_zeros(len(D[0]), size, size)
    for l, block in enumerate(D):
        full[:, l * l : (l + 1) ** 2, l * l : (l + 1) ** 2] = block
    return full[:, torch.as_tensor(bond_rows(l_max), device=full.device)]


def orbital_matrix(D: list[Tensor], shells: tuple[int, ...]) -> Tensor:
    """(n, n_orb, n_orb) block-diagonal rotation of the orbitals of an atom."""
    size = sum(2 * l + 1 for l in shells)
    full = D[0].new_zeros(len(D[0]), size, size)
    start = 0
    for l in shells:
        full[:, start : start + 2 * l + 1, start : start + 2 * l + 1] = D[l]
        start += 2 * l + 1
    return full


def bond_matrices(vectors: Tensor, l_max: int) -> list[Tensor]:
    """D^l, l = 0..l_max, of the frames of (n, 3) bond vectors."""
    return wigner_matrices(bond_rotation(vectors / vectors.norm(dim=1, keepdim=True)), l_max)


def into_frame(blocks: Tensor, D: list[Tensor], shells_i: tuple[int, ...], shells_j: tuple[int, ...]) -> Tensor:
    """(n, n_spin, n_i, n_j) blocks of bonds, their orbitals turned from the axes of the crystal into the frames of the bonds."""
    return orbital_matrix(D, shells_i)[:, None] @ blocks @ orbital_matrix(D, shells_j).transpose(1, 2)[:, None]


def out_of_frame(local: Tensor, D: list[Tensor], shells_i: tuple[int, ...], shells_j: tuple[int, ...]) -> Tensor:
    """The reverse of :func:`into_frame`."""
    return orbital_matrix(D, shells_i).transpose(1, 2)[:, None] @ local @ orbital_matrix(D, shells_j)[:, None]


def spin_axes(D: list[Tensor]) -> Tensor:
    """(n, 3, 3) Q of the frames with axes x, y, z: a spin vector s is Q s in the frame."""
    axes = torch.tensor([2, 0, 1], device=D[1].device)  # l = 1 is y, z, x
    return D[1][:, axes][:, :, axes]
