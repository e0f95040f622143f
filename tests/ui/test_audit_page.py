"""The tab on which a score or a table is audited, in a real browser, and its words."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest
from playwright.sync_api import Page

from jglue_app.audit.auditor import audit_score, audit_table
from jglue_app.audit.benchmarks import BENCHMARKS, METRICS
from jglue_app.audit.sentences import SENTENCES, TEST_NAMES, Finding, sentence
from jglue_app.errors import InputError
from jglue_app.messages import Message, catalogue, say
from jglue_app.scoring.metric_names import METRIC_NAMES
from jglue_app.ui.tabs.audit import EXAMPLES, items, swallow
from tests.ui.conftest import OpenPage, serve
from tests.ui.driving import said, tab


def places(text: str) -> set[tuple[str, str]]:
    return {(name, spec or "") for _, name, spec, _ in Formatter().parse(text) if name}


def audited(page: Page, score: str) -> None:
    page.fill("#audit-score input", score)
    page.click("#audit-ask")


def told(found: Finding, lang: str) -> tuple[str, str]:
    """What is so, and why, in one language."""
    what, why = sentence(found)
    return say(what, lang), say(why, lang)


def test_every_finding_is_said_in_japanese_with_the_values_of_english() -> None:
    japanese = re.compile("[ぁ-んァ-ヶ一-龠]")
    entries = catalogue("ja")
    assert set(METRIC_NAMES) == set(METRICS)
    names = {*METRIC_NAMES.values(), *TEST_NAMES.values()} - {"F1"}
    for template in {*names, *(text for texts in SENTENCES.values() for text in texts)}:
        assert japanese.search(entries[None, template]), template
        assert not japanese.search(template)
        assert places(entries[None, template]) == places(template)


def test_lists_are_joined_as_each_language_does() -> None:
    found = next(f for f in audit_score("jcommonsenseqa", "0.200179").findings if f.kind == "fits_sizes")
    assert told(found, "ja")[0] == "問題数としては 1,119 問に合い、1,118・100 問には合いません。"
    assert told(found, "en")[0] == "It fits 1,119 items; it does not fit 1,118 or 100."


@pytest.mark.parametrize(
    ("task", "score", "metric"),
    [
        *(("jnli", ".301561", None), ("jnli", "0.92", None), ("jnli", "0.5", "balanced_accuracy")),
        *(("jsts", "0.87", None), ("jsts", "0.0", "spearman"), ("jsquad", "0.864", "em"), ("jsquad", "58.1", "f1")),
        *(("marc_ja", "0.958", None), ("jcommonsenseqa", "0.808", None), ("jcola", "0.4", "mcc")),
    ],
)
def test_japanese_sentences_have_no_english_and_no_half_width_marks(task: str, score: str, metric: str | None) -> None:
    for found in audit_score(task, score, metric=metric).findings:
        for text in told(found, "ja"):
            assert not re.search(r"データ の|） と", text), text
            assert not re.search(r", | \(|\) |fine-tuned|baselines| dev\b| test\b|目盛り|(?<!採)点", text), text


def test_a_published_model_is_named_in_japanese_and_one_of_a_table_as_it_is_written() -> None:
    found = next(f for f in audit_score("jsts", "0.87").findings if f.kind == "published")
    assert "Laboro DistilBERT（ファインチューニング済み）0.874（JGLUE のベースライン）" in told(found, "ja")[0]
    found = next(f for f in audit_score("jsquad", "0.864", metric="em").findings if f.kind == "same_digits")
    assert "Tohoku BERT base（char、ファインチューニング済み）0.864（JGLUE のベースライン）" in told(found, "ja")[0]
    audit = audit_table('model,JNLI\n"甲 (大, fine-tuned)",30.16\n乙,60.11\n丙,60.55\n')
    said_of = {f.kind: told(f, "ja")[0] for f in audit.findings}
    assert "甲 (大, fine-tuned) 30.16 は、JGLUE v1.1 のラベルで" in said_of["board_constant"]
    assert "丙 60.55 – 乙 60.11（2）" in said_of["board_groups"]


def test_every_set_of_items_has_a_japanese_name() -> None:
    names = {e.name for b in BENCHMARKS.values() for e in b.editions}
    assert {name for name in names if say(Message(name), "ja") == name} == {
        *("JGLUE v1.1", "JGLUE v1.3", "JGLUE v1.1–v1.3"),
    }


def test_every_example_finds_something_to_be_careful_about() -> None:
    for task, score, metric, system in EXAMPLES:
        found = audit_score(task, score, metric=metric or None, system=system or None).findings
        assert found[0].weight == "alert", score


@pytest.mark.parametrize(("text", "n"), [("", None), (" ", None), ("2434", 2434), ("2,434", 2434), ("２４３４", 2434)])
def test_a_number_of_items_is_read_as_people_type_it(text: str, n: int | None) -> None:
    assert items(text) == n


def test_what_is_no_number_of_items_is_refused() -> None:
    with pytest.raises(InputError, match=r"from 1 to 10,000,000, and not 2\.5"):
        items("2.5")


def test_the_swallow_table_is_whole() -> None:
    text, scale, system = swallow()
    audit = audit_table(text, scale=scale, system=system)
    assert [len(ranking.standings) for ranking in audit.rankings] == [50, 50]


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    page = open_page()
    tab(page, "スコアを調べる")
    return page


def test_a_score_is_explained_with_reasons_and_sources(page: Page) -> None:
    audited(page, ".301561")
    said(page, "2,434 問中ちょうど 734 問の正解です", "audit-found")
    assert "いつも contradiction と答えたときのスコアです" in page.inner_text("#audit-found")
    page.locator("#audit-found summary", has_text="出典").click()
    links = page.locator("#audit-found table a")
    assert links.count() >= 5
    assert str(links.first.get_attribute("href")).startswith("https://")


def test_an_example_fills_the_form_and_asks(page: Page) -> None:
    page.click("#audit-example-1")
    said(page, "1,119 問中ちょうど 216 問", "audit-found")
    assert page.input_value("#audit-score input") == "19.3"
    said(page, "W&B 2023 では読めない出力を 0 とみなします", "audit-found")


def test_what_is_no_score_is_a_sentence(page: Page) -> None:
    for score, expected in (
        *(("abc", "数ではありません"), ("120", "スコアの範囲")),
        *(("", "スコアを入れてください"), ("nan", "有限の数ではない")),
    ):
        audited(page, score)
        said(page, expected, "audit-found")
    page.fill("#audit-n input", "0")
    audited(page, "0.3")
    said(page, "問題数は 1 から", "audit-found")


def test_a_pasted_table_and_a_file_are_audited(page: Page, tmp_path: Path) -> None:
    page.fill("#audit-paste textarea", "model,JNLI,JCQA\n<b>a</b>,30.16,19.3\nb,47.1,62.0\nc,48.2,61.5\n")
    page.click("#audit-look")
    said(page, "いつも 0 と答えたときのスコアです", "audit-board")
    assert "<b>a</b> 30.16" in page.inner_text("#audit-board")
    page.locator("#audit-board summary", has_text="順位と区間： JNLI").click()
    rows = page.locator("#audit-board details[open] tbody tr").all_inner_texts()
    assert [row.split()[1] for row in rows] == ["c", "b", "<b>a</b>"]
    path = tmp_path / "board.csv"
    path.write_bytes("モデル,JNLI\n甲,55.34\n乙,60.11\n".encode("cp932"))
    page.set_input_files("#audit-file input[type=file]", path)
    said(page, "甲 55.34 は、JGLUE v1.1 のラベルでいつも neutral と答えたときのスコアです", "audit-board")


def test_an_empty_table_and_one_without_scores_are_sentences(page: Page) -> None:
    page.click("#audit-look")
    said(page, "先に表を貼り付けてください", "audit-board")
    page.fill("#audit-paste textarea", "model,foo\na,1\n")
    page.click("#audit-look")
    said(page, "スコアと分かる列がありません", "audit-board")


def test_it_fits_a_phone_in_english(open_page: OpenPage) -> None:
    page = open_page(locale="en-US", width=390)
    tab(page, "Audit a score")
    page.click("#audit-example-2")
    said(page, "what any one constant answer scores: 1 of 3 labels", "audit-found")
    page.click("#audit-swallow")
    said(page, "groups in which no two can be told apart", "audit-board")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_a_public_page_takes_a_pasted_table_and_no_file(open_page: OpenPage, tmp_path: Path) -> None:
    with serve(tmp_path / "public", {"JGLUE_MODE": "public"}) as address:
        page = open_page(address=address)
        tab(page, "スコアを調べる")
        audited(page, "30.16")
        said(page, "ちょうど 734 問", "audit-found")
        page.click("#audit-swallow")
        said(page, "どの二つも区別できないグループ", "audit-board")
        assert not page.locator("#audit-file").is_visible()
