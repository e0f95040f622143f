"""The fast reader of GGUF headers gives the fields of gguf's own reader."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import transformers.modeling_gguf_pytorch_utils as rules
from gguf import GGUFEndian, GGUFReader, GGUFWriter

from jglue_app.backends.hf.checkpoint.gguf_reader import FastGGUFReader, read_once


def write(path: Path, endian: GGUFEndian = GGUFEndian.LITTLE) -> Path:
    """A file with settings of every kind, and a tensor."""
    writer = GGUFWriter(path, "llama", endianess=endian)
    writer.add_string("a.text", "東京")
    writer.add_float32("a.number", 0.5)
    writer.add_array("a.texts", ["あ", "", "bc", "\n" * 300])
    writer.add_array("a.integers", [3, -1, 2**20])
    writer.add_array("a.floats", [0.25, -1.5])
    writer.add_array("a.flags", [True, False])
    writer.add_array("a.lists", [[1, 2], [3, 4]])
    writer.add_context_length(8)
    writer.add_tensor("x", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def fields(reader: Any) -> dict[str, Any]:
    """What a reader says of each field, in comparable form."""
    return {
        name: (field.offset, [part.tolist() for part in field.parts], field.data, field.types, field.contents())
        for name, field in reader.fields.items()
    }


@pytest.mark.parametrize("endian", [GGUFEndian.LITTLE, GGUFEndian.BIG])
def test_all_fields_and_tensors_are_those_of_gguf_s_own_reader(tmp_path: Path, endian: GGUFEndian) -> None:
    path = write(tmp_path / "a.gguf", endian)
    own, fast = GGUFReader(path), FastGGUFReader(path)
    assert fields(fast) == fields(own)
    assert fast.fields["a.texts"].contents() == ["あ", "", "bc", "\n" * 300]
    assert [part.dtype for f in fast.fields.values() for part in f.parts] == [
        part.dtype for f in own.fields.values() for part in f.parts
    ]
    assert [(t.name, t.data.tolist(), t.data_offset) for t in fast.tensors] == [
        (t.name, t.data.tolist(), t.data_offset) for t in own.tensors
    ]


def test_a_file_that_ends_within_a_list_is_an_error_at_once(tmp_path: Path) -> None:
    content = write(tmp_path / "a.gguf").read_bytes()
    for key, entry in ((b"a.texts", "あ".encode()), (b"a.integers", (3).to_bytes(4, "little"))):
        at = content.index(entry, content.index(key)) + len(entry)
        (tmp_path / "cut.gguf").write_bytes(content[:at])
        with pytest.raises((ValueError, struct.error)):
            FastGGUFReader(tmp_path / "cut.gguf")
    # A number of entries that no file can hold.
    at = content.index(b"a.integers") + len(b"a.integers") + 8
    (tmp_path / "many.gguf").write_bytes(content[:at] + b"\xff" * 7 + b"\0" + content[at + 8 :])
    with pytest.raises(ValueError, match="ends within a list"):
        FastGGUFReader(tmp_path / "many.gguf")


def test_transformers_reads_a_file_once_for_two_requests_and_is_left_as_it_was(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rules.load_gguf_checkpoint(tiny_gguf)
    reads: list[Any] = []

    def counted(path: Any, *args: Any, **options: Any) -> Any:
        reads.append(gguf.GGUFReader)
        return load(path, *args, **options)

    load = rules.load_gguf_checkpoint
    monkeypatch.setattr(rules, "load_gguf_checkpoint", counted)
    before = (gguf.GGUFReader, gguf.get_tensor_name_map)
    with read_once():
        first = rules.load_gguf_checkpoint(tiny_gguf)
        first["tokenizer"]["tokens"].clear()
        first["config"].clear()
        assert rules.load_gguf_checkpoint(tiny_gguf) == expected
        assert reads == [FastGGUFReader]
    assert (gguf.GGUFReader, gguf.get_tensor_name_map, rules.load_gguf_checkpoint) == (*before, counted)
