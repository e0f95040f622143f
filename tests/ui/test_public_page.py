"""A public server in a real browser: its limits are sentences, said before they are met."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.ui.conftest import ROOT, OpenPage, free_port, serve
from tests.ui.driving import choose_model, open_own, open_settings, said, set_number, tab


@pytest.fixture(scope="module")
def public_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(tmp_path_factory.mktemp("public"), {"JGLUE_MODE": "public"}) as address:
        yield address


@pytest.fixture(scope="module")
def stranger(browser: Browser, public_server: str) -> Iterator[Page]:
    """One page of one visitor, for all tests that leave nothing behind for the next one."""
    context = browser.new_context(locale="ja-JP", viewport={"width": 1300, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(public_server)
    page.wait_for_selector("#board .jg-board-wrap")
    yield page
    context.close()


def test_the_limits_are_one_line_beside_the_button(open_page: OpenPage, stranger: Page, public_server: str) -> None:
    open_own(stranger)
    said(stranger, "公開サーバー：16 モデル、各サブセット 50 問まで、1 回 10 分まで", "limits")
    stranger.click("#limits summary")
    said(stranger, "一人が同時に実行できるのは一つです", "limits")
    english = open_page(address=public_server, locale="en-US")
    open_own(english)
    said(english, "Public server: 16 models, up to 50 items of a subset, 10 minutes a run", "limits")


def test_programs_that_ask_without_a_session_are_strangers_to_each_other(public_server: str) -> None:
    api = f"{public_server}/gradio_api"
    info = httpx.get(f"{api}/info", timeout=60).json()["named_endpoints"]
    some = {"tasks": ["jnli"], "data": "sample", "limit": 1, "method": "generate"}
    wanted = [some.get(p["parameter_name"], p.get("parameter_default")) for p in info["/compare_models"]["parameters"]]
    # A direct call would go on when its program has left, and nobody could stop it.
    direct = httpx.post(f"{api}/run/compare_models", json={"data": wanted}, timeout=60)
    assert (direct.status_code, "goes by the queue alone" in direct.json()["error"]) == (403, True)
    for _ in range(2):
        # The second is not told that "a run of yours" is going on, and neither sees the other's.
        event = httpx.post(f"{api}/call/compare_models", json={"data": wanted}, timeout=60).json()["event_id"]
        with httpx.stream("GET", f"{api}/call/compare_models/{event}", timeout=120) as answer:
            assert "event: complete" in answer.read().decode()
    listed = httpx.post(f"{api}/run/runs", json={"data": []}, timeout=60).json()["data"][0]
    assert not [row for row in listed if "gemma" in str(row) and "shipped:" not in str(row)]


def test_a_typed_model_is_not_taken(stranger: Page) -> None:
    page = stranger
    tab(page, "比べる")
    open_settings(page)
    assert "一覧のモデルだけ" in page.inner_text("#a-model")
    choose_model(page, "a-model", "somebody/else")
    said(page, "モデル「somebody/else」はありません", "a-model")
    page.click("#run")
    said(page, "モデル「somebody/else」はありません", "run-says")
    choose_model(page, "a-model", "gemma-3-270m")
    page.wait_for_function("!document.querySelector('#a-model .jg-beside-fault')")
    assert not page.locator("#allow-bin").is_visible()


def test_too_many_items_are_refused_with_the_number_that_is_allowed(stranger: Page) -> None:
    page = stranger
    tab(page, "比べる")
    open_settings(page)
    set_number(page, "limit", "51")
    page.click("#run")
    said(page, "1 から 50 まで", "run-says")


def test_a_full_run_is_not_offered_and_the_command_is(stranger: Page) -> None:
    page = stranger
    tab(page, "全問実行")
    said(page, "公開サーバーでは全問実行はできません", "full-public")
    assert page.locator("#full-run").is_disabled()
    assert page.inner_text("#full-repeat .jg-command").startswith("python -m jglue_app run")


def test_only_the_runs_that_came_with_the_application_are_listed_to_a_stranger(stranger: Page) -> None:
    page = stranger
    tab(page, "結果")
    page.wait_for_selector("#leaderboard .jg-ranking")
    assert page.locator("#leaderboard tr[data-run]").count() == 6
    assert not page.locator("#delete").is_visible()
    assert not page.locator("#import").is_visible()


def test_a_link_to_a_model_that_is_not_listed_is_a_sentence(
    open_page: OpenPage, public_server: str, tmp_path: Path
) -> None:
    page = open_page(address=public_server + f"/?a={tmp_path}/x.gguf&tasks=jnli")
    said(page, "x.gguf」はありません")
    open_own(page)
    assert "gemma-3-270m" in page.inner_text("#setup")
    assert "x.gguf" not in page.inner_text("#setup")


def test_a_public_server_has_no_mcp_tools_as_all_their_callers_would_be_one_visitor(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "jglue_app", "serve", "--mcp", "--port", str(free_port()), "--runs-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"JGLUE_MODE": "public"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 2
    assert "without --mcp" in told.stderr
