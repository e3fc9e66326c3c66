"""Errors of a trained model on whole structures, sorted by where they sit, beside those of its baseline alone."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from deeph.files.dataset import Dataset
from deeph.files.split import PARTS, Split
from deeph.inference import predict_anyway as predict
from deeph.nn.baseline import NOTHING
from deeph.nn.ensemble import members_of
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import PairBlocks
from deeph.physics.difference import SPIN_PARTS, TABLES, ErrorSums, Table, sum_errors
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.spin_parts import split_spin
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
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
    samples : dict of str to (2, n) array
        Elements of H of DFT and predicted, eV, evenly spread over the structures, of each part of the spin by its name; for figures. The
        common energy zero of a structure's error is taken out.
    """

    structures: dict[str, StructureErrors] = field(default_factory=dict)
    sums: ErrorSums = field(default_factory=ErrorSums)
    samples: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def total(self) -> Table:
        """Errors ``raw`` (as they stand) and ``projected`` (without the common energy zero of each structure)."""
        return self.sums.table("total")

    def merge(self, other: Self) -> None:
        """Add other structures."""
        self.structures |= other.structures
        self.sums.merge(other.sums)
        for part, pairs in other.samples.items():
            self.samples[part] = np.concatenate([self.samples.get(part, np.zeros((2, 0))), pairs], axis=1)

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
        H = predict(model, reference).hamiltonian
        sums, mu = sum_errors(reference.system, model.basis, H, reference.hamiltonian, reference.S)
        total = sums.table("total")
        errors = {name: StructureErrors(total["raw"].mae, total["projected"].mae, mu)}
        out.merge(Evaluation(errors, sums, _samples(H, reference, 1e-3 * mu, -(-MAX_SAMPLES // len(names)))))
    return out


def _samples(H: PairBlocks, reference: Hamiltonian, mu: float, number: int) -> dict[str, FloatArray]:
    """(2, n) about so many elements of each part of H of DFT and of the predicted H - mu S."""
    spin, S = reference.basis.spin, reference.S
    share = min(1.0, number / S.entries.shape[1])
    found: dict[str, list[FloatArray]] = {}
    for _, members in H.groups():
        parts = [split_spin(blocks.take(members), spin) for blocks in (reference.hamiltonian, H)]
        parts[1]["A0"] = parts[1]["A0"] - mu * S.take(members)[0][:, None]
        for name, values in parts[0].items():
            places = np.linspace(0, values.size - 1, int(np.ceil(share * values.size))).astype(int)
            found.setdefault(SPIN_PARTS[name], []).append(np.array([values.ravel()[places], parts[1][name].ravel()[places]]))
    return {part: np.concatenate(pairs, axis=1) for part, pairs in found.items()}


def baseline_alone(model: HamiltonianModel) -> HamiltonianModel:
    """The same model without its network: H = B, the Slater-Koster baseline and the mean on-site blocks."""
    alone = copy.deepcopy(model)
    alone.trunk.layers = alone.trunk.layers[:1]  # what the network computes is multiplied by zero
    alone.shell_potential = None
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
        model = members_of(load_model(best, str(device)))[0]
        models = {"model": model, "baseline": baseline_alone(model)}
        record: dict[str, Any] = {"unit": "meV", "model": _model_of(best)}
    samples: dict[str, dict[str, FloatArray]] = {}
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


def is_evaluated(best: Path) -> bool:
    """Whether evaluation.json is there, and of this model."""
    try:
        of = json.loads((best.parent / EVALUATION).read_text(encoding="utf-8"))["model"]
        return bool(of == _model_of(best))
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return False


def _model_of(best: Path) -> dict[str, Any]:
    """What evaluation.json says of the model."""
    metadata = read_metadata(best)
    return {"file": best.name, "epoch": metadata["epoch"], "step": metadata["step"]}


def _write(folder: Path, record: dict[str, Any], samples: dict[str, dict[str, FloatArray]]) -> None:
    """The table on the screen, the file, and the figures."""
    logger.info("%s", as_table(record))
    draw_parity(samples, folder / PARITY)
    draw_errors(record, folder / ERRORS)
    write_text(folder / EVALUATION, json.dumps(record, indent=1) + "\n")  # the last: it tells that nothing is missing
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
    spin = _spin_rows(record)
    if spin:
        rows[0] += "; of all entries, most of which are small in spinors (the lines above are of the spin-free part alone)"
    return "\n".join([*rows, *spin])


def _spin_rows(record: Mapping[str, Any]) -> list[str]:
    """Errors of the parts of the spin beside their size, of the last part of the data, which is that for tests if there is one."""
    part = next((part for part in PARTS[::-1] if part in record), None)
    if part is None or not record[part]["model"]["by_spin"]:
        return []
    model, baseline = record[part]["model"], record[part]["baseline"]
    head = f"{f'parts of the spin, {part} (meV)':<32}{'MAE':>10}{'RMSE':>10}{'largest':>10}{'RMS of H':>12}{'baseline alone: RMSE':>22}"
    rows = [head]
    for name, errors in model["by_spin"].items():
        alone = baseline["by_spin"].get(name, {"rmse": 0.0})["rmse"]
        numbers = [errors["mae"], errors["rmse"], errors["max"], model["spin_sizes"][name]["rmse"], alone]
        rows.append(f"{name:<32}" + "".join(f"{one:>{width}.4g}" for one, width in zip(numbers, (10, 10, 10, 12, 22), strict=True)))
    return rows
