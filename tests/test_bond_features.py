"""Between atoms and bonds: an isometry and its exact adjoint; and the layers that act in between."""

import numpy as np
import pytest
import torch
from network_case import random_rotation, rolled_rotation
from torch import Tensor

from deeph.nn.atom import AtomLinear, AtomNorm, FeedForward
from deeph.nn.bond import BondFeatures, Frame, to_atoms, to_bonds
from deeph.nn.frames import bond_rotation, frame_matrix, wigner_matrices
from deeph.nn.irreps import sector_sizes
from deeph.nn.so2 import BondLinear, Gate, RadialWeights, bond_norm

L_MAX, NATURAL, PSEUDO, N_ATOMS, N_BONDS = 3, 3, 2, 4, 7
K, SIZES = (L_MAX + 1) ** 2, sector_sizes(3, 3, 2)
PARITY = {"rotation": 1.0, "reflection": -1.0}


def random_frame(vectors: Tensor, rotation=bond_rotation) -> Frame:
    ends = torch.stack([torch.arange(N_BONDS) % N_ATOMS, (torch.arange(N_BONDS) * 3 + 1) % N_ATOMS])
    D = wigner_matrices(rotation(vectors / vectors.norm(dim=1, keepdim=True)), L_MAX)
    return Frame.build(ends, frame_matrix(D) / 2**0.5, L_MAX)


@pytest.fixture
def vectors() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(N_BONDS, 3, dtype=torch.float64)


def atoms() -> tuple[Tensor, Tensor]:
    return torch.randn(N_ATOMS, K, NATURAL, dtype=torch.float64), torch.randn(N_ATOMS, K, PSEUDO, dtype=torch.float64)


def sectors() -> BondFeatures:
    return [torch.randn(*((2,) if s < 2 else (2, 2)), N_BONDS, n, dtype=torch.float64) for s, n in enumerate(SIZES)]


def dot(a: BondFeatures | tuple[Tensor, ...], b: BondFeatures | tuple[Tensor, ...]) -> float:
    return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))


def test_to_atoms_is_the_adjoint_of_to_bonds(vectors: Tensor) -> None:
    frame, x, e = random_frame(vectors), atoms(), sectors()
    assert dot(to_bonds(x, frame, L_MAX), e) == pytest.approx(dot(x, to_atoms(e, frame, N_ATOMS, L_MAX)), abs=1e-10)


def test_to_bonds_is_an_isometry(vectors: Tensor) -> None:
    """The features of both ends, seen from the bond, have the norm they have on the atoms."""
    frame, x = random_frame(vectors), atoms()
    expected = sum(float(part[frame.bonds].square().sum()) for part in x)
    z = to_bonds(x, frame, L_MAX)
    assert dot(z, z) == pytest.approx(expected, rel=1e-12)


def test_gradients(vectors: Tensor) -> None:
    frame = random_frame(vectors)
    parts = tuple(p.requires_grad_() for p in atoms())
    features = [s.requires_grad_() for s in sectors()]
    assert torch.autograd.gradcheck(lambda *p: tuple(to_bonds(p, frame, L_MAX)), parts)
    assert torch.autograd.gradcheck(lambda *s: to_atoms(list(s), frame, N_ATOMS, L_MAX), features)


def test_gradients_of_the_layers() -> None:
    torch.manual_seed(1)
    gate = Gate(L_MAX, NATURAL, PSEUDO)
    linear, radial = BondLinear(SIZES, gate.sizes_in).double(), RadialWeights(L_MAX, NATURAL, PSEUDO, 5).double()
    functions = torch.randn(N_BONDS, 5, dtype=torch.float64, requires_grad=True)
    features = [s.requires_grad_() for s in sectors()]
    assert torch.autograd.gradcheck(
        lambda f, *s: tuple(gate(linear(bond_norm(radial(list(s), f))))), (functions, *features), fast_mode=True
    )


def exchanged(e: BondFeatures) -> BondFeatures:
    """The same bonds from their other end: u changes sign."""
    return [torch.stack([s[0], -s[1]]) for s in e]


def turned(e: BondFeatures, angle: float) -> BondFeatures:
    out = list(e)
    for m in range(1, L_MAX + 1):
        c, s = np.cos(m * angle), np.sin(m * angle)
        out[m + 1] = torch.stack([c * e[m + 1][:, 0] - s * e[m + 1][:, 1], s * e[m + 1][:, 0] + c * e[m + 1][:, 1]], 1)
    return out


def mirrored(e: BondFeatures) -> BondFeatures:
    return [e[0], -e[1], *[torch.stack([s[:, 0], -s[:, 1]], 1) for s in e[2:]]]


ACTIONS = {"exchange": exchanged, "turn about the bond": lambda e: turned(e, 0.7), "mirror through the bond": mirrored}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_layers_commute_with_the_group_of_a_bond(action) -> None:
    torch.manual_seed(2)
    gate = Gate(L_MAX, NATURAL, PSEUDO)
    linear, radial = BondLinear(SIZES, gate.sizes_in).double(), RadialWeights(L_MAX, NATURAL, PSEUDO, 5).double()
    functions, e = torch.randn(N_BONDS, 5, dtype=torch.float64), sectors()

    def layer(e: BondFeatures) -> BondFeatures:
        return gate(linear(bond_norm(radial(e, functions))))

    for a, b in zip(layer(action(e)), action(layer(e)), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_adding_inside_the_linear_map() -> None:
    linear, e, other = BondLinear(SIZES, SIZES).double(), sectors(), sectors()
    for a, b, c in zip(linear(e, add=other), linear(e), other, strict=True):
        assert torch.allclose(a, b + c, atol=1e-13)


def test_atoms_seen_from_bonds_carry_the_labels(vectors: Tensor) -> None:
    """The other end of a bond, turned by pi about x = mirrors across and through the bond; and another roll."""
    x, ends = atoms(), random_frame(vectors).bonds
    turn = torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64))
    Q = bond_rotation(vectors / vectors.norm(dim=1, keepdim=True))
    here, there = (
        Frame.build(b, frame_matrix(wigner_matrices(q, L_MAX)) / 2**0.5, L_MAX) for b, q in ((ends, Q), (ends.flip(0), turn @ Q))
    )
    seen = to_bonds(x, here, L_MAX)
    for a, b in zip(to_bonds(x, there, L_MAX), mirrored(exchanged(seen)), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    rolled = to_bonds(x, random_frame(vectors, rolled_rotation), L_MAX)
    for s in range(len(SIZES)):  # |cos|^2 + |sin|^2 does not know the roll
        norms = [e[s].square().sum(1) if s > 1 else e[s] for e in (seen, rolled)]
        assert torch.allclose(*norms, atol=1e-12)


@pytest.mark.parametrize("kind", PARITY)
def test_atom_layers_rotate(kind: str) -> None:
    """Natural features have parity (-1)^l, pseudo ones the opposite."""
    torch.manual_seed(3)
    Q = random_rotation(5)
    D = torch.block_diag(*[d[0] for d in wigner_matrices(torch.as_tensor(Q)[None], L_MAX)])
    signs = torch.cat([torch.full((2 * l + 1,), PARITY[kind] ** l, dtype=torch.float64) for l in range(L_MAX + 1)])
    operations = (signs[:, None] * D, PARITY[kind] * signs[:, None] * D)
    x = torch.cat(atoms(), -1)

    def act(x: Tensor) -> Tensor:
        return torch.cat([o @ part for o, part in zip(operations, x.split((NATURAL, PSEUDO), -1), strict=True)], -1)

    for layer in (AtomNorm(L_MAX, (NATURAL, PSEUDO)), AtomLinear(L_MAX, (NATURAL, PSEUDO), (NATURAL, PSEUDO)), FeedForward(L_MAX, (3, 2))):
        layer.double()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        assert torch.allclose(layer(act(x)), act(layer(x)), atol=1e-11), type(layer).__name__
