"""lm-evaluation-harness: `samples_TASK_DATE.jsonl`, with or without `results_DATE.json` next to it.

Source: lm-evaluation-harness 0.4.13 of EleutherAI, `lm_eval/evaluator.py` (what a sample holds) and
`lm_eval/loggers/evaluation_tracker.py` (how it is written: responses as texts, arguments as an object). Before 0.4.3
samples were one JSON array, with arguments as lists; both are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jglue_app.errors import DataError
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
)

HARNESS = "lm-eval"
_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT.+)\.jsonl?")
_PRETRAINED = re.compile(r"(?:^|,)(?:pretrained|model)=([^,]+)")
_KEYS = {"doc", "arguments", "resps", "filtered_resps"}


def recognises(path: Path, head: Mapping[str, Any] | None) -> bool:
    """Whether a file is such a log, by its first object."""
    return head is not None and set(head) >= _KEYS


def open_log(path: Path, results: Path | None, subset: str = "") -> Log:
    """The log. Its rows are read lazily, as they are iterated over.

    Args:
        path: the samples.
        results: the results file; None for the one of the same date next to the samples, if there is one.
        subset: the subset to assume where neither the log nor its rows say; empty if unknown.

    Raises:
        DataError: the results file is not one.
    """
    named = _SAMPLES.fullmatch(path.name)
    task = named["task"] if named else ""
    if results is None and named and (beside := path.with_name(f"results_{named['date']}.json")).is_file():
        results = beside
    table: Mapping[str, Any] = {}
    if results is not None:
        content = read_json(results)
        if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
            raise DataError(
                "{results}: is no results file of lm-eval. Give results_….json (on the command line: `--results`).",
                results=results,
            )
        table = content
        task_names = [name for name in table["results"] if subset_named(name)]
        if task and task not in table["results"]:
            raise DataError(
                "{results}: has no task {task!r}. Give the results file of the same run (on the command line: "
                "`--results`).",
                results=results,
                task=task,
            )
        if not task and len(task_names) == 1:
            task = task_names[0]
    version, shots = (_value_of_task(table, name, task) for name in ("versions", "n-shot"))
    return Log(
        path,
        HARNESS,
        _rows(path, task, text_of(version), shots if isinstance(shots, int) else None, subset),
        version=text_of(table.get("lm_eval_version")),
        model=_model(table) or _owner_and_name(path.parent.name),
        reported_scores=_reported_scores(table, task),
        other_files=(results,) if results else (),
    )


def _owner_and_name(folder: str) -> str:
    """The model that the folder of the samples is named after, if its name has the form `owner__name`; else empty."""
    return folder.replace("__", "/") if "__" in folder else ""


def _value_of_task(table: Mapping[str, Any], name: str, task: str) -> Any:
    by_task = table.get(name)
    return by_task.get(task) if isinstance(by_task, dict) else None


def _model(table: Mapping[str, Any]) -> str:
    config = table.get("config")
    args = config.get("model_args") if isinstance(config, dict) else None
    if isinstance(args, dict):
        name = text_of(args.get("pretrained") or args.get("model"))
    else:
        match = _PRETRAINED.search(args) if isinstance(args, str) else None
        name = match[1] if match else ""
    return name or text_of(table.get("model_name"))


def _reported_scores(table: Mapping[str, Any], task: str) -> dict[str, dict[str, float]]:
    """`acc,none` is the metric `acc` of the filter `none`."""
    scores: dict[str, float] = {}
    for name, score in scores_of(_value_of_task(table, "results", task)).items():
        scores.setdefault(name.split(",")[0], score)
    return {task: scores} if scores else {}


def _rows(path: Path, task: str, version: str, shots: int | None, default_subset: str) -> Iterator[Row]:
    first: Any = None
    for number, (where, row) in enumerate(entries(path)):
        if not set(row) >= _KEYS or not isinstance(row["doc"], dict):
            raise row_error(
                path, where, Message("no sample of lm-eval: it needs {keys}", keys=Joined(", ", sorted(_KEYS)))
            )
        first = row.get("filter") if number == 0 else first
        if row.get("filter") == first:
            yield _row(path, where, row, task, version, shots, default_subset)


def _row(
    path: Path, where: str, row: Mapping[str, Any], task: str, version: str, shots: int | None, default_subset: str
) -> Row:
    doc = row["doc"]
    task_subset, doc_subset = subset_named(task), subset_shaped(doc)
    if task_subset and doc_subset and task_subset != doc_subset:
        raise row_error(
            path,
            where,
            Message("the task is named {task!r}, and the item is one of {subset}", task=task, subset=doc_subset),
        )
    subset = task_subset or doc_subset or default_subset
    requests, responses = _requests(row["arguments"]), row["resps"]
    if not requests or not isinstance(responses, list) or len(responses) != len(requests):
        raise row_error(path, where, Message("not as many responses as requests"))
    if not all(isinstance(response, list) and response for response in responses):
        raise row_error(path, where, Message("a request without a response"))
    context, messages = _context(requests[0][0])
    common: dict[str, Any] = {
        "subset": subset,
        "task": task,
        "version": version,
        "id": id_of(subset, doc),
        "fields": fields_of(subset, doc) if subset else {},
        "containing_text": context,
        "prompt": context,
        "messages": messages,
        "shots": shots,
        "note": "several" if len(responses[0]) > 1 else "",
    }
    target = text_of(row.get("target"))
    if isinstance(requests[0][1], str):
        # Requests after another context are those of `acc_mutual_info`.
        same_context = [k for k, (before, _) in enumerate(requests) if before == requests[0][0]]
        texts = [str(requests[k][1]) for k in same_context]
        lead = _lead(texts)
        index = int(target) if target.isdecimal() and int(target) < len(texts) else None
        return Row(
            where,
            logprobs=tuple(logprob_of(path, where, _first(responses[k][0])) for k in same_context),
            choices=tuple(text[len(lead) :] for text in texts),
            gold_index=index,
            gold=() if index is not None else gold_of(subset, doc),
            lead=lead,
            **common,
        )
    text = responses[0][0]
    if not isinstance(text, str):
        raise row_error(path, where, not_a_text(text))
    filtered = row["filtered_resps"]
    if isinstance(filtered, list) and filtered and isinstance(filtered[0], str) and filtered[0].strip() != text.strip():
        common["note"] = common["note"] or "processed"
    gold = gold_of(subset, doc) if subset == "jsquad" else ()
    return Row(where, text=text, gold=gold or ((target,) if target else ()), **common)


def _context(context: Any) -> tuple[str, tuple[Mapping[str, str], ...] | None]:
    """A context as text, and its messages if it is a chat: then it is a list of one JSON text."""
    if not (isinstance(context, list) and len(context) == 1 and isinstance(context[0], str)):
        return text_of(context), None
    try:
        turns = json.loads(context[0])
    except (ValueError, RecursionError):
        return context[0], None
    if not (isinstance(turns, list) and turns and all(isinstance(t, dict) for t in turns)):
        return context[0], None
    if not all(isinstance(t.get("role"), str) and isinstance(t.get("content"), str) for t in turns):
        return context[0], None
    messages = tuple({"role": t["role"], "content": t["content"]} for t in turns)
    return "\n".join(turn["content"] for turn in messages), messages


def _first(response: Any) -> Any:
    """The log-probability of a response `[log-probability, is greedy]`."""
    return response[0] if isinstance(response, list) and response else response


def _requests(arguments: Any) -> list[tuple[Any, Any]]:
    """(context, continuation or settings) of each request."""
    if isinstance(arguments, dict):
        tables = [arguments.get(f"gen_args_{k}") for k in range(len(arguments))]
        return [(t.get("arg_0"), t.get("arg_1")) for t in tables if isinstance(t, dict)]
    if isinstance(arguments, list):
        return [(pair[0], pair[1]) for pair in arguments if isinstance(pair, list) and len(pair) >= 2]
    return []


def _lead(texts: list[str]) -> str:
    """The white space that all continuations begin with."""
    leads = {text[: len(text) - len(text.lstrip())] for text in texts}
    return leads.pop() if len(leads) == 1 else ""
