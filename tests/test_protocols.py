"""What the protocol `official` makes of one record."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jglue_app.errors import UnknownNameError
from jglue_app.protocols import get_protocol, official
from jglue_app.report import report_run
from jglue_app.tasks import TASKS
from jglue_app.types import (
    Decoding,
    Finish,
    Item,
    ModelSpec,
    Outcome,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunError,
    RunSpec,
)

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


# --- known answers on the official data -----------------------------------------------------------------

REAL = os.environ.get("JGLUE_DATA_DIR")
needs_jglue = pytest.mark.skipif(not REAL, reason="set JGLUE_DATA_DIR to a folder with the JGLUE v1.3 files")


def dev_run(task: str, answer: Callable[[Item, int], str]) -> RunData:
    """A run on the whole official dev set whose outputs are made from each item and its place in the file."""
    text = (Path(REAL or "") / f"{task}-v1.3" / "valid-v1.3.json").read_text("utf-8")
    items = [TASKS[task].item(row) for _, row in TASKS[task].rows(text)]
    prompts = [Prompt(task, item.id, "p", None, (), item.choices, "", (), "") for item in items]
    records = [
        Record("s", task, item.id, prompt, Output(answer(item, i), "stop", 1, 1, 0.0))
        for i, (item, prompt) in enumerate(zip(items, prompts, strict=True))
    ]
    spec = RunSpec(ModelSpec("m"), (task,), "v1.3", {}, PromptSpec(), "", Decoding(), "0")
    return RunData(spec, {task: {item.id: item for item in items}}, {task: "official"}, records)


def spans(item: Item) -> tuple[str, ...]:
    assert isinstance(item.gold, tuple)
    return item.gold


def second(item: Item) -> str:
    return spans(item)[min(1, len(spans(item)) - 1)]


WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


@needs_jglue
@pytest.mark.parametrize(
    ("answer", "exact_match", "f1"),
    [
        (lambda item, _: spans(item)[0], 100.0, 100.0),
        (lambda item, _: second(item), 100.0, 100.0),
        (lambda item, _: f"「{spans(item)[0]}」", 0.0, 82.5),
        (lambda item, _: f"{spans(item)[0]}です。", 0.0, 82.5),
        (lambda item, _: f"答え：{spans(item)[0]}", 0.0, 76.3),
        (lambda item, _: f"{spans(item)[0]}\n\n文章:次の例", 0.0, 59.3),
        (lambda item, _: spans(item)[0].translate(WIDE), 73.4, 84.0),
    ],
    ids=["first answer", "second answer", "quoted", "with です", "with a cue", "with more text", "full-width digits"],
)
def test_jsquad_scores_as_others_measured_them_with_the_official_script(
    answer: Callable[[Item, int], str], exact_match: float, f1: float
) -> None:
    task = report_run(dev_run("jsquad", answer)).tasks["jsquad"]
    assert task.metrics["exact_match"].n == task.metrics["f1"].n == 4_442
    assert 100 * (task.metrics["exact_match"].value or 0) == pytest.approx(exact_match, abs=0.05)
    assert 100 * (task.metrics["f1"].value or 0) == pytest.approx(f1, abs=0.05)


@needs_jglue
def test_jsts_is_perfect_over_what_can_be_read_and_lower_with_the_middle_imputed() -> None:
    task = report_run(dev_run("jsts", lambda item, i: str(item.gold) if i % 10 else "わかりません")).tasks["jsts"]
    for name, imputed in (("pearson", 0.9510), ("spearman", 0.9467)):
        assert task.metrics[name].value == pytest.approx(1.0)
        assert task.metrics[name].n == 1_311
        assert task.imputed[name].value == pytest.approx(imputed, abs=5e-5)
    assert (task.unreadable, task.unreadable_lenient, task.n) == (146, 146, 1_457)


@needs_jglue
def test_constant_answers_score_the_floors_that_are_known() -> None:
    always_0 = report_run(dev_run("jcommonsenseqa", lambda *_: "0")).tasks["jcommonsenseqa"]
    assert always_0.metrics["accuracy"].value == pytest.approx(0.193, abs=5e-4)
    always_entailment = report_run(dev_run("jnli", lambda *_: "entailment")).tasks["jnli"]
    assert always_entailment.metrics["accuracy"].value == pytest.approx(0.143, abs=5e-4)


@needs_jglue
def test_few_official_answers_lose_anything_to_the_lenient_reading() -> None:
    # 「『こころ』」 is read as こころ: below 1 % of the answers stand in brackets of their own or end in です.
    task = report_run(dev_run("jsquad", lambda item, _: spans(item)[0])).tasks["jsquad"]
    assert (task.lenient["exact_match"].value or 0) > 0.993
    assert (task.lenient["f1"].value or 0) > 0.998
