"""The payload of a stored run: config, summary scalars, tables. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jglue_app.errors import InputError
from jglue_app.results.local_paths import shareable_values
from jglue_app.results.marks import NO_MARKS, Marks
from jglue_app.results.run_name import UNNAMED, RunName
from jglue_app.runs.serialization import dumps
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.payment import paid_for
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.scoring.report import main_metric, report_run
from jglue_app.scoring.scoreboard import OUTCOMES
from jglue_app.scoring.types import Report
from jglue_app.tasks import TASKS
from jglue_app.types import EMBEDDING_SOURCES, RunData
from jglue_app.wandb_sink.membership import membership_of_group
from jglue_app.wandb_sink.payload import (
    CHOSEN,
    EVALUATION,
    FORMAT,
    MAX_NAME,
    PROTOCOLS_KEY,
    Payload,
    Summary,
    artifact_name,
    estimate_keys,
    run_id,
    usable_tags,
)
from jglue_app.wandb_sink.tables import notice_table, outcome_table, prediction_table


def run_payload(
    data: RunData,
    manifest: Mapping[str, Any],
    protocol: str,
    group: str | None = None,
    marks: Marks = NO_MARKS,
    called: RunName = UNNAMED,
) -> Payload:
    """The payload of one run.

    Args:
        data: the run.
        manifest: its manifest.
        protocol: whose scores are under `jglue/`.
        group: the W&B group, if any.
        marks: what people have put on its items.
        called: the name and description that somebody gave the run.

    Raises:
        UnknownNameError: no such protocol.
        InputError: the run has no output, or the protocol scores none of it.
    """
    get_protocol(protocol)
    judged = {name: judge_run(data, name) for name in PROTOCOLS}
    reports = {name: report_run(data, name, items) for name, items in judged.items()}
    n_answered = sum(record.output is not None for record in data.records)
    _check(reports[protocol], n_answered)
    spec = data.spec
    n_planned = sum(len(items) for items in data.items.values())
    summary: Summary = {"push/format": FORMAT, "push/protocol": protocol}
    summary |= {"push/items": n_answered, "push/planned": n_planned, "push/finished": n_answered >= n_planned}
    for name, report in reports.items():
        summary |= score_keys(report, f"{PROTOCOLS_KEY}/{name}")
    summary |= score_keys(reports[protocol], CHOSEN)
    summary |= _outcome_keys(reports["official"]) | _speed_keys(data) | _cost_keys(data)
    summary |= _precision_keys(reports["official"])
    tables = {f"predictions/{task}": prediction_table(judged, task, protocol, marks) for task in judged["official"]}
    tables["failure_picture"] = outcome_table(reports["official"])
    tables["notices"] = notice_table(reports)
    written = [] if spec.embeds else [spec.prompt.format, spec.prompt.style.rsplit("/", 1)[-1]]
    tags = ["jglue", protocol, *(written or ["embeddings"]), spec.data_kind]
    if group:
        tags.append(group)
    return Payload(
        id=run_id(spec.spec_id),
        name=(called.name or spec.label)[:MAX_NAME],
        job_type=EVALUATION,
        group=group,
        tags=usable_tags(
            [*tags, spec.model.quantization, _quantized(data), *([] if n_answered >= n_planned else ["unfinished"])]
        ),
        config=_config(data, manifest, protocol) | {"run_name": called.name, "description": called.description},
        summary=summary,
        tables={name: table for name, table in tables.items() if table.rows},
        artifact=artifact_name(spec.spec_id),
        metadata=_metadata(data, manifest, n_answered, n_planned),
        joins=membership_of_group(group),
    )


def _check(report: Report, n_answered: int) -> None:
    if not n_answered:
        raise InputError(
            "The run {run} has no answer yet. Finish it first: `run` with the same options.", run=report.spec_id
        )
    # A run of which every output is unreadable does have a score.
    if all(task.unscored for name, task in report.tasks.items() if name in TASKS):
        if "cosines" in {task.unscored for task in report.tasks.values()}:
            raise InputError(
                "The protocol {protocol} finds nothing to score in this run, which has cosines of embeddings. Push it "
                "under official.",
                protocol=report.protocol,
            )
        if "no_logprobs" in {task.unscored for task in report.tasks.values()}:
            raise InputError(
                "The protocol {protocol} finds nothing to score in this run: it needs log-likelihoods. Push it under "
                "another protocol, such as {other}, or run it again with “Method: Both” (--method both).",
                protocol=report.protocol,
                other="official",
            )
        raise InputError(
            "The protocol {protocol} finds nothing to score in this run: it needs generated text. Push it under "
            "another protocol, such as {other}, or run it again with “Method: Both” (--method both).",
            protocol=report.protocol,
            other="stability-jp",
        )


def score_keys(report: Report, prefix: str) -> Summary:
    """Scalars of a report: every metric with its interval, number of items, floors and unreadable outputs."""
    out: dict[str, float | int | str | None] = {}
    for name, task in report.tasks.items():
        if task.unscored == "not_covered":
            continue
        key = f"{prefix}/{name}"
        metrics = get_protocol(report.protocol).metrics[name]
        # The main metric is always named, with n = 0 where it has no value: the subset was run.
        out |= estimate_keys(f"{key}/{metrics[0]}", main_metric(task, report.protocol))
        for metric, estimate in (task.metrics or task.choose).items():
            out |= estimate_keys(f"{key}/{metric}", estimate)
        for metric in metrics:
            out[f"{key}/{metric}/unreadable"] = task.unreadable if task.metrics else 0
            out[f"{key}/{metric}/floor"] = task.floors.get(metric)
            out[f"{key}/{metric}/default_floor"] = task.default_floors.get(metric)
        readings = {"lenient": task.lenient, "choose": task.choose, "imputed": task.imputed}
        for reading, estimates in readings.items():
            for metric, estimate in estimates.items():
                out |= estimate_keys(f"{key}/{reading}/{metric}", estimate)
        out[f"{key}/decided_by"] = _decided_by(report, name)
        out[f"{key}/source"] = task.source
        out[f"{key}/knows_but_cannot_format"] = task.knows
    out |= estimate_keys(f"{prefix}/average", report.average)
    out[f"{prefix}/average_of"] = ",".join(report.average_of)
    return {key: value for key, value in out.items() if value is not None}


def _decided_by(report: Report, task: str) -> str:
    if report.tasks[task].outcomes.get("cosine"):
        return "cosine"
    ranked = task in get_protocol(report.protocol).ranked
    return "text" if report.tasks[task].metrics and not ranked else "log-likelihood"


def _outcome_keys(report: Report) -> Summary:
    return {
        f"outcomes/{name}/{outcome}": task.outcomes.get(outcome, 0)
        for name, task in report.tasks.items()
        for outcome in OUTCOMES
        if task.outcomes and (outcome != "cosine" or outcome in task.outcomes)
    }


def _speed_keys(data: RunData) -> Summary:
    out: Summary = {}
    for name in data.items:
        outputs = [r.output for r in data.records if r.task == name and r.output is not None]
        seconds = sum(output.seconds for output in outputs)
        if seconds:
            out[f"speed/{name}/items_per_s"] = len(outputs) / seconds
            out[f"speed/{name}/new_tokens_per_s"] = sum(output.new_tokens for output in outputs) / seconds
            out[f"speed/{name}/seconds"] = seconds
    if data.model is not None:
        out["speed/weights_mib"] = data.model.memory_bytes / 2**20
    return out


def _cost_keys(data: RunData) -> Summary:
    """What a paid model's answers cost; nothing where nothing is paid."""
    paid = paid_for(data)
    if paid is None:
        return {}
    values = asdict(paid)
    values["beside_answers"] = values.pop("beside")
    return {f"cost/{name}": value for name, value in values.items()}


def _precision_keys(report: Report) -> Summary:
    """How far a run in less than float32 is from float32; nothing where that was not measured."""
    if report.precision is None:
        return {}
    return {f"precision/{name}": value for name, value in asdict(report.precision).items() if value is not None}


def _quantized(data: RunData) -> str:
    """The quantization of the weight files; empty if they are not quantized."""
    return data.model.quantized if data.model else ""


def _config(data: RunData, manifest: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    spec = data.spec
    penalties = {task: spec.decoding.for_task(task).repetition_penalty for task in spec.tasks}
    uniform = len(set(penalties.values())) == 1
    settings = {
        "model": spec.model.id,
        "files_sha256": spec.model.files_sha256,
        "format": spec.prompt.format,
        "style": spec.prompt.style,
        "shots": spec.prompt.shots,
        "thinking": spec.prompt.thinking,
        "max_thinking_tokens": spec.decoding.max_thinking_tokens,
        "repetition_penalty": next(iter(penalties.values())) if uniform else None,
        **({} if uniform else {"repetition_penalty_by_task": penalties}),
        "method": spec.decoding.method,
        **({"source": EMBEDDING_SOURCES.get(spec.model.backend), "prefix": spec.prompt.prefix} if spec.embeds else {}),
        "quantization": spec.model.quantization,
        "dtype": data.model.dtype if data.model else spec.model.dtype,
        **({"quantized": _quantized(data)} if _quantized(data) else {}),
        **({"adapter": spec.model.adapter} if spec.model.adapter else {}),
        "data_kind": spec.data_kind,
        "split": spec.split,
        "tasks": list(spec.tasks),
    }
    manifest_facts = {
        name: manifest.get(name) for name in ("spec_id", "spec", "label", "created", "data", "model", "machine")
    }
    config: dict[str, Any] = json.loads(dumps({**settings, "protocol": protocol, "jglue": manifest_facts}))
    shared: dict[str, Any] = shareable_values(config)
    return shared


def _metadata(data: RunData, manifest: Mapping[str, Any], n_answered: int, n_planned: int) -> dict[str, Any]:
    """Metadata of the artifact, readable without downloading it, with checksums of data and prompts."""
    prompts = hashlib.sha256()
    for record in sorted(data.records, key=lambda r: (r.task, r.item_id)):
        prompts.update(f"{record.task} {record.item_id} {record.prompt.sha256}\n".encode())
    return {
        "spec_id": data.spec.spec_id,
        "label": data.spec.label,
        "code_version": data.spec.code_version,
        "created": str(manifest.get("created", "")),
        "items": n_answered,
        "planned": n_planned,
        "data_sha256": dict(data.spec.data_sha256),
        "style_sha256": data.spec.style_sha256,
        "prompts_sha256": prompts.hexdigest(),
        "protocols_sha256": protocol_hashes(),
    }


def protocol_hashes() -> dict[str, str]:
    """Protocol → checksum of its definition: name, metrics, defaults, and every decision of every subset."""
    return {name: hashlib.sha256(_protocol_text(name).encode()).hexdigest() for name in PROTOCOLS}


def _protocol_text(name: str) -> str:
    protocol = get_protocol(name)
    rules = {task: asdict(task_rules) for task, task_rules in sorted(protocol.rules.items())}
    return dumps(
        [
            name,
            protocol.metrics,
            sorted(protocol.ranked),
            protocol.defaults,
            protocol.first_reference_only,
            protocol.lenient,
            rules,
        ]
    )
