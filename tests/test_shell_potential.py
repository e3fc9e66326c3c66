"""Potentials of shells times the overlap, added to H."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from given_case import make_given_model, make_known, predict, symmetry_errors
from network_case import TINY, make_structure
from spin_case import SPIN_TINY, make_spin_structure, spin_errors

from deeph.config import LossConfig
from deeph.files.store import read_folder
from deeph.inference import predict_anyway, predict_folder
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.nn.kinds import find_kinds
from deeph.nn.model import HamiltonianModel
from deeph.physics.hamiltonian import Hamiltonian
from deeph.training.checkpoint import load_model, save_model
from deeph.training.evaluate import baseline_alone
from deeph.training.loss import compute_loss

CONFIG = TINY.model_copy(update={"potential": True})


@pytest.fixture(scope="module")
def model() -> HamiltonianModel:
    return make_given_model(CONFIG)


def test_every_symmetry(model: HamiltonianModel) -> None:
    errors = symmetry_errors(model, make_known(1), 1)
    assert max(errors.values()) < 1e-10, errors


def test_the_formula(model: HamiltonianModel) -> None:
    """H changes by 1/2 (V_ia + V_jb) S_ia,jb when V does, in every block and on-site, from nothing but S and the distances."""
    one = make_known(2)
    without = HamiltonianModel.from_description({**model.description(), "given": {**model.given._asdict(), "potential": False}}).double()
    without.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("shell_potential")})
    change = replace(one.S, entries=predict(model, one).entries - predict(without.eval(), one).entries)
    graph = make_graph(one, model, targets=False)
    with torch.no_grad():
        kinds = find_kinds(graph.numbers, graph.bond_index)
        V = model.potentials(kinds, model.features(graph)[0]).V.numpy()
    assert np.ptp(V) > 0.1
    shells = {z: np.repeat(np.arange(len(ls)), [2 * l + 1 for l in ls]) for z, ls in one.basis.shells.items()}
    lengths, checked = np.linalg.norm(_vectors(one), axis=1), 0
    for n, (i, j) in enumerate(one.S.pairs[:, 3:].tolist()):
        kind = tuple(sorted(one.system.numbers[[i, j]].tolist()))
        if lengths[n] > model.cutoffs[kind] - 1.0:  # where the cutoff of the baseline acts
            continue
        V_i, V_j = (V[atom][shells[int(one.system.numbers[atom])]] for atom in (i, j))
        index = np.array([n])
        expected = 0.5 * (V_i[:, None] + V_j) * one.S.take(index)[0, 0]
        assert np.abs(change.take(index)[0, 0] - expected).max() < 1e-10, n
        checked += 1
    assert checked > 20


def _vectors(one: Hamiltonian) -> np.ndarray:
    return one.system.positions[one.S.pairs[:, 4]] + one.S.pairs[:, :3] @ one.system.cell - one.system.positions[one.S.pairs[:, 3]]


def test_it_begins_at_zero_and_is_learned() -> None:
    structures = [make_known(n) for n in range(3)]
    models = []
    for config in (TINY, CONFIG):
        torch.manual_seed(0)
        models.append(fit_model(config, structures).double().eval())
    first = [predict(one, structures[0]).entries for one in models]
    assert np.array_equal(*first)
    optimizer = torch.optim.SGD(models[1].shell_potential.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss, _ = compute_loss(models[1], make_graph(structures[0], models[1], targets=True), LossConfig())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    assert not np.array_equal(predict(models[1], structures[0]).entries, first[0])


def test_a_potential_is_learned_faster_with_it() -> None:
    """H - H0 = 1/2 (V_i + V_j) S with V of the neighbours' number: the network can say it with a few numbers."""

    def shifted(seed: int) -> Hamiltonian:
        one = make_structure(seed)
        rng = np.random.default_rng(seed)
        V = rng.normal(size=one.system.n_atoms)
        shift = one.S.mapped(lambda blocks, pairs: blocks * 0.5 * (V[pairs[:, 3]] + V[pairs[:, 4]])[:, None, None])
        return replace(one, H=replace(one.hamiltonian, entries=one.hamiltonian.entries + shift.entries), extra={"H0": one.hamiltonian})

    one = shifted(0)
    losses = []
    for config in (TINY, CONFIG):
        torch.manual_seed(0)
        model = fit_model(config, [one]).double()
        graph = make_graph(one, model, targets=True)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(40):
            loss, _ = compute_loss(model, graph, LossConfig())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] < 0.9 * losses[0], losses


@pytest.mark.parametrize("kind", ["collinear", "magnetic"])
def test_with_spin(kind: str) -> None:
    """V belongs to the spin-free part."""
    torch.manual_seed(0)
    model = fit_model(SPIN_TINY.model_copy(update={"potential": True}), [make_spin_structure(kind, n) for n in range(3)]).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    errors = spin_errors(model, make_spin_structure(kind, 3))
    assert max(errors.values()) < 1e-12, errors


def test_round_trip_and_folders(model: HamiltonianModel, tmp_path: Path) -> None:
    one = make_known(6)
    save_model(tmp_path / "model.safetensors", model, {})
    assert np.array_equal(predict(load_model(tmp_path), one).entries, predict(model, one).entries)
    predict_folder(model, one, tmp_path / "out")
    order = np.argsort(one.system.numbers, kind="stable")
    assert np.abs(read_folder(tmp_path / "out").hamiltonian.entries - predict(model, one).permuted(order).entries).max() < 1e-12


def test_the_baseline_alone_has_no_potential(model: HamiltonianModel) -> None:
    one = make_known(1)
    plain = make_given_model(TINY)
    assert np.array_equal(
        predict_anyway(baseline_alone(model), one).hamiltonian.entries, predict_anyway(baseline_alone(plain), one).hamiltonian.entries
    )
