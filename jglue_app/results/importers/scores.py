"""The scores that a harness reported, and ours for the same outputs under the equivalent protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jglue_app.results.importers.build import Part
from jglue_app.results.importers.log import Log
from jglue_app.scoring.report import report_run
from jglue_app.types import RunData

EQUIVALENT_METRICS = {
    "lm-eval": {
        "acc": ("lm-eval-ja", "accuracy"),
        "acc_norm": ("stability-jp", "acc_norm"),
        "exact_match": ("lm-eval-ja", "exact_match"),
    },
    "flexeval": {
        "accuracy": ("lm-eval-ja", "accuracy"),
        "exact_match": ("flexeval", "exact_match"),
        "char_f1": ("flexeval", "char_f1"),
        "pearson": ("flexeval", "pearson"),
        "spearman": ("flexeval", "spearman"),
        "pearson_correlation": ("flexeval", "pearson"),
        "spearman_correlation": ("flexeval", "spearman"),
    },
    "llm-jp-eval": {
        "exact_match": ("llm-jp-eval", "exact_match"),
        "char_f1": ("llm-jp-eval", "char_f1"),
        "pearson": ("llm-jp-eval", "pearson"),
        "spearman": ("llm-jp-eval", "spearman"),
    },
    "lm-evaluation-harness-jp": {
        "exact_match": ("stability-jp", "exact_match"),
        "f1": ("stability-jp", "f1"),
    },
}
"""Harness → its metric → our protocol and metric with the same definition."""
PERCENT_HARNESSES = ("lm-evaluation-harness-jp",)
"""Harnesses that report percentages."""


@dataclass(frozen=True, slots=True)
class ReportedScore:
    """A score that a harness reported, with ours."""

    task: str
    metric: str
    """Name of the metric in the harness."""
    reported: float
    """The score of the harness, as a fraction of 1."""
    protocol: str
    recomputed: float
    """Our score of the same outputs."""

    @property
    def same(self) -> bool:
        """Whether they differ by no more than the rounding of the reported score. Some harnesses round to four
        decimals, so with up to four digits that is the assumed precision."""
        digits = len(repr(self.reported).partition(".")[2])
        rounding = 0.5 * 10.0 ** -max(digits, 4) if digits <= 6 else 0.0
        return math.isclose(self.reported, self.recomputed, rel_tol=0, abs_tol=rounding + 1e-9)


def compare(data: RunData, parts: Sequence[Part], logs: Sequence[Log]) -> list[ReportedScore]:
    """The reported scores for which we have the same definition, each with our score."""
    equivalents: Mapping[str, tuple[str, str]] = EQUIVALENT_METRICS.get(logs[0].harness, {})
    reports = {protocol: report_run(data, protocol) for protocol in {protocol for protocol, _ in equivalents.values()}}
    out = []
    for part in parts:
        reported = {metric: score for log in logs for metric, score in log.reported_scores.get(part.task, {}).items()}
        for metric, score in reported.items():
            if metric not in equivalents:
                continue
            protocol, name = equivalents[metric]
            report = reports[protocol].tasks.get(part.dataset.task)
            estimate = report.metrics.get(name) if report else None
            if estimate is not None and estimate.value is not None:
                share = score / 100 if logs[0].harness in PERCENT_HARNESSES else score
                out.append(ReportedScore(part.dataset.task, metric, share, protocol, estimate.value))
    return out
