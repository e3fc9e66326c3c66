"""The loss and the metrics as numbers: structures of different size against plain numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from network_case import BASIS, POSITIONS, make_model, make_structure
from torch_geometric.data import Batch

from deeph.config import LossConfig
from deeph.inference import predict
from deeph.nn.graph import make_graph
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import energy_zero
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.training.loss import compute_loss
from deeph.training.metrics import summarize


@pytest.fixture(scope="module")
def structures() -> list[Hamiltonian]:
    """Four and two atoms."""
    cell = np.array([[3.0, 0, 0], [0.3, 4.1, 0], [0.1, -0.4, 4.5]])
    return [make_structure(1), make_structure(2, POSITIONS[:2], cell=cell)]


@pytest.fixture(scope="module")
def model(structures: list[Hamiltonian]) -> HamiltonianModel:
    return make_model(structures)


@torch.no_grad()
def errors_of(model: HamiltonianModel, structure: Hamiltonian) -> tuple[np.ndarray, np.ndarray]:
    """Errors of all off-site and of all on-site coefficients, eV, bond by bond and atom by atom."""
    graph = make_graph(structure, model, targets=True)
    size = {z: sum(2 * l + 1 for l in shells) for z, shells in BASIS.shells.items()}
    z = graph.numbers.tolist()
    n_bond = [size[z[i]] * size[z[j]] for i, j in graph.bond_index.T.tolist()]
    starts = {"bond": np.cumsum([0, *n_bond]), "atom": np.cumsum([0, *(size[a] ** 2 for a in z)])}
    prediction: Any = model(graph)
    offsite, onsite = np.full(starts["bond"][-1], np.nan), np.full(starts["atom"][-1], np.nan)
    for _, rows, h in prediction.offsite["A0"]:
        for bond, values in zip(torch.arange(len(n_bond))[rows].tolist(), h[:, 0].numpy(), strict=True):
            place = slice(starts["bond"][bond], starts["bond"][bond + 1])
            offsite[place] = graph.offsite_scale_A0[place].numpy() * values - graph.offsite_target_A0[place].numpy()
    for element, rows, h in prediction.onsite["A0"]:
        for atom, values in zip(torch.arange(len(z))[rows].tolist(), h[:, 0].numpy(), strict=True):
            place = slice(starts["atom"][atom], starts["atom"][atom + 1])
            onsite[place] = model.baseline().atom_scale(element).numpy() * values - graph.onsite_target_A0[place].numpy()
    assert np.isfinite(offsite).all()
    assert np.isfinite(onsite).all()
    return offsite, onsite


@pytest.mark.parametrize(
    ("onsite_weight", "mae_weight", "rmse_weight"), [(1.0, 1.0, 1.0), (0.3, 0.7, 1.9), (2.5, 0.0, 1.0), (0.0, 1.3, 0.0)]
)
def test_the_loss_is_the_mean_over_structures(model, structures, onsite_weight, mae_weight, rmse_weight):
    def size(errors: np.ndarray, unit: torch.Tensor) -> float:
        return (mae_weight * np.abs(errors).mean() + rmse_weight * np.sqrt((errors**2).mean())) / float(unit)

    parts = [errors_of(model, structure) for structure in structures]
    assert len(parts[0][0]) > 1.5 * len(parts[1][0])
    units = model.baseline().unit_offsite, model.baseline().unit_onsite
    assert float(units[0]) != pytest.approx(float(units[1]), rel=0.1)
    expected = np.mean([size(off, units[0]) + onsite_weight * size(on, units[1]) for off, on in parts])
    config = LossConfig(onsite_weight=onsite_weight, mae_weight=mae_weight, rmse_weight=rmse_weight)
    batch = Batch.from_data_list([make_graph(structure, model, targets=True) for structure in structures])
    assert float(compute_loss(model, batch, config)[0].detach()) == pytest.approx(expected, rel=1e-9)
    single = [float(compute_loss(model, make_graph(structure, model, targets=True), config)[0].detach()) for structure in structures]
    assert np.mean(single) == pytest.approx(expected, rel=1e-9)


def test_the_targets_are_what_the_baseline_leaves(model, structures):
    """A network that gives the targets over their scale has no loss, and predicts H itself."""
    offsite, onsite = (np.concatenate(parts) for parts in zip(*[errors_of(model, s) for s in structures], strict=True))
    for structure, part in zip(structures, [errors_of(model, s) for s in structures], strict=True):
        difference = predict(model, structure).hamiltonian.entries - structure.hamiltonian.entries
        squares = float((difference**2).sum())  # coefficients are orthonormal, and each bond counts in both directions
        assert squares == pytest.approx(2 * (part[0] ** 2).sum() + (part[1] ** 2).sum(), rel=1e-5)
    assert len(offsite) > len(onsite)


def plain_metrics(model: HamiltonianModel, structures: list[Hamiltonian]) -> dict[str, float]:
    """Metrics in meV from the matrix elements of the predictions."""
    absolute: dict[str, list[np.ndarray]] = {"offsite": [], "onsite": [], "projected": []}
    for structure in structures:
        H = structure.hamiltonian
        difference = type(H)(H.pairs, H.shapes, 1e3 * (predict(model, structure).hamiltonian.entries - H.entries))
        own = np.repeat(is_onsite(H.pairs), H.shapes.prod(axis=1))
        absolute["offsite"].append(difference.entries[0, ~own])
        absolute["onsite"].append(difference.entries[0, own])
        absolute["projected"].append((difference.entries - energy_zero(difference, structure.S) * structure.S.entries)[0])
    offsite, onsite, projected = (np.concatenate(parts) for parts in absolute.values())
    everything = np.concatenate([offsite, onsite])
    return {
        "mae_meV": np.abs(everything).mean(),
        "projected_mae_meV": np.abs(projected).mean(),
        "offsite_mae_meV": np.abs(offsite).mean(),
        "onsite_mae_meV": np.abs(onsite).mean(),
        "rmse_meV": np.sqrt((everything**2).mean()),
    }


def test_the_metrics_are_those_of_the_matrix_elements(model, structures):
    batch = Batch.from_data_list([make_graph(structure, model, targets=True) for structure in structures])
    found = summarize({name: float(value) for name, value in compute_loss(model.eval(), batch, LossConfig())[1].items()})
    expected = plain_metrics(model, structures)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def test_the_metrics_of_training_are_those_of_the_coefficients(model, structures):
    """Cheaper: absolute errors in the bond frames."""
    batch = Batch.from_data_list([make_graph(structure, model, targets=True) for structure in structures])
    try:
        sums = compute_loss(model.train(), batch, LossConfig())[1]
    finally:
        model.eval()
    found = summarize({name: float(value) for name, value in sums.items()})
    offsite, onsite = (1e3 * np.concatenate(parts) for parts in zip(*[errors_of(model, s) for s in structures], strict=True))
    n = 2 * len(offsite) + len(onsite)
    assert found["mae_meV"] == pytest.approx((2 * np.abs(offsite).sum() + np.abs(onsite).sum()) / n, rel=1e-9)
    assert found["offsite_mae_meV"] == pytest.approx(np.abs(offsite).mean(), rel=1e-9)
    assert found["onsite_mae_meV"] == pytest.approx(np.abs(onsite).mean(), rel=1e-9)
    assert found["rmse_meV"] == pytest.approx(np.sqrt((2 * (offsite**2).sum() + (onsite**2).sum()) / n), rel=1e-9)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_errors_over_a_power_of_sigma(model, structures, power):
    """Divided by sigma^p, and scaled so that errors as large as sigma count as they do without."""

    def size(errors: np.ndarray, sigma: np.ndarray, unit: torch.Tensor) -> float:
        e = errors / sigma**power * np.sqrt((sigma**2).mean() / (sigma ** (2 - 2 * power)).mean())
        return (np.abs(e).mean() + np.sqrt((e**2).mean())) / float(unit)

    expected, units = [], (model.baseline().unit_offsite, model.baseline().unit_onsite)
    for structure in structures:
        graph, errors = make_graph(structure, model, targets=True), errors_of(model, structure)
        onsite = np.concatenate([model.baseline().atom_scale(z).numpy() for z in graph.numbers.tolist()])
        sigma = [np.maximum(s, model.baseline().floor) for s in (graph.offsite_scale_A0.numpy(), onsite)]
        assert all(s.max() > 1.5 * s.min() for s in sigma)
        expected.append(sum(size(e, s, unit) for e, s, unit in zip(errors, sigma, units, strict=True)))
    batch = Batch.from_data_list([make_graph(structure, model, targets=True) for structure in structures])
    assert float(compute_loss(model, batch, LossConfig(sigma_power=power))[0].detach()) == pytest.approx(np.mean(expected), rel=1e-9)
    assert float(compute_loss(model, batch, LossConfig())[0].detach()) != pytest.approx(np.mean(expected), rel=1e-2)
