"""What makes a run this run and no other."""

from collections.abc import Mapping
from typing import Any

from deeph.config import Config, LossConfig, ModelConfig
from deeph.files.dataset import Dataset
from deeph.files.split import Split


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


def changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not as it was recorded: single settings with both values, other things by name."""
    found = list[str]()
    for name, value in now.items():
        before = _with_defaults(name, recorded.get(name))
        if isinstance(value, dict):
            keys = [key for key in {**value, **before} if value.get(key) != before.get(key)]
            found += [f"{name}.{key} ({before.get(key)} -> {value.get(key)})" for key in keys]
        elif value != before:
            found.append(name if name.endswith("data") else f"{name} ({before} -> {value})")
    return found


def _with_defaults(name: str, recorded: Any) -> Any:
    """Settings of an earlier version: those that it did not have are what they are by default."""
    sections = {"model": ModelConfig, "loss": LossConfig}
    return {**sections[name]().model_dump(mode="json"), **recorded} if name in sections else recorded
