"""What a run of models that are paid for may cost, beside the models: shown only where one of them has a price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from jglue_app.backends import SERVERS
from jglue_app.backends.endpoints import served_model
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import JglueAppError
from jglue_app.messages import say, word
from jglue_app.runs.estimate import CostEstimate
from jglue_app.runs.paying import estimate_plans
from jglue_app.runs.request import RunRequest
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.events import Updates
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import wait_for
from jglue_app.ui.state import AppState

KIND = "estimate"


@dataclass(frozen=True, slots=True, eq=False)
class PriceBox:
    """The components."""

    around: gr.Column
    ask: gr.Button
    answer: gr.HTML

    @property
    def components(self) -> list[Block]:
        """What `looks` has values for."""
        return [self.around, self.answer]

    def looks(self, settings: Settings, request: RunRequest | None) -> Updates:
        """Whether it is in sight for a request: where one of its models has a price, or a budget is set. What was
        estimated for other settings is gone. Without a request that can be made, it stays as it is."""
        if request is None:
            return {}
        shown = request.budget is not None or any(is_priced(side.model, settings) for side in request.sides.values())
        return {self.around: gr.update(visible=shown), self.answer: ""}


def is_priced(model: str, settings: Settings) -> bool:
    """Whether a model answers on a server whose tokens are paid for."""
    try:
        return served_model(model, settings).priced
    except JglueAppError:
        return False


def build(t: T, budget: Component, prefix: str) -> PriceBox:
    """Put the box around the budget, which is not in the page yet, into the surrounding Blocks."""
    with gr.Column(visible=False, elem_id=f"{prefix}price", elem_classes="jg-price") as around:
        budget.render()  # type: ignore[no-untyped-call]
        ask = gr.Button(t("price_ask"), size="sm", elem_id=f"{prefix}price-ask")
        answer = pane(f"{prefix}price-answer")
    return PriceBox(around, ask, answer)


def estimated(state: AppState, owner: str, request: RunRequest, lang: str) -> Iterator[str]:
    """HTML of what the paid models of a request would cost at most. Their servers are asked what they can do, where
    that is not known."""
    waiting = views.note(word("price_asking", lang))
    yield waiting

    def work(job: Job) -> None:
        sides = [(name, plan) for name, plan in request.plans(state.settings) if plan.spec.model.backend in SERVERS]
        plans = [plan for _, plan in sides]
        stores = [RunStore.of(state.settings.runs_dir, plan.spec) for plan in plans]
        # A pool of its own: the other one belongs to whoever holds the accelerator.
        with ModelPool(state.settings, device=state.device) as pool:
            found = estimate_plans(plans, pool, stores)
        job.result = [(name, estimate) for (name, _), estimate in zip(sides, found, strict=True) if estimate]

    job = state.jobs.start_on_cpu(owner, KIND, work)
    yield from wait_for(state, job, waiting)
    yield views.note(_sentence(job.result, lang))


def _sentence(estimates: list[tuple[str, CostEstimate]], lang: str) -> str:
    if not estimates:
        return word("price_none", lang)
    parts = [f"{name.upper()}: {say(estimate.facts, lang)}" for name, estimate in estimates]
    return word("price_each", lang).format(" / ".join(parts))
