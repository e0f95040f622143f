"""What W&B is sent of a stored run and of a comparison: ids, config, summary scalars, tables. Pure.

A run's summary has the scores of every protocol, each with what it needs to be ranked elsewhere:

    jglue/<subset>/<metric>                   the protocol that was chosen; …/low, …/high, …/n, …/unreadable,
                                              …/floor, …/default_floor beside it
    jglue/<subset>/lenient/<metric>           the lenient reading, choose/<metric> the ranking by log-likelihood
    jglue/average                             with …/low, …/high, …/n
    protocols/<name>/…                        the same of every protocol, the chosen one too: one key for all runs
    outcomes/<subset>/<outcome>               the failure picture
    speed/<subset>/items_per_s                from the seconds that each item took

Names of keys are part of the format: `leaderboard.py` reads them back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from jglue_app.errors import InputError
from jglue_app.runs.store import dumps
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.scoring.report import main_metric, report_run
from jglue_app.scoring.scoreboard import OUTCOMES
from jglue_app.scoring.types import Comparison, Estimate, Report
from jglue_app.tasks import TASKS
from jglue_app.types import RunData
from jglue_app.wandb_sink.tables import Table, joined_table, notice_table, outcome_table, predictions, statistics_table

FORMAT = 1
"""Version of the names below; readers refuse a newer one."""
CHOSEN, PROTOCOLS_KEY = "jglue", "protocols"
MANAGED_KEYS = (f"{CHOSEN}/", f"{PROTOCOLS_KEY}/", "outcomes/", "speed/", "predictions/", "comparison/", "push/")
"""Beginnings of the summary keys that a push owns: what a new one does not have any more is taken away."""
MANAGED_TABLES = ("failure_picture", "notices")
"""Summary keys that a push owns too."""
MAX_NAME = 128
"""Characters that W&B takes of a run's name."""
EVALUATION, COMPARISON = "evaluation", "comparison"
"""W&B job types."""
RUN_ARTIFACT = "jglue-run"
"""W&B type of the artifact that holds a run folder."""

Summary = dict[str, str | float | int | bool]


@dataclass(frozen=True)
class Payload:
    """All of one W&B run but its files."""

    id: str
    """The W&B run's id: the same work has the same id, so that it is updated and never doubled."""
    name: str
    job_type: str
    group: str | None
    tags: tuple[str, ...]
    config: dict[str, Any]
    summary: Summary
    tables: dict[str, Table] = field(default_factory=dict)
    """Summary key → table."""
    artifact: str = ""
    """Name of the artifact that holds the run folder; empty for none."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Of the artifact."""
    uses: tuple[str, ...] = ()
    """Names of artifacts that this W&B run was made from."""

    @cached_property
    def digest(self) -> str:
        """Checksum of all that is sent."""
        found = hashlib.sha256(
            dumps([self.id, self.name, self.config, self.summary, self.artifact, self.metadata]).encode()
        )
        for key, table in self.tables.items():
            found.update(dumps([key, table.columns]).encode())
            for row in table.rows:
                found.update(dumps(row).encode())
        return found.hexdigest()


# --- names ----------------------------------------------------------------------------------------------


def run_id(spec_id: str) -> str:
    """Id of the W&B run of an evaluated model."""
    return f"jglue-{spec_id}"


def comparison_id(a: str, b: str) -> str:
    """Id of the W&B run that compares two runs, given by their spec ids; also the group of all three."""
    return f"jglue-vs-{hashlib.sha256(f'{a} {b}'.encode()).hexdigest()[:16]}"


def artifact_name(spec_id: str) -> str:
    """Name of the artifact with a run's folder: model names hold characters that an artifact's name must not."""
    return f"jglue-run-{spec_id}"


# --- one run --------------------------------------------------------------------------------------------


def run_payload(data: RunData, manifest: Mapping[str, Any], protocol: str, group: str | None = None) -> Payload:
    """What is sent of one run.

    Args:
        data: the run.
        manifest: its manifest.
        protocol: whose scores stand under `jglue/`.
        group: the W&B group, if any.

    Raises:
        UnknownNameError: no such protocol.
        InputError: the run has no answer, or nothing that the protocol scores.
    """
    get_protocol(protocol)
    judged = {name: judge_run(data, name) for name in PROTOCOLS}
    reports = {name: report_run(data, name, found) for name, found in judged.items()}
    done = sum(record.output is not None for record in data.records)
    _check(reports[protocol], done)
    spec = data.spec
    planned = sum(len(items) for items in data.items.values())
    summary: Summary = {"push/format": FORMAT, "push/protocol": protocol}
    summary |= {"push/items": done, "push/planned": planned, "push/finished": done >= planned}
    for name, report in reports.items():
        summary |= score_keys(report, f"{PROTOCOLS_KEY}/{name}")
    summary |= score_keys(reports[protocol], CHOSEN)
    summary |= _outcome_keys(reports["official"]) | _speed_keys(data)
    tables = {f"predictions/{task}": predictions(data, task, judged, protocol) for task in judged["official"]}
    tables["failure_picture"] = outcome_table(reports["official"])
    tables["notices"] = notice_table(reports)
    tags = ["jglue", protocol, spec.prompt.format, spec.prompt.style.rsplit("/", 1)[-1], spec.data_kind]
    if group:
        tags.append(group)  # A W&B run is in one group, and may be in several comparisons.
    return Payload(
        id=run_id(spec.spec_id),
        name=spec.label[:MAX_NAME],
        job_type=EVALUATION,
        group=group,
        tags=_tags([*tags, spec.model.quantization, _quantized(data), *([] if done >= planned else ["unfinished"])]),
        config=_config(data, manifest, protocol),
        summary=summary,
        tables={name: table for name, table in tables.items() if table.rows},
        artifact=artifact_name(spec.spec_id),
        metadata=_metadata(data, manifest, done, planned),
    )


def _check(report: Report, done: int) -> None:
    if not done:
        raise InputError(
            "The run {spec_id} has no answer yet. Finish it first: `run` with the same options.", spec_id=report.spec_id
        )
    # A run whose every output is unreadable has a score to be told of: none, and why.
    if all(task.unscored for name, task in report.tasks.items() if name in TASKS):
        ranks = "no_logprobs" in {task.unscored for task in report.tasks.values()}
        need, other = ("log-likelihoods", "official") if ranks else ("generated text", "stability-jp")
        raise InputError(
            "The protocol {protocol} finds nothing to score in this run: it needs {need}. Push it "
            "under another protocol, such as {other}, or run it again with --method both.",
            protocol=report.protocol,
            need=need,
            other=other,
        )


def score_keys(report: Report, prefix: str) -> Summary:
    """Scalars of a report: every metric with its interval, number of items, floors and unreadable outputs."""
    out: dict[str, float | int | str | None] = {}
    for name, task in report.tasks.items():
        if task.unscored == "not_covered":
            continue
        at = f"{prefix}/{name}"
        metrics = get_protocol(report.protocol).metrics[name]
        # The main metric is always named, with n = 0 where there is no value, so that a reader knows it was asked.
        out |= _estimate(f"{at}/{metrics[0]}", main_metric(task, report.protocol))
        for metric, found in (task.metrics or task.choose).items():
            out |= _estimate(f"{at}/{metric}", found)
        for metric in metrics:
            out[f"{at}/{metric}/unreadable"] = task.unreadable if task.metrics else 0
            out[f"{at}/{metric}/floor"] = task.floors.get(metric)
            out[f"{at}/{metric}/default_floor"] = task.default_floors.get(metric)
        for reading, of in (("lenient", task.lenient), ("choose", task.choose), ("imputed", task.imputed)):
            for metric, found in of.items():
                out |= _estimate(f"{at}/{reading}/{metric}", found)
        out[f"{at}/decided_by"] = "text" if task.metrics and not _ranked(report, name) else "log-likelihood"
        out[f"{at}/source"] = task.source
        out[f"{at}/knows_but_cannot_format"] = task.knows
    out |= _estimate(f"{prefix}/average", report.average)
    out[f"{prefix}/average_of"] = ",".join(report.average_of)
    return {key: value for key, value in out.items() if value is not None}


def _ranked(report: Report, task: str) -> bool:
    return task in get_protocol(report.protocol).ranked


def _estimate(key: str, found: Estimate) -> dict[str, float | int | str | None]:
    return {key: found.value, f"{key}/low": found.low, f"{key}/high": found.high, f"{key}/n": found.n}


def _outcome_keys(report: Report) -> Summary:
    return {
        f"outcomes/{name}/{outcome}": task.outcomes.get(outcome, 0)
        for name, task in report.tasks.items()
        for outcome in OUTCOMES
        if task.outcomes
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


def _quantized(data: RunData) -> str:
    """How the weights were quantized in the files already; empty if they were not."""
    return data.model.quantized if data.model else ""


def _tags(found: Sequence[str]) -> tuple[str, ...]:
    """W&B takes tags of 1 to 64 characters."""
    return tuple(dict.fromkeys(tag[:64] for tag in found if tag and tag != "none"))


def _config(data: RunData, manifest: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    spec = data.spec
    penalties = {task: spec.decoding.for_task(task).repetition_penalty for task in spec.tasks}
    same = len(set(penalties.values())) == 1
    flat = {
        "model": spec.model.id,
        "files_sha256": spec.model.files_sha256,
        "format": spec.prompt.format,
        "style": spec.prompt.style,
        "shots": spec.prompt.shots,
        "thinking": spec.prompt.thinking,
        "max_thinking_tokens": spec.decoding.max_thinking_tokens,
        "repetition_penalty": next(iter(penalties.values())) if same else None,
        **({} if same else {"repetition_penalty_by_task": penalties}),
        "method": spec.decoding.method,
        "quantization": spec.model.quantization,
        "dtype": data.model.dtype if data.model else spec.model.dtype,
        **({"quantized": _quantized(data)} if _quantized(data) else {}),
        "data_kind": spec.data_kind,
        "split": spec.split,
        "tasks": list(spec.tasks),
    }
    kept = {name: manifest.get(name) for name in ("spec_id", "spec", "label", "created", "data", "model", "machine")}
    found: dict[str, Any] = json.loads(dumps({**flat, "protocol": protocol, "jglue": kept}))
    return found


def _metadata(data: RunData, manifest: Mapping[str, Any], done: int, planned: int) -> dict[str, Any]:
    """Of the artifact: what a colleague has to know before it is fetched, with checksums of data and prompts."""
    prompts = hashlib.sha256()
    for record in sorted(data.records, key=lambda r: (r.task, r.item_id)):
        prompts.update(f"{record.task} {record.item_id} {record.prompt.sha256}\n".encode())
    return {
        "spec_id": data.spec.spec_id,
        "label": data.spec.label,
        "code_version": data.spec.code_version,
        "created": str(manifest.get("created", "")),
        "items": done,
        "planned": planned,
        "data_sha256": dict(data.spec.data_sha256),
        "style_sha256": data.spec.style_sha256,
        "prompts_sha256": prompts.hexdigest(),
        "protocols_sha256": protocol_hashes(),
    }


def protocol_hashes() -> dict[str, str]:
    """Protocol → checksum of what it decides by: its name, metrics and defaults, and every decision of every subset."""
    return {name: hashlib.sha256(_described(name).encode()).hexdigest() for name in PROTOCOLS}


def _described(name: str) -> str:
    how = get_protocol(name)
    rules = {task: asdict(of) for task, of in sorted(how.rules.items())}
    return dumps([name, how.metrics, sorted(how.ranked), how.defaults, how.first_reference_only, how.lenient, rules])


# --- two runs -------------------------------------------------------------------------------------------


def check_common_items(a: RunData, b: RunData) -> None:
    """Whether two runs can be put side by side.

    Raises:
        InputError: they have answered no item in common.
    """
    left, right = ({(r.task, r.item_id) for r in data.records if r.output is not None} for data in (a, b))
    if not left & right:
        raise InputError("The two runs have answered no item in common. Compare runs over the same subsets and data.")


def comparison_payload(a: RunData, b: RunData, protocol: str, links: Mapping[str, str]) -> Payload:
    """What is sent of two runs side by side.

    Args:
        a, b: the runs.
        protocol: under which they are compared.
        links: `a` and `b` → address of the W&B run, where there is one.

    Raises:
        UnknownNameError: no such protocol.
        InputError: the runs have no item in common.
    """
    check_common_items(a, b)
    found = compare_runs(a, b, protocol)
    left, right = judge_run(a, protocol), judge_run(b, protocol)
    official = judge_run(a, "official"), judge_run(b, "official")
    tables = {}
    for task in TASKS:
        joined = joined_table(task, (left, right), official)
        if joined.rows:
            tables[f"comparison/{task}"] = joined
    tables["comparison/statistics"] = statistics_table(found)
    id_ = comparison_id(a.spec.spec_id, b.spec.spec_id)
    sides = {"a": a, "b": b}
    config = {
        "protocol": protocol,
        "data_kind": a.spec.data_kind,
        "tasks": [name.rsplit("/", 1)[-1] for name in tables if not name.endswith("/statistics")],
        "comparison": id_,
        **{
            side: {
                "run_id": run_id(run.spec.spec_id),
                "spec_id": run.spec.spec_id,
                "label": run.spec.label,
                "model": run.spec.model.id,
                "url": links.get(side, ""),
            }
            for side, run in sides.items()
        },
    }
    return Payload(
        id=id_,
        name=" | ".join(
            f"{side} {run.spec.label[: MAX_NAME // 2 - 4]}" for side, run in zip("AB", (a, b), strict=True)
        ),
        job_type=COMPARISON,
        group=id_,
        tags=_tags(["jglue", "comparison", protocol]),
        config=json.loads(dumps(config)),
        summary={"push/format": FORMAT, "push/protocol": protocol, **comparison_keys(found)},
        tables=tables,
        uses=tuple(artifact_name(run.spec.spec_id) for run in sides.values()),
    )


def comparison_keys(found: Comparison) -> Summary:
    """Scalars of a comparison: both scores, B − A with its interval, p, corrected p, the verdict."""
    out: dict[str, float | int | str | None] = {}
    for reading, tables in (("", found.differences), ("lenient/", found.lenient), ("choose/", found.choose)):
        for task, metrics in tables.items():
            for metric, d in metrics.items():
                at = f"comparison/{task}/{reading}{metric}"
                out |= {f"{at}/a": d.a.value, f"{at}/b": d.b.value, f"{at}/p": d.p, f"{at}/p_holm": d.p_holm}
                out |= _estimate(f"{at}/difference", d.difference)
                out |= {f"{at}/verdict": d.verdict, f"{at}/needed": d.needed}
    if found.average:
        out |= {"comparison/average/a": found.average.a.value, "comparison/average/b": found.average.b.value}
        out |= {"comparison/average/p": found.average.p, "comparison/average/verdict": found.average.verdict}
        out |= _estimate("comparison/average/difference", found.average.difference)
    for task, readings in found.flips.items():
        for name, flips in readings.items():
            out |= {f"comparison/{task}/flips/{name}": flips.changed, f"comparison/{task}/flips/{name}/n": flips.n}
    return {key: value for key, value in out.items() if value is not None}
