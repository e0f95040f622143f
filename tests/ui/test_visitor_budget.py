"""Visitors of a public server and the operator's endpoints: real jobs, a real server that bills, and the shares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.messages import say
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.ui.jobs import Job, Jobs
from jglue_app.ui.ledger import Ledger, Limits, today
from jglue_app.ui.progress import progress_html
from jglue_app.ui.visitor_budget import FILE
from tests.api_server import ApiConfig, ApiServer

MODEL = "here:tiny"
PRICES = {"price_in": 1_000.0, "price_out": 3_000.0, "currency": '"USD"'}
"""A tenth of a cent a token in, three tenths out."""


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(ApiConfig(price_in=1_000.0, price_out=3_000.0)) as server:
        yield server


@pytest.fixture
def pool(settings: Settings) -> Iterator[list[ModelPool]]:
    opened: list[ModelPool] = []
    yield opened
    for pool in opened:
        pool.clear()


def public(settings: Settings, server: ApiServer, visitors: str, **entry: object) -> Settings:
    """A public server that lists the model for visitors."""
    path = Path(settings.cache_dir).parent / "endpoints.toml"
    lines = [f"{name} = {value}" for name, value in entry.items()]
    text = [
        "[here]",
        f'base_url = "{server.base_url}"',
        "models = { tiny = {} }",
        f"visitors = {{ {visitors} }}",
        *lines,
    ]
    path.write_text("\n".join(text) + "\n", "utf-8")
    return replace(settings, endpoints_file=path, public=True, max_items=50)


def jobs_of(settings: Settings, pool: list[ModelPool]) -> Jobs:
    pool.append(ModelPool(settings, device="cpu"))
    return Jobs(settings, pool[-1])


def finished(jobs: Jobs, visitor: str, limit: int, *, budget: float | None = None, format: str = "plain") -> Job:
    request = RunRequest(("jnli",), "sample", limit, "generate", Side(MODEL, format=format), budget=budget)
    job = jobs.start_runs(visitor, "compare", request)
    assert job.ended.wait(60)
    return job


def cost(settings: Settings, job: Job) -> float:
    """What the manifest says that a job's run has cost."""
    manifest = RunStore(settings.runs_dir / job.runs["a"].run).manifest()
    return float(manifest["cost"]["price"])


def used(settings: Settings, visitor: str = "") -> float:
    ledger = Ledger(settings.runs_dir / FILE)
    account = ledger.account("here", visitor, Limits(), today())
    return (account.used if visitor else account.used_by_all).cost


def test_a_visitor_needs_no_budget_of_its_own_and_is_charged_what_the_server_bills(
    settings: Settings, server: ApiServer, pool: list[ModelPool]
) -> None:
    settings = public(settings, server, "budget = 1000.0, budget_per_day = 2000.0", **PRICES)
    jobs = jobs_of(settings, pool)
    job = finished(jobs, "ann", 3)
    assert job.state == "done", job.failure
    # Of items, whose prompts have an instruction: known questions are of no budget.
    billed = [r for r in server.posts if r.billed and "前提" in json.dumps(r.body, ensure_ascii=False)]
    assert len(billed) == 3
    price = sum(r.prompt_tokens * 0.001 + r.new_tokens * 0.003 for r in billed)
    assert cost(settings, job) == pytest.approx(price, rel=1e-9)
    assert used(settings, "ann") == used(settings) == pytest.approx(price, rel=1e-6)
    assert used(settings, "bob") == 0


def test_a_share_that_is_used_up_ends_the_run_and_refuses_the_next_job(
    settings: Settings, server: ApiServer, pool: list[ModelPool]
) -> None:
    settings = public(settings, server, "budget = 0.75, budget_per_day = 100.0", **PRICES)
    jobs = jobs_of(settings, pool)
    job = finished(jobs, "ann", 40)
    assert job.state == "out_of_budget"
    answered = len(RunStore(settings.runs_dir / job.runs["a"].run).finished())
    assert 0 < answered < 40 and 0 < used(settings, "ann") <= 0.75
    (notice,) = [n for n in job.notices if "visitors" in n]
    assert f"{40 - answered} items" in notice and "訪問者" in say(notice, "ja")
    assert "予算を超える前に止めました" in progress_html(job, "ja")

    other = finished(jobs, "bob", 2, format="alpaca")
    assert other.state == "done", "another visitor has another share"


def test_a_new_cookie_is_no_new_money_once_the_day_is_used_up(
    settings: Settings, server: ApiServer, pool: list[ModelPool]
) -> None:
    settings = public(settings, server, "budget = 0.5, budget_per_day = 0.5", **PRICES)
    # As if others had used all of it, and Ann half of hers.
    ledger = Ledger(settings.runs_dir / FILE)
    assert ledger.account("here", "somebody", Limits()).reserve(0.5)
    ledger.close()
    before = len(server.posts)
    job = finished(jobs_of(settings, pool), "new cookie", 2)
    assert job.state == "failed" and job.failure is not None
    assert "All visitors together have used up" in job.failure.message and "$0.50" in job.failure.message
    assert "0:00" in say(job.failure.message, "ja")
    handshake = [request for request in server.posts[before:] if "jnli" in json.dumps(request.body, default=str)]
    assert handshake == []


def test_a_visitor_whose_share_is_used_up_is_told_so(
    settings: Settings, server: ApiServer, pool: list[ModelPool]
) -> None:
    settings = public(settings, server, "budget = 0.5, budget_per_day = 5.0", **PRICES)
    ledger = Ledger(settings.runs_dir / FILE)
    assert ledger.account("here", "ann", Limits()).reserve(0.5)
    ledger.close()
    job = finished(jobs_of(settings, pool), "ann", 2)
    assert job.failure is not None
    assert "You have used up your share of here:tiny for today ($0.50)" in job.failure.message
    assert "利用枠" in say(job.failure.message, "ja")


def test_the_visitor_may_lower_it(settings: Settings, server: ApiServer, pool: list[ModelPool]) -> None:
    settings = public(settings, server, "budget = 1000.0, budget_per_day = 2000.0", **PRICES)
    job = finished(jobs_of(settings, pool), "ann", 40, budget=0.5)
    assert job.state == "out_of_budget" and 0 < cost(settings, job) <= 0.5
    assert any("the budget of $0.50" in notice for notice in job.notices)


def test_a_free_endpoint_is_limited_in_tokens(settings: Settings, server: ApiServer, pool: list[ModelPool]) -> None:
    settings = public(settings, server, "tokens = 1000, tokens_per_day = 1500")
    job = finished(jobs_of(settings, pool), "ann", 40)
    assert job.state == "out_of_budget"
    account = Ledger(settings.runs_dir / FILE).account("here", "ann", Limits(), today())
    assert 0 < account.used.tokens <= 1000
    assert "cost" not in RunStore(settings.runs_dir / job.runs["a"].run).manifest()


def test_a_private_server_charges_nobody(settings: Settings, server: ApiServer, pool: list[ModelPool]) -> None:
    private = replace(public(settings, server, "budget = 0.1, budget_per_day = 0.1", **PRICES), public=False)
    job = finished(jobs_of(private, pool), "ann", 2)
    assert job.failure is not None and "no budget is set" in job.failure.message
    assert finished(jobs_of(private, pool), "ann", 2, budget=50.0).state == "done"
    assert not (private.runs_dir / FILE).exists()
