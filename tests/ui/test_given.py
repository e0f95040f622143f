"""Values of endpoints that are not of the types which their parameters have."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

import gradio as gr
import pytest

from jglue_app.errors import InputError
from jglue_app.settings import Settings
from jglue_app.ui.endpoints import audit, lab, stored
from jglue_app.ui.endpoints.given import typed
from jglue_app.ui.state import AppState


def example(
    a: str,
    n: int = 5,
    ratio: float = 0.5,
    sure: bool = False,
    names: list[str] = ["x"],  # noqa: B006  # Never changed.
    of: dict[str, str] | None = None,
) -> tuple[Any, ...]:
    return a, n, ratio, sure, names, of


def generated(a: str, n: int = 5) -> Iterator[Any]:
    yield a
    yield n


def test_values_of_the_declared_types_arrive_and_null_is_the_default() -> None:
    assert typed(example)("x") == ("x", 5, 0.5, False, ["x"], None)
    assert typed(example)("x", 3.0, 1, True, [], {"a": "b"}) == ("x", 3, 1, True, [], {"a": "b"})
    assert typed(example)("x", None, None, None, None, None) == ("x", 5, 0.5, False, ["x"], None)
    assert type(typed(example)("x", 3.0)[1]) is int
    assert list(typed(generated)("x", None)) == ["x", 5]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((None,), "a must be a text, and this call gives null. Correct the call."),
        ((5,), "a must be a text, and this call gives 5."),
        ((["x"],), r"a must be a text, and this call gives \['x'\]"),
        (("x", "5"), "n must be a whole number, and this call gives '5'"),
        (("x", 5.5), "n must be a whole number"),
        (("x", True), "n must be a whole number, and this call gives true"),
        (("x", 5, "0.5"), "ratio must be a number"),
        (("x", 5, 0.5, 1), "sure must be true or false"),
        (("x", 5, 0.5, True, "jnli"), "names must be a list of texts, and this call gives 'jnli'"),
        (("x", 5, 0.5, True, ["x", None]), "names must be a list of texts"),
        (("x", 5, 0.5, True, [], {"a": 1}), "of must be an object whose values are texts"),
        (("x" * 3, 5, 0.5, True, ["y" * 900, 1]), "y{40,50}…. Correct"),
    ],
)
def test_others_are_refused_in_a_sentence(given: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        typed(example)(*given)


def test_a_generator_stays_one_and_refuses_too() -> None:
    assert inspect.isgeneratorfunction(typed(generated))
    with pytest.raises(InputError, match="n must be a whole number"):
        list(typed(generated)("x", "y"))


def test_every_endpoint_refuses_each_parameter_of_another_type(settings: Settings) -> None:
    state = AppState(settings)
    try:
        functions = [*stored.endpoints(state), *audit.endpoints(), *lab.endpoints(state)]
        for function in functions:
            parameters = inspect.signature(function).parameters
            required = {name: "" for name, one in parameters.items() if one.default is inspect.Parameter.empty}
            if "request" in required:
                required["request"] = gr.Request(username="somebody")  # type: ignore[assignment]
            for name in [name for name in parameters if name != "request"]:
                for wrong in ({"a": [1]}, [None]):
                    # A generator refuses when it is read.
                    with pytest.raises(InputError, match=rf"^{name} must be .+ Correct the call\.$"):
                        list(typed(function)(**(required | {name: wrong})))
    finally:
        state.close()


def test_gradio_reads_the_same_parameters() -> None:
    assert inspect.signature(typed(example)) == inspect.signature(example)
    assert get_type_hints(typed(generated)) == get_type_hints(generated)
