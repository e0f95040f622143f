"""A leaderboard as somebody has it: CSV, TSV, a Markdown table or JSON, and which of its columns is what. No I/O.

Columns are recognised by their heads in many spellings (`JNLI`, `jnli_acc`, `JComQA`, `JSQuAD EM`, `marc_ja-1.1-0.2`);
two scores in one cell (`0.909/0.868`) are two columns. What is not recognised is left aside and named.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jglue_app.audit.benchmarks import BENCHMARKS, Benchmark, benchmark, fold, metric_of
from jglue_app.audit.reported_score import is_missing
from jglue_app.audit.table_parser import TWO_SCORES, grid
from jglue_app.errors import DataError, InputError, UnknownNameError
from jglue_app.messages import Joined

MAX_COLUMNS = 200
MAX_COMPARED = 4_000_000
"""Rows squared times columns of scores: about ten seconds."""
_MODEL = ("model", "models", "modelname", "name", "モデル", "モデル名", "llm")
_ITEMS = ("n", "items", "nitems", "numitems", "samples", "nsamples", "numsamples", "問数", "件数", "問題数")
_TASK = ("task", "tasks", "subset", "dataset", "benchmark", "タスク", "サブセット")
_METRIC = ("metric", "metrics", "指標")
_SCORE = ("score", "value", "スコア", "点", "点数")
_NOISE = re.compile(r"(?<![a-z])(\d+[- ]?shots?|v?\d+(\.\d+)*|dev|valid(ation)?|test|main|none|strict-match)(?![a-z])")
_PAIR = {"jsts": ("pearson", "spearman"), "jsquad": ("exact_match", "f1")}


@dataclass(frozen=True, slots=True)
class Column:
    """Scores of one subset by one metric."""

    title: str
    """As a sentence names it."""
    of: Benchmark
    metric: str
    """A key of `benchmarks.METRICS`; where the table does not say, the one that makes the fewest claims."""
    metric_given: bool
    """Whether the table says which metric it is."""
    cells: tuple[str, ...]
    """One for each row; a missing one says so."""
    n: tuple[int | None, ...]
    """Items of each row, where the table says."""


@dataclass(frozen=True, slots=True)
class Table:
    """A leaderboard."""

    models: tuple[str, ...]
    columns: tuple[Column, ...]
    ignored: tuple[str, ...]
    """Heads of columns that were left aside."""
    repeated: tuple[str, ...] = ()
    """Models that stand in more than one row; all but the first bear a number."""


def read(text: str, columns: Mapping[str, str] | None = None, model_column: str = "") -> Table:
    """A leaderboard from its text.

    Args:
        text: CSV, TSV, a Markdown table, or JSON: a list of objects, or an object of objects by model.
        columns: head of a column → what it is: `jnli`, `jnli:acc`, or `jnli:acc:100` with its number of items.
        model_column: head of the column with the models; without it, one that is called so, else the first that is no
            score.

    Raises:
        DataError: it is no table, it is too long, or none of its columns is a score that is known here.
        UnknownNameError: a column, subset or metric that does not exist.
    """
    head, rows = grid(text)
    if not rows:
        raise DataError("The table has no rows. It takes a head, such as model,JNLI, and a row for each model.")
    if len(head) > MAX_COLUMNS:
        raise DataError(
            "The table has more than {max_columns} columns. Give the model and the scores alone.",
            max_columns=MAX_COLUMNS,
        )
    for name in (*(columns or {}), *((model_column,) if model_column else ())):
        if name not in head:
            raise UnknownNameError("column", name, head)
    folded = [fold(name) for name in head]
    if any(f in _TASK for f in folded) and any(f in _SCORE for f in folded) and not columns:
        head, rows = _wide(folded, rows)
    score_columns = _columns(head, rows, dict(columns or {}))
    models, used = _models(head, rows, score_columns, model_column)
    scored = {column.title for column in score_columns}
    ignored = tuple(h for i, h in enumerate(head) if h and i != used and not _known(h, columns, scored))
    if not score_columns:
        raise DataError(
            "None of the columns is a score that is known here: {head}. Name them after the "
            "subsets (JNLI, JSQuAD EM), or say which is which (--column jnli=NAME).",
            head=Joined(", ", head[:8]),
        )
    if len(score_columns) * len(rows) ** 2 > MAX_COMPARED:
        raise DataError("The table has too many rows and columns to compare each with each. Give a part of it.")
    repeated = tuple(name for name, times in Counter(models).items() if times > 1)
    return Table(_numbered(models), tuple(score_columns), ignored, repeated)


# --- what is what ----------------------------------------------------------------------------------------


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]], named: Mapping[str, str]) -> list[Column]:
    out: list[Column] = []
    whole = next((i for i, name in enumerate(head) if fold(name) in _ITEMS and name not in named), None)
    for i, name in enumerate(head):
        if not name:
            continue
        cells = tuple(row[i].strip() for row in rows)
        items: int | None = None
        if name in named:
            subset, metric, items = _column_spec(named[name])
        else:
            guessed = recognise(name)
            if guessed is None or guessed[1] == "n":
                continue
            subset, metric = guessed[0], guessed[1]
        n_column = next((j for j, other in enumerate(head) if recognise(other) == (subset, "n")), whole)
        n = tuple(items or (_count(row[n_column]) if n_column is not None else None) for row in rows)
        if not metric and subset.name in _PAIR and any(TWO_SCORES.fullmatch(cell) for cell in cells):
            for place, part in enumerate(_PAIR[subset.name]):
                halves = tuple(_half(cell, place) for cell in cells)
                out.append(Column(f"{name} [{part}]", subset, part, True, halves, n))
            continue
        cautious = {"jsts": "spearman", "jsquad": "f1"}.get(subset.name, subset.metrics[0])
        out.append(Column(name, subset, metric or cautious, bool(metric), cells, n))
    return out


def recognise(name: str) -> tuple[Benchmark, str] | None:
    """What a head stands for: a subset and a metric (empty if it names none, `n` for a number of items); None if it is
    no score that is known here."""
    text = unicodedata.normalize("NFKC", name).lower().replace("_", " ")
    folded = fold(text)
    for subset in BENCHMARKS.values():
        for alias in sorted((fold(subset.name), *subset.aliases), key=len, reverse=True):
            at = folded.find(alias)
            if at < 0 or (len(alias) < 5 and folded != alias and not _whole(alias, text)):
                continue
            rest = fold(_NOISE.sub(" ", _without(text, alias)))
            if not rest or rest in ("/".join(_PAIR.get(subset.name, ())), fold("".join(_PAIR.get(subset.name, ())))):
                return subset, ""
            if rest in _ITEMS:
                return subset, "n"
            if rest in ("emf1", "exactmatchf1", "pearsonspearman"):
                return subset, ""
            try:
                return subset, metric_of(rest, subset)
            except UnknownNameError:
                return None
    return None


def _whole(alias: str, text: str) -> bool:
    """Whether a short name stands alone in a head."""
    return bool(re.search(rf"(?<![a-z]){alias}(?![a-z])", text))


def _without(text: str, alias: str) -> str:
    """A head without the letters of a subset's name."""
    pattern = r"[\W_]*".join(map(re.escape, alias))
    return re.sub(pattern, " ", text, count=1)


def _column_spec(text: str) -> tuple[Benchmark, str, int | None]:
    task, _, more = text.partition(":")
    metric, _, items = more.partition(":")
    subset = benchmark(task)
    n = _count(items) if items else None
    if items and n is None:
        raise InputError(
            "{items!r} is no number of items. Give a whole number of 1 or more, such as jnli:acc:100.", items=items
        )
    return subset, metric_of(metric, subset) if metric else "", n


def _count(text: str) -> int | None:
    digits = text.strip().replace(",", "").removesuffix(".0")
    return int(digits) if re.fullmatch(r"\d{1,8}", digits) and int(digits) > 0 else None


def _half(cell: str, place: int) -> str:
    parts = cell.split("/")
    return parts[place].strip().strip("*") if len(parts) == 2 else ("" if is_missing(cell) else cell)


def _known(name: str, named: Mapping[str, str] | None, scored: set[str]) -> bool:
    """Whether a column has been used."""
    return bool(named and name in named) or recognise(name) is not None or fold(name) in _ITEMS or name in scored


def _models(
    head: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[Column], query: str
) -> tuple[tuple[str, ...], int | None]:
    used = {column.title.split(" [")[0] for column in columns}
    free = [i for i, name in enumerate(head) if name not in used and recognise(name) is None]
    place = head.index(query) if query else next((i for i in free if fold(head[i]) in _MODEL), None)
    if place is None:
        place = next((i for i in free if any(re.search(r"[^\W\d]", row[i]) for row in rows)), None)
    names = [row[place].strip().strip("*` ") if place is not None else "" for row in rows]
    return tuple(name[:80] or f"row {i}" for i, name in enumerate(names, 1)), place


def _numbered(models: Sequence[str]) -> tuple[str, ...]:
    """Names with a number from the second time on, which makes none of them that of another row."""
    used_names, seen, names = set(models), Counter[str](), []
    for name in models:
        seen[name] += 1
        unique_name = name
        if seen[name] > 1:
            while (unique_name := f"{name} ({seen[name]})") in used_names:
                seen[name] += 1
            used_names.add(unique_name)
        names.append(unique_name)
    return tuple(names)


def _wide(folded: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table with a row for each model and subset, as one with a row for each model."""

    def place(names: Sequence[str]) -> int | None:
        return next((i for i, f in enumerate(folded) if f in names), None)

    task, score, metric, model, n = (place(names) for names in (_TASK, _SCORE, _METRIC, _MODEL, _ITEMS))
    assert task is not None and score is not None
    wide: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 1):
        name = row[model] if model is not None else f"row {number}"
        head = f"{row[task]} {row[metric]}".strip() if metric is not None else row[task].strip()
        cells = wide.setdefault(name, {})
        if head in cells:
            raise DataError("{name} has two scores for {head}. Leave one of them out.", name=name[:80], head=head[:80])
        cells[head] = row[score]
        if n is not None and cells.setdefault(f"{row[task]} n", row[n]).strip() != row[n].strip():
            raise DataError(
                "{name} has two numbers of items for {task}. Give the metrics in tables of their own.",
                name=name[:80],
                task=row[task][:80],
            )
    heads = list(dict.fromkeys(head for cells in wide.values() for head in cells))
    return ["model", *heads], [[name, *(cells.get(h, "") for h in heads)] for name, cells in wide.items()]
