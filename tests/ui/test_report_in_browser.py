"""Reports in a real browser, opened from a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from jinja2 import DictLoader, Environment
from playwright.sync_api import Browser, expect

from jglue_app import api
from jglue_app.results import surrogates
from jglue_app.settings import Settings
from jglue_app.ui import views
from jglue_app.ui.static_report.template_script import translate
from tests.ui.conftest import OpenPage
from tests.ui.reading_reports import report, store
from tests.ui.test_compare_page import write_long_run

PROBE = """
{%- from "macros.html" import quoted, twice as again -%}
{% macro own(a, b="vor<gabe>") %}[{{ a }}|{{ b }}]{% endmacro %}
{{ own(text) }}{{ own(text, b=none_) }}{{ quoted(text) }}{{ again(rows, w) }}
{% for row in rows %}{{ loop.index }}/{{ loop.length }}{% if loop.first %}F{% elif loop.last %}L{% else %}-{% endif %}
{%- for key, item in row.pairs.items() %}{{ key }}={{ item }};{% else %}none{% endfor %}
{%- if not loop.last %}, {% endif %}{% endfor %}
{% for x in missing.deeply %}{{ x }}{% else %}{{ empty or "leer" }}{% endfor %}
{{ text | length }}{{ "ABC" | lower }}{{ names | join(" & ") }}{{ missing | default("<d>") }}{{ missing.x.y }}
{{ rows | tojson }}{{ text | tojson }}
{{ rows[0].name }}{{ rows[1]["name"] }}{{ "ab"[one - 1] }}{{ text ~ one ~ quoted("x") }}{{ one + 2 }}
{% if one == 1 and text != "" and "b" in names and not missing %}yes{% endif %}
{{ "q" if empty else "p" }}{{ none_ }}{{ yes }}
{% if missing is defined %}D{% elif none_ is none %}N{% endif %}{% set changed = text %}
{{ changed }}{% include "part.html" %}
{% if empty_list %}L{% endif %}{% if empty_table %}T{% endif %}{{ sides.split() | length }}
{{ "{} %, {}".format(one, text) }}{{ w.label.format(text) }}{% import "macros.html" as m %}{{ m.quoted(text) }}
"""
OTHERS = {
    "macros.html": "{% macro quoted(t) %}<q>{{ t }}</q>{% endmacro %}"
    "{% macro twice(rows, w) %}{% for r in rows %}{{ r.name }}{{ w.label }}{% endfor %}{% endmacro %}",
    "part.html": "({{ text }} {{ changed }} {{ w.label }})",
}
GIVEN: dict[str, Any] = {
    "text": "<i>&\"'`",
    "none_": None,
    "rows": [{"name": "é<", "pairs": {"k": 1}}, {"name": "", "pairs": {}}, {"name": "z", "pairs": {}}],
    "empty": "",
    "names": ["a", "b", "<c>"],
    "one": 1,
    "yes": True,
    "empty_list": [],
    "empty_table": {},
    "sides": " A  B ",
    "w": {"label": "<L>"},
}


@pytest.mark.slow
def test_a_report_opens_from_a_file_and_draws_what_the_page_draws(
    browser: Browser, settings: Settings, tmp_path: Path
) -> None:
    runs = [store(tmp_path, "a"), store(tmp_path, "b", ("含意", "矛盾")), store(tmp_path, "c", ("中立",), 5)]
    page_text, contents = report(settings, *runs)
    file = tmp_path / "report.html"
    file.write_text(page_text, "utf-8")
    context = browser.new_context(locale="ja-JP", viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page = context.new_page()
    faults: list[str] = []
    fetched: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("#item .jg-item")

    # Every item of both pairs in both languages is the text that Jinja makes.
    drawn = page.evaluate(
        """async () => {
          const own = await block(1), out = [];
          for (const lang of LANGUAGES) {
            const head = value(first.head, lang, []);
            for (const root of own.roots) {
              const payload = value(root, lang, own.nodes);
              out.push(payload && TEMPLATES['item.html']({ ...payload, w: head.labels }).html.toWellFormed());
            }
          }
          return out;
        }"""
    )
    shown = list(map(set, contents.listed_keys))
    expected = [
        surrogates.replace(views.render("item", contents.item(pair, *key, lang), lang)) if key in shown[pair] else None
        for lang in ("ja", "en")
        for pair in (0, 1)
        for key in contents.keys
    ]
    assert drawn == expected
    # And so is every construct that templates may use.
    environment = Environment(
        loader=DictLoader({"probe.html": PROBE, **OTHERS}),
        autoescape=True,
        undefined=views.TEMPLATES.undefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translated = translate(environment, "probe.html")
    probed = page.evaluate(
        f"(given) => {{ Object.assign(TEMPLATES, {translated}); return TEMPLATES['probe.html'](given).html; }}", GIVEN
    )
    assert probed == environment.get_template("probe.html").render(GIVEN)

    # Its header is whole: nothing of it is above the page, and nothing of it lies over what follows.
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        tops, end, card = page.evaluate(
            """() => {
              const seen = (places) => [...document.querySelectorAll(places)].filter((one) => one.checkVisibility())
                .map((one) => one.getBoundingClientRect());
              const head = seen("header.jg-head, header.jg-head *");
              return [head.map((one) => one.top + scrollY), Math.max(...head.map((one) => one.bottom)),
                seen("main > *")[0].top];
            }"""
        )
        assert min(tops) >= 0, width
        assert end <= card, width
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    themes: tuple[Literal["dark", "light"], ...] = ("dark", "light")
    for theme in themes:
        page.emulate_media(color_scheme=theme)
        serious = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        assert [(theme, one["id"], one["nodes"][0]["html"]) for one in serious] == []
    page.emulate_media(color_scheme="dark")

    # As a reader goes about it: filter, search, keyboard, the other pair, the other language.
    page.wait_for_selector("html.dark", state="attached")
    rows = page.locator("#items .jg-row")
    assert rows.count() == 7
    page.fill("#items .jg-search", contents.lists[0]["ja"]["rows"][3][2][:8])
    assert rows.count() == 1
    # Regular expressions: one that finds, one that is none, and one that never ends.
    count = page.locator("#items .jg-count")
    expect(count).to_have_text("1 問")
    page.fill("#items .jg-search", f"/^.*{re.escape(contents.lists[0]['ja']['rows'][3][2][2:8])}/")
    expect(rows).to_have_count(1)
    page.fill("#items .jg-search", "/nothing(?= of this)/")
    expect(count).to_have_text("0 問")
    sentences = []
    for wrong in ("/(/", "/(.|.|.|.)+$^x/"):
        page.fill("#items .jg-search", wrong)
        page.wait_for_selector("#items .jg-count-wrong")
        sentences.append(count.inner_text())
        page.fill("#items .jg-search", "")
        expect(rows).to_have_count(7)
    words = contents.lists[0]["ja"]["words"]
    assert sentences[0].startswith(words["regex_wrong"].split("{}")[0]) and len(sentences[0]) > len(
        words["regex_wrong"]
    )
    assert sentences[1] == words["regex_slow"] != sentences[0]
    page.locator("#items [data-filter=only_b]").click()
    listed = contents.lists[0]["ja"]
    bit = 1 << listed["bits"].index("only_b")
    only_b = sum(bool(row[5] & bit) for row in listed["rows"])
    assert 0 < only_b < 7
    assert rows.count() == only_b
    page.locator("#items [data-filter=all]").click()
    page.focus("#items .jg-list")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    (_, second), question = contents.listed_keys[0][1], listed["rows"][1][2]
    page.wait_for_selector(f"#item [data-item='jnli/{second}']")
    page.get_by_role("button", name="English").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#item :text('Strict')")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("section[lang=en] h2:visible").count() >= 3
    assert not page.locator("section[lang=ja]:visible").count()
    assert not page.locator(":text('厳密'):visible").count()

    # An image of the item, which is made here.
    page.locator("#item [data-jg-share]").click()
    image = page.get_by_role("dialog").get_by_role("img")
    image.evaluate("image => image.decode()")
    assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [1200, 630]
    assert f"JNLI: {question}"[:20] in str(image.get_attribute("alt"))
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save PNG").click()
    assert saved.value.suggested_filename == f"jglue-jnli-{second}.png"
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")

    # From a cell of items × runs to that item in the pair of its run.
    page.locator("#matrix-items [data-filter=all]").click()
    page.locator("#matrix-items [role=gridcell]").nth(2).click()
    assert page.locator("#jgr-pair").input_value() == "1"
    page.wait_for_selector("#item .jg-item")
    page.select_option("#jgr-pair", "0")
    assert rows.count() == 7
    page.select_option("#jgr-pair", "1")
    assert rows.count() == 5
    page.wait_for_selector("#item .jg-item")
    item = page.locator("#item .jg-item").get_attribute("data-item")

    # The address leads back to the same place; the answers ran nothing, and nothing was fetched.
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(f"#item [data-item='{item}']")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("#jgr-pair").input_value() == "1"
    assert page.evaluate("window.__ran") is None
    # The image of the item is a blob of the browser's own.
    assert {url.split("#")[0] for url in fetched if not url.startswith("blob:")} <= {file.as_uri(), "about:blank"}
    assert faults == []
    context.close()


@pytest.mark.harness
def test_a_report_of_10000_items_opens(browser: Browser, settings: Settings, tmp_path: Path) -> None:
    template = store(tmp_path, "a", ("含意",), 1)
    write_long_run(settings.runs_dir, template, "0123456789abcdef", 10_000)
    api.export_report([settings.runs_dir / "0123456789abcdef"], tmp_path / "long.html")
    assert (tmp_path / "long.html").stat().st_size < 5_000_000
    page = browser.new_page()
    page.goto((tmp_path / "long.html").as_uri())
    page.wait_for_selector("#item .jg-item")
    page.focus("#items .jg-list")
    page.keyboard.press("End")
    page.wait_for_selector("#item [data-item='jnli/n9999']")
    page.close()


@pytest.mark.slow
def test_the_page_offers_a_report_and_an_image_of_what_it_shows(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    page.wait_for_selector("#item .jg-item")
    for place in ("#first", "#item"):
        page.locator(f"{place} [data-jg-share]").click()
        image = page.get_by_role("dialog").get_by_role("img")
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [1200, 630]
        page.keyboard.press("Escape")
    page.click("#report")
    page.wait_for_selector("#report-file a")
    with page.expect_download() as saved:
        page.locator("#report-file a").first.click()
    saved.value.save_as(tmp_path / "page.html")
    shown = page.locator("#items .jg-count").inner_text()
    headline = page.locator("#first .jg-headline").inner_text()
    opened = page.context.new_page()
    opened.goto((tmp_path / "page.html").as_uri())
    opened.wait_for_selector("#item .jg-item")
    assert opened.locator("#items .jg-count").inner_text() == shown
    assert opened.locator(".jg-headline:visible").inner_text() == headline
