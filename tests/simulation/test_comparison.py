"""What a simulation has found, in words: worked out on curves that are given."""

from __future__ import annotations

import numpy as np
import pytest

from pyal import metrics
from pyal.simulation.comparison import Comparison, comparison


def made(curves: dict[str, list[list[float]]], n_labels: list[int], n_initial: int = 0) -> Comparison:
    """A Comparison of curves that are given."""
    runs = []
    for name, acc in curves.items():
        for seed, curve in enumerate(acc):
            records = [
                {"n_labels": n, "accuracy": a, "balanced_accuracy": a / 2}
                | {f"seconds_{what}": 0.5 for what in ("select", "predict", "fit")}
                for n, a in zip(n_labels, curve, strict=True)
            ]
            runs.append({"strategy": name, "seed": seed, "records": records, "picks": [[0]] * len(records)})
    return comparison(runs, {}, n_initial)


RANDOM = [[0.50, 0.60, 0.70], [0.52, 0.64, 0.72], [0.54, 0.62, 0.74]]
BETTER = [[0.60, 0.71, 0.80], [0.63, 0.73, 0.82], [0.65, 0.73, 0.85]]
LUCKY = [[0.50, 0.90, 0.81], [0.52, 0.60, 0.83], [0.54, 0.55, 0.83]]


def test_summary_says_what_is_not_better():
    found = made({"random": RANDOM, "better": BETTER, "lucky": LUCKY}, [20, 40, 60])
    sentences = found.not_better()
    assert len(sentences) == 1
    p = metrics.paired_p_values(LUCKY, RANDOM)[1]
    assert sentences[0] == (
        "lucky is not better than random at 20 labels (0.520 against 0.520, paired p = 1); it is better, but not "
        f"significantly, at 40 labels (0.683 against 0.620, paired p = {p:.2g})."
    )
    assert sentences[0] in found.summary()
    assert "better is not better" not in found.summary()


def test_labels_that_were_given_are_not_judged():
    found = made({"random": RANDOM, "lucky": LUCKY}, [20, 40, 60], n_initial=20)
    assert "at 40 labels" in found.not_better()[0]
    assert "20 labels" not in found.not_better()[0]
    assert "all start from the same 20 labels" in found.summary()


def test_worse_is_not_better_however_significant():
    (sentence,) = made({"random": BETTER, "worse": RANDOM}, [1, 2, 3]).not_better()
    assert "1 labels (0.520 against 0.627, paired p < 0.001)" in sentence


def test_one_seed_is_compared_and_not_tested():
    found = made({"random": RANDOM[:1], "lucky": [[0.5, 0.9, 0.6]]}, [20, 40, 60])
    assert found.not_better() == [
        "lucky is not better than random at 20 labels (0.500 against 0.500, one seed, not tested) and 60 labels "
        "(0.600 against 0.700, one seed, not tested)."
    ]
    assert "±" not in found.summary().splitlines()[3]


def test_summary_table():
    found = made({"random": RANDOM, "better": BETTER}, [20, 40, 60])
    lines = found.summary().splitlines()
    assert lines[0] == "test accuracy, mean ± standard deviation over 3 seeds (0, 1, 2)"
    head, random, better = (line.split("  ") for line in lines[2:5])
    assert [cell.strip() for cell in head if cell] == [
        *("labels", "20", "40", "60", "AUBC", "EBR", "label eff.", "select s", "fit s")
    ]
    assert [cell.strip() for cell in random if cell][:4] == [
        *("random", "0.520 ± 0.020", "0.620 ± 0.020", "0.720 ± 0.020")
    ]
    cells = [cell.strip() for cell in better if cell]
    area = metrics.aubc(BETTER)
    assert cells[4] == f"{area.mean():.3f} ± {area.std(ddof=1):.3f}"
    assert cells[5] == "1.00"
    assert cells[6] == f"{metrics.label_efficiency(BETTER, RANDOM, [20, 40, 60], 0.72):.2f}"
    assert cells[7:] == ["3.00", "1.50"]


def test_summary_of_batches_of_different_sizes_integrates_over_labels():
    found = made({"random": RANDOM, "better": BETTER}, [20, 40, 80])
    assert "trapezoids" in found.summary()
    area = metrics.aubc(BETTER, [20, 40, 80], mode="trapz").mean()
    assert f"{area:.3f} ±" in found.summary().splitlines()[4]


def test_summary_of_many_rounds_shows_some():
    curve = [np.linspace(0.5, 0.9, 50).tolist()] * 2
    head = made({"random": curve}, list(range(10, 510, 10))).summary().splitlines()[2].split()
    assert head[:8] == ["labels", "10", "110", "210", "300", "400", "500", "AUBC"]


def test_curves_hold_only_seeds_that_all_have():
    runs = made({"random": RANDOM, "better": BETTER}, [1, 2, 3])
    kept = [
        {"strategy": name, "seed": seed, "records": records, "picks": [[0]] * 3}
        for (name, seed), records in (
            ((n, s), [r for r in runs.records() if (r["strategy"], r["seed"]) == (n, s)]) for n, s in runs.picks
        )
        if (name, seed) != ("better", 1)
    ]
    found = comparison(kept, {("better", 1): "OSError: no"}, 0)
    assert found.seeds == [0, 2]
    assert found.curves()["random"].tolist() == [RANDOM[0], RANDOM[2]]
    assert found.curves("balanced_accuracy")["better"].tolist() == (np.array([BETTER[0], BETTER[2]]) / 2).tolist()
    assert "over 2 seeds (0, 2)" in found.summary()
    assert "better, seed 1, failed: OSError: no" in found.summary()
    with pytest.raises(ValueError, match="column must be one of"):
        found.curves("round")
