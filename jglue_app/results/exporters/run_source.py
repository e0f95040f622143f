"""A stored run under one protocol: what every exporter writes from."""

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
from jglue_app.results.run_name import UNNAMED, RunName, read_name
from jglue_app.runs.store import RunStore
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.common import is_right
from jglue_app.scoring.types import Estimate, Report, ScoringProtocol
from jglue_app.tasks import TASKS
from jglue_app.types import ELSEWHERE, EMBED, EMBEDDING_SOURCES, IMPORTED, RunData
from jglue_app.version import __version__

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ANSWER_FILE = re.compile(r"\.(jsonl?|csv|tsv|parquet|arrow|zip)$", re.IGNORECASE)
COMMIT = re.compile(r"[0-9a-f]{40}")
REPOSITORIES = {"jcola": "osekilab/JCoLA"}
"""Subset → its repository on GitHub, where that is not `DEFAULT_REPOSITORY`."""
DEFAULT_REPOSITORY = "yahoojapan/JGLUE"
NOT_SCORED = ("unscored", "error", "overflow")
"""Outcomes of items that count for no metric."""
UNSCORED_REASONS = {
    "not_covered": Message("the protocol has no such subset"),
    "no_logprobs": Message("it ranks by log-likelihood, and there are none"),
    "no_text": Message("it reads generated text, and there is none"),
    "no_answers": Message("nothing was answered"),
    "cosines": Message("it reads what a model wrote, and there are cosines of embeddings"),
}
"""`TaskReport.unscored` → why the subset has no score."""
UNDEFINED = Message("the metric is undefined for these answers")


@dataclass(frozen=True, slots=True)
class SubsetScores:
    """The scores of one subset from one kind of evidence."""

    task: str
    evidence: str
    """`text`, `log_likelihood`, or `cosine` (of embeddings)."""
    metrics: Mapping[str, Estimate]
    """Those that have a value; the first is the main one if it has a value."""
    rows: tuple[ScoredItem, ...]
    """The items that were scored."""
    secondary: bool = False
    """Whether these are log-likelihoods recorded in addition to the text that the protocol reads."""

    def value(self, metric: str, row: ScoredItem) -> float | None:
        """The value of a metric for one item; None if the metric is not a mean over items, such as a correlation."""
        if self.secondary:
            return float(is_right(row.item, row.judgement.choice)) if metric == "accuracy" else None
        return row.judgement.scores.get(metric)

    def answer(self, row: ScoredItem) -> str | float | None:
        """The answer of an item as scored; None if there is none."""
        return row.judgement.choice if self.secondary else row.judgement.strict.value

    def standard_error(self, metric: str) -> float | None:
        """Sample standard deviation over the square root of n; None for fewer than two items, or a metric that is not a
        mean over items."""
        values = [self.value(metric, row) for row in self.rows]
        known = [value for value in values if value is not None]
        if len(known) < 2 or len(known) < len(values):
            return None
        return statistics.stdev(known) / math.sqrt(len(known))


@dataclass(frozen=True, slots=True)
class RunSource:
    """Everything that an export may contain of a run."""

    data: RunData
    manifest: Mapping[str, Any]
    protocol: ScoringProtocol
    report: Report
    scores: tuple[SubsetScores, ...]
    left_out: Mapping[str, str]
    """Subset → why it has no score."""
    called: RunName = UNNAMED
    """What somebody called it."""

    @property
    def model_id(self) -> str:
        """Hub id; for a model that is not from the Hub only the name of its file or folder, never a path of this
        machine.

        Names of answer files lose their ending: folders are named after models, and readers find files by ending.
        """
        if self.on_hub:
            return self.data.spec.model.id
        name = re.split(r"[/\\]", self.data.spec.model.id.rstrip("/\\"))[-1]
        name = (name if self.ran_here else ANSWER_FILE.sub("", name)) or "unnamed"
        return f"{name}+{self.adapter_name.rpartition('/')[2]}" if self.adapter_name else name

    @property
    def adapter_name(self) -> str:
        """Hub id of the adapter; for one that is not from the Hub only the name of its folder. Empty without one."""
        adapter, info = self.data.spec.model.adapter or "", self.data.model
        if HUB_ID.fullmatch(adapter) and info is not None and COMMIT.fullmatch(info.adapter_commit):
            return adapter
        return re.split(r"[/\\]", adapter.rstrip("/\\"))[-1]

    @property
    def on_hub(self) -> bool:
        """Whether the model's id is a Hub id, by its form and by the commit that was loaded; for external outputs by
        its form alone."""
        spec = self.data.spec.model
        if not HUB_ID.fullmatch(spec.id) or spec.adapter:  # With an adapter it is another model.
            return False
        if self.external:
            return True
        return self.data.model is not None and bool(COMMIT.fullmatch(self.data.model.commit))

    @property
    def external(self) -> bool:
        """Whether the outputs are external (a predictions file, or the log of another harness): how they were decoded
        is unknown."""
        return self.data.spec.model.backend in ELSEWHERE

    @property
    def ran_here(self) -> bool:
        """Whether a model generated the outputs in this application: neither a table of answers nor external
        outputs."""
        return self.data.spec.model.backend != "scripted" and not self.external

    def data_facts(self, task: str) -> Mapping[str, Any]:
        """What the manifest says about a subset's file; empty if nothing."""
        facts = (self.manifest.get("data") or {}).get(task)
        return facts if isinstance(facts, Mapping) else {}

    def total(self, task: str) -> int | None:
        """Items of the whole split; None if that is not known."""
        n_items = self.data_facts(task).get("items")
        return n_items if isinstance(n_items, int) and not isinstance(n_items, bool) else None

    def failed(self, task: str) -> int:
        """Items of a subset that have an error instead of an output."""
        return sum(record.task == task and record.output is None for record in self.data.records)

    def label_version(self, task: str) -> str:
        """The JGLUE version of the labels that a subset was scored against; empty for data that is not JGLUE's."""
        if self.data.sources[task] != "official":
            return ""
        labels = self.protocol.rules[task].labels
        return labels if labels != "file" else str(self.data_facts(task).get("version") or "")

    def repository(self, task: str) -> str:
        """The repository on GitHub that a subset's items are from; empty for data that is not JGLUE's."""
        return REPOSITORIES.get(task, DEFAULT_REPOSITORY) if self.data.sources[task] == "official" else ""

    def token_limit(self, task: str) -> int | None:
        """The limit of new tokens for an answer; None if unknown, for example because the prompt style has changed
        since."""
        spec = self.data.spec
        if spec.decoding.max_new_tokens is not None or spec.decoding.method in ("choose", EMBED):
            return spec.decoding.max_new_tokens
        try:
            style = load_style(spec.prompt.style, allow_paths=False)
            return style.of(task).max_new_tokens if style.sha256 == spec.style_sha256 else None
        except (StyleError, UnknownNameError):
            return None

    def facts(self, scores: SubsetScores) -> dict[str, str]:
        """What the scores depend on, as strings: protocol, data, prompt, decoding, model, version."""
        spec, task = self.data.spec, scores.task
        data, prompt = self.data_facts(task), spec.prompt.for_task(task)
        facts: dict[str, object] = {
            "protocol": self.protocol.name,
            "decided_by": scores.evidence,
            "n": len(scores.rows),
            "items_asked": len(self.data.items[task]),
            "items_of_split": self.total(task),
            "items_failed": self.failed(task) or None,
            "items_unreadable": None if scores.secondary else self.report.tasks[task].unreadable or None,
            "data_source": self.data.sources[task],
            "data_version": data.get("version") or spec.data_version,
            "data_split": data.get("split") or spec.split,
            "data_sha256": data.get("sha256") or spec.data_sha256.get(f"{task}/{spec.split}"),
            "label_version": self.label_version(task),
            "item_seed": spec.seed if spec.limit is not None else None,
            "run_id": spec.spec_id,
            "run_name": self.called.name,
            "run_description": self.called.description,
            "created": self.manifest.get("created"),
            "made_with": f"jglue_app {spec.code_version}",
            "scored_with": f"jglue_app {__version__}",
        }
        if self.external:
            facts["outputs"] = "made elsewhere; prompt and decoding are those of their maker"
            facts["harness"] = spec.prompt.style if spec.model.backend == IMPORTED else None
        else:
            values = {
                f.name: getattr(prompt, f.name) for f in dataclasses.fields(prompt) if not f.name.endswith("_by_task")
            }
            values["style"] = re.split(r"[/\\]", prompt.style)[-1]
            facts |= {f"prompt_{name}": value for name, value in values.items()}
            facts["prompt_style_sha256"] = spec.style_sha256
            decoding = spec.decoding.for_task(task)
            names = [f.name for f in dataclasses.fields(decoding) if not f.name.endswith("_by_task")]
            facts |= {f"decoding_{name}": getattr(decoding, name) for name in names}
            facts["decoding_max_new_tokens"] = self.token_limit(task)
            facts["decoding_strategy"] = {
                "text": "greedy",
                "log_likelihood": "log-likelihood of each answer",
                "cosine": f"cosine of two vectors: {EMBEDDING_SOURCES.get(spec.model.backend, spec.model.backend)}",
            }[scores.evidence]
            facts |= self.model_facts()
        if spec.model.backend == "scripted":
            facts["outputs"] = "read from a table of answers, not given by a model"
        return {name: _text(value) for name, value in facts.items() if value not in (None, "")}

    def model_facts(self) -> dict[str, object]:
        """Revision, precision and quantization of the model that answered; empty for external outputs."""
        if self.external:
            return {}
        spec, info = self.data.spec.model, self.data.model
        facts: dict[str, object] = {"model_revision": spec.revision, "model_quantization": spec.quantization}
        facts |= {"model_gguf_file": spec.gguf_file, "model_files_sha256": spec.files_sha256}
        if info is not None:
            facts |= {"model_commit": info.commit, "model_dtype": info.dtype}
            facts |= {"model_adapter": self.adapter_name, "model_adapter_type": info.adapter}
            facts |= {"model_adapter_commit": info.adapter_commit}
            facts |= {"model_quantized_files": info.quantized, "model_device": info.device.split(":")[0]}
        if self.report.precision is not None:
            effect = dataclasses.asdict(self.report.precision)
            facts |= {f"model_float32_sample_{name}": str(value) for name, value in effect.items() if value is not None}
        return facts


def reasons(left_out: Mapping[str, str]) -> str:
    """The reasons of (subset → why it is left out) as one sentence part: a single reason if all are the same."""
    if len(set(left_out.values())) == 1:
        return next(iter(left_out.values()))
    titled = (Message("{title}: {reason}", title=TASKS[name].title, reason=reason) for name, reason in left_out.items())
    return Joined("; ", titled)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def load_run_source(run: Path, protocol: str = "official") -> RunSource:
    """Read a run and score it.

    Args:
        run: its folder.
        protocol: a key of `PROTOCOLS`.

    Raises:
        UnknownNameError: no such protocol.
        StoreError: there is no run, or a damaged one.
        InputError: the run is not complete, or the protocol scores nothing of it.
    """
    scoring_protocol = get_protocol(protocol)
    library = Library(run.parent)
    manifest, data = RunStore(run).manifest(), library.data(run)
    n_planned = sum(len(items) for items in data.items.values())
    n_answered = len({(record.task, record.item_id) for record in data.records})
    if n_answered < n_planned or not n_planned:
        raise InputError(
            "The run {run} is not complete: {tried:,} of {planned:,} items are answered. Start the "
            "same run again, which goes on where it stopped, and export it then.",
            run=run.name,
            tried=n_answered,
            planned=n_planned,
        )
    judged, report = library.judged(run, protocol), library.report(run, protocol)
    scores, left_out = _scored(scoring_protocol, report, judged)
    if not scores:
        raise InputError(
            "The protocol {protocol} gives this run no score ({reason}). Choose another protocol.",
            protocol=protocol,
            reason=reasons(left_out),
        )
    return RunSource(data, manifest, scoring_protocol, report, scores, left_out, read_name(run))


def _scored(
    protocol: ScoringProtocol, report: Report, judged: Mapping[str, Mapping[str, ScoredItem]]
) -> tuple[tuple[SubsetScores, ...], dict[str, str]]:
    scores, left_out = [], {}
    for name, task in report.tasks.items():
        rows = tuple(row for row in judged[name].values() if row.judgement.outcome not in NOT_SCORED)
        ranked = name in protocol.ranked
        main_metrics = _with_value(task.metrics)
        choice_metrics = _with_value(task.choose)
        if main_metrics:
            evidence = "cosine" if task.outcomes.get("cosine") else "log_likelihood" if ranked else "text"
            scores.append(SubsetScores(name, evidence, main_metrics, rows))
        if choice_metrics:
            ranked_rows = tuple(row for row in judged[name].values() if row.judgement.choice is not None)
            scores.append(SubsetScores(name, "log_likelihood", choice_metrics, ranked_rows, secondary=True))
        if not main_metrics and not choice_metrics:
            left_out[name] = UNSCORED_REASONS.get(task.unscored, task.unscored or UNDEFINED)
    return tuple(scores), left_out


def _with_value(metrics: Mapping[str, Estimate]) -> dict[str, Estimate]:
    return {name: e for name, e in metrics.items() if e.value is not None and math.isfinite(e.value)}
