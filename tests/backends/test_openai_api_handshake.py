"""What a handshake finds out about a server, what is refused before a run, and that a changed model is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from jglue_app.backends import open_backend
from jglue_app.backends.openai_api import client as client_module
from jglue_app.backends.openai_api.backend import OpenAIBackend, identity
from jglue_app.backends.openai_api.capabilities import Capabilities
from jglue_app.backends.openai_api.handshake import handshake
from jglue_app.errors import InputError, JglueAppError, ModelAccessError, ModelError, ModelNotFoundError, NetworkError
from jglue_app.settings import Settings
from jglue_app.types import Decoding, ModelSpec, PromptSpec
from tests.api_server import ApiConfig, ApiServer, Fault
from tests.api_server import faults as injected
from tests.api_server.model import LONGER, PIECES
from tests.backends.contract import collect, make_prompt, never
from tests.served_models import served, with_server, write_tokenizer

SPEC = ModelSpec("here:tiny", backend="openai_api")
CHAT, PLAIN = PromptSpec(format="chat"), PromptSpec()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def found(settings: Settings) -> Callable[..., Capabilities]:
    """`found(config, **entry)`: what a handshake with a server of this configuration gives."""

    def ask(config: ApiConfig, **entry: object) -> Capabilities:
        with ApiServer(config) as server:
            return handshake(served(settings, server, **entry), settings, lambda: None).capabilities

    return ask


@pytest.fixture
def connect(settings: Settings) -> Iterator[Callable[..., OpenAIBackend]]:
    """`connect(server, **entry)`: the model `tiny` on a server, closed at the end."""
    backends: list[OpenAIBackend] = []

    def made(server: ApiServer, **entry: object) -> OpenAIBackend:
        backend = open_backend(SPEC, with_server(settings, server, **entry))
        assert isinstance(backend, OpenAIBackend)
        backends.append(backend)
        return backend

    yield made
    for backend in backends:
        backend.close()


Ask = Callable[..., Capabilities]
Connect = Callable[..., OpenAIBackend]


# --- each capability ------------------------------------------------------------------------------------


def test_a_server_that_can_do_everything(found: Ask) -> None:
    can = found(ApiConfig())
    for interface in (can.chat, can.completions):
        assert interface
        assert (interface.limit, interface.top_logprobs) == ("max_tokens", 20)
        assert interface.temperature and interface.seed and interface.deterministic and interface.stop
        assert interface.repetition_penalty and interface.usage and not interface.reasoning
    assert can.prompt_logprobs == "echo"
    assert can.models == ("tiny",) and can.fingerprints == ()
    assert not can.token_ids and not can.applies_template
    # The probes are Japanese; BOS and three marks of the template stand around a chat.
    assert 0.8 < can.tokens_per_character < 2.5
    assert 0 <= can.overhead < 12


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (ApiConfig(token_limit="max_completion_tokens"), "limit", "max_completion_tokens"),
        (ApiConfig(token_limit="max_tokens"), "limit", "max_tokens"),
        (ApiConfig(temperature="refused"), "temperature", False),
        (ApiConfig(temperature="refused", seed="ignored"), "deterministic", False),
        (ApiConfig(temperature="ignored", seed="ignored"), "deterministic", False),
        (ApiConfig(seed="refused"), "seed", False),
        (ApiConfig(stop="ignored"), "stop", False),
        (ApiConfig(stop="refused"), "stop", False),
        (ApiConfig(stop="four"), "stop", True),
        (ApiConfig(stop="kept"), "stop", True),
        (ApiConfig(top_logprobs="ignored"), "top_logprobs", 0),
        (ApiConfig(top_logprobs="refused"), "top_logprobs", 0),
        (ApiConfig(most_logprobs=5), "top_logprobs", 5),
        (ApiConfig(repetition_penalty="ignored"), "repetition_penalty", False),
        (ApiConfig(repetition_penalty="refused"), "repetition_penalty", False),
        (ApiConfig(repetition_penalty="ignored", temperature="ignored", seed="ignored"), "repetition_penalty", False),
        (ApiConfig(usage="missing"), "usage", False),
        (ApiConfig(usage="strings"), "usage", False),
        (ApiConfig(usage="negative"), "usage", False),
    ],
)
def test_what_is_refused_or_silently_ignored_counts_as_not_done(
    found: Ask, config: ApiConfig, name: str, value: object
) -> None:
    can = found(config)
    for interface in (can.chat, can.completions):
        assert getattr(interface, name) == value


@pytest.mark.parametrize(
    ("config", "way"),
    [
        (ApiConfig(prompt_logprobs="ignored"), "echo"),
        (ApiConfig(echo="ignored"), "prompt_logprobs"),
        (ApiConfig(echo="refused"), "prompt_logprobs"),
        (ApiConfig(top_logprobs="ignored"), "prompt_logprobs"),
        (ApiConfig(echo="ignored", prompt_logprobs="ignored"), ""),
        (ApiConfig(echo="refused", prompt_logprobs="refused"), ""),
        (ApiConfig(echo="ignored", prompt_logprobs="ignored", top_logprobs="refused"), ""),
        (ApiConfig(usage="without_bos"), ""),
        (ApiConfig(usage="missing", echo="refused"), "prompt_logprobs"),
    ],
)
def test_log_probabilities_of_a_prompt_are_believed_only_where_they_are_of_the_prompt(
    found: Ask, config: ApiConfig, way: str
) -> None:
    assert found(config).prompt_logprobs == way


def test_the_two_interfaces_are_found_each_for_itself(found: Ask) -> None:
    assert found(ApiConfig(completions=False)).completions is None
    assert found(ApiConfig(chat=False)).chat is None
    only = found(ApiConfig(), interfaces=["chat"])
    assert only.completions is None and only.chat


def test_a_thought_that_cannot_be_switched_off_is_noticed(found: Ask) -> None:
    can = found(ApiConfig(reasoning="field"))
    assert can.chat and can.chat.reasoning
    quiet = found(ApiConfig(reasoning="field"), thinking="chat_template_kwargs")
    assert quiet.chat and not quiet.chat.reasoning
    deaf = found(ApiConfig(reasoning="field", reasoning_switches=()), thinking="reasoning_effort")
    assert deaf.chat and deaf.chat.reasoning


def test_token_ids_are_sent_only_where_the_tokenizer_is_that_of_the_server(
    connect: Connect, settings: Settings
) -> None:
    folder = str(write_tokenizer(settings.cache_dir.parent / "tokenizer"))
    with ApiServer() as server:
        backend = connect(server, tokenizer=folder)
        assert backend._can.token_ids and backend._can.prompt_logprobs == "echo"
    with ApiServer(ApiConfig(token_ids="refused")) as server:
        assert not connect(server, tokenizer=folder)._can.token_ids


def test_another_tokenizer_than_the_servers_is_refused(connect: Connect, settings: Settings) -> None:
    folder = settings.cache_dir.parent / "tokenizer"
    write_tokenizer(folder, pieces=[piece for piece in PIECES if piece not in LONGER])
    with ApiServer() as server, pytest.raises(ModelError, match="it is not that of tiny"):
        connect(server, tokenizer=str(folder))


def test_what_the_operator_says_is_not_tried(found: Ask) -> None:
    said = found(ApiConfig(), can={"stop": False, "prompt_logprobs": False, "top_logprobs": False, "seed": False})
    assert said.completions and not said.completions.stop and not said.completions.seed
    assert said.completions.top_logprobs == 0 and said.prompt_logprobs == ""


def test_an_interface_that_fails_at_each_request_is_not_used_where_the_other_answers(settings: Settings) -> None:
    with ApiServer() as server:
        # As a server whose model has no chat template.
        server.inject(injected.INTERNAL, when=lambda request: request.path.endswith("/chat/completions"))
        can = handshake(served(settings, server), settings, lambda: None).capabilities
    assert can.chat is None
    assert can.completions


# --- a server that cannot be used -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (injected.NO_QUOTA, ModelAccessError, "no quota left"),
        (injected.PAYMENT, ModelAccessError, "no quota left"),
        (injected.rate_limit("9999"), NetworkError, "HTTP 429"),
        (injected.INTERNAL, NetworkError, "HTTP 500"),
        (injected.PAGE, NetworkError, "no JSON object"),
        (Fault("html", 404), NetworkError, "does not have what was asked for"),
        (Fault("drop_before"), NetworkError, "cannot be reached"),
        (Fault("shape", body=injected.SHAPES["choices missing"]), ModelError, "not in the form of the interface"),
        (Fault("shape", body=[]), NetworkError, "no JSON object"),
        (Fault("redirect", location="http://127.0.0.1:9/v1"), NetworkError, "redirects to another address"),
    ],
)
def test_a_server_that_cannot_be_used_is_an_error_before_any_item(
    settings: Settings, fault: Fault, error: type[JglueAppError], says: str
) -> None:
    with ApiServer() as server:
        server.inject(fault)
        here = with_server(settings, server)
        with pytest.raises(error, match=says):
            open_backend(SPEC, here)
        assert not list(settings.cache_dir.rglob("endpoints/*"))


def test_a_server_that_is_not_there_is_an_error(settings: Settings) -> None:
    server = ApiServer()
    server.close()
    with pytest.raises(JglueAppError, match="cannot be reached"):
        open_backend(SPEC, with_server(settings, server))


def test_a_wrong_key_and_a_missing_one_are_errors(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiServer(ApiConfig(key="sk-right-0123456789")) as server:
        with pytest.raises(ModelAccessError, match="asks for a key"):
            open_backend(SPEC, with_server(settings, server))
        monkeypatch.setenv("HERE_KEY", "sk-wrong-9876543210")
        with pytest.raises(ModelAccessError, match="refuses the key of the environment variable HERE_KEY") as caught:
            open_backend(SPEC, with_server(settings, server, key_env="HERE_KEY"))
        assert "9876" not in str(caught.value)


def test_a_model_that_the_server_does_not_have_is_an_error(settings: Settings) -> None:
    with ApiServer(ApiConfig(models=("small",))) as server, pytest.raises(ModelNotFoundError, match="no model 'tiny'"):
        open_backend(SPEC, with_server(settings, server))


@pytest.mark.parametrize("usage", ["right", "missing", "zero"])
def test_a_server_that_ignores_the_limit_on_new_tokens_is_refused(settings: Settings, usage: Any) -> None:
    with ApiServer(ApiConfig(token_limit="ignored", usage=usage)) as server:
        here = with_server(settings, server)
        with pytest.raises(ModelError, match="writes on beyond the limit on new tokens"):
            open_backend(SPEC, here)


# --- what is refused before a run -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "entry", "prompt", "decoding", "says"),
    [
        (ApiConfig(completions=False), {}, PLAIN, Decoding(), "answers chats only"),
        (ApiConfig(chat=False), {}, CHAT, Decoding(), "answers no chats"),
        (
            ApiConfig(echo="ignored", prompt_logprobs="ignored", top_logprobs="ignored"),
            {},
            PLAIN,
            Decoding("choose"),
            "cannot rank answers",
        ),
        (
            ApiConfig(completions=False, top_logprobs="refused", prompt_logprobs="ignored"),
            {},
            CHAT,
            Decoding("both"),
            "cannot rank answers",
        ),
        (
            ApiConfig(repetition_penalty="ignored"),
            {},
            PLAIN,
            Decoding(repetition_penalty=1.1),
            "does not apply a repetition penalty",
        ),
        (
            ApiConfig(repetition_penalty="refused"),
            {},
            PLAIN,
            Decoding(repetition_penalty_by_task=(("jnli", 1.1),)),
            "does not apply a repetition penalty",
        ),
        (ApiConfig(), {}, replace(CHAT, thinking="on"), Decoding(), "is not described"),
        (ApiConfig(reasoning="field"), {}, CHAT, Decoding(), "thinks before it answers"),
        (
            ApiConfig(reasoning="field"),
            {"thinking": "enable_thinking"},
            replace(CHAT, thinking="on"),
            Decoding(),
            "thinks before it answers",
        ),
    ],
)
def test_what_the_server_cannot_do_is_refused_before_a_run(
    connect: Connect, config: ApiConfig, entry: dict[str, Any], prompt: PromptSpec, decoding: Decoding, says: str
) -> None:
    with ApiServer(config) as server:
        backend = connect(server, **entry)
        sent = len(server.posts)
        with pytest.raises(InputError, match=says):
            backend.check(prompt, decoding, ranks=True)
        assert len(server.posts) == sent


def test_a_server_that_closes_the_turn_behind_an_answer_ranks_no_chats_by_their_log_probabilities(
    connect: Connect,
) -> None:
    for continues in (True, False):
        with ApiServer(ApiConfig(continues_turns=continues)) as server:
            backend = connect(server)
            backend.check(CHAT, Decoding("choose"), ranks=True)
            assert backend.info.ranking == ("" if continues else "first token")


def test_what_the_server_can_do_is_not_refused_and_approximate_ranking_is_marked(connect: Connect) -> None:
    with ApiServer(ApiConfig(prompt_logprobs="ignored")) as server:
        backend = connect(server)
        backend.check(PLAIN, Decoding("both", repetition_penalty=1.2), ranks=True)
        assert backend.info.ranking == ""
        backend.check(CHAT, Decoding("choose"), ranks=True)
        assert backend.info.ranking == "first token"
        backend.check(CHAT, Decoding("choose"), ranks=False)
        assert backend.info.ranking == ""


def test_a_server_whose_answers_vary_is_marked(connect: Connect) -> None:
    with ApiServer(ApiConfig(temperature="ignored", seed="ignored")) as server:
        assert connect(server).info.sampling == "varies"
    # It draws by the seed: one seed gives one text, which is not the most likely one.
    with ApiServer(ApiConfig(temperature="ignored")) as server:
        assert connect(server).info.sampling == "varies"
    with ApiServer(ApiConfig(temperature="refused")) as server:
        assert connect(server).info.sampling == "temperature"
    with ApiServer() as server:
        assert connect(server).info.sampling == ""


# --- identity -------------------------------------------------------------------------------------------


def test_a_handshake_is_kept_for_a_day_and_holds_no_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-planted-0123456789abcdef"
    monkeypatch.setenv("HERE_KEY", key)
    with ApiServer(ApiConfig(key=key)) as server:
        here = with_server(settings, server, key_env="HERE_KEY")
        first = identity(SPEC, here)
        sent = len(server.posts)
        assert 5 < sent < 40
        assert identity(SPEC, here) == first
        assert len(server.posts) == sent
    (file,) = settings.cache_dir.rglob("endpoints/*.json")
    assert key not in file.read_text("utf-8") and key not in json.dumps(first)


def test_what_the_server_can_do_and_what_answers_are_part_of_the_identity(settings: Settings) -> None:
    seen = set()
    with ApiServer() as server:
        for change in (
            {},
            {"answers_as": "tiny-2026-01-01"},
            {"fingerprints": ("fp_a",)},
            {"prompt_logprobs": "ignored"},
            {"echo": "refused"},
            {"completions": False},
        ):
            server.config = replace(ApiConfig(), **change)
            here = served(settings, server)
            seen.add(json.dumps(handshake(here, settings, lambda: None, again=True).identity, sort_keys=True))
    assert len(seen) == 6


def test_what_the_operator_sets_is_part_of_the_identity_and_no_parameter_is_readable_there(
    settings: Settings,
) -> None:
    seen = []
    with ApiServer() as server:
        for entry in (
            {},
            {"body": {"top_p": 0.5}},
            {"body": {"top_k": 7_654_321}},
            {"query": {"api-version": "2026-01-01"}},
            {"context_length": 100},
            {"thinking": "enable_thinking"},
            {"thinking": "reasoning_effort"},
            {"thinking": "reasoning_effort", "thinking_on": "high"},
            {"models": {"tiny": {"context_length": 200}}},
            {"price_in": 1.0, "requests_at_once": 2, "timeout": 5.0},
        ):
            seen.append(json.dumps(identity(SPEC, with_server(settings, server, **entry)), sort_keys=True))
    assert len(set(seen[:-1])) == 9
    assert seen[-1] == seen[0]
    assert "7654321" not in "".join(seen) and "2026-01-01" not in "".join(seen)


def test_a_model_that_changes_under_its_name_ends_the_run_and_nothing_of_it_is_kept(connect: Connect) -> None:
    with ApiServer(ApiConfig(answers_as="tiny-2026-01-01")) as server:
        backend = connect(server, requests_at_once=1, price_in=1)
        prompts = [make_prompt(f"{i}：", item_id=str(i)) for i in range(6)]
        results = backend.generate(prompts, 4, never)
        assert next(results)
        server.config = replace(server.config, answers_as="tiny-2026-09-09")
        with pytest.raises(ModelError, match="now answers as tiny-2026-09-09, and not as tiny-2026-01-01"):
            list(results)
        server.config = replace(server.config, answers_as="tiny-2026-01-01")
        again = connect(server, requests_at_once=1, price_in=1)
        sent = len(server.posts)
        assert len(collect(again.generate(prompts, 4, never))) == 6
        # What answered as the other model was sent again.
        assert len(server.posts) - sent >= 4


def test_configurations_that_take_turns_are_listed_and_make_no_other_run(connect: Connect, settings: Settings) -> None:
    with ApiServer(ApiConfig(fingerprints=("fp_a", "fp_b", "fp_a"))) as server:
        backend = connect(server)
        first = handshake(served(settings, server), settings, lambda: None, again=True).identity
        assert handshake(served(settings, server), settings, lambda: None, again=True).identity == first
        server.config = replace(server.config, fingerprints=("fp_c",))
        collect(backend.generate([make_prompt("関係：")], 4, never))
        assert set(backend.info.answered_by) == {"fp_a", "fp_b", "fp_c"}
