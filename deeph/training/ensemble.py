"""Make one model file of several runs: their mean predicts, their spread, calibrated on the validation structures, tells the error."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeph.files.dataset import Dataset
from deeph.files.split import Split
from deeph.inference import predict_anyway
from deeph.nn.calibration import Blocks, Calibration, calibrate, calibrate_levels, describe, judged
from deeph.nn.ensemble import Ensemble, check_members, members_of
from deeph.nn.model import HamiltonianModel
from deeph.physics.bloch import BlochMatrix
from deeph.physics.eigenvalues import solve_states_at_k
from deeph.physics.error_bars import bloch_modes, level_errors
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, ModelError
from deeph.runtime.log import logger, telling
from deeph.training.band_error import FRACTIONS, WINDOW, fermi_level
from deeph.training.checkpoint import load_model, read_metadata, save_ensemble
from deeph.training.run_folder import BEST, check_runs, data_of_run

DENSE = 2000
"""Orbitals up to which the levels of a validation structure are computed."""
SAME_STATE = 0.5
"""Overlap squared with one DFT state above which a predicted state is that one."""
MANY_LOST = 0.1
"""Share of levels without a state of the DFT from which on error bars of levels are doubtful."""
FEW_STRUCTURES = 10
"""Validation structures below which they say little of how the errors of structures differ."""
UNCALIBRATED = Calibration({(0, 0, 0): (1.0, 0.0, 0.0)})
"""Bare standard deviations of the members."""


class Found(NamedTuple):
    """What the prediction of one validation structure says.

    Attributes
    ----------
    blocks : Blocks
        Spread and errors.
    levels : (3, n) array
        First-order errors of levels from the bare deviations, their true errors, eV, and whether the state is one of the DFT; n is 0 where
        they were not computed.
    """

    blocks: Blocks
    levels: FloatArray


def make_ensemble(runs: Sequence[Path], out: Path, data: Path | None = None, split: Path | None = None, device: str = "cpu") -> Ensemble:
    """Make an ensemble of trained models and write it.

    Parameters
    ----------
    runs : sequence of Path
        Run folders or model files, trained on the same structures with different seeds.
    out : Path
        The file, ``ensemble.safetensors`` in it if it is a folder.
    data, split : Path, optional
        The dataset and its split; by default those of the first run folder.
    device : str
        Where to predict.

    Returns
    -------
    Ensemble
        As it was written.

    Raises
    ------
    ModelError
        If the models do not belong together, or two are the same.
    DataError
        If the data are not those of the training, or hold no structure to calibrate with.
    UsageError
        If ``out`` is there already, or it is not known where the data are.
    """
    out = out / "ensemble.safetensors" if out.is_dir() else out
    check_runs(runs, out)
    members, records = _members(runs)
    dataset, parts = data_of_run(runs[0], data, split)
    dataset = replace(dataset, extra=next(iter(members.values())).given.extra)
    _check_data(dataset, parts, records)
    ensemble = Ensemble(list(members.values()), UNCALIBRATED).to(device)
    found: list[Found] = []
    with telling("predicting the validation structures", len(parts.validate), "structures") as told:
        for name in parts.validate:
            found.append(_look(ensemble, dataset.read(name)))
            told.advance()
    blocks = [one.blocks for one in found]
    ensemble.calibration = replace(calibrate(blocks), levels=_level_calibration(np.concatenate([one.levels for one in found], axis=1)))
    logger.info("%s", "\n".join(describe(ensemble.calibration, blocks)))
    if len(blocks) < FEW_STRUCTURES:
        logger.warning(
            "the error bars are calibrated with %s (all that validate). Errors of one structure stand or fall together, so bars of a "
            "structure unlike these may be too small or too large; %d or more tell how errors differ",
            "one structure" if len(blocks) == 1 else f"{len(blocks)} structures", FEW_STRUCTURES,
        )  # fmt: skip
    save_ensemble(out, ensemble, _metadata(runs, records, blocks))
    return ensemble


def _members(runs: Sequence[Path]) -> tuple[dict[str, HamiltonianModel], list[dict[str, Any]]]:
    """The models by their paths, and what was recorded with them."""
    loaded = {str(run): load_model(run) for run in runs}
    if several := [name for name, model in loaded.items() if isinstance(model, Ensemble)]:
        raise ModelError(f"{several[0]} is an ensemble; give the runs that it was made of")
    members = {name: members_of(model)[0] for name, model in loaded.items()}
    check_members(members)
    records, weights = [read_metadata(run) for run in runs], [_flat(model) for model in members.values()]
    for n, name in enumerate(members):
        if records[n].get("train_data") != records[0].get("train_data"):
            raise ModelError(
                f"{name} was trained on other structures than {runs[0]}: the members of an ensemble differ in their seeds alone"
            )
        for other in range(n):
            if np.array_equal(weights[n], weights[other]):
                raise ModelError(f"{runs[other]} and {name} are the same model; train with another train.seed")
    return members, records


def _flat(model: HamiltonianModel) -> FloatArray:
    return np.concatenate([parameter.detach().double().numpy().ravel() for parameter in model.parameters()])


def _check_data(dataset: Dataset, split: Split, records: list[dict[str, Any]]) -> None:
    """The validation structures are those that the models were not trained on."""
    if not split.validate:
        raise DataError(f"the split of {dataset.path} has no structures to validate with, on which error bars could be calibrated")
    known = records[0].get("train_data")
    if known is not None and dataset.subset(split.train).fingerprint() != known:
        raise DataError(
            f"{dataset.path} with this split is not what the models were trained on, so that they may know its validation structures; give "
            "the dataset and the split of the training with --data and --split"
        )


def _look(ensemble: Ensemble, structure: Hamiltonian) -> Found:
    predicted = predict_anyway(ensemble, structure)
    if predicted.error_bars is None or structure.H is None:
        raise DataError("an ensemble predicted without error bars")
    blocks = judged(structure, predicted.hamiltonian, predicted.error_bars.sigma)
    return Found(blocks, _level_pairs(structure, predicted))


def _level_pairs(structure: Hamiltonian, predicted: Hamiltonian) -> FloatArray:
    """(3, n) of :class:`Found`, of the occupied levels and those up to 2 eV above the Fermi level.

    A predicted level is compared with that DFT level whose state it has. Where it has none, with the DFT level of its number, as anybody
    would who looks at bands: of states that are mixed among neighbours that is the same, and a ghost level, a combination of nearly
    dependent orbitals that a small error of H pulls down, counts with the error that it makes.
    """
    bars = predicted.error_bars
    filled = structure.fermi_energy is not None or structure.n_electrons is not None
    if structure.n_orbitals > DENSE or not filled or bars is None or bars.modes is None:
        return np.zeros((3, 0))
    modes, n_spin = BlochMatrix(predicted.system, bars.modes), structure.basis.n_spin
    out = []
    for k in np.outer(FRACTIONS, structure.S.pairs[:, :3].any(axis=0)):
        S = structure.S_bloch.dense(k)
        solved = [solve_states_at_k(structure.H_bloch.dense(k, component=spin), S, k) for spin in range(n_spin)]
        top = fermi_level(structure, np.array([[energies] for energies, _ in solved])) + WINDOW
        for spin, (reference, states) in enumerate(solved):
            energies, own = solve_states_at_k(predicted.H_bloch.dense(k, component=spin), S, k)
            shares = np.abs(states.conj().T @ S @ own) ** 2
            errors = level_errors(energies, own, bloch_modes(modes, k, n_spin, spin))
            same = shares.max(axis=0) > SAME_STATE
            answer = np.where(same, reference[shares.argmax(axis=0)], reference)
            out.append(np.array([errors, np.abs(energies - answer), same])[:, energies <= top])
    return np.concatenate(out, axis=1)


def _level_calibration(levels: FloatArray) -> tuple[float, float]:
    """See :attr:`deeph.nn.calibration.Calibration.levels`."""
    expected, true, same = levels[:, levels[0] > 0]
    if not len(true):
        logger.warning(
            "error bars of levels are not calibrated: the validation structures have more than %d orbitals, or no Fermi level", DENSE
        )
        return 1.0, 0.0
    factor, common = calibrate_levels(expected, true)
    logger.info("levels: %d of the validation structures, mean error %.3g meV; one sigma: %.3g times the first-order error and %.3g meV",
                len(true), 1e3 * float(true.mean()), factor, 1e3 * common)  # fmt: skip
    lost = int((same == 0).sum())
    if lost > MANY_LOST * len(true):
        logger.warning(
            "%d of these levels have no state of the DFT: states are mixed or new (ghosts), and their levels may err by far more than one "
            "sigma. Train longer, or add a band stage (bands.share)", lost,
        )  # fmt: skip
    return factor, common


def _metadata(runs: Sequence[Path], records: list[dict[str, Any]], blocks: list[Blocks]) -> dict[str, Any]:
    """What is recorded with the ensemble: its runs, and the error of its mean."""
    kept = ("train_data", "validate_data", "precision")
    names = [f"{(run if run.is_dir() else run.parent).resolve().name}/{BEST if run.is_dir() else run.name}" for run in runs]
    own = [
        {"file": name, "metrics": record.get("metrics", {}), "seed": record.get("seed")}
        for name, record in zip(names, records, strict=True)
    ]
    rms = float(np.sqrt(np.mean(np.concatenate([one.error for one in blocks]) ** 2)))
    return {**{key: records[0].get(key) for key in kept}, "runs": own, "validate_block_rms_meV": 1e3 * rms}
