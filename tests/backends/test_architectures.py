"""Architectures with a mechanism that is easily read wrongly; `python -m tests.architectures` tries all there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import architectures

READ = (
    ("llama", "bfloat16"),  # The usual one.
    ("gpt_neox_japanese", "float32"),
    ("qwen2_moe-wide", "float32"),  # Its window is nowhere but in the mask, and longer than a quick check reads.
    ("gpt_oss", "float32"),  # Sinks, and a window in every other layer.
    ("gemma3_text-uncapped", "bfloat16"),  # A cap after the head.
    ("gemma4_text", "float32"),  # Keys and values shared by layers whose heads are of different widths.
    ("falcon-alibi", "float32"),
    ("phi3-longrope", "float32"),  # Positions are turned otherwise where the whole is longer.
    ("llama4_text-wide", "float32"),  # Chunks, and queries scaled by the column they stand in.
    ("deepseek_v4", "float32"),  # Tokens compressed by columns, too.
    ("minimax", "float32"),  # Lightning attention.
    ("mamba", "float32"),
    ("rwkv", "float32"),  # A state without a mask.
    ("qwen3_5_text", "bfloat16"),  # Linear attention between layers of the usual one.
)
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


@pytest.mark.parametrize("name", NOT_CAUSAL)
def test_a_model_in_which_later_tokens_change_what_is_said_of_earlier_ones_is_refused(
    name: str, tmp_path: Path
) -> None:
    (row,) = architectures.examine(name, ["float32"], tmp_path)
    assert row.way == "refused (3)", architectures.line(row)
