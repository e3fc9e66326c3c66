"""The optimizer and its schedule."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from deeph.config import TrainConfig


class Muon(torch.optim.AdamW):
    """AdamW that moves matrices along their orthogonalized momentum.

    In the maps of the network each matrix, one for every sector and exchange parity or every l, acts on its features as a whole. Steepest
    descent in the norm of what it can do to them (spectral norm) is the momentum with all singular values set to one (K. Jordan et al.,
    Muon: an optimizer for hidden layers in neural networks, 2024; J. Bernstein and L. Newhouse, arXiv:2409.20325). Steps are scaled to the
    root mean square 0.2 of Adam's (arXiv:2502.16982), so that one learning rate serves both.

    Parameters
    ----------
    groups : list of dict
        Parameter groups of AdamW; those with ``matrices`` true hold stacks (..., a, b) of matrices.
    config : TrainConfig
        learning_rate, betas, momentum.
    """

    def __init__(self, groups: list[dict[str, Any]], config: TrainConfig) -> None:
        super().__init__(groups, lr=config.learning_rate, betas=config.betas)
        self.momentum = config.momentum

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; the gradients of the matrices are used up."""
        for group in self.param_groups:
            for p in group["params"] if group["matrices"] else []:
                if p.grad is None or not p.numel():
                    continue
                self.state[p].setdefault("step", torch.zeros(()))  # AdamW looks for it when a state is loaded
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - self.momentum)
                direction = orthogonalized(torch.lerp(p.grad, momentum, self.momentum))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(direction, alpha=-group["lr"] * 0.2 * math.sqrt(max(p.shape[-2:])))
                p.grad = None  # AdamW below leaves out what has no gradient
        return super().step(closure)


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """(..., a, b) matrices U s V^T -> about U V^T: singular values between 0.7 and 1.2, zero where they were zero.

    Five steps of a Newton-Schulz iteration x -> a x + b x^3 + c x^5 of the singular values; its coefficients are steep at zero and do not
    converge to one, which descent does not need (K. Jordan et al., 2024).
    """
    a, b, c = 3.4445, -4.775, 2.0315
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.flatten(0, -3) if matrices.ndim > 2 else matrices[None]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + torch.finfo(x.dtype).tiny ** 0.5)
    for _ in range(5):
        square = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).reshape(matrices.shape)


def make_optimizer(model: torch.nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """:class:`Muon` or AdamW (arXiv:1711.05101); weights of norms, biases and embeddings do not decay, and are not taken for matrices.

    Parameters
    ----------
    model : torch.nn.Module
        Spared are its embeddings, parameters of fewer than two dimensions, and those with "norm" or "bias" in their name.
    config : TrainConfig
        optimizer, learning_rate, weight_decay, betas, momentum.
    """
    maps: list[torch.nn.Parameter] = []
    spared: list[torch.nn.Parameter] = []
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    for name, parameter in model.named_parameters():
        small = parameter.ndim < 2 or id(parameter) in embeddings or any(word in name.lower() for word in ("norm", "bias"))
        (spared if small else maps).append(parameter)
    matrices = config.optimizer == "muon"
    groups = [
        {"params": maps, "weight_decay": config.weight_decay, "matrices": matrices},
        {"params": spared, "weight_decay": 0.0, "matrices": False},
    ]
    return Muon([g for g in groups if g["params"]], config)


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
