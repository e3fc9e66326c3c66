"""The stages of a run: errors of H, then, if asked for, their effect on the bands, each with a schedule of its own."""

import math

from deeph.config import Config
from deeph.runtime.errors import UsageError
from deeph.training.optim import learning_rate
from deeph.training.state import Position

ROUNDING = 1e-9


class Stages:
    """Which stage a run is in, and its learning rate.

    Parameters
    ----------
    config : Config
        With [train] and [bands].
    """

    def __init__(self, config: Config) -> None:
        self.first, self.share = config.train, config.bands.share
        self.n_epochs = math.floor(self.share * config.train.epochs + ROUNDING)
        lowest = min(config.train.min_learning_rate, config.bands.learning_rate)
        self.last = config.train.model_copy(update={"learning_rate": config.bands.learning_rate, "min_learning_rate": lowest})

    def check_share(self) -> None:
        """Refuse a band stage without an epoch; with a time budget it has those for which there is time.

        Raises
        ------
        UsageError
            With the smallest share that has one.
        """
        epochs = self.first.epochs
        if self.share > 0 and self.n_epochs == 0 and self.first.max_minutes is None:
            raise UsageError(
                f"bands.share = {self.share:g} of {epochs} epochs is less than one, so there would be no band stage: expected at "
                f"least 1/{epochs}, {math.ceil(1e3 / epochs) / 1e3:g}, or more train.epochs"
            )

    def check_done(self, position: Position) -> None:
        """Refuse a resumed run whose band stage would have begun before: its learning rate would not start anew.

        Raises
        ------
        UsageError
            With the largest share that leaves the epochs done, or if the stage has no epoch.
        """
        done, epochs = position.epoch + (position.batch > 0), self.first.epochs
        if done < epochs:
            self.check_share()
        if self.share > 0 and not position.bands and 0 < done < epochs and self.in_bands((done - 1) / epochs):
            raise UsageError(
                f"bands.share = {self.share:g} of {epochs} epochs begins after epoch {epochs * (1 - self.share):.3g}, and {done} epochs "
                f"are done or begun: a share of at most {1 - done / epochs:.3g} leaves them, or raise train.epochs"
            )

    def in_bands(self, progress: float) -> bool:
        """Whether an epoch that begins at this progress, 0 to 1, belongs to the band stage."""
        return self.share > 0 and progress >= 1 - self.share - ROUNDING

    def rate(self, progress: float, *, bands: bool) -> float:
        """Learning rate at some progress of the run, in the band stage or before it."""
        if bands:
            return learning_rate(self.last, 1 - (1 - progress) / self.share)
        return learning_rate(self.first, progress / (1 - self.share) if self.share < 1 else 1.0)
