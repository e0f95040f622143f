"""What a server really bills: never more than the budget, all of it in the manifest, and nothing twice after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import Decoding, ModelSpec
from tests.api_server import ApiConfig, ApiServer
from tests.api_server.record import Request

ROOT = Path(__file__).resolve().parents[2]
MODEL = ModelSpec("here:tiny", "openai_api")
AT_ONCE = 4
"""Requests in flight of the run that is killed."""


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(ApiConfig(price_in=1_000.0, price_out=3_000.0)) as server:
        yield server


def endpoint(settings: Settings, server: ApiServer, **entry: object) -> Settings:
    path = Path(settings.cache_dir).parent / "endpoints.toml"
    entry = {"price_in": 1_000.0, "price_out": 3_000.0, **entry}
    lines = ["[here]", f'base_url = "{server.base_url}"', *(f"{name} = {value}" for name, value in entry.items())]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return replace(settings, endpoints_file=path)


def planned(settings: Settings, budget: float, method: str = "generate", limit: int = 20) -> Plan:
    decoding = Decoding(method, max_new_tokens=8)
    return make_plan(settings, MODEL, ["jnli"], data_kind="sample", limit=limit, decoding=decoding, budget=budget)


def run(settings: Settings, plan: Plan) -> list[Event]:
    with ModelPool(settings) as pool:
        return list(run_plan(plan, pool, settings.runs_dir))


def cost(settings: Settings, plan: Plan) -> dict[str, Any]:
    manifest = RunStore.of(settings.runs_dir, plan.spec).manifest()
    found: dict[str, Any] = manifest["cost"]
    return found


@pytest.mark.parametrize(("at_once", "method", "limit"), [(1, "generate", 20), (16, "generate", 20), (4, "both", 3)])
def test_the_bill_is_within_the_budget_and_in_the_manifest(
    settings: Settings, server: ApiServer, at_once: int, method: str, limit: int
) -> None:
    server.config = replace(server.config, echo="refused")  # Ranking by `prompt_logprobs`.
    settings = endpoint(settings, server, requests_at_once=at_once)
    planned(settings, 1.0)  # The handshake, which no run pays.
    for budget in (0.5, 1.2):
        plan = planned(settings, budget, method, limit)
        assert run(settings, plan)[-1].kind == "stopped"
        assert 0 < bill(server) <= budget
        assert cost(settings, plan)["price"] == pytest.approx(bill(server), rel=1e-9)
    plan = planned(settings, 1000.0, method, limit)
    assert run(settings, plan)[-1].kind == "done"
    found = cost(settings, plan)
    assert found["price"] == pytest.approx(bill(server), rel=1e-9)
    assert found["beside_answers"] == pytest.approx(0, abs=1e-9) and not found["estimated"]
    assert paid_twice(server) == 0
    assert found["requests"] == sum(request.billed for request in of_items(server))


def of_items(server: ApiServer) -> list[Request]:
    """The requests of items, whose prompts have an instruction; handshakes and known questions are of no budget."""
    return [request for request in server.posts if "前提" in json.dumps(request.body, ensure_ascii=False)]


def bill(server: ApiServer) -> float:
    return sum(request.price for request in of_items(server))


def paid_twice(server: ApiServer) -> int:
    """Bills for bodies that had been answered in full before."""
    answered: set[str] = set()
    twice = 0
    for request in of_items(server):
        twice += request.billed and request.fingerprint in answered
        if request.answered:
            answered.add(request.fingerprint)
    return twice


CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from jglue_app.settings import load_settings
from tests.runs.test_paying_servers import planned, run

settings = replace(load_settings(), endpoints_file=Path(sys.argv[1]))
run(settings, planned(settings, float(sys.argv[2])))
"""


def test_a_killed_run_goes_on_within_the_same_budget_but_for_what_was_on_its_way(
    settings: Settings, server: ApiServer
) -> None:
    server.config = replace(server.config, latency=0.02)
    settings = endpoint(settings, server, requests_at_once=AT_ONCE)
    planned(settings, 1.0)
    budget = 2.5
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(settings.endpoints_file), str(budget)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JGLUE_RUNS_DIR": str(settings.runs_dir),
            "JGLUE_CACHE_DIR": str(settings.cache_dir),
        },
    )
    end = time.monotonic() + 60
    while len(of_items(server)) < 6:
        assert time.monotonic() < end and child.poll() is None
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    while server.in_flight:
        time.sleep(0.005)
    assert 0 < bill(server) < budget

    plan = planned(settings, budget)
    assert run(settings, plan)[-1].kind == "stopped"
    # What was on its way when it was killed is billed, and nobody has the answers: at most four requests.
    lost = sum(sorted(request.price for request in of_items(server))[-AT_ONCE:])
    assert bill(server) <= budget + lost
    plan = planned(settings, 1000.0)
    assert run(settings, plan)[-1].kind == "done"
    assert paid_twice(server) <= AT_ONCE
    unknown = bill(server) - cost(settings, plan)["price"]
    assert -1e-9 <= unknown <= lost
