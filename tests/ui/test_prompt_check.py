"""The linter's verdict beside the Run button."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.errors import ModelError
from jglue_app.messages import Message
from jglue_app.prompts.findings import Finding
from jglue_app.runs.request import RunRequest, Side
from jglue_app.settings import Settings
from jglue_app.ui.prompt_check import Check, PromptCheck, verdict_html
from jglue_app.ui.state import AppState

REQUEST = RunRequest(a=Side("owner/name-a"), b=Side("folder/of/name-b/"))


@pytest.fixture
def state(settings: Settings) -> Iterator[AppState]:
    made = AppState(replace(settings), "cpu")
    yield made
    made._scratch.cleanup()


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def finding(level: str, text: str, task: str = "") -> Finding:
    return Finding("rule", level, task, Message(text))  # type: ignore[arg-type]


def test_the_worst_finding_stands_first_and_the_others_behind_it() -> None:
    findings = (
        finding("error", "The answer is <too> long.", "jnli"),
        finding("warning", "No stop string."),
        finding("info", "Good to know."),
    )
    html = verdict_html({"a": Check(findings), "b": Check(findings[2:])}, REQUEST, "en")
    summary, rest = html.split("</summary>")
    assert text_of(summary) == "A Will cost points: JNLI: The answer is &lt;too&gt; long. and 1 more"
    assert text_of(rest) == (
        "May cost points: No stop string. B The prompts look fine (4 items of each subset were checked)."
    )


def test_what_is_not_here_is_checked_later_and_what_cannot_be_made_is_told() -> None:
    checks = {"a": Check(later=True), "b": Check(why_not=ModelError("{model} is gone.", model="it"))}
    assert text_of(verdict_html(checks, REQUEST, "ja")) == (
        "A name-a のプロンプトは、モデルを取得したときに点検します。 B it is gone."
    )
    later = verdict_html({"b": Check(later=True)}, REQUEST, "en")
    assert text_of(later) == "B The prompts of name-b are checked when the model is here."
    assert verdict_html({}, REQUEST, "en") == ""


def test_nothing_is_fetched_and_a_table_of_answers_has_no_prompts(state: AppState, tmp_path: Path) -> None:
    checks = PromptCheck(state)
    request = RunRequest(a=Side("nobody/nothing-here"), b=Side(str(tmp_path / "answers.jsonl")))
    *_, last = checks.html("ana", request, "en")
    assert text_of(last) == "A The prompts of nothing-here are checked when the model is here."
    assert list(checks.html("ana", RunRequest(a=Side("answers.jsonl")), "en")) == [""]


def test_the_embedded_model_is_checked_once_for_settings_that_its_prompts_depend_on(state: AppState) -> None:
    checks = PromptCheck(state)
    request = RunRequest(("jnli",), a=Side("gemma-3-270m", "chat"), b=Side("gemma-3-270m"))
    *_, last = checks.html("ana", request, "en")
    assert text_of(last).startswith("A Will cost points: gemma-3-270m has no chat template")
    assert "B The prompts look fine" in text_of(last)
    # Without a job: the number of items changes no prompt.
    assert list(checks.html("ana", replace(request, limit=40, budget=1.0), "en")) == [last]
    long = replace(request, max_new_tokens=1, b=None, a=Side("gemma-3-270m"))
    *_, last = checks.html("ana", long, "en")
    assert "more than the 1 new tokens allowed" in text_of(last)
