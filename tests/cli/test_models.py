"""`models --check`: what a server can do, against a real one on the loopback address."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jglue_app.backends.openai_api.capabilities import plain_facts
from jglue_app.cli import app
from jglue_app.cli.models import fact_text
from jglue_app.errors import InputError, ModelError
from jglue_app.messages import say
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
    assert not re.search(r"\b(True|False|None)\b", result.stdout)


def test_what_a_server_does_is_said_in_words_and_as_values_to_programs() -> None:
    """A model may be called as a value of Python is: only what has such a type is one."""
    identity = {"model": "None", "chat": "none", "chat: seed": "True", "chat: top_logprobs": "20", "token_ids": "False"}
    facts = plain_facts(
        identity | {"context_length": "None", "chat: thinking_off": "", "context_length (endpoints.toml)": "8"}
    )
    assert list(facts.values()) == ["None", "none", True, 20, False, None, "", "8"]
    words = [fact_text(value) for value in facts.values()]
    assert words == ["None", "none", "yes", "20", "no", "not known", "–", "8"]
    assert [say(word, "ja") for word in (words[2], words[4], words[5])] == ["はい", "いいえ", "不明"]


def test_each_server_of_a_pool_is_shown_with_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chats = ApiConfig(completions=False)
    with ApiServer(chats) as one, ApiServer(chats) as silent, ApiServer(chats, seed="other weights") as other:
        silent.down()
        path = tmp_path / "endpoints.toml"
        monkeypatch.setenv("JGLUE_ENDPOINTS", str(path))
        path.write_text(
            f'[own]\nbase_url = ["{one.base_url}", "{silent.base_url}"]\nmodels = {{ tiny = {{}} }}\n', "utf-8"
        )
        listed = CliRunner().invoke(app, ["models"])
        assert "own:tiny" in listed.stdout and "2 × 4" in listed.stdout
        result = CliRunner().invoke(app, ["models", "--check", "own:tiny", "--json"])
        facts = json.loads(result.stdout)
        assert [row["state"] for row in facts["servers"]] == ["ready", "no answer"]
        assert [row["address"] for row in facts["servers"]] == [one.base_url, silent.base_url]
        assert facts["server"] == "servers of one model" and facts["model"] == "tiny"
        assert facts["chat: temperature"] is True and facts["context_length"] == 4096
        path.write_text(f'[own]\nbase_url = ["{one.base_url}", "{other.base_url}"]\n', "utf-8")
        refused = CliRunner().invoke(app, ["models", "--check", "own:tiny"])
    assert isinstance(refused.exception, ModelError) and other.base_url in str(refused.exception)
    assert "ready" in refused.stdout and "chat: answer" in "".join(refused.stdout.split("\n"))


@pytest.mark.parametrize(
    "addresses", ['"http://127.0.0.1:9/v1"', '["http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"]']
)
def test_without_its_key_nothing_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addresses: str) -> None:
    path = tmp_path / "endpoints.toml"
    monkeypatch.setenv("JGLUE_ENDPOINTS", str(path))
    monkeypatch.delenv("OWN_KEY", raising=False)
    path.write_text(f'[own]\nbase_url = {addresses}\nkey_env = "OWN_KEY"\nmodels = {{ tiny = {{}} }}\n', "utf-8")
    refused = CliRunner().invoke(app, ["models", "--check", "own:tiny"])
    assert refused.output == ""
    assert isinstance(refused.exception, InputError) and "Set it in the environment" in str(refused.exception)
