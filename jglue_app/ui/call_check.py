"""Whether the JSON of a request is what its address takes, before Gradio reads it.

Gradio answers wrong types and unknown numbers with a fault of its own and a traceback. Here each gets one sentence.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Never

import gradio as gr

from jglue_app.errors import InputError
from jglue_app.messages import Message, mark
from jglue_app.ui.open_routes import Body, Route

MAX_DEPTH = 50
"""Of lists and objects within each other; what the page and its programs send has about five."""
MAX_VALUES = 100_000
"""Of numbers, texts, lists and objects together: reading them holds the whole server up. A page sends some hundreds."""
MAX_DIGITS = 400
"""Of a whole number: those of the largest fraction. Reading takes time that grows with the square of them."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A text with its marks; one that does not end goes to the end of the body, so that each byte is looked at once."""
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")

NO_JSON = mark("The body of this call is no JSON that can be read ({reason}). Correct the call.")
WRONG_FIELD = mark("“{name}” of this call must be {kind}. Correct the call, or load the page again.")
UNKNOWN = mark(
    "The server has nothing under “{name}” of this call. Load the page again; programs find names at /gradio_api/info."
)

OBJECT, LIST = mark("an object"), mark("a list")
ID, OPTIONAL_ID = mark("an id of letters and digits"), mark("an id of letters and digits, or null")
NUMBER, OPTIONAL_NUMBER = mark("a whole number"), mark("a whole number, or null")
TRUTH, FILE = mark("true or false"), mark("a file that was uploaded")


@dataclass(frozen=True, slots=True)
class Call:
    """One function of a page, as far as a request is held against it."""

    name: str
    """Of its endpoint; empty for one of the page's own."""
    values: int
    """How many it takes."""
    visible_values: int
    """How many of them a program gives; the page keeps the others itself."""
    takes_files: tuple[bool, ...]
    """For each value whether it is a file, or several."""
    is_long: bool
    """Whether it gives its result in pieces, as all do that wait for a model."""
    is_unqueued: bool = False
    """Whether the page itself calls it directly."""


@dataclass(frozen=True, slots=True)
class PageCalls:
    """What can be called on a page."""

    functions: Mapping[int, Call]
    components: Mapping[int, frozenset[str]]
    """Component → the names of its functions on the server."""
    parameters: Callable[[], Mapping[str, list[Any]]]
    """Endpoint → its parameters, as Gradio describes them to programs."""
    files: str
    """The folder into which files are uploaded; empty where none are taken."""

    def named(self, name: str) -> Call | None:
        """The function behind an endpoint."""
        return next((call for call in self.functions.values() if call.name == name), None)


def page_calls(page: gr.Blocks, files: str) -> PageCalls:
    """What can be called on a page, whose files are uploaded into a folder."""
    functions = {
        number: Call(
            event.api_name if event.api_visibility == "public" and isinstance(event.api_name, str) else "",
            len(event.inputs),
            sum(not block.skip_api for block in event.inputs),
            tuple(isinstance(block, gr.File) for block in event.inputs),
            inspect.isgeneratorfunction(event.fn) or inspect.isasyncgenfunction(event.fn),
            is_unqueued=not event.queue,
        )
        for number, event in page.fns.items()
    }
    components = {
        number: frozenset(name for name, value in vars(block).items() if getattr(value, "_is_server_fn", False))
        for number, block in page.blocks.items()
    }

    @functools.cache
    def parameters() -> dict[str, list[Any]]:
        named: dict[str, Any] = page.get_api_info()["named_endpoints"]
        return {name.removeprefix("/"): described["parameters"] for name, described in named.items()}

    return PageCalls(functions, {n: names for n, names in components.items() if names}, parameters, files)


def read_json(raw: bytes) -> Any:
    """The value of a body.

    Raises:
        InputError: it is no JSON, has NaN or infinity, half a surrogate pair, too many levels or too many values.
    """
    if _values(raw) > MAX_VALUES:
        raise InputError(NO_JSON, reason=Message("it has more than {most:,} values", most=MAX_VALUES))
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_number, parse_float=_finite, parse_int=_not_too_long)
        depth = _depth(value)
    except (ValueError, RecursionError) as e:
        reason = {
            UnicodeDecodeError: Message("it is not written in UTF-8"),
            RecursionError: Message("it has more than {most} levels", most=MAX_DEPTH),
            _NotANumberError: Message("NaN and infinity are no values of JSON"),
        }.get(type(e), Message("it is not well formed"))
        raise InputError(NO_JSON, reason=reason) from e
    if depth > MAX_DEPTH:
        raise InputError(NO_JSON, reason=Message("it has more than {most} levels", most=MAX_DEPTH))
    if b"\\u" in raw and _LONE_SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise InputError(NO_JSON, reason=Message("it has one half of a surrogate pair"))
    return value


def check(route: Route, name: str, body: Any, calls: PageCalls) -> Call | None:
    """Hold a request's JSON against its address.

    Args:
        route: its address.
        name: of the endpoint that the address names; empty for none.
        body: its JSON.
        calls: of the page.

    Returns:
        The function that is called; None for one of a component, and for what calls none.

    Raises:
        InputError: it is not what the address takes.
    """
    if not isinstance(body, dict):
        _wrong("body", OBJECT)
    if route.body is Body.COMPONENT:
        _check_component(body, calls)
        return None
    if route.body in (Body.CANCEL, Body.RESET):
        for field in ("session_hash", "event_id") if route.body is Body.CANCEL else ("event_id",):
            _id(body, field)
        if route.body is Body.CANCEL:
            _number(body, "fn_index")
        return None
    _check_files(body, calls.files)
    if route.body is Body.CALL_BY_NAME:
        return _check_names(name, body, calls)
    return _check_call(route, name, body, calls)


def _check_names(name: str, body: dict[str, Any], calls: PageCalls) -> Call:
    found = _known(calls.named(name), name)
    parameters = {str(one.get("parameter_name")): one for one in calls.parameters().get(name, [])}
    for given in body:
        if given not in parameters and given != "oauth_token":
            raise InputError(UNKNOWN, name=given[:100])
    for needed, one in parameters.items():
        if needed not in body and not one.get("parameter_has_default"):
            raise InputError(
                "“{name}” is missing in this call. Programs find what a call needs at /gradio_api/info.", name=needed
            )
    return found


def _check_files(body: dict[str, Any], folder: str) -> None:
    """Refuse files that were not uploaded: Gradio would look for them on the machine or, of an address, fetch them.

    Where files may be uploaded, programs may also name addresses, which Gradio fetches from public hosts alone.
    """
    level: list[Any] = [body]
    while level:
        part = level.pop()
        if isinstance(part, dict):
            meta = part.get("meta")
            if isinstance(meta, dict) and meta.get("_type") == "gradio.FileData" and not _is_file(part, folder):
                raise InputError(WRONG_FIELD, name="path", kind=Message(FILE))
            level.extend(part.values())
        elif isinstance(part, list):
            level.extend(part)


def _is_file(value: dict[str, Any], folder: str) -> bool:
    path, url = value.get("path"), value.get("url")
    if not folder or not isinstance(path, str) or not (url is None or isinstance(url, str)):
        return False
    named = PurePath(path)
    return path.startswith(("http://", "https://")) or (named.is_relative_to(folder) and ".." not in named.parts)


def _check_call(route: Route, name: str, body: dict[str, Any], calls: PageCalls) -> Call:
    values = body.get("data")
    if not isinstance(values, list):
        _wrong("data", LIST)
    for field in ("session_hash", "event_id", "oauth_token"):
        if body.get(field) is not None and field != "oauth_token":
            _id(body, field, OPTIONAL_ID)
    for field in ("fn_index", "trigger_id"):
        if body.get(field) is not None:
            _number(body, field, OPTIONAL_NUMBER)
    for field in ("simple_format", "batched"):
        if body.get(field) not in (None, True, False):
            _wrong(field, TRUTH)
    number = body.get("fn_index")
    by_number = calls.functions.get(number) if number is not None else None
    found = _known(by_number, "fn_index") if number is not None else _known(calls.named(name), name or "fn_index")
    # The queue and direct calls take all values; `/call` fills in those that the page keeps itself.
    least = found.values if not name or route.direct else found.visible_values
    for at, is_file in enumerate(found.takes_files if len(values) >= found.values else ()):
        if is_file and not _are_files(values[at], calls.files):
            raise InputError(WRONG_FIELD, name=f"data[{at}]", kind=Message(FILE))
    if len(values) < least:
        raise InputError(
            "This call gives {given} values, and {least} are needed. Programs find them and their defaults at "
            "/gradio_api/info.",
            given=len(values),
            least=least,
        )
    return found


def _are_files(value: Any, folder: str) -> bool:
    """Whether a value is one file or several, as far as files are taken; nothing is one everywhere."""
    if value in (None, []):
        return True
    several = value if isinstance(value, list) else [value]
    return bool(folder) and all(isinstance(one, dict) and isinstance(one.get("path"), str) for one in several)


def _check_component(body: dict[str, Any], calls: PageCalls) -> None:
    _id(body, "session_hash")
    _number(body, "component_id")
    if not isinstance(body.get("fn_name"), str):
        _wrong("fn_name", ID)
    if "data" not in body:
        _wrong("data", OBJECT)
    if body["fn_name"] not in calls.components.get(body["component_id"], frozenset()):
        raise InputError(UNKNOWN, name="component_id")


def _known(call: Call | None, name: str) -> Call:
    if call is None:
        raise InputError(UNKNOWN, name=name)
    return call


def _id(body: Mapping[str, Any], field: str, kind: str = ID) -> None:
    value = body.get(field)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        _wrong(field, kind)


def _number(body: Mapping[str, Any], field: str, kind: str = NUMBER) -> None:
    value = body.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**31:
        _wrong(field, kind)


def _wrong(name: str, kind: str) -> Never:
    raise InputError(WRONG_FIELD, name=name, kind=Message(kind))


class _NotANumberError(ValueError):
    """NaN or infinity, which Python's reader takes."""


def _no_number(text: str) -> Never:
    raise _NotANumberError(text)


def _finite(text: str) -> float:
    """A fraction, unless it is so large that it would be read as infinity."""
    value = float(text)
    if math.isinf(value):
        _no_number(text)
    return value


def _not_too_long(text: str) -> int:
    if len(text) > MAX_DIGITS:
        _no_number(text)
    return int(text)


def _values(raw: bytes) -> int:
    """The most values that a body can hold, without reading it."""
    bare = _TEXT.sub(b"", raw)
    return sum(map(bare.count, (b",", b"[", b"{")))


def _depth(value: Any) -> int:
    """Levels of lists and objects."""
    depth, level = 0, [value]
    while level := [part for part in level if isinstance(part, list | dict) and part]:
        depth += 1
        if depth > MAX_DEPTH:
            break
        level = [inner for part in level for inner in (part.values() if isinstance(part, dict) else part)]
    return depth
