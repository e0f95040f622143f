"""Where visitors can sign in, and what the links to it say."""

from __future__ import annotations

import gradio as gr
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from jglue_app.errors import InputError
from jglue_app.settings import load_settings
from jglue_app.ui import sign_in
from jglue_app.ui.hub_push import start_push
from jglue_app.ui.state import AppState

SPACE = {
    "SYSTEM": "spaces",
    "SPACE_ID": "me/jglue",
    "OAUTH_CLIENT_ID": "client",
    "OAUTH_CLIENT_SECRET": "secret",
    "OAUTH_SCOPES": "openid profile",
    "OPENID_PROVIDER_URL": "https://huggingface.co",
}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SPACE:
        monkeypatch.delenv(name, raising=False)


def opened(query: str = "", account: str = "") -> gr.Request:
    info = {"access_token": "hf_oauth_token", "userinfo": {"preferred_username": account}}
    scope = {"type": "http", "headers": [], "query_string": query.encode(), "path": "/"}
    return gr.Request(Request({**scope, "session": {"oauth_info": info} if account else {}}))


def test_elsewhere_there_is_nothing_to_sign_in_to() -> None:
    assert sign_in.can_sign_in() is False
    assert sign_in.unseen_button() is None
    assert (sign_in.link(opened(account="hanako")), sign_in.copy_address()) == ({}, "")


@pytest.mark.parametrize("missing", SPACE)
def test_a_space_needs_all_that_the_hub_sets(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name, value in SPACE.items():
        monkeypatch.setenv(name, value)
    assert sign_in.can_sign_in() is True
    # An empty secret would let anyone sign a cookie.
    monkeypatch.setenv(missing, "")
    assert sign_in.can_sign_in() is False


def test_the_links_of_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SPACE.items():
        monkeypatch.setenv(name, value)
    assert sign_in.link(opened("tab=results&__sign=abc&_target_url=//evil.example")) == {
        "url": "login/huggingface?_target_url=%2F%3Ftab%3Dresults",
        "account": "",
    }
    assert sign_in.link(opened("", "hanako")) == {"url": "logout?_target_url=%2F", "account": "hanako"}
    assert sign_in.copy_address() == "https://huggingface.co/spaces/me/jglue?duplicate=true"
    monkeypatch.setenv("SPACE_ID", "me/jglue?x=1")
    assert sign_in.copy_address() == ""


def test_an_account_has_a_token_that_is_not_printed() -> None:
    account = sign_in.hub_account(opened("", "hanako"))
    assert account is not None
    assert (account.name, account.token) == ("hanako", "hf_oauth_token")
    assert "hf_oauth_token" not in f"{account!r} {account!s}"
    assert sign_in.hub_account(opened()) is None


def test_a_push_takes_an_account_and_a_run() -> None:
    state = AppState(load_settings())
    with pytest.raises(InputError, match="Sign in with your account"):
        start_push(state, "owner", "shipped:base-3-shot", None)
    with pytest.raises(InputError, match="Choose a run"):
        start_push(state, "owner", "", sign_in.hub_account(opened("", "hanako")))
    state.close()


def test_the_cookie_of_a_sign_in_stays_within_a_frame_and_others_are_left_alone() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        answer = PlainTextResponse("")
        for line in (
            "session=abc; path=/; httponly; samesite=none; secure",
            "session=; path=/; samesite=lax",
            "other=1; secure",
        ):
            answer.headers.append("set-cookie", line)
        await answer(scope, receive, send)

    lines = TestClient(sign_in.FramedSessionMiddleware(application)).get("/").headers.get_list("set-cookie")
    assert lines == [
        "session=abc; path=/; httponly; samesite=none; secure; Partitioned",
        "session=; path=/; samesite=lax",
        "other=1; secure",
    ]
