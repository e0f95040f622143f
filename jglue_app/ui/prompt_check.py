"""What the linter says of the prompts that a form asks for, told beside the Run button before anything is loaded.

Only what is known without fetching anything: where the tokenizer is not here, it is said that the prompts are checked
later. A few items of each subset are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from jglue_app.backends.model_facts import tokenizer_is_here
from jglue_app.data import files
from jglue_app.errors import JglueAppError
from jglue_app.messages import say, word
from jglue_app.prompts.findings import Finding
from jglue_app.runs.lint_plan import lint_plan
from jglue_app.runs.request import RunRequest, Side
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import wait_for
from jglue_app.ui.state import AppState

ITEMS = 4
"""Items of each subset that are looked at."""
MAX_KEPT = 64
KIND = "check"


@dataclass(frozen=True, slots=True)
class Check:
    """What came of the prompts of one side."""

    findings: tuple[Finding, ...] = ()
    later: bool = False
    """Whether it cannot be said yet: the tokenizer is not here."""
    why_not: JglueAppError | None = None
    """Why the prompts cannot be made."""


class PromptCheck:
    """The checks of one server; what was checked before is not checked again."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._known: LRUCache[RunRequest, Check] = LRUCache(MAX_KEPT)

    def html(self, owner: str, request: RunRequest, lang: str) -> Iterator[str]:
        """The verdict as HTML, after a sentence that it is being worked out where that takes a moment."""
        wanted = {name: self._request_of(request, side) for name, side in request.sides.items() if _has_prompts(side)}
        found = {side: self._known[side] for side in wanted.values() if side in self._known}
        if unknown := set(wanted.values()) - found.keys():
            waiting = views.render("prompt_check", {"note": word("check_going", lang)}, lang)
            yield waiting

            def work(job: Job) -> None:
                for one in unknown:
                    found[one] = self._check(one)
                    if not found[one].later:  # It may be here the next time.
                        self._known[one] = found[one]

            yield from wait_for(self._state, self._state.jobs.start_on_cpu(owner, KIND, work), waiting)
        yield verdict_html(
            {name: self._known.get(one, Check(later=True)) for name, one in wanted.items()}, request, lang
        )

    def _request_of(self, request: RunRequest, side: Side) -> RunRequest:
        """What is checked for a side: all that its prompts depend on, and nothing else. Data that is not here is not
        fetched: our own items stand for it."""
        here = request.data == "sample" or all(
            files.find_official(self._state.settings, name, request.split) or name not in files.DISTRIBUTED
            for name in request.tasks
        )
        data, split = (request.data, request.split) if here else ("sample", "valid")
        return RunRequest(
            *(request.tasks, data, ITEMS, "generate", side, None, request.allow_bin, split),
            max_new_tokens=request.max_new_tokens,
            marc_ja=request.marc_ja,
        )

    def _check(self, request: RunRequest) -> Check:
        settings = self._state.settings
        model = request.model_of(request.a)
        try:
            if not tokenizer_is_here(model, settings):
                return Check(later=True)
            ((_, plan),) = request.plans(settings, answers=False)
            return Check(lint_plan(plan, self._state.tokenizer(plan.spec.model)))
        except JglueAppError as e:
            e.__cause__ = e.__context__ = None
            return Check(why_not=e.with_traceback(None))


def _has_prompts(side: Side) -> bool:
    """Whether a side is a model; a table of answers reads no prompts."""
    return not side.model.endswith(".jsonl")


def verdict_html(checks: Mapping[str, Check], request: RunRequest, lang: str) -> str:
    """The worst finding of each side in one sentence, with the others behind it; what is only good to know is in the
    prompt lab."""
    if not checks:
        return ""
    rows = [row for name, check in checks.items() if (row := _row(name, check, request, lang))]
    fine = [name for name in checks if name not in {row["side"] for row in rows}]
    note = word("check_fine", lang).format(ITEMS) if fine else ""
    return views.render("prompt_check", {"rows": rows, "fine": fine, "note": note}, lang)


def _row(name: str, check: Check, request: RunRequest, lang: str) -> dict[str, Any] | None:
    """What there is to say of a side; None where nothing is wrong with its prompts."""
    if check.later:
        model = (request.b or request.a).model if name == "b" else request.a.model
        text = word("check_later", lang).format(model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1])
        return {"side": name, "level": "later", "head": "", "text": text, "more": []}
    if check.why_not is not None:
        return {"side": name, "level": "error", "head": "", "text": say(check.why_not.message, lang), "more": []}
    serious = [_sentence(finding, lang) for finding in check.findings if finding.level != "info"]
    return {"side": name, **serious[0], "more": serious[1:]} if serious else None


def _sentence(finding: Finding, lang: str) -> dict[str, str]:
    subset = f"{TASKS[finding.task].title}: " if finding.task else ""
    head = word("check_error" if finding.level == "error" else "check_warning", lang)
    return {"level": finding.level, "head": head, "text": subset + say(finding.message, lang)}
