"""How long a visitor waits: `python -m tests.ui.timing`, with Chromium installed.

Prints, for a fresh server each: start to first paint, the first visit's content, click on Run to the first row
(embedded model, not loaded yet, and loaded), opening an item (median of 20), what is transferred, and a list of 2,434
items.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.ui.conftest import BROWSERS, serve
from tests.ui.driving import finished, open_own, open_settings, set_number, shows
from tests.ui.test_compare_page import write_long_run


def first_row(page: Page) -> float:
    """Seconds from the click on Run to the first row of the run."""
    open_own(page)
    began = time.perf_counter()
    page.click("#run")
    page.wait_for_function(
        "() => { const n = document.querySelector('#items .jg-count')?.textContent.replace(/[^0-9]/g, '');"
        " return document.querySelector('#status .jg-overall') && n && n !== '227'; }"
    )
    return time.perf_counter() - began


def opening(page: Page) -> list[float]:
    """Milliseconds from the click on a row to its item on the page, of 20 rows."""
    found = []
    for number in range(20):
        row = page.locator(f"#items .jg-row[aria-posinset='{number + 1}']")
        row.scroll_into_view_if_needed()
        id_ = row.locator(".jg-row-id").inner_text()
        found.append(
            page.evaluate(
                """([n, id]) => new Promise((done) => {
                  const began = performance.now();
                  const seen = () => document.querySelector('#item .jg-item-head')?.innerText.includes(id);
                  const look = () => (seen() ? done(performance.now() - began) : requestAnimationFrame(look));
                  document.querySelector(`#items .jg-row[aria-posinset='${n}']`).click();
                  look();
                })""",
                [number + 1, id_],
            )
        )
    return found


def main() -> None:
    """Measure and print."""
    path = next(found for name in BROWSERS if (found := shutil.which(name)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_context(locale="ja-JP", viewport={"width": 1300, "height": 900}).new_page()
        page.set_default_timeout(300_000)
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        sizes: list[float] = []
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        began = time.perf_counter()
        with serve(Path(folder)) as address:
            print(f"server start to an answer: {time.perf_counter() - began:.1f} s")
            opened = time.perf_counter()
            page.goto(address)
            page.wait_for_selector("#board .jg-board-wrap")
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
            started = opened - began + paint / 1000
            print(f"first contentful paint: {paint:.0f} ms after opening, {started:.1f} s after server start")
            print(f"stored comparison on the screen: {time.perf_counter() - opened:.1f} s after opening")
            page.wait_for_timeout(1_500)
            print(f"transferred by then: {sum(sizes) / 1e6:.2f} MB in {len(sizes)} answers")
            shows(page, 227)
            took = opening(page)
            print(f"open an item: median {statistics.median(took):.0f} ms of 20, at most {max(took):.0f} ms")
            print(f"Run to first row, model not loaded: {first_row(page):.1f} s")
            finished(page)
            open_settings(page)
            set_number(page, "limit", "8")
            print(f"Run to first row, model loaded: {first_row(page):.1f} s")
            finished(page)
            template = next(Path(folder).glob("*/manifest.json")).parent
            write_long_run(Path(folder), template, "0123456789abcdef", 2_434)
            page.get_by_role("tab", name="結果", exact=True).click()
            page.locator("#leaderboard .jg-pick[data-run='0123456789abcdef'][data-side=a]").click()
            page.wait_for_selector("#leaderboard .jg-pick[data-run='0123456789abcdef'][data-side=a][aria-pressed=true]")
            began = time.perf_counter()
            page.click("#open-pair")
            page.wait_for_selector("#items .jg-list", state="visible")
            print(f"2,434 items from Results into Compare: {time.perf_counter() - began:.1f} s")
        browser.close()


if __name__ == "__main__":
    main()
