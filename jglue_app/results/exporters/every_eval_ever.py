"""Every Eval Ever, version 0.3.0 of its schema: scores in one JSON file, single items in another of JSON Lines.

Names and layout are those of `eval.schema.json`, `instance_level_eval.schema.json` and the path rules of the datastore
in the package every-eval-ever 0.3.0 (evaleval/every_eval_ever on GitHub): `<uuid>.json` in a folder
`data/<collection>/<developer>/<model>/`, and `<uuid>_samples.jsonl` next to it. Every additional detail has to be a
string.

There is one line for each item and metric that is a mean over items. A correlation has no score of a single item: the
items of JSTS are not in the second file.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from typing import Any

from jglue_app.results.exporters.output_files import json_file, json_line, replace_surrogates
from jglue_app.results.exporters.run_source import RunSource, SubsetScores
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.protocols.common import SHARES
from jglue_app.scoring.significance import RESAMPLES
from jglue_app.scoring.types import Estimate
from jglue_app.tasks import TASKS
from jglue_app.version import __version__

SCHEMA = "0.3.0"
MIN_SCORES = {"pearson": -1.0, "spearman": -1.0, "mcc": -1.0}
"""Metric → lowest value, for those that may be negative."""
METRIC_KINDS = {
    "accuracy": "accuracy",
    "acc_norm": "accuracy",
    "exact_match": "exact_match",
    "f1": "f1",
    "macro_f1": "f1",
    "pearson": "correlation",
    "spearman": "correlation",
}
UNKNOWN_DEVELOPER = "not-stated"
"""Developer of a model whose id does not name one."""
RESERVED_NAMES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d|data)(\..*)?")


def files(source: RunSource) -> dict[str, str]:
    """The scores and, where a metric is a mean over items, the items, in the layout of the datastore."""
    head = _Head(source)
    rows = "".join(json_line(row) for scores in source.scores for row in _rows(source, scores, head))
    table = _table(source, head)
    if not rows:
        return {f"{head.path}.json": json_file(table)}
    companion = f"{head.path}_samples.jsonl"
    table["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": companion,
        "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(rows.encode("utf-8")).hexdigest(),
        "total_rows": rows.count("\n"),
    }
    return {f"{head.path}.json": json_file(table), companion: rows}


def single(source: RunSource) -> str:
    """The scores alone."""
    return json_file(_table(source, _Head(source)))


class _Head:
    """The identifiers of an export."""

    def __init__(self, source: RunSource) -> None:
        self.collection = "jglue" if "official" in source.data.sources.values() else "not-jglue"
        self.now = f"{time.time():.6f}"
        self.model = _model_id(source)
        self.id = f"{self.collection}/{self.model}/{self.now}"
        seed = hashlib.sha256(f"{source.data.spec.spec_id} {source.protocol.name}".encode()).digest()
        # The layout wants a random UUID; this one is reproducible: the same scores have the same UUID in every export.
        name = uuid.UUID(bytes=seed[:16], version=4)
        developer, _, model = self.model.rpartition("/")
        self.path = f"data/{self.collection}/{developer or UNKNOWN_DEVELOPER}/{model}/{name}"


def _model_id(source: RunSource) -> str:
    if source.on_hub:
        return source.model_id
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", source.model_id).strip().rstrip(".") or "unnamed"
    return f"model-{name}" if RESERVED_NAMES.fullmatch(name) else name


def _table(source: RunSource, head: _Head) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA,
        "evaluation_id": head.id,
        "retrieved_timestamp": head.now,
        **({"evaluation_timestamp": str(created)} if (created := source.manifest.get("created")) else {}),
        "source_metadata": {
            "source_name": "JGLUE side by side",
            "source_type": "evaluation_run",
            "source_organization_name": "not stated",
            "evaluator_relationship": "other",
            "additional_details": {"evaluator": "whoever made the run; the run does not say who"},
        },
        "eval_library": {"name": "jglue_app", "version": __version__},
        "model_info": _model(source, head),
        "evaluation_results": [
            _result(source, scores, metric, estimate)
            for scores in source.scores
            for metric, estimate in scores.metrics.items()
        ],
    }


def _model(source: RunSource, head: _Head) -> dict[str, Any]:
    details = {name: str(value) for name, value in source.model_facts().items() if value}
    details |= {"deployment_type": "self_deployed" if source.ran_here else "unknown", "model_availability": "unknown"}
    if not source.on_hub:
        details["id_is"] = "the name of a file, folder or package, not an id of the Hugging Face Hub"
    if source.data.spec.model.backend == "scripted":
        details["answers"] = "read from a table, not given by a model"
    if source.external:
        details["answers"] = "made elsewhere, and scored here"
    model_info: dict[str, Any] = {"name": replace_surrogates(source.model_id), "id": head.model}
    if "/" not in head.model:
        model_info["developer"] = UNKNOWN_DEVELOPER
    packages = (source.manifest.get("machine") or {}).get("packages") or {}
    if source.ran_here and (version := packages.get("transformers")):
        model_info["inference_engine"] = {"name": "transformers", "version": str(version)}
    return {**model_info, "additional_details": details}


def _evaluation(source: RunSource, scores: SubsetScores) -> str:
    """Name of an evaluation: on JGLUE, on the samples of this application, or on a file of the user."""
    kind = {"official": "jglue", "sample": "jglue-app-sample"}.get(source.data.sources[scores.task], "own-file")
    return f"{kind}/{scores.task}" + {"log_likelihood": "/ranking", "cosine": "/embeddings"}.get(scores.evidence, "")


def _result_id(source: RunSource, scores: SubsetScores, metric: str) -> str:
    return f"{_evaluation(source, scores)}/{metric}"


def _result(source: RunSource, scores: SubsetScores, metric: str, estimate: Estimate) -> dict[str, Any]:
    facts = {name: replace_surrogates(value) for name, value in source.facts(scores).items()}
    task = TASKS[scores.task]
    decided_by = {"text": "its text", "cosine": "the cosine of the embeddings of the two sentences"}.get(
        scores.evidence, "the log-likelihood of each answer"
    )
    return {
        "evaluation_result_id": _result_id(source, scores, metric),
        "evaluation_name": _evaluation(source, scores),
        "source_data": _data(source, scores, facts),
        "metric_config": {
            "evaluation_description": f"{metric} on {task.title}, decided by {decided_by} under the protocol "
            f"{source.protocol.name}",
            "metric_id": metric,
            "metric_name": metric,
            "metric_kind": METRIC_KINDS.get(metric, metric),
            "metric_unit": "correlation" if metric in MIN_SCORES else "proportion",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": MIN_SCORES.get(metric, 0.0),
            "max_score": 1.0,
        },
        "score_details": {
            "score": estimate.value,
            "details": _details(source, scores),
            "uncertainty": _uncertainty(scores, metric, estimate),
        },
        "generation_config": _generation(source, scores, facts),
    }


def _data(source: RunSource, scores: SubsetScores, facts: dict[str, str]) -> dict[str, Any]:
    title = TASKS[scores.task].title
    details = {name: value for name, value in facts.items() if name.startswith(("data_", "label_", "item"))}
    if repository := source.repository(scores.task):
        name = f"JGLUE {facts['data_version']} {title} ({facts['data_split']})"
        return {
            "dataset_name": name,
            "source_type": "url",
            "url": [f"https://github.com/{repository}"],
            "additional_details": details,
        }
    origin = (
        "sample items of jglue_app, not JGLUE"
        if source.data.sources[scores.task] == "sample"
        else "a file of one's own"
    )
    return {"dataset_name": f"{title}: {origin}", "source_type": "other", "additional_details": details}


def _details(source: RunSource, scores: SubsetScores) -> dict[str, str]:
    report = source.report.tasks[scores.task]
    details: dict[str, object] = {"n": len(scores.rows)}
    if not scores.secondary:
        details["outcomes"] = json.dumps(dict(report.outcomes), sort_keys=True)
        details["unreadable"] = report.unreadable
        details |= {f"lenient_{name}": e.value for name, e in report.lenient.items() if e.value is not None}
    reading = "choose" if scores.secondary else "strict"
    floors = {name: report.floor(name, reading) for name in report.floors}
    details |= {f"floor_constant_{name}": value for name, value in floors.items() if value is not None}
    details |= {f"floor_default_{name}": value for name, value in report.default_floors.items()}
    return {name: str(value) for name, value in details.items()}


def _uncertainty(scores: SubsetScores, metric: str, estimate: Estimate) -> dict[str, Any]:
    uncertainty: dict[str, Any] = {"num_samples": estimate.n}
    if (error := scores.standard_error(metric)) is not None:
        uncertainty["standard_error"] = {"value": error, "method": "analytic"}
    if estimate.low is not None and estimate.high is not None:
        method = "Wilson score" if metric in SHARES else "percentile bootstrap over items"
        ends = {"lower": estimate.low, "upper": estimate.high}
        uncertainty["confidence_interval"] = {**ends, "confidence_level": 0.95, "method": method}
        if metric not in SHARES:
            uncertainty["num_bootstrap_samples"] = RESAMPLES
    return uncertainty


def _generation(source: RunSource, scores: SubsetScores, facts: dict[str, str]) -> dict[str, Any]:
    details = {
        name: value for name, value in facts.items() if not name.startswith(("data_", "label_", "item", "model_"))
    }
    if source.external or scores.evidence != "text":
        return {"additional_details": details}
    arguments: dict[str, Any] = {"temperature": 0.0, "reasoning": source.data.spec.prompt.thinking == "on"}
    if (limit := source.token_limit(scores.task)) is not None:
        arguments["max_tokens"] = limit
    return {"generation_args": arguments, "additional_details": details}


# --- items ------------------------------------------------------------------------------------------------


def _rows(source: RunSource, scores: SubsetScores, head: _Head) -> list[dict[str, Any]]:
    return [
        _row(source, scores, head, metric, row, value)
        for metric in scores.metrics
        for row in scores.rows
        if (value := scores.value(metric, row)) is not None
    ]


def _row(
    source: RunSource, scores: SubsetScores, head: _Head, metric: str, row: ScoredItem, value: float
) -> dict[str, Any]:
    item, output, prompt = row.item, row.record.output, row.record.prompt
    assert output is not None
    raw = replace_surrogates("\n".join(f"{name}: {text}" for name, text in item.fields.items()))
    references = [replace_surrogates(text) for text in item.gold] if isinstance(item.gold, tuple) else [str(item.gold)]
    text = scores.evidence == "text"
    answer = scores.answer(row)
    rule = row.judgement.strict.rule if text else "highest log-likelihood"
    details: dict[str, str] = {"outcome": row.judgement.outcome, "finish": output.finish}
    if not text:
        details["choice_logprobs"] = json.dumps(list(output.choice_logprobs or ()))
    return {
        "schema_version": SCHEMA,
        "evaluation_id": head.id,
        "model_id": head.model,
        "evaluation_name": _evaluation(source, scores),
        "evaluation_result_id": _result_id(source, scores, metric),
        "sample_id": replace_surrogates(item.id),
        "sample_hash": hashlib.sha256((raw + "".join(references)).encode("utf-8")).hexdigest(),
        "interaction_type": "single_turn",
        "input": {
            "raw": raw,
            "formatted": replace_surrogates(prompt.text if text else prompt.ranked_text or prompt.text) or None,
            "reference": references,
            "choices": [replace_surrogates(text) for text in prompt.answers] or list(item.choices) or None,
        },
        "output": {"raw": [replace_surrogates(output.text or "")] if text else []},
        "answer_attribution": []
        if answer is None
        else [
            {
                "turn_idx": 0,
                "source": "output.raw" if text else "metadata.choice_logprobs",
                "extracted_value": replace_surrogates(str(answer)),
                "extraction_method": rule,
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": value, "is_correct": value == 1.0},
        "token_usage": {
            "input_tokens": output.prompt_tokens,
            "output_tokens": output.new_tokens,
            "total_tokens": output.prompt_tokens + output.new_tokens,
        },
        "performance": {"latency_ms": output.seconds * 1000},
        "metadata": details,
    }
