"""Text → token ids exactly as models are given them, for scoring and for the prompt linter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jglue_app.backends.hf.tokenization.tokenizer_loading import reference_of, require_same, source_of
from jglue_app.types import Prompt

_SHORT = ("a", "あ", "1\n2")
"""What tokenizers are asked to put their tokens around; one of these is in every vocabulary."""

_PLAIN = "前提：男性が自転車に乗っている。\n仮説：女性が本を読んでいる。\n\n関係：中立（ABC 123）"


class Encoder:
    """How one tokenizer turns prompts and answers into ids."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._checked = reference_of(tokenizer) is not None
        self.bos, self.suffix = self._around()
        """Ids that the tokenizer puts before and after a text by itself: one BOS, or others such as `[gMASK]<sop>`."""

    @property
    def adds_bos(self) -> bool:
        """Whether the token that is named BOS is among those put before a text."""
        return self._tokenizer.bos_token_id is not None and self._tokenizer.bos_token_id in self.bos

    def _around(self) -> tuple[list[int], list[int]]:
        """What stands before and after every text. A tokenizer that does so with some texts only has nothing there."""
        before: list[list[int]] = []
        after: list[list[int]] = []
        for text in _SHORT:
            bare = list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
            whole = list(self._tokenizer(text)["input_ids"])
            places = [k for k in range(len(whole) - len(bare) + 1) if whole[k : k + len(bare)] == bare]
            if not bare or not places:
                continue
            before.append(whole[: places[0]])
            after.append(whole[places[0] + len(bare) :])
        same = [found[0] if found and all(f == found[0] for f in found) else [] for found in (before, after)]
        return same[0], same[1]

    def encode(self, text: str, *, has_special: bool) -> list[int]:
        """Token ids of an input, with what the tokenizer puts before a text exactly once.

        A rendered chat template already holds its own. What some tokenizers put after a text (EOS, `[SEP]`) is never
        wanted: the answer follows.

        Raises:
            ModelError: these are not the ids by the file that the tokenizer is compared with.
        """
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        if self._checked:
            require_same(self._tokenizer, text, ids)
        return ids if has_special else self.bos + ids

    def encode_answer(self, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
        """Token ids of (context, answer), tokenized together and split at the context's length.

        White space at the end of the prompt goes to the answer, as in lm-eval. When the border merges into one
        token, the answer keeps at least its last token. Either side may turn out empty: then there is no score.
        """
        text = prompt.text.rstrip()
        tail = prompt.text[len(text) :] + prompt.lead + answer
        chat = prompt.messages is not None
        context = self.encode(text, has_special=chat)
        whole = self.encode(text + tail, has_special=chat)
        if not answer or whole == context:
            return context, []
        split = min(len(context), len(whole) - 1)
        return whole[:split], whole[split:]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the manifest tells of a tokenizer."""

    source: str
    adds_bos: bool
    prefix: str
    round_trip: bool
    unknown: float


def facts_of(tokenizer: Any) -> Facts:
    """What a tokenizer puts before texts, and how a fixed Japanese text fares in it."""
    encoder = Encoder(tokenizer)
    ids = tokenizer(_PLAIN, add_special_tokens=False)["input_ids"]
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    unknown = sum(i == tokenizer.unk_token_id for i in ids) / len(ids) if ids else 1.0
    prefix = tokenizer.decode(encoder.bos, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return Facts(source_of(tokenizer), encoder.adds_bos, str(prefix), text == _PLAIN, unknown)
