"""Models on servers: the contract in each way of asking, and the values that a server's own model gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from jglue_app.backends import open_backend
from jglue_app.backends.openai_api.backend import OpenAIBackend
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, Prompt, RunError
from tests.api_server import ApiConfig, ApiServer
from tests.api_server.model import ASSISTANT, BOS, END_THINK, THINK
from tests.backends.contract import BackendContract, collect, logprobs_of, make_prompt, never, output, text_of
from tests.served_models import with_server, write_tokenizer

Connect = Callable[..., OpenAIBackend]
SPEC = ModelSpec("here:tiny", backend="openai_api")
TEXTS = (
    "前提：いぬがはしる。\n仮説：いぬがいる。\n関係：",
    "質問：いちばんさむいのはいつですか。\n答え：",
    "文1：あめがふる。\n文2：ゆきがふる。\n近さ：",
    "評価：",
    "前提：みせはしまっている。\n仮説：みせはあいている。\n関係：",
    "題名：とうきょう\n質問：どこにありますか。\n答え：",
    "レビュー：すぐにこわれた。\n評価：",
    "前提：ひとがほんをよむ。\n関係：",
)


def opened(server: ApiServer, settings: Settings, **entry: object) -> OpenAIBackend:
    backend = open_backend(SPEC, with_server(settings, server, **entry))
    assert isinstance(backend, OpenAIBackend)
    return backend


@pytest.fixture
def connect(settings: Settings) -> Iterator[Connect]:
    """`connect(server, **entry)`: the model `tiny` on a server, closed at the end."""
    backends: list[OpenAIBackend] = []

    def made(server: ApiServer, **entry: object) -> OpenAIBackend:
        backends.append(opened(server, settings, **entry))
        return backends[-1]

    yield made
    for backend in backends:
        backend.close()


def long_ones(server: ApiServer, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Prompts that the model continues with three characters or more, as the contract needs them."""

    def ids(prompt: Prompt) -> list[int]:
        if prompt.messages is not None:
            return server.model.render_chat(prompt.messages)
        return [BOS, *server.model.encode(prompt.text)]

    found = [p for p in prompts if len(server.model.generate(ids(p), BackendContract.NEW_TOKENS).text) >= 3]
    assert len(found) >= 4
    return found[:5]


class ServedContract(BackendContract):
    """The contract, with a server for each class of tests."""

    POLLS = True
    CONFIG = ApiConfig()
    ANSWERS: tuple[str, ...] = ("含意", "矛盾", "中立", "ネガティブ")
    CHAT = False

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[ApiServer]:
        with ApiServer(cls.CONFIG) as server:
            yield server

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
        """Settings of this class of tests."""
        return replace(shared_settings, cache_dir=tmp_path_factory.mktemp("served") / "cache")

    @pytest.fixture(scope="class")
    @classmethod
    def entry(cls, folder: Settings) -> dict[str, Any]:
        """What the file of endpoints says besides the address."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, server: ApiServer, folder: Settings, entry: dict[str, Any]) -> Iterator[Backend]:
        backend = opened(server, folder, **entry)
        yield backend
        backend.close()

    @pytest.fixture
    def closable(self, server: ApiServer, folder: Settings, entry: dict[str, Any]) -> Backend:
        return opened(server, folder, **entry)

    @pytest.fixture(scope="class")
    @classmethod
    def prompts(cls, server: ApiServer) -> Sequence[Prompt]:
        made = [make_prompt(text, cls.ANSWERS, item_id=str(i), chat=cls.CHAT) for i, text in enumerate(TEXTS)]
        return long_ones(server, made)

    def test_the_texts_are_those_of_the_model(
        self, server: ApiServer, backend: Backend, prompts: Sequence[Prompt]
    ) -> None:
        for i, result in self.generated(backend, prompts).items():
            turns = prompts[i].messages
            ids = [BOS, *server.model.encode(prompts[i].text)] if turns is None else server.model.render_chat(turns)
            expected = server.model.generate(ids, self.NEW_TOKENS)
            assert text_of(result) == expected.text
            assert output(result).prompt_tokens == len(ids)
            assert output(result).new_tokens == expected.tokens
            assert output(result).finish == expected.finish

    def test_the_log_probabilities_are_those_of_the_model(
        self, server: ApiServer, backend: Backend, prompts: Sequence[Prompt]
    ) -> None:
        for i, result in collect(backend.choose(prompts, never)).items():
            prompt = prompts[i]
            if prompt.messages is None:
                expected = [server.model.answer_logprob(prompt.text, answer) for answer in prompt.answers]
            else:
                ids = server.model.render_chat(prompt.messages)
                first = [server.model.encode(answer) for answer in prompt.answers]
                assert all(len(tokens) == 1 for tokens in first)
                expected = [server.model.logprob(ids, token) for (token,) in first]
            assert logprobs_of(result) == pytest.approx(expected)


class TestEcho(ServedContract):
    """Texts, with the log-probabilities that `echo` gives; four requests at once."""

    CONFIG = ApiConfig(chat=False, prompt_logprobs="ignored")


class TestPromptLogprobs(ServedContract):
    """Texts, with the log-probabilities that vLLM gives."""

    CONFIG = ApiConfig(chat=False, echo="refused", latency=0.005)

    @pytest.fixture(scope="class")
    @classmethod
    def entry(cls, folder: Settings) -> dict[str, Any]:
        return {"requests_at_once": 16}


class TestTokenIds(ServedContract):
    """Token ids, made here with the tokenizer that the endpoint names."""

    @pytest.fixture(scope="class")
    @classmethod
    def entry(cls, folder: Settings) -> dict[str, Any]:
        return {"tokenizer": str(write_tokenizer(folder.cache_dir.parent / "tokenizer")), "requests_at_once": 1}

    def test_ids_are_sent_and_no_text(self, server: ApiServer, backend: Backend, prompts: Sequence[Prompt]) -> None:
        before = len(server.posts)
        self.generated(backend, prompts)
        collect(backend.choose(prompts, never))
        sent = [request.body["prompt"] for request in server.posts[before:]]
        assert len(sent) == len(prompts) * (1 + len(self.ANSWERS))
        assert all(ids[0] == BOS for ids in sent)


class TestChat(ServedContract):
    """Chats, ranked by the most likely first tokens."""

    CONFIG = ApiConfig(completions=False, prompt_logprobs="ignored")
    ANSWERS = ("含意", "中立", "肯")
    CHAT = True

    def test_turns_are_sent_and_no_text(self, server: ApiServer, backend: Backend, prompts: Sequence[Prompt]) -> None:
        before = len(server.posts)
        self.generated(backend, prompts)
        assert sorted(json.dumps(request.body["messages"]) for request in server.posts[before:]) == sorted(
            json.dumps(list(prompt.messages or ())) for prompt in prompts
        )


class TestChatOfTokens(ServedContract):
    """Chats, ranked by the log-probabilities that the server gives of a whole chat."""

    CONFIG = ApiConfig(completions=False)
    CHAT = True

    def test_the_log_probabilities_are_those_of_the_model(
        self, server: ApiServer, backend: Backend, prompts: Sequence[Prompt]
    ) -> None:
        for i, result in collect(backend.choose(prompts, never)).items():
            context = server.model.render_chat(prompts[i].messages or ())
            for answer, found in zip(prompts[i].answers, logprobs_of(result), strict=True):
                whole = [*context, *server.model.encode(answer)]
                values = [server.model.logprob(whole[:k], whole[k]) for k in range(len(context), len(whole))]
                assert found == pytest.approx(sum(values))


class TestChatRenderedHere(ServedContract):
    """Chats, rendered here in the model's template and sent as token ids, so that whole answers can be ranked."""

    @pytest.fixture(scope="class")
    @classmethod
    def entry(cls, folder: Settings) -> dict[str, Any]:
        return {"tokenizer": str(write_tokenizer(folder.cache_dir.parent / "tokenizer", chat=True))}

    @pytest.fixture(scope="class")
    @classmethod
    def prompts(cls, server: ApiServer) -> Sequence[Prompt]:
        turns = [make_prompt(text, cls.ANSWERS, item_id=str(i), chat=True) for i, text in enumerate(TEXTS)]
        return [replace(p, text=f"<s><|user|>{p.text}</s><|assistant|>") for p in long_ones(server, turns)]

    def test_the_log_probabilities_are_those_of_the_model(
        self, server: ApiServer, backend: Backend, prompts: Sequence[Prompt]
    ) -> None:
        for i, result in collect(backend.choose(prompts, never)).items():
            context = server.model.render_chat(prompts[i].messages or ())
            assert context[-1] == ASSISTANT
            for answer, found in zip(prompts[i].answers, logprobs_of(result), strict=True):
                whole = [*context, *server.model.encode(answer)]
                values = [server.model.logprob(whole[:k], whole[k]) for k in range(len(context), len(whole))]
                assert found == pytest.approx(sum(values))


# --- one by one -----------------------------------------------------------------------------------------


def test_as_many_requests_are_in_flight_as_allowed_and_no_more(connect: Connect) -> None:
    with ApiServer(ApiConfig(latency=0.02)) as server:
        prompts = [make_prompt(f"{i}：", item_id=str(i)) for i in range(12)]
        for most in (1, 4):
            backend = connect(server, requests_at_once=most)
            server.requests.clear()
            server.config = replace(server.config, gathers=most)
            assert len(collect(backend.generate(prompts, 4, never))) == 12
            assert max(request.at_once for request in server.posts) == most


def test_equal_prompts_are_paid_once(connect: Connect) -> None:
    with ApiServer(ApiConfig(price_in=10, price_out=30)) as server:
        backend = connect(server, price_in=10, price_out=30)
        before, paid = len(server.posts), server.price
        prompts = [make_prompt("関係：", item_id=str(i)) for i in range(5)]
        results = collect(backend.generate(prompts, 4, never))
        assert len({text_of(result) for result in results.values()}) == 1
        assert len(server.posts) == before + 1
        usages = [usage for result in results.values() if (usage := output(result).usage)]
        cost = sum(usage.prompt_tokens * 10 + usage.new_tokens * 30 for usage in usages) / 1e6
        assert cost == pytest.approx(server.price - paid)


def test_an_answer_that_was_paid_is_not_paid_again_by_another_process(connect: Connect) -> None:
    with ApiServer() as server:
        prompts = [make_prompt(f"{i}：", item_id=str(i)) for i in range(6)]
        first = connect(server, price_in=1)
        server.requests.clear()  # The handshake asks some things three times.
        results = first.generate(prompts, 4, never)
        next(results)
        del results
        first.close()
        again = collect(connect(server, price_in=1).generate(prompts, 4, never))
        assert len(again) == 6
        assert server.paid_twice == 0


def test_the_thought_is_apart_and_its_tokens_are_counted(connect: Connect) -> None:
    with ApiServer(ApiConfig(reasoning="field")) as server:
        backend = connect(server, thinking="chat_template_kwargs")
        prompt = replace(make_prompt("関係：", chat=True), thinking="on")
        found = output(collect(backend.generate_chats([prompt], 8, 100, never))[0])
        off = output(collect(backend.generate_chats([replace(prompt, thinking="off")], 8, None, never))[0])
        message = server.posts[-2]
        assert message.body["chat_template_kwargs"]["enable_thinking"] is True
        assert message.body["max_tokens"] == 108
        assert found.reasoning and found.text and found.text not in found.reasoning
        assert 4 < found.reasoning_tokens < found.new_tokens
        assert (off.reasoning, off.reasoning_tokens) == (None, 0)


@pytest.mark.parametrize("way", ["reasoning_effort", "chat_template_kwargs", "enable_thinking"])
def test_thinking_is_switched_in_the_way_of_the_server(connect: Connect, way: str) -> None:
    switches = (way, "thinking_budget")
    with ApiServer(ApiConfig(reasoning="field", reasoning_switches=switches, unknown_parameters="refused")) as server:
        backend = connect(server, thinking=way)
        prompt = make_prompt("関係：", chat=True)
        texts = []
        for thinking in ("off", "on"):
            result = collect(backend.generate_chats([replace(prompt, thinking=thinking)], 8, 100, never))[0]
            texts.append(output(result).reasoning)
        assert texts[0] is None and texts[1]


def test_a_stop_string_that_the_server_ignores_is_cut_here(connect: Connect) -> None:
    with ApiServer(ApiConfig(stop="ignored")) as server:
        backend = connect(server)
        whole = text_of(collect(backend.generate([make_prompt(TEXTS[2])], 8, never))[0])
        cut = output(collect(backend.generate([make_prompt(TEXTS[2], stop=(whole[2:4],))], 8, never))[0])
        assert (cut.text, cut.finish) == (whole[:2], "stop")


@pytest.mark.parametrize("stop", ["four", "refused"])
def test_more_than_four_stop_strings_are_no_error(connect: Connect, stop: Any) -> None:
    with ApiServer(ApiConfig(stop=stop)) as server:
        backend = connect(server)
        whole = text_of(collect(backend.generate([make_prompt(TEXTS[2])], 8, never))[0])
        prompt = make_prompt(TEXTS[2], stop=("<1>", "<2>", "<3>", "<4>", "<5>", whole[2:4]))
        assert text_of(collect(backend.generate([prompt], 8, never))[0]) == whole[:2]


def test_a_repetition_penalty_is_passed_on(connect: Connect) -> None:
    with ApiServer() as server:
        backend = connect(server)
        result = collect(backend.generate([make_prompt(TEXTS[2])], 12, never, 4.0))[0]
        ids = [BOS, *server.model.encode(TEXTS[2])]
        assert text_of(result) == server.model.generate(ids, 12, penalty=4.0).text


def test_a_label_that_the_server_does_not_list_is_an_error_of_the_item(connect: Connect) -> None:
    with ApiServer(ApiConfig(completions=False, prompt_logprobs="ignored")) as server:
        result = collect(connect(server).choose([make_prompt("関係：", ("含意", "犬"), chat=True)], never))[0]
        assert isinstance(result, RunError)
        assert result.kind == "not_in_top" and "'犬'" in result.message


def test_a_label_of_two_tokens_is_never_ranked_by_its_first(connect: Connect) -> None:
    with ApiServer(ApiConfig(completions=False, prompt_logprobs="ignored")) as server:
        result = collect(connect(server).choose([make_prompt("関係：", ("含意", "矛盾"), chat=True)], never))[0]
        assert isinstance(result, RunError) and result.kind == "not_in_top"


@pytest.mark.parametrize("usage", ["missing", "zero", "negative", "huge", "strings"])
def test_counts_that_cannot_be_are_estimated_and_marked(connect: Connect, usage: Any) -> None:
    with ApiServer(ApiConfig(usage=usage)) as server:
        backend = connect(server, price_in=1, price_out=1)
        found = output(collect(backend.generate([make_prompt(TEXTS[2])], 8, never))[0])
        assert found.usage and found.usage.estimated
        sent = server.posts[-1]
        # Nothing is known but the number of characters.
        assert 0.5 < found.usage.prompt_tokens / sent.prompt_tokens < 3
        assert 0.3 < found.usage.new_tokens / sent.new_tokens < 3
        assert found.text == server.model.generate([BOS, *server.model.encode(TEXTS[2])], 8).text


@pytest.mark.parametrize("wording", ["openai", "vllm"])
def test_a_prompt_over_the_context_is_an_overflow_and_the_others_go_on(connect: Connect, wording: Any) -> None:
    with ApiServer(ApiConfig(context_length=120, context_wording=wording)) as server:
        backend = connect(server)
        prompts = [make_prompt("あ" * 300 + "：", item_id="0"), make_prompt("関係：", item_id="1")]
        generated, chosen = collect(backend.generate(prompts, 8, never)), collect(backend.choose(prompts, never))
        assert output(generated[0]).finish == output(chosen[0]).finish == "overflow"
        assert output(chosen[0]).choice_logprobs is None
        assert output(generated[1]).finish in ("stop", "length") and output(chosen[1]).finish == "scored"


@pytest.mark.parametrize("thinking", ["on", "default", "off"])
def test_answers_are_ranked_after_a_closed_thought_and_never_by_the_first_token_of_one(
    connect: Connect, thinking: str
) -> None:
    with ApiServer(ApiConfig(reasoning="field", completions=False)) as server:
        backend = connect(server, thinking="chat_template_kwargs")
        prompt = replace(make_prompt("関係：", ("含意", "中立", "肯"), chat=True), thinking=thinking)
        result = collect(backend.choose([prompt], never))[0]
        context = [*server.model.render_chat(prompt.messages or ()), THINK, END_THINK]
        ids = [server.model.encode(answer)[0] for answer in prompt.answers]
        assert logprobs_of(result) == pytest.approx([server.model.logprob(context, token) for token in ids])


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("method", ["generate", "choose"])
def test_a_prompt_that_the_server_cuts_without_a_word_gives_no_answer(
    connect: Connect, chat: bool, method: str
) -> None:
    with ApiServer(ApiConfig(context_length=300, cuts_prompts=True, default_tokens=8)) as server:
        backend = connect(server)
        prompts = [make_prompt("あいう。" * 200 + "関係：", ("含意", "中立"), item_id="0", chat=chat)]
        prompts.append(make_prompt("関係：", ("含意", "中立"), item_id="1", chat=chat))
        results = collect(
            backend.generate(prompts, 8, never) if method == "generate" else backend.choose(prompts, never)
        )
        assert isinstance(results[0], RunError) and results[0].kind == "cut_prompt"
        assert output(results[1])


def test_one_token_less_than_was_sent_is_a_cut_prompt_where_the_tokens_are_known(
    connect: Connect, settings: Settings
) -> None:
    with ApiServer() as server:
        backend = connect(server, tokenizer=str(write_tokenizer(settings.cache_dir.parent / "tokenizer")))
        server.config = ApiConfig(context_length=60, cuts_prompts=True)
        result = collect(backend.generate([make_prompt("あ" * 54 + "：")], 8, never))[0]
        assert isinstance(result, RunError) and result.kind == "cut_prompt"
