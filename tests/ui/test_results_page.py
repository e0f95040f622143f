"""The Results tab in a real browser: ranks, pictures, into Compare, export, import, deletion."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pandas as pd
import pytest
from playwright.sync_api import Page

from tests.results.importers.logs import jnli_ranked, samples
from tests.results.importers.logs import results as results_file
from tests.ui.conftest import OpenPage, Tables, serve
from tests.ui.driving import choose, finished, only_subsets, said, shows, start, tab


@pytest.fixture
def results(open_page: OpenPage) -> Page:
    page = open_page()
    tab(page, "結果")
    page.wait_for_selector("#leaderboard .jg-ranking")
    return page


def ranks(page: Page) -> dict[str, str]:
    """Label → rank with its move, of the runs that came with the application."""
    found = {}
    for row in page.locator("#leaderboard tr[data-run]").all():
        label = row.locator("th").inner_text()
        if "付属" in label:
            found[label.split("\n")[0]] = " ".join(row.locator(".jg-rank").inner_text().split()[:2])
    return found


BASE_0, BASE_3 = "gemma-3-270m · plain · 日本語ラベル · 例題なし", "gemma-3-270m · plain · 日本語ラベル · 例題 3 個"


@pytest.mark.slow
def test_ranks_move_when_another_protocol_scores_the_same_outputs(open_page: OpenPage, tmp_path: Path) -> None:
    with serve(tmp_path / "only-shipped") as address:
        page = open_page(address=address)
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        only_subsets(page, "MARC-ja", group="results-tasks")
        page.wait_for_function("document.querySelectorAll('#leaderboard thead th').length === 6")
        official = ranks(page)
        assert official[BASE_3] == "2 2–5"
        assert official[BASE_0] == "6"
        choose(page, "protocol", "stability-jp")
        page.wait_for_selector("#leaderboard .jg-moved")
        # By ranking, the model without examples has 0.68 where most others have about 0.50: of 44 items too little to
        # tell it from the best or from the others.
        moved = ranks(page)
        assert moved[BASE_0] == "1 ▲5"
        assert moved[BASE_3] == "2 2–6"
        # Other rows name this run as one of those that they are not told apart from.
        assert "0.682" in page.inner_text("#leaderboard tr[data-run='shipped:base-0-shot']")


def test_a_subset_that_a_protocol_does_not_score_is_named(results: Page) -> None:
    choose(results, "protocol", "stability-jp")
    said(results, "JSTS は stability-jp か比較先の採点方法にないため", "results-status")
    assert "JSTS" not in results.inner_text("#leaderboard thead")


@pytest.mark.slow
def test_no_subset_is_a_sentence(results: Page) -> None:
    only_subsets(results, group="results-tasks")
    said(results, "サブセットを一つ以上", "results-status")


def test_the_pictures_draw_the_picked_runs_with_their_intervals(results: Page) -> None:
    bar = results.locator("#figures .jg-gbar").first
    value = float(bar.locator(".jg-gvalue").inner_text())
    assert f"width:{100 * value:.1f}%" in str(bar.locator(".jg-gfill").get_attribute("style")).replace(" ", "")
    assert bar.locator(".jg-whisker").count() == 1


def test_any_two_runs_go_into_compare_without_a_model(results: Page, server: str) -> None:
    # The address is that of the pair, however Results was reached: here by its own.
    results.goto(f"{server}/?tab=results")
    results.wait_for_selector("#leaderboard .jg-ranking", state="visible")
    for side, label in (("a", BASE_0), ("b", "SmolLM2-135M-Instruct.Q4_1.gguf · chat · 日本語ラベル · 例題 3 個")):
        row = results.locator("#leaderboard tr[data-run]", has_text=label).filter(has_text="付属").first
        row.locator(f".jg-pick[data-side={side}]").click()
        results.wait_for_function(
            "([side, label]) => [...document.querySelectorAll('#leaderboard tr')].some("
            "(r) => r.innerText.includes(label) && r.querySelector(`.jg-pick[data-side=${side}][aria-pressed=true]`))",
            arg=[side, label],
        )
    results.click("#open-pair")
    results.wait_for_selector("#first .jg-key-name", state="visible")
    results.wait_for_function("location.search.startsWith('?run_a=shipped:') && location.search.includes('&run_b=')")
    results.wait_for_function("scrollY === 0")
    said(results, "SmolLM2-135M-Instruct", "first")
    full_name = results.locator("#first .jg-key-name").first.get_attribute("title")
    assert full_name == "gemma-3-270m · plain · 日本語ラベル · 例題なし"
    shows(results, 227)
    results.wait_for_selector("#item .jg-item")


@pytest.mark.slow
def test_ticked_runs_stand_against_a_baseline_and_an_item_of_theirs_opens_in_compare(
    results: Page, server: str
) -> None:
    page = results
    for i, run in enumerate(("shipped:base-3-shot", "shipped:base-0-shot", "shipped:chat-3-shot"), 1):
        page.locator(f'.jg-tick[data-run="{run}"]').check()
        page.wait_for_function("n => document.querySelectorAll('#matrix-runs .token').length === n", arg=i)
    page.wait_for_selector("#matrix tbody tr >> nth=2")
    assert page.locator("#matrix tbody tr").count() == 3
    page.wait_for_function("location.search.includes('runs=shipped:base-3-shot,shipped:base-0-shot')")
    page.locator("#matrix-items [data-filter=gained]").click()
    # The keyboard alone goes to the second row and its second run, and opens it.
    page.locator("#matrix-items .jg-grid").focus()
    page.keyboard.press("ArrowDown")
    id_ = page.locator("#matrix-items .jg-grid-row[data-at='1'] .jg-grid-id").inner_text().split(" ")[1]
    address = page.url
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#item .jg-item[data-item$='/{id_}']", state="visible")
    page = page.context.new_page()
    page.goto(address)
    page.wait_for_selector("#matrix tbody tr >> nth=2", state="visible")
    assert page.locator("#matrix tbody tr").count() == 3
    page.click("#slice-show")
    page.wait_for_selector("#slices .jg-reliability svg")
    deleted = "0123456789abcdef"
    page = page.context.new_page()
    page.goto(f"{server}?tab=results&runs={deleted},shipped:base-0-shot&baseline={deleted}")
    said(page, f"保存場所にもうありません：{deleted}", "matrix-gone")


def exported(page: Page, format: str, name: str = "") -> Path:
    page.locator(f"#export-format label:has(input[value={format}])").click()
    page.click("#export")
    shown = "part => document.querySelector('#export-file')?.innerText.includes(part)"
    page.wait_for_function(shown, arg=name or f".{format}")
    with page.expect_download() as download:
        page.locator("#export-file a").first.click()
    return Path(download.value.path())


@pytest.mark.slow
def test_a_run_is_exported_imported_and_deleted(open_page: OpenPage, table: Tables, tmp_path: Path) -> None:
    runs, other = tmp_path / "here", tmp_path / "there"
    with serve(runs) as address:
        page = open_page(address=address)
        start(page, table("moving", "=1+1", 0.0), None, "JNLI")
        finished(page)
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        choose(page, "manage-run", "moving.jsonl")
        lines = exported(page, "jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["raw"] for line in lines] == ["=1+1"] * 5
        cells = list(csv.DictReader(io.StringIO(exported(page, "csv").read_text("utf-8-sig"))))
        assert {row["raw"] for row in cells} == {"'=1+1"}
        assert len(pd.read_parquet(exported(page, "parquet"))) == 5
        packed = tmp_path / "moving.zip"
        packed.write_bytes(exported(page, "zip").read_bytes())
        assert {Path(name).name for name in zipfile.ZipFile(packed).namelist()} == {
            *("manifest.json", "items.jsonl", "records.jsonl")
        }
        log = zipfile.ZipFile(exported(page, "lm-eval", "lm-eval"))
        assert [Path(name).name[:25] for name in log.namelist()][1:] == ["samples_jglue_sample_jnli"]
        page.locator("#export-format label:has(input[value=hub-eval-results])").click()
        page.click("#export")
        said(page, "モデルカードの成績にはできません", "manage-status")
        page.click("#delete")
        said(page, "元には戻せません", "delete-question")
        page.click("#delete-no")
        page.wait_for_selector("#delete-yes", state="hidden")
        assert len(list(runs.glob("*/manifest.json"))) == 1
        page.click("#delete")
        page.wait_for_selector("#delete-yes", state="visible")
        page.click("#delete-yes")
        said(page, "を削除しました", "manage-status")
        assert list(runs.glob("*/manifest.json")) == []
        page.wait_for_function("!document.querySelector('#leaderboard').innerText.includes('moving.jsonl')")
    with serve(other) as address:
        page = open_page(address=address)
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        page.set_input_files("#import input[type=file]", packed)
        said(page, "読み込みました：moving.jsonl", "manage-status")
        said(page, "moving.jsonl", "leaderboard")
        page.set_input_files("#import input[type=file]", packed)
        said(page, "もうここにあります", "manage-status")
        bad = tmp_path / "bad.zip"
        bad.write_bytes(b"not a zip file")
        page.set_input_files("#import input[type=file]", bad)
        said(page, "読める .zip ファイルではありません", "manage-status")


@pytest.mark.slow
def test_a_log_of_another_harness_becomes_a_run_with_what_has_to_be_known_of_it(
    open_page: OpenPage, tmp_path: Path
) -> None:
    task = "ja_leaderboard_jnli"
    found = jnli_ranked(
        {"entailment": (-1.0, -2.0, -3.0), "contradiction": (-2.0, -1.0, -3.0), "neutral": (-3.0, -2.0, -1.0)}
    )
    log = samples(tmp_path, task, found[:40])
    scores = results_file(tmp_path, {task: {"acc": 0.5}})
    with serve(tmp_path / "here") as address:
        page = open_page(address=address)
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        page.set_input_files("#import input[type=file]", [log, scores])
        said(page, "5 問（45 問中、JNLI valid）の答えがありません", "manage-status")
        page.click("#import-partial input")
        page.set_input_files("#import input[type=file]", [log, scores])
        said(page, "読み込みました：model-1b · lm-eval 0.4.13", "manage-status")
        said(page, "JNLI：データの 45 問のうち 5 問は、lm-eval 0.4.13 のログに答えがありません", "manage-status")
        said(page, "lm-eval 0.4.13 が示した acc は 0.5000 です", "manage-status")
        said(page, "model-1b · lm-eval 0.4.13", "leaderboard")
        choose(page, "manage-run", "lm-eval 0.4.13")
        lines = exported(page, "jsonl").read_text("utf-8").splitlines()
        assert len(lines) == 40
        other = jnli_ranked(dict.fromkeys(("entailment", "contradiction", "neutral"), (-1.0, -2.0, -3.0)))
        page.fill("#import-model :is(input, textarea)", "mine")
        page.set_input_files("#import input[type=file]", samples(tmp_path / "b", task, other))
        said(page, "読み込みました：mine · lm-eval", "manage-status")
        choose(page, "pick-a", "model-1b")
        choose(page, "pick-b", "mine")
        page.click("#open-pair")
        page.wait_for_selector("#first .jg-key-name", state="visible")
        said(page, "mine · lm-eval", "first")
        page.wait_for_selector("#item .jg-item")
        said(page, "前提：", "item")


@pytest.mark.slow
def test_a_run_that_came_with_the_application_stays(results: Page) -> None:
    choose(results, "manage-run", "SmolLM2")
    results.click("#delete")
    said(results, "付属のもので、削除できません", "manage-status")
    assert not results.locator("#delete-yes").is_visible()


@pytest.mark.slow
def test_a_yes_deletes_the_run_that_the_question_named_whatever_is_chosen_meanwhile(
    open_page: OpenPage, table: Tables, tmp_path: Path
) -> None:
    runs = tmp_path / "two"
    with serve(runs) as address:
        page = open_page(address=address)
        for name in ("first", "second"):
            start(page, table(name, "含意", 0.0), None, "JNLI")
            finished(page)
            said(page, f"{name}.jsonl", "first")
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        choose(page, "manage-run", "first.jsonl")
        page.click("#delete")
        said(page, "first.jsonl", "delete-question")
        choose(page, "manage-run", "second.jsonl")
        choose(page, "protocol", "flexeval")
        page.wait_for_timeout(1_000)
        assert "second.jsonl" in page.locator("#manage-run input").input_value()
        page.click("#delete-yes")
        said(page, "を削除しました", "manage-status")
        (left,) = runs.glob("*/manifest.json")
        assert "second.jsonl" in left.read_text("utf-8")


@pytest.mark.slow
def test_two_runs_made_alike_go_into_compare_with_the_command_that_repeats_them(
    open_page: OpenPage, table: Tables, tmp_path: Path
) -> None:
    with serve(tmp_path / "alike") as address:
        page = open_page(address=address)
        for name in ("left", "right"):
            start(page, table(name, "含意", 0.0), None, "JNLI")
            finished(page)
            said(page, f"{name}.jsonl", "first")
        tab(page, "結果")
        # Both have too few items for a verdict, so they stand in one line, which unfolds.
        page.click("#leaderboard .jg-unfold")
        for side, name in (("a", "left"), ("b", "right")):
            row = page.locator("#leaderboard tr[data-run]", has_text=f"{name}.jsonl")
            row.locator(f".jg-pick[data-side={side}]").click()
            row.locator(f".jg-pick[data-side={side}][aria-pressed=true]").wait_for()
        page.click("#open-pair")
        page.wait_for_selector("#setup", state="visible")
        said(page, "right.jsonl", "setup")
        page.wait_for_selector("#repeat .jg-command", state="visible")
        command = page.inner_text("#repeat .jg-command")
        assert re.search(r"compare --a \S+left\.jsonl --b \S+right\.jsonl --tasks jnli", command)
        assert set(parse_qs(urlparse(page.url).query)) == {"run_a", "run_b"}
