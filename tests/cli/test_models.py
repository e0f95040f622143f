"""`models --check`: what a server can do, against a real one on the loopback address."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jglue_app.cli import app
from tests.api_server import ApiConfig, ApiServer


@pytest.mark.parametrize(
    ("config", "chats", "ranked"),
    [
        (ApiConfig(), "yes", "exactly in chats, exactly in other formats"),
        (ApiConfig(prompt_logprobs="ignored"), "yes", "by the first token in chats, exactly in other formats"),
        (
            ApiConfig(echo="ignored", prompt_logprobs="ignored", completions=False),
            "yes",
            "by the first token in chats, not in other formats",
        ),
        (ApiConfig(chat=False), "no", "not in chats, exactly in other formats"),
    ],
)
def test_it_says_first_whether_a_server_chats_and_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: ApiConfig, chats: str, ranked: str
) -> None:
    with ApiServer(config) as server:
        path = tmp_path / "endpoints.toml"
        path.write_text(f'[own]\nbase_url = "{server.base_url}"\n', "utf-8")
        monkeypatch.setenv("JGLUE_ENDPOINTS", str(path))
        result = CliRunner().invoke(app, ["models", "--check", "own:tiny"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:2] == [f"chats: {chats}", f"answers are ranked: {ranked}"]
