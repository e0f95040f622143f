"""Items of two runs that share no more than an id are left out, with a sentence."""

from __future__ import annotations

from dataclasses import replace

from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.key_items import key_items
from jglue_app.types import ModelSpec, RunData
from jglue_app.ui.views import comparison
from jglue_app.ui.views.item import SideView
from tests.scoring.test_insights import good
from tests.scoring.test_report import SPEC


def other_text(run: RunData, ids: tuple[str, ...]) -> RunData:
    """The run as if some of its items had been other ones."""
    fields = {"sentence1": "別の前提", "sentence2": "別の仮説"}
    return replace(
        run,
        spec=replace(SPEC, model=ModelSpec("n")),
        items={"jnli": {id_: replace(i, fields=fields) if id_ in ids else i for id_, i in run.items["jnli"].items()}},
    )


def test_items_that_differ_are_named_and_bear_nothing_out() -> None:
    a = good(wrong=30)
    b = other_text(good(), ("0", "3"))
    assert comparison.other_items(a, b) == {("jnli", "0"), ("jnli", "3")}
    assert comparison.other_items(a, a) == set()
    found = key_items(judge_run(a, "official"), judge_run(b, "official"), {})
    assert {item.id for item in found}.isdisjoint({"0", "3"})


def test_the_second_side_of_another_item_has_no_answer() -> None:
    a = judge_run(good(), "official")["jnli"]
    b = judge_run(other_text(good(), ("0",)), "official")["jnli"]
    first = SideView("A", "m", a["0"])
    side = comparison.paired_side([first], SideView("B", "n", b["0"]), "en")
    assert (side.row, side.missing) == (None, "Another item with the same id: not compared")
    same = SideView("B", "n", b["1"])
    assert comparison.paired_side([SideView("A", "m", a["1"])], same, "en") is same
