"""llm-jp-eval: the result JSON of versions 1.3 and 2, and the generated samples of version 1.4 and later.

Also as vendored in Swallow's evaluation. Sources: swallow-llm/swallow-evaluation, `llm-jp-eval/scripts/evaluate_llm.py`
(`scores`, `outputs`, `config`) and `jmmlu_statistics.py` (`outputs` → dataset → `input`, `pred`, `gold`);
llm-jp/llm-jp-eval-inference, `generator.py` (`DATASET.eval-generated.json`: `target_dataset`, `samples`, of which each
has `generated`). The `outputs` of a result are texts after stripping, cutting and NFKC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jglue_app.errors import DataError
from jglue_app.messages import Joined, Message
from jglue_app.results.importers.fields import id_of, subset_named
from jglue_app.results.importers.log import Log, Row
from jglue_app.results.importers.log_files import not_an_object, read_json, row_error, scores_of, text_of, texts_of

HARNESS = "llm-jp-eval"
UNREADABLE = -2.0
"""What the harness writes for an output from which it parses no number."""
_OUTPUTS = ("generated", "pred", "output_text")
_GOLD = ("gold", "true", "expected_output")


def recognises(path: Path, head: Mapping[str, Any] | None) -> bool:
    """Whether a file is such a log. Its first object is the whole document."""
    return head is not None and (_has_outputs(head) or _has_samples(head) or _is_bare(head))


def _has_outputs(table: Mapping[str, Any]) -> bool:
    outputs = table.get("outputs")
    return isinstance(outputs, dict) and all(isinstance(rows, list) for rows in outputs.values())


def _is_bare(table: Mapping[str, Any]) -> bool:
    """Whether it is only the `outputs` of a result."""
    firsts = [rows[0] for rows in table.values() if isinstance(rows, list) and rows]
    return bool(firsts) and len(firsts) == len(table) and all(isinstance(r, dict) and "pred" in r for r in firsts)


def _has_samples(table: Mapping[str, Any]) -> bool:
    return isinstance(table.get("target_dataset"), str) and isinstance(table.get("samples"), list)


def open_log(path: Path, results: Path | None, subset: str = "") -> Log:
    """The log.

    Args:
        path: the result, or the generated samples of one dataset.
        results: a result with the scores, where the log is of samples.
        subset: the subset to assume where neither the log nor its rows say; empty if unknown.

    Raises:
        DataError: it is not JSON of that shape, or has nothing of JGLUE.
    """
    table = read_json(path)
    if isinstance(table, dict) and not _has_outputs(table) and _is_bare(table):
        table = {"outputs": table}
    scores = table
    if results is not None:
        scores = read_json(results)
        if not isinstance(scores, dict):
            raise DataError(
                "{results}: is no result of llm-jp-eval. Give its result JSON (on the command line: `--results`).",
                results=results,
            )
    if not isinstance(table, dict) or not (_has_outputs(table) or _has_samples(table)):
        raise DataError("{path}: is no result of llm-jp-eval: it has no 'outputs'. Give its result JSON.", path=path)
    outputs = table["outputs"] if _has_outputs(table) else {table["target_dataset"]: table["samples"]}
    names = [name for name in outputs if subset_named(name)]
    if subset and len(outputs) == 1:
        names = list(outputs)
    config = table.get("config")
    config = config if isinstance(config, dict) else {}
    return Log(
        path,
        HARNESS,
        _rows(path, {name: outputs[name] for name in names}, _shots(table, config), subset),
        version=_version(config),
        model=_model(config),
        reported_scores={name: reported for name in names if (reported := _reported_scores(scores, name))},
        other_files=(results,) if results else (),
        left_out=tuple(name for name in outputs if name not in names),
    )


def _version(config: Mapping[str, Any]) -> str:
    meta = config.get("metainfo")
    return text_of(meta.get("version") if isinstance(meta, dict) else config.get("version"))


def _model(config: Mapping[str, Any]) -> str:
    model, meta = config.get("model"), config.get("metainfo") or config.get("meta")
    path_name = (
        text_of(model.get("pretrained_model_name_or_path") or model.get("model")) if isinstance(model, dict) else ""
    )
    named = text_of(meta.get("basemodel_name") or meta.get("base_model_name")) if isinstance(meta, dict) else ""
    return path_name or named or text_of(model)


def _shots(table: Mapping[str, Any], config: Mapping[str, Any]) -> int | None:
    meta = config.get("metainfo")
    places = (table, meta if isinstance(meta, dict) else {}, config)
    shots = next((place["num_few_shots"] for place in places if "num_few_shots" in place), None)
    return shots if isinstance(shots, int) and not isinstance(shots, bool) else None


def _reported_scores(table: Mapping[str, Any], name: str) -> dict[str, float]:
    """`jnli_exact_match` is the metric `exact_match` of `jnli`."""
    scores = table.get("scores")
    all_scores = scores_of(scores.get("scores", scores) if isinstance(scores, dict) else None)
    return {metric.removeprefix(f"{name}_"): v for metric, v in all_scores.items() if metric.startswith(f"{name}_")}


def _rows(path: Path, outputs: Mapping[str, Any], shots: int | None, default_subset: str) -> Iterator[Row]:
    for name, rows in outputs.items():
        for number, row in enumerate(rows, start=1):
            where = Message("{name}, entry {entry}", name=name, entry=number)
            if not isinstance(row, dict):
                raise row_error(path, where, not_an_object(row))
            yield _row(path, where, name, row, shots, default_subset)


def _row(path: Path, where: str, name: str, row: Mapping[str, Any], shots: int | None, default_subset: str) -> Row:
    subset = subset_named(name) or default_subset
    key = next((key for key in _OUTPUTS if key in row), None)
    if key is None:
        raise row_error(
            path, where, Message("there is no output, which is named {names}", names=Joined(" or ", _OUTPUTS[:2]))
        )
    output, note = row[key], "" if key == "generated" else "trimmed"
    if isinstance(output, int | float) and not isinstance(output, bool):
        output, note = ("", "number") if output == UNREADABLE else (str(output), note)
    if not isinstance(output, str):
        raise row_error(path, where, Message("a text was expected, found {found!r}", found=str(output)[:50]))
    gold = next((row[key] for key in _GOLD if key in row), None)
    input_text, prompt = text_of(row.get("input")), text_of(row.get("prompt"))
    return Row(
        where,
        subset=subset,
        task=name,
        id=id_of(subset, row) or id_of(subset, row.get("metadata") or {}),
        containing_text=input_text or prompt,
        text=output,
        gold=texts_of(gold) or ((text_of(gold),) if text_of(gold) else ()),
        prompt=prompt or input_text,
        shots=shots,
        note=note,
    )
