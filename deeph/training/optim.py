"""The optimizer and its schedule."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from deeph.config import TrainConfig

BETAS = 0.95, 0.95  # of the averages that belong to matrices
INTERVAL = 10  # steps between two turns of the bases


class Soap(torch.optim.AdamW):
    """AdamW in the eigenbasis of the gradients of each matrix (N. Vyas et al., SOAP, arXiv:2409.11321).

    A map of the network acts on its features as a matrix, one for every sector and exchange parity or every l. Its gradients G have mean
    squares G G^T and G^T G; in the eigenvectors of both the entries of G are about uncorrelated, and there Adam's step sizes are what they
    should be. The eigenvectors follow by one step of orthogonal iteration every so often.

    Parameters
    ----------
    groups : list of dict
        Parameter groups of AdamW; those with ``matrices`` true hold stacks (..., a, b) of matrices.
    config : TrainConfig
        learning_rate, betas.
    """

    def __init__(self, groups: list[dict[str, Any]], config: TrainConfig) -> None:
        super().__init__(groups, lr=config.learning_rate, betas=config.betas, foreach=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; the gradients of the matrices are used up."""
        for group in self.param_groups:
            for shape, members in alike(group["params"] if group["matrices"] else []).items():
                G = torch.cat([_gradient(p).reshape(-1, *shape) for p in members])
                step = self._direction(self.state[members[0]], G, group["eps"])
                for p in members:
                    p.grad = None  # AdamW below leaves out what has no gradient
                if step is not None:
                    torch._foreach_mul_(members, 1 - group["lr"] * group["weight_decay"])
                    parts = step.split([p.numel() // shape.numel() for p in members])
                    steps = [own.reshape(p.shape) for own, p in zip(parts, members, strict=True)]
                    torch._foreach_add_(members, steps, alpha=-group["lr"])
        return super().step(closure)

    def _direction(self, state: dict[str, torch.Tensor], G: torch.Tensor, eps: float) -> torch.Tensor | None:
        """Take in the gradients (n, a, b) of matrices of one shape; by how much a learning rate of one would move these."""
        beta1, beta2 = BETAS
        left, right = torch.bmm(G, G.mT), torch.bmm(G.mT, G)
        if not state:  # the first gradient only gives the first basis, in which it would be diagonal
            state |= {"step": torch.zeros(()), "left": left * (1 - beta2), "right": right * (1 - beta2)}
            state |= {f"{side}_basis": _first_basis(state[side]) for side in ("left", "right")}
            state |= {"mean": torch.zeros_like(G), "square": torch.zeros_like(G)}
            return None
        state["step"] += 1
        n, U, V = int(state["step"]), state["left_basis"], state["right_basis"]
        turned = U.mT @ G @ V
        state["mean"].lerp_(turned, 1 - beta1)
        state["square"].lerp_(turned.square_(), 1 - beta2)
        root = (state["square"] / (1 - beta2**n)).sqrt_().add_(eps)
        step = (U @ (state["mean"] / root) @ V.mT).div_(1 - beta1**n)
        state["left"].lerp_(left, 1 - beta2)
        state["right"].lerp_(right, 1 - beta2)
        if n % INTERVAL == 0:
            _follow(state)
        return step


def alike(parameters: Iterable[torch.Tensor]) -> dict[torch.Size, list[torch.Tensor]]:
    """Parameters (..., a, b) by (a, b): matrices of one shape are one stack, moved in few operations; the first has its state."""
    found: dict[torch.Size, list[torch.Tensor]] = {}
    for p in parameters:
        if p.numel():
            found.setdefault(p.shape[-2:], []).append(p)
    return found


def _gradient(p: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad


def _first_basis(square: torch.Tensor) -> torch.Tensor:
    """Eigenvectors of (n, a, a) matrices, largest first; of a null space such axes as rounding does not change."""
    a, size = square.shape[-1], square.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None]
    ramp = torch.linspace(0, -0.01, a, dtype=square.dtype, device=square.device)
    vectors: torch.Tensor = torch.linalg.eigh(square + torch.diag_embed(size * ramp))[1]
    return vectors.flip(-1).contiguous()


def _follow(state: dict[str, torch.Tensor]) -> None:
    """Turn the bases towards the present eigenvectors, sorted by eigenvalue, and what is kept in them along.

    All are kept contiguous, as a saved state is: products of other layouts are rounded differently.
    """
    mean = state["mean"]
    for side, axis in (("left", -2), ("right", -1)):
        old, matrix = state[f"{side}_basis"], state[side]
        size = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
        product = torch.baddbmm(size * old, matrix, old, beta=1e-6)  # where there is no gradient the axes stay
        order = (old * product).sum(-2).argsort(-1, descending=True)
        new = torch.linalg.qr(torch.take_along_dim(product, order[:, None], -1))[0].contiguous()
        change = torch.bmm(new.mT, old)
        mean = torch.bmm(change, mean) if axis == -2 else torch.bmm(mean, change.mT)
        index = order[..., None] if axis == -2 else order[:, None]
        state["square"] = torch.take_along_dim(state["square"], index.expand_as(mean), axis)
        state[f"{side}_basis"] = new
    state["mean"] = mean


def make_optimizer(model: torch.nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """:class:`Soap` or AdamW (arXiv:1711.05101); weights of norms, biases and embeddings do not decay, and are not taken for matrices.

    The maps of e3nn, many small matrices each, have one row of numbers as their ``weight``: these decay, but have no eigenbases.

    Parameters
    ----------
    model : torch.nn.Module
        Spared are its embeddings, parameters with "norm" or "bias" in their name, and those of fewer than two dimensions that are no
        ``weight``.
    config : TrainConfig
        optimizer, learning_rate, weight_decay, betas.
    """
    maps: list[torch.nn.Parameter] = []
    flat: list[torch.nn.Parameter] = []
    spared: list[torch.nn.Parameter] = []
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    for name, parameter in model.named_parameters():
        if id(parameter) in embeddings or any(word in name.lower() for word in ("norm", "bias")):
            spared.append(parameter)
        elif parameter.ndim < 2:
            (flat if name.endswith("weight") else spared).append(parameter)
        else:
            maps.append(parameter)
    matrices = config.optimizer == "soap"
    groups = [
        {"params": maps, "weight_decay": config.weight_decay, "matrices": matrices},
        {"params": flat, "weight_decay": config.weight_decay, "matrices": False},
        {"params": spared, "weight_decay": 0.0, "matrices": False},
    ]
    groups = [g for g in groups if g["params"]]
    return Soap(groups, config)


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
        torch._foreach_lerp_(list(self.weights.values()), list(self.model.parameters()), 1 - decay)
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
