"""The Hub's evaluation results: a YAML file for the folder `.eval_results/` of a model's repository.

Fields as in huggingface/hub-docs, `docs/hub/eval-results.md`, and `huggingface_hub.EvalResultEntry`: `dataset.id`,
`dataset.task_id` and `value` are required, `date` and `notes` are optional; `verifyToken` is for evaluations that the
Hub itself has run, and `source` needs a URL, which a run does not have.

A model card is read as a claim about a public benchmark. So only the whole official validation split goes out, one main
metric for each subset, over all of its items. `dataset.id` must be a data set that the Hub has as a Benchmark, with
`task_id` from its `eval.yaml`. No copy of JGLUE is known to be one: what is written names the copy that most systems
read and its subsets, and a note says so.
"""

from __future__ import annotations

from typing import Any

import yaml

from jglue_app.errors import InputError
from jglue_app.messages import Message, mark
from jglue_app.results.exporters.output_files import replace_surrogates
from jglue_app.results.exporters.run_source import RunSource, SubsetScores, reasons
from jglue_app.tasks import TASKS

DATASET = "shunk031/JGLUE"
LABELS = {"jnli": "v1.1"}
"""Subset → version of the labels in this data set, where versions differ: it is still at JGLUE v1.1."""
FILE = ".eval_results/jglue.yaml"


def files(source: RunSource) -> dict[str, str]:
    """The one file, in its folder."""
    return {FILE: single(source)}


def single(source: RunSource) -> str:
    """The results as YAML.

    Raises:
        InputError: there is nothing that a model card may claim; the message says why.
    """
    if source.data.spec.model.backend == "scripted":
        raise InputError(
            "These answers were read from a table, and a model card must not claim them. Export a run that a model has "
            "made."
        )
    if source.data.spec.model.adapter:
        raise InputError(
            "These answers are those of a model with an adapter, and the model's card must not claim them. Export the "
            "run as lm-eval instead."
        )
    publishable, left_out = _publishable(source)
    if not publishable:
        raise InputError(
            "Nothing of this run may be on a model card ({reason}). Export it as lm-eval instead.",
            reason=reasons(left_out),
        )
    return _yaml([_entry(source, scores) for scores in publishable])


def notes(source: RunSource) -> list[str]:
    """Messages to read before the file is published."""
    left_out_notes = [
        Message("{task} is left out: {reason}.", task=name, reason=reason)
        for name, reason in _publishable(source)[1].items()
        if name not in source.left_out
    ]
    return [
        *left_out_notes,
        Message(
            "The Hub shows these values once {dataset} is registered there as a Benchmark with these task ids. No copy "
            "of JGLUE is known to be.",
            dataset=DATASET,
        ),
    ]


def _publishable(source: RunSource) -> tuple[list[SubsetScores], dict[str, str]]:
    """The scores that may be published, one for each subset, and (subset → why not) for the others."""
    publishable: dict[str, SubsetScores] = {}
    left_out = dict(source.left_out)
    for scores in source.scores:
        if scores.task in publishable or scores.task in left_out:
            continue  # A ranking in addition to the text that decides.
        if reason := _refusal_reason(source, scores):
            left_out[scores.task] = reason
        else:
            publishable[scores.task] = scores
    return list(publishable.values()), left_out


def _refusal_reason(source: RunSource, scores: SubsetScores) -> str:
    """Why a score must not be published; empty if it may be."""
    task = scores.task
    n_items, total = len(source.data.items[task]), source.total(task)
    split = str(source.data_facts(task).get("split") or source.data.spec.split)
    if scores.evidence == "cosine":
        return Message("it is of cosines of embeddings, not of what the model answers")
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
    if n_items < total:
        return Message("{asked:,} of {total:,} items were asked", asked=n_items, total=total)
    if failed := source.failed(task):
        failures = mark("{failed:,} items failed")
        return Message.worded("1 item failed" if failed == 1 else failures, failures, {"failed": failed})
    if _main(scores) not in source.protocol.metrics[task][:1]:
        return Message("its main metric is undefined for these answers")
    if (n := scores.metrics[_main(scores)].n) < n_items:
        return Message("its score rests on {scored:,} of {asked:,} items", scored=n, asked=n_items)
    if source.data.spec.decoding.oracle_length and TASKS[task].kind == "span":
        return Message("its answers were cut at the length of the right ones")
    label_version = source.label_version(task)
    if task in LABELS and LABELS[task] != label_version:
        return Message(
            "{dataset} has the labels of {theirs}, and these scores rest on those of {ours}",
            dataset=DATASET,
            theirs=LABELS[task],
            ours=label_version,
        )
    return ""


def _main(scores: SubsetScores) -> str:
    return next(iter(scores.metrics))


def _entry(source: RunSource, scores: SubsetScores) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "dataset": {"id": DATASET, "task_id": TASKS[scores.task].title},
        "value": scores.metrics[_main(scores)].value,
    }
    if created := source.manifest.get("created"):
        entry["date"] = created
    return entry | {"notes": _notes(source, scores)}


def _notes(source: RunSource, scores: SubsetScores) -> str:
    """Everything that the value depends on, on one line."""
    parts = []
    for name, estimate in scores.metrics.items():
        details = [f"n={estimate.n}"]
        if estimate.low is not None and estimate.high is not None:
            details.append(f"95% interval {estimate.low:.4f} to {estimate.high:.4f}")
        if (error := scores.standard_error(name)) is not None:
            details.append(f"standard error {error:.4f}")
        parts.append(f"{name}={estimate.value:.6g} ({', '.join(details)})")
    parts += [
        f"{name}={value}" for name, value in {"model": source.model_id, **source.facts(scores)}.items() if name != "n"
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
