"""The most likely next tokens of models on servers, beside those of the server's own model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.backends import open_backend
from jglue_app.backends.openai_api.backend import OpenAIBackend
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, NextTokens, PredictingBackend, RunError
from tests.api_server import ApiConfig, ApiServer
from tests.api_server.model import BOS
from tests.backends.contract import StopAfter, make_prompt, never
from tests.served_models import with_server, write_tokenizer

TEXT = "前提：いぬがはしる。\n関係："
COUNT = 10


@pytest.fixture
def backends() -> Iterator[list[OpenAIBackend]]:
    opened: list[OpenAIBackend] = []
    yield opened
    for backend in opened:
        backend.close()


def connect(server: ApiServer, settings: Settings, opened: list[OpenAIBackend], **entry: object) -> OpenAIBackend:
    backend = open_backend(ModelSpec("here:tiny", backend="openai_api"), with_server(settings, server, **entry))
    assert isinstance(backend, OpenAIBackend) and isinstance(backend, PredictingBackend)
    opened.append(backend)
    return backend


def asked(backend: OpenAIBackend, *, chat: bool = False) -> NextTokens:
    found = backend.next_tokens(make_prompt(TEXT, chat=chat), COUNT, never)
    assert isinstance(found, NextTokens), found
    return found


@pytest.mark.parametrize("way", ["echo", "prompt_logprobs"])
def test_every_place_is_known_where_ids_are_sent(
    way: str, settings: Settings, backends: list[OpenAIBackend], tmp_path: Path
) -> None:
    config = ApiConfig(prompt_logprobs="ignored") if way == "echo" else ApiConfig(echo="refused")
    with ApiServer(config) as server:
        backend = connect(server, settings, backends, tokenizer=str(write_tokenizer(tmp_path / "tokenizer")))
        before = len(server.posts)
        result = asked(backend)
        ids = [BOS, *server.model.encode(TEXT)]
        assert len(server.posts) == before + 1, "one request has it all"
        assert list(result.ids) == ids
        assert (result.top[0], result.logprobs[0]) == ((), None)
        assert len(result.top) == len(ids) + 1
        for place in range(1, len(ids) + 1):
            expected = server.model.top(ids[:place], COUNT)
            assert [t.logprob for t in result.top[place]] == pytest.approx([value for _, value in expected])
            if way == "prompt_logprobs" and place < len(ids):
                assert {t.id for t in result.top[place]} == {token for token, _ in expected}
        assert list(result.logprobs[1:]) == pytest.approx(server.model.sequence_logprobs(ids)[1:])


@pytest.mark.parametrize("chat", [True, False])
def test_of_a_text_and_of_turns_the_end_alone_is_known(
    chat: bool, settings: Settings, backends: list[OpenAIBackend]
) -> None:
    with ApiServer(ApiConfig()) as server:
        result = asked(connect(server, settings, backends), chat=chat)
        assert (result.ids, result.logprobs, len(result.top)) == ((), (), 1)
        turns = ({"role": "user", "content": TEXT},)
        prefix = server.model.render_chat(turns) if chat else [BOS, *server.model.encode(TEXT)]
        expected = [value for _, value in server.model.top(prefix, COUNT)]
        assert [token.logprob for token in result.top[0]] == pytest.approx(expected)
        assert {token.id for token in result.top[0]} == {None}


def test_a_server_without_them_is_said_in_a_sentence(settings: Settings, backends: list[OpenAIBackend]) -> None:
    with ApiServer(ApiConfig(top_logprobs="ignored", echo="refused", prompt_logprobs="ignored")) as server:
        error = connect(server, settings, backends).next_tokens(make_prompt(TEXT), COUNT, never)
        assert isinstance(error, RunError)
        assert error.kind == "no_top_tokens"


def test_a_request_that_is_stopped_or_refused_by_the_budget_gives_nothing(
    settings: Settings, backends: list[OpenAIBackend]
) -> None:
    with ApiServer(ApiConfig(price_in=10, price_out=10)) as server:
        backend = connect(server, settings, backends, price_in=10, price_out=10)
        before = len(server.posts)
        assert backend.next_tokens(make_prompt(TEXT), COUNT, StopAfter(1)) is None
        backend.spending = Nothing()
        assert backend.next_tokens(make_prompt(TEXT), COUNT, never) is None
        assert len(server.posts) == before


class Nothing:
    """An account with nothing on it."""

    def reserve(self, cost: float, tokens: int = 0) -> bool:
        """There is no room."""
        return False

    def settle(self, reserved: float, cost: float, reserved_tokens: int = 0, tokens: int = 0) -> None:
        """Nothing was spent."""

    def hold(self, cost: float) -> None:
        """Nothing is held."""


def test_an_unfinished_thought_is_not_what_is_asked(settings: Settings, backends: list[OpenAIBackend]) -> None:
    with ApiServer(ApiConfig()) as server:
        backend = connect(server, settings, backends)
        prompt = replace(make_prompt(TEXT, chat=True, stop=("\n",)), thinking="on")
        assert isinstance(backend.next_tokens(prompt, COUNT, never), NextTokens)
        assert "stop" not in server.posts[-1].body
