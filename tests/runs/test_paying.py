"""Money in a run: nothing is sent without a budget or beyond one, and what is stored says what was paid."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, Literal

import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.backends.spending import Spending
from jglue_app.errors import InputError
from jglue_app.messages import say
from jglue_app.money import money_text
from jglue_app.prompts.formats import ModelFormatInfo
from jglue_app.runs.estimate import CostEstimate
from jglue_app.runs.events import Event
from jglue_app.runs.paying import estimate_plans, spent_so_far
from jglue_app.runs.plan import Plan, build_prompts, make_plan
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.scoring.judged import only
from jglue_app.scoring.payment import paid_for, paid_text
from jglue_app.scoring.report import report_run
from jglue_app.scoring.types import Paid
from jglue_app.settings import Settings
from jglue_app.types import Account, Decoding, ModelSpec
from tests.paid_backend import ANSWER, FAILING, SENT, PaidModel, register

MODEL = "1000000/10000000/USD"
"""One dollar a character of prompts, ten a character of answers."""
LIMIT = 4
"""New tokens of an answer at most."""


@pytest.fixture(autouse=True)
def _paid(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def planned(settings: Settings, budget: float | None = None, *, model: str = MODEL, **words: Any) -> Plan:
    method = words.pop("method", "generate")
    words = {"data_kind": "sample", "limit": 5, **words}
    decoding = Decoding(method, max_new_tokens=LIMIT)
    return make_plan(settings, ModelSpec(model, "paid"), ["jnli"], decoding=decoding, budget=budget, **words)


def run(settings: Settings, *plans: Plan, charge: Any = lambda spec, info: None) -> list[Event]:
    sides: list[tuple[Literal["a", "b"], Plan]] = [("a", plans[0]), *(("b", p) for p in plans[1:])]
    with ModelPool(settings) as pool:
        return list(run_plans(sides, pool, settings.runs_dir, charge=charge))


def store(settings: Settings, plan: Plan) -> RunStore:
    return RunStore.of(settings.runs_dir, plan.spec)


def lengths(plan: Plan) -> list[int]:
    """Characters of each prompt, in order."""
    info = ModelFormatInfo("", "", None)
    return [len(p.text) for p in build_prompts(plan, "jnli", plan.items["jnli"], info)]


def costs(plan: Plan) -> list[int]:
    """What each item costs, in dollars: its prompt, and an answer of two characters."""
    return [n + 10 * len(ANSWER) for n in lengths(plan)]


def estimate(settings: Settings, plan: Plan) -> CostEstimate | None:
    with ModelPool(settings) as pool:
        (found,) = estimate_plans([plan], pool, [store(settings, plan)])
    return found


def test_without_a_budget_nothing_is_sent_and_the_estimate_is_told(settings: Settings) -> None:
    plan = planned(settings)
    # What is set aside for a prompt is 1.3 times its estimate and 8 tokens more.
    most = math.ceil(1.3 * sum(lengths(plan))) + sum(8 + 10 * LIMIT for _ in lengths(plan))
    with pytest.raises(InputError) as error:
        run(settings, plan)
    sentence = str(error.value)
    assert f"${most:,}.00" in sentence and f"{sum(lengths(plan)):,} tokens in" in sentence.replace(" M", "")
    assert "at most 20 out" in sentence and "--budget" in sentence
    assert "予算" in say(error.value.message, "ja")
    assert SENT == [] and not store(settings, plan).exists()


def test_the_budget_is_asked_for_before_a_free_model_begins(settings: Settings) -> None:
    free, paid = planned(settings, model="0/0/"), planned(settings)
    with pytest.raises(InputError, match="no budget"):
        run(settings, free, paid)
    assert SENT == []


def test_a_free_model_on_a_server_needs_no_budget_and_notes_no_cost(settings: Settings) -> None:
    plan = planned(settings, model="0/0/")
    assert [e.kind for e in run(settings, plan)][-1] == "done"
    assert "cost" not in store(settings, plan).manifest()
    assert report_run(store(settings, plan).data()).paid is None
    assert estimate(settings, plan) is None


def test_the_estimate_is_of_what_is_not_answered_yet(settings: Settings) -> None:
    plan = planned(settings, math.inf)
    n = lengths(plan)
    found = estimate(settings, plan)
    assert found is not None
    assert (found.items, found.usage.requests, found.usage.prompt_tokens) == (5, 5, sum(n))
    assert (found.usage.new_tokens, found.price, found.currency) == (
        5 * LIMIT,
        math.ceil(1.3 * sum(n)) + 8 * 5 + 10 * 5 * LIMIT,
        "USD",
    )
    smaller = planned(settings, math.inf, limit=3)
    run(settings, smaller)
    rest = estimate(settings, plan)
    assert rest is not None and (rest.items, rest.usage.prompt_tokens) == (2, sum(n) - sum(lengths(smaller)))
    run(settings, plan)
    assert estimate(settings, plan) is None
    assert sorted(SENT) == sorted((item.id, "generate") for item in plan.items["jnli"])


def test_both_methods_are_estimated(settings: Settings) -> None:
    plan = planned(settings, math.inf, method="both")
    (first, *_) = build_prompts(plan, "jnli", plan.items["jnli"], ModelFormatInfo("", "", None))
    found = estimate(settings, plan)
    assert found is not None
    n, answers = lengths(plan), [len(a) for a in first.answers]
    assert found.usage.prompt_tokens == sum(n) + sum(len(answers) * k + sum(answers) for k in n)
    assert found.usage.requests == 5 * (1 + len(answers))
    # Without a limit it is paid at most that, and both halves are stored together.
    run(settings, plan)
    paid = report_run(store(settings, plan).data()).paid
    assert paid is not None
    assert (paid.requests, paid.prompt_tokens) == (found.usage.requests, found.usage.prompt_tokens)
    assert paid.new_tokens == 5 * len(ANSWER) and paid.price == paid.prompt_tokens + 10 * paid.new_tokens


def test_what_is_stored_says_what_was_paid(settings: Settings) -> None:
    plan = planned(settings, math.inf)
    run(settings, plan)
    expected = Paid(5, sum(lengths(plan)), 10, 0, float(sum(costs(plan))), "USD", estimated=False)
    data = store(settings, plan).data()
    assert paid_for(data) == expected == report_run(data).paid
    cost = store(settings, plan).manifest()["cost"]
    assert cost == {
        **{"currency": "USD", "price": float(sum(costs(plan))), "beside_answers": 0.0, "requests": 5},
        **{"prompt_tokens": sum(lengths(plan)), "new_tokens": 10, "reasoning_tokens": 0, "estimated": False},
        **{"price_in": 1e6, "price_out": 1e7},
    }


def test_a_report_of_some_items_has_their_cost(settings: Settings) -> None:
    plan = planned(settings, math.inf)
    run(settings, plan)
    data = store(settings, plan).data()
    (first, *_) = plan.items["jnli"]
    part = paid_for(replace(data, items={"jnli": {first.id: first}}))
    assert part is not None and (part.requests, part.price) == (1, costs(plan)[0])


def test_the_run_stops_before_the_budget_and_goes_on_with_a_higher_one(settings: Settings) -> None:
    each = costs(planned(settings))
    # Reserved is the longest answer, which costs 20 more than the one that comes.
    budget = each[0] + each[1] + 20.0
    plan = planned(settings, budget)
    events = run(settings, plan)
    finished = len(store(settings, plan).finished())
    assert finished == len(SENT) < 5
    spent = sum(c for c, item in zip(each, plan.items["jnli"], strict=True) if (item.id, "generate") in SENT)
    assert 0 < spent <= budget
    assert [e.kind for e in events[-2:]] == ["notice", "stopped"]
    assert (events[-1].run_done, events[-1].run_total) == (finished, 5)
    notice = events[-2].message
    assert f"${spent:,}.00 are spent" in notice and f"{5 - finished} items are open" in notice and "budget" in notice
    assert "予算" in say(notice, "ja")
    assert store(settings, plan).manifest()["cost"]["price"] == spent

    # The same budget again sends nothing that it has no room for: what was paid before counts.
    before = list(SENT)
    assert run(settings, plan)[-1].kind == "stopped"
    assert before == SENT

    events = run(settings, planned(settings, sum(each) + 20.0))
    assert events[-1].kind == "done"
    assert sorted(SENT) == sorted((item.id, "generate") for item in plan.items["jnli"]), "nothing is paid twice"
    assert store(settings, plan).manifest()["cost"]["price"] == sum(each)


def test_the_budget_of_a_comparison_is_of_each_run(settings: Settings) -> None:
    plans = [planned(settings, seed=0), planned(settings, seed=1)]
    budgets = [sum(costs(p)) + 20.0 for p in plans]
    budget = max(budgets)
    events = run(settings, *(replace(p, budget=budget) for p in plans))
    assert [e.kind for e in events[-2:]] == ["done", "done"]
    assert sum(costs(plans[0]) + costs(plans[1])) > budget


def test_two_names_of_one_run_have_one_budget(settings: Settings) -> None:
    plan = planned(settings, sum(costs(planned(settings))) + 20.0)
    assert [e.kind for e in run(settings, plan, replace(plan))[-2:]] == ["done", "done"]
    assert len(SENT) == 5
    assert store(settings, plan).manifest()["cost"]["price"] == sum(costs(plan))


def test_a_paid_request_without_an_answer_counts_and_its_item_is_tried_again(settings: Settings) -> None:
    plan = planned(settings, math.inf)
    failing = plan.items["jnli"][2].id
    FAILING.add(failing)
    run(settings, plan)
    each = costs(plan)
    cost = store(settings, plan).manifest()["cost"]
    assert (cost["price"], cost["beside_answers"], cost["requests"]) == (sum(each), each[2], 4)
    assert spent_so_far(store(settings, plan)) == sum(each)
    paid = report_run(store(settings, plan).data()).paid
    assert paid and (paid.price, paid.beside) == (sum(each) - each[2], each[2])
    more = money_text(each[2], "USD")
    assert str(paid_text(paid)).endswith(
        f"; the run has cost {more} more, for requests without an answer or at other prices"
    )
    data = store(settings, plan).data()
    every, some = ([item.id for item in plan.items["jnli"][:n]] for n in (5, 4))
    assert only(data, {"jnli": every}).paid_beside == each[2]
    assert only(data, {"jnli": some}).paid_beside == 0
    FAILING.clear()
    run(settings, plan)
    cost = store(settings, plan).manifest()["cost"]
    assert (cost["price"], cost["beside_answers"]) == (sum(each) + each[2], each[2])
    assert SENT.count((failing, "generate")) == 2


def test_a_run_that_ended_without_its_manifest_being_written_counts_its_answers(settings: Settings) -> None:
    """As after a kill: the records are there, and no cost is noted."""
    plan = planned(settings, math.inf, limit=3)
    run(settings, plan)
    path = store(settings, plan).path / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    del manifest["cost"], manifest["records"]
    path.write_text(json.dumps(manifest), "utf-8")
    assert spent_so_far(store(settings, plan)) == sum(costs(plan))


def test_other_prices_in_a_later_session_are_counted_as_they_were(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, plan = planned(settings, math.inf, limit=2), planned(settings, math.inf, limit=3)
    run(settings, first)
    monkeypatch.setattr("tests.paid_backend.open_model", lambda spec, *_, **__: dear())
    run(settings, plan)
    before, added = sum(costs(first)), sum(costs(plan)) - sum(costs(first))
    cost = store(settings, plan).manifest()["cost"]
    assert cost["price"] == before + 3 * added
    assert cost["beside_answers"] == 2 * added and cost["price_in"] == 1e6


def test_amounts_of_two_currencies_are_not_added(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run(settings, planned(settings, math.inf, limit=2))
    monkeypatch.setattr("tests.paid_backend.open_model", lambda spec, *_, **__: PaidModel(1e6, 1e7, "JPY"))
    before, plan = list(SENT), planned(settings, math.inf, limit=3)
    with pytest.raises(InputError, match="was paid in USD so far"):
        run(settings, plan)
    assert before == SENT


def test_a_run_that_was_free_and_got_a_price_has_one_budget_over_all_sessions(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.paid_backend.open_model", lambda spec, *_, **__: PaidModel(0.0, 0.0, ""))
    run(settings, planned(settings, limit=2))
    monkeypatch.setattr("tests.paid_backend.open_model", lambda spec, *_, **__: PaidModel(1e6, 1e7, "USD"))
    whole = planned(settings)
    each = dict(zip([item.id for item in whole.items["jnli"]], costs(whole), strict=True))
    free = {item for item, _ in SENT}
    SENT.clear()
    third = next(cost for item, cost in each.items() if item not in free)
    plan = planned(settings, third + 20.0)
    assert run(settings, plan)[-1].kind == "stopped"
    paid = sum(each[item] for item, _ in SENT)
    cost = store(settings, plan).manifest()["cost"]
    assert (cost["price"], cost["beside_answers"], cost["currency"]) == (paid, paid, "USD")
    assert 0 < paid == spent_so_far(store(settings, plan))
    sent = len(SENT)
    assert run(settings, plan)[-1].kind == "stopped"
    assert len(SENT) == sent, "the budget does not begin anew"


def test_somebody_else_may_pay_and_refuse(settings: Settings) -> None:
    plan = planned(settings)
    each = costs(plan)
    other = Spending(each[0] + 20.0)
    events = run(settings, plan, charge=lambda spec, info: other)
    assert (len(SENT), events[-1].kind, other.spent) == (1, "stopped", each[0])
    assert "visitors" in events[-2].message and "4 items" in events[-2].message


def test_the_backend_is_charged_during_its_own_run_alone(settings: Settings) -> None:
    plan = planned(settings, math.inf)
    seen: list[Account | None] = []
    with ModelPool(settings) as pool:
        backend = pool.get(plan.spec.model)
        for event in run_plans([("a", plan)], pool, settings.runs_dir):
            if event.kind == "record":
                seen.append(backend.spending)  # type: ignore[attr-defined]
        assert backend.spending is None  # type: ignore[attr-defined]
    assert len(seen) == 5 and None not in seen


def dear() -> PaidModel:
    """The model at three times its prices."""
    return PaidModel(3e6, 3e7, "USD")
