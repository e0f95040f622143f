"""Whatever an output holds, every protocol judges it: without an exception, within the scale, and in good time.

`pytest --hypothesis-profile=thorough` tries 10,000 outputs for each protocol and subset.
"""

from __future__ import annotations

import math
import time
import unicodedata
from typing import get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.protocols.text_normalization import nfkc
from jglue_app.scoring.rules import RULES
from jglue_app.scoring.types import Judgement, Outcome, Parsed, Status
from jglue_app.tasks import TASKS
from jglue_app.types import Finish, Item, Output, Prompt, Record

CHOICES = {f"choice{i}": word for i, word in enumerate(("春", "夏", "秋", "梅雨", "冬"))}
ITEMS = {
    "marc_ja": Item("marc_ja", "1", {"sentence": "良い"}, ("positive",), ("positive", "negative")),
    "jsts": Item("jsts", "1", {"sentence1": "犬", "sentence2": "猫"}, 4.0),
    "jnli": Item(
        "jnli", "1", {"sentence1": "犬", "sentence2": "猫"}, ("neutral",), ("entailment", "contradiction", "neutral")
    ),
    "jsquad": Item("jsquad", "1", {"title": "", "context": "東京", "question": "？"}, ("東京都", "「こころ」", "１年")),
    "jcommonsenseqa": Item("jcommonsenseqa", "1", {"question": "？", **CHOICES}, ("2",), ("0", "1", "2", "3", "4")),
    "jcola": Item("jcola", "1", {"sentence": "犬が走る。"}, ("acceptable",), ("unacceptable", "acceptable")),
}
every_judge = pytest.mark.parametrize(
    ("protocol", "task"), [(name, task) for name, protocol in PROTOCOLS.items() for task in protocol.metrics]
)


def judge(
    protocol: str, task: str, text: str | None, finish: Finish = "stop", logprobs: tuple[float, ...] | None = None
) -> Judgement:
    item = ITEMS[task]
    prompt = Prompt(task, item.id, "p", None, (), item.choices, "", (), "")
    record = Record("s", task, item.id, prompt, Output(text, finish, 1, 1, 0.0, logprobs))
    return PROTOCOLS[protocol].judge(TASKS[task], item, record)


PIECES = (
    *("0", "1", "2.5", "4", "10", "-3", "２", "②", "⑩", "٣", "三", "1e308", "1e999", "nan", "inf", "1_0", "."),
    *(
        "点",
        "5点満点",
        "positive",
        "negative",
        "Neutral",
        "entailment",
        "含意",
        "中立",
        "肯定",
        "春",
        "A",
        "not ",
        "unacceptable",
        "自然",
    ),
    *("東京都", "こころ", "１年", "「", "」", "『", "』", "。", "です。", "答え：", "質問：", "<think>", "</think>"),
    *(" ", "\n", "\n\n", "\r\n", "\t", "\u3000", "\xa0", "\x00", "\x1c", "\x85", "\ufeff"),
    *("😀", "👨‍👩‍👧", "👩\u200d", "🇯🇵", "🇯", "1️⃣", "\u200d", "\ufe0f", "〜", "ー", "・", "ｶﾞ", "ﾞ"),
    *("\ufdfa", "ǆ", "İ", "ß", "e\u0301", "\u0323\u0301", "\u0f73", "\u202e", "\u200f", "שלום"),
    *("\ud800", "\udfff", "\ud83d\ude00", "\U0010ffff"),
)
LIKELY = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
REPEATED = st.builds(lambda piece, n, end: piece * n + end, LIKELY, st.sampled_from((30, 300)), LIKELY)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200) | LIKELY | REPEATED
LOGPROB = st.floats() | st.sampled_from((0.0, -1.0, 1e308, -1e308, math.nan, math.inf, -math.inf))


@every_judge
@given(
    text=st.none() | ANY_TEXT | ANY_TEXT,
    finish=st.sampled_from(get_args(Finish)),
    logprobs=st.none() | st.lists(LOGPROB, max_size=6).map(tuple) | st.lists(st.floats(-99, 0), min_size=5).map(tuple),
)
@example(text="0", finish="scored", logprobs=None)  # A cosine, of similarities alone.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_output_is_judged(
    protocol: str, task: str, text: str | None, finish: Finish, logprobs: tuple[float, ...] | None
) -> None:
    # As many log-likelihoods as there are choices, twice as often as by chance.
    if logprobs and len(logprobs) >= 5:
        logprobs = logprobs[: len(ITEMS[task].choices)]
    judged = judge(protocol, task, text, finish, logprobs)
    assert judged == judge(protocol, task, text, finish, logprobs)
    assert judged.outcome in get_args(Outcome)
    assert all(0.0 <= score <= 1.0 for scores in (judged.scores, judged.lenient_scores) for score in scores.values())
    assert set(judged.scores) <= set(PROTOCOLS[protocol].metrics[task])
    assert judged.choice is None or judged.choice in ITEMS[task].choices
    for parsed in (judged.strict, judged.lenient):
        check_reading(protocol, task, text or "", parsed)
    if judged.outcome in ("error", "overflow", "unscored"):
        assert (judged.strict.value, judged.scores) == (None, {})


def check_reading(protocol: str, task: str, text: str, parsed: Parsed) -> None:
    assert parsed.status in get_args(Status)
    assert set(parsed.rule.split("+")) <= set(RULES)
    if parsed.span is not None:
        assert 0 <= parsed.span[0] <= parsed.span[1] <= len(text)
    if TASKS[task].kind == "score":
        assert parsed.value is None or isinstance(parsed.value, float)
        # Where nothing is clipped, what float() reads as infinite or not a number passes as it is.
        clipped = PROTOCOLS[protocol].rules[task].clip or protocol == "official"
        assert parsed.value is None or not clipped or math.isfinite(parsed.value)
    else:
        assert parsed.value is None or isinstance(parsed.value, str)
    defaults = PROTOCOLS[protocol].defaults
    if parsed.rule == "default":
        assert parsed.value == defaults[task]
        assert parsed.status in ("off_format", "empty")
    elif TASKS[task].kind != "span" and parsed.status in ("off_format", "ambiguous", "empty"):
        # Without a default, what was not read has no value; a default has its rule.
        assert parsed.value is None


LENGTH = 200_000
"""Bytes."""
LONG = {
    "plain": "日本の首都は東京です。",
    "brackets": "「",
    "digits": "1",
    "white space": " ",
    "emoji": "😀",
    "emoji joined to one another": "👩\u200d",
    "surrogates": "\ud800",
    "marks out of order": "\u0323\u0301",
}


@every_judge
@pytest.mark.parametrize("piece", LONG.values(), ids=LONG.keys())
def test_a_long_output_is_judged_in_good_time(protocol: str, task: str, piece: str) -> None:
    text = piece * (LENGTH // len(piece.encode("utf-8", "surrogatepass"))) + "x"
    start = time.process_time()
    judged = judge(protocol, task, text, logprobs=tuple(-1.0 for _ in ITEMS[task].choices) or None)
    # Time that grows with the square of the length is many seconds here.
    assert time.process_time() - start < 3
    assert judged.outcome in get_args(Outcome)
    assert all(0.0 <= score <= 1.0 for score in judged.scores.values())


# Longer than what is normalised in one go.
MARKS = st.text(st.sampled_from("\u0301\u0323\u0344\u0f71\u0f73\u3099\uff9e\U000e0100"), min_size=90, max_size=130)
PLAIN = st.text(st.sampled_from("aeか각\u1100\u1161ｶǟ東\ufdfa\ud800"), max_size=3)


@given(parts=st.lists(st.tuples(PLAIN, MARKS), min_size=12, max_size=14))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_marks_in_any_number_are_normalised_as_unicode_says(parts: list[tuple[str, str]]) -> None:
    text = "".join(plain + marks for plain, marks in parts)
    assert len(text) > 1_000
    assert nfkc(text) == unicodedata.normalize("NFKC", text)
