"""The file of a report: head with its policy, what is drawn beforehand, data, and the one script."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from markupsafe import Markup

from jglue_app.errors import InputError
from jglue_app.messages import LANGUAGES, table, word
from jglue_app.results import surrogates
from jglue_app.results.exporters.output_files import write_files
from jglue_app.results.showcase import SHIPPED
from jglue_app.settings import Settings
from jglue_app.ui import views
from jglue_app.ui.state import AppState
from jglue_app.ui.static_report.contents import BLOCK_SIZE, Contents, ReportRequest
from jglue_app.ui.static_report.matrix import item_matrix_value, score_matrix_html
from jglue_app.ui.static_report.shared_values import SharedValues
from jglue_app.ui.static_report.template_script import labels_used, translate
from jglue_app.ui.views import STATIC, items
from jglue_app.version import __version__

ITEM_TEMPLATE = "item.html"
WORDS = ("report_opening",)
"""Labels that the script says."""
MAX_BYTES = 60 * 2**20
"""Largest file; a browser takes seconds to open a larger one."""


def report_html(state: AppState, owner: str, request: ReportRequest, made: datetime | None = None) -> str:
    """A report as HTML.

    Args:
        state: reads the runs.
        owner: only what this visitor may see is in the report.
        request: the runs, the protocol, and the items where it is not all.
        made: the time that it names; None for now.

    Raises:
        InputError: no run, too many, one of them twice, or too many items.
        StoreError: one of the runs is gone.
        UnknownNameError: no such protocol.
    """
    contents = Contents(state, owner, request)
    values = SharedValues()
    contents.add_items(values)
    head = values.add(*(_head(contents, lang) for lang in LANGUAGES))
    script = _script()
    page = views.render(
        "report",
        {
            "policy": _policy(script),
            "style": Markup(_style()),
            "script": Markup(script),
            "blocks": [Markup(block) for block in values.packed(head)],
            "languages": [_language(contents, lang, made or datetime.now(UTC)) for lang in LANGUAGES],
            "pairs": _pair_names(contents, "ja"),
        },
    )
    # Half a character cannot be written as UTF-8; a browser shows U+FFFD for it too.
    page = surrogates.replace(page)
    if len(page) > MAX_BYTES:
        raise InputError(
            "The report would have {size} MB, and a browser opens at most {max_size}. Choose fewer or shorter runs, "
            "or export the rows of one run as .jsonl or .parquet.",
            size=round(len(page) / 2**20),
            max_size=MAX_BYTES >> 20,
        )
    return page


def write_report(state: AppState, owner: str, request: ReportRequest, to: Path) -> Path:
    """Write a report; raises as `report_html` does, and StoreError if the file is there or cannot be written."""
    return write_files({to.name: report_html(state, owner, request)}, to, single=True)


def report_of_folders(settings: Settings, runs: Sequence[Path], to: Path, protocol: str = "official") -> Path:
    """Write a report of runs by their folders; raises as `write_report` does."""
    folders: dict[str, Path] = {}
    for path in runs:
        name = path.name
        while name in folders and folders[name].resolve() != path.resolve():
            name += "+"
        if name in folders:
            raise InputError("A report shows each run once. Name each of them once.")
        folders[name] = path
    with contextlib.closing(AppState(replace(settings, public=False), folders=folders)) as state:
        return write_report(state, "", ReportRequest(tuple(folders), protocol), to)


def file_name(names: Sequence[str]) -> str:
    """A name for the file: ids of runs, without any other sign."""
    parts = [re.sub(r"[^A-Za-z0-9_-]+", "-", name.removeprefix(SHIPPED))[:24].strip("-") for name in names[:2]]
    more = f"-and-{len(names) - 2}-more" if len(names) > 2 else ""
    return "-".join(["report", *filter(None, parts)]) + more + ".html"


# --- parts of the file ------------------------------------------------------------------------------------


def _head(contents: Contents, lang: str) -> dict[str, Any]:
    """What the script needs from the start."""
    labels = labels_used(views.TEMPLATES, ITEM_TEMPLATE)
    return {
        "title": _title(contents, lang),
        "pairs": [contents.listed(pair, lang) for pair in range(len(contents.pairs))],
        "matrix": item_matrix_value(contents, lang) if len(contents.runs) > 2 else None,
        "pair_names": _pair_names(contents, lang),
        "block_size": BLOCK_SIZE,
        "labels": {key: word(key, lang) for key in labels},
        "words": {key: word(key, lang) for key in WORDS},
    }


def _title(contents: Contents, lang: str) -> str:
    labels = list(contents.labels(lang).values())
    more = word("report_more", lang).format(len(labels) - 2) if len(labels) > 2 else ""
    return f"{word('report_title', lang)}: {' ↔ '.join(labels[:2])}{more}"


def _language(contents: Contents, lang: str, made: datetime) -> dict[str, Any]:
    """What is drawn beforehand in one language."""
    pairs = range(len(contents.pairs))
    return {
        "lang": lang,
        "w": SimpleNamespace(**table(lang)),
        "made": made.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "protocol": contents.request.protocol,
        "about_protocol": word(f"protocol_{contents.request.protocol}", lang, default=""),
        "count": f"{len(contents.keys):,}",
        "runs": list(contents.labels(lang).values()),
        "matrix": Markup(score_matrix_html(contents, lang)) if len(contents.runs) > 2 else "",
        "firsts": [Markup(contents.first_html(pair, lang)) for pair in pairs],
        "boards": [Markup(contents.board_html(pair, lang)) for pair in pairs],
        "origins": [Markup(contents.origin_html(pair, lang)) for pair in pairs],
        "sources": [name for source in contents.sources if (name := word(f"source_{source}", lang))],
        "licences": [word(f"report_licence_{source}", lang) for source in contents.sources],
    }


def _pair_names(contents: Contents, lang: str) -> list[str]:
    """What each pair is called in the choice of one; empty where there is only one."""
    if len(contents.pairs) < 2:
        return []
    first, *others = contents.labels(lang).values()
    return [f"{other} ↔ {first}" for other in others]


def _style() -> str:
    return _static("report.css") + _static("style.css")


def _static(name: str) -> str:
    return (STATIC / name).read_text("utf-8")


def _script() -> str:
    """The templates, the scripts of the page that need no server, and what opens the file, as one script."""
    templates = translate(views.TEMPLATES, ITEM_TEMPLATE)
    parts = {"ITEM_LIST": "".join(map(_static, items.SCRIPTS)), "ITEM_MATRIX": _static("matrix.js")}
    others = map(_static, ("first.js", "share.js"))
    script = (
        f'"use strict";\nconst TEMPLATES = {templates};\n'
        + "".join(
            f"const {name} = (element, props, trigger, watch, server) => {{\n{part}\n}};\n"
            for name, part in parts.items()
        )
        + "".join(f"(() => {{\n{other}\n}})();\n" for other in others)
        + _static("report.js")
    )
    # Inside a script element these would end it, or begin what hides its end.
    return script.replace("</", "<\\/").replace("<!--", "<\\!--")


def _policy(script: str) -> str:
    """Nothing is fetched, nothing is sent, and no other script runs, whatever a model has written."""
    checksum = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    rules: Mapping[str, str] = {
        "default-src": "'none'",
        "script-src": f"'sha256-{checksum}'",
        "style-src": "'unsafe-inline'",
        # The search for a regular expression, which is ended when it takes too long. The worker has this policy too.
        "worker-src": "blob:",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
