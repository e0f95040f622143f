"""A repository's tokenizer as its own files define it.

transformers 5 builds most tokenizers itself, from the vocabulary of the repository's file and rules of its own class.
Where the rules differ from those in the file, text becomes other ids than the model was trained with, without
a warning. Therefore the file decides here, in this order:

1. `tokenizer.json` is read by the library that defines the format, tokenizers. It comes before a sentencepiece model
   of the same repository: it is the later conversion, its author's word on how the model is to be used, and what every
   program with fast tokenizers reads. Where the two disagree, that is noted in the tokenizer's source.
2. A sentencepiece model (`spiece.model`, `tokenizer.model`, …) is run by sentencepiece itself, with the options that
   it was trained with.
3. `vocab.json` with `merges.txt`, `vocab.txt`, `tekken.json` and tiktoken files leave rules open that the class or a
   pattern holds. A reference is built from file and documented rules; what transformers makes is compared with it on a
   fixed text when it is loaded, and on every prompt. Where it differs, the reference is used, or the model is refused.
4. Tokenizers that are code of transformers alone are taken as they are.

Tokens named in `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` come on top of each file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from jglue_app.backends.hf.tokenization.sentencepiece_tokenizer import (
    FAIRSEQ,
    UNSHIFTED,
    Layout,
    SentencePieceTokenizer,
)
from jglue_app.backends.hf.tokenization.tokenizer_check import (
    SAMPLE_TEXTS,
    TokenizerSource,
    differs_from_file,
    first_difference,
    set_source,
)
from jglue_app.backends.hf.tokenization.tokenizer_references import build_reference, replace_backend, with_added_tokens
from jglue_app.backends.hf.tokenization.tokenizer_repository import (
    SETTINGS_FILES,
    TokenizerRepository,
    class_defaults,
    open_repository,
    sentencepiece_file,
)
from jglue_app.errors import ModelError, first_line
from jglue_app.messages import Message

_HEADER_BYTES = 2**22
"""Bytes at the beginning of a tokenizer.json that usually hold everything but the vocabulary."""
# Of these, transformers 4 took `add_bos_token` and `add_eos_token` from the settings, whatever their tokenizer.json
# said; transformers 5 drops them. DeepSeek's tokenizers rely on it.
_CLASSES_WITH_BOS_EOS_SETTINGS = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer")
_SAMPLING_OPTIONS = ("enable_sampling", "alpha", "nbest_size")
"""Options with which sentencepiece divides the same text differently each time, for training."""


def load_tokenizer(name: str, location: Mapping[str, Any]) -> Any:
    """The tokenizer of a repository, with the ids of the repository's own files.

    Args:
        name: of the model, for messages.
        location: arguments of `from_pretrained`: folder or Hub id, revision, token.

    Raises:
        ModelError: the files say one thing, transformers another, and the files cannot be used alone.
        Exception: of any kind, from transformers, tokenizers or the network, when it cannot be loaded.
    """
    repository = open_repository(location)
    _reject_repository_code(name, repository)
    if "tokenizer.json" in repository.files:
        tokenizer, source = _load_json(name, repository)
    elif (file := sentencepiece_file(repository)) is not None:
        tokenizer, source = _load_sentencepiece(name, repository, file)
    else:
        file = repository.first(name for name in repository.files if name not in (*SETTINGS_FILES, "config.json"))
        tokenizer, source = _compare_with_reference(name, repository, _build_by_class(name, repository, file))
    if not hasattr(tokenizer, "__dict__"):  # Not of transformers.
        return tokenizer
    if dropout := disable_dropout(getattr(tokenizer, "backend_tokenizer", None)):
        source.files += f", without its dropout of {dropout:.3g}"
    _require_deterministic(name, tokenizer)
    set_source(tokenizer, source)
    return tokenizer


def disable_dropout(raw: Any) -> float:
    """Switch off the dropout of a tokenizer of the library tokenizers, which is for training.

    Returns:
        What it was; 0 if it had none.
    """
    dropout = getattr(getattr(raw, "model", None), "dropout", None)
    if dropout is None:
        return 0.0
    raw.model.dropout = None
    return float(dropout)


def _without_sampling(repository: TokenizerRepository) -> dict[str, Any]:
    """Arguments with which the classes of transformers that run sentencepiece do not sample."""
    options = repository.settings.get("sp_model_kwargs")
    if not isinstance(options, dict) or not set(options) & set(_SAMPLING_OPTIONS):
        return {}
    return {"sp_model_kwargs": {key: value for key, value in options.items() if key not in _SAMPLING_OPTIONS}}


def _require_deterministic(name: str, tokenizer: Any) -> None:
    """Raise ModelError if the sample texts do not become the same ids twice."""
    for text in SAMPLE_TEXTS:
        try:
            first, second = (list(tokenizer(text, add_special_tokens=False)["input_ids"]) for _ in range(2))
        except Exception:  # A vocabulary without an unknown token; other texts may work.
            continue
        if first != second:
            raise ModelError(
                "The tokenizer of {name} gives the same text other tokens each time, so no score "
                "could be repeated. Choose a repository whose tokenizer does not sample.",
                name=name,
            )


def _reject_repository_code(name: str, repository: TokenizerRepository) -> None:
    """Reject a tokenizer class that is code of the repository: what it does besides its files is not known."""
    table = repository.settings.get("auto_map")
    code = table.get("AutoTokenizer") if isinstance(table, dict) else table
    if code and (not repository.class_name or tokenizer_class_from_name(repository.class_name) is None):
        raise ModelError(
            "{name} needs to run code from its repository, which this application never does. "
            "Choose a model that transformers supports by itself.",
            name=name,
        )


# --- tokenizer.json -------------------------------------------------------------------------------------


def _load_json(name: str, repository: TokenizerRepository) -> tuple[Any, TokenizerSource]:
    """The file as tokenizers reads it, without the class of transformers that would rebuild it."""
    file = repository.files["tokenizer.json"]
    with file.open("rb") as opened:
        sections = _sections_before_model(opened.read(_HEADER_BYTES).decode("utf-8", "ignore"))
    # Read once: the class that every other fast one is made from takes the file as it is.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(**repository.location, **_added_tokens(repository, sections))
    vocabulary = tokenizer.backend_tokenizer.token_to_id
    for key, text in class_defaults(repository, lambda text: vocabulary(text) is not None).items():
        tokenizer.add_special_tokens({key: text})
    _apply_bos_eos_settings(tokenizer, repository)
    dropout = disable_dropout(tokenizer.backend_tokenizer)
    source = TokenizerSource(name, "tokenizer.json" + (f", without its dropout of {dropout:.3g}" if dropout else ""))
    backend = tokenizer.backend_tokenizer
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if sections is None or part in sections:
            component = getattr(backend, part)
            state = json.loads(component.__getstate__()) if component is not None else None
            if sections is None or state != sections[part]:
                _require_equal_on_sample(tokenizer, file, source)
                break
    if (other := sentencepiece_file(repository)) is not None:
        source.disputed = other.name if _sentencepiece_differs(tokenizer, repository, other) else ""
    return tokenizer, source


def _sections_before_model(text: str) -> dict[str, Any] | None:
    """What a tokenizer.json holds before its vocabulary; None if the vocabulary is not at its end.

    A vocabulary of 262,144 tokens takes a second to parse; what comes before it, milliseconds.
    """
    decoder = json.JSONDecoder()
    key_pattern = re.compile(r'[\s,{]*"(\w+)"\s*:\s*')
    sections: dict[str, Any] = {}
    position = 0
    while (key := key_pattern.match(text, position)) and key[1] != "model":
        try:
            sections[key[1]], position = decoder.raw_decode(text, key.end())
        except ValueError:
            return None
    return sections if {"normalizer", "pre_tokenizer", "decoder"} <= set(sections) else None


def _added_tokens(repository: TokenizerRepository, sections: Mapping[str, Any] | None) -> dict[str, Any]:
    """The argument of `from_pretrained` without which it parses a tokenizer.json a second time for its added tokens,
    vocabulary and all; empty where other files name such tokens, or these are not before the vocabulary.

    Args:
        repository: of the tokenizer.
        sections: of `_sections_before_model`.
    """
    listed = (sections or {}).get("added_tokens")
    others = {"added_tokens.json", "special_tokens_map.json"} & set(repository.files)
    if "added_tokens_decoder" in repository.settings or others or not isinstance(listed, list):
        return {}
    try:
        tokens = {entry["id"]: {key: value for key, value in entry.items() if key != "id"} for entry in listed}
    except (AttributeError, KeyError, TypeError):  # Not such a list; transformers has a word for it.
        return {}
    return {"added_tokens_decoder": tokens}


def _require_equal_on_sample(tokenizer: Any, file: Path, source: TokenizerSource) -> None:
    """Compare with the file read a second time, on the sample texts; raises ModelError where they differ."""
    raw = tokenizers.Tokenizer.from_file(str(file))
    disable_dropout(raw)
    raw.add_tokens([token for _, token in sorted(tokenizer.added_tokens_decoder.items())])
    source.reference = lambda text: list(raw.encode(text, add_special_tokens=False).ids)
    if clause := first_difference(tokenizer, SAMPLE_TEXTS, source):
        raise differs_from_file(source.name, source.files, clause)
    source.reference = None


def _apply_bos_eos_settings(tokenizer: Any, repository: TokenizerRepository) -> None:
    """Add BOS and EOS as the settings say, for the classes whose settings decide that."""
    if repository.class_name not in _CLASSES_WITH_BOS_EOS_SETTINGS:
        return
    whole, bare = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    current = (
        bos is not None and whole[: len(whole) - len(bare)][:1] == [bos],
        eos is not None and whole[-len(bare) :] != bare and whole[-1:] == [eos],
    )
    settings = (repository.settings.get("add_bos_token"), repository.settings.get("add_eos_token"))
    # What the settings do not name is not changed.
    requested = tuple(
        flag if isinstance(flag, bool) and id_ is not None else is_
        for flag, id_, is_ in zip(settings, (bos, eos), current, strict=True)
    )
    if requested != current:
        # Both at once: setting one rebuilds the whole rule.
        tokenizer._add_bos_token, tokenizer._add_eos_token = requested
        tokenizer.update_post_processor()


def _sentencepiece_differs(tokenizer: Any, repository: TokenizerRepository, file: Path) -> bool:
    """Whether the sentencepiece model of a repository with a tokenizer.json gives other ids."""
    try:
        sentencepiece = SentencePieceTokenizer(str(file), layout=_layout(repository))
    except Exception:  # A tiktoken file, or another kind of model.
        return False
    return any(
        sentencepiece.ids_of(text) != tokenizer(text, add_special_tokens=False)["input_ids"] for text in SAMPLE_TEXTS
    )


# --- sentencepiece --------------------------------------------------------------------------------------


def _load_sentencepiece(name: str, repository: TokenizerRepository, file: Path) -> tuple[Any, TokenizerSource]:
    layout = _layout(repository)
    if layout is UNSHIFTED and _changes_sentencepiece(repository.class_name):
        tokenizer = _build_by_class(name, repository, file)
        source = TokenizerSource(name, file.name)
        if not getattr(tokenizer, "is_fast", False):  # Runs sentencepiece itself, as GPT-SW3's does.
            source.files += f" (class {type(tokenizer).__name__})"
            return tokenizer, source
        sentencepiece = SentencePieceTokenizer(str(file), layout=UNSHIFTED)
        unknown = tokenizer.unk_token or ""
        vocabulary = tokenizer.get_vocab()
        source.reference = lambda text: [
            vocabulary.get(piece, vocabulary.get(unknown, -1))
            for piece in sentencepiece.model.encode(text, out_type=str)
        ]
        source.skip = tuple(str(token) for token in tokenizer.added_tokens_decoder.values())
        if clause := first_difference(tokenizer, SAMPLE_TEXTS, source):
            raise differs_from_file(name, file.name, clause)
        return tokenizer, source
    tokenizer = SentencePieceTokenizer.from_pretrained(
        **repository.location,
        model_file=str(file),
        layout=layout,
        class_name=repository.class_name,
        **_default_tokens(repository, file),
    )
    remark = "sentencepiece, no dummy prefix by add_prefix_space" if tokenizer.drops_prefix else "sentencepiece"
    return tokenizer, TokenizerSource(name, f"{file.name} ({remark})")


def _layout(repository: TokenizerRepository) -> Layout:
    return FAIRSEQ if repository.class_name in FAIRSEQ.classes else UNSHIFTED


def _default_tokens(repository: TokenizerRepository, file: Path) -> dict[str, str]:
    pieces = SentencePieceTokenizer(str(file)).get_vocab()
    return class_defaults(repository, pieces.__contains__)


def _changes_sentencepiece(class_name: str) -> bool:
    """Whether a class does more with a sentencepiece model than run it, such as folding accents or moving ids."""
    if class_name in UNSHIFTED.classes or not class_name:
        return False
    class_ = tokenizer_class_from_name(class_name)
    names = getattr(class_, "vocab_files_names", {}) if class_ is not None else {}
    return any(str(name).endswith((".model", ".spm")) for name in names.values())


# --- what the class of transformers builds ----------------------------------------------------------------


def _build_by_class(name: str, repository: TokenizerRepository, file: Path | None) -> Any:
    """The tokenizer that the class named by the repository builds from a vocabulary, tried on one text.

    Raises:
        ModelError: the class cannot build it.
        Exception: of any kind, where there is no such file, or it cannot be fetched.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(**repository.location, **_without_sampling(repository))
        if file is not None:
            tokenizer(SAMPLE_TEXTS[0])
    except ImportError as e:
        raise ModelError(
            "{name} has a tokenizer of the class {class_name}, which needs a package that is not "
            "installed ({reason}). Install it, or choose a repository of this model that holds a "
            "tokenizer.json.",
            name=name,
            class_name=repository.class_name,
            reason=first_line(e),
        ) from e
    except Exception as e:  # Of any kind, from a converter that expects other models.
        is_folder = Path(str(repository.location["pretrained_model_name_or_path"])).is_dir()
        if file is None or (isinstance(e, OSError) and not is_folder):
            raise
        raise ModelError(
            "transformers cannot make the {class_name} of {name} from its file {file}. Choose a "
            "repository of this model that holds a tokenizer.json.",
            class_name=repository.class_name or Message("tokenizer"),
            name=name,
            file=file.name,
        ) from e
    return tokenizer


def _compare_with_reference(name: str, repository: TokenizerRepository, tokenizer: Any) -> tuple[Any, TokenizerSource]:
    """A tokenizer of transformers compared with a reference, which takes its place where they differ."""
    file_name, raw, reference = build_reference(repository)
    source = TokenizerSource(name, file_name or f"class {type(tokenizer).__name__}", reference)
    if reference is None:
        if file_name:
            raise ModelError(
                "The file {file} of {name} does not say how text is cut before it is looked up, "
                "and its model type is none whose rule is known. Choose a repository of this model "
                "that holds a tokenizer.json.",
                file=file_name,
                name=name,
            )
        return tokenizer, source
    source.reference, source.skip = with_added_tokens(reference, tokenizer)
    clause = first_difference(tokenizer, SAMPLE_TEXTS, source)
    if not clause:
        return tokenizer, source
    if raw is None or not getattr(tokenizer, "is_fast", False):
        raise differs_from_file(name, file_name, clause)
    return replace_backend(tokenizer, raw, source), TokenizerSource(name, file_name)
