"""How long a visitor waits: `python -m tests.ui.timing`, with Chromium installed.

Prints each figure beside what it is to be, for a server of its own: what the first screen takes of the window, when the
stored comparison is seen, what is transferred, the largest paint over a slow line, what moves, opening an item,
filtering 2,434 items, a long static report; and how long a run takes to show its first row. Each line ends with the
load of the machine: with more than one process to a core a time says little.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from jglue_app.settings import load_settings
from jglue_app.ui.static_report.document import report_of_folders
from tests.ui.conftest import BROWSERS, serve
from tests.ui.driving import finished, open_own, shows
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


SLOW_LINE = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
"""Slow 4G: 1.6 Mbit/s, 150 ms."""
OBSERVE = """
window.jgSeen = { paint: 0, moved: 0 };
new PerformanceObserver((list) => { for (const entry of list.getEntries()) jgSeen.paint = entry.startTime; })
  .observe({ type: 'largest-contentful-paint', buffered: true });
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) jgSeen.moved += entry.value;
}).observe({ type: 'layout-shift', buffered: true });
"""
ANSWER = ".jg-key-item:not([hidden]) .jg-key-raw"
ANSWER_IN_DOCUMENT = f"#jg-before {ANSWER}, #first {ANSWER}"
FIRST_ANSWER = f"#first {ANSWER}"


def told(name: str, target: str, value: str) -> None:
    """One line of the table, with the load of the machine."""
    print(f"{name:<58} {target:>10} {value:>12}   load {os.getloadavg()[0]:.1f}", flush=True)


def first_screen(browser: Browser, address: str, width: int, height: int, *, slow: bool = False) -> None:
    """What a first visit sees in a window of this size, and when."""
    context = browser.new_context(locale="ja-JP", viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.add_init_script(OBSERVE)
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    if slow:
        session.send("Network.emulateNetworkConditions", SLOW_LINE)
        session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    opened = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(ANSWER_IN_DOCUMENT)
    seen = time.perf_counter() - opened
    page.wait_for_selector(FIRST_ANSWER)
    usable = time.perf_counter() - opened
    page.wait_for_timeout(3_000)
    at = f"{width}×{height}" + (", slow 4G, 4× CPU" if slow else "")
    found = page.evaluate("jgSeen")
    told(f"largest contentful paint ({at})", "≤ 4 s" if slow else "", f"{found['paint'] / 1000:.2f} s")
    told(f"layout shift on opening ({at})", "≤ 0.1", f"{found['moved']:.3f}")
    if not slow:
        top = page.locator(FIRST_ANSWER).first.evaluate("e => e.getBoundingClientRect().bottom + scrollY")
        told(f"first answer ends at ({at})", f"≤ {height} px", f"{top:.0f} px")
        told(f"stored comparison on screen ({at})", "≤ 1.5 s", f"{seen:.2f} s")
        told(f"stored comparison can be used ({at})", "", f"{usable:.2f} s")
        told(f"transferred in {len(sizes)} answers ({at})", "≤ 300 kB", f"{sum(sizes) / 1000:.0f} kB")
    context.close()


def filtering(page: Page) -> float:
    """Milliseconds from the click on a filter of the list to its rows."""
    return float(
        page.evaluate(
            """() => new Promise((done) => {
              const count = () => document.querySelector('#items .jg-count').textContent;
              const before = count(), began = performance.now();
              const look = () => (count() !== before ? done(performance.now() - began) : requestAnimationFrame(look));
              [...document.querySelectorAll('#items .jg-filter')].at(-1).click();
              look();
            })"""
        )
    )


def long_report(browser: Browser, runs: Path, names: list[str]) -> None:
    """The static report of long runs: how large it is, and how long it takes to be seen from disk."""
    file = runs / "report.html"
    report_of_folders(load_settings(), [runs / name for name in names], file)
    told("static report of 2 × 2,434 items", "≤ 5 MB", f"{file.stat().st_size / 1e6:.2f} MB")
    page = browser.new_page()
    began = time.perf_counter()
    page.goto(file.as_uri())
    page.wait_for_selector(".jg-row")
    told("static report opens", "≤ 2 s", f"{time.perf_counter() - began:.2f} s")
    page.close()


def main() -> None:
    """Measure and print."""
    path = next(found for name in BROWSERS if (found := shutil.which(name)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_context(locale="ja-JP", viewport={"width": 1300, "height": 900}).new_page()
        page.set_default_timeout(300_000)
        began = time.perf_counter()
        with serve(Path(folder)) as address:
            told("server start to an answer", "", f"{time.perf_counter() - began:.1f} s")
            page.add_init_script(OBSERVE)
            page.goto(address)
            page.wait_for_selector("#board .jg-board-wrap")
            for _ in range(3):
                # A document that was sent before is compressed best.
                httpx.get(address, headers={"accept-encoding": "br", "accept-language": "ja-JP"})
                time.sleep(2)
            first_screen(browser, address, 1280, 720)
            first_screen(browser, address, 390, 844)
            first_screen(browser, address, 1280, 720, slow=True)
            shows(page, 227)
            took = opening(page)
            told("open an item, median of 20", "≤ 100 ms", f"{statistics.median(took):.0f} ms")
            page.click("#own > button")
            before_run = page.evaluate("jgSeen.moved")
            told("Run to first row, model not loaded", "", f"{first_row(page):.1f} s")
            finished(page)
            told("layout shift over a run", "≤ 0.1", f"{page.evaluate('jgSeen.moved') - before_run:.3f}")
            template = next(Path(folder).glob("*/manifest.json")).parent
            write_long_run(Path(folder), template, "0123456789abcdef", 2_434)
            page.goto(f"{address}/?run_a=0123456789abcdef")
            shows(page, 2_434)
            told("filter 2,434 items", "≤ 200 ms", f"{filtering(page):.0f} ms")
            write_long_run(Path(folder), template, "fedcba9876543210", 2_434)
            long_report(browser, Path(folder), ["0123456789abcdef", "fedcba9876543210"])
        browser.close()


if __name__ == "__main__":
    main()
