"""What lm-eval 0.4.13 writes with `--output_path` and `--log_samples`, so that its own readers and others' read it.

Fields as in its `evaluator.evaluate`, `loggers.evaluation_tracker` and `result_schema`. Where it differs from theirs:

- `lm_eval_version` is missing and `produced_by` tells who wrote the files. Tasks are called `jglue_<subset>`, those
  decided by log-likelihood `jglue_<subset>_ranking`, and `jglue_sample_…` over items that are not JGLUE's.
- `doc` is a row as the official files have it, but for what is not stored, such as where an answer begins.
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

from jglue_app.results.exporters.output_files import json_file, json_line, replace_surrogates
from jglue_app.results.exporters.run_source import RunSource, Scored
from jglue_app.scoring.judged import ScoredItem
from jglue_app.tasks import TASKS
from jglue_app.tasks.jsquad import SEPARATOR
from jglue_app.types import Item, Prompt
from jglue_app.version import __version__

METRICS = {"accuracy": "acc"}
"""Our name of a metric → lm-eval's, where that is another."""
ID_KEYS = ("sentence_pair_id", "q_id", "review_id", "uid", "id")
"""What the official files call an item's id, by subset."""
UNKNOWN = "None"
FILTER = "none"


def files(source: RunSource) -> dict[str, str]:
    """The results file and one file of samples for each task, in a folder of the model's name as lm-eval has it."""
    folder = _folder(source)
    made = _created(source).strftime("%Y-%m-%dT%H-%M-%S.%f")
    rows = {task_name(source, scored): _rows(source, scored) for scored in source.scored}
    found = {f"{folder}/results_{made}.json": json_file(_results(source, rows))}
    for name, samples in rows.items():
        found[f"{folder}/samples_{name}_{made}.jsonl"] = "".join(json_line(row) for row in samples)
    return found


def _folder(source: RunSource) -> str:
    """The model's name as lm-eval makes a folder of it, and without control characters, which no folder's name needs.

    A name that is longer than a file system takes is cut.
    """
    name = re.sub(r'["<>:/|\\?*\[\]\x00-\x1f\x7f-\x9f]+', "__", source.model_id)
    return name.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")


def task_name(source: RunSource, scored: Scored) -> str:
    """The name of a lm-eval task for some scores."""
    sample = "" if source.data.sources[scored.task] != "sample" else "sample_"
    return f"jglue_{sample}{scored.task}" + ("_ranking" if scored.evidence == "log_likelihood" else "")


def document(item: Item) -> dict[str, Any]:
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
    """When the run was begun, in UTC; the beginning of time where that was not noted."""
    try:
        found = datetime.datetime.fromisoformat(str(source.manifest.get("created")))
    except ValueError:
        return datetime.datetime.fromtimestamp(0, datetime.UTC)
    return found.astimezone(datetime.UTC) if found.tzinfo else found.replace(tzinfo=datetime.UTC)


# --- samples ----------------------------------------------------------------------------------------------


def _rows(source: RunSource, scored: Scored) -> list[dict[str, Any]]:
    places = {id_: position for position, id_ in enumerate(source.data.items[scored.task])}
    return [_row(source, scored, row, places[row.item.id]) for row in scored.rows]


def _row(source: RunSource, scored: Scored, row: ScoredItem, position: int) -> dict[str, Any]:
    item, output = row.item, row.record.output
    assert output is not None
    doc = replace_surrogates(document(item))
    if scored.evidence == "text":
        target = _target(item, row.record.prompt)
        arguments: list[tuple[str, Any]] = [(row.record.prompt.text, _generation(source, scored, row.record.prompt))]
        answers: list[list[Any]] = [[output.text or ""]]
        filtered: list[Any] = [output.text or ""]
    else:
        prompt = row.record.prompt
        target = str(item.choices.index(item.gold[0])) if isinstance(item.gold, tuple) else str(item.gold)
        arguments = [(prompt.ranked_text or prompt.text, prompt.lead + answer) for answer in prompt.answers]
        filtered = [[str(value), UNKNOWN] for value in output.choice_logprobs or ()]
        answers = [[pair] for pair in filtered]
    found = {
        "doc_id": position,
        "doc": doc,
        "target": target,
        "arguments": {f"gen_args_{i}": {"arg_0": one, "arg_1": two} for i, (one, two) in enumerate(arguments)},
        "resps": answers,
        "filtered_resps": filtered,
        "filter": FILTER,
        "metrics": [METRICS.get(name, name) for name in scored.metrics],
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(replace_surrogates(arguments[0][0] if arguments else row.record.prompt.text)),
        "target_hash": _hash(replace_surrogates(target)),
    }
    for name in scored.metrics:
        value = scored.value(name, row)
        found[METRICS.get(name, name)] = [_gold(item), scored.read(row)] if value is None else value
    return found


def _gold(item: Item) -> str | float:
    return item.gold[0] if isinstance(item.gold, tuple) else item.gold


def _target(item: Item, prompt: Prompt) -> str:
    """The right answer as the prompt asks for it; of several the first."""
    gold = str(_gold(item))
    return dict(zip(item.choices, prompt.answers, strict=False)).get(gold, gold)


def _generation(source: RunSource, scored: Scored, prompt: Prompt) -> dict[str, Any]:
    if source.elsewhere:
        return {}
    found: dict[str, Any] = {"until": list(prompt.stop), "do_sample": False, "temperature": 0.0}
    penalty = source.data.spec.decoding.for_task(scored.task).repetition_penalty
    found |= {"repetition_penalty": penalty} if penalty != 1 else {}
    limit = source.token_limit(scored.task)
    return found | ({"max_gen_toks": limit} if limit is not None else {})


# --- results ----------------------------------------------------------------------------------------------


def _results(source: RunSource, rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    spec, info, created = source.data.spec, source.data.model, _created(source)
    by_name = {task_name(source, scored): scored for scored in source.scored}
    system = spec.prompt.system or None
    return {
        "results": {name: _scores(name, scored) for name, scored in by_name.items()},
        "group_subtasks": {name: [] for name in by_name},
        "configs": {name: _config(source, name, scored) for name, scored in by_name.items()},
        "versions": {name: source.facts(scored)["data_version"] for name, scored in by_name.items()},
        "n-shot": {name: _shots(source, scored) for name, scored in by_name.items()},
        "higher_is_better": {
            name: {METRICS.get(metric, metric): True for metric in scored.metrics} for name, scored in by_name.items()
        },
        "n-samples": {
            name: {
                "original": source.total(scored.task) or len(source.data.items[scored.task]),
                "effective": len(scored.rows),
            }
            for name, scored in by_name.items()
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


def _scores(name: str, scored: Scored) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "alias": name, "sample_len": len(scored.rows)}
    for metric, estimate in scored.metrics.items():
        theirs = METRICS.get(metric, metric)
        error = scored.standard_error(metric)
        found[f"{theirs},{FILTER}"] = estimate.value
        found[f"{theirs}_stderr,{FILTER}"] = "N/A" if error is None else error
    return found


def _config(source: RunSource, name: str, scored: Scored) -> dict[str, Any]:
    facts = source.facts(scored)
    split = facts["data_split"]
    metrics = []
    for metric in scored.metrics:
        mean = scored.rows and scored.value(metric, scored.rows[0]) is not None
        theirs = METRICS.get(metric, metric)
        metrics.append({"metric": theirs, "aggregation": "mean" if mean else theirs, "higher_is_better": True})
    intervals = {
        METRICS.get(metric, metric): {"low": e.low, "high": e.high, "level": 0.95, "n": e.n}
        for metric, e in scored.metrics.items()
    }
    return {
        "task": name,
        "dataset_path": source.home(scored.task) or "not JGLUE",
        "dataset_name": scored.task,
        f"{'training' if split == 'train' else 'validation' if split == 'valid' else split}_split": split,
        "output_type": "generate_until" if scored.evidence == "text" else "multiple_choice",
        "num_fewshot": _shots(source, scored),
        "metric_list": metrics,
        "repeats": 1,
        "metadata": {**facts, "version": facts["data_version"], "intervals": intervals},
    }


def _shots(source: RunSource, scored: Scored) -> int | None:
    """Examples in the prompts; None where outputs made elsewhere do not tell."""
    if source.elsewhere:
        told = (source.manifest.get("imported") or {}).get("tasks") or {}
        shots = (told.get(scored.task) or {}).get("shots")
        return shots if isinstance(shots, int) else None
    return source.data.spec.prompt.for_task(scored.task).shots


def _model_args(source: RunSource) -> str:
    spec, info = source.data.spec.model, source.data.model
    pairs = {"pretrained": source.model_id, "revision": spec.revision, "dtype": info.dtype if info else None}
    if spec.quantization != "none":
        pairs[f"load_in_{spec.quantization}"] = "True"
    if spec.gguf_file:
        pairs["gguf_file"] = spec.gguf_file
    return ",".join(f"{name}={value}" for name, value in pairs.items() if value)
