"""Text → token ids exactly as models get them, for both engines and for the prompt linter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jglue_app.backends.hf.tokenization.tokenizer_check import (
    name_of,
    reference_of,
    require_same_ids,
    source_of,
)
from jglue_app.errors import ModelError, first_line
from jglue_app.types import Prompt

_SHORT_TEXTS = ("a", "あ", "1\n2")
"""Texts to which tokenizers add their special tokens; one of them is in every vocabulary."""

_SAMPLE = "前提：男性が自転車に乗っている。\n仮説：女性が本を読んでいる。\n\n関係：中立（ABC 123）"


class Encoder:
    """Turns prompts and answers into the ids of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._has_reference = reference_of(tokenizer) is not None
        self.bos, self.suffix = self._added_ids()
        """Ids that the tokenizer adds before and after every text: one BOS, or others such as `[gMASK]<sop>`."""

    @property
    def adds_bos(self) -> bool:
        """Whether the token that is named BOS is among those added before a text."""
        return self._tokenizer.bos_token_id is not None and self._tokenizer.bos_token_id in self.bos

    def _added_ids(self) -> tuple[list[int], list[int]]:
        """Ids added before and after every text; empty where a tokenizer adds them to some texts only."""
        before: list[list[int]] = []
        after: list[list[int]] = []
        for text in _SHORT_TEXTS:
            bare = token_ids(self._tokenizer, text)
            whole = token_ids(self._tokenizer, text, special=True)
            starts = [k for k in range(len(whole) - len(bare) + 1) if whole[k : k + len(bare)] == bare]
            if not bare or not starts:
                continue
            before.append(whole[: starts[0]])
            after.append(whole[starts[0] + len(bare) :])
        return _if_equal(before), _if_equal(after)

    def encode(self, text: str, *, has_special: bool) -> list[int]:
        """Token ids of an input, with the ids that the tokenizer adds before a text exactly once.

        A rendered chat template already contains them. What some tokenizers add after a text (EOS, `[SEP]`) is left
        out: the answer follows.

        Raises:
            ModelError: the tokenizer raised an error, or the ids are not those of the file that it is compared with.
        """
        ids = token_ids(self._tokenizer, text)
        if self._has_reference:
            require_same_ids(self._tokenizer, text, ids)
        return ids if has_special else self.bos + ids

    def encode_answer(self, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
        """Token ids of (context, answer), tokenized together and split at the context's length.

        White space at the end of the prompt goes to the answer, as in lm-eval. When a token spans the boundary,
        the answer keeps at least its last token. Either side may be empty: then there is no score.
        """
        text = prompt.text.rstrip()
        answer_text = prompt.text[len(text) :] + prompt.lead + answer
        is_chat = prompt.messages is not None
        context = self.encode(text, has_special=is_chat)
        whole = self.encode(text + answer_text, has_special=is_chat)
        if not answer or whole == context:
            return context, []
        split = min(len(context), len(whole) - 1)
        return whole[:split], whole[split:]


def token_ids(tokenizer: Any, text: str, *, special: bool = False) -> list[int]:
    """Token ids of a text, with the special tokens that the tokenizer adds if `special`.

    Raises:
        ModelError: the tokenizer raised an error, as it does with a limit that is no number, or with a vocabulary that
            lacks the unknown token. Neither need show when it is loaded.
    """
    try:
        return list((tokenizer(text) if special else tokenizer(text, add_special_tokens=False))["input_ids"])
    except MemoryError:
        raise
    except Exception as e:  # Of transformers or tokenizers: of any kind.
        raise ModelError(
            "The tokenizer of {name} cannot encode the text {text!r} ({reason}). Its files do not fit together: "
            "download them again, or choose another repository of this model.",
            name=name_of(tokenizer),
            text=text[:40],
            reason=first_line(e),
        ) from e


def _if_equal(sequences: list[list[int]]) -> list[int]:
    """The first of several sequences if all are equal to it, else an empty one."""
    return sequences[0] if sequences and all(ids == sequences[0] for ids in sequences) else []


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What the manifest records of a tokenizer; see `types.ModelInfo`."""

    source: str
    adds_bos: bool
    prefix: str
    round_trip: bool
    unknown: float


def tokenizer_facts(tokenizer: Any) -> TokenizerFacts:
    """What a tokenizer adds before texts, and how it encodes a fixed Japanese text."""
    encoder = Encoder(tokenizer)
    ids = token_ids(tokenizer, _SAMPLE)
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    unknown = sum(i == tokenizer.unk_token_id for i in ids) / len(ids) if ids else 1.0
    prefix = tokenizer.decode(encoder.bos, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return TokenizerFacts(source_of(tokenizer), encoder.adds_bos, str(prefix), text == _SAMPLE, unknown)
