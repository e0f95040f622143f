"""The page as a whole in a real browser: languages, other hosts, narrow and dark, accessibility."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlparse

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from jglue_app.messages import word
from jglue_app.ui.page import TABS
from tests.ui.conftest import OpenPage
from tests.ui.driving import open_settings, said, shows, tab

TITLES = {locale: {key: word(f"tab_{key}", locale[:2]) for key in TABS} for locale in ("ja-JP", "en-US")}
"""Locale → key of a tab → its title."""
READY = {
    "compare": "#item .jg-item",
    "lab": "#course-text .jg-step",
    "full": "#full-repeat pre",
    "results": "#leaderboard table",
    "audit": "#audit-ask",
    "about": ".jg-about h3",
}
"""Key of a tab → what is in sight when its content is there; of another tab, its panel."""


def each_tab(page: Page, locale: str, see: Callable[[str], None]) -> None:
    """Go through all tabs and look at each when its content is there."""
    assert READY.keys() <= TITLES[locale].keys()
    for key, name in TITLES[locale].items():
        tab(page, name)
        page.wait_for_selector(READY.get(key, "[role=tabpanel]:visible"), state="visible")
        page.wait_for_timeout(300)
        see(name)


TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { data, parentElement } = walker.currentNode;
    if (data.trim() && parentElement.checkVisibility() && !parentElement.closest('%s')) found.push(data.trim());
  }
  return found;
}"""
"""All texts in sight but those in some places."""
APART = {
    # Items, prompts and answers; wording styles in a list; the language switch.
    "en-US": ".jg-key-question, .jg-key-raw, .jg-row-question, .jg-row-text, .jg-fields dd, .jg-text, .token, "
    "[role=option], .jg-lang",
    "ja-JP": "code, .jg-command, .jg-text, .jg-lang",
}
FOREIGN = {
    "en-US": re.compile("[ぁ-んァ-ヶ]"),
    "ja-JP": re.compile(r"(?:[A-Za-z][A-Za-z']*,? +){2}[A-Za-z]{2,}"),
}
"""Kana; three English words on end."""
NAMES = re.compile(
    "“.*?”|MARC-ja|JSTS|JNLI|JSQuAD|JCommonsenseQA|Gemma Terms of Use"
    "|満足している|不満がある|必ず正しい|必ず間違い|どちらとも言えない"
)
"""What may stand in either language: quoted answers, subsets, a licence, labels that a prompt asks for."""
LAB = {
    "ja-JP": ("一問をいろいろな書式で", "書式だけを変えてみる"),
    "en-US": ("One item, many formats", "Sweep over formats"),
}


@pytest.mark.parametrize(
    ("locale", "button"), [("ja-JP", "比べる"), pytest.param("en-US", "Compare", marks=pytest.mark.slow)]
)
def test_every_tab_is_in_the_language_of_the_browser_and_asks_no_other_host(
    browser: Browser, server: str, locale: str, button: str
) -> None:
    context = browser.new_context(locale=locale, viewport={"width": 1300, "height": 900})
    page = context.new_page()
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlparse(request.url).netloc))
    foreign: list[tuple[str, str]] = []
    seen: list[str] = []
    # How much a tab says is known of those that are listed.
    unlisted = {name for key, name in TITLES[locale].items() if key not in READY}

    def see(name: str) -> None:
        texts: list[str] = page.evaluate(TEXTS % APART[locale])
        assert len(texts) > 30 or name in unlisted, name
        seen.extend(texts)
        foreign.extend((name, text) for text in texts if "jg_" in text)
        foreign.extend((name, text) for text in texts if FOREIGN[locale].search(NAMES.sub("", text)))

    # A link with a fault, so that there is an error to be read too.
    page.goto(server + "/?a=gemma-3-270m&a-shots=99")
    page.wait_for_selector("#board .jg-board-wrap")
    page.wait_for_selector("#status .jg-error")
    open_settings(page)
    assert page.inner_text("#run") == button
    page.wait_for_selector("#repeat .jg-command")
    each_tab(page, locale, see)
    for name in LAB[locale]:
        tab(page, TITLES[locale]["lab"])
        tab(page, name)
        page.wait_for_timeout(500)
        see(name)
    page.click("#sweep-stop")
    page.wait_for_selector("#sweep-status .jg-status")
    see("stop")
    page.wait_for_timeout(1_000)
    assert hosts - {""} == {urlparse(server).netloc}
    assert foreign == []
    # What is read are texts of ours.
    assert {button, *TITLES[locale].values(), *LAB[locale]} <= set(seen)
    context.close()


def test_another_language_is_a_click_away_and_stays(open_page: OpenPage, server: str) -> None:
    page = open_page()
    assert page.inner_text("#own > button") == "自分のモデルで試す"
    page.click(".jg-lang a[lang=en]")
    page.wait_for_function("document.querySelector('#own > button')?.innerText === 'Try your own models'")
    page.wait_for_function("document.querySelector('#board')?.innerText.includes('Scoreboard')")
    assert page.inner_text(".jg-head h1") == "JGLUE side by side"
    page.goto(server)
    page.wait_for_function("document.querySelector('#own > button')?.innerText === 'Try your own models'")
    page.click(".jg-lang a[lang=ja]")
    page.wait_for_function("document.querySelector('#own > button')?.innerText === '自分のモデルで試す'")


def test_another_language_keeps_what_a_link_asks_for(open_page: OpenPage, server: str) -> None:
    page = open_page(address=f"{server}/?tasks=jnli&limit=12&a-shots=2")
    said(page, "× 12", "setup")
    page.click(".jg-lang a[lang=en]")
    page.wait_for_function("document.querySelector('#run')?.innerText === 'Compare'")
    assert parse_qs(urlparse(page.url).query) == {"tasks": ["jnli"], "limit": ["12"], "a-shots": ["2"], "lang": ["en"]}
    said(page, "× 12", "setup")


@pytest.mark.parametrize("locale", [pytest.param("ja-JP", marks=pytest.mark.slow), "en-US"])
def test_no_tab_is_wider_than_a_phone(open_page: OpenPage, locale: str) -> None:
    page = open_page(locale=locale, width=390)
    wide = {}

    def see(name: str) -> None:
        wide[name] = page.evaluate("document.documentElement.scrollWidth")

    each_tab(page, locale, see)
    assert {name: width for name, width in wide.items() if width > 390} == {}


def test_on_a_phone_an_opened_item_comes_into_sight_and_the_way_back_too(open_page: OpenPage) -> None:
    page = open_page(width=390)
    shows(page, 227)
    page.locator("#items .jg-list").scroll_into_view_if_needed()
    page.locator("#items .jg-row").nth(2).click()
    page.wait_for_function("Math.abs(document.querySelector('#item').getBoundingClientRect().top) < 60")
    page.click("#item [data-jg-do=back]")
    page.wait_for_function("Math.abs(document.querySelector('#items').getBoundingClientRect().top) < 60")
    assert page.evaluate("document.activeElement.className") == "jg-list"


def test_the_dark_mode_of_the_system_is_followed(open_page: OpenPage) -> None:
    page = open_page(dark=True)
    background = page.evaluate("getComputedStyle(document.querySelector('.gradio-container')).backgroundColor")
    assert max(int(part) for part in re.findall(r"\d+", background)[:3]) < 60
    text = page.evaluate("getComputedStyle(document.querySelector('#item .jg-text')).color")
    assert min(int(part) for part in re.findall(r"\d+", text)[:3]) > 180


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_axe_finds_nothing_serious_on_any_tab(open_page: OpenPage, dark: bool) -> None:
    page = open_page(dark=dark)
    open_settings(page)
    serious: list[str] = []
    hovered: set[str] = set()

    def look(name: str, where: str | None = None) -> None:
        # Under the mouse, and in the dark, colours alone are others.
        options = {"runOnly": ["color-contrast"]} if dark or where else None
        for found in Axe().run(page, where, options).response["violations"]:
            if found["impact"] in ("serious", "critical"):
                serious.extend(f"{name}: {found['id']} {node['html'][:160]}" for node in found["nodes"])

    def see(name: str) -> None:
        look(name)
        for button in page.locator("button.primary:visible").all():
            button.hover()
            page.wait_for_timeout(400)  # Its colour changes slowly.
            id_ = button.get_attribute("id") or ""
            look(f"{name}, under the mouse", f"#{id_}")
            hovered.add(id_)
        page.mouse.move(0, 0)

    each_tab(page, "ja-JP", see)
    for name in ("一問をいろいろな書式で", "書式だけを変えてみる"):
        tab(page, "書式を学ぶ")
        tab(page, name)
        page.wait_for_timeout(500)
        see(name)
    assert hovered >= {
        *("run", "course-run", "lab-look", "sweep-run", "full-run", "open-pair", "audit-ask", "audit-look"),
    }
    assert serious == []


def test_the_page_keeps_nothing_of_what_is_typed_in_the_browser(open_page: OpenPage) -> None:
    page = open_page()
    open_settings(page)
    page.locator("#a-model input").fill("somebody/secret-model")
    page.locator("#a-model input").press("Enter")
    page.click("#run")
    page.wait_for_selector("#run-says .jg-error")
    assert "secret-model" not in page.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
