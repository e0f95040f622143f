"""Every causal architecture of the installed transformers, with tiny random weights, through the product.

    python -m tests.architectures [--only NAME …] [--dtype float32 bfloat16] [--jobs 2] [--json FILE] [--keep FOLDER]

Of each architecture a model is made whose weights are random and large enough that every part of it matters: windows,
chunks and the original range of positions are shorter than the prompts, biases and gates are not zero, logits are
capped and scaled where the architecture can do so. The weights can be represented in bfloat16, so that the same model
is loaded in both dtypes. The product answers six prompts with four answers each and writes a text to each; all of it
is compared with plain transformers, which reads single sequences from their beginning, without padding or a cache.

A model is as it should be where its log-likelihoods differ by rounding only and its texts are the same (but for words
that are equally likely, up to rounding), or where it is refused in a sentence. In float32 that means 1e-3 (more where
the model's own attention implementations differ by more), in bfloat16 twice the largest difference between the model's
own ways to calculate the same: in float32 and bfloat16, and where that is not enough with eager attention and with
embeddings changed by about their rounding (a router may then choose other experts). A model in which later tokens
change what is said of earlier ones is not causal and must be refused. A refusal because the model failed in the
product is none where plain transformers runs it.

Exit code 1 where a model is not as it should be, 2 where `--only` names none, else 0.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import fnmatch
import functools
import inspect
import json
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto import modeling_auto

from jglue_app.backends import open_backend
from jglue_app.errors import JglueAppError
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec, Output, Prompt
from tests.architecture_fields import (
    FAR,
    LEAVE,
    NOT_ALONE,
    OVERRIDES,
    SMALL,
    VARIANTS,
    VISION,
    VOCABULARY,
    WIDE,
    Fields,
)

NEW_TOKENS = 12
DTYPES = ("float32", "bfloat16")
SECONDS = 240
"""Of one architecture in all dtypes; more is a failure."""

TEXTS = (
    "今日は天気がよいので、近くの公園を散歩しました。",
    "次の質問に日本語で答えてください。答えだけを書きます。\n質問：一年でいちばん寒い季節はいつですか。\n答え：冬",
    "前提：男性が自転車に乗っている。\n仮説：女性が本を読んでいる。\n関係：中立",
    "前提：犬が庭を走っている。\n仮説：動物が外にいる。\n関係：含意",
    "前提：店は閉まっている。\n仮説：店は開いている。\n関係：矛盾",
    "レビュー：とても使いやすくて、買ってよかったです。\n評価：肯定",
    "レビュー：すぐに壊れてしまい、残念でした。\n評価：否定",
    "東京は日本の首都で、多くの人が住んでいる大きな町である。京都には古い寺がたくさんある。",
)
_INSTRUCTION = "次の文を読んで、質問に日本語で短く答えてください。答えだけを書きます。例を見てから答えてください。\n"
_EXAMPLES = (
    "前提：女性が公園で本を読んでいる。\n関係：含意\n",
    "前提：東京には多くの店がある。仮説：古い寺は庭が大きいので、犬がたくさんいる。\n関係：矛盾\n",
    "レビュー：町の公園を散歩しました。寒い季節に自転車で走ってよかったです。\n評価：肯定\n",
    "質問：日本の首都はどこですか。前提を読んでから、一つだけ答えてください。\n答え：東京です。\n",
    "前提：今日は寒いので、男性は外にいない。仮説：男性が庭を走っている。\n関係：矛盾\n",
)
PROMPTS = (
    "前提：犬が外にいる。\n関係：",
    _INSTRUCTION + _EXAMPLES[0] + "前提：店は開いている。\n関係：",
    _INSTRUCTION + "前提：男性が町を歩いている。\n仮説：人が外にいる。\n関係：",
    _INSTRUCTION + "前提：男性が町を歩いている。\n仮説：人が外にいる。\n関係：",
    _INSTRUCTION
    + "".join(_EXAMPLES)
    + "レビュー：とても残念でした。\n評価：否定\n前提：動物が庭を走っている。\n仮説：犬は自転車に乗っている。\n関係：",
    _INSTRUCTION
    + "".join(_EXAMPLES[:3])
    + "前提：今日は犬が外にいる。この犬が庭を走っている。\n仮説：動物が町を歩いている。\n関係：",
)
"""Short; two with the same beginning; one twice; two long ones with that beginning too.

The longer of these ends 75 tokens behind `FAR_SWITCH`, the other 6 before it: what is written to that one crosses it.
"""
SHARING = (1, 2, 4)
"""Asked once more without the others: these begin with the same tokens."""
ANSWERS = ("含意", "矛盾", "中立", "はい、そうです")


# --- tokenizer ------------------------------------------------------------------------------------------


@functools.cache
def tokenizer() -> Any:
    """Byte-level BPE of 500 tokens, trained on a few Japanese sentences, that adds a BOS."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


# --- configurations -------------------------------------------------------------------------------------

_SUB_TEXT = ("text_config", "decoder", "decoder_config")


def fields_of(kind: Any) -> list[str]:
    """Names of the fields of a configuration class."""
    return [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "kwargs")]


def small_fields(kind: Any, more: Mapping[str, Any]) -> Fields:
    """Values for a configuration class: `SMALL`, layers of every type the class has, and what `more` says instead."""
    names = fields_of(kind)
    got: Fields = {name: SMALL[name] for name in names if name in SMALL}
    for key, instead in (("_wide", WIDE), ("_far", FAR)):
        if more.get(key):
            got |= {name: value for name, value in instead.items() if name in got}
    if "_spread" in more and "initializer_range" in got:
        got["initializer_range"] = more["_spread"]
    layers = next((more.get(n, got[n]) for n in ("num_hidden_layers", "num_layers", "n_layer") if n in got), 4)
    if "layer_types" in names or "mlp_layer_types" in names:
        default = kind()
        for name in ("layer_types", "mlp_layer_types", "indexer_types"):
            if name not in names or name in more:
                continue
            found = list(dict.fromkeys(getattr(default, name, None) or []))
            if found == ["full_attention"] and "sliding_window" in names:
                found = ["sliding_attention", "full_attention"]
            if found:
                got[name] = [found[k % len(found)] for k in range(layers)]
    if "qk_rope_head_dim" in names:  # Latent attention: keys of all heads, and positions in a part of each alone.
        got |= {name: value for name, value in (("num_key_value_heads", 4), ("head_dim", 8)) if name in names}
    got |= {name: value for name, value in more.items() if not name.startswith("_")}
    return {name: value for name, value in got.items() if not (isinstance(value, str) and value == LEAVE)}


def small_config(name: str, more: Mapping[str, Any]) -> Any:
    """A configuration of small sizes of an architecture, with those of its parts."""
    kind = CONFIG_MAPPING[name]
    parts = dict(getattr(kind, "sub_configs", None) or {})
    got: Fields = {}
    if parts:
        default = kind()
        for part in parts:
            own = getattr(default, part, None)
            if own is None:
                continue
            wanted = more.get(part, {})
            if not isinstance(wanted, Mapping):
                got[part] = wanted
            elif part in _SUB_TEXT:
                got[part] = {"model_type": own.model_type} | small_fields(type(own), wanted)
            else:
                sizes = {n: v for n, v in VISION.items() if n in fields_of(type(own))}
                got[part] = {"model_type": own.model_type} | sizes | dict(wanted)
    rest = {n: v for n, v in more.items() if n not in got}
    if any(part in got for part in _SUB_TEXT):
        return kind(**got, **{n: v for n, v in rest.items() if not n.startswith("_")})
    return kind(**small_fields(kind, rest), **got)


# --- models ---------------------------------------------------------------------------------------------


@torch.no_grad()
def enliven(model: Any, spread: float) -> None:
    """Give every weight a value that matters, and one that bfloat16 can represent.

    What begins as all zeros (biases, gates), all ones (norms) or a constant is varied around it, and matrices that
    begin much smaller than wanted are enlarged.
    """
    for name, weight in model.named_parameters():
        if not weight.is_floating_point() or weight.numel() == 0:
            continue
        if not bool(torch.isfinite(weight).all()):
            weight.normal_(0.0, spread)
        deviation = float(weight.float().std(unbiased=False))
        if deviation < 1e-6 * max(1.0, float(weight.abs().max())):
            noise = 0.2 if weight.dim() < 2 else spread / 2
            weight.add_(torch.empty_like(weight).uniform_(-noise, noise))
        elif weight.dim() >= 2 and deviation < spread / 3 and "conv" not in name and "A_log" not in name:
            weight.mul_(spread / deviation)
        weight.copy_(weight.bfloat16().to(weight.dtype))
    for _, buffer in model.named_buffers():
        if buffer.is_floating_point() and buffer.numel() and float(buffer.abs().max()) == 0 and buffer.dim() == 1:
            buffer.uniform_(-0.1, 0.1)  # Such as the bias of a router that is corrected while training.
            buffer.copy_(buffer.bfloat16().to(buffer.dtype))


def whole_class(config: Any, name: str) -> Any:
    """The class that real checkpoints with this configuration name: with what reads images, where there is such."""
    for table in ("MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES", "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES"):
        found = getattr(modeling_auto, table, {}).get(name)
        if found and "text_config" in (getattr(config, "sub_configs", None) or {}):
            return getattr(transformers, found if isinstance(found, str) else found[0])
    for table in ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES", "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES"):
        found = getattr(modeling_auto, table, {}).get(name)
        if found and config.is_encoder_decoder:
            return getattr(transformers, found if isinstance(found, str) else found[0])
    return None


def make(name: str, folder: Path, more: Mapping[str, Any] | None = None) -> str:
    """Write a tiny model of an architecture and the tokenizer into a folder; the name of its class.

    Args:
        name: a key of `CASES`, or a model type of transformers.
        folder: where to.
        more: fields of its configuration; those of the table when left out.
    """
    kind, fields = CASES[name] if name in CASES else (name, OVERRIDES.get(name, {}))
    fields = fields if more is None else dict(more)
    config = small_config(kind, fields)
    torch.manual_seed(0)
    cls = whole_class(config, kind)
    model: Any = cls(config) if cls else AutoModelForCausalLM.from_config(config)
    model.eval()
    enliven(model, float(fields.get("_spread", 0.3)))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return type(model).__name__


# --- plain transformers ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Written:
    """A greedy continuation."""

    prompt: list[int]
    ids: list[int] = field(default_factory=list)
    seconds: list[int] = field(default_factory=list)
    """At each step, the second best token."""
    margins: list[float] = field(default_factory=list)
    """At each step, by how much the best token is ahead of the second."""


class Plain:
    """A model of a folder as transformers alone runs it: one sequence at a time, from its beginning.

    Args:
        folder: as `make` wrote it.
        dtype: of its weights.
        attention: the implementation; None for transformers' choice.
        seed: of a change of what goes into the first layer, about as large as its rounding to bfloat16; None for none.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, attention: str | None = None, seed: int | None = None) -> None:
        config = transformers.AutoConfig.from_pretrained(folder)
        cls = getattr(transformers, config.architectures[0])
        more = {"attn_implementation": attention} if attention else {}
        self.model: Any = cls.from_pretrained(folder, dtype=dtype, **more).eval()
        if config.model_type == "llama4":  # Its whole cannot be given text alone in some versions.
            self.model = self.model.language_model
        self._scores: dict[str, list[float]] = {}
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)

            def shake(module: Any, args: Any, out: torch.Tensor) -> torch.Tensor:
                return out * (1 + 2.0**-8 * (2 * torch.rand(out.shape, generator=generator) - 1)).to(out.dtype)

            self.model.get_input_embeddings().register_forward_hook(shake)

    @torch.inference_mode()
    def logprobs(self, ids: Sequence[int]) -> torch.Tensor:
        """Log-probabilities of the next token after every token, (tokens, vocabulary) in float32."""
        logits: torch.Tensor = self.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
        return logits.float().log_softmax(-1)

    def scores(self, text: str) -> list[float]:
        """Summed log-probability of the tokens of each answer."""
        if text in self._scores:
            return self._scores[text]
        start = tokenizer()(text)["input_ids"]
        out: list[float] = []
        for answer in ANSWERS:
            ids = tokenizer()(text + answer)["input_ids"]
            found = self.logprobs(ids)
            split = min(len(start), len(ids) - 1)
            out.append(float(sum(found[k - 1, ids[k]] for k in range(split, len(ids)))))
        self._scores[text] = out
        return out

    def written(self, text: str) -> Written:
        """The greedy continuation of a prompt."""
        ids: list[int] = tokenizer()(text)["input_ids"]
        out = Written(ids)
        while len(out.ids) < NEW_TOKENS:
            top = self.logprobs([*ids, *out.ids])[-1].topk(2)
            out.seconds.append(int(top.indices[1]))
            out.margins.append(float(top.values[0] - top.values[1]))
            token = int(top.indices[0])
            if token == 1:
                break
            out.ids.append(token)
        return out

    def rounding(self, other: Written) -> float:
        """By how much the margins of a text of another dtype or implementation are different here, at most."""
        found = self.logprobs([*other.prompt, *other.ids])[len(other.prompt) - 1 :]
        own = [float(found[k, a] - found[k, b]) for k, (a, b) in enumerate(zip(other.ids, other.seconds, strict=False))]
        return max((abs(x - y) for x, y in zip(own, other.margins, strict=False)), default=0.0)

    def causal(self) -> float:
        """By how much log-probabilities change that come before a changed token; next to 0 in a causal model."""
        ids = tokenizer()(PROMPTS[2])["input_ids"]
        changed = [*ids[:-2], (ids[-2] + 50) % VOCABULARY, (ids[-1] + 90) % VOCABULARY]
        off = (self.logprobs(ids)[:-2] - self.logprobs(changed)[:-2]).abs()
        return float(off.max())

    def reach(self) -> float:
        """By how much the last log-probabilities change with the first tokens of the longest prompt."""
        ids = tokenizer()(PROMPTS[4])["input_ids"]
        changed = [ids[0], *((token + 50) % VOCABULARY for token in ids[1:4]), *ids[4:]]
        return float((self.logprobs(ids)[-1] - self.logprobs(changed)[-1]).abs().max())


# --- the product ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Answers:
    """What the product says, of each prompt; again of those that share a beginning."""

    way: str
    scores: list[list[float]]
    texts: list[str]
    scores_shared: list[list[float]]
    texts_shared: list[str]
    load_seconds: float
    failed: list[str]
    """Items that ended in an error."""


def prompt_of(number: int) -> Prompt:
    """One of the prompts as the product takes it."""
    return Prompt("jnli", str(number), PROMPTS[number], None, (), ANSWERS, "", (), "")


def ask(folder: Path, dtype: str) -> Answers:
    """Put all prompts to the product."""
    started = time.perf_counter()
    backend: Any = open_backend(ModelSpec(str(folder), dtype=dtype), load_settings(), device="cpu")
    load = time.perf_counter() - started
    shapes: list[tuple[int, bool]] = []

    def see(module: Any, args: Any, given: dict[str, Any]) -> None:
        ids = given.get("input_ids", args[0] if args else None)
        if ids is not None:
            mask = given.get("attention_mask")
            padded = isinstance(mask, torch.Tensor) and mask.dim() == 2 and not bool(mask.all())
            shapes.append((ids.shape[0], padded))

    handle = backend._model.register_forward_pre_hook(see, with_kwargs=True)
    failed: list[str] = []

    def of(found: Any) -> Any:
        if isinstance(found, Output):
            return found
        failed.append(found.message)
        return None

    def chosen(numbers: Sequence[int]) -> list[list[float]]:
        found = dict(backend.choose([prompt_of(k) for k in numbers], lambda: False))
        outputs = [of(found[k]) for k in range(len(numbers))]
        return [list(o.choice_logprobs or ()) if o else [] for o in outputs]

    def texts(numbers: Sequence[int]) -> list[str]:
        found = dict(backend.generate([prompt_of(k) for k in numbers], NEW_TOKENS, lambda: False))
        outputs = [of(found[k]) for k in range(len(numbers))]
        return [(o.text or "") if o else "" for o in outputs]

    try:
        everyone = range(len(PROMPTS))
        answers = Answers("", chosen(everyone), texts(everyone), chosen(SHARING), texts(SHARING), load, failed)
    finally:
        handle.remove()
        backend.close()
    if backend.packed:
        answers.way = "packed"
    elif any(padded for _, padded in shapes):
        answers.way = "padded"
    elif any(rows > 1 for rows, _ in shapes):
        answers.way = "equal lengths"
    else:
        answers.way = "one at a time"
    return answers


# --- one architecture -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Row:
    """What was found of one architecture in one dtype."""

    name: str
    dtype: str
    way: str = ""
    """`packed`, `padded`, `equal lengths`, `one at a time`, `refused` or `not built`."""
    verdict: str = ""
    """`ok`, `FAIL` or `-` (not built)."""
    difference: float | None = None
    """Largest, of log-likelihoods from plain transformers in the same dtype."""
    spread: float | None = None
    """Largest, between the model's own ways to calculate them."""
    allowed: float | None = None
    texts: int | None = None
    """Of all prompts, the same as plain transformers'."""
    ties: int = 0
    """Further ones that differ from a step on at which two tokens were equally likely up to rounding."""
    margins: list[float] = field(default_factory=list)
    """Where texts differ otherwise: how far ahead the best token was."""
    best: int | None = None
    causal: float | None = None
    reach: float | None = None
    load_seconds: float = 0.0
    seconds: float = 0.0
    said: str = ""
    """The sentence of a refusal, or why it fails."""


def largest(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """The largest difference of two tables of the same shape; infinite where a number is missing or not finite."""
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        if len(a) != len(b):
            return math.inf
        for x, y in zip(a, b, strict=True):
            if not math.isfinite(x) or not math.isfinite(y):
                return math.inf
            worst = max(worst, abs(x - y))
    return worst


def parted(own: str, other: Written) -> float | None:
    """How far ahead plain transformers' token was where a text leaves the other; None if they are the same.

    A token may be a part of a character, which shows in the text a little later: the closest of the steps counts.
    """
    decode: Callable[[Sequence[int]], str] = functools.partial(tokenizer().decode, skip_special_tokens=True)
    if own == decode(other.ids):
        return None
    for k in range(len(other.ids) + 1):
        if not own.startswith(decode(other.ids[:k]).rstrip("\ufffd")):
            break
    return min(other.margins[max(0, k - 3) : k + 1])


def first_line(error: BaseException) -> str:
    """The kind and the first line of an error."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def examine(name: str, dtypes: Sequence[str], folder: Path) -> list[Row]:
    """Make one architecture and compare it in each dtype."""
    rows = [Row(name, dtype) for dtype in dtypes]
    try:
        make(name, folder)
    except Exception as error:
        show_traceback()
        for row in rows:
            row.way, row.verdict = "not built", "-"
            row.said = " ".join(filter(None, (NOT_ALONE.get(name), f"({first_line(error)})")))
        return rows
    exact, causal, reach, broken = None, None, None, ""
    if not transformers.AutoConfig.from_pretrained(folder).is_encoder_decoder:
        try:
            exact = Plain(folder, torch.float32)
            causal, reach = exact.causal(), exact.reach()
        except Exception as error:
            show_traceback()
            exact, broken = None, first_line(error)
    for row in rows:
        row.causal, row.reach = causal, reach
        started = time.perf_counter()
        try:
            compare(row, folder, exact, broken)
        except Exception as error:
            show_traceback()
            row.verdict, row.said = "FAIL", f"traceback: {first_line(error)}"
        row.seconds = time.perf_counter() - started
    return rows


def show_traceback() -> None:
    """For those who look for the reason."""
    if os.environ.get("TRACEBACK"):
        traceback.print_exc()


NOT_CAUSAL = 1e-2
"""A larger change of what comes before a changed token is no rounding."""


def broke_down(said: str) -> bool:
    """Whether a refusal tells of a failure of the product's own, which is none where plain transformers runs."""
    return bool(re.search("failed while|fails on", said))


def compare(row: Row, folder: Path, exact: Plain | None, broken: str) -> None:
    """Fill in a row.

    Args:
        row: to be filled in.
        folder: of the model.
        exact: plain transformers in float32; None of an encoder–decoder, or where it cannot read a text.
        broken: why it cannot.
    """
    try:
        found = ask(folder, row.dtype)
    except JglueAppError as error:
        row.way, row.said = f"refused ({error.exit_code})", str(error)
        row.verdict = "ok" if error.exit_code == 3 and not (exact and broke_down(row.said)) else "FAIL"
        return
    row.way, row.load_seconds = found.way, found.load_seconds
    if exact is None:
        what = f"plain transformers fails ({broken})" if broken else "it is an encoder–decoder"
        row.verdict, row.said = "FAIL", f"accepted, though {what}"
        return
    dtype = getattr(torch, row.dtype)
    plain = exact if dtype == torch.float32 else Plain(folder, dtype)
    others = [] if plain is exact else [exact]
    wanted = [plain.scores(text) for text in PROMPTS]
    texts = {text: plain.written(text) for text in dict.fromkeys(PROMPTS)}
    written = [texts[text] for text in PROMPTS]
    floor = 1e-3 if dtype == torch.float32 else 0.02
    shared = largest(found.scores_shared, [wanted[k] for k in SHARING])
    alone = largest(found.scores, wanted)
    row.difference = max(alone, shared)
    row.best = sum(
        max(range(len(ANSWERS)), key=a.__getitem__) == max(range(len(ANSWERS)), key=b.__getitem__)
        for a, b in zip(found.scores, wanted, strict=True)
        if a
    )
    away = [parted(own, other) for own, other in zip(found.texts, written, strict=True)]
    away_shared = [parted(own, written[k]) for own, k in zip(found.texts_shared, SHARING, strict=True)]
    row.texts = sum(margin is None for margin in away)
    apart = max((m for m in (*away, *away_shared) if m is not None), default=0.0)

    def measure() -> float:
        """Set the spread; how close two tokens are that rounding may exchange."""
        tables = [wanted, *([other.scores(text) for text in PROMPTS] for other in others)]
        row.spread = max((largest(a, b) for k, a in enumerate(tables) for b in tables[:k]), default=0.0)
        row.allowed = max(floor, 2 * row.spread)
        return max([floor, *(2 * other.rounding(w) for other in others for w in texts.values())])

    near = measure()
    if not row.difference <= (row.allowed or 0.0) or apart > near:
        with contextlib.suppress(Exception):  # Not every architecture has it.
            eager = Plain(folder, dtype, "eager")
            eager.logprobs([0, 5, 6])
            others.append(eager)
        if dtype != torch.float32:
            others += [Plain(folder, dtype, seed=seed) for seed in range(3)]
        near = measure()
    allowed = row.allowed or 0.0
    row.ties = sum(margin is not None and margin <= near for margin in away)
    row.margins = [round(m, 5) for m in (*away, *away_shared) if m is not None and m > near]
    problems = []
    if (row.causal or 0.0) > NOT_CAUSAL:
        problems.append("accepted, though it is not causal")
    if found.failed:
        problems.append(f"{len(found.failed)} items failed: {found.failed[0]}")
    if not row.difference <= allowed:
        which = " of all prompts together" if shared <= allowed else ""
        which = " with a shared beginning" if alone <= allowed else which
        problems.append(f"log-likelihoods{which} differ")
    if row.margins:
        problems.append(f"texts differ (by {max(row.margins):.2g}; rounding allows {near:.2g})")
    row.verdict, row.said = ("FAIL" if problems else "ok"), "; ".join(problems)


# --- the sweep ------------------------------------------------------------------------------------------

CASES: dict[str, tuple[str, Fields]] = {
    name: (name, OVERRIDES.get(name, {})) for name in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
} | VARIANTS


def in_own_process(name: str, dtypes: Sequence[str], folder: Path, result: Path) -> int:
    """Fork a process that examines one architecture and writes what it found; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        with Path(f"{result}.log").open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            rows = examine(name, dtypes, folder)
            result.write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
        code = 0
    finally:
        os._exit(code)


def sweep(
    names: Sequence[str], dtypes: Sequence[str], jobs: int, keep: Path | None, tell: Callable[[list[Row]], None]
) -> list[Row]:
    """Examine architectures, each in a process of its own that may neither take too long nor end the others."""
    rows: list[Row] = []
    waiting = list(names)
    running: dict[int, tuple[str, float, Path, Path]] = {}
    with tempfile.TemporaryDirectory(prefix="architectures-") as temporary:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                folder = (keep or Path(temporary)) / name
                result = Path(temporary) / f"{name}.json"
                shutil.rmtree(folder, ignore_errors=True)
                pid = in_own_process(name, dtypes, folder, result)
                running[pid] = name, time.monotonic(), folder, result
            time.sleep(0.05)
            for pid, (name, started, folder, result) in list(running.items()):
                late = time.monotonic() - started > SECONDS
                if late:
                    os.kill(pid, signal.SIGKILL)
                done, status = os.waitpid(pid, 0 if late else os.WNOHANG)
                if not done:
                    continue
                del running[pid]
                if result.is_file():
                    found = [Row(**row) for row in json.loads(result.read_text("utf-8"))]
                else:
                    why = f"took more than {SECONDS} s" if late else f"the process ended with status {status}"
                    found = [Row(name, dtype, "ended", "FAIL", said=why) for dtype in dtypes]
                if os.environ.get("TRACEBACK"):
                    sys.stdout.write(Path(f"{result}.log").read_text("utf-8"))
                rows += found
                tell(found)
                if keep is None:
                    shutil.rmtree(folder, ignore_errors=True)
    order = {name: k for k, name in enumerate(names)}
    return sorted(rows, key=lambda row: (order[row.name], dtypes.index(row.dtype)))


def line(row: Row) -> str:
    """One row of the table."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2g}"

    texts = "" if row.texts is None else f"{row.texts}" + (f"+{row.ties}" if row.ties else "")
    best = "" if row.best is None else str(row.best)
    return (
        f"{row.verdict:4} {row.name:26} {row.dtype:8} {row.way:13} {number(row.difference):>8} {number(row.spread):>8} "
        f"{texts:>5} {best:>4} {row.seconds:6.1f}  {row.said}"
    ).rstrip()


HEADER = (
    f"{'':4} {'architecture':26} {'dtype':8} {'accepted':13} {'off':>8} {'own':>8} {'texts':>5} {'best':>4} {'s':>6}"
)


LEGEND = """
accepted: how prompts go through the model (packed, padded, equal lengths, one at a time), or that it is refused or
  cannot be made
off: largest difference of an answer's log-likelihood from plain transformers in the same dtype
own: the same between the model's own ways to calculate it (dtypes, attention implementations)
texts a+b: of {prompts} texts, a are those of plain transformers, and b part where two tokens are equally likely, up to
  rounding
best: of {prompts} prompts, those at which the same answer is the likeliest
s: seconds"""
"""What the columns hold."""


def summary(rows: Sequence[Row]) -> list[str]:
    """Counts, and what was not built and why."""
    out = [LEGEND.format(prompts=len(PROMPTS)), ""]
    out += [f"transformers {transformers.__version__}, torch {torch.__version__}"]
    for dtype in dict.fromkeys(row.dtype for row in rows):
        own = [row for row in rows if row.dtype == dtype]
        verdicts = collections.Counter(row.verdict for row in own)
        ways = collections.Counter(row.way for row in own)
        out.append(
            f"{dtype}: {len(own)} tried, {verdicts['ok']} ok, {verdicts['FAIL']} FAIL; "
            + ", ".join(f"{count} {way}" for way, count in ways.most_common())
        )
    missing = {row.name: row.said for row in rows if row.verdict == "-"}
    if missing:
        out += ["", "Not built:", *(f"  {name}: {said}" for name, said in missing.items())]
    refused = {row.name: re.sub(r"/\S*/", "", row.said) for row in rows if row.way.startswith("refused")}
    if refused:
        out += ["", "Refused:", *(f"  {name}: {said}" for name, said in refused.items())]
    return out


def fits(name: str, pattern: str) -> bool:
    """Whether a name is the one that is asked for, in which * stands for any letters."""
    return fnmatch.fnmatchcase(name, pattern)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these alone; a pattern if with *")
    parser.add_argument("--dtype", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all that was found to this file")
    parser.add_argument("--keep", type=Path, help="leave the models in this folder")
    parser.add_argument("--list", action="store_true", help="names alone")
    asked = parser.parse_args(arguments)
    names = [n for n in CASES if not asked.only or any(fits(n, pattern) for pattern in asked.only)]
    if nothing := [pattern for pattern in asked.only if not any(fits(n, pattern) for n in CASES)]:
        print(f"There is no architecture {', '.join(nothing)}. --list prints the names.", file=sys.stderr)
        return 2
    if asked.list:
        print("\n".join(names))
        return 0
    torch.set_num_threads(1)
    tokenizer()
    print(HEADER, flush=True)

    def tell(found: list[Row]) -> None:
        for row in found:
            print(line(row), flush=True)

    rows = sweep(names, asked.dtype, max(1, asked.jobs), asked.keep, tell)
    print("\n".join(summary(rows)))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(r) for r in rows], ensure_ascii=False, indent=1), encoding="utf-8")
    return 1 if any(row.verdict == "FAIL" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
