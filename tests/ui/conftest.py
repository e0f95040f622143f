"""A server of the page in a process of its own, and a real browser to look at it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The same engine without the windows, menus and start pages around a page, which a third of the work of opening one is.
SHELLS = ("chromium-headless-shell", "chrome-headless-shell")

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    path = next((found for name in (*SHELLS, *BROWSERS) if (found := shutil.which(name))), None)
    if path is None:
        message = "These tests need Chromium; install your system's package `chromium`."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        # Without the second flag Chromium calls home, which a machine without internet answers with long waits.
        launched = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-background-networking", "--force-prefers-reduced-motion"],
        )
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps its runs."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def server(runs_dir: Path) -> Iterator[str]:
    """Address of a running page in local mode."""
    with serve(runs_dir) as address:
        yield address


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serve(
    runs_dir: Path, environment: dict[str, str] | None = None, *, port: int = 0, mcp: bool = False
) -> Iterator[str]:
    """Start the page, give its address, stop it."""
    port = port or free_port()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JGLUE_", "SPACE_", "GRADIO_", "WANDB_"))}
    # Nobody's own W&B login is used by a test.
    clean |= {"NETRC": str(runs_dir / "no-netrc"), "WANDB_CONFIG_DIR": str(runs_dir / "no-wandb-config")}
    # Most pages are opened without running a model: what it needs would be imported for each of the servers.
    clean["JGLUE_IMPORT_AHEAD"] = "0"
    with subprocess.Popen(
        [sys.executable, "-m", "jglue_app", "serve", "--port", str(port), "--runs-dir", str(runs_dir)]
        + (["--mcp"] if mcp else []),
        cwd=ROOT,
        env=clean | (environment or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                httpx.get(address, timeout=2)
                break
            except httpx.HTTPError:
                assert process.poll() is None, "the server stopped"
                time.sleep(0.1)
        try:
            yield address
        finally:
            process.terminate()
            process.wait(timeout=20)


def _print_faults(page: Page) -> None:
    """Print what a browser does not show: pytest repeats it below a test that fails."""
    page.on("requestfailed", lambda request: print("request failed:", request.method, request.url, request.failure))
    page.on("console", lambda said: print("console:", said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: print("error on the page:", error))


@pytest.fixture
def open_page(browser: Browser, server: str) -> Iterator[OpenPage]:
    """Opens pages in contexts of their own: `open_page(locale="en-US", width=1300, dark=False, address=None)`; with
    `like`, in the context of another page, as a second tab of the same visitor."""
    contexts: list[BrowserContext] = []

    def open_one(
        *,
        locale: str = "ja-JP",
        width: int = 1300,
        dark: bool = False,
        address: str | None = None,
        like: Page | None = None,
    ) -> Page:
        if like is None:
            context = browser.new_context(
                locale=locale,
                viewport={"width": width, "height": 900},
                color_scheme="dark" if dark else "light",
            )
            contexts.append(context)
        else:
            context = like.context
        page = context.new_page()
        page.set_default_timeout(60_000)
        _print_faults(page)
        page.goto(address or server)
        page.wait_for_selector("#own > button")
        # What a first visit shows arrives with the first event.
        page.wait_for_selector("#board .jg-board-wrap")
        return page

    yield open_one
    for context in contexts:
        context.close()


Tables = Callable[[str, str, float], Path]


@pytest.fixture
def table(tmp_path: Path) -> Tables:
    """Writes a table of answers in which every sample item of all subsets gets one text."""

    def write(name: str, text: str, seconds: float = 0.0) -> Path:
        path = tmp_path / f"{name}.jsonl"
        ids = []
        for task, key in (("marc_ja", "review_id"), ("jnli", "sentence_pair_id"), ("jsts", "sentence_pair_id")):
            lines = (ROOT / "assets/samples" / task / "valid.json").read_text("utf-8").splitlines()
            ids += [(task, json.loads(line)[key]) for line in lines]
        rows = [{"task": task, "item_id": id_, "text": text, "seconds": seconds} for task, id_ in ids]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        return path

    return write
