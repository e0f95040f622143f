"""The Compare tab: choose questions and two models, run, and look at every answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from jglue_app.backends.named_models import named_models
from jglue_app.errors import JglueAppError, StoreError, UnknownNameError
from jglue_app.messages import of as messages_of
from jglue_app.messages import say, word
from jglue_app.results import showcase
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_text import from_url_query, to_command_line, to_url_query
from jglue_app.ui import controls, views
from jglue_app.ui.controls import DEFAULT_B, T, pane
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import DRAW_EVERY_S, changes, stopper
from jglue_app.ui.state import AppState
from jglue_app.ui.views import comparison
from jglue_app.ui.views.comparison import Pair
from jglue_app.ui.views.progress import progress
from jglue_app.ui.visitor import language, page_of, visitor

KIND = "compare"

View = tuple[Any, ...]
"""New values of (status, chosen shipped pair, origin, scoreboard, item list, item)."""
SAME: tuple[Any, ...] = (gr.skip(),) * 6


@dataclass(frozen=True, slots=True)
class Tab:
    """What other tabs need of this one."""

    views: list[gr.components.Component]
    """What a `View` has values for."""
    told: list[gr.components.Component]
    """Controls, their summary and how to repeat it: what `asked_by` has values for."""
    items: gr.HTML


def build(desk: AppState, t: T) -> Tab:
    """Put the tab's content into the surrounding Blocks."""
    settings = desk.settings
    usual = RunRequest(b=DEFAULT_B)
    with gr.Row(elem_classes="jg-top"):
        with gr.Column(scale=6, min_width=300):
            setup = pane("setup", _setup(usual, "ja"))
        run = gr.Button(t("run"), variant="primary", elem_id="run", scale=2, min_width=140)
        stop = gr.Button(t("stop"), elem_id="stop", scale=1, min_width=90)
    status = pane("status")
    limits = pane("limits", visible=settings.public)
    with gr.Accordion(t("settings"), open=False, elem_id="settings"), gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=280):
            gr.Markdown(t("what"), elem_classes="jg-section")
            asked = controls.questions(settings, t)
        with gr.Column(min_width=280):
            gr.Markdown(t("side_a"), elem_classes=["jg-section", "jg-section-a"])
            a = controls.side(settings, t, usual.a, "a")
        with gr.Column(min_width=280):
            gr.Markdown(t("side_b"), elem_classes=["jg-section", "jg-section-b"])
            use_b = gr.Checkbox(True, label=t("use_b"), elem_id="use-b")
            b = controls.side(settings, t, DEFAULT_B, "b", same=True)
    with gr.Accordion(t("repeat"), open=False, elem_id="repeat-box"):
        repeat = pane("repeat")
    pairs = gr.Radio(
        [(t(f"showcase_{pair.name}"), pair.name) for pair in showcase.PAIRS],
        value=showcase.PAIRS[0].name,
        label=t("showcase_pick"),
        elem_id="pairs",
        visible=showcase.here(),
    )
    origin = pane("origin")
    board = pane("board")
    gr.Markdown(t("items_head"), elem_classes="jg-section", elem_id="items-head")
    with gr.Row(elem_classes="jg-explore"):
        with gr.Column(scale=3, min_width=330, elem_classes="jg-explore-list"):
            items = item_list()
        with gr.Column(scale=6, min_width=330):
            item = pane("item")

    form = {**asked.components(), controls.USE_B: use_b, **a.components(), **b.components()}
    everything: list[Any] = list(form.values())
    seen: list[gr.components.Component] = [status, pairs, origin, board, items, item]

    def read(values: tuple[Any, ...], lang: str) -> RunRequest:
        return controls.read(dict(zip(form, values, strict=True)), settings, lang)

    def start(request: gr.Request, *values: Any) -> Iterator[View]:
        lang = language(request)
        yield views.note(word("loading", lang)), *SAME[1:]
        try:
            job = desk.jobs.runs(visitor(request), KIND, read(values, lang))
        except JglueAppError as e:
            yield views.failure(e, lang), *SAME[1:]
            return
        desk.set_current_view(page_of(request), KIND, job.id)
        yield from watch(desk, job, lang, page_of(request))

    def describe(request: gr.Request, *values: Any) -> tuple[str, str]:
        lang = language(request)
        try:
            found = read(values, lang)
        except JglueAppError as e:
            told = say(messages_of(e), lang)
            return views.note(told), views.render("repeat", {"error": told}, lang)
        return _setup(found, lang), repeat_html(found, lang)

    def choose(request: gr.Request, event: gr.EventData) -> str:
        return opened(desk, request, event)

    def pick_pair(request: gr.Request, name: str) -> View:
        desk.set_current_view(page_of(request), KIND, name)
        return beside_a_run(desk, request, shipped_pair(desk, request, name))

    def greet(request: gr.Request) -> tuple[Any, ...]:
        """What a page shows when it is opened: the visitor's run, the configuration of a link, or a shipped pair."""
        lang, owner = language(request), visitor(request)
        public = _limits(desk, lang) if settings.public else ""
        job = desk.jobs.latest(owner, KIND)
        try:
            linked = from_url_query(dict(request.query_params))
            _only_listed(desk, linked)
        except JglueAppError as e:
            status = views.failure(e, lang)
            return *_told_by(usual, lang), public, status, *shipped_pair(desk, request, "")[1:]
        if job is not None and (job.active or linked in (None, job.asked)):
            told = (*_told_by(job.asked, lang), public)
            if job.active:
                # What follows it comes with the next event, so that this one does not last as long as the job.
                return *told, progress(job, lang, ahead=desk.jobs.ahead(job)), *shipped_pair(desk, request, "")[1:]
            *_, last = watch(desk, job, lang)
            some = job.made and any(data and data.records for data in comparison.load_both(desk, owner, pair_of(job)))
            return *told, last[0], *(last if some else shipped_pair(desk, request, ""))[1:]
        news = views.note(word("linked", lang)) if linked else ""
        return *_told_by(linked or usual, lang), public, news, *shipped_pair(desk, request, "")[1:]

    def follow(request: gr.Request) -> Iterator[View]:
        job = desk.jobs.latest(visitor(request), KIND)
        yield SAME  # Gradio takes a generator that gives nothing for one that empties everything.
        if job is not None and job.active:
            desk.set_current_view(page_of(request), KIND, job.id)
            yield from watch(desk, job, language(request), page_of(request))

    gr.on(
        [c.input for c in everything],
        describe,
        everything,
        [setup, repeat],
        api_visibility="private",
        show_progress="hidden",
        queue=False,
        trigger_mode="always_last",
    )
    use_b.change(
        lambda on: [gr.update(interactive=on)] * len(b.components()),
        use_b,
        list(b.components().values()),
        api_visibility="private",
        queue=False,
    )
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # As many as there are visitors: each follows a job, and none of them works.
    run.click(start, everything, seen, concurrency_limit=None, **quiet)
    stop.click(stopper(desk, KIND), None, status, concurrency_limit=None, **quiet)
    pairs.input(pick_pair, pairs, seen, **quiet)
    # Every choice is answered, however quickly it follows the last; the list asks again if they come out of order.
    items.select(choose, None, item, trigger_mode="multiple", concurrency_limit=8, **quiet)
    told: list[gr.components.Component] = [*everything, setup, repeat]
    gr.on(None, greet, None, [*told, limits, *seen], concurrency_limit=8, **quiet).then(
        follow, None, seen, concurrency_limit=None, **quiet
    )
    return Tab(seen, told, items)


def item_list() -> gr.HTML:
    """The list of items; `static/items.js` draws what it is given."""
    return gr.HTML(
        None,
        html_template='<div class="jg-tools"></div><div class="jg-list" role="listbox" tabindex="0"></div>',
        js_on_load=(views.STATIC / "items.js").read_text("utf-8"),
        apply_default_css=False,
        elem_id="items",
    )


def beside_a_run(desk: AppState, request: gr.Request, found: View) -> View:
    """The view of a stored pair; the status stays that of a run that is going on meanwhile."""
    job = desk.jobs.latest(visitor(request), KIND)
    return (gr.skip(), *found[1:]) if job is not None and job.active else found


def watch(desk: AppState, job: Job, lang: str, page: str = "") -> Iterator[View]:
    """A job's views until it ends. Leaving this off does not end the job.

    Where the page has been told to show something else meanwhile, it gets the status alone.
    """
    for view in _views(desk, job, lang):
        if desk.is_current_view(page, KIND, job.id):
            yield view
        else:
            yield view[0] + views.note(word("run_elsewhere", lang)), *SAME[1:]


def _views(desk: AppState, job: Job, lang: str) -> Iterator[View]:
    listed, boarded = 0.0, 0
    first = True
    for now in changes(job):
        status = progress(job, lang, ahead=desk.jobs.ahead(job))
        if not (job.made and job.bars):
            yield status, *SAME[1:]
            continue
        desk.grant_access(job)
        pair = pair_of(job)
        rows = sum(event.done for event in list(job.bars.values()))
        # A long list takes long to draw, and a scoreboard long to test.
        list_due = now - listed >= max(DRAW_EVERY_S, rows / 800)
        board_due = boarded != len(job.bars) or (list_due and rows < 400)
        listed = now if list_due else listed
        boarded = len(job.bars)
        yield (
            status,
            None if first else gr.skip(),
            "" if first else gr.skip(),
            comparison.board_html(desk, job.owner, pair, lang) if board_due else gr.skip(),
            comparison.item_list_value(desk, job.owner, pair, lang, link=_link(job)) if list_due else gr.skip(),
            views.empty(word("empty_item", lang)) if first else gr.skip(),
        )
        first = False
    if not job.made:
        yield progress(job, lang), *SAME[1:]
        return
    desk.grant_access(job)
    pair = pair_of(job)
    status = progress(job, lang, failed_items=comparison.failed_items(desk, job.owner, pair))
    if not any(data and data.records for data in comparison.load_both(desk, job.owner, pair)):
        yield status, *SAME[1:]
        return
    yield (
        status,
        None,
        "",
        comparison.board_html(desk, job.owner, pair, lang),
        comparison.item_list_value(desk, job.owner, pair, lang, open_first=True, fetch=True, link=_link(job)),
        views.empty(word("empty_item", lang)) if first else gr.skip(),
    )


def pair_of(job: Job) -> Pair:
    """The runs of a job, as far as it has asked for their items."""
    a, b = job.made["a"], job.made.get("b")
    return Pair(a.run, b.run if b else "", a.ids, b.ids if b else None)


def _link(job: Job) -> str | None:
    return to_url_query(job.asked) if isinstance(job.asked, RunRequest) else None


def shipped_pair(desk: AppState, request: gr.Request, name: str) -> View:
    """A comparison that came with the application, its most telling item opened."""
    if not showcase.here():
        lang = language(request)
        return "", None, "", views.empty(word("empty_board", lang)), None, views.empty(word("empty_item", lang))
    found = next((pair for pair in showcase.PAIRS if pair.name == name), showcase.PAIRS[0])
    _, _, *rest = stored_pair(desk, request, SHIPPED + found.a, SHIPPED + found.b)
    return "", found.name, *rest


def stored_pair(desk: AppState, request: gr.Request, a: str, b: str = "") -> View:
    """Two stored runs, or one, with their most telling item opened."""
    lang, owner = language(request), visitor(request)
    pair = Pair(a, b)
    own = not (a.startswith(SHIPPED) and b.startswith(SHIPPED))
    asked = _asked(desk, owner, a, b)
    link = (to_url_query(asked) if asked else "") if own else None
    value = comparison.item_list_value(desk, owner, pair, lang, open_first=True, link=link)
    first = value["open"]
    item = views.empty(word("empty_item", lang))
    if first:
        item = comparison.item_html(desk, owner, {"a": a, "b": b}, first["task"], first["id"], lang)
    return (
        "",
        None,
        comparison.provenance_html(desk, owner, pair, lang, to_command_line(asked) if asked and not own else ""),
        comparison.board_html(desk, owner, pair, lang),
        value,
        item,
    )


def _asked(desk: AppState, owner: str, a: str, b: str) -> RunRequest | None:
    """What asks for stored runs again; None where a configuration cannot."""
    try:
        specs = [desk.data(owner, name).spec for name in (a, b) if name]
    except StoreError:
        return None
    if len(specs) == 1:
        return RunRequest.of_spec(specs[0])
    return RunRequest.of_pair(specs[0], specs[1]) if specs else None


def asked_by(desk: AppState, request: gr.Request, a: str, b: str) -> tuple[Any, ...]:
    """Values for `Tab.told` that say how stored runs were made."""
    lang = language(request)
    asked = _asked(desk, visitor(request), a, b)
    if asked is not None:
        return _told_by(asked, lang)
    same = (gr.skip(),) * (len(_fill(RunRequest())) + 1)
    return *same, views.render("repeat", {"error": word("not_one_command", lang)}, lang)


def opened(desk: AppState, request: gr.Request, event: gr.EventData) -> str:
    """The item of the row that somebody has chosen."""
    lang = language(request)
    sent = event._data if isinstance(event._data, dict) else {}
    names = {side: str(sent.get(side) or "")[:200] for side in ("a", "b")}
    return comparison.item_html(
        desk, visitor(request), names, str(sent.get("task"))[:100], str(sent.get("id"))[:200], lang
    )


def repeat_html(asked: RunRequest, lang: str) -> str:
    """The command line and the link that ask for the same again."""
    return views.render("repeat", {"command": to_command_line(asked), "link": to_url_query(asked)}, lang)


def _only_listed(desk: AppState, linked: RunRequest | None) -> None:
    """Refuse a link that names a model which a public server does not run; raises UnknownNameError."""
    for side in linked.sides.values() if linked and desk.settings.public else ():
        if side.model not in named_models():
            raise UnknownNameError("model", side.model[:100], named_models())


def _fill(asked: RunRequest) -> list[Any]:
    return list(controls.values_of(asked).values())


def _told_by(asked: RunRequest, lang: str) -> tuple[Any, ...]:
    return *_fill(asked), _setup(asked, lang), repeat_html(asked, lang)


def _setup(asked: RunRequest, lang: str) -> str:
    """One line on what a click on Run would do."""
    limit = word("all_items", lang) if asked.limit is None else word("each_items", lang).format(f"{asked.limit:,}")
    subsets = word("subset_count", lang).format(len(asked.tasks))
    facts = [
        word(f"data_{controls.data_choice(asked)}", lang),
        f"{subsets} × {limit}",
        word(f"method_{asked.method}", lang),
    ]
    sides = [{"name": name.upper(), "text": side_text(side, lang)} for name, side in asked.sides.items()]
    return views.render("setup", {"sides": sides, "facts": " · ".join(facts)}, lang)


def side_text(side: Side, lang: str) -> str:
    """A side in short words."""
    parts = [side.model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1], side.format, side.style]
    parts.append(word("shots_short", lang).format(side.shots) if side.shots else word("no_shots", lang))
    parts += [] if side.quantization == "none" else [side.quantization]
    if side.thinking != "off":
        parts.append(word("thinking_is", lang).format(word(f"thinking_{side.thinking}", lang)))
    if side.repetition_penalty != 1:
        parts.append(word("repetition_penalty_is", lang).format(f"{side.repetition_penalty:g}"))
    return " · ".join(parts)


def _limits(desk: AppState, lang: str) -> str:
    """What a public server does not do, said beforehand."""
    settings = desk.settings
    lines = [
        word("public_models", lang).format(len(named_models()), ", ".join(named_models())),
        word("public_items", lang).format(settings.max_items, round((settings.max_seconds or 0) / 60)),
        word("public_one", lang),
        word("public_own", lang),
    ]
    return views.render("limits", {"lines": lines}, lang)
