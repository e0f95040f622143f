"""Wrong types, long texts, deep JSON and odd numbers, at every endpoint and every hidden handler of the server.

All handlers are found in the server's own configuration. Refused is what gives a sentence; an unexpected fault, a
traceback in the log, a dead server, or an answer that takes much time is through.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.attacks.calls import Answer, Program
from tests.attacks.outcome import Outcome
from tests.attacks.world import Served, World

KIND = "wrong types and odd values"
VALUES: tuple[tuple[str, Any], ...] = (
    ("null", None),
    ("true", True),
    ("a number", 5),
    ("a negative number", -1),
    ("a large number", 10**400),
    ("2**63", 2**63),
    ("NaN", float("nan")),
    ("Infinity", float("inf")),
    ("1e308", 1e308),
    ("an empty text", ""),
    ("a lone surrogate", "\ud800"),
    ("NUL", "a\x00b"),
    ("a list", []),
    ("lists in lists", [[[[]]]]),
    ("a list of everything", [None, 1, "x", {}, [], True]),
    ("an object", {}),
    ("an odd object", {"__class__": "x", "__type__": "update", "value": {"a": [1]}, "path": "/etc/passwd"}),
    ("a file", {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}),
    ("format fields", "{0.__class__.__mro__} ${x} %(y)s {{7*7}}"),
)
LONG = "語" * (10 * 2**20 // 3)
"""10 MB of UTF-8."""
SECONDS = 90.0
"""Longest that an answer may take; a button without controls has the embedded model answer, whatever is sent."""


def attack(world: World) -> Iterator[Outcome]:
    """Everything at everything."""
    server = world.public
    with Program(world, timeout=120) as program:
        handlers = [one for one in program.config["dependencies"] if one["backend_fn"]]
        for one, (what, value) in world.pairs(handlers, VALUES):
            yield _judged(server, f"{_name(one)}: {what}", program, one["id"], [value] * _count(program, one))
        for one in handlers:
            yield _judged(server, f"{_name(one)}: no data", program, one["id"], [])
            yield _judged(
                server, f"{_name(one)}: too much data", program, one["id"], ["x"] * (_count(program, one) + 50)
            )
        yield from _each_parameter(world, program, server)
        yield from _long(world, program, server)
        yield from _bodies(program, server)
        yield from _component_servers(program, server)


def _name(handler: dict[str, Any]) -> str:
    return f"{handler['id']} ({handler['api_name']})"


def _count(program: Program, handler: dict[str, Any]) -> int:
    """How many values a handler takes."""
    parameters = program.info.get(f"/{handler['api_name']}", {"parameters": ()})["parameters"]
    return len(handler["inputs"]) or len(parameters)


def _judged(server: Served, tried: str, program: Program, index: int, data: Any, **more: Any) -> Outcome:
    logged, began = len(server.log), time.monotonic()
    answer = program.handler(index, data, **more)
    return _verdict(server, tried, answer, logged, time.monotonic() - began)


def _verdict(server: Served, tried: str, answer: Answer, logged: int, seconds: float) -> Outcome:
    if not server.alive():
        return Outcome(KIND, tried, "the server died")
    if answer.fault:
        return Outcome(KIND, tried, answer.fault)
    if "Traceback" in (new := server.log[logged:]):
        lines = [line for line in new.splitlines() if line.strip()]
        return Outcome(KIND, tried, f"a traceback in the log: {lines[-1]}")
    return Outcome(KIND, tried, f"{seconds:.0f} s" if seconds > SECONDS else "")


def _each_parameter(world: World, program: Program, server: Served) -> Iterator[Outcome]:
    """One parameter of an endpoint after the other, the others right, so that each is read."""
    right: dict[str, Any] = {"a": "shipped:x", "run": "shipped:x", "task": "jnli", "item_id": "", "format": "plain"}
    shipped = next(
        row["run"] for row in json.loads(program.call("runs").text.rpartition("data:")[2])["output"]["data"][0]
    )
    right |= {"a": shipped, "run": shipped, "limit": 1, "tasks": ["jnli"], "items": 1, "key": ""}
    places = [
        (name.removeprefix("/"), parameter["parameter_name"])
        for name, endpoint in program.info.items()
        for parameter in endpoint["parameters"]
    ]
    for (name, own), (what, value) in world.pairs(places, VALUES):
        given = {key: of for key, of in right.items() if key != "format" or name != "export_run"} | {own: value}
        logged, began = len(server.log), time.monotonic()
        answer = program.call(name, **given)
        yield _verdict(server, f"{name} {own}: {what}", answer, logged, time.monotonic() - began)


def _long(world: World, program: Program, server: Served) -> Iterator[Outcome]:
    """10 MB where a text is expected, in one parameter after the other of every endpoint."""
    for name in (one.removeprefix("/") for one in program.info):
        parameters = [one["parameter_name"] for one in program.info[f"/{name}"]["parameters"]]
        for own in parameters[: 1 if world.quick else 3]:
            logged, began = len(server.log), time.monotonic()
            answer = program.call(name, **{own: LONG})
            yield _verdict(server, f"{name} {own}: 10 MB", answer, logged, time.monotonic() - began)


def _bodies(program: Program, server: Served) -> Iterator[Outcome]:
    """Bodies that are no call."""
    index = program.function("audit_table")
    begin = f'{{"fn_index":{index},"session_hash":"{program.session}","data":'
    bodies = {
        "100,000 lists in lists": f"{begin}{'[' * 100_000}{']' * 100_000}}}",
        "100,000 objects in objects": begin + '[{"a":' * 50_000 + "1" + "}]" * 50_000 + "}",
        "NaN written out": f"{begin}[NaN, Infinity, -Infinity]}}",
        "a number of 100,000 digits": f"{begin}[{'9' * 100_000}]}}",
        "1e999": f"{begin}[1e999]}}",
        "no JSON": "{{{",
        "empty": "",
        "a list": "[]",
        "a text": '"x"',
        "null": "null",
        "data is an object": f'{begin}{{"a":1}}}}',
        "data is a text": f'{begin}"x"}}',
        "data is a number": f"{begin}5}}",
        "no data": f'{{"fn_index":{index},"session_hash":"{program.session}"}}',
        "the same key twice": f'{begin}["a"],"data":["b"]}}',
        "UTF-16": begin.encode("utf-16").decode("latin-1"),
        "a lone surrogate": f'{begin}["\\ud800"]}}',
        "index as a text": '{"fn_index":"1","session_hash":"x","data":[]}',
        "index that is none": '{"fn_index":99999,"session_hash":"x","data":[]}',
        "negative index": '{"fn_index":-1,"session_hash":"x","data":[]}',
        "index as a fraction": '{"fn_index":1.5,"session_hash":"x","data":[]}',
        "session as a number": f'{{"fn_index":{index},"session_hash":5,"data":[""]}}',
        "session as a list": f'{{"fn_index":{index},"session_hash":[],"data":[""]}}',
        "an event that is odd": f'{begin}["x"],"event_data":{{"a":[[[]]]}},"trigger_id":"x"}}',
        "a batch": f'{begin}[["x"],["y"]],"batched":true}}',
        "a request of its own": f'{begin}["x"],"request":{{"headers":{{"cookie":"jg_visitor=x"}}}}}}',
    }
    for what, body in bodies.items():
        for path in ("/gradio_api/queue/join", "/gradio_api/run/audit_table", "/gradio_api/call/audit_table"):
            logged, began = len(server.log), time.monotonic()
            headers = {"content-type": "application/json"}
            raw = body.encode("utf-8", "surrogatepass")
            answer = program.request("POST", path, content=raw, headers=headers)
            if answer.ok and path.endswith("join"):
                answer = program.read(program.session) if program.session in body else answer
            yield _verdict(server, f"{path}: {what}", answer, logged, time.monotonic() - began)


def _component_servers(program: Program, server: Served) -> Iterator[Outcome]:
    """The functions that the item list calls."""
    ids = [one["id"] for one in program.config["components"] if one["props"].get("elem_id") == "items"]
    for name in ("item", "mark", "__init__", "", "preprocess", "item\x00"):
        for what, value in VALUES:
            logged, began = len(server.log), time.monotonic()
            body = {"component_id": ids[0], "fn_name": name, "data": value, "session_hash": program.session}
            raw = json.dumps(body).encode("utf-8", "surrogatepass")
            headers = {"content-type": "application/json"}
            answer = program.request("POST", "/gradio_api/component_server", content=raw, headers=headers)
            if answer.status >= 500 and name not in ("item", "mark"):
                continue  # Gradio's own answer to a function that there is not.
            yield _verdict(server, f"component_server {name!r}: {what}", answer, logged, time.monotonic() - began)
