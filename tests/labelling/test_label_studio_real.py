"""The round trip through Label Studio itself: tasks in, annotations by its API, every export back, nothing lost.

Label Studio is the one that can be imported here, or the executable that PYAL_LABEL_STUDIO names; it runs on a free
port of this machine, with its data in a temporary folder. Without it these tests skip.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pyal import cli, files

IDS = ["007", 'a,"b"', "é ü", " padded ", "1e5", "nan", "a\u2028b", "-1", "x&y#z%+?", "sub/9.v2"]
CLASSES = ["cat", ' a & "b", <é>', "None", "-1", "[1]"]
SECONDS_TO_START = 240  # the first start makes a database
TOKEN = secrets.token_hex(20)


class Server:
    """A running Label Studio and the folder whose folders it may show images of."""

    def __init__(self, port: int, home: Path) -> None:
        self.url, self.home = f"http://127.0.0.1:{port}", home
        self.open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def get(self, path: str) -> bytes:
        return self._ask("GET", path, None)

    def post(self, path: str, body: object) -> dict:
        return json.loads(self._ask("POST", path, json.dumps(body).encode()))

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)
        try:
            with self.open(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:2000]!r}") from None


@functools.cache
def executable() -> list[str] | None:
    named = os.environ.get("PYAL_LABEL_STUDIO")
    if named:
        found = shutil.which(named)
        return [found] if found else None
    if importlib.util.find_spec("label_studio") is not None:
        return [sys.executable, "-c", "from label_studio.server import main; main()"]
    return None


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    command = executable()
    if command is None:
        pytest.skip("no Label Studio: install it here, or name its executable in PYAL_LABEL_STUDIO")
    home = tmp_path_factory.mktemp("label-studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DJANGO_DB")}
    environment |= {"HOME": str(home), "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false"}
    environment |= {"SENTRY_RATE": "0", "FRONTEND_SENTRY_RATE": "0"}
    environment["LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN"] = "true"
    environment["LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED"] = "true"
    environment["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] = str(home)
    command = [*command, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    command += ["--username", "a@example.org", "--password", secrets.token_hex(8), "--user-token", TOKEN]
    command += ["--data-dir", str(home / "data"), "--log-level", "ERROR"]
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=home)
    try:
        one = Server(port, home)
        why = wait(one, process)
        if why:
            pytest.skip(f"Label Studio did not start: {why}; {(home / 'log').read_text(errors='replace')[-300:]!r}")
        yield one
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(server: Server, process: subprocess.Popen) -> str:
    """Why it does not answer, or nothing."""
    last, until = "", time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until:
        if process.poll() is not None:
            return f"exit code {process.returncode}"
        try:
            server.get("/api/projects")
            return ""
        except (OSError, RuntimeError) as error:
            last = str(error)
            time.sleep(0.5)
    return last


def write_pool(home: Path) -> None:
    """Embeddings, ids, probabilities, class names, and an image of each row in a folder beside them."""
    for i, id in enumerate(IDS):
        path = home / "my images" / f"{id}{('.png', '.JPG')[i % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"image of {id}".encode())
    (home / "ids.txt").write_text("".join(f"{id}\n" for id in IDS), encoding="utf-8")
    (home / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    np.save(home / "X.npy", np.random.default_rng(0).normal(size=(len(IDS), 3)))
    np.save(home / "P.npy", np.random.default_rng(1).dirichlet(np.ones(len(CLASSES)), len(IDS)))


def pyal(*arguments: str) -> None:
    assert cli.main(arguments) == 0


def imported(path: str, *arguments: str) -> dict[str, tuple[str, str]]:
    pyal("import", "label-studio", path, *arguments, "-o", "labels.csv", "--force")
    with open("labels.csv", encoding="utf-8", newline="") as file:
        return {row["id"]: (row["label"], row["status"]) for row in csv.DictReader(file)}


def choice(name: str) -> dict:
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [name]}}


def test_round_trip(server, monkeypatch, capsys):
    monkeypatch.chdir(server.home)
    write_pool(server.home)
    given = ("--ids", "ids.txt", "--proba", "P.npy")
    pyal("select", "X.npy", "--strategy", "margin", "--batch-size", "10", *given, "-o", "batch.csv")
    given = ("--proba", "P.npy", "--classes", "classes.txt", "--config-out", "config.xml")
    pyal("export", "label-studio", "batch.csv", "--images", "my images", *given, "-o", "tasks.json")
    written = json.loads(Path("tasks.json").read_text(encoding="utf-8"))

    config = Path("config.xml").read_text(encoding="utf-8")
    project = server.post("/api/projects", {"title": "pyal test", "label_config": config})["id"]
    storage = {"project": project, "path": str(server.home / "my images"), "use_blob_urls": True, "title": "images"}
    server.post("/api/storages/localfiles", storage)
    answer = server.post(f"/api/projects/{project}/import?return_task_ids=true", written)
    assert (answer["task_count"], answer["prediction_count"]) == (10, 10)
    tasks = {written[i]["data"]["pyal_id"]: task for i, task in enumerate(answer["task_ids"])}
    for task in written:
        assert server.get(task["data"]["image"]) == f"image of {task['data']['pyal_id']}".encode()

    said = dict(zip(IDS[:5], CLASSES, strict=True)) | {IDS[5]: CLASSES[0]}
    for id, label in said.items():
        server.post(f"/api/tasks/{tasks[id]}/annotations/", {"result": [choice(label)]})
    for id in IDS[6:8]:
        server.post(f"/api/tasks/{tasks[id]}/annotations/", {"result": [], "was_cancelled": True})
    server.post(f"/api/tasks/{tasks[IDS[8]]}/drafts", {"result": [choice("cat")]})

    labelled = {id: (label, "labeled") for id, label in said.items()}
    skipped = dict.fromkeys(IDS[6:8], ("", "skipped"))
    for everything in ("false", "true"):
        for form in ("JSON", "JSON_MIN", "CSV", "TSV"):
            path = f"/api/projects/{project}/export?exportType={form}&download_all_tasks={everything}"
            Path("export").write_bytes(server.get(path))
            expected = labelled | skipped if form == "JSON" else labelled
            assert imported("export", "--batch", "batch.csv") == expected, form
            rest = 10 - len(expected)
            counts = f"6 labelled, {len(expected) - 6} skipped, {rest} without an answer"
            assert counts in capsys.readouterr().err

    again = {"result": [choice(CLASSES[1])]}
    server.post(f"/api/tasks/{tasks[IDS[0]]}/annotations/", again)  # cat before
    Path("export").write_bytes(server.get(f"/api/projects/{project}/export?exportType=JSON"))
    assert cli.main(("import", "label-studio", "export", "-o", "twice.csv")) == 2
    assert "1 has several: '007' (position 0)" in capsys.readouterr().err
    assert not Path("twice.csv").exists()
    expected = labelled | skipped | {IDS[0]: (CLASSES[1], "labeled")}
    assert imported("export", "--on-conflict", "last") == expected

    y = files.read_labels("labels.csv", 10, IDS)
    assert y.tolist() == [CLASSES[1], *CLASSES[1:], CLASSES[0], None, None, None, None]
    pyal("select", "X.npy", "--ids", "ids.txt", "--labels", "labels.csv", "--batch-size", "2", "-o", "next.csv")
    with open("next.csv", encoding="utf-8", newline="") as file:
        assert {row["id"] for row in csv.DictReader(file)} == set(IDS[8:])
