"""What a checkpoint is, read from its config.json and the names of its files before any weight is.

Only causal language models whose weights are all there can be compared. What is something else (an encoder, an
adapter, a reward model, …) is refused by name here; what only the weights can tell is looked at once they are loaded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from jglue_app.backends import weight_files as weights
from jglue_app.backends.hf.checkpoint.weight_headers import MOST_HEAD, Tensor, refuse_placeholder
from jglue_app.errors import DeviceError, InputError, ModelError, ModelNotFoundError, first_line

# --- what kind of model -----------------------------------------------------------------------------------

ENCODER = "an encoder (a masked language model), in which every token sees those after it"
PERMUTATION = "a permutation language model, which does not read from left to right"
ENCODER_DECODER = "an encoder-decoder model"
CLASSIFIER = "a reward model or classifier, which gives scores in place of text"
EXTRACTOR = "a model with an answer-extraction head, which writes no text"
EMBEDDING = "an embedding model, without an output layer for text"
NOT_TEXT = "a model for images, sound or other than text alone"
LENGTH = "a model whose scores depend on the length of the whole text"
ASSISTANT = "a drafting assistant, which cannot answer without its main model"
DRAFTING = "a model with heads that draft several tokens at once, which are not used here"
DIFFUSION = "a diffusion model, which does not write from left to right"
BOTH_WAYS = "a model whose prompt tokens see those after them"

OWN_POSITIONS = "a decoder that counts positions from its padding token on, which is not done here"

NOT_CAUSAL = {
    # Encoders that transformers offers for text generation all the same; causal only with `is_decoder` in config.json.
    **dict.fromkeys(
        (
            *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie"),
            *("megatron-bert", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer"),
            *("xlm-roberta", "xlm-roberta-xl", "xmod"),
        ),
        ENCODER,
    ),
    # Predicts masked tokens, or the next one of a sentence to which a mask is added.
    "xlm": ENCODER,
    "xlnet": PERMUTATION,
    # A prompt is read in both directions, and only what is written after it from left to right.
    "cpmant": BOTH_WAYS,
}
"""The 19 model types in transformers' table of text-generation models that are not causal → what they are."""

OTHER_INPUT = {
    **dict.fromkeys(
        ("git", "trocr", "whisper", "musicgen", "musicgen_melody", "moshi", "got_ocr2", "moss_transcribe_diarize"),
        NOT_TEXT,
    ),
    "gemma4_assistant": ASSISTANT,
    "gemma4_unified_assistant": ASSISTANT,
    # Tokens are sorted into chunks over the whole text, so a longer one gives the same tokens other neighbours.
    "reformer": LENGTH,
}
"""More of that table: causal, but made to follow an image, a sound or another model, or other with the length of the
text → what they are."""

COUNT_FROM_PADDING = frozenset(
    ("camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod")
)
"""Those of them whose first position is not 0 but the one after the padding token's id."""

HEADS = (
    (r"MaskedLM|ForPreTraining$|ForMaskGeneration|NextSentencePrediction|MaskedDiffusion", ENCODER),
    (r"[Dd]iffusion|^LLaDA|^Dream", DIFFUSION),
    (r"Classification|Reward|Regression|ValueHead|Critic|MultipleChoice|DoubleHeads|CrossEncoder", CLASSIFIER),
    (r"QuestionAnswering", EXTRACTOR),
    (r"Image|Vision|Video|Audio|Speech|CTC|XVector|ObjectDetection|Segmentation|DepthEstimation", NOT_TEXT),
    (r"Embedding|Retrieval|SentenceTransformer", EMBEDDING),
    (r"Seq2SeqLM|EncoderDecoder", ENCODER_DECODER),
)
"""Name of an architecture (a pattern) → what it is, where its head is not one that writes text."""

LANGUAGE_HEAD = re.compile(r"(.+?)(ForCausalLM|LMHeadModel|LMHead|WithLMHead|ForConditionalGeneration)$")
"""Architectures that write text: what comes before the head, and the head."""

NEEDED = "Only causal language models, which read text from left to right, can be compared."


def refuse_kind(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that is no causal language model.

    Args:
        name: of the model, for the message.
        config: the table of its config.json.

    Raises:
        ModelError: what is loaded as a text-generation model is none, or not what config.json names.
    """
    found = config.get("architectures")
    named = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    architectures = [a for a in named if isinstance(a, str)]
    type_ = config.get("model_type")
    if not isinstance(type_, str) or type_ not in CONFIG_MAPPING:
        # Of a type that transformers does not have; it is told what the file names before transformers says that.
        for architecture in architectures:
            if kind := _head(architecture):
                raise _other_kind(name, kind, architecture)
        return
    full = _with_defaults(type_, config)
    shown = architectures[0] if architectures else type_
    if full.get("is_encoder_decoder"):
        raise _other_kind(name, ENCODER_DECODER, shown)
    built = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(type_)
    for architecture in architectures:
        if architecture != built and (kind := _head(architecture)):
            raise _other_kind(name, kind, architecture)
    if type_ in OTHER_INPUT:
        raise _other_kind(name, OTHER_INPUT[type_], shown)
    # With `is_decoder` the attention of these encoders is causal, but for the three that have no such switch.
    if type_ in NOT_CAUSAL and (type_ in ("xlm", "xlnet", "cpmant") or not full.get("is_decoder")):
        raise _other_kind(name, NOT_CAUSAL[type_], shown)
    if type_ in COUNT_FROM_PADDING:
        raise _other_kind(name, OWN_POSITIONS, shown)
    if type_ == "reformer" and not full.get("is_decoder"):
        raise _other_kind(name, BOTH_WAYS, shown)
    if not isinstance(built, str):
        parts = isinstance(config.get("text_config"), Mapping) or getattr(CONFIG_MAPPING[type_], "sub_configs", None)
        kind = NOT_TEXT if parts else ENCODER if _encodes(type_) else ""
        if kind:
            raise _other_kind(name, kind, shown)
        raise ModelError(
            "{name} is of a kind ({shown}) that transformers does not load for writing text. {needed}",
            name=name,
            shown=shown,
            needed=NEEDED,
        )
    for architecture in architectures:
        if architecture == built:
            continue
        # Other spellings (`LLaMAForCausalLM`, `MPTForCausalLM`) and text parts of larger models are the same model.
        # Any other class may compute something else with weights that all fit.
        head = LANGUAGE_HEAD.fullmatch(architecture)
        if head is None:
            raise _other_kind(name, EMBEDDING if architecture.endswith(("Model", "Encoder")) else "", architecture)
        own = LANGUAGE_HEAD.fullmatch(built)
        same = own is not None and _plain(own[1]) == _plain(head[1])
        if head[2] == "ForConditionalGeneration" and not same:
            raise _other_kind(name, NOT_TEXT, architecture)
        if re.match("Medusa|Eagle|Hydra", architecture) and not same:
            raise _other_kind(name, DRAFTING, architecture)
        if not same and _plain(head[1]) != _plain(type_):
            raise ModelError(
                "The config.json of {name} names the class {architecture}, and transformers would "
                "build {built} in its place, because that belongs to the model_type {value}. "
                "Correct the one that is wrong, or choose another model.",
                name=name,
                architecture=architecture,
                built=built,
                value=type_,
            )


def _head(architecture: str) -> str:
    """What an architecture is by its head; empty if it may be one that writes text."""
    return next((kind for pattern, kind in HEADS if re.search(pattern, architecture)), "")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]|text$", "", name.lower())


def _encodes(type_: str) -> bool:
    return bool(re.search("bert|luke|mpnet|electra|roformer|nystromformer|canine|funnel|esm|splinter|ernie", type_))


def _with_defaults(type_: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table with what the model type has where the file says nothing; the table itself if that fails."""
    try:
        made = CONFIG_MAPPING[type_]()
    except Exception:  # Types that are put together of others have no defaults; they are told apart by their names.
        made = None
    names = ("is_encoder_decoder", "is_decoder")
    return {**{name: getattr(made, name, False) for name in names}, **config} | (
        {"is_encoder_decoder": True} if type_.endswith("encoder-decoder") else {}
    )


def _other_kind(name: str, kind: str, shown: str) -> ModelError:
    if not kind:
        return ModelError(
            "{name} is of a kind ({shown}) that transformers does not load for writing text. {needed}",
            name=name,
            shown=shown,
            needed=NEEDED,
        )
    return ModelError("{name} is {kind} ({shown}). {needed}", name=name, kind=kind, shown=shown, needed=NEEDED)


def refuse_embedding(name: str, names: Collection[str]) -> None:
    """Refuse a model of sentence-transformers, which may name itself a causal language model in its config.json.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.

    Raises:
        ModelError: it is one.
    """
    marks = {"modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"} & set(names)
    if marks:
        raise _other_kind(name, EMBEDDING, min(marks))


# --- adapters ---------------------------------------------------------------------------------------------

_ADAPTER = re.compile(
    r"adapter_config\.json|adapter_model([-.].*)?\.(safetensors|bin|pt)|adapter_model\.safetensors\.index\.json"
    r"|adapters?\.(safetensors|npz|bin)|pytorch_adapter\.bin|pytorch_model_adapter\.bin|pytorch_lora_weights\..+"
    r"|(ia3|lora)_(weights|adapter|model)\..+|prompt_(embeddings|encoder)\.(safetensors|bin|pt)|lora\.(safetensors|bin|pt)"
    r"|non_lora_trainables\.bin|new_embeddings\.(safetensors|bin)"
)
_WEIGHTS = r"\.(safetensors|bin|pt|pth|ckpt|npz|pkl|joblib)$"
_ADAPTER_FILE = re.compile(r"(^|[-_. ])(q?lora|dora|loha|lokr|ia3|adapters?)([-_. ].*)?" + _WEIGHTS, re.IGNORECASE)
"""More names of adapters, which whole weights beside the chosen ones may have too."""
_HEAD_FILE = re.compile(
    r"^((.*[-_. ])?(v|value|q|score|scoring|reward|rm|critic|cls|classification|classifier|regression|ranking|model)"
    r"[-_]?heads?|scores?|classifier|reward(_model)?|value_?model|critic(_model)?)([-_. ](weights?|model|state(_dict)?"
    r"|layer|final|best|\d+))*" + _WEIGHTS,
    re.IGNORECASE,
)
_DRAFT_FILE = re.compile(r"^(medusa|hydra|eagle)([-_. ].*)?" + _WEIGHTS, re.IGNORECASE)
_STATE_FILE = re.compile(r"^(optim|scheduler|rng_|scaler|trainer|random_states)", re.IGNORECASE)
"""States of a training, from which nothing is computed."""


def refuse_adapter(name: str, names: Collection[str], read: Callable[[str], Mapping[str, Any]]) -> None:
    """Refuse a folder or repository that holds an adapter: its base must not answer in its stead.

    An adapter in a folder below a whole model (a checkpoint of some training) says nothing about that model.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.
        read: a file's name → its table; may raise anything.

    Raises:
        ModelError: there is an adapter, alone or beside weights.
    """
    found = sorted(n for n in names if "/" not in n and _ADAPTER.fullmatch(n))
    if not found and "config.json" not in names:
        found = sorted(n for n in names if _ADAPTER.fullmatch(n.rpartition("/")[2]))
    if not found:
        return
    where = next((n for n in found if n.endswith("adapter_config.json")), "")
    table: Mapping[str, Any] = {}
    with contextlib.suppress(Exception):  # Named without it, if it cannot be read or fetched.
        table = read(where) if where else {}
    base = next((str(v) for key in ("base_model_name_or_path", "model_name") if (v := table.get(key))), "")
    raise _adapter(name, where or found[0], base)


def _adapter(name: str, where: str, base: str) -> ModelError:
    if base:
        return ModelError(
            "{name} holds an adapter ({where}) for the model {base}, and adapters are not applied "
            "here. Merge it into that model first (`merge_and_unload()` of peft) and name the "
            "merged folder.",
            name=name,
            where=where,
            base=base,
        )
    return ModelError(
        "{name} holds an adapter ({where}), and adapters are not applied here. Merge it into its "
        "base model first (`merge_and_unload()` of peft) and name the merged folder.",
        name=name,
        where=where,
    )


def refuse_beside(
    name: str, names: Collection[str], chosen: Collection[str], keys: Callable[[str], Collection[str]]
) -> None:
    """Refuse an adapter or a head in a file of its own beside whole weights: the base must not answer in its stead.

    What a safetensors file holds is looked at; of others the name must do. Other copies of the weights and states of a
    training are nothing of the kind.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.
        chosen: those that its weights are loaded from.
        keys: a safetensors file's name → the keys in it; empty if it is not there to be read.

    Raises:
        ModelError: there is such a file.
    """
    for file in sorted(set(names) - set(chosen)):
        if "/" in file or _STATE_FILE.match(file) or not re.search(_WEIGHTS, file):
            continue
        inside = keys(file) if file.endswith(".safetensors") else ()
        if any(map(_ADAPTER_KEY.search, inside)) or (not inside and _ADAPTER_FILE.search(file)):
            raise _adapter(name, file, "")
        if any(map(_VALUE_KEY.search, inside)) or (_HEAD_FILE.match(file) and not _whole(inside)):
            raise _other_kind(name, CLASSIFIER, file)
        if _DRAFT_FILE.match(file) and not _whole(inside):
            raise _other_kind(name, DRAFTING, file)


def _whole(keys: Collection[str]) -> bool:
    """Whether keys are those of a language model with its layers."""
    return any(re.search(r"(^|\.)(layers|h|blocks)\.\d+\.", key) for key in keys)


# --- settings beside config.json ---------------------------------------------------------------------------

_SETTINGS = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def refuse_settings(
    name: str, names: Collection[str], config: Mapping[str, Any], read: Callable[[str], Mapping[str, Any]]
) -> None:
    """Refuse damaged settings of the tokenizer or of generation, which transformers may pass over in silence.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.
        config: the table of its config.json.
        read: a file's name → its table.

    Raises:
        ModelError: a file holds no table, or a token that ends a text is not named by its id.
    """
    tables = {"config.json": config} | {file: read(file) for file in _SETTINGS if file in names}
    for file in ("generation_config.json", "config.json"):
        ends = tables.get(file, {}).get("eos_token_id")
        for end in ends if isinstance(ends, list) else [ends]:
            if end is not None and (isinstance(end, bool) or not isinstance(end, int)):
                raise ModelError(
                    "{file} of {name} names a token that ends a text by {end!r}, which is no id. "
                    "Put whole numbers under eos_token_id, or fetch the model again.",
                    file=file,
                    name=name,
                    end=end,
                )


# --- which files hold the weights ---------------------------------------------------------------------------


def weight_files(
    name: str, names: Collection[str], read: Callable[[str], Mapping[str, Any]], config: Mapping[str, Any]
) -> tuple[str, ...]:
    """The files that transformers loads, and no copies beside them; empty if there are none.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.
        read: a file's name → its table.
        config: the table of its config.json.

    Raises:
        ModelError: the list of the files cannot be read, or names a file outside the folder.
        ModelNotFoundError: a file of the list is missing, or the only weights have a name that is not looked for.
    """
    file = weights.first_file(names.__contains__, config)
    if file is not None:
        if file not in names:
            raise _missing(name, file)
        return _listed(name, file, names, read) if weights.is_list(file) else (file,)
    if parts := sorted(n for n in names if re.fullmatch(r"[^/]+-\d+-of-\d+\.(safetensors|bin)", n)):
        listing = weights.SAFE[1] if any(n.endswith(".safetensors") for n in parts) else weights.PICKLED[1]
        raise ModelNotFoundError(
            "The weights of {name} are in several files (such as {parts}), and the list of them "
            "({listing}) is missing. Fetch it too, or export the model again.",
            name=name,
            parts=parts[0],
            listing=listing,
        )
    if other := sorted(n for n in names if "/" not in n and n.endswith(".safetensors")):
        raise ModelNotFoundError(
            "The weights of {name} are under a name that transformers does not look for ({other}). "
            "Rename the file to model.safetensors, or export the model again.",
            name=name,
            other=other[0],
        )
    return ()


def _listed(name: str, file: str, names: Collection[str], read: Callable[[str], Mapping[str, Any]]) -> tuple[str, ...]:
    found = weights.listed(read(file))
    if not found:
        raise ModelError(
            "{file} of {name} does not list its weight files. Fetch or export the model again.", file=file, name=name
        )
    for shard in found:
        parts = (*PurePosixPath(shard).parts, *PureWindowsPath(shard).parts)
        if ".." in parts or PurePosixPath(shard).is_absolute() or PureWindowsPath(shard).anchor:
            raise ModelError(
                "{file} of {name} names a file outside the model ({shard}). Fetch the model again.",
                file=file,
                name=name,
                shard=shard,
            )
    for shard in found:
        if shard not in names:
            raise _missing(name, shard)
    return found


def _missing(name: str, file: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        "The weight file {file} of {name} is missing. Fetch the model again: a download or copy may have broken off.",
        file=file,
        name=name,
    )


def read_table(path: Path, name: str) -> Mapping[str, Any]:
    """A JSON file with a table.

    Args:
        path: of the file.
        name: of the model, for the message.

    Raises:
        ModelError: it is none.
    """
    refuse_placeholder(path, name)
    try:
        text = path.read_text("utf-8")
        if text.startswith("\ufeff"):
            raise ModelError(
                "{file} of {name} begins with a byte-order mark, which transformers does not read. "
                "Save it as UTF-8 without one.",
                file=path.name,
                name=name,
            )
        table = json.loads(text)
    except (OSError, ValueError, RecursionError) as e:
        raise ModelError(
            "{file} of {name} cannot be read ({reason}). Fetch the model again.",
            file=path.name,
            name=name,
            reason=first_line(e),
        ) from e
    if not isinstance(table, dict):
        raise ModelError("{file} of {name} holds no table. Fetch or export the model again.", file=path.name, name=name)
    return table


_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "U8": 1, "I8": 1}


def in_files(paths: Collection[Path]) -> tuple[int, int] | None:
    """How many weights some safetensors files hold, and the bytes of one by the type that most have.

    Weights in 4 bits count as two for each byte; scales that belong to quantized weights are none. None if a file
    cannot be read.
    """
    sizes: dict[str, int] = {}
    count = 0
    try:
        for path in paths:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header: dict[str, Any] = json.loads(file.read(min(length, MOST_HEAD)))
            for key, tensor in header.items():
                if key != "__metadata__" and not key.endswith(("_scale", "_scale_inv", "_scales")):
                    start, end = tensor["data_offsets"]
                    sizes[tensor["dtype"]] = sizes.get(tensor["dtype"], 0) + end - start
                    count += math.prod(tensor["shape"]) * (2 if key.endswith("_blocks") else 1)
        return count, _WIDTHS[max(sizes, key=sizes.__getitem__)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # Said when it is loaded.
        return None


# --- weights that are quantized already ---------------------------------------------------------------------

PACKAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "bitsandbytes": (("bitsandbytes", "bitsandbytes"),),
    "gptq": (("optimum", "optimum"), ("gptqmodel", "gptqmodel")),
    "awq": (("gptqmodel", "gptqmodel"),),
    "aqlm": (("aqlm", "'aqlm[gpu,cpu]'"),),
    "quanto": (("optimum.quanto", "optimum-quanto"),),
    "quark": (("quark", "amd-quark"),),
    "fouroversix": (("fouroversix", "fouroversix"),),
    "fp_quant": (("fp_quant", "fp_quant"),),
    "eetq": (("kernels", "kernels"),),
    "higgs": (("flute", "flute-kernel"), ("fast_hadamard_transform", "fast_hadamard_transform")),
    "hqq": (("hqq", "hqq"),),
    "compressed-tensors": (("compressed_tensors", "compressed-tensors"),),
    "fbgemm_fp8": (("fbgemm_gpu", "fbgemm-gpu"),),
    "torchao": (("torchao", "torchao"),),
    "vptq": (("vptq", "vptq"),),
    "spqr": (("spqr_quant", "'spqr_quant[gpu]'"),),
    "auto-round": (("auto_round", "auto-round"),),
    "sinq": (("sinq", "sinq"),),
    # These need none: they are computed on as they are where the device can, and else expanded.
    **dict.fromkeys(("bitnet", "fp8", "mxfp4", "mxfp8", "nvfp4", "metal", "gemma"), ()),
}
"""Method of quantization, as config.json names it → (module, what pip calls it) of each package that it needs."""

_NAMES = {
    **{"gptq": "GPTQ", "awq": "AWQ", "aqlm": "AQLM", "eetq": "EETQ", "higgs": "HIGGS", "hqq": "HQQ", "vptq": "VPTQ"},
    **{"spqr": "SpQR", "fbgemm_fp8": "fp8 (fbgemm)", "bitnet": "BitNet", "auto-round": "AutoRound", "sinq": "SINQ"},
    **{"mxfp4": "MXFP4", "mxfp8": "MXFP8", "nvfp4": "NVFP4"},
}

_EXPANDED = {"fp8": 1.0, "mxfp8": 1.0, "mxfp4": 0.5}
"""Methods whose weights are expanded where there is no GPU for them → bytes of a weight in the file."""

_OLD_SETTINGS = (
    "quantize_config.json",
    "quant_config.json",
    "hf_quant_config.json",
    "quant_strategy.json",
    "qmodel.pt",
)


@dataclass(frozen=True, slots=True)
class Quantized:
    """How the weights in the files are quantized."""

    method: str
    """A key of `PACKAGES`."""
    label: str
    """For people, such as `bnb 4-bit (nf4)`."""

    def bytes_in_memory(self, file_bytes: int, count: int | None, itemsize: int, on_gpu: bool) -> int:
        """What the weights take: as in the files, or expanded to `itemsize` bytes each where there is no GPU.

        Args:
            file_bytes: of the weight files.
            count: of the weights; None if it is not known.
            itemsize: bytes of one weight of the dtype that is computed in.
            on_gpu: whether they go to one.
        """
        width = None if on_gpu else _EXPANDED.get(self.method)
        if width is None:
            return file_bytes
        return itemsize * (int(file_bytes / width) if count is None else count)


def quantization_of(name: str, config: Mapping[str, Any], names: Collection[str] = ()) -> Quantized | None:
    """How a checkpoint is quantized already; None if it is not.

    Args:
        name: of the model, for the message.
        config: the table of its config.json.
        names: of its files.

    Raises:
        ModelError: it is quantized in a way that transformers does not know, or that config.json does not tell.
    """
    found, text = config.get("quantization_config"), config.get("text_config")
    if found is None and isinstance(text, Mapping):
        found = text.get("quantization_config")
    if found is None:
        if old := sorted(set(_OLD_SETTINGS) & set(names)):
            raise ModelError(
                "{name} is quantized, and the settings are in {old} where transformers does not "
                "look. Export it again with a present version of the tool that made it, or choose "
                "an unquantized copy.",
                name=name,
                old=old[0],
            )
        return None
    if not isinstance(found, Mapping):
        raise ModelError(
            "The quantization_config of {name} holds no table. Fetch or export the model again.", name=name
        )
    method = _method(found)
    if method not in PACKAGES:
        shown = method or "no quant_method"
        raise ModelError(
            "The weights of {name} are quantized in a way that transformers does not load "
            "({shown}). Choose an unquantized copy, or one in a format that it knows, such as "
            "bitsandbytes, GPTQ or AWQ.",
            name=name,
            shown=shown,
        )
    return Quantized(method, _label(method, found))


def _method(found: Mapping[str, Any]) -> str:
    # Of before there were other methods.
    if found.get("load_in_8bit") or found.get("load_in_4bit"):
        return "bitsandbytes"
    method = str(found.get("quant_method") or "").lower()
    return "bitsandbytes" if method.startswith("bitsandbytes") else method.replace("auto_round", "auto-round")


def _label(method: str, found: Mapping[str, Any]) -> str:
    if method == "bitsandbytes":
        if found.get("load_in_8bit") or str(found.get("quant_method")).endswith("8bit"):
            return "bnb 8-bit"
        # What transformers takes where the file says nothing.
        return f"bnb 4-bit ({found.get('bnb_4bit_quant_type') or 'fp4'})"
    bits = next((found[key] for key in ("bits", "w_bit", "nbits") if isinstance(found.get(key), int)), None)
    label = _NAMES.get(method, method)
    more = {
        "compressed-tensors": found.get("format"),
        "quanto": found.get("weights"),
        "torchao": _torchao(found.get("quant_type")),
    }.get(method)
    if bits is not None:
        return f"{label} {bits}-bit"
    return f"{label} ({more})" if isinstance(more, str) and more else label


def _torchao(found: Any) -> str:
    """The name of a torchao type: a text, or a table with the class inside."""
    if isinstance(found, Mapping):
        inner = found.get("default")
        return str(inner.get("_type") or "") if isinstance(inner, Mapping) else ""
    return str(found or "")


def refuse_quantized_twice(name: str, quantized: Quantized | None, asked: str) -> None:
    """Refuse to quantize what is quantized already.

    Raises:
        InputError: `asked` is not `none`, and there is a quantization in the files.
    """
    if quantized is not None and asked != "none":
        raise InputError(
            "The weights of {name} are quantized already ({label}), and cannot be quantized to "
            "{asked} on top of that. Leave the quantization out, or name the unquantized model.",
            name=name,
            label=quantized.label,
            asked=asked,
        )


def need_packages(name: str, quantized: Quantized | None) -> None:
    """Refuse a quantized checkpoint whose packages are not installed.

    Raises:
        DeviceError: one is missing.
    """
    missing = [pip for module, pip in PACKAGES[quantized.method] if not _is_there(module)] if quantized else []
    if quantized and missing:
        raise DeviceError(
            "The weights of {name} are quantized ({label}), which needs {missing}. Run `pip "
            "install {missing_2}`, or choose an unquantized copy.",
            name=name,
            label=quantized.label,
            missing=" and ".join(missing),
            missing_2=" ".join(missing),
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # The package around it is missing.
        return False


# --- what only the weights tell -----------------------------------------------------------------------------

_BUFFER = re.compile(
    r"(^|\.)(inv_freq|position_ids|token_type_ids|cos_cached|sin_cached|version|num_batches_tracked|_extra_state)$"
    r"|(^|\.)(attn|attention|self_attn|self_attention)\.(bias|masked_bias|causal_mask|mask)$|(^|\.)masked_bias$"
    r"|rotary_emb\.|rope\.freqs$|(^|\.)(k|v|q|prob)_(scale|zero_point)$|(^|\.)mtp[._]"
)
"""Keys that hold no weights of the text model: what old versions stored besides, and heads for drafting."""
_OTHER_PART = re.compile(
    r"(^|[._])(vision|visual|image|video|audio|speech|talker|token2wav|code2wav|vqmodel|vit|mm|multi_modal|multimodal)"
    r"([._]|$)|projector|connector|aligner|resampler|merger|perceiver|img_|view_seperator|embed_(vision|audio)"
)
_ADAPTER_KEY = re.compile(r"(^|\.)(lora|ia3|hada|vera|lokr|loha)_|\.base_layer\.|(^|\.)adapters?\.|prompt_encoder")
_VALUE_KEY = re.compile(
    r"(^|\.)(v_head|value_head|score|scores|classifier|classification_head|reward(_head|_model)?|regression_head"
    r"|rm_head|summary|multiple_choice_head|critic_head)(\.|$)"
)
_PACKED_KEY = re.compile(
    r"(^|\.)(SCB|qweight|qzeros|weight_packed|weight_scale|weight_scale_inv|weight_scale_2|scales|g_idx|W_q)$|_blocks$"
    r"|weight\.(absmax|quant_map|quant_state)|(^|\.)(absmax|quant_state)"
)


def refuse_foreign(name: str, report: Mapping[str, Collection[Any]], config: Any) -> None:
    """Refuse weights that were in the files and found no place in the model: it would not be the model they are of.

    Args:
        name: of the model, for the message.
        report: what `from_pretrained` tells with `output_loading_info`.
        config: the configuration of the whole model, text part or not.

    Raises:
        ModelError: there are such weights, other than old buffers and the parts of a larger model that are not text.
    """
    keys = sorted(str(key) for key in report["unexpected_keys"])
    if found := next(filter(_ADAPTER_KEY.search, keys), None):
        raise _adapter(name, found, "")
    if found := next(filter(_PACKED_KEY.search, keys), None):
        raise _quantized_somehow(name, found)
    if found := next(filter(_VALUE_KEY.search, keys), None):
        raise _other_kind(name, CLASSIFIER, found)
    larger = getattr(config, "text_config", None) is not None
    last = getattr(config.get_text_config(), "num_hidden_layers", None)
    drafts = getattr(config.get_text_config(), "num_nextn_predict_layers", None)
    for key in keys:
        layer = re.search(r"(^|\.)layers\.(\d+)\.", key)
        if _BUFFER.search(key) or (larger and _OTHER_PART.search(key)):
            continue
        if drafts and isinstance(last, int) and layer and int(layer[2]) >= last:
            continue
        if not report["missing_keys"]:  # Else it is told which are missing.
            raise ModelError(
                "The files of {name} hold weights that have no place in the model that its "
                "config.json describes ({key}). Fetch or export the model again.",
                name=name,
                key=key,
            )


def refuse_unquantized(name: str, model: Any, quantized: Quantized | None) -> None:
    """Refuse plain weights whose config.json calls them quantized by bitsandbytes: nothing has quantized them.

    Raises:
        ModelError: so it is.
    """
    if quantized is None or quantized.method != "bitsandbytes":
        return
    for module in model.modules():
        kind = type(module).__name__
        if (kind == "Linear8bitLt" and module.weight.dtype != torch.int8) or (
            kind == "Linear4bit" and getattr(module.weight, "quant_state", None) is None
        ):
            raise _called_quantized(name, quantized)


def _quantized_somehow(name: str, found: str) -> ModelError:
    return ModelError(
        "The weights of {name} are quantized ({found}), and its config.json does not say how. "
        "Fetch or export the model again, or choose an unquantized copy.",
        name=name,
        found=found,
    )


def _called_quantized(name: str, quantized: Quantized) -> ModelError:
    return ModelError(
        "The config.json of {name} calls its weights quantized ({label}), and the files hold "
        "plain ones. Take quantization_config out of config.json, or fetch the model again.",
        name=name,
        label=quantized.label,
    )


_SCALE_KEY = re.compile(r"scales?($|[._])|_scale(_|$)|zero_point|qweight|packed|_blocks$|absmax|codebook|W_q|SCB")
_FLOATS = frozenset(("F64", "F32", "F16", "BF16"))
_WHOLE_NUMBERS = frozenset(("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"))
_ALWAYS_SMALL = frozenset(
    ("gptq", "awq", "auto-round", "fp8", "fbgemm_fp8", "mxfp4", "mxfp8", "nvfp4", "compressed-tensors", "eetq", "hqq")
)
"""Methods whose files always hold scales, or numbers of fewer bits than 16."""


def refuse_stored(
    name: str, stored: Mapping[str, Tensor], quantized: Quantized | None, config: Mapping[str, Any]
) -> None:
    """Refuse weights that are not stored as config.json says, before they are loaded as something else.

    Args:
        name: of the model, for the message.
        stored: what is in its weight files; nothing is said of an empty table.
        quantized: how config.json says that they are quantized.
        config: the table of its config.json.

    Raises:
        ModelError: they are plain and called quantized, are whole numbers without a word on how, or are not there.
    """
    for key, tensor in stored.items():
        if 0 in tensor.shape and not _BUFFER.search(key):
            raise ModelError(
                "The files of {name} hold weights without content ({key}), as training in parts "
                "(DeepSpeed ZeRO-3) leaves them. Put the parts together with its zero_to_fp32.py, "
                "or export the model again.",
                name=name,
                key=key,
            )
    if quantized is None:
        for key, tensor in stored.items():
            if tensor.dtype in _WHOLE_NUMBERS and len(tensor.shape) > 1 and key.endswith("weight"):
                raise _quantized_somehow(name, f"{key}: {tensor.dtype}")
        return
    groups = (config.get("quantization_config") or {}).get("config_groups", True)
    if stored and quantized.method in _ALWAYS_SMALL and groups:
        # Numbers that are no weights, such as positions, tell nothing.
        weights_of = {key: tensor for key, tensor in stored.items() if not _BUFFER.search(key)}
        if all(t.dtype in _FLOATS and not _SCALE_KEY.search(key) for key, t in weights_of.items()):
            raise _called_quantized(name, quantized)


def refuse_sizes(name: str, stored: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse weights that do not have the sizes that config.json tells.

    Args:
        name: of the model, for the message.
        stored: what is in its weight files.
        expected: key → shape in the model that config.json describes.

    Raises:
        ModelError: a weight has another shape.
    """
    for key, tensor in sorted(stored.items()):
        shape = expected.get(key, tensor.shape)
        if shape != tensor.shape:
            raise ModelError(
                "The weights of {name} do not have the sizes that its config.json describes ({key} "
                "is {shown} in the files and {shown_2} by config.json). Fetch or export the model "
                "again, so that both belong together.",
                name=name,
                key=key,
                shown=_shown(tensor.shape),
                shown_2=_shown(shape),
            )


def _shown(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def refuse_other_head(name: str, model: Any) -> None:
    """Refuse an output layer of its own where config.json says that the embedding is the output layer.

    Programs differ in which of the two they compute with.

    Raises:
        ModelError: there is one, and it differs from the embedding.
    """
    if not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return
    head, rows = (getattr(m, "weight", None) for m in (model.get_output_embeddings(), model.get_input_embeddings()))
    if head is None or rows is None or head.shape != rows.shape or head.is_meta or head.data_ptr() == rows.data_ptr():
        return
    if head.is_floating_point() and not torch.equal(head.to(rows.device), rows):
        raise ModelError(
            "The files of {name} hold an output layer that differs from the embedding, and its "
            "config.json says that they are one (tie_word_embeddings), so that programs differ in "
            "which of them they use. Set tie_word_embeddings to false there if the stored layer is "
            "meant, or export the model again.",
            name=name,
        )


def refuse_alike(name: str, logits: torch.Tensor) -> None:
    """Refuse a model for which all tokens are equally likely whatever it reads: its weights are zero.

    Args:
        name: of the model, for the message.
        logits: of a short text, (…, tokens, vocabulary).

    Raises:
        ModelError: so it is.
    """
    if logits.shape[-1] > 1 and bool((logits.amax(-1) == logits.amin(-1)).all()):
        raise ModelError(
            "All tokens are equally likely for {name} whatever it reads: its output layer or all "
            "its weights are zero, as a merge or export that failed leaves them. Fetch or export "
            "the model again.",
            name=name,
        )


def embedding_rows(model: Any) -> int:
    """How many tokens a loaded model has an embedding for."""
    weight = getattr(model.get_input_embeddings(), "weight", None)
    return int(model.config.get_text_config().vocab_size if weight is None else weight.shape[0])


# --- tokens ---------------------------------------------------------------------------------------------------


def beyond(ids: Collection[int], rows: int) -> int | None:
    """The first id that the embedding has no row for; None if there is none."""
    return next((i for i in ids if i >= rows), None)


def no_row(name: str, token: str, id_: int, rows: int) -> ModelError:
    """What is said of a token for which the embedding has no row."""
    return ModelError(
        "The token {token!r} (id {id}) has no row in the embedding of {name}, which has {rows} "
        "rows: the tokenizer knows tokens that the weights do not. Use the tokenizer that belongs "
        "to the weights, or a format without this token.",
        token=token,
        id=id_,
        name=name,
        rows=rows,
    )
