"""Optimizer, schedule, running average and batches against their formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from deeph.config import TrainConfig
from deeph.training.batches import plan_batches, share, shuffled
from deeph.training.optim import RunningAverage, _first_basis, learning_rate, make_optimizer


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.element = torch.nn.Embedding(4, 3)
        self.final_norm = torch.nn.Module()
        self.final_norm.scale = torch.nn.Parameter(torch.ones(2, 2))


def test_schedule() -> None:
    config = TrainConfig(learning_rate=1e-2, min_learning_rate=1e-5, warmup=0.1)
    assert learning_rate(config, 0) == 0
    assert learning_rate(config, 0.05) == pytest.approx(5e-3)
    assert learning_rate(config, 0.1) == pytest.approx(1e-2)
    assert learning_rate(config, 0.55) == pytest.approx((1e-2 + 1e-5) / 2)
    assert learning_rate(config, 1.0) == learning_rate(config, 1.7) == pytest.approx(1e-5)
    assert learning_rate(TrainConfig(warmup=0.0), 0) == TrainConfig().learning_rate


@given(a=st.floats(0.03, 1), b=st.floats(0.03, 1))
def test_schedule_falls_after_the_warmup(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert learning_rate(TrainConfig(), high) <= learning_rate(TrainConfig(), low) + 1e-15


def test_only_linear_maps_decay() -> None:
    model = Small()
    decayed, spared = make_optimizer(model, TrainConfig(weight_decay=0.1)).param_groups
    assert [id(p) for p in decayed["params"]] == [id(model.linear.weight)]
    assert decayed["weight_decay"] == 0.1
    assert {id(p) for p in spared["params"]} == {id(model.linear.bias), id(model.element.weight), id(model.final_norm.scale)}
    assert spared["weight_decay"] == 0


def test_first_step_is_that_of_adamw() -> None:
    """After one step Adam has moved by lr g/(|g| + eps), and decay has shrunk the weight by 1 - lr wd."""
    model = torch.nn.Linear(2, 2, bias=False).double()
    old = model.weight.detach().clone()
    optimizer = make_optimizer(model, TrainConfig(optimizer="adamw", weight_decay=0.1, learning_rate=0.01, min_learning_rate=0.0))
    model.weight.grad = torch.tensor([[1.0, -2.0], [0.5, 4.0]], dtype=torch.float64)
    optimizer.step()
    expected = old * (1 - 0.01 * 0.1) - 0.01 * model.weight.grad / (model.weight.grad.abs() + 1e-8)
    torch.testing.assert_close(model.weight.detach(), expected, rtol=1e-12, atol=1e-14)


def test_running_average() -> None:
    model = torch.nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(1.0)
    average = RunningAverage(model, 0.5)
    expected = 1.0
    for n in range(30):
        value = math.sin(n)
        with torch.no_grad():
            model.weight.fill_(value)
        average.update()
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert float(average.weights["weight"]) == pytest.approx(expected, rel=1e-12)
    with average.applied():
        assert model.weight.item() == pytest.approx(expected, rel=1e-12)
    assert model.weight.item() == value


def test_average_is_undone_after_an_error() -> None:
    model = torch.nn.Linear(1, 1)
    average = RunningAverage(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(7.0)
    with pytest.raises(RuntimeError, match="inside"), average.applied():
        raise RuntimeError("inside")
    assert model.weight.item() == 7.0


@given(
    bonds=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    budget=st.integers(1, 120),
    most=st.integers(1, 9),
    size=st.integers(1, 5),
)
def test_batches_hold_every_structure_once(bonds: list[int], budget: int, most: int, size: int) -> None:
    n_bonds = {str(i): n for i, n in enumerate(bonds)}
    names = shuffled(list(n_bonds), 3, 1)
    batches = plan_batches(names, n_bonds, TrainConfig(batch_bonds=budget, batch_structures=most))
    assert [name for batch in batches for name in batch] == names
    for batch in batches:
        assert batch
        assert len(batch) == 1 or sum(n_bonds[name] for name in batch) <= budget
        assert len(batch) <= most
        parts = [share(batch, n_bonds, rank, size) for rank in range(size)]
        assert sorted(name for part in parts for name in part) == sorted(batch)


def test_order_depends_on_seed_and_epoch() -> None:
    names = [str(i) for i in range(20)]
    assert shuffled(names, 1, 4) == shuffled(names, 1, 4)
    assert len({tuple(shuffled(names, seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_soap_is_adam_in_the_eigenbases() -> None:
    """Three steps against the formulas with full diagonalizations: bases stay those of the first gradient until they are turned."""
    torch.manual_seed(0)
    model = torch.nn.ParameterDict({"weights": torch.nn.Parameter(torch.randn(2, 4, 4, dtype=torch.float64))})
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.1, learning_rate=0.01))
    expected = model["weights"].detach().clone()
    grads = torch.randn(4, 2, 4, 4, dtype=torch.float64)
    U, V = (_first_basis(x) for x in (grads[0] @ grads[0].mT, grads[0].mT @ grads[0]))
    mean = square = torch.zeros(2, 4, 4, dtype=torch.float64)
    for n, grad in enumerate(grads):
        model["weights"].grad = grad.clone()
        optimizer.step()
        if n:
            turned = U.mT @ grad @ V
            mean, square = 0.95 * mean + 0.05 * turned, 0.95 * square + 0.05 * turned**2
            step = (mean / (1 - 0.95**n)) / ((square / (1 - 0.95**n)).sqrt() + 1e-8)
            expected = expected * (1 - 0.01 * 0.1) - 0.01 * U @ step @ V.mT
        torch.testing.assert_close(model["weights"].detach(), expected, rtol=1e-10, atol=1e-12)


def test_soap_follows_the_eigenvectors() -> None:
    """Gradients with fixed principal axes: after some turns the bases are these axes, in falling order."""
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    model = torch.nn.ParameterDict({"weights": torch.nn.Parameter(torch.zeros(4, 6, dtype=torch.float64))})
    optimizer = make_optimizer(model, TrainConfig())
    for _ in range(400):
        model["weights"].grad = axes @ (torch.tensor([8.0, 4.0, 2.0, 1.0]).double()[:, None] * torch.randn(4, 6, dtype=torch.float64))
        optimizer.step()
    overlap = (axes.T @ optimizer.state[model["weights"]]["left_basis"][0]).abs()
    assert float(overlap.diagonal().min()) > 0.9


def test_first_basis() -> None:
    """Eigenvectors in falling order; where the matrix is zero, axes that noise does not turn."""
    torch.manual_seed(0)
    G = torch.randn(1, 6, 2, dtype=torch.float64)
    square = G @ G.mT
    basis = _first_basis(square)[0]
    values = (basis.T @ square[0] @ basis).diagonal()
    exact = torch.linalg.eigvalsh(square[0]).flip(0)
    torch.testing.assert_close(values, exact, rtol=1e-2, atol=1e-2 * float(exact[0]))
    noise = 1e-15 * torch.randn(6, 6, dtype=torch.float64)
    assert float((_first_basis(square + noise + noise.T)[0] - basis).abs().max()) < 1e-10


def test_what_is_no_matrix_moves_as_adamw_does() -> None:
    grads = {name: torch.randn_like(p) for name, p in Small().named_parameters()}
    moved = {}
    for kind in ("soap", "adamw"):
        torch.manual_seed(0)
        other = Small()
        for name, p in other.named_parameters():
            p.grad = grads[name].clone()
        make_optimizer(other, TrainConfig(optimizer=kind)).step()
        moved[kind] = {name: p.detach().clone() for name, p in other.named_parameters()}
    same = {name for name in grads if torch.equal(moved["soap"][name], moved["adamw"][name])}
    assert same == set(grads) - {"linear.weight"}


class Operations(TorchDispatchMode):
    """Counts operations."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += 1
        return func(*args, **(kwargs or {}))


def test_alike_matrices_move_together() -> None:
    """Ten matrices of one shape take hardly more operations than two, and each moves as it does alone."""
    torch.manual_seed(0)
    start, grads = torch.randn(10, 3, 4, 6), torch.randn(12, 10, 3, 4, 6)

    def moved(members: slice) -> tuple[list[torch.Tensor], int]:
        model = torch.nn.ParameterList([torch.nn.Parameter(x.clone()) for x in start[members]])
        optimizer = make_optimizer(model, TrainConfig(weight_decay=0.1))
        for grad in grads:
            for p, own in zip(model, grad[members], strict=True):
                p.grad = own.clone()
            with Operations() as counted:
                optimizer.step()
        return [p.detach() for p in model], counted.number

    all_ten, n_ten = moved(slice(None))
    two, n_two = moved(slice(4, 6))
    for found, alone in zip(all_ten[4:6], two, strict=True):
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-6)
    assert n_ten < n_two + 60
