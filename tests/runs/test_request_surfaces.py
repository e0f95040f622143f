"""Every option of a request can be said on every surface and arrives in the plan; a new option is covered with it."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import typer.main

from jglue_app import evaluate
from jglue_app.cli import app
from jglue_app.cli.request_parameters import run_request
from jglue_app.errors import NetworkError
from jglue_app.launch import form
from jglue_app.runs.plan import Plan
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_options import Option, as_text, options
from jglue_app.runs.request_text import from_url_query, to_command_line, to_url_query
from jglue_app.settings import ASSETS, Settings
from jglue_app.types import ModelSpec
from jglue_app.ui import controls
from jglue_app.ui.endpoints.parameters import request_of

FIRST = RunRequest(tasks=("marc_ja", "jnli"), limit=2, a=Side("owner/model"))
TEXTS = {
    "model": "owner/other",
    "style": "number",
    "system": "一行目\n二行目 --x",
    "revision": "-v1",
    "adapter": "owner/lora",
    "gguf_file": "a b",
    "backend": "scripted",
}
OF_RUN, OF_SIDE = options(RunRequest), options(Side)
EVERY = [*(("", name) for name in OF_RUN), *(("a", name) for name in OF_SIDE), *(("b", name) for name in OF_SIDE)]


def option(side: str, name: str) -> Option:
    return (OF_SIDE if side else OF_RUN)[name]


def other_value(option: Option) -> Any:
    """A value of an option that is not its default."""
    if option.name == "marc_ja":
        return str(ASSETS / "samples" / "marc_ja" / "valid.json")
    if option.name in TEXTS:
        return TEXTS[option.name]
    if option.choices:
        return next(choice for choice in option.choices if choice != option.default)
    by_kind: Mapping[str, Any] = {
        **{"integer": 3, "number": 1.25, "flag": not option.default, "tasks": ("marc_ja", "jsts", "jnli")},
        "by task": (("jnli", 2),) if option.name == "shots_by_task" else (("jnli", 1.5),),
    }
    return by_kind[option.kind]


def changed(side: str, name: str) -> RunRequest:
    """A request in which one option has another value, for B if that is its side."""
    value = other_value(option(side, name))
    if not side:
        return replace(FIRST, **{name: value})
    if side == "a":
        return replace(FIRST, a=replace(FIRST.a, **{name: value}))
    return replace(FIRST, b=replace(FIRST.a, **{name: value}))


every_option = pytest.mark.parametrize(("side", "name"), EVERY)


@every_option
def test_its_value_differs_from_the_default(side: str, name: str) -> None:
    assert changed(side, name) not in (FIRST, replace(FIRST, b=FIRST.a))


@every_option
def test_the_command_line_reads_the_command_that_is_printed(side: str, name: str) -> None:
    request = changed(side, name)
    assert parsed(to_command_line(request)) == request
    if side == "b":  # What B has not, where A has it, has to be said too.
        back = replace(request, a=request.sides["b"], b=request.a)
        assert parsed(to_command_line(back)) == back


def parsed(command: str) -> RunRequest:
    """The request that the real command line makes of a command."""
    name, *arguments = shlex.split(command)[3:]
    context = typer.main.get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
    given = dict(context.params)
    return run_request(given["protocol"], given, ("",) if name == "run" else ("a", "b"))


@every_option
def test_a_link_opens_what_it_was_made_of(side: str, name: str) -> None:
    request = changed(side, name)
    opened = from_url_query(dict(parse_qsl(to_url_query(request), keep_blank_values=True)))
    if option(side, name).traits.in_link:
        assert opened == request
    else:
        assert opened == FIRST and option(side, name).traits.local_only


@every_option
def test_the_controls_of_the_page_say_it(settings: Settings, side: str, name: str) -> None:
    request = changed(side, name)
    assert controls.read(json.loads(json.dumps(controls.values_of(request))), settings) == request


@every_option
def test_an_endpoint_takes_it(settings: Settings, side: str, name: str) -> None:
    request = changed(side, name)
    values = controls.values_of(request)
    given = {key.replace(".", "_"): value for key, value in values.items() if key != "use_b"}
    given["b_model"] = request.b.model if request.b else ""
    assert controls.read(request_of(given), settings) == request


@pytest.mark.parametrize(("side", "name"), [(side, name) for side, name in EVERY if side != "b"])
def test_the_launch_form_takes_it(side: str, name: str) -> None:
    value, field = other_value(option(side, name)), form.MODEL if name == "model" else name
    if form.FIELDS[field].type == "string" and not isinstance(value, str):
        value = as_text(option(side, name), value)
    given = {form.MODEL: FIRST.a.model, "tasks": "marc_ja,jnli", "data": "sample", "limit": 2, "style": "ja-labels"}
    read = form.read(given | {field: value})
    assert read.values[field] == value
    assert read.request == changed(side, name)
    assert form.read(dict(read.values)) == read


@pytest.mark.parametrize(("side", "name"), [(side, name) for side, name in EVERY if side != "b"])
def test_python_takes_it(side: str, name: str) -> None:
    of_model = {"model": "id", **{f.name: f.name for f in fields(ModelSpec)}}
    assert name in inspect.signature(evaluate).parameters or name in of_model


@every_option
def test_it_arrives_in_the_plan(settings: Settings, tmp_path: Path, side: str, name: str) -> None:
    request = changed(side, name)
    if name == "data":
        nowhere = replace(settings, data_url="http://127.0.0.1:9", data_dir=tmp_path)
        with pytest.raises(NetworkError, match=r"127\.0\.0\.1:9/jnli-v1\.3/valid"):
            request.plans(nowhere, answers=False)
        return
    plans: dict[Any, Plan] = dict(request.plans(settings, answers=False))
    ((_, first),) = FIRST.plans(settings, answers=False)
    plan = plans[side or "a"]
    if name == "limit":
        assert (plan.total, first.total) == (6, 4)
    elif name == "budget":  # It changes no answer.
        assert (plan.budget, first.budget, plan.spec.spec_id) == (1.25, None, first.spec.spec_id)
        return
    elif name == "marc_ja":
        assert (plan.datasets["marc_ja"].source, first.datasets["marc_ja"].source) == ("user", "sample")
    else:
        assert plan.spec != first.spec and plan.spec.spec_id != first.spec.spec_id
    if name != "marc_ja":  # No spec names the file.
        assert RunRequest.of_spec(plan.spec) == replace(request, a=request.sides[side or "a"], b=None)  # type: ignore[index]
    if side == "b":
        assert plans["a"].spec == first.spec
        assert RunRequest.of_pair(plans["a"].spec, plan.spec) == request
