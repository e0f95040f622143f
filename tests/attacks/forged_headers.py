"""Forged Host, Origin and forwarding headers, and what another site can make a visitor's browser do.

A page on the internet whose name is made to resolve to 127.0.0.1 reaches a server on the visitor's own machine with its
own name in Host (DNS rebinding), and any page can send a browser's request across sites with its name in Origin. None
of them may read from or act on the local server; nor may a visitor of the public one be used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.attacks.calls import Answer, Program
from tests.attacks.outcome import Outcome
from tests.attacks.world import World

HOST, FORGED, CROSS = "DNS rebinding", "forwarding headers", "requests from other sites"
EVIL = "evil.example"
MARK = "jg-forged"
ORIGINS = ("http://evil.example", "https://evil.example:8443", "null", "http://127.0.0.1.evil.example", "file://")


def attack(world: World) -> Iterator[Outcome]:
    """The local server by another name; both servers from another site; headers of proxies that there are not."""
    if world.local is not None:
        yield from _rebinding(world, world.local.url)
        yield from _cross_site(world, world.local.url, "local")
        yield from _mcp(world, world.local.url)
    yield from _cross_site(world, world.public.url, "public")
    yield from _forwarded(world)


def _read(answer: Answer) -> str:
    return (
        ""
        if answer.status in (0, 400, 401, 403, 404, 405, 413, 415, 421, 429)
        else f"HTTP {answer.status}: {answer.text[:80]}"
    )


def _rebinding(world: World, url: str) -> Iterator[Outcome]:
    port = urlsplit(url).port
    for host in (
        *(EVIL, f"{EVIL}:{port}", f"127.0.0.1.{EVIL}:{port}", f"localhost.{EVIL}", "attacker.test", "169.254.169.254"),
        *(f"{EVIL}@127.0.0.1:{port}", f"127.0.0.1:{port}@{EVIL}", f"localhost:{port}.{EVIL}", "xn--localhost-.example"),
    ):
        with Program(world, url, headers={"host": host}) as program:
            for method, path in (
                *(("GET", "/"), ("GET", "/config"), ("GET", "/gradio_api/info"), ("GET", "/gradio_api/queue/status")),
                *(("POST", "/gradio_api/run/runs"), ("POST", "/gradio_api/queue/join"), ("POST", "/gradio_api/upload")),
                *(
                    ("POST", "/gradio_api/mcp/"),
                    ("GET", "/gradio_api/mcp/sse"),
                    ("GET", "/gradio_api/file=/etc/hostname"),
                ),
            ):
                kind = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
                if path.endswith("sse"):
                    answer = _head_of(program, path)
                else:
                    answer = program.request(
                        method, path, content=b'{"data":[]}' if method == "POST" else None, headers=kind
                    )
                yield Outcome(HOST, f"{method} {path} as {host}", _read(answer))


def _head_of(program: Program, path: str) -> Answer:
    """The status of a stream that does not end."""
    import httpx

    try:
        with program.http.stream("GET", path) as stream:
            return Answer(stream.status_code < 400, "a stream", stream.status_code)
    except httpx.HTTPError as e:
        return Answer(False, str(e), 0)


def _cross_site(world: World, url: str, mode: str) -> Iterator[Outcome]:
    """Simple requests, which a browser sends without asking first, on everything that changes something."""
    changes = (
        "delete_run",
        "import_run",
        "compare_models",
        "full_run",
        "stop",
        "push_to_wandb",
        "try_prompt",
        "export_run",
    )
    for origin in ORIGINS:
        site = {"origin": origin, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
        with Program(world, url, headers=site) as program:
            for name in changes:
                for kind in ("text/plain", "application/json", "application/x-www-form-urlencoded"):
                    for path in (f"/gradio_api/run/{name}", f"/gradio_api/call/{name}"):
                        answer = program.request("POST", path, content=b'{"data":[]}', headers={"content-type": kind})
                        yield Outcome(CROSS, f"{mode} POST {path} ({kind}) from {origin}", _read(answer))
            for path in ("queue/join", "cancel", "component_server", "reset", "upload"):
                body = json.dumps({"data": [], "fn_index": 0, "session_hash": "x", "event_id": "x"}).encode()
                answer = program.request(
                    "POST", f"/gradio_api/{path}", content=body, headers={"content-type": "text/plain"}
                )
                yield Outcome(CROSS, f"{mode} POST {path} from {origin}", _read(answer))
            answer = program.request("POST", "/gradio_api/upload", files={"files": ("x.zip", b"PK")})
            yield Outcome(CROSS, f"{mode} upload from {origin}", _read(answer))
            response = program.http.get("/config")
            allowed = response.headers.get("access-control-allow-origin", "")
            yield Outcome(
                CROSS, f"{mode} GET /config from {origin}", f"its pages may read it: {allowed}" if allowed else ""
            )
            asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
            response = program.http.options("/gradio_api/queue/join", headers=asked)
            allowed = response.headers.get("access-control-allow-origin", "")
            yield Outcome(CROSS, f"{mode} preflight from {origin}", f"allowed for {allowed}" if allowed else "")


def _mcp(world: World, url: str) -> Iterator[Outcome]:
    """Every MCP tool, called by a page of another site, and by another name of the server."""
    with Program(world, url) as program:
        tools = [name.removeprefix("/") for name in program.info]
    for headers in ({"origin": "http://evil.example"}, {"host": EVIL}, {"origin": "null"}):
        with Program(world, url, headers=headers) as program:
            for tool in tools:
                call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
                kind = {"accept": "application/json, text/event-stream"}
                answer = program.request("POST", "/gradio_api/mcp/", json=call, headers=kind)
                yield Outcome(CROSS, f"MCP tool {tool} with {headers}", _read(answer))


def _forwarded(world: World) -> Iterator[Outcome]:
    """What a server says of itself must not be what a stranger claims."""
    forged: tuple[dict[str, str], ...] = (
        *(
            {"x-forwarded-host": EVIL},
            {"x-forwarded-host": EVIL, "x-forwarded-proto": "https"},
            {"forwarded": f"host={EVIL}"},
        ),
        *({"x-forwarded-server": EVIL}, {"x-original-url": f"//{EVIL}/"}, {"x-rewrite-url": f"//{EVIL}/"}),
        *(
            {"x-forwarded-prefix": f"//{EVIL}"},
            {"x-gradio-server": f"https://{EVIL}"},
            {"x-direct-url": f"https://{EVIL}"},
        ),
        *({"x-forwarded-host": f'{EVIL}"><i>'}, {"referer": f"https://{EVIL}/"}, {"x-host": EVIL}),
        *({"x-forwarded-for": "127.0.0.1"}, {"x-forwarded-port": "0"}, {"x-forwarded-proto": f'https"><i>{MARK}'}),
        *(
            {"accept-language": f"<i>{MARK}"},
            {"cookie": f'jg_lang=<i>{MARK}; jg_visitor="><i>{MARK}'},
            {"user-agent": f"<i>{MARK}"},
        ),
    )
    paths = ("/", "/config", "/gradio_api/info", "/?lang=en", "/theme.css", "/manifest.json")
    for path, headers in world.pairs(paths, forged):
        with Program(world, headers=headers) as program:
            response = program.http.get(path)
            told = "\n".join((response.text, *(f"{name}: {value}" for name, value in response.headers.items())))
            world.answers.append((path, told))
            seen = EVIL in told or MARK in told
            fault = Answer(response.status_code < 400, response.text, response.status_code).fault
            yield Outcome(FORGED, f"{path} with {headers}", "it is in the answer" if seen else fault)
