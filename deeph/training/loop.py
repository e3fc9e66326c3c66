"""The training loop.

It continues from a saved state; :mod:`deeph.training.run` writes the first. The loss is the mean over the structures of a batch; the
processes share each batch and add their gradients, so that their number changes nothing but the speed and the last digits.
"""

import math
import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from deeph.config import Config
from deeph.files.dataset import Dataset
from deeph.files.folders import new_file
from deeph.files.split import Split
from deeph.runtime.errors import DeephError, UsageError
from deeph.runtime.log import logger
from deeph.runtime.processes import Group
from deeph.runtime.torch_group import sum_gradients, take_from_first
from deeph.training.band_error import band_mae, make_references
from deeph.training.band_states import BandStates
from deeph.training.batches import Graphs, idle_processes, plan_batches, share, shuffled, validation_interval
from deeph.training.checkpoint import save_model
from deeph.training.data import band_structures
from deeph.training.evaluate import EVALUATION, evaluate_run, is_evaluated
from deeph.training.identity import changes, identity
from deeph.training.loss import compute_loss
from deeph.training.optim import RunningAverage, make_optimizer
from deeph.training.progress import Progress
from deeph.training.recorder import Recorder
from deeph.training.run_folder import BEST, FIRST, LAST, STATE
from deeph.training.signals import SignalWatch, StoppedError
from deeph.training.stages import Stages
from deeph.training.state import State, save_state
from deeph.training.sums import Sums, add, numbers, summary

FEW_STEPS = 1000
"""Steps below which a run is said to be a short one."""


class Unseen(NamedTuple):
    """Norm of the gradient of a batch that nobody has read yet."""

    norm: torch.Tensor
    epoch: int
    batch: list[str]


@dataclass(frozen=True)
class Job:
    """What is to be done, and by whom."""

    config: Config
    dataset: Dataset
    split: Split
    out: Path
    group: Group
    device: torch.device


class Trainer:
    """Continue a run from a saved state.

    Parameters
    ----------
    job : Job
        Settings, data and process.
    state : State
        Where to go on.
    """

    def __init__(self, job: Job, state: State) -> None:
        self.job, self.settings, self.group = job, job.config.train, job.group
        self.identity = state.header["identity"]
        if self.group.is_main:
            now = identity(job.dataset, job.split, job.config)
            if changed := changes(self.identity, now):
                raise UsageError(f"{', '.join(changed)} changed since {job.out} was started; undo that, or start anew in another --out")
        self.model = state.model().to(job.device)
        self.average = RunningAverage(self.model, self.settings.ema_decay)
        self.optimizer = make_optimizer(self.model, self.settings)
        self.graphs = Graphs(job.dataset, state.model(), job.device, self.settings.graph_memory_gib * 2**30)
        state.restore(self.average, self.optimizer)  # after all that draws random numbers
        self.position, self.stages = state.position, Stages(job.config)
        self.stages.check_done(self.position)
        self.position.bands &= self.stages.share > 0
        self.states = BandStates(job.dataset, job.config.bands, self.settings.seed, job.device, self.settings.graph_memory_gib * 2**30)
        self.n_bonds = job.dataset.subset([*job.split.train, *job.split.validate]).n_bonds
        self.sums: Sums = dict(self.position.sums) if self.group.is_main else {}
        self._unseen: Unseen | None = None
        self.watch = SignalWatch()
        self.recorder: Recorder | None = None
        self.told: Progress | None = None
        n_steps = len(plan_batches(job.split.train, self.n_bonds, self.settings))
        self._fraction = self.position.batch / n_steps  # of the present epoch
        self.validate_every = validation_interval(n_steps, self.settings)
        chosen = band_structures(job.dataset, job.split, job.config)
        self.references = make_references(job.dataset, chosen) if self.group.is_main else []
        self._started = time.monotonic() - self.position.seconds
        self._saved_at = self.position.seconds

    @property
    def progress(self) -> float:
        """How much of the schedule is done, 0 to 1."""
        by_epochs = (self.position.epoch + self._fraction) / self.settings.epochs
        by_time = self.position.seconds / (60 * self.settings.max_minutes) if self.settings.max_minutes else 0.0
        return min(1.0, max(by_epochs, by_time))

    def rate(self, progress: float) -> float:
        """The learning rate."""
        return self.stages.rate(progress, bands=self.position.bands)

    def run(self) -> None:
        """Train to the end.

        Raises
        ------
        DeephError
            If the gradient is no longer finite (the last saved state stays), or a signal asked to stop (the state is saved).
        """
        logger.info("%d weights, %d structures to train on, %d to validate with, %s, %d process(es)",
                    sum(p.numel() for p in self.model.parameters()), len(self.job.split.train), len(self.job.split.validate),
                    self.job.device, self.group.size)  # fmt: skip
        job = self.job
        if self.position.step:
            logger.info("%s", self._complete() if self.is_complete else self._where())
        if self.is_complete and self.group.by_first(lambda: is_evaluated(job.out / BEST)):
            logger.info("its errors are in %s", job.out / EVALUATION)
            return
        if not job.split.validate:
            logger.warning("no structures to validate with: the best model is the one with the lowest training error")
        if idle := idle_processes(job.split.train, self.n_bonds, self.settings, self.group.size):
            logger.warning("%s", idle)
        with self.group.together():
            recorder = Recorder(job.out, job.config, self.position.kept_rows, str(job.device)) if self.group.is_main else nullcontext()
        with recorder as self.recorder:
            if self.group.is_main:
                self.told = Progress(self.settings, self.position, rate=self.rate, fraction=self._fraction)
            try:
                with self.watch:
                    self._run()
            finally:
                if self.told is not None:
                    self.told.end()
                if self.recorder is not None:
                    self.recorder.draw()
            if self.position.step < FEW_STEPS:
                logger.info("%d steps were done; errors of some meV take thousands: more train.epochs or train.max_minutes, "
                            "or a smaller network", self.position.step)  # fmt: skip
            evaluate_run(job.out / BEST, job.dataset, job.split, self.group, job.device)

    def _where(self) -> str:
        """Where a resumed run goes on."""
        budget, spent = self.settings.max_minutes, self.position.seconds / 60
        text = f"continuing at epoch {self.position.epoch + 1} of {self.settings.epochs}, step {self.position.step}, after {spent:.3g} min"
        return f"{text}; train.max_minutes {budget:g} counts the whole run: {max(0.0, budget - spent):.3g} min left" if budget else text

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing left to do; an epoch that was begun ends with its validation."""
        return self.progress >= 1 and not self.position.batch

    def _complete(self) -> str:
        """What goes on with a run that is complete."""
        epochs, budget = self.settings.epochs, self.settings.max_minutes
        limits = [f"--set train.epochs={2 * epochs}"] if self.position.epoch >= epochs else []
        limits += [f"--set train.max_minutes={2 * budget:g}"] if budget and self.position.seconds >= 60 * budget else []
        return f"this run is complete ({self.position.epoch} epochs); more, such as --resume {' '.join(limits)}, goes on with it"

    def _run(self) -> None:
        while not self.is_complete:
            self._epoch()
        self.save()

    def _begin_stage(self) -> None:
        """At the beginning of an epoch: whether it belongs to another stage. Losses of two stages cannot be compared."""
        bands = self.stages.in_bands(self.progress)
        if bands == self.position.bands:
            return
        self.position.bands, self.position.best, self.sums = bands, None, {}
        if bands:
            logger.info("the band stage begins; the best model so far is kept as %s", self.job.out / FIRST)
            self.group.by_first(self._keep_first)

    def _keep_first(self) -> None:
        if (self.job.out / BEST).is_file():
            with new_file(self.job.out / FIRST) as temporary:
                shutil.copyfile(self.job.out / BEST, temporary)

    def _epoch(self) -> None:
        if not self.position.batch:
            self._begin_stage()
        names = shuffled(self.job.split.train, self.settings.seed, self.position.epoch)
        batches = plan_batches(names, self.n_bonds, self.settings)
        self._fraction = self.position.batch / len(batches)
        for batch in batches[self.position.batch :]:
            if self.progress >= 1:
                break
            self._fraction = (self.position.batch + 1) / len(batches)
            self._step(batch)
            self.position.batch += 1
            self.position.step += 1
            self._attend()
            if self.told is not None:
                self.told.step(self._fraction, self.progress, lambda: summary(numbers(self.sums)))
        self.position.epoch += 1
        self.position.batch, self._fraction = 0, 0.0
        if self.position.epoch % self.validate_every == 0 or self.progress >= 1:
            self._validate()

    def _step(self, batch: list[str]) -> None:
        """One optimizer step on a batch shared by all processes."""
        mine = share(batch, self.n_bonds, self.group.rank, self.group.size)
        self.model.train()
        self.optimizer.zero_grad()
        error = None
        try:
            if mine:
                self._backward(mine, len(batch))
        except Exception as raised:  # noqa: BLE001 - the other processes wait for the gradients
            error = raised
        if sum_gradients(self.group, self.model.parameters(), failed=error is not None):
            self.group.raise_first(error)
        self._look_at_gradient()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip or math.inf)
        self._unseen = Unseen(norm, self.position.epoch + 1, batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.progress)
        self.optimizer.step()
        self.average.update()

    def _look_at_gradient(self) -> None:
        """Stop if the last gradient was no number; asked one step later, so that nothing waits for a GPU, and before a state is saved."""
        seen, self._unseen = self._unseen, None
        if seen is not None and not math.isfinite(float(seen.norm)):  # the same in every process: the gradient is the sum of all
            raise DeephError(
                f"the loss or its gradient is not a number any more in epoch {seen.epoch}, structures {', '.join(seen.batch)}. "
                f"Lower train.learning_rate or train.grad_clip; {self.job.out / STATE} keeps the last good state"
            )

    def _backward(self, names: list[str], n_batch: int) -> None:
        """Add the gradients of some structures, as a share of the mean over a batch of ``n_batch``."""
        bands = self.states.term(names, self.position.epoch) if self.position.bands else None
        loss, sums = compute_loss(self.model, self.graphs.batch(names), self.job.config.loss, bands)
        (loss * (len(names) / n_batch)).backward()
        add(self.sums, {**sums, "loss": loss.detach().double() * len(names), "structures": float(len(names))})

    def _attend(self) -> None:
        """Between two steps: agree on the time, save if it is due, stop if asked to."""
        elapsed = time.monotonic() - self._started
        wishes = [elapsed, float(self.watch.stop), float(self.watch.save)]
        self.position.seconds, stop, save = self.group.maximum(wishes)
        if stop or save or self.position.seconds - self._saved_at > 60 * self.settings.checkpoint_minutes:
            self.watch.save = False
            self.save()
        if stop:
            again = f"deeph-train {self.job.out / 'config.toml'} --out {self.job.out} --resume"
            raise StoppedError(
                f"asked to stop in epoch {self.position.epoch + 1}; the state is saved, continue with --resume:\n  {again}", int(stop)
            )

    def save(self) -> None:
        """Save the state to resume from, and the averaged model of this moment."""
        self._look_at_gradient()
        self.sums = dict(self._totals(self.sums))
        self._saved_at = self.position.seconds
        self.group.by_first(self._save)
        if not self.group.is_main:
            self.sums = {}

    def _save(self) -> None:
        self.position.sums = numbers(self.sums)
        save_state(self.job.out / STATE, self.model, self.position, {"identity": self.identity}, self.average, self.optimizer)
        with self.average.applied():
            save_model(self.job.out / LAST, self.model, self._metadata({}))
        logger.debug("saved step %d", self.position.step)

    def _metadata(self, metrics: dict[str, float]) -> dict[str, Any]:
        config = self.job.config.model_dump(mode="json", exclude={"data": {"path", "split"}})
        position = {"epoch": self.position.epoch, "step": self.position.step, "minutes": self.position.seconds / 60}
        return {**self.identity, **position, "metrics": metrics, "config": config}

    @torch.no_grad()
    def evaluate(self, names: tuple[str, ...]) -> dict[str, float]:
        """Loss and metrics of the averaged model on some structures; the same in every process."""
        sums: Sums = {}
        self.model.eval()
        with self.group.together(), self.average.applied():
            for batch in plan_batches(names, self.n_bonds, self.settings):
                mine = share(batch, self.n_bonds, self.group.rank, self.group.size)
                if mine:
                    bands = self.states.term(mine, counts=self.position.bands) if self.stages.share else None
                    loss, parts = compute_loss(self.model, self.graphs.batch(mine), self.job.config.loss, bands)
                    add(sums, {**parts, "loss": loss.double() * len(mine), "structures": float(len(mine))})
        return summary(self._totals(sums))

    def _totals(self, sums: Sums) -> dict[str, float]:
        """Sums over all processes."""
        return self.group.total(numbers(sums))

    def _validate(self) -> None:
        """Close a stretch of training: metrics of the training sums and of the validation structures; keep the best model."""
        self._look_at_gradient()
        take_from_first(self.group, [*self.model.parameters(), *self.average.weights.values()])
        trained = summary(self._totals(self.sums))
        self.sums = {}
        validated = self.evaluate(self.job.split.validate) if self.job.split.validate else {}
        loss = validated.get("loss")
        best = self.position.best
        better = loss is None or best is None or loss < best or math.isnan(best)
        if loss is not None and better:
            self.position.best = loss
        self.group.by_first(lambda: self._record(trained, validated, better=better))

    def _record(self, trained: dict[str, float], validated: dict[str, float], *, better: bool) -> None:
        """Keep the best model and the metrics; in the main process."""
        metrics = {f"train_{k}": v for k, v in trained.items()} | {f"validate_{k}": v for k, v in validated.items()}
        if better:
            with self.average.applied():
                if self.references:
                    self.model.eval()
                    metrics["band_mae_meV"] = band_mae(self.model, self.references)
                save_model(self.job.out / BEST, self.model, self._metadata(metrics))
        rate, minutes = self.rate(self.progress), self.position.seconds / 60
        position = {"epoch": self.position.epoch, "step": self.position.step, "time_min": minutes, "learning_rate": rate}
        if self.recorder is not None:
            self.recorder.row({**position, **metrics})
        if self.told is not None:
            self.told.validated(trained, validated, better=better, bands=metrics.get("band_mae_meV"))
            if self.progress >= 1:
                self.told.line(0.0, self.progress)
