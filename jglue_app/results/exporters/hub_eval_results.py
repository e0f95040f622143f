"""The Hub's evaluation results: a YAML file for the folder `.eval_results/` of a model's repository.

Fields as in huggingface/hub-docs, `docs/hub/eval-results.md`, and `huggingface_hub.EvalResultEntry`: `dataset.id`,
`dataset.task_id` and `value` are required, `date` and `notes` are filled in; `verifyToken` is for evaluations that the
Hub itself has run, and `source` needs an address, which a run does not have.

A model card is read as a claim about a public benchmark. So only the whole official validation split goes out, one main
metric for each subset, over all of its items. `dataset.id` must be a data set that the Hub has as a Benchmark, with
`task_id` from its `eval.yaml`. No copy of JGLUE is known to be one: what is written names the copy that most systems
read and its subsets, and whoever exports is told.
"""

from __future__ import annotations

from typing import Any

import yaml

from jglue_app.errors import InputError
from jglue_app.messages import Message
from jglue_app.results.exporters.output_files import replace_surrogates
from jglue_app.results.exporters.run_source import RunSource, Scored, reasons
from jglue_app.tasks import TASKS

DATASET = "shunk031/JGLUE"
LABELS = {"jnli": "v1.1"}
"""Subset → version of the labels that this data set has, where versions differ: it has stayed at JGLUE v1.1."""
FILE = ".eval_results/jglue.yaml"


def files(source: RunSource) -> dict[str, str]:
    """The one file, in its folder."""
    return {FILE: single(source)}


def single(source: RunSource) -> str:
    """The results as YAML.

    Raises:
        InputError: there is nothing that a model card may claim; the sentence says why.
    """
    if source.data.spec.model.backend == "scripted":
        raise InputError(
            "These answers were read from a table, and a model card must not claim them. Export a run that a model has "
            "made."
        )
    told, left = _chosen(source)
    if not told:
        raise InputError(
            "Nothing of this run may be on a model card ({reason}). Export it as lm-eval instead.",
            reason=reasons(left),
        )
    return _yaml([_entry(source, scored) for scored in told])


def notes(source: RunSource) -> list[str]:
    """What to know before the file is published."""
    left = [
        Message("{task} is left out: {reason}.", task=name, reason=why)
        for name, why in _chosen(source)[1].items()
        if name not in source.left_out
    ]
    return [
        *left,
        Message(
            "The Hub shows these values once {dataset} is registered there as a Benchmark with these task ids. No copy "
            "of JGLUE is known to be.",
            dataset=DATASET,
        ),
    ]


def _chosen(source: RunSource) -> tuple[list[Scored], dict[str, str]]:
    """Scores that may be claimed, one for each subset, and subset → why it may not."""
    told: dict[str, Scored] = {}
    left = dict(source.left_out)
    for scored in source.scored:
        if scored.task in told or scored.task in left:
            continue  # A ranking beside the text that decides.
        if why := _refused(source, scored):
            left[scored.task] = why
        else:
            told[scored.task] = scored
    return list(told.values()), left


def _refused(source: RunSource, scored: Scored) -> str:
    """Why a score must not be claimed; empty if it may."""
    task = scored.task
    asked, total = len(source.data.items[task]), source.total(task)
    split = str(source.facts_of_data(task).get("split") or source.data.spec.split)
    if source.data.sources[task] == "sample":
        return Message("its items are samples of this application, not JGLUE")
    if source.data.sources[task] != "official":
        return Message("its items are from a file of one's own, not from JGLUE")
    if split != "valid":
        return Message(
            "it is the {split} split, and {dataset} has no results of any but valid", split=split, dataset=DATASET
        )
    if not total:
        return Message("the number of items of the split is not known")
    if asked < total:
        return Message("{asked:,} of {total:,} items were asked", asked=asked, total=total)
    if failed := source.failed(task):
        return Message("{failed:,} items failed", failed=failed)
    if _main(scored) not in source.protocol.metrics[task][:1]:
        return Message("its main metric is undefined for these answers")
    if (n := scored.metrics[_main(scored)].n) < asked:
        return Message("its score rests on {scored:,} of {asked:,} items", scored=n, asked=asked)
    if source.data.spec.decoding.oracle_length and TASKS[task].kind == "span":
        return Message("its answers were cut at the length of the right ones")
    ours = source.label_version(task)
    if task in LABELS and LABELS[task] != ours:
        return Message(
            "{dataset} has the labels of {theirs}, and these scores rest on those of {ours}",
            dataset=DATASET,
            theirs=LABELS[task],
            ours=ours,
        )
    return ""


def _main(scored: Scored) -> str:
    return next(iter(scored.metrics))


def _entry(source: RunSource, scored: Scored) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dataset": {"id": DATASET, "task_id": TASKS[scored.task].title},
        "value": scored.metrics[_main(scored)].value,
    }
    if made := source.manifest.get("created"):
        found["date"] = made
    return found | {"notes": _notes(source, scored)}


def _notes(source: RunSource, scored: Scored) -> str:
    """Everything that the value depends on, in one line."""
    parts = []
    for name, estimate in scored.metrics.items():
        about = [f"n={estimate.n}"]
        if estimate.low is not None and estimate.high is not None:
            about.append(f"95% interval {estimate.low:.4f} to {estimate.high:.4f}")
        if (error := scored.standard_error(name)) is not None:
            about.append(f"standard error {error:.4f}")
        parts.append(f"{name}={estimate.value:.6g} ({', '.join(about)})")
    parts += [
        f"{name}={value}" for name, value in {"model": source.model_id, **source.facts(scored)}.items() if name != "n"
    ]
    return str(replace_surrogates("; ".join(" ".join(part.split()) for part in parts)))


def _yaml(entries: list[dict[str, Any]]) -> str:
    """YAML with every text in double quotes: `1e3`, `on` and `2026-11-28` are texts to a reader of any version then."""
    tree = yaml.representer.SafeRepresenter(default_flow_style=False, sort_keys=False).represent_data(entries)
    _quote(tree)
    return str(yaml.serialize(tree, Dumper=yaml.SafeDumper, allow_unicode=True, width=100_000))


def _quote(node: Any) -> None:
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
        node.style = '"'
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _quote(part)
    elif isinstance(node, yaml.MappingNode):
        for _, part in node.value:
            _quote(part)
