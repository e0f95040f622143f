"""Which of Gradio's addresses are open, and what each takes.

Gradio has some eighty; its own page and its clients need those below. All others are answered as if there were none:
reading by way of the server (`/proxy=`, `/file=https://…`), recordings, streams of sound and video, figures of use
(`/monitoring`), stored histories and deep links, editing the application from the browser (`/vibe-…`), logins and
their tokens where there are none, `/dev/reload`, sources of components (`/svelte`, `/custom_component`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

READ, POST = frozenset({"GET", "HEAD"}), frozenset({"POST"})
ANY = READ | POST | {"DELETE"}
API = "/gradio_api"
_SESSION = r"[A-Za-z0-9_-]{1,64}"
_NAME = r"[A-Za-z0-9_-]{1,100}"


class Body(Enum):
    """What a request of an open address may hold."""

    NONE = "none"
    CALL = "a call with its values by place"
    CALL_BY_NAME = "a call with its values by name"
    COMPONENT = "a call of a component"
    CANCEL = "an event to cancel"
    RESET = "an event to reset"
    UPLOAD = "files"
    MCP = "a message of MCP"


@dataclass(frozen=True, slots=True)
class Route:
    """An open address."""

    methods: frozenset[str]
    path: str
    """A regular expression for all of it; `(?P<name>…)` is an endpoint's name."""
    body: Body = Body.NONE
    direct: bool = False
    """Whether the answer is sent at once, without the queue."""
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", re.compile(self.path))


PAGE = (
    Route(READ, r"/"),
    # Scripts, style sheets, pictures of the page; Gradio itself looks that they are in their folder.
    Route(READ, r"/(?:assets|static)/[A-Za-z0-9_./-]+"),
    Route(READ, rf"(?:{API})?/theme\.css"),
    Route(READ, r"/(?:favicon\.ico|robots\.txt|preview\.png|health)"),
    Route(READ, rf"{API}/file=.+"),
)
CALLS = (
    Route(READ, r"/config/?"),
    Route(READ, rf"{API}/(?:info/?|openapi\.json|startup-events|app_id/?|login_check/?)"),
    Route(POST, rf"{API}/queue/join", Body.CALL),
    Route(READ, rf"{API}/queue/data"),
    Route(POST, rf"{API}/call/(?P<name>{_NAME})/?", Body.CALL),
    Route(POST, rf"{API}/call/v2/(?P<name>{_NAME})/?", Body.CALL_BY_NAME),
    Route(READ, rf"{API}/call/(?:v2/)?{_NAME}/{_SESSION}"),
    Route(POST, rf"{API}/(?:run|api)/(?P<name>{_NAME})/?", Body.CALL, direct=True),
    Route(POST, rf"{API}/component_server/?", Body.COMPONENT),
    Route(POST, rf"{API}/cancel", Body.CANCEL),
    Route(POST, rf"{API}/reset/?", Body.RESET),
    Route(READ, rf"{API}/heartbeat/{_SESSION}"),
)
UPLOADS = (Route(POST, rf"{API}/upload", Body.UPLOAD), Route(READ, rf"{API}/upload_progress"))
MCP = (Route(ANY, rf"{API}/mcp(?:/.*)?", Body.MCP),)
SIGN_IN = (Route(READ, r"/(?:login/huggingface|login/callback|logout)"),)


def open_routes(*, uploads: bool, mcp: bool, sign_in: bool) -> tuple[Route, ...]:
    """The addresses that a server has.

    Args:
        uploads: whether visitors may bring files.
        mcp: whether there are MCP tools.
        sign_in: whether visitors may sign in.
    """
    return (*PAGE, *CALLS, *(UPLOADS if uploads else ()), *(MCP if mcp else ()), *(SIGN_IN if sign_in else ()))


def find_route(routes: tuple[Route, ...], method: str, path: str) -> tuple[Route, str] | None:
    """The open address of a request and the endpoint that it names, which may be empty; None if it is closed."""
    for route in routes:
        if method in route.methods and (match := route.pattern.fullmatch(path)):
            return route, match.groupdict().get("name") or ""
    return None
