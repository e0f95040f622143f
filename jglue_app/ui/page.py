"""The page as a whole: header, tabs, what leads from one to another, and how it is served."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
from starlette.middleware import Middleware

from jglue_app import environment
from jglue_app.errors import InputError, first_line
from jglue_app.messages import LANGUAGES, table
from jglue_app.settings import Settings, load_settings
from jglue_app.ui import endpoints, guard, views
from jglue_app.ui.controls import pane
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import about, audit, compare, full, lab, results
from jglue_app.ui.views import STATIC
from jglue_app.ui.visitor import Door, language, page_of

PREFIX = "jg_"
"""Of our keys among gradio's translations, so that they never meet gradio's own."""
FONTS = ["Noto Sans JP", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic UI", "Meiryo", "sans-serif"]
"""Of the visitor's own machine: nothing is fetched."""


def build(settings: Settings, i18n: gr.I18n, device: str = "auto") -> gr.Blocks:
    """The page, ready to launch. No model is loaded."""
    desk = AppState(settings, device)

    def t(key: str) -> Any:
        return i18n(PREFIX + key)

    page: gr.Blocks
    # What is sent to gradio's upload address is soon gone.
    with gr.Blocks(
        title="JGLUE くらべ ・ JGLUE side by side", analytics_enabled=False, delete_cache=(3600, 3600)
    ) as page:
        head = pane("head", _head("ja", {}))
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab(t("tab_compare"), id="compare"):
                comparing = compare.build(desk, t)
            with gr.Tab(t("tab_lab"), id="lab"):
                trying = lab.build(desk, t)
            with gr.Tab(t("tab_full"), id="full"):
                full_name, open_full = full.build(desk, t)
            with gr.Tab(t("tab_results"), id="results") as results_tab:
                ranking = results.build(desk, t)
            with gr.Tab(t("tab_audit"), id="audit"):
                audit.build(desk, t)
            with gr.Tab(t("tab_about"), id="about"):
                about.build(t)
        endpoints.build(desk)

        def to_compare(request: gr.Request, a: str | None, b: str | None) -> tuple[Any, ...]:
            if not a:
                return gr.skip(), *(gr.skip() for _ in comparing.told), *compare.SAME
            told = compare.asked_by(desk, request, a, b or "")
            desk.set_current_view(page_of(request), compare.KIND, (a, b))
            found = compare.beside_a_run(desk, request, compare.stored_pair(desk, request, a, b or ""))
            return gr.Tabs(selected="compare"), *told, *found

        def to_lab(request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
            sent = event._data if isinstance(event._data, dict) else {}
            return gr.Tabs(selected="lab"), gr.Tabs(selected="one"), *trying.fill_from(request, sent)

        def alone(request: gr.Request, name: str | None) -> tuple[Any, ...]:
            return to_compare(request, name, "")

        def greet(request: gr.Request) -> str:
            return _head(language(request), dict(request.query_params))

        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        ranking.compare.click(to_compare, [ranking.a, ranking.b], [tabs, *comparing.told, *comparing.views], **quiet)
        open_full.click(alone, full_name, [tabs, *comparing.told, *comparing.views], **quiet)
        comparing.items.submit(to_lab, None, [tabs, trying.tabs, *trying.fill], **quiet)
        results_tab.select(ranking.refresh, ranking.inputs, ranking.outputs, **quiet)
        page.load(greet, None, head, **quiet)
    guard.guard(page)
    page.queue(max_size=64)
    return page


def _head(lang: str, asked: Mapping[str, str]) -> str:
    """The title and the choice of a language, which keeps what else the address asks for."""
    links = {other: "?" + urlencode({**asked, "lang": other}) for other in LANGUAGES}
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
    environment.ask_no_proxy_for(host or "", os.environ.get("GRADIO_SERVER_NAME", ""))
    for sentence in environment.faults():
        print(f"note: {sentence} Until then nothing is fetched by way of it.", file=sys.stderr)
    page = build(chosen, i18n, device)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            i18n=i18n,
            theme=theme(),
            css_paths=STATIC / "style.css",
            js=(STATIC / "page.js").read_text("utf-8"),
            run_history=False,
            prevent_thread_lock=not block,
            mcp_server=mcp,
            max_file_size="1kb" if chosen.public else "500mb",
            app_kwargs={"middleware": [Middleware(Door, public=chosen.public)]},
            footer_links=["api", "settings"],
            share=False,
            # Each page that follows a job holds one.
            max_threads=120,
        )
    except OSError as e:
        raise InputError(
            "The page cannot be served ({reason}). Choose another --port or --host.", reason=first_line(e)
        ) from e
    return page


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
