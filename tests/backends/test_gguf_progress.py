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
        # 65 + 25 · 10 %, and 65 + 25 · 40 %.
        ("rrwx", [0, 10, 40, 65, 67, 75, 90]),
        ("xwrr", [0, 65, 67, 75, 90]),
        ("rxrwx", [0, 10, 65, 67, 75, 90]),
        ("rrrrrrwx", [0, 10, 40, 65, 67, 75, 90]),
        ("wn", [0, 65, 90]),
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
