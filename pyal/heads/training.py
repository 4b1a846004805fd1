"""Training of small fully connected networks on features, in torch but without its modules: forward, backward and step.

A few hundred rows make steps of a few thousand numbers each, where modules, autograd and optimiser objects would take
most of the time. All parameters are one flat float32 vector; the weights (out, in) and biases (out,) of every layer are
views of it. NumPy draws all random numbers, so that the CPU and a GPU start and shuffle alike and torch's generator is
left alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

Layers = list[tuple[Any, Any]]

_FEW_FLOPS = 2e9  # of a step; below, more threads cost more than they bring


@dataclass(frozen=True)
class Recipe:
    """How to train: what the heads take as parameters, with their defaults filled in."""

    optimizer: Literal["sgd", "adamw"]
    lr: float
    weight_decay: float
    momentum: float
    epochs: int
    batch_size: int
    loss: Literal["ce", "mse"]
    dropout: float
    drop_last: bool
    patience: int


def layers_of(flat: Any, sizes: list[int]) -> Layers:
    """Views of the flat vector: (weights (out, in), biases (out,)) per layer."""
    layers, at = [], 0
    for fan_in, fan_out in pairwise(sizes):
        end = at + fan_in * fan_out
        layers.append((flat[at:end].view(fan_out, fan_in), flat[end : end + fan_out]))
        at = end + fan_out
    return layers


def initial(sizes: list[int], rng: np.random.Generator) -> Any:
    """The flat vector of parameters, uniform in +-1 / sqrt(inputs) as torch.nn.Linear starts."""
    import torch

    pieces = [rng.uniform(-1, 1, (fan_in + 1) * fan_out) / math.sqrt(fan_in) for fan_in, fan_out in pairwise(sizes)]
    return torch.from_numpy(np.concatenate(pieces).astype(np.float32))


def hidden(layers: Layers, X: Any) -> list[Any]:
    """X and the activations of the hidden layers after it; the last are the features that the output layer takes."""
    import torch

    activations = [X]
    for weights, biases in layers[:-1]:
        activations.append(torch.addmm(biases, activations[-1], weights.T).relu_())
    return activations


def outputs(layers: Layers, features: Any) -> Any:
    """(n, C) logits, or estimates of the one-hot labels with loss="mse"."""
    import torch

    weights, biases = layers[-1]
    return torch.addmm(biases, features, weights.T)


def loss_of(scores: Any, Y: Any, loss: str) -> float:
    """Mean over the rows of the cross-entropy, or of half the squared distance to the one-hot label."""
    if loss == "mse":
        return float(((scores - Y) ** 2).sum(1).mean()) / 2
    return float(-(scores.log_softmax(1) * Y).sum(1).mean())


def gradient(layers: Layers, X: Any, Y: Any, loss: str, mask: Any, into: Layers) -> None:
    """The gradient of `loss_of`, written into views of a flat vector; mask multiplies the features, or is None."""
    import torch

    activations = hidden(layers, X)
    features = activations[-1] if mask is None else activations[-1] * mask
    scores = outputs(layers, features)
    slope = ((scores if loss == "mse" else scores.softmax(1)) - Y).div_(len(X))
    for i in range(len(layers) - 1, -1, -1):
        last = i == len(layers) - 1
        torch.mm(slope.T, features if last else activations[i], out=into[i][0])
        torch.sum(slope, 0, out=into[i][1])
        if i > 0:
            slope = slope @ layers[i][0]
            if last and mask is not None:
                slope *= mask
            slope *= activations[i] > 0


def stepper(recipe: Recipe, flat: Any, slope: Any) -> Any:
    """step(lr): one step of torch.optim.SGD (Nesterov) or AdamW on the flat vector, from the gradient in slope."""
    import torch

    if recipe.optimizer == "sgd":
        velocity = torch.zeros_like(flat)

        def sgd(lr: float) -> None:
            slope.add_(flat, alpha=recipe.weight_decay)
            velocity.mul_(recipe.momentum).add_(slope)
            flat.add_(slope, alpha=-lr).add_(velocity, alpha=-lr * recipe.momentum)

        return sgd
    first, second = torch.zeros_like(flat), torch.zeros_like(flat)
    betas, epsilon, steps = (0.9, 0.999), 1e-8, 0

    def adamw(lr: float) -> None:
        nonlocal steps
        steps += 1
        flat.mul_(1 - lr * recipe.weight_decay)
        first.lerp_(slope, 1 - betas[0])
        second.mul_(betas[1]).addcmul_(slope, slope, value=1 - betas[1])
        root = second.sqrt().div_(math.sqrt(1 - betas[1] ** steps)).add_(epsilon)
        flat.addcdiv_(first, root, value=-lr / (1 - betas[0] ** steps))

    return adamw


def batches(n: int, batch_size: int, drop_last: bool) -> list[slice]:
    """Slices of n shuffled rows. The last is kept unless it holds one row, or is not full and drop_last; never none."""
    found = [slice(begin, min(begin + batch_size, n)) for begin in range(0, n, batch_size)]
    rest = n - found[-1].start
    if len(found) > 1 and rest < batch_size and (rest == 1 or drop_last):
        found.pop()
    return found


def train(
    flat: Any, sizes: list[int], X: Any, Y: Any, recipe: Recipe, rng: np.random.Generator, validation: Any = None
) -> tuple[int, int]:
    """(epochs run, epoch whose parameters are kept); the flat vector is changed in place.

    With validation (X, Y) these are the parameters of least loss on it, looked at after every epoch, and training ends
    after `patience` epochs without a smaller one. Without, those after the last epoch. Raises ValueError where the
    parameters have left the finite numbers.
    """
    import torch

    layers, slope = layers_of(flat, sizes), torch.empty_like(flat)
    into, step = layers_of(slope, sizes), stepper(recipe, flat, slope)
    slices = batches(len(X), recipe.batch_size, recipe.drop_last)
    best, best_loss, best_epoch, epoch = None, math.inf, 0, 0
    for epoch in range(1, recipe.epochs + 1):
        lr = recipe.lr
        if recipe.optimizer == "sgd":
            lr *= (1 + math.cos(math.pi * (epoch - 1) / recipe.epochs)) / 2
        order = torch.from_numpy(rng.permutation(len(X))).to(X.device)
        shuffled, labels = X[order], Y[order]
        for part in slices:
            rows = shuffled[part]
            mask = None
            if recipe.dropout > 0:
                mask = dropout_mask((len(rows), sizes[-2]), recipe.dropout, rng, X.device)
            gradient(layers, rows, labels[part], recipe.loss, mask, into)
            step(lr)
        if validation is not None:
            loss = loss_of(outputs(layers, hidden(layers, validation[0])[-1]), validation[1], recipe.loss)
            if loss < best_loss:
                best, best_loss, best_epoch = flat.clone(), loss, epoch
            elif epoch - best_epoch >= recipe.patience:
                break
    if best is not None:
        flat.copy_(best)
    if not bool(torch.isfinite(flat).all()):
        raise ValueError(f"training has diverged: lr={recipe.lr:g} is too large for these features (see standardize)")
    return epoch, best_epoch or epoch


def dropout_mask(shape: tuple[int, ...], p: float, rng: np.random.Generator, device: Any) -> Any:
    """Independent 0 with probability p, else 1 / (1 - p)."""
    import torch

    kept = (rng.random(shape, np.float32) >= p).astype(np.float32)
    return torch.from_numpy(kept).to(device).div_(1 - p)


@contextmanager
def few_threads(sizes: list[int], batch_size: int) -> Iterator[None]:
    """torch on one CPU thread while steps are small; what was set before holds again afterwards."""
    import torch

    parameters = sum(fan_in * fan_out for fan_in, fan_out in pairwise(sizes))
    before = torch.get_num_threads()
    few = before > 1 and 6 * parameters * batch_size < _FEW_FLOPS
    if few:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if few:
            torch.set_num_threads(before)
