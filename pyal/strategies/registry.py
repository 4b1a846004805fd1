"""The registry of strategies: how one is declared, found and listed."""

from __future__ import annotations

import difflib
import importlib
import inspect
import numbers
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Strategy:
    """A registered strategy; `function(pool, batch_size, *, rng, **options)` picks, `scores(pool, **options)` scores.

    needs: arguments of `select` that it cannot do without, needs_once_labeled: once rows are labelled. needs_with:
    (option, value, argument), once rows are labelled and the option has that value; needs_always_with: the same,
    labelled or not. instead: (argument, another one that may be given in its place). memory: extra memory per call.
    citation: where it is from. metric: what metric=None stands for, as in its source. passes: the proba that it needs
    is that of several passes or members, (T, N, C). weighs: it values rows one by one, and weights= count there. files:
    options that may be the path of a file.
    """

    name: str
    function: Callable[..., Any]
    scores: Callable[..., Any] | None = None
    aliases: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    needs_once_labeled: tuple[str, ...] = ()
    needs_with: tuple[tuple[str, Any, str], ...] = ()
    needs_always_with: tuple[tuple[str, Any, str], ...] = ()
    instead: tuple[tuple[str, str], ...] = ()
    memory: str = ""
    citation: str = ""
    metric: str = "euclidean"
    passes: bool = False
    weighs: bool = False
    files: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The module of pyal.strategies or the package of pyal that it stands in; "others" for one from outside."""
        package, _, module = str(getattr(self.function, "__module__", "")).rpartition(".")
        if package == __package__:
            return module
        return package.partition(".")[2] if package.startswith("pyal.") else "others"

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    def check_needs(self, given: Any, options: Mapping[str, Any]) -> None:
        """ValueError for an input that it cannot do without, or cannot use, in `given`: a Pool or its Inputs."""
        for need in self.needs:
            choice = [need, *(other for one, other in self.instead if one == need)]
            if all(getattr(given, name) is None for name in choice):
                said = " or ".join(f"{name}=" for name in choice)
                raise ValueError(f"strategy {self.name!r} needs {said}, which is missing")
        for option, value, need in self.needs_always_with:
            if options.get(option) == value and getattr(given, need) is None:
                raise ValueError(f"strategy {self.name!r} with {option}={value!r} needs {need}=, which is missing")
        if given.weights is not None:
            self.check_weighs()

    def check_weighs(self) -> None:
        """ValueError where it cannot use weights."""
        if not self.weighs:
            have = ", ".join(s.name for s in list_strategies() if s.weighs)
            raise ValueError(
                f"strategy {self.name!r} cannot use weights=: it does not value rows one by one; {have} do"
            )

    def check_needs_once_labeled(self, given: Any, options: Mapping[str, Any]) -> None:
        """The same of what it needs once rows are labelled, with these options."""
        for need in self.needs_once_labeled:
            if getattr(given, need) is None:
                which = " (labeled= says which rows are labelled, not with what)" if need == "y" else ""
                raise ValueError(f"strategy {self.name!r} needs {need}= once rows are labelled{which}")
        for option, value, need in self.needs_with:
            if options.get(option) == value and getattr(given, need) is None:
                raise ValueError(f"strategy {self.name!r} with {option}={value!r} needs {need}= once rows are labelled")

    def needed(self, options: Mapping[str, Any], *, labeled: bool) -> tuple[str, ...]:
        """The arguments that it cannot do without, given these options, before or after rows are labelled."""
        with_options = self.needs_always_with + (self.needs_with if labeled else ())
        by_option = tuple(need for option, value, need in with_options if options.get(option) == value)
        return self.needs + (self.needs_once_labeled if labeled else ()) + by_option

    @property
    def options(self) -> dict[str, Any]:
        """Names and defaults of its options."""
        return options_of(self.function) or {}

    @property
    def meanings(self) -> dict[str, str]:
        """Names and meanings of its options, by the lines `name: meaning` of its docstring."""
        return _documented(self.function, self.options)[1]

    @property
    def paragraphs(self) -> list[str]:
        """The rest of its docstring: the summary, how it works, and where it differs from its source."""
        return _documented(self.function, self.options)[0]


_registered: dict[str, Strategy] = {}
# Strategies that need a package above this one are registered when they are first asked for. Name: module.
_ELSEWHERE = {"surrogate": "pyal.surrogate.strategies"}


def strategy(
    name: str,
    *,
    aliases: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    needs_once_labeled: tuple[str, ...] = (),
    needs_with: tuple[tuple[str, Any, str], ...] = (),
    needs_always_with: tuple[tuple[str, Any, str], ...] = (),
    instead: tuple[tuple[str, str], ...] = (),
    memory: str = "O(N)",
    citation: str = "",
    metric: str = "euclidean",
    passes: bool = False,
    weighs: bool = False,
    files: tuple[str, ...] = (),
    scores: Callable[..., Any] | None = None,
) -> Callable[[Function], Function]:
    """Registers the decorated function `f(pool, batch_size, *, rng, **options)` under `name`; returns it unchanged.

    f is given a `Pool` and returns `batch_size` distinct positions out of pool.candidates in the order picked; its
    keyword arguments after `rng` are its options. `scores(pool, **options)` returns (N,) scores for `pyal.score`.

        @strategy("lowest_position")
        def lowest_position(pool, batch_size, *, rng):
            return pool.candidates[:batch_size]
    """

    def register(function: Function) -> Function:
        entry = Strategy(
            name=name,
            function=function,
            scores=scores,
            aliases=aliases,
            needs=needs,
            needs_once_labeled=needs_once_labeled,
            needs_with=needs_with,
            needs_always_with=needs_always_with,
            instead=instead,
            memory=memory,
            citation=citation,
            metric=metric,
            passes=passes,
            weighs=weighs,
            files=files,
        )
        for word in (name, *aliases):
            for other in _registered.values():
                reloaded = other.name == name and _origin(other.function) == _origin(function)
                if word in (other.name, *other.aliases) and not reloaded:
                    raise ValueError(f"the name {word!r} is taken by the strategy {other.name!r}")
        _registered[name] = entry
        return function

    return register


def list_strategies() -> list[Strategy]:
    """The registered strategies by name, each with name, aliases, summary, needs, memory, citation and options.

    >>> [s.name for s in list_strategies() if s.passes]
    ['bald', 'batchbald', 'consistency', 'dbal', 'diff2aug_kmeans', 'mean_std', 'powerbald', 'variation_ratio']
    """
    for name in _ELSEWHERE:
        _fetch(name)
    return [_registered[name] for name in sorted(_registered)]


def _fetch(name: str) -> None:
    """Has the module of a strategy that stands elsewhere register it."""
    if name in _ELSEWHERE and name not in _registered:
        importlib.import_module(_ELSEWHERE[name])


def find(name: str) -> Strategy:
    """The strategy of that name or alias; ValueError with close names where there is none."""
    _fetch(name)
    known = {word: s for s in _registered.values() for word in (s.name, *s.aliases)}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name.lower().replace("-", "_"), {*known, *_ELSEWHERE}, n=3)
    rest = (
        f"did you mean {' or '.join(map(repr, close))}?"
        if close
        else f"known are {', '.join(sorted({*_registered, *_ELSEWHERE}))}"
    )
    raise ValueError(f"strategy {name!r} is unknown; {rest}")


def resolved(strategy: Any, options: Mapping[str, Any]) -> Strategy:
    """The strategy of a name, or one made of a callable of the same form; the options are checked against it.

    Raises TypeError for anything else and for options that it does not have or lacks, ValueError for unknown names.
    """
    if isinstance(strategy, str):
        found = find(strategy)
    elif isinstance(strategy, Strategy):
        found = strategy
    elif callable(strategy):
        found = Strategy(getattr(strategy, "__name__", type(strategy).__name__), strategy, weighs=True)
    else:
        raise TypeError(
            f"strategy must be a name or a callable f(pool, batch_size, *, rng, **options); "
            f"got {type(strategy).__name__}"
        )
    try:
        inspect.signature(found.function)
    except (TypeError, ValueError):
        pass  # a builtin without a signature: it says itself what it does not take
    else:
        check_options(found.name, found.function, options)
    return found


def options_of(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Names and defaults of the keyword arguments besides rng; None where the function takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "rng"}


def _documented(function: Callable[..., Any], options: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The docstring's paragraphs, and what its lines `option: meaning` say; indented lines go on with a meaning."""
    rest: list[str] = []
    meanings: dict[str, str] = {}
    open_option = ""
    for line in (inspect.getdoc(function) or "").splitlines():
        name, colon, meaning = line.partition(": ")
        if colon and name in options:
            open_option = name
            meanings[name] = meaning
        elif open_option and line.startswith(" "):
            meanings[open_option] += f" {line.strip()}"
        else:
            open_option = ""
            rest.append(line)
    return [text.strip("\n") for text in "\n".join(rest).split("\n\n") if text.strip()], meanings


def check_options(name: str, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """TypeError for an option that the strategy does not have (naming those it has) or lacks."""
    known = options_of(function)
    if known is None:
        return
    wrong = [word for word in given if word not in known]
    if wrong:
        close = difflib.get_close_matches(wrong[0], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        has = f"its options are {', '.join(known)}" if known else "it has none"
        raise TypeError(f"strategy {name!r} has no option {wrong[0]!r}; {has}{hint}")
    _check_types(name, function, given)
    lacking = [word for word, default in known.items() if default is inspect.Parameter.empty and word not in given]
    if lacking:
        raise TypeError(f"strategy {name!r} needs the option {lacking[0]!r}")


def _check_types(name: str, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """TypeError where an option annotated as number, text or truth value (or None) is given something else."""
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        return
    for word, value in given.items():
        wanted = typing.get_args(hints.get(word)) or (hints.get(word),)
        if not all(kind in _KINDS for kind in wanted):
            continue
        boolean = type(value).__name__ in ("bool", "bool_")  # a bool is an int to Python, and must not pass for one
        if not any(kind is bool if boolean else isinstance(value, _KINDS[kind][0]) for kind in wanted):
            raise TypeError(
                f"option {word!r} of strategy {name!r} must be "
                f"{' or '.join(_KINDS[kind][1] for kind in wanted)}; got {value!r}"
            )


_KINDS: dict[Any, tuple[type, str]] = {
    int: (numbers.Integral, "an integer"),
    float: (numbers.Real, "a number"),
    bool: (bool, "True or False"),
    str: (str, "a string"),
    type(None): (type(None), "None"),
}


def _origin(function: Callable[..., Any]) -> tuple[Any, Any]:
    return getattr(function, "__module__", None), getattr(function, "__qualname__", None)
