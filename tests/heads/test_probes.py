"""Linear and MLP heads: gradients and steps against torch's own, the recipes, seeds, scikit-learn's contract."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

torch = pytest.importorskip("torch")

from pyal import heads  # noqa: E402
from pyal.heads import training  # noqa: E402
from pyal.heads.probes import LinearHead, MLPHead, onto_simplex  # noqa: E402

# torch multiplies 7 rows in another order than 60: at 64 terms of float32 whose absolute values sum to 40 or less,
# scores differ by up to 2 x 64 x 2^-24 x 40 and probabilities by half of that. Another mask of dropout moves them
# by 0.01.
ROUNDING = 1.6e-4

RECIPE = training.Recipe("sgd", 0.5, 3e-4, 0.9, 5, 100, "ce", 0.0, False, 50)


def small(head: type, **options: object):
    return head(
        **({"hidden_layer_sizes": (16,)} if head is MLPHead else {}), **{"random_state": 0, "epochs": 60} | options
    )


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(X))
    return X[order], y[order]


def problem(sizes: list[int], n: int = 7):
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.standard_normal((n, sizes[0])).astype(np.float32))
    Y = torch.from_numpy(np.eye(sizes[-1], dtype=np.float32)[rng.integers(0, sizes[-1], n)])
    return training.initial(sizes, rng), X, Y


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("loss", ["ce", "mse"])
@pytest.mark.parametrize("sizes", [[5, 3], [5, 8, 3], [5, 8, 6, 1]])
def test_gradient_is_that_of_autograd(sizes, loss, masked):
    flat, X, Y = problem(sizes)
    mask = training.dropout_mask((7, sizes[-2]), 0.5, np.random.default_rng(1), "cpu") if masked else None
    slope = torch.empty_like(flat)
    training.gradient(training.layers_of(flat, sizes), X, Y, loss, mask, training.layers_of(slope, sizes))
    auto = flat.clone().requires_grad_()
    out = X
    layers = training.layers_of(auto, sizes)
    for i, (weights, biases) in enumerate(layers):
        if i == len(layers) - 1 and mask is not None:
            out = out * mask
        out = torch.nn.functional.linear(out, weights, biases)
        out = torch.relu(out) if i < len(layers) - 1 else out
    found = (
        torch.nn.functional.cross_entropy(out, Y)
        if loss == "ce"
        else torch.nn.functional.mse_loss(out, Y) * sizes[-1] / 2
    )
    found.backward()
    torch.testing.assert_close(slope, auto.grad)
    if mask is None:
        assert training.loss_of(out.detach(), Y, loss) == pytest.approx(float(found.detach()), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_steps_are_those_of_torch(optimizer):
    flat = torch.linspace(-1, 1, 9)
    theirs = flat.clone().requires_grad_()
    recipe = training.Recipe(optimizer, 0.1, 0.01, 0.9, 1, 1, "ce", 0.0, False, 1)
    slope = torch.empty_like(flat)
    step = training.stepper(recipe, flat, slope)
    if optimizer == "sgd":
        reference = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    else:
        reference = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.01)
    for i in range(6):
        lr = 0.1 / (i + 1)
        slope.copy_(flat**2 + i)
        theirs.grad = theirs.detach() ** 2 + i
        reference.param_groups[0]["lr"] = lr
        step(lr)
        reference.step()
        torch.testing.assert_close(flat, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_learning_rate_falls_along_a_cosine(monkeypatch):
    seen = []
    monkeypatch.setattr(training, "stepper", lambda *_: seen.append)
    flat, X, Y = problem([5, 3])
    training.train(flat, [5, 3], X, Y, RECIPE, np.random.default_rng(0))
    assert seen == pytest.approx([0.5 * (1 + math.cos(math.pi * e / 5)) / 2 for e in range(5)])


@pytest.mark.parametrize(
    ("n", "size", "drop_last", "expected"),
    [
        (1, 32, False, [1]), (32, 32, False, [32]), (33, 32, False, [32]), (34, 32, False, [32, 2]),
        (34, 32, True, [32]), (64, 32, True, [32, 32]), (20, 32, True, [20]), (1, 32, True, [1]),
        (3, 1, False, [1, 1, 1]),
    ],
)  # fmt: skip
def test_batches_and_the_batch_of_one(n, size, drop_last, expected):
    assert [part.stop - part.start for part in training.batches(n, size, drop_last)] == expected


@pytest.mark.parametrize("loss", ["ce", "mse"])
@pytest.mark.parametrize("head", [LinearHead, MLPHead])
@pytest.mark.parametrize(("n", "slack"), [(20, 0.05), (200, 0.05)])
def test_accuracy_is_comparable_to_logistic_regression(digits, head, loss, n, slack):
    X, y = digits
    theirs = LogisticRegression(max_iter=2000).fit(X[:n] / 16, y[:n]).score(X[500:] / 16, y[500:])
    mine = head(loss=loss, random_state=0).fit(X[:n], y[:n]).score(X[500:], y[500:])
    assert mine > theirs - slack


def test_dropout_leaves_a_classifier(digits):
    """20 labels, half of 512 units dropped: at the undamped lr 2.5 this head falls to 0.4."""
    X, y = digits
    plain, dropped = (
        MLPHead(dropout=p, random_state=0).fit(X[:20], y[:20]).score(X[500:], y[500:]) for p in (0.0, 0.5)
    )
    assert dropped > plain - 0.05


def test_adamw_learns(digits):
    X, y = digits
    assert LinearHead(optimizer="adamw", random_state=0).fit(X[:200], y[:200]).score(X[500:], y[500:]) > 0.87


@pytest.mark.parametrize("head", [LinearHead, MLPHead])
def test_seeds(digits, head):
    """The same seed gives the same head; neither NumPy's nor torch's global generator is read or moved."""
    X, y = digits[0][:60], digits[1][:60]
    options = {"dropout": 0.3, "selection": "best_val", "validation_fraction": 0.2}
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), torch.get_num_threads()  # noqa: NPY002
    first = small(head, **options).fit(X, y)
    torch.manual_seed(1)
    again = small(head, **options).fit(X, y)
    torch.manual_seed(0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), torch.get_num_threads())  # noqa: NPY002
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    other = small(head, **options | {"random_state": 1}).fit(X, y)
    assert not np.array_equal(first.predict_proba(X), other.predict_proba(X))
    passes = first.stochastic_proba(X, 5, random_state=3)
    np.testing.assert_array_equal(passes, again.stochastic_proba(X, 5, random_state=3))
    assert not np.array_equal(passes, first.stochastic_proba(X, 5, random_state=4))


@pytest.mark.parametrize("head", [LinearHead, MLPHead])
def test_features_and_stochastic_passes(digits, head):
    X, y = digits[0][:60], digits[1][:60]
    fitted = small(head, dropout=0.5).fit(X, y)
    features = fitted.features(X)
    assert features.shape == (60, 16 if head is MLPHead else 64)
    assert features.dtype == np.float32
    if head is LinearHead:
        assert np.mean((features**2).sum(1)) == pytest.approx(1, rel=1e-5)
    else:
        assert features.min() == 0
    passes = fitted.stochastic_proba(X, 30, random_state=0)
    assert passes.shape == (30, 60, 10)
    assert passes.flags.c_contiguous
    np.testing.assert_allclose(passes.sum(2), 1, rtol=1e-5)
    assert passes.std(0).max() > 0.01
    np.testing.assert_allclose(passes[:, :7], fitted.stochastic_proba(X[:7], 30, random_state=0), atol=ROUNDING)
    np.testing.assert_allclose(fitted.predict_proba(X), fitted.predict_proba(X), atol=ROUNDING)  # dropout is off again
    with pytest.raises(ValueError, match="dropout > 0"):
        small(head).fit(X, y).stochastic_proba(X, 3)


def test_best_weights_are_restored(digits, monkeypatch):
    """An lr that overshoots: what is kept are the weights of the epoch whose loss was least, not the last ones."""
    X, y = digits
    held = X[300:400], y[300:400]
    seen: list[float] = []
    original = training.loss_of

    def recorded(*arguments: object) -> float:
        seen.append(original(*arguments))
        return seen[-1]

    monkeypatch.setattr(training, "loss_of", recorded)
    head = MLPHead((16,), lr=20.0, epochs=80, selection="best_val", patience=10, random_state=0)
    head.fit(X[:50], y[:50], validation=held)
    assert head.n_validation_ == 100
    assert head.n_iter_ == len(seen) == min(80, head.best_epoch_ + 10)
    assert head.best_epoch_ == 1 + int(np.argmin(seen)) < len(seen)
    proba = head.predict_proba(held[0])
    found = -np.log(proba[np.arange(100), np.searchsorted(head.classes_, held[1])] + 1e-300).mean()
    assert found == pytest.approx(min(seen), rel=1e-3)


def test_validation_fraction_counts_labels(digits):
    X, y = digits[0][:50], digits[1][:50]
    head = small(LinearHead, selection="best_val", validation_fraction=0.2).fit(X, y)
    assert head.n_validation_ == 10
    assert head.classes_.tolist() == np.unique(y).tolist()
    assert small(LinearHead).fit(X, y).n_validation_ == 0


def test_standardize(digits):
    """Matrix moved and scaled give the same head with standardize, and another one without."""
    X, y = digits[0][:40].astype(np.float64), digits[1][:40]
    for standardize, same in ((True, True), (False, False)):
        plain, moved = (small(LinearHead, standardize=standardize).fit(A, y).predict_proba(A) for A in (X, X / 100 + 7))
        assert np.allclose(plain, moved, atol=1e-3) == same


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("head", [LinearHead, MLPHead])
def test_warm_start_goes_on_from_what_the_last_fit_said(digits, head, standardize):
    """With steps of almost nothing it says what it said, though the rows are centred and scaled anew."""
    X, y = digits
    options = {"standardize": standardize, "random_state": 0, "warm_start": True, "epochs": 20, "lr": 0.1}
    warm = small(head, **options).fit(X[:200], y[:200])
    said = warm.predict_proba(X[300:])
    cold = small(head, **options | {"warm_start": False}).fit(X[:200], y[:200])
    np.testing.assert_array_equal(cold.predict_proba(X[300:]), said)
    warm.set_params(lr=1e-30, weight_decay=0.0, epochs=1).fit(3 * X[100:300] + 1, y[100:300])
    np.testing.assert_allclose(warm.predict_proba(X[300:]), said, atol=1e-4)
    cold.set_params(lr=1e-30, weight_decay=0.0, epochs=1).fit(X[100:300], y[100:300])
    assert abs(cold.predict_proba(X[300:]) - said).max() > 0.01


def test_warm_start_needs_the_same_classes_and_columns(digits):
    X, y = digits
    head = small(MLPHead, warm_start=True, epochs=1, random_state=0).fit(X[:200], y[:200])
    for rows, labels, said in ((X[:200], y[:200] % 3, "10 classes and 64 columns before, 3 and 64 now"),
                               (X[:200, :9], y[:200], "before, 10 and 9 now")):  # fmt: skip
        with pytest.raises(ValueError, match=f"warm_start=True goes on with the classes, .*{said}"):
            copy.deepcopy(head).fit(rows, labels)
    with pytest.raises(ValueError, match="layers of the last fit"):
        copy.deepcopy(head).set_params(hidden_layer_sizes=(3,)).fit(X[:200], y[:200])


def test_divergence_is_said(digits):
    with pytest.raises(ValueError, match="training has diverged: lr=1e"):
        small(MLPHead, lr=1e15, loss="mse", standardize=False).fit(digits[0][:40], digits[1][:40])


def test_onto_simplex():
    given = np.array([[0.2, 0.3, 0.5], [2.0, 0.0, 0.0], [-1.0, -1.0, -1.0], [0.9, 0.9, -5.0]])
    expected = [[0.2, 0.3, 0.5], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]]
    np.testing.assert_allclose(onto_simplex(given), expected, atol=1e-15)


@pytest.mark.parametrize("loss", ["ce", "mse"])
@pytest.mark.parametrize("head", [LinearHead, MLPHead])
def test_strings_one_class_one_row_and_equal_rows(head, loss):
    X = np.random.default_rng(0).standard_normal((5, 3))
    alone = small(head, loss=loss).fit(X, ["x"] * 5)
    np.testing.assert_array_equal(alone.predict_proba(X), np.ones((5, 1)))
    assert small(head, loss=loss).fit(X[:1], ["x"]).predict(X).tolist() == ["x"] * 5
    equal = small(head, loss=loss).fit(np.ones((4, 3)), list("xyxy")).predict_proba(np.ones((2, 3)))
    np.testing.assert_allclose(equal, 0.5, atol=0.05)
    named = small(head, loss=loss).fit(X, np.array(list("baaba")))
    assert named.classes_.tolist() == ["a", "b"]
    proba = named.predict_proba(X)
    np.testing.assert_array_equal(named.predict(X), named.classes_[proba.argmax(1)])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(named)).predict_proba(X), proba)


@pytest.mark.filterwarnings("ignore")  # of the checks themselves
@pytest.mark.parametrize("head", [LinearHead(), MLPHead((16,), epochs=100)], ids=str)
def test_scikit_learn_contract(head):
    check_estimator(head)


def test_tensors_and_devices(digits, device):
    X, y = digits[0][:60].astype(np.float32), digits[1][:60]
    head = small(MLPHead, device=device, dropout=0.2).fit(
        torch.from_numpy(X).to(device), torch.from_numpy(y).to(device)
    )
    found = head.predict_proba(torch.from_numpy(X).to(device))
    assert isinstance(found, np.ndarray)
    expected = small(MLPHead, dropout=0.2).fit(X, y)
    np.testing.assert_allclose(found, expected.predict_proba(X), atol=1e-2 if device == "cuda" else 0)
    assert head.stochastic_proba(X, 3, random_state=0).shape == (3, 60, 10)


BAD = [
    ({"optimizer": "adam"}, "optimizer must be 'sgd' or 'adamw'; got 'adam'"),
    ({"loss": "hinge"}, "loss must be 'ce' or 'mse'"),
    ({"selection": "first"}, "selection must be 'last' or 'best_val'"),
    ({"lr": 0.0}, "lr must be a finite number above 0"),
    ({"dropout": 1.0}, r"dropout must lie in \[0, 1\); got 1.0"),
    ({"dropout": -0.1}, "dropout must be a finite number"),
    ({"epochs": 0}, "epochs must be at least 1"),
    ({"batch_size": 0}, "batch_size must be at least 1"),
    ({"patience": 0}, "patience must be at least 1"),
    ({"validation_fraction": 0.2}, "validation rows are used with selection='best_val' only"),
    ({"selection": "best_val"}, "needs either validation_fraction > 0 or"),
    ({"selection": "best_val", "validation_fraction": 0.999}, "leaves none to train on"),
    ({"device": "tpu"}, "device must be None, 'cpu'"),
]


@pytest.mark.parametrize(("parameters", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_parameters_are_named(digits, parameters, said):
    with pytest.raises(ValueError, match=said):
        small(LinearHead, **parameters).fit(digits[0][:20], digits[1][:20])


def test_bad_layers_and_validation_are_named(digits):
    X, y = digits[0][:20], digits[1][:20]
    with pytest.raises(ValueError, match="must name at least one layer"):
        MLPHead(()).fit(X, y)
    with pytest.raises(ValueError, match="hidden_layer_sizes must be at least 1"):
        MLPHead((4, 0)).fit(X, y)
    best = small(LinearHead, selection="best_val")
    with pytest.raises(ValueError, match="one label per row, 20"):
        best.fit(X, y, validation=(X, y[:3]))
    with pytest.raises(ValueError, match="features"):
        best.fit(X, y, validation=(X[:, :3], y))


def test_heads_lists_all():
    assert heads.__all__ == ["ClosedFormSoftmax", "Committee", "LinearHead", "MLPHead"]
