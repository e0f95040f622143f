"""The Full run tab in a real browser."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from playwright.sync_api import Page

from jglue_app.runs.store import RunStore
from jglue_app.version import __version__
from tests.ui.conftest import OpenPage, Tables, free_port, serve
from tests.ui.driving import (
    SHIFTS,
    choose_model,
    finished,
    generate_only,
    only_subsets,
    open_settings,
    said,
    set_up,
    shows,
    tab,
)
from tests.wandb_sink.known import until


def begin(page: Page, model: Path) -> None:
    tab(page, "全問実行")
    page.locator("#full-data label").first.click()
    choose_model(page, "full-model", model)
    only_subsets(page, "JNLI", group="full-tasks")
    generate_only(page, "full-method")
    page.click("#full-run")


def stored(runs: Path) -> int:
    """How many items the runs of a folder have."""
    return sum(file.read_bytes().count(b"\n") for file in runs.glob("*/records.jsonl"))


@pytest.mark.slow
def test_a_full_run_goes_on_through_a_reload_and_can_be_opened_item_by_item(open_page: OpenPage, table: Tables) -> None:
    page = open_page()
    begin(page, table("whole", "含意", 0.4))
    page.wait_for_selector("#full-status .jg-overall")
    said(page, "--model", "full-repeat")
    assert "--limit" not in page.inner_text("#full-repeat")
    page.reload()
    tab(page, "全問実行")
    page.wait_for_selector("#full-status .jg-overall")
    # The controls and the command still say what is running.
    assert "whole.jsonl --tasks jnli --data sample" in page.inner_text("#full-repeat")
    assert "whole.jsonl" in page.locator("#full-model input").input_value()
    # The bar over the page goes away at the run's end, and nothing in the page moves for it.
    page.evaluate("window.scrollTo(0, 0)")
    page.evaluate(SHIFTS)
    finished(page, box="full-status")
    page.wait_for_timeout(300)
    assert sum(page.evaluate("window.shifts")) <= 0.05
    page.click("#full-export")
    with page.expect_download() as download:
        page.locator("#full-file a").first.click()
    assert Path(download.value.path()).read_text("utf-8").count("\n") == 45
    said(page, "45 問", "full-board")
    page.click("#open-full")
    page.wait_for_selector("#items .jg-row", state="visible")
    shows(page, 45)
    assert page.locator("#items [data-filter=only_a]").count() == 0


@pytest.mark.slow
def test_a_full_run_lets_a_short_comparison_in_between(open_page: OpenPage, table: Tables) -> None:
    page = open_page()
    page.set_default_timeout(120_000)  # A slow machine takes its time to hand over.
    other = open_page()
    other.set_default_timeout(120_000)
    # Before the full run begins: on a slow machine its twenty seconds might be over before all this is set.
    set_up(other, table("urgent", "含意", 0.0), None, "JNLI")
    begin(page, table("patient", "含意", 1.0))
    page.wait_for_selector("#full-status .jg-overall")
    other.click("#run")
    said(other, "順番待ち：前に")
    said(other, "いま実行中：全問実行、")
    assert other.locator("#run-other").is_visible()
    # The full run takes half a minute; after twenty seconds it makes way.
    finished(other)
    assert "終わりました" not in page.inner_text("#full-status")
    finished(page, box="full-status")
    said(page, "45 問", "full-board")


@pytest.mark.slow
def test_a_stopped_run_is_listed_after_a_restart_and_goes_on(
    open_page: OpenPage, tmp_path: Path, table: Tables
) -> None:
    port, runs = free_port(), tmp_path / "full"
    model = table("slow-whole", "含意", 0.4)
    with serve(runs, port=port) as address:
        page = open_page(address=address)
        begin(page, model)
        until(lambda: stored(runs) > 0, "the first item")
        page.click("#full-run")
        said(page, "止めました", "full-status")
        page.close()
    (records,) = runs.glob("*/records.jsonl")
    kept = records.read_bytes()
    assert 0 < kept.count(b"\n") < 45
    with serve(runs, port=port) as address:
        page = open_page(address=address)
        tab(page, "全問実行")
        page.wait_for_selector("#go-on", state="visible")
        assert "slow-whole.jsonl" in page.locator("#unfinished input").input_value()
        page.click("#go-on")
        page.wait_for_selector("#go-on", state="hidden")
        page.wait_for_function("name => document.querySelector('#full-model input').value === name", arg=str(model))
        said(page, str(model), "full-repeat")
        finished(page, box="full-status")
        assert not page.locator("#go-on").is_visible()
    assert records.read_bytes().startswith(kept)
    assert records.read_bytes().count(b"\n") == 45


def test_an_empty_selection_is_a_sentence(open_page: OpenPage) -> None:
    page = open_page()
    tab(page, "全問実行")
    only_subsets(page, group="full-tasks")
    page.click("#full-run")
    said(page, "サブセットを一つ以上", "full-status")


def test_the_settings_of_the_other_tab_stay_as_they_are(open_page: OpenPage) -> None:
    page = open_page()
    tab(page, "全問実行")
    only_subsets(page, "JNLI", group="full-tasks")
    tab(page, "比べる")
    open_settings(page)
    assert page.locator("#tasks input:checked").count() == 5


@pytest.mark.slow
def test_a_run_of_another_version_is_not_offered_to_go_on(open_page: OpenPage, tmp_path: Path, table: Tables) -> None:
    runs = tmp_path / "older"
    with serve(runs) as address:
        page = open_page(address=address)
        begin(page, table("older", "含意", 2.0))
        until(lambda: stored(runs) > 0, "the first item")
        page.click("#full-run")
        page.wait_for_selector("#go-on", state="visible")
        (manifest,) = runs.glob("*/manifest.json")
        text = manifest.read_text("utf-8").replace(f'"code_version": "{__version__}"', '"code_version": "0.0.1"')
        assert '"code_version": "0.0.1"' in text
        manifest.write_text(text, "utf-8")
        fresh = open_page(address=address)
        tab(fresh, "全問実行")
        fresh.wait_for_selector("#full-board .jg-empty")
        assert not fresh.locator("#go-on").is_visible()
        # As it was made by this version it is offered again, but not while somebody else is making it.
        manifest.write_text(text.replace('"code_version": "0.0.1"', f'"code_version": "{__version__}"'), "utf-8")
        for made_elsewhere in (True, False):
            with RunStore(manifest.parent).writing() if made_elsewhere else nullcontext():
                fresh = open_page(address=address)
                tab(fresh, "全問実行")
                fresh.wait_for_selector("#full-board .jg-empty")
                assert fresh.locator("#go-on").is_visible() is not made_elsewhere
