"""Graphs in memory: as many as fit, and the same numbers from all."""

from pathlib import Path

import pytest
import torch
from test_fit import TINY
from training_case import make_case

from deeph.config import TrainConfig
from deeph.files.dataset import open_dataset
from deeph.nn.fit import fit_model
from deeph.training import batches
from deeph.training.batches import Graphs, plan_batches, share, validation_interval


def size_of(graphs: Graphs) -> int:
    return sum(values.nbytes for graph in graphs._kept.values() for values in graph.to_dict().values() if torch.is_tensor(values))


@pytest.mark.parametrize(("share", "n_kept"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_graphs_keep_to_their_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, n_kept: int) -> None:
    make_case(tmp_path, 4)
    data = open_dataset(tmp_path / "data")
    model = fit_model(TINY, data)
    everything = Graphs(data, model, torch.device("cpu"), 1e12)
    everything.batch(data.names)
    size = size_of(everything)
    made: list[str] = []
    plain = batches.make_graph
    monkeypatch.setattr(batches, "make_graph", lambda structure, *args, **options: made.append("") or plain(structure, *args, **options))
    graphs = Graphs(data, model, torch.device("cpu"), share * size)
    for _ in range(3):
        found = graphs.batch(data.names)
    assert abs(len(graphs._kept) - n_kept) <= (share == 0.5)  # they are not equally large
    assert (
        sum(values.nbytes for graph in graphs._kept.values() for values in graph.to_dict().values() if torch.is_tensor(values))
        <= share * size
    )
    assert len(made) == 4 + 2 * (4 - len(graphs._kept))
    for name, values in everything.batch(data.names).to_dict().items():
        assert torch.equal(values, found[name]) if torch.is_tensor(values) else True


def test_batches_are_filled_to_the_last_bond() -> None:
    n_bonds = {"a": 6, "b": 4, "c": 5, "d": 6, "e": 30, "f": 1}
    assert plan_batches("abcdef", n_bonds, TrainConfig(batch_bonds=10)) == [["a", "b"], ["c"], ["d"], ["e"], ["f"]]
    assert [share(["a", "b", "c"], n_bonds, rank, 2) for rank in range(2)] == [["a", "b"], ["c"]]


def test_small_structures_share_a_batch_with_few_others() -> None:
    """Sixteen molecules would be one step an epoch by their bonds alone."""
    molecules = [f"{n:02d}" for n in range(16)]
    found = plan_batches(molecules, dict.fromkeys(molecules, 150), TrainConfig())
    assert [len(batch) for batch in found] == [4, 4, 4, 4]
    cells = plan_batches("abc", dict.fromkeys("abc", 1460), TrainConfig())  # bilayers of 36 atoms
    assert cells == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(("n_steps", "epochs", "every"), [(4, 500, 13), (7, 500, 8), (200, 500, 1), (1, 30, 1), (1, 100, 5)])
def test_validations_are_counted_in_steps(n_steps: int, epochs: int, every: int) -> None:
    assert validation_interval(n_steps, TrainConfig(epochs=epochs)) == every
    assert validation_interval(n_steps, TrainConfig(epochs=epochs, validate_every=3)) == 3
