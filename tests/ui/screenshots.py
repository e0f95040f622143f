"""Makes the pictures in `assets/screenshots/`: `python -m tests.ui.screenshots`, with Chromium installed.

Every page, light and dark, wide and on a phone, in Japanese and English, from the comparisons that come with the
application and the embedded model; it takes a few minutes. `python -m tests.ui.screenshots compare-dark` makes those
whose names begin so.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from jglue_app.ui import preview
from tests.ui.conftest import BROWSERS, ROOT, serve
from tests.ui.driving import open_own, tab

TARGET = ROOT / "assets" / "screenshots"
WORDS = {
    "ja": {"lab": "書式を学ぶ", "one": "一問をいろいろな書式で", "sweep": "書式だけを変えてみる", "full": "全問実行"}
    | {"results": "結果", "audit": "スコアを調べる", "about": "このアプリについて"},
    "en": {"lab": "Prompt lab", "one": "One item, many formats", "sweep": "Sweep over formats", "full": "Full run"}
    | {"results": "Results", "audit": "Audit a score", "about": "About"},
}
LOOKS = {
    # name: locale, width, dark
    "light": ("ja-JP", 1300, False),
    "dark": ("en-US", 1300, True),
    "phone": ("ja-JP", 390, False),
    "phone-en": ("en-US", 390, True),
}
Words = dict[str, str]


def compare(page: Page, words: Words) -> None:
    page.wait_for_selector("#item .jg-item")


def item(page: Page, words: Words) -> None:
    page.click("#items [data-filter=form]")
    page.locator("#items .jg-row").last.click()
    page.wait_for_timeout(1_500)


def course(page: Page, words: Words) -> None:
    tab(page, words["lab"])
    page.locator("#course-step label").nth(2).click()
    page.wait_for_timeout(1_500)


def lab(page: Page, words: Words) -> None:
    tab(page, words["lab"])
    tab(page, words["one"])
    page.wait_for_function("document.querySelector('#lab-field-0 textarea, #lab-field-0 input')?.value.length > 5")
    page.click("#lab-look")
    page.wait_for_selector("#lab-tokens .jg-side-b .jg-token")


def sweep(page: Page, words: Words) -> None:
    tab(page, words["lab"])
    tab(page, words["sweep"])
    page.wait_for_selector("#sweep-run")
    page.click("#sweep-run")
    page.wait_for_function("document.querySelectorAll('#sweep-table tbody tr').length === 4")
    page.wait_for_selector("#sweep-status .jg-spin", state="detached")


def full(page: Page, words: Words) -> None:
    tab(page, words["full"])
    page.locator("#full-data label").first.click()
    page.click("#full-run")
    page.wait_for_function("document.querySelectorAll('#full-status .jg-progress').length >= 2")


def line(page: Page, words: Words) -> None:
    """As the third visitor sees it: one runs, one waits."""
    assert page.context.browser is not None
    others = [page.context.browser.new_context(locale="ja-JP").new_page() for _ in range(2)]
    for other in others:
        other.set_default_timeout(90_000)
        other.goto(page.url)
        other.wait_for_selector("#item .jg-item")
        run(other)
    run(page)
    page.wait_for_function("/約|about/.test(document.querySelector('#status .jg-run-text')?.textContent ?? '')")


def run(page: Page) -> None:
    """Press Run, which stands in what is folded away at first, until something goes on."""
    open_own(page)
    page.click("#run")
    page.wait_for_selector("#status .jg-going")


def results(page: Page, words: Words) -> None:
    tab(page, words["results"])
    page.wait_for_selector("#leaderboard .jg-ranking")
    page.locator("#protocol input").fill("stability-jp")
    page.locator("#protocol input").press("Enter")
    page.wait_for_timeout(2_000)


def waterfall(page: Page, words: Words) -> None:
    tab(page, words["results"])
    page.wait_for_selector("#leaderboard .jg-ranking")
    page.click("#why-show")
    page.wait_for_selector("#why .jg-way")
    page.locator("#why").scroll_into_view_if_needed()


def audit(page: Page, words: Words) -> None:
    tab(page, words["audit"])
    page.click("#audit-example-0")
    page.wait_for_selector("#audit-found table", state="attached")


def about(page: Page, words: Words) -> None:
    tab(page, words["about"])
    page.wait_for_selector(".jg-about h3", state="visible")
    page.locator("#decisions-of input").fill("stability-jp")
    page.locator("#decisions-of input").press("Enter")
    page.locator("#decisions summary").nth(2).click()


PAGES: dict[str, Callable[[Page, Words], None]] = {
    made.__name__: made for made in (compare, item, course, lab, sweep, results, waterfall, audit, about, full, line)
}


def take(browser: Browser, address: str, name: str, look: str) -> None:
    """One picture: of the whole page, of one item, or of what a first visit sees."""
    locale, width, dark = LOOKS[look]
    context = browser.new_context(
        locale=locale,
        viewport={"width": width, "height": 1000 if width > 1000 else 900},
        color_scheme="dark" if dark else "light",
    )
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(address)
    page.wait_for_selector("#item .jg-item")
    PAGES[name](page, WORDS[locale[:2]])
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    path = TARGET / f"{name}-{look}.png"
    if name == "item":
        page.locator(".jg-explore" if width > 1000 else "#item").screenshot(path=path)
    else:
        page.screenshot(path=path, full_page=name != "line" and (name != "compare" or width < 1000))
    # A palette is enough for a page, and a third of the size.
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    if name == "full":
        page.click("#full-run")
        page.wait_for_timeout(2_500)
    for of in browser.contexts:
        if name == "line":
            of.pages[0].click("#run")
            of.pages[0].wait_for_timeout(2_500)
        of.close()


def take_preview(browser: Browser, address: str) -> None:
    """The picture that other sites show beside a link: the first card, in the size that they ask for."""
    width, height = preview.SIZE
    page = browser.new_page(locale="ja-JP", viewport={"width": width, "height": height})
    page.set_default_timeout(90_000)
    page.goto(address)
    page.wait_for_selector("#first .jg-key-item:not([hidden]) .jg-key-raw")
    page.wait_for_timeout(800)
    path = TARGET / preview.NAME
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    page.context.close()


def main() -> None:
    """All pictures, or those whose names begin with an argument."""
    wanted = tuple(sys.argv[1:]) or ("",)
    path = next(found for name in BROWSERS if (found := shutil.which(name)))
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as runs, serve(Path(runs)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name in PAGES:
            for look in LOOKS:
                if f"{name}-{look}".startswith(wanted):
                    take(browser, address, name, look)
                    print(f"{name}-{look}.png")
        if preview.NAME.startswith(wanted):
            take_preview(browser, address)
            print(preview.NAME)
        browser.close()


if __name__ == "__main__":
    main()
