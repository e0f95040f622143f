"""Exceptions of event handlers become sentences.

Our own errors are sentences for people. A handler that is wrapped with `errors_shown_in` shows them in a component of
its tab; elsewhere, and for programs, they become a `gr.Error`. Any other exception is logged under an incident id, and
the visitor is shown the id.

Values of a form's controls reach a handler as they were sent: Gradio's own checks of bounds and choices answer with an
error that is no sentence, and every handler reads what it is given as if a stranger had sent it.

Lone surrogates in what a handler gives are replaced by U+FFFD: a model may write one, and no answer of the server could
hold it.
"""

from __future__ import annotations

import functools
import inspect
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import gradio as gr
from gradio.blocks import Block

from jglue_app.errors import JglueAppError
from jglue_app.messages import say, word
from jglue_app.results import surrogates
from jglue_app.ui import views
from jglue_app.ui.sent_values import checked
from jglue_app.ui.stepping import stepped
from jglue_app.ui.visitor import language

Handler = Callable[..., Any]
FORM_CONTROLS = (
    *(gr.Checkbox, gr.CheckboxGroup, gr.Dropdown, gr.HTML, gr.Number, gr.Radio, gr.Slider, gr.State, gr.Textbox),
    gr.Button,
)
"""Components whose values are plain: what the browser sends is what a handler reads."""

log = logging.getLogger(__name__)


def guard(page: gr.Blocks, *, takes_files: bool = True) -> None:
    """Guard all handlers and endpoints of a page, so that none can be forgotten. Endpoints answer in English. Those
    that are generators hold no thread while they wait.

    Args:
        page: with all its handlers.
        takes_files: whether visitors may bring files; else none reaches a handler, and nothing is read of one.
    """
    plain = FORM_CONTROLS if takes_files else (*FORM_CONTROLS, gr.File)
    for event in page.fns.values():
        if event.api_visibility != "public" and all(isinstance(block, plain) for block in event.inputs):
            event.preprocess = False
        if event.fn is not None:
            if not event.preprocess:
                event.fn = checked(event.fn, event.inputs)
            event.fn = guarded(event.fn, lang="en" if event.api_visibility == "public" else None)
        if inspect.isgeneratorfunction(event.fn):
            event.fn = stepped(event.fn, functools.partial(_unread, page))


def _unread(page: gr.Blocks, session: str) -> int:
    """Messages that wait for an open page."""
    waiting = page._queue.pending_messages_per_session
    return waiting[session].qsize() if session in waiting else 0


def guarded(handler: Handler, lang: str | None = None) -> Handler:
    """The same handler, whose exceptions become a `gr.Error`.

    Args:
        handler: a function or generator function.
        lang: the language of our own errors; None for that of the visitor.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with _raising_gradio_errors(args, lang), closing(handler(*args, **kwargs)) as results:
                for result in results:
                    yield writable(result)

        return generate

    @functools.wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _raising_gradio_errors(args, lang):
            return writable(handler(*args, **kwargs))

    return call


def errors_shown_in(status: gr.HTML, handler: Handler, also: Mapping[Block, Any] | None = None) -> Handler:
    """The same handler, which shows our own errors in a component, in the visitor's language.

    Args:
        status: the component.
        handler: a function or generator function that returns updates by component.
        also: updates of other components that come with an error.
    """

    def updates(error: JglueAppError, args: tuple[Any, ...]) -> dict[Block, Any]:
        return {status: views.failure(error, language(_request_in(args))), **(also or {})}

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from handler(*args, **kwargs)
            except JglueAppError as e:
                yield updates(e, args)

        return generate

    @functools.wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except JglueAppError as e:
            return updates(e, args)

    return call


@contextmanager
def _raising_gradio_errors(args: tuple[Any, ...], lang: str | None) -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except JglueAppError as e:
        sentence = surrogates.replace(say(e.message, lang or language(_request_in(args))))
        raise gr.Error(sentence, print_exception=False) from e
    except Exception as e:
        sentence = incident(e, language(_request_in(args)))
        raise gr.Error(sentence, duration=None, print_exception=False) from e


def incident(error: Exception, lang: str) -> str:
    """Log an error that is none of ours, and give the sentence for the visitor, with the incident's id."""
    id_ = uuid.uuid4().hex[:8]
    log.error("incident %s", id_, exc_info=error)
    return word("fault", lang).format(id_)


def writable(value: Any) -> Any:
    """What a handler gives, without lone surrogates; tuples stay tuples, and components keys."""
    if isinstance(value, str):
        return surrogates.replace(value)
    if type(value) is dict:
        return {writable(key): writable(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(writable(part) for part in value)
    return value


def _request_in(args: tuple[Any, ...]) -> gr.Request | None:
    return next((value for value in args if isinstance(value, gr.Request)), None)
