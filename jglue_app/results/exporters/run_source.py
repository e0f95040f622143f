"""A stored run under one protocol, as every format of another project is written from it."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jglue_app.errors import InputError, StyleError, UnknownNameError
from jglue_app.messages import Joined, Message
from jglue_app.prompts.styles import load_style
from jglue_app.results.library import Library
from jglue_app.runs.store import RunStore
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.common import is_right
from jglue_app.scoring.types import Estimate, Report, ScoringProtocol
from jglue_app.tasks import TASKS
from jglue_app.types import ELSEWHERE, IMPORTED, RunData
from jglue_app.version import __version__

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ANSWERS = re.compile(r"\.(jsonl?|csv|tsv|parquet|arrow|zip)$", re.IGNORECASE)
COMMIT = re.compile(r"[0-9a-f]{40}")
HOMES = {"jcola": "osekilab/JCoLA"}
"""Subset → its repository on GitHub, where that is not `HOME`."""
HOME = "yahoojapan/JGLUE"
NOT_SCORED = ("unscored", "error", "overflow")
"""Outcomes of items that no metric rests on."""
UNSCORED_REASONS = {
    "not_covered": Message("the protocol has no such subset"),
    "no_logprobs": Message("it ranks by log-likelihood, and there are none"),
    "no_text": Message("it reads generated text, and there is none"),
    "no_answers": Message("nothing was answered"),
}
"""`TaskReport.unscored` → why the subset has no score."""
UNDEFINED = Message("the metric is undefined for these answers")


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one subset by one way of deciding."""

    task: str
    evidence: str
    """`text` or `log_likelihood`."""
    metrics: Mapping[str, Estimate]
    """Those that have a value; the first is the main one if that has."""
    rows: tuple[ScoredItem, ...]
    """The items they rest on."""
    beside: bool = False
    """Whether these are log-likelihoods taken beside the text that the protocol reads."""

    def value(self, metric: str, row: ScoredItem) -> float | None:
        """What a metric is the mean of, for one item; None where it is no mean over items, as a correlation."""
        if self.beside:
            return float(is_right(row.item, row.judgement.choice)) if metric == "accuracy" else None
        return row.judgement.scores.get(metric)

    def read(self, row: ScoredItem) -> str | float | None:
        """The answer of an item as it is scored; None where there is none."""
        return row.judgement.choice if self.beside else row.judgement.strict.value

    def standard_error(self, metric: str) -> float | None:
        """Sample standard deviation over the square root of n; None for less than two items, or no mean over items."""
        values = [self.value(metric, row) for row in self.rows]
        known = [value for value in values if value is not None]
        if len(known) < 2 or len(known) < len(values):
            return None
        return statistics.stdev(known) / math.sqrt(len(known))


@dataclass(frozen=True, slots=True)
class RunSource:
    """Everything that a format may tell of a run."""

    data: RunData
    manifest: Mapping[str, Any]
    protocol: ScoringProtocol
    report: Report
    scored: tuple[Scored, ...]
    left_out: Mapping[str, str]
    """Subset → why it has no score."""

    @property
    def model_id(self) -> str:
        """Hub id; of a model from elsewhere the name of its file or folder alone, never a path of this machine.

        Files of answers lose their ending: folders are named after models, and readers look for files by it.
        """
        if self.on_hub:
            return self.data.spec.model.id
        name = re.split(r"[/\\]", self.data.spec.model.id.rstrip("/\\"))[-1]
        return (name if self.made_here else ANSWERS.sub("", name)) or "unnamed"

    @property
    def on_hub(self) -> bool:
        """Whether the model's id is one of the Hub, by its shape and by the commit that was loaded; of outputs made
        elsewhere the shape has to do."""
        spec = self.data.spec.model
        if not HUB_ID.fullmatch(spec.id):
            return False
        if self.elsewhere:
            return True
        return self.data.model is not None and bool(COMMIT.fullmatch(self.data.model.commit))

    @property
    def elsewhere(self) -> bool:
        """Whether the outputs were made elsewhere, be they predictions or another harness's log: then it is not known
        how they were decoded."""
        return self.data.spec.model.backend in ELSEWHERE

    @property
    def made_here(self) -> bool:
        """Whether a model has answered here: not a table of answers, nor outputs made elsewhere."""
        return self.data.spec.model.backend != "scripted" and not self.elsewhere

    def facts_of_data(self, task: str) -> Mapping[str, Any]:
        """What the manifest says of a subset's file; empty if nothing."""
        found = (self.manifest.get("data") or {}).get(task)
        return found if isinstance(found, Mapping) else {}

    def total(self, task: str) -> int | None:
        """Items of the whole split; None if that is not known."""
        found = self.facts_of_data(task).get("items")
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def failed(self, task: str) -> int:
        """Items of a subset that have an error instead of an output."""
        return sum(record.task == task and record.output is None for record in self.data.records)

    def label_version(self, task: str) -> str:
        """The JGLUE version of the labels that a subset was scored against; empty for data that is not JGLUE's."""
        if self.data.sources[task] != "official":
            return ""
        labels = self.protocol.rules[task].labels
        return labels if labels != "file" else str(self.facts_of_data(task).get("version") or "")

    def home(self, task: str) -> str:
        """The repository on GitHub that a subset's items are from; empty for data that is not JGLUE's."""
        return HOMES.get(task, HOME) if self.data.sources[task] == "official" else ""

    def token_limit(self, task: str) -> int | None:
        """Most new tokens of an answer; None where it is not known, as of a wording style that has changed since."""
        spec = self.data.spec
        if spec.decoding.max_new_tokens is not None or spec.decoding.method == "choose":
            return spec.decoding.max_new_tokens
        try:
            style = load_style(spec.prompt.style, allow_paths=False)
            return style.of(task).max_new_tokens if style.sha256 == spec.style_sha256 else None
        except (StyleError, UnknownNameError):
            return None

    def facts(self, scored: Scored) -> dict[str, str]:
        """What these scores depend on, as texts: protocol, data, prompt, decoding, model, version."""
        spec, task = self.data.spec, scored.task
        data, prompt = self.facts_of_data(task), spec.prompt.for_task(task)
        found: dict[str, object] = {
            "protocol": self.protocol.name,
            "decided_by": scored.evidence,
            "n": len(scored.rows),
            "items_asked": len(self.data.items[task]),
            "items_of_split": self.total(task),
            "items_failed": self.failed(task) or None,
            "items_unreadable": None if scored.beside else self.report.tasks[task].unreadable or None,
            "data_source": self.data.sources[task],
            "data_version": data.get("version") or spec.data_version,
            "data_split": data.get("split") or spec.split,
            "data_sha256": data.get("sha256") or spec.data_sha256.get(f"{task}/{spec.split}"),
            "label_version": self.label_version(task),
            "item_seed": spec.seed if spec.limit is not None else None,
            "run_id": spec.spec_id,
            "created": self.manifest.get("created"),
            "made_with": f"jglue_app {spec.code_version}",
            "scored_with": f"jglue_app {__version__}",
        }
        if self.elsewhere:
            found["outputs"] = "made elsewhere; prompt and decoding are those of their maker"
            found["harness"] = spec.prompt.style if spec.model.backend == IMPORTED else None
        else:
            values = {
                f.name: getattr(prompt, f.name) for f in dataclasses.fields(prompt) if not f.name.endswith("_by_task")
            }
            values["style"] = re.split(r"[/\\]", prompt.style)[-1]
            found |= {f"prompt_{name}": value for name, value in values.items()}
            found["prompt_style_sha256"] = spec.style_sha256
            decoding = spec.decoding.for_task(task)
            names = [f.name for f in dataclasses.fields(decoding) if not f.name.endswith("_by_task")]
            found |= {f"decoding_{name}": getattr(decoding, name) for name in names}
            found["decoding_max_new_tokens"] = self.token_limit(task)
            found["decoding_strategy"] = "greedy" if scored.evidence == "text" else "log-likelihood of each answer"
            found |= self.model_facts()
        if spec.model.backend == "scripted":
            found["outputs"] = "read from a table of answers, not given by a model"
        return {name: _text(value) for name, value in found.items() if value not in (None, "")}

    def model_facts(self) -> dict[str, object]:
        """Revision, precision and quantization of the model that answered; nothing of outputs made elsewhere."""
        if self.elsewhere:
            return {}
        spec, info = self.data.spec.model, self.data.model
        found: dict[str, object] = {"model_revision": spec.revision, "model_quantization": spec.quantization}
        found |= {"model_gguf_file": spec.gguf_file, "model_files_sha256": spec.files_sha256}
        if info is not None:
            found |= {"model_commit": info.commit, "model_dtype": info.dtype}
            found |= {"model_quantized_files": info.quantized, "model_device": info.device.split(":")[0]}
        return found


def reasons(left_out: Mapping[str, str]) -> str:
    """Subset → why it is left out, in words: the reason alone where all have the same."""
    if len(set(left_out.values())) == 1:
        return next(iter(left_out.values()))
    titled = (Message("{title}: {reason}", title=TASKS[name].title, reason=why) for name, why in left_out.items())
    return Joined("; ", titled)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def open_source(run: Path, protocol: str = "official") -> RunSource:
    """Read a run and score it.

    Args:
        run: its folder.
        protocol: a key of `PROTOCOLS`.

    Raises:
        UnknownNameError: no such protocol.
        StoreError: there is no run, or a damaged one.
        InputError: the run is not complete, or the protocol scores nothing of it.
    """
    how = get_protocol(protocol)
    library = Library(run.parent)
    manifest, data = RunStore(run).manifest(), library.data(run)
    planned = sum(len(items) for items in data.items.values())
    tried = len({(record.task, record.item_id) for record in data.records})
    if tried < planned or not planned:
        raise InputError(
            "The run {run} is not complete: {tried:,} of {planned:,} items are answered. Start the "
            "same run again, which goes on where it stopped, and export it then.",
            run=run.name,
            tried=tried,
            planned=planned,
        )
    judged, report = library.judged(run, protocol), library.report(run, protocol)
    scored, left_out = _scored(how, report, judged)
    if not scored:
        raise InputError(
            "The protocol {protocol} gives this run no score ({reason}). Choose another protocol.",
            protocol=protocol,
            reason=reasons(left_out),
        )
    return RunSource(data, manifest, how, report, scored, left_out)


def _scored(
    how: ScoringProtocol, report: Report, judged: Mapping[str, Mapping[str, ScoredItem]]
) -> tuple[tuple[Scored, ...], dict[str, str]]:
    scored, left_out = [], {}
    for name, task in report.tasks.items():
        rows = tuple(row for row in judged[name].values() if row.judgement.outcome not in NOT_SCORED)
        ranked = name in how.ranked
        own = _with_value(task.metrics)
        beside = _with_value(task.choose)
        if own:
            scored.append(Scored(name, "log_likelihood" if ranked else "text", own, rows))
        if beside:
            choosing = tuple(row for row in judged[name].values() if row.judgement.choice is not None)
            scored.append(Scored(name, "log_likelihood", beside, choosing, beside=True))
        if not own and not beside:
            left_out[name] = UNSCORED_REASONS.get(task.unscored, task.unscored or UNDEFINED)
    return tuple(scored), left_out


def _with_value(metrics: Mapping[str, Estimate]) -> dict[str, Estimate]:
    return {name: e for name, e in metrics.items() if e.value is not None and math.isfinite(e.value)}
