"""Items in a real browser, with the keyboard alone: moving, searching, what differs, marks and notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.ui.conftest import OpenPage, serve
from tests.ui.driving import shows

FOR_EVER = "/(.+)+(.+)+(.+)+§$/"
"""Of texts without the last character a regular expression that tries every way to part them."""


def opened(page: Page, item: str) -> None:
    """Wait until an item is the one that is shown."""
    page.wait_for_function("item => document.querySelector('#item .jg-item')?.dataset.item === item", arg=item)


def focused(page: Page, selector: str) -> bool:
    found: bool = page.evaluate("selector => document.activeElement.matches(selector)", selector)
    return found


def search(page: Page, text: str) -> None:
    page.keyboard.press("/")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def says(page: Page, selector: str, text: str) -> None:
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)", arg=[selector, text]
    )


@pytest.mark.slow
def test_items_are_read_searched_compared_and_marked_with_the_keyboard_alone(
    open_page: OpenPage, tmp_path: Path
) -> None:
    with serve(tmp_path) as address:
        page = open_page(address=address)
        shows(page, 227)
        search(page, "/^MARC-ja.*sm00[1-3]\\b/")
        shows(page, 3)
        # The open item is not among them, so the first of them is open.
        opened(page, "marc_ja/sm001")
        search(page, "/(/")
        says(page, "#items .jg-count", "正規表現として読めません")
        search(page, FOR_EVER)
        says(page, "#items .jg-count", "時間がかかりすぎます")
        search(page, "/^MARC-ja.*sm00[1-3]\\b/")
        shows(page, 3)
        page.keyboard.press("Escape")
        assert focused(page, "#items .jg-list")
        opened(page, "marc_ja/sm001")
        page.keyboard.press("j")
        opened(page, "marc_ja/sm002")
        page.keyboard.press("j")
        opened(page, "marc_ja/sm003")
        page.evaluate("document.querySelectorAll('#item .jg-prompt').forEach((prompt) => { prompt.scrollTop = 0; })")
        page.keyboard.press("k")
        opened(page, "marc_ja/sm002")
        prompts_end_in_sight(page)
        # An open item that matches stays open.
        search(page, "sm002")
        shows(page, 1)
        page.keyboard.press("Escape")
        page.keyboard.press("o")
        page.wait_for_function("() => document.activeElement.matches('#item .jg-item')")
        opened(page, "marc_ja/sm002")
        differences(page)
        marks_and_note(page, tmp_path)
        filter_by_mark_and_reload(page)


def differences(page: Page) -> None:
    """What differs is shown on both sides, and prompts stand at the place where the answer starts."""
    assert not page.locator("#item .jg-diff-raw").first.is_visible()
    page.keyboard.press("d")
    for side in ("a", "b"):
        assert page.locator(f"#item .jg-side-{side} .jg-diff-raw ins").first.is_visible()
        assert not page.locator(f"#item .jg-side-{side} .jg-plain-raw").is_visible()
    assert page.locator("#item .jg-diff-prompt.jg-only-b ins").first.is_visible()
    page.keyboard.press("d")
    prompts_end_in_sight(page)


def prompts_end_in_sight(page: Page) -> None:
    ends = page.evaluate(
        """() => [...document.querySelectorAll('#item .jg-plain-prompt')].map((prompt) =>
            [prompt.scrollHeight - prompt.clientHeight, prompt.scrollTop])"""
    )
    # A prompt with examples is longer than its box.
    assert max(hidden for hidden, _ in ends) > 100
    assert all(abs(hidden - top) <= 1 for hidden, top in ends)


def marks_and_note(page: Page, runs: Path) -> None:
    page.keyboard.press("m")
    assert focused(page, "#item .jg-side-a .jg-mark[data-mark=star]")
    page.keyboard.press("Space")
    says(page, "#item .jg-side-a .jg-marks-said", "保存しました")
    assert page.locator("#items .jg-row-marks").inner_text().split() == ["A", "★"]
    for _ in range(3):
        page.keyboard.press("Tab")
    assert focused(page, ".jg-my-note summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.insert_text("長" * 2_001)
    page.keyboard.press("Control+Enter")
    says(page, "#item .jg-side-a .jg-marks-said", "メモは 2,001 文字あります。")
    page.keyboard.press("Control+A")
    # Letters that are keys elsewhere are letters here.
    page.keyboard.type("jkd: 主語が違う")
    page.keyboard.press("Control+Enter")
    says(page, "#item .jg-side-a .jg-marks-said", "保存しました")
    (path,) = runs.glob(".marks/*/marks.json")
    assert json.loads(path.read_text("utf-8"))["items"] == [
        {"task": "marc_ja", "item_id": "sm002", "marks": ["star"], "note": "jkd: 主語が違う"}
    ]
    page.keyboard.press("Escape")
    assert focused(page, "#items .jg-list")


def filter_by_mark_and_reload(page: Page) -> None:
    search(page, "")
    shows(page, 227)
    page.locator("#items .jg-filter-more summary").focus()
    page.keyboard.press("Enter")
    page.locator("#items [data-more=m]").focus()
    # Any mark, a note, ★.
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    shows(page, 1)
    page.wait_for_function("() => decodeURIComponent(location.search).includes('filter=all;m=star')")
    page.reload()
    shows(page, 1)
    opened(page, "marc_ja/sm002")
    assert page.locator("#item .jg-side-a textarea").input_value() == "jkd: 主語が違う"
    # The list stays beside the item while that is read.
    page.evaluate("() => document.querySelector('#item .jg-protocols').scrollIntoView({ block: 'end' })")
    page.wait_for_timeout(100)
    assert 0 <= page.locator("#items .jg-filters").bounding_box()["y"] < 60  # type: ignore[index]
