"""Where the fits of a simulation begin: as those of a loop do, for all strategies alike."""

from __future__ import annotations

import pytest
from simulations import TEST, X, Y, same, simulated
from sklearn.linear_model import SGDClassifier

import pyal


@pytest.mark.parametrize("start", ["same", "warm"])
def test_fits_begin_where_those_of_a_loop_do(start, tmp_path):
    model = SGDClassifier(loss="log_loss", max_iter=5, tol=None)
    asked = {"strategies": ["margin"], "estimator": model, "seeds": 1, "initial": 60, "budget": 80}  # of all classes
    found = simulated(**asked, start=start, workdir=tmp_path)
    loop = pyal.Loop(X, model, "margin", 10, test=TEST, random_state=0, start=start)
    first = found.picks["margin", 0][0]
    loop.teach(first, Y[first])
    for batch in found.picks["margin", 0][1:]:
        assert loop.query().tolist() == batch.tolist()
        loop.teach(batch, Y[batch])
    accuracy = [*(entry["metrics"]["accuracy"] for entry in loop.history), loop.evaluate()["accuracy"]]
    assert found.curves()["margin"].tolist() == [accuracy]
    assert found.curves()["margin"].tolist() != simulated(**asked).curves()["margin"].tolist()
    same(simulated(**asked, start=start, workdir=tmp_path), found)
    with pytest.raises(ValueError, match=f"start is '{start}' there and missing here"):
        simulated(**asked, workdir=tmp_path)


def test_with_the_same_start_all_rounds_and_strategies_have_one_seed(monkeypatch):
    seeds, fit = [], SGDClassifier.fit
    monkeypatch.setattr(SGDClassifier, "fit", lambda self, *a: seeds.append(self.random_state) or fit(self, *a))
    asked = {"estimator": SGDClassifier(loss="log_loss", max_iter=5, tol=None), "seeds": [3]}
    simulated(["margin", "badge"], **asked, start="same")
    assert len(seeds) == 9  # of three strategies with 10, 20 and 30 labels
    assert len(set(seeds)) == 1
    seeds.clear()
    simulated(["margin", "badge"], **asked)
    assert len(set(seeds)) == 3
