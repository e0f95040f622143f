"""What the protocol `official` makes of one record."""

from __future__ import annotations

import pytest

from jglue_app.errors import UnknownNameError
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.official import judge as official
from jglue_app.scoring.types import Outcome
from jglue_app.tasks import TASKS
from jglue_app.types import Finish, Item, Output, Prompt, Record, RunError

QUESTION = {
    "question": "冬の次の季節は？",
    **{f"choice{i}": word for i, word in enumerate(("春", "夏", "秋", "梅雨", "冬"))},
}
ITEMS = {
    "jcommonsenseqa": Item("jcommonsenseqa", "1", QUESTION, ("0",), ("0", "1", "2", "3", "4")),
    "jsts": Item("jsts", "1", {"sentence1": "犬", "sentence2": "猫"}, 2.0),
    "jsquad": Item("jsquad", "1", {"title": "", "context": "東京", "question": "？"}, ("東京都", "東京")),
}
LETTERS = ("ア", "イ", "ウ", "エ", "オ")


def record(task: str, text: str | None, finish: Finish = "stop", logprobs: tuple[float, ...] | None = None) -> Record:
    answers = LETTERS if ITEMS[task].choices else ()
    prompt = Prompt(task, "1", "p", None, (), answers, "", (), "")
    return Record("s", task, "1", prompt, Output(text, finish, 1, 1, 0.0, logprobs))


@pytest.mark.parametrize(
    ("task", "text", "outcome", "strict", "lenient"),
    [
        ("jcommonsenseqa", "ア", "correct", {"accuracy": 1.0}, {"accuracy": 1.0}),
        ("jcommonsenseqa", " ア\n", "correct", {"accuracy": 1.0}, {"accuracy": 1.0}),
        ("jcommonsenseqa", "春", "wrong_form", {"accuracy": 0.0}, {"accuracy": 1.0}),
        ("jcommonsenseqa", "オ", "wrong", {"accuracy": 0.0}, {"accuracy": 0.0}),
        ("jcommonsenseqa", "冬です。", "wrong", {"accuracy": 0.0}, {"accuracy": 0.0}),
        ("jcommonsenseqa", "アかイ", "unreadable", {"accuracy": 0.0}, {"accuracy": 0.0}),
        ("jcommonsenseqa", "", "empty", {"accuracy": 0.0}, {"accuracy": 0.0}),
        ("jsts", "2.5", "correct", {}, {}),
        ("jsts", "2.6", "wrong", {}, {}),
        ("jsts", "２点", "wrong_form", {}, {}),
        ("jsts", "不明", "unreadable", {}, {}),
        ("jsquad", "東京。", "correct", {"exact_match": 1.0, "f1": 1.0}, {"exact_match": 1.0, "f1": 1.0}),
        ("jsquad", "「東京」", "wrong_form", {"exact_match": 0.0, "f1": 2 / 3}, {"exact_match": 1.0, "f1": 1.0}),
        ("jsquad", "京東", "wrong", {"exact_match": 0.0, "f1": 1.0}, {"exact_match": 0.0, "f1": 1.0}),
        ("jsquad", "\n", "empty", {"exact_match": 0.0, "f1": 0.0}, {"exact_match": 0.0, "f1": 0.0}),
    ],
)
def test_an_output_is_scored_strictly_and_leniently(
    task: str, text: str, outcome: Outcome, strict: dict[str, float], lenient: dict[str, float]
) -> None:
    judged = official(TASKS[task], ITEMS[task], record(task, text))
    assert judged.outcome == outcome
    assert judged.scores == pytest.approx(strict)
    assert judged.lenient_scores == pytest.approx(lenient)


def test_an_error_has_no_score() -> None:
    prompt = record("jcommonsenseqa", "ア").prompt
    failed = Record("s", "jcommonsenseqa", "1", prompt, None, RunError("non_finite", "…"))
    judged = official(TASKS["jcommonsenseqa"], ITEMS["jcommonsenseqa"], failed)
    assert (judged.outcome, judged.scores, judged.choice) == ("error", {}, None)


def test_a_prompt_that_did_not_fit_has_no_score() -> None:
    judged = official(TASKS["jcommonsenseqa"], ITEMS["jcommonsenseqa"], record("jcommonsenseqa", "", finish="overflow"))
    assert (judged.outcome, judged.scores) == ("overflow", {})


@pytest.mark.parametrize(
    ("logprobs", "choice", "outcome"),
    [((-1.0, -2.0, -3.0, -4.0, -5.0), "0", "correct"), ((-2.0, -1.0, -3.0, -4.0, -5.0), "1", "wrong")],
)
def test_choices_alone_are_judged_by_their_log_likelihood(
    logprobs: tuple[float, ...], choice: str, outcome: Outcome
) -> None:
    ranked = record("jcommonsenseqa", None, "scored", logprobs)
    judged = official(TASKS["jcommonsenseqa"], ITEMS["jcommonsenseqa"], ranked)
    assert (judged.choice, judged.outcome, judged.scores) == (choice, outcome, {})


def test_an_unknown_protocol_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'official'"):
        get_protocol("oficial")


def test_a_ranking_counts_even_where_the_prompt_left_no_room_to_write() -> None:
    both = record("jcommonsenseqa", "", "overflow", (-3.0, -1.0, -2.0, -4.0, -5.0))
    judged = official(TASKS["jcommonsenseqa"], ITEMS["jcommonsenseqa"], both)
    assert (judged.choice, judged.outcome, judged.scores) == ("1", "overflow", {})
