"""Architectures with a mechanism that is easily read wrongly; `python -m tests.architectures` tries all there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from jglue_app.errors import ModelError
from tests import architectures
from tests.architecture_fields import FAR_SWITCH

READ = (
    ("llama", "bfloat16"),  # The usual one.
    pytest.param("gpt_neox_japanese", "float32", marks=pytest.mark.slow),
    # Its window is nowhere but in the mask, and longer than a quick check reads.
    pytest.param("qwen2_moe-wide", "float32", marks=pytest.mark.slow),
    ("gpt_oss", "float32"),  # Sinks, and a window in every other layer.
    ("gemma3_text-uncapped", "bfloat16"),  # A cap after the head.
    # Keys and values shared by layers whose heads are of different widths.
    pytest.param("gemma4_text", "float32", marks=pytest.mark.slow),
    ("falcon-alibi", "float32"),
    # Positions are turned otherwise where the whole is longer.
    pytest.param("phi3-longrope", "float32", marks=pytest.mark.slow),
    # Chunks, and queries scaled by the column they stand in.
    pytest.param("llama4_text-wide", "float32", marks=pytest.mark.slow),
    ("llama-llama3-far", "float32"),  # Switches that no comparison while loading reaches, but the prompts do.
    pytest.param("llama-longrope-far", "float32", marks=pytest.mark.slow),
    pytest.param("cohere2-far", "float32", marks=pytest.mark.slow),
    pytest.param("qwen2_moe-far", "float32", marks=pytest.mark.slow),
    pytest.param("deepseek_v4", "float32", marks=pytest.mark.slow),  # Tokens compressed by columns, too.
    pytest.param("minimax", "float32", marks=pytest.mark.slow),  # Lightning attention.
    ("mamba", "float32"),
    pytest.param("rwkv", "float32", marks=pytest.mark.slow),  # A state without a mask.
    # Linear attention between layers of the usual one.
    pytest.param("qwen3_5_text", "bfloat16", marks=pytest.mark.slow),
)
PACKED = (
    ("qwen2_moe", "float32"),
    ("gemma4_text", "float32"),  # Takes the mask of some rows.
    pytest.param("qwen2_moe-wide", "bfloat16", marks=pytest.mark.slow),
    # Beyond its window the way would change with the first long prompt.
    pytest.param("qwen2_moe-far", "bfloat16", marks=pytest.mark.slow),
    pytest.param("phimoe", "float32", marks=pytest.mark.slow),
    # What is between its last layer and its head is a module of its own.
    pytest.param("modernbert-decoder", "float32", marks=pytest.mark.slow),
    pytest.param("modernbert-decoder-far", "float32", marks=pytest.mark.slow),
)
"""Whose windows are in no argument of the attention, but in its mask; and one with a module before the head."""
NOT_CAUSAL = ("bert", "gemma3_text-bidirectional", "mbart", "doge-moe")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are read faster by one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "dtype"), READ)
def test_an_architecture_answers_as_plain_transformers_does(name: str, dtype: str, tmp_path: Path) -> None:
    (row,) = architectures.examine(name, [dtype], tmp_path)
    assert row.verdict == "ok", architectures.line(row)
    assert not row.way.startswith("refused"), row.said
    assert row.difference is not None and row.allowed is not None
    assert row.difference <= row.allowed


@pytest.mark.parametrize(("name", "dtype"), PACKED)
def test_a_window_that_is_in_the_mask_alone_is_kept_to_in_packed_passes(name: str, dtype: str, tmp_path: Path) -> None:
    (row,) = architectures.examine(name, [dtype], tmp_path)
    assert (row.way, row.verdict) == ("packed", "ok"), architectures.line(row)


@pytest.mark.parametrize("name", NOT_CAUSAL)
def test_a_model_in_which_later_tokens_change_what_is_said_of_earlier_ones_is_refused(
    name: str, tmp_path: Path
) -> None:
    (row,) = architectures.examine(name, ["float32"], tmp_path)
    assert row.way == "refused (3)", architectures.line(row)


def test_prompts_lie_on_both_sides_of_a_far_switch_and_what_is_written_to_one_crosses_it() -> None:
    lengths = [len(architectures.tokenizer()(text)["input_ids"]) for text in architectures.PROMPTS]
    assert max(lengths) >= FAR_SWITCH + 60
    assert any(n < FAR_SWITCH <= n + architectures.NEW_TOKENS - 4 for n in lengths)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("llama failed while it wrote (TypeError: x). Try another dtype or device, or choose another model.", "FAIL"),
        ("llama fails on a first short text (TypeError: x). Try another dtype or device, or …", "FAIL"),
        ("In llama, later tokens change what is said of earlier ones (by 0.4). Choose another model.", "ok"),
    ],
)
def test_a_failure_of_the_product_where_plain_transformers_runs_is_no_refusal(
    said: str, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, dtype: str) -> architectures.Answers:
        raise ModelError(said)

    architectures.make("llama", tmp_path)
    plain = architectures.Plain(tmp_path, torch.float32)
    monkeypatch.setattr(architectures, "ask", refuse)
    row = architectures.Row("llama", "float32")
    architectures.compare(row, tmp_path, plain, "")
    assert (row.way, row.verdict) == ("refused (3)", verdict)
    # Where plain transformers cannot read a text either, it is as it should be.
    row = architectures.Row("llama", "float32")
    architectures.compare(row, tmp_path, None, "RuntimeError: x")
    assert row.verdict == "ok"


def test_a_name_that_is_no_architectures_ends_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert architectures.main(["--only", "llama", "nosuch", "no*such"]) == 2
    told = capsys.readouterr()
    assert told.err == "There is no architecture nosuch, no*such. --list prints the names.\n"
    assert told.out == ""


def test_the_columns_of_the_table_are_explained_below_it() -> None:
    told = "\n".join(architectures.summary([architectures.Row("llama", "float32", "packed", "ok")]))
    for column in architectures.HEADER.split()[2:]:
        assert f"\n{column}" in told, column
