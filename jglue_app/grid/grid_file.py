"""A grid as a TOML file: options that all runs share, factors with their levels, and combinations to leave out.

    protocol = "official"            # whose settings fill options that are not named, as `run --protocol`
    max_runs = 1000                  # a grid with more runs is refused

    [run]                            # options of all runs, as `run` has them
    tasks = ["jnli", "jcola"]
    data = "sample"
    limit = 20

    [factors]                        # options with several values
    style = ["ja-labels", "number"]
    shots = [0, 4]
    shot_seed = [0, 1, 2]

    [[exclude]]                      # combinations to leave out; a list is any of its values
    style = "number"
    shots = 4

Every option of a run can be in `[run]` or `[factors]`; they are read from `runs.request`, so that what a run can
express, a grid can.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jglue_app.data.toml_text import load_toml
from jglue_app.errors import InputError, UnknownNameError, reason_of
from jglue_app.grid.factors import PROTOCOL, GridFactor, option_names, option_of, read_factor, read_value
from jglue_app.messages import Joined, Message
from jglue_app.runs.request import read_budget
from jglue_app.scoring.protocols import get_protocol

MAX_BYTES = 1_000_000
MAX_RUNS = 1_000
"""Runs of a grid, unless its file says otherwise."""
MAX_COMBINATIONS = 100_000
"""Combinations of all levels, before any is left out: they are counted by multiplication, and only then walked."""
MAX_EXCLUSIONS = 100
MAX_NAME = 60
"""Characters of a grid's name."""
NAME = re.compile(r"\w[\w.-]*")
KEYS = ("name", PROTOCOL, "max_runs", "run", "factors", "exclude")


@dataclass(frozen=True, slots=True)
class GridFile:
    """A grid as its file has it; every value is checked by itself."""

    name: str
    protocol: str
    common: Mapping[str, Any]
    """Option → value of all runs."""
    factors: tuple[GridFactor, ...]
    exclusions: tuple[Mapping[str, frozenset[str]], ...]
    """Factor → levels; a combination with one of them for each of the factors is left out."""
    max_runs: int
    budget: float | None = None
    """Most that all paid requests of the grid may cost."""

    @property
    def combinations(self) -> int:
        """Combinations of all levels, those that are left out among them."""
        return math.prod(len(factor.levels) for factor in self.factors)

    def budget_with(self, given: float | None) -> float | None:
        """The budget where one was given beside the file (None for not): it replaces the file's, and is read
        as that of a single run is, so that 0 says that there is none.

        Raises:
            InputError: it is no amount of money.
        """
        return self.budget if given is None else read_budget(given)

    def is_excluded(self, levels: Mapping[str, str]) -> bool:
        """Whether a combination (factor → level) is left out."""
        return any(all(levels[name] in those for name, those in one.items()) for one in self.exclusions)


def read_grid(path: Path) -> GridFile:
    """Read a grid.

    Raises:
        InputError: the file cannot be read, or something in it cannot be done; the sentence names the place.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as e:
        raise InputError(
            "{path}: cannot be read ({reason}). Give the path of a grid as a TOML file.", path=path, reason=reason_of(e)
        ) from e
    if len(raw) > MAX_BYTES:
        raise InputError("{path}: larger than {most:,} bytes. Make the grid shorter.", path=path, most=MAX_BYTES)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InputError("{path}: not a text in UTF-8. Save it as one.", path=path) from e
    try:
        table = load_toml(text)
    except ValueError as e:
        raise _no_toml(path, text, e) from e
    return _grid(table, path)


def _no_toml(path: Path, text: str, error: ValueError) -> InputError:
    """What is wrong with a TOML text, with the line at fault, which names an option that stands there twice."""
    reason = reason_of(error)
    number = re.search(r"at line (\d+)", reason)
    lines = text.splitlines()
    line = lines[int(number[1]) - 1].strip()[:100] if number and 0 < int(number[1]) <= len(lines) else ""
    if not line:
        return InputError("{path}: not a TOML file ({reason}).", path=path, reason=reason)
    return InputError("{path}: not a TOML file: {reason}: {line!r}.", path=path, reason=reason, line=line)


def _grid(table: Mapping[str, Any], path: Path) -> GridFile:
    for key in table:
        if key not in KEYS:
            hint = Message("Put an option of all runs in [run], and one with several values in [factors].")
            raise UnknownNameError(
                Message("key of the grid {path}", path=path), key, KEYS, hint if option_of(key) else ""
            )
    common = _options(table, "run", path)
    given = _options(table, "factors", path)
    if twice := next((name for name in given if name in common), None):
        raise InputError("{path}: {name} is in [run] and in [factors]. Leave it in one of them.", path=path, name=twice)
    protocol = table.get(PROTOCOL, "official")
    if not isinstance(protocol, str):
        raise InputError("{path}: protocol is the name of one. Put several in [factors].", path=path)
    get_protocol(protocol)
    if PROTOCOL in given and PROTOCOL in table:
        raise InputError(
            "{path}: {name} is at the top of the file and in [factors]. Leave it in one of them.",
            path=path,
            name=PROTOCOL,
        )
    max_runs, excluded = _max_runs(table.get("max_runs", MAX_RUNS), path), table.get("exclude", [])
    _require_few(given, max_runs, path, excluding=bool(excluded))
    factors = tuple(read_factor(name, values, path) for name, values in given.items())
    values = {name: read_value(name, value, f"[run] {name}", path)[0] for name, value in common.items()}
    return GridFile(
        name=_name(table.get("name", path.stem), path),
        protocol=protocol,
        common={name: value for name, value in values.items() if name != "budget"},
        factors=factors,
        exclusions=tuple(_exclusions(excluded, factors, path)),
        max_runs=max_runs,
        budget=values.get("budget"),
    )


def _require_few(given: Mapping[str, Any], most: int, path: Path, *, excluding: bool) -> None:
    """Refuse more combinations than can be run, by multiplication alone: before any level is looked at."""
    sizes = {name: len(values) for name, values in given.items() if isinstance(values, list) and values}
    count = math.prod(sizes.values())
    most = MAX_COMBINATIONS if excluding else most
    if count > most:
        can_raise = not excluding and count <= MAX_COMBINATIONS
        raise InputError(
            "{path}: {product} are {count:,} combinations, and at most {most:,} are taken{before}. Name fewer levels"
            "{or_raise}.",
            path=path,
            product=" × ".join(f"{size} {name}" for name, size in sizes.items()),
            count=count,
            most=most,
            before=Message(" before exclusions") if excluding else "",
            or_raise=Message(", or raise max_runs") if can_raise else "",
        )


def _name(name: object, path: Path) -> str:
    if not isinstance(name, str) or len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise InputError(
            "{path}: a grid's name has letters, digits, hyphens, dots and underscores, at most {most}, and begins with "
            'a letter or a digit; {name!r} is not a valid name. Write name = "…" at the top of the file.',
            path=path,
            most=MAX_NAME,
            name=str(name)[:100],
        )
    return name


def _max_runs(value: object, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_COMBINATIONS:
        raise InputError(
            "{path}: max_runs is a whole number from 1 to {most:,}; not {value}.",
            path=path,
            most=MAX_COMBINATIONS,
            value=str(value)[:50],
        )
    return value


def _options(table: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    """Option → value of a table of the file, by its name with underscores."""
    given = table.get(key, {})
    if not isinstance(given, dict):
        raise InputError("{path}: [{key}] must be a table.", path=path, key=key)
    found: dict[str, Any] = {}
    for name, value in given.items():
        own = name.replace("-", "_")
        if (own != PROTOCOL and option_of(own) is None) or (own == PROTOCOL and key == "run"):
            known = [*option_names(), *([PROTOCOL] if key == "factors" else [])]
            hint = Message("Put protocol at the top of the file, above all tables.") if own == PROTOCOL else ""
            raise UnknownNameError(Message("option in [{key}] of {path}", key=key, path=path), name, known, hint)
        if own in found:
            raise InputError("{path}: [{key}] has {name} twice. Leave one of them.", path=path, key=key, name=own)
        found[own] = value
    return found


def _exclusions(given: object, factors: tuple[GridFactor, ...], path: Path) -> Iterator[Mapping[str, frozenset[str]]]:
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise InputError("{path}: exclusions are tables, each under [[exclude]].", path=path)
    if len(given) > MAX_EXCLUSIONS:
        raise InputError(
            "{path}: {count:,} exclusions, and at most {most} are taken. Name levels in lists.",
            path=path,
            count=len(given),
            most=MAX_EXCLUSIONS,
        )
    by_name = {factor.name: factor for factor in factors}
    for number, one in enumerate(given, 1):
        where = f"[[exclude]] {number}"
        if not one:
            raise InputError("{path}: {where} names no factor. Name one, or take it out.", path=path, where=where)
        found: dict[str, frozenset[str]] = {}
        for name, values in one.items():
            factor = by_name.get(name.replace("-", "_"))
            if factor is None:
                raise UnknownNameError(Message("factor in {where} of {path}", where=where, path=path), name, by_name)
            if factor.name in found:
                raise InputError(
                    "{path}: {where} has {name} twice. Leave one of them.", path=path, where=where, name=factor.name
                )
            levels = [
                _excluded(factor, value, where, path) for value in (values if isinstance(values, list) else [values])
            ]
            found[factor.name] = frozenset(levels)
        yield found


def _excluded(factor: GridFactor, value: object, where: str, path: Path) -> str:
    """A level that an exclusion names; raises InputError where the factor has no such level."""
    level = read_value(factor.name, value, f"{where} {factor.name}", path)[1]
    if level not in factor.levels:
        raise InputError(
            "{path}: {where} matches nothing: {name} has no level {level!r}, but {levels}.",
            path=path,
            where=where,
            name=factor.name,
            level=level[:100],
            levels=Joined(", ", factor.levels[:20]),
        )
    return level
