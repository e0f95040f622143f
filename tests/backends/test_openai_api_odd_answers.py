"""Servers whose answers are allowed or common, but not as most servers write them: no number of them is misread."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jglue_app.backends import open_backend, open_tokenizer
from jglue_app.backends.endpoints import served_model
from jglue_app.backends.openai_api.backend import OpenAIBackend
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.handshake import handshake
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from tests.api_server import ApiServer
from tests.api_server import answers as right_answers
from tests.api_server.connection import Exchange
from tests.backends.contract import make_prompt, never, output, text_of
from tests.served_models import served, with_server, write_tokenizer

Json = dict[str, Any]
Connect = Callable[..., OpenAIBackend]


class OddServer(ApiServer):
    """A server whose right answers are changed before they are sent."""

    def __init__(self) -> None:
        super().__init__()
        self.change: Callable[[Json], object] = lambda _: None
        self.charset = "utf-8"
        self.encoding = "utf-8"

    def _answer(self, exchange: Exchange, request: Any, fault: Any) -> None:
        whole = exchange.send_json

        def send_json(status: int, body: object, headers: Any = None) -> None:
            if not isinstance(body, dict) or "choices" not in body:
                whole(status, body, headers)
                return
            self.change(body)
            data = json.dumps(body, ensure_ascii=False).encode(self.encoding)
            exchange.send(status, data, {"Content-Type": f"application/json; charset={self.charset}"})

        exchange.send_json = send_json  # type: ignore[method-assign]
        super()._answer(exchange, request, fault)


@pytest.fixture
def server() -> Iterator[OddServer]:
    with OddServer() as server:
        yield server


@pytest.fixture
def connect(settings: Settings) -> Iterator[Connect]:
    """`connect(server, **entry)`: the model `tiny` on a server, closed at the end."""
    backends: list[OpenAIBackend] = []

    def made(server: ApiServer, **entry: object) -> OpenAIBackend:
        backend = open_backend(ModelSpec("here:tiny", backend="openai_api"), with_server(settings, server, **entry))
        assert isinstance(backend, OpenAIBackend)
        backends.append(backend)
        return backend

    yield made
    for backend in backends:
        backend.close()


def answer_of(backend: OpenAIBackend, limit: int = 4, *, chat: bool = False) -> Any:
    ((_, result),) = backend.generate([make_prompt("関係：", chat=chat)], limit, never)
    return result


@pytest.mark.parametrize(
    ("encoding", "charset"),
    [("utf-8", "ISO-8859-1"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-8"), ("shift_jis", "shift_jis")],
)
def test_japanese_text_is_read_whatever_charset_the_header_names(
    server: OddServer, connect: Connect, encoding: str, charset: str
) -> None:
    backend = connect(server)
    expected = text_of(answer_of(backend))
    assert not expected.isascii()
    server.encoding, server.charset = encoding, charset
    assert text_of(answer_of(backend)) == expected


def test_of_several_choices_the_first_is_taken_wherever_it_stands(server: OddServer, connect: Connect) -> None:
    backend = connect(server)
    expected = text_of(answer_of(backend))

    def two(body: Json) -> None:
        other = {**body["choices"][0], "index": 1, "text": "別"}
        body["choices"] = [other, *body["choices"]]

    server.change = two
    assert text_of(answer_of(backend)) == expected


@pytest.mark.parametrize("finish", [None, ""])
def test_an_answer_that_fills_its_limit_is_cut_where_the_server_says_nothing(
    server: OddServer, connect: Connect, finish: str | None
) -> None:
    backend = connect(server)
    assert output(answer_of(backend, 2)).finish == "length"
    server.change = lambda body: body["choices"][0].update(finish_reason=finish)
    assert output(answer_of(backend, 2)).finish == "length"


@pytest.mark.parametrize("beside", [True, False])
def test_a_thought_that_is_counted_beside_the_answer_is_paid_too(
    server: OddServer, connect: Connect, *, beside: bool
) -> None:
    backend = connect(server, price_in=1, price_out=1)

    def count(body: Json) -> None:
        usage = {"prompt_tokens": 10, "completion_tokens": 2 if beside else 3, "total_tokens": 13}
        body["usage"] = usage | {"completion_tokens_details": {"reasoning_tokens": 1}}

    server.change = count
    answer = output(answer_of(backend, 4, chat=True))
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.new_tokens, answer.reasoning_tokens) == (10, 3, 1)


def test_a_penalty_of_the_servers_own_is_not_applied(server: OddServer, connect: Connect) -> None:
    """As vLLM does with that of `generation_config.json`, where a request names none."""
    backend = connect(server)
    server.requests.clear()
    answer_of(backend)
    assert server.posts[-1].body["repetition_penalty"] == 1


def test_a_list_of_models_that_never_ends_is_not_waited_for(server: OddServer, settings: Settings) -> None:
    client = Client(served(settings, server, timeout=0.5))
    original = right_answers.models

    def drip(exchange: Exchange, request: Any, fault: Any) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\n")
        for k in range(40):
            time.sleep(0.1)
            exchange.write(b"X-%d: a\r\n" % k)
        exchange.send_json(200, original(server.config))

    server._answer = drip  # type: ignore[method-assign]
    started = time.monotonic()
    assert client.listed_models() == {}
    assert time.monotonic() - started < 2
    client.close()


@pytest.mark.parametrize("tokenizer", [True, False])
def test_log_probabilities_that_stand_at_the_token_before_are_not_believed(
    server: OddServer, connect: Connect, settings: Settings, *, tokenizer: bool
) -> None:
    def shift(body: Json) -> None:
        values = (body["choices"][0].get("logprobs") or {}).get("token_logprobs")
        if values and values[0] is None:
            values[:] = [*values[1:], values[-1]]
        body["choices"][0].pop("prompt_logprobs", None)
        body.pop("prompt_logprobs", None)

    entry: dict[str, object] = {}
    if tokenizer:
        entry["tokenizer"] = str(write_tokenizer(settings.cache_dir.parent / "tokenizer"))
    assert handshake_of(settings, server, **entry) == ("echo", tokenizer)
    server.change = shift
    assert handshake_of(settings, server, **entry) == ("", tokenizer)


def handshake_of(settings: Settings, server: OddServer, **entry: object) -> tuple[str, bool]:
    """How the server gives log-probabilities of a prompt, and whether it takes token ids."""
    here = with_server(settings, server, **entry)
    model = served_model("here:tiny", here)
    name = model.facts.tokenizer
    tokenizer = open_tokenizer(ModelSpec(name), here, print) if name else None
    can = handshake(model, here, lambda: tokenizer, again=True).capabilities
    return can.prompt_logprobs, can.token_ids


def test_all_requests_that_notice_another_model_say_the_same_of_the_one_before(
    server: OddServer, connect: Connect
) -> None:
    server.change = lambda body: body.update(model="tiny-0301")
    changed = connect(server)._exchange._changed
    assert changed is not None
    for _ in range(2):
        assert "now answers as tiny-0613, and not as tiny-0301" in changed("tiny-0613").message
