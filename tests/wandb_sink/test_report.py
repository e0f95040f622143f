"""The W&B Report of a project: what is saved, as the server has it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jglue_app import wandb_sink
from jglue_app.errors import DeviceError
from jglue_app.messages import say
from jglue_app.wandb_sink import Login, Standings, Target
from jglue_app.wandb_sink.payload import COMPARISON, EVALUATION
from tests.wandb_server import Run, WandbServer

KEY = "r" * 40
TASKS = ["jnli", "jsts"]


def evaluated(name: str, label: str, jnli: float, jsts: float, **more: Any) -> Run:
    """A W&B run as a push leaves it, of two subsets under two protocols."""
    summary: dict[str, Any] = {"push/state": "complete", "push/format": 1, "push/protocol": "official"}
    for key, value in (("official/jnli/accuracy", jnli), ("official/jsts/pearson", jsts)):
        at = f"protocols/{key}"
        summary |= {at: value, f"{at}/low": value - 0.1, f"{at}/high": value + 0.1, f"{at}/n": 50}
    config = {"data_kind": "sample", "jglue": {"spec_id": name}}
    found = Run("team", "jglue", f"jglue-{name}", display_name=label, job_type=EVALUATION, state="finished")
    found.raw_config = {key: {"value": value} for key, value in (config | more.pop("config", {})).items()}
    found.raw_summary = summary | more.pop("summary", {})
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    with WandbServer() as found:
        found.add_run(evaluated("aaa", "model | [a]", 0.5, 0.25))
        found.add_run(evaluated("bbb", "model b", 0.75, 0.5))
        found.add_run(evaluated("ccc", "other data", 0.9, 0.9, config={"data_kind": "official"}))
        found.add_run(evaluated("ddd", "half pushed", 0.9, 0.9, summary={"push/state": "sending"}))
        joined = evaluated("eee", "a comparison", 0.9, 0.9)
        joined.job_type = COMPARISON
        found.add_run(joined)
        yield found


@pytest.fixture(scope="module")
def login(server: WandbServer) -> Login:
    return Login(Target("team", "jglue", server.url), KEY)


@pytest.fixture(scope="module")
def standings(login: Login) -> Standings:
    return wandb_sink.standings(login)


@pytest.fixture(scope="module")
def saved(login: Login, standings: Standings) -> dict[str, Any]:
    return wandb_sink.save_report(login, standings, "official", "sample", TASKS)


def test_only_completed_evaluations_over_the_same_data_are_ranked(standings: Standings) -> None:
    assert standings.left_out == 1
    entries = standings.ranked("official", "official", "sample", TASKS)
    assert [(entry.label, entry.rank) for entry in entries] == [("model b", 1), ("model | [a]", 2)]
    assert [entry.average.value for entry in entries] == [0.625, 0.375]
    assert [entry.label for entry in standings.ranked("official", "official", "official", TASKS)] == ["other data"]


def test_the_report_holds_the_ranking_bars_failures_and_a_comparer(server: WandbServer, saved: dict[str, Any]) -> None:
    (view,) = server.views
    assert (view["entity"], view["project"], view["type"]) == ("team", "jglue", "runs")
    assert saved["url"].startswith(f"{server.url}/team/jglue/reports/")
    blocks = {block["type"]: block for block in view["spec"]["blocks"]}
    lines = blocks["markdown-block"]["content"].split("\n")
    assert lines[0] == "| rank | run | average | JNLI | JSTS |"
    assert lines[2].startswith(f"| 1 | [model b]({server.url}/team/jglue/runs/jglue-bbb) | 0.625 (")
    assert lines[2].endswith("| 0.750 (0.650 – 0.850) | 0.500 (0.400 – 0.600) |")
    # What would end a cell or a link is written so that it does not.
    assert lines[3].startswith("| 2 | [model \\| \\[a\\]](")
    panels = [
        panel
        for block in view["spec"]["blocks"]
        if block["type"] == "panel-grid"
        for panel in block["metadata"]["panelBankSectionConfig"]["panels"]
    ]
    kinds = [panel["viewType"] for panel in panels]
    assert kinds.count("Bar Chart") == 4
    assert kinds.count("Run Comparer") == 1
    metrics = [metric for panel in panels for metric in panel["config"].get("metrics", [])]
    assert "summary_metrics.protocols/official/jnli/accuracy" in metrics
    assert "summary_metrics.outcomes/jsts/wrong_form" in metrics
    shown = json.dumps([panel for panel in panels if panel["viewType"] == "Weave"])
    assert "predictions/jnli" in shown


def test_what_was_saved_is_listed_for_people(saved: dict[str, Any]) -> None:
    found = [block["block"] for block in saved["blocks"]]
    assert found == ["P", "H2", "MarkdownBlock", "H2", "PanelGrid", "H2", "P", *["PanelGrid", "H2"] * 2, "PanelGrid"]
    assert [panel["title"] for panel in saved["blocks"][4]["panels"]] == ["JNLI", "JSTS"]


def test_a_report_of_the_same_title_is_replaced_and_another_stays(
    server: WandbServer, login: Login, standings: Standings, saved: dict[str, Any]
) -> None:
    again = wandb_sink.save_report(login, standings, "official", "sample", ["jnli"])
    assert again["url"] == saved["url"]
    assert len(server.views) == 1
    assert "JSTS" not in json.dumps(server.views[0]["spec"])
    other = wandb_sink.save_report(login, standings, "official", "official", TASKS)
    assert other["url"] != saved["url"]
    assert len(server.views) == 2
    assert server.unknown == []


def test_what_people_edit_in_a_report_stays_and_is_told(
    server: WandbServer, login: Login, standings: Standings, saved: dict[str, Any]
) -> None:
    title = saved["title"]
    view = next(view for view in server.views if view["displayName"] == title)
    view |= {"description": "Read this first.", "name": "kept"}
    spec = view["spec"]
    spec |= {"discussionThreads": [{"id": "t1"}], "width": "fixed"}
    blocks = spec["blocks"]
    at = next(at for at, block in enumerate(blocks) if block["type"] == "markdown-block")
    blocks[at]["content"] += "\n\nmodel b is ours."
    blocks.insert(at, {"type": "a block of next year", "children": [{"text": "花子"}], "metadata": {"x": None}})
    comparer = next(at for at, block in enumerate(blocks) if "Run Comparer" in json.dumps(block))
    del blocks[comparer]
    told: list[str] = []
    again = wandb_sink.save_report(login, standings, "official", "sample", TASKS, told.append)
    assert again["url"] == saved["url"]
    assert again["people"] == {"kept": 2, "edited": ["leaderboard"], "removed": ["comparer"]}
    assert [say(text, "ja")[:14] for text in told] == ["レポートのうち、このアプリが"] * 2
    view = next(view for view in server.views if view["displayName"] == title)
    assert (view["description"], view["name"]) == ("Read this first.", "kept")
    assert (view["spec"]["width"], view["spec"]["discussionThreads"]) == ("fixed", [{"id": "t1"}])
    kinds = [block["type"] for block in view["spec"]["blocks"]]
    assert kinds[at - 1 : at + 3] == ["heading", "a block of next year", "markdown-block", "markdown-block"]
    new, theirs = (view["spec"]["blocks"][at + offset]["content"] for offset in (1, 2))
    assert theirs.endswith("model b is ours.") and "model b is ours." not in new and "| JSTS |" in new
    assert view["spec"]["blocks"][at]["metadata"] == {"x": None}
    assert "Run Comparer" not in json.dumps(view["spec"])
    assert server.unknown == []


def test_without_the_package_a_sentence_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "wandb_workspaces.py").write_text("raise ImportError('not here')", "utf-8")
    script = (
        "from jglue_app.wandb_sink.client import report\n"
        "try: report.save({'entity': 'e', 'project': 'p'}, print, iter(()))\n"
        "except Exception as e: print(type(e).__name__, e)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert found.stdout.startswith(DeviceError.__name__)
    assert "pip install wandb-workspaces" in found.stdout
