"""Embeddings of a server over real HTTP."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jglue_app import api
from jglue_app.backends.embedding import with_source
from jglue_app.backends.openai_api import pool_member
from jglue_app.cli import app
from jglue_app.errors import InputError, JglueAppError, ModelError, StoreError
from jglue_app.money import money_text
from jglue_app.runs.embedding import make_embedding_plan, run_embedding
from jglue_app.runs.plan import Plan
from jglue_app.runs.store import RunStore
from jglue_app.scoring.report import report_run
from jglue_app.settings import Settings, load_settings
from jglue_app.types import ModelSpec
from tests.api_server import ApiConfig, ApiServer
from tests.api_server.answers import embedding
from tests.api_server.faults import UNAVAILABLE
from tests.api_server.model import BOS, LanguageModel


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def described(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with the server as endpoint `own`."""
    file = tmp_path / "endpoints.toml"
    file.write_text(
        f'[own]\nbase_url = "{server.base_url}"\n\n[not]\nbase_url = "{server.base_url}"\n'
        "can = { embeddings = false }\n",
        "utf-8",
    )
    monkeypatch.setenv("JGLUE_ENDPOINTS", str(file))
    return load_settings()


def plan_of(settings: Settings, *, model: str = "own:tiny", limit: int | None = 40, prefix: str = "文：") -> Plan:
    spec = with_source(ModelSpec(model), None, settings)
    return make_embedding_plan(settings, spec, data_kind="sample", limit=limit, prefix=prefix)


def sent(server: ApiServer) -> list[str]:
    return [text for r in server.requests if r.path.endswith("/embeddings") for text in r.body["input"]]


def test_cosines_are_those_of_the_servers_vectors(server: ApiServer, described: Settings) -> None:
    run = api.embed("own:tiny", data="sample", limit=40, prefix="文：")
    data, model = run.data(), LanguageModel()
    assert data.spec.model.backend == "openai_api"
    assert data.spec.label == 'own:tiny · embeddings of a server · prefix "文："'
    for record in data.records:
        item = data.items["jsts"][record.item_id]
        one, two = (embedding(model, [BOS, *model.encode("文：" + item.fields[f"sentence{k}"])]) for k in (1, 2))
        assert record.output is not None
        assert float(record.output.text or "") == pytest.approx(sum(x * y for x, y in zip(one, two, strict=True)))
    assert len(data.records) == 40
    assert data.model is not None
    assert data.model.device == server.base_url


def test_no_text_is_sent_twice_by_a_run_that_goes_on(server: ApiServer, described: Settings) -> None:
    plan = plan_of(described)
    stop = threading.Event()
    for event in run_embedding(plan, described, should_stop=stop.is_set):
        if event.done == 32:
            stop.set()
    before = sent(server)
    for _ in run_embedding(plan, described):
        pass
    after = sent(server)[len(before) :]
    items = {item.id: item for item in plan.items["jsts"]}
    records = RunStore.of(described.runs_dir, plan.spec).records()
    assert len(records) == len({r.item_id for r in records}) == 40
    # One stored item is embedded again, to see whether the model is still the same.
    again = ["文：" + items[records[0].item_id].fields[f"sentence{k}"] for k in (1, 2)]
    assert after[:2] == again
    assert not set(after[2:]) & set(before)
    assert len(after[2:]) == 2 * 8


def test_a_model_that_changed_under_its_name_is_noticed(
    server: ApiServer, described: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in run_embedding(plan_of(described, limit=5), described):
        pass
    monkeypatch.setattr(
        "tests.api_server.answers.embedding", lambda model, ids: [float(len(ids)), *map(float, range(15))]
    )
    with pytest.raises(StoreError, match="gives other vectors"):
        list(run_embedding(plan_of(described, limit=10), described))


def test_another_address_or_prefix_is_another_run(described: Settings) -> None:
    plan = plan_of(described)
    assert plan.files["model"] == "tiny"
    assert plan.files["dimensions"] == "16"
    assert plan_of(described, prefix="").spec.spec_id != plan.spec.spec_id
    assert plan_of(described).spec.spec_id == plan.spec.spec_id


def test_what_a_server_cannot_do_is_a_sentence(described: Settings) -> None:
    with pytest.raises(InputError, match="gives no embeddings"):
        plan_of(described, model="not:tiny")
    with pytest.raises(JglueAppError, match="own"):
        plan_of(described, model="own:absent")
    with pytest.raises(InputError, match="endpoint"):
        plan_of(described, model="unknown:tiny")
    with pytest.raises(InputError, match="public server"):
        plan_of(replace(described, public=True))


def test_a_server_without_embeddings_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiServer(ApiConfig(embeddings=False)) as server:
        file = tmp_path / "endpoints.toml"
        file.write_text(f'[own]\nbase_url = "{server.base_url}"\n', "utf-8")
        monkeypatch.setenv("JGLUE_ENDPOINTS", str(file))
        settings = load_settings()
        with pytest.raises(JglueAppError):
            api.embed("own:tiny", data="sample", limit=3)
        assert not settings.runs_dir.exists() or not list(settings.runs_dir.iterdir())


def test_paid_vectors_need_a_budget_and_say_what_they_cost(server: ApiServer, described: Settings) -> None:
    path = described.endpoints_file
    assert path is not None
    path.write_text(
        f'[own]\nbase_url = "{server.base_url}"\nprice_in = 1000.0\nprice_out = 0.0\ncurrency = "USD"\n', "utf-8"
    )
    plan = plan_of(described, limit=10)
    probes = len(sent(server))
    texts = ["文：" + i.fields[f"sentence{k}"] for i in plan.items["jsts"] for k in (1, 2)]
    most = sum(len(text.encode()) + 2 for text in texts) * 0.001
    with pytest.raises(InputError, match="no budget is set") as refused:
        list(run_embedding(plan, described))
    assert f"about {sum(map(len, texts))} tokens in" in str(refused.value) and money_text(most, "USD", up=True) in str(
        refused.value
    )
    with pytest.raises(InputError, match=r"the budget of \$0\.01 may not be enough"):
        list(run_embedding(replace(plan, budget=0.01), described))
    assert len(sent(server)) == probes
    assert list(run_embedding(replace(plan, budget=most), described))[-1].kind == "done"
    requests = [r for r in server.requests if r.path.endswith("/embeddings") and len(r.body["input"]) > 1]
    tokens = sum(request.prompt_tokens for request in requests)
    store = RunStore.of(described.runs_dir, plan.spec)
    cost = store.manifest()["cost"]
    assert cost["prompt_tokens"] == tokens and cost["price"] == pytest.approx(tokens * 0.001, rel=1e-12)
    assert cost["price"] <= most and cost["estimated"]
    report = report_run(store.data())
    assert report.paid is not None and report.paid.price == cost["price"]
    assert list(run_embedding(plan, described))[-1].kind == "done", "what is stored needs no budget"


def test_the_command_asks_for_a_yes_where_vectors_are_paid(server: ApiServer, described: Settings) -> None:
    path = described.endpoints_file
    assert path is not None
    path.write_text(f'[own]\nbase_url = "{server.base_url}"\nprice_in = 1000.0\nprice_out = 0.0\n', "utf-8")
    words = ["embed", "--model", "own:tiny", "--data", "sample", "--limit", "3", "--prefix", "文："]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, InputError) and "no budget is set" in str(refused.exception)
    none = CliRunner().invoke(app, [*words, "--budget", "0"])
    assert str(none.exception) == str(refused.exception)
    for budget, sentence in ((0, "no budget is set"), (math.inf, "finite")):
        with pytest.raises(InputError, match=sentence):
            api.embed("own:tiny", data="sample", limit=3, prefix="文：", budget=budget)
    told = CliRunner().invoke(app, [*words, "--yes"])
    assert told.exit_code == 0 and "cost: $" in told.stdout and "up to about $" in told.stderr


def test_vectors_come_from_all_servers_of_a_pool_that_give_the_same(
    server: ApiServer, described: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_member, "FIRST_PAUSE_S", 0.05)
    path = described.endpoints_file
    assert path is not None
    with ApiServer() as two, ApiServer(ApiConfig(adds_bos=False)) as other:
        path.write_text(f'[own]\nbase_url = ["{server.base_url}"]\n', "utf-8")
        alone = plan_of(described, limit=48)
        path.write_text(f'[own]\nbase_url = ["{two.base_url}", "{server.base_url}"]\n', "utf-8")
        plan = plan_of(described, limit=48)
        assert plan.spec.spec_id == alone.spec.spec_id, "one more server is no other run"
        two.inject(UNAVAILABLE, when=lambda request: len(request.body["input"]) > 1, times=1)
        assert list(run_embedding(plan, described))[-1].kind == "done"
        store, model = RunStore.of(described.runs_dir, plan.spec), LanguageModel()
        items = {item.id: item for item in plan.items["jsts"]}
        for record in store.records():
            one, other_one = (
                embedding(model, [BOS, *model.encode("文：" + items[record.item_id].fields[f"sentence{k}"])])
                for k in (1, 2)
            )
            assert record.output is not None
            cosine = sum(x * y for x, y in zip(one, other_one, strict=True))
            assert float(record.output.text or "") == pytest.approx(cosine)
        counts = store.manifest()["records"]["servers"]
        assert set(counts) == {two.base_url, server.base_url} and sum(counts.values()) >= 48
        path.write_text(f'[own]\nbase_url = ["{two.base_url}", "{other.base_url}"]\n', "utf-8")
        with pytest.raises(ModelError, match="gives another vector") as caught:
            plan_of(described)
        assert other.base_url in str(caught.value)
