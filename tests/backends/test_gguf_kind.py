"""GGUF files of something else than a whole causal language model say what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from jglue_app.backends.hf.checkpoint.gguf import convert_once
from jglue_app.backends.hf.checkpoint.gguf_kind import reject_part
from jglue_app.errors import ModelError


def file_of(file: Path, architecture: str, settings: dict[str, Any], tensors: int = 1) -> Path:
    writer = gguf.GGUFWriter(file, architecture)
    for key, value in settings.items():
        if isinstance(value, list):
            writer.add_array(key, value)
            continue
        add = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string}
        add[type(value)](key, value)
    for k in range(tensors):
        writer.add_tensor(f"blk.{k}.ffn_up.weight", np.ones(8, dtype=np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return file


@pytest.mark.parametrize(
    ("architecture", "settings", "said"),
    [
        ("llama", {"split.no": 0, "split.count": 3}, r"is one of 3 parts of a GGUF file.*llama-gguf-split --merge"),
        ("llama", {"general.type": "adapter"}, r"holds an adapter \(general\.type = adapter\) in a form"),
        (
            "llama",
            {"general.type": "adapter", "general.base_model.0.name": "Llama 3.1"},
            r"holds an adapter \(general\.type = adapter\) for the model Llama 3\.1, in a form that is not applied",
        ),
        ("clip", {"general.type": "mmproj"}, r"is a model for images.*\(general\.type = mmproj\)"),
        ("clip", {"clip.has_vision_encoder": True}, r"is a model for images, sound or other than text alone \(clip\)"),
        ("llama", {"general.type": "imatrix"}, r"is of a kind \(general\.type = imatrix\)"),
        ("modern-bert", {}, r"is an encoder.*\(modern-bert\)"),
        ("t5", {}, r"is an encoder-decoder model \(t5\)"),
        ("llama", {"llama.attention.causal": False}, r"is an encoder.*\(llama\.attention\.causal = False\)"),
        ("qwen3", {"qwen3.pooling_type": 3}, r"is an embedding model.*\(qwen3\.pooling_type = 3\)"),
        ("qwen3", {"qwen3.pooling_type": 4}, r"is a reward model or classifier.*\(qwen3\.pooling_type = 4\)"),
        ("qwen3", {"qwen3.classifier.output_labels": ["yes", "no"]}, r"is a reward model or classifier"),
        ("llada", {}, r"is a diffusion model.*\(llada\)"),
    ],
)
def test_a_file_that_is_no_whole_language_model_says_what_it_is(
    architecture: str, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    file = file_of(tmp_path / "m.gguf", architecture, settings)
    with pytest.raises(ModelError, match=rf"^m\.gguf {said}"):
        convert_once(file, tmp_path, lambda _: None)


def test_a_vocabulary_alone_is_no_model(tmp_path: Path) -> None:
    file = file_of(tmp_path / "m.gguf", "llama", {}, tensors=0)
    with pytest.raises(ModelError, match=r"m\.gguf holds a vocabulary and no weights\. Name the GGUF file with"):
        convert_once(file, tmp_path, lambda _: None)


def test_a_part_is_known_by_its_name_before_it_is_downloaded() -> None:
    with pytest.raises(ModelError, match=r"^q4/m-00002-of-00003\.gguf is one of 3 parts"):
        reject_part("q4/m-00002-of-00003.gguf")
    reject_part("m-00001-of-00001.gguf")
    reject_part("m-Q4_K_M.gguf")
