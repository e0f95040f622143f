"""The page as a whole: header, tabs, and how it is served."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from jglue_app.backends import ModelPool
from jglue_app.errors import InputError, first_line
from jglue_app.settings import Settings, load_settings
from jglue_app.ui import compare
from jglue_app.ui.live import Desk
from jglue_app.ui.words import PREFIX, browser_words

STYLE = Path(__file__).with_name("style.css")


def build(settings: Settings, i18n: gr.I18n, device: str = "auto") -> gr.Blocks:
    """The page, ready to launch. No model is loaded."""
    desk = Desk(settings, ModelPool(settings, device=device))
    page: gr.Blocks
    # Nothing on the page takes a file; what is sent to gradio's upload address all the same is small and soon gone.
    with gr.Blocks(title="JGLUE くらべ", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        with gr.Column(elem_classes="jg-head"):
            gr.Markdown(i18n(PREFIX + "title"), elem_classes="jg-title")
            gr.Markdown(i18n(PREFIX + "lead"))
        outputs, greet = compare.build(desk, i18n)
        page.load(greet, None, outputs, api_visibility="private", show_progress="hidden")
    page.queue(max_size=32)
    return page


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
    """
    i18n = browser_words()
    page = build(settings or load_settings(), i18n, device)
    try:
        _serve(page, i18n, host, port, block, mcp)
    except OSError as e:
        raise InputError(f"The page cannot be served ({first_line(e)}). Choose another --port or --host.") from e
    return page


def _serve(page: gr.Blocks, i18n: gr.I18n, host: str | None, port: int | None, block: bool, mcp: bool) -> None:
    page.launch(
        server_name=host,
        server_port=port,
        i18n=i18n,
        theme=gr.themes.Default(font=["Noto Sans JP", "Hiragino Sans", "Yu Gothic UI", "sans-serif"]),
        css_paths=STYLE,
        run_history=False,
        prevent_thread_lock=not block,
        mcp_server=mcp,
        max_file_size="1kb",
    )
