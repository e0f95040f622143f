"""A Space as its visitors meet it: in a frame of the Hub's page, signing in there, and sending a run to their account.

The browser takes a server of the test for the Hub, and nginx with https for the proxy of the Space.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Cookie, Frame

from jglue_app.ui.visitor import VISITOR_COOKIE
from tests.hub_sink.hub_server import hub
from tests.ui.conftest import BROWSERS, free_port, serve
from tests.ui.nginx import nginx

SPACE, HOST = "me/jglue", "me-jglue.hf.space"
TOKEN = "hf_oauth_CanaryCanaryCanary0123456789"
SERVERS = """
server {{ listen 127.0.0.1:{port} ssl; server_name huggingface.co; location / {{ proxy_pass {hub}; }} }}
server {{ listen 127.0.0.1:{port} ssl; server_name {host}; location / {{ proxy_pass {address}; }} }}
"""


@pytest.mark.harness
def test_a_visitor_signs_in_within_the_frame_and_sends_a_run_to_their_account(tmp_path: Path, browser: Browser) -> None:
    chromium = next(found for name in BROWSERS if (found := shutil.which(name)))
    port, runs = free_port(), tmp_path / "runs"
    with hub() as server:
        server.accounts[TOKEN], server.clients["client"] = "hanako", "the-secret-of-the-space"
        server.spaces[f"/spaces/{SPACE}"] = f"https://{HOST}/?tab=results&lang=ja"
        oauth = {
            "OAUTH_CLIENT_ID": "client",
            "OAUTH_CLIENT_SECRET": "the-secret-of-the-space",
            "OAUTH_SCOPES": "openid profile contribute-repos",
            "OPENID_PROVIDER_URL": server.address,
        }
        space = {"SYSTEM": "spaces", "SPACE_ID": SPACE, "SPACE_HOST": HOST, "HF_ENDPOINT": server.address}
        rules = f"MAP huggingface.co:443 127.0.0.1:{port}, MAP *.hf.space:443 127.0.0.1:{port}, EXCLUDE 127.0.0.1"
        with (
            serve(runs, {**space, **oauth}) as address,
            nginx(tmp_path / "nginx", port, SERVERS.format(port=port, hub=server.address, host=HOST, address=address)),
            # A browser of its own, which takes the names of the Hub for those of this machine.
            browser.browser_type.launch(
                executable_path=chromium,
                args=[
                    *("--no-sandbox", "--disable-background-networking", f"--host-resolver-rules={rules}"),
                    # As browsers are that refuse the cookies of other sites.
                    "--test-third-party-cookie-phaseout",
                ],
            ) as hub_browser,
        ):
            context = hub_browser.new_context(ignore_https_errors=True, locale="ja-JP")
            page = context.new_page()
            page.set_default_timeout(90_000)
            page.goto(f"https://huggingface.co/spaces/{SPACE}")
            frame = page.frames[1]
            frame.wait_for_selector("#leaderboard .jg-ranking")
            assert not frame.locator("#hub-go").is_visible()
            assert (
                frame.get_attribute('.jg-foot a[target="_blank"]', "href")
                == f"https://huggingface.co/spaces/{SPACE}?duplicate=true"
            )
            before = visitor(context.cookies())

            frame.click('.jg-foot a[href^="login/huggingface"]')
            frame = signed_in(page.frames[1], "hanako")
            assert server.scopes_asked == ["openid profile contribute-repos"]
            # In the frame they are the visitor that they were, whose runs they see.
            assert visitor(context.cookies()) == before
            assert frame.url == f"https://{HOST}/?tab=results&lang=ja"

            frame.wait_for_selector("#hub-go")
            frame.click("#hub-go")
            frame.wait_for_selector("#hub-status a")
            ((name, repository),) = server.repositories.items()
            assert (name.split("/")[0], repository.private) == ("hanako", True)
            assert frame.inner_text("#hub-status a") == name
            assert "items.parquet" in repository.files
            shown = frame.evaluate("document.documentElement.outerHTML + document.cookie")
            assert TOKEN not in shown
            assert [path for path in runs.rglob("*") if path.is_file() and TOKEN in path.read_text("utf-8")] == []

            frame.click('.jg-foot a[href^="logout"]')
            page.frames[1].wait_for_selector('.jg-foot a[href^="login/huggingface"]')


def visitor(cookies: list[Cookie]) -> str:
    """The visitor's id in the frame; it reaches the server there only with these attributes."""
    (cookie,) = (one for one in cookies if one["name"] == VISITOR_COOKIE)
    assert (cookie["secure"], cookie["sameSite"], cookie["httpOnly"]) == (True, "None", True)
    assert cookie.get("partitionKey") == "https://huggingface.co"
    return cookie["value"]


def signed_in(frame: Frame, name: str) -> Frame:
    """Wait for a page that knows the visitor's account."""
    frame.wait_for_selector('.jg-foot a[href^="logout"]')
    assert name in frame.inner_text(".jg-foot")
    return frame
