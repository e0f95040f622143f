"""Endpoints that read, rank, export, import, delete and send stored runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.results.rankings import rankings
from jglue_app.scoring.disagreement import find_disagreements
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.scoring.waterfall import as_table
from jglue_app.tasks import DEFAULT_TASKS, get_task
from jglue_app.ui import run_files
from jglue_app.ui.endpoints.given import typed
from jglue_app.ui.endpoints.plain import plain
from jglue_app.ui.progress import HEARTBEAT_S, raise_failure
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import waterfall
from jglue_app.ui.tabs.results import ranked
from jglue_app.ui.views.items import FILTERS, item_rows
from jglue_app.ui.visitor import visitor_id
from jglue_app.ui.wandb_push import Selection, start_push

ROW_NAMES = {"t": "title", "k": "task", "i": "item_id", "q": "question", "g": "gold", "a": "a_said", "b": "b_said"} | {
    "ao": "a_outcome",
    "bo": "b_outcome",
    "f": "filters",
}
"""Key of a row of the item list → its name here."""


def endpoints(state: AppState) -> tuple[Callable[..., Any], ...]:
    """The functions, whose names, parameters and docstrings are those of the endpoints."""
    return (
        *_runs_and_items(state),
        *_under_protocols(state),
        _delete_run(state),
        _push_to_wandb(state),
    )


def _runs_and_items(state: AppState) -> tuple[Callable[..., Any], ...]:
    def runs(request: gr.Request) -> list[dict[str, Any]]:
        """The stored runs that you may look at, the newest first, and those that came with the application; at last
        those that are damaged, each with what is wrong."""
        owner = visitor_id(request)
        readable: list[dict[str, Any]] = [
            {"run": name, "label": r.label, "created": r.created, "done": r.done, "planned": r.planned}
            | {"made_as": r.made_as, "description": r.description}
            for name, r in state.runs(owner).items()
        ]
        return readable + [{"run": name, "damaged": reason} for name, reason in state.damaged(owner).items()]

    def scores(request: gr.Request, a: str, b: str = "", protocol: str = "official") -> dict[str, Any]:
        """Every score of a run under a protocol; of two runs also the differences on the items both have answered, and
        how far their log-probabilities and texts agree. Of a run that you have made since the server was started these
        are the items that you have asked for.

        Args:
            a: Id of a run, from `runs`.
            b: Id of another run; empty for none.
            protocol: The name of a protocol, from `protocols`.
        """
        owner = visitor_id(request)
        if not b:
            return dict(plain(state.report(owner, a, protocol, requested_only=True)))
        return dict(plain(state.comparison(owner, a, b, protocol, requested_only=True)))

    def items(request: gr.Request, a: str, b: str = "", filter: str = "all") -> list[dict[str, Any]]:
        """The items of a run or two, each with its question, gold answer, what was said and how that fell out. Of a run
        that you have made since the server was started these are the items that you have asked for.

        Args:
            a: Id of a run.
            b: Id of another run; empty for none.
            filter: all, disagree, only_a, only_b, knows (ranked right, written in no shape to count), form, unreadable.
        """
        owner = visitor_id(request)
        if filter not in FILTERS:
            raise UnknownNameError("filter", filter[:50], FILTERS)
        left = state.judged(owner, a, requested_only=True)
        right = state.judged(owner, b, requested_only=True) if b else None
        rows = item_rows(left, right, "en")
        wanted = [row for row in rows if filter == "all" or filter in row["f"]]
        return [{name: row[key] for key, name in ROW_NAMES.items() if key in row} for row in wanted]

    def item(request: gr.Request, run: str, task: str, item_id: str) -> dict[str, Any]:
        """One item of a run: its fields, the prompt as the model saw it, the raw output, and how every protocol reads
        and counts it.

        Args:
            run: Id of a run.
            task: The subset.
            item_id: The item's id.
        """
        owner = visitor_id(request)
        answered = state.judged(owner, run).get(get_task(task).name, {}).get(item_id)
        if answered is None:
            raise InputError(
                "The run has no answer to {task} {item_id!r}. `items` lists what it has.",
                task=task,
                item_id=item_id[:100],
            )
        judged = state.item_judgements(owner, run, task, item_id)
        return {"item": plain(answered.item), "record": plain(answered.record), "judgements": plain(judged)}

    return runs, scores, items, item


def _under_protocols(state: AppState) -> tuple[Callable[..., Any], ...]:
    def disagreements(request: gr.Request, run: str, task: str) -> list[dict[str, Any]]:
        """Items of a run that some protocols count right and others wrong, with the rules by which they do.

        Args:
            run: Id of a run.
            task: The subset.
        """
        owner, name = visitor_id(request), get_task(task).name
        # Judgements are cached: a long run is not judged again with every call.
        judged = {
            protocol: {name: state.judged(owner, run, protocol, requested_only=True).get(name, {})}
            for protocol in PROTOCOLS
        }
        return [
            {"item_id": d.item.id, "gold": plain(d.item.gold), "verdicts": plain(d.verdicts)}
            for d in find_disagreements(judged).get(name, [])
        ]

    def explain(
        request: gr.Request, run: str, start: str = waterfall.START, end: str = waterfall.END
    ) -> list[dict[str, Any]]:
        """How the scores of a run under one protocol become those under another: the decisions in which the two differ,
        switched one at a time, with the score after each and the items it moves.

        Args:
            run: Id of a run.
            start: The protocol to begin with.
            end: The protocol to arrive at.
        """
        waterfalls = state.waterfalls(visitor_id(request), run, start, end)
        return [plain(as_table(each)) for each in waterfalls.values()]

    def leaderboard(
        request: gr.Request,
        protocol: str = "official",
        against: str = "official",
        data: str = "sample",
        tasks: list[str] = list(DEFAULT_TASKS),  # noqa: B006  # Shown to programs as the default, and never changed.
    ) -> list[dict[str, Any]]:
        """The stored runs ranked by the mean of their main metrics, and their ranks under another protocol. `place` is
        the rank among the runs on the same items that paired tests support, shared by runs that cannot be told apart;
        `apart` says why a run has none.

        Args:
            protocol: The protocol that ranks.
            against: The protocol whose ranks are compared.
            data: Runs over sample data, official (dev) data or the official test sets: sample, official or test.
            tasks: Subsets that count; those that one of the protocols does not score are left out.
        """
        get_protocol(protocol)
        get_protocol(against)
        owner = visitor_id(request)
        entries, names = ranked(state, owner, data, tasks, protocol, against)
        found = rankings([entry.name for entry in entries], state.reader(owner, protocol), names, protocol)
        places = found.places
        return [
            plain(entry) | {"place": plain(places.get(entry.name)), "apart": str(found.apart.get(entry.name, ""))}
            for entry in entries
        ]

    return disagreements, explain, leaderboard


def _delete_run(state: AppState) -> Callable[..., Any]:
    def delete_run(request: gr.Request, run: str, confirm: bool = False) -> str:
        """Delete a stored run for good.

        Args:
            run: Id of the run.
            confirm: Must be true: a deleted run cannot be brought back.
        """

        if not confirm:
            raise InputError("Nothing was deleted. Set confirm to true to delete the run for good.")
        state.delete(visitor_id(request), run)
        return f"deleted {run}"

    return delete_run


def _push_to_wandb(state: AppState) -> Callable[..., Any]:
    def push_to_wandb(
        request: gr.Request,
        run: str,
        compare_with: str = "",
        project: str = "",
        entity: str = "",
        key: str = "",
        protocol: str = "official",
    ) -> list[dict[str, Any]]:
        """Send a stored run to Weights & Biases, or two and what joins them. Again, it updates the same W&B runs.

        Args:
            run: Id of a run, from `runs`.
            compare_with: Id of another run to compare it with; empty for none.
            project: W&B project; empty for jglue, or as the server is set.
            entity: W&B user or team; empty for the key's own.
            key: W&B API key, for this push only; empty for the server's own where it is lent.
            protocol: The protocol whose scores stand first; all are sent.
        """

        get_protocol(protocol)
        job = start_push(state, visitor_id(request), Selection(run, compare_with, protocol), project, entity, key)
        while not job.ended.wait(HEARTBEAT_S):
            job.looked_at = time.monotonic()
        if job.stop.is_set():
            raise InputError("The push was stopped. What had arrived stays; push again to complete it.")
        raise_failure(job)
        return list(plain(job.result))

    return push_to_wandb


def build_file_endpoints(state: AppState) -> None:
    """Export and import, whose files need components to travel."""

    def export_run(request: gr.Request, run: str, format: str, protocol: str) -> str:
        """A run as one row an item (jsonl, csv, parquet), its folder packed to bring it elsewhere (zip), or what other
        projects read (every-eval-ever, hub-eval-results, lm-eval).

        Args:
            run: Id of the run.
            format: jsonl, csv, parquet, zip, every-eval-ever, hub-eval-results or lm-eval.
            protocol: Whose scores the formats of other projects hold.
        """
        return str(run_files.export_run(state, visitor_id(request), run, format, protocol).path)

    def import_run(file: str | None) -> str:
        """Bring in a run from a .zip file that export_run has made, or from a log of another harness; gives its id.

        Args:
            file: The .zip file, or the log. Of a log that has a part of the items, these alone are imported.
        """
        if not file:
            raise InputError("There is no file. Choose a .zip file that this application has exported.")
        return run_files.import_run(state, [Path(file)], partial=True)[0].name

    run = gr.Textbox(label="run", visible=False)
    format = gr.Textbox("jsonl", label="format", visible=False)
    protocol = gr.Textbox("official", label="protocol", visible=False)
    out = gr.File(label="file", visible=False)
    into = gr.File(label="file", visible=False)
    name = gr.Textbox(label="run", visible=False)
    gr.Button(visible=False).click(typed(export_run), [run, format, protocol], out, api_name="export_run")
    gr.Button(visible=False).click(import_run, into, name, api_name="import_run")
