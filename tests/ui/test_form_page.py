"""The form in a real browser: naming a model by keyboard, and what is out of bounds."""

from __future__ import annotations

import pytest

from tests.ui.conftest import OpenPage, Tables
from tests.ui.driving import SHIFTS, choose_model, finished, open_settings, said, start

LONG = "x" * 3_000
FITS = "document.documentElement.scrollWidth <= window.innerWidth"


@pytest.mark.slow
def test_a_typed_name_wins_over_the_list_unless_a_row_was_moved_to(open_page: OpenPage) -> None:
    page = open_page(width=390)
    open_settings(page)
    box = page.locator("#a-model input")
    box.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("mosaicml/mpt-7b")
    page.wait_for_selector("#a-model [role=option]")
    assert box.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Enter")
    assert (box.input_value(), box.get_attribute("aria-expanded")) == ("mosaicml/mpt-7b", "false")
    said(page, "mpt-7b · plain", "setup")
    # A row that is moved to is taken, and its format with it; B is the same model.
    page.keyboard.type("-")
    page.keyboard.press("ArrowDown")
    active = box.get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    page.keyboard.press("Enter")
    assert box.input_value() == "mosaicml/mpt-7b-instruct"
    said(page, "B mpt-7b-instruct · alpaca", "setup")
    # A format that was chosen stays.
    page.locator("#a-format input").click()
    page.locator("#a-format [role=option]", has_text="rinna").first.click()
    said(page, "A mpt-7b-instruct · rinna", "setup")
    box.fill("gemma-3-270m")
    box.press("Escape")
    page.keyboard.press("Tab")
    said(page, "A gemma-3-270m · rinna", "setup")
    said(page, "B gemma-3-270m · plain", "setup")
    # Out of bounds: a sentence beside the box, here and in B, and no wider page.
    box.fill(LONG)
    page.keyboard.press("Tab")
    said(page, "モデルの名前は 500 文字まで", "a-model")
    assert box.get_attribute("aria-invalid") == "true"
    assert page.evaluate(FITS)
    page.click("#run")
    page.wait_for_selector("#run-says .jg-error")
    assert page.evaluate(FITS)
    box.fill("gemma-3-270m")
    page.keyboard.press("Tab")
    page.wait_for_function("!document.querySelector('#a-model .jg-beside-fault')")
    shots = page.locator("#b-shots input[type=number]")
    shots.fill("99")
    said(page, "例題の数は 0 から 16 までです。", "b-shots")
    shots.press("Tab")  # Gradio brings it within its bounds.
    page.wait_for_function("!document.querySelector('#b-shots .jg-beside-fault')")
    said(page, "20 問", "limit")
    page.locator("#limit input").fill("5")
    said(page, "各 5 問では差を判定できません", "limit")


@pytest.mark.slow
def test_one_button_runs_stops_and_runs_and_nothing_moves(open_page: OpenPage, table: Tables) -> None:
    page = open_page()
    # This one and the last go on until they are stopped, however long that takes.
    start(page, table("steady", "含意", 10.0), None, "JNLI", items="40")
    page.wait_for_function("document.querySelector('#run').innerText === '止める'")
    page.wait_for_selector("#status .jg-overall")
    page.focus("#run")
    page.reload()
    # After a reload it still stops, and so does that of a second tab.
    page.wait_for_function("document.querySelector('#run')?.innerText === '止める'")
    other = open_page(like=page)
    other.wait_for_function("document.querySelector('#run')?.innerText === '止める'")
    page.bring_to_front()
    open_settings(page)
    page.focus("#run")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#run').innerText === '比べる'")
    assert page.evaluate("document.activeElement.id") == "run"
    said(page, "止めました")
    other.wait_for_function("document.querySelector('#run')?.innerText === '比べる'")
    # A whole run is watched for shifts.
    choose_model(page, "a-model", table("watched", "含意", 0.3))
    said(page, "watched.jsonl", "setup")
    page.focus("#run")
    page.evaluate(SHIFTS)
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#run').innerText === '止める'")
    finished(page)
    assert page.evaluate("document.activeElement.id") == "run"
    assert page.inner_text("#run") == "比べる"
    assert sum(page.evaluate("window.shifts")) <= 0.1
    # Another tab with other settings takes the place of what is going on, and says so.
    start(page, table("long", "中立", 10.0), None, "JNLI", items="40")
    page.wait_for_selector("#status .jg-overall")
    other.bring_to_front()
    open_settings(other)
    start(other, table("rival", "矛盾", 0.0), None, "JNLI")
    said(other, "実行中だったほうを止め")
    said(other, "終わりました")
