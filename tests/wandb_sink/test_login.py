"""Where to and with whose key: what is checked before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from jglue_app.errors import InputError
from jglue_app.wandb_sink import Login, Target, checked_key, log_in, operator_key, target

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's own keys and settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NETRC", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)


# --- places ---------------------------------------------------------------------------------------------


def test_without_a_name_the_project_is_jglue_of_the_keys_own_entity_at_the_public_server() -> None:
    assert target() == Target("", "jglue", "https://api.wandb.ai")
    assert target().path == "jglue"


def test_the_environment_names_what_was_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    assert target() == Target("team", "ours", "https://api.wandb.ai")
    assert target("mine", "hanako") == Target("hanako", "mine", "https://api.wandb.ai")
    assert target("hanako/mine").path == "hanako/mine"
    monkeypatch.setenv("WANDB_PROJECT", "")
    assert target().project == "jglue"


@pytest.mark.parametrize("name", ["jglue", "a", "日本語の評価", "JGLUE-v1.3_(2026)", "x" * 128, "-", "プロジェクト"])
def test_a_project_may_have_any_name_that_wandb_takes(name: str) -> None:
    assert target(name).project == name
    assert target(f"team/{name}") == Target("team", name, "https://api.wandb.ai")


@pytest.mark.parametrize("character", [*"/\\#?%: \t\n\x00\x1f\u3000"])
def test_a_project_name_with_a_character_that_wandb_forbids_is_refused(character: str) -> None:
    with pytest.raises(InputError, match=r"W&B takes no project named"):
        target(f"jg{character}lue", "team")


@pytest.mark.parametrize("name", ["x" * 129, "あ" * 129, "a/b/c", "team/"])
def test_a_project_name_that_is_too_long_or_in_parts_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"W&B"):
        target(name)


def test_an_entity_must_stand_before_the_slash() -> None:
    with pytest.raises(InputError, match=r"names no entity before the '/'"):
        target("/jglue")


@pytest.mark.parametrize("entity", ["te am", "team/jglue", "チーム", "-x", "x" * 129, "a?b"])
def test_what_is_no_entity_is_refused(entity: str) -> None:
    with pytest.raises(InputError, match=r"W&B has no entity named"):
        target("jglue", entity)


def test_a_long_name_is_not_repeated_in_full() -> None:
    with pytest.raises(InputError) as found:
        target("x" * 100_000)
    assert len(str(found.value)) < 500


def test_the_server_is_that_of_the_environment_or_of_wandb_login(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / ".config" / "wandb"
    folder.mkdir(parents=True)
    (folder / "settings").write_text("[default]\nbase_url = https://wandb.example.org/\n", "utf-8")
    assert target().base_url == "https://wandb.example.org"
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:8080/")
    assert target().base_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize("content", ["", "no section = 1", "[default]\nentity = x", "\x00\xff[", "[default]\nbase_url"])
def test_settings_of_wandb_that_cannot_be_read_are_none(tmp_path: Path, content: str) -> None:
    folder = tmp_path / ".config" / "wandb"
    folder.mkdir(parents=True)
    (folder / "settings").write_bytes(content.encode("latin-1"))
    assert target().base_url == "https://api.wandb.ai"


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://wandb.example.org", "wandb.example.org", "http://", "https://hanako:secret@wandb.example.org"),
        *("http://[::1", "https://wandb.example.org/?key=1"),
    ],
)
def test_what_is_no_address_of_a_server_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", url)
    with pytest.raises(InputError, match=r"WANDB_BASE_URL"):
        target()


def test_a_password_in_an_address_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "https://hanako:secret@wandb.example.org")
    with pytest.raises(InputError) as found:
        target()
    assert "secret" not in str(found.value)


# --- keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [KEY, f"local-{KEY}", f"wandb_v1_{KEY}{KEY}", "x" * 86, f"  {KEY}\n"])
def test_a_key_that_looks_like_one_is_taken(key: str) -> None:
    assert checked_key(key) == key.strip()


@pytest.mark.parametrize("key", ["", "   ", "\n"])
def test_an_empty_key_is_refused(key: str) -> None:
    with pytest.raises(InputError, match=r"key is empty. Nothing was sent"):
        checked_key(key)


@pytest.mark.parametrize(
    "key", [KEY[:-1], f"{KEY[:20]} {KEY[20:]}", f"{KEY}\n{KEY}", f"local-{KEY[:-1]}", f"{KEY}'", f"{KEY}é¥"]
)
def test_what_looks_like_no_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(InputError) as found:
        checked_key(key)
    assert "Nothing was sent" in str(found.value)
    assert KEY[:12] not in str(found.value)


def netrc(path: Path, host: str, key: str = KEY) -> None:
    path.write_text(f"machine {host}\n  login user\n  password {key}\n", "utf-8")
    path.chmod(0o600)


def test_the_key_is_that_of_the_environment_before_that_of_wandb_login(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc(tmp_path / ".netrc", "api.wandb.ai")
    assert operator_key("https://api.wandb.ai") == KEY
    assert operator_key("https://wandb.example.org") == ""
    monkeypatch.setenv("WANDB_API_KEY", "e" * 40)
    assert operator_key("https://api.wandb.ai") == "e" * 40


def test_the_keys_may_lie_in_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc(tmp_path / "keys", "127.0.0.1")
    monkeypatch.setenv("NETRC", str(tmp_path / "keys"))
    assert operator_key("http://127.0.0.1:8080") == KEY


def test_an_empty_key_in_the_environment_is_no_reason_to_use_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc(tmp_path / ".netrc", "api.wandb.ai")
    monkeypatch.setenv("WANDB_API_KEY", "")
    assert operator_key("https://api.wandb.ai") == ""
    with pytest.raises(InputError, match=r"no key for https://api\.wandb\.ai"):
        log_in(target())


@pytest.mark.parametrize("content", ["", "machine", "machine api.wandb.ai login", "password x\n\x00\xff"])
def test_a_file_of_keys_that_cannot_be_read_has_none(tmp_path: Path, content: str) -> None:
    (tmp_path / ".netrc").write_bytes(content.encode("latin-1"))
    assert operator_key("https://api.wandb.ai") == ""


def test_without_a_key_the_ways_to_one_are_named() -> None:
    with pytest.raises(InputError, match=r"WANDB_API_KEY.*`wandb login`\. Nothing was sent\.$"):
        log_in(target())
    with pytest.raises(InputError, match=r"an offline copy \(`--offline`\) needs none\. Nothing was sent\.$"):
        log_in(target(), offline_hint=True)


def test_a_login_does_not_show_its_key() -> None:
    login = Login(target(), KEY)
    assert KEY not in f"{login} {login!r} {[login]}"
