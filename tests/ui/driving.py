"""What a person does on the page, as functions of a browser's page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as Late

DONE = {"ja": "終わりました", "en": "Done"}
LOOK_MS = 100
"""How often the browser looks whether what is waited for is there; at every frame, it would draw all the while."""
SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts.push(entry.value);
  }).observe({ type: "layout-shift" });
}"""
"""Adds to `window.shifts` every shift of the layout from then on that no input has caused."""


def open_own(page: Page) -> None:
    """Unfold what a run of one's own needs on the Compare tab."""
    if not page.locator("#a-model").is_visible():
        page.click("#own > button")
        page.wait_for_selector("#a-model input")


def open_settings(page: Page) -> None:
    """Unfold all settings of the Compare tab."""
    open_own(page)
    if not page.locator("#tasks").is_visible():
        page.click("#settings > button")
        page.wait_for_selector("#tasks label")


def choose_model(page: Page, box: str, model: Path | str) -> None:
    """Type a model's name into a box and take it."""
    field = page.locator(f"#{box} input")
    field.fill(str(model))
    field.press("Enter")


def choose(page: Page, box: str, text: str) -> None:
    """Take from a closed list the first choice that has this text, and see that the box took it."""
    page.locator(f"#{box} input").click()
    page.locator(f"#{box} [role=option]", has_text=text).first.click()
    page.wait_for_function(
        "([box, text]) => document.querySelector(`#${box} input`).value.includes(text)",
        arg=[box, text],
        polling=LOOK_MS,
    )


def only_subsets(page: Page, *titles: str, group: str = "tasks") -> None:
    """Tick these subsets and no others."""
    for label in page.locator(f"#{group} label").all():
        wanted = label.inner_text().strip() in titles
        if label.locator("input").is_checked() != wanted:
            label.click()


def set_number(page: Page, box: str, text: str) -> None:
    """Type into a number's field and leave it."""
    field = page.locator(f"#{box} input[type=number]").first
    field.fill(text)
    field.press("Tab")


def generate_only(page: Page, group: str = "method") -> None:
    """Choose free generation alone."""
    page.locator(f"#{group} label").first.click()


def start(page: Page, a: Path | str, b: Path | str | None, *subsets: str, items: str = "5") -> None:
    """Set up a comparison of two tables of answers and press Run."""
    set_up(page, a, b, *subsets, items=items)
    page.click("#run")


def set_up(page: Page, a: Path | str, b: Path | str | None, *subsets: str, items: str = "5") -> None:
    """Set up a comparison of two tables of answers; it is not started."""
    open_settings(page)
    choose_model(page, "a-model", a)
    if b is None:
        page.locator("#use-b input").uncheck()
    else:
        choose_model(page, "b-model", b)
    only_subsets(page, *subsets)
    set_number(page, "limit", items)
    generate_only(page)


def finished(page: Page, lang: str = "ja", box: str = "status") -> None:
    """Wait for the run's end."""
    said(page, DONE[lang], box)


def said(page: Page, text: str, box: str = "status", seconds: float | None = None) -> None:
    """Wait until a place on the page says something: for so many seconds, or as long as this page waits for all."""
    try:
        page.wait_for_function(
            "([box, text]) => document.getElementById(box)?.innerText.includes(text)",
            arg=[box, text],
            timeout=None if seconds is None else 1000 * seconds,
            polling=LOOK_MS,
        )
    except Late as late:
        shown = page.evaluate("box => document.getElementById(box)?.innerText", box)
        raise AssertionError(f"#{box} does not say {text!r} but {shown!r}") from late


def tab(page: Page, name: str) -> None:
    """Go to a tab; on a phone some are behind a button."""
    page.wait_for_selector("[role=tab][aria-selected=true]")
    page.wait_for_timeout(200)
    found = page.get_by_role("tab", name=name, exact=True)
    if found.first.is_visible():
        found.first.click()
        return
    for menu in page.locator(".overflow-menu").all():
        if not menu.is_visible():
            continue
        menu.locator("button").first.click()
        entry = menu.locator(".overflow-dropdown").get_by_text(name, exact=True)
        if entry.count():
            entry.click()
            return
        menu.locator("button").first.click()
    raise AssertionError(f"there is no tab {name}")


def shows(page: Page, count: int) -> None:
    """Wait until the item list counts so many items."""
    page.wait_for_function(
        "n => (document.querySelector('#items .jg-count')?.textContent ?? '').replace(/[^0-9]/g, '') === String(n)",
        arg=count,
        polling=LOOK_MS,
    )


def open_row(page: Page, number: int) -> None:
    """Open the item of a row in sight, and wait until it is there."""
    row = page.locator(f"#items .jg-row[data-at='{number}']")
    id_ = row.locator(".jg-row-id").inner_text()
    row.click()
    page.wait_for_function(
        "id => document.querySelector('#item .jg-item-head')?.innerText.includes(id)", arg=id_, polling=LOOK_MS
    )
