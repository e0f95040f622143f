"""The page in a real browser, with tables of answers and with the embedded model."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser, Page

from tests.ui.conftest import OpenPage, Tables, serve

PAYLOADS = (
    "<img src=x onerror=\"window.__ran='img'\">",
    "<script>window.__ran='script'</script>",
    "${window.__ran='template'}",
    "{{{this}}}<svg onload=\"window.__ran='svg'\">",
    "[x](javascript:window.__ran='link') </pre><iframe srcdoc=\"<script>parent.__ran='frame'</script>\">",
)


def choose_model(page: Page, side: str, model: Path | str) -> None:
    box = page.locator(f"#{side}-model input")
    box.fill(str(model))
    box.press("Enter")


def only_subsets(page: Page, *titles: str) -> None:
    for label in page.locator("#tasks label").all():
        wanted = label.inner_text().strip() in titles
        if label.locator("input").is_checked() != wanted:
            label.click()


def generate_only(page: Page) -> None:
    page.locator("#method label").first.click()


def start(page: Page, a: Path, b: Path, *subsets: str) -> None:
    choose_model(page, "a", a)
    choose_model(page, "b", b)
    only_subsets(page, *subsets)
    generate_only(page)
    page.click("#run")


def finished(page: Page) -> None:
    page.wait_for_function("document.querySelector('#status').innerText.includes('終わりました')")


@pytest.mark.parametrize(("locale", "button"), [("ja-JP", "くらべる"), ("en-US", "Compare")])
def test_a_first_visit_is_in_the_language_of_the_browser_and_asks_no_other_host(
    browser: Browser, server: str, locale: str, button: str
) -> None:
    context = browser.new_context(locale=locale)
    page = context.new_page()
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlparse(request.url).netloc))
    page.goto(server)
    page.wait_for_selector("#board .jg-empty")
    assert page.inner_text("#run") == button
    assert button in page.inner_text("#board")
    page.wait_for_timeout(2_000)
    assert hosts - {""} == {urlparse(server).netloc}
    context.close()


def test_a_comparison_shows_scores_rows_and_the_item_behind_a_row(open_page: OpenPage, table: Tables) -> None:
    page = open_page()
    start(page, table("right", "肯定", 0.0), table("wrong", "答えは「否定」です。", 0.0), "MARC-ja")
    finished(page)
    board = page.inner_text("#board")
    assert "right.jsonl · plain · ja-labels · 0-shot" in board
    assert "見本" in board
    page.wait_for_function("document.querySelectorAll('#items [data-testid^=cell-]').length >= 5 * 8")
    page.locator("#items [data-testid^=cell-]").nth(4).click()
    page.wait_for_selector("#item .jg-side-b .jg-raw mark")
    assert page.locator("#item .jg-side-a .jg-raw mark").inner_text() == "肯定"
    assert page.locator("#item .jg-side-b .jg-raw mark").inner_text() == "否定"
    assert page.locator("#item .jg-side-b .jg-raw").inner_text() == "答えは「否定」です。"
    assert "評価：" in page.locator("#item .jg-side-a .jg-prompt").inner_text()
    assert "規則: cue" in page.locator("#item .jg-side-b .jg-readings").inner_text()


def test_filters_show_the_items_they_name(open_page: OpenPage, table: Tables) -> None:
    page = open_page()
    start(page, table("yes", "肯定", 0.0), table("no", "否定", 0.0), "MARC-ja")
    finished(page)
    counts = {}
    for i, name in enumerate(("all", "disagree", "only_a", "only_b", "form", "unreadable")):
        page.locator("#filter label").nth(i).click()
        page.wait_for_timeout(700)
        counts[name] = page.locator("#items [data-testid^=cell-]").count() / 8
    # Both answer every item legally and one is right each time, so all of them disagree.
    assert counts["disagree"] == counts["all"] == 5
    assert counts["only_a"] + counts["only_b"] == 5
    assert counts["form"] == counts["unreadable"] == 0


def test_stop_ends_within_two_seconds_and_the_same_settings_go_on_from_there(
    open_page: OpenPage, table: Tables, runs_dir: Path
) -> None:
    page = open_page()
    before = set(runs_dir.iterdir())
    page.locator("#limit input[type=number]").fill("40")
    page.locator("#limit input[type=number]").press("Enter")
    slow = table("slow", "含意", 0.25)
    choose_model(page, "a", slow)
    page.locator("#use-b input").uncheck()
    only_subsets(page, "JNLI")
    generate_only(page)
    page.click("#run")
    page.wait_for_selector("#status .jg-progress")
    page.wait_for_timeout(1000)
    clicked = time.monotonic()
    page.click("#stop")
    page.wait_for_function("document.querySelector('#status').innerText.includes('止めました')")
    assert time.monotonic() - clicked < 2
    (run,) = set(runs_dir.iterdir()) - before
    kept = (run / "records.jsonl").read_bytes()
    assert 0 < kept.count(b"\n") < 40
    page.click("#run")
    finished(page)
    whole = (run / "records.jsonl").read_bytes()
    assert whole.startswith(kept)
    assert whole.count(b"\n") == 40


@pytest.mark.parametrize(
    ("model", "subsets", "sentence"),
    [
        ("nobody/nothing-here", ("JNLI",), "nobody/nothing-here"),
        ("missing-table.jsonl", ("JNLI",), "cannot be read"),
        ("gemma-3-270m", (), "サブセットを一つ以上"),
    ],
)
def test_a_bad_request_ends_in_a_sentence(
    open_page: OpenPage, model: str, subsets: tuple[str, ...], sentence: str
) -> None:
    page = open_page()
    choose_model(page, "a", model)
    only_subsets(page, *subsets)
    page.click("#run")
    page.wait_for_selector("#status .jg-error")
    text = page.inner_text("#status")
    assert sentence in text
    assert "Traceback" not in text


def test_model_output_never_runs_as_script(open_page: OpenPage, table: Tables) -> None:
    page = open_page()
    bad = table("payload", "\n".join(PAYLOADS), 0.0)
    start(page, bad, table("plain-text", "{{value.w.title}}", 0.0), "MARC-ja")
    finished(page)
    page.locator("#items [data-testid^=cell-]").nth(4).click()
    page.wait_for_selector("#item .jg-raw")
    page.wait_for_timeout(500)
    assert page.evaluate("window.__ran") is None
    assert page.locator("#item .jg-side-a .jg-raw").inner_text().replace("⏎", "") == "\n".join(PAYLOADS)
    assert page.locator("#item .jg-side-b .jg-raw").inner_text() == "{{value.w.title}}"


def test_the_page_fits_a_phone_and_has_a_dark_mode(open_page: OpenPage, table: Tables) -> None:
    page = open_page(width=390)
    start(page, table("left", "肯定", 0.0), table("other", "否定です", 0.0), "MARC-ja")
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.emulate_media(color_scheme="dark")
    page.goto(page.url + "?__theme=dark")
    page.wait_for_selector("#board .jg-empty")
    background = page.evaluate("getComputedStyle(document.querySelector('.gradio-container')).backgroundColor")
    red, green, blue = (int(part) for part in re.findall(r"\d+", background)[:3])
    assert max(red, green, blue) < 60


def test_two_visitors_run_at_the_same_time_and_see_only_their_own(open_page: OpenPage, table: Tables) -> None:
    first, second = open_page(), open_page()
    start(first, table("one", "肯定", 0.2), table("two", "否定", 0.2), "MARC-ja")
    start(second, table("three", "含意", 0.0), table("four", "矛盾", 0.0), "JNLI")
    finished(first)
    finished(second)
    assert "one.jsonl" in first.inner_text("#board")
    assert "three.jsonl" not in first.inner_text("#board")
    assert "three.jsonl" in second.inner_text("#board")
    assert "MARC-ja" not in second.inner_text("#board")


def test_the_defaults_run_the_embedded_model_on_samples(open_page: OpenPage) -> None:
    page = open_page()
    page.set_default_timeout(300_000)
    only_subsets(page, "JSTS", "JNLI", "JSQuAD")
    page.locator("#limit input[type=number]").fill("2")
    page.locator("#limit input[type=number]").press("Enter")
    page.click("#run")
    finished(page)
    assert "gemma-3-270m · plain · ja-labels · 3-shot" in page.inner_text("#board")
    page.locator("#items [data-testid^=cell-]").nth(2 * 8 + 4).click()
    page.wait_for_selector("#item .jg-side-b .jg-bars")
    assert page.locator("#item .jg-side-b .jg-bar").count() == 3


@pytest.fixture
def public_server(tmp_path: Path) -> Iterator[str]:
    yield from serve(tmp_path / "runs", {"JGLUE_MODE": "public"})


def test_a_public_page_takes_no_typed_model(open_page: OpenPage, public_server: str) -> None:
    page = open_page(address=public_server)
    assert "一覧のモデルだけ" in page.inner_text("#a-model")
    choose_model(page, "a", "somebody/else")
    page.locator("#limit input[type=number]").click()
    assert page.locator("#a-model input").input_value() == "gemma-3-270m"
