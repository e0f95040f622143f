"""Models of sentence-transformers: the vectors that their own modules give.

Every text is encoded alone, in float32 unless another dtype is named, so its vector does not depend on other texts.
sentence-transformers cuts what is too long without a word; here such a text has no vector.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from jglue_app.backends.embedding.sentence_files import find_folder, modules_of
from jglue_app.backends.embedding.vectors import NO_TOKENS, Embedding, as_vector
from jglue_app.backends.fingerprint import local_commit
from jglue_app.backends.hf.devices import resolve_device, resolve_dtype
from jglue_app.backends.hf.failures import not_enough_memory
from jglue_app.backends.hf.memory import is_out_of_memory, release_unused
from jglue_app.backends.relevant_files import json_object
from jglue_app.errors import DeviceError, InputError, ModelError, first_line
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec, RunError

UNLIMITED = 10**9
"""A tokenizer's length limit from here on is no limit: transformers writes 1e30 where it knows of none."""
UNUSED = ("pooler.",)
"""Weights that no module of sentence-transformers reads, and that checkpoints may lack."""
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
# Else loading .bin weights would have a service convert them, unasked, and fetch the result for next time.
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"


def open_embedder(spec: ModelSpec, settings: Settings, device: str, notify: Callable[[str], None]) -> SentenceEncoder:
    """Load a model of sentence-transformers; see `backends.embedding.open_embedder`.

    Raises:
        InputError: an option that is for causal language models alone.
        DeviceError: the package sentence-transformers or the device is missing, or memory ran out.
        ModelError, NetworkError: the model cannot be loaded.
    """
    if spec.quantization != "none" or spec.gguf_file or spec.adapter:
        raise InputError(
            "Quantization, GGUF files and adapters are for causal language models, and {model} is one of "
            "sentence-transformers. Leave them out.",
            model=spec.id,
        )
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as e:
        raise DeviceError(
            "Models of sentence-transformers need a package of that name. Run `pip install sentence-transformers`, or "
            "choose --source hidden-states."
        ) from e
    placed = resolve_device("cuda" if device == "balanced" else device)
    dtype = torch.float32 if spec.dtype == "auto" else resolve_dtype(spec, placed)
    folder, commit = find_folder(spec, settings, notify)
    notify(Message("Loading {model}.", model=spec.id))
    try:
        _reject_missing_weights(folder, spec.id)
        model = SentenceTransformer(
            str(folder),
            device=placed,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
        model = model.to(dtype).eval()
        encoder = SentenceEncoder(spec, model, commit or local_commit(spec, settings))
        encoder.check()
    except ModelError:
        raise
    except Exception as e:  # Of sentence-transformers, transformers, safetensors, the tokenizer: of any kind.
        if is_out_of_memory(e):
            raise not_enough_memory(spec.id, quantized=True) from e
        if "trust_remote_code" in str(e):
            raise ModelError(
                "{model} needs code of its own ({kind}), which is never run here. Choose a model of the classes of "
                "sentence-transformers.",
                model=spec.id,
                kind="config.json",
            ) from e
        raise ModelError(
            "{model} could not be loaded by sentence-transformers ({reason}). Check that it embeds texts, or choose "
            "another model.",
            model=spec.id,
            reason=first_line(e),
        ) from e
    return encoder


def _reject_missing_weights(folder: Path, name: str) -> None:
    """Reject a transformer whose checkpoint lacks weights: transformers fills them with random numbers, and
    sentence-transformers says nothing.

    Raises:
        ModelError: it lacks some that count.
    """
    place = folder / str(modules_of(folder, name)[0].get("path") or "")
    if not (place / "config.json").is_file() or "model_type" not in json_object(place / "config.json"):
        return  # Static embeddings, whose weights are loaded strictly.
    _, report = transformers.AutoModel.from_pretrained(
        str(place), trust_remote_code=False, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(UNUSED))
    if missing:
        raise ModelError(
            "The weights of {model} lack {count:,} tensors that its config.json describes, such as {first}: they would "
            "be random numbers. Get the files again, or choose another model.",
            model=name,
            count=len(missing),
            first=missing[0],
        )


class SentenceEncoder:
    """A loaded model of sentence-transformers; see `backends.embedding.Embedder`.

    Args:
        spec: the model as it was requested.
        model: a `SentenceTransformer` in evaluation mode.
        commit: which weights they are.

    Raises:
        ModelError: its tokenizer does not tell how long a text is.
    """

    def __init__(self, spec: ModelSpec, model: Any, commit: str) -> None:
        self._model: Any = model
        self._name = spec.id
        self._tokenizer = model.tokenizer
        self._static = not callable(self._tokenizer)
        """Whether it is a bare tokenizer of the tokenizers package, as static embeddings have."""
        if self._static and not hasattr(self._tokenizer, "encode_batch"):
            raise ModelError(
                "{model} has a tokenizer that does not tell how long a text is: one that is too long would be cut. "
                "Choose another model.",
                model=spec.id,
            )
        self._uncut = self._without_truncation() if self._static else None
        self._limit = self._max_tokens()
        self.info = ModelInfo(
            name=spec.id,
            commit=commit,
            dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
            device=str(model.device),
            context_length=self._limit,
            bos="",
            adds_bos=False,
            eos="",
            has_chat_template=False,
            memory_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
            engine=f"sentence-transformers ({_modules(model)}); one text at a time",
        )

    def check(self) -> None:
        """Embed two short texts.

        Raises:
            ModelError: the vectors are none, not finite, or the same for both.
        """
        first, second = self.embed(["海辺で犬が走っている。", "A train stops at the station."], "")
        for each in (first, second):
            if isinstance(each, RunError) or each.vector is None or each.vector.ndim != 1:
                raise ModelError("{model} gives no vector for a short text. Choose another model.", model=self._name)
        assert isinstance(first, Embedding) and isinstance(second, Embedding)
        if first.vector is not None and second.vector is not None and (first.vector == second.vector).all():
            raise ModelError(
                "{model} gives the same vector for different texts. Get its files again, or choose another model.",
                model=self._name,
            )

    items_at_once = 1

    def embed(
        self, texts: Sequence[str], prefix: str, should_stop: Callable[[], bool] = lambda: False
    ) -> list[Embedding | RunError]:
        """The vector of each text with the prefix before it, as the model's own pooling takes the prefix."""
        return [self._embed(text, prefix) for text in texts]

    def _embed(self, text: str, prefix: str) -> Embedding | RunError:
        tokens, fits = self._length(text, prefix)
        if not tokens:
            return NO_TOKENS
        if not fits:
            return Embedding(None, tokens)
        try:
            # An empty prompt, not none: none would be the model's default one.
            vector = self._model.encode(
                [text], prompt=prefix, batch_size=1, show_progress_bar=False, convert_to_tensor=True
            )
        except Exception as e:  # Of any kind: of the model's own modules.
            if is_out_of_memory(e):
                raise not_enough_memory(self._name, quantized=True) from e
            raise ModelError(
                "{name} failed while it embedded ({error}: {reason}). Try another dtype or device, or choose another "
                "model.",
                name=self._name,
                error=type(e).__name__,
                reason=first_line(e),
            ) from e
        return Embedding(as_vector(vector[0].double().cpu().numpy()), tokens)

    def _length(self, text: str, prefix: str) -> tuple[int, bool]:
        """Tokens of a text with its prefix and special tokens, and whether all of them reach the model."""
        if self._uncut is not None:
            count = len(self._uncut.encode(prefix + text, add_special_tokens=False).ids)
            return count, self._limit is None or count <= self._limit
        whole = prefix + text
        if getattr(self._model[0], "do_lower_case", False):
            whole = whole.lower()
        count = len(self._tokenizer(whole, truncation=False, verbose=False)["input_ids"])
        features = self._model.preprocess([text], prompt=prefix or None)
        mask = features.get("attention_mask")
        reached = int(mask.sum()) if mask is not None else int(features["input_ids"].shape[-1])
        if self._limit is None:
            return max(count, reached), True
        # Filled to the limit by other tokens than the text's own (a template): what is missing cannot be told.
        cut = count > self._limit or (reached >= self._limit and reached != count)
        return max(count, reached), not cut

    def _max_tokens(self) -> int | None:
        if self._static:
            truncation = self._tokenizer.truncation
            return int(truncation["max_length"]) if truncation else None
        limit = self._model.max_seq_length
        return int(limit) if limit is not None and limit < UNLIMITED else None

    def _without_truncation(self) -> Any:
        tokenizer = type(self._tokenizer).from_str(self._tokenizer.to_str())
        tokenizer.no_truncation()
        return tokenizer

    def close(self) -> None:
        """Drop the weights."""
        self._model = self._tokenizer = None
        release_unused()


def _modules(model: Any) -> str:
    """The model's modules in order, such as `Transformer, Pooling mean, Normalize`."""
    names = []
    for module in model:
        pooling = getattr(module, "pooling_mode", None) or getattr(module, "get_pooling_mode_str", lambda: "")()
        names.append(" ".join(filter(None, (type(module).__name__, str(pooling or "")))))
    return ", ".join(names)
