"""Reports to test with, and an independent reading of their files."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from jglue_app import api
from jglue_app.settings import Settings
from jglue_app.ui import static_report
from jglue_app.ui.state import AppState
from jglue_app.ui.static_report.contents import Contents, ReportRequest
from tests.test_api import GOLDS

HOSTILE = (
    "<script>window.__ran='script'</script>",
    "</script><img src=x onerror=\"window.__ran='img'\">",
    "<!-- <script> --!> ]]> <svg onload=\"window.__ran='svg'\">",
    "一行目\u2028二行目\u2029三行目 \"引用\" 'quoted' & &lt; `${window.__ran='template'}` {{ 7 * 7 }} {% if %}",
    "半分 \ud800 の文字",
    "右から \u202e含意\u202c 左 \u2066x\u2069",
    "含意",
)


def store(folder: Path, name: str, said: tuple[str, ...] = HOSTILE, limit: int = 7) -> Path:
    """Store a run over our JNLI items with these outputs in turn; its model is a file below a folder."""
    models = folder / "somebody" / "models"
    models.mkdir(parents=True, exist_ok=True)
    rows = [
        {"task": "jnli", "item_id": id_, "text": said[i % len(said)], "choice_logprobs": [-0.5, -1.5, -2.5 - i]}
        for i, id_ in enumerate(GOLDS)
    ]
    (models / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return api.evaluate(str(models / f"{name}.jsonl"), tasks=["jnli"], data="sample", limit=limit, method="both").path


class Parts(HTMLParser):
    """Elements of a file with their attributes, and the texts of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._inside: str | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = str(dict(attrs).get("id", "main")) if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._inside is not None:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._inside = None


def unpacked(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text), -zlib.MAX_WBITS))


def value(first: dict[str, Any], own: list[Any], place: int, lang: str) -> Any:
    """A node as a value: an independent reading of the format that `shared_values` describes."""
    node = [*first["nodes"], *own][place]
    if not isinstance(node, list):
        return node
    kind, *parts = node
    if kind == 1:
        return value(first, own, parts[["ja", "en"].index(lang)], lang)
    parts = [value(first, own, part, lang) for part in parts]
    return parts if kind == 0 else dict(zip(first["shapes"][kind - 2], parts, strict=True))


def report(settings: Settings, *runs: Path, protocol: str = "official") -> tuple[str, Contents]:
    folders = {path.name: path for path in runs}
    state = AppState(settings, folders=folders)
    try:
        request = ReportRequest(tuple(folders), protocol)
        page = static_report.report_html(state, "", request, datetime(2026, 8, 1, 9, 30, tzinfo=UTC))
        return page, Contents(state, "", request)
    finally:
        state.close()
