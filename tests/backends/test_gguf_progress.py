"""How far a conversion is, in whatever order transformers reads the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
import transformers.modeling_gguf_pytorch_utils as reader

from jglue_app.backends.hf.checkpoint.gguf_progress import conversion_progress
from jglue_app.messages import Message


@dataclass
class Tensor:
    n_bytes: int


def percents(monkeypatch: pytest.MonkeyPatch, steps: str) -> list[int]:
    """What is said while the file is read (`r`), read with its weights (`w`) and its weights are expanded (`x`, or `n`
    if they do not say their sizes)."""
    sentences: list[str] = []
    monkeypatch.setattr(reader, "load_gguf_checkpoint", lambda *args, **options: {})
    tensors: dict[str, list[Any]] = {"x": [Tensor(10), Tensor(30), Tensor(60)], "n": [object(), object()]}
    with conversion_progress("a.gguf", sentences.append):
        for step in steps:
            if step in tensors:
                assert list(reader.tqdm(tensors[step])) == tensors[step]
            else:
                reader.load_gguf_checkpoint("a.gguf", return_tensors=step == "w")
    return [cast(Any, cast(Message, sentence).values)["percent"] for sentence in sentences]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # 85 + 10 · 10 %, and 85 + 10 · 40 %.
        ("rrwx", [0, 30, 60, 85, 86, 89, 95]),
        ("xwrr", [0, 85, 86, 89, 95]),
        ("rxrwx", [0, 30, 85, 86, 89, 95]),
        ("rrrrrrwx", [0, 30, 60, 85, 86, 89, 95]),
        ("wn", [0, 85, 95]),
        ("", [0]),
    ],
)
def test_percents_only_rise_and_stay_below_100(
    monkeypatch: pytest.MonkeyPatch, steps: str, expected: list[int]
) -> None:
    assert percents(monkeypatch, steps) == expected


def test_the_functions_of_transformers_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = reader.tqdm
    percents(monkeypatch, "rrwx")
    assert reader.tqdm is before
