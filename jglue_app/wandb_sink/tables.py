"""Tables of what W&B is sent: an item a row, or a score. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jglue_app.runs.store import dumps
from jglue_app.scoring import notices
from jglue_app.scoring.judged import Answered, Judged
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.scoring.rules import explain
from jglue_app.scoring.scoreboard import OUTCOMES, score_rows
from jglue_app.scoring.types import Comparison, Estimate, Report
from jglue_app.tasks import TASKS
from jglue_app.types import Item, RunData

UNANSWERED = ("error", "overflow", "unscored")
"""Outcomes of an item that was not answered."""
Cell = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose columns hold one type each, or nothing."""

    columns: tuple[str, ...]
    rows: list[list[Cell]]


def outcome_table(report: Report) -> Table:
    """The failure picture: what became of each subset's items."""
    rows: list[list[Cell]] = []
    for name, task in report.tasks.items():
        total = sum(task.outcomes.values())
        rows += [
            [TASKS[name].title, o, task.outcomes[o], task.outcomes[o] / total] for o in OUTCOMES if o in task.outcomes
        ]
    return Table(("subset", "outcome", "items", "share"), rows)


def notice_table(reports: Mapping[str, Report]) -> Table:
    """What a reader of the scores has to know, and under which protocols."""
    protocols: dict[tuple[str, str], list[str]] = {}
    for protocol, report in reports.items():
        for notice in report.notices:
            protocols.setdefault(("", str(notices.sentence(notice))), []).append(protocol)
        for name, task in report.tasks.items():
            for notice in task.notices:
                protocols.setdefault((TASKS[name].title, str(notices.sentence(notice))), []).append(protocol)
    return Table(("subset", "notice", "protocols"), [[*key, ", ".join(names)] for key, names in protocols.items()])


def predictions(data: RunData, task: str, judged: Mapping[str, Judged], protocol: str) -> Table:
    """One row for each item that has a record: asked, said, read, counted.

    `parsed`, `status`, `rule` and `correct` are the chosen protocol's; where it does not score the subset, those of
    `official`. `correct` is empty where there is no right and wrong (JSTS); `verdict/<protocol>` is then the number
    that was read, elsewhere the marks in 0–1.
    """
    chosen = judged[protocol].get(task) or judged["official"][task]
    metrics = TASKS[task].metrics if TASKS[task].kind != "score" else ()
    verdicts = [name for name in PROTOCOLS if task in get_protocol(name).metrics]
    head = ["item_id", "question", "prompt", "raw", "parsed", "status", "rule", "gold", "correct", "outcome"]
    head += [*metrics, "lenient", "choice", *(f"verdict/{name}" for name in verdicts), "logprobs"]
    head += ["finish", "error", "prompt_tokens", "new_tokens", "seconds", "examples"]
    rows: list[list[Cell]] = []
    for id_, row in chosen.items():
        record, output, found = row.record, row.record.output, row.judgement
        own = judged["official"][task][id_].judgement
        logprobs = output.choice_logprobs if output else None
        named = dict(zip(record.prompt.answers, logprobs, strict=False)) if logprobs else None
        rows.append(
            [
                id_,
                question(row.item),
                shown(record.prompt.text),
                shown(output.text) if output else None,
                _text(found.strict.value),
                found.strict.status,
                str(explain(found.strict.rule)),
                gold(row.item),
                correct(row),
                own.outcome,
                *(found.scores.get(name) for name in metrics),
                _text(own.lenient.value),
                own.choice,
                *(verdict(judged[name][task].get(id_)) for name in verdicts),
                dumps(named) if named else None,
                output.finish if output else None,
                shown(record.error.message) if record.error else None,
                output.prompt_tokens if output else None,
                output.new_tokens if output else None,
                float(output.seconds) if output else None,
                dumps(record.prompt.shot_ids),
            ]
        )
    return Table(tuple(head), rows)


def question(item: Item) -> str:
    """An item's fields, one a line, and its choices."""
    lines = [f"{name}: {text}" for name, text in item.fields.items() if not name.startswith("choice")]
    if TASKS[item.task].kind == "choice" and "choice0" in item.fields:
        lines.append("choices: " + " / ".join(text for name, text in item.fields.items() if name.startswith("choice")))
    return shown("\n".join(lines)) or ""


def gold(item: Item) -> str:
    """The accepted answers, or the number."""
    if isinstance(item.gold, float):
        return f"{item.gold:g}"
    return shown(" / ".join(dict.fromkeys(item.gold))) or ""


def correct(row: Answered | None) -> bool | None:
    """Whether an answer counts in full by the protocol's first metric; None where there is no right and wrong."""
    if row is None or not row.judgement.scores:
        return None
    return next(iter(row.judgement.scores.values())) == 1.0


def verdict(row: Answered | None) -> float | None:
    """Marks of an item in 0–1 by the protocol's first metric; of a similarity the number it was read as."""
    if row is None:
        return None
    if row.judgement.scores:
        return float(next(iter(row.judgement.scores.values())))
    value = row.judgement.strict.value
    return value if isinstance(value, float) else None


def shown(text: str | None) -> str | None:
    """A text that JSON in UTF-8 can hold: lone surrogates are spelled out."""
    if text is None or not any("\ud800" <= c <= "\udfff" for c in text):
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _text(value: str | float | None) -> str | None:
    return None if value is None else shown(f"{value:g}" if isinstance(value, float) else str(value))


# --- two runs -------------------------------------------------------------------------------------------


def statistics_table(found: Comparison) -> Table:
    """Every row of the scoreboard, with the paired test."""
    head = ("subset", "metric", "reading", "a", "a_low", "a_high", "b", "b_low", "b_high", "difference", "low", "high")
    tail = ("n", "p", "p_holm", "test", "verdict", "needed", "unreadable_a", "unreadable_b", "floor")
    rows: list[list[Cell]] = []
    for row in score_rows(found.a, found.b, found):
        d = row.difference
        rows.append(
            [
                TASKS[row.task].title,
                row.metric,
                row.reading,
                *_three(row.a),
                *_three(row.b),
                *_three(d.difference if d else None),
                d.difference.n if d else None,
                d.p if d else None,
                d.p_holm if d else None,
                d.test if d else None,
                d.verdict if d else None,
                d.needed if d else None,
                row.unreadable_a,
                row.unreadable_b,
                row.floor,
            ]
        )
    return Table((*head, *tail), rows)


def _three(found: Estimate | None) -> Iterator[float | None]:
    yield from (found.value, found.low, found.high) if found else (None, None, None)


def joined_table(task: str, chosen: tuple[Judged, Judged], official: tuple[Judged, Judged]) -> Table:
    """The items both have a record of: what each said, how it was read, who is right."""
    sides = tuple(of.get(task) or usual.get(task, {}) for of, usual in zip(chosen, official, strict=True))
    head = ("item_id", "question", "gold", "a_raw", "b_raw", "a_parsed", "b_parsed", "a_correct", "b_correct")
    tail = ("who_is_right", "a_outcome", "b_outcome", "a_choice", "b_choice", "a_verdict", "b_verdict")
    rows: list[list[Cell]] = []
    for id_, x in sides[0].items():
        y = sides[1].get(id_)
        if y is None or x.item != y.item:
            continue
        both = (x, y)
        outputs = [row.record.output for row in both]
        own = [usual[task][id_].judgement for usual in official]
        rows.append(
            [
                id_,
                question(x.item),
                gold(x.item),
                *(shown(output.text) if output else None for output in outputs),
                *(_text(row.judgement.strict.value) for row in both),
                *(correct(row) for row in both),
                who_is_right(x, y),
                *(judgement.outcome for judgement in own),
                *(judgement.choice for judgement in own),
                *(verdict(row) for row in both),
            ]
        )
    return Table((*head, *tail), rows)


def who_is_right(x: Answered, y: Answered) -> str | None:
    """`both`, `a`, `b` or `neither`; of similarities `a` or `b` is nearer to the gold value, `equal` as near.
    None where one of them has no answer that could be scored: such an item is in no paired test.
    """
    if any(row.judgement.outcome in UNANSWERED for row in (x, y)):
        return None
    if isinstance(x.item.gold, float):
        away = [abs(v - x.item.gold) if (v := verdict(row)) is not None else None for row in (x, y)]
        if away[0] is None or away[1] is None:
            return "neither" if away[0] is None and away[1] is None else "b" if away[0] is None else "a"
        return "equal" if away[0] == away[1] else "a" if away[0] < away[1] else "b"
    right = correct(x), correct(y)
    return {(True, True): "both", (True, False): "a", (False, True): "b"}.get(
        (bool(right[0]), bool(right[1])), "neither"
    )
