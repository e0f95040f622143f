"""The controls of the Compare tab: the form of a run, stored pairs, the protocol, and the list of items."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from jglue_app.backends.named_models import model_ids
from jglue_app.messages import listed, word
from jglue_app.results import showcase
from jglue_app.runs.request import RunRequest
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.ui import controls, price_box, views
from jglue_app.ui.controls import DEFAULT_B, DEFAULT_ITEMS, RunControls, SideControls, T, paragraph
from jglue_app.ui.form import RequestForm, notes_beside
from jglue_app.ui.item_server import server_functions
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs.compare_panel import OFFICIAL, OWN
from jglue_app.ui.views.items import SCRIPTS

DEFAULT = RunRequest(limit=DEFAULT_ITEMS, b=DEFAULT_B)
Parts = tuple[RunControls, SideControls, gr.Checkbox, SideControls]
"""Questions, A, whether there is a B, and B."""


def form_parts(state: AppState, t: T) -> Parts:
    """The controls of the form."""
    settings = state.settings
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=280):
            paragraph(t("what"), "jg-section")
            run = controls.questions(settings, t)
        with gr.Column(min_width=280):
            paragraph(t("side_a"), ["jg-section", "jg-section-a"])
            a = controls.side(settings, t, DEFAULT.a, "a", device=state.device)
        with gr.Column(min_width=280):
            paragraph(t("side_b"), ["jg-section", "jg-section-b"])
            use_b = gr.Checkbox(True, label=t("use_b"), elem_id="use-b")
            b = controls.side(settings, t, DEFAULT_B, "b", same=True, device=state.device)
    return run, a, use_b, b


def in_sight(parts: Parts, places: Sequence[gr.Column], t: T) -> RequestForm:
    """The form, with both models and the number of items, which most visitors change alone, before the rest of it."""
    run, a, use_b, b = parts
    models = [(a.by_name["model"], "side_a", "jg-section-a"), (b.by_name["model"], "side_b", "jg-section-b")]
    for place, (component, title, side) in zip(places, models, strict=False):
        component.unrender()  # type: ignore[no-untyped-call]  # Gradio gives it no types.
        with place:
            paragraph(t(title), ["jg-section", side])
            component.render()  # type: ignore[no-untyped-call]  # As above.
    limit = run.by_name["limit"]
    limit.unrender()  # type: ignore[no-untyped-call]  # As above.
    with places[-1]:
        limit.render()  # type: ignore[no-untyped-call]  # As above.
    with places[0]:
        price = price_box.build(t, run.by_name["budget"], "")
    return RequestForm(run, a, notes_beside(), price, use_b, b)


def stored_pairs(t: T) -> gr.Dropdown:
    """The comparisons that came with the application. The last choice is offered only where it can be shown."""
    return gr.Dropdown(
        [*((t(f"showcase_{pair.name}"), pair.name) for pair in showcase.PAIRS), (t("showcase_own"), OWN)],
        value=showcase.PAIRS[0].name,
        label=t("showcase_pick"),
        elem_id="pairs",
        filterable=False,
        visible=showcase.is_available(),
        min_width=260,
    )


def protocol_choice(t: T) -> gr.Dropdown:
    """What all answers in sight are judged by."""
    return gr.Dropdown(
        list(PROTOCOLS),
        value=OFFICIAL,
        label=t("protocol"),
        elem_id="compare-protocol",
        filterable=False,
        min_width=160,
    )


def item_list(state: AppState) -> gr.HTML:
    """The list of items; `static/items.js` and the two scripts after it draw its value."""
    return gr.HTML(
        None,
        html_template='<div class="jg-tools"></div><div class="jg-list" role="listbox" tabindex="0"></div>',
        js_on_load="".join((views.STATIC / name).read_text("utf-8") for name in SCRIPTS),
        server_functions=server_functions(state),
        apply_default_css=False,
        elem_id="items",
    )


def limits_html(state: AppState, lang: str) -> str:
    """What a public server does not do, said beforehand."""
    settings, names = state.settings, model_ids(state.settings)
    minutes = round((settings.max_seconds or 0) / 60)
    lines = [
        word("public_models", lang).format(len(names), listed(names, lang)),
        word("public_items", lang).format(settings.max_items, minutes),
        word("public_one", lang),
        word("public_own", lang),
    ]
    line = word("public_line", lang).format(len(names), settings.max_items, minutes)
    return views.render("limits", {"line": line, "lines": lines}, lang)
