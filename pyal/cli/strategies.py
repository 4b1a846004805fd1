"""pyal strategies: what there is to choose from."""

from __future__ import annotations

import argparse
import inspect
import textwrap

from pyal.strategies.registry import Strategy, find, list_strategies

WIDTH = 96  # of a line; a paragraph is easier to read so than across a whole screen
DIFFERS = "Differs from its source"  # what the paragraph on deviations begins with


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a strategy or an alias; default: all by family")


def run(arguments: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    if arguments.name is not None:
        print(explained(find(arguments.name)))
    else:
        print("\n\n".join(f"{family.upper()}\n" + "\n".join(map(listed, found)) for family, found in by_family()))
    return 0


def by_family() -> list[tuple[str, list[Strategy]]]:
    """The families and their strategies, each by name; those that are registered from outside come last."""
    families: dict[str, list[Strategy]] = {}
    for s in list_strategies():
        families.setdefault(s.family, []).append(s)
    return sorted(families.items(), key=lambda family: (family[0] == "others", family[0]))


def listed(s: Strategy) -> str:
    """What the list says of a strategy: its names, summary, needs, weights, memory, source and options, briefly."""
    weighs = "; takes weights" if s.weighs else ""
    lines = [_names(s), f"    {s.summary}", f"    needs {_needs(s)}{weighs}; memory {s.memory}; {s.citation}"]
    if s.options:
        lines.append(f"    options {', '.join(f'{name}{_default(value)}' for name, value in s.options.items())}")
    return "\n".join(lines)


def explained(s: Strategy) -> str:
    """All that is documented of a strategy; an option without a meaning in its docstring is shown with its default."""
    differs = [text for text in s.paragraphs if text.startswith(DIFFERS)]
    works = [text for text in s.paragraphs if text not in differs]
    facts = [
        f"family  {s.family}",
        f"needs   {_needs(s)}",
        f"memory  {s.memory}",
        f"metric  {s.metric}",
        f"weights {'used' if s.weighs else 'refused'}",
    ] + ([f"source  {s.citation}"] if s.citation else [])
    options = [
        f"{name}{_default(value)}" + (f"\n{_wrapped(s.meanings[name], 4)}" if name in s.meanings else "")
        for name, value in s.options.items()
    ]
    parts = [_names(s), *map(_wrapped, works[:1]), "\n".join(facts), *map(_wrapped, works[1:])]
    parts += ["options\n" + textwrap.indent("\n".join(options), "  ")] if options else []
    return "\n\n".join([*parts, *map(_wrapped, differs)])


def _names(s: Strategy) -> str:
    return f"{s.name} ({', '.join(s.aliases)})" if s.aliases else s.name


def _needs(s: Strategy) -> str:
    later = f", and once rows are labelled {', '.join(s.needs_once_labeled)}" if s.needs_once_labeled else ""
    asked = [" or ".join([need, *(other for one, other in s.instead if one == need)]) for need in s.needs]
    return f"{', '.join(asked) or 'nothing but X'}{later}"


def _default(value: object) -> str:
    return "" if value is inspect.Parameter.empty else f"={value!r}"


def _wrapped(text: str, indent: int = 0) -> str:
    if "\n " in text or text.startswith(" "):  # a formula or an example
        return text
    return textwrap.fill(text, WIDTH - indent, initial_indent=" " * indent, subsequent_indent=" " * indent)
