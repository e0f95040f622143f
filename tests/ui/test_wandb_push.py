"""Sending runs to W&B from the page, in a real browser, to a loopback server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.ui.conftest import OpenPage, Tables, serve
from tests.ui.driving import choose, choose_model, finished, generate_only, only_subsets, said, start, tab
from tests.wandb_server import WandbServer

OWN, VISITORS = "o" * 40, "v" * 40


@pytest.fixture
def wandb() -> Iterator[WandbServer]:
    with WandbServer() as server:
        server.users = {OWN: "operator", VISITORS: "visitor"}
        yield server


@contextmanager
def page_of(runs: Path, wandb: WandbServer, **more: str) -> Iterator[str]:
    with serve(runs, {"WANDB_BASE_URL": wandb.url, **more}) as address:
        yield address


def type_key(page: Page, key: str, tab_name: str) -> None:
    page.fill(f"#{tab_name}-wandb-key input", key)


def test_a_full_run_is_sent_with_the_key_in_the_box_which_is_kept_nowhere(
    open_page: OpenPage, table: Tables, tmp_path: Path, wandb: WandbServer
) -> None:
    runs = tmp_path / "runs"
    with page_of(runs, wandb) as address:
        page = open_page(address=address)
        tab(page, "全量実行")
        assert not page.locator("#full-wandb").is_visible()
        page.locator("#full-data label").first.click()
        choose_model(page, "full-model", table("whole", "含意", 0.0))
        only_subsets(page, "JNLI", group="full-tasks")
        generate_only(page, "full-method")
        page.click("#full-run")
        finished(page, box="full-status")
        page.wait_for_selector("#full-wandb", state="visible")
        page.click("#full-wandb-go")
        said(page, "のキーがサーバーにありません", "full-wandb-status")
        type_key(page, "not-a-key", "full")
        page.click("#full-wandb-go")
        said(page, "W&B のキーではないようです", "full-wandb-status")
        type_key(page, "w" * 40, "full")
        page.click("#full-wandb-go")
        said(page, "W&B がこのキーを受け付けません", "full-wandb-status")
        assert wandb.runs == {}
        page.fill("#full-wandb-project input, #full-wandb-project textarea", "from-page")
        type_key(page, VISITORS, "full")
        page.click("#full-wandb-go")
        said(page, "W&B に届きました", "full-wandb-status")
        (run,) = wandb.runs.values()
        assert (run.entity, run.project, run.state) == ("visitor", "from-page", "finished")
        assert run.keys == {VISITORS}
        assert len(wandb.table(run, "predictions/jnli")) == 45
        link = page.locator("#full-wandb-status a").first
        assert link.get_attribute("href") == f"{wandb.url}/visitor/from-page/runs/{run.id}"
        assert page.locator("#full-wandb-key input").input_value() == ""
        kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        assert VISITORS not in kept
        assert VISITORS not in page.content()
        # Nor does the next push find it.
        page.click("#full-wandb-go")
        said(page, "のキーがサーバーにありません", "full-wandb-status")
    assert VISITORS not in "".join(path.read_text("utf-8") for path in runs.glob("*/*") if path.is_file())
    assert wandb.unknown == []


def test_two_runs_and_their_comparison_are_sent_with_the_servers_own_key(
    open_page: OpenPage, table: Tables, tmp_path: Path, wandb: WandbServer
) -> None:
    with page_of(tmp_path / "runs", wandb, WANDB_API_KEY=OWN, WANDB_PROJECT="ours") as address:
        page = open_page(address=address)
        start(page, table("left", "含意", 0.0), table("right", "中立", 0.0), "JNLI")
        finished(page)
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        choose(page, "pick-a", "left.jsonl")
        choose(page, "pick-b", "right.jsonl")
        page.locator("#results-wandb-what label").nth(1).click()
        page.click("#results-wandb-go")
        said(page, "W&B に届きました", "results-wandb-status")
        assert page.locator("#results-wandb-status a").count() == 3
    runs = list(wandb.runs.values())
    assert {(run.entity, run.project) for run in runs} == {("operator", "ours")}
    assert len({run.group for run in runs}) == 1
    (joined,) = [run for run in runs if run.job_type == "comparison"]
    assert (joined.config["a"]["label"][:4], joined.config["b"]["label"][:5]) == ("left", "right")
    rows = wandb.table(joined, "comparison/jnli")
    assert {(row["a_raw"], row["b_raw"]) for row in rows} == {("含意", "中立")}


def test_a_visitor_has_the_operators_key_only_where_it_is_lent_and_only_for_the_operators_project(
    open_page: OpenPage, tmp_path: Path, wandb: WandbServer
) -> None:
    operator = {"JGLUE_MODE": "public", "WANDB_API_KEY": OWN, "WANDB_PROJECT": "space"}
    with page_of(tmp_path / "closed", wandb, **operator) as address:
        page = open_page(address=address)
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        assert "サーバーのキー" not in page.inner_text("#results-wandb-key")
        page.click("#results-wandb-go")
        said(page, "API キーが空です", "results-wandb-status")
        assert wandb.requests == []
    with page_of(tmp_path / "lent", wandb, **operator, JGLUE_SHARE_WANDB_KEY="1") as address:
        page = open_page(address=address)
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        page.fill("#results-wandb-project input, #results-wandb-project textarea", "elsewhere")
        page.click("#results-wandb-go")
        said(page, "運営者が決めたプロジェクトだけ", "results-wandb-status")
        assert wandb.requests == []
        page.fill("#results-wandb-project input, #results-wandb-project textarea", "")
        page.click("#results-wandb-go")
        said(page, "W&B に届きました", "results-wandb-status")
    assert {(run.entity, run.project) for run in wandb.runs.values()} == {("operator", "space")}


def test_a_push_is_stopped_and_the_next_one_completes_it(
    open_page: OpenPage, tmp_path: Path, wandb: WandbServer
) -> None:
    with page_of(tmp_path / "runs", wandb, WANDB_API_KEY=OWN) as address:
        page = open_page(address=address)
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        wandb.slow("graphql:CreateArtifact", 30)
        page.click("#results-wandb-go")
        said(page, "W&B へ送っています", "results-wandb-status")
        page.wait_for_timeout(1_500)
        page.click("#results-wandb-stop")
        said(page, "送信を止めました", "results-wandb-status")
        wandb.slow("graphql:CreateArtifact", 0)
        page.click("#results-wandb-go")
        said(page, "W&B に届きました", "results-wandb-status")
    (run,) = wandb.runs.values()
    assert run.summary["push/state"] == "complete"
