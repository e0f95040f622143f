"""A deterministic language model in place of a network: every log-probability can be worked out by an independent call.

The scores (logits) of the next token are a hash of all tokens before it, a fixed bias of each token, and a little more
for tokens that stood before: any difference in a prompt changes every later distribution, as with a real model.
"""

from __future__ import annotations

import functools
import hashlib
import math
import random
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
"""Of each token of the vocabulary."""

BOS, EOS, USER, ASSISTANT, SYSTEM, THINK, END_THINK = range(7)
SPECIAL = ("<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>", "<think>", "</think>")
FIRST_BYTE = len(SPECIAL)
FIRST_PIECE = FIRST_BYTE + 256

ANSWERS = ("含意", "中立", "矛", "ポジティブ", "ネガ", "肯", "否", *"012345アイウエオ")
"""Tokens with which an answer begins. `含意` is one token, `矛盾` two, `ネガティブ` five."""
LETTERS = (
    *(chr(code) for code in range(0x3041, 0x3094)),
    *(chr(code) for code in range(0x30A1, 0x30F7)),
    *"ー、。：「」？盾定答質問文前提仮説関係近評価題名章\n 0123456789.",
)
ASCII = tuple(chr(code) for code in range(0x21, 0x7F))
LONGER = ("です", "ます", "質問", "答え", "関係")
PIECES: tuple[str, ...] = tuple(dict.fromkeys((*ANSWERS, *LETTERS, *ASCII, *LONGER)))

SPAN = 8.0
"""Width of the hashed part of a score."""
AGAIN = 0.5
"""Added to the score of a token that stands in the prefix: models repeat what they have read."""
OPENS_ANSWER = ("：", ":", "\n")


@dataclass(frozen=True, slots=True)
class Generation:
    """One continuation."""

    ids: tuple[int, ...]
    """Without the end token."""
    finish: str
    """`stop` or `length`."""
    text: str
    """Cut before a stop string."""
    ended: bool = False
    """Whether an end token was generated, which counts as one."""

    @property
    def tokens(self) -> int:
        """New tokens, the end token among them."""
        return len(self.ids) + self.ended


def _bias(token: int) -> float:
    if token == EOS:
        return 1.0
    if token < FIRST_PIECE:
        return -20.0
    piece = PIECES[token - FIRST_PIECE]
    return -4.0 if piece in ASCII and not piece.isdigit() else 0.0


def _logprobs(scores: Scores) -> Scores:
    return scores - math.log(np.exp(scores).sum())


class LanguageModel:
    """Tokenizer and next-token distribution.

    A text is cut into the longest pieces of the vocabulary from left to right; a character that is in no piece becomes
    its UTF-8 bytes, one token each. Special tokens never come from a text.
    """

    def __init__(self, seed: str = "") -> None:
        self.size = FIRST_PIECE + len(PIECES)
        self._seed = seed.encode()
        self._ids = {piece: FIRST_PIECE + i for i, piece in enumerate(PIECES)}
        self._longest = max(map(len, PIECES))
        self._opening = {ASSISTANT, END_THINK, *(self._ids[piece] for piece in OPENS_ANSWER)}
        usual = np.array([_bias(token) for token in range(self.size)])
        answers = np.zeros(self.size)
        answers[[self._ids[piece] for piece in ANSWERS]] = 9.0
        self._biases = (usual, usual + answers)
        self._weights = tuple(np.exp(biases) for biases in self._biases)
        self._hashed = SPAN * (np.arange(65536) / 65536 - 0.5)
        self._hashed_weights = np.exp(self._hashed)
        # The same prompts are asked for again and again.
        self._scores = functools.lru_cache(2048)(self._work_out)

    # --- tokenizer --------------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens."""
        ids, at = [], 0
        while at < len(text):
            for length in range(min(self._longest, len(text) - at), 0, -1):
                token = self._ids.get(text[at : at + length])
                if token is not None:
                    ids.append(token)
                    at += length
                    break
            else:
                ids += [FIRST_BYTE + byte for byte in text[at].encode("utf-8", "surrogatepass")]
                at += 1
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of some tokens without the special ones; bytes that are no character are U+FFFD."""
        return b"".join(self.token_bytes(token) for token in ids if token >= FIRST_BYTE).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        """UTF-8 of one token."""
        if token < FIRST_BYTE:
            return SPECIAL[token].encode()
        if token < FIRST_PIECE:
            return bytes([token - FIRST_BYTE])
        piece: str = PIECES[token - FIRST_PIECE]
        return piece.encode()

    def token_text(self, token: int) -> str:
        """One token as servers show it: U+FFFD for a byte of a longer character."""
        return self.token_bytes(token).decode("utf-8", "replace")

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, thinks: bool = False) -> list[int]:
        """Ids of a chat in the model's template, with the opening of the answer, or of a thought."""
        roles = {"system": SYSTEM, "developer": SYSTEM, "user": USER, "assistant": ASSISTANT}
        ids = [BOS]
        for message in messages:
            ids += [roles[message["role"]], *self.encode(message["content"]), EOS]
        return [*ids, ASSISTANT, *([THINK] if thinks else [])]

    # --- distribution -----------------------------------------------------------------------------------

    def _hash(self, prefix: Sequence[int]) -> hashlib.blake2b:
        return hashlib.blake2b(array("H", prefix).tobytes(), key=self._seed)

    def _digest(self, state: hashlib.blake2b) -> NDArray[np.uint16]:
        return np.frombuffer(hashlib.shake_128(state.digest()).digest(2 * self.size), np.uint16)

    def _work_out(self, prefix: tuple[int, ...]) -> Scores:
        scores = (
            self._hashed[self._digest(self._hash(prefix))] + self._biases[bool(prefix) and prefix[-1] in self._opening]
        )
        scores[[token for token in set(prefix) if token >= FIRST_PIECE]] += AGAIN
        scores.setflags(write=False)
        return scores

    def scores(self, prefix: Sequence[int]) -> Scores:
        """Logits of every token after a prefix, which are not to be changed."""
        return self._scores(tuple(prefix))

    def logprobs(self, prefix: Sequence[int]) -> list[float]:
        """Log-probability of every token after a prefix."""
        values: list[float] = _logprobs(self.scores(prefix)).tolist()
        return values

    def logprob(self, prefix: Sequence[int] | str, token: int) -> float:
        """Log-probability of one token after a prefix: ids, or a text before which a BOS is put."""
        return self.logprobs([BOS, *self.encode(prefix)] if isinstance(prefix, str) else prefix)[token]

    def answer_logprob(self, context: str, answer: str, *, bos: bool = True) -> float:
        """Summed log-probability of an answer: both are tokenized together and split at the context's length."""
        whole = [BOS] * bos + self.encode(context + answer)
        start = bos + len(self.encode(context))
        return sum(self.logprob(whole[:i], whole[i]) for i in range(start, len(whole)))

    def sequence_logprobs(self, ids: Sequence[int]) -> list[float | None]:
        """Log-probability of each token after those before it; None for the first. Faster than single calls."""
        state, out = self._hash(ids[:1]), list[float | None]([None])
        seen = {token for token in ids[:1] if token >= FIRST_PIECE}
        for i in range(1, len(ids)):
            opens = ids[i - 1] in self._opening
            digest = self._digest(state)
            weights = self._hashed_weights[digest] * self._weights[opens]
            again = math.expm1(AGAIN) * weights[list(seen)].sum()
            score = self._hashed[digest[ids[i]]] + self._biases[opens][ids[i]] + AGAIN * (ids[i] in seen)
            out.append(float(score - math.log(weights.sum() + again)))
            seen |= {ids[i]} if ids[i] >= FIRST_PIECE else set()
            state.update(array("H", [ids[i]]).tobytes())
        return out[: len(ids)]

    def top(self, prefix: Sequence[int], n: int, also: int | None = None) -> list[tuple[int, float]]:
        """The n most likely tokens with their log-probabilities, best first; `also` is added where it is not among
        them."""
        ranked, values = self.ranked(prefix)
        best: list[int] = ranked[:n].tolist()
        if also is not None and also not in best:
            best.append(also)
        return [(token, float(values[token])) for token in best]

    def ranked(self, prefix: Sequence[int]) -> tuple[NDArray[np.intp], Scores]:
        """All tokens, the most likely first and of equals the lower id, and the log-probability of each by id."""
        scores = self.scores(prefix)
        return np.argsort(-scores, kind="stable"), _logprobs(scores)

    # --- generation -------------------------------------------------------------------------------------

    def next_token(
        self,
        prefix: Sequence[int],
        temperature: float = 0.0,
        rng: random.Random | None = None,
        penalty: float = 1.0,
        *,
        ends: bool = True,
    ) -> int:
        """The most likely token, the one with the lowest id among equals; a drawn one at a temperature above 0."""
        scores = self.scores(prefix).copy()
        if not ends:
            scores[EOS] = -math.inf
        if penalty != 1.0:
            again = list(set(prefix))
            scores[again] = np.where(scores[again] > 0, scores[again] / penalty, scores[again] * penalty)
        if temperature <= 0:
            return int(scores.argmax())  # Of equals the first.
        weights = np.exp(scores / temperature)
        return (rng or random.Random()).choices(range(self.size), weights.tolist())[0]

    def generate(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        stop: Collection[str] = (),
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        penalty: float = 1.0,
        ends: bool = True,
    ) -> Generation:
        """Continue a prompt until the end token (where it `ends`), a stop string or the limit."""
        ids: list[int] = []
        while len(ids) < max_tokens:
            token = self.next_token([*prompt, *ids], temperature, rng, penalty, ends=ends)
            if token == EOS:
                return Generation(tuple(ids), "stop", self.decode(ids), ended=True)
            ids.append(token)
            text = self.decode(ids)
            cuts = [text.index(string) for string in stop if string in text]
            if cuts:
                return Generation(tuple(ids), "stop", text[: min(cuts)])
        return Generation(tuple(ids), "length", self.decode(ids))
