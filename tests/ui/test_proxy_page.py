"""The page below a path of another server, behind nginx with https: its files, its cookies, and what it streams."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from playwright.sync_api import Browser

from jglue_app.ui.visitor import visitor_cookie
from tests.ui.conftest import Tables, free_port, serve
from tests.ui.nginx import nginx

SERVER = """server {{
  listen 127.0.0.1:{port} ssl;
  location /jglue/ {{ proxy_pass {address}/; }}
}}"""


@pytest.mark.harness
def test_the_page_works_below_the_path_of_a_proxy(tmp_path: Path, table: Tables, browser: Browser) -> None:
    port = free_port()
    below = f"https://localhost:{port}/jglue"
    with (
        serve(tmp_path / "runs", {"GRADIO_ROOT_PATH": "/jglue"}) as address,
        nginx(tmp_path / "nginx", port, SERVER.format(port=port, address=address)),
        httpx.Client(timeout=60, verify=False) as visitor,
    ):
        assert visitor.get(f"{below}/health").json()["status"] == "ok"
        page = visitor.get(f"{below}/?lang=en")
        assert f'"root":"{below}"' in page.text
        cookies = {line.split("=")[0]: line.split("; ")[1:] for line in page.headers.get_list("set-cookie")}
        framed = ["SameSite=None", "Secure", "Partitioned"]
        assert cookies == {
            "jg_lang": ["Path=/jglue", "Max-Age=31536000", *framed],
            visitor_cookie("/jglue"): ["Path=/jglue", "Max-Age=31536000", "HttpOnly", *framed],
        }
        pictures = re.findall(r'(?:og|twitter):image" content="([^"]+)"', page.text)
        assert pictures == [f"{below}/preview.png"] * 2
        files = re.findall(r'href="\./((?:assets/|theme)[^"]+)"', page.text)
        assert len(files) > 20
        for one in [*pictures[:1], *(f"{below}/{name}" for name in files)]:
            assert visitor.get(one).status_code == 200, one

        # Events come as they happen, though nginx collects what it is not told to hand on.
        client = Client(f"{below}/", verbose=False, ssl_verify=False)
        slow = str(table("slow", "含意", 0.6))
        job = client.submit(tasks=["jnli"], limit=45, a_model=slow, a_backend="scripted", api_name="/compare_models")
        while not (job.outputs() or job.done()):
            time.sleep(0.02)
        # An event was here before the run was through.
        assert sum(file.read_bytes().count(b"\n") for file in (tmp_path / "runs").glob("*/records.jsonl")) < 45
        job.result(timeout=300)
        assert job.outputs()[-1]["runs"]
        client.close()

        context = browser.new_context(ignore_https_errors=True, locale="ja-JP")
        opened = context.new_page()
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        # A stream that is no longer read is cut off by Gradio's script itself.
        opened.on("requestfailed", lambda r: None if r.failure == "net::ERR_ABORTED" else faults.append(r.url))
        opened.goto(f"{below}/?tab=results")
        opened.wait_for_selector("#leaderboard .jg-ranking")
        names = [cookie["name"] for cookie in context.cookies() if cookie["path"] == "/jglue"]
        assert names == [visitor_cookie("/jglue")]
        context.close()
        assert faults == []
