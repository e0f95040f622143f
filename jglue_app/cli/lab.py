"""`show-prompt` and `sweep`: a prompt token by token, and what the format or an adapter alone changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from jglue_app import prompt_lab
from jglue_app.backends.pool import ModelPool
from jglue_app.cli.counts import counted
from jglue_app.cli.options import AdapterOption, DeviceOption, JsonOption, RunsOption, ThinkingOption, settings_of
from jglue_app.cli.paying import YesOption, approved_sweep, budget_option
from jglue_app.cli.runs import stop_on_signal
from jglue_app.cli.tables import print_json, print_lines, print_table
from jglue_app.data import files
from jglue_app.errors import EXIT_INCOMPLETE, InputError
from jglue_app.prompts.formats import FORMATS
from jglue_app.results.library import Library
from jglue_app.runs.plan import Plan
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.request import Side, read_budget
from jglue_app.scoring.scoreboard import estimate_text
from jglue_app.tasks import get_task
from jglue_app.types import NextToken

ModelOption = Annotated[str, typer.Option(help="Registry name, Hub id, folder or .gguf file.")]
TaskOption = Annotated[str, typer.Option(help="The subset.")]
KindOption = Annotated[str, typer.Option("--data", help="official (JGLUE v1.3) or sample (embedded items).")]


def show_prompt(
    model: ModelOption = "gemma-3-270m",
    task: TaskOption = "jnli",
    item: Annotated[str | None, typer.Option(help="Id of an item; without it, the first.")] = None,
    data_kind: KindOption = "sample",
    style: Annotated[str, typer.Option(help="Wording style.")] = "ja-labels",
    format: Annotated[str, typer.Option(help="Prompt format.")] = "plain",
    shots: Annotated[int, typer.Option(help="Number of solved examples.")] = 0,
    thinking: ThinkingOption = "off",
    adapter: AdapterOption = None,
    next_tokens: Annotated[
        int,
        typer.Option("--next", min=0, max=100, help="List so many of the likeliest next tokens; loads the model."),
    ] = 0,
    budget: Annotated[
        float | None, budget_option("With --next, most that the request to a paid model may cost")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """One prompt token by token, with what its answers take. Loads the tokenizer alone, or with --next the model."""
    settings, allowed = settings_of(None), read_budget(budget)
    items = files.load(settings, get_task(task).name, data=data_kind).items
    candidates = [candidate for candidate in items if item in (None, candidate.id)]
    if not candidates:
        raise InputError("{task} has no item {item!r}. The first one is {id!r}.", task=task, item=item, id=items[0].id)
    side = Side(model, format, style, shots, thinking=thinking, adapter=adapter)
    expected: tuple[NextToken, ...] = ()
    with ProgressView() as view, stop_on_signal() as stop, ModelPool(settings, device=device) as pool:
        if next_tokens:
            foreseen = prompt_lab.foresee(
                *(settings, pool, side, candidates[0], stop.is_set, view.say, data_kind, allowed),
                count=next_tokens,
            )
            if foreseen is None:
                raise typer.Exit(EXIT_INCOMPLETE)
            inspected, expected = foreseen.inspected, foreseen.next.top[-1]
            if as_json:
                print_json({"prompt": inspected, "next": foreseen.next})
                return
        else:
            inspected = prompt_lab.inspect_item(settings, side, candidates[0], view.say)
    if as_json:
        print_json(inspected)
        return
    print_lines(["·".join(token.text for token in inspected.tokens)])
    answers = ", ".join(f"{answer.text} ({answer.tokens})" for answer in inspected.answers)
    tokens = f"{counted(inspected.count, 'token')}; at most {inspected.max_new_tokens} new ones."
    print_lines([f"{tokens} Answers and their tokens: {answers}."])
    print_lines(f"{finding.level}: {finding.message} [{finding.rule}]" for finding in inspected.findings)
    if expected:
        table = Table("next token", "id", "likelihood", box=None, pad_edge=False)
        for token in expected:
            table.add_row(
                repr(token.text), "–" if token.id is None else str(token.id), f"{math.exp(token.logprob):.2%}"
            )
        print_table(table)


def sweep(
    model: ModelOption = "gemma-3-270m",
    task: TaskOption = "jnli",
    limit: Annotated[int, typer.Option(min=1, help="Items.")] = 10,
    data_kind: KindOption = "sample",
    formats: Annotated[
        str | None,
        typer.Option(
            help="Formats, separated by commas; the first is what others change. Without it plain,alpaca,rinna,llama2, "
            "and with adapters plain."
        ),
    ] = None,
    styles: Annotated[str, typer.Option(help="Wording styles, separated by commas.")] = "ja-labels",
    shots: Annotated[int, typer.Option(help="Number of solved examples.")] = 0,
    budget: Annotated[
        float | None,
        budget_option("Most that all paid requests of the sweep may cost; without it, it is asked about"),
    ] = None,
    yes: YesOption = False,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="PEFT adapter on the model's weights: Hub id or folder. May be repeated: the model alone and each "
            "adapter get a row, and flips are counted against the model alone."
        ),
    ] = None,
    device: DeviceOption = "auto",
    runs_dir: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """The same items in several formats, or with several adapters: scores, and how many answers change when only that
    does."""
    settings, given = settings_of(runs_dir), read_budget(budget)
    if formats is None:
        formats = "plain" if adapter else "plain,alpaca,rinna,llama2"
    names, words = ([part.strip() for part in text.split(",") if part.strip()] for text in (formats, styles))
    sides = prompt_lab.variants(Side(model, shots=shots), names or list(FORMATS), words, adapter or [])
    planned: list[tuple[Side, Plan]] = []
    out_of_budget = False
    with ProgressView() as view, stop_on_signal() as stop, ModelPool(settings, device=device) as pool:
        runs = prompt_lab.plan_sweep(settings, task, sides, limit, data_kind)
        allowed = approved_sweep([plan for _, plan in runs], pool, settings, view, budget=given, yes=yes)
        for event in prompt_lab.run_sweep(settings, pool, runs, stop.is_set, allowed):
            if isinstance(event, tuple):
                planned.append(event)
            else:
                view.show(event)
                out_of_budget = event.kind == "stopped" and not stop.is_set()
    rows = prompt_lab.sweep_table(Library(settings.runs_dir), task, planned)
    if as_json:
        print_json(rows)
    else:
        _print_sweep(rows, adapters=bool(adapter))
    if out_of_budget:
        raise typer.Exit(EXIT_INCOMPLETE)


def _print_sweep(rows: Sequence[prompt_lab.SweepRow], *, adapters: bool) -> None:
    """One line for each format, style and adapter; without adapters no column of them."""
    scored = ("items", "strict", "lenient", "log-likelihood", "unreadable", "flips", "ranked flips")
    columns = (*(("adapter",) if adapters else ()), "format", "style", *scored)
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        scores = (estimate_text(score) for score in (row.strict, row.lenient, row.choose))
        flips = ("–" if counts is None else f"{counts.changed}/{counts.n}" for counts in (row.flips, row.ranked_flips))
        first = (row.side.adapter or "–",) if adapters else ()
        table.add_row(*first, row.side.format, row.side.style, str(row.n), *scores, str(row.unreadable), *flips)
    print_table(table)
