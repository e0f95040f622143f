"""The payload of the first card and of its strips, by values that are worked out by hand; no browser."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jglue_app.runs.request import Side
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.judged import Judged, judge_run
from jglue_app.scoring.model_change import change_between
from jglue_app.scoring.report import report_run
from jglue_app.types import ModelSpec, PromptSpec, RunData
from jglue_app.ui import views
from jglue_app.ui.views.board import board
from jglue_app.ui.views.first import BEFORE, OUTPUT, excerpt, first_card
from jglue_app.ui.views.items import item_rows
from jglue_app.ui.views.request import side_text
from jglue_app.ui.views.run_labels import run_label_text
from jglue_app.ui.views.short_names import short_names
from jglue_app.ui.views.strips import place, strips
from tests.scoring.test_insights import EVEN, WORDS, good, ranking, reviews, with_ranking
from tests.scoring.test_report import SPEC, joined, nli, output, sts
from tests.ui.test_views import Seen

SHOTS = replace(SPEC, prompt=PromptSpec(shots=3))


def card(a: RunData, b: RunData, lang: str = "ja", protocol: str = "official", *, links: bool = True) -> str:
    comparison = compare_runs(a, b, protocol)
    judged = judge_run(a, protocol), judge_run(b, protocol)
    change = change_between(a.spec, b.spec)
    payload = first_card(comparison.a, comparison.b, comparison, judged, lang, change=change, links=links)
    return views.render("first", payload, lang)


def joined_text(pieces: list[dict[str, object]]) -> str:
    return "".join(f"[{piece['text']}]" if piece.get("mark") else str(piece["text"]) for piece in pieces)


# --- what is shown of an output ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "span", "opened", "expected"),
    [
        ("答え：中立", (3, 5), "", "答え：[中立]"),
        ("  中立", (2, 4), "", "[中立]"),
        ("あ" * OUTPUT, None, "", "あ" * OUTPUT),
        ("あ" * (OUTPUT + 1), None, "", "あ" * OUTPUT + "…"),
        # What was read stands far behind: a little before it is shown too.
        ("あ" * 200 + "中立です", (200, 202), "", "…" + "あ" * BEFORE + "[中立]です"),
        # The thinking is no part of the answer, unless the answer was read from it.
        ("迷う</think>中立", (10, 12), "<think>", "…[中立]"),
        ("中立か</think>矛盾", (0, 2), "<think>", "[中立]か</think>矛盾"),
        ("", None, "", ""),
    ],
)
def test_an_output_is_shown_around_what_was_read_of_it(
    text: str, span: tuple[int, int] | None, opened: str, expected: str
) -> None:
    assert joined_text(excerpt(text, span, opened)) == expected


# --- the card ---------------------------------------------------------------------------------------------


def test_the_card_shows_both_answers_with_the_share_of_the_gold_answer_and_why_they_count() -> None:
    # Every item is ranked right with e⁻¹ of e⁻¹ + 2e⁻²: 1 / (1 + 2/e) = 0.576.
    a = nli(*[(EVEN[i % 3], output("？", ranking(i % 3, 3))) for i in range(30)])
    seen = Seen(card(a, replace(good(), spec=SHOTS)))
    head = "同じモデルでも、例題を 3 個見せるだけで、書いた答えのスコアが 0.00 から 1.00 に上がります（JNLI、30 問）。"
    catch = "ただし、A も選ばせれば 100% の問題で正解を選びます。失点の多くは書き方によるものです。"
    assert seen.line.startswith(f"{head}{catch} JNLI 前提の文から仮説の文が言えるか")
    answers = seen.line.partition("正解 entailment （含意）")[2]
    for text in (
        *("A m · 例題なし", "？", "読み取れない", "厳密な読み取り：読み取れない（出力が答えそのものではない）"),
        *("正解に付けた確率（選択肢の中で）", "58%", "いちばん高い"),
        *("B m · 例題 3 個", "含意", "正解", "厳密な読み取り：entailment（"),
    ):
        before, found, answers = answers.partition(text)
        assert found and len(before) < 6, (text, before)
    assert "A は知っているのに書けない：この例のほか 29 問 →" in seen.line
    links = [found for found in seen.of("jg-link") if found["data-jg-do"] == "filter"]
    assert {(found["data-jg-filter"], found["data-jg-task"]) for found in links} == {("knows", "jnli")}
    assert [found["title"] for found in seen.of("jg-key-name")][:2] == [
        "m · plain · 日本語ラベル · 例題なし",
        "m · plain · 日本語ラベル · 例題 3 個",
    ]


def test_where_the_items_are_from_stands_once_beside_the_sentence() -> None:
    a = nli(*[("neutral", output("中立"))] * 12)
    sampled = RunData(a.spec, a.items, {"jnli": "sample"}, a.records)
    seen = Seen(card(sampled, replace(sampled, spec=SHOTS)))
    assert seen.line.count("見本") == 1
    assert "見本" in seen.line[:60]
    official = RunData(a.spec, a.items, {"jnli": "official"}, a.records)
    assert "見本" not in Seen(card(official, replace(official, spec=SHOTS))).line


def test_only_the_first_example_is_in_sight_and_the_others_are_counted() -> None:
    seen = Seen(card(with_ranking(0, 60), replace(good(n=60), spec=SHOTS), "en"))
    examples = seen.of("jg-key-item")
    assert ["hidden" in found for found in examples] == [False, *[True] * (len(examples) - 1)]
    assert f"1 / {len(examples)}" in seen.line


def test_the_line_to_the_others_counts_what_the_list_shows_behind_it() -> None:
    # B writes what nobody can read, but for three items; A too, and knows all of them.
    a = nli(*[(EVEN[i % 3], output("？", ranking(i % 3, 3))) for i in range(30)])
    b = nli(
        *[(EVEN[i % 3], output(WORDS[EVEN[i % 3]] if i < 3 else "？", ranking(i % 3, 3))) for i in range(30)],
        spec=replace(SPEC, model=ModelSpec("n")),
    )
    judged = judge_run(a, "official"), judge_run(b, "official")
    comparison = compare_runs(a, b)
    payload = first_card(comparison.a, comparison.b, comparison, judged, "en")
    listed = item_rows(*judged, "en")
    more = [item["more"] for item in payload["items"]]
    assert len(more) == 2
    for line in more:
        matching = [row for row in listed if line["filter"] in row["f"] and row["k"] == line["task"]]
        # Both sides know some, so no side is named.
        assert line["text"] == f"Knows but cannot write it: {len(matching) - 1} more →"
    assert len(matching) == 30


def test_without_a_list_there_is_nothing_to_press_but_the_next_example() -> None:
    seen = Seen(card(with_ranking(0, 60), replace(good(n=60), spec=SHOTS), links=False))
    assert {found.get("data-jg-do") for found in seen.attributes} == {None}
    assert [found["data-jg-key"] for found in seen.of("jg-button")] == ["-1", "1"]


def test_one_run_alone_and_a_run_without_answers_have_a_card() -> None:
    run = good()
    seen = Seen(
        views.render("first", first_card(report_run(run), None, None, (judge_run(run, "official"), None), "en"))
    )
    assert "jg-tag-b" not in str(seen.attributes)
    nothing = nli(planned=3)
    empty = first_card(report_run(nothing), None, None, (judge_run(nothing, "official"), None), "en")
    assert (empty["headline"], empty["items"], empty["strips"]) == ("No item has an answer yet.", [], [])
    assert Seen(views.render("first", empty, "en")).line == "No item has an answer yet."


def test_a_side_that_has_not_answered_yet_says_so() -> None:
    judged: tuple[Judged, Judged] = (judge_run(good(), "official"), {"jnli": {}})
    comparison = compare_runs(good(), replace(good(), spec=SHOTS))
    payload = first_card(comparison.a, comparison.b, comparison, judged, "en")
    assert [answer.get("missing") for answer in payload["items"][0]["answers"]] == [None, "Not run"]


def test_a_protocol_that_ranks_reads_no_text() -> None:
    a = with_ranking(0, 60)
    assert "厳密な読み取り" in card(a, replace(a, spec=SHOTS))
    assert "厳密な読み取り" not in card(a, replace(a, spec=SHOTS), protocol="stability-jp")


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "names"),
    [
        ("m · plain · ja · 0-shot", "m · plain · ja · 3-shot", ("m · 例題なし", "m · 例題 3 個")),
        ("m · plain · ja · 0-shot", "n · plain · ja · 0-shot", ("m", "n")),
        ("m · plain · ja · 0-shot · 4bit", "m · chat · ja · 0-shot", ("m · plain · 4bit", "m · chat")),
        ("plain · plain", "m · plain", ("plain", "m")),
        ("m · plain · ja · 0-shot", "", ("m", "")),
        ("m · plain · ja · bfloat16", "", ("m · bfloat16", "")),
        ("m · plain · ja · bfloat16", "n · plain · ja · bfloat16", ("m · bfloat16", "n · bfloat16")),
        ("table.jsonl", "m · plain", ("table.jsonl", "m · plain")),
    ],
)
def test_a_short_name_has_what_tells_a_run_from_the_other(a: str, b: str, names: tuple[str, str]) -> None:
    assert short_names(a, b, "ja") == names


def test_a_name_that_somebody_gave_stays_as_it_is() -> None:
    mine, made = "my experiment · 3-shot · thinking", "m · plain · ja-labels · 0-shot"
    assert short_names(mine, made, "ja", (True, False)) == (mine, "m · plain · 日本語ラベル · 例題なし")
    assert short_names(made, mine, "ja", (False, True)) == ("m · plain · 日本語ラベル · 例題なし", mine)
    assert short_names(mine, "", "ja", (True, False)) == (mine, "")
    assert short_names(mine, "", "ja") == ("my experiment", "")


def test_a_wording_is_called_by_what_it_asks_for() -> None:
    a, b = "m · plain · ja-labels · 4-shot", "m · plain · choice-text · 4-shot"
    assert short_names(a, b, "ja") == ("m · 日本語ラベル", "m · 選択肢の文")
    assert short_names(a, b, "en") == ("m · Japanese labels", "m · the text of the choice")
    # As everywhere else on the page.
    assert run_label_text(b, "ja") == "m · plain · 選択肢の文 · 例題 4 個"
    assert run_label_text(b, "en") == "m · plain · the text of the choice · 4-shot"
    assert side_text(Side("org/m", "plain", "choice-text", 4), "ja") == run_label_text(b, "ja")


# --- strips -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "metric", "at"),
    [
        (0.0, "accuracy", "0.0"),
        (0.25, "accuracy", "25.0"),
        (0.0, "pearson", "50.0"),
        (-1.0, "spearman", "0.0"),
        (1.2, "f1", "100.0"),
        (-0.3, "f1", "0.0"),
        (0.5, "mcc", "75.0"),
    ],
)
def test_a_value_has_its_place_on_a_strip(value: float, metric: str, at: str) -> None:
    assert place(value, metric) == at


def test_a_strip_has_every_reading_of_both_sides_the_floor_and_the_verdict() -> None:
    # A: 15 of 60 are written, all are ranked right. B: 60 of 60.
    comparison = compare_runs(with_ranking(15, 60), replace(good(n=60), spec=SHOTS))
    (strip,) = strips(comparison.a, comparison.b, comparison, "en")
    assert (strip["title"], strip["n"], strip["verdict"], strip["verdict_class"]) == ("JNLI", "60", "B ahead", "b")
    assert (strip["floor"], strip["floor_value"]) == ("33.3", "0.333")
    a, b = strip["lines"]
    assert [(mark["reading"], mark["at"]) for mark in a["marks"]] == [
        *(("choose", "100.0"), ("lenient", "25.0"), ("strict", "25.0")),
    ]
    assert [(mark["reading"], mark["at"]) for mark in b["marks"]] == [("lenient", "100.0"), ("strict", "100.0")]
    assert (a["value"], b["value"]) == ("0.25", "1.00")
    # Wilson: 15 of 60 from 0.158 to 0.372.
    assert a["interval"] == {"low": "15.8", "width": "21.4"}
    assert a["spoken"] == "A strict 0.250, lenient 0.250, log-likelihood 1.000"


def test_a_strip_of_one_run_says_how_it_stands_to_its_floor() -> None:
    run = joined(good(), reviews(*["肯定"] * 20))
    found = {strip["title"]: strip["verdict"] for strip in strips(report_run(run), None, None, "ja")}
    assert found == {"MARC-ja": "基準点なみ", "JNLI": "基準点より上"}
    (below,) = strips(report_run(good(wrong=30)), None, None, "ja")
    assert below["verdict"] == "基準点より下"


@pytest.mark.parametrize(
    ("lang", "on_floor", "below"),
    [("ja", "B が上・基準点なみ", "A が上・基準点より下"), ("en", "B ahead, at the floor", "A ahead, below the floor")],
)
def test_a_side_that_is_ahead_on_its_floor_is_said_to_be_there(lang: str, on_floor: str, below: str) -> None:
    # B always writes 含意: right in a third, as the best constant answer; McNemar of 10 items against none.
    comparison = compare_runs(good(wrong=30), replace(good(wrong=30, said="含意"), spec=SHOTS))
    (strip,) = strips(comparison.a, comparison.b, comparison, lang)
    assert (strip["verdict"], strip["verdict_class"]) == (on_floor, "b")
    # A has 60 of 300, where a constant has 100: Wilson to 0.249.
    comparison = compare_runs(good(wrong=240, n=300), replace(good(wrong=300, n=300), spec=SHOTS))
    (strip,) = strips(comparison.a, comparison.b, comparison, lang)
    assert (strip["verdict"], strip["verdict_class"]) == (below, "a")


def test_a_correlation_that_is_undefined_has_no_mark_and_no_verdict() -> None:
    a, b = sts({1.0: "4", 2.0: "4", 3.0: "4"}), sts({1.0: "1", 2.0: "2", 3.0: "3"})
    comparison = compare_runs(a, replace(b, spec=SHOTS))
    (strip,) = strips(comparison.a, comparison.b, comparison, "en")
    left, right = strip["lines"]
    assert (left["value"], left["marks"], left["interval"], left["spoken"]) == ("–", [], None, "A –")
    assert [mark["at"] for mark in right["marks"]] == ["100.0", "100.0"]
    assert (strip["verdict"], strip["floor"]) == ("A has no score", "50.0")
    comparison = compare_runs(a, replace(a, spec=SHOTS))
    assert [strip["verdict"] for strip in strips(comparison.a, comparison.b, comparison, "ja")] == ["スコアなし"]
    comparison = compare_runs(b, replace(a, spec=SHOTS))
    assert [strip["verdict"] for strip in strips(comparison.a, comparison.b, comparison, "ja")] == ["B はスコアなし"]
    assert [line["verdict"] for line in board(comparison.a, comparison.b, comparison, "ja")["rows"]] == [
        "B はスコアなし"
    ] * 2


def test_a_strip_names_its_metric_and_shows_it_where_it_is_no_accuracy() -> None:
    seen = Seen(card(with_ranking(15, 60), replace(good(n=60), spec=SHOTS)))
    assert seen.of("jg-strip")[0]["title"] == "JNLI: 正解率"
    assert "正解率 · 60 問" not in seen.line
    a = sts({1.0: "1", 2.0: "2", 3.0: "3"})
    similar = Seen(card(a, replace(a, spec=SHOTS)))
    assert similar.of("jg-strip")[0]["title"] == "JSTS: ピアソン相関"
    assert "ピアソン相関 · 3 問" in similar.line


def test_a_strip_is_a_button_where_there_is_a_list_and_speaks_its_numbers() -> None:
    a, b = with_ranking(15, 60), replace(good(n=60), spec=SHOTS)
    (button,) = Seen(card(a, b)).of("jg-strip")
    assert (button[""], button["data-jg-filter"], button["data-jg-task"]) == ("button", "all", "jnli")
    assert Seen(card(a, b, links=False)).of("jg-strip")[0][""] == "div"
    assert "A 厳密 0.250、寛容 0.250、対数尤度 1.000 B" in Seen(card(a, b)).line


def test_an_answer_that_the_token_limit_cut_says_how_many_tokens_there_were() -> None:
    # Two tokens each. The right answers of B ended at the limit too, which has cost them nothing.
    a = nli(*[(EVEN[i % 3], output("どう", ranking(i % 3, 3), "length")) for i in range(30)])
    b = nli(*[(EVEN[i % 3], output(WORDS[EVEN[i % 3]], finish="length")) for i in range(30)])
    b = replace(b, spec=SHOTS)
    first = Seen(card(a, b)).line.partition("1 / ")[0]
    assert "途中で切れた" in first
    assert "読み取れない（出力が答えそのものではない） · 2 トークンの上限で打ち切り 正解に付けた確率" in first
    assert Seen(card(a, b, "en")).line.count("cut at the limit of 2 tokens") == len(Seen(card(a, b)).of("jg-key-item"))
