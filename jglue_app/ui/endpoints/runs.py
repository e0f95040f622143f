"""Endpoints that make runs, and those that say what can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from jglue_app.backends.named_models import named_models
from jglue_app.runs.request import Configuration, command, query
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.scoring.protocols.decisions import as_table
from jglue_app.tasks import CORE
from jglue_app.ui import controls
from jglue_app.ui.endpoints.plain import plain
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import follow, raise_failure
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import compare_panel
from jglue_app.ui.tabs.full import start_full_run
from jglue_app.ui.visitor import visitor_id


def endpoints(state: AppState) -> tuple[Callable[..., Any], ...]:
    """The functions, whose names, parameters and docstrings are those of the endpoints."""
    return (
        _compare_models(state),
        _full_run(state),
        _stop(state),
        _repeat(state),
        models,
        protocols,
    )


def _request(
    state: AppState,
    tasks: list[str],
    data: str,
    limit: int,
    method: str,
    a: Sequence[Any],
    b: Sequence[Any] | None = None,
    *,
    allow_bin: bool = False,
) -> Configuration:
    """What is requested, read as the values of the page's form are; raises InputError."""
    left = controls.read_side(a, "en")
    right = controls.read_side(b, "en") if b else None
    questions = [tasks, data, limit or None, method, allow_bin and not state.settings.public]
    return controls.read_configuration(state.settings, questions, left, right, "en")


def _follow(state: AppState, job: Job) -> Iterator[dict[str, Any]]:
    """The state of a job again and again until it ends; raises JglueAppError when it has failed."""

    def draw(last: bool) -> dict[str, Any]:
        state.grant_access(job)
        return _job_state(job)

    return follow(job, draw)


def _job_state(job: Job) -> dict[str, Any]:
    raise_failure(job)
    bars = [
        {"side": side, "task": task, "done": e.done, "total": e.total, "items_per_s": e.items_per_s}
        for (side, task), e in list(job.bars.items())
    ]
    return {
        "state": "stopped" if job.stop.is_set() else job.state,
        "runs": {side: run.run for side, run in job.runs.items()},
        "progress": bars,
        "notices": job.notices,
    }


def _compare_models(state: AppState) -> Callable[..., Any]:
    def compare_models(
        request: gr.Request,
        a_model: str = "gemma-3-270m",
        b_model: str = "",
        tasks: list[str] = list(CORE),  # noqa: B006  # Shown to programs as the default, and never changed.
        data: str = "sample",
        limit: int = 5,
        method: str = "both",
        a_format: str = "plain",
        a_style: str = "ja-labels",
        a_shots: int = 0,
        b_format: str = "plain",
        b_style: str = "ja-labels",
        b_shots: int = 3,
        a_quantization: str = "none",
        b_quantization: str = "none",
        a_dtype: str = "auto",
        b_dtype: str = "auto",
        allow_bin: bool = False,
        a_thinking: str = "off",
        b_thinking: str = "off",
        a_max_thinking_tokens: int = 0,
        b_max_thinking_tokens: int = 0,
        a_repetition_penalty: float = 1.0,
        b_repetition_penalty: float = 1.0,
    ) -> Iterator[dict[str, Any]]:
        """Run one model, or two side by side, and store what they answer. Gives the state again and again; the last
        has the ids of the runs, for `scores`, `items` and `item`.

        Args:
            a_model: A registry name or Hub id; on your own machine also a folder or .gguf file.
            b_model: The model to compare with; empty for none. It may be the same as A with other settings.
            tasks: Subsets: marc_ja, jsts, jnli, jsquad, jcommonsenseqa; jcola (off unless named).
            data: sample (our own items), official (JGLUE v1.3, dev) or test (its test sets).
            limit: Items per subset; 0 for all.
            method: generate (free text), choose (log-likelihood of each answer) or both.
            a_format: Prompt format of A: plain, chat, rinna, rinna_bilingual, alpaca or llama2.
            a_style: Wording style of A, such as ja-labels, en-labels, number or choice-text.
            a_shots: Solved examples before A's question, 0 to 16.
            b_format: Prompt format of B.
            b_style: Wording style of B.
            b_shots: Solved examples before B's question.
            a_quantization: none, 8bit or 4bit.
            b_quantization: The same for B.
            a_dtype: auto, float32, bfloat16 or float16.
            b_dtype: The same for B.
            allow_bin: Read pickled .bin weights, weights only, where there are no safetensors; on your own machine.
            a_thinking: What A's chat template is told of thinking: off, on or default (nothing).
            b_thinking: The same for B.
            a_max_thinking_tokens: Most tokens of a thought of A's, beside those of the answer; 0 for none of its own.
            b_max_thinking_tokens: The same for B.
            a_repetition_penalty: Of A; lowers the scores of tokens that were there before, such as 1.2; 1 is none.
            b_repetition_penalty: The same for B.
        """

        a = [a_model, a_format, a_style, a_shots, a_quantization, a_dtype, a_thinking, a_max_thinking_tokens]
        b = [b_model, b_format, b_style, b_shots, b_quantization, b_dtype, b_thinking, b_max_thinking_tokens]
        a.append(a_repetition_penalty)
        b.append(b_repetition_penalty)
        wanted = _request(state, tasks, data, limit, method, a, b if b_model else None, allow_bin=allow_bin)
        job = state.jobs.start_runs(visitor_id(request), compare_panel.KIND, wanted)
        yield from _follow(state, job)

    return compare_models


def _full_run(state: AppState) -> Callable[..., Any]:
    def full_run(
        request: gr.Request,
        model: str = "gemma-3-270m",
        tasks: list[str] = list(CORE),  # noqa: B006  # As above.
        data: str = "official",
        method: str = "both",
        format: str = "plain",
        style: str = "ja-labels",
        shots: int = 0,
        quantization: str = "none",
        dtype: str = "auto",
        allow_bin: bool = False,
        thinking: str = "off",
        max_thinking_tokens: int = 0,
        repetition_penalty: float = 1.0,
    ) -> Iterator[dict[str, Any]]:
        """Every item of a split in the background. Leaving off reading does not end it; `stop` does. The same
        call again goes on where it was stopped.

        Args:
            model: A registry name, Hub id, folder or .gguf file.
            tasks: Subsets: marc_ja, jsts, jnli, jsquad, jcommonsenseqa; jcola (off unless named).
            data: official (JGLUE v1.3, dev), test (its test sets) or sample.
            method: generate, choose or both.
            format: Prompt format: plain, chat, rinna, rinna_bilingual, alpaca or llama2.
            style: Wording style.
            shots: Solved examples before the question, 0 to 16.
            quantization: none, 8bit or 4bit.
            dtype: auto, float32, bfloat16 or float16.
            allow_bin: Read pickled .bin weights, weights only, where there are no safetensors.
            thinking: What the chat template is told of thinking: off, on or default (nothing).
            max_thinking_tokens: Most tokens of a thought, beside those of the answer; 0 for none of its own.
            repetition_penalty: Lowers the scores of tokens that were there before, such as 1.2; 1 is none.
        """

        side = [model, format, style, shots, quantization, dtype, thinking, max_thinking_tokens, repetition_penalty]
        wanted = _request(state, tasks, data, 0, method, side, allow_bin=allow_bin)
        yield from _follow(state, start_full_run(state, visitor_id(request), wanted))

    return full_run


def _stop(state: AppState) -> Callable[..., Any]:
    def stop(request: gr.Request, kind: str = "compare") -> str:
        """Stop your own work. What it has finished is kept.

        Args:
            kind: compare, full, sweep, try or push.
        """

        job = state.jobs.latest(visitor_id(request), kind)
        if job is None or not job.active:
            return "Nothing of yours is going on."
        state.jobs.stop(job)
        return "Stopping. What is finished is kept; the same call again goes on from there."

    return stop


def _repeat(state: AppState) -> Callable[..., Any]:
    def repeat(
        a_model: str = "gemma-3-270m",
        b_model: str = "",
        tasks: list[str] = list(CORE),  # noqa: B006  # As above.
        data: str = "sample",
        limit: int = 5,
        method: str = "both",
        a_format: str = "plain",
        a_style: str = "ja-labels",
        a_shots: int = 0,
        b_format: str = "plain",
        b_style: str = "ja-labels",
        b_shots: int = 3,
        a_quantization: str = "none",
        b_quantization: str = "none",
        a_dtype: str = "auto",
        b_dtype: str = "auto",
        a_thinking: str = "off",
        b_thinking: str = "off",
        a_max_thinking_tokens: int = 0,
        b_max_thinking_tokens: int = 0,
        a_repetition_penalty: float = 1.0,
        b_repetition_penalty: float = 1.0,
    ) -> dict[str, str]:
        """The command line and the link that ask for a comparison; runs nothing.

        Args:
            a_model: Model A.
            b_model: Model B; empty for none.
            tasks: Subsets.
            data: sample, official or test.
            limit: Items per subset; 0 for all.
            method: generate, choose or both.
            a_format: Prompt format of A.
            a_style: Wording style of A.
            a_shots: Examples of A.
            b_format: Prompt format of B.
            b_style: Wording style of B.
            b_shots: Examples of B.
            a_quantization: none, 8bit or 4bit.
            b_quantization: The same for B.
            a_dtype: auto, float32, bfloat16 or float16.
            b_dtype: The same for B.
            a_thinking: Thinking of A: off, on or default.
            b_thinking: The same for B.
            a_max_thinking_tokens: Most tokens of a thought of A's; 0 for none of its own.
            b_max_thinking_tokens: The same for B.
            a_repetition_penalty: Of A; lowers the scores of tokens that were there before, such as 1.2; 1 is none.
            b_repetition_penalty: The same for B.
        """

        a = [a_model, a_format, a_style, a_shots, a_quantization, a_dtype, a_thinking, a_max_thinking_tokens]
        b = [b_model, b_format, b_style, b_shots, b_quantization, b_dtype, b_thinking, b_max_thinking_tokens]
        a.append(a_repetition_penalty)
        b.append(b_repetition_penalty)
        wanted = _request(state, tasks, data, limit, method, a, b if b_model else None)
        return {"command": command(wanted), "link": f"?{query(wanted)}"}

    return repeat


def models() -> list[dict[str, Any]]:
    """The named models with their sizes, licences and usual prompt formats."""
    return list(plain(list(named_models().values())))


def protocols(name: str = "") -> list[dict[str, Any]]:
    """The protocols: what each scores, every decision of one, and where its system's own code makes it.

    Args:
        name: One of them; empty for all.
    """
    return [as_table(protocol) for protocol in ([get_protocol(name)] if name else PROTOCOLS.values())]
