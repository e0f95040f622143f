"""Models through transformers: loading, checks and facts.

Answering itself is in `engine.py`, or in `batching.py` for models whose attention cannot be exchanged.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, GenerationConfig
from transformers.pytorch_utils import Conv1D

from jglue_app.backends.hf.ablation import ALL, Tricks
from jglue_app.backends.hf.checkpoint import model_kind as checkpoint
from jglue_app.backends.hf.checkpoint.find_weights import ModelFiles, in_folder, locate
from jglue_app.backends.hf.checkpoint.gguf import refuse_missing
from jglue_app.backends.hf.checkpoint.weight_headers import Tensor, tensors_of
from jglue_app.backends.hf.counters import Work
from jglue_app.backends.hf.engine.equivalence import NotCausalError, Reference
from jglue_app.backends.hf.engine.linear import PackedLinear, pack_layers, watch_reads
from jglue_app.backends.hf.engine.packed_engine import Engine
from jglue_app.backends.hf.engine.packed_model import PackedModel, Unsupported
from jglue_app.backends.hf.engine.padded_engine import MODES, PAD, Batcher, Mode, Result
from jglue_app.backends.hf.memory import free_bytes, give_back, memory_of
from jglue_app.backends.hf.tokenization.encoding import Encoder, facts_of
from jglue_app.backends.hf.tokenization.tokenizer import context_length, end_ids, render_chat, require_template
from jglue_app.backends.hf.tokenization.tokenizer_loading import load_tokenizer
from jglue_app.backends.named_models import named_models
from jglue_app.errors import DeviceError, JglueAppError, ModelError, UnknownNameError, first_line
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec, Output, Prompt, RunError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUANTIZATIONS = ("none", "8bit", "4bit")
ALONE = next(mode for mode in MODES if mode.rows == "single")

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
# Speaks at import and load time of features that are not used here.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
# Else loading .bin weights would have a service convert them, unasked, and fetch the result for next time.
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"


def open_model(
    spec: ModelSpec,
    settings: Settings,
    device: str,
    notify: Callable[[str], None],
    tricks: Tricks = ALL,
    *,
    needs_template: bool = False,
) -> HFBackend:
    """Load a model and its tokenizer; see `backends.open_backend`."""
    dtype = _dtype(spec, _device(device))
    quantization = _quantization(spec, device)
    source = locate(spec, settings, notify)
    _check_memory(spec, source, device, dtype)
    notify(Message("Loading {model}.", model=spec.id))
    # False, not merely left out: transformers would ask at the terminal whether to run a repository's code.
    where = {
        "pretrained_model_name_or_path": source.path,
        "revision": source.revision,
        "trust_remote_code": False,
        "token": settings.hub_token,
    }
    try:
        config = AutoConfig.from_pretrained(**where)
        tokenizer = load_tokenizer(spec.id, where)
        if needs_template:
            require_template(tokenizer, spec.id)
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
        raise _no_memory(spec.id, source.quantized is not None or spec.quantization != "none") from e
    except ModelError:
        raise
    except Exception as e:  # Of transformers, safetensors, pickle, the tokenizer, the network: of any kind.
        if "ignore_mismatched_sizes" in str(e):
            checkpoint.refuse_sizes(spec.id, _stored(spec, source), _shapes(config))
        if source.quantized:
            raise ModelError(
                "{model} is quantized ({label}) and could not be loaded here ({reason}). Try "
                "another device, or choose an unquantized copy.",
                model=spec.id,
                label=source.quantized.label,
                reason=first_line(e),
            ) from e
        raise ModelError(
            "{model} could not be loaded ({reason}). Check that it is a text-generation model that "
            "transformers supports without code of its own.",
            model=spec.id,
            reason=first_line(e),
        ) from e
    if source.revision is not None:  # What is in a folder was looked at before.
        checkpoint.refuse_stored(spec.id, _stored(spec, source), source.quantized, config.to_dict())
    checkpoint.refuse_foreign(spec.id, report, config)
    refuse_missing(spec.id, report)
    checkpoint.refuse_unquantized(spec.id, model, source.quantized)
    checkpoint.refuse_other_head(spec.id, model)
    quantized = source.quantized.label if source.quantized else source.gguf
    with _failing(spec.id, "while it was set up", bool(quantized) or spec.quantization != "none"):
        backend = HFBackend(
            spec,
            source.commit,
            model,
            tokenizer,
            tricks=tricks,
            memory=settings.memory_bytes,
            most_tokens=settings.max_prompt_tokens,
            quantized=quantized,
        )
    give_back()
    notify(
        Message(
            "{model} works in up to {budget:.1f} GiB beside its weights.",
            model=spec.id,
            budget=backend.memory.budget / 2**30,
        )
    )
    return backend


def _stored(spec: ModelSpec, source: ModelFiles) -> dict[str, Tensor]:
    """What is in the weight files, as far as they are on this machine."""
    if source.revision is None:
        return tensors_of([Path(source.path) / name for name in source.names], spec.id)
    cached = [try_to_load_from_cache(source.path, name, revision=source.revision) for name in source.names]
    return tensors_of([Path(path) for path in cached if isinstance(path, str)], spec.id)


def _shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Key → shape of the weights that a configuration describes, without making them."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


class HFBackend:
    """A loaded transformers model.

    Args:
        spec: what was asked for.
        commit: which weights they are.
        model: the model; its attention is exchanged if that can be done.
        tokenizer: its tokenizer.
        tricks: what is left out, to measure it.
        memory: bytes to work in; None for a part of what is free.
        most_tokens: tokens of the longest prompt that is read; None for no limit but the model's.
        quantized: how the weights are quantized in the files already; empty if they are not.

    Raises:
        InputError: more memory is asked for than is free.
        ModelError: the model fails on a first short text.
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
        most_tokens: int | None = None,
        quantized: str = "",
    ) -> None:
        model.eval()
        # Sampling settings or penalties of the checkpoint must not reach greedy decoding.
        eos = end_ids(getattr(model, "generation_config", None), tokenizer)
        model.generation_config = GenerationConfig(do_sample=False, eos_token_id=eos or None, pad_token_id=PAD)
        memory_bytes = int(model.get_memory_footprint())
        self._eos, self._tricks, self._most_tokens = eos, tricks, most_tokens
        self._quantized = bool(quantized) or spec.quantization != "none"
        self._limit = context_length(model.config, tokenizer)
        try:
            with watch_reads(model), torch.inference_mode():
                first = model(input_ids=torch.tensor([[0, 1, 2]], device=model.device), use_cache=False)
            checkpoint.refuse_alike(spec.id, first.logits)
            del first
            if tricks.layout:
                pack_layers(model)
            self._reference = Reference(model, self._limit)
        except NotCausalError as e:
            raise _not_causal(spec.id, e) from e
        except Exception as e:  # Of an architecture, its kernels, its sizes: of any kind.
            if isinstance(e, torch.OutOfMemoryError | MemoryError | JglueAppError):
                raise
            raise _fails(spec, f"{type(e).__name__}: {first_line(e)}") from e
        self._model: Any = model
        self._tokenizer = tokenizer
        self.memory = memory_of(model, memory)
        self._why_not_packed = "" if tricks.packing else "left out to measure it"
        self._alone: dict[Mode, Batcher] = {}
        self._batcher: Engine | Batcher = self._packed_engine() or self._padded_batches(
            ALONE if self._reference.noisy else None
        )
        self._reference.forget()
        facts = facts_of(tokenizer)
        self.info = ModelInfo(
            name=spec.id,
            commit=commit,
            dtype=str(model.dtype).removeprefix("torch."),
            device=str(model.device),
            context_length=self._batcher.context_length,
            bos=tokenizer.bos_token or "",
            adds_bos=facts.adds_bos,
            eos=tokenizer.eos_token or "",
            has_chat_template=bool(getattr(tokenizer, "chat_template", None)),
            memory_bytes=memory_bytes,
            engine=self._method()[0],
            engine_reason=self._method()[1],
            prefix=facts.prefix,
            tokenizer_source=facts.source,
            tokenizer_round_trip=facts.round_trip,
            tokenizer_unknown=facts.unknown,
            quantized=quantized,
        )
        rows = checkpoint.embedding_rows(model)
        # Token ids are looked at only where some could be beyond the embedding: encoding every text twice takes time.
        highest = max([len(tokenizer), *(i + 1 for i in tokenizer.added_tokens_decoder)])
        self._rows = rows if highest > rows else None
        self._encoder = Encoder(tokenizer)

    def _packed_engine(self) -> Engine | None:
        """The engine, where the model's attention can be exchanged and gives what the model gives by itself."""
        if not self._tricks.packing:
            return None
        if self._reference.noisy:
            self._why_not_packed = "quantized in such a way that scores depend on what is computed together"
            return None
        try:
            packed = PackedModel(self._model, self._reference, screen=None if self._tricks.screening else False)
        except Unsupported as e:
            self._why_not_packed = str(e)
            return None
        return Engine(
            packed,
            self._tokenizer,
            self._eos,
            self._limit,
            self.memory,
            self._tricks,
            most_tokens=self._most_tokens,
            row_limit=self._reference.alone_above,
        )

    def _padded_batches(self, mode: Mode | None = None) -> Batcher:
        return Batcher(
            self._model,
            self._tokenizer,
            self._eos,
            self._limit,
            self.memory,
            self._reference,
            shares=self._tricks.beginning,
            most_tokens=self._most_tokens,
            mode=mode,
        )

    def _method(self) -> tuple[str, str]:
        """How prompts go through the model, and why not in a faster way, for `ModelInfo`."""
        if isinstance(self._batcher, Engine):
            most = self._reference.alone_above
            return "packed", f"prompts of more than {most:,} tokens: one at a time" if self._alone else ""
        reasons = [f"packed: {self._why_not_packed}", self._batcher.reason]
        return self._batcher.mode.name, "; ".join(filter(None, reasons))

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
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Greedy generation; see `types.Backend`."""

        def run(batcher: Engine | Batcher, some: Sequence[Prompt]) -> Iterator[Result]:
            return batcher.generate(some, max_new_tokens, should_stop, repetition_penalty)

        with _failing(self.info.name, "while it wrote", self._quantized):
            self._refuse_unknown_ids(prompts, answers=False)
            yield from self._answers(prompts, max_new_tokens, run)

    def choose(
        self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Log-likelihood of each legal answer; see `types.Backend`."""

        def run(batcher: Engine | Batcher, some: Sequence[Prompt]) -> Iterator[Result]:
            return batcher.choose(some, should_stop)

        with _failing(self.info.name, "while it scored answers", self._quantized):
            self._refuse_unknown_ids(prompts, answers=True)
            yield from self._answers(prompts, 0, run)

    def _answers(
        self,
        prompts: Sequence[Prompt],
        new_tokens: int,
        run: Callable[[Engine | Batcher, Sequence[Prompt]], Iterator[Result]],
    ) -> Iterator[Result]:
        """Answers of all prompts: of those that would change others by their length one at a time.

        Before the first answer the engine looks whether it may read prompts of this length. Where it may not, padded
        batches do, from here on.
        """
        alone = {i: mode for i, prompt in enumerate(prompts) if (mode := self._alone_mode(prompt, new_tokens))}
        usual = [i for i in range(len(prompts)) if i not in alone]
        left = set(usual)
        try:
            for k, result in run(self._batcher, [prompts[i] for i in usual]) if usual else ():
                left.discard(usual[k])
                yield usual[k], result
        except Unsupported as e:
            # What was given out is shorter than the switch that was reached now.
            self._why_not_packed = str(e)
            self._batcher.close()
            self._batcher = self._padded_batches()
            again = sorted(left)
            yield from ((again[k], result) for k, result in run(self._batcher, [prompts[i] for i in again]))
        for mode in dict.fromkeys(alone.values()):
            some = [i for i in alone if alone[i] == mode]
            if mode not in self._alone:
                self._alone[mode] = self._padded_batches(mode)
            yield from ((some[k], result) for k, result in run(self._alone[mode], [prompts[i] for i in some]))
        engine, reason = self._method()
        if (engine, reason) != (self.info.engine, self.info.engine_reason):
            self.info = replace(self.info, engine=engine, engine_reason=reason)

    def _alone_mode(self, prompt: Prompt, new_tokens: int) -> Mode | None:
        """How a prompt goes alone whose length would change others; None if it goes with them."""
        most = self._reference.alone_above
        if most is None:
            return None
        texts = [prompt.text] if new_tokens else [prompt.text + prompt.lead + answer for answer in prompt.answers]
        tokens = max((self.count_tokens(text) + len(self._batcher.bos) for text in texts), default=0)
        if tokens + new_tokens <= most:
            return None
        # What was kept while a text was short is wrong when it has become long.
        return ALONE if tokens > most else MODES[-1]

    def _refuse_unknown_ids(self, prompts: Sequence[Prompt], *, answers: bool) -> None:
        """Raise ModelError if a token has no row in the embedding."""
        if self._rows is None:
            return
        for prompt in prompts:
            found = [self._encoder.encode(prompt.text, has_special=prompt.messages is not None)]
            if answers:
                found += [ids for a in prompt.answers for ids in self._encoder.encode_answer(prompt, a)]
            for ids in found:
                if (id_ := checkpoint.beyond(ids, self._rows)) is not None:
                    token = str(self._tokenizer.convert_ids_to_tokens(id_))
                    raise checkpoint.no_row(self.info.name, token, id_, self._rows)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text; see `types.Backend`."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def close(self) -> None:
        """Drop the weights."""
        self._model = None
        self._batcher.close()
        for batcher in self._alone.values():
            batcher.close()
        self._reference.close()
        give_back()


def _not_causal(name: str, error: NotCausalError) -> ModelError:
    return ModelError(
        "In {name}, later tokens change what is said of earlier ones ({reason}): it writes no "
        "text from left to right, or this version of transformers does not run it as one. Choose "
        "another model.",
        name=name,
        reason=error,
    )


def _fails(spec: ModelSpec, why: str) -> ModelError:
    """What is told when a model's own code does not run; the files' own quantization cannot be left out."""
    if spec.quantization != "none":
        return ModelError(
            "{model} fails on a first short text ({why}). Leave the quantization out, or try "
            "another version of transformers.",
            model=spec.id,
            why=why,
        )
    return ModelError(
        "{model} fails on a first short text ({why}). Try another dtype or device, or try another "
        "version of transformers.",
        model=spec.id,
        why=why,
    )


def _no_memory(name: str, quantized: bool) -> DeviceError:
    """What is told when memory runs out; what is quantized already cannot be made smaller by that."""
    if quantized:
        return DeviceError("There is not enough memory for {name}. Choose a smaller model.", name=name)
    return DeviceError("There is not enough memory for {name}. Choose 8-bit or 4-bit, or a smaller model.", name=name)


@contextmanager
def _failing(name: str, when: str, quantized: bool) -> Iterator[None]:
    """Make a sentence of whatever a model's code raises."""
    try:
        yield
    except JglueAppError:
        raise
    except NotCausalError as e:
        raise _not_causal(name, e) from e
    except (torch.OutOfMemoryError, MemoryError) as e:
        raise _no_memory(name, quantized) from e
    except Exception as e:  # Of any kind: architectures differ in all they do.
        raise ModelError(
            "{name} failed {when} ({name_2}: {reason}). Try another dtype or device, or choose another model.",
            name=name,
            when=when,
            name_2=type(e).__name__,
            reason=first_line(e),
        ) from e


# --- device and memory ----------------------------------------------------------------------------------


def _device(device: str) -> str:
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.split(":")[0]
    if kind in ("balanced", "cuda"):
        if not torch.cuda.is_available():
            raise DeviceError(
                "The device {device!r} needs a CUDA GPU, and none was found. Use --device cpu.", device=device
            )
        count = torch.cuda.device_count()
        if device not in ("balanced", "cuda", *(f"cuda:{i}" for i in range(count))):
            raise DeviceError(
                "There is no device {device!r}: this machine has cuda:0 to cuda:{count}.",
                device=device,
                count=count - 1,
            )
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
    """An estimate of the weights' bytes from the registry or local files; None if neither knows.

    Raises:
        InputError: weights that are quantized already are to be quantized.
    """
    dtype = _dtype(spec, _device(device))
    named = named_models().get(spec.id)
    if named:
        return int(named.parameters * 1e6 * _width(spec, dtype))
    try:
        source = in_folder(spec, settings)
    except ModelError:  # Told when the model is opened.
        return None
    return _bytes_needed(spec, source, dtype, _device(device)) if source else None


def _width(spec: ModelSpec, dtype: torch.dtype) -> float:
    """Bytes of one weight in memory."""
    return {"8bit": 1.0, "4bit": 0.5}.get(spec.quantization, dtype.itemsize)


def _bytes_needed(spec: ModelSpec, source: ModelFiles, dtype: torch.dtype, device: str) -> int | None:
    if source.weight_bytes is None:
        return None
    if source.quantized:
        on_gpu = device.startswith("cuda")
        return source.quantized.bytes_in_memory(source.weight_bytes, source.count, dtype.itemsize, on_gpu)
    count = source.weight_bytes / source.stored_width if source.count is None else source.count
    return int(count * _width(spec, dtype))


def _check_memory(spec: ModelSpec, source: ModelFiles, device: str, dtype: torch.dtype) -> None:
    need, free = _bytes_needed(spec, source, dtype, _device(device)), memory_free(device)
    if need is not None and need > free:
        if source.quantized:
            raise DeviceError(
                "{model} needs about {need:.1f} GB and {free:.1f} GB are free. Choose a smaller model.",
                model=spec.id,
                need=need / 1e9,
                free=free / 1e9,
            )
        raise DeviceError(
            "{model} needs about {need:.1f} GB and {free:.1f} GB are free. Choose 8-bit or 4-bit, or a smaller model.",
            model=spec.id,
            need=need / 1e9,
            free=free / 1e9,
        )
