"""flexeval: `outputs.jsonl`, with or without `config.json` and `metrics.json` next to it.

Source: flexeval 0.18.3 of SB Intuitions, `core/evaluate_generation.py`, `core/evaluate_chat_response.py`,
`core/evaluate_multiple_choice.py` and `core/result_recorder/local_recorder.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jglue_app.messages import Joined, Message
from jglue_app.results.importers.fields import fields_of, gold_of, id_of, subset_named, subset_shaped
from jglue_app.results.importers.log import Log, Row
from jglue_app.results.importers.log_files import (
    entries,
    logprob_of,
    not_a_text,
    read_json,
    row_error,
    scores_of,
    text_of,
    texts_of,
)
from jglue_app.types import Finish

HARNESS = "flexeval"
_RANKED = {"prefix", "choices", "log_probs"}
_GENERATED = {"lm_output", "extra_info"}


def recognises(path: Path, head: Mapping[str, Any] | None) -> bool:
    """Whether a file is such a log, by its first object."""
    return head is not None and (set(head) >= _RANKED or set(head) >= _GENERATED)


def open_log(path: Path, results: Path | None, subset: str = "") -> Log:
    """The log. Its rows are read lazily, as they are iterated over.

    Args:
        path: the outputs.
        results: the metrics; None for `metrics.json` next to the outputs, if there is one.
        subset: the subset to assume where neither the log nor its rows say; empty if unknown.

    Raises:
        DataError: one of these files cannot be read.
    """
    config = path.with_name("config.json")
    table = read_json(config) if config.is_file() else {}
    table = table if isinstance(table, dict) else {}
    if results is None and (beside := path.with_name("metrics.json")).is_file():
        results = beside
    reported = scores_of(read_json(results)) if results else {}
    model = _inside(table, "language_model", "init_args", "model")
    task = _task(table, path, subset)
    return Log(
        path,
        HARNESS,
        _rows(path, task, subset),
        version=text_of(_inside(table, "metadata", "flexeval_version")),
        model=text_of(model),
        reported_scores={task: reported} if reported else {},
        other_files=(*([config] if table else []), *([results] if results else [])),
    )


def _inside(table: Any, *names: str) -> Any:
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table


def _task(table: Mapping[str, Any], path: Path, default_subset: str) -> str:
    """The name of the data: its subset or path in the configuration, else the folder of the outputs, unless that is
    named after a subset other than the default."""
    data = _inside(table, "eval_setup", "init_args", "eval_dataset", "init_args")
    names = [text_of(data.get(name)) for name in ("subset", "path")] if isinstance(data, dict) else []
    names += [
        name for name in (path.parent.name, path.stem) if not default_subset or subset_named(name) == default_subset
    ]
    return next((name for name in names if subset_named(name)), "")


def _rows(path: Path, task: str, default_subset: str) -> Iterator[Row]:
    for where, row in entries(path):
        if set(row) >= _RANKED:
            yield _ranked(path, where, row, task, default_subset)
        elif set(row) >= _GENERATED:
            yield _generated(path, where, row, task, default_subset)
        else:
            raise row_error(
                path,
                where,
                Message("no output of flexeval: it needs {keys}, or lm_output", keys=Joined(", ", sorted(_RANKED))),
            )


def _ranked(path: Path, where: str, row: Mapping[str, Any], task: str, default_subset: str) -> Row:
    choices, logprobs = texts_of(row["choices"]), row["log_probs"]
    if not choices or not isinstance(logprobs, list) or len(logprobs) != len(choices):
        raise row_error(path, where, Message("not as many log_probs as choices"))
    index = row.get("answer_index")
    known = isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(choices)
    prefix = text_of(row["prefix"])
    return Row(
        where,
        subset=subset_named(task) or ("jcommonsenseqa" if len(choices) == 5 else default_subset),
        task=task,
        containing_text=prefix,
        prompt=prefix,
        logprobs=tuple(logprob_of(path, where, logprob) for logprob in logprobs),
        choices=choices,
        gold_index=index if known else None,
    )


def _generated(path: Path, where: str, row: Mapping[str, Any], task: str, default_subset: str) -> Row:
    doc = row["extra_info"] if isinstance(row["extra_info"], dict) else {}
    subset = subset_named(task) or subset_shaped(doc) or default_subset
    raw, text = row.get("raw_lm_output"), row["lm_output"]
    if not isinstance(text, str):
        raise row_error(path, where, not_a_text(text))
    messages = _messages(row.get("messages") or doc.get("messages"))
    prompt = row.get("lm_prompt")
    if messages is None and isinstance(prompt, list):
        messages = _messages(prompt)
    prompt_text = text_of(prompt) or "\n".join(turn["content"] for turn in messages or ())
    return Row(
        where,
        subset=subset,
        task=task,
        id=id_of(subset, doc),
        fields=fields_of(subset, doc) if subset else {},
        containing_text=prompt_text,
        text=raw if isinstance(raw, str) else text,
        gold=texts_of(row.get("references")) or gold_of(subset, doc),
        prompt=prompt_text,
        messages=messages,
        finish=_finish(row.get("finish_reason")),
        note="processed" if isinstance(raw, str) and raw != text else "",
    )


def _messages(turns_json: Any) -> tuple[Mapping[str, str], ...] | None:
    turns = turns_json if isinstance(turns_json, list) else []
    if not turns or not all(isinstance(turn, dict) and isinstance(turn.get("content"), str) for turn in turns):
        return None
    return tuple({"role": text_of(turn.get("role")), "content": turn["content"]} for turn in turns)


def _finish(reason: Any) -> Finish:
    if reason == "length":
        return "length"
    return "overflow" if reason == "input_length_limit" else "stop"
