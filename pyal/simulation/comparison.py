"""What a simulation has found: one row per strategy, seed and round, and what that says against random."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import files, metrics

CONTROL = "random"
SIGNIFICANT = 0.05
COLUMNS = ("n_labels", "accuracy", "balanced_accuracy", "seconds_select", "seconds_predict", "seconds_fit")
MOST_SHOWN = 6  # budgets in a summary

# strategy, seed, records (a dict of COLUMNS per round), picks (positions per round); observed, where it was
Run = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Strategies against random over seeds: the result of `pyal.simulate`.

    table: a structured array, one row per (strategy, seed, round): n_labels, accuracy and balanced_accuracy on the test
        set, and the seconds that it took to choose the round's batch (seconds_predict for proba, seconds_select; NaN
        for the first, given labels) and to fit to all labels.
    picks: positions in X by (strategy, seed), an array per round.
    failures: what went wrong by (strategy, seed). These runs are in nothing else.
    n_initial: how many labels were given rather than picked, the same ones for all strategies.
    """

    table: NDArray[np.void]
    picks: Mapping[tuple[str, int], list[NDArray[np.int64]]] = field(repr=False)
    failures: Mapping[tuple[str, int], str]
    n_initial: int = 0

    @property
    def strategies(self) -> list[str]:
        """Names of those that have a finished run, the control first."""
        return list(dict.fromkeys(self.table["strategy"].tolist()))

    @property
    def seeds(self) -> list[int]:
        """The seeds that all these strategies have finished, so that runs can be compared in pairs."""
        finished = [{seed for name, seed in self.picks if name == wanted} for wanted in self.strategies]
        return [seed for seed in dict.fromkeys(self.table["seed"].tolist()) if all(seed in of for of in finished)]

    @property
    def n_labels(self) -> NDArray[np.int64]:
        """(R,) labels by the end of each round, the same for all."""
        return np.unique(self.table["n_labels"])

    def curves(self, column: str = "accuracy") -> dict[str, NDArray[np.float64]]:
        """(S, R) of a column of the table by strategy, row s being `seeds[s]`: what `metrics` and `plots` take."""
        if column not in COLUMNS:
            raise ValueError(f"column must be one of {', '.join(COLUMNS)}; got {column!r}")
        shape = (len(self.seeds), len(self.n_labels))
        of_seed = np.isin(self.table["seed"], self.seeds)
        return {
            name: self.table[column][of_seed & (self.table["strategy"] == name)].reshape(shape).astype(np.float64)
            for name in self.strategies
        }

    def records(self) -> list[dict[str, Any]]:
        """The table as a list of dicts."""
        names = self.table.dtype.names or ()
        return [dict(zip(names, row.tolist(), strict=True)) for row in self.table]

    def to_csv(self, path: str, *, force: bool = False) -> None:
        """Writes the table, whole or not at all; an existing file is kept unless `force`."""
        files.write_whole(path, self.csv().encode(), force=force)

    def csv(self) -> str:
        """The table as CSV; NaN is an empty cell."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.table.dtype.names or ())
        writer.writerows(["" if cell != cell else cell for cell in record.values()] for record in self.records())
        return text.getvalue()

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame; ImportError where there is no pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas() needs pandas, which cannot be imported: pip install pandas") from error
        return pandas.DataFrame(self.records())

    def summary(self) -> str:
        """A table of what each strategy has reached and cost, and sentences on where it is not better than random."""
        if not self.seeds:
            return "\n".join(["no seed is finished by all strategies: there is nothing to compare", *self._failed()])
        seeds = self.seeds
        given = f"; all start from the same {self.n_initial} labels" if self.n_initial else ""
        lines = [
            f"test accuracy, mean ± standard deviation over {_counted(len(seeds), 'seed')} "
            f"({', '.join(map(str, seeds))}){given}",
            "",
            *_aligned(self._cells()),
            "",
            *self._legend(),
        ]
        return "\n".join([*lines, *self.not_better(), *self._failed()])

    def not_better(self) -> list[str]:
        """A sentence per strategy that is not better than random at some budget of the summary, with what it had.

        Where its mean over the seeds is higher, the sentence says so where p >= 0.05 in a two-sided paired t-test (one
        seed cannot be tested). Labels that were given, not picked, are not judged.
        """
        curves = self.curves()
        control = curves.get(CONTROL)
        if control is None:
            return []
        labels, at = self.n_labels, [r for r in self._shown() if r or not self.n_initial]
        sentences = []
        for name, acc in curves.items():
            if name == CONTROL:
                continue
            p, mine, theirs = metrics.paired_p_values(acc, control), acc.mean(axis=0), control.mean(axis=0)
            tests = [f"paired p {_p(value)}" if len(acc) > 1 else "one seed, not tested" for value in p]
            parts = [
                f"{n} labels ({a:.3f} against {b:.3f}, {test})"
                for n, a, b, test in zip(labels, mine, theirs, tests, strict=True)
            ]
            worse = [parts[r] for r in at if not mine[r] > theirs[r]]
            unsure = [parts[r] for r in at if mine[r] > theirs[r] and p[r] >= SIGNIFICANT]
            clauses = [f"not better than {CONTROL} at {_listed(worse)}"] if worse else []
            clauses += [f"better, but not significantly, at {_listed(unsure)}"] if unsure else []
            if clauses:
                sentences.append(f"{name} is {'; it is '.join(clauses)}.")
        return sentences

    def _shown(self) -> list[int]:
        """The rounds of a summary: the first, the last and some between."""
        rounds = len(self.n_labels)
        return sorted({round(r) for r in np.linspace(0, rounds - 1, min(rounds, MOST_SHOWN))})

    def _mode(self) -> str:
        return "mean" if len(set(np.diff(self.n_labels))) <= 1 else "trapz"

    def _target(self) -> float:
        """The accuracy that random ends with: the one to be had for fewer labels."""
        return float(self.curves()[CONTROL].mean(axis=0).max())

    def _cells(self) -> list[list[str]]:
        """The lines of the summary's table, its head first."""
        labels, curves, at = self.n_labels, self.curves(), self._shown()
        control = curves.get(CONTROL)
        costs = {column: self.curves(column) for column in ("seconds_select", "seconds_predict", "seconds_fit")}
        head = ["labels", *(str(labels[r]) for r in at), "AUBC", "EBR", "label eff.", "select s", "fit s"]
        lines = [head]
        for name, acc in curves.items():
            area = metrics.aubc(acc, labels, mode=self._mode())[:, None]
            cells = [_spread(column) for column in (*(acc[:, [r]] for r in at), area)]
            if control is None or name == CONTROL:
                cells += ["", ""]
            else:
                cells.append(_number(metrics.effective_budget_ratio(acc, control, labels), 2))
                cells.append(_number(metrics.label_efficiency(acc, control, labels, self._target()), 2))
            choosing = np.nansum(costs["seconds_select"][name] + costs["seconds_predict"][name], axis=1).mean()
            fitting = np.nansum(costs["seconds_fit"][name], axis=1).mean()
            lines.append([name, *cells, f"{choosing:.2f}", f"{fitting:.2f}"])
        return lines

    def _legend(self) -> list[str]:
        how = {"mean": "mean over the rounds", "trapz": "over labels, trapezoids: batches differ in size"}
        lines = [f"AUBC: area under the budget curve ({how[self._mode()]})."]
        if CONTROL in self.strategies:
            lines.append(
                f"EBR: share of the budget where the mean is above {CONTROL}'s mean plus its standard deviation."
            )
            lines.append(
                f"label eff.: labels that {CONTROL} needs for its best, {self._target():.3f}, over those needed here; "
                "- if never reached."
            )
        return [*lines, "select s, fit s: seconds per run, choosing (with its predictions) and fitting.", ""]

    def _failed(self) -> list[str]:
        return [f"{name}, seed {seed}, failed: {why}" for (name, seed), why in self.failures.items()]


def comparison(runs: Sequence[Run], failures: Mapping[tuple[str, int], str], n_initial: int) -> Comparison:
    """The Comparison of finished runs, in the order given."""
    kinds = [("n_labels", "i8"), *((column, "f8") for column in COLUMNS[1:])]
    width = max([1, *(len(run["strategy"]) for run in runs)])
    dtype = np.dtype([("strategy", f"U{width}"), ("seed", "i8"), ("round", "i8"), *kinds])
    lines = [
        (run["strategy"], run["seed"], r, *(np.nan if record[c] is None else record[c] for c in COLUMNS))
        for run in runs
        for r, record in enumerate(run["records"])
    ]
    picks = {(run["strategy"], run["seed"]): [np.array(p, np.int64) for p in run["picks"]] for run in runs}
    return Comparison(np.array(lines, dtype), picks, dict(failures), n_initial)


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _spread(values: NDArray[np.float64]) -> str:
    """Mean and deviation of (S, 1)."""
    deviation = metrics.standard_deviation(values)[0]
    return f"{values.mean():.3f}" + ("" if np.isnan(deviation) else f" ± {deviation:.3f}")


def _number(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def _counted(n: int, word: str) -> str:
    return f"{n} {word}" + ("" if n == 1 else "s")


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
