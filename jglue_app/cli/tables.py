"""What the command line shows: progress (a bar on a terminal, plain lines elsewhere) and tables."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from jglue_app.cli.agreement import agreement_parts
from jglue_app.data.files import RANKED_KINDS
from jglue_app.data.known_items import CURRENT_LABELS
from jglue_app.money import money_text
from jglue_app.results.embedding_references import EmbeddingReference
from jglue_app.results.rankings import Rankings
from jglue_app.runs.serialization import dumps
from jglue_app.scoring import notices
from jglue_app.scoring.disagreement import Disagreement
from jglue_app.scoring.item_groups import GROUPS, GroupScore
from jglue_app.scoring.leaderboard import Entry
from jglue_app.scoring.payment import paid_text
from jglue_app.scoring.ranking import Place
from jglue_app.scoring.references import SPLIT_NAMES, on_test_set, references_of
from jglue_app.scoring.report import main_metric
from jglue_app.scoring.rules import explain
from jglue_app.scoring.scoreboard import (
    OUTCOMES,
    USUAL_OUTCOMES,
    ScoreRow,
    count_text,
    estimate_text,
    number,
    p_text,
    score_rows,
)
from jglue_app.scoring.types import Comparison, Difference, Report, TaskReport
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import gold_text

_SOURCES = {"official": "", "user": " (own file)", "sample": " (sample)"}
_READINGS = {"strict": "", "lenient": ", lenient", "choose": ", log-likelihood", "imputed": ", unreadable = 2.5"}
_UNSCORED = {
    "not_covered": "not scored by it",
    "no_logprobs": "needs log-likelihoods",
    "no_text": "needs generated text",
    "no_answers": "no answers",
    "cosines": "cosines are not scored by it",
}
_MAX_TEXT = 60
"""Characters of an output in a line of a table."""
_WRAPPED = frozenset(
    {
        *("run", "why", "official file", "main metric of each subset", "for example", "cannot be told from", "copy"),
        *("decision", "from", "to", "state", "value", "family", "licence", "address", "subset", "metric"),
        *("outcomes in", "results"),
    }
)
"""Columns of words, which wrap on a narrow terminal; all others hold what is read as one: numbers, ids, verdicts."""
_MIN_WRAPPED = 12
"""Cells that a column of words keeps at least."""
_VERDICTS = {"a": "A is better", "b": "B is better", "undecided": "cannot tell"}


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < 2 else "right", no_wrap=True)
    return table


def print_table(table: Table) -> None:
    """A table on standard output, with nothing cut off: columns of words wrap where a terminal is too narrow, and where
    that is not enough each row is a block of lines, as it is for a screen reader."""
    console = _console()
    for column in table.columns:
        column._cells[:] = [visible(cell) if isinstance(cell, str) else cell for cell in column._cells]
    if not console.is_terminal:
        console.width = 10_000
    elif not _fit(table, console.width):
        print_lines(_blocks(table))
        return
    console.print(table)


def _console() -> Console:
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def _fit(table: Table, width: int) -> bool:
    """Give every column its width, within `width` cells in all; False where not even words would stay whole. Heads
    wrap in any column."""
    heads = [str(column.header) for column in table.columns]
    cells = [[str(cell) for cell in column._cells] for column in table.columns]
    widths = [_widest([head, *texts]) for head, texts in zip(heads, cells, strict=True)]
    least = [
        min(widest, max(_MIN_WRAPPED, _widest([head, *texts], words=True)))
        if head in _WRAPPED
        else max(_widest([head], words=True), _widest(texts))
        for head, texts, widest in zip(heads, cells, widths, strict=True)
    ]
    spare = width - sum(table.padding[1::2]) * len(widths)
    if sum(least) > spare:
        return False
    while sum(widths) > spare:
        widest = max((i for i, w in enumerate(widths) if w > least[i]), key=lambda i: widths[i])
        widths[widest] -= 1
    for column, cells_wide in zip(table.columns, widths, strict=True):
        column.width, column.no_wrap, column.overflow = cells_wide, False, "fold"
    return True


def _widest(texts: Iterable[str], *, words: bool = False) -> int:
    """Cells of the longest line, or word."""
    return max((cell_len(part) for text in texts for part in (text.split() if words else text.split("\n"))), default=0)


def _blocks(table: Table) -> Iterator[str]:
    """Each row as lines `column: cell`, with an empty line after each row; empty cells are left out."""
    heads = [str(column.header) for column in table.columns]
    for row in zip(*(column._cells for column in table.columns), strict=True):
        yield from (f"{head}: {cell}" if head else str(cell) for head, cell in zip(heads, row, strict=True) if cell)
        yield ""


def print_lines(lines: Iterable[str]) -> None:
    """Plain lines on standard output."""
    for line in lines:
        print(visible(line))


def print_parts(parts: Iterable[Table | str]) -> None:
    """Tables and plain lines on standard output, in their order."""
    for part in parts:
        if isinstance(part, Table):
            print_table(part)
        else:
            print_lines([part])


def visible(text: str) -> str:
    """A text with control characters spelled out but for tabs and line breaks: outputs and names are others', and a
    terminal would obey what they hold (`\\x1b[2J` clears it)."""
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) == "Cc" and c not in "\t\n" else c for c in text)


def print_note(sentence: str) -> None:
    """A note on standard error, so that standard output stays for results."""
    print(f"note: {visible(sentence)}", file=sys.stderr)


def print_json(value: Any) -> None:
    """A value as JSON on standard output, whatever the locale: characters that it cannot carry are written as
    JSON's own escapes (`\\u5d0e`), and numbers that JSON has no word for (NaN, infinities) as null."""
    print(_json_for(value, getattr(sys.stdout, "encoding", None) or "utf-8"))


def _json_for(value: Any, encoding: str) -> str:
    text = dumps(value, indent=2)
    plain = json.loads(text, parse_constant=lambda _: None)
    text = json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False)
    try:
        # Not only what cannot be written: Shift_JIS and EUC-JP write a yen sign as the byte of a backslash.
        kept = text.encode(encoding).decode(encoding) == text
    except (UnicodeError, LookupError):
        kept = False
    return text if kept else json.dumps(plain, indent=2, allow_nan=False)


def print_report(report: Report) -> None:
    """The scoreboard of one run."""
    print_lines([f"{report.label}  (run {report.spec_id}, protocol {report.protocol})"])
    table = _table("subset", "metric", "score (95 % interval)", "n", "floor", "unreadable")
    for row in score_rows(report):
        n = row.a.n if row.a else 0
        table.add_row(*_head(row), estimate_text(row.a), str(n), _floor(row), str(row.unreadable_a))
    print_table(table)
    print_lines(_unread([report]))
    if report.paid:
        print_lines([f"cost: {paid_text(report.paid)}"])
    _print_references(report)
    _print_outcomes({"": report})
    print_lines([_average(report), *_notices(report)])


def print_comparison(comparison: Comparison) -> None:
    """The scoreboard of two runs."""
    a, b = comparison.a, comparison.b
    print_lines([f"A: {a.label}  (run {a.spec_id})", f"B: {b.label}  (run {b.spec_id})", f"protocol {a.protocol}", ""])
    names = (
        "subset",
        "metric",
        "A",
        "B",
        "B − A",
        "p",
        "p (Holm)",
        "verdict",
        "n",
        "n for 80 %",
        "floor",
        "unreadable A/B",
    )
    table = _table(*names)
    for row in score_rows(a, b, comparison):
        difference = row.difference
        table.add_row(
            *_head(row),
            estimate_text(row.a),
            estimate_text(row.b),
            *_difference(difference),
            _floor(row),
            f"{row.unreadable_a}/{row.unreadable_b}",
        )
    if comparison.average:
        average = comparison.average
        table.add_row(
            "average",
            "main metrics",
            estimate_text(average.a),
            estimate_text(average.b),
            *_difference(average),
            "–",
            "–",
        )
    print_table(table)
    print_lines(
        [
            "p: McNemar's exact test where answers are right or wrong, else paired bootstrap; Holm: over the subsets.",
            "n for 80 %: items with which a difference of this size would be found four times in five, with p (Holm).",
            *_unread([a, b]),
        ]
    )
    _print_flips(comparison)
    print_parts(agreement_parts(comparison))
    _print_cost(comparison)
    _print_references(a)
    _print_outcomes({"A": a, "B": b})
    for side, report in (("A", a), ("B", b)):
        print_lines(f"{side} {line}" for line in (_average(report), *_notices(report)))


def _unread(reports: Sequence[Report]) -> list[str]:
    """Where half of the texts or more could not be read, what would show whether the model knows the answers."""
    titles = [
        task.title
        for name, task in TASKS.items()
        if task.kind == "choice" and any(_is_unread(report.tasks.get(name)) for report in reports)
    ]
    if not titles:
        return []
    return [
        f"{', '.join(titles)}: half of the outputs or more could not be read as one of the answers. With --method both "
        "the answers are ranked by log-likelihood too, which shows whether the model knows them."
    ]


def _is_unread(task: TaskReport | None) -> bool:
    if task is None or task.choose or not task.metrics:
        return False
    return 2 * task.unreadable >= max(estimate.n for estimate in task.metrics.values()) > 0


def _print_flips(comparison: Comparison) -> None:
    """On how many items the two give other answers, and which way that goes."""
    if not comparison.flips:
        return
    table = _table("other answers in", "by", "items", "differ", "only A right", "only B right")
    for task in TASKS:
        for reading, flips in comparison.flips.get(task, {}).items():
            share = f"{flips.changed} ({100 * flips.changed / flips.n:.1f} %)"
            by = "log-likelihood" if reading == "choose" else "score"
            table.add_row(
                TASKS[task].title, by, str(flips.n), share, count_text(flips.to_wrong), count_text(flips.to_right)
            )
    print_lines([""])
    print_table(table)


def _print_cost(comparison: Comparison) -> None:
    """Precision, memory and speed of both."""
    if not comparison.cost:
        return
    any_paid = any(cost.paid for cost in comparison.cost)
    table = _table("cost of", "dtype", "quantization", "device", "weights", "items/s", *(["paid"] if any_paid else []))
    for side, cost in zip("AB", comparison.cost, strict=True):
        speed = f"{cost.items_per_s:.2f}" if cost.items_per_s else "–"
        served = not cost.model.memory_bytes  # Nothing is known of weights on a server.
        memory = "–" if served else f"{cost.model.memory_bytes / 2**20:,.0f} MiB"
        quantization = "–" if served else cost.quantization
        paid = [money_text(cost.paid.price, cost.paid.currency) if cost.paid else "–"] if any_paid else []
        table.add_row(side, cost.model.dtype, quantization, cost.model.device, memory, speed, *paid)
    print_lines([""])
    print_table(table)
    print_lines(f"{side} cost: {paid_text(of.paid)}" for side, of in zip("AB", comparison.cost, strict=True) if of.paid)


def print_protocols(reports: Mapping[str, Report]) -> None:
    """One run under several protocols."""
    first = next(iter(reports.values()))
    print_lines([f"{first.label}  (run {first.spec_id})", ""])
    table = _table("subset", "protocol", "metric", "score (95 % interval)", "n", "constant", "default", "unreadable")
    for task in first.tasks:
        for name, report in reports.items():
            rows = [row for row in score_rows(report) if row.task == task]
            source = _SOURCES[report.tasks[task].source]
            for row in rows:
                unreadable = str(row.unreadable_a) if row.reading in ("strict", "lenient") else "–"
                table.add_row(
                    TASKS[task].title + source,
                    name,
                    row.metric + _READINGS[row.reading],
                    estimate_text(row.a),
                    str(row.a.n if row.a else 0),
                    number(row.floor),
                    number(row.default_floor),
                    unreadable,
                )
            if not rows:
                table.add_row(TASKS[task].title + source, name, _UNSCORED[report.tasks[task].unscored], *["–"] * 5)
    if len(first.tasks) > 1:
        print_table(_main_scores(reports))
        print_lines(["Each protocol's main metric in each subset; the average is over what it scores.", ""])
    print_table(table)
    print_lines(["constant, default: what one constant answer, and what never giving a readable one, would score."])
    _print_references(first)
    _print_outcomes({f"[{name}]": report for name, report in reports.items()})
    notes: dict[str, list[str]] = {}
    for name, report in reports.items():
        for line in _notices(report):
            notes.setdefault(line, []).append(name)
    print_lines(f"{line}  [{'; '.join(names)}]" for line, names in notes.items())


def _main_scores(reports: Mapping[str, Report]) -> Table:
    """Protocols × subsets."""
    first = next(iter(reports.values()))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("protocol", no_wrap=True)
    for task, task_report in first.tasks.items():
        table.add_column(TASKS[task].title + _SOURCES[task_report.source], justify="right", no_wrap=True)
    table.add_column("average", justify="right", no_wrap=True)
    for name, report in reports.items():
        averaged = report.average_of
        main = [main_metric(r, name).value if task in averaged else None for task, r in report.tasks.items()]
        table.add_row(name, *map(number, main), estimate_text(report.average))
    return table


def print_leaderboard(
    entries: Sequence[Entry],
    tasks: Sequence[str],
    protocol: str,
    against: str,
    data_kind: str,
    elsewhere: Mapping[str, int],
    rankings: Rankings | None = None,
    before: Mapping[str, Place] | None = None,
) -> None:
    """The rankings of the runs over one kind of data, with the places a run has gained or lost against another
    protocol.

    Args:
        entries: the runs with their scores, the best average first.
        tasks: subsets that count.
        protocol, against: that of the ranks, and the one they are compared with.
        data_kind: of the items.
        elsewhere: numbers of runs over each kind of data.
        rankings: of the runs on the same items; None where items are not known, and averages alone rank.
        before: run → its place under the other protocol.
    """
    if not entries:
        print_lines([_no_run(data_kind, elsewhere)])
        return
    moves = protocol != against
    by_name = {entry.name: entry for entry in entries}
    if rankings is None:
        ranks = {e.name: ("–" if e.rank is None else str(e.rank), e.moved) for e in entries}
        print_table(_ranked_table(entries, tasks, against if moves else "", ranks))
    for ranking in rankings.rankings if rankings else ():
        ranks = {name: _rank_text(name, place, before or {}) for name, place in ranking.places.items()}
        print_table(_ranked_table([by_name[name] for name in ranks], tasks, against if moves else "", ranks))
        scored_by = dict.fromkeys(ranking.by_likelihood, " by log-likelihood")
        counts = (f"{TASKS[task].title} {count:,}{scored_by.get(task, '')}" for task, count in ranking.items.items())
        print_lines([f"Items: {', '.join(counts)}.", ""])
    apart = [entry for entry in entries if rankings and entry.name in rankings.apart]
    if apart and rankings:
        print_lines(["Not ranked:"])
        table = _table("run", "id", "average", "why")
        for entry in apart:
            table.add_row(entry.label, entry.name, estimate_text(entry.average), str(rankings.apart[entry.name]))
        print_table(table)
    names = ", ".join(TASKS[name].title for name in tasks)
    lines = [f"Ranked under {protocol} by the mean of the main metrics over {names} ({data_kind} data)."]
    if rankings and rankings.rankings:
        line = (
            "A rank is one more than the number of runs on the same items that are shown to be better (paired tests, "
        )
        line += "Holm over all pairs)"
        spans = any(place.last != place.rank for ranking in rankings.rankings for place in ranking.places.values())
        lines.append(f"{line}; 1–3 are the places a run may have." if spans else f"{line}.")
    if any(entry.rank is None for entry in entries):
        lines.append("–: no score in one of these subsets, so no rank. --tasks names the subsets that count.")
    print_lines(lines)


def _no_run(data_kind: str, elsewhere: Mapping[str, int]) -> str:
    others = {kind: count for kind, count in elsewhere.items() if kind in RANKED_KINDS and kind != data_kind}
    then = [
        f"{'1 run is' if count == 1 else f'{count:,} runs are'} over {kind} data: --data {kind}."
        for kind, count in others.items()
    ]
    then = then or ["`python -m jglue_app run` makes one."]
    return f"There is no run over {data_kind} data yet. {' '.join(then)}"


def _rank_text(name: str, place: Place, before: Mapping[str, Place]) -> tuple[str, int | None]:
    """A rank with the places that it may be, and the places gained since another protocol."""
    rank = f"{place.rank}" if place.last == place.rank else f"{place.rank} ({place.rank}–{place.last})"
    return rank, before[name].rank - place.rank if name in before else None


def _ranked_table(
    entries: Sequence[Entry], tasks: Sequence[str], against: str, ranks: Mapping[str, tuple[str, int | None]]
) -> Table:
    columns = ["rank", *([f"vs {against}"] if against else []), "run", "id", "items", "average"]
    table = _table(*columns, *(TASKS[name].title for name in tasks))
    for entry in entries:
        rank, gained = ranks[entry.name]
        moved = "–" if gained is None else f"{gained:+d}" if gained else "="
        scores = [estimate_text(entry.tasks.get(name)) for name in tasks]
        n = sum(of.n for name in tasks if (of := entry.tasks.get(name)))
        average = estimate_text(entry.average)
        table.add_row(rank, *([moved] if against else []), entry.label, entry.name, f"{n:,}", average, *scores)
    return table


def print_disagreements(disputed: Mapping[str, Sequence[Disagreement]], items: int) -> None:
    """The items on which protocols disagree: how many, and the first of each subset rule by rule."""
    for task, disagreements in disputed.items():
        kind = "read different numbers in" if TASKS[task].kind == "score" else "disagree about"
        count = f"{len(disagreements)} {'item' if len(disagreements) == 1 else 'items'}"
        print_lines(["", f"{TASKS[task].title}: the protocols {kind} {count}."])
        for disagreement in disagreements[:items]:
            output = disagreement.record.output
            text = quoted(output.text) if output and output.text is not None else "(no text)"
            print_lines([f"  item {disagreement.item.id}: gold {gold_text(disagreement.item)}, output {text}"])
            for verdict in disagreement.verdicts:
                head = _verdict(verdict.right, verdict.value)
                print_lines([f"    {head}: {explain(verdict.rule)}  [{'; '.join(verdict.protocols)}]"])


def _verdict(right: bool | None, value: str | float | None) -> str:
    """Whether an answer is right, and what was read; of numbers only what was read."""
    mark = {True: "right", False: "wrong", None: ""}[right]
    if value is None:
        return f"{mark}, nothing read" if mark else "nothing read"
    return f"{mark or 'read as'} {quoted(str(value))}"


def print_groups(groups: Mapping[str, Sequence[GroupScore]]) -> None:
    """Scores with and without faulty, repeated, leaked and relabelled items: of `official` if it is among the
    protocols, else of the first that has some. Nothing where a run has no such item."""
    scored = {name: rows for name, rows in groups.items() if rows}
    if not scored:
        return
    protocol = "official" if "official" in scored else next(iter(scored))
    rows = scored[protocol]
    columns = ("subset", "metric", "items", "with all (95 % interval)", "without them", "JNLI labels of v1.1")
    table = _table(f"without [{protocol}]", *columns)
    for row in rows:
        scores = (estimate_text(row.all), estimate_text(row.without), estimate_text(row.labels.get("v1.1")))
        old = scores[2] if row.labels else ""
        table.add_row(row.group, TASKS[row.task].title, row.metric, str(row.items), *scores[:2], old)
    print_lines([""])
    print_table(table)
    print_lines(f"{group}: {what}." for group, what in GROUPS.items() if any(row.group == group for row in rows))
    if len(scored) > 1:
        print_lines(["Under the other protocols: --json, or --protocol NAME."])


def print_labels(version: str) -> None:
    """That the outputs were scored against the labels of another version than that of the file."""
    compared = f"Scores for comparison are against those of {CURRENT_LABELS}."
    print_lines(["", f"JNLI is scored against the labels of {version}, unless a protocol has its own. {compared}"])


def quoted(text: str) -> str:
    """A text on one line, cut."""
    line = text.replace("\n", "⏎")
    return f"「{line if len(line) <= _MAX_TEXT else line[:_MAX_TEXT] + '…'}」"


def _head(row: ScoreRow) -> tuple[str, str]:
    title = TASKS[row.task].title + "/".join(_SOURCES[source] for source in row.sources)
    return title, row.metric + _READINGS[row.reading]


def _floor(row: ScoreRow) -> str:
    """The best constant answer, and after a slash the protocol's default."""
    return number(row.floor) + (f" / {number(row.default_floor)}" if row.default_floor is not None else "")


def _difference(difference: Difference | None) -> tuple[str, ...]:
    if difference is None or difference.difference.value is None:
        return ("–",) * 6
    return (
        estimate_text(difference.difference, sign=True),
        p_text(difference.p),
        p_text(difference.p_holm),
        _VERDICTS[difference.verdict],
        str(difference.difference.n),
        count_text(difference.needed),
    )


def _print_references(report: Report) -> None:
    """Scores of people and of fine-tuned models on the same split, in the official metrics, then those on test sets
    that are not published."""
    split = SPLIT_NAMES.get(report.split, report.split)
    for title, references in (
        (f"for comparison, official metrics on all of {split}", references_of),
        ("for comparison, on the test set, which is not published", on_test_set),
    ):
        scores_by_task = {name: of for name, task in report.tasks.items() if (of := references(task, report.split))}
        if not scores_by_task:
            continue
        columns = [(name, metric) for name in scores_by_task for metric in TASKS[name].metrics]
        table = _table(title, *(f"{TASKS[name].title} {metric}" for name, metric in columns))
        table.columns[1].justify = "right"
        for who in dict.fromkeys(who for of in scores_by_task.values() for who in of):
            scores = (scores_by_task[name].get(who, {}).get(metric) for name, metric in columns)
            table.add_row(who, *(number(score) for score in scores))
        print_lines([""])
        print_table(table)


def print_embeddings(references: Sequence[EmbeddingReference]) -> None:
    """The scores of stored embeddings of the same JSTS items; nothing where there are none."""
    if not references:
        return
    table = _table("embeddings of the same items", "JSTS pearson", "JSTS spearman", "n", "run")
    for reference in references:
        n = str(reference.spearman.n)
        scores = estimate_text(reference.pearson), estimate_text(reference.spearman)
        table.add_row(reference.label, *scores, n, reference.run)
    print_lines([""])
    print_table(table)


def _print_outcomes(reports: Mapping[str, Report]) -> None:
    """What became of the items: subsets × outcomes, the usual ones always and the others where they occur."""
    occurring = {o for report in reports.values() for task in report.tasks.values() for o in task.outcomes}
    outcomes = [o for o in OUTCOMES if o in USUAL_OUTCOMES or o in occurring]
    knows = any(task.knows is not None for report in reports.values() for task in report.tasks.values())
    columns = [*(o.replace("_", " ") for o in outcomes), *(["knows but cannot format"] if knows else [])]
    table = _table("outcomes in", *columns)
    table.columns[1].justify = "right"
    for task in TASKS:
        for side, report in reports.items():
            task_report = report.tasks.get(task)
            if task_report and task_report.outcomes:
                name = f"{TASKS[task].title}{_SOURCES[task_report.source]} {side}".strip()
                known = [count_text(task_report.knows)] if knows else []
                table.add_row(name, *(str(task_report.outcomes.get(o, 0)) for o in outcomes), *known)
    print_lines([""])
    print_table(table)
    if knows:
        print_lines(["knows but cannot format: ranked the gold answer first and wrote it in no right form."])
    print_lines([""])


def _average(report: Report) -> str:
    names = ", ".join(TASKS[name].title + _SOURCES[report.tasks[name].source] for name in report.average_of)
    text = f"average of the main metric over {names}: {estimate_text(report.average)}"
    without = [TASKS[name].title for name in report.average_without]
    return f"{text} (no value for {', '.join(without)})" if without else text


def _notices(report: Report) -> Iterator[str]:
    for notice in report.notices:
        yield f"note: {notices.sentence(notice)}"
    for name, task in report.tasks.items():
        for notice in task.notices:
            yield f"note: {TASKS[name].title}: {notices.sentence(notice)}"
