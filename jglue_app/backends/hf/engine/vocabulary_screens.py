"""Screens of the vocabulary, on a CPU: which tokens can be the most likely ones, by products in few bits.

A bound on the rounding errors tells which tokens these are, and only they are scored in float32. Processors that
multiply 8-bit integers (VNNI, AMX) do so about twice as fast as bfloat16, and the weights take half the memory.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Protocol

import torch
from torch.nn import functional
from torch.utils.weak import WeakIdKeyDictionary

from jglue_app.backends.hf.engine.linear import can_pack, multiply, pack, product_of
from jglue_app.backends.hf.memory import free_bytes

BLOCK = 4_096
"""Tokens of the vocabulary that are screened at a time."""
GROUP = 32
"""Tokens of which the screen in bfloat16 keeps the maximum alone; they are far from each other, as a maximum over
neighbours is slow."""
INT8_GROUP = 16
"""The same of the screen in 8 bits, which leaves more groups."""
MAX_CANDIDATES = 8_192
"""Tokens of a state that are scored again; a state with more is scored in full."""
ROTATED = 64
"""Coordinates that are rotated together, so that none of them alone is large."""
MAX_INT8_WIDTH = 2**15
"""Products of so many 8-bit integers fit into 32 bits."""
TRIED_STATES = 256
LOST = 2.0**-63
"""Numbers below it may be lost in a norm, as their squares are below what float32 can represent."""
MAX_UNSETTLED = 0.02
"""Part of the states that may be scored in full; where it is larger after `TRIED_STATES` states, bfloat16 takes over,
whose bound is tighter."""

Products = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Numbers of states and tokens, (pairs,) each → their products in float32, (pairs,)."""
Candidates = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Numbers of states and tokens, (pairs,) each, that may be the best, and others; and of each state whether its best is
among them: not if a product is not finite, or if there are too many to be of use."""


class Screen(Protocol):
    """Finds the tokens that may be the best of each state."""

    def candidates(self, states: torch.Tensor, products: Products) -> Candidates:
        """Those of states (states, width)."""


class VocabularyScreen:
    """The fastest screen of a head's weight, made at its first use.

    Args:
        kinds: of screens, the first to be used first.
    """

    def __init__(self, kinds: list[Callable[[torch.Tensor], Screen]]) -> None:
        self._kinds = kinds
        self._screen: Screen | None = None
        self._states = self._unsettled = 0

    def candidates(self, weight: torch.Tensor, states: torch.Tensor, products: Products) -> Candidates:
        """See `Screen`; the weight (vocabulary, width) is always the same."""
        if self._screen is None:
            self._screen = self._kinds[0](weight)
        found = self._screen.candidates(states, products)
        if len(self._kinds) > 1:
            self._states += len(states)
            self._unsettled += int((~found[2]).sum())
            if self._states >= TRIED_STATES:
                if self._unsettled > MAX_UNSETTLED * self._states:
                    self._kinds, self._screen = self._kinds[1:], None
                self._states = self._unsettled = 0
        return found


_screens: MutableMapping[torch.Tensor, VocabularyScreen] = WeakIdKeyDictionary()
"""Weight → its screen, which a model and the same with an adapter share."""


def screen_of(weight: torch.Tensor, wanted: bool | None) -> VocabularyScreen | None:
    """A screen of a head's weight (vocabulary, width); None for none.

    Args:
        weight: its dtype is that of the model.
        wanted: whether to screen; None to do so where it is faster than products in the dtype of the weight.
    """
    if wanted is False or weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.bfloat16):
        return None
    if weight not in _screens:
        kinds = _kinds(weight, wanted)
        if not kinds:
            return None
        _screens[weight] = VocabularyScreen(kinds)
    return _screens[weight]


def _kinds(weight: torch.Tensor, wanted: bool | None) -> list[Callable[[torch.Tensor], Screen]]:
    """Screens to use, the fastest first. Measured with a part of the weight: processors differ in what they have
    instructions for."""
    is_bfloat16, block = weight.dtype == torch.bfloat16, weight[:BLOCK]
    kinds: list[Callable[[torch.Tensor], Screen]] = []
    if is_bfloat16:
        if can_pack(weight):
            kinds.append(BFloat16Screen)
    elif wanted or _best_time(block.bfloat16()) < 0.7 * _best_time(block):
        kinds.append(BFloat16Screen)
    width, free = weight.shape[1], free_bytes(str(weight.device))
    if _rotated_width(width) and width <= MAX_INT8_WIDTH and 2 * weight.numel() < free and multiplies_int8():
        usual = block.bfloat16() if kinds else block
        if wanted or _best_int8_time(block) < 0.75 * _best_time(usual):
            kinds.insert(0, Int8Screen)
    return kinds


class BFloat16Screen:
    """The weight of a head in bfloat16, and a bound on the errors of its logits."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._blocks: list[torch.Tensor] = []
        self._max_norm = self._max_rounding = 0.0
        product = product_of(weight[:0].bfloat16())
        # Reordered weights are a second copy.
        reorders = product is multiply and 4 * weight.numel() < free_bytes(str(weight.device))
        for start in range(0, len(weight), BLOCK):
            block = weight[start : start + BLOCK]
            rounded = block.bfloat16()
            self._blocks.append(pack(rounded) if reorders else rounded)
            self._max_norm = max(self._max_norm, float(rounded.float().norm(dim=-1).max()))
            self._max_rounding = max(self._max_rounding, float((block - rounded.float()).norm(dim=-1).max()))
        self._lost = LOST * weight.shape[1] ** 0.5
        self._max_norm += self._lost
        self._max_rounding += self._lost
        self._product = product
        self._members = _members(len(weight), GROUP)

    def candidates(self, states: torch.Tensor, products: Products) -> Candidates:
        """See `Screen`.

        Of a product w·x, with w' and x' rounded: |w·x − w'·x'| ≤ ‖w−w'‖‖x‖ + ‖w'‖‖x−x'‖ (Cauchy–Schwarz), and the sum
        in float32 adds at most width·2⁻²⁴‖w'‖‖x'‖. The product itself is rounded to bfloat16, by 2⁻⁸ of it at most.
        """
        rounded = states.bfloat16()
        norm = states.norm(dim=-1) + self._lost
        rounding = (states - rounded.float()).norm(dim=-1) + self._lost
        error = 1.01 * (self._max_rounding * norm + self._max_norm * (rounding + states.shape[1] * 2.0**-23 * norm))
        maxima = _group_maxima((self._product(rounded, block, None) for block in self._blocks), GROUP).float()
        best = maxima.max(-1).values
        threshold = best - 2.0**-8 * best.abs() - 2 * error
        threshold = threshold / torch.where(threshold > 0, 1 + 2.0**-8, 1 - 2.0**-8)
        near = maxima >= threshold[:, None]
        return _in_groups(near, torch.isfinite(best) & torch.isfinite(threshold), self._members)


class Int8Screen:
    """The weight of a head in 8-bit integers, and what its products may be larger than they seem.

    Both sides are rotated first (as QuaRot does; Ashkboos et al., 2024), by which their products stay as they are, and
    then rounded, with a scale for each token and each state.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        self._rotation = _rotation(_rotated_width(weight.shape[1]))
        self._blocks = [self._rounded(weight[start : start + BLOCK]) for start in range(0, len(weight), BLOCK)]
        self._members = _members(len(weight), INT8_GROUP)

    def _rounded(self, block: torch.Tensor) -> tuple[_Int8Weight, torch.Tensor, torch.Tensor]:
        """A part of the weight, and of each of its tokens the rounding error and the norm."""
        norms = torch.linalg.vector_norm(block, dim=-1, dtype=torch.float32) + LOST * block.shape[1] ** 0.5
        scales, rounded, errors = _to_int8(_rotated(block.float(), self._rotation))
        errors *= scales
        return _Int8Weight(rounded.to(torch.int8), scales), errors, norms + errors

    def candidates(self, states: torch.Tensor, products: Products) -> Candidates:
        """See `Screen`.

        Of a product w·x, with w' and x' rounded: w·x ≤ w'·x' + ‖w−w'‖‖x‖ + ‖w'‖‖x−x'‖ (Cauchy–Schwarz). What is added
        is known for each token; of the states the largest ‖x‖ and ‖x−x'‖ count, in units of their scales. A token whose
        sum is below the product of another one, which is computed first, is not the best.
        """
        is_finite = torch.isfinite(states).all(-1)
        x = _rotated(torch.where(is_finite[:, None], states, 0).float(), self._rotation)
        scale, rounded, rounding = _to_int8(x)
        largest = (torch.linalg.vector_norm(rounded, dim=-1) + rounding).max()
        # Sums in float32, of the rotation too, are wrong by much less than this.
        rounding = rounding.max() + (states.shape[1] + 2 * ROTATED) * 2.0**-22 * largest
        integers = rounded.add_(128).to(torch.uint8)
        maxima = _group_maxima(
            (
                weight.multiply(integers, (errors * largest + norms * rounding).mul_(1.01))
                for weight, errors, norms in self._blocks
            ),
            INT8_GROUP,
        )
        largest_sum, group = maxima.max(-1)  # NaN where there is one.
        first = self._members[group]
        numbers = torch.arange(len(states))
        known = products(numbers.repeat_interleave(INT8_GROUP), first.flatten()).view(first.shape).amax(-1)
        near = maxima >= (known / scale)[:, None]
        # Of smaller products some may be lost, and all be equal.
        is_finite &= torch.isfinite(known) & torch.isfinite(largest_sum) & (known.abs() >= LOST)
        return _in_groups(near, is_finite, self._members)


class _Int8Weight:
    """A weight in 8-bit integers, in the layout of oneDNN.

    Args:
        integers: (out, in), −127 to 127.
        scales: of each output, (out,).
    """

    def __init__(self, integers: torch.Tensor, scales: torch.Tensor) -> None:
        self._packed = torch.ops.onednn.qlinear_prepack(integers, None)
        self._scales, self._zeros = scales, torch.zeros(len(scales), dtype=torch.int32)

    def multiply(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(states, in) of uint8, of which 128 stands for 0, times the weight, plus a bias (out,); float32."""
        out: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            x, 1.0, 128, self._packed, self._scales, self._zeros, bias, 1.0, 0, torch.float32, "none", [], ""
        )
        return out


@functools.cache
def multiplies_int8() -> bool:
    """Whether products of 8-bit integers are exact: without instructions for them, sums of two may not fit."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (6, 256), generator=generator).to(torch.uint8)
    weight = torch.randint(-127, 128, (40, 256), generator=generator).to(torch.int8)
    x[0], x[1], weight[0], weight[1] = 255, 0, 127, -127
    scales, bias = torch.linspace(0.5, 2, 40), torch.linspace(-3, 3, 40)
    expected = (x.double() - 128) @ weight.double().t() * scales.double() + bias
    try:
        with torch.inference_mode():
            got = _Int8Weight(weight, scales).multiply(x, bias)
    except (AttributeError, RuntimeError, TypeError):  # Another version of torch, or a build without oneDNN.
        return False
    return torch.allclose(got.double(), expected, rtol=1e-6, atol=1e-3)


def _to_int8(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of rows (…, width) the scales, the rows in units of these, rounded, and the norms of the rounding errors in the
    same units. Changes the rows."""
    largest = torch.maximum(x.amax(-1), -x.amin(-1))
    scales = largest.clamp_(min=torch.finfo(torch.float32).tiny * 2.0**24).div_(127)
    rounded = x.mul_(1 / scales[..., None]).round()
    return scales, rounded, torch.linalg.vector_norm(x.sub_(rounded), dim=-1)


def _rotated_width(width: int) -> int:
    """How many coordinates are rotated together, a power of two that divides the width; 0 if that is too small."""
    size = min(ROTATED, width & -width)
    return size if size >= 8 else 0


def _rotation(size: int) -> torch.Tensor:
    """A Hadamard matrix whose rows have random signs: orthogonal, with all entries of one size, (size, size)."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], dim=1), torch.cat([matrix, -matrix], dim=1)])
    signs = torch.randint(0, 2, (size, 1), generator=torch.Generator().manual_seed(0)) * 2 - 1
    rotation: torch.Tensor = matrix * signs / size**0.5
    return rotation


def _rotated(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    rotated: torch.Tensor = x.reshape(-1, len(rotation)) @ rotation
    return rotated.view(x.shape)


def _group_maxima(blocks: Iterable[torch.Tensor], size: int) -> torch.Tensor:
    """Of blocks of products (states, tokens) the maxima over groups of tokens, (states, groups).

    Only the maxima are kept: the products of the next block take the same memory, which is in the cache.
    """
    maxima: list[torch.Tensor] = []
    for products in blocks:
        padding = -products.shape[1] % size
        if padding:
            products = functional.pad(products, (0, padding), value=float("-inf"))
        maxima.append(products.view(len(products), size, -1).amax(1))
    return torch.cat(maxima, dim=1)


def _in_groups(near: torch.Tensor, is_finite: torch.Tensor, members: torch.Tensor) -> Candidates:
    """The members (groups, size) of the groups that are near (states, groups)."""
    count = near.sum(-1) * members.shape[1]
    is_settled = is_finite & (count > 0) & (count <= MAX_CANDIDATES)
    rows, groups = (near & is_settled[:, None]).nonzero(as_tuple=True)
    return rows.repeat_interleave(members.shape[1]), members[groups].flatten(), is_settled


def _members(vocabulary: int, size: int) -> torch.Tensor:
    """The tokens of each group, (groups, size); one that would be beyond a block is the first of its group again."""
    groups: list[torch.Tensor] = []
    for start in range(0, vocabulary, BLOCK):
        count = min(BLOCK, vocabulary - start)
        per_block = -(-count // size)
        tokens = torch.arange(per_block * size).view(size, per_block).t()
        groups.append(torch.where(tokens < count, tokens, tokens[:, :1]) + start)
    return torch.cat(groups)


def _best_time(block: torch.Tensor) -> float:
    """Seconds of the fastest of some products of 64 states with a part of a weight, (tokens, width)."""
    return _fastest(lambda: functional.linear(block[:64], block))


def _best_int8_time(block: torch.Tensor) -> float:
    """The same in 8-bit integers."""
    scales, rounded, _ = _to_int8(block.float().clone())
    weight, states = _Int8Weight(rounded.to(torch.int8), scales), rounded[:64].add(128).to(torch.uint8)
    return _fastest(lambda: weight.multiply(states, scales))


def _fastest(run: Callable[[], Any]) -> float:
    times: list[float] = []
    for _ in range(4):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)
