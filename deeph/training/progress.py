"""Lines that tell how far a run is: by time, not by epoch, for an epoch may take a tenth of a second or a day."""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

from tqdm import tqdm

from deeph.config import TrainConfig
from deeph.runtime.log import logger
from deeph.training.optim import learning_rate
from deeph.training.state import Position

FIRST, SHORTEST, LONGEST = 3.0, 12.0, 300.0
"""Seconds to the first line, and between lines: a twentieth of the time that has passed, within bounds."""


SPIN_PARTS = {"exchange_mae_meV": "exchange", "spin_orbit_mae_meV": "spin-orbit"}
"""Metrics of the parts of H with spin, and what lines call them; the other errors are those of the spin-free part."""


class Progress:
    """Says how a run is going.

    Parameters
    ----------
    settings : TrainConfig
        Epochs, time budget, learning rate.
    position : Position
        Where the run starts or goes on; followed while it changes.
    clock : callable
        Seconds.
    rate : callable, optional
        The learning rate at some progress, if it is not that of the first stage.
    fraction : float
        Of the present epoch that was done before.
    """

    def __init__(
        self, settings: TrainConfig, position: Position, clock: Callable[[], float] = time.monotonic,
        rate: Callable[[float], float] | None = None, fraction: float = 0.0,
    ) -> None:  # fmt: skip
        self.settings, self.position, self.clock = settings, position, clock
        self._rate = rate or partial(learning_rate, settings)
        self._began = self._last = clock()
        self._due = self._began + FIRST
        self._from = (position.step, position.epoch + fraction, position.seconds)
        self._last_step = position.step
        self._trained: Mapping[str, float] = {}
        self._validated: Mapping[str, float] = {}
        self._best: tuple[float, int] | None = None
        self._bands: float | None = None
        self._bar = tqdm(total=1000, leave=False, bar_format="{percentage:3.0f} % |{bar}| {postfix}", disable=not sys.stderr.isatty())

    def step(self, fraction: float, progress: float, trained: Callable[[], Mapping[str, float]]) -> None:
        """After a step: a line if one is due.

        Parameters
        ----------
        fraction : float
            Of the present epoch that is done.
        progress : float
            Of the schedule, 0 to 1.
        trained : callable
            Gives the metrics since the last validation.
        """
        if self.clock() >= self._due:
            self._trained = trained() or self._trained
            self.line(fraction, progress)
        elif not self._bar.disable:
            self._bar.n = round(1000 * progress)
            self._bar.set_postfix_str(f"epoch {self.position.epoch + 1} of {self.settings.epochs}, {self.left(fraction)}")

    def validated(self, trained: Mapping[str, float], metrics: Mapping[str, float], *, better: bool, bands: float | None = None) -> None:
        """Keep the metrics of a validation, and the error of the bands (meV) of a better model, for the next line."""
        self._trained, self._validated = trained, metrics
        self._bands = bands if better else self._bands
        if better and "mae_meV" in metrics:
            self._best = (metrics["mae_meV"], self.position.epoch)

    def line(self, fraction: float, progress: float) -> None:
        """Say where the run is, and when the next line is due."""
        now, (begun, done) = self.clock(), (self.position.step, self.position.epoch)
        speed = (begun - self._last_step) / max(now - self._last, 1e-9)
        parts = [f"epoch {min(done + (fraction > 0), self.settings.epochs)} of {self.settings.epochs}", f"{speed:.3g} steps/s"]
        parts += [self.left(fraction), *self._errors(), f"learning rate {self._rate(progress):.1e}"]
        self.close()
        logger.info("%s", "  ".join(parts))
        self._last, self._last_step = now, self.position.step
        self._due = now + min(max((now - self._began) / 20, SHORTEST), LONGEST)

    def _errors(self) -> list[str]:
        parts = [f"loss {self._trained['loss']:.3g}", f"MAE {self._trained['mae_meV']:.4g} meV"] if self._trained else []
        if self._validated:
            best = "" if self._best is None else f" (best {self._best[0]:.4g}, epoch {self._best[1]})"
            parts.append(f"validated {self._validated['mae_meV']:.4g}{best}")
            parts += [f"{name} {self._validated[key]:.3g}" for key, name in SPIN_PARTS.items() if key in self._validated]
            parts += [f"levels {self._validated['levels_mae_meV']:.4g} meV"] if "levels_mae_meV" in self._validated else []
        if self._bands is not None:
            parts.append(f"bands {self._bands:.4g} meV")
        return parts

    def left(self, fraction: float) -> str:
        """Time to the end, from the speed since the start or restart."""
        _, epochs, seconds = self._from
        spent, done = self.clock() - self._began, self.position.epoch + fraction
        by_epochs = (self.settings.epochs - done) * spent / (done - epochs) if done > epochs else float("inf")
        budget = 60 * self.settings.max_minutes - seconds - spent if self.settings.max_minutes else float("inf")
        left = max(0.0, min(by_epochs, budget))
        return "time left unknown" if left == float("inf") else f"{duration(left)} left"

    def close(self) -> None:
        """Take the bar off the screen."""
        self._bar.clear()

    def end(self) -> None:
        """No bar any more."""
        self._bar.close()


def duration(seconds: float) -> str:
    """Such as ``40 s``, ``3.2 min`` or ``5.1 h``."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
