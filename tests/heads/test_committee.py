"""Committees: members that differ, know all classes, and are what scikit-learn expects."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

from pyal.heads import Committee

rng = np.random.default_rng(0)
Y = np.repeat(["ant", "bee", "cat"], [40, 20, 1])
X = rng.standard_normal((61, 3)) + np.repeat(np.eye(3), [40, 20, 1], axis=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the checks themselves
def test_scikit_learn_contract():
    check_estimator(Committee(LogisticRegression(), n_members=2))


def test_members_differ_and_know_every_class():
    found = Committee(n_members=4, random_state=0).fit(X, Y)
    passes = found.stochastic_proba(X)
    assert passes.shape == (4, 61, 3)
    np.testing.assert_allclose(passes.sum(axis=-1), 1)
    assert passes.std(axis=0).max() > 1e-3
    assert found.classes_.tolist() == ["ant", "bee", "cat"]
    np.testing.assert_allclose(found.predict_proba(X), passes.mean(axis=0))
    np.testing.assert_array_equal(found.predict(X), found.classes_[passes.mean(axis=0).argmax(axis=1)])
    assert all(member.classes_.tolist() == ["ant", "bee", "cat"] for member in found.members_)


def test_a_seed_fixes_the_members():
    first, second, other = (
        Committee(DecisionTreeClassifier(), random_state=seed).fit(X, Y).stochastic_proba(X) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_without_a_bootstrap_members_differ_by_their_seeds_alone():
    alike = Committee(LogisticRegression(), bootstrap=False, random_state=0).fit(X, Y).stochastic_proba(X)
    assert np.ptp(alike, axis=0).max() == 0
    forest = RandomForestClassifier(n_estimators=3)
    assert np.ptp(Committee(forest, bootstrap=False, random_state=0).fit(X, Y).stochastic_proba(X), axis=0).max() > 0


def test_one_class_alone_is_learned():
    found = Committee(random_state=0).fit(X, ["ant"] * 61)
    assert (found.predict_proba(X) == 1).all()


def test_what_is_given_stays_as_it_was():
    given = DecisionTreeClassifier()
    Committee(given, random_state=0).fit(X, Y)
    assert not hasattr(given, "tree_")
    assert given.random_state is None


def test_bad_arguments():
    with pytest.raises(ValueError, match="n_members must be at least 2; got 1"):
        Committee(n_members=1).fit(X, Y)
    found = Committee(n_members=2).fit(X, Y)
    with pytest.raises(ValueError, match="n_passes must be the number of members, 2; got 3"):
        found.stochastic_proba(X, 3)
    with pytest.raises(ValueError, match="features"):
        found.predict_proba(X[:, :2])
