"""What a protocol makes of records: readings, judgements, reports, comparisons. Frozen records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from jglue_app.types import SET_ONLY, Item, ModelInfo, Notice, Record, Source, Task

Status = Literal["exact", "recovered", "ambiguous", "off_format", "unfinished_thought", "empty"]
Outcome = Literal[
    "correct",
    "wrong_form",
    "wrong",
    "unreadable",
    "unfinished_thought",
    "truncated",
    "empty",
    "overflow",
    "error",
    "unscored",
    "cosine",
]
"""`correct`; `wrong_form` (right by the lenient reading alone); `wrong`; `unreadable`; `unfinished_thought` (the output
never ends its thought); `truncated` (cut at the token limit without a legal or right answer); `empty`; `overflow` (the
prompt did not fit); `error`; `unscored` (the record lacks what the protocol looks at); `cosine` (of two embeddings:
neither right nor wrong)."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text was read as."""

    value: str | float | None
    """Canonical label, number or span; None when nothing could be read."""
    status: Status
    """`exact` (a legal answer and nothing else), `recovered`, `ambiguous` (several), `off_format` (none),
    `unfinished_thought` (the output never ends its thought), `empty`."""
    rule: str
    """Name of the rule that fired."""
    span: tuple[int, int] | None = None
    """Characters of the raw text that the value was read from, as (start, end)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one protocol makes of one record."""

    protocol: str
    strict: Parsed
    lenient: Parsed
    scores: Mapping[str, float]
    """Per-item metrics of the strict reading in 0–1, e.g. `accuracy`; for JSTS empty: it is scored over all items."""
    lenient_scores: Mapping[str, float]
    """The same for the lenient reading."""
    outcome: Outcome
    """Where this item falls in the failure picture."""
    choice: str | None = None
    """Label with the highest log-likelihood, when choices were scored."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty."""

    value: float | None
    """None when there is no data or the metric is undefined (a constant prediction has no correlation)."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end of the 95 % interval."""
    n: int
    """Items the value rests on."""


@dataclass(frozen=True, slots=True)
class PairedTest:
    """B minus A on the items both have answered, and how sure that is."""

    difference: Estimate
    """With its paired 95 % interval."""
    p: float | None
    """Two-sided; None when there is no difference to test."""
    test: str
    """`mcnemar` (exact, for right or wrong), `bootstrap` (paired, over items) or `normal` (of an average)."""
    needed: int | None
    """Items with which a difference of this size would be told from none at the 5 % level with 80 % power; None when
    the two do not differ."""


@dataclass(frozen=True, slots=True)
class RankingGain:
    """What the answers ranked first score beside the written ones, over the items that have both."""

    metric: str
    text: Estimate
    ranked: Estimate
    floor: float
    """What the best constant answer scores on these items."""
    p: float
    """Two-sided, by McNemar's exact test of right or wrong in either."""


@dataclass(frozen=True, slots=True)
class TaskReport:
    """The scores of one run on one subset under one protocol."""

    task: str
    source: Source
    """Which data was scored: `official`, `user` or `sample`."""
    n: int
    """Items with an answer: neither failed nor too long for the model."""
    planned: int
    """Items the run is to answer."""
    metrics: Mapping[str, Estimate]
    """Metrics of the strict reading; the first is the subset's main metric."""
    lenient: Mapping[str, Estimate]
    """The same metrics of the lenient reading: the difference is the cost of format."""
    choose: Mapping[str, Estimate]
    """Metrics of log-likelihood ranking; empty when choices were not scored."""
    imputed: Mapping[str, Estimate]
    """JSTS with 2.5 for every unreadable answer; empty elsewhere."""
    outcomes: Mapping[str, int]
    """Items by `Outcome`."""
    unreadable: int
    """Outputs without a strict reading."""
    unreadable_lenient: int
    """Outputs without a lenient reading."""
    floors: Mapping[str, float]
    """Metric → score of the best constant answer (the majority class) on the items of `metrics`, or of `choose` if that
    is all there is; no entry where a constant has no score (a correlation) or none can be named (F1)."""
    choose_floors: Mapping[str, float] = field(default_factory=dict)
    """The same on the items of `choose`, where both are there and are of other items; else empty. See `floor`."""
    default_floors: Mapping[str, float] = field(default_factory=dict)
    """Metric → score of a model that never gives a readable answer, where the protocol has a default for that."""
    knows: int | None = None
    """Items whose gold answer has the highest log-likelihood although the generated text is in the wrong form,
    unreadable, cut off or empty; None unless both were asked for."""
    gain: RankingGain | None = None
    """None unless the protocol scores the text and some items have a ranking too."""
    notices: tuple[Notice, ...] = ()
    """What a reader of these scores has to know."""
    unscored: str = ""
    """Why there are no metrics: `not_covered` (the protocol has no such subset), `no_logprobs`, `no_text` or
    `no_answers` (nothing was answered yet); empty when there are some."""

    def floor(self, metric: str, reading: str = "strict") -> float | None:
        """The score of the best constant answer on the items of a reading; None where there is none."""
        return (self.choose_floors if reading == "choose" and self.choose_floors else self.floors).get(metric)


@dataclass(frozen=True, slots=True)
class Paid:
    """What answers took from a server whose tokens are paid, and what they cost."""

    requests: int
    prompt_tokens: int
    new_tokens: int
    """Generated tokens, those of thoughts among them."""
    reasoning_tokens: int
    """Those of them that thoughts took."""
    price: float
    """At the prices of the time when the run began."""
    currency: str
    """Of the price, such as `USD`."""
    estimated: bool
    """Whether some tokens are estimated, because the server gave no usable counts."""
    beside: float = 0.0
    """What the whole run has cost beside its answers; see `types.RunData.paid_beside`."""


@dataclass(frozen=True, slots=True)
class PrecisionEffect:
    """How far a run that computes in less than float32 is from float32, on a sample of its own items."""

    precision: str
    """What it computes in, such as `bfloat16` or `8-bit`."""
    items: int
    """Items of the run that the same model also answered in float32."""
    ranked: int
    """Those of them whose answers have usable log-probabilities in both."""
    flips: int
    """Those of `ranked` for which another answer has the highest log-probability in float32."""
    largest: float | None
    """Largest difference of an answer's log-probability, in nats; None without `ranked`."""
    median: float | None
    """Median of these differences over all answers of all items, in nats."""
    written: int
    """Those of `items` for which both have written a text."""
    other_texts: int
    """Those of `written` whose texts differ."""


@dataclass(frozen=True, slots=True)
class Report:
    """All scores of one run under one protocol."""

    spec_id: str
    label: str
    """A short human name of the run: model, format, style, shots, quantization."""
    protocol: str
    tasks: Mapping[str, TaskReport]
    average: Estimate
    """Mean of the main metrics over `average_of`; no data unless every subset has a value."""
    average_of: tuple[str, ...]
    """The subsets in the average, always named beside it: one that is off by default is none of them, unless the run
    has no other."""
    average_without: tuple[str, ...]
    """Those of them without a value, which is why there is no average; empty when there is one."""
    notices: tuple[Notice, ...] = ()
    """What concerns the whole run."""
    split: str = "valid"
    """Which split was scored."""
    paid: Paid | None = None
    """What the answers cost; None where nothing is paid."""
    precision: PrecisionEffect | None = field(default=None, metadata=SET_ONLY)
    """What rounding changes; None for a run in float32, and where it was not measured."""


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A on the items both have answered."""

    a: Estimate
    b: Estimate
    difference: Estimate
    """With its paired interval."""
    verdict: str
    """`a` or `b` when the interval leaves out zero and `p_holm` is below 0.05; else `undecided`, as it always is below
    ten items."""
    p: float | None = None
    """Two-sided, by `test`; None when there is nothing to test."""
    p_holm: float | None = None
    """`p` after Holm's correction over the subsets compared."""
    test: str = ""
    """See `PairedTest.test`."""
    needed: int | None = None
    """Items with which `p_holm` would tell a difference of this size with 80 % power; None when there is none."""
    reading: str = "strict"
    """Of which reading both scores are: `strict`, `lenient` or `choose`."""


@dataclass(frozen=True, slots=True)
class Flips:
    """Answers that differ between two runs, over the items that both have answered."""

    n: int
    changed: int
    """Items with another answer; one that only one run's output could be read as counts."""
    to_right: int | None
    """Wrong in A and right in B; None where answers are not right or wrong."""
    to_wrong: int | None
    """Right in A and wrong in B."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took."""

    model: ModelInfo
    quantization: str
    """What the run asked for; where that is `none`, how the weights are quantized in the files, if they are."""
    items: int
    """Items with an output."""
    seconds: float
    """That answering them took, without loading."""
    paid: Paid | None = None
    """What they cost; None where nothing is paid."""

    @property
    def items_per_s(self) -> float | None:
        """None where nothing was measured."""
        return self.items / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class LogprobDifference:
    """What two runs give one answer of an item."""

    item_id: str
    answer: str
    """As the prompt asks for it."""
    a: float
    """Summed log-probability (natural logarithm) in A."""
    b: float

    @property
    def size(self) -> float:
        """How far they are apart, in nats."""
        return abs(self.b - self.a)


@dataclass(frozen=True, slots=True)
class LogprobAgreement:
    """How far two runs' log-probabilities of the same answers are apart: means over the items, each with its 95 %
    bootstrap interval over items. Formulas are in `scoring.agreement`."""

    kl: Estimate
    """KL(A‖B) in nats, between the probabilities renormalised over an item's choices."""
    total_variation: Estimate
    """Between the same probabilities; from 0 to 1."""
    bits_a: Estimate
    """Bits per character of the gold answer in A: the mean over items of each item's own ratio."""
    bits_b: Estimate
    bits_difference: Estimate
    """B minus A, paired."""
    mean_difference: Estimate
    """|log P in B − log P in A| in nats, over all answers of an item; not renormalised."""
    largest: LogprobDifference
    """The largest such difference of all items and answers; of equal ones the first."""


@dataclass(frozen=True, slots=True)
class TextAgreement:
    """How far the generated texts of two runs are the same, character by character; a character is a code point."""

    n: int
    """Items for which both have generated a text."""
    identical: int
    median: float | None
    """Over the items whose texts differ, the median of how many characters come before the first that differs; None if
    all are identical."""
    earliest: int | None
    """The least such number."""
    earliest_item: str
    """The first item that has it; empty if all texts are identical."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two runs agree on one subset, right or wrong."""

    logprobs: LogprobAgreement | None
    """None where no item has log-probabilities of the same answers on both sides, or they are approximate."""
    texts: TextAgreement | None
    """None where no item has a generated text on both sides."""
    other_answers: int = 0
    """Items with log-probabilities on both sides that are not compared, since the runs ranked other texts, or which
    texts is not known."""
    approximate: bool = False
    """Whether log-probabilities are not compared because a side ranks answers by less than their whole texts."""


@dataclass(frozen=True, slots=True)
class ItemAgreement:
    """How far two runs agree on one item; see `Agreement`."""

    kl: float | None
    """KL(A‖B) in nats; None unless both have log-probabilities of the same answers."""
    total_variation: float | None
    first_difference: int | None
    """Characters before the first that differs; None if the texts are identical, or one is missing."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side."""

    a: Report
    b: Report
    differences: Mapping[str, Mapping[str, Difference]]
    """Task → metric → difference, strict reading."""
    lenient: Mapping[str, Mapping[str, Difference]]
    """The same for the lenient reading."""
    choose: Mapping[str, Mapping[str, Difference]]
    """The same for log-likelihood ranking."""
    average: Difference | None = None
    """Of the averages over the subsets' main metrics; None unless both runs have one over the same subsets."""
    flips: Mapping[str, Mapping[str, Flips]] = field(default_factory=dict)
    """Task → reading (`strict`, `choose`) → on how many items the answers differ."""
    cost: tuple[Cost, Cost] | None = None
    """Of A and of B; None unless both models are known."""
    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    """Task → how far log-probabilities and texts are the same; no entry where there is nothing to compare. It depends
    on no protocol."""
    common: tuple[Report, Report] | None = None
    """Both reports over just the items that the difference of each subset's main metric rests on; see `main`."""

    def main(self, task: str) -> Difference | None:
        """Of a subset's main metric: of the strict reading, else of the ranking. None if there is no number."""
        metrics = self.differences.get(task) or self.choose.get(task) or {}
        first = next(iter(metrics.values()), None)
        return first if first is not None and first.difference.value is not None else None


@dataclass(frozen=True, slots=True)
class Preset:
    """The settings with which the system behind a protocol runs a model."""

    style: str
    """Wording style, which also brings the token limits and stop strings."""
    shots: int = 0
    shots_by_task: tuple[tuple[str, int], ...] = ()
    method: str = "generate"
    format: str = "plain"
    repetition_penalty: tuple[tuple[str, float], ...] = ()
    """(subset, penalty) where it has one; see `Decoding`."""
    oracle_length: bool = False
    """Whether it cuts JSQuAD answers at the length of the longest gold answer; see `Decoding`."""


@dataclass(frozen=True, slots=True)
class CodeSource:
    """Where a system's own code decides something."""

    repository: str
    """`owner/name` on GitHub, or a package of PyPI as `name version`."""
    commit: str
    """Commit, branch or tag; empty for a package."""
    path: str
    lines: str = ""
    """Line range, such as `12–30`; empty where the whole file says it."""

    @property
    def url(self) -> str:
        """Where it can be read."""
        if "/" not in self.repository:
            return f"https://pypi.org/project/{self.repository.replace(' ', '/')}/"
        # Of a branch, the date when it was read stands behind its name.
        place = f"https://github.com/{self.repository}/blob/{self.commit.split(',')[0]}/{self.path}"
        lines = self.lines.split("–")
        return f"{place}#L{'-L'.join(lines)}" if all(line.isdecimal() for line in lines) else place

    def __str__(self) -> str:
        """For people: `owner/name@commit path:12–30`."""
        at = f"@{self.commit}" if self.commit else ""
        return f"{self.repository}{at} {self.path}" + (f":{self.lines}" if self.lines else "")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a system decides about one subset once the outputs are there. Each field is one decision; the names of their
    values are explained in `protocols.decisions`."""

    metrics: tuple[str, ...]
    """Metric names, the main one first."""
    evidence: str = "text"
    """`text`, or `log_likelihood` of the choices: then `text`, `reading` and `unreadable` mean nothing."""
    items: str = "all"
    """Which items are scored: `all`, or `short_references` (those whose lexicographically largest reference has at most
    37.5 characters)."""
    labels: str = "file"
    """Version of the labels that answers are held against: that of the `file`, or `v1.1` where the file is JNLI dev."""
    thought: str = "kept"
    """A thought before the answer is part of the text (`kept`), or not (`left_out`)."""
    text: tuple[tuple[str, str], ...] = ()
    """(step, sides): what is done to texts before they are compared, in this order. Sides are `prediction` or `both`,
    which is the references too."""
    reading: str = "asked"
    """How an answer is found in what is left; explained in `decisions.VALUES`."""
    references: str = "all"
    """A span is compared with `all` references or the `first`."""
    clip: bool = False
    """Whether a similarity off the scale is set to its nearer end."""
    unreadable: str | float | None = None
    """What an unreadable answer counts as; None for wrong, in JSTS for left out of the correlation."""
    undefined: str = "none"
    """What a correlation that is undefined counts as: `none` (there is no score) or `zero`."""
    f1: str = ""
    """How near a span is to a reference; a key of `span_similarity.F1_FUNCTIONS`, empty without such a metric."""


@dataclass(frozen=True, slots=True)
class ScoringProtocol:
    """How one system scores stored records."""

    name: str
    """Key in `PROTOCOLS`."""
    metrics: Mapping[str, tuple[str, ...]]
    """Subset → metric names, the main one first; a subset that is not here is not scored."""
    judge: Callable[[Task, Item, Record], Judgement]
    """What it makes of one record; never raises, whatever the output holds."""
    ranked: frozenset[str] = frozenset()
    """Subsets decided by log-likelihood instead of text."""
    defaults: Mapping[str, str | float] = field(default_factory=dict)
    """Subset → what an unreadable output counts as, if the system has such a default."""
    first_reference_only: bool = False
    """Whether a span is compared with the first reference alone."""
    lenient: bool = False
    """Whether it has a lenient reading and log-likelihood rankings beside the score."""
    literal: frozenset[str] = frozenset()
    """Subsets whose answers are read as the official labels whatever the prompt asked for."""
    preset: Preset | None = None
    """None for a protocol that suits any run."""
    rules: Mapping[str, Rules] = field(default_factory=dict)
    """Subset → its decisions, of the strict reading."""
    sources: Mapping[str, Mapping[str, CodeSource]] = field(default_factory=dict)
    """Subset, or empty for all → decision, or empty for the others → where the system's own code says it."""
    generation: Mapping[str, tuple[str, CodeSource]] = field(default_factory=dict)
    """Decisions that shape the outputs themselves, a key of `decisions.GENERATION` → (what it is, where it says so)."""
    variant_of: str = ""
    """The name of the protocol that this is a variant of; empty if it is none."""
