"""The document of the page: what Gradio writes, made smaller, with a head of ours and what a visitor sees first.

Gradio's document says for each component what programs may send it, has the words of all languages, and the page asks
for its first content only once its script runs. Here the document is written for its visitor: in one language, with
the values that the events of a page that is opened would give.
"""

from __future__ import annotations

import html as html_text
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jglue_app.ui import preview
from jglue_app.ui.gradio_files import GradioFiles
from jglue_app.ui.visitor import is_page

CONFIG, API = "window.gradio_config = ", "window.gradio_api_info = "
FOR_PROGRAMS = (
    *("api_info", "api_info_as_input", "api_info_as_output", "example_inputs", "skip_api", "component_class_id"),
)
"""What a component's entry says only to those who read how to call the page."""
NO_API: dict[str, Any] = {"named_endpoints": {}, "unnamed_endpoints": {}}
TAKE_STYLE = "gradio_config.css = document.getElementById('jg-style').textContent"
LEAVE_STREAMS = "addEventListener('beforeunload',event=>event.stopImmediatePropagation())"
"""Gradio closes its streams as soon as the page is about to be left, takes that for a lost connection where one is in
use, and loads the page anew two seconds later: behind a slower server the page is never left for another one. The
browser itself closes the streams of a page that is left."""
_FOREIGN = re.compile(r'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*>|\s*<link rel="manifest"[^>]*>')
"""What Gradio says of itself to those who show a link, and a file that there is not."""
_WORD = re.compile(r'\\"key\\": ?\\"([^"\\]+)\\"|"key": ?"([^"\\]+)"')

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """What the head says of the page."""

    lang: str
    title: str
    description: str
    icon: str
    """Address of an icon."""


def rewritten(html: str, head: Head, files: GradioFiles, *, api: bool) -> tuple[str, dict[str, Any], str]:
    """The document in three parts: before its configuration, the configuration, and what comes after.

    Args:
        html: Gradio's document.
        head: what it says of itself.
        files: what its script will ask for.
        api: whether how to call the page is shown on it.
    """
    before, config, after = _split(html, CONFIG)
    if not api:
        between, _, rest = _split(after, API)
        after = f"{between}{json.dumps(NO_API)}{rest}"
        _leave_out(config, head.lang)
    config["footer_links"] = ["api"] if api else []
    lines = _lines(head, files, config)
    # The rules stand in the head already, from where a script below takes them.
    config["css"] = ""
    after = after.replace("</script>", f"</script><script>{TAKE_STYLE}</script>", 1)
    before = _FOREIGN.sub("", before).replace('lang="en"', f'lang="{head.lang}"', 1)
    before = before.replace("<head>", "<head>" + lines, 1)
    # Only within the frame of another page there is somebody to tell the size to.
    after = after.replace("const root = ", "if (self === top) return;\n\t\t\t\tconst root = ", 1)
    for name in files.sheets:
        after = after.replace(f'<link rel="stylesheet" crossorigin href="./assets/{name}">', "")
    return before, config, _FOREIGN.sub("", after)


def _split(text: str, name: str) -> tuple[str, dict[str, Any], str]:
    start = text.index(name) + len(name)
    value, end = json.JSONDecoder().raw_decode(text, start)
    return text[:start], value, text[end:]


def _leave_out(config: dict[str, Any], lang: str) -> None:
    for component in config["components"]:
        for name in FOR_PROGRAMS:
            component.pop(name, None)
        if script := component["props"].get("js_on_load"):
            component["props"]["js_on_load"] = without_comments(script)
    config["js"] = without_comments(config["js"])
    parts = json.dumps([config["components"], config["dependencies"]])
    used = {found for match in _WORD.findall(parts) for found in match if found}
    words: Mapping[str, str] = (config.get("i18n_translations") or {}).get(lang, {})
    config["i18n_translations"] = {lang: {key: text for key, text in words.items() if key in used}}


def without_comments(script: str) -> str:
    """A script without lines that are comments and without indentation; as it is if a text in it has several lines."""
    lines = [line.strip() for line in script.splitlines()]
    if any(line.count("`") % 2 for line in lines):
        return script
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def narrow_rules(css: str) -> str:
    """The media queries of a style sheet for what stands in the document, before all other rules: where Gradio has
    prefixed them, they go before."""
    parts, at = [], 0
    while (start := css.find("@media", at)) >= 0:
        opening = css.index("{", start) + 1
        end, depth = opening, 1
        while depth:
            depth += {"{": 1, "}": -1}.get(css[end], 0)
            end += 1
        parts += [css[start:opening], " #jg-before {", css[opening : end - 1], "} }"]
        at = end
    return "".join(parts)


def as_script(config: Mapping[str, Any]) -> str:
    """The configuration as a value in a script of the document, which no text in it ends."""
    text = json.dumps(config, ensure_ascii=False, separators=(",", ":"))
    return text.replace("</", "<\\/").replace("<!--", "\\u003c!--").replace("<script", "\\u003cscript")


def _lines(head: Head, files: GradioFiles, config: Mapping[str, Any]) -> str:
    """Lines that come first in the head."""
    title, description, icon = (html_text.escape(text) for text in (head.title, head.description, head.icon))
    lines = [
        f"<title>{title}</title>",
        f'<meta name="description" content="{description}">',
        f'<meta property="og:title" content="{title}">',
        f'<meta property="og:description" content="{description}">',
        '<meta property="og:type" content="website">',
        f'<meta property="og:locale" content="{"ja_JP" if head.lang == "ja" else "en_US"}">',
        f'<link rel="icon" href="{icon}">',
        # Gradio's own labels follow the browser's language, and the document has the words of one.
        f"<script>Object.defineProperty(navigator,'language',{{get:()=>'{head.lang}'}})</script>",
        f"<script>{LEAVE_STREAMS}</script>",
    ]
    lines.append(f'<link rel="stylesheet" href="./theme.css?v={config["theme_hash"]}">')
    root = str(config.get("root") or "")
    if picture := preview.address(root):
        lines += [
            f'<meta property="og:url" content="{html_text.escape(root.rstrip("/"))}/">',
            f'<meta property="og:image" content="{html_text.escape(picture)}">',
            f'<meta property="og:image:width" content="{preview.SIZE[0]}">',
            f'<meta property="og:image:height" content="{preview.SIZE[1]}">',
            f'<meta property="og:image:alt" content="{description}">',
            '<meta name="twitter:card" content="summary_large_image">',
            f'<meta name="twitter:title" content="{title}">',
            f'<meta name="twitter:description" content="{description}">',
            f'<meta name="twitter:image" content="{html_text.escape(picture)}">',
        ]
    if files.sheet:
        lines.append(f'<link rel="stylesheet" href="./assets/{files.sheet}">')
    # Gradio's script loads no sheet that a link names; a link that is disabled loads nothing itself.
    lines += [f'<link rel="stylesheet" href="./assets/{name}" disabled>' for name in files.sheets]
    lines += [f'<link rel="modulepreload" crossorigin href="./assets/{name}">' for name in files.scripts]
    # Gradio gives these rules to what its script draws; what stands in the document needs them at once.
    lines.append(f'<style id="jg-style">{config["css"]}</style><style>{narrow_rules(config["css"])}</style>')
    return "\n".join(lines)


# --- the middleware -------------------------------------------------------------------------------------

Write = Callable[[str, Request], Awaitable[str]]
"""Gradio's document and the request for it → the document to send."""


class DocumentMiddleware:
    """ASGI middleware that sends another document than Gradio's; if that fails, Gradio's.

    Whether the page is there (HEAD) is answered without any document. Gradio asks so when it starts, waits three
    seconds, and does not serve without an answer: its document may take that long on a busy machine.
    """

    def __init__(self, app: ASGIApp, write: Write) -> None:
        self._app, self._write = app, write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or not is_page(scope):
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            # How long it would be is known only when it is written.
            headers = [(b"content-type", b"text/html; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        parts: list[bytes] = []
        pending: list[Message] = []

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_document(message):
                pending.append(message)
                return
            if message["type"] != "http.response.body" or not pending:
                await send(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = await self._rewrite(b"".join(parts), Request(scope))
                MutableHeaders(raw=pending[0]["headers"])["content-length"] = str(len(body))
                await send(pending[0])
                await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, collect)

    async def _rewrite(self, body: bytes, request: Request) -> bytes:
        try:
            return (await self._write(body.decode("utf-8"), request)).encode("utf-8")
        except Exception:
            log.exception("the document stays as Gradio writes it")
            return body


def _is_document(start: Message) -> bool:
    return start["status"] == 200 and Headers(raw=start["headers"]).get("content-type", "").startswith("text/html")
