"""Outputs made elsewhere: what is refused and how, and what the others are worth."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app.errors import DataError
from jglue_app.runs.predictions import read_predictions
from jglue_app.scoring.report import report_run
from jglue_app.scoring.types import TaskReport
from jglue_app.types import Dataset, Item

LABELS = ("entailment", "contradiction", "neutral")


def dataset(task: str, *items: Item, source: Any = "official") -> Dataset:
    return Dataset(task, "valid", items, source, "v1.3", "valid.json", "ab" * 32)


def pair(id_: str, gold: tuple[str, ...] | float) -> Item:
    texts = {"sentence1": "犬が走る。", "sentence2": "動物が動く。"}
    return Item("jsts", id_, texts, gold) if isinstance(gold, float) else Item("jnli", id_, texts, gold, LABELS)


def question(id_: str, *gold: str) -> Item:
    return Item("jsquad", id_, {"title": "寺", "context": "寺は京都市にある。", "question": "どこか。"}, gold)


JNLI = dataset(
    "jnli",
    pair("1", ("entailment",)),
    pair("2", ("contradiction",)),
    pair("3", ("neutral",)),
    pair("4", ("entailment",)),
    pair("5", ("neutral",)),
)
RIGHT = {"1": "entailment", "2": "contradiction", "3": "neutral", "4": "entailment", "5": "neutral"}


def write(path: Path, texts: Mapping[str, str] | Sequence[object]) -> Path:
    rows = [{"item_id": i, "text": t} for i, t in texts.items()] if isinstance(texts, Mapping) else texts
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def scored(path: Path, data: Dataset, texts: Mapping[str, str], **words: bool) -> TaskReport:
    return report_run(read_predictions(write(path, texts), data, **words)).tasks[data.task]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outputs.jsonl"


# --- what is refused --------------------------------------------------------------------------------------

CHECK = r"Check --task, --split and --data, and that every item stands once\."
GOOD = b'{"item_id": "1", "text": "neutral"}\n'


@pytest.mark.parametrize(
    ("second", "says"),
    [
        pytest.param(
            b'{"item_id": "9", "text": "a"}', rf"line 2: there is no item '9' in jnli/valid\. {CHECK}", id="9"
        ),
        pytest.param(b'{"item_id": 1, "text": "a"}', rf"line 2: item 1 was answered before\. {CHECK}", id="twice"),
        pytest.param(b'{"item_id": "2"}', rf"line 2: expected .*found {{'item_id': '2'}}\. {CHECK}", id="no text"),
        pytest.param(b'{"item_id": "2", "text": null}', rf"line 2: expected .*{CHECK}", id="null"),
        pytest.param(b'{"item_id": "2", "text": 3.5}', rf"line 2: expected .*{CHECK}", id="number"),
        pytest.param(b'{"item_id": "2", "text": ["a"]}', rf"line 2: expected .*{CHECK}", id="list"),
        pytest.param(b'{"text": "a"}', rf"line 2: expected .*{CHECK}", id="no id"),
        pytest.param(b'{"item_id": true, "text": "a"}', rf"line 2: expected .*{CHECK}", id="true is no id"),
        pytest.param(b'{"item_id": 2.0, "text": "a"}', rf"line 2: expected .*{CHECK}", id="2.0 is no id"),
        pytest.param(b'{"item_id": "2", "text": "a"', rf"line 2: not valid JSON .*{CHECK}", id="cut off"),
        pytest.param(b"neutral", rf"line 2: not valid JSON .*{CHECK}", id="bare text"),
        pytest.param(b'["2", "a"]', rf"line 2: expected a JSON object, found list\. {CHECK}", id="no object"),
        pytest.param(
            b'{"item_id": "2", "text": "\xff"}', r"line 2: not UTF-8\. Save the file as UTF-8", id="not UTF-8"
        ),
        pytest.param(b"\x93\xfa\x96{", r"line 2: not UTF-8\. Save the file as UTF-8", id="Shift_JIS"),
    ],
)
@pytest.mark.parametrize("partial", [False, True])
def test_a_line_that_cannot_be_scored_is_refused_by_file_and_number_with_a_remedy(
    path: Path, second: bytes, says: str, partial: bool
) -> None:
    path.write_bytes(GOOD + second + b"\n")
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}, {says}"):
        read_predictions(path, JNLI, partial=partial)


def test_a_long_line_is_quoted_in_part(path: Path) -> None:
    write(path, [{"item_id": None, "text": "あ" * 1_000_000}])
    with pytest.raises(DataError) as caught:
        read_predictions(path, JNLI)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("partial", [False, True])
def test_an_empty_file_is_refused(path: Path, content: bytes, partial: bool) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"outputs\.jsonl: holds no predictions\. Give lines of"):
        read_predictions(path, JNLI, partial=partial)


def test_a_file_that_is_not_there_or_a_folder_is_refused(path: Path, tmp_path: Path) -> None:
    for wrong in (path, tmp_path):
        with pytest.raises(DataError, match=rf"{wrong}: cannot be read .*Give the path of a JSON Lines file"):
            read_predictions(wrong, JNLI)


def test_missing_items_are_counted_and_the_first_is_named_with_both_ways_out(path: Path) -> None:
    write(path, {"1": "neutral", "4": "neutral"})
    with pytest.raises(
        DataError,
        match=r"3 of 5 items have no prediction \(the first is '2'\)\. Add them, or give --partial to score the others",
    ):
        read_predictions(path, JNLI)


# --- what is scored ---------------------------------------------------------------------------------------


def test_a_part_of_the_items_is_scored_alone_when_asked_for(path: Path) -> None:
    report = scored(path, JNLI, {"4": "entailment", "2": "neutral"}, partial=True)
    assert (report.n, report.planned) == (2, 2)
    assert report.metrics["accuracy"].value == 1 / 2
    assert report.floors == {"accuracy": 1 / 2}


def test_ids_may_be_numbers_lines_may_be_blank_and_more_fields_may_stand_there(path: Path) -> None:
    rows = [{"item_id": int(i), "text": text, "model": "x"} for i, text in RIGHT.items()]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\n".join(json.dumps(row) for row in rows).encode())
    report = report_run(read_predictions(path, JNLI)).tasks["jnli"]
    assert report.metrics["accuracy"].value == 1


def test_a_text_is_scored_as_it_stands_however_odd(path: Path) -> None:
    texts = {"1": "", "2": "\ud83d contradiction", "3": "\x00", "4": "x" * 1_000_000, "5": " neutral\n"}
    path.write_text("".join(json.dumps({"item_id": i, "text": t}) + "\n" for i, t in texts.items()))
    found = read_predictions(path, JNLI)
    assert [record.output.text for record in found.records if record.output] == list(texts.values())
    report = report_run(found).tasks["jnli"]
    assert report.n == 5
    assert report.metrics["accuracy"].value == 1 / 5
    assert report.unreadable == 4


def test_labels_are_worth_what_they_are_worth_by_hand(path: Path) -> None:
    texts = {"1": "entailment", "2": "neutral", "3": "答えは neutral です。", "4": "わかりません", "5": ""}
    report = scored(path, JNLI, texts)
    # Wilson, by hand with z = 1.96: 1 of 5 → centre (0.2 + 0.38415) / 1.76829, half 0.29401; 2 of 5 alike.
    accuracy = report.metrics["accuracy"]
    assert (accuracy.value, accuracy.n) == (0.2, 5)
    assert (accuracy.low, accuracy.high) == pytest.approx((0.0362, 0.6245), abs=1e-4)
    assert report.lenient["accuracy"].value == 2 / 5
    assert (report.unreadable, report.unreadable_lenient) == (3, 2)
    assert report.outcomes == {"correct": 1, "wrong": 1, "wrong_form": 1, "unreadable": 1, "empty": 1}
    assert report.floors == {"accuracy": 2 / 5}
    assert report.choose == {}


OPENED_BY_THE_PROMPT = {
    "1": "前提を見る。neutral ではない。\n</think>\n\nentailment",
    "2": "犬か。\n</think>\n\ncontradiction",
    "3": "neutral かもしれないが、",
    "4": "entailment",
    "5": "<think>犬か。</think>neutral",
}


def test_lines_without_a_closing_mark_are_unfinished_where_others_close_what_they_have_not_opened(path: Path) -> None:
    report = scored(path, JNLI, OPENED_BY_THE_PROMPT)
    assert report.outcomes == {"correct": 3, "unfinished_thought": 2}
    assert (report.metrics["accuracy"].value, report.lenient["accuracy"].value) == (3 / 5, 3 / 5)
    told = [dict(n.facts) for n in report.notices if n.kind == "assumed_thought"]
    assert told == [{"k": 2, "n": 5, "cut": 2, "mark": "<think>", "closing": "</think>"}]


@pytest.mark.parametrize(
    ("closing", "mark"),
    [
        ("</think>", "<think>"),
        ("[/THINK]", "[THINK]"),
        ("◁/think▷", "◁think▷"),
        ("<|END_THINKING|>", "<|START_THINKING|>"),
        ("<|end_of_thought|>", "<|begin_of_thought|>"),
        ("<|inner_suffix|>", "<|inner_prefix|>"),
        ("<channel|>", "<|channel>thought"),
        ("[BEGIN FINAL RESPONSE]", "Here are my reasoning steps:"),
    ],
)
def test_the_mark_that_was_opened_follows_from_the_one_that_closes(path: Path, closing: str, mark: str) -> None:
    texts = {**RIGHT, "1": f"犬か。{closing}\nentailment", "2": "contradiction かも"}
    report = scored(path, JNLI, texts)
    assert report.outcomes == {"correct": 1, "unfinished_thought": 4}
    assert [n.facts["mark"] for n in report.notices if n.kind == "assumed_thought"] == [mark]


def test_a_line_may_say_what_its_prompt_left_open_or_that_it_left_nothing(path: Path) -> None:
    rows = [{"item_id": i, "text": text} for i, text in OPENED_BY_THE_PROMPT.items()]
    rows[3]["thought"] = ""
    report = report_run(read_predictions(write(path, rows), JNLI)).tasks["jnli"]
    assert report.outcomes == {"correct": 4, "unfinished_thought": 1}
    rows = [{"item_id": i, "text": text, "thought": "<think>"} for i, text in RIGHT.items()]
    rows[0]["text"] = "犬か。</think>entailment"
    report = report_run(read_predictions(write(path, rows), JNLI)).tasks["jnli"]
    assert report.outcomes == {"correct": 1, "unfinished_thought": 4}
    assert [n.kind for n in report.notices if n.kind == "assumed_thought"] == []


def test_texts_without_marks_or_that_open_what_they_close_are_taken_as_they_are(path: Path) -> None:
    report = scored(
        path, JNLI, {**RIGHT, "1": "<think>犬か。</think>entailment", "2": "「</think>」とは。contradiction"}
    )
    assert [n.kind for n in report.notices if n.kind == "assumed_thought"] == []
    assert report.outcomes["correct"] == 3
    assert report.outcomes.get("unfinished_thought", 0) == 0


@pytest.mark.parametrize("wrong", ["think", "</think>", "<nothink>", 1, ["<think>"]])
def test_what_opens_no_thought_is_refused_as_one(path: Path, wrong: object) -> None:
    write(path, [{"item_id": "1", "text": "a", "thought": wrong}])
    with pytest.raises(DataError, match=r"line 1: 'thought' must be the mark that the prompt left open, .*found "):
        read_predictions(path, JNLI, partial=True)


def test_similarities_are_worth_what_they_are_worth_by_hand(path: Path) -> None:
    items = [pair(str(i), gold) for i, gold in enumerate((1.0, 2.0, 3.0, 5.0))]
    report = scored(path, dataset("jsts", *items), {"0": "1", "1": "2.0", "2": "4", "3": "とても近い"})
    # Over the three that can be read: deviations (-4/3, -1/3, 5/3) and (-1, 0, 1), so r = 3 / √(14/3 · 2).
    assert report.metrics["pearson"].value == pytest.approx(3 / math.sqrt(28 / 3))
    assert report.metrics["spearman"].value == pytest.approx(1)
    assert report.metrics["pearson"].n == 3
    assert report.unreadable == 1
    # With 2.5 for the fourth: (-1.375, -0.375, 1.625, 0.125) and (-1.75, -0.75, 0.25, 2.25).
    assert report.imputed["pearson"].value == pytest.approx(3.375 / math.sqrt(4.6875 * 8.75))


def test_spans_are_worth_what_they_are_worth_by_hand(path: Path) -> None:
    data = dataset("jsquad", question("a", "京都", "奈良県"), question("b", "大阪"), question("c", "東京"))
    report = scored(path, data, {"a": "京都市", "b": "大阪。", "c": "北"})
    # 京都市 against 京都: 2·2/(3+2) = 0.8, better than 0 against 奈良県. A trailing 。 does not count.
    assert report.metrics["exact_match"].value == pytest.approx(1 / 3)
    assert report.metrics["f1"].value == pytest.approx((0.8 + 1 + 0) / 3)


def test_the_source_of_the_items_and_the_name_of_the_file_are_kept(path: Path) -> None:
    for source in ("official", "user", "sample"):
        data = dataset("jnli", *JNLI.items, source=source)
        report = report_run(read_predictions(write(path, RIGHT), data))
        assert report.tasks["jnli"].source == source
        assert report.label.startswith("outputs.jsonl")


@pytest.mark.parametrize("line", ["[" * 100_000, '{"item_id": ' + "1" * 10_000 + "}"])
def test_json_beyond_what_can_be_read_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text('{"item_id": "1", "text": "x"}\n' + line + "\n", "utf-8")
    with pytest.raises(DataError, match=r"deep\.jsonl, line 2: "):
        read_predictions(path, JNLI)


# --- what the labels were asked for as ------------------------------------------------------------------

QUIZ = dataset(
    "jcommonsenseqa",
    Item(
        "jcommonsenseqa",
        "q",
        {
            "question": "春に咲くのは",
            "choice0": "桜",
            "choice1": "NHK",
            "choice2": "雪",
            "choice3": "栗",
            "choice4": "柿",
        },
        ("1",),
        ("0", "1", "2", "3", "4"),
    ),
)
REVIEWS = dataset("marc_ja", Item("marc_ja", "r", {"sentence": "よい。"}, ("positive",), ("positive", "negative")))


def asked(path: Path, data: Dataset, id_: str, choices: Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """What is taken for the official labels, and the logarithm of each, of those given as -1, -2, …"""
    row = {"item_id": id_, "choices": choices, "choice_logprobs": [-1.0 - k for k in range(len(choices))]}
    (record,) = read_predictions(write(path, [row]), data, partial=True).records
    assert record.output is not None and record.output.choice_logprobs is not None
    return record.prompt.answers, record.output.choice_logprobs


@pytest.mark.parametrize(
    ("choices", "answers", "logprobs"),
    [
        (LABELS, LABELS, (-1, -2, -3)),
        (("neutral", "entailment", "contradiction"), LABELS, (-2, -3, -1)),
        (("Neutral", "ＥＮＴＡＩＬＭＥＮＴ", " contradiction"), ("ＥＮＴＡＩＬＭＥＮＴ", " contradiction", "Neutral"),
         (-2, -3, -1)),
        (("含意", "矛盾", "中立"), ("含意", "矛盾", "中立"), (-1, -2, -3)),
        (("中立", "含意", "矛盾"), ("含意", "矛盾", "中立"), (-2, -3, -1)),
        # Of the style choice-text.
        (("必ず間違い", "必ず正しい", "どちらとも言えない"), ("必ず正しい", "必ず間違い", "どちらとも言えない"),
         (-2, -1, -3)),
        # Of no style: by position.
        (("はい", "いいえ", "不明"), ("はい", "いいえ", "不明"), (-1, -2, -3)),
        (("内包", "矛盾", "どちらでもない"), ("内包", "矛盾", "どちらでもない"), (-1, -2, -3)),
        (("1", "2", "3"), ("1", "2", "3"), (-1, -2, -3)),
    ],
)  # fmt: skip
def test_choices_and_their_logarithms_are_put_in_the_official_order(
    path: Path, choices: tuple[str, ...], answers: tuple[str, ...], logprobs: tuple[float, ...]
) -> None:
    assert asked(path, JNLI, "1", choices) == (answers, logprobs)


@pytest.mark.parametrize(
    ("choices", "answers", "logprobs"),
    [
        (("4", "3", "2", "1", "0"), ("0", "1", "2", "3", "4"), (-5, -4, -3, -2, -1)),
        (("１", "０", "２", "３", "４"), ("０", "１", "２", "３", "４"), (-2, -1, -3, -4, -5)),
        # One-based numbers count up as the labels do.
        (("1", "2", "3", "4", "5"), ("1", "2", "3", "4", "5"), (-1, -2, -3, -4, -5)),
        (("b", "a", "c", "d", "e"), ("a", "b", "c", "d", "e"), (-2, -1, -3, -4, -5)),
        (("雪", "桜", "ｎｈｋ", "栗", "柿"), ("桜", "ｎｈｋ", "雪", "栗", "柿"), (-2, -3, -1, -4, -5)),
    ],
)
def test_choices_of_a_question_go_by_their_number_letter_or_text(
    path: Path, choices: tuple[str, ...], answers: tuple[str, ...], logprobs: tuple[float, ...]
) -> None:
    assert asked(path, QUIZ, "q", choices) == (answers, logprobs)


@pytest.mark.parametrize(
    ("texts", "choices", "logprobs"),
    [
        # As the item has them: whatever they count, they stand where they stood.
        ("30 10 20 50 40", "30 10 20 50 40", (-1, -2, -3, -4, -5)),
        ("4 3 2 1 0", "4 3 2 1 0", (-1, -2, -3, -4, -5)),
        ("30 10 20 50 40", "10 20 30 40 50", (-3, -1, -2, -5, -4)),
        ("30 10 20 50 40", "1 0 2 3 4", (-2, -1, -3, -4, -5)),
        # The number of one and the text of another.
        ("4 3 2 1 0", "1 0 2 3 4", None),
    ],
)
def test_numbers_may_be_the_texts_of_a_question(
    path: Path, texts: str, choices: str, logprobs: tuple[float, ...] | None
) -> None:
    fields = {"question": "いくつか"} | {f"choice{k}": text for k, text in enumerate(texts.split())}
    data = dataset("jcommonsenseqa", replace(QUIZ.items[0], fields=fields))
    if logprobs is None:
        with pytest.raises(DataError, match="in the order 0, 1, 2, 3, 4"):
            asked(path, data, "q", choices.split())
    else:
        assert asked(path, data, "q", choices.split())[1] == logprobs


@pytest.mark.parametrize(
    ("data", "id_", "choices", "order"),
    [
        (JNLI, "1", ("矛盾", "はい", "不明"), "entailment, contradiction, neutral"),
        (JNLI, "1", ("不明", "内包", "いいえ"), "entailment, contradiction, neutral"),
        (JNLI, "1", ("Neutral", "含意", "contradiction"), "entailment, contradiction, neutral"),
        (JNLI, "1", ("2", "0", "1"), "entailment, contradiction, neutral"),
        (QUIZ, "q", ("2", "1", "3", "4", "5"), "0, 1, 2, 3, 4"),
        (QUIZ, "q", ("雪", "x", "y", "z", "w"), "0, 1, 2, 3, 4"),
        # Some number a good review 1, others 0.
        (REVIEWS, "r", ("1", "0"), "positive, negative"),
        (REVIEWS, "r", ("否定", "positive"), "positive, negative"),
    ],
)
def test_choices_of_which_one_means_the_label_of_another_place_are_refused(
    path: Path, data: Dataset, id_: str, choices: tuple[str, ...], order: str
) -> None:
    with pytest.raises(
        DataError,
        match=rf"line 1: it cannot be told which of the 'choices' of item '{id_}' stands for which label: give them, "
        rf"and 'choice_logprobs', in the order {order}\. {CHECK}",
    ):
        asked(path, data, id_, choices)


@pytest.mark.parametrize("protocol", ["official", "lm-eval-ja"])
def test_answers_that_are_all_right_score_1_in_whatever_order_each_line_has_the_labels(
    path: Path, protocol: str
) -> None:
    words = dict(zip(LABELS, ("含意", "矛盾", "中立"), strict=True))
    rows = []
    for k, (id_, label) in enumerate(RIGHT.items()):
        order = [LABELS[(k + at) % 3] for at in range(3)]
        logprobs = [-0.1 if one == label else -3.0 for one in order]
        rows.append(
            {
                "item_id": id_,
                "text": words[label],
                "choices": [words[one] for one in order],
                "choice_logprobs": logprobs,
            }
        )
    report = report_run(read_predictions(write(path, rows), JNLI), protocol).tasks["jnli"]
    assert report.metrics["accuracy"].value == 1
