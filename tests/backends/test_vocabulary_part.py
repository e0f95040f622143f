"""The comparison at load of a model with a large vocabulary, of which a part is scored, and memory of mapped files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import core_model_loading

from jglue_app.backends import open_backend
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.checkpoint import file_pages
from jglue_app.backends.hf.checkpoint.file_pages import release_copied_pages
from jglue_app.backends.hf.engine import float32_weights, fused_modules, linear, vocabulary_part
from jglue_app.backends.hf.engine.equivalence import ReferenceModel
from jglue_app.backends.hf.engine.lm_head import LMHead
from jglue_app.backends.hf.engine.mapped_files import MappedFiles
from jglue_app.backends.hf.engine.packed_attention import in_packed_pass
from jglue_app.backends.hf.engine.packed_model import PackedModel
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Output, Prompt
from tests.conftest import TinyModel

TEXT, ANSWERS = "前提：犬が庭を走っている。\n関係：", ("含意", "矛盾")
STEP = 7
"""Of a vocabulary of 500 tokens: no step that a block or a group begins with."""


def never() -> bool:
    return False


@pytest.fixture(autouse=True)
def _small_part(monkeypatch: pytest.MonkeyPatch, tiny_model: TinyModel) -> None:
    """The vocabularies of the tests are large."""
    words = transformers.AutoConfig.from_pretrained(tiny_model("gemma3")).vocab_size
    monkeypatch.setattr(vocabulary_part, "PART", words // STEP)


@pytest.fixture
def loaded(tiny_model: TinyModel, settings: Settings) -> Callable[..., HFBackend]:
    def load(dtype: str = "float32", architecture: str = "gemma3") -> HFBackend:
        backend = open_backend(ModelSpec(str(tiny_model(architecture)), dtype=dtype), settings, device="cpu")
        assert isinstance(backend, HFBackend)
        return backend

    return load


def scores(backend: HFBackend) -> Sequence[float]:
    result = dict(backend.choose([Prompt("jnli", "0", TEXT, None, (), ANSWERS, "", (), "")], never))[0]
    assert isinstance(result, Output) and result.choice_logprobs is not None
    return result.choice_logprobs


def plain(folder: Path) -> list[float]:
    """By transformers alone."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    out = []
    for answer in ANSWERS:
        start, ids = len(tokenizer(TEXT)["input_ids"]), tokenizer(TEXT + answer)["input_ids"]
        with torch.no_grad():
            rows = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        out.append(float(sum(rows[k - 1, ids[k]] for k in range(start, len(ids)))))
    return out


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 1.0)])
def test_the_comparison_runs_over_the_part_and_leaves_the_whole_head(
    loaded: Callable[..., HFBackend],
    tiny_model: TinyModel,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    tolerance: float,
) -> None:
    scored: list[int] = []
    over = LMHead.logits_over

    def counted(head: LMHead, states: torch.Tensor, weight: torch.Tensor, bias: Any) -> torch.Tensor:
        scored.append(len(weight))
        return over(head, states, weight, bias)

    monkeypatch.setattr(LMHead, "logits_over", counted)
    backend = loaded(dtype)
    head = backend.model.get_output_embeddings()
    words = len(backend.model.get_input_embeddings().weight)
    assert backend.packed and set(scored) == {-(-words // STEP)}
    assert (len(head.weight), str(head.weight.dtype)) == (words, f"torch.{dtype}")
    assert not backend._reference.part._kept
    assert scores(backend) == pytest.approx(plain(tiny_model("gemma3")), abs=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_states_are_found_out(
    loaded: Callable[..., HFBackend], monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    states = PackedModel._probe_states

    def shifted(model: PackedModel, *args: Any) -> list[torch.Tensor]:
        return [rows.roll(1, -1) for rows in states(model, *args)]

    monkeypatch.setattr(PackedModel, "_probe_states", shifted)
    backend = loaded(dtype)
    assert not backend.packed and "differ by" in backend.info.engine_reason


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_fault_of_the_head_beyond_the_part_is_found_out(
    loaded: Callable[..., HFBackend], monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    logits = LMHead.logits

    def shifted(head: LMHead, states: torch.Tensor) -> Iterator[torch.Tensor]:
        for block in logits(head, states):
            changed = block.roll(1, -1)
            changed[:, ::STEP] = block[:, ::STEP]
            yield changed

    monkeypatch.setattr(LMHead, "logits", shifted)
    backend = loaded(dtype)
    assert not backend.packed and "differ by" in backend.info.engine_reason


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_needs_all_of_its_vocabulary_is_compared_over_all_of_it(
    loaded: Callable[..., HFBackend], tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    linear_forward = torch.nn.functional.linear
    words = transformers.AutoConfig.from_pretrained(tiny_model("gemma3")).vocab_size
    refused: list[int] = []

    def only_whole(x: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> torch.Tensor:
        if len(weight) == -(-words // STEP):
            refused.append(1)
            raise IndexError("token 499 is out of bounds")
        return linear_forward(x, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", only_whole)
    backend = loaded(dtype)
    assert refused and backend.packed and not backend._reference.part.exists
    assert backend._reference.in_float32 == (dtype == "bfloat16")


def test_the_head_is_converted_to_float32_only_where_all_of_it_is_scored(loaded: Callable[..., HFBackend]) -> None:
    backend = loaded("bfloat16")
    reference, head = backend._reference, backend.model.get_output_embeddings()
    ids = reference.probe_sequences(20).sequence(0)
    part = reference.logprobs(ids, 3, part=True)
    converted = reference._float32_weights._converted
    assert head not in converted and any(isinstance(module, linear.PackedLinear) for module in converted)
    whole = reference.logprobs(ids, 3)
    assert head in converted and head.weight.dtype == torch.bfloat16
    assert torch.allclose(whole[:, ::STEP].log_softmax(-1), part, atol=1e-5)
    assert torch.equal(reference.logprobs(ids, 3, part=True), part)
    reference.clear_cache()
    assert torch.equal(reference.logprobs(ids, 3), whole)


def test_weights_are_converted_one_at_a_time_where_memory_is_short(
    loaded: Callable[..., HFBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = loaded("bfloat16")
    reference = backend._reference
    ids = reference.probe_sequences(20).sequence(0)
    expected = [reference.logprobs(ids, 3, part=part) for part in (True, False)]
    reference.clear_cache()
    monkeypatch.setattr(float32_weights, "free_bytes", lambda device: 0)
    found = [reference.logprobs(ids, 3, part=part) for part in (True, False)]
    assert not reference._float32_weights._converted
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(expected, found, strict=True))
    assert {p.dtype for p in backend.model.parameters()} == {torch.bfloat16}


@pytest.fixture
def one_layer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers of the tests' models are small."""
    monkeypatch.setattr(float32_weights, "KEPT_BYTES", 0)


def wide_layers(model: Any) -> list[int]:
    """Numbers of the layers that have a packed weight in float32."""
    return [
        k
        for k, layer in enumerate(model.model.layers)
        if any(isinstance(m, linear.PackedLinear) and m.weight_dtype == torch.float32 for m in layer.modules())
    ]


@pytest.mark.usefixtures("one_layer_at_a_time")
def test_one_layer_at_a_time_is_in_float32_and_nothing_is_kept(loaded: Callable[..., HFBackend]) -> None:
    backend = loaded("bfloat16")
    reference, model = backend._reference, backend.model
    seen: list[list[int]] = []
    for layer in model.model.layers:
        layer.self_attn.register_forward_pre_hook(lambda *_: seen.append(wide_layers(model)))
    ids = reference.probe_sequences(20).sequence(0)
    found = reference.logprobs(ids, 3)
    assert seen == [[k] for k in range(len(model.model.layers))] and len(seen) > 1
    assert not wide_layers(model) and not reference._float32_weights._converted
    assert reference._float32_weights.convert_at_once() is True
    assert reference._float32_weights.convert_at_once() is False, "it is so already"
    reference.clear_cache()
    assert torch.allclose(reference.logprobs(ids, 3), found, atol=1e-6)
    assert seen[-1] == list(range(len(model.model.layers)))


@pytest.mark.usefixtures("one_layer_at_a_time")
def test_what_runs_fused_is_compared_in_float32_too(
    loaded: Callable[..., HFBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    gated, wide = fused_modules._gated, []

    def noted(module: Any, x: torch.Tensor) -> torch.Tensor:
        out = gated(module, x)
        if in_packed_pass() and x.dtype == torch.float32:
            wide.append(1)
            return out.roll(1, -1)
        return out

    monkeypatch.setattr(fused_modules, "_gated", noted)
    backend = loaded("bfloat16")
    if not any(isinstance(module, fused_modules._FusedGate) for module in backend.model.modules()):
        pytest.skip("this processor lacks oneDNN's bfloat16")
    assert wide and not backend.packed and "differ by" in backend.info.engine_reason


@pytest.mark.usefixtures("one_layer_at_a_time")
def test_a_model_that_reads_weights_of_a_layer_that_does_not_run_is_compared_in_float32(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(tiny_model("gemma3"), dtype=torch.bfloat16).eval()
    first = model.model.layers[0].mlp.up_proj

    def mixed(module: Any, args: tuple[torch.Tensor, ...]) -> None:
        torch.nn.functional.linear(args[0], first.weight)  # Raises TypeError or RuntimeError unless of one dtype.

    model.model.layers[1].mlp.register_forward_pre_hook(mixed)
    at_load = ReferenceModel(model, None)
    assert at_load.in_float32 and at_load._float32_weights._converted


def test_layers_are_the_entries_of_the_outermost_lists() -> None:
    def block() -> nn.Module:
        return nn.ModuleDict({"experts": nn.ModuleList([nn.Linear(2, 2)])})

    blocks = [block() for _ in range(4)]
    body = nn.ModuleDict({"layers": nn.ModuleList(blocks[:2]), "groups": nn.ModuleList([nn.ModuleList(blocks[2:])])})
    assert list(float32_weights._layers(nn.Sequential(nn.Linear(2, 2), body))) == blocks


# --- memory of mapped files ------------------------------------------------------------------------------


def resident(path: Path) -> int:
    """KiB of a file's mappings that are in memory, as Linux counts them."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text("utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux alone lists what is in memory")
def test_memory_of_a_mapped_tensor_is_let_go_of_and_comes_back_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    numbers = torch.arange(2**20, dtype=torch.float32)
    save_file({"one": numbers.clone(), "two": -numbers}, file)
    tensors = load_file(file)
    total = float(tensors["one"].sum()), float(tensors["two"].sum())
    before = resident(file)
    if not before:
        pytest.skip("this version of safetensors maps no files")
    released = MappedFiles().release(tensors["one"])
    assert 2**22 - 3 * 4096 <= released <= 2**22
    assert resident(file) <= before - released // 1024
    assert (float(tensors["one"].sum()), float(tensors["two"].sum())) == total


def test_memory_that_is_no_files_is_kept() -> None:
    numbers = torch.arange(2**16, dtype=torch.float32)
    files = MappedFiles()
    assert files.release(numbers) == files.release(numbers[::2]) == 0
    assert torch.equal(numbers, torch.arange(2**16, dtype=torch.float32))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux alone lists what is in memory")
def test_a_file_that_is_converted_is_not_in_memory_beside_what_it_becomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, size = tmp_path / "model.safetensors", 2**20
    generator = torch.Generator().manual_seed(0)
    tensors = {str(k): torch.randn(size // 64, 64, generator=generator) for k in range(6)}
    save_file(tensors, path)
    monkeypatch.setattr(file_pages, "BLOCK_BYTES", 2**19)
    found, held = {}, []
    with release_copied_pages(), safetensors.safe_open(path, framework="pt") as opened:
        for name in tensors:
            found[name] = core_model_loading._materialize_copy(opened.get_slice(name), "cpu", torch.bfloat16)
            held.append(resident(path))
        as_stored = core_model_loading._materialize_copy(opened.get_slice("0"), "cpu", torch.float32)
        assert torch.equal(as_stored, tensors["0"])
        assert resident(path) - held[-1] > 0.9 * tensors["0"].nbytes / 1024, "what is used as it is stored stays"
    assert max(held) < 0.25 * tensors["0"].nbytes / 1024
    assert all(torch.equal(found[name], tensor.bfloat16()) for name, tensor in tensors.items())


def test_weights_are_read_so_by_transformers(loaded: Callable[..., HFBackend], monkeypatch: pytest.MonkeyPatch) -> None:
    own, copy = core_model_loading._materialize_copy, file_pages._copy
    names: list[tuple[Any, ...]] = []

    def noted(*args: Any) -> torch.Tensor:
        out = copy(*args)
        names.append((out.dtype, tuple(out.shape)))
        return out

    monkeypatch.setattr(file_pages, "_copy", noted)
    backend = loaded("bfloat16")
    shape = tuple(backend.model.get_input_embeddings().weight.shape)
    assert (torch.bfloat16, shape) in names
    assert core_model_loading._materialize_copy is own


def test_two_models_that_load_at_once_leave_transformers_as_it_was() -> None:
    own = core_model_loading._materialize_copy
    first, second = release_copied_pages(), release_copied_pages()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert core_model_loading._materialize_copy is not own
    second.__exit__(None, None, None)
    assert core_model_loading._materialize_copy is own
