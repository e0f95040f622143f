"""The payload of a comparison of two stored runs: config, summary scalars, tables. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from jglue_app.errors import InputError
from jglue_app.results.local_paths import last_part
from jglue_app.results.marks import NO_MARKS, Marks
from jglue_app.runs.serialization import dumps
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.types import Agreement, Comparison
from jglue_app.tasks import TASKS
from jglue_app.types import RunData
from jglue_app.wandb_sink.agreement_tables import agreement_item_table, agreement_table
from jglue_app.wandb_sink.payload import (
    COMPARISON,
    FORMAT,
    MAX_NAME,
    Payload,
    Summary,
    artifact_name,
    comparison_id,
    estimate_keys,
    run_id,
    usable_tags,
)
from jglue_app.wandb_sink.tables import comparison_table, statistics_table


def check_common_items(a: RunData, b: RunData) -> None:
    """Check that two runs can be compared.

    Raises:
        InputError: no item has an output in both.
    """
    answered_a, answered_b = ({(r.task, r.item_id) for r in data.records if r.output is not None} for data in (a, b))
    if not answered_a & answered_b:
        raise InputError("The two runs have answered no item in common. Compare runs over the same subsets and data.")


def comparison_payload(
    a: RunData,
    b: RunData,
    protocol: str,
    links: Mapping[str, str],
    marks: tuple[Marks, Marks] = (NO_MARKS, NO_MARKS),
) -> Payload:
    """The payload of a comparison of two runs.

    Args:
        a, b: the runs.
        protocol: under which they are compared.
        links: `a` and `b` → address of the W&B run, if it has one.
        marks: what people have put on the items of each.

    Raises:
        UnknownNameError: no such protocol.
        InputError: the runs have no item in common.
    """
    check_common_items(a, b)
    chosen = judge_run(a, protocol), judge_run(b, protocol)
    official = chosen if protocol == "official" else (judge_run(a, "official"), judge_run(b, "official"))
    comparison = compare_runs(a, b, protocol, chosen)
    items = {f"comparison/{task}": comparison_table(task, chosen, official, marks) for task in TASKS}
    tables = {name: table for name, table in items.items() if table.rows}
    tasks = [name.rsplit("/", 1)[-1] for name in tables]
    tables["comparison/statistics"] = statistics_table(comparison)
    of_agreement = {
        "comparison/agreement": agreement_table(comparison),
        "comparison/agreement_items": agreement_item_table(a, b),
    }
    tables |= {name: table for name, table in of_agreement.items() if table.rows}
    id_ = comparison_id(a.spec.spec_id, b.spec.spec_id)
    sides = {"a": a, "b": b}
    config = {
        "protocol": protocol,
        "data_kind": a.spec.data_kind,
        "tasks": tasks,
        "comparison": id_,
        "members": [run_id(run.spec.spec_id) for run in sides.values()],
        **{
            side: {
                "run_id": run_id(run.spec.spec_id),
                "spec_id": run.spec.spec_id,
                "label": run.spec.label,
                "model": last_part(run.spec.model.id),
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
        tags=usable_tags(["jglue", "comparison", protocol]),
        config=json.loads(dumps(config)),
        summary={"push/format": FORMAT, "push/protocol": protocol, **comparison_keys(comparison)},
        tables=tables,
        uses=tuple(artifact_name(run.spec.spec_id) for run in sides.values()),
    )


def comparison_keys(comparison: Comparison) -> Summary:
    """Scalars of a comparison: both scores, B − A with its interval, p, corrected p, the verdict; flips; agreement."""
    out: dict[str, float | int | str | None] = {}
    for reading, tables in (
        ("", comparison.differences),
        ("lenient/", comparison.lenient),
        ("choose/", comparison.choose),
    ):
        for task, metrics in tables.items():
            for metric, d in metrics.items():
                key = f"comparison/{task}/{reading}{metric}"
                out |= {f"{key}/a": d.a.value, f"{key}/b": d.b.value, f"{key}/p": d.p, f"{key}/p_holm": d.p_holm}
                out |= estimate_keys(f"{key}/difference", d.difference)
                out |= {f"{key}/verdict": d.verdict, f"{key}/needed": d.needed}
    if comparison.average:
        out |= {"comparison/average/a": comparison.average.a.value, "comparison/average/b": comparison.average.b.value}
        out |= {"comparison/average/p": comparison.average.p, "comparison/average/verdict": comparison.average.verdict}
        out |= estimate_keys("comparison/average/difference", comparison.average.difference)
    for task, readings in comparison.flips.items():
        for name, flips in readings.items():
            out |= {f"comparison/{task}/flips/{name}": flips.changed, f"comparison/{task}/flips/{name}/n": flips.n}
    for task, agreement in comparison.agreement.items():
        out |= _agreement_keys(f"comparison/{task}/agreement", agreement)
    return {key: value for key, value in out.items() if value is not None}


def _agreement_keys(key: str, agreement: Agreement) -> dict[str, float | int | str | None]:
    """Of one subset: means with their intervals, the largest difference, and how many texts are identical."""
    out: dict[str, float | int | str | None] = {}
    if of := agreement.logprobs:
        out |= estimate_keys(f"{key}/kl_nats", of.kl) | estimate_keys(f"{key}/total_variation", of.total_variation)
        out |= estimate_keys(f"{key}/bits_per_character/a", of.bits_a)
        out |= estimate_keys(f"{key}/bits_per_character/b", of.bits_b)
        out |= estimate_keys(f"{key}/bits_per_character/difference", of.bits_difference)
        out |= estimate_keys(f"{key}/logprob_difference", of.mean_difference)
        out[f"{key}/logprob_difference/largest"] = of.largest.size
    if texts := agreement.texts:
        out |= {f"{key}/texts": texts.n, f"{key}/texts/identical": texts.identical}
        out |= {f"{key}/texts/first_difference": texts.median, f"{key}/texts/first_difference/least": texts.earliest}
    return out
