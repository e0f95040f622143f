"""Floors follow from the gold answers alone, and are what such answers really score."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest

from jglue_app.scoring.floors import constant_floors, default_floors
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.report import report_run
from jglue_app.scoring.types import TaskReport
from jglue_app.tasks import TASKS
from jglue_app.types import Decoding, Item, ModelSpec, Output, Prompt, PromptSpec, Record, RunData, RunSpec

GOLDS = {
    "marc_ja": ["positive"] * 7 + ["negative"] * 4,
    "jnli": ["neutral"] * 6 + ["entailment"] * 3 + ["contradiction"] * 2,
    "jcommonsenseqa": ["4", "4", "4", "4", "0", "0", "1", "2", "3", "3"],
}


def items(task: str, golds: Sequence[str]) -> list[Item]:
    fields = dict.fromkeys(TASKS[task].fields, "文")
    return [Item(task, str(i), fields, (gold,), TASKS[task].labels) for i, gold in enumerate(golds)]


def scored(protocol: str, asked: Sequence[Item], text: str, favourite: str = "") -> TaskReport:
    """The report of a model that always writes one text and ranks one label first."""
    task = asked[0].task
    records = [
        Record(
            "s",
            task,
            item.id,
            Prompt(task, item.id, "p", None, (), item.choices, "", (), ""),
            Output(text, "stop", 1, 1, 0.0, tuple(-float(c != favourite) for c in item.choices) if favourite else None),
        )
        for item in asked
    ]
    spec = RunSpec(ModelSpec("m"), (task,), "v1.3", {}, PromptSpec(), "", Decoding(), "0")
    data = RunData(spec, {task: {item.id: item for item in asked}}, {task: "user"}, records)
    return report_run(data, protocol).tasks[task]


@pytest.mark.parametrize(
    ("protocol", "task"), [(p, t) for p, t in product(PROTOCOLS, GOLDS) if t in PROTOCOLS[p].metrics]
)
def test_the_floor_is_what_the_majority_class_scores(protocol: str, task: str) -> None:
    asked = items(task, GOLDS[task])
    majority = max(GOLDS[task], key=GOLDS[task].count)
    found = scored(protocol, asked, majority, majority)
    floors = constant_floors(PROTOCOLS[protocol], TASKS[task], asked)
    # With labels of one length each, the length-normalised ranking picks the same one, if not always as clearly.
    assert {name: found.metrics[name].value for name in floors} == pytest.approx(floors)
    assert set(floors) == set(PROTOCOLS[protocol].metrics[task])
    assert found.floors == floors


@pytest.mark.parametrize("protocol", ["wandb-2023-0shot", "wandb-2023-4shot"])
@pytest.mark.parametrize("task", GOLDS)
def test_the_default_floor_is_what_saying_nothing_of_use_scores(protocol: str, task: str) -> None:
    asked = items(task, GOLDS[task])
    found = scored(protocol, asked, "…")
    floors = default_floors(PROTOCOLS[protocol], TASKS[task], asked)
    assert floors == {"accuracy": pytest.approx(found.metrics["accuracy"].value)}
    assert (found.default_floors, found.unreadable) == (floors, len(asked))


def test_a_default_that_is_never_gold_scores_nothing() -> None:
    asked = items("jnli", ["neutral"] * 3)
    assert default_floors(PROTOCOLS["wandb-2023-0shot"], TASKS["jnli"], asked) == {"accuracy": 0.0}


@pytest.mark.parametrize("protocol", ["official", "stability-jp", "llm-jp-eval", "flexeval", "lm-eval-ja"])
@pytest.mark.parametrize("task", GOLDS)
def test_without_a_default_there_is_no_such_floor(protocol: str, task: str) -> None:
    assert default_floors(PROTOCOLS[protocol], TASKS[task], items(task, GOLDS[task])) == {}


def span(id_: str, *gold: str) -> Item:
    return Item("jsquad", id_, {"title": "", "context": "…", "question": "？"}, gold)


def test_the_floor_of_spans_is_the_most_common_answer_any_reference_or_the_first_alone() -> None:
    asked = [span("1", "東京", "首都"), span("2", "大阪", "東京"), span("3", "京都", "東京", "東京"), span("4", "津")]
    task = TASKS["jsquad"]
    for protocol in PROTOCOLS:
        floors = constant_floors(PROTOCOLS[protocol], task, asked)
        if PROTOCOLS[protocol].first_reference_only:
            assert floors.get("exact_match", 1 / 4) == 1 / 4
            continue
        assert floors["exact_match"] == 3 / 4
        found = scored(protocol, asked, "東京")
        assert floors == pytest.approx({name: estimate.value for name, estimate in found.metrics.items()})
        assert found.floors == floors


def test_a_constant_has_no_correlation_and_no_items_have_no_floor() -> None:
    similar = [Item("jsts", "1", {"sentence1": "犬", "sentence2": "猫"}, 2.0)]
    for protocol in PROTOCOLS.values():
        if "jsts" in protocol.metrics:
            assert constant_floors(protocol, TASKS["jsts"], similar) == {}
            assert default_floors(protocol, TASKS["jsts"], similar) == {}
        for task in protocol.metrics:
            assert constant_floors(protocol, TASKS[task], []) == {}
            assert default_floors(protocol, TASKS[task], []) == {}
