"""A new network keeps the size of what goes through it: each part gives unit variance for unit variance, or what it is meant to give."""

import math

import pytest
import torch
from torch import Tensor

from deeph.nn.atom import AtomLinear, AtomNorm, AtomProduct, FeedForward
from deeph.nn.bond import BondFeatures, BondLayout
from deeph.nn.channels import EXCHANGE, MAGNETIC, SCALAR, Channels, sector_sizes
from deeph.nn.heads import OffsiteHead, OnsiteHead, features_of
from deeph.nn.interaction import Interaction
from deeph.nn.radial import RadialBasis
from deeph.nn.so2 import BondLinear, inverse_size
from deeph.nn.tables import AtomTable, PairTable

L_MAX, SHELLS = 4, (0, 0, 1, 1, 2)
ATOM, BOND = Channels.of(64, 16), Channels.of(32, 8)
MAGNETIC_ATOM, MAGNETIC_BOND = Channels.of(64, 16, (16, 16), (16, 4)), Channels.of(32, 8, (8, 8), (8, 2))
LAYOUT, MAGNETIC_LAYOUT = BondLayout(L_MAX, BOND), BondLayout(L_MAX + 1, MAGNETIC_BOND)


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)


def rms(*parts: Tensor) -> float:
    flat = torch.cat([part.detach().reshape(-1) for part in parts])
    return float(flat.square().mean().sqrt())


def atoms(n: int = 300, channels: Channels = ATOM) -> Tensor:
    return torch.randn(n, (L_MAX + 1) ** 2, sum(channels.widths))


def bonds(n: int = 500, layout: BondLayout = LAYOUT) -> BondFeatures:
    return [torch.randn(2, row.components, n, len(row.channels)) for row in layout.sectors]


@pytest.mark.parametrize("n", [8, 32, 128])
def test_the_radial_basis_has_unit_mean_square_over_the_bond_lengths(n):
    """Exactly sqrt(pi)/2 n/(n - 1) far from the ends of the grid."""
    r = torch.linspace(0, 7, 50001)[10000:-10000]
    assert RadialBasis(n, 7.0)(r).square().mean() == pytest.approx(math.sqrt(math.pi) / 2 * n / (n - 1), rel=0.25 if n == 8 else 0.1)


def test_the_radial_basis_is_what_it_was():
    """Models in use depend on every digit: Gaussians of one spacing's width, times sqrt(n/2)."""
    r = torch.tensor([0.0, 1.3, 5.0], dtype=torch.float64)
    expected = [[2.0 * math.exp(-0.5 * ((x - c) / (6.0 / 7)) ** 2) for c in [6.0 / 7 * k for k in range(8)]] for x in r.tolist()]
    torch.testing.assert_close(RadialBasis(8, 6.0)(r), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-7)


def test_maps_of_atoms_keep_the_size():
    x = atoms()
    for part in AtomLinear(L_MAX, ATOM, ATOM).parts(x):
        assert rms(part) == pytest.approx(1, rel=0.1)
    natural = ATOM.families[0]
    product = AtomProduct(L_MAX, ATOM, natural, natural)(x)
    for l in range(L_MAX + 1):
        assert rms(product[:, l * l : (l + 1) ** 2, : natural.number]) == pytest.approx(1, rel=0.1)
    assert rms(FeedForward(L_MAX, ATOM)(x) - x) == pytest.approx(0.5, rel=0.15)  # a residual step of half the size


def test_maps_of_moments_keep_the_size():
    """Of odd features and spin vectors; the products of these with the surroundings too."""
    x = atoms(channels=MAGNETIC_ATOM)
    for part in AtomLinear(L_MAX, MAGNETIC_ATOM, MAGNETIC_ATOM).parts(x):
        assert rms(part) == pytest.approx(1, rel=0.1)
    natural = MAGNETIC_ATOM.families[0]
    for family in MAGNETIC_ATOM.families[2:5]:
        product = AtomProduct(L_MAX, MAGNETIC_ATOM, natural, family)(x)
        start = MAGNETIC_ATOM.start(family.sort, pseudo=family.pseudo)
        for l in (1, 2, 3):
            assert rms(product[:, l * l : (l + 1) ** 2, start : start + family.width]) == pytest.approx(1, rel=0.2), (family, l)
    for f, part in zip(MAGNETIC_ATOM.families, AtomNorm(L_MAX, MAGNETIC_ATOM)(x).split(MAGNETIC_ATOM.widths, -1), strict=True):
        length = f.n_spin**0.5  # of a spin vector of unit components
        assert rms(part) * length == pytest.approx(length / (f.n_spin + 0.1) ** 0.5, rel=0.01)


@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_norms_give_unit_size(size):
    """A tenth of the mean square over all l is added to that of each: 1/sqrt(1.1)."""
    x = [size * s for s in bonds()]
    assert rms(AtomNorm(L_MAX, ATOM)(size * atoms())) == pytest.approx(1.1**-0.5, rel=0.01)
    assert rms(*(s * inverse_size(x, LAYOUT)[:, None] for s in x)) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_maps_of_bonds_have_their_gain(gain):
    sizes = sector_sizes(LAYOUT.sectors)
    for sector in BondLinear(sizes, sizes, gain=gain)(bonds()):
        assert rms(sector) == pytest.approx(gain, rel=0.1)


def coefficients(head, e, kind, table):
    """Of bonds between two elements."""
    return head(e, [slice(0, e[0].shape[2])], head.contract([kind], [table]))[0]


def test_heads_begin_small_and_alike():
    """Unit features and shell coefficients c give about |c|/sqrt 2: a gain of 0.5 on two ends, and half of a random on-site block."""
    offsite, onsite = OffsiteHead([0, 1, 2], LAYOUT, SCALAR, 16), OnsiteHead([0, 1, 2], ATOM, SCALAR, 16)
    here = (6, SHELLS)
    for there in (here, (14, SHELLS)):
        h = coefficients(offsite, features_of(bonds(), LAYOUT, SCALAR), (here, there), PairTable(SHELLS, SHELLS))
        assert rms(h) / rms(offsite.coefficients(sorted({here, there}))) == pytest.approx(0.75, rel=0.15)
    h = onsite(atoms(), here, AtomTable(SHELLS))
    assert rms(h) / rms(onsite.coefficients([here])) == pytest.approx(0.72, rel=0.15)


@pytest.mark.parametrize(("sort", "spin", "antisymmetric"), [(SCALAR, True, True), (MAGNETIC, False, True), (EXCHANGE, False, False)])
def test_heads_of_the_parts_with_spin_begin_as_small(sort, spin, antisymmetric):
    """Of B, B0 and A; they have fewer channels, whose random weights scatter more."""
    here = (6, SHELLS)
    offsite = OffsiteHead([0, 1, 2], MAGNETIC_LAYOUT, sort, 16, spin=spin, antisymmetric=antisymmetric)
    e = features_of(bonds(layout=MAGNETIC_LAYOUT), MAGNETIC_LAYOUT, sort)
    for there in (here, (14, SHELLS)):
        h = coefficients(offsite, e, (here, there), PairTable(SHELLS, SHELLS, spin=spin, antisymmetric=antisymmetric))
        assert rms(h) / rms(offsite.coefficients(sorted({here, there}))) == pytest.approx(0.75, rel=0.25)
    onsite = OnsiteHead([0, 1, 2], MAGNETIC_ATOM, sort, 16, spin=spin)
    x = torch.randn(300, (L_MAX + 2) ** 2, sum(MAGNETIC_ATOM.widths))
    h = onsite(x, here, AtomTable(SHELLS, spin=spin, antisymmetric=antisymmetric))
    assert rms(h) / rms(onsite.coefficients([here])) == pytest.approx(0.72, rel=0.25)


def test_a_layer_begins_as_a_residual_step_of_half_the_size():
    """What comes from the bond itself, and what is added to it, counts half; what comes from the atoms and goes to them counts fully."""
    layer = Interaction(ATOM, LAYOUT, 64, degree=9.0)
    for name, gain in {"from_atoms": 1.0, "from_bond": 0.5, "update": 0.5, "message": 1.0}.items():
        sizes = [len(weight[0]) for weight in getattr(layer, name).weights]
        x = [torch.randn(2, row.components, 500, c) for row, c in zip(LAYOUT.sectors, sizes, strict=True)]
        assert rms(*getattr(layer, name)(x)) == pytest.approx(gain, rel=0.1), name
    messages = LAYOUT.ends(1.5 * torch.randn(300, (L_MAX + 1) ** 2, sum(LAYOUT.numbers)))  # both ends: 3 = sqrt(9)
    layer.feed_forward = torch.nn.Identity()
    assert rms(layer.atom_step(torch.zeros_like(atoms()), messages)) == pytest.approx(1, rel=0.1)
