"""What is sent to others names no folder of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from jglue_app.errors import StoreError
from jglue_app.grid.members import Member, StoredFactor, StoredGrid
from jglue_app.messages import Joined, Message, as_json, from_json
from jglue_app.results.local_paths import (
    folder_notice,
    is_local_path,
    last_part,
    shareable,
    shareable_grid,
    shareable_spec,
    shareable_values,
)
from jglue_app.scoring.effect_types import EffectTable, LeftOut
from jglue_app.types import Decoding, ModelSpec, PromptSpec, RunSpec
from jglue_app.wandb_sink.grid_payload import grid_payload


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/home/ann/my models/llm-jp", "llm-jp"),
        ("/home/ann/llm-jp/", "llm-jp"),
        ("~/models/x.gguf", "x.gguf"),
        ("./mine", "mine"),
        ("../mine", "mine"),
        ("C:\\Users\\ann\\x", "x"),
        ("\\\\host\\share\\x", "x"),
        # No paths of this machine.
        ("llm-jp/llm-jp-3-1.8b", "llm-jp/llm-jp-3-1.8b"),
        ("gpus:llm-jp/llm-jp-3-13b", "gpus:llm-jp/llm-jp-3-13b"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("none", "none"),
        # Words of a prompt, and what stands right below the root.
        ("/no_think", "/no_think"),
        ("/", "/"),
        ("/model", "/model"),
        ("…", "…"),
    ],
)
def test_a_path_is_its_last_part_and_a_name_stays(text: str, shared: str) -> None:
    assert (last_part(text), is_local_path(text)) == (shared, shared != text)
    assert shareable_values({"a": [text, 1, None, {"b": text}]}) == {"a": [shared, 1, None, {"b": shared}]}


def test_a_sentence_loses_the_folders_of_its_values_and_of_plain_texts() -> None:
    error = StoreError("{path} cannot be read ({reason}).", path=Path("/home/ann/my runs/manifest.json"), reason="x")
    nested = Message("{count:,} items: {sentence}", count=1_200, sentence=error.message)
    for sentence in (nested, from_json(as_json(nested))):
        assert shareable(sentence) == "1,200 items: manifest.json cannot be read (x)."
    assert shareable(Joined(", ", [error.message, "b"])) == "manifest.json cannot be read (x)., b"
    assert shareable("No space left: '/home/ann/runs/x.jsonl', 3/4 done; see https://a.example/b/c or 和/洋/中.") == (
        "No space left: 'x.jsonl', 3/4 done; see https://a.example/b/c or 和/洋/中."
    )
    assert shareable("POST /v1/chat/completions gave 404") == "POST /v1/chat/completions gave 404"
    assert shareable_values({"prompt": {"system": "/a/b/c", "style": "/a/b/c"}}) == {
        "prompt": {"system": "/a/b/c", "style": "c"}
    }
    worded = Message.worded("1 file of {path}", "{n} files of {path}", {"n": 1, "path": "/home/ann/x"})
    assert shareable(worded) == "1 file of x"


def test_levels_that_would_be_called_alike_stay_apart() -> None:
    models = ("/a/one/checkpoint", "/a/two/checkpoint", "/a/three/best", "org/model")
    grid = StoredGrid(
        format=1,
        name="g",
        created="2026-01-01",
        protocol="official",
        factors=(StoredFactor("model", "model", False, models),),
        questions=({},),
        runs=tuple(Member(f"r{i}", {"model": model}) for i, model in enumerate(models)),
    )
    shared = shareable_grid(grid)
    levels = shared.factors[0].levels
    assert levels[2:] == ("best", "org/model")
    assert len(set(levels)) == 4
    assert all(level.startswith("checkpoint #") and len(level) == 18 for level in levels[:2])
    assert [run.levels["model"] for run in shared.runs] == list(levels)
    why = StoreError("{path} cannot be read ({reason}).", path="/home/ann/runs/r0", reason="x").message
    table = EffectTable("g", "official", (), (), (), (LeftOut("r0", {}, why),), (), (why,))
    payload = grid_payload(shared, table)
    assert "/a/" not in str(payload) and "/home" not in str(payload)
    assert payload.tables["grid/runs"].rows[0][-1] == "r0 cannot be read (x)."


def test_what_is_sent_of_a_run_names_a_model_by_its_last_part_and_its_folder_is_told_of() -> None:
    model = ModelSpec("/home/ann/llm", adapter="/home/ann/lora")
    spec = RunSpec(model, ("jnli",), "v1.3", {}, PromptSpec(style="./mine.toml"), "0", Decoding(), "1")
    shared = shareable_spec(spec)
    assert (shared.model.id, shared.model.adapter, shared.prompt.style) == ("llm", "lora", "mine.toml")
    notice = folder_notice(spec)
    assert notice is not None and "It names /home/ann/llm, /home/ann/lora, ./mine.toml;" in notice
    assert folder_notice(shared) is None
