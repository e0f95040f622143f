"""What the item list asks of the server by itself: an item as it is shown, and to keep marks and a note.

`static/items.js` calls these functions. Their answers are tables with what is asked for, or with `error`, a sentence.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from typing import Any

import gradio as gr

from jglue_app.errors import InputError, JglueAppError
from jglue_app.messages import say, word
from jglue_app.results import surrogates
from jglue_app.results.marks import item_marks
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.ui.guard import incident, writable
from jglue_app.ui.state import AppState
from jglue_app.ui.views import comparison
from jglue_app.ui.views.items import marks_of
from jglue_app.ui.visitor import language, visitor_id

Answer = dict[str, Any]


def server_functions(state: AppState) -> list[Callable[..., Answer]]:
    """`server.item` and `server.mark` of the item list. The data comes from a browser and may be anything."""

    def item(data: Any, request: gr.Request) -> Answer:
        return _answered(functools.partial(_item, state), data, request)

    def mark(data: Any, request: gr.Request) -> Answer:
        return _answered(functools.partial(_mark, state), data, request)

    return [item, mark]


def _item(state: AppState, data: dict[str, Any], request: gr.Request) -> Answer:
    names = {side: _text(data, side, 200) for side in ("a", "b")}
    task, id_ = _text(data, "task", 100), _text(data, "id", 200)
    protocol = _text(data, "protocol", 100)
    html = comparison.item_html(
        state,
        visitor_id(request),
        names,
        task,
        id_,
        language(request),
        protocol=protocol if protocol in PROTOCOLS else "official",
    )
    return {"html": html}


def _mark(state: AppState, data: dict[str, Any], request: gr.Request) -> Answer:
    owner, name = visitor_id(request), _text(data, "run", 200)
    key = _text(data, "task", 100), _text(data, "id", 200)
    path = state.path(owner, name)
    if key[1] not in state.data(owner, name).items.get(key[0], {}):
        raise InputError("The run has no such item, so nothing was saved. Choose one of the list.")
    wanted, note = data.get("marks"), data.get("note")
    new = item_marks([str(one) for one in wanted[:10]] if isinstance(wanted, list) else [], str(note or ""))
    state.marks.set(owner, name, path, key, new)
    said = "marks_newer" if state.marks.says_newer(name, path) else "marks_saved"
    return {**marks_of(new), "said": word(said, language(request))}


def _answered(ask: Callable[[dict[str, Any], gr.Request], Answer], data: Any, bare: Any) -> Answer:
    """The answer, or an error as a sentence."""
    # Gradio gives the bare request here. Who has no cookie is a stranger with every call.
    request = gr.Request(bare, session_hash=secrets.token_urlsafe(16))
    try:
        answer: Answer = writable(ask(data if isinstance(data, dict) else {}, request))
        return answer
    except JglueAppError as e:
        return {"error": writable(say(e.message, language(request)))}
    except Exception as e:
        return {"error": incident(e, language(request))}


def _text(data: dict[str, Any], name: str, most: int) -> str:
    return surrogates.replace(str(data.get(name) or "")[:most])
