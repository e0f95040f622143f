"""Addresses in a real browser: what is clicked stands in the address bar, and an address shows it again."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Page

from jglue_app.results import showcase
from tests.ui.conftest import OpenPage, serve
from tests.ui.driving import open_row, said, tab

STORED = "?run_a=stored-base-0-shot&run_b=stored-base-3-shot"


def address_has(page: Page, **values: str) -> None:
    """Wait until these are the parameters of the address bar, and no others."""
    page.wait_for_function(
        "wanted => JSON.stringify([...new URLSearchParams(location.search)].sort()) === JSON.stringify(wanted)",
        arg=sorted([name, value] for name, value in values.items()),
    )


def open_tab_is(page: Page, name: str) -> None:
    page.wait_for_selector(f"#tabs [role=tab][aria-selected=true][data-tab-id={name}]")


@pytest.mark.slow
def test_what_is_looked_at_has_an_address_and_back_goes_to_the_tab_before(open_page: OpenPage, tmp_path: Path) -> None:
    for name in ("base-0-shot", "base-3-shot"):
        shutil.copytree(showcase.run_folder(name), tmp_path / f"stored-{name}")
    runs = {"run_a": "stored-base-0-shot", "run_b": "stored-base-3-shot"}
    with serve(tmp_path) as server:
        page = open_page(address=f"{server}/{STORED}&lang=ja")
        page.locator("#items .jg-filter[data-filter=disagree]").click()
        address_has(page, **runs, lang="ja", filter="disagree")
        open_row(page, 1)
        item = str(page.locator("#item .jg-item").get_attribute("data-item"))
        address_has(page, **runs, lang="ja", filter="disagree", item=item)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.locator("#item [data-jg-copy-link]").click()
        page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('item='))")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert parse_qs(urlparse(copied).query) == {name: [value] for name, value in {**runs, "item": item}.items()}
        tab(page, "結果")
        page.wait_for_function("new URLSearchParams(location.search).get('tab') === 'results'")
        tab(page, "このアプリについて")
        address_has(page, tab="about", lang="ja")
        page.go_back()
        open_tab_is(page, "results")
        page.go_back()
        open_tab_is(page, "compare")
        address_has(page, **runs, lang="ja", filter="disagree", item=item)
        page.reload()
        page.wait_for_selector(f"#item .jg-item[data-item='{item}']")
        page.wait_for_selector("#items .jg-filter[data-filter=disagree][aria-pressed=true]")

        linked = open_page(address=copied)
        linked.wait_for_selector(f"#item .jg-item[data-item='{item}']")
        shutil.rmtree(tmp_path / "stored-base-0-shot")
        gone = open_page(address=copied)
        said(gone, "stored-base-0-shot はここにありません")
        gone.goto(f"{server}/?tab=about")
        open_tab_is(gone, "about")
