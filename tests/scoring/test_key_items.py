"""Which items show best why two runs score as they do, and in which order."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.key_items import MOST, MOST_ALIKE, KeyItem, gold_share, key_items
from jglue_app.scoring.protocols.official import judge
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Output, Prompt, Record, RunError

LABELS, ANSWERS = ("entailment", "contradiction", "neutral"), ("含意", "矛盾", "中立")
NEUTRAL, ENTAILMENT = (math.log(0.05), math.log(0.05), math.log(0.9)), (math.log(0.9), math.log(0.05), math.log(0.05))
"""Log-probabilities of which the named answer has nine tenths."""
UNSURE = (math.log(0.3), math.log(0.3), math.log(0.4))
BOTH = {"A": ["jnli", "marc_ja"], "B": ["jnli", "marc_ja"]}


def row(
    id_: str, text: str | None, logprobs: tuple[float, ...] | None = None, gold: str = "neutral", task: str = "jnli"
) -> ScoredItem:
    """An item with an output; neither text nor ranking for an error."""
    labels, answers = (LABELS, ANSWERS) if task == "jnli" else (("positive", "negative"), ("肯定", "否定"))
    item = Item(task, id_, dict.fromkeys(TASKS[task].fields, "文"), (gold,), labels)
    prompt = Prompt(task, id_, "p", None, (), answers, "", (), "")
    if text is None and logprobs is None:
        record = Record("s", task, id_, prompt, None, RunError("out_of_memory", "…"))
    else:
        record = Record("s", task, id_, prompt, Output(text, "stop", 9, 2, 0.25, logprobs))
    return ScoredItem(item, record, judge(TASKS[task], item, record))


def nli(**texts: str | tuple[str, tuple[float, ...]] | None) -> dict[str, dict[str, ScoredItem]]:
    """JNLI items, all neutral: id → text, or text and log-probabilities."""
    rows = {id_: row(id_, *given) if isinstance(given, tuple) else row(id_, given) for id_, given in texts.items()}
    return {"jnli": rows}


def kinds(found: list[KeyItem]) -> list[tuple[str, str, str]]:
    return [(item.id, item.kind, item.side) for item in found]


def test_what_is_known_and_not_written_comes_first_then_what_one_side_has_right_then_other_forms() -> None:
    a = nli(alike="中立", wrong="含意", apart="？", form="答え：中立", only="中立", known=("？", NEUTRAL), failed=None)
    b = nli(alike="中立", wrong="含意", apart="含意", form="矛盾", only="矛盾", known="中立", failed="中立")
    assert kinds(key_items(a, b, BOTH)) == [
        ("known", "knows", "A"),
        ("only", "only_right", "A"),
        ("form", "form", "A"),
        ("apart", "unreadable", "A"),
        ("wrong", "wrong", ""),
        ("alike", "correct", ""),
        # A failed there, which is not wrong.
        ("failed", "other", ""),
    ]


def test_the_surest_knowledge_comes_first_and_before_all_where_the_other_side_is_right() -> None:
    a = nli(unsure=("？", UNSURE), sure=("？", NEUTRAL), shown=("？", UNSURE))
    b = nli(unsure="含意", sure="含意", shown="中立")
    # 0.4 + 1, 0.9, 0.4; and two of a kind in a subset are enough.
    assert kinds(key_items(a, b, BOTH)) == [("shown", "knows", "A"), ("sure", "knows", "A")]


def test_a_ranking_that_shows_no_knowledge_makes_no_item_known() -> None:
    a, b = nli(known=("？", NEUTRAL)), nli(known="中立")
    assert kinds(key_items(a, b, {"A": [], "B": ["jnli"]})) == [("known", "only_right", "B")]
    assert kinds(key_items(a, b, {"A": ["jnli"]})) == [("known", "knows", "A")]


def test_a_text_and_a_ranking_alone_are_not_one_right_and_one_wrong_answer() -> None:
    # B wrote nothing. It ranks entailment first, as A does in `ranked`; of `written` A has no ranking.
    a = nli(written="中立", ranked=("中立", ENTAILMENT), other=("中立", NEUTRAL))
    b = {"jnli": {id_: row(id_, None, ENTAILMENT) for id_ in a["jnli"]}}
    found = {item.id: (item.kind, item.side) for item in key_items(a, b, {})}
    assert found["other"] == ("only_right", "A")
    assert "only_right" not in (found["written"][0], found["ranked"][0])


def test_a_wrong_answer_that_can_be_read_is_shown_before_one_that_cannot() -> None:
    a, b = nli(mute="？", wrong="含意"), nli(mute="中立", wrong="中立")
    assert kinds(key_items(a, b, BOTH)) == [("wrong", "only_right", "B"), ("mute", "only_right", "B")]


def test_what_holds_for_both_sides_names_none() -> None:
    a = nli(known=("？", NEUTRAL), form="答え：中立", mute="？")
    assert kinds(key_items(a, a, BOTH)) == [("known", "knows", ""), ("form", "form", ""), ("mute", "unreadable", "")]


def test_the_subset_of_the_headline_comes_before_the_others() -> None:
    reviews = {id_: row(id_, "否定", None, "positive", "marc_ja") for id_ in ("1", "2")}
    right = {id_: row(id_, "肯定", None, "positive", "marc_ja") for id_ in ("1", "2")}
    a = {"marc_ja": reviews, **nli(known=("？", NEUTRAL), only="含意", alike="含意")}
    b = {"marc_ja": right, **nli(known="中立", only="中立", alike="含意")}
    assert [item.id for item in key_items(a, b, BOTH)] == ["known", "1", "2", "only", "alike"]
    assert [item.id for item in key_items(a, b, BOTH, "jnli")] == ["known", "only", "1", "2", "alike"]
    assert [item.id for item in key_items(a, b, BOTH, "marc_ja")] == ["1", "2", "known", "only", "alike"]


def test_one_run_alone_has_key_items_too() -> None:
    a = nli(right="中立", wrong="含意", form="答え：中立", known=("？", NEUTRAL))
    assert kinds(key_items(a, None, {"A": ["jnli"]})) == [
        ("known", "knows", "A"),
        ("form", "form", "A"),
        ("wrong", "wrong", ""),
        ("right", "correct", ""),
    ]
    assert key_items({}, None, {}) == []


def test_there_are_a_few_of_each_kind_and_no_more_than_can_be_looked_at() -> None:
    many = {
        task: {str(i): row(str(i), "？", None, gold, task) for i in range(40)}
        for task, gold in (("jnli", "neutral"), ("marc_ja", "positive"))
    }
    assert len(key_items(many, many, BOTH)) == 2 * MOST_ALIKE <= MOST


@pytest.mark.parametrize(
    ("logprobs", "share"),
    [
        (NEUTRAL, 0.9),
        (ENTAILMENT, 0.05),
        # What is left of an answer without a log-probability shares the whole: .1 of .4.
        ((math.log(0.3), -math.inf, math.log(0.1)), 0.25),
        ((-1000.0, -1000.0, -1000.0), 1 / 3),
        ((-math.inf, -math.inf, -math.inf), None),
        ((-1.0, -2.0), None),
        (None, None),
    ],
)
def test_the_share_of_the_gold_answer_is_among_the_choices(
    logprobs: tuple[float, ...] | None, share: float | None
) -> None:
    found = gold_share(row("1", "中立", logprobs))
    assert found == (None if share is None else pytest.approx(share))
    assert gold_share(None) is None
    assert gold_share(replace(row("1", "中立", logprobs), item=Item("jsts", "1", {}, 2.0))) is None
    # An item of one's own has no gold answer.
    answered = row("1", "中立", logprobs)
    assert gold_share(replace(answered, item=replace(answered.item, gold=()))) is None
