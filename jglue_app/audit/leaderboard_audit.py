"""What a whole leaderboard is consistent with: floors, impossible scores, groups that cannot be told apart. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from jglue_app.audit import grim, intervals
from jglue_app.audit.benchmarks import CORRELATIONS, MEANS, SHARES, SYSTEMS
from jglue_app.audit.column_scores import names, read_cells, short
from jglue_app.audit.query import AuditQuery, constants, match_constant, numbers
from jglue_app.audit.reported_score import ReportedScore, Scale, is_missing
from jglue_app.audit.score_audit import DEFAULT_SYSTEM
from jglue_app.audit.sentences import WEIGHTS, Finding, finding
from jglue_app.audit.table import Column, Table
from jglue_app.messages import Message

SCALE_KINDS = ("board_percent", "board_fraction", "board_percent_said", "board_fraction_said")
"""What `read_cells` says of the scale of a column."""
MAX_NAMED_GROUPS = 5
"""Groups that a sentence names."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One model in one column."""

    model: str
    query: AuditQuery
    n: int
    """Items that the comparison is for."""
    interval: tuple[float, float] | None
    indistinguishable: tuple[str, ...] = ()
    """Models that it cannot be told from."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """One column, its models from best to worst."""

    title: str
    task: str
    metric: str
    standings: tuple[Standing, ...]
    groups: tuple[tuple[str, ...], ...] = ()
    """Largest runs of neighbours of whom no two can be told apart."""


def audit_leaderboard(
    table: Table, system: str | None = None, scale: Scale | None = None
) -> tuple[list[Finding], list[Ranking]]:
    """What a leaderboard is consistent with, the weightiest first, and the ranking of each of its columns.

    Args:
        table: the leaderboard.
        system: a key of `benchmarks.SYSTEMS` that has made it.
        scale: of its scores; None to decide by the values of each column.
    """
    titles = tuple(_column_title(column) for column in table.columns)
    rows = len(table.models)
    if table.ignored:
        findings = [finding("read_columns", "info", rows=rows, columns=titles, ignored=table.ignored)]
    else:
        findings = [finding("read_columns_all", "info", rows=rows, columns=titles)]
    findings += _repeated_models(table)
    rankings = []
    read: list[list[ReportedScore | None]] = []
    for column in table.columns:
        cells, cell_findings = read_cells(table.models, column, scale)
        read.append(cells)
        findings += cell_findings
        query = _queries(column, cells, system)
        standings = [
            Standing(
                model,
                model_query,
                _item_count(model_query, column.n[i]),
                model_query.interval(_item_count(model_query, column.n[i])),
            )
            for i, (model, model_query) in enumerate(zip(table.models, query, strict=True))
            if model_query is not None
        ]
        findings += _column_findings(column, standings, system)
        ranking, ranking_findings = _ranking(column, standings)
        rankings.append(ranking)
        findings += ranking_findings
    findings += _exact_match_above_f1(table, read)
    return sorted(_merge_scale_findings(findings), key=lambda f: WEIGHTS.index(f.weight)), rankings


def _merge_scale_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Findings with those on the scale of columns as one for each scale."""
    columns: dict[str, list[str]] = {}
    for item in findings:
        if item.kind in SCALE_KINDS:
            columns.setdefault(item.kind, []).append(str(item.facts["columns"]))
    rest = [item for item in findings if item.kind not in SCALE_KINDS]
    return rest + [finding(kind, "info", columns=tuple(titles)) for kind, titles in columns.items()]


def _column_title(column: Column) -> str:
    if column.metric_given or column.of.name not in ("jsts", "jsquad"):
        return column.title
    if column.of.name == "jsts":
        return Message("{column} (pearson / spearman ?)", column=column.title)
    return Message("{column} (exact match / F1 ?)", column=column.title)


def _model_and_score(standing: Standing) -> str:
    return f"{short(standing.model)} {standing.query.score.text}"


# --- cells -----------------------------------------------------------------------------------------------


def _queries(column: Column, cells: Sequence[ReportedScore | None], system: str | None) -> list[AuditQuery | None]:
    """The scores with the number of items of their row; without one, of the set that all of them fit."""
    n = None
    if column.metric in SHARES and column.metric_given | (column.of.labels != ()):
        editions = AuditQuery(column.of, _PLACEHOLDER, column.metric, None, system).editions
        given = [p for p, n in zip(cells, column.n, strict=True) if p is not None and n is None]
        fine = [p for p in given if grim.is_distinctive(p, editions[0].n)]
        fitting = dict.fromkeys(e.n for e in editions if all(grim.counts(p, e.n) for p in given))
        n = next(iter(fitting), None) if fine else None
    return [
        None if p is None else AuditQuery(column.of, p, column.metric, row_items or n, system)
        for p, row_items in zip(cells, column.n, strict=True)
    ]


_PLACEHOLDER = ReportedScore("0", Fraction(0), Fraction(1), "fraction", True)


def _item_count(query: AuditQuery, given: int | None) -> int:
    return given or query.n or query.editions[0].n


# --- one column ------------------------------------------------------------------------------------------


def _column_findings(column: Column, standings: Sequence[Standing], system: str | None) -> Iterator[Finding]:
    if not standings:
        return
    title, subset = column.title, column.of
    if column.metric in SHARES and subset.labels:
        yield from _floors(column, standings, system)
    if column.metric == "balanced_accuracy" and subset.labels:
        share = Fraction(1, len(subset.labels))
        who = [s.model for s in standings if s.query.score.digits > 1 and s.query.score.rounds(share)]
        if who:
            yield finding("board_balanced", "alert", column=title, who=names(who), classes=len(subset.labels))
    if column.metric in (*CORRELATIONS, "mcc"):
        who = [s.model for s in standings if s.query.score.value == 0]
        if who:
            yield finding("board_zero", "alert", column=title, who=names(who))
    if column.metric in SHARES:
        yield from _digits(column, standings)


def _floors(column: Column, standings: Sequence[Standing], system: str | None) -> Iterator[Finding]:
    """Scores on a constant answer's, and scores below the best of these."""
    title = column.title
    hits: dict[tuple[str, str, str, int, int], list[str]] = {}
    places: dict[str, list[str]] = {"below": [], "at": []}
    best = None
    for standing in standings:
        known = constants(standing.query.editions)
        for constant in known:
            match = match_constant(standing.query.score, constant)
            if match:
                kind = "board_constant_among" if match.kind == "constant_among" else "board_constant"
                key = (kind, constant.answer, constant.edition.name, constant.right, constant.edition.n)
                hits.setdefault(key, []).append(f"{standing.model} {standing.query.score.text}")
        top = max((c for c in known if c.edition.n == standing.n), key=lambda c: c.share, default=None)
        if top and standing.interval and standing.interval[0] <= top.share:
            best = best or next(c for c in known if c.answer == top.answer)
            places["below" if standing.interval[1] < top.share else "at"].append(standing.model)
    for (kind, answer, edition, k, n), who in hits.items():
        yield finding(
            kind,
            "alert" if kind == "board_constant" else "note",
            column=title,
            answer=answer,
            edition=edition,
            k=k,
            n=n,
            who=names(who),
        )
    default = SYSTEMS[system or DEFAULT_SYSTEM].defaults.get(column.of.name)
    if default and any(kind == "board_constant" and answer == default for kind, answer, *_ in hits):
        yield finding("board_default", column=title, system=SYSTEMS[system or DEFAULT_SYSTEM].title, answer=default)
    for place, who in places.items():
        if best and who:
            yield finding(
                f"board_{place}",
                "alert" if place == "below" else "note",
                column=title,
                count=len(who),
                all=len(standings),
                floor=standings[0].query.score.show(best.share),
                answer=best.answer,
                edition=best.edition.name,
                who=names(who),
            )


def _digits(column: Column, standings: Sequence[Standing]) -> Iterator[Finding]:
    """Whether the digits can be shares of right answers."""
    bad: dict[tuple[int, ...], list[str]] = {}
    for standing in standings:
        score = standing.query.score
        sizes = tuple(dict.fromkeys(e.n for e in standing.query.editions))
        if not any(grim.counts(score, n) or grim.truncated_counts(score, n) for n in sizes):
            bad.setdefault(sizes, []).append(f"{standing.model} {score.text}")
    for sizes, who in bad.items():
        yield finding("board_impossible", "alert", column=column.title, sizes=numbers(sizes), who=names(who))
    fine = [s for s in standings if grim.is_distinctive(s.query.score, s.n)]
    if bad or len(fine) < 2 or any(column.n):
        return
    editions = AuditQuery(column.of, _PLACEHOLDER, column.metric, None, standings[0].query.system).editions
    every = tuple(dict.fromkeys(e.n for e in editions))
    fitting = [n for n in every if all(grim.counts(s.query.score, n) for s in standings)]
    if fitting:
        expected = sum(min(1.0, float(2 * s.query.score.half * fitting[0])) for s in standings)
        yield finding(
            "board_sizes",
            column=column.title,
            count=len(standings),
            fitting=numbers(fitting),
            expected=f"{expected:.1f}",
        )


# --- who can be told from whom ---------------------------------------------------------------------------


def _ranking(column: Column, standings: Sequence[Standing]) -> tuple[Ranking, list[Finding]]:
    ordered = sorted(standings, key=lambda s: -s.query.value)
    subset, metric, title = column.of, column.metric, column.title
    plain = Ranking(title, subset.name, metric, tuple(ordered))
    if len(ordered) < 2:
        return plain, []
    pairs = list(combinations(range(len(ordered)), 2))
    tested = [_p_value(ordered[i], ordered[j]) for i, j in pairs]
    known = [p for p in tested if p is not None]
    if len(known) < len(pairs):
        return plain, [finding("board_untested", column=title)]
    if len({s.query.score.value for s in ordered}) == 1:
        return plain, [finding("board_identical", "alert", column=title, all=len(ordered))]
    differing_pairs = {pair for pair, held in zip(pairs, intervals.holm(known), strict=True) if held}
    indistinguishable = [
        tuple(o.model for j, o in enumerate(ordered) if j != i and (min(i, j), max(i, j)) not in differing_pairs)
        for i in range(len(ordered))
    ]
    placed = tuple(
        Standing(s.model, s.query, s.n, s.interval, others)
        for s, others in zip(ordered, indistinguishable, strict=True)
    )
    runs = _largest_groups(len(ordered), differing_pairs)
    groups = tuple(tuple(ordered[i].model for i in run) for run in runs)
    sizes = sorted({s.n for s in ordered})
    items = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,}–{sizes[-1]:,}"
    best, test = _model_and_score(ordered[0]), intervals.test_of(metric)
    findings = []
    if metric in (*MEANS, "balanced_accuracy"):
        findings.append(finding("board_widest", column=title, metric=metric, test=test))
    if indistinguishable[0]:
        who = names(indistinguishable[0])
        top = finding(
            "board_top", column=title, best=best, count=len(indistinguishable[0]), all=len(ordered) - 1, who=who
        )
        findings.append(
            Finding(top.kind, top.weight, {**top.facts, "pairs": len(pairs), "n_said": items, "test": test})
        )
    else:
        findings.append(finding("board_alone", column=title, best=best, pairs=len(pairs), n_said=items, test=test))
    several = [run for run in runs if len(run) > 1]
    if several:
        ends = [(ordered[run[0]], ordered[run[-1]], len(run)) for run in several]
        spans = [
            Message("{first} – {last} ({count})", first=_model_and_score(a), last=_model_and_score(b), count=count)
            for a, b, count in ends
        ]
        findings.append(finding("board_groups", column=title, who=names(spans, MAX_NAMED_GROUPS)))
    return Ranking(title, subset.name, metric, placed, groups), findings


def _p_value(a: Standing, b: Standing) -> float | None:
    return intervals.p_value(a.query.effective_metric, a.query.value, a.n, b.query.value, b.n, a.query.sizes(a.n))


def _largest_groups(count: int, differing_pairs: set[tuple[int, int]]) -> list[range]:
    """Largest runs of neighbours of whom no two are told apart.

    With equal numbers of items they are all the largest sets of that kind, for the further two scores are from each
    other, the smaller is their p.
    """
    # The last of the better ones that each can be told from.
    last = [-1] * count
    for better, worse in differing_pairs:
        last[worse] = max(last[worse], better)
    runs: list[range] = []
    end = 0
    for start in range(count):
        end = max(end, start + 1)
        while end < count and last[end] < start:
            end += 1
        if not runs or runs[-1].stop < end:
            runs.append(range(start, end))
    return runs


# --- several columns -------------------------------------------------------------------------------------


def _repeated_models(table: Table) -> Iterator[Finding]:
    if table.repeated:
        yield finding("board_twice", "alert", who=names(table.repeated))
    rows: dict[tuple[str, ...], list[str]] = {}
    for i, model in enumerate(table.models):
        cells = tuple(column.cells[i] for column in table.columns)
        if sum(not is_missing(cell) for cell in cells) > 1:
            rows.setdefault(cells, []).append(model)
    for who in rows.values():
        if len(who) > 1:
            yield finding("board_same", "alert", who=names(who))


def _exact_match_above_f1(table: Table, read: Sequence[Sequence[ReportedScore | None]]) -> Iterator[Finding]:
    """Rows whose exact match is above their F1."""
    places = {(c.of.name, c.metric): i for i, c in enumerate(table.columns) if c.metric_given}
    exact_at = places.get(("jsquad", "exact_match"))
    f1_at = places.get(("jsquad", "f1"), places.get(("jsquad", "char_f1")))
    if exact_at is None or f1_at is None:
        return
    over = []
    for model, em, f1 in zip(table.models, read[exact_at], read[f1_at], strict=True):
        if em and f1 and em.bounds[0] > f1.bounds[1]:
            over.append(f"{model} {em.text} / {f1.text}")
    if over:
        yield finding("board_over", "alert", who=names(over))
