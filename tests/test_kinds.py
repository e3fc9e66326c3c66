"""Atoms by element and bonds by pair of elements: sorted once, maps of the heads made once, and what that costs."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from network_case import TINY, make_model, make_structure
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import Batch, Data

from deeph.config import LossConfig
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.nn.heads import OffsiteHead
from deeph.nn.kinds import Kinds, find_kinds
from deeph.nn.model import HamiltonianModel, sorted_bonds
from deeph.nn.rows import put_rows, take_rows
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, neighbour_pairs
from deeph.physics.system import SYMBOLS, System
from deeph.training.loss import compute_loss


@pytest.fixture(scope="module")
def model() -> HamiltonianModel:
    return make_model([make_structure(n) for n in range(3)])


@pytest.fixture(scope="module")
def graphs(model: HamiltonianModel) -> list[Data]:
    return [make_graph(make_structure(n), model, targets=True) for n in range(3)]


def losses(model: HamiltonianModel, graph: Data) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradient."""
    model.zero_grad()
    loss = compute_loss(model, graph, LossConfig())[0]
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_graphs_are_sorted_and_batches_are_not(graphs: list[Data]) -> None:
    for graph in graphs:
        kinds = find_kinds(graph.numbers, graph.bond_index)
        assert kinds.order is None
        assert len(kinds.bonds) == 3
    batch = Batch.from_data_list(graphs)
    kinds = find_kinds(batch.numbers, batch.bond_index)
    assert kinds.order is not None
    for kind, run in kinds.bonds:
        numbers = batch.numbers[batch.bond_index[:, kinds.rows(run)]]
        assert (numbers == torch.tensor(kind)[:, None]).all()
    assert sum(run.stop - run.start for _, run in kinds.bonds) == batch.bond_index.shape[1]


def test_any_order_of_the_bonds_gives_the_same(model: HamiltonianModel, graphs: list[Data]) -> None:
    """A batch is not sorted by elements; its loss and gradients are the mean of those of its graphs."""
    single = [losses(model, graph) for graph in graphs]
    together = losses(model, Batch.from_data_list(graphs))
    assert torch.allclose(together[0], sum(loss for loss, _ in single) / 3, atol=1e-12)
    for n, gradient in enumerate(together[1]):
        assert torch.allclose(gradient, sum(g[n] for _, g in single) / 3, atol=1e-10)


def test_prediction_follows_the_bonds(model: HamiltonianModel, graphs: list[Data]) -> None:
    graph = graphs[0]
    order = torch.as_tensor(np.random.default_rng(0).permutation(graph.bond_index.shape[1]))
    with torch.no_grad():
        plain, shuffled = model(graph), model(sorted_bonds(graph, order))
    assert [kind for kind, *_ in plain.offsite["A0"]] == [kind for kind, *_ in shuffled.offsite["A0"]]
    for (_, rows, h), (_, places, other) in zip(plain.offsite["A0"], shuffled.offsite["A0"], strict=True):
        bonds = torch.arange(len(order))[rows]
        match = (order[places][:, None] == bonds).int().argmax(1)  # where each shuffled bond was
        assert torch.allclose(other, h[match], atol=1e-12)


def test_chunks_know_their_kinds() -> None:
    kinds = Kinds(None, (((1, 1), slice(0, 4)), ((1, 6), slice(4, 5)), ((6, 6), slice(5, 12))), ())
    assert kinds.within(slice(0, 4)) == [((1, 1), slice(0, 4))]
    assert kinds.within(slice(3, 8)) == [((1, 1), slice(0, 1)), ((1, 6), slice(1, 2)), ((6, 6), slice(2, 5))]
    assert kinds.within(slice(8, 12)) == [((6, 6), slice(0, 4))]


def test_rows_of_different_length() -> None:
    sizes = torch.tensor([2, 2, 3, 1, 1])
    flat = torch.arange(9.0)
    for rows, size in ((slice(0, 2), 2), (slice(2, 3), 3), (slice(3, 5), 1)):
        values = take_rows(flat, sizes, rows, size)
        assert torch.equal(values, take_rows(flat, sizes, torch.arange(5)[rows], size))
        target = torch.zeros(9)
        put_rows(target, sizes, rows, values)
        assert torch.equal(target[target != 0], values[values != 0])
    assert torch.equal(take_rows(flat[:4], sizes[:2], slice(None), 2), flat[:4].view(2, 2))


@pytest.mark.parametrize("rows", [slice(0, 2), torch.tensor([1, 0], device="meta")])
def test_nothing_asks_the_device_where_rows_are(rows) -> None:
    """Tensors without content, of which nothing can be read: the host would wait for a GPU."""
    sizes, flat = torch.empty(5, dtype=torch.int64, device="meta"), torch.empty(9, device="meta")
    assert take_rows(flat, sizes, rows, 2).shape == (2, 2)
    put_rows(flat, sizes, rows, torch.empty(2, 2, device="meta"))


def test_rows_of_chunks() -> None:
    kinds = Kinds(None, (((1, 1), slice(0, 4)), ((1, 6), slice(4, 5)), ((6, 6), slice(5, 12))), ())
    sizes = {(1, 1): 1, (1, 6): 2, (6, 6): 4}
    flat = torch.cat([torch.full((sizes[kind],), float(n)) for kind, run in kinds.bonds for n in range(run.start, run.stop)])
    rows = kinds.split(flat, sizes)
    assert {kind: x.shape for kind, x in rows.items()} == {(1, 1): (4, 1), (1, 6): (1, 2), (6, 6): (7, 4)}
    for part in (slice(0, 4), slice(3, 8), slice(8, 12), slice(2, 3)):
        found = kinds.rows_within(part, rows)
        assert [len(x) for x in found] == [run.stop - run.start for _, run in kinds.within(part)]
        assert torch.cat([x[:, 0] for x in found]).tolist() == list(range(part.start, part.stop))


def test_gradients_of_the_heads(model: HamiltonianModel) -> None:
    readout, shells = model.readouts["A0"], model.basis.shells
    head = readout.offsite_heads[0]
    kinds = [((i, shells[i]), (j, shells[j])) for i, j in ((6, 6), (6, 14))]
    maps = [
        m._replace(weights=[w.detach() for w in m.weights])
        for m in head.contract(kinds, [readout.tables.pairs[6, 6], readout.tables.pairs[6, 14]])
    ]
    torch.manual_seed(0)
    e = [torch.randn(2, r.components, 5, len(r.channels), dtype=torch.float64, requires_grad=True) for r in model.trunk.layout.sectors]
    weights = [w.clone().requires_grad_() for m in maps for w in m.weights]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        n = len(e)
        own = [m._replace(weights=list(tensors[n * (k + 1) : n * (k + 2)])) for k, m in enumerate(maps)]
        return tuple(head(list(tensors[:n]), [slice(0, 2), slice(2, 5)], own))

    assert torch.autograd.gradcheck(run, (*e, *weights), fast_mode=True)


def test_a_model_that_predicted_can_be_trained(graphs: list[Data]) -> None:
    """Index tables made on the way are kept; those of inference mode could not be part of a gradient."""
    fresh = make_model([make_structure(n) for n in range(3)])
    with torch.inference_mode():
        fresh(graphs[0])
    losses(fresh, graphs[0])


class Count(TorchDispatchMode):
    """Operations."""

    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += 1
        return func(*args, **(kwargs or {}))


def test_maps_are_made_once_whatever_the_chunks(model: HamiltonianModel, graphs: list[Data]) -> None:
    plain, calls = OffsiteHead.contract, []
    fine = HamiltonianModel(model.config.model_copy(update={"chunk_bonds": 4}), model.basis, model.cutoffs, model.degree).double()
    with mock.patch.object(OffsiteHead, "contract", lambda head, *args: calls.append(1) or plain(head, *args)):
        fine(graphs[0])
    assert len(calls) == 1


def test_elements_cost_little() -> None:
    """Operations for ten pairs of elements against those for one pair, the bonds in four chunks."""
    rng, numbers = np.random.default_rng(0), np.array([6, 7, 8, 14] * 2)
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(-1, 3)
    system = System(4.0 * np.eye(3), 2.0 * corners + rng.normal(scale=0.1, size=(8, 3)), numbers)
    counts = []
    for own in (numbers, np.full(8, 6)):
        basis, radii = Basis(dict.fromkeys(own.tolist(), (0, 1))), dict.fromkeys(own.tolist(), 2.2)
        pairs = neighbour_pairs(replace(system, numbers=own), radii)
        S = PairBlocks.zeros(pairs, block_shapes(basis, own, pairs, spin=False))
        S.put(np.arange(len(pairs)), np.where(is_onsite(pairs)[None, :, None, None], np.eye(4), 0.01))
        names = {SYMBOLS[z]: r for z, r in radii.items()}
        structure = Hamiltonian(replace(system, numbers=own), basis, S, S, source={"orbital_radii": names})
        model = fit_model(TINY, [structure])
        graph = make_graph(structure, model, targets=False)
        chunk = -(-graph.bond_index.shape[1] // 4)
        model.config = model.config.model_copy(update={"chunk_bonds": chunk})
        with Count() as count, torch.no_grad():
            model(graph)
        counts.append(count.n)
    assert counts[0] < 1.5 * counts[1], counts
