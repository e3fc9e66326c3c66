"""A run of training from its settings: a fresh start and ``--resume`` are one path.

A run starts by writing its state of step 0 and then continues from it: one that was interrupted ends with the same bits as one that
was not (one process, no time budget).
"""

from pathlib import Path

import torch

from deeph.config import Config
from deeph.files.dataset import Dataset
from deeph.files.folders import remove_leftovers
from deeph.files.split import Split
from deeph.nn.fit import Structures, fit_model
from deeph.nn.model import HamiltonianModel
from deeph.runtime.log import logger, telling
from deeph.runtime.torch_group import find_launch, joined, use_device
from deeph.training.check import check_data, choose_device
from deeph.training.data import open_split
from deeph.training.energy_zero import fit_with_zero
from deeph.training.identity import identity
from deeph.training.loop import Job, Trainer
from deeph.training.run_folder import BEST, STATE, check_folder
from deeph.training.run_log import RunLog
from deeph.training.signals import before_the_first_state
from deeph.training.state import Position, load_state, save_state


def train(config: Config, out: str | Path, *, resume: bool = False, log: RunLog | None = None) -> Path:
    """Train a model.

    Parameters
    ----------
    config : Config
        All settings.
    out : path
        The run folder; gets ``model.safetensors`` (best validation), ``last.safetensors``, ``resume.safetensors``, ``metrics.csv``,
        ``curves.png``, ``config.toml``, ``versions.json``, ``train.log`` and, when training has ended, ``evaluation.json``, ``parity.png``
        and ``errors.png`` (see :mod:`deeph.training.evaluate`; this takes a few minutes beyond ``max_minutes`` if the data set is large).
    resume : bool
        Continue the run in ``out``; settings of [train] may have changed, those of the model and the data may not.
    log : RunLog, optional
        Has what was said before, for ``train.log``; entered by the caller.

    Returns
    -------
    Path
        The best model.

    Raises
    ------
    UsageError
        If ``out`` holds a run already (or none to resume), or a GPU is asked for and there is none.
    DataError
        If the data are damaged.
    DeephError
        If the loss is no longer a number, or the run was asked to stop.
    """
    if log is None:
        with RunLog() as own:
            return train(config, out, resume=resume, log=own)
    out, launch = Path(out), find_launch()
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    with joined(launch) as group:
        with group.together():
            check_folder(out, resume=resume)
            device = choose_device(config.train.device, launch)
            dataset, split = open_split(config)
        use_device(group, device)
        group.by_first(lambda: remove_leftovers(out))
        if resume:
            group.by_first(lambda: log.open(out))
        else:
            group.by_first(lambda: _begin(dataset, split, config, out, log))
        with group.together(), telling("preparing the network and its optimizer"):
            state = load_state(out / STATE)
            trainer = Trainer(Job(config, dataset, split, out, group, device), state)
        trainer.run()
    return out / BEST


@before_the_first_state()
def _begin(dataset: Dataset, split: Split, config: Config, out: Path, log: RunLog) -> None:
    """Look at all the data, fit the baseline, draw the weights, and save them as the state of step 0."""
    logger.info("%s", check_data(config).rstrip())
    out.mkdir(parents=True, exist_ok=True)
    log.open(out)

    def fit(structures: Structures) -> HamiltonianModel:
        torch.manual_seed(config.train.seed)
        return fit_model(config.model, structures)

    logger.info("fitting the baseline to %d structures", len(split.train))
    with telling("fitting the baseline"):
        model = fit_with_zero(fit, dataset.subset(split.train), config.loss).to(getattr(torch, config.train.precision))
    save_state(out / STATE, model, Position(), {"identity": identity(dataset, split, config)})
