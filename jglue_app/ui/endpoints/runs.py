"""Endpoints that make runs, and those that say what can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from jglue_app.backends.endpoints import served_models
from jglue_app.backends.named_models import named_models
from jglue_app.runs.request import RunRequest
from jglue_app.runs.request_text import to_command_line, to_url_query
from jglue_app.runs.store import RunStore
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.scoring.protocols.decisions import as_table
from jglue_app.ui import controls
from jglue_app.ui.endpoints.parameters import FIRST_OF_ONE, FIRST_OF_TWO, request_of, with_request_parameters
from jglue_app.ui.endpoints.plain import plain
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import follow, raise_failure
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import compare_panel
from jglue_app.ui.tabs.full import start_full_run
from jglue_app.ui.visitor import visitor_id

TWO_SIDES = RunRequest(b=controls.DEFAULT_B)
ONE_SIDE = RunRequest(data="official", limit=None)
"""Defaults of the endpoints that compare, and of a full run."""
READ_AS_FORM = ("compare_models", "full_run", "repeat")
"""Endpoints whose parameters are those of a request: they are read, and refused, as the values of the page's form."""


def endpoints(state: AppState) -> tuple[Callable[..., Any], ...]:
    """The functions, whose names, parameters and docstrings are those of the endpoints."""

    def compare_models(request: gr.Request, **given: Any) -> Iterator[dict[str, Any]]:
        """Run one model, or two side by side, and store what they answer. Gives the state again and again; the last
        has the ids of the runs, for `scores`, `items` and `item`."""
        yield from _follow(state, state.jobs.start_runs(visitor_id(request), compare_panel.KIND, _read(state, given)))

    def full_run(request: gr.Request, **given: Any) -> Iterator[dict[str, Any]]:
        """Every item of a split in the background. Leaving off reading does not end it; `stop` does. The same
        call again goes on where it was stopped."""
        yield from _follow(state, start_full_run(state, visitor_id(request), _read(state, given)))

    def repeat(**given: Any) -> dict[str, str]:
        """The command line and the link that ask for a comparison; runs nothing."""
        wanted = _read(state, given)
        return {"command": to_command_line(wanted), "link": f"?{to_url_query(wanted)}"}

    return (
        with_request_parameters(compare_models, FIRST_OF_TWO, TWO_SIDES),
        with_request_parameters(full_run, FIRST_OF_ONE, ONE_SIDE, leave_out=("limit",)),
        _stop(state),
        with_request_parameters(repeat, FIRST_OF_TWO, TWO_SIDES, leave_out=("allow_bin",)),
        _models(state),
        protocols,
    )


def _read(state: AppState, given: Mapping[str, Any]) -> RunRequest:
    """The request that an endpoint's parameters make, read as the values of the page's form are; raises InputError."""
    allow_bin = given.get("allow_bin", False) and not state.settings.public
    return controls.read({**request_of(given), "allow_bin": allow_bin}, state.settings)


def _follow(state: AppState, job: Job) -> Iterator[dict[str, Any]]:
    """The state of a job again and again until it ends; raises JglueAppError when it has failed."""

    def draw(last: bool) -> dict[str, Any]:
        state.grant_access(job)
        waiting = {"ahead": state.jobs.queue_position(job), "about_s": job.wait_s} if job.state == "waiting" else {}
        return _job_state(state, job) | waiting

    return follow(job, draw)


def _job_state(state: AppState, job: Job) -> dict[str, Any]:
    raise_failure(job)
    runs = {side: run.run for side, run in job.runs.items()}
    if not job.active:  # Stopped before its first answer, a run has no folder.
        runs = {side: run for side, run in runs.items() if RunStore(state.settings.runs_dir / run).exists()}
    bars = [
        {"side": side, "task": task, "done": e.done, "total": e.total, "items_per_s": e.items_per_s}
        for (side, task), e in list(job.bars.items())
    ]
    return {
        "state": "stopped" if job.stop.is_set() else job.state,
        "runs": runs,
        "progress": bars,
        "notices": job.notices,
    }


def _stop(state: AppState) -> Callable[..., Any]:
    def stop(request: gr.Request, kind: str = "compare") -> str:
        """Stop your own work. What it has finished is kept.

        Args:
            kind: compare, full, sweep, try or push.
        """

        job = state.jobs.latest(visitor_id(request), kind)
        if job is None or not job.active:
            return "You have no run going on."
        state.jobs.stop(job)
        return "Stopping. What is finished is kept; the same call again goes on from there."

    return stop


def _models(state: AppState) -> Callable[[], list[dict[str, Any]]]:
    def models() -> list[dict[str, Any]]:
        """The named models with their sizes, licences and usual prompt formats, and the models on servers with their
        prices."""
        served = served_models(state.settings).values()
        return [*plain(list(named_models().values())), *(model.as_row() for model in served)]

    return models


def protocols(name: str = "") -> list[dict[str, Any]]:
    """The protocols: what each scores, every decision of one, and where its system's own code makes it.

    Args:
        name: One of them; empty for all.
    """
    return [as_table(protocol) for protocol in ([get_protocol(name)] if name else PROTOCOLS.values())]
