"""Errors of a trained model on whole structures, sorted by where they sit, beside those of its baseline alone."""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from deeph.files.dataset import PARTS, Dataset, Split
from deeph.inference import predict_anyway as predict
from deeph.nn.baseline import NOTHING
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import PairBlocks
from deeph.physics.difference import TABLES, ErrorSums, Table, sum_errors
from deeph.runtime.log import logger
from deeph.runtime.processes import Group
from deeph.training.checkpoint import load_model, read_metadata
from deeph.training.recorder import write_text

EVALUATION = "evaluation.json"


class StructureErrors(NamedTuple):
    """Mean absolute errors of one structure, and the common energy zero mu of its error, meV."""

    raw_mae: float
    projected_mae: float
    energy_zero: float


@dataclass
class Evaluation:
    """Errors of H over all matrix elements of some structures, meV.

    Attributes
    ----------
    structures : dict of str to StructureErrors
        One by one.
    sums : ErrorSums
        Of all of them; see :class:`deeph.physics.difference.ErrorSums` for the tables.
    """

    structures: dict[str, StructureErrors] = field(default_factory=dict)
    sums: ErrorSums = field(default_factory=ErrorSums)

    @property
    def total(self) -> Table:
        """Errors ``raw`` (as they stand) and ``projected`` (without the common energy zero of each structure)."""
        return self.sums.table("total")

    def merge(self, other: Self) -> None:
        """Add other structures."""
        self.structures |= other.structures
        self.sums.merge(other.sums)

    def to_plain(self) -> dict[str, Any]:
        """What is written to evaluation.json."""
        tables = {name: {label: errors._asdict() for label, errors in self.sums.table(name).items()} for name in TABLES}
        return {**tables.pop("total"), **tables, "structures": {name: self.structures[name]._asdict() for name in sorted(self.structures)}}


def evaluate(model: HamiltonianModel, dataset: Dataset, names: Sequence[str]) -> Evaluation:
    """Predict some structures of a dataset and compare with the DFT Hamiltonians.

    Parameters
    ----------
    model : HamiltonianModel
        See :func:`deeph.training.checkpoint.load_model`.
    dataset : Dataset
        Where the structures are.
    names : sequence of str
        Which of them.

    Raises
    ------
    DataError
        If a structure is damaged or holds no DFT Hamiltonian.
    ModelError
        If the model does not know an element, the basis or the kind of spin.
    """
    out = Evaluation()
    for name in names:
        reference = dataset.read(name)
        H = reference.hamiltonian
        difference = PairBlocks(H.pairs, H.shapes, 1e3 * (predict(model, reference).hamiltonian.entries - H.entries))
        sums, mu = sum_errors(reference.system, model.basis, difference, reference.S)
        total = sums.table("total")
        out.merge(Evaluation({name: StructureErrors(total["raw"].mae, total["projected"].mae, mu)}, sums))
    return out


def baseline_alone(model: HamiltonianModel) -> HamiltonianModel:
    """The same model without its network: H = B, the Slater-Koster baseline and the mean on-site blocks."""
    alone = copy.deepcopy(model)
    alone.layers = alone.layers[:1]  # what the network computes is multiplied by zero
    for kind in alone.pair_tables:
        alone.baseline.pair(kind).log_scale.fill_(NOTHING)
    for z in alone.atom_tables:
        alone.baseline.atom_scale(z).zero_()
    return alone


def evaluate_run(best: Path, dataset: Dataset, split: Split, group: Group, device: torch.device) -> None:
    """Evaluate the best model of a run, and its baseline, on all parts of the split; write evaluation.json beside it.

    Parameters
    ----------
    best : Path
        The model file.
    dataset, split : Dataset, Split
        The data; nothing else ever predicts the test structures.
    group : Group
        Each of several processes takes a share of the structures; the main one writes.
    device : torch.device
        Where to compute.
    """
    with group.together():
        models = {"model": load_model(best, str(device))}
        models["baseline"] = baseline_alone(models["model"])
        metadata = read_metadata(best)
    record: dict[str, Any] = {"unit": "meV", "model": {"file": best.name, "epoch": metadata["epoch"], "step": metadata["step"]}}
    for part in PARTS:
        names = getattr(split, part)
        if not names:
            continue
        errors = {}
        for kind, model in models.items():
            errors[kind] = Evaluation()
            with group.together():
                own = evaluate(model, dataset, names[group.rank :: group.size])
            for share in group.gathered([own]):
                errors[kind].merge(share)
        record[part] = {kind: found.to_plain() for kind, found in errors.items()}
        mae = [f"{found.total[how].mae:.4g}" for found in errors.values() for how in ("raw", "projected")]
        logger.info("%s: %d structures, MAE %s meV (%s without the energy zero); the baseline alone %s (%s)", part, len(names), *mae)
    group.by_first(lambda: write_text(best.with_name(EVALUATION), json.dumps(record, indent=1) + "\n"))
