"""What a page that is opened shows, put into its document.

Gradio's script asks for it by the events of the page's load, which come after everything has been loaded and drawn.
Here their handlers are called while the document is written; the events that are answered so are taken out of it.
"""

from __future__ import annotations

import inspect
import secrets
from typing import Any

import anyio.to_thread
import gradio as gr
from gradio.block_function import BlockFunction
from gradio.components import Component
from gradio.state_holder import SessionState

from jglue_app.ui.sessions import LightSessionState

LOAD = "load"


async def fill(page: gr.Blocks, config: dict[str, Any], request: gr.Request) -> None:
    """Put the values of the events of a page that is opened into its configuration, for one visitor.

    Events that follow a job stay, and those that end in an error, which the page then shows.
    """
    props = {component["id"]: component["props"] for component in config["components"]}
    events = {event["id"]: event for event in config["dependencies"]}
    state = LightSessionState(page)
    # Handlers remember by it what a page shows. The page's own id is known once its script runs.
    request.session_hash = secrets.token_urlsafe(16)
    for id_, event in page.fns.items():
        if not _can_be_answered(page, event) or id_ not in events:
            continue
        try:
            values = await _values(page, event, request, state)
        except gr.Error:
            continue
        for component, value in zip(event.outputs, values, strict=True):
            _set(props[component._id], value)
        _take_out(events, id_, page._id)


def _can_be_answered(page: gr.Blocks, event: BlockFunction) -> bool:
    """Whether it comes when the page is opened, and rests on nothing but who opens it and what the page begins with."""
    loads = any(target == (page._id, LOAD) for target in event.targets)
    return loads and event.fn is not None and not event.types_generator


async def _values(page: gr.Blocks, event: BlockFunction, request: gr.Request, state: SessionState) -> list[Any]:
    """What the handler gives for each of its outputs, as Gradio sends it."""
    handler = event.fn
    assert handler is not None
    begins_with = {component: component.value for component in event.inputs if isinstance(component, Component)}
    takes_request = "request" in inspect.signature(handler).parameters
    given = [*([request] if takes_request else []), *([begins_with] if event.inputs_as_dict else begins_with.values())]
    result = await anyio.to_thread.run_sync(lambda: handler(*given))
    return await page.postprocess_data(event, result, state)


def _set(props: dict[str, Any], value: Any) -> None:
    if isinstance(value, dict) and value.get("__type__") == "update":
        props.update({key: part for key, part in value.items() if key != "__type__"})
    else:
        props["value"] = value


def _take_out(events: dict[int, dict[str, Any]], id_: int, page_id: int) -> None:
    """Take the load out of an event; events that came after it come with the load instead."""
    event = events[id_]
    event["targets"] = [target for target in event["targets"] if tuple(target) != (page_id, LOAD)]
    for other in events.values():
        if other.get("trigger_after") == id_ and not event["targets"]:
            other["targets"], other["trigger_after"] = [(page_id, LOAD)], None
