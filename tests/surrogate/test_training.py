"""Fitting: what is found, which rows are for what, when it ends, what the search tries, and what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from logged import COLUMNS, logged, truth

from pyal.surrogate import VARIANTS, boosting, fit
from pyal.surrogate.search import SEARCHED, START

BACKENDS = ("xgboost", "sklearn")


@pytest.fixture(autouse=True)
def _needs_xgboost():
    pytest.importorskip("xgboost")


def fresh(n: int = 400) -> np.ndarray:
    return np.random.default_rng(99).random((n, len(COLUMNS)))


def of(model, values):
    """The columns of a model out of those of COLUMNS."""
    return values[:, [COLUMNS.index(name) for name in model.columns]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e6])
def test_a_known_function_is_found_whatever_the_scale(backend, scale):
    """Features that matter stand second and fourth, so mixed-up columns would show. Noise is 3% of the variance."""
    model = fit(logged(scale=scale), "acc_asn", backend=backend, search=False)
    values = fresh()
    found, expected = model.predict(of(model, values), model.columns), scale * truth(values)
    assert ((found - expected) ** 2).mean() < 0.06 * expected.var()
    assert abs(found.mean() - expected.mean()) < 0.05 * expected.std()
    assert model.measured["test"]["explained"] > 0.9


def test_a_shifted_target_is_found():
    examples = logged(gain_accuracy=1000 + 1e-3 * truth(logged().values))
    assert fit(examples, "acc", search=False).measured["test"]["explained"] > 0.95


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_a_target_and_columns(variant):
    target, added = VARIANTS[variant]
    model = fit(logged(), variant, search=False, rounds=5)
    assert model.columns == ("typicality", "entropy", "margin", *added)
    assert (model.name, model.target) == (variant, target)
    values = fresh()
    sign = 1 if variant.startswith("acc") else -1
    assert sign * np.corrcoef(model.predict(of(model, values), model.columns), truth(values))[0, 1] > 0.8


def test_variants_are_the_six_of_the_thesis():
    assert {name: len(added) for name, (_, added) in VARIANTS.items()} == {
        "acc": 0, "acc_asn": 1, "acc_asnvalid": 3, "loss": 0, "loss_asn": 1, "loss_asnvalid": 3,
    }  # fmt: skip


def test_the_honest_split_shares_no_repetition():
    model = fit(logged(seed=np.repeat([3, 9, 5, -1], 200)), search=False, rounds=3)
    assert model.measured["split"] == "honest"
    assert model.measured["seeds"] == {"train": [-1, 3], "validation": [5], "test": [9]}
    assert [model.measured[part]["rows"] for part in ("train", "validation", "test")] == [400, 200, 200]


def test_the_leak_of_the_thesis_is_visible():
    model = fit(logged(), split="thesis", search=False, rounds=3)
    assert model.measured["seeds"] == {"train": [0, 1, 2], "validation": [3], "test": [3]}
    assert model.measured["validation"] == model.measured["test"]


def test_seeds_may_be_given():
    split = {"train": [3], "validation": np.array([0, 0]), "test": [0, 1]}
    model = fit(logged(), split=split, search=False, rounds=3)
    assert model.measured["seeds"] == {"train": [3], "validation": [0], "test": [0, 1]}
    assert model.measured["split"] == "given"
    np.testing.assert_allclose(model.measured["train_mean"], logged().of_seeds(3).gain_accuracy.mean())


def mixed(examples, seed):
    """The examples with the gains of one repetition drawn anew."""
    gains = examples.gain_accuracy.copy()
    gains[examples.seed == seed] = np.random.default_rng(1).normal(size=(examples.seed == seed).sum())
    return logged(gain_accuracy=gains)


@pytest.mark.parametrize("backend", BACKENDS)
def test_test_rows_change_nothing_and_validation_rows_do(backend):
    values = fresh()

    def predicted(examples):
        model = fit(examples, backend=backend, search={"learning_rate": [0.1, 0.3]})
        return model.predict(of(model, values), model.columns)

    first = predicted(logged())
    np.testing.assert_array_equal(predicted(mixed(logged(), 3)), first)
    assert not np.array_equal(predicted(mixed(logged(), 2)), first)


@pytest.mark.parametrize("backend", BACKENDS)
def test_fitting_stops_when_nothing_improves(backend):
    """Pure noise: the best round is an early one, and no more than `patience` follow it."""
    noise = np.random.default_rng(0).standard_normal(len(logged()))
    model = fit(logged(gain_accuracy=noise), backend=backend, search=False)
    assert model.parameters["rounds"] < 50
    few = fit(logged(gain_accuracy=noise), backend=backend, search=False, rounds=1)
    assert few.parameters["rounds"] == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_round_kept_is_the_best_on_the_validation_rows(backend):
    """With any number of rounds allowed up to the best one, the validation error is at least as large."""
    examples = logged(noise=0.5)
    best = fit(examples, backend=backend, search=False, patience=30)
    rounds = best.parameters["rounds"]
    assert 1 < rounds < 200
    errors = {
        most: fit(examples, backend=backend, search=False, patience=30, rounds=most).measured["validation"]["mse"]
        for most in (1, rounds - 1, rounds, rounds + 20)
    }
    assert errors[rounds] == errors[rounds + 20] == best.measured["validation"]["mse"]
    assert min(errors[1], errors[rounds - 1]) > errors[rounds]


def test_patience_counts_the_rounds_after_the_best(monkeypatch):
    """Losses 3, 2, 2.5, 2.6, 1: two rounds of patience end before the 1 and keep two rounds, three see it."""
    losses = [3.0, 2.0, 2.5, 2.6, 1.0, 1.5, 1.6, 1.7, 0.1]
    for patience, rounds in ((1, 2), (2, 2), (3, 5), (4, 9)):
        assert boosting._best_round(losses, patience) == rounds
        coming = iter(losses)
        monkeypatch.setattr(boosting, "_validation_loss", lambda _, coming=coming: lambda _: next(coming))
        model = fit(logged(), search=False, patience=patience, rounds=len(losses))
        assert model.parameters["rounds"] == rounds
        assert model.trees.num_boosted_rounds() == rounds


def test_the_search_begins_at_its_start_and_goes_on_from_there():
    examples = logged(noise=0.5, repetitions=3, steps=20)
    start = fit(examples, search=False, rounds=40)
    found = fit(examples, rounds=40)
    assert start.measured["tried"] == 1
    assert {name: start.parameters[name] for name in START} == START
    assert 12 <= found.measured["tried"] < 100
    assert found.measured["validation"]["mse"] < start.measured["validation"]["mse"]


def test_the_search_ends_where_no_single_change_improves():
    """Oracle: every neighbour in one parameter, fitted alone, is no better."""
    examples = logged(noise=0.5, repetitions=3, steps=20)
    found = fit(examples, rounds=60)
    at = {name: found.parameters[name] for name in SEARCHED}
    for name, values in SEARCHED.items():
        for value in values:
            other = fit(examples, rounds=60, search={key: [v] for key, v in {**at, name: value}.items()})
            assert other.measured["validation"]["mse"] >= found.measured["validation"]["mse"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dict_of_lists_is_all_of_its_points_and_the_best_is_taken(backend):
    examples = logged(noise=0.5, steps=20)
    lists = {"max_depth": [1, 4], "lambda": [0, 10]}
    found = fit(examples, backend=backend, search=lists)
    assert found.measured["tried"] == 4
    assert fit(examples, backend=backend, search={k: v[::-1] for k, v in lists.items()}).parameters == found.parameters
    alone = [
        fit(examples, backend=backend, search={"max_depth": [depth], "lambda": [weight]})
        for depth in (1, 4)
        for weight in (0, 10)
    ]
    best = min(alone, key=lambda model: model.measured["validation"]["mse"])
    assert found.parameters == best.parameters
    assert found.measured["validation"] == best.measured["validation"]


def test_rows_start_from_the_mean_of_those_trained_on():
    """One tree at a small rate moves predictions little from the mean, 2 standard deviations from 0 or more."""
    model = fit(logged(), search={"learning_rate": [0.01]}, rounds=1)
    found = model.predict(of(model, fresh()), model.columns)
    assert abs(found - model.measured["train_mean"]).max() < 0.05 * logged().gain_accuracy.std()


OTHER = {"learning_rate": 0.3, "max_depth": 2, "lambda": 100.0, "gamma": 1e-4, "subsample": 0.5}


@pytest.mark.parametrize(
    ("backend", "name"), [*(("xgboost", n) for n in OTHER), *(("sklearn", n) for n in list(OTHER)[:3])]
)
def test_every_parameter_counts(backend, name):
    examples, values = logged(noise=0.5), fresh()
    first, second = (fit(examples, backend=backend, search=s, rounds=5) for s in (False, {name: [OTHER[name]]}))
    assert second.parameters[name] == OTHER[name]
    assert not np.array_equal(*(m.predict(of(m, values), m.columns) for m in (first, second)))


def test_gamma_is_in_units_of_the_target_squared():
    """A split at entropy 0.5 lowers the sum of squared errors by n scale^2 / 4: gamma twice that forbids it."""
    for scale in (1e-5, 1e3):
        examples = logged(scale=scale, noise=0)
        gain = 400 * scale**2 / 4
        few, none = (
            fit(examples, "acc", search={"gamma": [gamma], "max_depth": [1], "lambda": [0]}, rounds=1)
            for gamma in (gain / 2, gain * 2)
        )
        values = of(few, fresh())
        assert len(np.unique(few.predict(values, few.columns))) == 2
        assert len(np.unique(none.predict(values, none.columns))) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_change_nothing(backend):
    examples = logged(noise=0.5, steps=20)
    values = fresh()
    first, second = (
        fit(examples, backend=backend, search={"max_depth": [3, 5], "learning_rate": [0.1, 0.3]}, n_jobs=n)
        for n in (1, 2)
    )
    assert first.parameters == second.parameters
    assert first.measured == second.measured
    np.testing.assert_array_equal(*(m.predict(of(m, values), m.columns) for m in (first, second)))


def test_random_state_fixes_the_rows_that_are_drawn():
    examples, values = logged(noise=0.5, steps=20), fresh()

    def predicted(random_state, n_jobs):
        drawn = {"subsample": [0.7], "max_depth": [2, 3, 4]}
        model = fit(examples, search=drawn, random_state=random_state, n_jobs=n_jobs)
        return model.predict(of(model, values), model.columns)

    np.testing.assert_array_equal(predicted(3, 1), predicted(3, 2))
    np.testing.assert_array_equal(predicted(np.random.default_rng(3), 2), predicted(3, 1))
    assert not np.array_equal(predicted(3, 1), predicted(4, 1))


def shifted(**changed):
    """Examples in which a gain is margin plus what is common to the step, far larger: only order within groups is
    to be had from the features."""
    made = logged(noise=0.02, scale=1.0)
    common = 10 * np.random.default_rng(5).standard_normal(made.group.max() + 1)[made.group]
    return logged(gain_accuracy=made.gain_accuracy + common, **changed)


def test_a_ranking_orders_groups_that_a_regression_cannot():
    ranking = fit(shifted(), "acc", objective="ranking", search=False)
    regression = fit(shifted(), "acc", search=False)
    assert ranking.measured["test"]["spearman_within"] > 0.85
    assert ranking.measured["test"]["spearman_within"] > regression.measured["test"]["spearman_within"] + 0.1
    assert ranking.measured["test"]["mse"] is None
    values = of(ranking, fresh())
    assert np.corrcoef(ranking.predict(values, ranking.columns), truth(fresh()))[0, 1] > 0.85


def test_a_ranking_compares_rows_of_one_group_alone():
    rows = boosting.Rows(np.zeros((5, 1)), np.array([5.0, 9, 7, 3, 3]), np.array([-8, -8, -8, 10**12, 10**12]))
    matrix = boosting._matrix(pytest.importorskip("xgboost"), rows, "ranking")
    assert matrix.get_uint_info("group_ptr").tolist() == [0, 3, 5]
    assert matrix.get_label().tolist() == [0, 1, 0.5, 0.5, 0.5]


def test_a_ranking_takes_any_numbers_in_any_order():
    """Groups numbered far apart and below 0, with the rows of one not side by side, are the same groups."""
    examples, values = shifted(), fresh()
    order = np.random.default_rng(0).permutation(len(examples))
    fields = ("values", "gain_accuracy", "gain_loss", "seed", "strategy", "n_labels", "picked")
    renumbered = examples.group * 10**15 - 10**16
    other = logged(**{name: getattr(examples, name)[order] for name in fields}, group=renumbered[order])
    first, second = (fit(e, "acc", objective="ranking", search=False) for e in (examples, other))
    np.testing.assert_allclose(*(m.predict(of(m, values), m.columns) for m in (first, second)), atol=0.5)
    assert abs(first.measured["test"]["spearman_within"] - second.measured["test"]["spearman_within"]) < 0.05


def test_ranks_carry_over_to_features_of_another_scale():
    """Each step has its own scale of margin, and the gain is margin's rank: the raw value says little, the rank all."""
    made = logged(candidates=10)
    values = made.values.copy()
    gains = logged(candidates=10, values=values).ranked().values[:, 3]
    values[:, 3] = values[:, 3] * 1e-3 + 5 * np.random.default_rng(1).random(made.group.max() + 1)[made.group]
    examples = logged(candidates=10, values=values, gain_accuracy=gains)
    raw, ranked = (fit(examples, ranked=kind, search=False).measured["test"]["explained"] for kind in (False, True))
    assert ranked > 0.95
    assert raw < 0.5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"variant": "acc_all"}, "variant must be one of 'acc', .*; got 'acc_all'"),
        ({"backend": "lightgbm"}, "backend must be one of 'xgboost', 'sklearn'; got 'lightgbm'"),
        ({"objective": "rank"}, "objective must be one of 'regression', 'ranking'; got 'rank'"),
        ({"objective": "ranking", "backend": "sklearn"}, "objective must be 'regression' for backend='sklearn'"),
        ({"split": "random"}, "split must be one of 'honest', 'thesis'; got 'random'"),
        ({"split": {"train": [0]}}, "split must have seeds for train, validation and test; got train"),
        (
            {"split": {"train": [0], "validation": [1], "test": [7]}},
            r"split\['test'\] must be seeds .* 0, 1, 2, 3; got 7",
        ),
        ({"split": {"train": [], "validation": [1], "test": [2]}}, r"split\['train'\] must be seeds .*; got none"),
        (
            {"split": {"train": [0, 1], "validation": [1], "test": [2]}},
            "split must train on seeds of its own; 1 is in an",
        ),
        (
            {"split": {"train": [0, 1], "validation": [2], "test": [1]}},
            "split must train on seeds of its own; 1 is in an",
        ),
        ({"search": "all"}, "search must be True, False, 'full' or a dict of lists; got 'all'"),
        ({"search": {"depth": [1]}}, "must be one of 'learning_rate', .*; got 'depth'"),
        (
            {"search": {"gamma": [0]}, "backend": "sklearn"},
            "search .of backend='sklearn'. must be one of .*; got 'gamma'",
        ),
        ({"search": {"max_depth": [0]}}, r"search\['max_depth'\] must be in 1 .. 30; got 0"),
        ({"search": {"max_depth": []}}, r"search\['max_depth'\] must be a list of at least one value; got \[\]"),
        ({"search": {"max_depth": 3}}, r"search\['max_depth'\] must be a list of at least one value; got 3"),
        ({"search": {"subsample": [0]}}, r"search\['subsample'\] must be a finite number above 0; got 0"),
        ({"search": {"subsample": [1.5]}}, r"search\['subsample'\] must be at most 1; got 1.5"),
        ({"search": {"lambda": [-1]}}, r"search\['lambda'\] must be a finite number of at least 0; got -1"),
        ({"rounds": 0}, "rounds must be at least 1; got 0"),
        ({"patience": 0}, "patience must be at least 1; got 0"),
        ({"random_state": -1}, "random_state must not be negative"),
        ({"n_jobs": 0}, "n_jobs must be None, positive"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        fit(logged(), **changed)


def test_examples_that_cannot_be_fitted_are_refused():
    examples = logged()
    with pytest.raises(ValueError, match="examples must hold rows to fit; there are none"):
        fit(examples.where(examples.seed > 9))
    with pytest.raises(ValueError, match="at least 3 repetitions; there is only seed 0 and 1: give split='thesis'"):
        fit(examples.of_seeds([0, 1]))
    with pytest.raises(ValueError, match="at least 2 repetitions; there is only seed 0: collect more"):
        fit(examples.where(np.arange(len(examples)) == 0), split="thesis")
    with pytest.raises(ValueError, match=r"must differ among the rows trained on; all 400 are 0\.25"):
        fit(logged(gain_accuracy=np.where(examples.seed > 1, examples.gain_accuracy, 0.25)))
    with pytest.raises(ValueError, match="variant 'acc_asn' needs step; examples have entropy"):
        fit(logged(columns=("entropy",), values=examples.values[:, :1]))
    with pytest.raises(ValueError, match=r"examples must have at least one base feature.*; they have step"):
        fit(logged(columns=("step",), values=examples.values[:, :1]))
    with pytest.raises(ValueError, match=r"objective='ranking' needs groups .*; train has none among its 400 groups"):
        fit(logged(group=np.arange(800)), objective="ranking")
    alike = np.where(examples.seed == 2, 0, examples.gain_accuracy)
    with pytest.raises(ValueError, match="validation has none among its 40 groups"):
        fit(logged(gain_accuracy=alike), objective="ranking")


def test_without_xgboost_scikit_learn_is_fitted_with_a_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.warns(UserWarning, match=r"pip install 'pyal\[surrogate\]'.*HistGradientBoostingRegressor") as caught:
        model = fit(logged(), search=False, rounds=5)
    assert caught[0].filename == __file__
    assert model.backend == "sklearn"
    with pytest.raises(ImportError, match="needs xgboost"):
        fit(logged(), backend="xgboost")
    with pytest.raises(ImportError, match="needs xgboost"):
        fit(logged(), objective="ranking")


def test_ranks_are_made_by_fit_alone():
    with pytest.raises(ValueError, match="examples must hold features as they were collected, not ranks"):
        fit(logged().ranked(), "acc", search=False)


def test_the_only_one_of_its_step_has_no_rank():
    examples = logged()
    alone = examples.group * 0 + np.arange(len(examples.group))
    with pytest.raises(ValueError, match="ranked=True needs examples of several candidates of one step"):
        fit(replace(examples, group=alone), "acc", search=False, ranked=True)
    some = np.where(np.arange(len(alone)) % 7 == 0, alone.max() + 1 + alone, examples.group)
    mixed = replace(examples, group=some)
    _, which, sizes = np.unique(some, return_inverse=True, return_counts=True)
    together = mixed.where(sizes[which] > 1)
    one, other = (fit(found, "acc", search=False, rounds=20, ranked=True) for found in (mixed, together))
    values = fresh()
    assert (
        one.predict(of(one, values), one.columns).tolist() == other.predict(of(other, values), other.columns).tolist()
    )
