"""A leaderboard as somebody has it: CSV, TSV, a Markdown table or JSON, and which of its columns is what. Pure.

Columns are recognised by their heads in many spellings (`JNLI`, `jnli_acc`, `JComQA`, `JSQuAD EM`, `marc_ja-1.1-0.2`);
two scores in one cell (`0.909/0.868`) are two columns. What is not recognised is left aside and named.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jglue_app.audit.facts import BENCHMARKS, Benchmark, benchmark, fold, metric_of
from jglue_app.audit.printed import is_missing
from jglue_app.errors import DataError, InputError, UnknownNameError

MAX_BYTES = 5_000_000
MAX_ROWS = 500
"""Each is compared with each: more would take minutes, and no leaderboard has so many models."""
MAX_COLUMNS = 200
MAX_COMPARED = 4_000_000
"""Rows squared times columns of scores: about ten seconds."""
_MODEL = ("model", "models", "modelname", "name", "モデル", "モデル名", "llm")
_ITEMS = ("n", "items", "nitems", "numitems", "samples", "nsamples", "numsamples", "問数", "件数", "問題数")
_TASK = ("task", "tasks", "subset", "dataset", "benchmark", "タスク", "サブセット")
_METRIC = ("metric", "metrics", "指標")
_SCORE = ("score", "value", "スコア", "点", "点数")
_NO_SCORE = ("stderr", "se", "std", "sd", "rank", "順位", "ci", "time", "version")
_NOISE = re.compile(r"(?<![a-z])(\d+[- ]?shots?|v?\d+(\.\d+)*|dev|valid(ation)?|test|main|none|strict-match)(?![a-z])")
_PAIR = {"jsts": ("pearson", "spearman"), "jsquad": ("exact_match", "f1")}
_BOTH = re.compile(r"\s*\*{0,2}[\d.]+%?\*{0,2}\s*/\s*\*{0,2}[\d.]+%?\*{0,2}\s*")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Column:
    """Scores of one subset by one metric."""

    title: str
    """As a sentence names it."""
    of: Benchmark
    metric: str
    """A key of `facts.METRICS`; where the table does not say, the one that makes the fewest claims."""
    said: bool
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


def decode(raw: bytes) -> str:
    """Text in UTF-8, in UTF-16 or UTF-32 with a byte-order mark, or in the Windows code page of Japanese.

    Raises:
        DataError: it is in none of them, or too long.
    """
    if len(raw) > MAX_BYTES:
        raise DataError(f"The table has more than {MAX_BYTES:,} bytes: no leaderboard does. Give its scores alone.")
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            candidates: tuple[str, ...] = (encoding,)
            break
    else:
        candidates = ("utf-8", "cp932")
    for encoding in candidates:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError("The table is neither in UTF-8 nor in Shift_JIS. Save it as CSV in UTF-8 and try again.")


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
    head, rows = _grid(text)
    if not rows:
        raise DataError("The table has no rows. It takes a head, such as model,JNLI, and a row for each model.")
    if len(head) > MAX_COLUMNS:
        raise DataError(f"The table has more than {MAX_COLUMNS} columns. Give the model and the scores alone.")
    for name in (*(columns or {}), *((model_column,) if model_column else ())):
        if name not in head:
            raise UnknownNameError("column", name, head)
    folded = [fold(name) for name in head]
    if any(f in _TASK for f in folded) and any(f in _SCORE for f in folded) and not columns:
        head, rows = _wide(folded, rows)
    found = _columns(head, rows, dict(columns or {}))
    models, used = _models(head, rows, found, model_column)
    scored = {column.title for column in found}
    ignored = tuple(h for i, h in enumerate(head) if h and i != used and not _known(h, columns, scored))
    if not found:
        raise DataError(
            f"None of the columns is a score that is known here: {', '.join(head[:8])}. Name them after the subsets "
            "(JNLI, JSQuAD EM), or say which is which (--column jnli=NAME)."
        )
    if len(found) * len(rows) ** 2 > MAX_COMPARED:
        raise DataError("The table has too many rows and columns to compare each with each. Give a part of it.")
    repeated = tuple(name for name, times in Counter(models).items() if times > 1)
    return Table(_numbered(models), tuple(found), ignored, repeated)


# --- the cells -------------------------------------------------------------------------------------------


def _grid(text: str) -> tuple[list[str], list[list[str]]]:
    """Heads, and rows with as many cells."""
    text = text.lstrip("\ufeff")
    if len(text) > MAX_BYTES:
        raise DataError(
            f"The table has more than {MAX_BYTES:,} characters: no leaderboard does. Give its scores alone."
        )
    if text.lstrip()[:1] in ("[", "{"):
        return _json(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError("The table is empty. It takes a head, such as model,JNLI, and a row for each model.")
    if len(lines) > 2 * MAX_ROWS:
        raise DataError(f"The table has more than {MAX_ROWS:,} rows. Give a part of it.")
    if lines[0].lstrip().startswith("|"):
        cells = [_markdown(line) for line in lines if line.lstrip().startswith("|")]
        rows = [row for row in cells if not all(re.fullmatch(r":?-*:?", c) for c in row)]
    else:
        comma = "\t" if "\t" in lines[0] else ";" if lines[0].count(";") > lines[0].count(",") else ","
        try:
            rows = list(csv.reader(lines, delimiter=comma, strict=True))
        except csv.Error as e:
            raise DataError(f"The table is not valid CSV ({e}). Correct it, and give it again.") from e
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    head = [cell.strip() for cell in rows[0]] if rows else []
    if len(rows) - 1 > MAX_ROWS:
        raise DataError(f"The table has {len(rows) - 1:,} rows; at most {MAX_ROWS:,} are compared. Give a part of it.")
    # A second head, such as the metrics under the subsets, has no model; where it names metrics they are added.
    if len(rows) > 1 and not rows[1][0].strip() and not any(_is_number(cell) for cell in rows[1]):
        below = [cell.strip() for cell in rows.pop(1)]
        head = [f"{a} {b}".strip() for a, b in zip(head, below + [""] * len(head), strict=False)]
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(head):
            raise DataError(f"Row {number} of the table has more cells than the head has names. Correct it.")
    if len(set(filter(None, head))) != len([h for h in head if h]):
        raise DataError("A column stands twice in the head of the table. Name each column once.")
    return head, [row + [""] * (len(head) - len(row)) for row in rows[1:]]


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+*\s]*\d*\.?\d+%?[*\s]*", cell)) or bool(_BOTH.fullmatch(cell))


def _markdown(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _json(text: str) -> tuple[list[str], list[list[str]]]:
    """Objects as rows; the digits of numbers stay as they are written."""
    try:
        found = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as e:
        raise DataError("The table begins as JSON and is not valid JSON. Correct it, or give CSV.") from e
    if isinstance(found, dict):
        found = [{"model": name, **row} for name, row in found.items() if isinstance(row, dict)]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise DataError("JSON has to be a list of objects, one for each model, or an object of objects by model.")
    if len(found) > MAX_ROWS:
        raise DataError(f"The table has {len(found):,} rows; at most {MAX_ROWS:,} are compared. Give a part of it.")
    flat = [_flat(row) for row in found]
    head = list(dict.fromkeys(name for row in flat for name in row))
    return head, [[row.get(name, "") for name in head] for row in flat]


def _flat(row: Mapping[str, Any]) -> dict[str, str]:
    """`{"jnli": {"acc": 0.5}}` as `jnli acc`."""
    flat: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name} {inner}": _text(v) for inner, v in value.items()}
        else:
            flat[str(name)] = _text(value)
    return flat


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, (list, dict, bool)) else str(value)


# --- what is what ----------------------------------------------------------------------------------------


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]], named: Mapping[str, str]) -> list[Column]:
    found: list[Column] = []
    whole = next((i for i, name in enumerate(head) if fold(name) in _ITEMS and name not in named), None)
    for i, name in enumerate(head):
        if not name:
            continue
        cells = tuple(row[i].strip() for row in rows)
        items: int | None = None
        if name in named:
            of, metric, items = _said(named[name])
        else:
            guessed = recognise(name)
            if guessed is None or guessed[1] == "n":
                continue
            of, metric = guessed[0], guessed[1]
        own = next((j for j, other in enumerate(head) if recognise(other) == (of, "n")), whole)
        n = tuple(items or (_count(row[own]) if own is not None else None) for row in rows)
        if not metric and of.name in _PAIR and any(_BOTH.fullmatch(cell) for cell in cells):
            for place, part in enumerate(_PAIR[of.name]):
                halves = tuple(_half(cell, place) for cell in cells)
                found.append(Column(f"{name} [{part}]", of, part, True, halves, n))
            continue
        cautious = {"jsts": "spearman", "jsquad": "f1"}.get(of.name, of.metrics[0])
        found.append(Column(name, of, metric or cautious, bool(metric), cells, n))
    return found


def recognise(name: str) -> tuple[Benchmark, str] | None:
    """What a head stands for: a subset and a metric (empty if it names none, `n` for a number of items); None if it is
    no score that is known here."""
    text = unicodedata.normalize("NFKC", name).lower().replace("_", " ")
    folded = fold(text)
    for of in BENCHMARKS.values():
        for alias in sorted((fold(of.name), *of.aliases), key=len, reverse=True):
            at = folded.find(alias)
            if at < 0 or (len(alias) < 5 and folded != alias and not _whole(alias, text)):
                continue
            rest = fold(_NOISE.sub(" ", _without(text, alias)))
            if not rest or rest in ("/".join(_PAIR.get(of.name, ())), fold("".join(_PAIR.get(of.name, ())))):
                return of, ""
            if rest in _ITEMS:
                return of, "n"
            if rest in ("emf1", "exactmatchf1", "pearsonspearman"):
                return of, ""
            try:
                return of, metric_of(rest, of)
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


def _said(text: str) -> tuple[Benchmark, str, int | None]:
    task, _, more = text.partition(":")
    metric, _, items = more.partition(":")
    of = benchmark(task)
    n = _count(items) if items else None
    if items and n is None:
        raise InputError(f"{items!r} is no number of items. Give a whole number of 1 or more, such as jnli:acc:100.")
    return of, metric_of(metric, of) if metric else "", n


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
    head: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[Column], asked: str
) -> tuple[tuple[str, ...], int | None]:
    used = {column.title.split(" [")[0] for column in columns}
    free = [i for i, name in enumerate(head) if name not in used and recognise(name) is None]
    place = head.index(asked) if asked else next((i for i in free if fold(head[i]) in _MODEL), None)
    if place is None:
        place = next((i for i in free if any(re.search(r"[^\W\d]", row[i]) for row in rows)), None)
    names = [row[place].strip().strip("*` ") if place is not None else "" for row in rows]
    return tuple(name[:80] or f"row {i}" for i, name in enumerate(names, 1)), place


def _numbered(models: Sequence[str]) -> tuple[str, ...]:
    """Names with a number from the second time on."""
    seen: Counter[str] = Counter()
    names = []
    for name in models:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
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
            raise DataError(f"{name[:80]} has two scores for {head[:80]}. Leave one of them out.")
        cells[head] = row[score]
        if n is not None:
            cells[f"{row[task]} n"] = row[n]
    heads = list(dict.fromkeys(head for cells in wide.values() for head in cells))
    return ["model", *heads], [[name, *(cells.get(h, "") for h in heads)] for name, cells in wide.items()]
