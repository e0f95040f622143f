"""Whether a way of running a model gives what the model gives by itself: its own forward pass on one sequence.

Every way of running several sequences together, or of continuing one from a cache, is compared before it is used:
packed, in padded batches, in rows of equal length, one at a time. The comparison is made in float32 whatever the dtype
of the run, so that an error of the method is not mistaken for rounding: weights are widened while it is made. Where
that cannot be done, or takes too long (half precision on a CPU from `LARGE` weights on), the difference is held
against the rounding of the dtype. How large rounding is follows from how far the scores of a model lie apart.

A model can change its behaviour with the length of a sequence: sliding windows, chunks, positions beyond those it was
first trained on. The first comparison is over a short sequence. Before a longer one is read that passes such a switch,
the comparison is made again beyond it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from jglue_app.backends.hf.engine.linear import PackedLinear, pack
from jglue_app.backends.hf.memory import free_bytes
from jglue_app.messages import Message

SHORT, SHORT_OF_LARGE = 40, 24
"""Tokens of the first comparison, where nothing in the configuration asks for more; fewer where they take long."""
LARGE = 1_500_000_000
"""Weights from which a model takes long on a CPU: there, half precision is not compared in float32 either."""
AT_LOAD = 160
"""Switches up to here are part of the first comparison."""
BRANCH = 16
"""Tokens of a probe after the prefix that all share."""
ADDED = 2
"""Tokens of a probe that are read as if they had just been generated."""
BEYOND = 24
"""How many tokens after a switch a probe ends."""
FLOAT32_TOLERANCE = 3e-4
"""Largest difference of log-probabilities in float32, as a share of their standard deviation over the vocabulary."""
ROUNDING = 8
"""Without float32: the largest root mean square difference, in units of the dtype's last place times that deviation."""
TIMES_ROUNDING = 3
"""How many times the rounding error of the model itself is accepted: one token that takes another expert is much."""
TIMES_NOISE, MOST_NOISE = 2, 0.15
"""How many times the noise of quantization, which makes scores depend on other tokens, is accepted; and the most that
it may be, as a share of their standard deviation."""
_LADDER = 4
"""A model of unknown layers is compared again whenever a sequence is so many times longer than any before."""

_SWITCHES = ("window", "chunk", "index_topk", "block_size", "compress")
"""Parts of the names of settings at whose value in tokens a model may begin to behave differently."""
_NO_SWITCHES = ("lm_head", "feed_forward", "pattern", "max_window_layers", "kernel", "blocks", "indices")
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
_FIXED_POSITIONS = {"", "default", "linear", "llama3", "yarn", "proportional"}
"""Kinds of rotary positions that do not change with the length of the input."""
_WHOLE_LENGTH = ("longrope", "dynamic")
"""Kinds of rotary positions in which every position depends on the length of the whole input."""


class Stopped(Exception):  # noqa: N818  # Somebody's wish, not a fault.
    """Somebody asked to stop between two forward passes."""


class Unsupported(Exception):  # noqa: N818  # A fact about a model, not a fault.
    """A way of running does not give what the model gives by itself."""


class NotCausalError(Exception):
    """What a model says of earlier tokens depends on later ones: it can neither write nor rank answers."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Sequences with a common prefix; two of them share more."""

    prefix: list[int]
    branches: list[list[int]]
    """What follows the prefix in each sequence; at its end `ADDED` tokens that are read as generated ones."""

    def sequence(self, branch: int) -> list[int]:
        """A whole sequence."""
        return [*self.prefix, *self.branches[branch]]


class Reference:
    """A model's own answers.

    Args:
        model: a transformers model in evaluation mode, as it was loaded.
        context_length: most tokens of a sequence; None for no limit.

    Raises:
        NotCausalError: later tokens change what the model says of earlier ones.
    """

    def __init__(self, model: Any, context_length: int | None) -> None:
        self._model: Any = model
        self._usual = model.config._attn_implementation
        self._limit = context_length
        config = model.config.get_text_config()
        self.alone_above = _whole_length(config)
        """Longer sequences are to be read one at a time, as the length of one would change the others; None: never."""
        self._switches = _switches(config)
        picks = [size for name, sizes in _named_switches(config).items() if _picks(name) for size in sizes]
        self.picks_above = min(picks, default=None)
        """Tokens above which a model attends to a choice of them: what it keeps of a text may not be what it reads."""
        self._ladder = bool(set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS)
        self._selects = self._ladder or any("window" not in name for name in _named_switches(config))
        self._keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._avoid = _special_ids(model.config)
        self._words = int(model.get_input_embeddings().weight.shape[0])
        self.wide = model.dtype in (torch.bfloat16, torch.float16)
        """Whether comparisons are made in float32, and the run in less."""
        large = model.device.type == "cpu" and model.num_parameters() >= LARGE
        self.wide = self.wide and not large
        self._widened = _Widened(model)
        near = [size for size in self._switches if size <= AT_LOAD]
        self.short = self._clip(max([SHORT_OF_LARGE if large else SHORT, *(size + BEYOND for size in near)]))
        """Tokens of the first comparison."""
        self.quantized = getattr(model, "hf_quantizer", None) is not None
        """Whether scores may depend on what is computed together."""
        self.noisy = False
        """Whether they do so much that every prompt is to be read alone, as plain transformers would."""
        self._noise = 0.0
        self._known: dict[tuple[int, ...], torch.Tensor] = {}
        try:
            self._check_causal(self.short)
        except NotCausalError:
            raise
        except Exception:
            if not self.wide:
                raise
            self.wide = False  # Some module cannot be widened.
            self._check_causal(self.short)

    def use_own_attention(self) -> None:
        """Give the model the attention it was loaded with, if it has another now."""
        use_attention(self._model, self._usual)

    def _check_causal(self, length: int, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Raise NotCausalError if a sequence and its beginning, read alone, differ at the tokens they share."""
        ids = self.probe(length).sequence(0)
        short = length <= self.short
        sizes = [size for size in ((length // 2 + 1,) if short else (length - 9, length // 2 + 1)) if 0 < size < length]
        # Of a long sequence a few places: scores of the whole vocabulary take memory.
        places = [range(0 if short else max(0, size - BRANCH), size) for size in sizes]
        whole = self._at(ids, sorted({place for some in places for place in some}))
        for size, some in zip(sizes, places, strict=True):
            if should_stop():
                raise Stopped
            shorter = self._at(ids[:size], some)
            one = torch.stack([whole[place] for place in some])
            other = torch.stack([shorter[place] for place in some])
            if not bool(torch.isfinite(one).all(-1).any()) or bool(torch.isnan(one).any()):
                continue  # Told of every item as it is met.
            try:
                self.compare(other, one)
            except Unsupported as e:
                noise = float((other - one).nan_to_num().square().mean(-1).sqrt().max())
                # In 8 bits the scale of a number, or whether it is an outlier, depends on the other tokens.
                if not self.quantized:
                    raise NotCausalError(Message("over {length} tokens, {reason}", length=length, reason=e)) from e
                self._noise = max(self._noise, noise)
                self.noisy |= noise > MOST_NOISE * float(one[torch.isfinite(one)].std())

    def _at(self, ids: Sequence[int], places: Sequence[int]) -> dict[int, torch.Tensor]:
        """Log-probabilities (words,) after some places of a sequence, by the model's own forward pass."""
        with self.arithmetic():
            found = self._forward(ids, torch.tensor(list(places), device=self._model.device))
        return dict(zip(places, found, strict=True))

    def _forward(self, ids: Sequence[int], places: torch.Tensor) -> torch.Tensor:
        self.use_own_attention()
        more: dict[str, Any] = {"logits_to_keep": places} if self._keep else {}
        inputs = torch.tensor([list(ids)], device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=inputs, use_cache=False, **more).logits[0]
        found: torch.Tensor = logits if self._keep else logits[places.to(logits.device)]
        return found.float().log_softmax(-1)

    def _clip(self, length: int) -> int:
        """No longer than a sequence can be, nor than one that is read with others."""
        return max(3, min([length, *(most for most in (self._limit, self.alone_above) if most is not None)]))

    def next_switch(self, verified: int) -> int | None:
        """Tokens up to which sequences can be read after a comparison over so many; None for any."""
        switches = [size for size in self._switches if size >= verified]
        if self._ladder:
            switches.append(_LADDER * verified)
        return min(switches, default=None)

    def passes_switch(self, verified: int, length: int, should_stop: Callable[[], bool] = lambda: False) -> int | None:
        """How long a probe has to be before sequences of a length are read; None when what was compared will do.

        Args:
            verified: tokens of the longest comparison so far.
            length: tokens of the longest sequence to be read.
            should_stop: asked between forward passes.

        Raises:
            NotCausalError: beyond the switch, later tokens change what the model says of earlier ones.
            Stopped: somebody asked to stop.
        """
        switches = [size for size in self._switches if verified <= size < length]
        if self._ladder and length > _LADDER * verified:
            switches.append(length - BEYOND)
        if not switches:
            return None
        wanted = self._clip(max(switches) + BEYOND)
        if should_stop():
            raise Stopped
        if self._selects and wanted > self.short:
            self._check_causal(wanted, should_stop)
        return wanted

    def probe(self, length: int) -> Probe:
        """Sequences of a number of tokens."""
        branch = min(BRANCH + ADDED, max(1, length // 2))
        prefix = max(1, length - branch)
        same = branch // 2
        ids = self._ids(prefix + 3 * branch)
        first = ids[prefix : prefix + branch]
        second = [*first[:same], *ids[prefix + branch : prefix + 2 * branch - same]]
        third = ids[prefix + 2 * branch : prefix + 2 * branch + max(1, branch - 3)]
        return Probe(ids[:prefix], [first, second, third])

    def _ids(self, count: int) -> list[int]:
        """Ids that follow no pattern a model could see, none of them special."""
        size = min(self._words, 1_493)
        allowed = [i for i in range(size) if i not in self._avoid] or list(range(size))
        return [allowed[(7 + 31 * k + k // len(allowed)) % len(allowed)] for k in range(count)]

    @property
    def changes(self) -> bool:
        """Whether anything in the configuration speaks of a change with the length of a sequence."""
        return bool(self._switches) or self._ladder or self.alone_above is not None

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """In which comparisons are made: float32, whatever the model's dtype."""
        with torch.inference_mode():
            if self.wide:
                with self._widened:
                    yield
            else:
                yield

    def own(self, ids: Sequence[int], last: int) -> torch.Tensor:
        """Log-probabilities after the last tokens of a sequence, (last, words), by the model's own forward pass."""
        known = self._known.get(tuple(ids))
        if known is None or len(known) < last:
            with self.arithmetic():
                known = self.own_rounded(ids, last)
            if len(ids) <= self.short:
                self._known[tuple(ids)] = known
        return known[-last:]

    def close(self) -> None:
        """Drop the model."""
        self.forget()
        self._model = self._widened.model = None

    def forget(self) -> None:
        """Drop what is kept of the first comparison."""
        self._known.clear()
        self._widened.forget()

    def own_rounded(self, ids: Sequence[int], last: int) -> torch.Tensor:
        """The same in the dtype of the run."""
        return self._forward(ids, torch.arange(len(ids) - last, len(ids), device=self._model.device))

    def compare_rounded(
        self, got: Sequence[torch.Tensor], own: Sequence[torch.Tensor], exact: Sequence[torch.Tensor]
    ) -> None:
        """Raise Unsupported if results in the dtype of the run are further from float32 than the model's own are.

        Args:
            got, own, exact: log-probabilities (places, words) of each sequence.
        """

        def spread(rows: Sequence[torch.Tensor]) -> float:
            pairs = zip(rows, exact, strict=True)
            off = [torch.where(torch.isfinite(e), r - e, 0).square().mean(-1).sqrt() for r, e in pairs]
            return float(torch.cat(off).max())

        worst, usual = spread(got), spread(own)
        if not worst <= TIMES_ROUNDING * usual + 1e-6:
            raise Unsupported(
                Message(
                    "rounding errors are {worst:.2g}, and {usual:.2g} in the model itself", worst=worst, usual=usual
                )
            )

    def compare(self, got: torch.Tensor, expected: torch.Tensor, *, noisy: bool = True) -> None:
        """Raise Unsupported if log-probabilities are not those of the model itself.

        Args:
            got, expected: (places, words), float32.
            noisy: whether the noise of quantization is accepted.
        """
        got = got.to(expected.device)
        if not bool(torch.isfinite(expected).any()) or bool(torch.isnan(expected).any()):
            raise Unsupported(Message("the model's own scores are not finite"))
        finite = torch.isfinite(expected)
        if bool((torch.isfinite(got) != finite).any()):
            raise Unsupported(Message("log-probabilities are finite in other places than the model's own"))
        off = torch.where(finite, got - expected, 0).abs()
        deviation = float(expected[finite].std())
        root = float(off.square().mean(-1).sqrt().max())
        if noisy and root <= TIMES_NOISE * self._noise:
            return
        if self.wide or self._model.dtype in (torch.float32, torch.float64):
            worst, most = float(off.max()), FLOAT32_TOLERANCE * max(deviation, 0.01)
        else:
            worst = root
            most = ROUNDING * torch.finfo(self._model.dtype).eps * max(deviation, 0.01)
        if not worst <= most:
            raise Unsupported(Message("log-probabilities differ by {worst:.2g}", worst=worst))


def use_attention(model: Any, name: str) -> None:
    """Exchange a model's attention for another of transformers' interface, if it is not that one already."""
    if model.config._attn_implementation != name:
        model.set_attn_implementation(name)


Change = tuple[dict[str, Any], str, Any, Any]
"""A table of a module, a name in it, what stands there, and the same in float32."""


class _Widened:
    """A context in which a model of two-byte weights computes in float32.

    Where there is memory for it, all weights are converted at once and kept until `forget`; else those of one module
    after the other while it runs. What an embedding gives out is converted instead of its weight, of which few rows
    are read.
    """

    def __init__(self, model: Any) -> None:
        self.model: Any = model
        self._kept: list[Change] | None = None
        self._hooks: list[Any] = []
        self._now: dict[nn.Module, list[Change]] = {}

    def forget(self) -> None:
        """Drop the converted weights."""
        self._kept = None

    def __enter__(self) -> None:
        modules = [module for module in self.model.modules() if not isinstance(module, nn.Embedding)]
        if self._kept is None:
            need = 2 * sum(value.numel() * value.itemsize for module in modules for _, _, value in _narrow(module))
            if need < free_bytes(str(self.model.device)) // 3:
                self._kept = [change for module in modules for change in _changes(module)]
        if self._kept is None:
            self._hooks = [module.register_forward_pre_hook(self._before) for module in modules]
            self._hooks += [module.register_forward_hook(self._after) for module in modules]
        for table, name, _, wide in self._kept or ():
            table[name] = wide
        embeddings = (module for module in self.model.modules() if isinstance(module, nn.Embedding))
        self._hooks += [module.register_forward_hook(_output) for module in embeddings]

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        for table, name, narrow, _ in reversed(self._kept or ()):
            table[name] = narrow
        for module in list(self._now):
            self._after(module)

    def _before(self, module: nn.Module, *_: Any) -> None:
        changes = _changes(module)
        for table, name, _, wide in changes:
            table[name] = wide
        if changes:
            self._now.setdefault(module, []).extend(changes)

    def _after(self, module: nn.Module, *_: Any) -> None:
        for table, name, narrow, _ in reversed(self._now.pop(module, [])):
            table[name] = narrow


def _output(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output.float() if output.dtype.itemsize == 2 else output


def _narrow(module: nn.Module) -> list[tuple[dict[str, Any], str, torch.Tensor]]:
    """The two-byte weights of a module itself."""
    own: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
    found = [(table, name, value) for table in own for name, value in table.items()]
    if isinstance(module, PackedLinear):
        found += [(module.__dict__, name, module.__dict__[name]) for name in ("_weight", "_bias")]
    return [
        (table, name, value)
        for table, name, value in found
        if value is not None and value.is_floating_point() and value.dtype.itemsize == 2
    ]


def _changes(module: nn.Module) -> list[Change]:
    out: list[Change] = []
    for table, name, value in _narrow(module):
        wide = (value.to_dense() if value.is_mkldnn else value).detach().float()
        if value.is_mkldnn:
            wide = pack(wide)
        elif isinstance(value, nn.Parameter):
            wide = nn.Parameter(wide, requires_grad=False)
        out.append((table, name, value, wide))
    return out


# --- what the configuration says ---------------------------------------------------------------------------


def _switches(config: Any) -> list[int]:
    """Lengths in tokens after which the model may behave differently, ascending."""
    named = (size for sizes in _named_switches(config).values() for size in sizes)
    return sorted({*named, *_scaled_positions(config)})


def _named_switches(config: Any) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, value in _settings(config.to_dict()):
        speaks = any(part in name for part in _SWITCHES) and not any(part in name for part in _NO_SWITCHES)
        if speaks and isinstance(value, int) and not isinstance(value, bool) and value > 0:
            found.setdefault(name, []).append(value)
    return found


def _whole_length(config: Any) -> int | None:
    """Tokens up to which positions do not depend on the length of the whole input; None if they never do."""
    limits: list[int] = []
    for table in _tables(config.to_dict()):
        kind = str(table.get("rope_type") or table.get("type") or "")
        if any(name in kind for name in _WHOLE_LENGTH):
            first = table.get("original_max_position_embeddings") or getattr(
                config, "original_max_position_embeddings", None
            )
            # Up to there, but not at that length itself where factors of a longer input stay in force.
            limits.append(int(first or getattr(config, "max_position_embeddings", 0) or 2) - 1)
    # Llama 4 scales attention by the place in the row, not in the sequence.
    if getattr(config, "attn_temperature_tuning", False) and getattr(config, "floor_scale", None):
        limits.append(int(config.floor_scale) - 1)
    return min(limits, default=None)


def _picks(name: str) -> bool:
    return "topk" in name


def _scaled_positions(config: Any) -> list[int]:
    """Lengths from which queries are scaled by their place, or rotary positions of an unknown kind may change."""
    found: list[int] = []
    for table in _tables(config.to_dict()):
        first = table.get("original_max_position_embeddings")
        kind = str(table.get("rope_type") or table.get("type") or "")
        if isinstance(first, int) and (kind not in _FIXED_POSITIONS or table.get("llama_4_scaling_beta")):
            found.append(first)
    return found


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _tables(inner)


def _settings(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """All named values of a configuration, those in tables and lists too."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _settings(value)
            yield from ((str(name), inner) for inner in value.values())
        elif isinstance(value, Iterable) and not isinstance(value, str):
            yield from ((str(name), inner) for inner in value)
        else:
            yield str(name), value


def _special_ids(config: Any) -> set[int]:
    """Ids that stand for something other than text, such as the place of an image."""
    found: set[int] = set()
    for name, value in _settings(config.to_dict()):
        if name.endswith(("token_id", "token_index", "token_ids")) and isinstance(value, int):
            found.add(value)
    return found
