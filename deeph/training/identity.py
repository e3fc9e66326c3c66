"""What makes a run this run and no other."""

from typing import Any

from deeph.config import Config, LossConfig, ModelConfig
from deeph.files.dataset import Dataset, Split


def identity(dataset: Dataset, split: Split, config: Config) -> dict[str, Any]:
    """What must not change when a run is resumed."""
    return {
        "train_data": dataset.subset(split.train).fingerprint(),
        "validate_data": dataset.subset(split.validate).fingerprint(),
        "model": config.model.model_dump(mode="json"),
        "loss": config.loss.model_dump(mode="json"),
        "optimizer": config.train.optimizer,
        "precision": config.train.precision,
        "seed": config.train.seed,
    }


def with_defaults(name: str, recorded: Any) -> Any:
    """Settings of an earlier version: those that it did not have are what they are by default."""
    sections = {"model": ModelConfig, "loss": LossConfig}
    return {**sections[name]().model_dump(mode="json"), **recorded} if name in sections else recorded
