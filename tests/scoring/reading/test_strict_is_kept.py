"""What a strict reading reads, the lenient one reads as the same, and so in any legal width, case and quotes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from jglue_app.scoring import metrics
from jglue_app.scoring.parsing import read_choice, read_score, read_span
from tests.scoring.reading.asks import (
    JNLI,
    JNLI_EN,
    JNLI_NUMBER,
    KANA,
    LETTER,
    MARC,
    MARC_EN,
    MARC_TEXT,
    NUMBER,
    TEXT,
    Ask,
)

QUOTES = (
    "{}",
    "「{}」",
    "『{}』",
    '"{}"',
    "'{}'",
    "“{}”",
    "（{}）",
    "({})",
    "【{}】",
    "**{}**",
    "`{}`",
    "〝{}〟",
    "｢{}｣",
    "{}。",
    "{}｡",
    " {}\n",
    "「{}」。",
    "**「{}」**",
)
FULL_WIDTH = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
CASES: tuple[Callable[[str], str], ...] = (str, str.upper, str.title, lambda text: text.translate(FULL_WIDTH))
ODD_CHOICES = (
    "いや",
    "違います",
    "不正解",
    "3",
    "ない",
    "×",
    "no",
    "嘘",
    "A",
    "海か川",
    "えっ？",
    "10",
    "以外",
    "0%",
    "？",
    "負",
    "e.g.",
    "C++",
    "・",
    "3人",
)


@pytest.mark.parametrize("ask", [JNLI, JNLI_EN, JNLI_NUMBER, MARC, MARC_EN, MARC_TEXT, NUMBER, LETTER, KANA, TEXT])
def test_every_legal_answer_is_read_in_any_width_case_and_quotes(ask: Ask) -> None:
    for label, answer in ask.answers.items():
        assert read_choice(answer, ask.answers, ask.aliases).strict.value == label
        for written in {case(answer) for case in CASES}:
            for quotes in QUOTES:
                assert ask.read(quotes.format(written)) == label, quotes.format(written)


@pytest.mark.parametrize("choice", ODD_CHOICES)
def test_a_choice_that_looks_like_a_denial_is_an_answer_where_it_is_a_choice(choice: str) -> None:
    answers = {"0": choice, "1": "海", "2": "川", "3": "山", "4": "空"}
    readings = read_choice(choice, answers, {label: (text,) for label, text in answers.items()})
    assert readings.strict.value == readings.lenient.value == "0"


@pytest.mark.parametrize("quotes", [q for q in QUOTES if q != "({})"])
def test_every_number_of_a_scale_is_read_in_any_width_and_quotes(quotes: str) -> None:
    for tenths in range(51):
        number = f"{tenths / 10:.1f}"
        assert read_score(number).strict.value == read_score(number).lenient.value == tenths / 10
        for written in (number, number.translate(FULL_WIDTH)):
            assert read_score(quotes.format(written)).lenient.value == tenths / 10


@pytest.mark.parametrize(
    "quotes",
    [
        "{}",
        "「{}」",
        "答え：{}",
        "答えは{}です。",
        "{}です。",
        "{}。",
        "**{}**",
        "```\n{}\n```",
        "\\boxed{{{}}}",
        "<answer>{}</answer>",
    ],
)
def test_the_gold_answers_of_jsquad_survive_the_lenient_reading(quotes: str, official_spans: tuple[str, ...]) -> None:
    lost = [gold for gold in official_spans if not _is_same(quotes.format(gold), gold)]
    # 17 answers stand in quotation marks themselves: 「」 around all of an answer is taken for the writer's.
    assert len(lost) <= len(official_spans) // 150


def test_json_gives_back_every_gold_answer_of_jsquad(official_spans: tuple[str, ...]) -> None:
    for gold in official_spans:
        assert read_span(json.dumps({"answer": gold}, ensure_ascii=False)).lenient.value == gold.strip()


def _is_same(text: str, gold: str) -> bool:
    value = read_span(text).lenient.value
    return isinstance(value, str) and metrics.span_exact_match(value, (gold,)) == 1
