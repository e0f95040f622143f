"""Where the texts of two runs first differ in tokens of a real tokenizer."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from jglue_app import evaluate
from jglue_app.cli import main
from jglue_app.errors import InputError
from jglue_app.results.first_differences import (
    FirstDifference,
    first_differences,
    has_tokenizer_here,
    is_backend_comparison,
)
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, PromptSpec, RunData, RunSpec
from tests.conftest import TinyModel
from tests.scoring.test_report import SPEC, nli, output

SERVER = ModelSpec("mine:some-name", "openai_api")


@pytest.fixture(scope="module")
def folder(tiny_model: TinyModel) -> Path:
    """A tiny model with a tokenizer of its own."""
    return tiny_model("llama")


def said(spec: ModelSpec, *texts: str) -> RunData:
    return nli(*(("neutral", output(text)) for text in texts), spec=replace(SPEC, model=spec))


def test_tokens_are_counted_with_the_tokenizer_of_the_side_that_ran_here(folder: Path, settings: Settings) -> None:
    texts_a = ("前提：犬が庭を走っている。", "同じ", "今日は天気がよい", "東京は")
    texts_b = ("前提：犬が店を走っている。", "同じ", "今日は天気がよいので", "京都は")
    here = ModelSpec(str(folder))
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def tokens(text: str) -> list[int]:
        return list(library.encode(text, add_special_tokens=False).ids)

    expected = []
    for id_, a, b in zip("0123", texts_a, texts_b, strict=True):
        x, y = tokens(a), tokens(b)
        if a != b:
            both = sum(1 for k in range(min(len(x), len(y))) if x[: k + 1] == y[: k + 1])
            characters = sum(1 for k in range(min(len(a), len(b))) if a[: k + 1] == b[: k + 1])
            pieces = (library.decode(ids[both : both + 1]) for ids in (x, y))
            expected.append(FirstDifference(id_, characters, both, *pieces))
    assert [d.item_id for d in expected] == ["0", "2", "3"] and expected[0].token > 0

    found = first_differences(said(here, *texts_a), said(SERVER, *texts_b), settings)
    assert (found.tokenizer, found.tasks) == (str(folder), {"jnli": tuple(expected)})
    turned = first_differences(said(SERVER, *texts_b), said(here, *texts_a), settings).tasks["jnli"]
    assert [(d.item_id, d.token, d.token_a, d.token_b) for d in turned] == [
        (d.item_id, d.token, d.token_b, d.token_a) for d in expected
    ]
    assert first_differences(said(here, *texts_a), said(SERVER, *texts_a), settings).tasks == {}


def test_where_one_text_ends_the_token_is_empty(folder: Path, settings: Settings) -> None:
    found = first_differences(said(ModelSpec(str(folder)), "中立"), said(SERVER, ""), settings).tasks["jnli"]
    assert (found[0].character, found[0].token, found[0].token_b) == (0, 0, "")
    assert found[0].token_a


def test_two_models_that_ran_elsewhere_have_no_tokenizer(settings: Settings) -> None:
    with pytest.raises(InputError, match="neither run has one"):
        first_differences(said(SERVER, "a"), said(SERVER, "b"), settings)


HERE = ModelSpec("owner/m")


@pytest.mark.parametrize(
    ("b", "is_one"),
    [
        (replace(SPEC, model=replace(HERE, quantization="8bit")), True),
        (replace(SPEC, model=SERVER), True),
        (replace(SPEC, model=ModelSpec("owner/n")), False),
        (replace(SPEC, model=SERVER, prompt=PromptSpec(shots=3)), False),
        (replace(SPEC, model=SERVER, style_sha256="ab"), False),
        (replace(SPEC, model=ModelSpec("table.jsonl", "scripted")), False),
    ],
)
def test_a_comparison_of_backends_has_the_same_prompts_and_perhaps_one_model(b: RunSpec, is_one: bool) -> None:
    a = replace(SPEC, model=HERE)
    assert is_backend_comparison(a, b) is is_backend_comparison(b, a) is is_one
    assert not is_backend_comparison(replace(SPEC, model=SERVER), replace(SPEC, model=SERVER))


def test_a_tokenizer_is_here_if_no_download_is_needed(folder: Path) -> None:
    assert has_tokenizer_here(ModelSpec(str(folder))) and has_tokenizer_here(ModelSpec("gemma-3-270m"))
    assert not has_tokenizer_here(ModelSpec("owner/never-fetched")) and not has_tokenizer_here(SERVER)


@pytest.mark.slow
def test_the_command_line_shows_the_first_differing_tokens_of_one_model_run_in_two_ways(
    folder: Path, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compared(*options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["jglue_app", "compare", str(a.path), str(b.path), *options])
        with contextlib.suppress(SystemExit):
            main()
        return capsys.readouterr().out

    # A penalty on repeated tokens makes other texts of the same prompts.
    a, b = (
        evaluate(str(folder), ["jnli"], data="sample", limit=3, max_new_tokens=8, repetition_penalty=penalty)
        for penalty in (1.0, 9.0)
    )
    found = first_differences(a.data(), b.data(), settings).tasks["jnli"]
    first = min(found, key=lambda difference: difference.token)
    shown = json.loads(compared("--json"))
    assert shown["first_differences"] == {
        "tokenizer": str(folder),
        "tasks": {"jnli": [asdict(difference) for difference in found]},
    }
    texts = shown["comparison"]["agreement"]["jnli"]["texts"]
    assert texts["n"] - texts["identical"] == len(found) > 0  # One prompt is too long for the model.
    lines = compared().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("first differing token in"))
    assert lines[at + 1].split()[:2] == ["JNLI", str(len(found))]
    assert first.item_id in lines[at + 1].split()
