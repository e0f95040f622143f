"""What endpoints.toml may say, and what is refused there without repeating a key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.backends.endpoints import is_served, read_endpoints, refused_sections, served_model, served_models
from jglue_app.cli.models import models
from jglue_app.errors import InputError, JglueAppError, UnknownNameError
from jglue_app.settings import Settings
from jglue_app.ui.model_box import _listing
from tests.served_models import with_endpoints

FAR = "https://models.example/v1"
SECRETS = ("sk-0123456789abcdef", "AIzaSyD0123456789abcdefghijk", "Zx81kfJ2mQ90aaBBccDDeeFF", "hunter2hunter2")


def refused(settings: Settings, **entry: object) -> str:
    """The sentence with which an entry is refused; no secret is in it."""
    with pytest.raises(JglueAppError) as caught:
        served_model("here:tiny", with_endpoints(settings, here={"base_url": FAR, **entry}))
    text = str(caught.value)
    assert not any(secret in text for secret in SECRETS)
    return text


@pytest.mark.parametrize("key", SECRETS[:3])
def test_a_key_in_the_place_of_a_variable_is_refused_and_not_repeated(settings: Settings, key: str) -> None:
    assert "key_env takes the name of an environment variable" in refused(settings, key_env=key)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "AZURE_OPENAI_KEY_2", "my_key", "K", "Vllm0KeyOfTheTestServer_1"])
def test_names_of_variables_are_taken(settings: Settings, name: str) -> None:
    assert (
        read_endpoints(with_endpoints(settings, here={"base_url": FAR, "key_env": name})).usable["here"].key_env == name
    )


@pytest.mark.parametrize(
    "entry",
    [
        {"headers": {"Authorization": f"Bearer {SECRETS[0]}"}},
        {"headers": {"api-key": SECRETS[3]}},
        {"query": {"code": SECRETS[1]}},
        {"body": {"api_key": SECRETS[3]}},
        {"body": {"user": SECRETS[0]}},
    ],
)
def test_a_key_in_the_file_is_refused_wherever_it_stands(settings: Settings, entry: dict[str, object]) -> None:
    assert "holds a key" in refused(settings, **entry)


def test_parameters_that_are_no_keys_are_taken(settings: Settings) -> None:
    body = {"user": "評価", "top_k": 1, "guided": {"regex": "[01]"}}
    assert read_endpoints(with_endpoints(settings, here={"base_url": FAR, "body": body})).usable["here"].body == body


def test_an_address_with_credentials_or_a_query_is_refused(settings: Settings) -> None:
    assert "a name or a password" in refused(settings, base_url=f"https://me:{SECRETS[3]}@models.example/v1")
    assert "has a query" in refused(settings, base_url=f"{FAR}?key={SECRETS[3]}")
    assert "is no address" in refused(settings, base_url="models.example/v1")


@pytest.mark.parametrize("entry", [{"key_env": "HERE_KEY"}, {"headers": {"Authorization": "Bearer $HERE_KEY"}}])
def test_no_key_goes_far_without_encryption(settings: Settings, entry: dict[str, object]) -> None:
    assert "without encryption to models.example" in refused(settings, base_url="http://models.example/v1", **entry)
    for near in ("http://127.0.0.1:8000/v1", "http://192.168.1.5:8000/v1", "http://gpu:8000/v1"):
        assert "here" in read_endpoints(with_endpoints(settings, here={"base_url": near, **entry})).usable


PAID, FREE = {"price_in": 1.0}, {"price_in": 0.0}
MONEY, TOKENS = {"budget": 1.0, "budget_per_day": 2.0}, {"tokens": 10, "tokens_per_day": 20}


@pytest.mark.parametrize(
    ("models", "visitors", "taken"),
    [
        ({"a": PAID}, MONEY, True),
        ({"a": PAID}, TOKENS, False),
        ({"a": FREE}, TOKENS, True),
        # Nothing is ever counted against a budget where tokens have no price.
        ({"a": FREE}, MONEY, False),
        ({"a": PAID, "b": FREE}, MONEY, False),
        ({"a": PAID, "b": FREE}, {**MONEY, **TOKENS}, True),
        ({"a": PAID}, {"budget": 1.0}, False),
        ({"a": PAID}, {"budget_per_day": 1.0}, False),
    ],
)
def test_every_model_for_visitors_has_a_limit_that_counts(
    settings: Settings, models: dict[str, object], visitors: dict[str, object], taken: bool
) -> None:
    entry = {"models": models, "visitors": visitors}
    if taken:
        assert "here" in read_endpoints(with_endpoints(settings, here={"base_url": FAR, **entry})).usable
    else:
        assert "visitors need a limit" in refused(settings, **entry)


def test_visitors_see_and_use_what_is_listed_for_them_alone(settings: Settings) -> None:
    shown = {"base_url": FAR, "models": {"a": PAID}, "visitors": MONEY}
    hidden = {"base_url": FAR, "models": {"a": {}}}
    public = replace(with_endpoints(settings, shown=shown, hidden=hidden), public=True)
    assert list(served_models(public)) == ["shown:a"]
    assert list(served_models(replace(public, public=False))) == ["shown:a", "hidden:a"]
    for model in ("hidden:a", "shown:b", "https://models.example/v1"):
        with pytest.raises(UnknownNameError) as caught:
            served_model(model, public)
        assert "hidden:" not in str(caught.value).replace(model, "")


def test_a_bad_section_refuses_itself_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {"base_url": FAR, "models": {"a": PAID}, "visitors": MONEY}
    file = with_endpoints(
        settings,
        good=listed,
        typing={**listed, "pirce": 1},
        key={**listed, "key_env": SECRETS[0]},
        many={**listed, "can": {"logprobs": True}},
        x=listed,
    )
    text = "alone = 1\n" + file.endpoints_file.read_text("utf-8") if file.endpoints_file else ""
    (settings.cache_dir.parent / "endpoints.toml").write_text(text, "utf-8")
    assert list(served_models(file)) == ["good:a"]
    assert served_model("good:b", file).endpoint.base_url == FAR
    sentences = refused_sections(file)
    # Each is said with its place, and none repeats a key.
    for name, sentence in zip(("alone", "typing", "key", "many", "x"), sentences, strict=True):
        assert f"endpoints.toml, [{name}]: " in sentence or "'alone' stands alone" in sentence
        assert not any(secret in sentence for secret in SECRETS)
    with pytest.raises(InputError, match=r"\[typing\]: there is no setting pirce"):
        served_model("typing:a", file)
    with pytest.raises(UnknownNameError, match="Unknown endpoint 'other'"):
        served_model("other:a", file)
    # Visitors are offered the good one, and are not told what is wrong with others.
    public = replace(file, public=True)
    assert list(served_models(public)) == ["good:a"]
    with pytest.raises(UnknownNameError, match="Unknown endpoint 'typing'"):
        served_model("typing:a", public)
    # The list of models tells of all of them, and goes on.
    monkeypatch.setenv("JGLUE_ENDPOINTS", str(file.endpoints_file))
    models()
    told = capsys.readouterr()
    assert "good:a" in told.out
    assert told.err.splitlines() == [f"note: {sentence}" for sentence in sentences]
    listing, _ = _listing(file, "cpu")
    assert [row["id"] for row in listing("en")["rows"] if ":" in row["id"]] == ["good:a"]
    assert listing("en")["note"].splitlines() == sentences
    assert "という設定はありません" in listing("ja")["note"]
    assert _listing(public, "cpu")[0]("en")["note"] == ""


def test_paths_are_no_models_on_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine:v2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert is_served("vllm:org/model") and is_served("ollama:qwen3:0.6b")
    for path in ("mine:v2", "./vllm:model", "C:/models/a", "C:\\models\\a", "/models/a:b", "org/model"):
        assert not is_served(path)


def test_other_mistakes_are_sentences(settings: Settings) -> None:
    assert "there is no setting key" in refused(settings, key=SECRETS[0])
    assert "Unknown capability 'logprobs'" in refused(settings, can={"logprobs": True})
    assert "price_in has a value that it does not take" in refused(settings, price_in=-1)
    missing = replace(settings, endpoints_file=None)
    with pytest.raises(InputError, match="no server is listed"):
        served_model("here:tiny", missing)
