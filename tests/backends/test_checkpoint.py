"""What a checkpoint is: real tiny models of every kind, and configurations as they lie in repositories."""

from __future__ import annotations

import json
import re
import shutil
import struct
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from jglue_app.backends import open_backend, open_tokenizer
from jglue_app.backends.hf import load as loading
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.checkpoint import adapters, model_kind, stored_quantization
from jglue_app.backends.hf.checkpoint.checkpoint_files import count_weights
from jglue_app.backends.hf.checkpoint.find_weights import find_model
from jglue_app.backends.hf.checkpoint.gguf import file_type
from jglue_app.backends.hf.engine.equivalence import NotCausalError, ReferenceModel
from jglue_app.errors import DeviceError, InputError, ModelError, ModelNotFoundError
from jglue_app.settings import ASSETS, Settings
from jglue_app.types import ModelSpec, Output
from tests.backends.contract import collect, make_prompt, never

TinyModel = Callable[..., Path]

SIZES = {
    "vocab_size": 500,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "initializer_range": 0.5,
}
SEQ2SEQ = {
    "vocab_size": 500,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "pad_token_id": 2,
    "decoder_start_token_id": 2,
}


@pytest.fixture
def folder(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A model folder that the test may write to."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def edit_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def save(folder: Path, tokenizer: Path, config: str, model: str, **sizes: Any) -> Path:
    """A model of random weights of any class of transformers, with the tokenizer of another folder."""
    import torch
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, model)(getattr(transformers, config)(**sizes)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder)
    return folder


def load(folder: Path, settings: Settings, **spec: Any) -> None:
    open_backend(ModelSpec(str(folder), **spec), settings, device="cpu").close()


# --- what kind of model -----------------------------------------------------------------------------------

MODELS = [
    ("BertConfig", "BertForMaskedLM", SIZES, "an encoder"),
    ("BertConfig", "BertLMHeadModel", SIZES, "an encoder"),
    ("BertConfig", "BertModel", SIZES, "an encoder"),
    ("RobertaConfig", "RobertaForMaskedLM", SIZES, "an encoder"),
    ("XLMRobertaConfig", "XLMRobertaForCausalLM", SIZES, "an encoder"),
    ("ModernBertConfig", "ModernBertForMaskedLM", SIZES | {"cls_token_id": 0, "sep_token_id": 1}, "an encoder"),
    ("DebertaV2Config", "DebertaV2ForMaskedLM", SIZES, "an encoder"),
    ("ElectraConfig", "ElectraForPreTraining", SIZES, "an encoder"),
    (
        "XLNetConfig",
        "XLNetLMHeadModel",
        {"vocab_size": 500, "d_model": 32, "n_layer": 1, "n_head": 2, "d_inner": 32},
        "a permutation language model",
    ),
    (
        "T5Config",
        "T5ForConditionalGeneration",
        {"vocab_size": 500, "d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2},
        "an encoder-decoder model",
    ),
    ("BartConfig", "BartForConditionalGeneration", SEQ2SEQ, "an encoder-decoder model"),
    ("MarianConfig", "MarianMTModel", SEQ2SEQ, "an encoder-decoder model"),
    ("LlamaConfig", "LlamaForSequenceClassification", SIZES, "a reward model or classifier"),
    ("Qwen3Config", "Qwen3ForTokenClassification", SIZES | {"head_dim": 8}, "a reward model or classifier"),
    ("LlamaConfig", "LlamaForQuestionAnswering", SIZES, "a model with an answer-extraction head"),
    ("Qwen3Config", "Qwen3Model", SIZES | {"head_dim": 8, "tie_word_embeddings": True}, "an embedding model"),
    (
        "GPT2Config",
        "GPT2DoubleHeadsModel",
        {"vocab_size": 500, "n_embd": 32, "n_layer": 1, "n_head": 2, "num_labels": 1},
        "a reward model or classifier",
    ),
]


@pytest.mark.parametrize(("config", "model", "sizes", "kind"), MODELS, ids=[model for _, model, _, _ in MODELS])
def test_what_is_no_causal_language_model_is_refused_by_name_before_it_is_loaded(
    tiny_model: TinyModel, settings: Settings, tmp_path: Path, config: str, model: str, sizes: dict[str, Any], kind: str
) -> None:
    folder = save(tmp_path / "model", tiny_model("llama"), config, model, **sizes)
    with pytest.raises(ModelError, match=rf"model is {kind}.* \({model}\)\. Only causal language models") as e:
        load(folder, settings)
    with pytest.raises(ModelError) as again:
        open_tokenizer(ModelSpec(str(folder)), settings)
    assert str(again.value) == str(e.value)


def test_exactly_nineteen_types_of_transformers_table_are_not_causal_and_none_is_accepted() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert len(model_kind.NOT_CAUSAL) == 19
    for type_ in model_kind.NOT_CAUSAL:
        built = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[type_]
        for table in ({"model_type": type_}, {"model_type": type_, "architectures": [built]}):
            with pytest.raises(ModelError, match="Only causal language models"):
                model_kind.reject_unless_causal("m", table)


def test_no_masked_translating_or_classifying_architecture_of_transformers_is_accepted() -> None:
    from transformers.models.auto import modeling_auto as auto

    tables = [
        auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
        auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    ]
    pairs = [(type_, name) for table in tables for type_, name in table.items() if isinstance(name, str)]
    assert len(pairs) > 300
    for type_, architecture in pairs:
        with pytest.raises(ModelError, match="Only causal language models"):
            model_kind.reject_unless_causal("m", {"model_type": type_, "architectures": [architecture]})


@pytest.mark.parametrize(
    "table",
    [
        {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        {"model_type": "llama", "architectures": ["LLaMAForCausalLM"]},
        {"model_type": "llama"},
        {"model_type": "llama", "architectures": None},
        {"model_type": "llama", "architectures": []},
        {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
        {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"]},
        {"model_type": "mpt", "architectures": ["MPTForCausalLM"]},
        {"model_type": "exaone", "architectures": ["ExaoneForCausalLM"]},
        {"model_type": "gpt_bigcode", "architectures": ["GPTBigCodeLMHeadModel"]},
        {"model_type": "gemma3", "architectures": ["Gemma3ForCausalLM"]},
        {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"]},
        {"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True},
        {"model_type": "bart", "architectures": ["BartForCausalLM"], "is_encoder_decoder": False},
        {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]},
        {"model_type": "llama4", "architectures": ["Llama4ForConditionalGeneration"]},
        {"model_type": "mamba", "architectures": ["MambaForCausalLM"]},
    ],
)
def test_causal_language_models_are_accepted_under_every_name_they_have(table: dict[str, Any]) -> None:
    model_kind.reject_unless_causal("m", table)


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ({"model_type": "luke", "architectures": ["LukeForMaskedLM"]}, "an encoder"),
        ({"model_type": "t5gemma", "architectures": ["T5GemmaForConditionalGeneration"]}, "an encoder-decoder"),
        ({"model_type": "umt5", "architectures": ["UMT5ForConditionalGeneration"]}, "an encoder-decoder"),
        ({"model_type": "encoder-decoder", "architectures": ["EncoderDecoderModel"]}, "an encoder-decoder"),
        ({"model_type": "mistral", "architectures": ["MistralModel"]}, "an embedding model"),
        ({"model_type": "qwen2", "architectures": ["Qwen2ForRewardModel"]}, "a reward model"),
        ({"model_type": "llama", "architectures": ["LlamaForCausalLMWithValueHead"]}, "a reward model"),
        ({"model_type": "llama", "architectures": "LlamaForSequenceClassification"}, "a reward model"),
        ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}, "a model for images"),
        ({"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"]}, "a model for images"),
        ({"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}, "an encoder-decoder"),
        ({"model_type": "new", "architectures": ["NewForMaskedLM"]}, "an encoder"),
        ({"model_type": "llada", "architectures": ["LLaDAModelLM"]}, "a diffusion model"),
        ({"architectures": ["SomethingForSequenceClassification"]}, "a reward model"),
        ({"model_type": "git", "architectures": ["GitForCausalLM"]}, "a model for images"),
        ({"model_type": "albert"}, "an encoder"),
        (
            {"model_type": "roberta", "architectures": ["RobertaForCausalLM"], "is_decoder": True},
            "a decoder that counts positions from its padding token on",
        ),
        ({"model_type": "vit", "architectures": ["ViTForImageClassification"]}, ""),
        ({"model_type": "clip"}, ""),
    ],
)
def test_other_kinds_are_known_by_their_configuration(table: dict[str, Any], kind: str) -> None:
    with pytest.raises(ModelError, match=rf"^m is {kind}.*Only causal language models"):
        model_kind.reject_unless_causal("m", table)


@pytest.mark.parametrize("prefix", ["Medusa", "Eagle", "Hydra"])
def test_heads_that_draft_are_known_by_the_class(prefix: str) -> None:
    with pytest.raises(ModelError, match=r"^m is a model with heads that draft several tokens at once"):
        model_kind.reject_unless_causal("m", {"model_type": "llama", "architectures": [f"{prefix}LlamaForCausalLM"]})


@pytest.mark.parametrize("other", ["GemmaForCausalLM", "SparseLlamaForCausalLM", "Qwen2ForCausalLM"])
def test_a_class_that_is_not_the_one_transformers_would_build_is_refused(other: str) -> None:
    """As a Gemma that calls itself a Llama: all weights fit, and the norms compute something else."""
    sentence = (
        rf"of m names the class {other}, and transformers would build LlamaForCausalLM in its place.*type llama\."
    )
    with pytest.raises(ModelError, match=sentence):
        model_kind.reject_unless_causal("m", {"model_type": "llama", "architectures": [other]})


def test_an_encoder_that_was_made_a_decoder_is_accepted_and_answers_as_plain_transformers_does(
    tiny_model: TinyModel, settings: Settings, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoTokenizer, BertLMHeadModel

    folder = save(tmp_path / "m", tiny_model("llama"), "BertConfig", "BertLMHeadModel", **SIZES, is_decoder=True)
    prompt = make_prompt("今日は", answers=("冬", "夏"))
    backend = open_backend(ModelSpec(str(folder)), settings, device="cpu")
    (found,) = collect(backend.choose([prompt], never)).values()
    backend.close()
    model, tokenizer = BertLMHeadModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    expected = []
    for answer in prompt.answers:
        ids = tokenizer(prompt.text + answer)["input_ids"]
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        start = len(tokenizer(prompt.text)["input_ids"])
        expected.append(sum(float(scores[k - 1, ids[k]]) for k in range(start, len(ids))))
    assert isinstance(found, Output) and found.choice_logprobs == pytest.approx(expected, abs=1e-3)


def is_causal(model: Any) -> bool:
    """Whether the first comparison takes a model for a causal one."""
    try:
        ReferenceModel(model, None)
    except NotCausalError:
        return False
    return True


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "bloom", "mpt", "gemma3", "qwen3"])
def test_models_that_read_from_left_to_right_are_found_causal(tiny_model: TinyModel, architecture: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    for dtype in (torch.float32, torch.bfloat16):
        model = AutoModelForCausalLM.from_pretrained(tiny_model(architecture), dtype=dtype).eval()
        assert is_causal(model)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("config", "model"),
    [
        ("BertConfig", "BertLMHeadModel"),
        ("RobertaConfig", "RobertaForCausalLM"),
        ("RoCBertConfig", "RoCBertForCausalLM"),
        ("XLNetConfig", "XLNetLMHeadModel"),
        ("XLMConfig", "XLMWithLMHeadModel"),
    ],
)
def test_models_that_look_ahead_are_found_out_by_what_they_do(config: str, model: str, dtype: str) -> None:
    import torch
    import transformers

    sizes: dict[str, Any] = {
        "XLNetConfig": {"vocab_size": 500, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
        "XLMConfig": {"vocab_size": 500, "emb_dim": 32, "n_layers": 2, "n_heads": 4},
    }.get(config, SIZES)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = getattr(transformers, model)(getattr(transformers, config)(**sizes)).eval()
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    assert not is_causal(made.to(getattr(torch, dtype)))


def test_a_loaded_model_that_is_not_causal_is_refused_whatever_its_configuration_says(tiny_model: TinyModel) -> None:
    """As a Llama whose attention was made bidirectional and that still calls itself LlamaForCausalLM."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"), attn_implementation="eager").eval()
    mask_less = model.model.forward

    def see_everything(*args: Any, **given: Any) -> Any:
        import torch

        rows, length = given["input_ids"].shape
        return mask_less(*args, **given | {"attention_mask": torch.zeros(rows, 1, length, length)})

    assert is_causal(model)
    model.model.forward = see_everything
    assert not is_causal(model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
    with pytest.raises(ModelError, match=r"In m, later tokens change what is said of earlier ones \(over "):
        HFBackend(ModelSpec("m"), "c", model, tokenizer)


@pytest.mark.parametrize("mark", ["modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"])
def test_a_model_of_sentence_transformers_is_refused_although_it_calls_itself_causal(
    folder: Path, settings: Settings, mark: str
) -> None:
    (folder / mark).parent.mkdir(exist_ok=True)
    (folder / mark).write_text("{}")
    with pytest.raises(ModelError, match="model is an embedding model"):
        load(folder, settings)


# --- adapters ---------------------------------------------------------------------------------------------

LORA = {"peft_type": "LORA", "base_model_name_or_path": "owner/base", "r": 4, "target_modules": ["q_proj"]}


def put_adapter(folder: Path, config: Mapping[str, Any] = LORA, weights: str = "adapter_model.safetensors") -> None:
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 64)}, folder / weights)


def test_an_adapter_alone_is_refused_and_its_base_named(tmp_path: Path, settings: Settings) -> None:
    put_adapter(tmp_path / "alone")
    with pytest.raises(ModelError, match=r"alone holds an adapter \(adapter_config\.json\) for the model owner/base"):
        load(tmp_path / "alone", settings)


def test_an_adapter_beside_its_base_is_refused_and_the_base_does_not_answer_for_it(
    folder: Path, settings: Settings
) -> None:
    load(folder, settings)
    put_adapter(folder)
    says = r"for the model owner/base, and is not named as a model\. Name owner/base as the model, and"
    with pytest.raises(ModelError, match=says):
        load(folder, settings)
    with pytest.raises(ModelError, match=says):
        open_tokenizer(ModelSpec(str(folder)), settings)


@pytest.mark.parametrize(
    "name",
    [
        *("adapter_config.json", "adapter_model.bin", "adapter_model-00001-of-00002.safetensors", "adapter_model.pt"),
        *("pytorch_lora_weights.safetensors", "pytorch_adapter.bin", "adapters.safetensors", "adapters.npz"),
    ],
)
def test_adapters_of_other_tools_are_known_by_their_file_names(folder: Path, settings: Settings, name: str) -> None:
    (folder / name).write_bytes(b"?")
    says = (
        r", and is not named as a model\." if name == "adapter_config.json" else " in a form that is not applied here"
    )
    with pytest.raises(ModelError, match=rf"holds an adapter \({re.escape(name)}\){says}"):
        load(folder, settings)


def test_an_adapter_of_the_adapters_library_names_its_base(tmp_path: Path, settings: Settings) -> None:
    put_adapter(tmp_path / "m", {"config": {"original_ln_after": True}, "model_name": "owner/old-base"})
    with pytest.raises(ModelError, match="for the model owner/old-base, in a form that is not applied here"):
        load(tmp_path / "m", settings)


def test_a_training_folder_with_adapters_in_its_checkpoints_only_is_refused(tmp_path: Path, settings: Settings) -> None:
    put_adapter(tmp_path / "trained" / "checkpoint-100")
    with pytest.raises(
        ModelError,
        match=r"\(checkpoint-100/adapter_config\.json\) .*trained/checkpoint-100 as the adapter \(--adapter\)\.$",
    ):
        load(tmp_path / "trained", settings)


def test_an_adapter_in_a_folder_below_a_whole_model_says_nothing_about_that_model(
    folder: Path, settings: Settings
) -> None:
    put_adapter(folder / "checkpoint-100")
    load(folder, settings)


def test_a_model_that_was_saved_with_its_adapter_unmerged_is_refused(folder: Path, settings: Settings) -> None:
    def unmerge(weights: dict[str, Any]) -> None:
        import torch

        name = "model.layers.0.self_attn.q_proj"
        weights[f"{name}.base_layer.weight"] = weights.pop(f"{name}.weight")
        weights[f"{name}.lora_A.default.weight"] = torch.ones(4, 64)
        weights[f"{name}.lora_B.default.weight"] = torch.ones(64, 4)

    edit_weights(folder, unmerge)
    with pytest.raises(
        ModelError, match=r"holds an adapter \(model\.layers\.0\.self_attn\.q_proj\.base_layer\.weight\)"
    ):
        load(folder, settings)


HEAD_KEY = {"v_head.summary.weight": (1, 64)}
LORA_KEYS = {f"base_model.model.model.layers.0.self_attn.q_proj.lora_{k}.weight": (4, 64) for k in "AB"}


def put_weights(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    import torch
    from safetensors.torch import save_file

    weights = {key: torch.ones(shape) for key, shape in shapes.items()}
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize(
    ("name", "shapes", "kind"),
    [
        *(
            (name, HEAD_KEY, r"is a reward model or classifier")
            for name in (
                *("value_head.safetensors", "value_head.bin", "v_head.pt", "rm_head.bin", "reward_head.safetensors"),
                *("score.safetensors", "classifier.bin", "model_head.pkl", "extra.safetensors", "critic.pt"),
            )
        ),
        *(
            (name, LORA_KEYS, r"holds an adapter")
            for name in ("pytorch_lora.safetensors", "my-lora.safetensors", "my-lora.bin", "extra.safetensors")
        ),
        ("non_lora_trainables.bin", {"x": (1,)}, "holds an adapter"),
        ("medusa_lm_head.safetensors", {"0.0.linear.weight": (64, 64)}, "is a model with heads that draft"),
        ("medusa_lm_head.pt", {"0.0.linear.weight": (64, 64)}, "is a model with heads that draft"),
    ],
)
def test_a_head_or_adapter_in_a_file_of_its_own_is_refused_and_the_base_does_not_answer_for_it(
    folder: Path, settings: Settings, name: str, shapes: dict[str, tuple[int, ...]], kind: str, shards: bool
) -> None:
    if shards:
        shard(folder)
    put_weights(folder / name, shapes)
    with pytest.raises(ModelError, match=rf"model {kind}.*\({re.escape(name)}\)"):
        find_model(ModelSpec(str(folder)), settings, print)


@pytest.mark.parametrize(
    "name", ["value_head.safetensors", "classifier.bin", "my-lora.safetensors", "medusa_lm_head.pt"]
)
def test_where_files_are_not_there_to_be_read_the_name_of_a_head_or_adapter_does(name: str) -> None:
    with pytest.raises(ModelError, match=re.escape(f"({name})")):
        adapters.reject_additional_weights(
            "m", ["config.json", "model.safetensors", name], ["model.safetensors"], lambda _: ()
        )


@pytest.mark.parametrize(
    "name",
    [
        *("consolidated.safetensors", "model_ema.safetensors", "model.fp16.safetensors", "pytorch_model.bin"),
        *("my-lora-merged.safetensors", "original/score.safetensors", "onnx/classifier.bin"),
    ],
)
def test_other_copies_of_the_weights_do_no_harm(folder: Path, settings: Settings, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    shutil.copy(folder / "model.safetensors", folder / name)
    find_model(ModelSpec(str(folder)), settings, print)


@pytest.mark.parametrize(
    "name",
    ["optimizer.safetensors", "optimizer.bin", "scheduler.pt", "training_args.bin", "eval_scores.pt", "rng_state.pth"],
)
def test_what_a_training_leaves_behind_does_no_harm(folder: Path, settings: Settings, name: str) -> None:
    put_weights(folder / name, {"state.lora_A.exp_avg" if name.startswith("optim") else "x": (4, 64)})
    find_model(ModelSpec(str(folder)), settings, print)


# --- weights without a place --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["v_head.summary.weight", "score.weight", "value_head.bias", "classifier.weight"])
def test_a_head_that_gives_scores_beside_the_language_model_is_refused(
    folder: Path, settings: Settings, key: str
) -> None:
    import torch

    edit_weights(folder, lambda weights: weights.update({key: torch.ones(1, 64)}))
    with pytest.raises(ModelError, match=rf"a reward model or classifier.*\({key}\)"):
        load(folder, settings)


def test_weights_that_have_no_place_in_the_model_are_refused(folder: Path, settings: Settings) -> None:
    """As biases of a checkpoint whose configuration says that there are none: without them it is another model."""
    import torch

    key = "model.layers.0.self_attn.q_proj.bias"
    edit_weights(folder, lambda weights: weights.update({key: torch.ones(64)}))
    with pytest.raises(ModelError, match=rf"hold weights that have no place in the model.*\({key}\)"):
        load(folder, settings)


def test_layers_that_the_configuration_leaves_out_are_not_dropped_silently(folder: Path, settings: Settings) -> None:
    edit_json(folder / "config.json", num_hidden_layers=1)
    with pytest.raises(ModelError, match=r"hold weights that have no place in the model.*\(model\.layers\.1\."):
        load(folder, settings)


@pytest.mark.parametrize("key", ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.0.attn.masked_bias"])
def test_what_old_versions_stored_besides_does_no_harm(folder: Path, settings: Settings, key: str) -> None:
    import torch

    edit_weights(folder, lambda weights: weights.update({key: torch.ones(8)}))
    load(folder, settings)


# --- which files hold the weights ---------------------------------------------------------------------------


def shard(folder: Path, copies: int = 2) -> list[Path]:
    """Split the weights of a folder as transformers lists them."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-{k + 1:05}-of-{copies:05}.safetensors" for k in range(copies)]
    where = {key: names[i % copies] for i, key in enumerate(sorted(weights))}
    for name in names:
        save_file({k: weights[k] for k in where if where[k] == name}, folder / name, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return [folder / name for name in names]


def test_memory_counts_the_files_that_are_loaded_and_no_copies_of_them(folder: Path, settings: Settings) -> None:
    original = (folder / "model.safetensors").read_bytes()
    shards = shard(folder)
    size = sum(file.stat().st_size for file in shards)
    for name in (
        "consolidated.safetensors",
        "model.fp16.safetensors",
        "pytorch_model.bin",
        "original/model.safetensors",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(original)
    source = find_model(ModelSpec(str(folder)), settings, print)
    assert (source.weight_bytes, source.use_safetensors) == (size, True)
    load(folder, settings)


def test_a_model_that_fits_once_is_loaded_although_it_lies_there_twice(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (folder / "model.safetensors").stat().st_size
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    monkeypatch.setattr(loading, "memory_free", lambda device: int(size * 1.5))
    load(folder, settings)
    monkeypatch.setattr(loading, "memory_free", lambda device: int(size * 0.5))
    with pytest.raises(DeviceError, match="GB are free"):
        load(folder, settings)


def test_the_width_of_weights_is_that_in_the_file_whatever_the_configuration_says(
    folder: Path, settings: Settings
) -> None:
    import torch

    def halve(weights: dict[str, Any]) -> None:
        for key, value in weights.items():
            weights[key] = value.to(torch.bfloat16)

    edit_json(folder / "config.json", dtype="float32")
    assert find_model(ModelSpec(str(folder)), settings, print).stored_width == 4
    edit_weights(folder, halve)
    assert find_model(ModelSpec(str(folder)), settings, print).stored_width == 2


def test_a_missing_file_of_several_is_named(folder: Path, settings: Settings) -> None:
    shard(folder)[1].unlink()
    with pytest.raises(ModelNotFoundError, match=r"The weight file model-00002-of-00002\.safetensors of .* is missing"):
        load(folder, settings)


@pytest.mark.parametrize("outside", ["../secret.safetensors", "/etc/passwd", "a/../../x.safetensors", "C:\\x", "..\\x"])
def test_a_list_of_weight_files_cannot_lead_outside_the_folder(folder: Path, settings: Settings, outside: str) -> None:
    shard(folder)
    index = folder / "model.safetensors.index.json"
    table = json.loads(index.read_text())
    table["weight_map"]["lm_head.weight"] = outside
    index.write_text(json.dumps(table))
    with pytest.raises(ModelError, match="names a file outside the model"):
        load(folder, settings)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": 5}']
)
def test_a_damaged_list_of_weight_files_is_said(folder: Path, settings: Settings, content: str) -> None:
    shard(folder)
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json of .*\. Fetch"):
        load(folder, settings)


def test_weights_under_a_name_that_is_not_looked_for_are_said(folder: Path, settings: Settings) -> None:
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    with pytest.raises(ModelNotFoundError, match=r"does not look for \(model\.fp16\.safetensors\)\. Rename the file"):
        load(folder, settings)


# --- weights that are quantized already ---------------------------------------------------------------------


@pytest.fixture(scope="module", params=["4bit", "8bit"])
def quantized(
    request: pytest.FixtureRequest, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, str]:
    """A folder that was saved in few bits, how that is called, and its compute dtype's other quantization."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    source, target = tiny_model("llama"), tmp_path_factory.mktemp("quantized") / "model"
    how = (
        BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
        if request.param == "4bit"
        else BitsAndBytesConfig(load_in_8bit=True)
    )
    model = AutoModelForCausalLM.from_pretrained(
        source, quantization_config=how, device_map={"": "cpu"}, dtype=torch.float32
    )
    model.save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, target)
    return target, *(("bnb 4-bit (nf4)", "8bit") if request.param == "4bit" else ("bnb 8-bit", "4bit"))


def test_a_checkpoint_saved_in_few_bits_is_loaded_as_that_and_says_so(
    quantized: tuple[Path, str, str], settings: Settings, tiny_model: TinyModel
) -> None:
    folder, label, _ = quantized
    backend = open_backend(ModelSpec(str(folder)), settings, device="cpu")
    whole = open_backend(ModelSpec(str(tiny_model("llama"))), settings, device="cpu")
    assert (backend.info.quantized, whole.info.quantized) == (label, "")
    assert backend.info.memory_bytes < whole.info.memory_bytes
    prompt = make_prompt("今日は", answers=("冬", "夏"))
    (answer,) = collect(backend.choose([prompt], never)).values()
    assert isinstance(answer, Output)
    backend.close()
    whole.close()


@pytest.mark.parametrize("same", [False, True])
def test_what_is_quantized_already_is_not_quantized_again(
    quantized: tuple[Path, str, str], settings: Settings, same: bool
) -> None:
    folder, label, other = quantized
    asked = label[4] + "bit" if same else other
    spec = ModelSpec(str(folder), quantization=asked)
    sentence = r"are quantized already \(bnb .*\), and cannot be quantized to"
    with pytest.raises(InputError, match=sentence):
        open_backend(spec, settings, device="cpu")
    # Before any model is loaded, when it is asked whether two fit together.
    with pytest.raises(InputError, match=sentence):
        loading.memory_needed(spec, settings, "cpu")


def test_memory_of_quantized_weights_is_the_size_of_their_files(
    quantized: tuple[Path, str, str], settings: Settings
) -> None:
    folder, _, _ = quantized
    size = (folder / "model.safetensors").stat().st_size
    assert loading.memory_needed(ModelSpec(str(folder)), settings, "cpu") == size


@pytest.mark.parametrize(
    ("table", "label", "packages"),
    [
        ({"quant_method": "gptq", "bits": 4}, "GPTQ 4-bit", "optimum and gptqmodel"),
        ({"quant_method": "awq", "bits": 4}, "AWQ 4-bit", "gptqmodel"),
        ({"quant_method": "awq", "w_bit": 4}, "AWQ 4-bit", "gptqmodel"),
        (
            {"quant_method": "compressed-tensors", "format": "pack-quantized"},
            "compressed-tensors (pack-quantized)",
            "compressed-tensors",
        ),
        ({"quant_method": "fbgemm_fp8"}, "fp8 (fbgemm)", "fbgemm-gpu"),
        ({"quant_method": "hqq"}, "HQQ", "hqq"),
        ({"quant_method": "quanto", "weights": "int8"}, "quanto (int8)", "optimum-quanto"),
        (
            {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig"}}},
            "torchao (Int4WeightOnlyConfig)",
            "torchao",
        ),
        ({"quant_method": "eetq"}, "EETQ", "kernels"),
        ({"quant_method": "aqlm"}, "AQLM", "'aqlm[gpu,cpu]'"),
        ({"quant_method": "vptq"}, "VPTQ", "vptq"),
        ({"quant_method": "spqr", "bits": 3}, "SpQR 3-bit", "'spqr_quant[gpu]'"),
        ({"quant_method": "auto-round", "bits": 4}, "AutoRound 4-bit", "auto-round"),
    ],
)
def test_a_quantization_whose_package_is_missing_names_the_package(
    folder: Path, settings: Settings, table: dict[str, Any], label: str, packages: str
) -> None:
    import torch

    def pack(weights: dict[str, Any]) -> None:
        key = "model.layers.0.mlp.up_proj"
        weights[f"{key}.qweight"] = weights.pop(f"{key}.weight").to(torch.int32)

    edit_weights(folder, pack)
    edit_json(folder / "config.json", quantization_config=table)
    with pytest.raises(DeviceError) as e:
        load(folder, settings)
    assert f"are quantized ({label}), which needs {packages}. Run `pip install " in str(e.value)
    assert "text-generation" not in str(e.value)


@pytest.mark.parametrize(
    ("table", "label"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "bitnet"}, "BitNet"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bnb 4-bit (nf4)"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bnb 4-bit (fp4)"),
        ({"load_in_8bit": True}, "bnb 8-bit"),
    ],
)
def test_quantizations_that_need_no_further_package_are_named(table: dict[str, Any], label: str) -> None:
    for config in ({"quantization_config": table}, {"text_config": {"quantization_config": table}}):
        found = stored_quantization.stored_quantization("m", config)
        assert found is not None and found.label == label
        stored_quantization.require_packages("m", found)


def test_weights_that_expand_where_there_is_no_gpu_are_counted_so() -> None:
    fp8 = stored_quantization.QuantizedWeights("fp8", "fp8")
    assert fp8.bytes_in_memory(100, None, 4, on_gpu=False) == 400
    assert fp8.bytes_in_memory(100, 80, 4, on_gpu=False) == 320
    assert fp8.bytes_in_memory(100, 80, 2, on_gpu=True) == 100
    assert stored_quantization.QuantizedWeights("mxfp4", "MXFP4").bytes_in_memory(100, None, 2, on_gpu=False) == 400
    assert stored_quantization.QuantizedWeights("gptq", "GPTQ 4-bit").bytes_in_memory(100, 200, 4, on_gpu=False) == 100


def test_each_extra_installs_what_its_method_needs_in_versions_that_transformers_accepts() -> None:
    from transformers.quantizers.quantizer_gptq import MIN_GPTQ_VERSION, MIN_OPTIMUM_VERSION
    from transformers.utils import import_utils

    least = {
        "optimum": MIN_OPTIMUM_VERSION,
        "gptqmodel": MIN_GPTQ_VERSION,
        "compressed-tensors": import_utils.COMPRESSED_TENSORS_MIN_VERSION,
        "auto-round": import_utils.AUTOROUND_MIN_VERSION,
        "torchao": import_utils.TORCHAO_MIN_VERSION,
        "hqq": import_utils.HQQ_MIN_VERSION,
        "optimum-quanto": "0",
    }
    project = tomllib.loads((ASSETS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name: [Requirement(text) for text in texts] for name, texts in project["optional-dependencies"].items()}
    assert set(stored_quantization.EXTRAS) <= set(extras)
    for name in stored_quantization.EXTRAS:
        needed = [required for required in extras[name] if required.name != "torchvision"]
        assert [required.name for required in needed] == [pip for _, pip in stored_quantization.PACKAGES[name]]
        for required in needed:
            (bound,) = required.specifier
            assert bound.operator == ">="
            assert Version(bound.version) >= Version(least[required.name]), required


def test_a_missing_package_with_an_extra_is_said_with_its_name() -> None:
    for method, extra in (("gptq", "gptq"), ("auto-round", "auto-round"), ("aqlm", "")):
        with pytest.raises(DeviceError) as e:
            stored_quantization.require_packages("m", stored_quantization.QuantizedWeights(method, method))
        assert (f"or install this application with its extra {extra}, or choose" in str(e.value)) is bool(extra)


def test_weights_of_compressed_tensors_expand_on_every_device() -> None:
    groups = {"a": {"weights": {"num_bits": 8}}, "b": {"weights": {"num_bits": 4}}, "c": {"weights": None}}
    table = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": groups}
    found = stored_quantization.stored_quantization("m", {"quantization_config": table})
    assert found is not None
    for on_gpu in (False, True):
        assert found.bytes_in_memory(100, None, 2, on_gpu=on_gpu) == 400
        assert found.bytes_in_memory(100, 180, 2, on_gpu=on_gpu) == 360


def test_weights_that_compressed_tensors_has_packed_are_counted_one_by_one(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    file = tmp_path / "model.safetensors"
    # 16 rows of 64 weights in 4 bits, eight of them in an int32, and an embedding of 10 rows.
    packed = {"weight_packed": torch.zeros(16, 8, dtype=torch.int32), "weight_shape": torch.tensor([16, 64])}
    scales = {"weight_scale": torch.ones(16, 1), "weight_zero_point": torch.zeros(16, 1, dtype=torch.int8)}
    tensors = {f"model.layers.0.mlp.up_proj.{name}": tensor for name, tensor in (packed | scales).items()}
    save_file(tensors | {"model.embed_tokens.weight": torch.zeros(10, 16, dtype=torch.bfloat16)}, file)
    assert count_weights([file], 4) == (16 * 64 + 10 * 16, 1)


def test_weights_in_eight_bit_floats_answer_as_the_same_weights_expanded_by_hand(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    import torch

    expanded = Path(shutil.copytree(folder, tmp_path / "expanded"))

    def in_fp8(weights: dict[str, Any], *, whole: bool) -> None:
        for key in [k for k in weights if k.endswith("proj.weight")]:
            rows, columns = weights[key].shape  # At most 128 each: one block, one scale.
            assert max(rows, columns) <= 128
            scale = weights[key].abs().max() / 448
            short = (weights[key] / scale).to(torch.float8_e4m3fn)
            weights[key] = short.float() * scale if whole else short
            if not whole:
                weights[f"{key}_scale_inv"] = scale.reshape(1, 1)

    how = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    edit_json(folder / "config.json", quantization_config=how)
    edit_weights(folder, lambda weights: in_fp8(weights, whole=False))
    edit_weights(expanded, lambda weights: in_fp8(weights, whole=True))
    found = []
    for place, label in ((folder, "fp8"), (expanded, "")):
        backend = open_backend(ModelSpec(str(place)), settings, device="cpu")
        assert backend.info.quantized == label
        # Both are computed on in float32 here.
        needed = loading.memory_needed(ModelSpec(str(place)), settings, "cpu")
        assert needed == pytest.approx(backend.info.memory_bytes, rel=0.01)
        (answer,) = collect(backend.choose([make_prompt("今日は", answers=("冬", "夏"))], never)).values()
        assert isinstance(answer, Output) and answer.choice_logprobs
        found.append(answer.choice_logprobs)
        backend.close()
    assert found[0] == pytest.approx(found[1], abs=1e-4)


@pytest.mark.parametrize("table", [{"quant_method": "modelopt"}, {"bits": 4}, {}, [1], "4bit"])
def test_a_quantization_that_transformers_would_pass_over_is_refused(
    folder: Path, settings: Settings, table: Any
) -> None:
    edit_json(folder / "config.json", quantization_config=table)
    with pytest.raises(ModelError, match=r"quantiz.*\.$"):
        load(folder, settings)


@pytest.mark.parametrize("table", [{"load_in_8bit": True}, {"quant_method": "bitsandbytes", "load_in_4bit": True}])
def test_plain_weights_that_are_called_quantized_are_refused_in_a_sentence(
    folder: Path, settings: Settings, table: dict[str, Any]
) -> None:
    edit_json(folder / "config.json", quantization_config=table)
    with pytest.raises(ModelError, match=r"calls its weights quantized \(bnb .*\), and the files hold plain ones"):
        load(folder, settings)


@pytest.mark.parametrize(
    ("table", "label"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "mxfp8"}, "MXFP8"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "nvfp4"}, "NVFP4"),
        ({"quant_method": "gptq", "bits": 4}, "GPTQ 4-bit"),
        ({"quant_method": "awq", "bits": 4}, "AWQ 4-bit"),
        ({"quant_method": "compressed-tensors", "format": "int-quantized"}, "compressed-tensors (int-quantized)"),
    ],
)
@pytest.mark.parametrize("pickled", [False, True])
def test_plain_weights_are_not_called_quantized_by_any_method_nor_a_package_asked_for(
    folder: Path, settings: Settings, table: dict[str, Any], label: str, pickled: bool
) -> None:
    import torch
    from safetensors.torch import load_file

    edit_json(folder / "config.json", quantization_config=table)
    if pickled:
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    with pytest.raises(
        ModelError, match=rf"calls its weights quantized \({re.escape(label)}\), and the files hold plain"
    ):
        load(folder, settings, allow_bin=pickled)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
def test_whole_numbers_without_a_scale_are_not_taken_for_weights(folder: Path, settings: Settings, dtype: str) -> None:
    import torch

    key = "model.layers.0.mlp.up_proj.weight"
    edit_weights(folder, lambda w: w.update({key: (w[key] * 20).to(getattr(torch, dtype))}))
    with pytest.raises(ModelError, match=rf"are quantized \({key}: [UI]\d+\), and its config\.json does not say how"):
        load(folder, settings)


# --- weights that are another model's, or none ----------------------------------------------------------------


def test_an_output_layer_that_differs_from_the_embedding_is_refused_where_both_are_called_one(
    folder: Path, settings: Settings
) -> None:
    edit_json(folder / "config.json", tie_word_embeddings=True)
    with pytest.raises(ModelError, match=r"hold an output layer that differs from the embedding.*Set tie_word_embedd"):
        load(folder, settings)
    edit_weights(folder, lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"].clone()}))
    load(folder, settings)


@pytest.mark.parametrize("every", [False, True])
def test_weights_that_are_all_zero_are_refused(folder: Path, settings: Settings, every: bool) -> None:
    def clear(weights: dict[str, Any]) -> None:
        for key, value in weights.items():
            if every or key == "lm_head.weight":
                value.zero_()

    edit_weights(folder, clear)
    with pytest.raises(ModelError, match=r"All tokens are equally likely for .* whatever it reads"):
        load(folder, settings)


def test_weights_that_training_in_parts_left_empty_are_said(folder: Path, settings: Settings) -> None:
    import torch

    edit_weights(folder, lambda w: w.update({key: torch.zeros(0) for key in w}))
    with pytest.raises(ModelError, match=r"hold weights without content \(.*\), .* zero_to_fp32\.py"):
        load(folder, settings)


@pytest.mark.parametrize("more", [12, -10])
def test_sizes_that_config_json_tells_otherwise_are_said(folder: Path, settings: Settings, more: int) -> None:
    table = json.loads((folder / "config.json").read_text("utf-8"))
    rows, width = table["vocab_size"], table["hidden_size"]
    edit_json(folder / "config.json", vocab_size=rows + more)
    sentence = rf"\(lm_head\.weight is {rows}×{width} in the files and {rows + more}×{width} by config\.json\)"
    with pytest.raises(ModelError, match=sentence):
        load(folder, settings)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_files_without_the_list_of_them_are_said(folder: Path, settings: Settings, kind: str) -> None:
    for file in shard(folder):
        file.rename(file.with_suffix(f".{kind}"))
    (folder / "model.safetensors.index.json").unlink()
    sentence = rf"in several files \(such as model-00001-of-00002\.{kind}\), and the list of them \(.*\.index\.json\)"
    with pytest.raises(ModelNotFoundError, match=sentence):
        load(folder, settings)


# --- settings of a quantization in other files ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["quantize_config.json", "quant_config.json", "hf_quant_config.json"])
def test_settings_of_a_quantization_where_transformers_does_not_look_are_said(
    folder: Path, settings: Settings, name: str
) -> None:
    (folder / name).write_text('{"bits": 4}')
    with pytest.raises(ModelError, match=rf"is quantized, and the settings are in {name}"):
        load(folder, settings)


def test_quantized_weights_without_a_word_in_the_configuration_are_refused(
    quantized: tuple[Path, str, str], settings: Settings, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(quantized[0], tmp_path / "m"))
    table = json.loads((folder / "config.json").read_text())
    del table["quantization_config"]
    (folder / "config.json").write_text(json.dumps(table))
    with pytest.raises(ModelError, match=r"\.$") as e:
        load(folder, settings)
    assert "quantiz" in str(e.value) or "could not be loaded" in str(e.value)


def test_the_type_of_a_gguf_file_is_read_from_its_head(tiny_gguf: Path, tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "q.gguf", "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "犬"])
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert file_type(tmp_path / "q.gguf") == "Q4_K_M"
    assert file_type(tiny_gguf) == ""  # It does not say.
    for content in (b"", b"GGUF", b"x" * 100, b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60) + b"\xff" * 40):
        (tmp_path / "bad.gguf").write_bytes(content)
        assert file_type(tmp_path / "bad.gguf") == ""


# --- tokens and failures ------------------------------------------------------------------------------------


@pytest.fixture
def not_resized(folder: Path) -> Path:
    """A model to whose tokenizer chat tokens were added, and not to its embedding."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    edit_json(folder / "config.json")  # The embedding keeps as many rows as the tokenizer had tokens.
    assert tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}) == 2
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", ["generate", "choose"])
def test_a_token_without_a_row_in_the_embedding_is_named_with_its_id_and_the_rows(
    not_resized: Path, settings: Settings, method: str
) -> None:
    rows = json.loads((not_resized / "config.json").read_text())["vocab_size"]
    backend = open_backend(ModelSpec(str(not_resized)), settings, device="cpu")
    plain, chat = (make_prompt(text, answers=("冬", "夏")) for text in ("今日は", "<|im_start|>今日は"))

    def ask(prompt: Any) -> Any:
        given = backend.choose([prompt], never) if method == "choose" else backend.generate([prompt], 3, never)
        return collect(given)[0]

    assert isinstance(ask(plain), Output)  # What is not used does no harm.
    sentence = rf"The token '<\|im_start\|>' \(id {rows}\) has no row in the embedding of .*, which has {rows} rows"
    with pytest.raises(ModelError, match=sentence) as e:
        ask(chat)
    assert e.value.exit_code == 3
    backend.close()


def test_the_rows_of_the_embedding_are_known_before_the_weights_are_loaded(
    not_resized: Path, settings: Settings
) -> None:
    tokenizer = open_tokenizer(ModelSpec(str(not_resized)), settings)
    rows = tokenizer.info.rows
    assert rows is not None and rows == json.loads((not_resized / "config.json").read_text())["vocab_size"]
    assert tokenizer.encode(make_prompt("<|im_end|>"))[-1] == rows + 1


def test_whatever_a_model_raises_while_it_answers_becomes_a_sentence(folder: Path, settings: Settings) -> None:
    backend = open_backend(ModelSpec(str(folder)), settings, device="cpu")
    assert isinstance(backend, HFBackend)
    backend._engine = None  # type: ignore[assignment]  # Nothing that could answer.
    with pytest.raises(ModelError, match=r"failed while it wrote \(AttributeError: .*\)\. Try another dtype"):
        collect(backend.generate([make_prompt("今日は")], 3, never))
    with pytest.raises(ModelError, match=r"failed while it scored answers \(AttributeError: .*\)\. Try another dtype"):
        collect(backend.choose([make_prompt("今日は", answers=("冬",))], never))


def test_a_model_that_fails_on_its_first_tokens_is_refused_when_it_is_loaded(tiny_model: TinyModel) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama")).eval()
    del model.model.layers[1].self_attn.q_proj
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
    with pytest.raises(ModelError, match=r"m fails on a first short text \(.*q_proj.*\)\."):
        HFBackend(ModelSpec("m"), "c", model, tokenizer)
