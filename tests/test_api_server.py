"""The OpenAI-compatible server of the tests, driven by the real `openai` client and by the real httpx."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.api_server import ApiConfig, ApiServer, Fault
from tests.api_server import faults as injected
from tests.api_server.model import BOS, LanguageModel

PROMPT = "前提：犬が庭を走っている。\n関係："
KEY = "sk-planted-" + "k" * 30
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def client(server: ApiServer, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0, timeout=10)


def post(server: ApiServer, path: str, **body: object) -> httpx.Response:
    return httpx.post(server.base_url + path, json={"model": "tiny", **body}, timeout=10)


def complete(server: ApiServer, **body: object) -> Any:
    answer = post(server, "/completions", **{"prompt": PROMPT, "temperature": 0, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def chat(server: ApiServer, **body: object) -> httpx.Response:
    messages = [{"role": "user", "content": PROMPT}]
    return post(server, "/chat/completions", **{"messages": messages, "temperature": 0, **body})


# --- the model ------------------------------------------------------------------------------------------


def test_the_distribution_is_normalised_and_depends_on_every_token_before() -> None:
    model = LanguageModel()
    values = model.logprobs(model.encode(PROMPT))
    assert math.fsum(map(math.exp, values)) == pytest.approx(1)
    assert all(math.isfinite(value) for value in values)
    assert values != model.logprobs(model.encode("後" + PROMPT))
    assert values == LanguageModel().logprobs(model.encode(PROMPT))
    assert values != LanguageModel("another").logprobs(model.encode(PROMPT))


def test_texts_come_back_from_their_tokens_and_a_label_is_one_or_several() -> None:
    model = LanguageModel()
    for text in (PROMPT, "漢字😀 a\tb", "", "質問です"):
        assert model.decode(model.encode(text)) == text
    assert [len(model.encode(label)) for label in ("含意", "矛盾", "ネガティブ", "犬")] == [1, 2, 4, 3]


def test_the_fast_way_through_a_sequence_gives_what_single_calls_give() -> None:
    model = LanguageModel()
    ids = [BOS, *model.encode(PROMPT)]
    first, *others = model.sequence_logprobs(ids)
    assert first is None
    assert others == pytest.approx([model.logprob(ids[:i], ids[i]) for i in range(1, len(ids))])


def test_texts_differ_and_some_end_by_themselves() -> None:
    model = LanguageModel()
    results = [model.generate([BOS, *model.encode(f"{i}：")], 12) for i in range(60)]
    assert len({result.text for result in results}) == 60
    assert {result.finish for result in results} == {"stop", "length"}


# --- what is answered -----------------------------------------------------------------------------------


def test_the_real_client_reads_a_completion_with_the_log_probabilities_of_its_prompt(server: ApiServer) -> None:
    ids = [BOS, *server.model.encode(PROMPT + "矛盾")]
    answer = client(server).completions.create(
        model="tiny", prompt=PROMPT + "矛盾", max_tokens=1, echo=True, logprobs=1, temperature=0
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs and logprobs.token_logprobs and logprobs.tokens and logprobs.text_offset
    assert logprobs.token_logprobs[0] is None
    expected = server.model.logprob(ids[:-2], ids[-2]) + server.model.logprob(ids[:-1], ids[-1])
    assert sum(logprobs.token_logprobs[len(ids) - 2 : len(ids)]) == pytest.approx(expected)
    assert expected == pytest.approx(server.model.answer_logprob(PROMPT, "矛盾"))
    assert logprobs.tokens[0] == "<s>" and logprobs.tokens[-3:-1] == ["矛", "盾"]
    assert logprobs.text_offset[:3] == [0, 3, 4]
    assert answer.usage and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(ids), 1)


def test_token_ids_and_text_are_the_same_prompt(server: ApiServer) -> None:
    ids = [BOS, *server.model.encode(PROMPT)]
    text, given = complete(server, max_tokens=8), complete(server, prompt=ids, max_tokens=8)
    assert text["choices"][0]["text"] == given["choices"][0]["text"] == server.model.generate(ids, 8).text


def test_prompt_logprobs_are_by_token_id_as_vllm_gives_them(server: ApiServer) -> None:
    ids = [BOS, *server.model.encode(PROMPT)]
    rows = complete(server, max_tokens=1, prompt_logprobs=2)["choices"][0]["prompt_logprobs"]
    assert rows[0] is None and len(rows) == len(ids)
    for i in range(1, len(ids)):
        assert rows[i][str(ids[i])]["logprob"] == pytest.approx(server.model.logprob(ids[:i], ids[i]))
        assert {1, 2} <= {entry["rank"] for entry in rows[i].values()}


def test_the_real_client_reads_a_chat_with_the_most_likely_first_tokens(server: ApiServer) -> None:
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    answer = client(server).chat.completions.create(
        model="tiny", messages=messages, max_tokens=1, temperature=0, logprobs=True, top_logprobs=20
    )
    assert answer.choices[0].logprobs and answer.choices[0].logprobs.content
    top = {entry.token: entry.logprob for entry in answer.choices[0].logprobs.content[0].top_logprobs}
    prefix = server.model.render_chat(messages)
    for label in ("含意", "矛", "中立"):
        assert top[label] == pytest.approx(server.model.logprob(prefix, server.model.encode(label)[0]))


def test_a_stop_string_is_cut_off_and_a_seed_repeats_an_answer(server: ApiServer) -> None:
    whole = complete(server, max_tokens=8)["choices"][0]["text"]
    cut = complete(server, max_tokens=8, stop=[whole[2:4]])["choices"][0]
    assert (cut["text"], cut["finish_reason"]) == (whole[:2], "stop")
    drawn = [complete(server, max_tokens=8, temperature=1)["choices"][0]["text"] for _ in range(3)]
    assert len(set(drawn)) > 1
    seeded = [complete(server, max_tokens=8, temperature=1, seed=3)["choices"][0]["text"] for _ in range(3)]
    assert len(set(seeded)) == 1


def test_a_repetition_penalty_changes_the_text(server: ApiServer) -> None:
    plain, punished = (complete(server, max_tokens=12, repetition_penalty=p) for p in (1, 4))
    assert plain["choices"][0]["text"] != punished["choices"][0]["text"]


def test_the_real_client_reads_embeddings_in_base64(server: ApiServer) -> None:
    found = client(server).embeddings.create(model="tiny", input=["犬が走る", "犬が走る", "0.5"]).data
    vectors = [entry.embedding for entry in found]
    assert vectors[0] == vectors[1] != vectors[2]
    assert math.fsum(value * value for value in vectors[0]) == pytest.approx(1)


def test_models_are_listed_and_other_addresses_are_not_there(server: ApiServer) -> None:
    assert [model.id for model in client(server).models.list()] == ["tiny"]
    assert httpx.get(server.url + "/").status_code == 404
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client(server).completions.create(model="large", prompt="a")


# --- what is refused or ignored -------------------------------------------------------------------------


def test_a_wrong_key_is_repeated_in_part_as_real_servers_do() -> None:
    with ApiServer(ApiConfig(key=KEY)) as server:
        assert [model.id for model in client(server, KEY).models.list()] == ["tiny"]
        with pytest.raises(openai.AuthenticationError, match="sk-other") as caught:
            client(server, "sk-other-key-of-mine").models.list()
        assert caught.value.code == "invalid_api_key"


def test_headers_and_query_parameters_may_be_required() -> None:
    config = ApiConfig(headers={"api-key": KEY}, query={"api-version": "2026-01-01"}, prefix="/openai/v1")
    with ApiServer(config) as server:
        address = server.base_url + "/models"
        assert httpx.get(address, headers={"api-key": KEY}).status_code == 404
        assert httpx.get(address, params={"api-version": "2026-01-01"}).status_code == 401
        assert httpx.get(address, params={"api-version": "2026-01-01"}, headers={"api-key": KEY}).status_code == 200


@pytest.mark.parametrize(
    ("config", "body", "says"),
    [
        (ApiConfig(token_limit="max_completion_tokens"), {"max_tokens": 1}, "Use 'max_completion_tokens' instead"),
        (ApiConfig(token_limit="max_tokens"), {"max_completion_tokens": 1}, "Use 'max_tokens' instead"),
        (ApiConfig(temperature="refused"), {"temperature": 0}, "'temperature' does not support 0"),
        (ApiConfig(stop="refused"), {"stop": ["a"]}, "'stop' is not supported"),
        (ApiConfig(stop="four"), {"stop": list("abcde")}, "maximum length 4"),
        (ApiConfig(seed="refused"), {"seed": 1}, "'seed' is not supported"),
        (ApiConfig(repetition_penalty="refused"), {"repetition_penalty": 1.5}, "'repetition_penalty'"),
        (ApiConfig(top_logprobs="refused"), {"logprobs": True}, "'logprobs' is not supported"),
        (ApiConfig(most_logprobs=5), {"logprobs": True, "top_logprobs": 6}, "maximum of 5"),
        (ApiConfig(unknown_parameters="refused"), {"enable_thinking": True}, "argument supplied: enable_thinking"),
        (ApiConfig(context_length=8), {"max_tokens": 1}, "maximum context length is 8 tokens"),
        (ApiConfig(), {"messages": []}, "'messages'"),
    ],
)
def test_what_is_refused_is_refused_in_words(config: ApiConfig, body: dict[str, Any], says: str) -> None:
    with ApiServer(config) as server:
        given = {"temperature": 1, **body}
        answer = chat(server, **given)
        assert answer.status_code == 400
        assert says in answer.json()["error"]["message"]
        assert server.price == 0 and not server.posts[0].billed


def test_what_is_ignored_has_no_effect_and_no_word() -> None:
    silent = ApiConfig(
        echo="ignored",
        prompt_logprobs="ignored",
        top_logprobs="ignored",
        stop="ignored",
        temperature="ignored",
        repetition_penalty="ignored",
    )
    with ApiServer(silent) as server:
        whole = complete(server, max_tokens=8, echo=True, logprobs=2, prompt_logprobs=1, seed=1)["choices"][0]
        assert not whole["text"].startswith(PROMPT)
        assert whole["logprobs"] is None and "prompt_logprobs" not in whole
        assert complete(server, max_tokens=8, stop=[whole["text"][1:3]], seed=1)["choices"][0]["text"] == whole["text"]
        assert len({complete(server, max_tokens=8)["choices"][0]["text"] for _ in range(5)}) > 1


def test_a_server_may_offer_chats_or_completions_only() -> None:
    with ApiServer(ApiConfig(completions=False)) as server:
        assert chat(server).status_code == 200
        assert post(server, "/completions", prompt="a").status_code == 404
    with ApiServer(ApiConfig(chat=False)) as server:
        assert chat(server).status_code == 404
        assert post(server, "/completions", prompt="a").status_code == 200


def test_the_id_of_the_model_and_the_fingerprint_may_be_others_than_before() -> None:
    with ApiServer(ApiConfig(answers_as="tiny-2026-01-01", fingerprints=("fp_a", "fp_b"))) as server:
        bodies = [complete(server, max_tokens=1) for _ in range(3)]
    assert {body["model"] for body in bodies} == {"tiny-2026-01-01"}
    assert [body["system_fingerprint"] for body in bodies] == ["fp_a", "fp_b", "fp_a"]


@pytest.mark.parametrize(
    ("kind", "seen"), [("zero", [0, 0]), ("negative", [-24, -2]), ("strings", ["23", "1"]), ("missing", [None, None])]
)
def test_counts_may_be_wrong_while_the_bill_is_right(kind: Any, seen: list[object]) -> None:
    with ApiServer(ApiConfig(usage=kind, price_in=2, price_out=1000)) as server:
        counts = complete(server, max_tokens=1).get("usage", {})
        assert [counts.get("prompt_tokens"), counts.get("completion_tokens")] == seen
        assert (server.posts[0].prompt_tokens, server.posts[0].new_tokens) == (23, 1)
        assert server.price == pytest.approx((23 * 2 + 1000) / 1e6)


# --- reasoning ------------------------------------------------------------------------------------------


def test_a_thought_stands_apart_or_within_tags_and_is_counted() -> None:
    with ApiServer(ApiConfig(reasoning="field")) as server:
        body = chat(server, max_tokens=200).json()
    message, usage = body["choices"][0]["message"], body["usage"]
    assert message["reasoning_content"] and message["content"]
    thought = usage["completion_tokens_details"]["reasoning_tokens"]
    assert 4 < thought < usage["completion_tokens"]
    with ApiServer(ApiConfig(reasoning="tags")) as server:
        content = chat(server, max_tokens=200).json()["choices"][0]["message"]["content"]
        assert content == f"<think>{message['reasoning_content']}</think>\n{message['content']}"
        short = chat(server, max_tokens=2).json()["choices"][0]
    assert short["finish_reason"] == "length" and "</think>" not in short["message"]["content"]


@pytest.mark.parametrize(
    "switch",
    [{"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}, {"enable_thinking": False}],
)
def test_a_thought_is_switched_off_only_where_the_server_knows_the_switch(switch: dict[str, Any]) -> None:
    (name,) = switch
    for switches, thinks in (((name,), False), ((), True)):
        with ApiServer(ApiConfig(reasoning="field", reasoning_switches=switches)) as server:
            message = chat(server, max_tokens=200, **switch).json()["choices"][0]["message"]
            assert bool(message["reasoning_content"]) == thinks


# --- faults ---------------------------------------------------------------------------------------------


def test_requests_meet_faults_by_number_by_what_they_are_and_by_chance(server: ApiServer) -> None:
    server.inject(injected.rate_limit("7"), at=(2,))
    server.inject(injected.INTERNAL, when=lambda request: request.body.get("max_tokens") == 3, times=1)
    answers = [post(server, "/completions", prompt="a", max_tokens=n) for n in (1, 1, 3, 3)]
    assert [answer.status_code for answer in answers] == [200, 429, 500, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert [request.billed for request in server.posts] == [True, False, False, True]
    server.heal()
    server.inject(injected.UNAVAILABLE, share=0.5, seed=1)
    statuses = [post(server, "/completions", prompt="a", max_tokens=1).status_code for _ in range(40)]
    assert 10 < statuses.count(503) < 30


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (injected.rate_limit(), openai.RateLimitError),
        (injected.NO_QUOTA, openai.RateLimitError),
        (injected.PAYMENT, openai.APIStatusError),
        (injected.INTERNAL, openai.InternalServerError),
        (injected.BAD_GATEWAY, openai.InternalServerError),
        (Fault("drop_before"), openai.APIConnectionError),
        (Fault("drop_within"), openai.APIConnectionError),
        (Fault("wrong_length"), openai.APIConnectionError),
        (Fault("half_json"), ValueError),
        (Fault("short_length"), ValueError),
    ],
)
def test_the_real_client_sees_each_fault(server: ApiServer, fault: Fault, error: type[Exception]) -> None:
    server.inject(fault, at=(1,))
    with pytest.raises(error):
        client(server).completions.create(model="tiny", prompt=PROMPT, temperature=0)
    assert not server.posts[0].answered
    assert client(server).completions.create(model="tiny", prompt=PROMPT, temperature=0).choices
    assert server.posts[1].answered


def test_a_hanging_request_ends_with_the_client_or_the_server(server: ApiServer) -> None:
    server.inject(Fault("hang"))
    with pytest.raises(openai.APITimeoutError):
        client(server).with_options(timeout=0.3).completions.create(model="tiny", prompt="a")
    deadline = time.monotonic() + 5
    while server.in_flight and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.in_flight == 0
    errors: list[Exception] = []

    def ask() -> None:
        try:
            post(server, "/completions", prompt="a")
        except httpx.HTTPError as e:
            errors.append(e)

    thread = threading.Thread(target=ask)
    thread.start()
    while not server.in_flight:
        time.sleep(0.02)
    server.close()
    thread.join(5)
    assert len(errors) == 1


def test_a_redirect_points_to_another_server_that_notes_who_comes(server: ApiServer) -> None:
    with ApiServer() as other:
        server.inject(Fault("redirect", location=other.base_url + "/completions"))
        answer = httpx.post(
            server.base_url + "/completions",
            json={"model": "tiny", "prompt": "a"},
            headers={"Authorization": f"Bearer {KEY}"},
            follow_redirects=True,
        )
        assert answer.status_code == 200
        assert [request.body for request in other.posts] == [{"model": "tiny", "prompt": "a"}]
        assert "authorization" not in other.posts[0].headers
        assert server.posts[0].key == KEY


def test_long_answers_are_as_long_as_they_say(server: ApiServer) -> None:
    server.inject(Fault("million", repeats=100_000), at=(1,))
    server.inject(Fault("gzip_bomb", repeats=injected.PIECE * 100), at=(2,))
    assert len(complete(server)["choices"][0]["text"]) == 100_000
    with httpx.stream("POST", server.base_url + "/completions", json={"model": "tiny", "prompt": "a"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert len(packed) < 10_000 < injected.PIECE * 100 < injected.unpacked_size(packed)


def test_an_answer_without_end_goes_on_until_the_client_leaves(server: ApiServer) -> None:
    server.inject(Fault("endless"))
    got = 0
    with httpx.stream("POST", server.base_url + "/completions", json={"model": "tiny", "prompt": "a"}) as answer:
        for part in answer.iter_raw():
            got += len(part)
            if got > 1_000_000:
                break
    deadline = time.monotonic() + 5
    while server.in_flight and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not server.in_flight and not server.posts[0].written


def test_a_slow_body_comes_byte_by_byte(server: ApiServer) -> None:
    server.inject(Fault("drip", seconds=0.001))
    started = time.monotonic()
    assert complete(server)["choices"]
    assert time.monotonic() - started > 0.2
    assert server.posts[0].written


# --- the record -----------------------------------------------------------------------------------------


def test_requests_in_flight_are_counted_and_a_latency_holds_each() -> None:
    with ApiServer(ApiConfig(latency=0.3, gathers=5)) as server:
        threads = [threading.Thread(target=complete, args=(server,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.most_at_once == 5 and server.in_flight == 0
        assert max(request.at_once for request in server.posts) == 5
        assert all(request.seconds >= 0.3 for request in server.posts)


def test_what_is_paid_twice_is_counted_only_after_a_whole_answer(server: ApiServer) -> None:
    server.inject(Fault("drop_within"), at=(1,))
    for _ in range(3):
        try:
            complete(server)
        except httpx.HTTPError:
            continue
    # The first bill was for an answer that was lost; the third was for one that had arrived.
    assert list(server.bodies.values()) == [3]
    assert server.paid_twice == 1
    assert server.record()["answered"] == 2


def test_the_record_is_printed_at_the_end_of_the_program() -> None:
    command = [sys.executable, "-m", "tests.api_server", "--price-in", "2", "--price-out", "8", "--latency", "0.01"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout
    address = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", address)
    answer = httpx.post(address + "/completions", json={"model": "tiny", "prompt": "含意", "max_tokens": 1})
    assert answer.json()["usage"]["prompt_tokens"] == 2
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=10)
    record = json.loads(told)
    assert (record["requests"], record["answered"], record["prompt_tokens"]) == (1, 1, 2)
    assert record["price"] == pytest.approx((2 * 2 + 8) / 1e6)
