"""Text → token ids exactly as models are given them, for scoring and for the prompt linter."""

from __future__ import annotations

from typing import Any

from jglue_app.types import Prompt


class Encoder:
    """How one tokenizer turns prompts and answers into ids."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.bos = self._leading_bos()

    def _leading_bos(self) -> list[int]:
        """The BOS the tokenizer would put before a text by itself. An EOS that some add after it is never wanted."""
        bos = self._tokenizer.bos_token_id
        ids = self._tokenizer("a")["input_ids"]
        return [bos] if bos is not None and ids[:1] == [bos] else []

    def encode(self, text: str, *, has_special: bool) -> list[int]:
        """Token ids of an input, with BOS exactly once; a rendered chat template already holds its own."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
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
