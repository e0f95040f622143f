"""The files of Gradio's script that a page needs: named beforehand, well compressed, the style sheets as one.

Gradio's script asks for its parts one after the other as it finds that it needs them, about a hundred files in seven
rounds. Their names are in the files themselves, as the build tool (Vite) writes them. Where that looks different, as it
may in another version of Gradio, nothing is found, and the page loads as Gradio does by itself.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import brotli
import gradio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jglue_app.ui.compression import accepted_encoding

TEMPLATE = Path(gradio.__file__).parent / "templates" / "frontend" / "index.html"
FOLDER = TEMPLATE.with_name("assets")
KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
FOREVER = "public, max-age=31536000, immutable"
"""The names of these files change with what is in them."""
_LIST = re.compile(r"__vite__mapDeps=\(i,m=__vite__mapDeps,d=\(m\.f\|\|\(m\.f=\[(.*?)\]\)\)")
"""The files on which those that are imported later depend."""
_LATER = re.compile(r"import\(`\./([\w.-]+\.js)`\).{0,40}?,__vite__mapDeps\(\[([\d,]*)\]\)")
"""A file that is imported later, with the positions in that list of what it depends on."""
_NOW = re.compile(r'(?:from|import)"\./([\w.-]+\.js)"')
_ENTRY = re.compile(r'src="\./assets/([\w.-]+\.js)"')
_SHEET = re.compile(r'href="\./assets/([\w.-]+\.css)"')


@dataclass(frozen=True, slots=True)
class GradioFiles:
    """What one page needs."""

    scripts: tuple[str, ...]
    sheets: tuple[str, ...]
    sheet: str
    """Name of the style sheet that holds all others; empty where there are none."""


NONE = GradioFiles((), (), "")


def needed_files(html: str, kinds: Collection[str], lang: str) -> GradioFiles:
    """What a page with components of some kinds needs, in the order in which Gradio's script asks for it.

    Args:
        html: Gradio's document.
        kinds: of components, such as `html` and `dropdown`.
        lang: the language of Gradio's own words.
    """
    entry = _ENTRY.search(html)
    if entry is None or not (FOLDER / entry[1]).is_file():
        return NONE
    found: dict[str, None] = dict.fromkeys(_SHEET.findall(html))
    _add(found, entry[1])
    for name, depends_on in _imported_later(entry[1]):
        if not name.startswith("__vite"):
            _add(found, name, *depends_on)
    for importer in [name for name in found if name.endswith(".js")]:
        for name, depends_on in _imported_later(importer):
            if name.startswith("Blocks-"):
                _add(found, name, *depends_on)
        text = _text(importer)
        if words := re.search(rf"\./({lang}-[\w-]+\.js)", text):
            _add(found, words[1])
        for kind in kinds:
            component = re.search(rf"[{{,]{kind}:{{(?:(?!component:).)*component:(.*?import\.meta\.url\))", text)
            for name, depends_on in _later_in(component[1], _list_of(text)) if component else ():
                _add(found, name, *depends_on)
    scripts = tuple(name for name in found if name.endswith(".js"))
    sheets = tuple(name for name in found if name.endswith(".css"))
    return GradioFiles(scripts, sheets, f"all-{hashlib.sha256(_rules(sheets)).hexdigest()[:12]}.css" if sheets else "")


def _rules(sheets: Collection[str]) -> bytes:
    return b"\n".join((FOLDER / name).read_bytes() for name in sheets)


def _add(found: dict[str, None], *names: str) -> None:
    """Add files, and those that they import at once."""
    for name in names:
        if name not in found and (FOLDER / name).is_file():
            found[name] = None
            if name.endswith(".js"):
                _add(found, *_NOW.findall(_text(name)))


def _imported_later(name: str) -> Iterator[tuple[str, list[str]]]:
    text = _text(name)
    yield from _later_in(text, _list_of(text))


def _later_in(text: str, listed: list[str]) -> Iterator[tuple[str, list[str]]]:
    for match in _LATER.finditer(text):
        yield match[1], [listed[int(at)] for at in match[2].split(",") if at and int(at) < len(listed)]


def _list_of(text: str) -> list[str]:
    match = _LIST.search(text)
    return re.findall(r'"\./([\w.-]+)"', match[1]) if match else []


def _text(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


class CompressedFiles:
    """These files as they are sent: compressed as well as can be, which takes some seconds at the start."""

    def __init__(self, pages: Collection[GradioFiles]) -> None:
        self._plain = {page.sheet: _rules(page.sheets) for page in pages if page.sheet}
        self._names = dict.fromkeys(name for page in pages for name in page.scripts)
        self._compressed: dict[str, bytes] = {}
        threading.Thread(target=self._compress, daemon=True).start()

    def _compress(self) -> None:
        for name, content in self._plain.items():
            self._compressed[name] = brotli.compress(content)
        for name in self._names:
            self._compressed[name] = brotli.compress((FOLDER / name).read_bytes())

    def response(self, name: str, accepted: str) -> Response | None:
        """A file in the best encoding that is accepted; None if Gradio is to send it."""
        headers = {"cache-control": FOREVER, "vary": "Accept-Encoding"}
        kind = KINDS.get(Path(name).suffix, "")
        if accepted_encoding(accepted) == "br" and name in self._compressed:
            headers["content-encoding"] = "br"
            return Response(self._compressed[name], headers=headers, media_type=kind)
        return Response(self._plain[name], headers=headers, media_type=kind) if name in self._plain else None


class GradioFilesMiddleware:
    """ASGI middleware that sends these files, which Gradio compresses less, and anew for each request."""

    def __init__(self, app: ASGIApp, files: CompressedFiles) -> None:
        self._app, self._files = app, files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        folder, _, name = scope.get("path", "").rpartition("/")
        if name == "theme.css" and b"v=" in scope.get("query_string", b""):
            await self._app(scope, receive, _kept(send))
            return
        if scope["type"] == "http" and scope["method"] == "GET" and folder.endswith("/assets"):
            response = self._files.response(name, Headers(scope=scope).get("accept-encoding", ""))
            if response is not None:
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _kept(send: Send) -> Send:
    """`send` of what a browser may keep: the document names it, and Gradio's script asks for it again."""

    async def send_kept(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            MutableHeaders(raw=message["headers"])["cache-control"] = FOREVER
        await send(message)

    return send_kept
