"""What the file of endpoints may not say, and what of it makes another run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jglue_app.backends.endpoints import read_endpoints, served_model
from jglue_app.backends.openai_api.backend import identity
from jglue_app.backends.openai_api.capabilities import described
from jglue_app.errors import InputError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from tests.api_server import ApiServer
from tests.served_models import with_endpoints, with_server

URL = "https://example.com/v1"


@pytest.mark.parametrize("name", ["model", "messages", "prompt", "max_tokens", "temperature", "stop", "stream", "n"])
def test_parameters_of_the_run_cannot_stand_in_the_body(settings: Settings, name: str) -> None:
    with pytest.raises(InputError, match=f"body holds {name}, which each run sets"):
        served_model("here:tiny", with_endpoints(settings, here={"base_url": URL, "body": {name: 1}}))


def test_the_way_of_thinking_cannot_stand_in_the_body_too(settings: Settings) -> None:
    entry = {"base_url": URL, "body": {"reasoning_effort": "high"}}
    assert read_endpoints(with_endpoints(settings, here=entry)).usable
    with pytest.raises(InputError, match="body holds reasoning_effort"):
        served_model("here:tiny", with_endpoints(settings, here={**entry, "thinking": "reasoning_effort"}))


def test_a_key_in_the_body_is_refused_and_not_repeated(settings: Settings) -> None:
    key = "sk-planted-0123456789"
    with pytest.raises(InputError, match="api_key holds a key") as caught:
        served_model("here:tiny", with_endpoints(settings, here={"base_url": URL, "body": {"api_key": key}}))
    assert key not in str(caught.value)


@pytest.mark.parametrize("host", ["134744072", "0x08080808", "例え。jp", "example.com"])
def test_no_key_goes_unencrypted_to_a_public_address_however_it_is_written(settings: Settings, host: str) -> None:
    with pytest.raises(InputError, match="without encryption"):
        served_model("here:tiny", with_endpoints(settings, here={"base_url": f"http://{host}/v1", "key_env": "KEY"}))


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]:8000", "localhost", "gpu-box", "10.0.0.3"])
def test_a_key_goes_unencrypted_to_servers_nearby(settings: Settings, host: str) -> None:
    assert read_endpoints(with_endpoints(settings, here={"base_url": f"http://{host}/v1", "key_env": "KEY"})).usable


def test_settings_that_change_answers_make_another_run(settings: Settings) -> None:
    spec, seen = ModelSpec("here:tiny", backend="openai_api"), []
    with ApiServer() as server:
        changes: list[dict[str, object]] = [
            {},
            {"body": {"top_p": 0.5}},
            {"body": {"top_p": 0.9}},
            {"query": {"api-version": "2025-01-01"}},
            {"thinking": "reasoning_effort"},
            {"thinking": "reasoning_effort", "thinking_on": "high"},
        ]
        for change in changes:
            seen.append(identity(spec, with_server(settings, server, **change)))
    assert len({str(facts) for facts in seen}) == len(changes)
    plain = served_model("here:tiny", with_endpoints(settings, here={"base_url": URL}))
    assert described(plain) == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("body = {when = 2020-01-01}", "JSON cannot have"),
        ("body = {x = inf}", "JSON cannot have"),
        ("body = {x = " + "[" * 5000 + "]" * 5000 + "}", "is not a TOML file|JSON cannot have"),
        ("price_in = 1e300\nprice_out = 0", "price_in has a value"),
        ('price_in = "1"\nprice_out = 0', "price_in has a value"),
        ("price_in = 1", "belong together"),
        ("models = {tiny = {price_out = 1}}", "belong together"),
        ("price_out = nan", "price_out has a value"),
        ("timeout = 1e300", "timeout has a value"),
        ("deadline = inf", "deadline has a value"),
        ("requests_per_minute = 1e-300", "requests_per_minute has a value"),
        ('headers = {"" = "c"}', "cannot be set as a header"),
        ('headers = {"a b" = "c"}', "cannot be set as a header"),
        ('headers = {Host = "example.org"}', "cannot be set as a header"),
        ('headers = {Content-Length = "5"}', "cannot be set as a header"),
        ('key_header = "Host"', "cannot be set as a header"),
        ('headers = {X-Goog-Api-Key = "abc"}', "holds a key"),
        ('headers = {Cookie = "abc"}', "holds a key"),
        ('query = {k = "AIzaSyD-planted"}', "holds a key"),
        ('query = {key = "$NAME"}', "query parameter key would hold a key"),
    ],
)
def test_what_no_request_can_have_is_refused_in_a_sentence(settings: Settings, line: str, says: str) -> None:
    path = settings.cache_dir.parent / "odd.toml"
    path.write_text(f'[here]\nbase_url = "{URL}"\n{line}\n', "utf-8")
    with pytest.raises(InputError, match=says):
        served_model("here:tiny", replace(settings, endpoints_file=path))


@pytest.mark.parametrize("host", ["a\0b", "a\nb", "a b", "a" * 300])
def test_an_address_that_is_none_is_refused_before_a_request(settings: Settings, host: str) -> None:
    with pytest.raises(InputError, match="is no address"):
        served_model("here:tiny", with_endpoints(settings, here={"base_url": f"http://{host}/v1"}))


@pytest.mark.parametrize(
    ("urls", "says"),
    [
        ([], "base_url lists no address"),
        (["http://a:8000/v1", "http://a:8000/v1"], "lists the server http://a:8000/v1 twice"),
        (["http://localhost:8000/v1/", "http://127.0.0.1:8000/v1"], "lists the server http://localhost:8000/v1/ twice"),
        (["https://a.example/v1", "https://A.example:443/v1"], "lists the server https://a.example/v1 twice"),
        (["http://a:8000/v1", {"base_url": "http://b:8000/v1", "key_env": "KEY"}], "hold for each server of the list"),
        (["http://a:8000/v1", 5], "takes an address or a list of addresses"),
        (["http://a:8000/v1", "b:8000"], "base_url is no address"),
        (["http://a:8000/v1", "http://u:p@b:8000/v1"], "holds a name or a password"),
        ([f"http://a{i}:8000/v1" for i in range(65)], "lists 65 addresses; at most 64"),
    ],
)
def test_a_list_of_addresses_has_each_server_once(settings: Settings, urls: list[object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        served_model("here:tiny", with_endpoints(settings, here={"base_url": urls}))


def test_no_server_of_a_list_gets_the_key_unencrypted_over_a_public_network(settings: Settings) -> None:
    urls = ["http://10.0.0.3:8000/v1", "http://models.example.com/v1"]
    assert read_endpoints(with_endpoints(settings, here={"base_url": urls})).usable
    with pytest.raises(InputError, match=r"without encryption to models\.example\.com"):
        served_model("here:tiny", with_endpoints(settings, here={"base_url": urls, "key_env": "KEY"}))


@pytest.mark.parametrize("name", ["base_urls", "hidden", "id"])
def test_what_is_set_here_is_no_setting_of_the_file(settings: Settings, name: str) -> None:
    with pytest.raises(InputError, match=f"there is no setting {name}"):
        served_model("here:tiny", with_endpoints(settings, here={"base_url": URL, name: ["http://b/v1"]}))
