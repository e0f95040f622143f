"""What people and programs write: links and addresses, parameters of endpoints, names of models and runs, limits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qsl

from jglue_app import settings as app_settings
from jglue_app.backends import backend_for, model_facts
from jglue_app.backends.endpoints import is_served, served_model
from jglue_app.backends.fingerprint import as_path, fingerprint_model
from jglue_app.backends.hub_copy import cached_snapshot, is_commit
from jglue_app.errors import JglueAppError, redact_key
from jglue_app.messages import LANGUAGES
from jglue_app.results.library import Library
from jglue_app.runs import request_text
from jglue_app.runs.request import RunRequest
from jglue_app.runs.request_checks import read_values
from jglue_app.runs.request_options import Surface
from jglue_app.scoring.protocols import protocol_names
from jglue_app.tasks import get_task
from jglue_app.types import ModelSpec
from jglue_app.wandb_sink.login import checked_key, target
from jglue_app.wandb_sink.paths import parse_run_path, split_project
from tests.fuzz.target import Target
from tests.fuzz.targets.stored import SHIPPED
from tests.fuzz.texts import text_maker
from tests.fuzz.trees import VALUES, tree_maker

LINKS = (
    "tasks=jnli,jsts&data=sample&limit=5&method=both&a=gemma-3-270m&b=a.jsonl&b-shots=3",
    "run_a=shipped:base-0-shot&run_b=0123456789abcdef&item=jnli/5&filter=disagree&protocol=official&subset=jnli",
    "tab=results&runs=a,b&baseline=a&against=official&results_data=sample&results_subsets=jnli,jsts",
)
PIECES = (
    *(
        "a",
        "b",
        "tasks",
        "limit",
        "shots",
        "seed",
        "style",
        "format",
        "data",
        "run_a",
        "item",
        "runs",
        "protocol",
        "all",
    ),
    *("jnli", "jsts", "official", "sample", "=", "&", ",", "/", "-", "%E3%81%82", "%00", "%ff", "%", "+", "1", "-1"),
)


def _link(folder: Path) -> Target:
    """A link's query, as a request and as an address, and back again."""
    text = text_maker(PIECES, LINKS)

    def read(query: str) -> object:
        from jglue_app.ui import address

        params = dict(parse_qsl(query, keep_blank_values=True, errors="replace"))
        if len(query) % 3 == 0:  # As a framework may give them: parts of a pair of surrogates, and no escapes.
            params = dict(part.partition("=")[::2] for part in query.split("&"))
        return _both(lambda: _request(params), lambda: address.from_query(params))

    return Target("link and address", text, read, LINKS)


def _request(params: dict[str, str]) -> object:
    request = request_text.from_url_query(params)
    if request is None:
        return None
    again = dict(parse_qsl(request_text.to_url_query(request), keep_blank_values=True))
    assert request_text.from_url_query(again) == request
    return request_text.to_command_line(request)


def _both(*calls: Callable[[], object]) -> list[object]:
    """The results of the calls that accept the input; the first error of ours if none does."""
    results: list[object] = []
    errors: list[JglueAppError] = []
    for call in calls:
        try:
            results.append(call())
        except JglueAppError as e:
            errors.append(e)
    if errors and not results:
        raise errors[0]
    return results


def _values(folder: Path) -> Target:
    """The values of a request as JSON gives them to an endpoint, or a program in its arguments."""
    example = {
        "tasks": ["jnli"],
        "data": "sample",
        "limit": 5,
        "seed": 0,
        "method": "both",
        "a": {"model": "a.jsonl", "shots": 3, "style": "ja-labels", "repetition_penalty": 1.1, "dtype": "auto"},
        "b": {"model": "gemma-3-270m", "format": "chat", "thinking": "on", "max_thinking_tokens": 5},
    }
    make = tree_maker([example], ["jnli,jsts", "5", "all", "auto", "1.5", 0.1 + 0.2, "on", [["jnli"]]])
    surfaces: tuple[Surface, ...] = ("program", "page", "link", "form")

    def read(values: Any) -> object:
        if not isinstance(values, dict):
            return None
        given = {str(name): value for name, value in values.items()}
        found = read_values(RunRequest, given, surfaces[len(given) % 4], max_items=50 if len(given) % 3 else None)
        return request_text.to_command_line(found), request_text.to_url_query(found)

    return Target("values of a request", make, read, [example])


def _parameters(folder: Path) -> Target:
    """Any JSON for the parameters of an endpoint."""
    from jglue_app.ui.endpoints.given import typed

    def endpoint(
        a: str, b: int = 1, c: float = 0.5, d: bool = False, e: list[str] | None = None, f: dict[str, str] | None = None
    ) -> object:
        assert isinstance(a, str) and isinstance(b, int) and isinstance(c, int | float) and isinstance(d, bool)
        assert e is None or all(isinstance(one, str) for one in e)
        assert f is None or all(isinstance(one, str) for one in f.values())
        return a

    checked = typed(endpoint)
    known = ("a", 1, 2.0, 0.5, True, ["a"], {"a": "b"}, None, *VALUES)

    def make(rng: Random) -> list[Any]:
        return [rng.choice(known) if rng.random() < 0.2 else value for value in ("a", 1, 0.5, True, ["a"], {"a": "b"})]

    return Target("parameters of an endpoint", make, lambda given: checked(*given), [["a", 1, 0.5, True, ["a"], {}]])


def _model_ids(folder: Path) -> Target:
    settings = replace(app_settings.load_settings(), runs_dir=folder, cache_dir=folder / "cache")
    public = replace(settings, public=True)
    pieces = (
        *(
            "gemma-3-270m",
            "llm-jp/llm-jp-3-1.8b",
            "owner",
            "/",
            "\\",
            ":",
            "vllm:",
            "~",
            "~root",
            "..",
            "./",
            "/etc/passwd",
        ),
        *(
            ".gguf",
            ".jsonl",
            ".safetensors",
            "C:\\",
            "//host/share",
            "\0",
            "\n",
            "file://",
            "http://",
            "@",
            "--",
            "a" * 300,
        ),
    )
    text = text_maker(pieces, ("llm-jp/llm-jp-3-1.8b", "./folder", "vllm:model"), longest=5_000)

    def read(name: str) -> object:
        found: list[object] = [backend_for(name), as_path(name), is_served(name), is_commit(name)]
        for one in (settings, public):
            found.append(model_facts.usual_format(name, one))
            found.append(model_facts.tokenizer_is_here(ModelSpec(name, backend_for(name)), one))
        found.append(cached_snapshot(ModelSpec(name, revision=name)))
        if backend_for(name) == "scripted":
            found.append(fingerprint_model(ModelSpec(name, "scripted"), settings))
        return served_model(name, public) if ":" in name else found

    return Target("names of models", text, read, ("llm-jp/llm-jp-3-1.8b",))


def _run_names(folder: Path) -> Target:
    """Names of runs in a folder beside which there is another run."""
    runs, name = folder / "runs", "0123456789abcdef"
    for run in (runs / name, folder / "outside"):
        shutil.copytree(SHIPPED, run)
    library = Library(runs)
    text = text_maker(
        (name, "shipped:", "base-0-shot", "../outside", "outside", "/", "..", "~", "\0", ".", "%2e"), (name,), 5_000
    )

    def read(name: str) -> object:
        found = library.find(name)
        assert found.parent == runs and found.is_dir()
        return found

    return Target("names of runs", text, read, (name,))


def _names(folder: Path) -> Target:
    """Names of protocols and subsets, and lists of them."""
    text = text_maker(("official", "all", ",", "jnli", "wandb-2023-0shot", " ", "jglue"), longest=20_000)

    def read(name: str) -> object:
        return _both(lambda: protocol_names(name), lambda: get_task(name))

    return Target("names of protocols", text, read, ("official", "wandb-2023-0shot,official", "jnli"))


def _wandb(folder: Path) -> Target:
    pieces = (
        "entity",
        "project",
        "/",
        "runs",
        "https://wandb.ai/",
        ":",
        "[",
        "]",
        "%2F",
        "%",
        "#",
        "?",
        "abc123",
        "local-",
    )
    text = text_maker(pieces, ("entity/project/run", "https://wandb.ai/e/p/runs/abc"), longest=5_000)

    def read(name: str) -> object:
        return _both(
            lambda: parse_run_path(name),
            lambda: split_project(name),
            lambda: target(name, use_environment=False),
            lambda: target("p", name, use_environment=False),
            lambda: checked_key(name),
        )

    return Target("names at W&B", text, read, ("entity/project/run", "entity/project", "project"))


def _limits(folder: Path) -> Target:
    pieces = ("4", "0.5", "1e309", "-", "nan", "inf", "GiB", " ", "_", "１", "e", ".", "+", "9" * 400)
    text = text_maker(pieces, longest=5_000)
    return Target("GiB", text, lambda given: app_settings.gib("JGLUE_MEMORY", given), ("4", "0.5"))


def _visitors(folder: Path) -> Target:
    """Cookies, languages and addresses as a browser and the proxies before it send them."""
    import gradio as gr
    from starlette.requests import Request

    from jglue_app.ui import client_address, visitor

    pieces = (
        *("jg_visitor=", "jg_lang=", "=", ";", "ja", "en", "A" * 22, "_-", ",", "q=0.9", "\r\n", '"'),
        *("1.2.3.4", "::ffff:1.2.3.4", "[2001:db8::1]:80", "fe80::1%eth0", "127.0.0.1", "unknown", "999"),
    )
    text = text_maker(pieces, longest=5_000)

    def make(rng: Random) -> tuple[str, str, str]:
        return text(rng), text(rng), text(rng)

    def place(made: tuple[str, str, str]) -> gr.Request:
        names = (b"cookie", b"accept-language", b"x-forwarded-for")
        headers = [(name, value.encode("utf-8", "replace")) for name, value in zip(names, made, strict=True)]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": ("127.0.0.1", 5)}
        return gr.Request(Request(scope), session_hash="s")

    def read(request: gr.Request) -> object:
        language, id_ = visitor.language(request), visitor.visitor_id(request)
        assert language in LANGUAGES
        assert id_ == "s" or visitor.is_visitor_id(id_)
        assert id_.address == client_address.client_address(request) != ""
        return id_, language

    return Target("cookies of visitors", make, read, [("jg_lang=ja", "en", "1.2.3.4, ::1")], place)


def _keys(folder: Path) -> Target:
    """A server's words, from which a key is taken out."""
    key = "sk-0123456789abcdefghij"
    text = text_maker((key, key[:9], key[3:], "sk-", "wrong key: ", "abc", "0" * 30), longest=2_000)

    def read(given: str) -> object:
        shown = redact_key(key, given)
        assert not any(key[k : k + 8] in shown for k in range(len(key) - 7))
        return shown

    return Target("keys in words of servers", text, read)


TARGETS: dict[str, Callable[[Path], Target]] = {
    "link and address": _link,
    "values of a request": _values,
    "parameters of an endpoint": _parameters,
    "names of models": _model_ids,
    "names of runs": _run_names,
    "names of protocols": _names,
    "names at W&B": _wandb,
    "GiB": _limits,
    "cookies of visitors": _visitors,
    "keys in words of servers": _keys,
}
