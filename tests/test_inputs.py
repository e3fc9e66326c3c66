"""Blocks of S and H0 as input of the network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from given_case import make_given_model, make_known, predict, symmetry_errors
from network_case import TINY, random_rotation
from spin_case import SPIN_TINY, make_spin_structure, spin_errors

from deeph.config import LossConfig, ModelConfig
from deeph.files.store import read_folder
from deeph.inference import predict_folder
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.nn.kinds import find_kinds
from deeph.nn.model import HamiltonianModel, sorted_bonds
from deeph.training.checkpoint import load_model, save_model
from deeph.training.loss import compute_loss

SWITCHES = {
    "S": {"overlap_input": True, "zeroth": "never"},
    "H0": {"zeroth_input": True},
    "both": {"overlap_input": True, "zeroth_input": True},
}


def config(name: str) -> ModelConfig:
    return TINY.model_copy(update=SWITCHES[name])


@pytest.fixture(scope="module")
def models() -> dict[str, HamiltonianModel]:
    return {name: make_given_model(config(name)) for name in SWITCHES}


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("seed", range(2))
def test_every_symmetry(models, name, seed):
    """With an S and an H0 of no symmetry at all: every irrep of a block takes part."""
    errors = symmetry_errors(models[name], make_known(seed), seed)
    assert max(errors.values()) < 1e-10, errors


@pytest.mark.parametrize("name", SWITCHES)
def test_what_is_read_in_matters(models, name):
    """Also on other bonds than its own: values that change on one bond change H of atoms it does not touch."""
    model, one = models[name], make_known(4)
    before = predict(model, one)
    pair = int(np.flatnonzero((one.S.pairs == [0, 0, 0, 0, 1]).all(1))[0])
    index = np.array([pair, one.S.partners[pair]])

    def changed(blocks):
        entries = blocks.entries.copy()
        out = replace(blocks, entries=entries)
        block = out.take(index[:1]) + 0.05
        out.put(index[:1], block)
        out.put(index[1:], block.swapaxes(-1, -2))
        return out

    other = replace(one, S=changed(one.S), extra={"H0": changed(one.extra["H0"])})
    difference = np.abs(predict(model, other).entries - before.entries)[0]
    away = np.repeat((one.S.pairs[:, 3:] > 1).all(axis=1), one.S.shapes.prod(axis=1))
    assert difference[away].max() > 1e-5


@pytest.mark.parametrize("name", SWITCHES)
def test_the_inputs_are_learned(name):
    """Every new parameter has a gradient, and after a step the loss is another one than without the switch."""
    structures = [make_known(n) for n in range(3)]
    torch.manual_seed(0)
    model = fit_model(config(name), structures).double()
    losses = []
    optimizer = torch.optim.SGD(model.inputs.parameters(), lr=0.05)
    for _ in range(2):
        loss, _ = compute_loss(model, make_graph(structures[0], model, targets=True), LossConfig())
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        seen = {key: float(p.grad.abs().max()) for key, p in model.inputs.named_parameters() if p.grad is not None and p.numel()}
        optimizer.step()
    # embeddings and maps of what the elements do not have stay as they are
    assert all(size > 0 for key, size in seen.items() if ".linear." in key or "mix" in key), seen
    assert losses[1] < losses[0]


def test_the_other_weights_are_the_same():
    """A network with inputs begins like one without, so that both can be compared."""
    structures = [make_known(n) for n in range(3)]
    states = []
    for one in (TINY, config("both")):
        torch.manual_seed(0)
        states.append(fit_model(one, structures).state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert set(states[1]) > set(states[0])


@pytest.mark.parametrize("name", SWITCHES)
def test_what_is_read_in_is_of_the_order_of_one(models, name):
    model, one = models[name], make_known(1)
    graph = make_graph(one, model, targets=False)
    values = [graph[f"offsite_input_{matrix}"] for matrix in model.given.inputs]
    values += [graph.onsite_input_H0] if name != "S" else []
    for own in values:
        assert 0.3 < float(own.square().mean().sqrt()) < 3


def test_inputs_vanish_at_the_cutoff(models):
    model = models["both"]
    kind = (6, 6)
    r = torch.tensor([model.cutoffs[kind] - 1e-4], dtype=torch.float64)
    for name in model.given.inputs:
        known = model.known_input(name)
        c = torch.ones(1, known.baseline.pair(kind).size, dtype=torch.float64)
        assert float(known.offsite_values(kind, r, c).abs().max()) < 1e-6


@pytest.mark.parametrize("kind", ["collinear", "spin-orbit", "magnetic"])
def test_with_spin(kind):
    """The overlap, and the spin-free part of H0, are input of the even scalars; time reversal and rotations of spin stay exact."""

    def known(seed):
        one = make_spin_structure(kind, seed)
        return replace(one, extra={"H0": replace(one.hamiltonian, entries=0.9 * one.hamiltonian.entries)})

    torch.manual_seed(0)
    both = fit_model(SPIN_TINY.model_copy(update=SWITCHES["both"]), [known(n) for n in range(3)]).double().eval()
    assert both.given.inputs == ("S", "H0")
    errors = spin_errors(both, known(3))
    assert max(errors.values()) < 1e-12, errors


def test_round_trip_and_folders(models, tmp_path: Path):
    model, one = models["both"], make_known(6)
    save_model(tmp_path / "model.safetensors", model, {})
    again = load_model(tmp_path)
    assert again.given == model.given
    assert np.array_equal(predict(again, one).entries, predict(model, one).entries)
    predict_folder(model, one, tmp_path / "out")  # lets go of the numbers of S after they were read in
    order = np.argsort(one.system.numbers, kind="stable")
    assert np.abs(read_folder(tmp_path / "out").hamiltonian.entries - predict(model, one).permuted(order).entries).max() < 1e-12


def test_batches(models):
    """Two structures in a batch have the losses that they have alone."""
    from torch_geometric.data import Batch

    model = models["both"]
    graphs = [make_graph(make_known(n), model, targets=True) for n in (1, 2)]
    with torch.no_grad():
        alone = [float(compute_loss(model, graph, LossConfig())[0]) for graph in graphs]
        together = float(compute_loss(model, Batch.from_data_list(graphs), LossConfig())[0])
    assert together == pytest.approx(np.mean(alone), rel=1e-12)


def test_any_order_of_the_bonds(models):
    """What is read in follows the bonds when they are sorted by elements."""
    model, one = models["both"], make_known(1)
    graph = make_graph(one, model, targets=False)
    order = torch.as_tensor(np.random.default_rng(0).permutation(graph.bond_index.shape[1]))
    assert find_kinds(graph.numbers, graph.bond_index[:, order]).order is not None
    with torch.no_grad():
        plain, shuffled = model(graph), model(sorted_bonds(graph, order, model.row_sizes(graph.numbers, graph.bond_index)[0]))
    for (_, rows, h), (_, places, other) in zip(plain.offsite["A0"], shuffled.offsite["A0"], strict=True):
        match = (order[places][:, None] == torch.arange(len(order))[rows]).int().argmax(1)
        assert torch.allclose(other, h[match], atol=1e-12)


def test_blocks_are_read_as_heads_write_them(models):
    """The adjoint: (block, head of features) = (features, reading of the block), for all features and blocks."""
    known, one = models["S"].known_input("S").bonds, make_known(1)
    graph = make_graph(one, models["S"], targets=False)
    kinds = find_kinds(graph.numbers, graph.bond_index)
    maps = known.contract([kind for kind, _ in kinds.bonds])
    n, torch_rng = graph.bond_index.shape[1], torch.Generator().manual_seed(0)
    blocks = {kind: torch.randn(r.stop - r.start, known.tables[kind].size, generator=torch_rng).double() for kind, r in kinds.bonds}
    rows = [torch.randn(2, s.components, n, len(s.channels), generator=torch_rng).double() for s in known.sectors]
    own = [maps[kind] for kind, _ in kinds.bonds]
    with torch.no_grad():
        heads = known.head(rows, [run for _, run in kinds.bonds], own)
        read = known([(kind, blocks[kind] / known.norms[kind]) for kind, _ in kinds.bonds], maps)
    left = sum(float((h[:, 0] * blocks[kind]).sum()) for h, (kind, _) in zip(heads, kinds.bonds, strict=True))
    right = sum(float((a * b).sum()) for a, b in zip(rows, read, strict=False))
    assert left == pytest.approx(right, rel=1e-10)


def test_a_rotation_that_forgets_S_is_caught(models):
    """The test of the test: S has to be turned with the crystal."""
    from given_case import turned

    model, one, Q = models["S"], make_known(1), random_rotation(0)
    right = turned(one, Q)
    wrong = replace(right, S=one.S)
    assert np.abs(predict(model, wrong).entries - predict(model, right).entries).max() > 1e-5
