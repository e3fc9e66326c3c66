"""The state of a training run: all that is needed to go on as if it had never stopped."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from deeph.nn.model import HamiltonianModel
from deeph.runtime.errors import DataError, ModelError
from deeph.training.checkpoint import SINCE_STACKS, STATE_FORMAT, read_tensors, restore_model, write_tensors
from deeph.training.optim import RunningAverage
from deeph.training.run_folder import BEST


@dataclass
class Position:
    """How far a run has come.

    Attributes
    ----------
    epoch, batch : int
        Epochs done, and batches done of the next one.
    step : int
        Optimizer steps done.
    seconds : float
        Time spent training, over all restarts.
    best : float or None
        Lowest validation loss so far.
    sums : dict
        Training sums since the last row of metrics.csv.
    bands : bool
        Whether the band stage has begun.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    sums: dict[str, float] = field(default_factory=dict)
    bands: bool = False

    @property
    def kept_rows(self) -> int:
        """Last step whose row of metrics.csv belongs to this position: within an epoch, its validation is still to come."""
        return self.step - 1 if self.batch else self.step


def save_state(
    path: Path, model: HamiltonianModel, position: Position, header: Mapping[str, Any],
    average: RunningAverage | None = None, optimizer: torch.optim.Optimizer | None = None,
) -> None:  # fmt: skip
    """Write the state of a run; a new run has neither average nor optimizer yet."""
    tensors = {f"model.{name}": t for name, t in model.state_dict().items()}
    tensors["random"] = torch.get_rng_state()
    n_updates = 0
    if average is not None:
        tensors |= {f"average.{name}": t for name, t in average.weights.items()}
        n_updates = average.n_updates
    if optimizer is not None:
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": t for name, t in values.items()}
    state = {"description": model.description(), "position": asdict(position), "n_updates": n_updates, **header}
    write_tensors(path, STATE_FORMAT, tensors, state)


@dataclass
class State:
    """A saved state, as read."""

    path: Path
    tensors: dict[str, torch.Tensor]
    header: dict[str, Any]

    @property
    def position(self) -> Position:
        """Where to go on."""
        return Position(**self.header["position"])

    def _part(self, name: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(f"{name}."): t for key, t in self.tensors.items() if key.startswith(f"{name}.")}

    def model(self) -> HamiltonianModel:
        """The model with the weights of the last step."""
        return restore_model(self.path, self.header["description"], self._part("model"))

    def restore(self, average: RunningAverage, optimizer: torch.optim.Optimizer) -> None:
        """Put back the averages, the optimizer's moments and the random numbers.

        Raises
        ------
        ModelError
            If the moments are those of other parameters.
        """
        weights = self._part("average")
        if weights:
            average.weights = {name: weights[name].to(old.device) for name, old in average.weights.items()}
            average.n_updates = self.header["n_updates"]
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in self._part("optimizer").items():
            index, _, name = key.partition(".")
            moments.setdefault(int(index), {})[name] = tensor
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for n, values in moments.items():
            if "exp_avg" in values and (n >= len(parameters) or values["exp_avg"].shape != parameters[n].shape):
                raise ModelError(
                    f"{self.path}: the optimizer of that run kept its averages in another order, written by an earlier state of this code "
                    f"({self.header['code']}): begin another run without --resume. Its best model ({BEST}) is read as before"
                )
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        torch.set_rng_state(self.tensors["random"])


def load_state(path: Path) -> State:
    """Read a saved state.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    ModelError
        If it was written by an earlier version, whose optimizer kept other things.
    """
    if not path.is_file():
        raise DataError(f"{path.parent} holds no saved state ({path.name}); start without --resume")
    tensors, header = read_tensors(path, STATE_FORMAT)
    if header["version"] < SINCE_STACKS:
        raise ModelError(
            f"{path} has format {header['version']}, written by an earlier state of this code ({header['code']}) than this one (format "
            f"{SINCE_STACKS}), whose optimizer cannot go on from it: begin another run without --resume. Its best model ({BEST}) is read "
            "as before"
        )
    return State(path, tensors, header)
