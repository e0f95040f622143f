"""The tables that are sent to W&B, with one row per item or per score. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from jglue_app.results import surrogates
from jglue_app.results.local_paths import shareable
from jglue_app.results.marks import NO_ITEM_MARKS, NO_MARKS, ItemMarks, Marks
from jglue_app.results.rows import ResultRow, result_rows
from jglue_app.runs.serialization import dumps
from jglue_app.scoring import notices
from jglue_app.scoring.judged import Judged, ScoredItem, is_correct, verdict
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.scoring.protocols.common import is_cosine, is_right
from jglue_app.scoring.rules import explain
from jglue_app.scoring.scoreboard import OUTCOMES, score_rows
from jglue_app.scoring.types import Comparison, Estimate, Report
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import gold_text, question_text

UNANSWERED = ("error", "overflow", "unscored")
"""Outcomes of an item that was not answered."""
Cell = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose columns each have one type; None where there is no value."""

    columns: tuple[str, ...]
    rows: list[list[Cell]]


def outcome_table(report: Report) -> Table:
    """Number and share of the items with each outcome, by subset."""
    rows: list[list[Cell]] = []
    for name, task in report.tasks.items():
        total = sum(task.outcomes.values())
        rows += [
            [TASKS[name].title, o, task.outcomes[o], task.outcomes[o] / total] for o in OUTCOMES if o in task.outcomes
        ]
    return Table(("subset", "outcome", "items", "share"), rows)


def notice_table(reports: Mapping[str, Report]) -> Table:
    """The caveats about the scores, with the protocols that they apply to."""
    protocols: dict[tuple[str, str], list[str]] = {}
    for protocol, report in reports.items():
        for notice in report.notices:
            protocols.setdefault(("", shareable(notices.sentence(notice))), []).append(protocol)
        for name, task in report.tasks.items():
            for notice in task.notices:
                protocols.setdefault((TASKS[name].title, shareable(notices.sentence(notice))), []).append(protocol)
    return Table(("subset", "notice", "protocols"), [[*key, ", ".join(names)] for key, names in protocols.items()])


def prediction_table(judged: Mapping[str, Judged], task: str, protocol: str, marks: Marks = NO_MARKS) -> Table:
    """One row for each item of a subset that has a record: the question, the output, and how it is parsed and scored.

    `parsed`, `status`, `rule` and `correct` are the chosen protocol's; where it does not score the subset, those of
    `official`. `correct` is empty where there is no right and wrong (JSTS); `verdict/<protocol>` is then the number
    that was read, elsewhere the marks in 0–1. `marks` and `note` are there if somebody has put any on an item.
    """
    metrics = TASKS[task].metrics if TASKS[task].kind != "score" else ()
    protocols = [name for name in PROTOCOLS if task in get_protocol(name).metrics]
    head = ["item_id", "question", "prompt", "raw", "parsed", "status", "rule", "gold", "correct", "outcome"]
    head += [*metrics, "lenient", "choice", *(f"verdict/{name}" for name in protocols), "logprobs"]
    head += ["finish", "error", "prompt_tokens", "new_tokens", "seconds", "examples"]
    chosen_rows = judged[protocol].get(task) or judged["official"][task]
    result = result_rows(judged, task, protocol, marks)
    with_marks = any(row.marked for row in result)
    rows: list[list[Cell]] = []
    for row in result:
        strict = row.judgement.strict
        rows.append(
            [
                row.record.item_id,
                _text(question_text(row.item)),
                _text(row.record.prompt.text),
                _text(row.raw),
                _text(strict.value),
                strict.status,
                str(explain(strict.rule)),
                _text(gold_text(row.item)),
                is_correct(chosen_rows[row.record.item_id]),
                row.official.outcome,
                *(row.judgement.scores.get(name) for name in metrics),
                _text(row.official.lenient.value),
                row.official.choice,
                *(row.verdicts.get(name) for name in protocols),
                _logprobs(row),
                row.finish,
                None if row.error is None else _text(shareable(row.error)),
                row.prompt_tokens,
                row.new_tokens,
                None if row.seconds is None else float(row.seconds),
                dumps(row.record.prompt.shot_ids),
                *(_marked(row.marked) if with_marks else ()),
            ]
        )
    return Table((*head, *(("marks", "note") if with_marks else ())), rows)


def _marked(found: ItemMarks) -> tuple[str, str]:
    """The marks as a list in JSON, and the note."""
    return dumps(found.marks), surrogates.escape(found.note)


def _logprobs(row: ResultRow) -> str | None:
    """Answer → log-probability, as JSON."""
    logprobs = row.choice_logprobs
    return dumps(dict(zip(row.record.prompt.answers, logprobs, strict=False))) if logprobs else None


def _text(value: str | float | None) -> str | None:
    """A cell of text: numbers in their shortest form, lone surrogates escaped, which W&B's JSON cannot hold."""
    if value is None:
        return None
    return f"{value:g}" if isinstance(value, float) else surrogates.escape(str(value))


# --- two runs -------------------------------------------------------------------------------------------


def statistics_table(comparison: Comparison) -> Table:
    """Every row of the scoreboard, with the paired test."""
    head = ("subset", "metric", "reading", "a", "a_low", "a_high", "b", "b_low", "b_high", "difference", "low", "high")
    tail = ("n", "p", "p_holm", "test", "verdict", "needed", "unreadable_a", "unreadable_b", "floor")
    rows: list[list[Cell]] = []
    for row in score_rows(comparison.a, comparison.b, comparison):
        d = row.difference
        rows.append(
            [
                TASKS[row.task].title,
                row.metric,
                row.reading,
                *_interval(row.a),
                *_interval(row.b),
                *_interval(d.difference if d else None),
                *((d.difference.n, d.p, d.p_holm, d.test, d.verdict, d.needed) if d else (None,) * 6),
                row.unreadable_a,
                row.unreadable_b,
                row.floor,
            ]
        )
    return Table((*head, *tail), rows)


def _interval(estimate: Estimate | None) -> Iterator[float | None]:
    """Value, low and high end."""
    yield from (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)


def comparison_table(
    task: str,
    chosen: tuple[Judged, Judged],
    official: tuple[Judged, Judged],
    marks: tuple[Marks, Marks] = (NO_MARKS, NO_MARKS),
) -> Table:
    """The items that both runs have a record of: both outputs, how each was parsed, and which is correct.

    Right is what the chosen protocol scores; where no item has that in both runs, as of runs without texts under
    `official`, the first choice of the ranking.

    Args:
        task: the subset.
        chosen: both runs' items, judged under the chosen protocol.
        official: the same under `official`.
        marks: what people have put on the items of each; where there is none, their columns are left out.
    """
    a, b = (
        chosen_rows.get(task) or official_rows.get(task, {})
        for chosen_rows, official_rows in zip(chosen, official, strict=True)
    )
    head = ("item_id", "question", "gold", "a_raw", "b_raw", "a_parsed", "b_parsed", "a_correct", "b_correct")
    tail = ("who_is_right", "a_outcome", "b_outcome", "a_choice", "b_choice", "a_verdict", "b_verdict")
    with_marks = any(key[0] == task and key[1] in a and key[1] in b for of in marks for key in of)
    pairs = {id_: (row, b[id_]) for id_, row in a.items() if id_ in b and row.item == b[id_].item}
    scored = any(None not in map(is_correct, both) for both in pairs.values())
    right = is_correct if scored else _is_ranked_right
    rows: list[list[Cell]] = []
    for id_, both in pairs.items():
        row_a = both[0]
        outputs = [row.record.output for row in both]
        judgements = [official_rows[task][id_].judgement for official_rows in official]
        rows.append(
            [
                id_,
                _text(question_text(row_a.item)),
                _text(gold_text(row_a.item)),
                *(_text(output.text) if output else None for output in outputs),
                *(_text(row.judgement.strict.value) for row in both),
                *(right(row) for row in both),
                winner(*both, right),
                *(judgement.outcome for judgement in judgements),
                *(judgement.choice for judgement in judgements),
                *(verdict(row) for row in both),
                *(cell for of in marks if with_marks for cell in _marked(of.get((task, id_), NO_ITEM_MARKS))),
            ]
        )
    return Table((*head, *tail, *(("a_marks", "a_note", "b_marks", "b_note") if with_marks else ())), rows)


def _is_ranked_right(row: ScoredItem) -> bool | None:
    """Whether the gold answer is ranked first; None where there is no ranking."""
    return None if row.judgement.choice is None else is_right(row.item, row.judgement.choice)


def winner(a: ScoredItem, b: ScoredItem, right: Callable[[ScoredItem], bool | None]) -> str | None:
    """`both`, `a`, `b` or `neither`; for similarities the one nearer to the gold value, or `equal`.
    None if one of them has no answer that can be scored: such an item is not in the paired test. None also for cosines.

    Args:
        a, b: an item as each run has answered it.
        right: whether an answer is right, of an item that is no similarity; None where it is not known.
    """
    if any(row.judgement.outcome in UNANSWERED for row in (a, b)):
        return None
    if any(is_cosine(row.record) for row in (a, b)):
        return None  # On another scale than the gold values, so none is nearer.
    if isinstance(gold := a.item.gold, float):
        distances = [None if (number := verdict(row)) is None else abs(number - gold) for row in (a, b)]
        distance_a, distance_b = distances
        if distance_a is None or distance_b is None:
            return "neither" if distance_a is None and distance_b is None else "b" if distance_a is None else "a"
        return "equal" if distance_a == distance_b else "a" if distance_a < distance_b else "b"
    of_a, of_b = right(a), right(b)
    if of_a is None or of_b is None:
        return None
    return {(True, True): "both", (True, False): "a", (False, True): "b", (False, False): "neither"}[of_a, of_b]
