"""Models through transformers: loading, checks and facts. Answering itself is in `batching.py`."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers
from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig

from jglue_app.backends import gguf
from jglue_app.backends.batching import Batcher
from jglue_app.errors import (
    DeviceError,
    InputError,
    ModelAccessError,
    ModelError,
    ModelNotFoundError,
    NetworkError,
    UnknownNameError,
)
from jglue_app.models import named_models
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec, Output, Prompt, RunError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUANTIZATIONS = ("none", "8bit", "4bit")
_BYTES_PER_WEIGHT = {"none": 2.0, "8bit": 1.0, "4bit": 0.5}

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
# Speaks at import and load time of features that are not used here.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the files of a model are."""

    path: str
    """Local folder or Hub id."""
    revision: str | None
    commit: str
    weight_bytes: int | None
    use_safetensors: bool


def open_model(spec: ModelSpec, settings: Settings, device: str, notify: Callable[[str], None]) -> HFBackend:
    """Load a model and its tokenizer; see `backends.open_backend`."""
    dtype = _dtype(spec, _device(device))
    quantization = _quantization(spec, device)
    source = _locate(spec, settings, notify)
    _check_memory(spec, source, device, dtype)
    notify(f"Loading {spec.id}.")
    where = {"pretrained_model_name_or_path": source.path, "revision": source.revision}
    try:
        config = AutoConfig.from_pretrained(**where)
        if getattr(config, "is_encoder_decoder", False):
            raise ModelError(f"{spec.id} is an encoder-decoder model; only decoder-only models can be compared.")
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(
            **where,
            config=config,
            dtype=dtype,
            device_map="balanced" if device == "balanced" else {"": _device(device)},
            use_safetensors=source.use_safetensors,
            weights_only=True,
            quantization_config=quantization,
        )
    except (torch.OutOfMemoryError, MemoryError) as e:
        raise DeviceError(
            f"There is not enough memory for {spec.id}. Choose 8-bit or 4-bit, or a smaller model."
        ) from e
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError) as e:
        raise ModelError(
            f"{spec.id} could not be loaded ({_first_line(e)}). "
            "Check that it is a text-generation model that transformers supports without code of its own."
        ) from e
    return HFBackend(spec, source.commit, model, tokenizer)


class HFBackend:
    """A loaded transformers model."""

    def __init__(self, spec: ModelSpec, commit: str, model: Any, tokenizer: Any) -> None:
        model.eval()
        # Sampling settings or penalties of the checkpoint must not reach greedy decoding.
        eos = _eos_ids(model, tokenizer)
        model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=eos or None, pad_token_id=_pad_id(tokenizer, eos)
        )
        self._model: Any = model
        self._tokenizer = tokenizer
        self._batcher = Batcher(model, tokenizer, eos, _context_length(model.config, tokenizer))
        self.info = ModelInfo(
            name=spec.id,
            commit=commit,
            dtype=str(model.dtype).removeprefix("torch."),
            device=str(model.device),
            context_length=self._batcher.context_length,
            bos=tokenizer.bos_token or "",
            eos=tokenizer.eos_token or "",
            has_chat_template=bool(getattr(tokenizer, "chat_template", None)),
            memory_bytes=int(model.get_memory_footprint()),
        )

    def render_chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The model's own chat template, with the opening of the answer; see `types.Backend`."""
        if not self.info.has_chat_template:
            raise ModelError(
                f"The tokenizer of {self.info.name} has no chat template. "
                "Choose another prompt format, such as plain or alpaca."
            )
        try:
            text = self._tokenizer.apply_chat_template(
                [dict(m) for m in messages], tokenize=False, add_generation_prompt=True
            )
        except Exception as e:  # Jinja templates of any repository may raise anything.
            raise ModelError(
                f"The chat template of {self.info.name} refused this conversation ({_first_line(e)}). "
                "Leave out the system text, or choose another prompt format."
            ) from e
        return str(text)

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

    def close(self) -> None:
        """Drop the weights."""
        self._model = None
        self._batcher.close()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


# --- facts about a model --------------------------------------------------------------------------------


def _eos_ids(model: Any, tokenizer: Any) -> list[int]:
    found: list[int] = []
    for value in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        found += value if isinstance(value, list) else [value] if value is not None else []
    return list(dict.fromkeys(found))


def _pad_id(tokenizer: Any, eos: list[int]) -> int:
    """Any id will do for padding, as padded places are masked."""
    if tokenizer.pad_token_id is not None:
        return int(tokenizer.pad_token_id)
    return eos[0] if eos else 0


def _context_length(config: Any, tokenizer: Any) -> int | None:
    text_config = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        value = getattr(text_config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if limit and limit < 10**9 else None


# --- device and memory ----------------------------------------------------------------------------------


def _device(device: str) -> str:
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.split(":")[0]
    if kind == "balanced" or kind == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(f"The device {device!r} needs a CUDA GPU, and none was found. Use --device cpu.")
        return device if kind == "cuda" else "cuda"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("The device 'mps' needs an Apple GPU, and none was found. Use --device cpu.")
    if kind not in ("cpu", "mps"):
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
    if _device(device).startswith("cuda"):
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def memory_needed(spec: ModelSpec, settings: Settings) -> int | None:
    """An estimate of the weights' bytes from the registry or local files; None if neither knows."""
    wide = 2.0 if spec.dtype == "float32" or (spec.dtype == "auto" and not torch.cuda.is_available()) else 1.0
    if spec.quantization != "none":
        wide = 1.0
    named = named_models().get(spec.id)
    if named:
        return int(named.parameters * 1e6 * _BYTES_PER_WEIGHT[spec.quantization] * wide)
    path = Path(spec.id)
    if not settings.public and path.is_dir():
        size = sum(f.stat().st_size for f in path.glob("*.safetensors"))
        return int(size * _BYTES_PER_WEIGHT[spec.quantization] / 2.0)
    return None


def _check_memory(spec: ModelSpec, source: _Source, device: str, dtype: torch.dtype) -> None:
    if source.weight_bytes is None:
        return
    scale = _BYTES_PER_WEIGHT[spec.quantization] / 2.0
    if spec.quantization == "none" and dtype == torch.float32:
        scale = 1.0 if Path(source.path).is_dir() else 2.0
    need, free = source.weight_bytes * scale, memory_free(device)
    if need > free:
        raise DeviceError(
            f"{spec.id} needs about {need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free. "
            "Choose 8-bit or 4-bit, or a smaller model."
        )


# --- finding the files ----------------------------------------------------------------------------------


def _locate(spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> _Source:
    named = named_models().get(spec.id)
    if settings.public and named is None:
        raise UnknownNameError("model", spec.id, named_models(), "This server runs the listed models only.")
    if named and named.package:
        return _local(gguf.converted(gguf.packaged_file(named.package), settings.cache_dir, notify), spec)
    path = Path(spec.id).expanduser()
    if not settings.public and spec.id.endswith(".gguf"):
        return _local(gguf.converted(path, settings.cache_dir, notify), spec)
    if not settings.public and path.is_dir():
        return _local(path, spec)
    return _on_hub(spec, settings, notify)


def _local(folder: Path, spec: ModelSpec) -> _Source:
    config = folder / "config.json"
    if not config.is_file():
        raise ModelNotFoundError(f"The folder {folder} holds no config.json. Give a transformers model folder.")
    _refuse_own_code(spec.id, config)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        _need_bin(spec, [f.name for f in folder.iterdir()])
        files = sorted(folder.glob("*.bin"))
    commit = f"local-{sum(f.stat().st_size for f in files)}"
    return _Source(str(folder), None, commit, sum(f.stat().st_size for f in files), files[0].suffix == ".safetensors")


def _on_hub(spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> _Source:
    try:
        info = HfApi().model_info(spec.id, revision=spec.revision, files_metadata=True, timeout=20)
        sizes = {f.rfilename: f.size or 0 for f in info.siblings or []}
        commit = info.sha or "unknown"
        config = Path(hf_hub_download(spec.id, "config.json", revision=commit)) if "config.json" in sizes else None
        if spec.gguf_file:
            if spec.gguf_file not in sizes:
                raise ModelNotFoundError(f"{spec.id} has no file {spec.gguf_file}. It has: {', '.join(sizes)}.")
            notify(f"Downloading {spec.gguf_file} ({sizes[spec.gguf_file] / 1e9:.1f} GB).")
            file = Path(hf_hub_download(spec.id, spec.gguf_file, revision=commit))
            return _local(gguf.converted(file, settings.cache_dir, notify), spec)
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as e:
        if isinstance(e, GatedRepoError):
            raise _gated(spec) from e
        if isinstance(e, LocalEntryNotFoundError):
            return _from_cache(spec, e)
        raise _not_found(spec, e) from e
    except HfHubHTTPError as e:
        if e.response is not None and e.response.status_code in (401, 403):
            raise _gated(spec) from e
        return _from_cache(spec, e)
    except (OfflineModeIsEnabled, OSError) as e:
        return _from_cache(spec, e)
    if config is None:
        raise ModelNotFoundError(f"{spec.id} has no config.json: it is not a transformers model.")
    _refuse_own_code(spec.id, config)
    safe = [name for name in sizes if name.endswith(".safetensors")]
    if not safe:
        _need_bin(spec, list(sizes))
    weights = safe or [name for name in sizes if name.endswith(".bin")]
    total = sum(sizes[name] for name in weights)
    notify(f"Fetching {spec.id} ({total / 1e9:.1f} GB) from the Hugging Face Hub, unless it is cached.")
    return _Source(spec.id, commit, commit, total, bool(safe))


def _from_cache(spec: ModelSpec, error: Exception) -> _Source:
    """A model that was fetched before, when the Hub does not answer now."""
    try:
        config = Path(hf_hub_download(spec.id, "config.json", revision=spec.revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, HFValidationError):
        raise NetworkError(
            f"{spec.id} is not on this machine and {constants.ENDPOINT} cannot be reached "
            f"({type(error).__name__}). Check the connection, or use the embedded model gemma-3-270m."
        ) from error
    _refuse_own_code(spec.id, config)
    safe = any(config.parent.glob("*.safetensors"))
    if not safe:
        _need_bin(spec, [f.name for f in config.parent.iterdir()])
    return _Source(str(config.parent), None, config.parent.name, None, safe)


def _need_bin(spec: ModelSpec, names: list[str]) -> None:
    if any(name.endswith(".bin") for name in names):
        if not spec.allow_bin:
            raise ModelError(
                f"{spec.id} has only pickled .bin weights. Add --allow-bin to read them (weights only, in local mode)."
            )
        return
    ggufs = [name for name in names if name.endswith(".gguf")]
    remedy = f" It has GGUF files: add --gguf-file {ggufs[0]}." if ggufs else ""
    raise ModelNotFoundError(f"{spec.id} has no safetensors weights.{remedy}")


def _refuse_own_code(name: str, config: Path) -> None:
    try:
        table = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(f"The config.json of {name} cannot be read ({_first_line(e)}).") from e
    if "auto_map" in table:
        raise ModelError(
            f"{name} needs to run code from its repository, which this application never does. "
            "Choose a model that transformers supports by itself."
        )


def _not_found(spec: ModelSpec, error: Exception) -> ModelError | InputError:
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(f"{spec.id} has no revision {spec.revision!r}. Leave it out, or correct it.")
    names = ", ".join(list(named_models())[:4])
    return ModelNotFoundError(
        f"There is no model {spec.id!r} on this machine or on the Hugging Face Hub (or it is private). "
        f"An id looks like owner/name, or is one of {names} …; see `python -m jglue_app models`."
    )


def _gated(spec: ModelSpec) -> ModelAccessError:
    return ModelAccessError(
        f"{spec.id} is gated or private. Accept its terms on its page on the Hugging Face Hub and set HF_TOKEN, "
        "or choose another model."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
