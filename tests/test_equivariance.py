"""The whole network against every symmetry of H; and networks that are broken on purpose, which must be caught."""

from itertools import permutations, product
from unittest import mock

import numpy as np
import pytest
import torch
from network_case import equivariance_error, largest, make_model, make_structure, predict, rotated, rotated_blocks
from torch import Tensor

from deeph.nn import bond, so2
from deeph.nn.model import HamiltonianModel
from deeph.physics.hamiltonian import Hamiltonian

CUBIC = [np.diag(signs)[list(order)] for order in permutations(range(3)) for signs in product([1.0, -1.0], repeat=3)]


@pytest.fixture(scope="module")
def structure() -> Hamiltonian:
    return make_structure(7)


@pytest.fixture(scope="module")
def model() -> HamiltonianModel:
    return make_model([make_structure(n) for n in range(3)])


@pytest.mark.parametrize("seed", range(4))
def test_every_symmetry(model: HamiltonianModel, seed: int) -> None:
    errors = equivariance_error(model, make_structure(seed), seed)
    assert max(errors.values()) < 1e-10, errors


def test_prediction_is_real_and_hermitian(model: HamiltonianModel, structure: Hamiltonian) -> None:
    """Without spin, time reversal means a real H."""
    H = predict(model, structure)
    assert H.entries.dtype == np.float64
    assert H.hermiticity_error() < 1e-10
    assert np.ptp(H.entries) > 1  # eV; a zero would pass every test of symmetry


def test_the_network_contributes(model: HamiltonianModel, structure: Hamiltonian) -> None:
    """Atoms beyond the two of a bond matter: it is not only the two-centre baseline that is symmetric."""
    moved = structure.system.positions.copy()
    moved[3] += [0.1, -0.05, 0.02]
    other = make_structure(7, positions=moved, noise=0.0)
    same = (structure.S.pairs[:, 3:] < 2).all(axis=1)
    place = [np.flatnonzero((other.S.pairs == p).all(axis=1))[0] for p in structure.S.pairs[same]]
    change = predict(model, structure).selected(np.flatnonzero(same)).entries - predict(model, other).selected(np.array(place)).entries
    assert np.abs(change).max() > 1e-3


@pytest.fixture(scope="module")
def axes() -> Hamiltonian:
    """Bonds exactly along +-x, +-y and +-z; an orthorhombic cell, so that little else is symmetric."""
    corners = np.array([[0, 0, 0], [1.7, 0, 0], [0, 1.6, 0], [0, 0, 1.5]])
    return make_structure(0, corners, noise=0.0, cell=np.diag([3.9, 3.6, 3.3]))


def test_bonds_along_the_axes(model: HamiltonianModel, axes: Hamiltonian) -> None:
    errors = equivariance_error(model, axes)
    assert max(errors.values()) < 1e-10, errors


@pytest.mark.parametrize("rotation", CUBIC)
def test_all_48_operations_of_the_cube(model: HamiltonianModel, axes: Hamiltonian, rotation: np.ndarray) -> None:
    """Each maps axes exactly onto axes, where a frame with poles would jump."""
    assert largest(predict(model, rotated(axes, rotation)), rotated_blocks(predict(model, axes), axes, rotation)) < 1e-10


def test_symmetry_forbids_what_it_must(model: HamiltonianModel) -> None:
    """A dimer is symmetric about its axis: only m1 = m2 may couple, however the weights look."""
    dimer = make_structure(0, np.array([[0.0, 0, 0], [0, 0, 1.6]]), noise=0.0, cell=20 * np.eye(3))
    block = predict(model, dimer).block((0, 0, 0, 0, 1))[0]
    m_i, m_j = np.array([0, 0, -1, 0, 1]), np.array([-1, 0, 1, 0, -2, -1, 0, 1, 2])
    forbidden = m_i[:, None] != m_j
    assert np.abs(block[forbidden]).max() < 1e-10
    assert np.abs(block[~forbidden]).max() > 1e-2
    equal = [block[4, 2] - block[2, 0], block[4, 7] - block[2, 5]]  # m = +1 and m = -1 are one irrep
    assert np.abs(equal).max() < 1e-10


def _components_apart(self: so2.BondLinear, x: list[Tensor], add: list[Tensor | None] | None = None) -> list[Tensor]:
    out = []
    for s, (features, weight) in enumerate(zip(x, self.weights, strict=True)):
        y = torch.stack([torch.bmm(one, (1.02 if n else 1.0) * weight) for n, one in enumerate(features.unbind(1))], 1)
        out.append(y if add is None or add[s] is None else y + add[s])
    return out


def _gate_by(scalar: str) -> object:
    plain = so2.Gate.forward

    def forward(self: so2.Gate, x: list[Tensor]) -> list[Tensor]:
        gates = x[0][..., -self.n_gates :].clone()
        wrong = {"u": lambda: gates[1], "Sigma-": lambda: gates[0] + x[1][0, ..., :1], "Pi": lambda: gates[0] + x[2][0, :1, :, :1]}[
            scalar
        ]()
        return plain(self, [torch.cat([x[0][..., : -self.n_gates], torch.stack([wrong, gates[1]])], -1), *x[1:]])

    return forward


def _without_inversion(_layout: bond.BondLayout, x: Tensor) -> Tensor:
    return x


def _silu_of_all(x: Tensor) -> Tensor:
    return torch.nn.functional.silu(x) + 0.02 * x.roll(1, -2)


BROKEN: dict[str, tuple[object, str, object, str]] = {
    "cos and sin with different matrices": (so2.BondLinear, "forward", _components_apart, "roll"),
    "gates odd under exchange": (so2.Gate, "forward", _gate_by("u"), "exchange"),
    "gates odd under mirrors": (so2.Gate, "forward", _gate_by("Sigma-"), "reflection"),
    "gates with an angle": (so2.Gate, "forward", _gate_by("Pi"), "roll"),
    "ends exchanged without the mirror": (bond.BondLayout, "_inverted", _without_inversion, "exchange"),
    "bonds mixed within a chunk": (so2, "silu", _silu_of_all, "permutation"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_layer_is_caught(model: HamiltonianModel, structure: Hamiltonian, name: str) -> None:
    """The test of the test: each wrong network must violate the symmetry it breaks."""
    owner, attribute, wrong, symmetry = BROKEN[name]
    with mock.patch.object(owner, attribute, wrong):
        errors = equivariance_error(model, structure)
    assert errors[symmetry] > 1e-4, errors
    assert equivariance_error(model, structure)[symmetry] < 1e-10
