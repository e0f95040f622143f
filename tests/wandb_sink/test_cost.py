"""What a paid run cost is among the scalars of its W&B run, and on the page's scoreboard."""

from __future__ import annotations

from typing import Any

import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.money import money_text
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.scoring.report import report_run
from jglue_app.settings import Settings
from jglue_app.types import Decoding, ModelSpec
from jglue_app.ui.views.board import board
from jglue_app.wandb_sink.run_payload import run_payload
from tests.paid_backend import ANSWER, FAILING, register


def stored(settings: Settings, model: str, failing: int | None = None) -> tuple[Plan, RunStore]:
    """Four items of a model with these prices; one of them may be paid without an answer."""
    decoding = Decoding(max_new_tokens=4)
    plan = make_plan(
        settings,
        ModelSpec(model, "paid"),
        ["jnli"],
        data_kind="sample",
        limit=4,
        decoding=decoding,
        budget=1e9,
    )
    if failing is not None:
        FAILING.add(plan.items["jnli"][failing].id)
    with ModelPool(settings) as pool:
        assert list(run_plan(plan, pool, settings.runs_dir))[-1].kind == "done"
    return plan, RunStore.of(settings.runs_dir, plan.spec)


def keys(store: RunStore) -> dict[str, Any]:
    summary = run_payload(store.data(), store.manifest(), "official").summary
    return {name: value for name, value in summary.items() if name.startswith("cost/")}


def test_a_paid_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    _, store = stored(settings, "500000/4000000/JPY", failing=1)
    lengths = [len(record.prompt.text) for record in store.records()]
    tokens_in = sum(lengths) - lengths[1]
    price = 0.5 * tokens_in + 4 * 3 * len(ANSWER)
    assert keys(store) == {
        **{"cost/price": price, "cost/currency": "JPY", "cost/requests": 3, "cost/prompt_tokens": tokens_in},
        **{"cost/new_tokens": 6, "cost/reasoning_tokens": 0, "cost/estimated": False},
        "cost/beside_answers": 0.5 * lengths[1] + 4 * len(ANSWER),
    }
    report = report_run(store.data())
    (shown,) = board(report, None, None, "ja")["paid"]
    yen, beside = round(price), money_text(0.5 * lengths[1] + 4 * len(ANSWER), "JPY")
    assert shown == {
        "side": "A",
        "text": f"費用：¥{yen}（リクエスト 3 件、入力 {tokens_in} トークン、出力 6 トークン）。"
        f"このほか、答えの残っていないリクエストや価格の違うリクエストに {beside} かかっています",
    }
    (shown, other) = board(report, report, None, "en")["paid"]
    assert other["side"] == "B"
    assert shown["text"] == (
        f"Cost: ¥{yen} for 3 requests, {tokens_in} tokens in and 6 out; the run has cost {beside} more, for requests "
        "without an answer or at other prices"
    )


def test_a_free_run_has_none_of_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    _, store = stored(settings, "0/0/")
    assert keys(store) == {} and board(report_run(store.data()), None, None, "ja")["paid"] == []
