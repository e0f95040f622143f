"""The page as a whole: header, tabs, what leads from one to another, and how it is served."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio would count its events anew after each of them.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")

import gradio as gr
from gradio.blocks import Block
from markupsafe import Markup
from starlette.middleware import Middleware
from starlette.requests import Request

from jglue_app import environment
from jglue_app.backends.endpoints import refused_sections
from jglue_app.backends.library_imports import import_ahead
from jglue_app.errors import InputError, JglueAppError, first_line
from jglue_app.messages import LANGUAGES, table, word
from jglue_app.settings import Settings, load_settings
from jglue_app.ui import (
    connections,
    document,
    endpoints,
    gate,
    gradio_files,
    guard,
    opening,
    served_files,
    sign_in,
    views,
)
from jglue_app.ui.address import Address, from_query
from jglue_app.ui.client_address import trusted_networks
from jglue_app.ui.compression import CompressionMiddleware
from jglue_app.ui.controls import T, pane
from jglue_app.ui.document import DocumentMiddleware, Head
from jglue_app.ui.events import LATEST, PRIVATE, UNCHANGED, Updates, Values
from jglue_app.ui.first_visit import FirstVisitMiddleware
from jglue_app.ui.form import form_script
from jglue_app.ui.gradio_files import CompressedFiles, GradioFilesMiddleware
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.health import HealthMiddleware
from jglue_app.ui.places import PlacesMiddleware
from jglue_app.ui.preview import PreviewMiddleware
from jglue_app.ui.refusals import DirectErrorsMiddleware
from jglue_app.ui.security_headers import ScriptPolicyMiddleware
from jglue_app.ui.sessions import Sessions, SessionsMiddleware
from jglue_app.ui.state import AppState
from jglue_app.ui.streams import StreamsMiddleware
from jglue_app.ui.tabs import about, audit, compare, full, lab, results
from jglue_app.ui.tabs.compare import CompareTab
from jglue_app.ui.tabs.full import FullTab
from jglue_app.ui.tabs.lab import LabTab
from jglue_app.ui.tabs.results import ResultsTab
from jglue_app.ui.views import STATIC
from jglue_app.ui.visitor import SessionMiddleware, language, visitor_id

PREFIX = "jg_"
"""Of our keys among Gradio's translations, so that they never collide with Gradio's own."""
FONTS = ["Noto Sans JP", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic UI", "Meiryo", "sans-serif"]
"""Fonts of the visitor's own machine: nothing is fetched."""
ICON = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#1d5fa8"/>'
    '<circle cx="5" cy="8" r="2.6" fill="#fff"/><circle cx="11.5" cy="8" r="2" fill="none" stroke="#fff"/></svg>'
)
"""Two dots, as they stand on the strips of a comparison."""
MAX_QUEUED = 4_096
"""Events that wait for a thread on a public server, over all visitors; `places` has those of one address."""
MAX_RUNNING = 1_000
"""Handlers that run or follow something at the same time. Those that follow hold no thread."""

TO_THE_TOP = "() => globalThis.jgToTheTop?.()"
"""A comparison that another tab has opened is looked at from its beginning, and not from where that tab was read."""


TABS: dict[str, Callable[[AppState, T], Any]] = {
    "compare": compare.build,
    "lab": lab.build,
    "full": full.build,
    "results": results.build,
    "audit": audit.build,
    "about": about.build,
}
"""Key → what puts a tab's content into the page. Its title is the label `tab_<key>`."""


def build(settings: Settings, i18n: gr.I18n, device: str = "auto") -> gr.Blocks:
    """The page, ready to launch. No model is loaded."""
    return build_for(AppState(settings, device), i18n)


def build_for(state: AppState, i18n: gr.I18n) -> gr.Blocks:
    """The page of a state; see `build`."""
    settings = state.settings

    def t(key: str) -> Any:
        return i18n(PREFIX + key)

    sign_in_button = sign_in.unseen_button()
    page: gr.Blocks
    # What is sent to Gradio's upload address is deleted soon.
    with gr.Blocks(
        title="JGLUE くらべ ・ JGLUE side by side", analytics_enabled=False, delete_cache=(600, 3600)
    ) as page:
        head = pane("head", _head("ja", {}))
        form_script()
        panes: dict[str, gr.Tab] = {}
        tabs: dict[str, Any] = {}
        with gr.Tabs(elem_id="tabs") as selected:
            for key, build_tab in TABS.items():
                with gr.Tab(t(f"tab_{key}"), id=key) as panes[key]:
                    tabs[key] = build_tab(state, t)
        endpoints.build(state)
        _link(selected, tabs["compare"], tabs["lab"], tabs["full"], tabs["results"])
        ranking: ResultsTab = tabs["results"]
        refresh = errors_shown_in(ranking.status, ranking.refresh)
        panes["results"].select(refresh, ranking.inputs, ranking.outputs, **LATEST)
        foot = pane("foot")
        if sign_in_button is not None:
            sign_in_button.render()  # type: ignore[no-untyped-call]
        page.load(_foot, None, foot, **PRIVATE)
        page.load(_localized_head, None, head, **PRIVATE)
        _open_address(page, selected, ranking)
    guard.guard(page, takes_files=not settings.public)
    page.queue(max_size=MAX_QUEUED if settings.public else None)
    return page


def _link(selected: gr.Tabs, compare: CompareTab, lab: LabTab, full: FullTab, results: ResultsTab) -> None:
    """What leads from one tab to another."""

    def open_pair(request: gr.Request, values: Values) -> Updates:
        if not values[results.a]:
            return UNCHANGED
        judge = values[results.protocol]
        runs = compare.show_runs(request, values[results.a], values[results.b] or "", protocol=judge)
        return {selected: gr.Tabs(selected="compare"), **runs}

    def open_run(request: gr.Request, name: str | None) -> Updates:
        if not name:
            return UNCHANGED
        return {selected: gr.Tabs(selected="compare"), **compare.show_runs(request, name)}

    def open_item(request: gr.Request, event: gr.EventData) -> Updates:
        chosen = event._data if isinstance(event._data, dict) else {}
        return {selected: gr.Tabs(selected="lab"), **lab.show_item(request, chosen)}

    def open_with_baseline(request: gr.Request, event: gr.EventData, values: Values) -> Updates:
        chosen = event._data if isinstance(event._data, dict) else {}
        baseline, judge = values[results.matrix.baseline], values[results.protocol]
        if not (baseline and chosen.get("run")):
            return UNCHANGED
        item = (str(chosen["task"])[:100], str(chosen["id"])[:200]) if chosen.get("task") and chosen.get("id") else None
        view = Address(item=item) if item else None
        runs = compare.show_runs(request, baseline, str(chosen["run"])[:200], view, judge)
        return {selected: gr.Tabs(selected="compare"), **runs}

    for matrix in (results.matrix.table, results.matrix.items):
        chosen: set[Block] = {results.matrix.baseline, results.protocol}
        matrix.select(open_with_baseline, chosen, [selected, *compare.outputs], **LATEST)
    pair: set[Block] = {results.a, results.b, results.protocol}
    for shown in (
        results.compare.click(open_pair, pair, [selected, *compare.outputs], **PRIVATE),
        full.open_items.click(open_run, full.name, [selected, *compare.outputs], **PRIVATE),
    ):
        shown.then(None, None, None, js=TO_THE_TOP)
    compare.panel.items.submit(open_item, None, [selected, *lab.outputs], **PRIVATE)


def _open_address(page: gr.Blocks, selected: gr.Tabs, ranking: ResultsTab) -> None:
    """Open the tab that an address names. The Compare tab restores the rest, and says what is wrong with it."""

    def open_tab(request: gr.Request) -> Updates:
        try:
            address = from_query(dict(request.query_params))
        except JglueAppError:
            return UNCHANGED
        updates: Updates = {selected: gr.Tabs(selected=address.tab)} if address.tab else {}
        if address.tab == "results":
            updates |= ranking.restore(visitor_id(request), address)
        return updates or UNCHANGED

    def fill(request: gr.Request, values: Values) -> Updates:
        return refresh(request, values) if "runs" in dict(request.query_params) else UNCHANGED

    refresh = errors_shown_in(ranking.status, ranking.refresh)
    chosen = [ranking.protocol, ranking.against, ranking.data, ranking.tasks, *ranking.matrix.inputs]
    opened = page.load(open_tab, None, [selected, *chosen], queue=False, **PRIVATE)
    opened.then(fill, ranking.inputs, ranking.outputs, **LATEST)


def _foot(request: gr.Request) -> str:
    """Links at the end of the page."""
    links = {"sign_in": sign_in.link(request), "copy": sign_in.copy_address()}
    return views.render("foot", links, language(request))


def _localized_head(request: gr.Request) -> str:
    return _head(language(request), dict(request.query_params))


def _head(lang: str, query: Mapping[str, str]) -> str:
    """The title and the choice of a language, which keeps the other parameters of the address."""
    links = {other: "?" + urlencode({**query, "lang": other}) for other in LANGUAGES}
    return views.render("head", {"lang": lang, "links": links}, lang)


def launch(
    settings: Settings | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    device: str = "auto",
    block: bool = True,
    mcp: bool = False,
) -> gr.Blocks:
    """Serve the page.

    Args:
        settings: the operator's choices; None for those of the environment.
        host, port: where to listen; None for gradio's defaults and `GRADIO_SERVER_NAME` / `GRADIO_SERVER_PORT`.
        device: where models go; see `backends.open_backend`.
        block: whether to wait until the server is stopped.
        mcp: whether to serve the page's actions as MCP tools too.

    Raises:
        InputError: it cannot listen there, or a public server is to serve MCP tools.
    """
    i18n = browser_words()
    chosen = settings or load_settings()
    if mcp and chosen.public:
        raise InputError(
            "All MCP clients are one visitor to the page, so a public server has no MCP tools: each would see and stop "
            "the others' runs. Start it without --mcp, or with JGLUE_MODE=local."
        )
    trusted_networks()
    ahead = block and os.environ.get("JGLUE_IMPORT_AHEAD") != "0"
    served_files.use_own_folder()
    # Whom a request comes from is found by `client_address`, for which the server leaves the peer's address as it is.
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    environment.ask_no_proxy_for(host or "", os.environ.get("GRADIO_SERVER_NAME", ""))
    for sentence in environment.faults():
        print(f"note: {sentence} Until then nothing is fetched by way of it.", file=sys.stderr)
    for sentence in refused_sections(chosen):
        print(f"note: {sentence}", file=sys.stderr)
    state = AppState(chosen, device)
    page = build_for(state, i18n)
    sessions = Sessions(page)
    outer = gate.middleware(page, chosen, listens_on(host), mcp=mcp)
    if page.expects_oauth:
        outer.append(Middleware(sign_in.FramedSessionMiddleware))
    try:
        page.launch(
            server_name=host,
            server_port=port,
            i18n=i18n,
            theme=theme(),
            css_paths=STATIC / "style.css",
            js=(STATIC / "page.js").read_text("utf-8"),
            run_history=False,
            # The server is told of its limits before this thread waits.
            prevent_thread_lock=True,
            mcp_server=mcp,
            max_file_size="1kb" if chosen.public else "500mb",
            app_kwargs={
                "middleware": _middleware(
                    page, state, sessions, public=chosen.public, opened=import_ahead if ahead else None
                ),
                "lifespan": sessions.cleaning(gate.around(outer)),
            },
            share=False,
            # No other server in front, which would hide who asks.
            ssr_mode=False,
            max_threads=MAX_RUNNING,
        )
    except OSError as e:
        raise InputError(
            "The page cannot be served ({reason}). Choose another --port or --host.", reason=first_line(e)
        ) from e
    connections.limit(page.server.config)
    if block:
        page.block_thread()
    return page


def listens_on(host: str | None) -> str:
    """The address on which Gradio listens."""
    return host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"


def _middleware(
    page: gr.Blocks, state: AppState, sessions: Sessions, *, public: bool, opened: Callable[[], object] | None = None
) -> list[Middleware]:
    """What stands between Gradio and a visitor, the outermost first; `gate.middleware` is before all of it.

    Args:
        page: what is served.
        state: of the application.
        sessions: of the page's visitors.
        public: whether the server is public.
        opened: called when the page was written for a visitor.
    """
    html = gradio_files.TEMPLATE.read_text("utf-8")
    kinds = {block.get_block_name() for block in page.blocks.values()}
    files = {lang: gradio_files.needed_files(html, kinds, lang) for lang in LANGUAGES}

    async def write(html: str, request: Request) -> str:
        visitor = gr.Request(request)
        lang = language(visitor)
        head = Head(lang, word("title", lang), word("lead", lang), ICON)
        shows_api = request.query_params.get("view") == "api"
        before, config, after = document.rewritten(html, head, files[lang], api=shows_api)
        await opening.fill(page, config, visitor)
        after = after.replace("<gradio-app", _before(config, request, lang) + "<gradio-app", 1)
        if opened is not None:
            opened()
        return before + document.as_script(config) + after

    return [
        Middleware(HealthMiddleware),
        Middleware(SessionMiddleware, public=public, path=urlsplit(os.environ.get("GRADIO_ROOT_PATH", "")).path),
        Middleware(StreamsMiddleware),
        Middleware(SessionsMiddleware, sessions=sessions),
        *([Middleware(PlacesMiddleware, page=page)] if public else []),
        Middleware(CompressionMiddleware),
        Middleware(DirectErrorsMiddleware),
        *([Middleware(FirstVisitMiddleware, is_known=state.is_known)] if public else []),
        Middleware(PreviewMiddleware),
        Middleware(GradioFilesMiddleware, files=CompressedFiles(files.values())),
        Middleware(ScriptPolicyMiddleware, public=public),
        Middleware(DocumentMiddleware, write=write),
    ]


def _before(config: Mapping[str, Any], request: Request, lang: str) -> str:
    """What is shown until Gradio's script has drawn the page: its head, links for the tabs, and the first card."""
    values = {one["props"].get("elem_id"): one["props"].get("value") for one in config["components"]}
    params = dict(request.query_params)
    chosen = params.pop("tab", "")
    chosen = chosen if chosen in TABS else next(iter(TABS))
    kept = {name: value for name, value in params.items() if name == "lang" or name.startswith("__")}
    tabs = [
        {"title": word(f"tab_{key}", lang), "link": "?" + urlencode(kept | {"tab": key}), "open": key == chosen}
        for key in TABS
    ]
    payload = {
        "head": Markup(values.get("head") or ""),
        "first": Markup(values.get("first") or "") if chosen == "compare" else "",
        "tabs": tabs,
        "script": Markup((STATIC / "before.js").read_text("utf-8")),
    }
    return views.render("before", payload, lang)


def theme() -> gr.themes.Base:
    """Gradio's default with our fonts, a quiet blue, and greys that can be read."""
    return gr.themes.Default(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        font=FONTS,
        font_mono=["Noto Sans Mono CJK JP", "Osaka-Mono", "MS Gothic", "ui-monospace", "monospace"],
        radius_size=gr.themes.sizes.radius_md,
    ).set(
        body_text_color_subdued="#526071",
        body_text_color_subdued_dark="#aab4c2",
        block_info_text_color="#526071",
        block_info_text_color_dark="#aab4c2",
        input_placeholder_color="#66717f",
        input_placeholder_color_dark="#a3adba",
        button_primary_background_fill="#1d5fa8",
        button_primary_background_fill_hover="#174d89",
        button_primary_background_fill_dark="#2f74c0",
        button_primary_background_fill_hover_dark="#2768b0",
        button_primary_text_color="#ffffff",
        button_cancel_background_fill="#b3261e",
        button_cancel_text_color="#ffffff",
        block_border_width="1px",
    )


def browser_words() -> gr.I18n:
    """All labels as gradio translations."""
    return gr.I18n(**{lang: {PREFIX + key: text for key, text in table(lang).items()} for lang in LANGUAGES})
