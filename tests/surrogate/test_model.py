"""A fitted surrogate: what it takes, what it refuses, and that its file predicts the same to the last bit."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from logged import logged

from pyal.surrogate import fit, load

pytest.importorskip("xgboost")

COLUMNS = ("typicality", "entropy", "margin", "step")


@pytest.fixture(scope="module")
def models():
    """One of each kind, by name."""
    examples = logged(noise=0.3)
    quick = {"search": False, "rounds": 30, "patience": 30}
    return {
        "xgboost": fit(examples, **quick),
        "sklearn": fit(examples, backend="sklearn", **quick),
        "ranked": fit(examples, ranked=True, **quick),
        "ranking": fit(examples, objective="ranking", ranked=True, **quick),
    }


def rows(n: int = 300) -> np.ndarray:
    return np.random.default_rng(4).random((n, len(COLUMNS)))


@pytest.mark.parametrize("kind", ["xgboost", "sklearn", "ranked", "ranking"])
def test_a_file_predicts_bit_for_bit_the_same(models, kind, tmp_path):
    model = models[kind]
    path = tmp_path / "model"
    model.save(path)
    again = load(str(path), trusted=kind == "sklearn")
    np.testing.assert_array_equal(again.predict(rows(), COLUMNS), model.predict(rows(), COLUMNS))
    for name in vars(model):
        if name != "trees":
            assert getattr(again, name) == getattr(model, name), name
    again.save(path)
    np.testing.assert_array_equal(
        load(path, trusted=True).predict(rows(), COLUMNS), model.predict(rows(), COLUMNS), strict=True
    )
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_another_process_predicts_the_same(models, tmp_path):
    models["xgboost"].save(tmp_path / "model")
    np.save(tmp_path / "rows.npy", rows())
    code = (
        "import numpy as np; from pyal.surrogate import load; model = load('model'); "
        "np.save('found.npy', model.predict(np.load('rows.npy'), model.columns))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=120)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), models["xgboost"].predict(rows(), COLUMNS))


def test_a_pickle_is_not_read_without_trust(models, tmp_path, monkeypatch):
    models["sklearn"].save(tmp_path / "model")
    monkeypatch.setattr(pickle, "loads", None)
    with pytest.raises(ValueError, match=r"as a pickle, which can run any code .* trusted=True.*backend='xgboost'"):
        load(tmp_path / "model")


def test_xgboost_models_hold_no_pickle(models, tmp_path, monkeypatch):
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "dumps", None)
    models["xgboost"].save(tmp_path / "model")
    load(tmp_path / "model", trusted=True)


def test_other_and_damaged_files_are_refused_in_words(models, tmp_path):
    path = tmp_path / "model"
    logged(steps=2).save(path)
    with pytest.raises(
        ValueError, match=r"model must be a file that SurrogateModel\.save wrote; it holds surrogate exam"
    ):
        load(path)
    models["xgboost"].save(path)
    content = path.read_bytes()
    for damaged in (b"", b"{}", content[:-9], content[:500]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="it is another file, or damaged"):
            load(path)
    refused = 0
    for at in range(0, len(content), len(content) // 100):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            found = load(path).predict(rows(), COLUMNS)
        except ValueError:
            refused += 1
        else:
            np.testing.assert_array_equal(found, models["xgboost"].predict(rows(), COLUMNS))
    assert refused > 50
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


def rewritten(path, said=None, trees=None):
    """The file with other words in its head, or other trees."""
    from pyal.surrogate.archives import read_archive, write_archive

    head, arrays = read_archive(path, "surrogate model", 9, "test")
    version = head.pop("format")
    del head["kind"]
    changed = {**head, **(said or {})}
    bytes_ = {"trees": np.frombuffer(trees, np.uint8)} if trees is not None else arrays
    write_archive(path, "surrogate model", changed.pop("format", version), changed, bytes_)


def test_whole_files_of_wrong_content_are_refused(models, tmp_path):
    path = tmp_path / "model"
    for changed, message in (
        ({"said": {"format": 2}}, "it is of format 2, and this pyal reads up to 1: a newer one wrote it"),
        ({"trees": b"no trees"}, "it is damaged"),
        ({"said": {"backend": "lightgbm"}}, "it is damaged .backend 'lightgbm'"),
        ({"said": {"columns": None}}, "it is damaged"),
    ):
        models["xgboost"].save(path)
        rewritten(path, **changed)
        with pytest.raises(ValueError, match=message):
            load(path)


def test_without_xgboost_its_models_say_what_to_install(models, tmp_path, monkeypatch):
    models["xgboost"].save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ImportError, match=r"this needs xgboost, which pip install 'pyal\[surrogate\]' brings"):
        load(tmp_path / "model")


def test_other_columns_are_refused_by_the_first_that_differs(models):
    model = models["xgboost"]
    with pytest.raises(
        ValueError, match=r"surrogate acc_asn must have .*; column 1 must be 'entropy', and it is 'margin'"
    ):
        model.predict(rows(), ("typicality", "margin", "entropy", "step"))
    with pytest.raises(ValueError, match="column 3 must be 'step', and it is none"):
        model.predict(rows()[:, :3], COLUMNS[:3])
    with pytest.raises(ValueError, match="column 4 must be none, and it is 'validation_loss'"):
        model.predict(np.zeros((2, 5)), (*COLUMNS, "validation_loss"))
    with pytest.raises(ValueError, match=r"values must be numbers of shape \(m, 4\).*got float64 of shape \(300, 3\)"):
        model.predict(rows()[:, :3], COLUMNS)
    assert model.predict(rows(), list(COLUMNS)).shape == (300,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["xgboost", "sklearn", "ranked"])
def test_what_is_not_finite_is_refused_by_column_and_row(models, bad, kind):
    values = rows()
    values[7, 2] = bad
    with pytest.raises(ValueError, match=f"margin must be finite; it is {bad} in row 7"):
        models[kind].predict(values, COLUMNS)


@pytest.mark.parametrize("kind", ["xgboost", "sklearn", "ranked", "ranking"])
def test_few_rows(models, kind):
    assert models[kind].predict(np.empty((0, 4)), COLUMNS).shape == (0,)
    one = models[kind].predict(rows(1), COLUMNS)
    assert one.shape == (1,)
    assert one.dtype == np.float64


def test_rows_do_not_see_each_other_unless_ranked(models):
    values = rows(50)
    for kind, alone in (("xgboost", True), ("ranked", False)):
        together = models[kind].predict(values, COLUMNS)
        parts = np.concatenate([models[kind].predict(values[i : i + 1], COLUMNS) for i in range(50)])
        assert np.array_equal(together, parts) == alone


def test_a_ranked_model_ranks_base_features_and_leaves_the_step(models):
    """A monotone change of base features changes nothing; one of step does."""
    model, values = models["ranked"], rows()
    first = model.predict(values, COLUMNS)
    stretched = np.column_stack([np.exp(9 * values[:, :3]), values[:, 3]])
    np.testing.assert_array_equal(model.predict(stretched, COLUMNS), first)
    assert not np.array_equal(models["xgboost"].predict(stretched, COLUMNS), models["xgboost"].predict(values, COLUMNS))
    spread = model.trees.get_score(importance_type="weight")
    assert "f3" in spread
    assert not np.array_equal(model.predict(values + np.array([0, 0, 0, 0.4]), COLUMNS), first)


def test_groups_are_ranked_apart(models):
    model, values = models["ranked"], rows(60)
    groups = np.arange(60) % 3
    found = model.predict(values, COLUMNS, groups)
    for group in range(3):
        alone = model.predict(values[groups == group], COLUMNS)
        np.testing.assert_array_equal(found[groups == group], alone)
    assert not np.array_equal(found, model.predict(values, COLUMNS))
    with pytest.raises(ValueError, match=r"groups must have shape \(60,\)"):
        model.predict(values, COLUMNS, groups[:5])


def test_what_is_given_stays_as_it_was(models):
    values = rows()
    before = values.copy()
    for model in models.values():
        model.predict(values, COLUMNS)
    np.testing.assert_array_equal(values, before)


def test_a_model_is_checked_against_where_it_is_used():
    examples = logged(steps=3, domain={"name": "a", "columns_of_X": 8, "head": ["ridge", 1], "relative_to": "all"})
    model = fit(examples, search=False, rounds=2)
    model.check({"columns_of_X": 8, "head": ("ridge", 1), "relative_to": "all", "name": "b", "budget": 3})
    model.check({})
    fit(logged(steps=3, domain={}), search=False, rounds=2).check({"columns_of_X": 8, "head": "ridge"})
    for key, value in (("columns_of_X", 9), ("head", ["MLP"]), ("relative_to", "subset")):
        with pytest.raises(
            ValueError, match=rf"surrogate acc_asn was fitted on examples with {key}=.*, and here it is"
        ):
            model.check({"columns_of_X": 8, key: value})


def test_a_model_says_what_made_it(models):
    assert models["xgboost"].versions.keys() == {"pyal", "numpy", "xgboost"}
    assert models["sklearn"].versions.keys() == {"pyal", "numpy", "scikit-learn"}
    assert models["xgboost"].domain == logged().domain
    assert "trees" not in repr(models["xgboost"])


def test_importing_is_light():
    code = (
        "import sys, pyal; assert 'pyal.surrogate' not in sys.modules; import pyal.surrogate; "
        "print([m for m in ('xgboost', 'sklearn.ensemble', 'torch') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout == "[]\n", run.stdout + run.stderr
