"""The first screen in a real browser: what is seen without scrolling, where it leads, and by the keyboard alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.ui.conftest import OpenPage
from tests.ui.driving import choose, said, shows, tab

SHIFT = """() => new Promise((done) => {
  let sum = 0;
  const add = (entry) => { if (!entry.hadRecentInput) sum += entry.value; };
  new PerformanceObserver((list) => list.getEntries().forEach(add))
    .observe({ type: 'layout-shift', buffered: true });
  setTimeout(() => done(sum), 500);
})"""
BOTTOMS = "selector => [...document.querySelectorAll(selector)].map(e => e.getBoundingClientRect().bottom)"
IN_SIGHT = "#first .jg-key-item:not([hidden])"


def bottom(page: Page, selector: str) -> float:
    """Where the lowest of some elements ends, in pixels from the top of the screen."""
    bottoms: list[float] = page.evaluate(BOTTOMS, selector)
    assert bottoms, f"there is no {selector}"
    return max(bottoms)


def example(page: Page) -> str:
    """The example in sight, as `subset/id`."""
    return str(page.locator(IN_SIGHT).get_attribute("data-item"))


def press_until(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until the focus is on something."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} was not reached")


@pytest.mark.slow
def test_the_first_screen_shows_an_answer_and_leads_to_the_items_by_mouse_and_keyboard(open_page: OpenPage) -> None:
    phone = open_page(width=390)
    phone.set_viewport_size({"width": 390, "height": 844})
    phone.wait_for_selector(f"{IN_SIGHT} .jg-key-raw")
    assert bottom(phone, f"{IN_SIGHT} .jg-key-raw") <= 844
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390

    page = open_page(width=1280)
    page.set_viewport_size({"width": 1280, "height": 720})
    shows(page, 227)
    for selector in ("#first .jg-headline", f"{IN_SIGHT} .jg-key-raw", "#first .jg-strip", ".jg-bar > *"):
        assert bottom(page, selector) <= 720, selector
    assert page.evaluate(SHIFT) <= 0.1

    # A strip has the items of its subset.
    assert page.locator("#first .jg-strip").count() == 5
    page.locator("#first .jg-strip", has_text="JNLI").click()
    shows(page, 45)
    assert page.locator("#items .jg-task").input_value() == "jnli"
    # The line below an example has those that show the same.
    page.locator(f"{IN_SIGHT} .jg-link").click()
    shows(page, 30)
    assert page.locator("#items [data-filter=knows]").get_attribute("aria-pressed") == "true"

    # By the keyboard alone: to the next example, back, and to a strip.
    page.locator(".jg-lang a").first.focus()
    press_until(page, "[data-jg-key='1']")
    first, height = example(page), bottom(page, "#first")
    page.keyboard.press("Enter")
    assert example(page) != first
    assert page.inner_text("#first [data-jg-key-at]").startswith("2 / ")
    assert bottom(page, "#first") == height
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert example(page) == first
    press_until(page, "#first .jg-strip[data-jg-task=jsts]")
    page.keyboard.press("Enter")
    shows(page, 48)
    press_until(page, "#own > button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#run")


@pytest.mark.slow
def test_a_protocol_judges_all_that_is_in_sight_and_comes_along_from_the_results(open_page: OpenPage) -> None:
    page = open_page()
    shows(page, 227)
    page.wait_for_selector("#item .jg-side-a .jg-outcome")
    assert "途中で切れた" in page.inner_text("#item .jg-side-a .jg-outcome")
    sentence, known = page.inner_text("#first .jg-headline"), example(page)
    choose(page, "compare-protocol", "stability-jp")
    said(page, "採点方法：stability-jp", "board")
    assert page.inner_text("#first .jg-headline") != sentence
    # By log-likelihood that answer is right: of the item that stays open too, and in the list.
    said(page, "正解", "item")
    page.wait_for_function("() => document.querySelector('#item .jg-side-a .jg-outcome')?.innerText.includes('正解')")
    assert page.locator("#item .jg-item").get_attribute("data-item") == known
    row = page.locator("#items .jg-row[aria-selected=true]")
    assert row.locator(".jg-row-side").first.locator(".jg-unseen").inner_text() == "正解"
    choose(page, "pairs", "例題だけを足す")
    said(page, "例題 3 個", "first")
    assert "採点方法：stability-jp" in page.inner_text("#board")

    tab(page, "結果")
    page.wait_for_selector("#leaderboard [data-run]")
    choose(page, "protocol", "llm-jp-eval")
    page.click("#open-pair")
    said(page, "採点方法：llm-jp-eval", "board")
    assert page.locator("#compare-protocol input").input_value() == "llm-jp-eval"
