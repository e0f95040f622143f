"""The tokenizer of a GGUF file as the file defines it, where transformers makes another one of it.

A file names the rule by which text is cut before merges are applied (`tokenizer.ggml.pre`) and has no tokenizer.json.
transformers cuts by the rule of GPT-2 where it does not know the name, puts a space before every text whatever the file
says, merges the pieces of unigram models as if they were those of byte-pair encoding, and takes special tokens with
signs outside the byte-level alphabet apart. The rules below are those of llama.cpp, by which such files are made and
run; the pieces of unigram models are divided as sentencepiece divides them, with which the models were trained.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, normalizers, pre_tokenizers

from jglue_app.backends.hf.checkpoint.gguf_header import Header, number_list, text_list
from jglue_app.errors import ModelError
from jglue_app.messages import Message

_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_GPT2, _DIGITS = "", "digits"
"""Rules that the library tokenizers has: that of GPT-2, alone or with every digit apart."""
_QWEN2 = rf"{_ENDINGS}|{_LEAD}\p{{L}}+|\p{{N}}|{_SIGNS}|{_SPACES}"
_LLAMA3 = rf"{_ENDINGS}|{_LEAD}\p{{L}}+|\p{{N}}{{1,3}}|{_SIGNS}|{_SPACES}"
_QWEN35 = rf"{_ENDINGS}|{_LEAD}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}"
_TEKKEN = rf"{_LEAD}{_UPPER}*{_LOWER}+|{_LEAD}{_UPPER}+{_LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
_GPT4O = (
    rf"{_LEAD}{_UPPER}*{_LOWER}+{_ENDINGS}?|{_LEAD}{_UPPER}+{_LOWER}*{_ENDINGS}?|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
)
RULES: Mapping[str, str] = {
    **dict.fromkeys(("gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "mpt", "olmo", "jais", "exaone4"), _GPT2),
    **dict.fromkeys(("trillion", "granite-docling"), _GPT2),
    **dict.fromkeys(("starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"), _DIGITS),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "solar-open", "megrez", "kormo"), _QWEN2),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0"), _LLAMA3),
    **dict.fromkeys(("lfm2", "dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), _LLAMA3),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2"), _GPT4O),
    "qwen35": _QWEN35,
    "tekken": _TEKKEN,
}
"""Name of a rule in GGUF files → the pattern by which text is cut."""
_WHOLE_WORDS = ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "tekken")
"""Rules with which a word that is a token is not merged from parts, and BOS is added unless the file says otherwise."""
_COMPOSED = ("qwen2", "qwen35", "stablelm2", "command-r", "olmo", "mpt")
"""Rules of vocabularies for texts whose signs are composed (Unicode's NFC): those of Qwen, StableLM 2, Command R and
GPT-NeoX. No setting of the file tells it."""
_MANY = 100
"""So many pieces that end with kana make a vocabulary one for Japanese."""
_NORMAL, _CONTROL, _USER_DEFINED, _BYTE = 1, 3, 4, 6
"""Types of tokens; the second and the third stand whole in a text."""
_TOKENS, _TYPES, _SCORES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores"
_MERGES = "tokenizer.ggml.merges"
_KIND, _RULE = "tokenizer.ggml.model", "tokenizer.ggml.pre"


def reject_unknown_rule(path: Path, header: Header) -> None:
    """Raise ModelError if a file does not say how its text is divided, or by a rule that is not known here."""
    scores = _scores(path, header)
    if len(scores) > 1 and len(set(scores)) == 1 and _MERGES not in header.lists:
        raise ModelError(
            "{file} gives all of its tokens one score and has no merges, so that it does not say how a word is "
            "divided: other tokens would be scored. Use a safetensors repository of this model.",
            file=path.name,
        )
    if 0 < sum(map(_is_fraction, scores)) <= len(scores) / 2:
        raise ModelError(
            "{file} gives some of its tokens the scores of a unigram model and others those of byte-pair encoding, so "
            "that it does not say how a word is divided: other tokens would be scored. Use a safetensors repository of "
            "this model.",
            file=path.name,
        )
    if scores and _may_be_normalized(path, header):
        raise ModelError(
            "{file} does not say whether full-width letters and digits become half-width ones before they are looked "
            "up, and its vocabulary has none of them: other tokens might be scored. Use a safetensors repository of "
            "this model.",
            file=path.name,
        )
    setting = _KIND
    if (kind := header.text(_KIND)) in ("", "llama"):  # A file without one cannot be read, which is reported then.
        return
    if kind == "gpt2":
        setting, kind = _RULE, header.text(_RULE)
        if kind in RULES:
            return
    raise ModelError(
        "{file} does not say by a rule that is known here how text is cut before it is looked up ({setting}: {rule}): "
        "other tokens would be scored. Use a safetensors repository of this model.",
        file=path.name,
        setting=setting,
        rule=kind or Message("none"),
    )


def correct_tokenizer(tokenizer: Any, path: Path, header: Header) -> None:
    """Make the tokenizer that transformers has read from a file that of the file.

    Args:
        tokenizer: of transformers; changed.
        path: the file.
        header: of the file.
    """
    raw = tokenizer.backend_tokenizer
    if _is_unigram(path, header):
        raw.model = _unigram(path, header)
    if _has_no_prefix(header):
        raw.normalizer = None  # Of some versions of transformers it puts the space there.
        raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=False)
        raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    if _adds_bos_unsaid(header):  # Not so in some versions of transformers.
        tokenizer._add_bos_token = tokenizer.bos_token is not None
        tokenizer.update_post_processor()
    if not _is_byte_level(header):
        return
    name = header.text(_RULE)
    tokens, types = text_list(path, header, _TOKENS), [int(t) for t in number_list(path, header, _TYPES)]
    raw.normalizer = normalizers.NFC() if name in _COMPOSED else None
    raw.pre_tokenizer = _pre_tokenizer(RULES[name])
    raw.model.ignore_merges = name in _WHOLE_WORDS
    whole = {id_: tokens[id_] for id_, type_ in enumerate(types) if type_ in (_CONTROL, _USER_DEFINED)}
    if any(raw.token_to_id(text) != id_ for id_, text in whole.items()):
        tokenizer._tokenizer = _with_whole_tokens(raw, whole, types, len(tokens))
    tokenizer.update_post_processor()


def _is_byte_level(header: Header) -> bool:
    return header.text(_KIND) == "gpt2"


def _adds_bos_unsaid(header: Header) -> bool:
    """Whether BOS is added without a word of the file: for sentencepiece vocabularies and some rules."""
    is_usual = header.text(_KIND) == "llama" or (_is_byte_level(header) and header.text(_RULE) in _WHOLE_WORDS)
    return is_usual and header.settings.get("tokenizer.ggml.add_bos_token") is None


def _has_no_prefix(header: Header) -> bool:
    """Whether a sentencepiece vocabulary is for texts without a space before them; that of Gemma always is."""
    flag = header.settings.get("tokenizer.ggml.add_space_prefix")
    is_sentencepiece = header.text(_KIND) == "llama"
    return is_sentencepiece and flag is False and not header.architecture.startswith("gemma")


def _is_unigram(path: Path, header: Header) -> bool:
    """Whether a sentencepiece vocabulary is that of a unigram model, whose scores are logarithms of probabilities.
    Those of byte-pair encoding are the whole numbers by which merges are ordered."""
    return any(map(_is_fraction, _scores(path, header)))


def _is_fraction(score: float) -> bool:
    return not score.is_integer()


def _may_be_normalized(path: Path, header: Header) -> bool:
    """Whether a vocabulary that was trained on Japanese has no piece that Unicode's NFKC would change, such as 「（」
    and 「：」: then its texts were normalized in training, which no setting of the file tells."""
    types = number_list(path, header, _TYPES)
    pieces = [text for text, type_ in zip(text_list(path, header, _TOKENS), types, strict=False) if type_ == _NORMAL]
    if sum("ぁ" <= text[-1:] <= "ヺ" for text in pieces) < _MANY:
        return False
    return all(unicodedata.is_normalized("NFKC", text) for text in pieces)


def _scores(path: Path, header: Header) -> list[float]:
    """Scores of the pieces of a sentencepiece vocabulary that are text; empty for another, and for Gemma's, whose order
    is not by scores."""
    if header.text(_KIND) != "llama" or header.architecture.startswith("gemma"):
        return []
    pairs = zip(number_list(path, header, _SCORES), number_list(path, header, _TYPES), strict=False)
    return [float(score) for score, type_ in pairs if type_ == _NORMAL]


def _unigram(path: Path, header: Header) -> Any:
    """The model that divides a text into its most probable pieces, as sentencepiece does. Pieces that are no text have
    the least score of those that are."""
    scores, types = number_list(path, header, _SCORES), number_list(path, header, _TYPES)
    least = min(_scores(path, header))
    pieces = [
        (text, score if type_ in (_NORMAL, _USER_DEFINED) else least)
        for text, score, type_ in zip(text_list(path, header, _TOKENS), scores, types, strict=True)
    ]
    unknown = header.settings.get("tokenizer.ggml.unknown_token_id", 0)
    return tokenizers.models.Unigram(pieces, int(unknown), byte_fallback=_BYTE in types)


def _pre_tokenizer(rule: str) -> Any:
    if rule == _GPT2:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if rule == _DIGITS:
        return pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    split = pre_tokenizers.Split(Regex(rule), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _with_whole_tokens(raw: Any, whole: Mapping[int, str], types: list[int], size: int) -> Any:
    """The same tokenizer with some tokens whole and under their own ids, whatever stands there now; without tokens
    beyond the vocabulary."""
    state = json.loads(raw.to_str())
    vocabulary = {text: id_ for text, id_ in state["model"]["vocab"].items() if id_ not in whole}
    state["model"]["vocab"] = vocabulary | {text: id_ for id_, text in whole.items()}
    kept = [token for token in state["added_tokens"] if token["id"] < size and token["id"] not in whole]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    kept += [{"id": id_, "content": text, "special": types[id_] == _CONTROL, **flags} for id_, text in whole.items()]
    state["added_tokens"] = sorted(kept, key=lambda token: token["id"])
    state["post_processor"] = None  # It may name ids that are gone.
    return tokenizers.Tokenizer.from_str(json.dumps(state))
