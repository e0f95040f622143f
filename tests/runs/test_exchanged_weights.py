"""A server that gets other weights under the same name: no answer of these is stored as one of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from jglue_app.backends.openai_api import client as client_module
from jglue_app.backends.pool import ModelPool
from jglue_app.cluster.jobs import Answer, Job, Load, Prepare, Records, Reply, SubsetPrompts
from jglue_app.cluster.serving import serve
from jglue_app.errors import ModelError
from jglue_app.runs import server_checks
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import Decoding, ModelSpec, Record
from tests.api_server import ApiServer
from tests.api_server.model import LanguageModel
from tests.served_models import with_endpoints

SPEC = ModelSpec("here:tiny", backend="openai_api")
FEW = {"interfaces": ["completions"], "can": {"prompt_logprobs": False, "top_logprobs": False}}
"""So that a handshake is short."""
ITEMS = 14
PRICE = {"price_in": 1.0, "price_out": 1.0}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def servers() -> Iterator[list[ApiServer]]:
    with ApiServer() as one, ApiServer() as two:
        yield [one, two]


def described(settings: Settings, servers: list[ApiServer], **entry: object) -> Settings:
    urls = [server.base_url for server in servers]
    return with_endpoints(settings, here={"base_url": urls if len(urls) > 1 else urls[0], **FEW, **entry})


def planned(settings: Settings, limit: int, budget: float | None = None) -> Plan:
    decoding = Decoding("generate", max_new_tokens=8)
    return make_plan(settings, SPEC, ["jnli"], data_kind="sample", limit=limit, decoding=decoding, budget=budget)


def restart(server: ApiServer, seed: str) -> None:
    server.down()
    server.model = LanguageModel(seed)
    server.up()


def run(settings: Settings, plan: Plan, server: ApiServer | None = None, at: int = 0) -> list[str]:
    """The notices of a run; a server gets other weights at a record, with its connections open."""
    said, count = [], 0
    with ModelPool(settings) as pool:
        for event in run_plan(plan, pool, settings.runs_dir):
            count += event.record is not None
            if server is not None and event.record is not None and count == at:
                server.model = LanguageModel("other weights")
            said += [str(event.message)] if event.kind == "notice" else []
    return said


def records(settings: Settings, plan: Plan) -> list[Record]:
    return RunStore.of(settings.runs_dir, plan.spec).records()


def texts(settings: Settings, plan: Plan) -> dict[str, str]:
    return {r.item_id: r.output.text or "" for r in records(settings, plan) if r.output is not None}


@pytest.fixture(scope="module")
def expected(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Item → what the model answers, as a server of its own gives it to a run of its own."""
    folder = tmp_path_factory.mktemp("expected")
    elsewhere = replace(shared_settings, runs_dir=folder / "runs", cache_dir=folder / "cache")
    with ApiServer() as server:
        elsewhere = described(elsewhere, [server])
        plan = planned(elsewhere, ITEMS)
        run(elsewhere, plan)
        return texts(elsewhere, plan)


@pytest.mark.parametrize("count", [1, 2])
def test_a_server_that_was_restarted_a_moment_ago_adds_nothing_to_a_run(
    settings: Settings, servers: list[ApiServer], expected: dict[str, str], count: int
) -> None:
    settings = described(settings, servers[:count])
    first = planned(settings, 6)
    run(settings, first)
    restart(servers[count - 1], "other weights")
    if count == 1:
        second = planned(settings, ITEMS)
        assert second.spec.spec_id != first.spec.spec_id, "another model makes another run"
    else:
        with pytest.raises(ModelError, match="answers otherwise than its pool"):
            planned(settings, ITEMS)
    assert texts(settings, first).items() <= expected.items()


def test_a_server_that_is_restarted_after_the_plan_answers_no_item(
    settings: Settings, servers: list[ApiServer]
) -> None:
    settings = described(settings, servers)
    plan = planned(settings, 6)
    restart(servers[1], "other weights")
    with pytest.raises(ModelError, match="otherwise than"):
        run(settings, plan)
    assert not RunStore.of(settings.runs_dir, plan.spec).exists()


def test_answers_since_one_server_was_last_asked_are_errors_once_it_has_other_weights(
    settings: Settings, servers: list[ApiServer], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_checks, "MAX_ITEMS", 4)  # The first chunk has so many.
    settings = described(settings, servers[:1], **PRICE)
    plan = planned(settings, ITEMS, budget=100.0)
    with pytest.raises(ModelError, match=r"answers known questions otherwise than before .* 10 answers since"):
        run(settings, plan, servers[0], at=8)
    found = records(settings, plan)
    assert len(found) == ITEMS and texts(settings, plan).items() <= expected.items()
    assert [r.error.kind for r in found if r.error is not None] == ["other_model"] * (ITEMS - 4)
    restart(servers[0], "")
    again = planned(settings, ITEMS, budget=100.0)
    assert again.spec.spec_id == plan.spec.spec_id
    run(settings, again)
    assert texts(settings, again) == expected, "no answer that was paid for is taken from the other weights"


def test_answers_of_one_server_of_a_pool_are_errors_and_those_of_the_other_stay(
    settings: Settings, servers: list[ApiServer], expected: dict[str, str]
) -> None:
    settings = described(settings, servers, requests_at_once=2)
    plan = planned(settings, ITEMS)
    said = run(settings, plan, servers[1], at=4)
    assert any(servers[1].base_url in text and "are stored as errors" in text for text in said)
    kept = texts(settings, plan)
    assert 0 < len(kept) < ITEMS and kept.items() <= expected.items()
    restart(servers[1], "")
    run(settings, planned(settings, ITEMS))
    assert texts(settings, plan) == expected


def test_a_reader_that_leaves_early_keeps_no_answer_of_other_weights(
    settings: Settings, servers: list[ApiServer], expected: dict[str, str]
) -> None:
    settings = described(settings, servers[:1])
    plan = planned(settings, ITEMS)
    with ModelPool(settings) as pool:
        events = run_plan(plan, pool, settings.runs_dir)
        next(event for event in events if event.record is not None)
        servers[0].model = LanguageModel("other weights")
        for _ in range(6):
            next(events)
        events.close()  # type: ignore[attr-defined]
    assert records(settings, plan) and texts(settings, plan).items() <= expected.items()


def test_a_worker_of_a_cluster_gives_back_errors_for_a_batch_in_which_weights_were_exchanged(
    settings: Settings, servers: list[ApiServer]
) -> None:
    settings = described(settings, servers[:1])
    plan, models = planned(settings, 6), dict[str, Any]()

    def given(job: Job) -> list[Reply]:
        return list(serve(models, job, lambda: False))

    given(Load(plan.spec.model, settings, own_folders=False, device="cpu", needs_template=False))
    (prepared,) = given(Prepare.of(plan, "jnli", tuple(plan.items["jnli"])))
    assert isinstance(prepared, SubsetPrompts)
    kinds = []
    for _ in range(2):
        replies = given(Answer(plan.spec, "jnli", prepared.prompts, prepared.limits))
        found = [record for reply in replies if isinstance(reply, Records) for record in reply.records]
        kinds.append([record.error.kind if record.error else "" for record in found])
        servers[0].model = LanguageModel("other weights")
    models["pool"].clear()
    assert kinds == [[""] * 6, ["other_model"] * 6]
