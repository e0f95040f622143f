"""Models through transformers: loading, checks and facts.

Answering itself is in `engine.py`, or in `batching.py` for models whose attention cannot be exchanged.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig
from transformers.pytorch_utils import Conv1D

from jglue_app.backends.batching import PAD, Batcher
from jglue_app.backends.engine import Engine
from jglue_app.backends.gguf import refuse_missing
from jglue_app.backends.linear import PackedLinear, pack_layers
from jglue_app.backends.locate import ModelFiles, in_folder, locate
from jglue_app.backends.memory import Memory, free_bytes, give_back, memory_of
from jglue_app.backends.packed import PackedModel, Unsupported
from jglue_app.backends.tokenizer import context_length, end_ids, render_chat
from jglue_app.backends.tricks import ALL, Tricks
from jglue_app.backends.work import Work
from jglue_app.errors import DeviceError, ModelError, UnknownNameError, first_line
from jglue_app.models import named_models
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec, Output, Prompt, RunError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUANTIZATIONS = ("none", "8bit", "4bit")

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
# Speaks at import and load time of features that are not used here.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
# Else loading .bin weights would have a service convert them, unasked, and fetch the result for next time.
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"


def open_model(
    spec: ModelSpec, settings: Settings, device: str, notify: Callable[[str], None], tricks: Tricks = ALL
) -> HFBackend:
    """Load a model and its tokenizer; see `backends.open_backend`."""
    dtype = _dtype(spec, _device(device))
    quantization = _quantization(spec, device)
    source = locate(spec, settings, notify)
    _check_memory(spec, source, device, dtype)
    notify(f"Loading {spec.id}.")
    # False, not merely left out: transformers would ask at the terminal whether to run a repository's code.
    where = {
        "pretrained_model_name_or_path": source.path,
        "revision": source.revision,
        "trust_remote_code": False,
        "token": settings.hub_token,
    }
    try:
        config = AutoConfig.from_pretrained(**where)
        if getattr(config, "is_encoder_decoder", False):
            raise ModelError(f"{spec.id} is an encoder-decoder model; only decoder-only models can be compared.")
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model, report = AutoModelForCausalLM.from_pretrained(
            **where,
            config=config,
            dtype=dtype,
            device_map="balanced" if device == "balanced" else {"": _device(device)},
            use_safetensors=source.use_safetensors,
            weights_only=True,
            quantization_config=quantization,
            output_loading_info=True,
        )
    except (torch.OutOfMemoryError, MemoryError) as e:
        raise DeviceError(
            f"There is not enough memory for {spec.id}. Choose 8-bit or 4-bit, or a smaller model."
        ) from e
    except ModelError:
        raise
    except Exception as e:  # Of transformers, safetensors, pickle, the tokenizer, the network: of any kind.
        raise ModelError(
            f"{spec.id} could not be loaded ({first_line(e)}). "
            "Check that it is a text-generation model that transformers supports without code of its own."
        ) from e
    refuse_missing(spec.id, report)
    backend = HFBackend(spec, source.commit, model, tokenizer, tricks=tricks, memory=settings.memory_bytes)
    give_back()
    notify(f"{spec.id} works in up to {backend.memory.budget / 2**30:.1f} GiB beside its weights.")
    return backend


class HFBackend:
    """A loaded transformers model.

    Args:
        spec: what was asked for.
        commit: which weights they are.
        model: the model; its attention is exchanged if that can be done.
        tokenizer: its tokenizer.
        tricks: what is left out, to measure it.
        memory: bytes to work in; None for a part of what is free.

    Raises:
        InputError: more memory is asked for than is free.
    """

    def __init__(
        self,
        spec: ModelSpec,
        commit: str,
        model: Any,
        tokenizer: Any,
        *,
        tricks: Tricks = ALL,
        memory: int | None = None,
    ) -> None:
        model.eval()
        # Sampling settings or penalties of the checkpoint must not reach greedy decoding.
        eos = end_ids(getattr(model, "generation_config", None), tokenizer)
        model.generation_config = GenerationConfig(do_sample=False, eos_token_id=eos or None, pad_token_id=PAD)
        memory_bytes = int(model.get_memory_footprint())
        if tricks.layout:
            pack_layers(model)
        self._model: Any = model
        self._tokenizer = tokenizer
        self.memory = memory_of(model, memory)
        self._batcher = _batcher(model, tokenizer, eos, tricks, self.memory)
        self.info = ModelInfo(
            name=spec.id,
            commit=commit,
            dtype=str(model.dtype).removeprefix("torch."),
            device=str(model.device),
            context_length=self._batcher.context_length,
            bos=tokenizer.bos_token or "",
            adds_bos=bool(self._batcher.bos),
            eos=tokenizer.eos_token or "",
            has_chat_template=bool(getattr(tokenizer, "chat_template", None)),
            memory_bytes=memory_bytes,
        )

    @property
    def work(self) -> Work:
        """What has been read and scored so far."""
        return self._batcher.work

    @property
    def packed(self) -> bool:
        """Whether prompts share what they have in common; else they go in padded batches."""
        return isinstance(self._batcher, Engine)

    def multiplications(self) -> tuple[int, int]:
        """Weights that are multiplied per token read and per row of the vocabulary that is scored."""
        head = self._model.get_output_embeddings()
        kinds = (torch.nn.Linear, PackedLinear, Conv1D)
        layers = [m for m in self._model.base_model.modules() if isinstance(m, kinds) and m is not head]
        sizes = [m.weight.numel() if isinstance(m, Conv1D) else m.in_features * m.out_features for m in layers]
        return sum(sizes), head.in_features * head.out_features

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        """The model's own chat template, with the opening of the answer; see `types.Backend`."""
        return render_chat(self._tokenizer, self.info.name, messages, thinking)

    def generate(
        self, prompts: Sequence[Prompt], max_new_tokens: int, should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Greedy generation in left-padded batches; see `types.Backend`."""
        return self._batcher.generate(prompts, max_new_tokens, should_stop)

    def choose(
        self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Log-likelihood of each legal answer; see `types.Backend`."""
        return self._batcher.choose(prompts, should_stop)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text; see `types.Backend`."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def close(self) -> None:
        """Drop the weights."""
        self._model = None
        self._batcher.close()
        give_back()


def _batcher(model: Any, tokenizer: Any, eos: list[int], tricks: Tricks, memory: Memory) -> Engine | Batcher:
    """The engine where the model's attention can be exchanged, else padded batches."""
    limit = context_length(model.config, tokenizer)
    if tricks.packing:
        with contextlib.suppress(Unsupported):
            packed = PackedModel(model, screen=None if tricks.screening else False)
            return Engine(packed, tokenizer, eos, limit, memory, tricks)
    return Batcher(model, tokenizer, eos, limit, memory, shares=tricks.beginning)


# --- device and memory ----------------------------------------------------------------------------------


def _device(device: str) -> str:
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.split(":")[0]
    if kind in ("balanced", "cuda"):
        if not torch.cuda.is_available():
            raise DeviceError(f"The device {device!r} needs a CUDA GPU, and none was found. Use --device cpu.")
        count = torch.cuda.device_count()
        if device not in ("balanced", "cuda", *(f"cuda:{i}" for i in range(count))):
            raise DeviceError(f"There is no device {device!r}: this machine has cuda:0 to cuda:{count - 1}.")
        return device if kind == "cuda" else "cuda"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("The device 'mps' needs an Apple GPU, and none was found. Use --device cpu.")
    if device not in ("cpu", "mps"):
        raise UnknownNameError("device", device, ("auto", "cpu", "cuda", "cuda:0", "mps", "balanced"))
    return device


def _dtype(spec: ModelSpec, device: str) -> torch.dtype:
    if spec.dtype == "auto":
        if device == "cpu":
            return torch.float32
        bf16 = device == "mps" or torch.cuda.is_bf16_supported()
        return torch.bfloat16 if bf16 else torch.float16
    if spec.dtype not in DTYPES:
        raise UnknownNameError("dtype", spec.dtype, ("auto", *DTYPES))
    return DTYPES[spec.dtype]


def _quantization(spec: ModelSpec, device: str) -> BitsAndBytesConfig | None:
    if spec.quantization not in QUANTIZATIONS:
        raise UnknownNameError("quantization", spec.quantization, QUANTIZATIONS)
    if spec.quantization == "none":
        return None
    try:
        import bitsandbytes  # noqa: F401  # only to know that it is there
    except ImportError as e:
        raise DeviceError(
            "8-bit and 4-bit need the package bitsandbytes. Run `pip install bitsandbytes`, or choose none."
        ) from e
    where = _device(device)
    if where.startswith("mps"):
        raise DeviceError("8-bit and 4-bit do not run on Apple GPUs. Use --device cpu, or choose none.")
    if spec.quantization == "8bit":
        if where.startswith("cuda") and torch.cuda.get_device_capability(where) < (7, 5):
            raise DeviceError("8-bit needs a GPU of compute capability 7.5 or later. Choose 4-bit or none.")
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = torch.float32 if where == "cpu" else torch.bfloat16
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)


def memory_free(device: str) -> int:
    """Bytes that are free where models go."""
    where = _device(device)
    if device == "balanced":
        return sum(free_bytes(f"cuda:{k}") for k in range(torch.cuda.device_count()))
    return free_bytes(where)


def memory_needed(spec: ModelSpec, settings: Settings, device: str = "auto") -> int | None:
    """An estimate of the weights' bytes from the registry or local files; None if neither knows."""
    dtype = _dtype(spec, _device(device))
    named = named_models().get(spec.id)
    if named:
        return int(named.parameters * 1e6 * _width(spec, dtype))
    try:
        source = in_folder(spec, settings)
    except ModelError:  # Told when the model is opened.
        return None
    return _bytes_needed(spec, source, dtype) if source else None


def _width(spec: ModelSpec, dtype: torch.dtype) -> float:
    """Bytes of one weight in memory."""
    return {"8bit": 1.0, "4bit": 0.5}.get(spec.quantization, dtype.itemsize)


def _bytes_needed(spec: ModelSpec, source: ModelFiles, dtype: torch.dtype) -> int | None:
    if source.weight_bytes is None:
        return None
    return int(source.weight_bytes / source.stored_width * _width(spec, dtype))


def _check_memory(spec: ModelSpec, source: ModelFiles, device: str, dtype: torch.dtype) -> None:
    need, free = _bytes_needed(spec, source, dtype), memory_free(device)
    if need is not None and need > free:
        raise DeviceError(
            f"{spec.id} needs about {need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free. "
            "Choose 8-bit or 4-bit, or a smaller model."
        )
