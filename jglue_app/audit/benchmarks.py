"""What is known of the data and of the systems before any score is looked at. No I/O.

Label counts are those of the official files: JGLUE v1.3 as it is, and the JNLI labels of v1.1 by the 29 dev items that
were relabelled for v1.2 (yahoojapan/JGLUE, pull request 14: 16 entailment to neutral, 12 neutral to entailment, 1
neutral to contradiction). Sizes of splits are those of the README of JGLUE; of JCoLA those of its paper (Someya et al.
2024). Where a label count is not public, as for MARC-ja and the test sets, none is given and no constant is looked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from jglue_app.errors import UnknownNameError
from jglue_app.messages import Message, mark

SHARES = ("accuracy", "acc_norm", "exact_match")
"""Metrics that are a number of right answers over a number of items."""
MEANS = ("f1", "char_f1")
"""Averages of values between 0 and 1."""
CORRELATIONS = ("pearson", "spearman")
SIGNED = (*CORRELATIONS, "mcc")
"""Metrics from -1 to 1."""
METRICS = (*SHARES, *MEANS, "balanced_accuracy", "macro_f1", "mcc", *CORRELATIONS)

METRIC_ALIASES = {
    "accuracy": ("accuracy", "acc", "正解率"),
    "acc_norm": ("accnorm", "accuracynorm", "normalizedaccuracy"),
    "exact_match": ("exactmatch", "em", "exact", "完全一致"),
    "f1": ("f1", "f1score"),
    "char_f1": ("charf1", "characterf1", "文字f1"),
    "balanced_accuracy": ("balancedaccuracy", "balancedacc", "balacc", "bacc", "バランス正解率"),
    "macro_f1": ("macrof1", "f1macro"),
    "mcc": ("mcc", "matthews", "matthewscorrcoef", "matthewscorrelation"),
    "pearson": ("pearson", "pearsonr", "ピアソン"),
    "spearman": ("spearman", "spearmanr", "spearmanrho", "スピアマン"),
}
"""Metric → how it is also written, folded by `fold`."""


@dataclass(frozen=True, slots=True)
class Edition:
    """One set of items with one set of labels."""

    name: str
    """How a sentence calls it."""
    n: int
    """Items."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Label → items with it; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One subset."""

    name: str
    title: str
    metrics: tuple[str, ...]
    """That are reported for it, the usual one first."""
    editions: tuple[Edition, ...]
    """The usual one first."""
    labels: tuple[str, ...] = ()
    """Closed answers; empty for numbers and spans."""
    aliases: tuple[str, ...] = ()
    """Other spellings, folded by `fold`."""
    relabelled: int = 0
    """Items whose label differs between the first two editions."""

    def sized(self, n: int) -> tuple[Edition, ...]:
        """Editions of so many items."""
        return tuple(e for e in self.editions if e.n == n)


_CHOICE = ("accuracy", "acc_norm", "balanced_accuracy", "macro_f1", "mcc")
_JNLI = ("entailment", "contradiction", "neutral")

BENCHMARKS = {
    b.name: b
    for b in (
        Benchmark(
            "marc_ja",
            "MARC-ja",
            _CHOICE,
            (
                Edition(mark("MARC-ja dev, JGLUE v1.1"), 5654),
                Edition(mark("MARC-ja dev, first release"), 5734),
                Edition(mark("MARC-ja test"), 5639),
                Edition(mark("Nejumi Neo (100)"), 100),
            ),
            ("positive", "negative"),
            ("marcja", "marc"),
        ),
        Benchmark(
            "jsts",
            "JSTS",
            CORRELATIONS,
            (Edition(mark("JSTS dev"), 1457), Edition(mark("JSTS test"), 1589), Edition(mark("Nejumi Neo (100)"), 100)),
            aliases=("jsts",),
        ),
        Benchmark(
            "jnli",
            "JNLI",
            _CHOICE,
            (
                Edition("JGLUE v1.1", 2434, dict(zip(_JNLI, (353, 734, 1347), strict=True))),
                Edition("JGLUE v1.3", 2434, dict(zip(_JNLI, (349, 735, 1350), strict=True))),
                Edition(mark("JNLI test"), 2508),
                Edition(mark("Nejumi Neo (100)"), 100),
            ),
            _JNLI,
            ("jnli",),
            relabelled=29,
        ),
        Benchmark(
            "jsquad",
            "JSQuAD",
            ("exact_match", "f1", "char_f1"),
            (
                Edition(mark("JSQuAD dev"), 4442),
                Edition(mark("JSQuAD dev, W&B 2023"), 4422),
                Edition(mark("JSQuAD test"), 4420),
                Edition(mark("Nejumi Neo (100)"), 100),
            ),
            aliases=("jsquad",),
        ),
        Benchmark(
            "jcommonsenseqa",
            "JCommonsenseQA",
            _CHOICE,
            (
                Edition("JGLUE v1.1–v1.3", 1119, {"0": 216, "1": 237, "2": 240, "3": 228, "4": 198}),
                Edition(mark("JCommonsenseQA test"), 1118),
                Edition(mark("Nejumi Neo (100)"), 100),
            ),
            ("0", "1", "2", "3", "4"),
            ("jcommonsenseqa", "jcommonsense", "jcomqa", "jcqa", "jcsqa", "jcom"),
        ),
        Benchmark(
            "jcola",
            "JCoLA",
            _CHOICE,
            (
                Edition(mark("JCoLA in-domain dev"), 865),
                Edition(mark("JCoLA out-of-domain dev"), 685),
                Edition(mark("Nejumi Neo (100)"), 100),
            ),
            ("acceptable", "unacceptable"),
            ("jcola",),
        ),
    )
}
"""Every subset by its name."""


@dataclass(frozen=True, slots=True)
class System:
    """What a system that publishes scores does, as far as it matters for a score alone."""

    title: str
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Subset → what an unreadable output counts as; without one it is wrong."""
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Subset → items, where they are fewer than all that are known."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Subset → name of the edition whose labels it has; empty if of a copy whose label counts are not known."""
    ranks: bool = False
    """Whether labels are ranked by log-likelihood, so that there is always an answer."""


_OLD = {"jnli": "JGLUE v1.1"}
_DEV = {"marc_ja": (5654,), "jsts": (1457,), "jnli": (2434,), "jsquad": (4442,), "jcommonsenseqa": (1119,)}

SYSTEMS = {
    "official": System(mark("the JGLUE baselines")),
    "wandb-2023": System(
        "W&B 2023",
        {"marc_ja": "positive", "jnli": "entailment", "jcommonsenseqa": "0"},
        _DEV | {"jsquad": (4422,)},
        _OLD,
    ),
    "nejumi-neo": System("Nejumi Neo", sizes=dict.fromkeys((*_DEV, "jcola"), (100,)), labels=dict.fromkeys(_DEV, "")),
    "nejumi-4": System("Nejumi 4", labels=dict.fromkeys(_DEV, "")),
    "stability-jp": System("Stability AI", sizes=_DEV | {"marc_ja": (5654, 5734)}, labels=_OLD, ranks=True),
    "llm-jp-eval": System("llm-jp-eval", sizes=_DEV, labels=_OLD),
    "swallow-202411": System("Swallow", sizes=_DEV, labels=_OLD),
    "flexeval": System("flexeval", sizes=_DEV, labels={"jcommonsenseqa": "", "jnli": ""}),
    "lm-eval-ja": System("lm-eval", ranks=True),
}
"""Systems by the names of their protocols; variants of one begin with its name."""
COMMON_SAMPLE_SIZES = (10, 20, 30, 50, 100, 200, 250, 300, 500, 1000)
"""Items that systems take of a subset to save time."""


def fold(text: str) -> str:
    """A name for comparison: width and case folded, only letters and digits left."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).lower())


def benchmark(name: str) -> Benchmark:
    """A subset by any of its spellings.

    Raises:
        UnknownNameError: there is none.
    """
    folded = fold(name)
    for candidate in BENCHMARKS.values():
        if folded == fold(candidate.name) or folded in candidate.aliases:
            return candidate
    raise UnknownNameError("task", name, BENCHMARKS)


def metric_of(name: str, subset: Benchmark | None = None) -> str:
    """A metric by any of its spellings.

    Raises:
        UnknownNameError: there is none, or the subset has no such metric.
    """
    folded = fold(name)
    known = subset.metrics if subset else METRICS
    metric = next((m for m, names in METRIC_ALIASES.items() if folded in names), None)
    if subset and metric not in known:
        # Of a label, exact match is the accuracy.
        metric = {"exact_match": "accuracy", "f1": "macro_f1"}.get(metric or "")
    if metric is None or metric not in known:
        raise UnknownNameError(
            "metric", name, known, Message("These are the metrics of {task}.", task=subset.title) if subset else ""
        )
    return metric


def system_of(name: str) -> str:
    """A system by its name, or by that of a variant such as `wandb-2023-0shot`.

    Raises:
        UnknownNameError: there is none.
    """
    key = name.strip().lower().replace("_", "-")
    latest_names = {
        "swallow": "swallow-202411",
        "wandb": "wandb-2023",
        "stability": "stability-jp",
        "lm-eval": "lm-eval-ja",
    }
    key = latest_names.get(key, key)
    candidates = [s for s in SYSTEMS if key == s or key.startswith(f"{s}-")]
    if not candidates:
        raise UnknownNameError("system", name, SYSTEMS)
    return max(candidates, key=len)


def system_title(name: str) -> Message:
    """How a sentence calls a system; by its name where it is none of `SYSTEMS`."""
    return Message(SYSTEMS[name].title if name in SYSTEMS else name)


def scope(subset: Benchmark, system: str | None = None, n: int | None = None) -> tuple[Edition, ...]:
    """The sets of items that a score may be over, the likeliest first.

    Args:
        subset: the subset.
        system: a key of `SYSTEMS` that has scored; its own sizes and labels alone then come into question.
        n: the number of items, if it is known; one that fits no known set is a set without a name.
    """
    editions = subset.editions if n is None else subset.sized(n) or (Edition("", n),)
    if system is None:
        return editions
    sizes, labels = SYSTEMS[system].sizes.get(subset.name), SYSTEMS[system].labels.get(subset.name)
    if n is None and sizes:
        editions = tuple(e for e in editions if e.n in sizes)
    if labels:
        editions = tuple(e for e in editions if e.name == labels or not e.counts)
    elif labels is not None:
        editions = tuple(Edition(e.name, e.n) for e in editions)
    return editions
