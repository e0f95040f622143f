"""The address of what a page shows: a tab, stored runs, a protocol, a filter, a single item.

It is the query of the page's own address, such as `run_a=0123456789abcdef&item=jnli/5&filter=disagree`. Names of runs
are in it, and never those of visitors or sessions: what an address names is looked up as its visitor may see it. The
links of requests (`tasks=…&a=…`) are in `runs/request_text.py`; an address may have both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlencode

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import mark
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.tasks import TASKS

TABS = ("compare", "lab", "full", "results", "audit", "about")
"""The tabs; an address without one opens the first."""
DATA = ("sample", "official", "test")
"""The kinds of data whose runs are ranked."""
SAFE = "/,:"
"""Characters that stay as they are, so that an address can be read."""
MAX_RUNS = 50
"""Runs that an address names for Results."""
MAX_CHARS = {
    "tab": 100,
    "run_a": 200,
    "run_b": 200,
    "protocol": 100,
    "subset": 100,
    "filter": 200,
    "search": 200,
    "item": 300,
    "runs": 200 * MAX_RUNS,
    "baseline": 200,
    "against": 100,
    "results_data": 100,
    "results_subsets": 200,
}
"""Parameter → the most characters that it may have."""


@dataclass(frozen=True, slots=True)
class Address:
    """What an address restores. An empty value says nothing."""

    tab: str = ""
    run_a: str = ""
    """Name of a stored run, or of a shipped one (`shipped:…`)."""
    run_b: str = ""
    """Empty where one run is shown alone."""
    protocol: str = ""
    subset: str = ""
    """The subset whose items are listed; empty for all."""
    filter: str = ""
    """Of the item list, which knows its names."""
    search: str = ""
    item: tuple[str, str] | None = None
    """(Subset, item id) of the item that is open."""
    runs: tuple[str, ...] = ()
    """Runs that are side by side on the Results tab."""
    baseline: str = ""
    """The one of them that the others are compared with."""
    against: str = ""
    """The protocol whose ranks are compared on the Results tab."""
    results_data: str = ""
    """Which runs are ranked there. (`data` and `tasks` are those of a request.)"""
    results_subsets: tuple[str, ...] = ()
    """The subsets that they are ranked by; empty for the usual ones."""

    def item_list_view(self) -> dict[str, Any]:
        """The first state of the item list."""
        opened = {"task": self.item[0], "id": self.item[1]} if self.item else None
        return {"filter": self.filter, "task": self.subset, "search": self.search, "open": opened}


def from_query(params: Mapping[str, str]) -> Address:
    """The address that the parameters of a query make; other parameters are left out.

    Raises:
        InputError: a value is too long, or names no item.
        UnknownNameError: no such tab, protocol or subset.
    """
    given = {name: params[name] for name in MAX_CHARS if params.get(name)}
    for name, value in given.items():
        if len(value) > MAX_CHARS[name]:
            raise InputError(
                "“{name}” in the address has {chars:,} characters; at most {most:,} are read. Copy the link again.",
                name=name,
                chars=len(value),
                most=MAX_CHARS[name],
            )
    for name, kind, known in (
        ("tab", mark("tab"), TABS),
        ("protocol", mark("protocol"), PROTOCOLS),
        ("against", mark("protocol"), PROTOCOLS),
        ("subset", mark("subset"), TASKS),
        ("results_data", mark("data"), DATA),
    ):
        if name in given:
            _check_name(kind, given[name], known)
    readers: dict[str, Callable[[str], Any]] = {"item": _item, "runs": _runs, "results_subsets": _subsets}
    address = Address(**{name: readers.get(name, str)(value) for name, value in given.items()})
    if address.run_b and not address.run_a:
        raise InputError("The address names run_b and no run_a. Add run_a, or copy the link again.")
    return address


def _item(text: str) -> tuple[str, str]:
    task, _, id_ = text.partition("/")
    if not id_:
        raise InputError(
            "“{text}” in the address is no item: it has the form subset/id, such as jnli/5. Copy the link again.",
            text=text[:50],
        )
    _check_name(mark("subset"), task, TASKS)
    return task, id_


def _subsets(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    for name in names:
        _check_name(mark("subset"), name, TASKS)
    return names


def _check_name(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise UnknownNameError(kind, name, known)


def _runs(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    if len(names) > MAX_RUNS:
        raise InputError(
            "The address names {count:,} runs; at most {most} are put side by side. Leave some out.",
            count=len(names),
            most=MAX_RUNS,
        )
    return names


def to_query(address: Address) -> str:
    """The query of an address, without `?`; the inverse of `from_query`."""
    values = {field.name: getattr(address, field.name) for field in fields(address)}
    values["item"] = "/".join(address.item) if address.item else ""
    values["runs"], values["results_subsets"] = ",".join(address.runs), ",".join(address.results_subsets)
    return urlencode({name: value for name, value in values.items() if value}, safe=SAFE, errors="replace")
