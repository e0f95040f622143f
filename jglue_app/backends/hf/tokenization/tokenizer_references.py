"""Tokenizers built from a vocabulary and documented rules, for files that do not hold the rules.

`vocab.json` with `merges.txt`, `vocab.txt`, `tekken.json` and tiktoken files leave open how text is divided before it
is looked up. What transformers makes of them is compared with these references.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, normalizers, pre_tokenizers, processors

from jglue_app.backends.hf.tokenization.tokenizer_check import Ids, TokenizerSource, differs_from_file
from jglue_app.backends.hf.tokenization.tokenizer_repository import TokenizerRepository, is_tiktoken
from jglue_app.messages import Message

_GPT2_RULES = (
    "GPT2Tokenizer", "CodeGenTokenizer", "RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer",
    "BlenderbotTokenizer", "GPTNeoXTokenizer", "PhiTokenizer",
)  # fmt: skip  # fmt: skip
_BERT_RULES = ("BertTokenizer", "ElectraTokenizer", "DistilBertTokenizer")
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def build_reference(repository: TokenizerRepository) -> tuple[str, Any, Ids | None]:
    """The reference of a repository.

    Returns:
        The name of its file, empty if no rules are known for it; a tokenizer of the library tokenizers, None if it
        cannot be built; and text → ids, None if the rules are not known.
    """
    raw: Any = None
    source = ""
    if "vocab.json" in repository.files and "merges.txt" in repository.files:
        if repository.class_name in _GPT2_RULES:
            raw = _byte_level(repository, None)
        elif repository.class_name == "Qwen2Tokenizer":
            raw = _byte_level(repository, _QWEN2_SPLIT)
        source = "vocab.json with merges.txt" if raw is not None else ""
    elif "vocab.txt" in repository.files and repository.class_name in _BERT_RULES:
        raw, source = _bert_word_pieces(repository), "vocab.txt"
    elif "tekken.json" in repository.files:
        return "tekken.json", None, _tekken(repository.files["tekken.json"])
    elif (file := next((f for f in repository.files.values() if is_tiktoken(f)), None)) is not None:
        is_llama3 = repository.model.get("model_type") == "llama" and file.suffix == ".model"
        return file.name, None, _tiktoken(file, _LLAMA3_SPLIT) if is_llama3 else None
    if raw is None:
        return source, None, None
    return source, raw, lambda text: list(raw.encode(text, add_special_tokens=False).ids)


def with_added_tokens(reference: Ids, tokenizer: Any) -> tuple[Ids, tuple[str, ...]]:
    """The reference with a tokenizer's added tokens, and the tokens that cannot be added to it."""
    added = {str(token): (i, token) for i, token in tokenizer.added_tokens_decoder.items() if str(token)}
    unsupported = tuple(text for text, (_, token) in added.items() if token.lstrip or token.rstrip or token.single_word)
    plain = {text: i for text, (i, _) in added.items() if text not in unsupported}
    if not plain:
        return reference, unsupported
    pattern = re.compile("(" + "|".join(map(re.escape, sorted(plain, key=len, reverse=True))) + ")")

    def ids(text: str) -> list[int]:
        out: list[int] = []
        for part in pattern.split(text):
            if part:
                out += [plain[part]] if part in plain else reference(part)
        return out

    return ids, unsupported


def replace_backend(tokenizer: Any, raw: Any, source: TokenizerSource) -> Any:
    """Give a fast tokenizer of transformers the reference as its backend; raises ModelError if added tokens move."""
    added = sorted(tokenizer.added_tokens_decoder.items())
    raw.add_tokens([token for _, token in added])
    moved = [str(token) for id_, token in added if raw.token_to_id(str(token)) != id_]
    if moved:
        clause = Message("the token {token} has another id", token=moved[0])
        raise differs_from_file(source.name, source.files, clause)
    raw.post_processor = tokenizer.backend_tokenizer.post_processor
    tokenizer._tokenizer = raw
    return tokenizer


def _byte_level(repository: TokenizerRepository, split: str | None) -> Any:
    """Byte-level BPE by the rules of GPT-2, or with a split pattern by those of Qwen 2."""
    files = (str(repository.files["vocab.json"]), str(repository.files["merges.txt"]))
    raw = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(*files))
    prefix_space = bool(repository.settings.get("add_prefix_space"))
    if split is None:
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    else:
        raw.normalizer = normalizers.NFC()
        isolated = pre_tokenizers.Split(tokenizers.Regex(split), "isolated")
        raw.pre_tokenizer = pre_tokenizers.Sequence([isolated, pre_tokenizers.ByteLevel(prefix_space, use_regex=False)])
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.ByteLevel(trim_offsets=False)
    return raw


def _bert_word_pieces(repository: TokenizerRepository) -> Any:
    """BERT's word pieces by its settings."""
    settings = repository.settings
    raw = tokenizers.BertWordPieceTokenizer(
        str(repository.files["vocab.txt"]),
        lowercase=bool(settings.get("do_lower_case", True)),
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
    )
    return raw._tokenizer


def _tiktoken(file: Path, pattern: str) -> Ids:
    """Lines of `base64 rank`, run by tiktoken."""
    import tiktoken

    rows = (line.split() for line in file.read_bytes().splitlines() if line.strip())
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    encoding = tiktoken.Encoding(file.name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: encoding.encode(text, disallowed_special=())


def _tekken(file: Path) -> Ids:
    """Mistral's file, run by tiktoken: its special tokens come first, and it holds its own pattern."""
    import tiktoken

    table = json.loads(file.read_text("utf-8"))
    settings = table["config"]
    special_tokens = settings.get("default_num_special_tokens") or len(table.get("special_tokens") or [])
    rows = table["vocab"]
    if settings.get("default_vocab_size"):
        rows = rows[: settings["default_vocab_size"] - special_tokens]
    ranks = {base64.b64decode(row["token_bytes"]): rank for rank, row in enumerate(rows)}
    encoding = tiktoken.Encoding(file.name, pat_str=settings["pattern"], mergeable_ranks=ranks, special_tokens={})
    return lambda text: [id_ + special_tokens for id_ in encoding.encode(text, disallowed_special=())]
