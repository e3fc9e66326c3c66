"""Between atoms and bonds: an isometry and its exact adjoint; and the layers that act in between."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from network_case import random_rotation, rolled_rotation
from torch import Tensor

from deeph.nn.atom import AtomLinear, AtomNorm, FeedForward
from deeph.nn.bond import BondFeatures, BondLayout, Frame, add_to_atoms, to_bonds, to_ends
from deeph.nn.channels import EXCHANGE, MAGNETIC, SCALAR, Channels, sector_sizes
from deeph.nn.frames import bond_rotation, frame_matrix, wigner_matrices
from deeph.nn.so2 import BondLinear, Gate, RadialWeights, inverse_size

L_MAX, N_ATOMS, N_BONDS = 3, 4, 7
K = (L_MAX + 1) ** 2
PARITY = {"rotation": 1.0, "reflection": -1.0}
CHANNELS = {
    "even": Channels.of(3, 2),
    "magnetic": Channels.of(3, 2, magnetic=(2, 4)),
    "collinear": Channels.of(3, 2, exchange=(4, 1), n_spin=1),
    "spin vectors": Channels.of(3, 2, exchange=(4, 1)),
    "all": Channels.of(3, 2, magnetic=(2, 2), exchange=(4, 1)),
}


@pytest.fixture(params=CHANNELS)
def channels(request: pytest.FixtureRequest) -> Channels:
    return CHANNELS[request.param]


@pytest.fixture
def layout(channels: Channels) -> BondLayout:
    return BondLayout(L_MAX, channels)


def random_frame(vectors: Tensor, rotation=bond_rotation) -> Frame:
    ends = torch.stack([torch.arange(N_BONDS) % N_ATOMS, (torch.arange(N_BONDS) * 3 + 1) % N_ATOMS])
    D = wigner_matrices(rotation(vectors / vectors.norm(dim=1, keepdim=True)), L_MAX)
    return Frame(ends, frame_matrix(D) / 2**0.5)


@pytest.fixture
def vectors() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(N_BONDS, 3, dtype=torch.float64)


def seen(x: Tensor, frame: Frame, layout: BondLayout, weights: Sequence[Tensor] = ()) -> BondFeatures:
    return to_bonds(layout.ends(x), frame, layout, weights)


def summed(e: BondFeatures, frame: Frame, layout: BondLayout) -> Tensor:
    nothing = layout.ends(torch.zeros(N_ATOMS, K, sum(layout.numbers), dtype=torch.float64))
    return layout.sum_of_ends(add_to_atoms(nothing, to_ends(e, frame, layout), frame, layout))


def atoms(layout: BondLayout) -> Tensor:
    return torch.randn(N_ATOMS, K, sum(layout.numbers), dtype=torch.float64)


def sectors(layout: BondLayout) -> BondFeatures:
    return [torch.randn(2, row.components, N_BONDS, len(row.channels), dtype=torch.float64) for row in layout.sectors]


def bond_layer(layout: BondLayout) -> tuple[Gate, BondLinear]:
    gate = Gate(layout)
    return gate.double(), BondLinear(sector_sizes(layout.sectors), gate.sizes_in).double()


def normed(e: BondFeatures, layout: BondLayout) -> BondFeatures:
    return [s * inverse_size(e, layout)[:, None] for s in e]


def dot(a: BondFeatures | tuple[Tensor, ...], b: BondFeatures | tuple[Tensor, ...]) -> float:
    return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))


def test_messages_are_the_adjoint_of_to_bonds(vectors: Tensor, layout: BondLayout) -> None:
    frame, x, e = random_frame(vectors), atoms(layout), sectors(layout)
    assert dot(seen(x, frame, layout), e) == pytest.approx(float((x * summed(e, frame, layout)).sum()), abs=1e-10)


def test_messages_are_added(vectors: Tensor, layout: BondLayout) -> None:
    """In place without gradients, in a new tensor with them."""
    frame, x = random_frame(vectors), atoms(layout)
    ends, rows = layout.ends(x), to_ends(sectors(layout), frame, layout)
    expected = [part.clone() for part in ends]
    for number, row in enumerate(frame.bonds.repeat_interleave(len(layout.numbers), 0)):
        for bond, atom in enumerate(row.tolist()):
            expected[number][atom] += rows[number][bond]
    with torch.no_grad():
        in_place = [part.clone() for part in ends]
        added = add_to_atoms(in_place, rows, frame, layout)
        assert all(a is b for a, b in zip(added, in_place, strict=True))
    for found in (add_to_atoms(ends, rows, frame, layout), in_place):
        for a, b in zip(found, expected, strict=True):
            assert torch.allclose(a, b, atol=1e-13)


def test_to_bonds_is_an_isometry(vectors: Tensor, layout: BondLayout) -> None:
    """The features of both ends, seen from the bond, have the norm they have on the atoms."""
    frame, x = random_frame(vectors), atoms(layout)
    expected = float(x[frame.bonds].square().sum())
    z = seen(x, frame, layout)
    assert dot(z, z) == pytest.approx(expected, rel=1e-12)
    assert sum(s[:, :, 0].numel() for s in z) == 2 * K * sum(layout.channels.widths)


def test_gradients(vectors: Tensor, layout: BondLayout) -> None:
    frame = random_frame(vectors)
    x = atoms(layout).requires_grad_()
    features = [s.requires_grad_() for s in sectors(layout)]
    fast = layout.channels != CHANNELS["even"]
    assert torch.autograd.gradcheck(lambda x: tuple(seen(x, frame, layout)), (x,), fast_mode=fast)
    assert torch.autograd.gradcheck(lambda *s: summed(list(s), frame, layout), features, fast_mode=fast)


def test_gradients_of_the_layers(layout: BondLayout) -> None:
    torch.manual_seed(1)
    gate, linear = bond_layer(layout)
    features = [s.requires_grad_() for s in sectors(layout)]
    assert torch.autograd.gradcheck(lambda *s: tuple(gate(linear(normed(list(s), layout)))), features, fast_mode=True)


def test_gradients_of_radial_weights(vectors: Tensor, layout: BondLayout) -> None:
    torch.manual_seed(1)
    frame, radial = random_frame(vectors), RadialWeights(layout, 5).double()
    functions = torch.randn(N_BONDS, 5, dtype=torch.float64, requires_grad=True)
    x = atoms(layout).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, x: tuple(seen(x, frame, layout, radial(f))), (functions, x), fast_mode=True)


def test_a_radial_weight_multiplies_one_channel_of_one_l(vectors: Tensor, layout: BondLayout) -> None:
    """In all components and both exchange parities."""
    torch.manual_seed(1)
    frame, x = random_frame(vectors), atoms(layout)
    weights = [torch.randn(N_BONDS, (L_MAX + 1) * f.number, dtype=torch.float64) for f in layout.channels.families]
    of_channel = torch.cat([w.unflatten(1, (L_MAX + 1, -1)) for w in weights], -1)  # (n, l, channel)
    pairs = zip(seen(x, frame, layout, weights), seen(x, frame, layout), layout.sectors, strict=True)
    for weighted, plain, row in pairs:
        l, channel = torch.tensor(row.channels).T
        assert torch.allclose(weighted, plain * of_channel[:, l, channel], atol=1e-13)


def exchanged(e: BondFeatures, _layout: BondLayout) -> BondFeatures:
    """The same bonds from their other end: u changes sign."""
    return [torch.stack([s[0], -s[1]]) for s in e]


def turned(e: BondFeatures, layout: BondLayout, angle: float = 0.7) -> BondFeatures:
    """(cos, sin) of each spin component by m times the angle; spin vectors are not turned with the space."""
    out = []
    for s, row in zip(e, layout.sectors, strict=True):
        c, n = np.cos(row.m * angle), np.sin(row.m * angle)
        x, y = s.chunk(2, 1) if row.m else (s, 0 * s)
        out.append(torch.cat([c * x - n * y, n * x + c * y], 1) if row.m else x)
    return out


def mirrored(e: BondFeatures, layout: BondLayout) -> BondFeatures:
    """Sigma- and sin change sign; the first sector of a sort is Sigma+, the second Sigma-."""
    out = []
    for number, (s, row) in enumerate(zip(e, layout.sectors, strict=True)):
        if row.m:
            x, y = s.chunk(2, 1)
            out.append(torch.cat([x, -y], 1))
        else:
            out.append(-s if number % (L_MAX + 2) else s)
    return out


def spins_turned(e: BondFeatures, layout: BondLayout) -> BondFeatures:
    """The components of the spin vectors alone."""
    out = []
    for s, row in zip(e, layout.sectors, strict=True):
        n_spin = row.components // (2 if row.m else 1)
        Q = torch.as_tensor(random_rotation(8)) if n_spin == 3 else torch.eye(1, dtype=torch.float64)
        out.append(torch.einsum("ab,pcbnk->pcank", Q, s.unflatten(1, (-1, n_spin))).flatten(1, 2))
    return out


def reversed_in_time(e: BondFeatures, layout: BondLayout) -> BondFeatures:
    """All odd features change sign."""
    return [-s if row.sort.odd else s for s, row in zip(e, layout.sectors, strict=True)]


ACTIONS = {
    "exchange": exchanged,
    "turn about the bond": turned,
    "mirror through the bond": mirrored,
    "turn of the spins": spins_turned,
    "time reversal": reversed_in_time,
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_layers_commute_with_the_group_of_a_bond(action, layout: BondLayout) -> None:
    torch.manual_seed(2)
    gate, linear = bond_layer(layout)
    e = sectors(layout)

    def layer(e: BondFeatures) -> BondFeatures:
        return gate(linear(normed(e, layout)))

    for a, b in zip(layer(action(e, layout)), action(layer(e), layout), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_adding_inside_the_linear_map(layout: BondLayout) -> None:
    sizes = sector_sizes(layout.sectors)
    linear, e, other = BondLinear(sizes, sizes).double(), sectors(layout), sectors(layout)
    for a, b, c in zip(linear(e, add=other), linear(e), other, strict=True):
        assert torch.allclose(a, b + c, atol=1e-13)


def test_sectors_that_are_zero_may_be_left_out(layout: BondLayout) -> None:
    sizes = sector_sizes(layout.sectors)
    linear, e = BondLinear(sizes, sizes).double(), sectors(layout)
    full = linear([e[0], *(0 * s for s in e[1:])])
    first, *others = linear.partial([e[0], *(None for _ in e[1:])])
    assert first is not None
    assert torch.allclose(first, full[0], atol=1e-13)
    assert all(other is None for other in others)
    assert not any(s.any() for s in full[1:])


def test_atoms_seen_from_bonds_carry_the_labels(vectors: Tensor, layout: BondLayout) -> None:
    """The other end of a bond, turned by pi about x = mirrors across and through the bond; and another roll."""
    x, ends = atoms(layout), random_frame(vectors).bonds
    turn = torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64))
    Q = bond_rotation(vectors / vectors.norm(dim=1, keepdim=True))
    here, there = (Frame(b, frame_matrix(wigner_matrices(q, L_MAX)) / 2**0.5) for b, q in ((ends, Q), (ends.flip(0), turn @ Q)))
    e = seen(x, here, layout)
    for a, b in zip(seen(x, there, layout), mirrored(exchanged(e, layout), layout), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    rolled = seen(x, random_frame(vectors, rolled_rotation), layout)
    for s, row in enumerate(layout.sectors):  # |cos|^2 + |sin|^2 does not know the roll
        norms = [z[s].unflatten(1, (-1, row.components // 2)).square().sum(1) if row.m else z[s] for z in (e, rolled)]
        assert torch.allclose(*norms, atol=1e-12)


def test_spin_vectors_on_bonds_are_those_of_the_atoms(vectors: Tensor, layout: BondLayout) -> None:
    """Spin components are carried along: to turn them on the atoms or on the bonds is the same. So is to reverse the time."""
    frame, x = random_frame(vectors), atoms(layout)

    def bonds(x: Tensor) -> BondFeatures:
        return seen(x, frame, layout)

    for of_atoms, of_bonds in ((turn_spins, spins_turned), (reverse_time, reversed_in_time)):
        for a, b in zip(bonds(of_atoms(x, layout.channels)), of_bonds(bonds(x), layout), strict=True):
            assert torch.allclose(a, b, atol=1e-12)


def turn_space(x: Tensor, channels: Channels, kind: str) -> Tensor:
    """Natural features have parity (-1)^l, pseudo ones the opposite; spin vectors stay, whatever happens in space."""
    Q = random_rotation(5)
    D = torch.block_diag(*[d[0] for d in wigner_matrices(torch.as_tensor(Q)[None], L_MAX)])
    signs = torch.cat([torch.full((2 * l + 1,), PARITY[kind] ** l, dtype=torch.float64) for l in range(L_MAX + 1)])
    parts = zip(channels.families, x.split(channels.widths, -1), strict=True)
    return torch.cat([(PARITY[kind] if f.pseudo else 1.0) * (signs[:, None] * D) @ part for f, part in parts], -1)


def turn_spins(x: Tensor, channels: Channels) -> Tensor:
    """Spin vectors alone, in space everything stays."""
    Q = torch.as_tensor(random_rotation(8))
    parts = zip(channels.families, x.split(channels.widths, -1), strict=True)
    return torch.cat([torch.einsum("ab,nkbc->nkac", Q, p.unflatten(-1, (3, -1))).flatten(2) if f.n_spin == 3 else p for f, p in parts], -1)


def reverse_time(x: Tensor, channels: Channels) -> Tensor:
    """All odd features change sign."""
    return torch.cat([-part if f.sort.odd else part for f, part in zip(channels.families, x.split(channels.widths, -1), strict=True)], -1)


ATOM_ACTIONS = {
    "rotation": lambda x, channels: turn_space(x, channels, "rotation"),
    "reflection": lambda x, channels: turn_space(x, channels, "reflection"),
    "turn of the spins": turn_spins,
    "time reversal": reverse_time,
}


@pytest.mark.parametrize("act", ATOM_ACTIONS.values(), ids=ATOM_ACTIONS.keys())
def test_atom_layers_rotate(act, channels: Channels) -> None:
    torch.manual_seed(3)
    x = torch.randn(N_ATOMS, K, sum(channels.widths), dtype=torch.float64)
    layers = (AtomNorm(L_MAX, channels), AtomLinear(L_MAX, channels, channels), FeedForward(L_MAX, channels))
    for layer in layers:
        layer.double()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        assert torch.allclose(layer(act(x, channels)), act(layer(x), channels), atol=1e-11), type(layer).__name__
        assert not torch.allclose(layer(x), x, atol=0.1)


def test_every_product_contributes_where_its_labels_say() -> None:
    """Of two moments comes something even, of a moment and its surroundings something odd; nothing else."""
    channels = CHANNELS["all"]
    x = torch.randn(N_ATOMS, K, sum(channels.widths), dtype=torch.float64)
    seen = set()
    for product in FeedForward(L_MAX, channels).double().products:
        parts = dict(zip(channels.families, product(x).split(channels.widths, -1), strict=True))
        touched = {f.sort for f, part in parts.items() if part.abs().max() > 1e-3}
        assert touched == {product.first.sort.times(product.second.sort)}
        seen.add((product.first.sort, product.second.sort, *touched))
    assert seen == {
        (SCALAR, SCALAR, SCALAR),
        (SCALAR, MAGNETIC, MAGNETIC),
        (MAGNETIC, MAGNETIC, SCALAR),
        (SCALAR, EXCHANGE, EXCHANGE),
        (EXCHANGE, EXCHANGE, SCALAR),
    }


def test_channels_are_laid_out_family_by_family() -> None:
    channels = CHANNELS["all"]
    assert channels.widths == [3, 2, 2, 2, 12, 3]
    assert channels.expanded() == [*range(9), *[9, 10, 11, 12] * 3, *[13] * 3]
    assert channels.total == 14
    assert [channels.start(s, pseudo=p) for s in channels.sorts for p in (False, True)] == [0, 3, 5, 7, 9, 21]
