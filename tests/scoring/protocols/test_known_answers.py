"""Protocols on the official dev files, against figures that others computed with each system's own libraries."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.report import report_run
from jglue_app.scoring.types import TaskReport
from jglue_app.tasks import TASKS
from jglue_app.types import Decoding, Item, ModelSpec, Output, Prompt, PromptSpec, Record, RunData, RunSpec

REAL = os.environ.get("JGLUE_DATA_DIR")
pytestmark = pytest.mark.skipif(not REAL, reason="set JGLUE_DATA_DIR to a folder with the JGLUE v1.3 files")

Answer = Callable[[Item, int], str]


@cache
def dev_items(task: str) -> tuple[Item, ...]:
    text = (Path(REAL or "") / f"{task}-v1.3" / "valid-v1.3.json").read_text("utf-8")
    return tuple(TASKS[task].item(row) for _, row in TASKS[task].rows(text))


def dev_report(
    protocol: str, task: str, answer: Answer, logprobs: Callable[[Item], tuple[float, ...]] | None = None
) -> TaskReport:
    """The report of outputs that are made from each item and its place in the file."""
    items = dev_items(task)
    records = [
        Record(
            "s",
            task,
            item.id,
            Prompt(task, item.id, "p", None, (), item.choices, "", (), ""),
            Output(answer(item, i), "stop", 1, 1, 0.0, logprobs(item) if logprobs else None),
        )
        for i, item in enumerate(items)
    ]
    spec = RunSpec(ModelSpec("m"), (task,), "v1.3", {}, PromptSpec(), "", Decoding(), "0")
    data = RunData(spec, {task: {item.id: item for item in items}}, {task: "official"}, records)
    return report_run(data, protocol).tasks[task]


def spans(item: Item) -> tuple[str, ...]:
    assert isinstance(item.gold, tuple)
    return item.gold


WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
ANSWERS: dict[str, Answer] = {
    "first": lambda item, _: spans(item)[0],
    "second": lambda item, _: spans(item)[min(1, len(spans(item)) - 1)],
    "quoted": lambda item, _: f"「{spans(item)[0]}」",
    "with です": lambda item, _: f"{spans(item)[0]}です。",
    "with a cue": lambda item, _: f"答え：{spans(item)[0]}",
    "with more text": lambda item, _: f"{spans(item)[0]}\n\n文章:次の例",
    "full-width digits": lambda item, _: spans(item)[0].translate(WIDE),
}
COLUMNS = ("official", "stability-jp", "wandb-2023-0shot", "llm-jp-eval", "flexeval", "lm-eval-ja")
KNOWN = {
    "first": ((100.0, 100.0), (100.0, 100.0), (97.0, 99.9), (100.0, 100.0), (100.0, 100.0), (100.0, None)),
    "second": ((100.0, 100.0), (100.0, 100.0), (97.5, 99.9), (79.5, 90.7), (100.0, 100.0), (79.5, None)),
    "quoted": ((0.0, 82.5), (0.0, 99.3), (97.0, 99.9), (0.0, 100.0), (0.0, 82.6), (0.0, None)),
    "with です": ((0.0, 82.5), (0.0, 80.4), (0.0, 82.1), (0.0, 82.2), (0.0, 76.4), (0.0, None)),
    "with a cue": ((0.0, 76.3), (0.0, 80.3), (0.0, 76.1), (0.0, 76.2), (0.0, 76.4), (0.0, None)),
    "with more text": ((0.0, 59.3), (0.0, 53.3), (0.0, 59.0), (100.0, 100.0), (0.0, 56.4), (0.0, None)),
    "full-width digits": ((73.4, 84.0), (100.0, 100.0), (97.0, 99.9), (100.0, 100.0), (73.4, 84.0), (73.4, None)),
}
"""Answer → (exact match, F1 or its like) in percent, in the order of `COLUMNS`; known to one decimal."""


@pytest.mark.parametrize(
    ("answer", "protocol", "exact_match", "f1"),
    [
        pytest.param(answer, protocol, *known, id=f"{answer}, {protocol}")
        for answer, row in KNOWN.items()
        for protocol, known in zip(COLUMNS, row, strict=True)
    ],
)
def test_jsquad_scores_as_with_the_systems_own_libraries(
    answer: str, protocol: str, exact_match: float, f1: float | None
) -> None:
    found = dev_report(protocol, "jsquad", ANSWERS[answer]).metrics
    other = [name for name in found if name != "exact_match"]
    assert other == ([] if f1 is None else [{"llm-jp-eval": "char_f1", "flexeval": "char_f1"}.get(protocol, "f1")])
    # The W&B evaluation leaves out 20 items, whose lexicographically largest reference has more than 37.5 characters.
    n = 4_422 if protocol == "wandb-2023-0shot" else 4_442
    for name, expected in (("exact_match", exact_match), *((name, f1) for name in other)):
        assert found[name].n == n
        assert 100 * (found[name].value or 0) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(
    ("protocol", "pearson", "spearman", "n"),
    [
        ("official", 1.0, 1.0, 1_311),
        ("wandb-2023-0shot", 0.9472, 0.9372, 1_457),
        ("wandb-2023-4shot", 0.9472, 0.9372, 1_457),
        ("flexeval", 0.8336, 0.8274, 1_457),
        ("llm-jp-eval", 0.6652, 0.7947, 1_457),
    ],
)
def test_an_unreadable_similarity_costs_what_the_protocol_makes_of_it(
    protocol: str, pearson: float, spearman: float, n: int
) -> None:
    found = dev_report(protocol, "jsts", lambda item, i: str(item.gold) if i % 10 else "わかりません")
    assert found.metrics["pearson"].value == pytest.approx(pearson, abs=5e-5)
    assert found.metrics["spearman"].value == pytest.approx(spearman, abs=5e-5)
    assert (found.metrics["pearson"].n, found.unreadable) == (n, 146)


def test_similarities_with_the_middle_imputed() -> None:
    found = dev_report("official", "jsts", lambda item, i: str(item.gold) if i % 10 else "わかりません")
    assert found.imputed["pearson"].value == pytest.approx(0.9510, abs=5e-5)
    assert found.imputed["spearman"].value == pytest.approx(0.9467, abs=5e-5)
    assert (found.unreadable, found.unreadable_lenient, found.n) == (146, 146, 1_457)


@pytest.mark.parametrize(("task", "constant", "floor"), [("jcommonsenseqa", "0", 0.193), ("jnli", "entailment", 0.145)])
def test_saying_nothing_scores_the_known_floor_of_the_default_and_is_noticed(
    task: str, constant: str, floor: float
) -> None:
    silent = dev_report("wandb-2023-0shot", task, lambda *_: "絵本")
    assert silent.metrics["accuracy"].value == pytest.approx(floor, abs=5e-4)
    assert silent.default_floors == {"accuracy": silent.metrics["accuracy"].value}
    assert "on_floor_default" in [notice.kind for notice in silent.notices]
    # 349 of 2,434 with the labels of v1.3, 353 with those of v1.1, which that evaluation used.
    said = dev_report("official", task, lambda *_: constant)
    assert said.metrics["accuracy"].value == pytest.approx(
        {"jnli": 349 / 2_434}.get(task, silent.metrics["accuracy"].value)
    )


def test_constant_floors_of_the_dev_files() -> None:
    neutral = dev_report("official", "jnli", lambda *_: "neutral")
    assert neutral.floors == {"accuracy": pytest.approx(neutral.metrics["accuracy"].value)}

    def always_neutral(item: Item) -> tuple[float, ...]:
        return tuple(float(choice == "neutral") for choice in item.choices)

    ranked = dev_report("stability-jp", "jnli", lambda *_: "", always_neutral)
    assert ranked.floors == {name: pytest.approx(estimate.value) for name, estimate in ranked.metrics.items()}


def test_few_official_answers_lose_anything_to_the_lenient_reading() -> None:
    # 「『こころ』」 is read as こころ: below 1 % of the answers stand in brackets of their own or end in です.
    found = dev_report("official", "jsquad", ANSWERS["first"])
    assert (found.lenient["exact_match"].value or 0) > 0.993
    assert (found.lenient["f1"].value or 0) > 0.998


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_gold_answers_are_never_below_the_best_constant(protocol: str) -> None:
    for task in ("jnli", "jsquad", "jcommonsenseqa"):

        def gold_first(item: Item) -> tuple[float, ...]:
            return tuple(-float(choice not in spans(item)) for choice in item.choices)

        found = dev_report(protocol, task, ANSWERS["first"], gold_first if task != "jsquad" else None)
        for name, floor in found.floors.items():
            assert floor < (found.metrics[name].value or 0)
