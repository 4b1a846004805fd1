"""Linear and MLP probes on frozen features, trained by the recipes of the active learning literature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from pyal.arrays import as_matrix, generator, number, row_blocks, size
from pyal.heads import training
from pyal.heads.inputs import checked_X, checked_X_y, one_hot, softmax

_RECIPES = {"sgd": (2.5, 3e-4, 100), "adamw": (1e-3, 1e-2, 32)}  # lr, weight decay, batch size
_MSE_LR = 0.5  # of sgd: at 2.5 steps on rows of norm 1 and a bias overshoot (1.4 is the limit of Nesterov steps)


def onto_simplex(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probabilities (n, C) nearest to the rows in squared error; larger scores stay the larger ones."""
    falling = -np.sort(-scores, axis=1)
    excess = (np.cumsum(falling, axis=1) - 1) / np.arange(1, scores.shape[1] + 1)
    last = (falling > excess).sum(1) - 1
    found = np.maximum(scores - excess[np.arange(len(scores)), last][:, None], 0)
    return found / found.sum(1, keepdims=True)  # type: ignore[no-any-return]


@dataclass(eq=False, repr=False, kw_only=True)  # spells the parameters once, and scikit-learn finds them in __init__
class _Probe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """All that the linear and the MLP head share: everything but the layers in between."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float | None = None
    weight_decay: float | None = None
    momentum: float = 0.9
    epochs: int = 400
    batch_size: int | None = None
    loss: Literal["ce", "mse"] = "ce"
    dropout: float = 0.0
    drop_last: bool = False
    selection: Literal["last", "best_val"] = "last"
    validation_fraction: float = 0.0
    patience: int = 50
    standardize: bool = True
    warm_start: bool = False
    device: str | None = None
    random_state: Any = None

    def fit(self, X: Any, y: Any, validation: tuple[Any, Any] | None = None) -> Any:
        """Trains on X (n, d) and labels y (n,), from fresh weights, or from the last fit's with warm_start.

        validation: (X, y) that selection="best_val" selects by.
        """
        X, y = checked_X_y(self, X, y, first=True)
        recipe, rng = self._recipe(), generator(self.random_state)
        before: tuple[Any, ...] | None = None
        if self.warm_start and hasattr(self, "_flat"):
            before = tuple(getattr(self, name) for name in ("classes_", "_flat", "mean_", "scale_"))
        X, y, held_out = self._split(X, y, validation, rng)
        self.classes_ = np.unique(y if held_out is None else np.concatenate([y, held_out[1]]))
        self.n_validation_ = 0 if held_out is None else len(held_out[1])
        self.mean_, self.scale_ = np.zeros(X.shape[1]), 1.0
        if self.standardize:
            self.mean_ = X.mean(0, dtype=np.float64)
            self.scale_ = float(np.sqrt(((X - self.mean_) ** 2).sum(1).mean())) or 1.0
        self._sizes, self._dropout, self._loss = self._layer_sizes(), recipe.dropout, recipe.loss
        rows, labels = self._placed(X), self._labels(y)
        seen = None if held_out is None else (self._placed(held_out[0]), self._labels(held_out[1]))
        with training.few_threads(self._sizes, min(recipe.batch_size, len(X))):
            flat = training.initial(self._sizes, rng) if before is None else self._gone_on(*before)
            flat = flat.to(rows.device)
            self.n_iter_, self.best_epoch_ = training.train(flat, self._sizes, rows, labels, recipe, rng, seen)
        self._flat = flat.cpu().numpy()
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities (N, C) of the classes in classes_, without dropout.

        With loss="mse" they are the point of the simplex that is nearest to the outputs.
        """
        check_is_fitted(self)
        return self._each_block(X, (len(self.classes_),), np.float64, self._proba)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of every row, (N,)."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]  # type: ignore[no-any-return]

    def features(self, X: Any) -> NDArray[np.float32]:
        """(N, h) float32 that the output layer takes, without dropout: the last hidden activations, or the inputs as
        the head sees them (centred and scaled with standardize) where it has no hidden layer."""
        check_is_fitted(self)
        return self._each_block(X, (self._sizes[-2],), np.float32, lambda _, features: features.cpu().numpy())

    def stochastic_proba(self, X: Any, n_passes: int = 20, random_state: Any = None) -> NDArray[np.float32]:
        """(T, N, C) float32 probabilities of T passes with dropout, as `pyal.select(..., proba=)` takes them for BALD.

        A pass has one mask for all rows, so that it is one model (Kirsch et al. 2019, arXiv:1906.08158). Raises
        ValueError for a head with dropout=0, whose passes would all be equal. Memory: the result.
        """
        import torch

        check_is_fitted(self)
        passes, rng = size(n_passes, "n_passes", 1), generator(random_state)
        if self._dropout == 0:
            raise ValueError("stochastic_proba needs a head fitted with dropout > 0: without, all passes are equal")
        masks = training.dropout_mask((passes, self._sizes[-2]), self._dropout, rng, torch.device("cpu"))

        def every_pass(layers: training.Layers, features: Any) -> NDArray[Any]:
            on_device = masks.to(features.device)
            return np.stack([self._proba(layers, features * mask) for mask in on_device], axis=1)

        found = self._each_block(X, (passes, len(self.classes_)), np.float32, every_pass)
        return np.ascontiguousarray(found.transpose(1, 0, 2))

    def _gone_on(self, classes: NDArray[Any], flat: NDArray[np.float32], mean: NDArray[Any], scale: float) -> Any:
        """The weights of the last fit, so changed that they say of a row what they said: rows are scaled anew."""
        import torch

        begun = torch.from_numpy(flat.copy())
        sizes = self._sizes
        wanted = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))
        if not np.array_equal(classes, self.classes_) or len(mean) != sizes[0] or len(flat) != wanted:
            raise ValueError(
                "warm_start=True goes on with the classes, columns and layers of the last fit; these are others "
                f"({len(classes)} classes and {len(mean)} columns before, {len(self.classes_)} and {sizes[0]} now)"
            )
        weights, biases = training.layers_of(begun, sizes)[0]
        biases += (weights.double() @ torch.from_numpy((self.mean_ - mean) / scale)).float()
        weights *= self.scale_ / scale
        return begun

    def _hidden_sizes(self) -> list[int]:
        raise NotImplementedError

    def _layer_sizes(self) -> list[int]:
        return [len(self.mean_), *self._hidden_sizes(), len(self.classes_)]

    def _recipe(self) -> training.Recipe:
        """The parameters checked, defaults filled in."""
        for name, allowed in (
            ("optimizer", tuple(_RECIPES)),
            ("loss", ("ce", "mse")),
            ("selection", ("last", "best_val")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}; got {getattr(self, name)!r}")
        lr, weight_decay, batch_size = _RECIPES[self.optimizer]
        for name in ("dropout", "momentum"):
            if not number(getattr(self, name), name, low=-1e-300) < 1:
                raise ValueError(f"{name} must lie in [0, 1); got {getattr(self, name)!r}")
        if self.optimizer == "sgd":  # dropout makes mean squares of features larger, by 1 / (1 - dropout)
            lr = (_MSE_LR if self.loss == "mse" else lr) * (1 - self.dropout)
        return training.Recipe(
            optimizer=self.optimizer,
            lr=lr if self.lr is None else number(self.lr, "lr"),
            weight_decay=weight_decay
            if self.weight_decay is None
            else number(self.weight_decay, "weight_decay", -1e-300),
            momentum=float(self.momentum),
            epochs=size(self.epochs, "epochs", 1),
            batch_size=batch_size if self.batch_size is None else size(self.batch_size, "batch_size", 1),
            loss=self.loss,
            dropout=float(self.dropout),
            drop_last=bool(self.drop_last),
            patience=size(self.patience, "patience", 1),
        )

    def _split(
        self, X: NDArray[Any], y: NDArray[Any], validation: tuple[Any, Any] | None, rng: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[Any], tuple[NDArray[Any], NDArray[Any]] | None]:
        """Rows to train on and rows to select by."""
        share = number(self.validation_fraction, "validation_fraction", low=-1e-300)
        given = (validation is not None) + (share > 0)
        if self.selection == "last":
            if given:
                raise ValueError("validation rows are used with selection='best_val' only; got some with 'last'")
            return X, y, None
        if given != 1:
            raise ValueError("selection='best_val' needs either validation_fraction > 0 or fit(..., validation=(X, y))")
        if validation is not None:
            held_X = checked_X(self, validation[0], first=False)
            held_y = np.asarray(validation[1])
            if held_y.shape != (len(held_X),):
                raise ValueError(f"validation must hold one label per row, {len(held_X)}; got shape {held_y.shape}")
            return X, y, (held_X, held_y)
        count = max(1, round(share * len(X)))
        if count >= len(X):
            raise ValueError(f"validation_fraction={share:g} of {len(X)} rows leaves none to train on")
        order = rng.permutation(len(X))
        held, kept = order[:count], order[count:]
        return X[kept], y[kept], (X[held], y[held])

    def _placed(self, X: NDArray[Any]) -> Any:
        """Rows as the first layer takes them, a float32 tensor on the device."""
        import torch

        rows = as_matrix(((X - self.mean_) / self.scale_).astype(np.float32), device=self.device).array
        return torch.as_tensor(rows)

    def _labels(self, y: NDArray[Any]) -> Any:
        import torch

        return torch.as_tensor(as_matrix(one_hot(y, self.classes_, np.float32), device=self.device).array)

    def _proba(self, layers: training.Layers, features: Any) -> NDArray[np.float64]:
        scores = training.outputs(layers, features).double().cpu().numpy()
        return softmax(scores) if self._loss == "ce" else onto_simplex(scores)

    def _each_block(
        self, X: Any, shape: tuple[int, ...], dtype: Any, of: Callable[[training.Layers, Any], NDArray[Any]]
    ) -> NDArray[Any]:
        """(N, *shape): of(layers, features), block by block."""
        import torch

        X = checked_X(self, X, first=False)
        out = np.empty((len(X), *shape), dtype)
        layers: training.Layers | None = None
        for part in row_blocks(len(X), max(self._sizes)):
            rows = self._placed(X[part])
            if layers is None:
                layers = training.layers_of(torch.from_numpy(self._flat).to(rows.device), self._sizes)
            out[part] = of(layers, training.hidden(layers, rows)[-1])
        return out


@dataclass(eq=False, repr=False, kw_only=True)
class LinearHead(_Probe):
    """Softmax regression trained by gradient steps: a linear probe on frozen features.

    optimizer: "sgd" takes Nesterov steps with lr 2.5 falling to 0 along a cosine, weight decay 3e-4 and batches of at
        most 100 rows (TypiClust, Hacohen et al. 2022). "adamw" takes lr 1e-3, weight decay 1e-2 and batches of 32.
    lr: overrules the optimizer's learning rate.
    weight_decay: overrules the optimizer's weight decay.
    momentum: of "sgd".
    epochs: passes over the rows.
    batch_size: overrules the optimizer's batch size.
    loss: "ce", the cross-entropy, or "mse", half the squared distance to the one-hot label, as in the theory of neural
        tangent kernels (lr 0.5).
    dropout: probability with which an input of the output layer is dropped. lr of "sgd" then starts as much lower,
        unless it is given.
    drop_last: whether to leave the last batch out where it is not full. A last batch of a single row is always left
        out, as long as there are others and batch_size is not 1.
    selection: "last" keeps the weights of the last epoch, "best_val" the weights of least loss on validation rows.
    validation_fraction: the share of the rows given to `fit` that "best_val" selects by, where `fit` gets no others.
    patience: "best_val" stops after this many epochs without a smaller loss.
    standardize: whether to centre the rows and divide all by one number, so that the training rows' mean squared norm
        is 1. lr 2.5 is meant for such rows. On raw features of large norm it swings: a linear head on the digits loses
        0.05 to 0.15 of accuracy, an MLP ends at chance. Columns scaled one by one lose too where labels are few.
    warm_start: whether `fit` goes on from the weights of the last `fit`, whose classes must be the same.
    device: "cpu" (None) or "cuda".
    random_state: None, an int, a Generator or a RandomState. torch's own generator is neither read nor moved.

    After `fit` there are classes_, n_iter_ (epochs run), best_epoch_, n_validation_ (labels used for selection), mean_
    and scale_. Training takes one thread of torch while steps are small. Raises ValueError where training diverges.
    Memory: O(n d).

    >>> head = LinearHead(random_state=0).fit([[0.0, 1.0], [1.0, 0.0]], ["cat", "dog"])
    >>> head.predict([[0.9, 0.2]]).tolist()
    ['dog']
    """

    def _hidden_sizes(self) -> list[int]:
        return []


@dataclass(eq=False, repr=False)
class MLPHead(_Probe):
    """A multilayer perceptron on frozen features, with ReLU layers.

    hidden_layer_sizes: hidden units of each layer.
    dropout: probability with which an activation of the last hidden layer is dropped. `features` returns these
        activations, none of them dropped.

    All else is as in `LinearHead`.

    >>> head = MLPHead(hidden_layer_sizes=(8,), random_state=0).fit([[0.0, 1.0], [1.0, 0.0]], ["cat", "dog"])
    >>> head.features([[0.9, 0.2]]).shape
    (1, 8)
    """

    hidden_layer_sizes: tuple[int, ...] = (512,)

    def _hidden_sizes(self) -> list[int]:
        sizes = list(self.hidden_layer_sizes)
        if not sizes:
            raise ValueError("hidden_layer_sizes must name at least one layer; LinearHead is the head without any")
        return [size(width, "hidden_layer_sizes", 1) for width in sizes]
