"""Errors of a trained model on whole structures, sorted by where they sit, beside those of its baseline alone."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from deeph.files.dataset import PARTS, Dataset, Split
from deeph.inference import predict_anyway as predict
from deeph.nn.baseline import NOTHING
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import PairBlocks
from deeph.physics.difference import TABLES, ErrorSums, Table, sum_errors
from deeph.physics.system import FloatArray
from deeph.runtime.log import logger, telling
from deeph.runtime.processes import Group
from deeph.training.checkpoint import load_model, read_metadata
from deeph.training.error_figures import ERRORS, PARITY, draw_errors, draw_parity
from deeph.training.recorder import write_text

EVALUATION = "evaluation.json"
MAX_SAMPLES = 4000
"""Matrix elements of each part of the data in the parity figure."""


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
    samples : (2, n) array
        Elements of H of DFT and predicted, eV, evenly spread over the structures; for figures. The common energy zero of a structure's
        error is taken out.
    """

    structures: dict[str, StructureErrors] = field(default_factory=dict)
    sums: ErrorSums = field(default_factory=ErrorSums)
    samples: FloatArray = field(default_factory=lambda: np.zeros((2, 0)))

    @property
    def total(self) -> Table:
        """Errors ``raw`` (as they stand) and ``projected`` (without the common energy zero of each structure)."""
        return self.sums.table("total")

    def merge(self, other: Self) -> None:
        """Add other structures."""
        self.structures |= other.structures
        self.sums.merge(other.sums)
        self.samples = np.concatenate([self.samples, other.samples], axis=1)

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
        errors = {name: StructureErrors(total["raw"].mae, total["projected"].mae, mu)}
        out.merge(Evaluation(errors, sums, _samples(H, difference, mu, reference.S, -(-MAX_SAMPLES // len(names)))))
    return out


def _samples(H: PairBlocks, difference: PairBlocks, mu: float, S: PairBlocks, number: int) -> FloatArray:
    """(2, n) about so many elements of H of DFT and predicted."""
    step = max(1, H.entries.shape[1] // number)
    reference = H.entries[0, ::step].real
    return np.array([reference, reference + 1e-3 * (difference.entries[0, ::step].real - mu * S.entries[0, ::step])])


def baseline_alone(model: HamiltonianModel) -> HamiltonianModel:
    """The same model without its network: H = B, the Slater-Koster baseline and the mean on-site blocks."""
    alone = copy.deepcopy(model)
    alone.layers = alone.layers[:1]  # what the network computes is multiplied by zero
    for part in alone.spin:
        baseline = alone.baseline(part.name)
        for kind in baseline.pair_tables:
            baseline.pair(kind).log_scale.fill_(NOTHING)
        for z in baseline.atom_tables:
            baseline.atom_scale(z).zero_()
    return alone


def evaluate_run(best: Path, dataset: Dataset, split: Split, group: Group, device: torch.device) -> None:
    """Evaluate the best model of a run, and its baseline, on all parts of the split; write evaluation.json and figures beside it.

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
    samples: dict[str, FloatArray] = {}
    for part in PARTS:
        names = getattr(split, part)
        if not names:
            continue
        errors = {}
        for kind, model in models.items():
            errors[kind] = Evaluation()
            with group.together(), telling(f"predicting the {len(names)} structures of {part}, {kind}"):
                own = evaluate(model, dataset, names[group.rank :: group.size])
            for share in group.gathered([own]):
                errors[kind].merge(share)
        record[part] = {kind: found.to_plain() for kind, found in errors.items()}
        samples[part] = errors["model"].samples
    group.by_first(lambda: _write(best.parent, record, samples))


def _write(folder: Path, record: dict[str, Any], samples: dict[str, FloatArray]) -> None:
    """The table on the screen, the file, and the figures."""
    logger.info("%s", as_table(record))
    write_text(folder / EVALUATION, json.dumps(record, indent=1) + "\n")
    draw_parity(samples, folder / PARITY)
    draw_errors(record, folder / ERRORS)
    logger.info("more in %s, %s, %s", *(folder / name for name in (EVALUATION, PARITY, ERRORS)))


def as_table(record: Mapping[str, Any]) -> str:
    """The totals of evaluation.json for a reader."""
    rows = [
        f"errors of H (meV) of the best model, epoch {record['model']['epoch']}; projected: without the energy zero of each structure",
        f"{'':<10}{'structures':>10}{'MAE':>10}{'projected':>11}{'RMSE':>10}{'largest':>10}{'baseline alone: MAE':>22}{'projected':>11}",
    ]
    for part in PARTS:
        if part in record:
            model, baseline = record[part]["model"], record[part]["baseline"]
            numbers = (model["raw"]["mae"], model["projected"]["mae"], model["raw"]["rmse"], model["raw"]["max"])
            cells = [f"{number:>{width}.4g}" for number, width in zip(numbers, (10, 11, 10, 10), strict=True)]
            cells += [f"{baseline['raw']['mae']:>22.4g}", f"{baseline['projected']['mae']:>11.4g}"]
            rows.append(f"{part:<10}{len(model['structures']):>10}" + "".join(cells))
    return "\n".join(rows)
