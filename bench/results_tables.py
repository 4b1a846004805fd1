"""Writes the tables of bench/results/README.md, and the figures of README.md, from the recorded runs in bench/results.

    python bench/results_tables.py

The words of a page are written by hand. What stands between <!-- NAME --> and <!-- /NAME --> is made of NAME.json, and
"figures" of the runs in FIGURES. It needs Python alone; a test fails where a page is not what this makes of the runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from math import floor, log10
from pathlib import Path
from statistics import median, stdev
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench/results"
PAGES = (RESULTS / "README.md", RESULTS / "which_strategy.md", RESULTS / "surrogate.md", ROOT / "README.md")
BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", flags=re.DOTALL)
POOLS = {
    "iid": "Gaussian noise",
    "blobs": "80 overlapping blobs on the unit sphere",
    "real": "embeddings of CIFAR-10 on the unit sphere",
}
TITLES = {"digits": "digits", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR-10"}
TITLES |= {"fashion_mnist_lt": "FashionMNIST, long-tailed", "cifar10_lt": "CIFAR-10, long-tailed"}
FIGURES = (  # run, work
    ("large", "`knn` 50,000 x 512, k=20"),
    ("large", "`k_center_greedy` 50,000 x 512, b=1000"),
    ("large", "`kmeans` 50,000 x 512, k=100, 25 iterations"),
    ("herding", "`herding` blobs 10,000 x 384, b=100"),
    ("large", "`select typiclust` 50,000 x 512, b=100"),
)


def page(path: Path) -> str:
    """Its text with every block made of its run."""
    text = path.read_text(encoding="utf-8")
    return BLOCK.sub(lambda block: f"{block[1]}{made(block[2])}\n{block[3]}", text)


def made(name: str) -> str:
    return figures() if name == "figures" else f"{origin(run(name))}\n\n{tables(run(name))}"


def run(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def tables(report: dict[str, Any]) -> str:
    """The tables of one run, by what the run holds."""
    if "benchmarks" in report:
        return against_peers(report)
    if "summary" in report:
        return "\n".join(["```", *report["summary"]]).rstrip() + "\n```"
    if "tables" in report:
        return "\n\n".join(f"**{title}**\n\n{of_rows(rows)}" for title, rows in report["tables"].items() if rows)
    if "budgets" in report:
        return accuracies(report)
    if "at" in report:
        return gains(report)
    return of_rows(report["results"])


def of_rows(rows: list[dict[str, Any]]) -> str:
    """A line for each row, all with the same names."""
    return markdown(list(rows[0]), ([str(cell) for cell in row.values()] for row in rows))


def origin(report: dict[str, Any]) -> str:
    """When, on what and how a run was made."""
    made_at = report.get("date") or report["datetime"][:10]
    commit = report.get("commit") or report.get("commit_info", {}).get("id", "")
    dirty = commit.endswith("-dirty") or report.get("commit_info", {}).get("dirty")
    words = [made_at, machine(report)]
    if "seconds" in report:
        words.append(f"{report['seconds']:.0f} s")
    if commit:
        words.append(f"commit {commit[:7]}" + " with changes" * bool(dirty))
    return f"{', '.join(words)}: `{report['command']}`"


def machine(report: dict[str, Any]) -> str:
    facts = report.get("machine_info") or report["machine"]
    return f"{facts['cpu']} ({facts['instruction_set']}), {facts['threads']} threads"


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


# Benchmarks against peers: one line for each work and peer, with a number for each pool


def works_of(report: dict[str, Any]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What was measured, by work and peer, pool by pool."""
    entries = [benchmark["extra_info"] for benchmark in report["benchmarks"]]
    several = len({pool_of(entry) for entry in entries}) > 1
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for entry in entries:
        work = entry["work"].replace(pool_of(entry), "", 1) if several else entry["work"]
        work = re.sub(r"\d{5,}", lambda number: f"{int(number[0]):,}", work)
        found.setdefault(f"`{entry['kernel']}` {work}", {}).setdefault(entry["peer"], []).append(entry)
    return found


def pool_of(entry: dict[str, Any]) -> str:
    """Its name and a space, where they stand before a size, as in "blobs 10000 x 384"."""
    pool = re.search(rf"\b(?:{'|'.join(POOLS)}) (?=\d)", entry["work"])
    return pool[0] if pool else ""


def against_peers(report: dict[str, Any]) -> str:
    rows = []
    for work, peers in works_of(report).items():
        for at, (peer, entries) in enumerate(peers.items()):
            cells = [each(entries, key, form) for key, form in COLUMNS]
            answers = dict.fromkeys(entry["answers"] for entry in entries)
            rows.append(["" if at else work, peer, *cells, "; ".join(answers)])
    return markdown(["work", "against", "times as fast", "pyal s", "peer s", "pyal MB", "peer MB", "answers"], rows)


def each(entries: list[dict[str, Any]], key: str, form: Callable[[float], str]) -> str:
    return ", ".join("-" if entry[key] is None else form(entry[key]) for entry in entries)


def digits(value: float, significant: int = 2) -> str:
    """Rounded to so many significant digits, without an exponent."""
    value = float(f"{value:.{significant}g}")
    return f"{value:.{max(0, significant - 1 - floor(log10(value)))}f}"


def seconds(value: float) -> str:
    return digits(value, 3 if value >= 1 else 2)


def megabytes(value: float) -> str:
    return f"{value / 1e6:.0f}" if value >= 1e7 else f"{value / 1e6:.1f}"


COLUMNS: tuple[tuple[str, Callable[[float], str]], ...] = (
    ("ratio", digits),
    ("seconds", seconds),
    ("peer_seconds", seconds),
    ("extra", megabytes),
    ("peer_extra", megabytes),
)


def figures() -> str:
    """The works of FIGURES against all of their peers, the fastest peer first, and the machine."""
    rows = []
    for name, work in FIGURES:
        peers = {peer: entries for peer, entries in works_of(run(name))[work].items() if peer != "-"}
        fastest = sorted(peers, key=lambda peer: peers[peer][0]["peer_seconds"])
        ratios = [f"{peer} {each(peers[peer], 'ratio', digits)}" for peer in fastest]
        rows.append([work, each(peers[fastest[0]], "seconds", seconds), "; ".join(ratios)])
    reports = [run(name) for name in dict.fromkeys(name for name, _ in FIGURES)]
    origins = sorted({f"{report['datetime'][:10]}, {machine(report)}" for report in reports})
    words = f"First number: {POOLS['iid']}; second, or alone: {POOLS['blobs']}.\n{'; '.join(origins)}."
    return f"{markdown(['work', 'pyal seconds', 'times as fast as'], rows)}\n\n{words}"


# Studies: mean and standard deviation over the seeds


def accuracies(report: dict[str, Any]) -> str:
    """A table for each data set."""
    found = []
    for data in dict.fromkeys(result["data"] for result in report["results"]):
        results = [result for result in report["results"] if result["data"] == data]
        if isinstance(results[0]["accuracy"], dict):
            head, rows = [], [[name, *spread(seeds)] for name, seeds in results[0]["accuracy"].items()]
        else:
            head = ["metric", "first select", "last select", "extra memory"]
            rows = [[r["strategy"], *spread(r["accuracy"]), r["metric"], *costs(r)] for r in results]
        title = f"{TITLES.get(data, data)}, {results[0]['rows']:,} rows"
        found.append(markdown([title, *(f"{budget} labels" for budget in report["budgets"]), *head], rows))
    return "\n\n".join(found)


def gains(report: dict[str, Any]) -> str:
    """A table for each data set: accuracy of the control, and by how many points each strategy is above it."""
    found = []
    for data in dict.fromkeys(result["data"] for result in report["results"]):
        results = [result for result in report["results"] if result["data"] == data]
        rows = []
        for r in sorted(results, key=lambda r: (r["strategy"] != "random", -sum(r["gain"]))):
            control = r["strategy"] == "random"
            cells = [
                f"{accuracy:.3f}" if control else f"{100 * gain:+.1f} ± {100 * error:.1f}"
                for accuracy, gain, error in zip(r["accuracy"], r["gain"], r["error"], strict=True)
            ]
            rows.append([f"`{r['strategy']}`", *cells])
        title = f"{TITLES.get(data, data)}, {results[0]['rows']:,} rows"
        found.append(markdown([title, *(f"{at} labels" for at in report["at"])], rows))
    return "\n\n".join(found)


def spread(seeds: list[list[float]]) -> list[str]:
    """For each budget the mean and standard deviation of what the seeds have reached."""
    budgets = [list(values) for values in zip(*seeds, strict=True)]
    return [f"{sum(of) / len(of):.3f} ± {stdev(of) if len(of) > 1 else 0:.3f}" for of in budgets]


def costs(result: dict[str, Any]) -> list[str]:
    first_and_last = [f"{median(of_seed[at] for of_seed in result['seconds']):.3f} s" for at in (0, -1)]
    return [*first_and_last, f"{max(max(of_seed) for of_seed in result['extra']) / 1e6:.0f} MB"]


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page(path), encoding="utf-8")
