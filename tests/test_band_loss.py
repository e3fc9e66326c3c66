"""Errors in the states of the DFT: against the solver, plain numpy, finite differences, and what must not change them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from network_case import POSITIONS, make_model, make_structure, random_rotation, rotated
from spin_case import make_spin_model, make_spin_structure
from torch_geometric.data import Batch

from deeph.config import LossConfig
from deeph.inference import predict_anyway
from deeph.nn.graph import make_graph
from deeph.nn.model import HamiltonianModel
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError
from deeph.training.band_error import levels
from deeph.training.band_loss import BandTerm, States, band_loss, level_weights, weighted_length
from deeph.training.band_states import find_states, levels_below, random_k
from deeph.training.bloch_errors import bloch_errors
from deeph.training.loss import compute_loss, part_errors, structures_of
from deeph.training.metrics import PartErrors

K = np.array([0.13, 0.41, 0.27])
REACH = 2.0


@pytest.fixture(scope="module")
def structures() -> list[Hamiltonian]:
    """Four and two atoms; the levels of the smaller one are filled by electrons."""
    cell = np.array([[3.0, 0, 0], [0.3, 4.1, 0], [0.1, -0.4, 4.5]])
    small = make_structure(2, POSITIONS[:2], cell=cell)
    return [replace(make_structure(1), fermi_energy=-1.0), replace(small, n_electrons=8.0)]


@pytest.fixture(scope="module")
def model(structures: list[Hamiltonian]) -> HamiltonianModel:
    return make_model(structures)


def cases() -> list[tuple[str, HamiltonianModel, Hamiltonian]]:
    """All kinds of spin."""
    plain = [replace(make_structure(n), fermi_energy=-1.0) for n in range(2)]
    kinds = ("collinear", "spin-orbit", "magnetic")
    return [("none", make_model(plain), plain[0])] + [
        (kind, make_spin_model(kind), replace(make_spin_structure(kind, 1), fermi_energy=-1.0)) for kind in kinds
    ]


def unit_of(model: HamiltonianModel) -> float:
    return max(float(model.baseline().unit_offsite), float(model.baseline().unit_onsite))


def error_of(model: HamiltonianModel, structure: Hamiltonian, states: States) -> tuple[list[torch.Tensor], dict[str, PartErrors]]:
    graph = make_graph(structure, model, targets=True)
    prediction = model(graph)
    errors = {part.name: part_errors(model, graph, prediction, part) for part in model.spin}
    return bloch_errors(model, graph, structures_of(graph), errors, [states.k]), errors


def loss_of(model: HamiltonianModel, structures: list[Hamiltonian], k: np.ndarray = K, window: float | None = 3.0) -> torch.Tensor:
    """The term of the band stage alone."""
    batch = Batch.from_data_list([make_graph(structure, model, targets=True) for structure in structures])
    prediction = model(batch)
    errors = {part.name: part_errors(model, batch, prediction, part) for part in model.spin}
    term = BandTerm([find_states(structure, k, window) for structure in structures], REACH, 1.0)
    return band_loss(model, batch, structures_of(batch), errors, term)[0]


@pytest.mark.parametrize(("kind", "model", "structure"), cases(), ids=lambda x: x if isinstance(x, str) else "")
@pytest.mark.parametrize("k", [K, np.zeros(3)], ids=["general", "Gamma"])
@torch.no_grad()
def test_the_error_is_that_of_the_bloch_matrices(kind, model, structure, k):
    """And the levels of E + M are those that the solver finds for the predicted H."""
    found, states = predict_anyway(model, structure), find_states(structure, k, 3.0)
    dH = error_of(model, structure, states)[0][0]
    assert len(dH) == (2 if kind == "collinear" else 1)
    assert dH.is_complex() == bool(k.any() or structure.basis.spin == "spinor")
    bloch = found.H_bloch, structure.H_bloch
    for component, own in enumerate(dH):
        predicted, reference = (b.dense(k, component=component, gauge="atomic") for b in bloch)
        np.testing.assert_allclose(own.numpy(), predicted - reference, atol=1e-9)
        C = states.vectors[component].to(own)
        M = C.mH @ own @ C
        after = torch.linalg.eigvalsh(torch.diag(states.energies[component]).to(M) + M).numpy()
        np.testing.assert_allclose(after, levels(found, k[None])[component, 0], atol=1e-7)


@torch.no_grad()
def test_no_error_no_loss(model, structures):
    graph, states = make_graph(structures[0], model, targets=True), find_states(structures[0], K, 3.0)
    errors = error_of(model, structures[0], states)[1]
    none = {n: PartErrors([(k, r, 0 * e) for k, r, e in p.offsite], [(z, r, 0 * e) for z, r, e in p.onsite]) for n, p in errors.items()}
    model.eval()
    loss, sums = band_loss(model, graph, structures_of(graph), none, BandTerm([states], REACH, 1.0))
    assert float(loss) < 1e-8
    assert float(sums["level_abs_sum"]) < 1e-9
    assert float(sums["level_count"]) == states.n_low[0]


@torch.no_grad()
def test_the_loss_in_plain_numpy(model, structures):
    """P P, P Q and Q Q blocks; the errors of the levels."""
    states = [find_states(structure, K, 3.0) for structure in structures]
    expected, changes = [], []
    for structure, one in zip(structures, states, strict=True):
        dH, C, E, n = error_of(model, structure, one)[0][0][0].numpy(), one.vectors[0].numpy(), one.energies[0].numpy(), one.n_low[0]
        assert 1 < n < len(E) - 1
        M, w = C.conj().T @ dH @ C, np.array([1.0] * n + [REACH / (REACH + e - E[n - 1]) for e in E[n:]])
        blocks = (np.abs(M[:n, :n]) ** 2).sum() + 2 * (np.abs(M[:n, n:]) ** 2 * w[n:]).sum()
        blocks += (np.abs(M[n:, n:]) ** 2 * w[n:, None] * w[n:]).sum()
        expected.append(np.sqrt(blocks / w.sum()) / unit_of(model))
        changes.append(np.abs(np.linalg.eigvalsh(np.diag(E) + M)[:n] - E[:n]))
    assert float(loss_of(model, structures)) == pytest.approx(np.mean(expected), rel=1e-9)
    batch = Batch.from_data_list([make_graph(structure, model, targets=True) for structure in structures])
    plain, weighted = (compute_loss(model, batch, LossConfig(), term) for term in (None, BandTerm(states, REACH, 0.3)))
    assert float(weighted[0] - plain[0]) == pytest.approx(0.3 * np.mean(expected), rel=1e-9)
    assert float(weighted[1]["level_abs_sum"]) == pytest.approx(np.concatenate(changes).sum(), rel=1e-9)
    assert float(compute_loss(model, batch, LossConfig(), BandTerm(states, REACH, 0.0))[0]) == pytest.approx(float(plain[0]), rel=1e-12)


@torch.no_grad()
def test_batches_and_chunks_change_nothing(model, structures):
    both = float(loss_of(model, structures))
    assert np.mean([float(loss_of(model, [structure])) for structure in structures]) == pytest.approx(both, rel=1e-10)
    chunks = model.config
    try:
        model.config = chunks.model_copy(update={"chunk_bonds": 3})
        assert float(loss_of(model, structures)) == pytest.approx(both, rel=1e-10)
    finally:
        model.config = chunks


@torch.no_grad()
def test_the_metric_of_the_overlap(model, structures):
    """With all levels the error is |S^-1/2 dH S^-1/2| per orbital."""
    structure = structures[0]
    states = find_states(structure, K, None)
    dH, S = error_of(model, structure, states)[0][0][0].numpy(), structure.S_bloch.dense(K, gauge="atomic")
    values, vectors = np.linalg.eigh(S)
    root = vectors / np.sqrt(values) @ vectors.conj().T
    expected = np.linalg.norm(root @ dH @ root) / np.sqrt(len(S)) / unit_of(model)
    assert float(loss_of(model, [structure], window=None)) == pytest.approx(expected, rel=1e-9)


@torch.no_grad()
def test_a_turned_crystal_has_the_same_error(model, structures):
    for proper in (True, False):
        turned = rotated(structures[0], random_rotation(3, proper=proper))
        assert float(loss_of(model, [turned])) == pytest.approx(float(loss_of(model, structures[:1])), rel=1e-9)


def test_mixed_degenerate_levels_have_the_same_error():
    """W depends on the energies alone, and levels that are degenerate with the last one of the window are in it."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(2, 6, 6))
    M, energies = torch.as_tensor(A[0] + A[0].T), np.array([-3.0, -1.0, -1.0, 2.0, 2.0 + 1e-9, 5.0])
    U = np.eye(6)
    for pair in (slice(1, 3), slice(3, 5)):
        U[pair, pair] = np.linalg.qr(A[1][pair, pair])[0]
    mixed = torch.as_tensor(U.T) @ M @ torch.as_tensor(U)
    assert [levels_below(energies, limit) for limit in (-9.0, -1.5, -1.0, 2.0, 9.0)] == [1, 1, 3, 5, 6]
    for n in (1, 3, 5, 6):
        weights = level_weights(torch.as_tensor(energies), n, REACH)
        assert float(weighted_length(mixed, weights)) == pytest.approx(float(weighted_length(M, weights)), rel=1e-7)


@pytest.mark.parametrize("kind", ["none", "magnetic"])
def test_gradient(kind):
    """Against finite differences along a random direction of all weights."""
    _, model, structure = next(case for case in cases() if case[0] == kind)
    loss_of(model, [structure]).backward()
    torch.manual_seed(1)
    directions = [torch.randn_like(p) for p in model.parameters()]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(model.parameters(), directions, strict=True) if p.grad is not None)
    values = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            for p, d in zip(model.parameters(), directions, strict=True):
                p.add_(d, alpha=step)
            values.append(float(loss_of(model, [structure])))
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)
    assert abs(slope) > 1e-3


def test_a_molecule_has_gamma_alone(structures):
    molecule = make_structure(3, POSITIONS, cell=40 * np.eye(3))
    assert not molecule.S.pairs[:, :3].any()
    assert random_k(molecule, "a", 0, 0).tolist() == [0, 0, 0]
    assert not find_states(replace(molecule, n_electrons=8.0), np.zeros(3), 3.0).vectors.is_complex()
    k = [random_k(structures[0], name, seed, turn) for name, seed, turn in (("a", 0, 0), ("b", 0, 0), ("a", 1, 0), ("a", 0, 1))]
    assert len({tuple(one) for one in k}) == 4
    assert np.array_equal(k[0], random_k(structures[0], "a", 0, 0))


def test_levels_that_cannot_be_counted():
    with pytest.raises(DataError, match="Fermi level is not known"):
        find_states(make_structure(1), K, 3.0)
    assert find_states(make_structure(1), K, None).n_low == (28,)
