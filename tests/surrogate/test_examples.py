"""Tables of logged steps: what is refused, what a file keeps, ranks, averages over steps, tables joined."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from pyal.surrogate import Examples, concatenated, load_examples

DOMAIN = {"name": "digits", "columns_of_X": 64, "head": "LogisticRegression()", "relative_to": None, "sizes": [1, 2]}


def table(n: int = 6, **changed) -> Examples:
    """Rows of seed 0, 0, 0, 1, 1, 1, one group each, all picked by margin."""
    rng = np.random.default_rng(n)
    given = {
        "columns": ("entropy", "step", "margin"),
        "values": rng.random((n, 3)),
        "gain_accuracy": rng.normal(size=n),
        "gain_loss": rng.normal(size=n),
        "seed": np.arange(n) // 3,
        "strategy": ["margin"] * n,
        "n_labels": np.arange(n) % 3 + 10,
        "picked": np.ones(n, bool),
        "group": np.arange(n),
        "domain": DOMAIN,
    }
    return Examples(**{**given, **changed})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "columns",
            ("entropy", "stepp", "margin"),
            "columns must be out of entropy, .*got 'stepp'; did you mean 'step'",
        ),
        ("columns", ("entropy", "step", "step"), "columns must hold at least one name, and each once"),
        ("values", np.zeros((6, 2)), r"values must be numbers of shape \(m, 3\).*got float64 of shape \(6, 2\)"),
        ("values", np.array([[0, 1, 2]] * 5 + [[0, np.nan, 2]]), "step must be finite; it is nan in row 5"),
        ("gain_accuracy", np.zeros(5), r"gain_accuracy must have shape \(6,\).*got \(5,\)"),
        ("gain_loss", [0, 1, -np.inf, 3, 4, 5], "gain_loss must be finite; it is -inf in row 2"),
        ("seed", np.zeros(7, int), r"seed must have shape \(6,\)"),
        ("strategy", ["margin"] * 5, "strategy must hold one text per row, 6; got 5 entries"),
        ("strategy", ["margin"] * 5 + [None], "strategy must hold one text per row, 6; got None"),
        ("picked", np.ones(6, int), "picked must be booleans"),
        ("group", [0, 0, 1, 1, 2, 2], "group must number the steps of one run; group 1 has rows of seeds 0 and 1"),
        ("domain", [1], "domain must be a dict"),
        ("domain", {"name": np.float32(1)}, "domain must hold JSON values"),
        ("domain", {"name": float("nan")}, "domain must hold JSON values"),
    ],
)
def test_what_does_not_fit_is_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        table(**{name: value})


def test_kinds_of_columns_and_seeds_are_refused():
    with pytest.raises(TypeError, match="columns must be names of features; got 'entropy'"):
        table(columns="entropy")
    with pytest.raises(TypeError, match="seed must hold integers; got dtype float64"):
        table(seed=np.zeros(6))


def test_a_table_keeps_no_hold_of_what_it_was_given():
    values, domain = np.zeros((6, 3)), {"sizes": [1]}
    made = table(values=values, domain=domain)
    values[:] = 1
    domain["sizes"].append(2)
    assert made.values.sum() == 0
    assert made.domain == {"sizes": [1]}


def same(a: Examples, b: Examples) -> None:
    assert (a.columns, a.domain) == (b.columns, b.domain)
    for name in ("values", "gain_accuracy", "gain_loss", "seed", "strategy", "n_labels", "picked", "group"):
        first, second = getattr(a, name), getattr(b, name)
        assert first.dtype.kind == second.dtype.kind
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("n", [0, 1, 6])
def test_a_file_keeps_every_bit(n, tmp_path):
    made = table(n, strategy=["", "bädge", "margin"][:n] * (n // 3 or 1), picked=np.arange(n) % 2 == 0)
    path = tmp_path / "examples.any"
    made.save(path)
    same(load_examples(path), made)
    before = path.read_bytes()
    load_examples(str(path)).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["examples.any"]


def test_other_files_are_refused_in_words(tmp_path):
    made = tmp_path / "made.npz"
    table().save(made)
    content = made.read_bytes()
    other = tmp_path / "other"
    np.save(tmp_path / "array.npy", np.zeros(3))
    arrays = (tmp_path / "array.npy").read_bytes()
    for damaged in (b"", b"text", content[:-30], content[: len(content) // 2], arrays):
        other.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"other must be a file that Examples\.save wrote; it is another file, or dam"
        ):
            load_examples(other)
    np.savez(other, values=np.zeros(3))
    with pytest.raises(ValueError, match=r"Examples\.save wrote"):
        load_examples(str(other) + ".npz")
    with pytest.raises(FileNotFoundError):
        load_examples(tmp_path / "none")


def test_a_flipped_byte_is_seen_or_harmless(tmp_path):
    path = tmp_path / "made"
    made = table()
    made.save(path)
    content = path.read_bytes()
    places, refused = range(0, len(content), 7), []
    for at in places:
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            same(load_examples(path), made)
        except ValueError as error:
            refused.append(str(error))
    assert all("Examples.save wrote" in message for message in refused)
    assert len(refused) > len(places) / 2


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pyal.surrogate.examples._FORMAT", 2)
    table().save(tmp_path / "new")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="it is of format 2, and this pyal reads up to 1: a newer one wrote it"):
        load_examples(tmp_path / "new")


def test_rows_by_mask_and_by_seed():
    made = table()
    same(made.where(np.ones(6, bool)), made)
    np.testing.assert_array_equal(made.where(made.seed == 1).group, [3, 4, 5])
    np.testing.assert_array_equal(made.of_seeds(1).values, made.values[3:])
    same(made.of_seeds([0, 1]), made)
    with pytest.raises(ValueError, match="seeds must be repetitions of the examples, which are 0, 1; got 2"):
        made.of_seeds([0, 2])
    with pytest.raises(ValueError, match="mask must be booleans"):
        made.where([0, 1])
    with pytest.raises(ValueError, match="examples must have the features typicality; they have entropy, step, margin"):
        made.values_of(["margin", "typicality"])
    np.testing.assert_array_equal(made.values_of(["margin", "entropy"]), made.values[:, [2, 0]])


def test_ranks_worked_out_by_hand():
    """Group 7: entropies 3, 1, 3, 2 have ranks 2.5, 0, 2.5, 1 out of 0 .. 3, over 3. Group 2: one row. step stays."""
    made = table(
        5,
        columns=("entropy", "step"),
        values=np.array([[3, 0.9], [8, 0.1], [1, 0.9], [3, 0.9], [2, 0.9]]),
        group=[7, 2, 7, 7, 7],
        seed=np.zeros(5, int),
    ).ranked()
    np.testing.assert_allclose(made.values[:, 0], [2.5 / 3, 0.5, 0, 2.5 / 3, 1 / 3])
    np.testing.assert_array_equal(made.values[:, 1], [0.9, 0.1, 0.9, 0.9, 0.9])


@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    group = rng.integers(0, 8, n)
    made = table(n, values=rng.integers(0, 5, (n, 3)).astype(float), group=group, seed=np.zeros(n, int))
    found = made.ranked().values
    for number in np.unique(group):
        rows = np.flatnonzero(group == number)
        for column in (0, 2):
            ranks = rankdata(made.values[rows, column]) - 1
            expected = ranks / (len(rows) - 1) if len(rows) > 1 else [0.5]
            np.testing.assert_allclose(found[rows, column], expected)
    np.testing.assert_array_equal(found[:, 1], made.values[:, 1])
    np.testing.assert_array_equal(made.ranked().ranked().values, found)


@pytest.mark.parametrize(("who", "picked"), [("", False), ("", True), ("margin", False)])
def test_averages_worked_out_by_hand(who, picked):
    """One run logged out of order, 1, 2, 6 at 10, 11, 12 labels: over two steps 1.5 and 4, and the last step falls out.

    The second run, of another strategy, has 5 and 7: 6. A row that is not picked, or by nobody, counts nowhere.
    """
    made = table(
        6,
        seed=np.zeros(6, int),
        strategy=["margin", "margin", who, "badge", "margin", "badge"],
        n_labels=[12, 10, 10, 12, 11, 13],
        picked=[True, True, picked, True, True, True],
        group=[2, 0, 0, 3, 1, 4],
        gain_accuracy=[6.0, 1.0, 100.0, 5.0, 2.0, 7.0],
    )
    found = made.averaged(2)
    assert found.gain_accuracy.tolist() == [1.5, 6, 4]
    assert found.n_labels.tolist() == [10, 12, 11]
    np.testing.assert_array_equal(found.values, made.values[[1, 3, 4]])
    np.testing.assert_allclose(found.gain_loss[0], made.gain_loss[[1, 4]].mean())
    assert made.averaged(3).gain_accuracy.tolist() == [3]
    assert made.averaged(1).gain_accuracy.tolist() == [6, 1, 5, 2, 7]
    with pytest.raises(ValueError, match="horizon must be at most the steps of the longest run, 3; got 4"):
        made.averaged(4)
    with pytest.raises(ValueError, match="horizon must be at least 1; got 0"):
        made.averaged(0)
    with pytest.raises(ValueError, match="longest run, 0; got 1"):
        made.where(np.arange(6) == 2).averaged(1)


def test_seeds_are_runs_of_their_own():
    made = table(6, gain_loss=np.arange(6.0)).averaged(3)
    assert made.gain_loss.tolist() == [1, 4]
    assert made.seed.tolist() == [0, 1]


def test_a_step_logged_twice_is_not_averaged():
    with pytest.raises(ValueError, match="seed 0, 'margin', 10 labels come more than once"):
        concatenated([table(), table()]).averaged(2)


def test_tables_joined_keep_their_groups_apart():
    both = concatenated([table(), table(3, group=[5, 5, -1])])
    assert both.group.tolist() == [0, 1, 2, 3, 4, 5, 7, 7, 6]
    assert both.domain == DOMAIN
    assert len(both) == 9
    same(concatenated([table()]), table())
    with pytest.raises(
        ValueError, match="columns entropy, step, margin, in this order; column 1 must be 'step', and it is 'm"
    ):
        concatenated([table(), table(columns=("entropy", "margin", "step"))])
    with pytest.raises(ValueError, match="column 2 must be 'margin', and it is none"):
        concatenated([table(), table(columns=("entropy", "step"), values=np.zeros((6, 2)))])
    with pytest.raises(ValueError, match="tables must hold at least one table"):
        concatenated([])


def test_domains_joined_say_what_differs():
    first, second, third = (
        table(domain={"name": name, "head": head, "budget": 50})
        for name, head in (("digits", "ridge"), ("usps", "MLP"), ("usps", "ridge"))
    )
    joined = concatenated([first, second])
    assert joined.domain == {"name": "digits + usps", "budget": 50, "differs_in": ["head"]}
    assert concatenated([joined, third]).domain["differs_in"] == ["head"]
    assert concatenated([first, third]).domain == {
        "name": "digits + usps", "head": "ridge", "budget": 50, "differs_in": [],
    }  # fmt: skip
