"""Sending runs to W&B from the page, in a real browser, to a loopback server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page

from jglue_app.errors import InputError
from jglue_app.settings import Settings
from jglue_app.ui import wandb_push
from jglue_app.ui.jobs import Job
from jglue_app.ui.push_places import PushPlaces
from jglue_app.ui.state import AppState
from jglue_app.ui.wandb_push import Selection, login_for
from jglue_app.wandb_sink import PushResult
from tests.ui.conftest import OpenPage, Tables, serve
from tests.ui.driving import choose, choose_model, finished, generate_only, only_subsets, said, start, tab
from tests.wandb_server import WandbServer
from tests.wandb_sink.known import until

OWN, VISITORS = "o" * 40, "v" * 40
PROJECT = "ours"


@pytest.fixture(scope="module")
def wandb() -> Iterator[WandbServer]:
    with WandbServer() as server:
        server.users = {OWN: "operator", VISITORS: "visitor"}
        yield server


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pushed")


@pytest.fixture(scope="module")
def local(runs: Path, wandb: WandbServer) -> Iterator[str]:
    """A page of somebody who has a key of their own."""
    with serve(runs, {"WANDB_BASE_URL": wandb.url, "WANDB_API_KEY": OWN, "WANDB_PROJECT": PROJECT}) as address:
        yield address


def type_in(page: Page, box: str, text: str) -> None:
    page.fill(f"#{box} input, #{box} textarea", text)


def sent(page: Page, text: str, box: str) -> None:
    """Wait until a push has ended well and says so: some seconds for each run that is sent, many on a busy machine."""
    said(page, text, box, seconds=180)


def results(page: Page) -> None:
    tab(page, "結果")
    page.wait_for_selector("#leaderboard .jg-ranking")


@pytest.mark.slow
def test_a_full_run_is_sent_with_the_key_in_the_box_which_is_kept_nowhere(
    open_page: OpenPage, table: Tables, local: str, runs: Path, wandb: WandbServer
) -> None:
    before = set(wandb.runs)
    page = open_page(address=local)
    tab(page, "全問実行")
    assert not page.locator("#full-wandb").is_visible()
    page.locator("#full-data label").first.click()
    choose_model(page, "full-model", table("whole", "含意", 0.0))
    only_subsets(page, "JNLI", group="full-tasks")
    generate_only(page, "full-method")
    page.click("#full-run")
    finished(page, box="full-status")
    page.wait_for_selector("#full-wandb", state="visible")
    type_in(page, "full-wandb-key", "not-a-key")
    page.click("#full-wandb-go")
    said(page, "W&B のキーではないようです", "full-wandb-status")
    type_in(page, "full-wandb-key", "w" * 40)
    page.click("#full-wandb-go")
    said(page, "W&B がこのキーを受け付けません", "full-wandb-status")
    assert set(wandb.runs) == before
    type_in(page, "full-wandb-project", "from-page")
    type_in(page, "full-wandb-key", VISITORS)
    page.click("#full-wandb-go")
    sent(page, "W&B に届きました", "full-wandb-status")
    (run,) = (run for name, run in wandb.runs.items() if name not in before)
    assert (run.project, run.state, run.keys) == ("from-page", "finished", {VISITORS})
    assert run.entity == "visitor"
    assert len(wandb.table(run, "predictions/jnli")) == 45
    link = page.locator("#full-wandb-status a").first
    assert link.get_attribute("href") == f"{wandb.url}/visitor/from-page/runs/{run.id}"
    assert page.locator("#full-wandb-key input").input_value() == ""
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert VISITORS not in kept + page.content()
    assert VISITORS not in "".join(path.read_text("utf-8") for path in runs.glob("*/*") if path.is_file())
    # What the box held once is not used again: the next push is the server's own.
    page.click("#full-wandb-go")
    sent(page, f"operator/from-page/{run.id}", "full-wandb-status")
    assert wandb.run(f"operator/from-page/{run.id}").keys == {OWN}


@pytest.mark.slow
def test_a_full_run_is_sent_when_it_is_done(open_page: OpenPage, table: Tables, local: str, wandb: WandbServer) -> None:
    page = open_page(address=local)
    tab(page, "全問実行")
    page.locator("#full-data label").first.click()
    choose_model(page, "full-model", table("left-alone", "中立", 0.0))
    only_subsets(page, "JNLI", group="full-tasks")
    generate_only(page, "full-method")
    assert PROJECT in page.inner_text("#full-wandb-when-done")
    page.locator("#full-wandb-when-done input").check()
    page.click("#full-run")
    finished(page, box="full-status")
    sent(page, f"operator/{PROJECT}/", "full-wandb-status")
    run = next(run for run in wandb.runs.values() if run.display_name.startswith("left-alone"))
    assert (run.summary["push/state"], run.summary["push/items"]) == ("complete", 45)


@pytest.mark.slow
def test_two_runs_and_their_comparison_are_sent_with_the_servers_own_key(
    open_page: OpenPage, table: Tables, local: str, wandb: WandbServer
) -> None:
    page = open_page(address=local)
    start(page, table("left", "含意", 0.0), table("right", "中立", 0.0), "JNLI")
    finished(page)
    results(page)
    choose(page, "pick-a", "left.jsonl")
    choose(page, "pick-b", "right.jsonl")
    page.locator("#results-wandb-what label").nth(1).click()
    page.click("#results-wandb-go")
    sent(page, "W&B に届きました", "results-wandb-status")
    assert page.locator("#results-wandb-status a").count() == 3
    shown = page.inner_text("#results-wandb-status")
    assert "A left.jsonl" in shown
    assert "B right.jsonl" in shown
    assert "送っています" not in shown
    joined = next(run for run in wandb.runs.values() if run.job_type == "comparison")
    assert (joined.entity, joined.project) == ("operator", PROJECT)
    assert [joined.config[side]["label"].split(".")[0] for side in "ab"] == ["left", "right"]
    both = [wandb.run(f"operator/{PROJECT}/{joined.config[side]['run_id']}") for side in "ab"]
    assert {run.group for run in both} == {joined.group} == {joined.id}
    rows = wandb.table(joined, "comparison/jnli")
    assert len(rows) == 5
    assert {(row["a_raw"], row["b_raw"]) for row in rows} == {("含意", "中立")}
    assert wandb.unknown == []


@pytest.mark.slow
def test_a_push_is_stopped_and_the_next_one_completes_it(open_page: OpenPage, local: str, wandb: WandbServer) -> None:
    page = open_page(address=local)
    results(page)
    choose(page, "manage-run", "gemma-3-270m · plain · 日本語ラベル · 例題 3 個")
    wandb.slow("graphql:CreateArtifact$", 30)
    page.click("#results-wandb-go")
    said(page, "W&B へ送っています", "results-wandb-status")
    until(lambda: any(request.path == "graphql:CreateArtifact" for request in wandb.requests), "half of the push")
    page.click("#results-wandb-stop")
    said(page, "送信を止めました", "results-wandb-status")
    wandb.slow("graphql:CreateArtifact$", 0)
    page.wait_for_timeout(500)  # A button whose last event is only just ending takes no click.
    page.click("#results-wandb-go")
    sent(page, "W&B に届きました", "results-wandb-status")
    run = next(run for run in wandb.runs.values() if run.display_name.startswith("gemma"))
    assert run.summary["push/state"] == "complete"
    assert len(wandb.table(run, "predictions/marc_ja")) == 44


@pytest.mark.slow
def test_visitors_use_the_lent_key_for_the_operators_project_alone(
    open_page: OpenPage, tmp_path: Path, wandb: WandbServer
) -> None:
    lent = {"JGLUE_MODE": "public", "JGLUE_SHARE_WANDB_KEY": "1", "WANDB_API_KEY": OWN, "WANDB_PROJECT": "space"}
    with serve(tmp_path / "lent", {"WANDB_BASE_URL": wandb.url, **lent}) as address:
        page = open_page(address=address)
        results(page)
        type_in(page, "results-wandb-project", "elsewhere")
        page.click("#results-wandb-go")
        said(page, "運営者が決めたプロジェクトだけ", "results-wandb-status")
        type_in(page, "results-wandb-project", "")
        page.click("#results-wandb-go")
        sent(page, "operator/space/", "results-wandb-status")
    assert not [path for path in wandb.runs if "elsewhere" in path]


# --- how long, without a browser ---


def test_a_push_whose_turn_does_not_come_has_failed_and_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = AppState(replace(settings, public=True), "cpu")
    places = PushPlaces(1, max_seconds=0.5)
    monkeypatch.setattr(wandb_push, "_places", places)
    with places._slots:
        job = wandb_push.start_push(state, "visitor", Selection("shipped:base-3-shot"), project="theirs", key=VISITORS)
        assert job.ended.wait(30)
    state._scratch.cleanup()
    assert (job.state, job.result) == ("failed", None)
    assert "順番が来ませんでした" in wandb_push.push_html(job, "ja")
    assert "Nothing was sent" in wandb_push.push_html(job, "en")


# --- offline copies, without a browser ---


def test_an_offline_copy_is_shown_with_the_command_that_sends_it(settings: Settings) -> None:
    job = Job("one", "visitor", wandb_push.KIND)
    job.result = [
        PushResult("jglue-1", "jglue/jglue-1", "", {"predictions/jnli": 3}, 5, "/a copy/offline-run-1", "one")
    ]
    shown = wandb_push.push_html(job, "ja")
    assert "wandb sync &#39;/a copy/offline-run-1&#39;" in shown and "コピーをこのマシンに作りました" in shown
    assert "W&amp;B に届きました" not in shown


def test_a_public_server_writes_no_copy_that_its_visitors_could_not_reach(settings: Settings) -> None:
    state = AppState(replace(settings, public=True), "cpu")
    with pytest.raises(InputError, match=r"Export the run as \.zip instead"):
        wandb_push.start_offline(state, "visitor", Selection("shipped:base-3-shot"))
    state._scratch.cleanup()


BUILD = """
from jglue_app.settings import load_settings
from jglue_app.ui.page import browser_words, build
print(*[block.value for block in build(load_settings(), browser_words()).blocks.values() if hasattr(block, "value")])
"""


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("WANDB_PROJECT", "my project", "→ https://api.wandb.ai"),
        pytest.param(
            "WANDB_BASE_URL",
            "wandb.example.org",
            "WANDB_BASE_URL takes the address of a W&B server",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_environment_that_is_set_for_something_else_keeps_nobody_from_the_page(
    tmp_path: Path, name: str, value: str, shown: str
) -> None:
    # In a process of its own: gradio leaves event loops open.
    env = {**os.environ, "JGLUE_RUNS_DIR": str(tmp_path), "WANDB_API_KEY": OWN, name: value}
    told = subprocess.run([sys.executable, "-c", BUILD], env=env, capture_output=True, text=True, check=True)
    assert shown in told.stdout


# --- whose key, without a browser -------------------------------------------------------------------------


@pytest.mark.parametrize("public", [False, True])
def test_a_key_of_ones_own_goes_to_any_project(
    settings: Settings, public: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", OWN)
    monkeypatch.setenv("WANDB_ENTITY", "operator")
    login = login_for(replace(settings, public=public), "mine", "", f" {VISITORS} ")
    assert login.key == VISITORS
    # What the operator's environment names is nothing to a stranger with another key.
    assert login.target.path == ("mine" if public else "operator/mine")


def test_a_stranger_without_a_key_is_refused_unless_the_operator_lends_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", OWN)
    closed = replace(settings, public=True)
    with pytest.raises(InputError, match="The W&B key is empty"):
        login_for(closed, "", "", "  ")
    lent = replace(closed, share_wandb_key=True)
    assert login_for(lent, "", "", "").key == OWN
    for project, entity in (("theirs", ""), ("", "theirs")):
        with pytest.raises(InputError, match="the project that its operator chose"):
            login_for(lent, project, entity, "")
    assert OWN not in repr(login_for(lent, "", "", ""))
