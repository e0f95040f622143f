"""The harness of Stability AI's branch `jp-stable`, as vendored in Swallow's evaluation: one result JSON.

Sources: swallow-llm/swallow-evaluation, `lm-evaluation-harness-jp/main.py` and `lm_eval/evaluator.py` (`results`,
`versions`, `config`; `results` → task → `details` with `--verbose`), `lm_eval/tasks/ja/jsquad.py` (`question`,
`response`, `gold` of every item) and `jcommonsenseqa.py` (details of the wrong answers alone, without log-likelihoods).
So JSQuAD is all that can be scored again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jglue_app.errors import DataError
from jglue_app.messages import Message
from jglue_app.results.importers.fields import gold_of, subset_named
from jglue_app.results.importers.log import Log, Row
from jglue_app.results.importers.log_files import read_json, row_error, scores_of, text_of

HARNESS = "lm-evaluation-harness-jp"
_PRETRAINED = re.compile(r"(?:^|,)pretrained=([^,]+)")


def recognises(path: Path, head: Mapping[str, Any] | None) -> bool:
    """Whether a file is such a log, by its whole document."""
    return head is not None and isinstance(head.get("results"), dict) and isinstance(head.get("versions"), dict)


def open_log(path: Path, results: Path | None, subset: str = "") -> Log:
    """The log.

    Args:
        path: the result.
        results: not used: the scores are in the same file.
        subset: the subset to assume where neither the log nor its rows say; empty if unknown.

    Raises:
        DataError: it is no such result, or has no outputs.
    """
    table = read_json(path)
    if not isinstance(table, dict) or not recognises(path, table):
        raise DataError(
            "{path}: is no result of that harness. Give the JSON file that its `--output_path` names.", path=path
        )
    tables = [name for name, content in table["results"].items() if isinstance(content, dict)]
    names = [name for name in tables if subset_named(name) or (subset and len(tables) == 1)]
    detailed = [
        name
        for name in names
        if (subset_named(name) or subset) == "jsquad" and isinstance(table["results"][name].get("details"), list)
    ]
    if names and not detailed:
        raise DataError(
            "{path}: holds scores, and not the outputs of every item. Of lm-eval give samples_….jsonl, which "
            "`--log_samples` writes; of Swallow's harness only JSQuAD can be imported, made with `--verbose`.",
            path=path,
        )
    config = table.get("config")
    config = config if isinstance(config, dict) else {}
    model = _PRETRAINED.search(text_of(config.get("model_args")))
    shots = config.get("num_fewshot")
    return Log(
        path,
        HARNESS,
        _rows(path, table, detailed, shots if isinstance(shots, int) else None),
        model=model[1] if model else "",
        reported_scores={name: scores_of(table["results"][name]) for name in detailed},
        left_out=tuple(name for name in table["results"] if name not in detailed),
    )


def _rows(path: Path, table: Mapping[str, Any], names: list[str], shots: int | None) -> Iterator[Row]:
    for name in names:
        for number, row in enumerate(table["results"][name]["details"], start=1):
            where = Message("{name}, entry {entry}", name=name, entry=number)
            question, response = (row.get(key) if isinstance(row, dict) else None for key in ("question", "response"))
            if not isinstance(question, str) or not isinstance(response, str):
                raise row_error(path, where, Message("a question and a response were expected"))
            yield Row(
                where,
                subset="jsquad",
                task=name,
                version=text_of(table["versions"].get(name)),
                fields={"question": question},
                text=response,
                gold=gold_of("jsquad", {"answers": row.get("gold")}),
                shots=shots,
            )
