"""Every Eval Ever, version 0.3.0 of its schema: scores in one JSON file, single items in another of JSON Lines.

Names and layout are those of `eval.schema.json`, `instance_level_eval.schema.json` and the path rules of the datastore
in the package every-eval-ever 0.3.0 (evaleval/every_eval_ever on GitHub): `<uuid>.json` in a folder
`data/<collection>/<developer>/<model>/`, and `<uuid>_samples.jsonl` beside it. Every further detail has to be a text.

Items are told of once for each metric that is a mean over items. A correlation has no score of one item: the items of
JSTS are not in the second file.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from typing import Any

from jglue_app.results.exporters.output_files import json_file, json_line, replace_surrogates
from jglue_app.results.exporters.run_source import RunSource, Scored
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.protocols.common import SHARES
from jglue_app.scoring.significance import RESAMPLES
from jglue_app.scoring.types import Estimate
from jglue_app.tasks import TASKS
from jglue_app.version import __version__

SCHEMA = "0.3.0"
LOWEST = {"pearson": -1.0, "spearman": -1.0, "mcc": -1.0}
"""Metrics that may be negative."""
KINDS = {
    "accuracy": "accuracy",
    "acc_norm": "accuracy",
    "exact_match": "exact_match",
    "f1": "f1",
    "macro_f1": "f1",
    "pearson": "correlation",
    "spearman": "correlation",
}
UNNAMED = "not-stated"
"""Developer of a model whose id does not name one."""
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d|data)(\..*)?")


def files(source: RunSource) -> dict[str, str]:
    """The scores and, where a metric is a mean over items, the items, in the layout of the datastore."""
    head = _Head(source)
    rows = "".join(json_line(row) for scored in source.scored for row in _rows(source, scored, head))
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
    """What names an export."""

    def __init__(self, source: RunSource) -> None:
        self.collection = "jglue" if "official" in source.data.sources.values() else "not-jglue"
        self.now = f"{time.time():.6f}"
        self.model = _model_id(source)
        self.id = f"{self.collection}/{self.model}/{self.now}"
        seed = hashlib.sha256(f"{source.data.spec.spec_id} {source.protocol.name}".encode()).digest()
        # The layout asks for a random UUID; this one is the same whenever the same scores are exported again.
        name = uuid.UUID(bytes=seed[:16], version=4)
        developer, _, model = self.model.rpartition("/")
        self.path = f"data/{self.collection}/{developer or UNNAMED}/{model}/{name}"


def _model_id(source: RunSource) -> str:
    if source.on_hub:
        return source.model_id
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", source.model_id).strip().rstrip(".") or "unnamed"
    return f"model-{name}" if RESERVED.fullmatch(name) else name


def _table(source: RunSource, head: _Head) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA,
        "evaluation_id": head.id,
        "retrieved_timestamp": head.now,
        **({"evaluation_timestamp": str(made)} if (made := source.manifest.get("created")) else {}),
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
            _result(source, scored, metric, estimate)
            for scored in source.scored
            for metric, estimate in scored.metrics.items()
        ],
    }


def _model(source: RunSource, head: _Head) -> dict[str, Any]:
    details = {name: str(value) for name, value in source.model_facts().items() if value}
    details |= {"deployment_type": "self_deployed" if source.made_here else "unknown", "model_availability": "unknown"}
    if not source.on_hub:
        details["id_is"] = "the name of a file, folder or package, not an id of the Hugging Face Hub"
    if source.data.spec.model.backend == "scripted":
        details["answers"] = "read from a table, not given by a model"
    if source.elsewhere:
        details["answers"] = "made elsewhere, and scored here"
    found: dict[str, Any] = {"name": replace_surrogates(source.model_id), "id": head.model}
    if "/" not in head.model:
        found["developer"] = UNNAMED
    packages = (source.manifest.get("machine") or {}).get("packages") or {}
    if source.made_here and (version := packages.get("transformers")):
        found["inference_engine"] = {"name": "transformers", "version": str(version)}
    return {**found, "additional_details": details}


def _evaluation(source: RunSource, scored: Scored) -> str:
    """Name of an evaluation: over JGLUE's own items, over this application's samples, over a person's own file."""
    kind = {"official": "jglue", "sample": "jglue-app-sample"}.get(source.data.sources[scored.task], "own-file")
    return f"{kind}/{scored.task}" + ("/ranking" if scored.evidence == "log_likelihood" else "")


def _result_id(source: RunSource, scored: Scored, metric: str) -> str:
    return f"{_evaluation(source, scored)}/{metric}"


def _result(source: RunSource, scored: Scored, metric: str, estimate: Estimate) -> dict[str, Any]:
    facts = {name: replace_surrogates(value) for name, value in source.facts(scored).items()}
    task = TASKS[scored.task]
    by = "its text" if scored.evidence == "text" else "the log-likelihood of each answer"
    return {
        "evaluation_result_id": _result_id(source, scored, metric),
        "evaluation_name": _evaluation(source, scored),
        "source_data": _data(source, scored, facts),
        "metric_config": {
            "evaluation_description": f"{metric} on {task.title}, decided by {by} under the protocol "
            f"{source.protocol.name}",
            "metric_id": metric,
            "metric_name": metric,
            "metric_kind": KINDS.get(metric, metric),
            "metric_unit": "correlation" if metric in LOWEST else "proportion",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": LOWEST.get(metric, 0.0),
            "max_score": 1.0,
        },
        "score_details": {
            "score": estimate.value,
            "details": _details(source, scored),
            "uncertainty": _uncertainty(scored, metric, estimate),
        },
        "generation_config": _generation(source, scored, facts),
    }


def _data(source: RunSource, scored: Scored, facts: dict[str, str]) -> dict[str, Any]:
    title = TASKS[scored.task].title
    details = {name: value for name, value in facts.items() if name.startswith(("data_", "label_", "item"))}
    if home := source.home(scored.task):
        name = f"JGLUE {facts['data_version']} {title} ({facts['data_split']})"
        return {
            "dataset_name": name,
            "source_type": "url",
            "url": [f"https://github.com/{home}"],
            "additional_details": details,
        }
    whose = (
        "sample items of jglue_app, not JGLUE"
        if source.data.sources[scored.task] == "sample"
        else "a file of one's own"
    )
    return {"dataset_name": f"{title}: {whose}", "source_type": "other", "additional_details": details}


def _details(source: RunSource, scored: Scored) -> dict[str, str]:
    report = source.report.tasks[scored.task]
    found: dict[str, object] = {"n": len(scored.rows)}
    if not scored.beside:
        found["outcomes"] = json.dumps(dict(report.outcomes), sort_keys=True)
        found["unreadable"] = report.unreadable
        found |= {f"lenient_{name}": e.value for name, e in report.lenient.items() if e.value is not None}
    found |= {f"floor_constant_{name}": value for name, value in report.floors.items()}
    found |= {f"floor_default_{name}": value for name, value in report.default_floors.items()}
    return {name: str(value) for name, value in found.items()}


def _uncertainty(scored: Scored, metric: str, estimate: Estimate) -> dict[str, Any]:
    found: dict[str, Any] = {"num_samples": estimate.n}
    if (error := scored.standard_error(metric)) is not None:
        found["standard_error"] = {"value": error, "method": "analytic"}
    if estimate.low is not None and estimate.high is not None:
        how = "Wilson score" if metric in SHARES else "percentile bootstrap over items"
        ends = {"lower": estimate.low, "upper": estimate.high}
        found["confidence_interval"] = {**ends, "confidence_level": 0.95, "method": how}
        if metric not in SHARES:
            found["num_bootstrap_samples"] = RESAMPLES
    return found


def _generation(source: RunSource, scored: Scored, facts: dict[str, str]) -> dict[str, Any]:
    details = {
        name: value for name, value in facts.items() if not name.startswith(("data_", "label_", "item", "model_"))
    }
    if source.elsewhere or scored.evidence != "text":
        return {"additional_details": details}
    arguments: dict[str, Any] = {"temperature": 0.0, "reasoning": source.data.spec.prompt.thinking == "on"}
    if (limit := source.token_limit(scored.task)) is not None:
        arguments["max_tokens"] = limit
    return {"generation_args": arguments, "additional_details": details}


# --- items ------------------------------------------------------------------------------------------------


def _rows(source: RunSource, scored: Scored, head: _Head) -> list[dict[str, Any]]:
    return [
        _row(source, scored, head, metric, row, value)
        for metric in scored.metrics
        for row in scored.rows
        if (value := scored.value(metric, row)) is not None
    ]


def _row(source: RunSource, scored: Scored, head: _Head, metric: str, row: ScoredItem, value: float) -> dict[str, Any]:
    item, output, prompt = row.item, row.record.output, row.record.prompt
    assert output is not None
    raw = replace_surrogates("\n".join(f"{name}: {text}" for name, text in item.fields.items()))
    references = [replace_surrogates(text) for text in item.gold] if isinstance(item.gold, tuple) else [str(item.gold)]
    text = scored.evidence == "text"
    read = scored.read(row)
    rule = row.judgement.strict.rule if text else "highest log-likelihood"
    details: dict[str, str] = {"outcome": row.judgement.outcome, "finish": output.finish}
    if not text:
        details["choice_logprobs"] = json.dumps(list(output.choice_logprobs or ()))
    return {
        "schema_version": SCHEMA,
        "evaluation_id": head.id,
        "model_id": head.model,
        "evaluation_name": _evaluation(source, scored),
        "evaluation_result_id": _result_id(source, scored, metric),
        "sample_id": replace_surrogates(item.id),
        "sample_hash": hashlib.sha256((raw + "".join(references)).encode("utf-8")).hexdigest(),
        "interaction_type": "single_turn",
        "input": {
            "raw": raw,
            "formatted": replace_surrogates(prompt.text if text else prompt.ranked_text or prompt.text) or None,
            "reference": references,
            "choices": [replace_surrogates(answer) for answer in prompt.answers] or list(item.choices) or None,
        },
        "output": {"raw": [replace_surrogates(output.text or "")] if text else []},
        "answer_attribution": []
        if read is None
        else [
            {
                "turn_idx": 0,
                "source": "output.raw" if text else "metadata.choice_logprobs",
                "extracted_value": replace_surrogates(str(read)),
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
