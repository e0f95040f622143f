"""The stand-in for a W&B server, driven by the real client in processes of its own, since wandb keeps state in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import pytest

from tests.wandb_server import Run, WandbServer

KEY, OTHER = "k" * 40, "o" * 40
WANDB = str(Path(sys.executable).with_name("wandb"))

PREPARED = """
import json, os, wandb
def init(**given):
    settings = wandb.Settings(console="off", x_disable_stats=True, **given.pop("settings", {}))
    return wandb.init(project="jglue", settings=settings, **given)
def error_of(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__, str(error)
"""

WRITE = """
run = init(id="one", group="g", job_type="cell", tags=["a", "b"], notes="why", config={"shots": 3, "deep": {"er": 1}})
run.log({"acc": 0.25})
run.log({"acc": 0.5})
run.summary["page"] = wandb.Html("<b>x</b>")
run.summary["rows"] = wandb.Table(columns=["word", "right"], data=[["犬", True], ["猫", False]])
run.summary["gone"] = 1
run.config.update({"more": 2})
run.finish()

run = init(id="one", resume="allow", config={"later": 4})
told = {"resumed": [run.resumed, run.config["shots"], run.summary["gone"], run.starting_step, run.tags]}
run.log({"acc": 0.75})
del run.summary["gone"]
told["versions"] = []
for text in ("1", "2", "1"):
    answers = wandb.Artifact("answers", "dataset", metadata={"items": 2})
    for name, content in {"a/one.txt": text, "same.txt": "same"}.items():
        with answers.new_file(name) as file:
            file.write(content)
    run.log_artifact(answers).wait()
    told["versions"].append(answers.version)
run.use_artifact(answers)
run.use_artifact("lab/jglue/answers:v1")
run.finish(exit_code=3)

for rows in (3, 1):
    with init(id="again", entity="team") as run:
        for row in range(rows):
            run.log({"row": row})
print(json.dumps(told))
"""

OFFLINE = """
with init(id="off", mode="offline", group="far", config={"shots": 0}) as run:
    run.log({"acc": 1.0})
    run.summary["rows"] = wandb.Table(columns=["n"], data=[[7]])
"""

REPORT = """
import wandb_workspaces.reports.v2 as wr
report = wr.Report(project="shown", entity="lab", title="All cells", blocks=[wr.H1("Cells")])
report.save()
again = wr.Report.from_url(report.url)
again.title = "Changed"
again.blocks = [*again.blocks, wr.P("text")]
again.save()
print(json.dumps([view.display_name for view in wandb.Api().reports("lab/shown")]))
"""

READ = """
api = wandb.Api(api_key=os.environ["WANDB_API_KEY"], overrides={"base_url": os.environ["WANDB_BASE_URL"]})
def ids(**asked):
    return [run.id for run in api.runs("lab/many", per_page=20, **asked)]
run = api.run("lab/jglue/one")
artifact = api.artifact("lab/jglue/answers:latest")
folder = artifact.download(root="got")
job = api.job("lab/jobs/name:latest")
print(json.dumps({
    "viewer": [api.viewer.username, api.default_entity],
    "all": ids(),
    "newest": ids(order="-created_at")[:2],
    "best": ids(order="-summary_metrics.acc")[:2],
    "cells": ids(filters={"$and": [{"jobType": "cell"}, {"tags": {"$in": ["t0"]}}]}),
    "shots": ids(filters={"config.shots": {"$in": [5, 6]}, "group": "g"}),
    "run": [run.state, run.tags, run.config, run.summary["acc"], run.metadata["program"]],
    "history": [[row["_step"], row["acc"]] for row in run.history(pandas=False)],
    "scan": [row["acc"] for row in run.scan_history(keys=["acc"])],
    "logged": [artifact.name for artifact in run.logged_artifacts()],
    "used": [artifact.name for artifact in run.used_artifacts()],
    "file": run.file("wandb-summary.json").download(root="file").read(),
    "artifact": [artifact.version, artifact.metadata, artifact.logged_by().id, open("got/a/one.txt").read()],
    "job": job._job_info["source"]["entrypoint"],
    "errors": [
        error_of(lambda: api.run("lab/jglue/none")),
        error_of(lambda: api.artifact("lab/jglue/none:latest")),
        error_of(lambda: len(api.runs("lab/none")) + len(list(api.runs("lab/none")))),
    ],
}))
"""

FAULTS = """
with init(id="kept") as run:
    run.log({"acc": 0.5})
    data = wandb.Artifact("data", "dataset")
    with data.new_file("one.txt") as file:
        file.write("x")
    run.log_artifact(data).wait()
unknown_key = {"api_key": os.environ["OTHER"]}
print(json.dumps([error_of(lambda: init(entity="nobody")), error_of(lambda: init(settings=unknown_key))]))
"""

OUTAGE = """
with init(id="through") as run:
    print("running", flush=True)
    input()
    run.log({"acc": 0.5})
"""


@dataclass
class Client:
    """A process of its own, with a home of its own."""

    server: WandbServer
    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def command(self, *command: str) -> Self:
        """Start it."""
        self.home.mkdir(exist_ok=True)
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "WANDB_ERROR_REPORTING": "false", **self.env}
        env |= {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": self.server.url, "WANDB_SILENT": "true"}
        self.process = subprocess.Popen(
            command, cwd=self.home, env=env, text=True, stdin=-1, stdout=-1, stderr=subprocess.STDOUT
        )
        return self

    def code(self, code: str) -> Self:
        """Start Python code."""
        return self.command(sys.executable, "-W", "ignore", "-c", PREPARED + code)

    def said(self) -> Any:
        """Wait for its end; its last line as JSON, if it is."""
        try:
            text, _ = self.process.communicate("\n", timeout=60)
        except subprocess.TimeoutExpired:
            # The client would go on trying for hours.
            self.process.kill()
            raise
        assert self.process.returncode == 0, text
        last = text.strip().rpartition("\n")[2]
        return json.loads(last) if last.startswith(("[", "{")) else None


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What the writing processes said."""
    return {}


@pytest.fixture(scope="module")
def server(told: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    """A server to which every kind of thing was written, by clients that run side by side."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "code").mkdir()
    (folder / "code" / "x.py").write_text("print(1)")
    (folder / "code" / "requirements.txt").write_text("wandb\n")
    make_job = ("job", "create", "code", str(folder / "code"), "-p", "jobs", "-e", "lab", "-n", "name")
    with WandbServer(users={KEY: "lab"}, entities={"team"}) as server:
        clients = {name: Client(server, folder / name) for name in ("offline", "write", "report", "job")}
        clients["offline"].code(OFFLINE)
        clients["write"].code(WRITE)
        clients["report"].code(REPORT)
        clients["job"].command(WANDB, *make_job, "-E", "python x.py")
        clients["offline"].said()
        (run,) = (folder / "offline" / "wandb").glob("offline-run-*")
        clients["offline"].command(WANDB, "sync", str(run))
        told |= {name: client.said() for name, client in clients.items()}
        yield server


def test_a_run_arrives_and_is_resumed(server: WandbServer, told: dict[str, Any]) -> None:
    run = server.run("lab/jglue/one")
    assert told["write"]["resumed"] == [True, 3, 1, 2, ["a", "b"]]
    assert (run.group, run.job_type, run.tags, run.notes) == ("g", "cell", ["a", "b"], "why")
    assert run.config == {"shots": 3, "deep": {"er": 1}, "more": 2, "later": 4}
    assert [(row["_step"], row["acc"]) for row in run.history] == [(0, 0.25), (1, 0.5), (2, 0.75)]
    assert run.summary["acc"] == 0.75 and "gone" not in run.summary and "_wandb" not in run.summary
    assert server.table(run, "rows") == [{"word": "犬", "right": True}, {"word": "猫", "right": False}]
    assert b"<b>x</b>" in run.files[run.summary["page"]["path"]]
    assert (run.state, run.exit_code, run.keys) == ("failed", 3, {KEY})
    assert server.artifact("run-one-rows").type == "run_table"
    assert server.unknown == []


def test_a_run_that_is_not_resumed_is_written_anew(server: WandbServer) -> None:
    run = server.run("team/jglue/again")
    assert [row["row"] for row in run.history] == [0] and run.state == "finished"


def test_an_offline_run_arrives_like_another(server: WandbServer) -> None:
    run = server.run("lab/jglue/off")
    assert (run.group, run.config, run.state) == ("far", {"shots": 0}, "finished")
    assert [row["acc"] for row in run.history] == [1.0]
    assert server.table(run, "rows") == [{"n": 7}]


def test_an_artifact_gets_a_version_only_for_new_content(server: WandbServer, told: dict[str, Any]) -> None:
    assert told["write"]["versions"] == ["v0", "v1", "v0"]
    first, second = server.artifact("answers", "v0"), server.artifact("lab/jglue/answers", "v1")
    assert (first.aliases, second.aliases) == (["latest"], [])
    assert first.files == {"a/one.txt": b"1", "same.txt": b"same"} and second.files["a/one.txt"] == b"2"
    assert (first.type, first.metadata, first.run, first.state) == ("dataset", {"items": 2}, "one", "COMMITTED")
    assert server.run("one").used == [first.id, second.id]


def test_a_report_is_saved_and_changed(server: WandbServer, told: dict[str, Any]) -> None:
    (view,) = server.views
    assert (view["entity"], view["project"], view["displayName"], view["type"]) == ("lab", "shown", "Changed", "runs")
    assert [block["type"] for block in view["spec"]["blocks"] if block.get("children") != [{"text": ""}]] == [
        "heading",
        "paragraph",
    ]
    assert told["report"] == ["Changed"]


def test_the_public_interface_reads_what_was_sent(server: WandbServer, tmp_path: Path) -> None:
    for n in range(70):
        kind = {"group": "g", "job_type": ("all", "cell")[n % 2], "tags": [f"t{n % 3}"]}
        values = {"raw_config": {"shots": {"value": n % 10}}, "raw_summary": {"acc": n / 70}}
        server.add_run(Run("lab", "many", f"r{n:02}", **kind, **values))  # type: ignore[arg-type]
    read = Client(server, tmp_path / "read").code(READ).said()
    assert read["viewer"] == ["lab", "lab"]
    assert read["all"] == [f"r{n:02}" for n in range(70)]
    assert read["newest"] == read["best"] == ["r69", "r68"]
    assert read["cells"] == [f"r{n:02}" for n in range(3, 70, 6)]
    assert read["shots"] == [f"r{n:02}" for n in range(70) if n % 10 in (5, 6)]
    run = server.run("lab/jglue/one")
    assert read["run"] == ["failed", ["a", "b"], run.config, 0.75, "<python with no main file>"]
    assert read["history"] == [[0, 0.25], [1, 0.5], [2, 0.75]] and read["scan"] == [0.25, 0.5, 0.75]
    assert read["logged"] == ["run-one-rows:v0", "answers:v0", "answers:v1"]
    assert read["used"] == ["answers:v0", "answers:v1"]
    assert json.loads(read["file"])["acc"] == 0.75
    assert read["artifact"] == ["v0", {"items": 2}, "one", "1"]
    assert read["job"] == ["python", "x.py"]
    assert read["errors"] == [
        ["CommError", "Could not find run <Run lab/jglue/none (not found)>"],
        ["CommError", "artifact membership 'none:latest' not found in 'lab/jglue'"],
        ["ValueError", "Could not find project none"],
    ]
    assert server.unknown == []


def test_faults_that_pass_are_overcome_and_others_are_told(tmp_path: Path) -> None:
    with WandbServer(users={KEY: "lab"}, entities=set()) as server, WandbServer() as open_server:
        outage = Client(open_server, tmp_path / "outage").code(OUTAGE)
        server.fail("UpsertBucket", 500)
        server.fail("POST .*/file_stream", 429, times=2, headers={"Retry-After": "0"})
        server.fail("PUT /blobs", 503, headers={"Retry-After": "0"})
        server.fail("CommitArtifact", 429, headers={"Retry-After": "0"})
        server.slow("CreateRunFiles", 0.2)
        faults = Client(server, tmp_path / "faults", {"OTHER": OTHER}).code(FAULTS)

        assert outage.process.stdout is not None and outage.process.stdout.readline() == "running\n"
        open_server.down()
        assert outage.process.stdin is not None
        outage.process.stdin.write("\n")
        outage.process.stdin.flush()
        time.sleep(1)
        open_server.up()
        outage.said()
        assert [row["acc"] for row in open_server.run("through").history] == [0.5]
        assert open_server.run("through").state == "finished" and open_server.unknown == []

        assert faults.said() == [
            ["CommError", "entity nobody not found during upsertBucket"],
            ["CommError", "user is not logged in"],
        ]
        assert [row["acc"] for row in server.run("kept").history] == [0.5]
        assert server.artifact("data").files == {"one.txt": b"x"}
        assert sorted(seen.status for seen in server.requests if seen.status != 200) == [
            401,
            404,
            429,
            429,
            429,
            500,
            503,
        ]
        assert server.unknown == []


def test_what_is_not_understood_is_noted() -> None:
    with WandbServer() as server:
        body = json.dumps({"query": "query Strange { strange }"}).encode()
        with pytest.raises(HTTPError, match="400"):
            urlopen(HttpRequest(f"{server.url}/graphql", body, {"Authorization": "Basic YXBpOms="}))
        assert len(server.unknown) == 1 and server.unknown[0].startswith("Strange ")
        assert [(seen.path, seen.key) for seen in server.requests] == [("graphql:Strange", "k")]
