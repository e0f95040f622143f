"""Runs of models on servers, from the request to the report, against a real server on the loopback address."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jglue_app import evaluate
from jglue_app.backends.endpoints import served_model
from jglue_app.backends.openai_api import capabilities
from jglue_app.backends.pool import ModelPool
from jglue_app.data.files import load
from jglue_app.errors import InputError
from jglue_app.messages import say
from jglue_app.prompt_lab import try_item
from jglue_app.runs.request import Side
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings, load_settings
from jglue_app.types import ModelSpec
from jglue_app.ui.views.item import SideView, item_view
from tests.api_server import ApiConfig, ApiServer
from tests.api_server.model import LanguageModel
from tests.api_server.record import Request

Describe = Callable[..., Settings]


@pytest.fixture
def describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Describe:
    """Writes endpoints.toml with one endpoint, named `own`, for a server."""

    def made(server: ApiServer, more: str = "") -> Settings:
        path = tmp_path / "endpoints.toml"
        path.write_text(f'[own]\nbase_url = "{server.base_url}"\nmodels = {{ tiny = {{}} }}\n{more}', "utf-8")
        monkeypatch.setenv("JGLUE_ENDPOINTS", str(path))
        return load_settings()

    return made


def run(**more: Any) -> Any:
    limit = more.pop("limit", 3)
    return evaluate("own:tiny", tasks=["jnli"], data="sample", limit=limit, format="chat", style="number", **more)


def test_a_thought_that_the_server_gives_apart_is_stored_apart_and_shown(describe: Describe) -> None:
    with ApiServer(ApiConfig(reasoning="field")) as server:
        describe(server, 'thinking = "reasoning_effort"\n')
        stored = run(thinking="on", max_thinking_tokens=200, method="generate")
        sent = [request.body for request in of_items(server)]
    assert len(sent) == 3 and all(body["reasoning_effort"] == "medium" for body in sent)
    # The answer's own limit of the style is 4 or so: that of the thought comes on top.
    (limit,) = {body.get("max_tokens") or body["max_completion_tokens"] for body in sent}
    assert 200 < limit < 230
    rows = stored.answered()["jnli"]
    for row in rows.values():
        output = row.record.output
        assert output.reasoning and output.reasoning not in output.text
        assert 0 < output.reasoning_tokens < output.new_tokens
        assert row.record.prompt.thinking == "on"
    row = next(iter(rows.values()))
    (side,) = item_view([SideView("A", "label", row)], "en", "sample")["sides"]
    assert side["reasoning"]["name"].startswith("Thought, given apart by the server (")
    assert side["prompt_title"].startswith("Turns, as they were sent")


def test_a_thought_that_takes_all_tokens_is_unfinished_and_not_an_empty_answer(describe: Describe) -> None:
    with ApiServer(ApiConfig(reasoning="field")) as server:
        describe(server, 'thinking = "reasoning_effort"\n')
        stored = run(thinking="on", max_thinking_tokens=1, max_new_tokens=1, method="generate")
    assert stored.report().tasks["jnli"].outcomes == {"unfinished_thought": 3}
    # What a system that reads every output takes such a one for stays as it was; only the outcome says why.
    assert stored.report("wandb-2023-0shot").tasks["jnli"].outcomes == {"unfinished_thought": 3}


def test_what_a_server_cannot_do_ends_the_run_before_a_record(describe: Describe) -> None:
    with ApiServer(ApiConfig(completions=False)) as server:
        settings = describe(server)
        with pytest.raises(InputError, match="answers chats only") as refused:
            evaluate("own:tiny", tasks=["jnli"], data="sample", limit=2)
        assert "チャットにだけ" in say(refused.value.message, "ja")
        assert not [path for path in settings.runs_dir.glob("*/records.jsonl") if path.stat().st_size]


@pytest.mark.parametrize(
    "option", [{"quantization": "8bit"}, {"dtype": "float16"}, {"revision": "main"}, {"adapter": "owner/lora"}]
)
def test_options_about_weights_are_refused_for_weights_on_a_server(describe: Describe, option: dict[str, str]) -> None:
    with ApiServer() as server:
        describe(server)
        model = ModelSpec("own:tiny", "openai_api", **option)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"on a server|model that runs here"):
            evaluate(model, tasks=["jnli"], data="sample", limit=1)
        assert not server.posts


def test_the_lab_asks_a_server_that_cannot_rank_for_a_text_alone(describe: Describe) -> None:
    with ApiServer(ApiConfig(echo="ignored", prompt_logprobs="ignored", top_logprobs="ignored")) as server:
        settings = describe(server)
        item = load(settings, "jnli", "valid", data="sample").items[0]
        with ModelPool(settings) as pool:
            tried = try_item(settings, pool, Side("own:tiny"), item)
    assert tried is not None and tried.answered.record.output is not None
    assert tried.answered.record.output.text and tried.answered.record.output.choice_logprobs is None


def test_a_model_that_changed_under_its_name_makes_another_run_and_says_what_changed(describe: Describe) -> None:
    with ApiServer(ApiConfig(answers_as="tiny-0301")) as server:
        settings = describe(server)
        first = run(method="generate")
        server.config = ApiConfig(answers_as="tiny-0613")
        second = run(method="generate", limit=5)
        assert len(first.answered()["jnli"]) == 3
    assert second.path != first.path
    files = [RunStore(path).manifest()["model_files"]["model"] for path in (first.path, second.path)]
    assert files == ["tiny-0301", "tiny-0613"]
    assert capabilities.load(served_model("own:tiny", settings), settings) is not None


def test_a_run_that_is_complete_asks_the_server_no_item(describe: Describe) -> None:
    with ApiServer() as server:
        describe(server)
        run(method="both")
        sent, items = len(server.posts), len(of_items(server))
        run(method="both")
        assert len(server.posts) - sent == 1  # Whether it is still the same model.
        assert len(of_items(server)) == items


def test_other_weights_under_the_same_name_are_noticed_when_a_run_is_planned(describe: Describe) -> None:
    with ApiServer() as server:
        describe(server)
        first = run(method="generate")
        server.model = LanguageModel(seed="other weights")
        sent = len(server.posts)
        third = run(method="generate", limit=4)
        assert third.path != first.path
        assert len(server.posts) - sent > 4
        changed = {k for k, v in files_of(first).items() if files_of(third)[k] != v}
        assert {"chat: answer", "completions: answer"} & changed
        sent = len(server.posts)
        assert run(method="generate", limit=4).path == third.path
        assert len(server.posts) - sent == 1  # One question, and no item.


def of_items(server: ApiServer) -> list[Request]:
    """The requests of items, whose prompts have an instruction."""
    return [request for request in server.posts if "前提" in json.dumps(request.body, ensure_ascii=False)]


def files_of(stored: Any) -> dict[str, str]:
    files: dict[str, str] = RunStore(stored.path).manifest()["model_files"]
    return files


def test_visitors_are_not_shown_where_a_server_is(describe: Describe, monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiServer() as server:
        describe(server, "visitors = { tokens = 100000, tokens_per_day = 1000000 }\n")
        monkeypatch.setenv("JGLUE_MODE", "public")
        stored = run(method="generate")
        port = server.base_url.split(":")[2].split("/")[0]
        manifest = (stored.path / "manifest.json").read_text("utf-8")
    assert f":{port}" not in manifest
    left = run(method="generate", limit=4)
    (error,) = [record.error for record in left.data().records if record.error]
    assert error.kind == "unreachable" and port not in error.message and "own" in error.message


def test_a_run_goes_on_with_one_more_server_and_says_which_answered_how_many(describe: Describe) -> None:
    with ApiServer() as one, ApiServer() as two:
        settings = describe(one)
        path = settings.endpoints_file
        assert path is not None
        path.write_text(f'[own]\nbase_url = ["{one.base_url}"]\n', "utf-8")
        first = run(limit=2, method="generate")
        path.write_text(f'[own]\nbase_url = ["{two.base_url}", "{one.base_url}"]\nrequests_at_once = 1\n', "utf-8")
        second = run(limit=8, method="generate")
    assert second.data().spec.spec_id == first.data().spec.spec_id
    (folder,) = (path for path in settings.runs_dir.iterdir() if path.is_dir())
    store = RunStore(folder)
    counts = store.manifest()["records"]["servers"]
    used = [record.output.servers for record in store.records() if record.output is not None]
    assert len(used) == 8
    assert counts == {url: sum(url in servers for servers in used) for url in (one.base_url, two.base_url)}
    assert counts[one.base_url] >= 2 and counts[two.base_url] > 0
