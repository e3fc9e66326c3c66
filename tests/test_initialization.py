"""A new network keeps the size of what goes through it: each part gives unit variance for unit variance, or what it is meant to give."""

import math

import pytest
import torch
from torch import Tensor

from deeph.nn.atom import AtomLinear, AtomNorm, AtomProduct, FeedForward
from deeph.nn.bond import BondFeatures
from deeph.nn.heads import OffsiteHead, OnsiteHead
from deeph.nn.interaction import Interaction
from deeph.nn.irreps import sector_sizes
from deeph.nn.radial import RadialBasis
from deeph.nn.so2 import BondLinear, bond_norm
from deeph.nn.tables import AtomTable, PairTable

L_MAX, ATOM, BOND = 4, (64, 16), (32, 8)
SHELLS = (0, 0, 1, 1, 2)


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)


def rms(*parts: Tensor) -> float:
    flat = torch.cat([part.detach().reshape(-1) for part in parts])
    return float(flat.square().mean().sqrt())


def atoms(n: int = 300) -> Tensor:
    return torch.randn(n, (L_MAX + 1) ** 2, sum(ATOM))


def bonds(n: int = 500) -> BondFeatures:
    sizes = sector_sizes(L_MAX, *BOND)
    return [torch.randn(2, n, c) for c in sizes[:2]] + [torch.randn(2, 2, n, c) for c in sizes[2:]]


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
    low = [torch.randn(300, 9, 32) for _ in range(2)]
    product = AtomProduct(L_MAX, 32, ATOM)(*low)
    for l in range(L_MAX + 1):
        assert rms(product[:, l * l : (l + 1) ** 2, : ATOM[0]]) == pytest.approx(1, rel=0.1)
    assert rms(FeedForward(L_MAX, ATOM)(x) - x) == pytest.approx(0.5, rel=0.15)  # a residual step of half the size


@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_norms_give_unit_size(size):
    """A tenth of the mean square over all l is added to that of each: 1/sqrt(1.1)."""
    assert rms(AtomNorm(L_MAX, ATOM)(size * atoms())) == pytest.approx(1.1**-0.5, rel=0.01)
    assert rms(*bond_norm([size * s for s in bonds()])) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_maps_of_bonds_have_their_gain(gain):
    sizes = sector_sizes(L_MAX, *BOND)
    for sector in BondLinear(sizes, sizes, gain=gain)(bonds()):
        assert rms(sector) == pytest.approx(gain, rel=0.1)


def test_heads_begin_small_and_alike():
    """Unit features and shell coefficients c give about |c|/sqrt 2: a gain of 0.5 on two ends, and half of a random on-site block."""
    offsite, onsite = OffsiteHead([0, 1, 2], L_MAX, BOND, 16), OnsiteHead([0, 1, 2], ATOM, 16)
    here = (6, SHELLS)
    for there in (here, (14, SHELLS)):
        h = offsite(offsite.codes(bonds()), here, there, PairTable(SHELLS, SHELLS))
        assert rms(h) / rms(offsite.coefficients(here, there)) == pytest.approx(0.75, rel=0.15)
    h = onsite(atoms(), here, AtomTable(SHELLS))
    assert rms(h) / rms(onsite.coefficients(here, here)) == pytest.approx(0.72, rel=0.15)


def test_a_layer_begins_as_a_residual_step_of_half_the_size():
    """What comes from the bond itself, and what is added to it, counts half; what comes from the atoms and goes to them counts fully."""
    layer = Interaction(L_MAX, ATOM, BOND, 64, degree=9.0)
    for name, gain in {"from_atoms": 1.0, "from_bond": 0.5, "update": 0.5, "message": 1.0}.items():
        sizes = [len(weight[0]) for weight in getattr(layer, name).weights]
        x = [torch.randn(2, 500, c) for c in sizes[:2]] + [torch.randn(2, 2, 500, c) for c in sizes[2:]]
        assert rms(*getattr(layer, name)(x)) == pytest.approx(gain, rel=0.1), name
    messages = 3.0 * atoms()[..., : sum(BOND)]
    layer.feed_forward = torch.nn.Identity()
    assert rms(layer.atom_step(torch.zeros(300, (L_MAX + 1) ** 2, sum(ATOM)), messages)) == pytest.approx(1, rel=0.1)  # 3 = sqrt(9)
