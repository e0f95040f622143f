"""What a visitor is told of a fault of ours: a sentence with a number under which the log has the rest."""

from __future__ import annotations

import functools
import inspect
import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from jglue_app.messages import word
from jglue_app.ui.visitor import language

log = logging.getLogger(__name__)


def guard(page: gr.Blocks) -> None:
    """Put all functions of a page under guard, so that no handler can be forgotten."""
    for event in page.fns.values():
        if event.fn is not None:
            event.fn = guarded(event.fn)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose unexpected exceptions become a gradio error with an incident number."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generate(*values: Any, **named: Any) -> Iterator[Any]:
            try:
                yield from function(*values, **named)
            except gr.Error:
                raise
            except Exception as e:
                raise _told(e, values) from e

        return generate

    @functools.wraps(function)
    def call(*values: Any, **named: Any) -> Any:
        try:
            return function(*values, **named)
        except gr.Error:
            raise
        except Exception as e:
            raise _told(e, values) from e

    return call


def _told(fault: Exception, values: tuple[Any, ...]) -> gr.Error:
    incident = uuid.uuid4().hex[:8]
    log.error("incident %s", incident, exc_info=fault)
    request = next((value for value in values if isinstance(value, gr.Request)), None)
    return gr.Error(word("fault", language(request)).format(incident), duration=None, print_exception=False)
