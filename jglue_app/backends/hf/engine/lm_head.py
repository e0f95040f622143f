"""The vocabulary head: scored only at the positions that are asked for, block by block, never as one matrix.

For greedy text in float32 on a processor that multiplies bfloat16 faster, the vocabulary is screened in bfloat16 first:
with a bound on the rounding errors, all words that could be the best are known, and these alone are scored in float32.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from jglue_app.backends.hf.engine.linear import multiply, pack, product_of
from jglue_app.backends.hf.engine.repetition_penalty import Repeated

VOCABULARY_BLOCK = 4_096
"""Words that are scored at a time."""
GROUP = 64
"""Words of which the screening first sees the best alone."""
MOST_CANDIDATES = 256
"""Groups per position that are looked at again; a position with more is scored in full."""


@dataclass(frozen=True, slots=True)
class Post:
    """What a model does with the scores of its head: a factor, and then a soft cap, cap · tanh(score / cap)."""

    factor: float = 1.0
    cap: float | None = None

    def apply(self, scores: torch.Tensor) -> torch.Tensor:
        """The scores that the model gives out, of any shape; float32 in, float32 out."""
        if self.factor != 1.0:
            scores = scores * self.factor
        return scores if self.cap is None else self.cap * torch.tanh(scores / self.cap)


class Head:
    """The last layer of a model.

    Args:
        layer: its output embeddings: a weight (words, width), and a bias or None.
        screen: whether to screen in bfloat16; None to do so where it is faster.
    """

    post = Post()
    """Applied to every score."""

    def __init__(self, layer: Any, screen: bool | None = None) -> None:
        self._weight: torch.Tensor = layer.weight
        self._bias: torch.Tensor | None = layer.bias
        self._product = product_of(self._weight)
        can = self._bias is None and self._weight.dtype == torch.float32
        self._may_screen = can and (_bfloat16_is_faster(self._weight) if screen is None else screen)
        self._screen: _Screen | None = None

    def scores(self, states: torch.Tensor) -> Iterator[torch.Tensor]:
        """Scores of the vocabulary after every state, block by block, (states, words) in float32."""
        for start in range(0, self._weight.shape[0], VOCABULARY_BLOCK):
            block = slice(start, start + VOCABULARY_BLOCK)
            weight, bias = self._weight[block], None if self._bias is None else self._bias[block]
            if states.dtype != weight.dtype:  # While a comparison is made in float32.
                scores = functional.linear(states, weight.to(states.dtype), None if bias is None else bias.to(states))
            else:
                scores = self._product(states, weight, bias)
            yield self.post.apply(scores.float())

    def logprobs(self, states: torch.Tensor, rows: Sequence[int], targets: Sequence[int]) -> torch.Tensor:
        """Log-probability of each target after the state of its row, float32; NaN or infinite if a score is."""
        total: torch.Tensor | None = None
        for scores in self.scores(states):
            part = scores.logsumexp(-1)
            total = part if total is None else torch.logaddexp(total, part)
        assert total is not None
        at = torch.tensor(rows, device=states.device)
        return self._some(states, at, torch.tensor(targets, device=states.device)) - total[at]

    def best(self, states: torch.Tensor, repeated: Repeated | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The most likely next token after every state, the first of equals, and whether no score is NaN or +∞.

        With a penalty on repetitions it is the most likely one under that; the vocabulary is scored in full then.
        """
        if repeated is not None:
            return self._best_of_all(states, repeated)
        # Under a cap, scores that differ may become equal, and the first of them is the best.
        if self._screen is None and self._may_screen and self.post.cap is None and self.post.factor > 0:
            self._screen = _Screen(self._weight)
        found = self._screen.candidates(states) if self._screen else None
        if found is None:
            return self._best_of_all(states)
        rows, words = found
        scores = self._some(states, rows, words)
        top = torch.full((len(states),), float("-inf"), device=states.device).scatter_reduce(0, rows, scores, "amax")
        first = scores == top[rows]
        index = torch.full((len(states),), self._weight.shape[0], device=states.device)
        index = index.scatter_reduce(0, rows[first], words[first], "amin")
        return index, torch.ones(len(states), dtype=torch.bool, device=states.device)

    def _best_of_all(self, states: torch.Tensor, repeated: Repeated | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        value: torch.Tensor | None = None
        index = torch.zeros(len(states), dtype=torch.long, device=states.device)
        finite = torch.ones(len(states), dtype=torch.bool, device=states.device)
        start = 0
        for scores in self.scores(states):
            top, place = scores.max(-1)  # NaN where there is one.
            finite &= torch.isfinite(top)
            if repeated is not None:
                top, place = repeated.apply(scores, start).max(-1)
            better = torch.ones_like(finite) if value is None else top > value
            index = torch.where(better, place + start, index)
            value = top if value is None else torch.where(better, top, value)
            start += scores.shape[-1]
        return index, finite

    def _some(self, states: torch.Tensor, rows: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Scores of some words, each after the state of its row, float32."""
        own = (states[rows].float() * self._weight[words].float()).sum(-1)
        return self.post.apply(own if self._bias is None else own + self._bias[words].float())


class _Screen:
    """The head in bfloat16, and how wrong its scores can be."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._blocks: list[torch.Tensor] = []
        self._most = self._off = 0.0
        product = product_of(weight[:0].bfloat16())
        for start in range(0, len(weight), VOCABULARY_BLOCK):
            block = weight[start : start + VOCABULARY_BLOCK]
            rounded = block.bfloat16()
            self._blocks.append(pack(rounded) if product is multiply else rounded)
            self._most = max(self._most, float(rounded.float().norm(dim=-1).max()))
            self._off = max(self._off, float((block - rounded.float()).norm(dim=-1).max()))
        self._product = product

    def candidates(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Rows and words of all words that may be the best of their row; None if this says nothing.

        Of a score w·x, with w' and x' rounded: |w·x − w'·x'| ≤ ‖w−w'‖‖x‖ + ‖w'‖‖x−x'‖ (Cauchy–Schwarz), and the sum
        in float32 adds at most width·2⁻²⁴‖w'‖‖x'‖. The score itself is rounded to bfloat16, by 2⁻⁸ of it at most.
        """
        rounded = states.bfloat16()
        length, rest = states.norm(dim=-1), (states - rounded.float()).norm(dim=-1)
        off = 1.01 * (self._off * length + self._most * (rest + states.shape[1] * 2.0**-23 * length))
        blocks: list[torch.Tensor] = []
        groups: list[torch.Tensor] = []
        for block in self._blocks:
            scores = self._product(rounded, block, None)
            short = -scores.shape[1] % GROUP
            if short:
                scores = functional.pad(scores, (0, short), value=float("-inf"))
            blocks.append(scores)
            groups.append(scores.view(len(states), -1, GROUP).amax(-1))
        best = torch.cat(groups, dim=1).float()
        top = best.max(-1).values
        if not bool(torch.isfinite(top).all()):
            return None
        least = top - 2.0**-8 * top.abs() - 2 * off
        least = least / torch.where(least > 0, 1 + 2.0**-8, 1 - 2.0**-8)
        near = best >= least[:, None]
        if not bool(torch.isfinite(least).all()) or int(near.sum(-1).max()) > MOST_CANDIDATES:
            return None
        rows, places = near.nonzero(as_tuple=True)
        within = _groups(blocks, rows, places)
        pairs, offsets = (within.float() >= least[rows, None]).nonzero(as_tuple=True)
        return rows[pairs], places[pairs] * GROUP + offsets


def _groups(blocks: Sequence[torch.Tensor], rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Scores of some groups of words, (groups, GROUP)."""
    per_block = VOCABULARY_BLOCK // GROUP
    out = blocks[0].new_empty(len(rows), GROUP)
    numbers = places // per_block
    for number in sorted(set(numbers.tolist())):
        here = (numbers == number).nonzero()[:, 0]
        block = blocks[number].view(len(blocks[number]), -1, GROUP)
        out[here] = block[rows[here], places[here] % per_block]
    return out


def _bfloat16_is_faster(weight: torch.Tensor) -> bool:
    """Tried with a part of the weight: not every processor has instructions for it."""
    if weight.device.type != "cpu":
        return False
    block = weight[:VOCABULARY_BLOCK]
    states = block[:64]
    narrow, narrow_block = states.bfloat16(), block.bfloat16()

    def best_time(a: torch.Tensor, b: torch.Tensor) -> float:
        times: list[float] = []
        for _ in range(4):
            started = time.perf_counter()
            functional.linear(a, b)
            times.append(time.perf_counter() - started)
        return min(times)

    return best_time(narrow, narrow_block) < 0.7 * best_time(states, block)
