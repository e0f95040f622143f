"""Several servers of one model behind one name: real ones that are slow, limit, die, come back, or are of another."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from jglue_app.backends import open_backend
from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.endpoints import served_model
from jglue_app.backends.openai_api import client as client_module
from jglue_app.backends.openai_api import failures, pool_handshake, pool_member, server_pool
from jglue_app.backends.openai_api.backend import OpenAIBackend, identity
from jglue_app.backends.openai_api.known_answers import KnownAnswers, differences
from jglue_app.backends.spending import Spending
from jglue_app.errors import ModelError, NetworkError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Output, Prompt
from tests.api_server import ApiConfig, ApiServer
from tests.api_server import faults as injected
from tests.api_server.model import BOS, LanguageModel
from tests.backends.contract import Results, collect, make_prompt, never, output
from tests.served_models import with_endpoints

SPEC = ModelSpec("here:tiny", backend="openai_api")
Connect = Callable[..., OpenAIBackend]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(pool_member, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(pool_member, "MAX_PAUSE_S", 0.1)
    monkeypatch.setattr(server_pool, "NONE_LEFT_S", 0.3)


@pytest.fixture(scope="module")
def shared_servers() -> Iterator[list[ApiServer]]:
    """Three of one model, for all tests, so that there is one handshake of each."""
    with ApiServer() as one, ApiServer() as two, ApiServer() as three:
        yield [one, two, three]


@pytest.fixture(scope="module")
def folder(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of this file."""
    return replace(shared_settings, cache_dir=tmp_path_factory.mktemp("pool") / "cache")


@pytest.fixture
def servers(shared_servers: list[ApiServer]) -> Iterator[list[ApiServer]]:
    """Three servers without faults, two of which are used mostly."""
    yield shared_servers
    for server in shared_servers:
        server.heal()
        server.down()
        server.config, server.model = ApiConfig(), LanguageModel()
        server.up()


def pool_of(folder: Settings, servers: list[ApiServer], **entry: object) -> Settings:
    """The settings with an endpoint `here`, which is these servers."""
    return with_endpoints(folder, here={"base_url": [server.base_url for server in servers], **entry})


@pytest.fixture
def connect(folder: Settings) -> Iterator[Connect]:
    """`connect(servers, **entry)`: the model `tiny` on them, closed at the end."""
    backends: list[OpenAIBackend] = []

    def made(servers: list[ApiServer], **entry: object) -> OpenAIBackend:
        settings = pool_of(folder, servers, **entry)
        identity(SPEC, settings, verify=True)
        backend = open_backend(SPEC, settings)
        assert isinstance(backend, OpenAIBackend)
        backends.append(backend)
        for server in servers:
            server.requests.clear()
        return backend

    yield made
    for backend in backends:
        backend.close()


def prompts(count: int) -> list[Prompt]:
    return [make_prompt(f"問{i}番：", item_id=str(i)) for i in range(count)]


def check_all(results: Results, count: int) -> None:
    """Every item has the text of the model, once."""
    model = LanguageModel()
    assert sorted(results) == list(range(count))
    for i, prompt in enumerate(prompts(count)):
        assert output(results[i]).text == model.generate([BOS, *model.encode(prompt.text)], 4).text


@contextmanager
def at_answer(backend: OpenAIBackend, count: int, number: int, act: Callable[[], object]) -> Iterator[Results]:
    """Generate, and do something once so many answers are there; the results."""
    results: Results = {}
    for i, result in backend.generate(prompts(count), 4, never):
        assert i not in results, "an item has one result"
        results[i] = result
        if len(results) == number:
            act()
    yield results


def go_on(backend: OpenAIBackend, until: Callable[[], bool]) -> None:
    """Ask more, and look at the answers, until something is so."""
    end = time.monotonic() + 20
    while not until() and time.monotonic() < end:
        check_all(collect(backend.generate(prompts(12), 4, never)), 12)


# --- identity -------------------------------------------------------------------------------------------


def test_a_run_is_the_same_with_more_servers_and_in_any_order(folder: Settings, servers: list[ApiServer]) -> None:
    one, two, three = servers
    seen = [identity(SPEC, pool_of(folder, some)) for some in ([one, two], [two, one], [three, one, two], [two])]
    assert all(facts == seen[0] for facts in seen)
    assert not any(server.url in str(seen[0]) for server in servers)
    alone = identity(SPEC, with_endpoints(folder, here={"base_url": one.base_url}))
    assert alone["server"] == one.base_url, "an address that stands alone is part of the identity, as before"
    assert {k: v for k, v in alone.items() if k != "server"} == {k: v for k, v in seen[0].items() if k != "server"}


def test_a_server_with_other_weights_is_refused_by_its_address(folder: Settings, servers: list[ApiServer]) -> None:
    with ApiServer(seed="other weights") as other:
        with pytest.raises(ModelError, match="answers otherwise than its pool") as caught:
            identity(SPEC, pool_of(folder, [other, *servers]), verify=True)
        assert other.base_url in str(caught.value) and servers[0].base_url not in str(caught.value)
        assert "completions: answer" in str(caught.value)
    hidden = replace(served_by(pool_of(folder, servers)).endpoint, hidden=True)
    shown = [hidden.address, *(part for server in hidden.servers for part in (server.id, server.address))]
    assert not any("127.0.0.1" in text for text in shown), "visitors are not shown where servers are"


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ((-1.0, -2.0, -3.0), True),
        ((-1.05, -2.1, -2.9), True),
        ((-1.25, -2.0, -3.0), True),
        ((-1.3, -2.3, -3.0), False),
        ((-1.0, -2.0, -3.7), False),
        ((-1.0, -2.0), False),
    ],
)
def test_log_probabilities_tell_rounding_from_other_weights(values: tuple[float, ...], same: bool) -> None:
    def known(numbers: tuple[float, ...]) -> KnownAnswers:
        table = {str(place): value for place, value in enumerate(numbers)}
        return KnownAnswers(("tiny",), (), {}, {"log-probabilities of a prompt": table}, 4096)

    differ = differences(known((-1.0, -2.0, -3.0)), known(values))
    assert differ == ([] if same else ["log-probabilities of a prompt"])


# --- spreading ------------------------------------------------------------------------------------------


def test_requests_spread_over_all_servers_and_a_slow_one_gets_fewer(servers: list[ApiServer], connect: Connect) -> None:
    backend = connect(servers)
    for server, latency in zip(servers, (0.03, 0.03, 0.3), strict=True):
        server.config = replace(server.config, latency=latency)
    check_all(collect(backend.generate(prompts(48), 4, never)), 48)
    counts = [len(server.posts) for server in servers]
    assert sum(counts) == 48 and max(server.most_at_once for server in servers) <= 4
    assert counts[2] <= 12 < min(counts[:2])


def test_a_server_that_limits_its_rate_gets_fewer_and_nothing_waits_for_it(
    servers: list[ApiServer], connect: Connect
) -> None:
    backend = connect(servers[:2])
    servers[1].inject(injected.rate_limit("30"))
    start = time.monotonic()
    check_all(collect(backend.generate(prompts(24), 4, never)), 24)
    assert time.monotonic() - start < 10 and len(servers[1].posts) <= 4


def test_all_choices_of_an_item_are_ranked_by_one_server(servers: list[ApiServer], connect: Connect) -> None:
    backend = connect(servers)
    results = collect(backend.choose(prompts(12), never))
    used = [output(results[i]).servers for i in range(12)]
    assert all(len(addresses) == 1 for addresses in used)
    assert {address for (address,) in used} == {server.base_url for server in servers}
    for server in servers:
        asked = {str(r.body["prompt"]).partition("番")[0] for r in server.posts}
        assert len(asked) == sum(used[i] == (server.base_url,) for i in range(12))


# --- death ----------------------------------------------------------------------------------------------


def test_what_was_sent_to_a_dying_server_is_answered_by_another_and_it_comes_back(
    servers: list[ApiServer], connect: Connect
) -> None:
    one, two = servers[:2]
    backend = connect([one, two])
    for server in (one, two):
        server.config = replace(server.config, latency=0.02)

    with at_answer(backend, 60, 20, one.down) as results:
        check_all(results, 60)
    check_all(collect(backend.generate(prompts(12), 4, never)), 12)
    one.requests.clear()
    one.up()
    go_on(backend, lambda: any("番：" in str(request.body) for request in one.posts))
    work = ["番：" in str(request.body) for request in one.posts]
    assert any(work) and not any(work[:4]), "known questions first, then work"
    assert backend.info.left_out == ()


def test_a_server_that_comes_back_with_other_weights_gets_no_work(servers: list[ApiServer], connect: Connect) -> None:
    one, two = servers[:2]
    backend = connect([one, two])
    for server in (one, two):
        server.config = replace(server.config, latency=0.05)

    with at_answer(backend, 60, 20, one.down) as results:
        check_all(results, 60)
    check_all(collect(backend.generate(prompts(12), 4, never)), 12)
    one.model = LanguageModel("other weights")
    one.up()
    go_on(backend, lambda: bool(backend.info.left_out))
    assert len(backend.info.left_out) == 1
    assert backend.info.left_out[0].startswith(one.base_url) and "otherwise than its pool" in backend.info.left_out[0]


@pytest.mark.parametrize("change", ["answers_as", "fingerprints"])
def test_a_server_that_was_replaced_unnoticed_gives_no_answer(
    servers: list[ApiServer], connect: Connect, change: str
) -> None:
    one, two = servers[:2]
    backend = connect([one, two])
    results = collect(backend.generate(prompts(6), 4, never))
    two.config = replace(two.config, latency=0.05)
    one.model = LanguageModel("other weights")
    changed = replace(one.config, answers_as="another"), replace(one.config, fingerprints=("b2",))
    one.config = changed[change == "fingerprints"]
    check_all(results | {i + 6: r for i, r in backend.generate(prompts(40)[6:], 4, never)}, 40)
    go_on(backend, lambda: bool(backend.info.left_out))
    assert one.base_url in str(backend.info.left_out)


def test_a_sentence_about_one_server_has_its_address_once(folder: Settings) -> None:
    urls = ["http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"]
    here = with_endpoints(folder, here={"base_url": urls}, one={"base_url": urls[0]})
    pool, alone = served_model("here:tiny", here).endpoint, served_model("one:tiny", here).endpoint
    for endpoint, name, address in (
        (pool, "here", ", ".join(urls)),
        (pool.servers[1], "here", urls[1]),
        (alone, "one", urls[0]),
        (replace(pool, hidden=True).servers[1], "here", replace(pool, hidden=True).servers[1].address),
    ):
        for failure in (
            failures.unreachable(endpoint, ConnectionError()),
            failures.not_json(endpoint, "text/html"),
            failures.of_status(endpoint, 404, {}, {}, "tiny", ""),
        ):
            assert f"The endpoint {name} at {address} " in failure.message
            assert failure.message.count(address) == 1


def test_no_server_answers_is_the_sentence_of_one_with_all_addresses(
    folder: Settings, servers: list[ApiServer], connect: Connect
) -> None:
    one, two = servers[:2]
    backend = connect([one, two])
    one.down()
    two.down()
    with pytest.raises(NetworkError, match="failed at 6 items in a row") as caught:
        collect(backend.generate(prompts(20), 4, never))
    assert f"{one.base_url}, {two.base_url} cannot be reached" in str(caught.value)
    with pytest.raises(NetworkError, match="cannot be reached"):
        identity(SPEC, pool_of(replace(folder, cache_dir=folder.cache_dir / "empty"), [one, two]))


def test_a_dead_server_at_the_start_is_told_and_a_stop_ends_soon(
    folder: Settings, servers: list[ApiServer], connect: Connect
) -> None:
    one, two = servers[:2]
    two.down()
    settings, told = pool_of(folder, [one, two]), list[str]()
    pool_handshake.forget_reference(served_by(settings), settings)
    identity(SPEC, settings, told.append, verify=True)
    assert any(two.base_url in text and "go on without it" in text for text in told)
    backend = connect([one, two])
    one.inject(injected.Fault("hang"))
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    start = time.monotonic()
    assert collect(backend.generate(prompts(20), 4, stop.is_set)) == {}
    assert time.monotonic() - start < 5


def served_by(settings: Settings) -> ServedModel:
    """The model `tiny` of an endpoint."""
    return served_model("here:tiny", settings)


def test_a_request_that_no_server_took_is_not_paid_and_a_lost_one_once_more(
    servers: list[ApiServer], connect: Connect
) -> None:
    one, two = servers[:2]
    backend = connect([one, two], price_in=1000.0, price_out=1000.0)
    for server in (one, two):
        server.config = replace(server.config, price_in=1000.0, price_out=1000.0)
    backend.spending = spending = Spending(1e6)
    one.inject(injected.INTERNAL)
    results = collect(backend.generate(prompts(10), 4, never))
    check_all(results, 10)
    outputs = [result for result in results.values() if isinstance(result, Output)]
    assert sum(o.usage.requests for o in outputs if o.usage) == 10
    assert spending.spent == pytest.approx(two.price)
    assert one.price == 0.0 and one.paid_twice == two.paid_twice == 0
    two.requests.clear()
    assert {i: output(r).text for i, r in backend.generate(prompts(10), 4, never)} == {
        i: output(r).text for i, r in results.items()
    }
    assert not two.posts and not one.posts[10:], "paid answers are kept, whichever server gave them"


@pytest.mark.harness
def test_servers_that_die_and_come_back_under_load_lose_and_double_nothing(
    servers: list[ApiServer], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_pool, "NONE_LEFT_S", 20.0)
    backend = connect(servers, timeout=5.0)
    for server in servers:
        server.config = replace(server.config, latency=0.06)
    deaths, ended, rng = 0, threading.Event(), random.Random(23)

    def kill() -> None:
        nonlocal deaths
        while not ended.wait(rng.uniform(0.02, 0.1)):
            server = rng.choice(servers)
            server.down()
            deaths += 1
            ended.wait(0.1)  # So that a request meets it: no server starts in less.
            if rng.random() < 0.4:  # Another model for a while, under the same name.
                server.model = LanguageModel("other weights")
                server.up()
                ended.wait(rng.uniform(0.05, 0.2))
                server.down()
                server.model = LanguageModel()
            ended.wait(rng.uniform(0.02, 0.1))
            server.up()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with at_answer(backend, 900, 1, lambda: None) as results:
            check_all(results, 900)
    finally:
        ended.set()
        killer.join()
    print(f"{deaths} deaths")
    assert deaths >= 20
