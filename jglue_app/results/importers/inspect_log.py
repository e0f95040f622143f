"""Inspect: `.eval` logs, which are zip archives, and `.json` logs.

Source: inspect_ai 0.3.285, `log/_log.py` (`EvalSample`), `log/_recorders/eval.py` (`header.json`,
`samples/ID_epoch_N.json`) and `_util/zipfile.py` (members are packed with Zstandard, method 93, or deflated).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jglue_app.errors import DataError
from jglue_app.messages import Message
from jglue_app.results.importers import unzip
from jglue_app.results.importers.fields import fields_of, gold_of, id_of, subset_named, subset_shaped
from jglue_app.results.importers.log import Log, Row
from jglue_app.results.importers.log_files import number_of, parse_json, read_json, row_error, text_of, texts_of
from jglue_app.types import Finish

HARNESS = "inspect"
LETTERS = "ABCDEFGHIJ"
_ATTACHED = "attachment://"


def recognises(path: Path, head: Mapping[str, Any] | None) -> bool:
    """Whether a file is such a log: a zip archive, or a document with a plan."""
    if head is not None:
        return isinstance(head.get("eval"), dict) and "plan" in head
    return unzip.is_zip(path)


def open_log(path: Path, results: Path | None, subset: str = "") -> Log:
    """The log.

    Args:
        path: the log.
        results: not used: the scores are in the same file.
        subset: the subset to assume where neither the log nor its rows say; empty if unknown.

    Raises:
        DataError: damaged, too large, or not finished.
    """
    samples: Iterator[tuple[str, Any]]
    if unzip.is_zip(path):
        with unzip.Archive(path) as archive:
            if "header.json" not in archive.names:
                raise DataError(
                    "{path}: has no header.json: it is no .eval log, or of an evaluation that was "
                    "not finished. Finish it with `inspect eval-retry`, or give another log.",
                    path=path,
                )
            head = parse_json(path, "header.json", archive.read("header.json"))
        samples = _zipped_samples(path)
    else:
        head = read_json(path)
        samples_json = head.get("samples") if isinstance(head, dict) else None
        samples = iter(
            (f"sample {k}", row)
            for k, row in enumerate(samples_json if isinstance(samples_json, list) else [], start=1)
        )
    spec = head.get("eval") if isinstance(head, dict) else None
    if not isinstance(spec, dict):
        raise DataError(
            "{path}: is no log of Inspect: it has no 'eval'. Give the .eval or .json file of a log.", path=path
        )
    data = spec.get("dataset")
    names = (text_of(spec.get("task")), text_of(data.get("name")) if isinstance(data, dict) else "")
    task = next((name for name in names if subset_named(name)), names[0])
    packages = spec.get("packages")
    return Log(
        path,
        HARNESS,
        _rows(path, samples, task, text_of(spec.get("task_version")), "several" if _epochs(spec) > 1 else "", subset),
        version=text_of(packages.get("inspect_ai")) if isinstance(packages, dict) else "",
        model=text_of(spec.get("model")),
        reported_scores={task: reported} if (reported := _reported_scores(head)) else {},
    )


def _zipped_samples(path: Path) -> Iterator[tuple[str, Any]]:
    with unzip.Archive(path) as archive:
        for name in archive.names:
            if name.startswith("samples/") and name.endswith(".json"):
                yield name, parse_json(path, name, archive.read(name))


def _reported_scores(head: Mapping[str, Any]) -> dict[str, float]:
    """Scorer and metric → score, such as `choice/accuracy`."""
    results = head.get("results")
    scores = results.get("scores") if isinstance(results, dict) else None
    out = {}
    for score in scores if isinstance(scores, list) else ():
        metrics = score.get("metrics") if isinstance(score, dict) else None
        for name, metric in metrics.items() if isinstance(metrics, dict) else ():
            score_value = number_of(metric.get("value")) if isinstance(metric, dict) else None
            if score_value is not None:
                out[f"{text_of(score.get('name'))}/{name}"] = score_value
    return out


def _epochs(spec: Mapping[str, Any]) -> float:
    """Number of epochs; only the first one is imported."""
    config = spec.get("config")
    return (number_of(config.get("epochs")) if isinstance(config, dict) else None) or 1


def _rows(
    path: Path, samples: Iterator[tuple[str, Any]], task: str, version: str, note: str, default_subset: str
) -> Iterator[Row]:
    for where, sample in samples:
        if not isinstance(sample, dict) or "input" not in sample or "output" not in sample:
            raise row_error(path, where, Message("no sample of Inspect: it needs input and output"))
        if sample.get("epoch", 1) == 1:
            yield _row(path, where, sample, task, version, note, default_subset)


def _row(
    path: Path, where: str, sample: Mapping[str, Any], task: str, version: str, note: str, default_subset: str
) -> Row:
    attached = sample.get("attachments")
    attachments: Mapping[str, Any] = attached if isinstance(attached, dict) else {}
    turns = _turns(sample.get("messages"), attachments)
    while turns and turns[-1]["role"] == "assistant":
        turns.pop()
    given = sample["input"]
    question = (
        "\n".join(t["content"] for t in _turns(given, attachments))
        if isinstance(given, list)
        else _content_text(given, attachments)
    )
    prompt = "\n".join(turn["content"] for turn in turns) or question
    doc = sample.get("metadata")
    doc = doc if isinstance(doc, dict) else {}
    subset = subset_named(task) or subset_shaped(doc) or default_subset
    choices = texts_of(sample.get("choices"))
    output, finish = _output(sample.get("output"), attachments)
    fault = sample.get("error")
    if output is None and not fault:
        fault = {"message": "there is no output"}
    target = sample.get("target")
    gold = texts_of(target) if isinstance(target, list) else ((text_of(target),) if text_of(target) else ())
    return Row(
        where,
        subset=subset,
        task=task,
        version=version,
        # Integers are numbered by Inspect itself, from 1.
        id=id_of(subset, doc) or (sample["id"] if isinstance(sample.get("id"), str) else ""),
        fields=fields_of(subset, doc) if subset else {},
        containing_text="\n".join((question, *choices)) if choices else question,
        text=output,
        choices=choices,
        symbols=tuple(LETTERS[: len(choices)]),
        gold=gold or gold_of(subset, doc),
        prompt=prompt,
        messages=tuple(turns) or None,
        finish=finish,
        failed=(text_of(fault.get("message")) if isinstance(fault, dict) else str(fault))[:300] if fault else "",
        note=note,
    )


def _content_text(content: Any, attached: Mapping[str, Any]) -> str:
    """The text of a message's content: parts are joined, and a reference to an attachment is resolved."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(_content_text(part, attached) for part in parts)
    text = text_of(content)
    return text_of(attached.get(text.removeprefix(_ATTACHED))) if text.startswith(_ATTACHED) else text


def _turns(messages: Any, attached: Mapping[str, Any]) -> list[dict[str, str]]:
    turns = [turn for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []
    return [{"role": text_of(t.get("role")), "content": _content_text(t.get("content"), attached)} for t in turns]


def _output(output: Any, attached: Mapping[str, Any]) -> tuple[str | None, Finish]:
    choices = output.get("choices") if isinstance(output, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None, "stop"
    message = choices[0].get("message")
    text = _content_text(message.get("content"), attached) if isinstance(message, dict) else ""
    return text, "length" if choices[0].get("stop_reason") in ("max_tokens", "model_length") else "stop"
