"""What is known of models without loading them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from jglue_app.backends.model_facts import known_models, tokenizer_is_here, usual_format
from jglue_app.backends.named_models import named_models
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MakeCopy = Callable[..., Path]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCopy:
    """Writes a local copy of a repository: file → JSON or text."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))

    def write(model: str, **files: Any) -> Path:
        folder = cache / f"models--{model.replace('/', '--')}"
        snapshot = folder / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs/main").write_text(COMMIT, "utf-8")
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (snapshot / name.replace("__", ".")).write_text(text, "utf-8")
        return snapshot

    return write


LLAMA = {"architectures": ["LlamaForCausalLM"]}


def test_models_on_this_machine_come_first_and_those_of_servers_not_last(
    settings: Settings, hub: MakeCopy, tmp_path: Path
) -> None:
    hub("Qwen/Qwen3-0.6B", config__json=LLAMA, model__safetensors="x")
    hub("own/llama", config__json=LLAMA, model__safetensors="x", tokenizer_config__json={"chat_template": "{{ x }}"})
    hub("own/bert", config__json={"architectures": ["BertModel"]}, model__safetensors="x")
    hub("own/without-weights", config__json=LLAMA)
    file = tmp_path / "endpoints.toml"
    file.write_text('[local]\nbase_url = "http://127.0.0.1:9/v1"\nmodels = { m = {} }\n', "utf-8")
    found = known_models(replace(settings, endpoints_file=file))
    ids = [facts.id for facts in found]
    assert ids[:4] == ["gemma-3-270m", "Qwen/Qwen3-0.6B", "own/llama", "local:m"]
    assert sorted(ids) == sorted([*named_models(), "own/llama", "local:m"])
    by_id = {facts.id: facts for facts in found}
    assert (by_id["Qwen/Qwen3-0.6B"].here, by_id["cyberagent/open-calm-7b"].here) == (True, False)
    assert (by_id["own/llama"].parameters, by_id["own/llama"].follows_instructions) == (None, True)
    public = {facts.id for facts in known_models(replace(settings, public=True))}
    assert public == set(named_models())


def test_base_models_are_told_from_chat_models() -> None:
    chats = {name for name, entry in named_models().items() if entry.follows_instructions}
    assert {"google/gemma-3-270m-it", "mosaicml/mpt-7b-instruct", "bigscience/bloomz-560m"} <= chats
    assert not {"gemma-3-270m", "cyberagent/open-calm-1b", "EleutherAI/pythia-410m"} & chats


def test_the_usual_format_is_that_of_the_registry_the_server_or_the_files(
    settings: Settings, hub: MakeCopy, tmp_path: Path
) -> None:
    file = tmp_path / "endpoints.toml"
    file.write_text(
        '[both]\nbase_url = "http://127.0.0.1:9/v1"\nmodels = { m = {} }\n'
        '[texts]\nbase_url = "http://127.0.0.1:9/v1"\ninterfaces = ["completions"]\nmodels = { m = {} }\n',
        "utf-8",
    )
    given = replace(settings, endpoints_file=file)
    hub("own/chat", config__json=LLAMA, chat_template__jinja="{{ x }}")
    base = hub("own/base", config__json=LLAMA, tokenizer_config__json="damaged {")
    expected = {
        "gemma-3-270m": "plain",
        "Qwen/Qwen3-0.6B": "chat",
        "rinna/japanese-gpt-neox-3.6b-instruction-ppo": "rinna",
        "both:m": "chat",
        "texts:m": "plain",
        "own/chat": "chat",
        "own/base": "plain",
        str(base): "plain",
        "own/unknown": None,
        "answers.jsonl": None,
        "x" * 3_000: None,
        "": None,
    }
    assert {model: usual_format(model, given) for model in expected} == expected
    assert usual_format("own/chat", replace(given, public=True)) is None


def test_a_tokenizer_is_here_if_its_files_are(settings: Settings, hub: MakeCopy, tmp_path: Path) -> None:
    fresh = replace(settings, cache_dir=tmp_path / "other")
    embedded = ModelSpec("gemma-3-270m")
    assert not tokenizer_is_here(embedded, fresh)
    (tmp_path / "other/converted/gemma-3-270m-q4_k_m-0123456789abcdef-v1.part").mkdir(parents=True)
    assert not tokenizer_is_here(embedded, fresh)
    (tmp_path / "other/converted/gemma-3-270m-q4_k_m-0123456789abcdef-v1").mkdir()
    assert tokenizer_is_here(embedded, fresh)
    hub("own/whole", config__json=LLAMA, tokenizer__json={})
    hub("own/half", config__json=LLAMA)
    here = {id_: tokenizer_is_here(ModelSpec(id_), fresh) for id_ in ("own/whole", "own/half", "own/none")}
    assert here == {"own/whole": True, "own/half": False, "own/none": False}
    assert not tokenizer_is_here(ModelSpec("own/whole", adapter="own/adapter"), fresh)
    assert not tokenizer_is_here(ModelSpec("answers.jsonl", "scripted"), fresh)
    assert not tokenizer_is_here(ModelSpec("own/whole"), replace(fresh, public=True))
