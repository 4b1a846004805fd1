"""pyal strategies: the list, and all that is documented of one."""

from __future__ import annotations

import inspect
import re

import pytest
from commands import refused, run

import pyal
from pyal.cli.strategies import explained
from pyal.strategies import Strategy


def words(text: str) -> str:
    return " ".join(text.split())


def test_all_are_listed_with_summary_and_source(capsys):
    code, out, _ = run(capsys, "strategies")
    assert code == 0
    for s in pyal.list_strategies():
        assert f"\n{s.name}" in f"\n{out}"
        assert s.summary in out
        assert s.citation in out


def test_the_list_says_who_takes_weights(capsys):
    blocks = re.split(r"^(\w+)(?: \(.*\))?\n    ", run(capsys, "strategies")[1], flags=re.MULTILINE)[1:]
    found = [name for name, said in zip(blocks[::2], blocks[1::2], strict=True) if "; takes weights; memory" in said]
    assert sorted(found) == [s.name for s in pyal.list_strategies() if s.weighs]


def test_the_list_goes_by_family(capsys):
    blocks = run(capsys, "strategies")[1].split("\n\n")
    named = {block.splitlines()[0]: re.findall(r"^(\w+)", block, flags=re.MULTILINE)[1:] for block in blocks}
    assert named["COVERAGE"] == sorted(s.name for s in pyal.list_strategies() if s.family == "coverage")
    assert sorted(name for names in named.values() for name in names) == [s.name for s in pyal.list_strategies()]
    assert list(named) == sorted(named)


@pytest.mark.parametrize("s", pyal.list_strategies(), ids=lambda s: s.name)
def test_one_is_printed_whole(capsys, s):
    code, out, err = run(capsys, "strategies", s.name)
    assert (code, err) == (0, "")
    for said in (*s.aliases, *s.needs, *s.needs_once_labeled, s.memory, s.citation):
        assert said in out
    for name, default in s.options.items():
        assert words(f"{name}={default!r} {s.meanings[name]}") in words(out)
    documented = words(inspect.getdoc(s.function))
    for text in (*s.paragraphs, *(f"{name}: {meaning}" for name, meaning in s.meanings.items())):
        assert words(text) in documented
        documented = documented.replace(words(text), "", 1)
    assert not documented.strip(), "part of the docstring is in no paragraph and no meaning"
    for text in s.paragraphs:
        assert words(text) in words(out)


def test_an_alias_prints_the_same(capsys):
    assert run(capsys, "strategies", "k_center") == run(capsys, "strategies", "coreset")


def test_close_names_are_offered_for_an_unknown_one(capsys):
    err = refused(capsys, "strategies", "probcovr")
    assert err == "pyal: error: strategy 'probcovr' is unknown; did you mean 'probcover'?\n"


def test_where_it_differs_stands_last(capsys):
    assert run(capsys, "strategies", "coreset")[1].split("\n\n")[-1].startswith("Differs from its source")


def test_options_without_a_meaning_keep_their_default():
    def terse(pool, batch_size, *, rng, wanted, spread=0.5):  # noqa: ARG001
        """Picks the first rows.

            spread = none at all

        spread: how far apart they lie
            at least.
        """
        return pool.candidates[:batch_size]

    assert explained(Strategy("terse", terse, memory="O(N)")).splitlines() == [
        "terse",
        "",
        "Picks the first rows.",
        "",
        "family  others",
        "needs   nothing but X",
        "memory  O(N)",
        "metric  euclidean",
        "weights refused",
        "",
        "    spread = none at all",
        "",
        "options",
        "  wanted",
        "  spread=0.5",
        "      how far apart they lie at least.",
    ]
