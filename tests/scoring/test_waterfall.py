"""From one protocol's score to another's, decision by decision."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from jglue_app.errors import InputError
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.protocols.decisions import DECISIONS, GENERATION, VALUES, decisions_of
from jglue_app.scoring.report import report_run
from jglue_app.scoring.waterfall import Waterfall, explain, explainable
from jglue_app.types import Decoding, Item, ModelSpec, Output, Prompt, PromptSpec, Record, RunData, RunSpec

CHOICES = {f"choice{i}": word for i, word in enumerate(("春", "夏", "秋", "梅雨", "冬"))}
LABELS = {
    "marc_ja": ("positive", "negative"),
    "jsts": (),
    "jnli": ("entailment", "contradiction", "neutral"),
    "jsquad": (),
    "jcommonsenseqa": ("0", "1", "2", "3", "4"),
}
FIELDS = {
    "marc_ja": {"sentence": "良い"},
    "jsts": {"sentence1": "犬", "sentence2": "猫"},
    "jnli": {"sentence1": "犬", "sentence2": "猫"},
    "jsquad": {"title": "", "context": "東京", "question": "？"},
    "jcommonsenseqa": {"question": "？", **CHOICES},
}
GOLDS: dict[str, list[tuple[str, ...] | float]] = {
    "marc_ja": [("positive",), ("negative",)],
    "jsts": [0.0, 2.0, 3.5, 5.0],
    "jnli": [("entailment",), ("contradiction",), ("neutral",)],
    "jsquad": [("東京都", "東京"), ("「こころ」",), ("ＮＨＫ",), ("あ" * 40,)],
    "jcommonsenseqa": [("0",), ("2",), ("4",)],
}
TEXTS = {
    "marc_ja": ["positive", "Negative.", "ネガティブ", "良い", " negative"],
    "jsts": ["2", "3.5点", "-1", "わからない", "４", "7", "3〜4"],
    "jnli": ["neutral", " Contradiction\n", "entailment。", "中立", "entailment\n\n次"],
    "jsquad": ["東京", "「東京都」。", "こころ", "NHK", "東京都です。", "東京都\n\n質問", "東京😀", "あ" * 40],
    "jcommonsenseqa": ["2", " 4", "秋", "0番", "２", "-2"],
}


def run(*, logprobs: bool = True, text: bool = True) -> RunData:
    """Every gold with every text; log-likelihoods that go round the labels."""
    items: dict[str, dict[str, Item]] = {}
    records = []
    for task, golds in GOLDS.items():
        items[task] = {}
        for n, (gold, said) in enumerate((g, t) for g in golds for t in TEXTS[task]):
            item = Item(task, f"x{n}", FIELDS[task], gold, LABELS[task])
            items[task][item.id] = item
            ranks = tuple(-float((k + n) % len(item.choices)) for k, _ in enumerate(item.choices)) or None
            prompt = Prompt(task, item.id, "p", None, (), item.choices, "", (), "")
            output = Output(said if text else None, "stop", 1, 1, 0.0, ranks if logprobs else None)
            records.append(Record("s", task, item.id, prompt, output))
    spec = RunSpec(ModelSpec("m"), tuple(items), "v1.3", {}, PromptSpec(), "", Decoding(), "0")
    return RunData(spec, items, dict.fromkeys(items, "user"), records)


RUN = run()
PAIRS = list(permutations(PROTOCOLS, 2))


def ways(start: str, end: str) -> list[Waterfall]:
    return [explain(RUN, task, start, end) for task in explainable(RUN, start, end)]


@pytest.mark.parametrize(("start", "end"), PAIRS)
def test_both_ends_are_the_scores_of_the_two_reports_and_every_step_begins_where_the_last_one_ended(
    start: str, end: str
) -> None:
    reports = {name: report_run(RUN, name) for name in (start, end)}
    found = ways(start, end)
    assert found
    for way in found:
        for name, scores in ((start, way.scores), (end, way.end_scores)):
            known = reports[name].tasks[way.task].metrics
            for metric, score in scores.items():
                same = {"accuracy": "exact_match", "f1": "char_f1"}.get(metric, metric)
                expected = known.get(metric, known.get(same))
                if expected is not None:
                    assert score.value == expected.value, (way.task, name, metric)
        total = dict.fromkeys(way.scores, 0.0)
        for switch in way.switches:
            for metric, change in switch.change.items():
                total[metric] = total.get(metric, 0.0) + change
        for metric in way.scores.keys() & way.end_scores.keys():
            a, b = way.scores[metric].value, way.end_scores[metric].value
            if a is not None and b is not None and all(s.scores[metric].value is not None for s in way.switches):
                assert total[metric] == pytest.approx(b - a)


def test_one_decision_at_a_time_with_the_items_it_moves() -> None:
    way = explain(RUN, "jcommonsenseqa", "wandb-2023-0shot", "stability-jp")
    assert [(s.decision, s.before, s.after) for s in way.switches] == [
        ("unreadable", "0", "wrong"),
        ("evidence", "the generated text", "the log-likelihood of the choices"),
        ("metrics", "accuracy", "accuracy, acc_norm"),
    ]
    # Gold 0: 「秋」 and "-2" are read as nothing, hence as 0, and are right by that alone.
    assert [(m.item_id, m.before, m.after, m.change) for m in way.switches[0].moved if m.change] == [
        ("x2", "0", None, -1.0),
        ("x5", "0", None, -1.0),
    ]
    # A ranking has no unreadable answers: W&B's code is named for its default, Stability's for the ranking.
    assert [s.source.repository.split("/")[0] for s in way.switches if s.source] == [
        *("wandb", "Stability-AI", "Stability-AI"),
    ]
    # 18 items; right at first: 0番 秋 -2 (gold 0), 2 ２ (gold 2), 4 (gold 4).
    assert way.scores["accuracy"].value == 6 / 18
    assert way.switches[0].scores["accuracy"].value == 4 / 18


def one_item(task: str, text: str) -> RunData:
    item = Item(task, "x", FIELDS[task], GOLDS[task][0], LABELS[task])
    prompt = Prompt(task, "x", "p", None, (), item.choices, "", (), "")
    record = Record("s", task, "x", prompt, Output(text, "stop", 1, 1, 0.0, None))
    spec = RunSpec(ModelSpec("m"), (task,), "v1.3", {}, PromptSpec(), "", Decoding(), "0")
    return RunData(spec, {task: {"x": item}}, {task: "user"}, [record])


def test_a_step_from_a_score_of_0_is_a_step_too() -> None:
    # Gold entailment: nothing can be read, which is wrong for the one system and entailment for the other.
    way = explain(one_item("jnli", "わからない"), "jnli", "official", "wandb-2023-0shot")
    assert (way.scores["accuracy"].value, way.end_scores["accuracy"].value) == (0.0, 1.0)
    assert [(s.decision, s.change) for s in way.switches if s.moves] == [("unreadable", {"accuracy": 1.0})]
    # Back again, to a score of 0.
    way = explain(one_item("jnli", "わからない"), "jnli", "wandb-2023-0shot", "official")
    assert [(s.decision, s.change) for s in way.switches if s.moves] == [("unreadable", {"accuracy": -1.0})]


def test_items_that_go_and_items_that_come_are_counted_apart() -> None:
    (item,), (record,) = ([*one_item("jnli", "neutral").items["jnli"].values()], one_item("jnli", "neutral").records)
    ranked = Output(None, "scored", 1, 1, 0.0, (-1.0, -2.0, -3.0))
    both = {id_: replace(item, id=id_) for id_ in ("text", "ranked")}
    records = [
        replace(record, item_id="text"),  # Without log-likelihoods: wrong by its text, and nothing to rank.
        replace(record, item_id="ranked", output=ranked),
    ]
    data = replace(one_item("jnli", ""), items={"jnli": both}, records=records)
    way = explain(data, "jnli", "official", "stability-jp")
    (step,) = [s for s in way.switches if s.decision == "evidence"]
    assert (way.scores["accuracy"].value, way.end_scores["accuracy"].value) == (0.0, 1.0)
    assert (step.left_out, step.taken_in) == (1, 1)
    assert {(m.item_id, m.change) for m in step.moved} == {("text", 0.0), ("ranked", 0.0)}


def test_a_correlation_that_a_switch_defines_is_a_move_though_no_item_is_read_otherwise() -> None:
    data = run()
    same = [r for r in data.records if r.task == "jsts" and r.output is not None and r.output.text == "2"]
    data = RunData(data.spec, {"jsts": data.items["jsts"]}, {"jsts": "user"}, same)
    # One answer to four items: no correlation for the first system, 0 for the second.
    way = explain(data, "jsts", "wandb-2023-4shot", "wandb-2023-0shot")
    assert (way.scores["pearson"].value, way.end_scores["pearson"].value) == (None, 0.0)
    (step,) = [s for s in way.switches if s.decision == "undefined"]
    assert step.moves
    assert step.moved == ()
    assert step.appears == ("pearson", "spearman")


def test_a_way_that_begins_at_nothing_has_its_steps() -> None:
    kept = [r for r in RUN.records if r.task == "jsquad" and r.output and r.output.text == "「東京都」。"]
    items = {"jsquad": {r.item_id: RUN.items["jsquad"][r.item_id] for r in kept}}
    way = explain(replace(RUN, items=items, records=kept), "jsquad", "flexeval", "wandb-2023-0shot")
    # Of four items 「東京都」。 is no reference as it stands; the one of 40 characters is left out, and of the other
    # three one has 東京都 once the brackets are off.
    assert way.scores["exact_match"].value == 0.0
    assert way.end_scores["exact_match"].value == 1 / 3
    (moving,) = (s for s in way.switches if s.change["exact_match"])
    assert (moving.decision, moving.change["exact_match"]) == ("text: without_brackets", 1 / 3)


def test_what_only_one_of_two_systems_reports_is_a_decision_with_its_score() -> None:
    items = {id_: item for id_, item in RUN.items["jnli"].items() if id_ not in ("x7", "x8", "x9")}
    kept = [r for r in RUN.records if r.task == "jnli" and r.item_id in items]
    way = explain(replace(RUN, items={"jnli": items}, records=kept), "jnli", "wandb-2023-0shot", "wandb-2023-10-0shot")
    (metrics,) = way.switches
    assert (metrics.decision, metrics.after) == ("metrics", "accuracy, balanced_accuracy")
    assert metrics.source is not None
    # Right: 3 of 5 entailments (two of them by default), 1 of 2 contradictions, 1 of 5 neutrals.
    assert way.scores["accuracy"].value == pytest.approx(5 / 12)
    assert way.scores["balanced_accuracy"].value == pytest.approx((3 / 5 + 1 / 2 + 1 / 5) / 3)
    assert not metrics.moves


def test_one_share_of_right_answers_by_two_names_is_no_difference() -> None:
    way = explain(RUN, "jnli", "llm-jp-eval", "flexeval")
    assert "metrics" not in [s.decision for s in way.switches]
    spans = explain(RUN, "jsquad", "llm-jp-eval", "flexeval")
    assert [(s.before, s.after) for s in spans.switches if s.decision == "metrics"] == [
        ("char_f1, exact_match", "exact_match, char_f1")
    ]


def test_steps_of_normalisation_are_switched_one_by_one() -> None:
    way = explain(RUN, "jsquad", "wandb-2023-0shot", "flexeval")
    assert [s.decision for s in way.switches] == [
        *("items", "text: trimmed", "text: without_nul", "text: without_brackets", "text: nfkc", "f1"),
    ]
    left_out, *_, brackets, nfkc, _ = way.switches
    assert (left_out.left_out, left_out.taken_in) == (0, 8)
    # 「東京都」。 meets 東京都 no longer.
    assert [(m.item_id, m.before, m.after) for m in brackets.moved if m.change] == [("x1", "東京都", "「東京都」。")]
    # flexeval has no such step, so W&B's code is named.
    assert nfkc.source is not None
    assert (nfkc.source.repository, nfkc.source.lines) == ("wandb/llm-leaderboard", "137–175")
    back = explain(RUN, "jsquad", "flexeval", "wandb-2023-0shot")
    assert {s.source.repository for s in back.switches if s.source} == {"wandb/llm-leaderboard"}


def test_what_needs_other_outputs_is_named_and_not_switched() -> None:
    way = explain(RUN, "jsquad", "stability-jp", "stability-jp-capped")
    assert way.switches == ()
    (other,) = way.other_outputs
    assert (other.decision, other.before) == ("length_cap", "none")
    assert "oracle" in other.after
    june = explain(RUN, "marc_ja", "wandb-2023-0shot", "wandb-2023-4shot")
    assert "repetition_penalty" in [o.decision for o in june.other_outputs]
    # Neither system has a penalty, whether it says so or not.
    none = explain(RUN, "jnli", "wandb-2023-0shot", "stability-jp")
    assert "repetition_penalty" not in [o.decision for o in none.other_outputs]


@pytest.mark.parametrize(
    ("data", "task", "end", "said"),
    [
        (run(logprobs=False), "jnli", "stability-jp", "--method both"),
        (run(text=False), "jnli", "flexeval", "--method both"),
        (RUN, "jsts", "stability-jp", "does not score JSTS"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_sentence(data: RunData, task: str, end: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        explain(data, task, "official", end)


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "official"])
def test_every_decision_of_a_system_bears_its_source(protocol: str) -> None:
    for task in PROTOCOLS[protocol].rules:
        decisions = decisions_of(PROTOCOLS[protocol], task)
        assert decisions
        for decision in decisions:
            assert decision.source is not None, (task, decision.name)
            assert decision.source.path
            assert decision.name.split(":")[0] in {**DECISIONS, **GENERATION}


def test_steps_are_decisions_in_their_order_and_one_can_have_a_source_of_its_own() -> None:
    steps = [d for d in decisions_of(PROTOCOLS["nejumi-4"], "jnli") if d.name.startswith("text: ")]
    assert [d.name.removeprefix("text: ") for d in steps] == [
        *("trimmed", "lower", "to_blank_line", "without_quotes", "nfkc", "without_nul"),
    ]
    files = [d.source.path.rsplit("/", 1)[1] for d in steps if d.source]
    assert files == ["formatter.py", "formatter.py", "jaster.py", "jaster.py", "formatter.py", "jaster.py"]
    twice = [d.name for d in decisions_of(PROTOCOLS["lm-eval-ja"], "jsquad")].count("text: trimmed")
    assert twice == 2


def test_values_of_decisions_are_in_words() -> None:
    for protocol in PROTOCOLS.values():
        for task in protocol.rules:
            rules = protocol.rules[task]
            for name in ("items", "labels", "thought", "reading", "references", "undefined", "evidence", "f1"):
                assert (name, str(getattr(rules, name))) in VALUES
