"""The optimizer and its schedule."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from deeph.config import TrainConfig


def make_optimizer(model: torch.nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101); weights of norms, biases and embeddings do not decay.

    Parameters
    ----------
    model : torch.nn.Module
        Spared are its embeddings, parameters of fewer than two dimensions, and those with "norm" or "bias" in their name.
    config : TrainConfig
        learning_rate, weight_decay, betas.
    """
    decayed: list[torch.nn.Parameter] = []
    spared: list[torch.nn.Parameter] = []
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    for name, parameter in model.named_parameters():
        small = parameter.ndim < 2 or id(parameter) in embeddings or any(word in name.lower() for word in ("norm", "bias"))
        (spared if small else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, betas=config.betas)


def learning_rate(config: TrainConfig, progress: float) -> float:
    """Linear warm-up, then a cosine from ``learning_rate`` to ``min_learning_rate``; progress runs from 0 to 1."""
    progress = min(max(progress, 0.0), 1.0)
    if progress < config.warmup:
        return config.learning_rate * progress / config.warmup
    phase = (progress - config.warmup) / (1 - config.warmup)
    return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * (1 + math.cos(math.pi * phase)) / 2


class RunningAverage:
    """Exponential moving average of the weights.

    Parameters
    ----------
    model : torch.nn.Module
        The average starts from its weights.
    decay : float
        Final decay; after n updates min(decay, (1 + n)/(10 + n)), so that the first weights are soon forgotten.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.model, self.decay, self.n_updates = model, decay, 0
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the present weights."""
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        for name, parameter in self.model.named_parameters():
            self.weights[name].lerp_(parameter, 1 - decay)
        self.n_updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights for a while."""
        present = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._put(self.weights)
        try:
            yield
        finally:
            self._put(present)

    @torch.no_grad()
    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])
