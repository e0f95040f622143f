"""Endpoints of the prompt lab: one prompt, one answer, a sweep over formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from jglue_app import prompt_lab
from jglue_app.data import files
from jglue_app.errors import InputError
from jglue_app.messages import Joined
from jglue_app.runs.request import Side
from jglue_app.settings import Settings
from jglue_app.tasks import get_task
from jglue_app.types import Item
from jglue_app.ui import controls
from jglue_app.ui.endpoints.plain import plain
from jglue_app.ui.jobs import Job
from jglue_app.ui.lab_jobs import INSPECT, inspect_prompt, read_budget, start_answer, start_sweep
from jglue_app.ui.progress import wait_for
from jglue_app.ui.state import AppState
from jglue_app.ui.visitor import visitor_id

WAITING = {"state": "waiting"}


def endpoints(state: AppState) -> tuple[Callable[..., Any], ...]:
    """The functions, whose names, parameters and docstrings are those of the endpoints."""
    return _show_prompt(state), _try_prompt(state), _sweep_formats(state)


def _side(model: str, format: str, style: str, shots: int) -> Side:
    return controls.read_side({"model": model, "format": format, "style": style, "shots": shots})


def _find_item(
    settings: Settings, task: str, item_id: str, data: str, fields: dict[str, str] | None, gold: str
) -> Item:
    """An item of a subset, or one of the caller's own; raises InputError."""
    if fields:
        known = get_task(task)
        if not isinstance(fields, dict) or any(not isinstance(fields.get(k, ""), str) for k in known.fields):
            raise InputError(
                "The fields of {title} are an object of texts: {fields}.",
                title=known.title,
                fields=Joined(", ", known.fields),
            )
        return prompt_lab.make_item(known, fields, gold)
    items = files.load(settings, get_task(task).name, data=data).items
    item = next((i for i in items if i.id == item_id), None) if item_id else items[0]
    if item is None:
        raise InputError(
            "{task} has no item {item_id!r}. The first one is {id!r}.",
            task=task,
            item_id=item_id[:100],
            id=items[0].id,
        )
    return item


def _show_prompt(state: AppState) -> Callable[..., Any]:
    def show_prompt(
        request: gr.Request,
        task: str = "jnli",
        item_id: str = "",
        model: str = "gemma-3-270m",
        format: str = "plain",
        style: str = "ja-labels",
        shots: int = 0,
        data: str = "sample",
        fields: dict[str, str] | None = None,
        gold: str = "",
    ) -> Iterator[dict[str, Any]]:
        """A prompt token by token, the tokens each legal answer takes, and the linter's warnings. Loads the tokenizer
        alone.

        Args:
            task: The subset.
            item_id: Id of an item; empty for the first.
            model: A registry name or Hub id.
            format: Prompt format: plain, chat, rinna, rinna_bilingual, alpaca or llama2.
            style: Wording style.
            shots: Solved examples, 0 to 16.
            data: sample or official.
            fields: The texts of an item of your own, such as {"sentence1": "…", "sentence2": "…"}, instead of an id.
            gold: Its gold answer: a label, a number for JSTS, or accepted spans, one a line.
        """

        side = _side(model, format, style, shots)
        item = _find_item(state.settings, task, item_id, data, fields, gold)

        def work(job: Job) -> None:
            job.result = plain(inspect_prompt(state, side, item, job, data))

        job = state.jobs.start_on_cpu(visitor_id(request), INSPECT, work)
        yield from wait_for(state, job, WAITING)
        yield job.result

    return show_prompt


def _try_prompt(state: AppState) -> Callable[..., Any]:
    def try_prompt(
        request: gr.Request,
        task: str = "jnli",
        item_id: str = "",
        model: str = "gemma-3-270m",
        format: str = "plain",
        style: str = "ja-labels",
        shots: int = 0,
        data: str = "sample",
        fields: dict[str, str] | None = None,
        gold: str = "",
        budget: float = 0,
    ) -> Iterator[dict[str, Any]]:
        """Have a model answer one item; nothing is stored. Gives the prompt, the raw output and how it is read.

        Args:
            task: The subset.
            item_id: Id of an item; empty for the first.
            model: A registry name or Hub id.
            format: Prompt format.
            style: Wording style.
            shots: Solved examples, 0 to 16.
            data: sample or official.
            fields: The texts of an item of your own, instead of an id.
            gold: Its gold answer: a label, a number for JSTS, or accepted spans, one a line.
            budget: Most that the answer of a paid model may cost, in its currency; 0 for none, and then none is sent.
        """

        side = _side(model, format, style, shots)
        item = _find_item(state.settings, task, item_id, data, fields, gold)
        job = start_answer(state, visitor_id(request), {"a": side}, item, data, read_budget(budget))
        yield from wait_for(state, job, WAITING)
        if not job.result:
            raise InputError("It was stopped before there was an answer. Try it again.")
        answered = job.result["a"].answered
        yield {"record": plain(answered.record), "judgement": plain(answered.judgement)}

    return try_prompt


def _sweep_formats(state: AppState) -> Callable[..., Any]:
    def sweep_formats(
        request: gr.Request,
        task: str = "jnli",
        formats: list[str] = ["plain", "alpaca", "rinna", "llama2"],  # noqa: B006  # Shown to programs as the default, and never changed.
        styles: list[str] = ["ja-labels"],  # noqa: B006  # As above.
        items: int = 10,
        model: str = "gemma-3-270m",
        shots: int = 0,
        data: str = "sample",
        budget: float = 0,
    ) -> Iterator[list[dict[str, Any]]]:
        """The same items in several prompt formats: scores, and how many answers change when only the format does.

        Args:
            task: The subset.
            formats: At least two formats, or one and several styles; the first is what the others are compared with.
            styles: Wording styles.
            items: How many items.
            model: A registry name or Hub id.
            shots: Solved examples, 0 to 16.
            data: sample or official.
            budget: Most that the whole sweep may cost with a paid model, in its currency; 0 for none.
        """

        sides = prompt_lab.variants(_side(model, "plain", "ja-labels", shots), formats, styles)
        job = start_sweep(state, visitor_id(request), task, sides, items, data, read_budget(budget))
        no_rows: list[dict[str, Any]] = []
        yield from wait_for(state, job, no_rows)
        state.grant_access(job)
        rows = prompt_lab.sweep_table(state.library, task, job.result or [])
        out = [{**plain(row), "run": row.path.name} for row in rows]
        for row in out:
            del row["path"]
        yield out

    return sweep_formats
