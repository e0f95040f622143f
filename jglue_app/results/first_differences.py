"""Where the outputs of two runs first differ, in tokens of a model that either side ran here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jglue_app.backends import Notify, open_tokenizer
from jglue_app.backends.hub_copy import cached_commit
from jglue_app.backends.named_models import named_models
from jglue_app.errors import InputError
from jglue_app.scoring.agreement import common_texts, first_difference
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, RunData, RunSpec, Tokenizer


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """Where the texts of two runs for one item first differ."""

    item_id: str
    character: int
    """How many characters (code points) both begin with: the position, from 0, of the first that differs."""
    token: int
    """How many tokens both begin with: the position, from 0, of the first that differs."""
    token_a: str
    """That token in A; empty where A's text ends there."""
    token_b: str


@dataclass(frozen=True, slots=True)
class FirstDifferences:
    """The items of two runs whose texts differ."""

    tokenizer: str
    """The model whose tokenizer split both texts."""
    tasks: Mapping[str, tuple[FirstDifference, ...]]
    """Subset → its items that differ, in the order of the items; no entry where all are identical."""


def first_differences(a: RunData, b: RunData, settings: Settings, notify: Notify = lambda _: None) -> FirstDifferences:
    """Where the generated texts of two runs differ, for all items that differ.

    Both texts are split anew with one tokenizer, that of A's model if it ran here, else of B's. A model may have
    written the same text in other tokens than a tokenizer splits it into; what is compared is the text.

    Raises:
        InputError: neither side's model ran here, so there is no tokenizer.
        ModelError, NetworkError: the tokenizer cannot be loaded, or the model's files have changed.
    """
    spec = next((run.spec.model for run in (a, b) if run.spec.model.backend == "hf"), None)
    if spec is None:
        raise InputError(
            "First differing tokens need the tokenizer of a model that runs here, and neither run has one. Compare "
            "with a run of the same model through the hf backend."
        )
    tokenizer = open_tokenizer(spec, settings, notify)
    tasks = {
        task: differences
        for task, texts in common_texts(a, b).items()
        if (differences := tuple(_differences(texts, tokenizer)))
    }
    return FirstDifferences(spec.id, tasks)


def _differences(texts: Mapping[str, tuple[str, str]], tokenizer: Tokenizer) -> list[FirstDifference]:
    out = []
    for id_, (text_a, text_b) in texts.items():
        character = first_difference(text_a, text_b)
        if character is None:
            continue
        ids_a, ids_b = tokenizer.encode_text(text_a), tokenizer.encode_text(text_b)
        shorter = min(len(ids_a), len(ids_b))
        token = next((k for k in range(shorter) if ids_a[k] != ids_b[k]), shorter)
        token_a, token_b = ("".join(tokenizer.pieces(ids[token : token + 1])) for ids in (ids_a, ids_b))
        out.append(FirstDifference(id_, character, token, token_a, token_b))
    return out


def is_backend_comparison(a: RunSpec, b: RunSpec) -> bool:
    """Whether two runs put the same prompts to what may be one model, at least one of them here: the same id twice (as
    it is and quantized, in two dtypes), or one of them on a server, where it may have another name."""
    backends = {a.model.backend, b.model.backend}
    if "hf" not in backends or not backends <= {"hf", "openai_api"}:
        return False
    same_prompts = (a.prompt, a.style_sha256) == (b.prompt, b.style_sha256)
    return same_prompts and (len(backends) == 2 or a.model.id == b.model.id)


def has_tokenizer_here(spec: ModelSpec) -> bool:
    """Whether the files of a model are on this machine, so that its tokenizer can be loaded without a download."""
    return spec.backend == "hf" and (
        spec.id in named_models() or Path(spec.id).exists() or cached_commit(spec) is not None
    )
