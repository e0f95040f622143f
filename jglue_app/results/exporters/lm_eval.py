"""The files that lm-eval 0.4.13 writes with `--output_path` and `--log_samples`, for tools that read them.

Fields as in its `evaluator.evaluate`, `loggers.evaluation_tracker` and `result_schema`. Where it differs from theirs:

- `lm_eval_version` is missing and `produced_by` says who wrote the files. Tasks are called `jglue_<subset>`, those
  decided by log-likelihood `jglue_<subset>_ranking`, and `jglue_sample_…` over items that are not JGLUE's.
- `doc` is a row of the official file, except for what is not stored, such as where an answer begins.
- `doc_id` counts the items of the run, which is the position in the split where the run has the whole of it.
- Whether an answer would have been written greedily is not known, so the second value of a log-likelihood is `None`.
- Lone surrogates, which the data sets library refuses, are replaced by U+FFFD.
- A metric over all items has the pair of (right answer, answer) for each item, with null for an unreadable one.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from jglue_app.errors import InputError
from jglue_app.results.exporters.output_files import json_file, json_line, replace_surrogates
from jglue_app.results.exporters.run_source import RunSource, SubsetScores
from jglue_app.scoring.judged import ScoredItem
from jglue_app.tasks import TASKS
from jglue_app.tasks.jsquad import SEPARATOR
from jglue_app.types import Item, Prompt
from jglue_app.version import __version__

METRICS = {"accuracy": "acc"}
"""Our name of a metric → lm-eval's, where they differ."""
ID_KEYS = ("sentence_pair_id", "q_id", "review_id", "uid", "id")
"""Fields that hold an item's id in the official files."""
UNKNOWN_GREEDY = "None"
FILTER = "none"


def files(source: RunSource) -> dict[str, str]:
    """The results file and one file of samples for each task, in a folder named after the model, as lm-eval names
    it.

    Raises:
        InputError: the run has cosines of embeddings, for which lm-eval has no kind of task.
    """
    if source.data.spec.embeds:
        raise InputError(
            "lm-eval has no task that embeds, so a run of embeddings cannot be written as one of its. Choose "
            "every-eval-ever, or .jsonl, .csv, .parquet or .zip."
        )
    folder = _folder(source)
    timestamp = _created(source).strftime("%Y-%m-%dT%H-%M-%S.%f")
    rows = {task_name(source, scores): _rows(source, scores) for scores in source.scores}
    content_of = {f"{folder}/results_{timestamp}.json": json_file(_results(source, rows))}
    for name, samples in rows.items():
        content_of[f"{folder}/samples_{name}_{timestamp}.jsonl"] = "".join(json_line(row) for row in samples)
    return content_of


def _folder(source: RunSource) -> str:
    """The model name as lm-eval sanitises it for a folder, also without control characters.

    A name that is too long for a file system is cut.
    """
    name = re.sub(r'["<>:/|\\?*\[\]\x00-\x1f\x7f-\x9f]+', "__", source.model_id)
    return name.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")


def task_name(source: RunSource, scores: SubsetScores) -> str:
    """The name of the lm-eval task for the scores of a subset."""
    sample = "" if source.data.sources[scores.task] != "sample" else "sample_"
    return f"jglue_{sample}{scores.task}" + ("_ranking" if scores.evidence == "log_likelihood" else "")


def doc_of(item: Item) -> dict[str, Any]:
    """An item as a row of its official file."""
    fields: dict[str, Any] = dict(item.fields)
    if isinstance(item.gold, tuple) and not item.choices:
        if "context" in fields and fields.get("title"):
            fields["context"] = fields["title"] + SEPARATOR + fields["context"]
        fields["answers"] = {"text": list(item.gold)}
    else:
        fields["label"] = item.gold[0] if isinstance(item.gold, tuple) else item.gold
    return {_id_key(item, fields): item.id, **fields}


def _id_key(item: Item, fields: Mapping[str, Any]) -> str:
    for key in ID_KEYS:
        try:
            if TASKS[item.task].item({key: item.id, **fields}).id == item.id:
                return key
        except (KeyError, ValueError):
            continue
    return "id"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _created(source: RunSource) -> datetime.datetime:
    """When the run was started, in UTC; the Unix epoch if unknown."""
    try:
        created = datetime.datetime.fromisoformat(str(source.manifest.get("created")))
    except ValueError:
        return datetime.datetime.fromtimestamp(0, datetime.UTC)
    return created.astimezone(datetime.UTC) if created.tzinfo else created.replace(tzinfo=datetime.UTC)


# --- samples ----------------------------------------------------------------------------------------------


def _rows(source: RunSource, scores: SubsetScores) -> list[dict[str, Any]]:
    positions = {id_: position for position, id_ in enumerate(source.data.items[scores.task])}
    return [_row(source, scores, row, positions[row.item.id]) for row in scores.rows]


def _row(source: RunSource, scores: SubsetScores, row: ScoredItem, position: int) -> dict[str, Any]:
    item, output = row.item, row.record.output
    assert output is not None
    doc = replace_surrogates(doc_of(item))
    if scores.evidence == "text":
        target = _target(item, row.record.prompt)
        arguments: list[tuple[str, Any]] = [(row.record.prompt.text, _generation(source, scores, row.record.prompt))]
        responses: list[list[Any]] = [[output.text or ""]]
        filtered: list[Any] = [output.text or ""]
    else:
        prompt = row.record.prompt
        target = str(item.choices.index(item.gold[0])) if isinstance(item.gold, tuple) else str(item.gold)
        arguments = [(prompt.ranked_text or prompt.text, prompt.lead + answer) for answer in prompt.answers]
        filtered = [[str(value), UNKNOWN_GREEDY] for value in output.choice_logprobs or ()]
        responses = [[pair] for pair in filtered]
    sample = {
        "doc_id": position,
        "doc": doc,
        "target": target,
        "arguments": {
            f"gen_args_{i}": {"arg_0": context, "arg_1": continuation}
            for i, (context, continuation) in enumerate(arguments)
        },
        "resps": responses,
        "filtered_resps": filtered,
        "filter": FILTER,
        "metrics": [METRICS.get(name, name) for name in scores.metrics],
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(replace_surrogates(arguments[0][0] if arguments else row.record.prompt.text)),
        "target_hash": _hash(replace_surrogates(target)),
    }
    for name in scores.metrics:
        value = scores.value(name, row)
        sample[METRICS.get(name, name)] = [_gold(item), scores.answer(row)] if value is None else value
    return sample


def _gold(item: Item) -> str | float:
    return item.gold[0] if isinstance(item.gold, tuple) else item.gold


def _target(item: Item, prompt: Prompt) -> str:
    """The gold answer in the form that the prompt asks for; the first if there are several."""
    gold = str(_gold(item))
    return dict(zip(item.choices, prompt.answers, strict=False)).get(gold, gold)


def _generation(source: RunSource, scores: SubsetScores, prompt: Prompt) -> dict[str, Any]:
    if source.external:
        return {}
    gen_kwargs: dict[str, Any] = {"until": list(prompt.stop), "do_sample": False, "temperature": 0.0}
    penalty = source.data.spec.decoding.for_task(scores.task).repetition_penalty
    gen_kwargs |= {"repetition_penalty": penalty} if penalty != 1 else {}
    limit = source.token_limit(scores.task)
    return gen_kwargs | ({"max_gen_toks": limit} if limit is not None else {})


# --- results ----------------------------------------------------------------------------------------------


def _results(source: RunSource, rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    spec, info, created = source.data.spec, source.data.model, _created(source)
    scores_of = {task_name(source, scores): scores for scores in source.scores}
    system = spec.prompt.system or None
    return {
        "results": {name: _scores(name, scores) for name, scores in scores_of.items()},
        "group_subtasks": {name: [] for name in scores_of},
        "configs": {name: _config(source, name, scores) for name, scores in scores_of.items()},
        "versions": {name: source.facts(scores)["data_version"] for name, scores in scores_of.items()},
        "n-shot": {name: _shots(source, scores) for name, scores in scores_of.items()},
        "higher_is_better": {
            name: {METRICS.get(metric, metric): True for metric in scores.metrics} for name, scores in scores_of.items()
        },
        "n-samples": {
            name: {
                "original": source.total(scores.task) or len(source.data.items[scores.task]),
                "effective": len(scores.rows),
            }
            for name, scores in scores_of.items()
        },
        "config": {
            "model": spec.model.backend,
            "model_args": _model_args(source),
            "model_dtype": info.dtype if info else None,
            "model_revision": spec.model.revision,
            "model_sha": info.commit if info else None,
            "batch_size": None,
            "device": info.device.split(":")[0] if info else None,
            "limit": spec.limit,
            "bootstrap_iters": 0,
            "gen_kwargs": None,
            "random_seed": spec.seed,
            "fewshot_seed": spec.prompt.shot_seed,
        },
        "date": created.timestamp(),
        "produced_by": {"name": "jglue_app", "version": __version__, "format": "lm-eval 0.4.13"},
        "task_hashes": {
            name: _hash("".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in samples))
            for name, samples in rows.items()
        },
        "model_source": spec.model.backend,
        "model_name": source.model_id,
        "model_name_sanitized": _folder(source),
        "system_instruction": system,
        "system_instruction_sha": _hash(replace_surrogates(system)) if system else None,
        "fewshot_as_multiturn": spec.prompt.format == "chat" and spec.prompt.most_shots > 0,
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": str(sum(r.output.seconds for r in source.data.records if r.output)),
    }


def _scores(name: str, scores: SubsetScores) -> dict[str, Any]:
    result: dict[str, Any] = {"name": name, "alias": name, "sample_len": len(scores.rows)}
    for metric, estimate in scores.metrics.items():
        harness_name = METRICS.get(metric, metric)
        error = scores.standard_error(metric)
        result[f"{harness_name},{FILTER}"] = estimate.value
        result[f"{harness_name}_stderr,{FILTER}"] = "N/A" if error is None else error
    return result


def _config(source: RunSource, name: str, scores: SubsetScores) -> dict[str, Any]:
    facts = source.facts(scores)
    split = facts["data_split"]
    metrics = []
    for metric in scores.metrics:
        mean = scores.rows and scores.value(metric, scores.rows[0]) is not None
        harness_name = METRICS.get(metric, metric)
        metrics.append(
            {"metric": harness_name, "aggregation": "mean" if mean else harness_name, "higher_is_better": True}
        )
    intervals = {
        METRICS.get(metric, metric): {"low": e.low, "high": e.high, "level": 0.95, "n": e.n}
        for metric, e in scores.metrics.items()
    }
    return {
        "task": name,
        "dataset_path": source.repository(scores.task) or "not JGLUE",
        "dataset_name": scores.task,
        f"{'training' if split == 'train' else 'validation' if split == 'valid' else split}_split": split,
        "output_type": "generate_until" if scores.evidence == "text" else "multiple_choice",
        "num_fewshot": _shots(source, scores),
        "metric_list": metrics,
        "repeats": 1,
        "metadata": {**facts, "version": facts["data_version"], "intervals": intervals},
    }


def _shots(source: RunSource, scores: SubsetScores) -> int | None:
    """Few-shot examples in the prompts; None if unknown, for external outputs."""
    if source.external:
        tasks = (source.manifest.get("imported") or {}).get("tasks") or {}
        shots = (tasks.get(scores.task) or {}).get("shots")
        return shots if isinstance(shots, int) else None
    return source.data.spec.prompt.for_task(scores.task).shots


def _model_args(source: RunSource) -> str:
    spec, info = source.data.spec.model, source.data.model
    adapter = source.adapter_name.rpartition("/")[2]
    base = source.model_id.removesuffix(f"+{adapter}") if adapter else source.model_id
    pairs = {"pretrained": base, "revision": spec.revision, "dtype": info.dtype if info else None}
    if spec.quantization != "none":
        pairs[f"load_in_{spec.quantization}"] = "True"
    if spec.gguf_file:
        pairs["gguf_file"] = spec.gguf_file
    if spec.adapter:
        pairs["peft"] = source.adapter_name
    return ",".join(f"{name}={value}" for name, value in pairs.items() if value)
