"""The README and the working day, run as they stand: all blocks of Python and all pyal commands, in order.

Each section of the README has a folder of its own, the working day has one. Python runs in a process of its own, which
is killed (SIGKILL) where a block goes on with Loop.resume. An export made of the tasks stands in for Label Studio and
its annotators: the labels of the digits, one image skipped.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import pyal
from pyal import cli
from pyal.cli.command_line import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKING_DAY = (ROOT / "pyal/labelling/README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
NOT_RUN = ("pip install ", "LABEL_STUDIO_")  # builds, and a server
SKIPPED = 3  # of the first batch

# Reads blocks of Python as lines of JSON, runs them in one namespace, and answers each with a line.
DRIVER = """
import json, sys, traceback
namespace = {"__name__": "__main__"}
for line in sys.stdin:
    try:
        exec(compile(json.loads(line), "README.md", "exec"), namespace)
        print("\\0ran", flush=True)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        print("\\0failed", flush=True)
"""


class Interpreter:
    """Runs blocks of Python in one namespace in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-W", "error", "-c", DRIVER]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8", cwd=folder)
        assert self.process.stdin
        assert self.process.stdout
        self.blocks, self.printed = self.process.stdin, self.process.stdout

    def run(self, block: str) -> str:
        """What it prints; an AssertionError with its traceback where it fails."""
        self.blocks.write(json.dumps(block) + "\n")
        self.blocks.flush()
        printed = []
        for line in self.printed:
            if line.startswith("\0"):
                assert line == "\0ran\n", "".join(printed)
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"the process ended: {''.join(printed)}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.blocks.close()
        self.printed.close()


def sections() -> dict[str, str]:
    return {part.split("\n", 1)[0]: part for part in re.split(r"^## ", README, flags=re.MULTILINE)[1:]}


def runs() -> dict[str, str]:
    """What is run in a folder of its own: the sections of the README that hold code, and the working day."""
    return {name: text for name, text in sections().items() if any(steps(text))} | {"A working day": WORKING_DAY}


def steps(section: str) -> Iterator[tuple[str, str]]:
    """("python", block) and ("shell", line) in the order in which they stand."""
    position = 0
    for block in FENCED.finditer(section):
        yield from commands(section[position : block.start()])
        if block[1]:  # a block without a language is there to be read
            yield block[1], block[2]
        position = block.end()
    yield from commands(section[position:])


def commands(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if line.startswith("    "):
            yield "shell", line.strip()


def annotate() -> None:
    """export.json as Label Studio writes it, made of tasks.json."""
    digits = load_digits().target
    tasks = json.loads(Path("tasks.json").read_text(encoding="utf-8"))
    for number, task in enumerate(tasks):
        choice = {"choices": [str(digits[task["data"]["pyal_position"]])]}
        result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": choice}]
        skipped = number == SKIPPED
        task["id"] = number + 1
        task["annotations"] = [{"id": number + 1, "completed_by": 1, "was_cancelled": skipped}]
        task["annotations"][0]["result"] = [] if skipped else result
    Path("export.json").write_text(json.dumps(tasks), encoding="utf-8")


def shell(line: str) -> None:
    if line.startswith(NOT_RUN):
        return
    program, *arguments = shlex.split(line, comments=True)
    assert program == "pyal", f"a command that is not run: {line}"
    if arguments[:2] == ["import", "label-studio"]:
        annotate()
    if arguments[0] == "plot":
        pytest.importorskip("matplotlib", reason="pyal plot needs matplotlib")
    assert cli.main(arguments) == 0, line


@pytest.mark.parametrize("name", runs())
def test_it_runs(name, tmp_path, monkeypatch):
    section = runs()[name]
    if "from PIL import" in section:
        pytest.importorskip("PIL", reason="the images of the working day need Pillow")
    monkeypatch.chdir(tmp_path)
    python = Interpreter(tmp_path)
    try:
        for kind, text in steps(section):
            if kind == "shell":
                shell(text)
                continue
            assert kind == "python", f"a block that is not run: {kind}"
            if "Loop.resume" in text:
                python.kill()
                python = Interpreter(tmp_path)
            check(text, python, python.run(text))
    finally:
        python.kill()


def check(block: str, python: Interpreter, printed: str) -> None:
    """What the blocks say of themselves."""
    if "loop.history[-1]" in block:
        assert printed == "margin 80\n"
    elif 'Path("photos").mkdir' in block:
        assert len(list(Path("photos").glob("*.png"))) == len(load_digits().target)
        assert json.loads(python.run("print(len(set(batch.tolist())))")) == 40
    elif "Loop.resume" in block:
        shown = "print(json.dumps([loop.history, loop.skipped.tolist(), loop.labeled.tolist(), batch.tolist()]))"
        history, skipped, labeled, batch = json.loads(python.run(f"import json\n{shown}"))
        assert [entry["strategy"] for entry in history] == ["typiclust", "margin"]
        first = history[0]["batch"]
        assert skipped == [first[SKIPPED]]
        assert labeled == sorted(set(first) - set(skipped))
        assert len(batch) == 40
        assert not set(batch) & set(first)
        assert json.loads(python.run("print(json.dumps(ids))")) == Path("ids.txt").read_text().split()
    elif "pyal.simulate" in block:
        assert "random" in printed
        assert "EBR" in printed


def test_by_commands_alone_no_row_is_picked_twice(tmp_path, monkeypatch):
    """The commands read what each other write: skipped and labelled rows are out of the next batch."""
    monkeypatch.chdir(tmp_path)
    np.save("embeddings.npy", np.random.default_rng(0).normal(size=(30, 4)))
    Path("labels.csv").write_text("id,position,label,status\na,0,cat,labeled\nb,1,,skipped\n")
    Path("ids.txt").write_text("".join(f"{chr(ord('a') + i)}\n" for i in range(26)) + "1\n2\n3\n4\n")
    (line,) = [line for kind, line in steps(WORKING_DAY) if kind == "shell" and "--labels" in line]
    line = line.replace("--batch-size 40", "--batch-size 28")
    assert cli.main(shlex.split(line)[1:]) == 0
    with open("next.csv", newline="") as file:
        assert sorted(int(row["position"]) for row in csv.DictReader(file)) == list(range(2, 30))


def test_every_strategy_stands_with_its_family_and_its_needs():
    table = [line.split("|")[1:4] for line in sections()["Strategies"].splitlines() if line.startswith("| ")][2:]
    listed = {name: (family.strip(), needs) for family, names, needs in table for name in re.findall(r"`(\w+)`", names)}
    assert sorted(listed) == [strategy.name for strategy in pyal.list_strategies()]
    for strategy in pyal.list_strategies():
        family, needs = listed[strategy.name]
        assert family == strategy.family, strategy.name
        asked = (*strategy.needs, *strategy.needs_once_labeled, *(other for _, other in strategy.instead))
        assert set(re.findall(r"`(\w+)`", needs)) == set(asked), strategy.name
        assert ("once labelled" in needs) == bool(strategy.needs_once_labeled), strategy.name
        assert ("of passes" in needs) == strategy.passes, strategy.name


def test_every_command_is_named():
    (named,) = re.findall(r"The commands are (.*?);", sections()["Example"], flags=re.DOTALL)
    assert set(re.findall(r"`(\w+)`", named)) == set(COMMANDS)


def test_a_newcomer_reads_it_in_one_go():
    assert len(README.encode()) <= 8192


@pytest.mark.parametrize("page", ["README.md", "pyal/labelling/README.md", "csrc/README.md"])
def test_what_it_links_to_exists(page):
    linked = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in linked if not ((ROOT / page).parent / link).exists()]
    assert not missing
