"""Makes the pictures in `assets/screenshots/`: `python -m tests.ui.screenshots`, with Chromium installed.

A real comparison of the embedded model on samples; the first run takes a few minutes, later ones reuse it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.ui.conftest import BROWSERS, ROOT, serve

TARGET = ROOT / "assets" / "screenshots"
VIEWS = (
    # name, locale, width, dark
    ("compare-light", "ja-JP", 1300, False),
    ("compare-dark", "en-US", 1300, True),
    ("compare-phone", "ja-JP", 390, False),
)
ITEMS = "8"


def take(browser: Browser, address: str, name: str, locale: str, width: int, dark: bool) -> None:
    """One full-page picture of a finished comparison with an item opened."""
    context = browser.new_context(locale=locale, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.set_default_timeout(600_000)
    page.goto(address + ("?__theme=dark" if dark else ""))
    page.wait_for_selector("#board .jg-empty")
    page.locator("#limit input[type=number]").fill(ITEMS)
    page.locator("#limit input[type=number]").press("Enter")
    page.click("#run")
    done = "終わりました" if locale.startswith("ja") else "Done"
    page.wait_for_function("word => document.querySelector('#status').innerText.includes(word)", arg=done)
    page.wait_for_selector("#items [data-testid^=cell-]")
    page.locator("#items [data-testid^=cell-]").nth(2).click()
    page.wait_for_selector("#item .jg-side")
    page.wait_for_timeout(800)
    page.mouse.move(0, 0)
    page.screenshot(path=TARGET / f"{name}.png", full_page=True)
    context.close()


def main() -> None:
    """All pictures."""
    path = next(found for name in BROWSERS if (found := shutil.which(name)))
    TARGET.mkdir(parents=True, exist_ok=True)
    runs = Path(tempfile.gettempdir()) / "jglue-screenshot-runs"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for address in serve(runs, {}):
            for view in VIEWS:
                take(browser, address, *view)
        browser.close()


if __name__ == "__main__":
    main()
