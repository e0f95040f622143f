"""PEFT adapters on the weights of a loaded model: the same as merged, and the model itself as if there were none."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jglue_app.backends import open_backend, open_tokenizer
from jglue_app.backends import pool as pool_module
from jglue_app.backends.fingerprint import changed_files, fingerprint_model, require_unchanged
from jglue_app.backends.hf.adapter.base_match import reject_other_base
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError, ModelError, ModelNotFoundError, NetworkError
from jglue_app.results import exporters
from jglue_app.runs.changes import changes_since
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, Output, Prompt
from tests.conftest import ARCHITECTURES, TinyModel
from tests.peft_adapters import KINDS, make_adapter

ANSWERS = ("含意", "矛盾", "中立")
PROMPTS = [
    Prompt("jnli", str(k), f"{'前提：犬が庭を走っている。' * (k + 1)}\n関係：", None, (), ANSWERS, "", (), "")
    for k in range(3)
]

Results = tuple[dict[int, str], dict[int, tuple[float, ...]]]
"""Number of a prompt → its text, and → the log-probabilities of its answers."""


def results(backend: Backend) -> Results:
    texts: dict[int, str] = {}
    scores: dict[int, tuple[float, ...]] = {}
    for k, output in backend.generate(PROMPTS, 12, lambda: False):
        assert isinstance(output, Output) and output.text is not None
        texts[k] = output.text
    for k, output in backend.choose(PROMPTS, lambda: False):
        assert isinstance(output, Output) and output.choice_logprobs is not None
        scores[k] = output.choice_logprobs
    return texts, scores


def difference(first: Results, second: Results) -> float:
    """The largest difference of log-probabilities."""
    return max(abs(a - b) for k in range(len(PROMPTS)) for a, b in zip(first[1][k], second[1][k], strict=True))


@dataclass(frozen=True)
class Place:
    """A base model, where adapters go, and a pool with the model loaded."""

    base: Path
    folder: Path
    settings: Settings
    pool: ModelPool
    alone: Results
    """What the model answers before any adapter is there."""

    def spec(self, adapter: Path | str, **options: Any) -> ModelSpec:
        return ModelSpec(str(self.base), adapter=str(adapter), **options)

    def adapter(self, name: str, kind: str = "lora", **options: Any) -> Path:
        folder = self.folder / name
        return folder if folder.is_dir() else make_adapter(self.base, folder, kind, **options)

    def merged(self, kind: str) -> Results:
        """What peft's merged model answers, loaded from its own folder."""
        merged = self.folder / f"merged-{kind}"
        if not merged.is_dir():
            make_adapter(self.base, self.folder / kind, kind, merged=merged)
        backend = open_backend(ModelSpec(str(merged)), self.settings, device="cpu")
        try:
            return results(backend)
        finally:
            backend.close()


@pytest.fixture(scope="module")
def place(
    tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory, shared_settings: Settings
) -> Iterator[Place]:
    base = tiny_model("llama")
    with ModelPool(shared_settings, device="cpu") as pool:
        alone = results(pool.get(ModelSpec(str(base))))
        yield Place(base, tmp_path_factory.mktemp("adapters"), shared_settings, pool, alone)


# --- the same as merged, and the base as if there were none ----------------------------------------------


def some(names: Iterable[str], fast: Collection[str]) -> list[Any]:
    """All of them, those that are not among the fast ones with the long tests."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize(
    "kind",
    some(
        KINDS,
        ("lora", "rslora", "dora", "whole layers", "whole block", "whole norms", "norms", "embedding", "head", "ia3"),
    ),
)
def test_unmerged_answers_as_merged_and_the_base_as_before(place: Place, kind: str) -> None:
    merged = place.merged(kind)
    backend = place.pool.get(place.spec(place.folder / kind))
    # An adapter of the head itself is applied by the model's own pass.
    assert backend.info.engine == ("padded batches" if kind == "head" else "packed")
    adapted = results(backend)
    assert adapted[0] == merged[0]
    assert difference(adapted, merged) <= 1e-4
    assert difference(adapted, place.alone) > 0.01
    assert results(place.pool.get(ModelSpec(str(place.base)))) == place.alone  # Bit for bit.


@pytest.mark.parametrize("architecture", some(ARCHITECTURES[1:], ("bloom", "gemma3")))
def test_of_every_architecture(
    tiny_model: TinyModel, shared_settings: Settings, tmp_path: Path, architecture: str
) -> None:
    base, merged_folder = tiny_model(architecture), tmp_path / "merged"
    folder = make_adapter(base, tmp_path / "lora", "all linear", merged=merged_folder, size=0.05)
    with ModelPool(shared_settings, device="cpu") as pool:
        alone = results(pool.get(ModelSpec(str(base))))
        adapted = results(pool.get(ModelSpec(str(base), adapter=str(folder))))
        assert results(pool.get(ModelSpec(str(base)))) == alone
        merged = results(pool.get(ModelSpec(str(merged_folder))))
    assert adapted[0] == merged[0]
    assert difference(adapted, merged) <= 2e-4
    assert difference(adapted, alone) > 0.01


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # Of peft with this transformers.
@pytest.mark.parametrize("kind", some(("lora", "dora", "ia3", "head"), ("lora", "dora")))
def test_log_probabilities_are_those_of_peft_itself(place: Place, kind: str) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = place.adapter(kind, kind)
    model: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(place.base), str(folder)).eval()
    tokenizer = AutoTokenizer.from_pretrained(place.base)
    _, scores = results(place.pool.get(place.spec(folder)))
    for k, prompt in enumerate(PROMPTS):
        context = tokenizer(prompt.text)["input_ids"]
        for answer, score in zip(ANSWERS, scores[k], strict=True):
            ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
            with torch.inference_mode():
                logprobs = model(input_ids=torch.tensor([context + ids])).logits[0].log_softmax(-1)
            by_hand = sum(float(logprobs[len(context) - 1 + j, id_]) for j, id_ in enumerate(ids))
            assert score == pytest.approx(by_hand, abs=1e-4)


def test_base_and_adapters_may_run_in_turn_within_a_call(place: Place) -> None:
    specs = [ModelSpec(str(place.base)), *(place.spec(place.adapter(kind, kind)) for kind in ("lora", "dora"))]
    backends = [place.pool.get(spec) for spec in specs]
    alone = [results(backend)[0] for backend in backends]
    running = [iter(backend.generate(PROMPTS, 12, lambda: False)) for backend in backends]
    texts: list[dict[int, str]] = [{} for _ in backends]
    for _ in PROMPTS:
        for number, outputs in enumerate(running):
            k, output = next(outputs)
            assert isinstance(output, Output) and output.text is not None
            texts[number][k] = output.text
            list(backends[number - 1].choose(PROMPTS[:1], lambda: False))
    assert texts == alone
    assert len({tuple(sorted(found.items())) for found in alone}) == 3  # They differ, or nothing would be shown.


def test_the_weights_are_in_memory_once(place: Place) -> None:
    base: Any = place.pool.get(ModelSpec(str(place.base)))
    adapted: Any = place.pool.get(place.spec(place.adapter("lora")))
    own, shared = dict(adapted.model.named_parameters()), {id(p) for p in base.model.parameters()}
    assert all("lora_" in name for name, parameter in own.items() if id(parameter) not in shared)
    layer, other = (b.model.get_submodule("model.layers.0.self_attn.q_proj") for b in (base, adapted))
    assert other.base_layer._weight is layer._weight
    # Two layers of q_proj (64 → 64) and down_proj (128 → 64), rank 4, in float32.
    assert adapted.info.memory_bytes - base.info.memory_bytes == 2 * 4 * (64 + 64 + 128 + 64) * 4


@pytest.mark.parametrize("dtype", some(("bfloat16", "float16"), ("bfloat16",)))
def test_in_half_precision_the_base_stays_as_it_is(place: Place, dtype: str) -> None:
    spec = ModelSpec(str(place.base), dtype=dtype)
    with ModelPool(place.settings, device="cpu") as pool:
        alone = results(pool.get(spec))
        adapted = results(pool.get(place.spec(place.adapter("lora"), dtype=dtype)))
        assert results(pool.get(spec)) == alone
    exact = results(place.pool.get(place.spec(place.adapter("lora"))))
    # Rounding of the base's own weights: 2⁻⁸ of scores about 30 in size, over a few layers.
    assert difference(adapted, exact) < 2
    assert difference(adapted, alone) > 2


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_on_quantized_weights(place: Place, quantization: str) -> None:
    spec = ModelSpec(str(place.base), quantization=quantization)
    with ModelPool(place.settings, device="cpu") as pool:
        alone = results(pool.get(spec))
        adapted = results(pool.get(place.spec(place.adapter("lora"), quantization=quantization)))
        assert results(pool.get(spec)) == alone
    if quantization == "4bit":
        # The weights alone are rounded, here by bitsandbytes without anything of ours.
        assert np.max(np.abs(np.subtract(scores_of(adapted), four_bits_with_peft(place)))) < 0.01
        return
    exact = results(place.pool.get(place.spec(place.adapter("lora"))))
    effects = [np.subtract(scores_of(a), scores_of(b)) for a, b in ((adapted, alone), (exact, place.alone))]
    # 0.99; with what other adapters do to this model, 0.7 at most.
    assert np.corrcoef(effects)[0, 1] > 0.9
    assert difference(adapted, alone) > 1


def scores_of(found: Results) -> list[float]:
    return [score for k in range(len(PROMPTS)) for score in found[1][k]]


def four_bits_with_peft(place: Place) -> list[float]:
    """The answers' log-probabilities by transformers and peft on weights that have gone through four bits."""
    import bitsandbytes
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(place.base, dtype=torch.float32)
    for layer in model.model.layers.modules():
        if isinstance(layer, torch.nn.Linear):
            packed, state = bitsandbytes.functional.quantize_4bit(layer.weight.data, quant_type="nf4")
            layer.weight.data = bitsandbytes.functional.dequantize_4bit(packed, state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of peft, which asks transformers for what has another name now.
        model = PeftModel.from_pretrained(model, str(place.adapter("lora"))).eval()
    tokenizer = AutoTokenizer.from_pretrained(place.base)
    scores = []
    for prompt in PROMPTS:
        context = tokenizer(prompt.text)["input_ids"]
        for answer in ANSWERS:
            ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
            with torch.inference_mode():
                logprobs = model(input_ids=torch.tensor([context + ids])).logits[0].log_softmax(-1)
            scores.append(sum(float(logprobs[len(context) - 1 + j, id_]) for j, id_ in enumerate(ids)))
    return scores


def test_on_weights_from_gguf(place: Place, tiny_gguf: Path) -> None:
    edit(copied(place, "for-gguf") / "adapter_config.json", base_model_name_or_path="owner/tiny")
    spec = ModelSpec(str(tiny_gguf), adapter=str(place.folder / "for-gguf"))
    with ModelPool(place.settings, device="cpu") as pool:
        got = results(pool.get(spec))
    expected = results(place.pool.get(place.spec(place.adapter("lora"))))
    assert got[0] == expected[0]
    assert difference(got, expected) < 1e-4


# --- what is refused ------------------------------------------------------------------------------------


def copied(place: Place, name: str) -> Path:
    """A copy of the LoRA, to be edited."""
    return Path(shutil.copytree(place.adapter("lora"), place.folder / name))


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), "utf-8")


Change = Callable[[Path], object]


def weights_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def with_weights(change: Callable[[dict[str, Any]], object]) -> Change:
    """A change of the tensors in an adapter's file."""

    def apply(folder: Path) -> None:
        from safetensors.torch import save_file

        weights = weights_of(folder)
        change(weights)
        save_file({key: tensor.clone() for key, tensor in weights.items()}, folder / "adapter_model.safetensors")

    return apply


def as_pickle(folder: Path) -> None:
    import torch

    torch.save(weights_of(folder), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def configured(**changes: Any) -> Change:
    return lambda folder: edit(folder / "adapter_config.json", **changes)


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
EMBEDDING = "base_model.model.model.embed_tokens.weight"


def tensor(*shape: int) -> Any:
    import torch

    return torch.ones(shape)


REFUSED: dict[str, tuple[Change, str]] = {
    "another base": (
        configured(base_model_name_or_path="owner/llama-13b"),
        "was made for owner/llama-13b, and not",
    ),
    "no settings": (remove("adapter_config.json"), "holds no adapter_config.json. Give the folder in which peft saved"),
    "no weights": (remove("adapter_model.safetensors"), "has no weights (adapter_model.safetensors)"),
    "pickled": (as_pickle, "has only pickled weights (adapter_model.bin), which are not read"),
    "damaged settings": (lambda f: (f / "adapter_config.json").write_text("{"), "adapter_config.json of"),
    "damaged weights": (lambda f: (f / "adapter_model.safetensors").write_bytes(b"?" * 20), "is no safetensors file"),
    "no type": (configured(peft_type=None), "is of the type none, which is not applied here"),
    "unknown type": (configured(peft_type="NEWTUNING"), "is of the type NEWTUNING, which is not applied here"),
    "prompt tuning": (configured(peft_type="PROMPT_TUNING"), "adds virtual tokens or layers to every prompt"),
    "prefix tuning": (configured(peft_type="PREFIX_TUNING"), "adds virtual tokens or layers to every prompt"),
    "changed base": (configured(init_lora_weights="pissa"), "belongs to base weights that its training changed"),
    "replicated": (configured(layer_replication=[[0, 2], [0, 2]]), "uses layer_replication, which is not applied here"),
    "of a newer peft": (configured(use_new_thing=True), "has the option use_new_thing, which the installed peft"),
    "missing": (with_weights(lambda w: w.pop(Q)), f"({Q} is missing in its file)"),
    "left over": (with_weights(lambda w: w.update({f"{Q}x": w[Q]})), f"({Q}x has no place in the model)"),
    "other shape": (with_weights(lambda w: w.update({Q: tensor(4, 96)})), f"({Q} is 4×96 in its file and 4×64 in the"),
    "not finite": (with_weights(lambda w: w.update({Q: tensor(4, 64) / 0})), "are not finite"),
    "added tokens": (
        with_weights(lambda w: w.update({EMBEDDING: tensor(510, 64)})),
        "brings other base weights with",
    ),
    "other layers": (configured(target_modules=["Wqkv"]), "cannot be applied to"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_applied_is_refused_in_a_sentence(place: Place, tmp_path: Path, case: str) -> None:
    change, says = REFUSED[case]
    folder = Path(shutil.copytree(place.adapter("lora"), tmp_path / "lora"))
    change(folder)
    with pytest.raises(ModelError) as refused:
        place.pool.get(place.spec(folder))
    assert says in str(refused.value)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)
    assert results(place.pool.get(ModelSpec(str(place.base)))) == place.alone


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("owner/name", NetworkError, "The adapter owner/name is not on this machine and"),
        (
            "/nowhere/at/all",
            ModelNotFoundError,
            "There is no adapter '/nowhere/at/all' on this machine or on the",
        ),
        ("lora", ModelNotFoundError, "There is no adapter 'lora'"),
        ("", ModelNotFoundError, "There is no adapter ''"),
    ],
)
def test_an_adapter_that_is_not_there(place: Place, name: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as refused:
        place.pool.get(place.spec(name))
    assert says in str(refused.value)


def test_a_public_server_applies_none(place: Place) -> None:
    with (
        ModelPool(replace(place.settings, public=True), device="cpu") as pool,
        pytest.raises(InputError, match="leave out the adapter"),
    ):
        pool.get(ModelSpec("gemma-3-270m", adapter=str(place.adapter("lora"))))


def test_a_table_of_answers_has_none(place: Place, tmp_path: Path) -> None:
    table = tmp_path / "answers.jsonl"
    table.write_text('{"item_id": "1", "text": "a"}\n', "utf-8")
    spec = ModelSpec(str(table), "scripted", adapter=str(place.adapter("lora")))
    for work in (
        place.pool.get,
        lambda s: open_backend(s, place.settings),
        lambda s: make_plan(place.settings, s, ("jnli",)),
    ):
        with pytest.raises(InputError, match="An adapter is applied to a model that runs here"):
            work(spec)


@pytest.mark.parametrize("kind", ["embedding", "head", "whole layers"])
def test_one_matrix_for_embedding_and_output_is_not_changed_in_one_place(
    tiny_model: TinyModel, shared_settings: Settings, tmp_path: Path, kind: str
) -> None:
    base = tied(tiny_model("llama"), tmp_path / "tied")
    folder = make_adapter(base, tmp_path / "lora", kind)
    with ModelPool(shared_settings, device="cpu") as pool, pytest.raises(ModelError, match="are one matrix there"):
        pool.get(ModelSpec(str(base), adapter=str(folder)))


def test_trained_tokens_change_both_places(tiny_model: TinyModel, shared_settings: Settings, tmp_path: Path) -> None:
    base = tied(tiny_model("llama"), tmp_path / "tied")
    folder = make_adapter(base, tmp_path / "lora", "tokens", merged=tmp_path / "merged")
    with ModelPool(shared_settings, device="cpu") as pool:
        adapted = results(pool.get(ModelSpec(str(base), adapter=str(folder))))
        merged = results(pool.get(ModelSpec(str(tmp_path / "merged"))))
    assert adapted[0] == merged[0]
    assert difference(adapted, merged) <= 1e-4


def tied(model: Path, folder: Path) -> Path:
    """A copy of a model whose output layer is its embedding."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", tie_word_embeddings=True)
    return folder


# --- which model an adapter was made for ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "model", "path", "fits"),
    [
        ("google/gemma-3-270m", "gemma-3-270m", "/cache/converted/0123", True),
        ("Google/Gemma-3-270M", "google/gemma-3-270m", "google/gemma-3-270m", True),
        ("unsloth/gemma-3-270m-unsloth-bnb-4bit", "google/gemma-3-270m", "google/gemma-3-270m", True),
        ("/home/somebody/gemma-3-270m/", "google/gemma-3-270m", "google/gemma-3-270m", True),
        ("/x/hub/models--google--gemma-3-270m/snapshots/0123", "gemma-3-270m", "/cache/converted/0123", True),
        ("google/gemma-3-270m", "./models/gemma-3-270m-Q4_K_M.gguf", "/cache/converted/0123", True),
        ("", "anything", "/anything", True),
        ("google/gemma-3-270m-it", "gemma-3-270m", "/cache/converted/0123", False),
        ("google/gemma-3-270m", "google/gemma-3-1b-pt", "google/gemma-3-1b-pt", False),
        ("google/gemma-3-270m", "./mine", "./mine", False),
    ],
)
def test_names_of_the_base(settings: Settings, base: str, model: str, path: str, fits: bool) -> None:
    with contextlib.nullcontext() if fits else pytest.raises(ModelError, match="was made for"):
        reject_other_base("lora", base, ModelSpec(model), path, settings)


def test_a_folder_of_another_name_is_the_base_if_its_weights_are(
    tiny_model: TinyModel, settings: Settings, tmp_path: Path
) -> None:
    llama, other, copy = tiny_model("llama"), tiny_model("qwen3"), tmp_path / "copy"
    shutil.copytree(llama, copy)
    reject_other_base("lora", str(llama), ModelSpec(str(copy)), str(copy), settings)
    with pytest.raises(ModelError, match="was made for"):
        reject_other_base("lora", str(other), ModelSpec(str(copy)), str(copy), settings)
    edit(copy / "config.json", _name_or_path="owner/its-name")
    reject_other_base("lora", "other-owner/its-name", ModelSpec(str(copy)), str(copy), settings)


def test_two_models_in_folders_of_one_name_are_two_models(
    tiny_model: TinyModel, settings: Settings, tmp_path: Path
) -> None:
    mine, theirs = tmp_path / "mine" / "base", tmp_path / "theirs" / "base"
    shutil.copytree(tiny_model("llama"), mine)
    shutil.copytree(tiny_model("qwen3"), theirs)
    with pytest.raises(ModelError, match="was made for"):
        reject_other_base("lora", str(mine), ModelSpec(str(theirs)), str(theirs), settings)
    shutil.rmtree(theirs)
    shutil.copytree(mine, theirs)
    reject_other_base("lora", str(mine), ModelSpec(str(theirs)), str(theirs), settings)


# --- its tokenizer --------------------------------------------------------------------------------------


def with_tokenizer(place: Place, folder: Path, **changes: Any) -> Path:
    """A copy of the LoRA with the tokenizer of the base, whose settings are changed."""
    shutil.copytree(place.adapter("lora"), folder)
    for file in place.base.glob("tokenizer*"):
        shutil.copy(file, folder)
    edit(folder / "tokenizer_config.json", **changes)
    return folder


def test_the_chat_template_that_was_saved_with_an_adapter_is_used(place: Place, tmp_path: Path) -> None:
    folder = with_tokenizer(
        place, tmp_path / "lora", chat_template="{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    )
    turns = [{"role": "user", "content": "問い"}]
    adapted = place.pool.get(place.spec(folder), needs_template=True)
    assert adapted.render_chat(turns) == "[問い]"
    assert not place.pool.get(ModelSpec(str(place.base))).info.has_chat_template
    tokenizer = open_tokenizer(place.spec(folder), place.settings)
    assert tokenizer.info.has_chat_template
    assert tokenizer.render_chat(turns) == "[問い]"


def test_a_chat_template_without_a_vocabulary_is_used_with_that_of_the_model(place: Place, tmp_path: Path) -> None:
    folder = with_tokenizer(place, tmp_path / "lora", chat_template="【{{ messages[0]['content'] }}】")
    (folder / "tokenizer.json").unlink()
    turns = [{"role": "user", "content": "問い"}]
    before = open_tokenizer(ModelSpec(str(place.base)), place.settings)
    tokenizer = open_tokenizer(place.spec(folder), place.settings)
    assert tokenizer.render_chat(turns) == "【問い】"
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    named = [{"name": name, "template": f"{name}{{{{ messages[0]['content'] }}}}"} for name in ("tool_use", "default")]
    edit(folder / "tokenizer_config.json", chat_template=named)
    assert open_tokenizer(place.spec(folder), place.settings).render_chat(turns) == "default問い"
    (folder / "chat_template.jinja").write_text("〈{{ messages[0]['content'] }}〉", "utf-8")
    tokenizer = open_tokenizer(place.spec(folder), place.settings)
    assert tokenizer.render_chat(turns) == "〈問い〉"
    assert tokenizer.encode_text("問い") == before.encode_text("問い")
    assert not before.info.has_chat_template
    edit(folder / "tokenizer_config.json", eos_token="<|im_end|>")
    with pytest.raises(ModelError, match=r"was saved with the end token '<\|im_end\|>', which is not that of"):
        open_tokenizer(place.spec(folder), place.settings)


def test_a_tokenizer_with_other_ids_is_refused(place: Place, tmp_path: Path) -> None:
    folder = with_tokenizer(place, tmp_path / "lora")
    table = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = table["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(table), "utf-8")
    for work in (place.pool.get, lambda spec: open_tokenizer(spec, place.settings)):
        with pytest.raises(ModelError, match="gives 'a' the id"):
            work(place.spec(folder))


def test_a_tokenizer_with_added_tokens_is_refused(place: Place, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = with_tokenizer(place, tmp_path / "lora")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"has the token '<\|im_start\|>' \(id 500\), .* an embedding for 500 tokens"):
        place.pool.get(place.spec(folder))


# --- files, runs, and their names -------------------------------------------------------------------------


def test_the_files_of_an_adapter_are_a_part_of_the_model(place: Place, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(place.adapter("lora"), tmp_path / "lora"))
    spec, base = place.spec(folder), ModelSpec(str(place.base))
    before, without = fingerprint_model(spec, place.settings), fingerprint_model(base, place.settings)
    assert before is not None and without is not None
    own = {name for name in before.files if name not in without.files}
    assert own == {"adapter: adapter_config.json", "adapter: adapter_model.safetensors"}
    planned = replace(spec, files_sha256=before.digest)
    require_unchanged(planned, place.settings)
    with_weights(lambda w: w[Q].mul_(2))(folder)
    after = fingerprint_model(spec, place.settings)
    assert after is not None
    assert changed_files(before.files, after.files) == ["adapter: adapter_model.safetensors"]
    with pytest.raises(ModelError, match="have changed since the run was planned"):
        place.pool.get(planned)


def test_an_adapter_on_the_hub_counts_with_the_commit_of_its_local_copy(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789" * 4
    snapshot = tmp_path / "models--owner--lora" / "snapshots" / commit
    shutil.copytree(place.adapter("lora"), snapshot)
    (tmp_path / "models--owner--lora" / "refs").mkdir()
    (tmp_path / "models--owner--lora" / "refs" / "main").write_text(commit)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(tmp_path))
    spec = place.spec("owner/lora")
    fingerprint = fingerprint_model(spec, place.settings)
    assert fingerprint is not None
    assert fingerprint.files["adapter: commit"] == commit
    require_unchanged(replace(spec, files_sha256=fingerprint.digest), place.settings, "local")
    with pytest.raises(ModelError, match="have changed"):
        require_unchanged(replace(spec, files_sha256="0" * 64), place.settings, "local")


def test_a_run_says_which_adapter_answered(place: Place, tmp_path: Path) -> None:
    runs = replace(place.settings, runs_dir=tmp_path / "runs")
    folder = Path(shutil.copytree(place.adapter("lora"), tmp_path / "my-lora"))
    plans: list[tuple[Any, Plan]] = [
        (side, make_plan(runs, spec, ("jnli",), data_kind="sample", limit=3))
        for side, spec in (("a", ModelSpec(str(place.base))), ("b", place.spec(folder)))
    ]
    messages = [event.message for event in run_plans(plans, place.pool, runs.runs_dir) if event.kind == "notice"]
    assert not any("one after the other" in message for message in messages)
    base, adapted = (RunStore.of(runs.runs_dir, plan.spec).manifest() for _, plan in plans)
    assert plans[1][1].spec.label == f"{place.base.name} + my-lora · plain · ja-labels · 0-shot"
    assert (base["model"]["adapter"], adapted["model"]["adapter"]) == ("", "LoRA, rank 4")
    assert adapted["model"]["commit"] == base["model"]["commit"]
    assert adapted["model"]["adapter_commit"].startswith("local-")
    assert set(adapted["model_files"]) - set(base["model_files"]) == {
        "adapter: adapter_config.json",
        "adapter: adapter_model.safetensors",
    }
    assert adapted["machine"]["packages"]["peft"] == importlib.metadata.version("peft")
    path = RunStore.of(runs.runs_dir, plans[1][1].spec).path
    exporters.export(path, tmp_path / "lm-eval", "lm-eval")
    (scores,) = (tmp_path / "lm-eval").rglob("results_*.json")
    assert f"pretrained={place.base.name}," in json.loads(scores.read_text("utf-8"))["config"]["model_args"]
    assert "peft=my-lora" in json.loads(scores.read_text("utf-8"))["config"]["model_args"]
    with pytest.raises(InputError, match="a model with an adapter, and the model's card must not claim them"):
        exporters.export(path, tmp_path / "card", "hub-eval-results")
    edit(folder / "adapter_config.json", lora_alpha=32)
    again = make_plan(runs, place.spec(folder), ("jnli",), data_kind="sample", limit=3)
    (note,) = changes_since(again, runs.runs_dir)
    assert "(adapter: adapter_config.json)" in str(note)
    assert RunStore.of(runs.runs_dir, again.spec).path != RunStore.of(runs.runs_dir, plans[1][1].spec).path


# --- in the pool ----------------------------------------------------------------------------------------


def test_a_model_and_all_its_adapters_are_one_model(tiny_model: TinyModel, place: Place) -> None:
    other = ModelSpec(str(tiny_model("qwen3")))
    base = ModelSpec(str(place.base))
    first, second = (place.spec(place.adapter(kind, kind)) for kind in ("lora", "dora"))
    said: list[str] = []
    with ModelPool(place.settings, device="cpu", size=2) as pool:
        backends = [pool.get(spec, said.append) for spec in (first, other, second, base)]
        assert [pool.get(spec) for spec in (first, other, second, base)] == backends
        assert len(pool.resident) == 2
        assert pool.fit_together({base, first, second, other})
        assert not any(message.startswith("Unloading") for message in said)
        assert said.count(f"Loading {base.id}.") == 1
        # A third model takes the place of the one that was used least recently, and of its adapters.
        pool.get(other)
        pool.get(ModelSpec(str(tiny_model("gpt_neox"))), said.append)
        assert f"Unloading {base.id} to make room." in said
        assert pool.get(first) is not backends[0]


def test_an_adapter_whose_files_have_changed_is_applied_again(place: Place, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(place.adapter("lora"), tmp_path / "lora"))
    before, base = results(place.pool.get(place.spec(folder))), place.pool.get(ModelSpec(str(place.base)))
    edit(folder / "adapter_config.json", lora_alpha=80)
    said: list[str] = []
    after = results(place.pool.get(place.spec(folder), said.append))
    assert f"Unloading the adapter {folder}: its files have changed." in said
    assert difference(before, after) > 0.1
    assert place.pool.get(ModelSpec(str(place.base))) is base


def test_only_so_many_adapters_stay(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_ADAPTERS", 1)
    first, second = (place.spec(place.adapter(kind, kind)) for kind in ("lora", "dora"))
    with ModelPool(place.settings, device="cpu") as pool:
        before, base = pool.get(first), pool.get(ModelSpec(str(place.base)))
        pool.get(second)
        assert pool.get(first) is not before
        assert pool.get(ModelSpec(str(place.base))) is base


def test_an_adapter_without_effect_is_noticed(place: Place, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(place.adapter("lora"), tmp_path / "lora"))
    with_weights(lambda w: [t.zero_() for key, t in w.items() if "lora_B" in key])(folder)
    said: list[str] = []
    place.pool.get(place.spec(folder), said.append)
    assert f"On a first text the adapter {folder} changes nothing: see that it is a trained one." in said


def test_a_backend_of_its_own_closes_its_model(place: Place) -> None:
    backend: Any = open_backend(place.spec(place.adapter("lora")), place.settings, device="cpu")
    base = backend._base
    assert results(backend) == results(place.pool.get(place.spec(place.adapter("lora"))))
    backend.close()
    backend.close()
    assert base.model is None


def test_a_model_whose_weights_were_changed_is_loaded_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no known adapter does: a kind of them that writes into the weights of the base."""
    import peft

    written = peft.set_peft_model_state_dict

    def changing(model: Any, *arguments: Any, **options: Any) -> Any:
        model.get_base_model().get_input_embeddings().weight.data.mul_(1.5)
        return written(model, *arguments, **options)

    monkeypatch.setattr(peft, "set_peft_model_state_dict", changing)
    folder = Path(shutil.copytree(place.adapter("lora"), tmp_path / "lora"))
    with ModelPool(place.settings, device="cpu") as pool:
        before = pool.get(ModelSpec(str(place.base)))
        with pytest.raises(ModelError, match="cannot be applied without a change of"):
            pool.get(place.spec(folder))
        assert pool.resident == []
        assert pool.get(ModelSpec(str(place.base))) is not before
        assert results(pool.get(ModelSpec(str(place.base)))) == place.alone
