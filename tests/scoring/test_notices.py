"""What is said beside a score: when, about what, and with which figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jglue_app.scoring.notices import SENTENCES, sentence
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.report import report_run
from jglue_app.scoring.types import Preset, TaskReport
from jglue_app.types import Decoding, Item, ModelSpec, Notice, Output, Prompt, PromptSpec, Record, RunData, RunSpec
from jglue_app.ui.views.board import notice_text

LABELS = ("entailment", "contradiction", "neutral")
SPEC = RunSpec(ModelSpec("m"), ("jnli",), "v1.3", {}, PromptSpec(), "", Decoding(), "0")
FIELDS = {"sentence1": "犬が走る。", "sentence2": "動物が動く。"}


def nli(
    rows: Sequence[tuple[str, str | None]],
    logprobs: tuple[float, ...] | None = None,
    answers: tuple[str, ...] = LABELS,
    spec: RunSpec = SPEC,
) -> RunData:
    items = [Item("jnli", str(i), FIELDS, (gold,), LABELS) for i, (gold, _) in enumerate(rows)]
    records = [
        Record(
            "s",
            "jnli",
            item.id,
            Prompt("jnli", item.id, "p", None, (), answers, "", (), ""),
            Output(text, "scored" if text is None else "stop", 1, 1, 0.0, logprobs),
        )
        for item, (_, text) in zip(items, rows, strict=True)
    ]
    return RunData(spec, {"jnli": {item.id: item for item in items}}, {"jnli": "official"}, records)


def jnli(data: RunData, protocol: str) -> TaskReport:
    return report_run(data, protocol).tasks["jnli"]


def kinds(found: TaskReport) -> list[tuple[str, str]]:
    return [(notice.kind, notice.reading) for notice in found.notices]


GOLDS = ["neutral"] * 12 + ["entailment"] * 4 + ["contradiction"] * 4


def test_a_score_on_the_floor_of_the_default_is_noticed_with_its_figures() -> None:
    found = jnli(nli([(gold, "含意？") for gold in GOLDS]), "wandb-2023-0shot")
    assert kinds(found) == [("on_floor_default", "strict"), ("defaults", "strict")]
    floor, defaults = found.notices
    assert floor.facts["value"] == floor.facts["floor"] == "0.200"
    assert (defaults.facts["k"], defaults.facts["n"], defaults.facts["luck"]) == (20, 20, 4)
    assert "an unreadable output counts as entailment" in sentence(floor)
    assert sentence(defaults).startswith("20 of 20 outputs could not be read and count as entailment")
    assert "4 of these are right" in sentence(defaults)


def test_a_score_within_its_interval_of_the_best_constant_is_noticed() -> None:
    found = jnli(nli([(gold, "neutral") for gold in GOLDS]), "official")
    assert kinds(found) == [("on_floor_constant", "strict")]
    assert sentence(found.notices[0]) == "accuracy 0.600 cannot be told from 0.600, what one constant answer scores."


def test_a_score_below_the_best_constant_is_noticed_and_one_above_is_not() -> None:
    assert kinds(jnli(nli([(gold, "わからない") for gold in GOLDS]), "official")) == [("below_floor", "strict")]
    assert kinds(jnli(nli([(gold, gold) for gold in GOLDS]), "official")) == []


def test_rankings_have_notices_of_their_own() -> None:
    found = jnli(nli([(gold, gold) for gold in GOLDS], (-2.0, -3.0, -1.0)), "official")
    assert kinds(found) == [("on_floor_constant", "choose")]
    assert sentence(found.notices[0]).startswith("By log-likelihood: accuracy 0.600")


def test_a_prompt_that_asked_for_other_labels_than_are_read_is_noticed() -> None:
    answers = ("含意", "矛盾", "中立")
    found = jnli(nli([(gold, "含意") for gold in GOLDS], answers=answers), "wandb-2023-4shot")
    (notice,) = (n for n in found.notices if n.kind == "asked_otherwise")
    assert "asked for 含意 / 矛盾 / 中立" in sentence(notice)
    assert "(wandb-2023)" in sentence(notice)
    for protocol in ("official", "flexeval", "llm-jp-eval"):
        same = jnli(nli([(gold, "含意") for gold in GOLDS], answers=answers), protocol)
        assert "asked_otherwise" not in [notice.kind for notice in same.notices]


@pytest.mark.parametrize(
    ("protocol", "text", "logprobs", "kind"),
    [
        ("stability-jp", "neutral", None, "no_logprobs"),
        ("lm-eval-ja", "neutral", None, "no_logprobs"),
        ("flexeval", None, (-1.0, -2.0, -3.0), "no_text"),
        ("llm-jp-eval", None, (-1.0, -2.0, -3.0), "no_text"),
        ("wandb-2023-0shot", None, (-1.0, -2.0, -3.0), "no_text"),
    ],
)
def test_a_run_that_lacks_what_a_protocol_looks_at_has_no_score_and_is_told_so(
    protocol: str, text: str | None, logprobs: tuple[float, ...] | None, kind: str
) -> None:
    found = jnli(nli([(gold, text) for gold in GOLDS], logprobs), protocol)
    assert (found.metrics, found.unscored, found.outcomes) == ({}, kind, {"unscored": 20})
    assert kinds(found) == [(kind, "strict")]
    assert "--method both" in sentence(found.notices[0])


def test_a_subset_that_a_protocol_does_not_score_is_named() -> None:
    item = Item("jsts", "1", FIELDS, 2.0)
    prompt = Prompt("jsts", "1", "p", None, (), (), "", (), "")
    record = Record("s", "jsts", "1", prompt, Output("2.0", "stop", 1, 1, 0.0))
    data = RunData(SPEC, {"jsts": {"1": item}}, {"jsts": "official"}, [record])
    report = report_run(data, "stability-jp")
    assert (report.tasks["jsts"].unscored, report.average_of, report.average.value) == ("not_covered", (), None)
    assert sentence(report.tasks["jsts"].notices[0]) == "stability-jp does not score JSTS."


def squad(spec: RunSpec) -> RunData:
    item = Item("jsquad", "1", {"title": "", "context": "東京", "question": "？"}, ("東京",))
    prompt = Prompt("jsquad", "1", "p", None, (), (), "", (), "")
    record = Record("s", "jsquad", "1", prompt, Output("東京", "stop", 1, 1, 0.0))
    return RunData(spec, {"jsquad": {"1": item}}, {"jsquad": "official"}, [record])


@pytest.mark.parametrize("protocol", ["official", "stability-jp"])
def test_an_oracle_is_named_wherever_its_result_is_shown(protocol: str) -> None:
    capped = replace(SPEC, tasks=("jsquad",), decoding=Decoding(oracle_length=True))
    report = report_run(squad(capped), protocol)
    assert "oracle" in [notice.kind for notice in report.tasks["jsquad"].notices]
    assert report.label.endswith("oracle length")
    plain = report_run(squad(replace(SPEC, tasks=("jsquad",))), protocol)
    assert "oracle" not in [notice.kind for notice in plain.tasks["jsquad"].notices]


def test_settings_other_than_the_systems_own_are_listed_once() -> None:
    (notice,) = report_run(nli([("neutral", "neutral")]), "wandb-2023-4shot").notices
    assert notice.facts["settings"] == (
        "style ja-labels instead of wandb-2023; 0 instead of 4 examples in JNLI; "
        "no repetition penalty instead of 1.2 in JNLI"
    )
    penalty = Decoding(repetition_penalty_by_task=(("jnli", 1.2),))
    own = replace(SPEC, prompt=PromptSpec("wandb-2023", shots=4), decoding=penalty)
    assert report_run(nli([("neutral", "neutral")], spec=own), "wandb-2023-4shot").notices == ()
    cut = replace(own, decoding=replace(penalty, max_new_tokens=9))
    (notice,) = report_run(nli([("neutral", "neutral")], spec=cut), "wandb-2023-4shot").notices
    assert "at most 9 new tokens" in str(notice.facts["settings"])
    assert report_run(nli([("neutral", "neutral")]), "official").notices == ()


def test_a_penalty_and_a_cut_other_than_the_systems_own_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    system = replace(
        PROTOCOLS["wandb-2023-4shot"],
        preset=Preset("wandb-2023", 4, repetition_penalty=(("jnli", 1.2), ("jsquad", 1.1)), oracle_length=True),
    )
    monkeypatch.setitem(PROTOCOLS, system.name, system)
    prompt = PromptSpec("wandb-2023", shots=4)

    def listed(decoding: Decoding) -> str:
        spec = replace(SPEC, tasks=("jsts", "jnli", "jsquad"), prompt=prompt, decoding=decoding)
        found = report_run(nli([("neutral", "neutral")], spec=spec), system.name).notices
        return "; ".join(str(notice.facts["settings"]) for notice in found if notice.kind == "other_settings")

    own = Decoding(oracle_length=True, repetition_penalty_by_task=(("jnli", 1.2), ("jsquad", 1.1)))
    assert listed(own) == ""
    assert listed(Decoding()) == (
        "no repetition penalty instead of 1.2 in JNLI; no repetition penalty instead of 1.1 in JSQuAD; "
        "answers not cut at the gold answer's length in JSQuAD"
    )
    assert listed(Decoding(oracle_length=True, repetition_penalty=1.2)) == (
        "repetition penalty 1.2 instead of none in JSTS; repetition penalty 1.2 instead of 1.1 in JSQuAD"
    )
    assert listed(Decoding("choose")) == "", "no text was written"
    # Where a protocol looks at log-likelihoods alone, it does not matter how text was written.
    ranked = replace(
        SPEC, prompt=PromptSpec("stability-jp", shots=3), decoding=Decoding("both", repetition_penalty=2.0)
    )
    assert report_run(nli([("neutral", "neutral")], spec=ranked), "stability-jp").notices == ()


TURNS = ({"role": "user", "content": "p"},)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, True),  # The format has no template.
        ({"messages": TURNS}, True),  # The template gives the same text without thinking.
        ({"messages": TURNS, "thought": "free"}, True),
        ({"messages": TURNS, "thought": "free", "ranked_text": "p<think>\n\n</think>\n\n"}, False),
        ({"messages": TURNS, "thought": "<think>", "ranked_text": "p<think>\n</think>"}, False),
        ({"thought": "<think>", "ranked_text": "p<think></think>"}, False),  # The wording opens one.
        ({"messages": TURNS, "thought": "<|start|>assistant", "ranked_text": "p<|start|>assistant"}, False),
    ],
)
def test_thinking_that_no_prompt_turns_on_is_told_of_whatever_is_scored(changes: dict[str, Any], says: bool) -> None:
    def of(thinking: str, changed: int = 2) -> list[str]:
        found = nli([("neutral", "neutral")] * 2, spec=replace(SPEC, prompt=PromptSpec(thinking=thinking)))
        how = [changes if i < changed else {"messages": TURNS, "ranked_text": "other"} for i in range(2)]
        records = [
            replace(record, prompt=replace(record.prompt, **of)) for record, of in zip(found.records, how, strict=True)
        ]
        kinds = [
            [n.kind for n in report_run(replace(found, records=records), protocol).notices]
            for protocol in ("official", "stability-jp")
        ]
        assert kinds[0] == [kind for kind in kinds[1] if kind != "other_settings"]
        return kinds[0]

    assert of("on") == (["thinking_ignored"] if says else [])
    assert of("off") == of("default") == []
    # One prompt that turns it on is enough; of a run without records nothing is known.
    assert of("on", changed=1) == []
    begun = nli([], spec=replace(SPEC, prompt=PromptSpec(thinking="on")))
    assert report_run(begun, "official").notices == ()


def test_outputs_made_elsewhere_have_no_settings_to_speak_of() -> None:
    elsewhere = replace(SPEC, model=ModelSpec("x.jsonl", backend="predictions"))
    assert report_run(nli([("neutral", "neutral")], spec=elsewhere), "wandb-2023-4shot").notices == ()


FACTS: dict[str, str | float] = {
    name: name
    for name in (
        "metric",
        "source",
        "prefix",
        "value",
        "floor",
        "protocol",
        "default",
        "quantized",
        "asked",
        "read",
        "style",
        "task",
        "settings",
        "precision",
        "mark",
        "closing",
        "cut",
        "harness",
        "first",
        "printed",
        "here",
        "count",
        "names",
        "largest",
        "median",
        "server",
    )
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_every_notice_has_its_sentence_in_both_languages(kind: str) -> None:
    notice = Notice(kind, facts={**FACTS, "k": 1, "n": 2, "luck": 3, "high": 14.2})
    english, japanese = notice_text(notice, "en"), notice_text(notice, "ja")
    assert sentence(notice)
    assert english != japanese
    assert "{" not in english + japanese + sentence(notice)
