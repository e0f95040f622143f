"""Attention of many tries at once: the same as of each alone, and given up where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine import batched_attention, packed_model
from jglue_app.backends.hf.engine.batched_attention import BatchedAttention
from jglue_app.backends.hf.engine.fused_attention import fused_attention, has_fused_attention
from jglue_app.backends.hf.engine.packed_engine import PackedEngine
from jglue_app.backends.hf.engine.product_attention import product_attention
from jglue_app.backends.hf.engine.trie import Trie, build_trie
from jglue_app.types import ModelSpec
from tests.backends.contract import collect, logprobs_of, make_prompt, never, text_of

TinyModel = Callable[..., Path]
ANSWERS = ("含意", "矛盾", "中立")
HEAD = "次の二つの文の関係を答えてください。\n"
PROMPTS = [make_prompt(f"{HEAD}{k}番目、{'雨が降る。' * k}", ANSWERS, item_id=str(k)) for k in range(8)]


def tries() -> list[Trie]:
    """Six, of 1 to 60 tokens; branches of one token, of a dozen, and without a common root."""
    sequences: list[list[list[int]]] = [
        [[1, 2, 3], [1, 2, 4], [1, 2, 4, 5]],
        [[7]],
        [list(range(40)), [*range(30), 99, 98]],
        [[1, 2], [3, 4, 5], [6]],
        [list(range(50)), [*range(50), 1], [*range(45), 2, 3, 4, 5, 6]],
        [list(range(33))],
    ]
    return [build_trie(s) for s in sequences]


def expected_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    prefix: tuple[torch.Tensor, torch.Tensor],
    scale: float,
    window: int,
) -> torch.Tensor:
    """Token by token: the keys of the prefix and of the ancestors, in float64."""
    q, k, v, prefix_k, prefix_v = (x.double() for x in (q, k, v, *prefix))
    length, group = prefix_k.shape[1], q.shape[0] // k.shape[0]
    out = torch.zeros(q.shape[1], q.shape[0], v.shape[2], dtype=torch.float64)
    start = 0
    for trie in tries():
        for path in trie.paths:
            for depth, node in enumerate(path):
                nodes = [start + ancestor for ancestor in path[: depth + 1]]
                keys = torch.cat([prefix_k, k[:, nodes]], dim=1)
                values = torch.cat([prefix_v, v[:, nodes]], dim=1)
                if window:  # Positions length + depth, and the window − 1 before it.
                    keys, values = keys[:, -window:], values[:, -window:]
                for head in range(q.shape[0]):
                    scores = keys[head // group] @ q[head, start + node] * scale
                    out[start + node, head] = scores.softmax(0) @ values[head // group]
        start += len(trie.tokens)
    assert start == q.shape[1] and length == prefix_v.shape[1]
    return out


@pytest.mark.parametrize(
    ("heads", "kv_heads", "prefix_length", "window", "scale"),
    [(4, 1, 20, 0, None), (2, 2, 0, 0, 0.3), (4, 2, 20, 30, None), (2, 1, 20, 8, None), (2, 2, 9, 400, None)],
)
@pytest.mark.parametrize("by_token", [False, True])
@pytest.mark.parametrize("products", [False, True])
def test_each_token_attends_to_the_prefix_and_its_branch(
    heads: int, kv_heads: int, prefix_length: int, window: int, scale: float | None, by_token: bool, products: bool
) -> None:
    count = sum(len(trie.tokens) for trie in tries())
    generator = torch.Generator().manual_seed(0)

    def random(heads: int, tokens: int) -> torch.Tensor:
        shape = (tokens, heads, 16) if by_token else (heads, tokens, 16)
        x = 2 * torch.randn(shape, generator=generator)
        return x.transpose(0, 1) if by_token else x

    q, k, v = random(heads, count), random(kv_heads, count), random(kv_heads, count)
    prefix = random(kv_heads, prefix_length), random(kv_heads, prefix_length)
    expected = expected_attention(q, k, v, prefix, 16**-0.5 if scale is None else scale, window)
    calls: list[torch.Tensor] = []

    def usual() -> torch.Tensor:
        calls.append(expected.float())
        return calls[-1]

    batching = BatchedAttention(products=products)
    plan = batching.plan(tries(), prefix_length)
    assert plan is not None
    for call in range(2):
        out = plan.attention(q, k, v, prefix if prefix_length else None, scale, window, usual)
        assert (out - expected).abs().max() < 1e-5
        assert len(calls) == 1, "compared once"
        assert batching.enabled, call


def test_results_that_differ_at_one_token_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    q = torch.randn(2, sum(len(trie.tokens) for trie in tries()), 16)
    batching = BatchedAttention()
    plan = batching.plan(tries(), 0)
    assert plan is not None
    right = expected_attention(q, q, q, (q[:, :0], q[:, :0]), 0.25, 0).float()
    other = right.clone()
    other[17] += 0.01
    assert plan.attention(q, q, q, None, None, 0, lambda: other) is other
    assert not batching.enabled and batching.plan(tries(), 0) is None
    assert plan.attention(q, q, q, None, None, 0, lambda: right) is right, "in the other layers of this pass too"


def test_tensors_without_such_a_kernel_take_the_usual_attention() -> None:
    q, wide = torch.zeros(2, 3, 8), torch.zeros(2, 3, 16)
    assert has_fused_attention(q, q, q) and not has_fused_attention(q, q, wide)
    assert not has_fused_attention(*(q.to("meta"),) * 3)
    assert BatchedAttention().plan(tries()[:1], 0) is None, "of a single trie there is nothing to batch"


def test_scores_that_would_take_much_memory_are_not_stored() -> None:
    q = torch.randn(2, sum(len(trie.tokens) for trie in tries()), 16)
    batching = BatchedAttention(products=True, max_score_bytes=1_000)
    plan = batching.plan(tries(), 0)
    assert plan is not None
    assert plan.attention(q, q, q, None, None, 0, lambda: q) is q
    assert batching.enabled and not batching.checked, "nothing was tried"


@pytest.mark.parametrize(("width", "size"), [(80, 1.0), (128, 3.0), (256, 2.0)])
def test_in_bfloat16_products_are_as_exact_as_the_usual_kernel(width: int, size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (size * torch.randn(2, n, 30, width, generator=generator) for n in (1, 1, 1))
    prefix = size * torch.randn(1, 300, width, generator=generator), torch.randn(1, 300, width, generator=generator)
    mask = torch.zeros(2, 1, 30, 30)
    q, k, v, prefix_k, prefix_v = (x.bfloat16() for x in (q, k, v, *prefix))
    keys, values = (torch.cat([a.expand(2, -1, -1, -1), b], 2) for a, b in ((prefix_k, k), (prefix_v, v)))
    exact = scaled_dot_product_attention(q.double(), keys.double(), values.double())
    usual = scaled_dot_product_attention(q, keys, values)
    got = product_attention(q, k, v, mask, (prefix_k, prefix_v), None, width**-0.5)

    def error(out: torch.Tensor) -> float:
        return float(((out.double() - exact).norm(dim=-1) / exact.norm(dim=-1)).max())

    assert error(got) < 2 * error(usual) + 1e-3


def test_log_sum_exp_of_the_scores() -> None:
    query, key = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 0.0], [math.log(3), 5.0], [9.0, 9.0]]]])
    mask = torch.tensor([[[[0.0, 0.0, -math.inf]]]])
    out, logsum = fused_attention(query, key, key, mask, 1.0)
    assert logsum.item() == pytest.approx(math.log(1 + 3))
    assert out.flatten().tolist() == pytest.approx([0.75 * math.log(3), 0.75 * 5])


class Loaded:
    """A tiny model with batched attention, as on a GPU."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.backend = HFBackend(ModelSpec("tiny"), "commit", self.model, self.tokenizer)
        self.engine: Any = self.backend._engine
        assert isinstance(self.engine, PackedEngine)
        self.batching: BatchedAttention = self.engine._model.batching

    def reference(self, text: str, answer: str) -> float:
        """Log-probability of an answer, by the model's own forward pass."""
        self.engine._model.restore_attention()
        context = self.tokenizer(text, add_special_tokens=True)["input_ids"]
        ids = self.tokenizer(text + answer, add_special_tokens=True)["input_ids"]
        with torch.inference_mode():
            logprobs = self.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
        return sum(float(logprobs[k - 1, ids[k]]) for k in range(len(context), len(ids)))


@pytest.fixture
def batched_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_model, "PRODUCT_DEVICES", ())


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
@pytest.mark.parametrize("products", [False, True])
def test_answers_are_scored_as_by_the_model_itself(
    tiny_model: TinyModel, architecture: str, products: bool, request: pytest.FixtureRequest
) -> None:
    if not products:
        request.getfixturevalue("batched_devices")
    loaded = Loaded(tiny_model(architecture))
    assert loaded.batching.enabled and loaded.batching.checked, "compared when the model was loaded"
    results = collect(loaded.backend.choose(PROMPTS, never))
    texts = collect(loaded.backend.generate(PROMPTS[2:4], 4, never))
    assert loaded.batching.enabled
    for i, prompt in enumerate(PROMPTS):
        expected = [loaded.reference(prompt.text, answer) for answer in ANSWERS]
        assert logprobs_of(results[i]) == pytest.approx(expected, abs=1e-4)
    loaded.engine._model.restore_attention()
    for i, prompt in enumerate(PROMPTS[2:4]):
        ids = loaded.tokenizer(prompt.text, return_tensors="pt")["input_ids"]
        new: list[int] = []
        while len(new) < 4:
            with torch.inference_mode():
                new.append(
                    int(loaded.model(torch.cat([ids, torch.tensor([new]).long()], dim=1)).logits[0, -1].argmax())
                )
        assert text_of(texts[i]) == loaded.tokenizer.decode(new)


@pytest.mark.usefixtures("batched_devices")
def test_a_pass_takes_few_attention_calls(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Loaded(tiny_model("llama"), torch.bfloat16)
    many = [make_prompt(f"{HEAD}{'雨が降る。' * (2 + k % 2)}{k}", ANSWERS, item_id=str(k)) for k in range(40)]
    collect(loaded.backend.choose(many, never))
    calls: list[int] = []

    def counted(query: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(len(query))
        return fused_attention(query, *rest)

    monkeypatch.setattr(batched_attention, "fused_attention", counted)
    collect(loaded.backend.choose(many, never))
    # Of both layers, in each pass: the prefix, and one or two batches of tries of similar length.
    assert len(calls) <= 2 * 3 * 3 and max(calls) >= 10


@pytest.mark.usefixtures("batched_devices")
def test_a_kernel_that_fails_changes_no_result(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Loaded(tiny_model("llama"))

    def fails(*_: Any) -> Any:
        raise NotImplementedError("there is no such kernel")

    monkeypatch.setattr(batched_attention, "fused_attention", fails)
    results = collect(loaded.backend.choose(PROMPTS, never))
    assert not loaded.batching.enabled and loaded.backend.packed
    for i in (0, 7):
        expected = [loaded.reference(PROMPTS[i].text, answer) for answer in ANSWERS]
        assert logprobs_of(results[i]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.usefixtures("batched_devices")
@pytest.mark.parametrize("nth", [1, 6])
def test_memory_that_runs_out_in_a_kernel_halves_the_batch(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    loaded = Loaded(tiny_model("llama"))
    calls: list[int] = []

    def runs_out(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(len(arguments[0]))
        if len(calls) == nth:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return fused_attention(*arguments)

    monkeypatch.setattr(batched_attention, "fused_attention", runs_out)
    results = collect(loaded.backend.choose(PROMPTS, never))
    assert loaded.batching.enabled and len(calls) > nth
    assert loaded.engine._max_pass_tokens < 512, "halved"
    for i, prompt in enumerate(PROMPTS):
        expected = [loaded.reference(prompt.text, answer) for answer in ANSWERS]
        assert logprobs_of(results[i]) == pytest.approx(expected, abs=1e-4)
