"""Where protocols disagree about the same output, and by which rules."""

from __future__ import annotations

import pytest

from jglue_app.scoring.disagreement import Disagreement, find_disagreements
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.rules import RULES, explain
from jglue_app.tasks import TASKS
from jglue_app.types import (
    Decoding,
    Finish,
    Item,
    ModelSpec,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunError,
    RunSpec,
)

FIELDS = {
    "jnli": {"sentence1": "犬が走る。", "sentence2": "動物が動く。"},
    "jsts": {"sentence1": "犬が走る。", "sentence2": "動物が動く。"},
    "jsquad": {"title": "", "context": "東京", "question": "？"},
}
LABELS = {"jnli": ("entailment", "contradiction", "neutral"), "jsts": (), "jsquad": ()}


def run(
    task: str, *rows: tuple[tuple[str, ...] | float, str | None], logprobs: tuple[float, ...] | None = None
) -> RunData:
    items = [Item(task, str(i), FIELDS[task], gold, LABELS[task]) for i, (gold, _) in enumerate(rows)]
    records = [
        Record(
            "s",
            task,
            item.id,
            Prompt(task, item.id, "p", None, (), item.choices, "", (), ""),
            Output(text, "stop", 1, 1, 0.0, logprobs),
        )
        for item, (_, text) in zip(items, rows, strict=True)
    ]
    spec = RunSpec(ModelSpec("m"), (task,), "v1.3", {}, PromptSpec(), "", Decoding(), "0")
    return RunData(spec, {task: {item.id: item for item in items}}, {task: "user"}, records)


def found(data: RunData, *protocols: str) -> list[Disagreement]:
    (task,) = data.items
    return find_disagreements({name: judge_run(data, name) for name in protocols or PROTOCOLS})[task]


def views(disagreement: Disagreement) -> dict[str, tuple[object, str, bool | None]]:
    """Protocol → value, rule, right."""
    return {name: (v.value, v.rule, v.right) for v in disagreement.verdicts for name in v.protocols}


def test_a_default_that_happens_to_be_right_is_disputed() -> None:
    (disagreement,) = found(run("jnli", (("entailment",), "わかりません"), (("neutral",), "neutral")))
    assert disagreement.item.id == "0"
    assert views(disagreement) == {
        "official": (None, "not_exact", False),
        "official, lenient": (None, "no_label", False),
        "wandb-2023-0shot": ("entailment", "default", True),
        "wandb-2023-4shot": ("entailment", "default", True),
        "wandb-2023-10-0shot": ("entailment", "default", True),
        "swallow-202411": (None, "no_match", False),
        "nejumi-4": (None, "no_match", False),
        "stability-jp-capped": (None, "unscored", None),
        "llm-jp-eval": (None, "no_match", False),
        "flexeval": (None, "no_match", False),
        "stability-jp": (None, "unscored", None),
        "lm-eval-ja": (None, "unscored", None),
    }
    alike = [v.protocols for v in disagreement.verdicts if "wandb-2023-0shot" in v.protocols]
    assert alike == [("wandb-2023-0shot", "wandb-2023-4shot", "wandb-2023-10-0shot")], (
        "what is read alike stands together"
    )


def test_a_right_answer_in_the_wrong_form_is_disputed_between_the_readings() -> None:
    (disagreement,) = found(run("jnli", (("neutral",), "答え：neutral")), "official")
    assert views(disagreement) == {
        "official": (None, "not_exact", False),
        "official, lenient": ("neutral", "cue", True),
    }


def test_a_ranking_and_a_text_are_disputed() -> None:
    (disagreement,) = found(
        run("jnli", (("neutral",), "neutral"), logprobs=(-1.0, -2.0, -3.0)), "official", "lm-eval-ja"
    )
    assert views(disagreement)["lm-eval-ja"] == ("entailment", "highest_logprob", False)


def test_similarities_are_disputed_when_other_numbers_are_read() -> None:
    data = run("jsts", (2.0, "4.5"), (2.0, "不明"), (2.0, "7.5"))
    assert [disagreement.item.id for disagreement in found(data)] == ["1", "2"]
    unreadable, off_scale = (views(disagreement) for disagreement in found(data))
    assert unreadable["wandb-2023-0shot"] == (2.0, "default", None)
    assert unreadable["llm-jp-eval"] == (-2.0, "default", None)
    assert unreadable["flexeval"] == (0.0, "default", None)
    assert off_scale["wandb-2023-0shot"] == (5.0, "number+clipped", None)
    assert off_scale["llm-jp-eval"] == off_scale["flexeval"] == (7.5, "number", None)


def test_spans_are_disputed_by_normalisation_and_by_reference() -> None:
    data = run("jsquad", (("東京", "東京都"), "東京都"), (("東京",), "「東京」"), (("東京",), "大阪"))
    second, quoted = found(data)
    assert {name for name, view in views(second).items() if view[2]} == {
        *("official", "wandb-2023-0shot", "wandb-2023-4shot", "wandb-2023-10-0shot"),
        *("stability-jp", "stability-jp-capped", "flexeval"),
    }
    assert {name for name, view in views(quoted).items() if view[2]} == {
        *("official, lenient", "wandb-2023-0shot", "wandb-2023-4shot", "wandb-2023-10-0shot")
    }


def test_what_all_agree_about_is_not_listed() -> None:
    assert found(run("jnli", (("neutral",), "neutral"), (("neutral",), "entailment"))) == []
    assert find_disagreements({}) == {}


ENDS: tuple[Finish, ...] = ("stop", "length")
ODD = (
    *(
        "neutral",
        "NEUTRAL",
        "答え：neutral",
        "neutralです。",
        "「neutral」",
        "矛盾",
        "矛盾ではない",
        "含意か矛盾",
        "",
        " \n",
    ),
    *(
        "acceptable",
        "答え：acceptable",
        "acceptableです。",
        "文は「acceptable」です。",
        "acceptableかunacceptableか",
        "自然",
    ),
    *("3", "３点", "2.5", "9", "1と2", "点数は4です", "positive", "not negative", "4.5点だと思います。", "わからない"),
    *(
        "<think>東京",
        "<think>東京</think>",
        "<think>東京</think>大阪",
        "答え：東京\n次の例",
        "東京。大阪。",
        "東京です",
    ),
    *("質問：首都は？\n答え：東京", "答えは「東京」。", "東京\n\n大阪", "あ" * 5_000 + "neutral", "1" * 500),
)


@pytest.mark.parametrize("task", TASKS)
def test_every_rule_that_decides_is_explained(task: str) -> None:
    fields = dict.fromkeys(TASKS[task].fields, "東京")
    gold: tuple[str, ...] | float = 2.5 if task == "jsts" else (TASKS[task].labels or ("東京",))[:1]
    item = Item(task, "1", fields, gold, TASKS[task].labels)
    prompt = Prompt(task, "1", "p", None, (), item.choices, "", (), "")
    ranked = (-1.0,) * len(item.choices)
    outputs = [
        *(Output(text, finish, 1, 1, 0.0) for text in ODD for finish in ENDS),
        *(Output(text, "scored", 1, 1, 0.0, ranked) for text in ("", None)),
        Output("", "overflow", 1, 1, 0.0),
    ]
    seen = set()
    for protocol in PROTOCOLS.values():
        if task in protocol.metrics:
            failed = Record("s", task, "1", prompt, None, RunError("x", "…"))
            for record in (failed, *(Record("s", task, "1", prompt, output) for output in outputs)):
                judgement = protocol.judge(TASKS[task], item, record)
                seen |= {judgement.strict.rule, judgement.lenient.rule}
    assert len(seen) > 10
    assert all(explain(rule) for rule in seen)


def test_rules_that_follow_one_another_are_explained_in_turn() -> None:
    assert explain("cue+quoted") == f"{RULES['cue']}, then {RULES['quoted']}"
