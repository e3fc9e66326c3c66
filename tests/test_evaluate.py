"""evaluation.json says what deeph-compare and the metrics of training say, and what the baseline alone would reach."""

import copy
import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch
from training_case import BASIS, make_case, make_structure

from deeph.config import LossConfig
from deeph.files.config_file import load_config
from deeph.files.dataset import open_dataset
from deeph.files.store import read_folder, write_folder
from deeph.inference import predict, predict_folder
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.physics.basis import Basis
from deeph.physics.difference import TABLES, ErrorSums, sum_errors
from deeph.training.checkpoint import load_model
from deeph.training.data import split_of
from deeph.training.evaluate import EVALUATION, baseline_alone, evaluate
from deeph.training.loss import compute_loss
from deeph.training.metrics import summarize
from deeph.training.run import train
from postprocess.compare.matrices import compare_hamiltonians


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training run: its data set, split, best model and folder."""
    folder = tmp_path_factory.mktemp("evaluate")
    config = load_config(make_case(folder))
    best = train(config, folder / "run")
    dataset = open_dataset(config.data.path)
    return dataset, split_of(dataset, config.data), load_model(best), folder / "run"


def assert_close(found, expected):
    assert found.n == expected.n
    np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-6)


def test_the_numbers_are_those_of_deeph_compare(run, tmp_path):
    dataset, split, model, _ = run
    name = split.test[0]
    predict_folder(model, dataset.read(name), tmp_path / name)
    compared = compare_hamiltonians(read_folder(dataset.path / name), read_folder(tmp_path / name))
    found = evaluate(model, dataset, [name])
    assert_close(found.total["raw"], compared.raw)
    assert_close(found.total["projected"], compared.projected)
    assert found.structures[name].energy_zero == pytest.approx(compared.energy_zero, rel=1e-6)
    assert found.total["raw"].mae > 1
    turned = {"C-H": "H-C"}  # a model names elements by number, a structure in its own order
    for table in TABLES[1:4]:
        expected = {turned.get(label, label): errors for label, errors in getattr(compared, table).items()}
        assert found.sums.table(table).keys() == expected.keys()
        for label, errors in expected.items():
            assert_close(found.sums.table(table)[label], errors)
    assert len(found.sums.table("by_shells")) == len(compared.by_shells) == 6


def test_pairs_beyond_the_cutoffs_count_the_same_everywhere(tmp_path):
    """Zero is predicted for them, and their H is an error: in the metrics of training, in evaluation.json and in deeph-compare."""
    structures = [replace(make_structure(seed), source={"orbital_radii": {"C": 1.2, "H": 1.0}}) for seed in range(2)]
    for number, structure in enumerate(structures):
        write_folder(tmp_path / "data" / str(number), structure)
    dataset = open_dataset(tmp_path / "data")
    torch.manual_seed(0)
    model = fit_model(load_config(make_case(tmp_path / "case")).model, structures).double().eval()
    graphs = [make_graph(dataset.read(name), model, targets=True) for name in dataset.names]
    with torch.no_grad():
        _, sums = compute_loss(model, Batch.from_data_list(graphs), LossConfig())
        model.train()
        _, training = compute_loss(model, Batch.from_data_list(graphs), LossConfig())
        model.eval()
    metrics = summarize({name: float(value) for name, value in sums.items()})
    found = evaluate(model, dataset, dataset.names)
    count = sum(s.hamiltonian.entries.size for s in structures)
    assert found.total["raw"].n == float(sums["offsite_count"] + sums["onsite_count"]) == count
    assert float(training["offsite_count"]) == float(sums["offsite_count"])
    assert found.total["raw"].mae == pytest.approx(metrics["mae_meV"], rel=1e-5)
    assert found.total["raw"].rmse == pytest.approx(metrics["rmse_meV"], rel=1e-5)
    assert found.total["projected"].mae == pytest.approx(metrics["projected_mae_meV"], rel=1e-5)
    near = sum(int(2 * graph.offsite_target_A0.numel() + graph.onsite_target_A0.numel()) for graph in graphs)
    assert near < 0.8 * count  # a third of the elements lie beyond
    predict_folder(model, dataset.read("0"), tmp_path / "0")
    compared = compare_hamiltonians(read_folder(dataset.path / "0"), read_folder(tmp_path / "0"))
    assert compared.raw.mae == pytest.approx(found.structures["0"].raw_mae, rel=1e-5)
    assert compared.projected.mae == pytest.approx(found.structures["0"].projected_mae, rel=1e-5)


def test_sums_of_several_structures_count_entries_not_structures(run):
    dataset, split, model, _ = run
    together = evaluate(model, dataset, split.train)
    alone = [evaluate(model, dataset, [name]).total["projected"] for name in split.train]
    n = np.array([errors.n for errors in alone])
    assert together.total["projected"].n == n.sum()
    assert together.total["projected"].mae == pytest.approx(n @ [errors.mae for errors in alone] / n.sum())
    assert together.total["projected"].rmse == pytest.approx(np.sqrt(n @ [errors.rmse**2 for errors in alone] / n.sum()))
    assert together.total["projected"].max == max(errors.max for errors in alone)
    assert list(together.structures) == list(split.train)


def test_a_run_evaluates_its_best_model_on_all_parts(run):
    dataset, split, model, folder = run
    record = json.loads((folder / EVALUATION).read_text())
    for part, names in (("train", split.train), ("validate", split.validate), ("test", split.test)):
        assert record[part]["model"] == json.loads(json.dumps(evaluate(model, dataset, names).to_plain()))
        assert list(record[part]["baseline"]["structures"]) == sorted(names)
    with (folder / "metrics.csv").open() as file:
        best = min(csv.DictReader(file), key=lambda row: float(row["validate_loss"]))
    assert record["model"]["step"] == int(best["step"])
    found = record["validate"]["model"]
    assert found["raw"]["mae"] == pytest.approx(float(best["validate_mae_meV"]), rel=1e-6)
    assert found["raw"]["rmse"] == pytest.approx(float(best["validate_rmse_meV"]), rel=1e-6)
    assert found["projected"]["mae"] == pytest.approx(float(best["validate_projected_mae_meV"]), rel=1e-6)


def test_the_baseline_alone_leaves_what_the_network_is_to_learn(run):
    dataset, split, model, _ = run
    before = copy.deepcopy(model.state_dict())
    alone = baseline_alone(model)
    found = evaluate(alone, dataset, split.test[:1])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    blocks = predict(alone, dataset.read(split.test[0])).H
    assert (blocks.block((0, 0, 0, 0, 0)) == blocks.block((0, 0, 0, 1, 1))).all()  # two carbon atoms in different places
    graph = make_graph(dataset.read(split.test[0]), model, targets=True)
    graph.offsite_scale_A0.zero_()  # what is left is the target
    with torch.no_grad():
        _, sums = compute_loss(alone, graph, LossConfig())
    metrics = summarize({name: float(value) for name, value in sums.items()})
    assert found.total["raw"].mae == pytest.approx(metrics["mae_meV"], rel=1e-6)
    assert found.total["projected"].mae == pytest.approx(metrics["projected_mae_meV"], rel=1e-6)
    assert found.total["raw"].mae != pytest.approx(evaluate(model, dataset, split.test[:1]).total["raw"].mae, rel=1e-3)


def test_elements_have_one_order_in_a_data_set():
    """Structures that list their elements differently end up in the same rows of the tables."""
    structure = make_structure(0)
    other = structure.permuted(np.array([2, 0, 1]))
    other = replace(other, basis=other.basis.restricted(other.system.numbers))
    basis = Basis(dict(sorted(BASIS.shells.items())))
    total = ErrorSums()
    for s in (structure, other):
        total.merge(sum_errors(s.system, basis, s.H, replace(s.H, entries=0 * s.H.entries), s.S)[0])
    assert set(total.table("by_elements")) == {"H-H", "H-C", "C-C"}
    assert set(total.table("by_shells")) == {"H s1-H s1", "H s1-C s1", "H s1-C p1", "C s1-C s1", "C s1-C p1", "C p1-C p1"}
    assert all(errors.n % 2 == 0 for errors in total.table("by_shells").values())
