"""The figures of surrogates: worked out by hand, and against scipy and plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from logged import logged
from scipy.stats import spearmanr

from pyal.surrogate import average_ranks, evaluate, fit
from pyal.surrogate.ranks import spearman, top_regret

pytest.importorskip("xgboost")


def test_order_worked_out_by_hand():
    """Group 0: gains 1, 3, 2, predicted 2, 3, 1. Ranks -1 1 0 and 0 1 -1 correlate by 1/2; the best is found, and a
    random row loses 3 - 2 = 1. Group 1: gains 5, 0, predicted alike: correlation 0; the first row is taken, and a
    random one loses 2.5. Group 2 has one row, and group 3 gains alike: it has no order, and nothing to lose.
    """
    group = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    gains = np.array([1.0, 3, 2, 5, 0, 9, 4, 4])
    predicted = np.array([2.0, 3, 1, 7, 7, 0, 1, 2])
    assert spearman(predicted, gains, group) == pytest.approx((0.5 + 0) / 2)
    assert top_regret(predicted, gains, group) == pytest.approx((0, (1 + 2.5 + 0) / 3))
    assert top_regret(-predicted, gains, group) == pytest.approx(((1 + 0 + 0) / 3, (1 + 2.5 + 0) / 3))
    alone = group == 2
    assert spearman(predicted[alone], gains[alone], group[alone]) is None
    assert top_regret(predicted[alone], gains[alone], group[alone]) is None
    nothing = np.empty(0)
    assert spearman(nothing, nothing, np.empty(0, int)) is None


@pytest.mark.parametrize("seed", range(6))
def test_order_against_plain_loops(seed):
    rng = np.random.default_rng(seed)
    n = 60
    group = rng.integers(-5, 12, n) * 10**12
    gains, predicted = rng.integers(0, 6, n).astype(float), rng.integers(0, 6, n).astype(float)
    correlations, regrets = [], []
    for number in np.unique(group):
        g, p = gains[group == number], predicted[group == number]
        if len(g) > 1:
            regrets.append((g.max() - g[p.argmax()], g.max() - g.mean()))
            if np.ptp(g):
                correlations.append(spearmanr(g, p).statistic if np.ptp(p) else 0)
    assert spearman(predicted, gains, group) == pytest.approx(np.mean(correlations))
    assert top_regret(predicted, gains, group) == pytest.approx(tuple(np.mean(regrets, axis=0)))
    assert spearman(predicted, gains, np.zeros(n, int)) == pytest.approx(spearmanr(gains, predicted).statistic)


def test_one_row_per_model_and_part_with_the_figures_of_its_seeds():
    examples = logged(noise=0.3)
    models = [fit(examples, variant, search=False, rounds=20) for variant in ("acc", "loss_asnvalid")]
    rows = evaluate(models, examples)
    assert [(row["model"], row["part"]) for row in rows] == [
        (name, part) for name in ("acc", "loss_asnvalid") for part in ("train", "validation", "test")
    ]
    for row, model in zip(rows, np.repeat(models, 3), strict=True):
        seeds = {"train": [0, 1], "validation": [2], "test": [3]}[row["part"]]
        part = examples.of_seeds(seeds)
        gains = getattr(part, model.target)
        mse = np.mean((model.predict(part.values_of(model.columns), model.columns) - gains) ** 2)
        of_mean = np.mean((gains - getattr(examples.of_seeds([0, 1]), model.target).mean()) ** 2)
        assert row["mse"] == pytest.approx(mse)
        assert row["mse_of_mean"] == pytest.approx(of_mean)
        assert row["explained"] == pytest.approx(1 - mse / of_mean)
        assert (row["rows"], row["groups"]) == (200 * len(seeds), 40 * len(seeds))
        assert row["target"] == model.target
        assert {key: row[key] for key in model.measured[row["part"]]} == model.measured[row["part"]]
        assert row["regret"] < row["regret_of_random"]
    assert [row["inputs"] for row in rows[::3]] == ["plain", "asnvalid"]
    assert rows[0]["setting"] == "made, columns_of_X=8, head=ridge"


def test_repetitions_never_seen_are_test_and_parts_without_rows_are_left_out():
    model = fit(logged(), search=False, rounds=5)
    (row,) = evaluate([model], logged(seed=np.full(800, 11)))
    assert (row["part"], row["rows"]) == ("test", 800)
    assert [row["part"] for row in evaluate([model], logged().of_seeds([0, 3]))] == ["train", "test"]
    assert evaluate([], logged()) == []


def test_the_thesis_tests_on_what_it_was_tuned_on():
    rows = evaluate([fit(logged(), split="thesis", search=False, rounds=5)], logged())
    train, validation, test = rows
    assert {**validation, "part": "test"} == test
    assert train["rows"] == 600


def test_ranked_models_are_evaluated_by_group():
    examples = logged(noise=0.3)
    model = fit(examples, ranked=True, search=False)
    row = evaluate([model], examples)[2]
    part = examples.of_seeds(3)
    alone = [
        model.predict(rows.values_of(model.columns), model.columns)
        for rows in (part.where(part.group == group) for group in np.unique(part.group))
    ]
    assert row["mse"] == pytest.approx(np.mean((np.concatenate(alone) - part.gain_accuracy) ** 2))


def test_a_ranking_has_no_errors_but_an_order():
    row = evaluate([fit(logged(), objective="ranking", search=False)], logged())[2]
    assert row["mse"] is row["mse_of_mean"] is row["explained"] is None
    assert row["spearman_within"] > 0.8
    assert average_ranks([row]) == []


def row_of(setting: str, inputs: str, mse: float, part: str = "test", target: str = "gain_accuracy") -> dict:
    return {"setting": setting, "inputs": inputs, "mse": mse, "part": part, "target": target}


def test_average_ranks_worked_out_by_hand():
    """Ranks of plain, asn, asnvalid: in a 2, 1, 0; in b 1.5, 0, 1.5 (a tie); averages 1.75, 0.5, 0.75."""
    rows = [row_of("a", *given) for given in (("plain", 3.0), ("asn", 2.0), ("asnvalid", 1.0))]
    rows += [row_of("b", *given) for given in (("asnvalid", 5.0), ("asn", 4.0), ("plain", 5.0))]
    found = average_ranks(rows)
    assert [(row["inputs"], row["average_rank"], row["average_mse"]) for row in found] == [
        ("plain", 1.75, 4.0), ("asn", 0.5, 3.0), ("asnvalid", 0.75, 3.0),
    ]  # fmt: skip
    assert {(row["target"], row["part"], row["settings"]) for row in found} == {("gain_accuracy", "test", 2)}


def test_targets_and_parts_are_ranked_apart():
    rows = [
        row_of("a", inputs, mse, part, target)
        for target, part, order in (
            ("gain_accuracy", "train", (1.0, 2.0, 3.0)),
            ("gain_accuracy", "test", (3.0, 2.0, 1.0)),
            ("gain_loss", "test", (30.0, 10.0, 20.0)),
        )
        for inputs, mse in zip(("plain", "asn", "asnvalid"), order, strict=True)
    ]
    ranks = {(row["target"], row["part"], row["inputs"]): row["average_rank"] for row in average_ranks(rows)}
    assert ranks["gain_accuracy", "train", "plain"] == 0
    assert ranks["gain_accuracy", "test", "plain"] == 2
    assert ranks["gain_loss", "test", "asn"] == 0


def test_settings_that_are_not_whole_are_refused():
    whole = [row_of("a", inputs, 1.0) for inputs in ("plain", "asn", "asnvalid")]
    with pytest.raises(
        ValueError, match="plain, asn and asnvalid of every setting; 'a', gain_accuracy, test lacks asn"
    ):
        average_ranks([whole[0], whole[2]])
    with pytest.raises(
        ValueError, match="one model per setting, target and inputs; there are two of 'a', gain_accuracy, p"
    ):
        average_ranks([*whole, whole[0]])


def test_the_table_of_real_models():
    """asn adds nothing here and asnvalid two columns of noise, but all six are fitted, evaluated and ranked."""
    examples = logged(noise=0.3, steps=10)
    rows = []
    for name in ("first", "second"):
        domain = {"name": name}
        here = replace(examples, domain=domain)
        rows += evaluate([fit(here, v, search=False, rounds=9) for v in ("acc", "acc_asn", "acc_asnvalid")], here)
    table = average_ranks(rows)
    assert len(table) == 9
    for part in ("train", "validation", "test"):
        assert sum(row["average_rank"] for row in table if row["part"] == part) == pytest.approx(3)
    assert {row["settings"] for row in table} == {2}
