"""The stages of a run: errors of H, then, if asked for, their effect on the bands, each with a schedule of its own."""

from deeph.config import Config
from deeph.training.optim import learning_rate

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
        lowest = min(config.train.min_learning_rate, config.bands.learning_rate)
        self.last = config.train.model_copy(update={"learning_rate": config.bands.learning_rate, "min_learning_rate": lowest})

    def in_bands(self, progress: float) -> bool:
        """Whether an epoch that begins at this progress, 0 to 1, belongs to the band stage."""
        return self.share > 0 and progress >= 1 - self.share - ROUNDING

    def rate(self, progress: float, *, bands: bool) -> float:
        """Learning rate at some progress of the run, in the band stage or before it."""
        if bands:
            return learning_rate(self.last, 1 - (1 - progress) / self.share)
        return learning_rate(self.first, progress / (1 - self.share) if self.share < 1 else 1.0)
