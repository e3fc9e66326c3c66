"""Layers that are done again for the gradient, and gradients of weights that are summed in pieces: the same numbers."""

import pytest
import torch
from network_case import make_model, make_structure
from torch import Tensor
from torch_geometric.data import Data

from deeph.config import LossConfig
from deeph.nn import so2, so2_network
from deeph.nn.graph import make_graph
from deeph.nn.model import HamiltonianModel
from deeph.training.loss import compute_loss


@pytest.fixture(scope="module")
def model() -> HamiltonianModel:
    return make_model([make_structure(n) for n in range(3)])


@pytest.fixture(scope="module")
def graph(model: HamiltonianModel) -> Data:
    return make_graph(make_structure(5), model, targets=True)


class Kept:
    """Bytes of the tensors that wait for the gradient, each storage once."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        self.storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor


def gradient(model: HamiltonianModel, graph: Data) -> tuple[float, list[Tensor], int]:
    """Loss, gradient, and what was kept for it."""
    model.zero_grad()
    kept = Kept()
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        loss = compute_loss(model, graph, LossConfig())[0]
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in model.parameters() if p.grad is not None], sum(kept.storages.values())


def test_layers_done_again_give_the_same(model: HamiltonianModel, graph: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = gradient(model, graph)
    monkeypatch.setattr(so2_network, "KEPT_LAYERS", 0)
    again = gradient(model, graph)
    assert again[0] == plain[0]
    for a, b in zip(again[1], plain[1], strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-14)
    assert again[2] < 0.6 * plain[2]


def test_only_large_graphs_are_done_twice(model: HamiltonianModel) -> None:
    assert not model.trunk.is_recomputed(1000)
    assert model.trunk.is_recomputed(10**7)
    with torch.no_grad():
        assert not model.trunk.is_recomputed(10**7)


@pytest.mark.parametrize("n", [5, 64, 100])
def test_a_sum_in_pieces_is_the_gradient_of_a_product(n: int) -> None:
    torch.manual_seed(0)
    x, w = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, n, 3), (2, 3, 4)))
    assert torch.autograd.gradcheck(so2._Product.apply, (x, w))
    assert torch.equal(so2._Product.apply(x, w), torch.bmm(x, w))
