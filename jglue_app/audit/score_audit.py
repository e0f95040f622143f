"""What one published score is consistent with. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from jglue_app.audit import grim, published_comparison
from jglue_app.audit.benchmarks import COMMON_SAMPLE_SIZES, CORRELATIONS, MEANS, SHARES, SIGNED, SYSTEMS, Edition, scope
from jglue_app.audit.published import Published
from jglue_app.audit.published_comparison import PublishedComparison
from jglue_app.audit.query import AuditQuery, Constant, constants, match_constant, numbers
from jglue_app.audit.reported_score import ReportedScore
from jglue_app.audit.sentences import WEIGHTS, Fact, Finding, Weight, finding
from jglue_app.messages import Message

DEFAULT_SYSTEM = "wandb-2023"
"""Whose defaults are looked at where no system is named: it alone has defaults that are labels."""
SINGLE_PRECISION_DECIMALS = 7
"""Decimals of single precision."""


def score_findings(query: AuditQuery, rows: Sequence[Published]) -> tuple[list[Finding], list[PublishedComparison]]:
    """What a score is consistent with, the weightiest first, and the published scores beside it, the nearest first."""
    first = list(_constants(query))
    n, edition, certain = query.items()
    compared = published_comparison.compare(query, n, rows)
    constant_sizes = {f.facts["n"] for f in first if f.kind in ("constant", "constant_among", "constant_cut")}
    findings = [
        *first,
        *_digits(query, constant_sizes),
        *_floors(query, n, {f.kind for f in first}),
        *_interval(query, n),
        *published_comparison.comparison_findings(query, n, compared, rows),
        *_scale_and_metric(query),
    ]
    if not certain:
        findings.append(finding("n_assumed", "info", n=n, edition=edition.name))
    # A reader who meant the other scale need not read on.
    return sorted(findings, key=lambda f: (WEIGHTS.index(f.weight), f.kind != "scale_open")), compared


# --- constants -------------------------------------------------------------------------------------------


def _constants(query: AuditQuery) -> Iterator[Finding]:
    subset, score, metric = query.of, query.score, query.metric
    known = constants(query.editions)
    answers: set[str] = set()
    if subset.labels and query.effective_metric in SHARES:
        for constant in known:
            if match := match_constant(score, constant):
                answers.add(constant.answer)
                yield match
        if not known:
            yield finding("constants_unknown", "info", score=score.text, task=subset.title)
    if subset.labels and metric in (None, "balanced_accuracy") and _is_one_label(score, len(subset.labels)):
        answers |= set(subset.labels)
        yield finding("constant_balanced", "alert", score=score.text, classes=len(subset.labels))
    if subset.labels and metric in (None, "macro_f1"):
        for match in _macro(score, known, len(subset.labels), certain=metric is not None):
            answers.add(str(match.facts["answer"]))
            yield match
    if query.effective_metric in SIGNED and score.value == 0:
        answers |= set(subset.labels)
        yield finding("constant_mcc" if metric == "mcc" else "constant_correlation", "alert")
    system = SYSTEMS[query.system or DEFAULT_SYSTEM]
    if system.defaults.get(subset.name) in answers:
        yield finding("default", "alert", system=system.title, answer=system.defaults[subset.name])


def _is_one_label(score: ReportedScore, classes: int) -> bool:
    """Whether a balanced accuracy is that of one constant: one of the labels, to two digits at least."""
    share = Fraction(1, classes)
    fine = score.unit <= Fraction(1, 100)
    return score.value == share or (fine and (score.rounds(share) or score.cuts(share)))


def _macro(score: ReportedScore, known: Sequence[Constant], classes: int, *, certain: bool) -> Iterator[Finding]:
    for constant in known:
        macro = grim.macro_f1_of_constant(constant.share, classes)
        if score.rounds(macro) and (certain or score.digits > 2):
            yield finding(
                "constant_macro",
                "alert" if certain else "note",
                score=score.text,
                answer=constant.answer,
                edition=constant.edition.name,
                full=score.show(macro, 2),
                k=constant.right,
                n=constant.edition.n,
            )


# --- digits ----------------------------------------------------------------------------------------------


def _digits(query: AuditQuery, constant_sizes: set[Fact]) -> Iterator[Finding]:
    """Whether the digits can be a share of right answers; no more on numbers of items that a constant has told of."""
    score, metric = query.score, query.effective_metric
    if metric in MEANS:
        yield finding("mean_unchecked", "info", metric=metric)
    if metric == "balanced_accuracy":
        yield from _balanced(query)
    if query.system and query.n:
        system_sizes = SYSTEMS[query.system].sizes.get(query.of.name, ())
        if system_sizes and query.n not in system_sizes:
            title = SYSTEMS[query.system].title
            yield finding(
                "system_size", "alert", system=title, sizes=numbers(system_sizes), task=query.of.title, n=query.n
            )
    if metric not in SHARES:
        return
    sizes = tuple(dict.fromkeys(e.n for e in query.editions))
    rounding = [n for n in sizes if grim.counts(score, n)]
    fitting = rounding or [n for n in sizes if grim.truncated_counts(score, n)]
    if not rounding:
        yield from _sample_sizes(query, sizes)
    if not fitting:
        yield _no_fit(score, sizes)
        return
    if fitting[0] not in constant_sizes:
        yield _fitting_counts(score, fitting[0])
    if query.n is None and len(sizes) > 1:
        sets = tuple(Message("{edition} {n:,}", edition=Message(e.name), n=e.n) for e in query.editions)
        unfit = numbers([n for n in sizes if n not in fitting])
        yield finding("fits_sizes" if unfit else "fits_every_size", fitting=numbers(fitting), unfit=unfit, sets=sets)


def _fitting_counts(score: ReportedScore, n: int) -> Finding:
    rounding = grim.counts(score, n)
    counts = rounding or grim.truncated_counts(score, n)
    kind = "fits_cut" if not rounding else "fits_one" if len(counts) == 1 else "fits_range"
    return finding(
        kind,
        "alert" if kind == "fits_cut" else "note",
        score=score.text,
        n=n,
        k=counts[0],
        low=counts[0],
        high=counts[-1],
        full=score.show(Fraction(counts[0], n), 2),
    )


def _no_fit(score: ReportedScore, sizes: Sequence[int]) -> Finding:
    n = sizes[0]
    below, above = grim.neighbours(score, n)
    return finding(
        "fits_none",
        "alert",
        score=score.text,
        sizes=numbers(sizes),
        n=n,
        k=below,
        full=score.show(Fraction(below, n), 2),
        k_next=above,
        full_next=score.show(Fraction(above, n), 2),
    )


def _sample_sizes(query: AuditQuery, sizes: Sequence[int]) -> Iterator[Finding]:
    """Round numbers of items that a score fits where it fits none that is known."""
    score = query.score
    new = [part for part in COMMON_SAMPLE_SIZES if part < query.of.editions[0].n and part not in sizes]
    parts = [part for part in new if grim.is_distinctive(score, part) and grim.counts(score, part)]
    if parts and query.n is None:
        yield finding("fits_part", sizes=numbers(parts))


def _balanced(query: AuditQuery) -> Iterator[Finding]:
    edition: Edition | None = next((e for e in query.editions if e.counts), None)
    if edition:
        low, high = grim.accuracies(query.score.value, edition.counts)
        show = query.score.show
        yield finding("balanced_range", score=query.score.text, low=show(low), high=show(high), edition=edition.name)


# --- certainty and floors --------------------------------------------------------------------------------


def _interval(query: AuditQuery, n: int) -> Iterator[Finding]:
    interval, metric = query.interval(n), query.effective_metric
    if interval is None:
        yield finding("interval_none", metric=metric)
        return
    kinds = {"balanced_accuracy": "interval_balanced"}
    kinds |= dict.fromkeys(MEANS, "interval_mean") | dict.fromkeys(CORRELATIONS, "interval_correlation")
    show = query.score.show
    yield finding(kinds.get(metric, "interval"), low=show(interval[0]), high=show(interval[1]), n=n)


def _floors(query: AuditQuery, n: int, on: set[str]) -> Iterator[Finding]:
    interval, score, subset, metric = query.interval(n), query.score, query.of, query.effective_metric
    if interval is None:
        return
    low, high = interval
    if metric in CORRELATIONS and low <= 0 <= high and score.value != 0:
        yield finding("at_zero", "alert", score=score.text)
    if not subset.labels:
        return
    if metric in SHARES:
        known = [c for c in constants(query.editions) if c.edition.n == n]
        best = max(known, key=lambda c: c.share, default=None)
        # Of that label, the edition that comes first is the likeliest.
        best = next((c for c in known if best and c.answer == best.answer), None)
        if best and not score.rounds(best.share):
            yield _beside_floor(score, interval, "majority", best)
        yield from _unreadable_baseline(query, interval, known)
    chance = 1 / len(subset.labels)
    if metric in (*SHARES, "balanced_accuracy") and low <= chance <= high and "constant_balanced" not in on:
        yield finding("at_chance", score=score.text, classes=len(subset.labels), floor=score.show(chance))


def _beside_floor(
    score: ReportedScore, interval: tuple[float, float], floor: str, constant: Constant, system: str = ""
) -> Finding:
    share = float(constant.share)
    place = "below" if interval[1] < share else "above" if interval[0] > share else "at"
    weights: dict[str, Weight] = {"below": "alert", "at": "note", "above": "info"}
    return finding(
        f"{place}_{floor}",
        weights[place],
        score=score.text,
        floor=score.show(share),
        answer=constant.answer,
        edition=constant.edition.name,
        system=system,
        k=constant.right,
        n=constant.edition.n,
    )


def _unreadable_baseline(
    query: AuditQuery, interval: tuple[float, float], known: Sequence[Constant]
) -> Iterator[Finding]:
    """A score beside that of never giving a readable answer."""
    name = query.system or DEFAULT_SYSTEM
    system = SYSTEMS[name]
    default = system.defaults.get(query.of.name)
    if default is None:
        if query.system and query.system not in ("nejumi-neo", "nejumi-4"):
            yield finding("silence_never" if system.ranks else "silence_zero", "info", system=system.title)
        return
    system_editions = scope(query.of, name, query.n)
    constant = next((c for c in known if c.answer == default and c.edition in system_editions), None)
    if constant and not query.score.rounds(constant.share):
        yield _beside_floor(query.score, interval, "silence", constant, system.title)


# --- how it was read -------------------------------------------------------------------------------------


def _scale_and_metric(query: AuditQuery) -> Iterator[Finding]:
    score = query.score
    if not score.sure:
        yield finding(
            "scale_open",
            "alert",
            score=score.text,
            as_fraction=_percent(score),
            as_percent=f"{score.text} %",
        )
    elif score.value:
        decimals = min(max(score.digits, 1), SINGLE_PRECISION_DECIMALS)
        other = f"{float(score.value):.{decimals}f}" if score.scale == "percent" else _percent(score)
        yield finding(f"scale_{score.scale}", "info", score=score.text, value=other)
    if query.metric is None:
        yield finding(
            "metric_assumed", "info", metric=query.effective_metric, task=query.of.title, others=query.of.metrics[1:]
        )


def _percent(score: ReportedScore) -> str:
    """A fraction as a percentage with the same digits."""
    return f"{100 * float(score.value):.{min(max(0, score.digits - 2), SINGLE_PRECISION_DECIMALS)}f} %"
