"""What one published score is consistent with. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from jglue_app.audit import exact, versus
from jglue_app.audit.asked import Asked, Constant, constants, numbers, on_constant
from jglue_app.audit.facts import CORRELATIONS, MEANS, PARTS, SHARES, SIGNED, SYSTEMS, Edition, scope
from jglue_app.audit.printed import Printed
from jglue_app.audit.published import Published
from jglue_app.audit.sentences import WEIGHTS, Fact, Finding, Weight, finding
from jglue_app.audit.versus import Compared
from jglue_app.messages import Message

USUAL_SYSTEM = "wandb-2023"
"""Whose defaults are looked at where no system is named: it alone has defaults that are labels."""
SINGLE = 7
"""Decimals of single precision."""


def findings(asked: Asked, rows: Sequence[Published]) -> tuple[list[Finding], list[Compared]]:
    """What a score is consistent with, the weightiest first, and the published scores beside it, the nearest first."""
    first = list(_constants(asked))
    n, edition, certain = asked.items()
    compared = versus.compare(asked, n, rows)
    told = {f.facts["n"] for f in first if f.kind in ("constant", "constant_among", "constant_cut")}
    found = [
        *first,
        *_digits(asked, told),
        *_floors(asked, n, {f.kind for f in first}),
        *_interval(asked, n),
        *versus.findings(asked, n, compared, rows),
        *_reading(asked),
    ]
    if not certain:
        found.append(finding("n_assumed", "info", n=n, edition=edition.name))
    # Whoever meant the other scale need not read on.
    return sorted(found, key=lambda f: (WEIGHTS.index(f.weight), f.kind != "scale_open")), compared


# --- constants -------------------------------------------------------------------------------------------


def _constants(asked: Asked) -> Iterator[Finding]:
    of, printed, metric = asked.of, asked.printed, asked.metric
    known = constants(asked.editions)
    answers: set[str] = set()
    if of.labels and asked.taken in SHARES:
        for constant in known:
            if found := on_constant(printed, constant):
                answers.add(constant.answer)
                yield found
        if not known:
            yield finding("constants_unknown", "info", score=printed.text, task=of.title)
    if of.labels and metric in (None, "balanced_accuracy") and _is_one_label(printed, len(of.labels)):
        answers |= set(of.labels)
        yield finding("constant_balanced", "alert", score=printed.text, classes=len(of.labels))
    if of.labels and metric in (None, "macro_f1"):
        for found in _macro(printed, known, len(of.labels), certain=metric is not None):
            answers.add(str(found.facts["answer"]))
            yield found
    if asked.taken in SIGNED and printed.value == 0:
        answers |= set(of.labels)
        yield finding("constant_mcc" if metric == "mcc" else "constant_correlation", "alert")
    system = SYSTEMS[asked.system or USUAL_SYSTEM]
    if system.defaults.get(of.name) in answers:
        yield finding("default", "alert", system=system.title, answer=system.defaults[of.name])


def _is_one_label(printed: Printed, classes: int) -> bool:
    """Whether a balanced accuracy is that of one constant: one of the labels, to two digits at least."""
    share = Fraction(1, classes)
    fine = printed.unit <= Fraction(1, 100)
    return printed.value == share or (fine and (printed.rounds(share) or printed.cuts(share)))


def _macro(printed: Printed, known: Sequence[Constant], classes: int, *, certain: bool) -> Iterator[Finding]:
    for constant in known:
        macro = exact.macro_f1_of_constant(constant.share, classes)
        if printed.rounds(macro) and (certain or printed.digits > 2):
            yield finding(
                "constant_macro",
                "alert" if certain else "note",
                score=printed.text,
                answer=constant.answer,
                edition=constant.edition.name,
                full=printed.show(macro, 2),
                k=constant.k,
                n=constant.edition.n,
            )


# --- digits ----------------------------------------------------------------------------------------------


def _digits(asked: Asked, told: set[Fact]) -> Iterator[Finding]:
    """Whether the digits can be a share of right answers; no more on numbers of items that a constant has told of."""
    printed, metric = asked.printed, asked.taken
    if metric in MEANS:
        yield finding("mean_unchecked", "info", metric=metric)
    if metric == "balanced_accuracy":
        yield from _balanced(asked)
    if asked.system and asked.n:
        usual = SYSTEMS[asked.system].sizes.get(asked.of.name, ())
        if usual and asked.n not in usual:
            title = SYSTEMS[asked.system].title
            yield finding("system_size", "alert", system=title, sizes=numbers(usual), task=asked.of.title, n=asked.n)
    if metric not in SHARES:
        return
    sizes = tuple(dict.fromkeys(e.n for e in asked.editions))
    rounding = [n for n in sizes if exact.counts(printed, n)]
    fitting = rounding or [n for n in sizes if exact.cut_counts(printed, n)]
    if not rounding:
        yield from _parts(asked, sizes)
    if not fitting:
        yield _none(printed, sizes)
        return
    if fitting[0] not in told:
        yield _fits(printed, fitting[0])
    if asked.n is None and len(sizes) > 1:
        sets = tuple(Message("{edition} {n:,}", edition=Message(e.name), n=e.n) for e in asked.editions)
        unfit = numbers([n for n in sizes if n not in fitting])
        yield finding("fits_sizes" if unfit else "fits_every_size", fitting=numbers(fitting), unfit=unfit, sets=sets)


def _fits(printed: Printed, n: int) -> Finding:
    rounding = exact.counts(printed, n)
    counts = rounding or exact.cut_counts(printed, n)
    kind = "fits_cut" if not rounding else "fits_one" if len(counts) == 1 else "fits_range"
    return finding(
        kind,
        "alert" if kind == "fits_cut" else "note",
        score=printed.text,
        n=n,
        k=counts[0],
        low=counts[0],
        high=counts[-1],
        full=printed.show(Fraction(counts[0], n), 2),
    )


def _none(printed: Printed, sizes: Sequence[int]) -> Finding:
    n = sizes[0]
    below, above = exact.neighbours(printed, n)
    return finding(
        "fits_none",
        "alert",
        score=printed.text,
        sizes=numbers(sizes),
        n=n,
        k=below,
        full=printed.show(Fraction(below, n), 2),
        k_next=above,
        full_next=printed.show(Fraction(above, n), 2),
    )


def _parts(asked: Asked, sizes: Sequence[int]) -> Iterator[Finding]:
    """Round numbers of items that a score fits where it fits none that is known."""
    printed = asked.printed
    new = [part for part in PARTS if part < asked.of.editions[0].n and part not in sizes]
    parts = [part for part in new if exact.tells(printed, part) and exact.counts(printed, part)]
    if parts and asked.n is None:
        yield finding("fits_part", sizes=numbers(parts))


def _balanced(asked: Asked) -> Iterator[Finding]:
    edition: Edition | None = next((e for e in asked.editions if e.counts), None)
    if edition:
        low, high = exact.accuracies(asked.printed.value, edition.counts)
        show = asked.printed.show
        yield finding("balanced_range", score=asked.printed.text, low=show(low), high=show(high), edition=edition.name)


# --- certainty and floors --------------------------------------------------------------------------------


def _interval(asked: Asked, n: int) -> Iterator[Finding]:
    interval, metric = asked.interval(n), asked.taken
    if interval is None:
        yield finding("interval_none", metric=metric)
        return
    kinds = {"balanced_accuracy": "interval_balanced"}
    kinds |= dict.fromkeys(MEANS, "interval_mean") | dict.fromkeys(CORRELATIONS, "interval_correlation")
    show = asked.printed.show
    yield finding(kinds.get(metric, "interval"), low=show(interval[0]), high=show(interval[1]), n=n)


def _floors(asked: Asked, n: int, on: set[str]) -> Iterator[Finding]:
    interval, printed, of, metric = asked.interval(n), asked.printed, asked.of, asked.taken
    if interval is None:
        return
    low, high = interval
    if metric in CORRELATIONS and low <= 0 <= high and printed.value != 0:
        yield finding("at_zero", "alert", score=printed.text)
    if not of.labels:
        return
    if metric in SHARES:
        known = [c for c in constants(asked.editions) if c.edition.n == n]
        best = max(known, key=lambda c: c.share, default=None)
        # Of that label, the edition that comes first is the likeliest.
        best = next((c for c in known if best and c.answer == best.answer), None)
        if best and not printed.rounds(best.share):
            yield _against(printed, interval, "majority", best)
        yield from _silence(asked, interval, known)
    chance = 1 / len(of.labels)
    if metric in (*SHARES, "balanced_accuracy") and low <= chance <= high and "constant_balanced" not in on:
        yield finding("at_chance", score=printed.text, classes=len(of.labels), floor=printed.show(chance))


def _against(
    printed: Printed, interval: tuple[float, float], floor: str, constant: Constant, system: str = ""
) -> Finding:
    share = float(constant.share)
    place = "below" if interval[1] < share else "above" if interval[0] > share else "at"
    weights: dict[str, Weight] = {"below": "alert", "at": "note", "above": "info"}
    return finding(
        f"{place}_{floor}",
        weights[place],
        score=printed.text,
        floor=printed.show(share),
        answer=constant.answer,
        edition=constant.edition.name,
        system=system,
        k=constant.k,
        n=constant.edition.n,
    )


def _silence(asked: Asked, interval: tuple[float, float], known: Sequence[Constant]) -> Iterator[Finding]:
    """A score beside that of never giving a readable answer."""
    name = asked.system or USUAL_SYSTEM
    system = SYSTEMS[name]
    default = system.defaults.get(asked.of.name)
    if default is None:
        if asked.system and asked.system not in ("nejumi-neo", "nejumi-4"):
            yield finding("silence_never" if system.ranks else "silence_zero", "info", system=system.title)
        return
    usual = scope(asked.of, name, asked.n)
    constant = next((c for c in known if c.answer == default and c.edition in usual), None)
    if constant and not asked.printed.rounds(constant.share):
        yield _against(asked.printed, interval, "silence", constant, system.title)


# --- how it was read -------------------------------------------------------------------------------------


def _reading(asked: Asked) -> Iterator[Finding]:
    printed = asked.printed
    if not printed.sure:
        yield finding(
            "scale_open",
            "alert",
            score=printed.text,
            as_fraction=_percent(printed),
            as_percent=f"{printed.text} %",
        )
    elif printed.value:
        decimals = min(max(printed.digits, 1), SINGLE)
        other = f"{float(printed.value):.{decimals}f}" if printed.scale == "percent" else _percent(printed)
        yield finding(f"scale_{printed.scale}", "info", score=printed.text, value=other)
    if asked.metric is None:
        yield finding("metric_assumed", "info", metric=asked.taken, task=asked.of.title, others=asked.of.metrics[1:])


def _percent(printed: Printed) -> str:
    """A fraction as a percentage with the same digits."""
    return f"{100 * float(printed.value):.{min(max(0, printed.digits - 2), SINGLE)}f} %"
