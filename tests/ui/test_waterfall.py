"""Taking the difference between two protocols apart, on the page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.errors import InputError
from jglue_app.messages import catalogue, of, say
from jglue_app.runs.store import RunStore
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.protocols.decisions import DECISIONS, GENERATION, VALUES, decision_text, decisions_of, step_list
from jglue_app.scoring.protocols.text_normalization import STEPS
from jglue_app.scoring.rules import RULES
from jglue_app.scoring.types import CodeSource
from jglue_app.scoring.waterfall import explain, explainable, unexplained
from jglue_app.types import Record
from jglue_app.ui import views
from jglue_app.ui.views.decisions import decisions_view
from jglue_app.ui.views.waterfall import waterfall_view

SHIPPED = Path(__file__).parents[2] / "assets" / "showcase" / "base-3-shot"
DATA = RunStore(SHIPPED).data()


def test_every_decision_and_value_has_a_japanese_name() -> None:
    entries = catalogue("ja")
    steps = {RULES[step] for step in STEPS}
    said = {value for protocol in PROTOCOLS.values() for value, _ in protocol.generation.values()}
    assert len(said) > 25
    # Names that are the same in both languages.
    same = {"0", "JGLUE v1.1"}
    for template in {*DECISIONS.values(), *GENERATION.values(), *steps, *VALUES.values(), *said} - same:
        assert entries[None, template] != template


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize("end", ["stability-jp", "llm-jp-eval", "nejumi-4", "wandb-2023-4shot"])
def test_the_page_draws_the_way_in_both_languages(lang: str, end: str) -> None:
    found = {task: explain(DATA, task, "wandb-2023-0shot", end) for task in explainable(DATA, "wandb-2023-0shot", end)}
    html = views.render("waterfall", waterfall_view(found, lang), lang)
    for way in found.values():
        for switch in way.switches:
            assert say(decision_text(switch.decision), lang).split("'")[0] in html
    assert "None" not in re.sub(r"<[^>]+>", " ", html)
    assert f"--protocol {end}" in html


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_decision_of_a_protocol_is_shown_with_its_source(name: str, lang: str) -> None:
    html = views.render("decisions", decisions_view(name, lang), lang)
    text = re.sub(r"<[^>]+>", "\n", html)
    for task in PROTOCOLS[name].rules:
        for decision in decisions_of(PROTOCOLS[name], task):
            assert decision.source is None or str(decision.source).replace("'", "&#39;") in text
    assert html.count("<dt>") == html.count("<dd>") >= 4 * len(PROTOCOLS[name].rules)
    assert html.count("jg-source") == (0 if name == "official" else html.count("<dd>"))


def test_decisions_are_in_the_visitors_language() -> None:
    japanese = views.render("decisions", decisions_view("stability-jp-capped", "ja"), "ja")
    for text in ("stability-jp の変種です。", "絵文字を除く", "出力と正解に", "最も長い正解のトークン数"):
        assert text in japanese
    assert "of output and references" not in japanese


def test_outputs_are_escaped() -> None:
    way = explain(DATA, "jnli", "wandb-2023-0shot", "stability-jp")
    payload = waterfall_view({"jnli": way}, "en")
    payload["ways"][0]["steps"][0]["items"] = [{"id": "1", "text": "<script>", "before": "a", "after": "b"}]
    assert "<script>" not in views.render("waterfall", payload, "en")


def test_an_order_of_steps_is_in_words() -> None:
    steps = step_list([("nfkc", "both"), ("trimmed", "prediction")])
    assert steps == "nfkc (of output and references), trimmed (of the output)"
    assert say(steps, "ja") == "NFKC にする（出力と正解に）、前後の空白を除く（出力に）"


@pytest.mark.parametrize("end", ["stability-jp", "official"])
def test_a_subset_that_cannot_be_explained_is_named_with_the_reason_in_japanese(end: str) -> None:
    texts = replace(DATA, records=[_without(record, logprobs=True) for record in DATA.records])
    ranks = replace(DATA, records=[_without(record, logprobs=False) for record in DATA.records])
    for data, start in ((DATA, "wandb-2023-0shot"), (texts, "lm-eval-ja"), (ranks, "flexeval")):
        for task, why in unexplained(data, start, end).items():
            assert task not in explainable(data, start, end)
            japanese = say(why, "ja")
            assert japanese != why
            assert not re.search(r"[a-z]{3,} [a-z]{2,} ", japanese), japanese
    assert "jsts" in unexplained(DATA, "wandb-2023-0shot", "stability-jp")
    with pytest.raises(InputError) as refused:
        explain(DATA, "jcola", "official", "stability-jp")
    assert say(of(refused.value), "ja").startswith("この実行結果に JCoLA はありません。")


def _without(record: Record, *, logprobs: bool) -> Record:
    """A record without its log-likelihoods, or without its text."""
    if record.output is None:
        return record
    output = replace(record.output, choice_logprobs=None) if logprobs else replace(record.output, text=None)
    return replace(record, output=output)


def test_the_source_of_a_decision_is_a_link_to_its_lines() -> None:
    assert CodeSource("wandb/llm-leaderboard", "43a75f6", "src/a.py", "12–30").url == (
        "https://github.com/wandb/llm-leaderboard/blob/43a75f6/src/a.py#L12-L30"
    )
    assert CodeSource("a/b", "main, 2025", "c.py", "7").url == "https://github.com/a/b/blob/main/c.py#L7"
    assert CodeSource("a/b", "v1", "c.py").url == "https://github.com/a/b/blob/v1/c.py"
    assert (
        CodeSource("flexeval 0.18.3", "", "flexeval/x.py", "62–65").url == "https://pypi.org/project/flexeval/0.18.3/"
    )
    html = views.render("decisions", decisions_view("flexeval", "ja"), "ja")
    assert 'target="_blank" rel="noopener noreferrer"' in html
    assert html.count("<a ") == html.count('href="https://pypi.org/project/flexeval/')
