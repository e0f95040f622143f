"""What a browser sends for the controls of a handler, held against what each control can hold.

Gradio's own checks are off for most handlers, for their errors are no sentences. So any JSON may come for any control.
Handlers are given what a page can send: a text where a text is expected, a list of texts where several may be chosen.
What stands for nothing a control can hold is refused.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block

from jglue_app.errors import InputError

Handler = Callable[..., Any]
_ADDED = (gr.Request, gr.EventData, gr.Progress)
"""What Gradio adds to the values of the controls."""


def held(control: Block, value: Any) -> Any:
    """The value as the control holds it; raises InputError for one that it cannot hold.

    Of a number's field any text is taken too: whoever reads it says what is wrong with it. Controls of other kinds
    than those below hold what their handlers read with care.
    """
    if value is None:
        return None
    if isinstance(control, gr.CheckboxGroup) or (isinstance(control, gr.Dropdown) and control.multiselect):
        if isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
            return [part if isinstance(part, str) else str(part) for part in value]
    elif isinstance(control, gr.Textbox | gr.Dropdown | gr.Radio | gr.Button):
        if isinstance(value, str | int | float):
            return value if isinstance(value, str) else str(value)
    elif isinstance(control, gr.Number | gr.Slider):
        if isinstance(value, str | int | float):
            return value
    elif isinstance(control, gr.Checkbox):
        if isinstance(value, bool):
            return value
    else:
        return value
    raise InputError("The page has sent a value that its control cannot hold. Load the page again.")


def checked(handler: Handler, inputs: Sequence[Block]) -> Handler:
    """The same handler, which is given what its controls can hold.

    Args:
        handler: takes the values in the order of its controls, or as one table by control.
        inputs: its controls.
    """

    def read(args: tuple[Any, ...]) -> Iterator[Any]:
        controls = iter(inputs)
        for value in args:
            if isinstance(value, _ADDED):
                yield value
            elif isinstance(value, Mapping) and value and all(isinstance(key, Block) for key in value):
                yield {control: held(control, part) for control, part in value.items()}
            else:
                control = next(controls, None)
                yield value if control is None else held(control, value)

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def generate(*args: Any) -> Iterator[Any]:
            yield from handler(*read(args))

        return generate

    @functools.wraps(handler)
    def call(*args: Any) -> Any:
        return handler(*read(args))

    return call
