"""The repetition penalty: the same texts as transformers' own generation of one unpadded prompt, in every way there is.

What is right is asked of transformers itself, or worked out by hand.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    MambaConfig,
    RepetitionPenaltyLogitsProcessor,
)

from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine.generation import Generation
from jglue_app.backends.hf.engine.lm_head import LMHead
from jglue_app.backends.hf.engine.packed_engine import PackedEngine
from jglue_app.backends.hf.engine.padded_engine import PaddedEngine
from jglue_app.backends.hf.engine.padded_model import MODES, BatchMode
from jglue_app.backends.hf.engine.repetition_penalty import RepetitionPenalty, SeenTokens
from jglue_app.types import ModelSpec, Prompt
from tests.backends.contract import collect, make_prompt, never, text_of
from tests.backends.test_lm_head import WORDS
from tests.conftest import TinyModel

HEAD = "次の二つの文の関係を答えてください。\n前提：犬が走る。\n仮説：動物が動く。\n関係：含意\n\n"
TEXTS = (
    "今日は",
    *(f"{HEAD}前提：{first}\n仮説：動物が動く。\n関係：" for first in ("猫が眠る。", "空は青い。", "犬が走る。")),
    "含意含意含意矛盾矛盾含意含意含意矛盾矛盾含意含意",
    "<s>ABC 123 </s>",
)
PROMPTS = [make_prompt(text, item_id=str(i)) for i, text in enumerate(TEXTS)]
TOKENS = 16
PENALTIES = (1.2, 1.1, 2.5, 0.8)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder_of(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with a tiny model: those of `tiny_model`, and a Mamba."""

    @functools.cache
    def find(architecture: str) -> Path:
        if architecture != "mamba":
            return tiny_model(architecture)
        folder = tmp_path_factory.mktemp("mamba")
        tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
        ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
        sizes = {"hidden_size": 64, "state_size": 8, "num_hidden_layers": 2, "initializer_range": 0.5}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = MambaConfig(vocab_size=len(tokenizer), **sizes, **ids, tie_word_embeddings=False)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return find


@pytest.fixture(scope="module")
def expected(folder_of: Callable[[str], Path]) -> Callable[[str, float], list[str]]:
    """Texts by transformers' own generation, one unpadded prompt at a time."""

    @functools.cache
    def texts(architecture: str, penalty: float) -> list[str]:
        folder = folder_of(architecture)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        model.generation_config = GenerationConfig(do_sample=False, eos_token_id=1, pad_token_id=2)
        found = []
        for text in TEXTS:
            ids = tokenizer(text, return_tensors="pt")
            new = model.generate(**ids, max_new_tokens=TOKENS, repetition_penalty=penalty)[0, ids.input_ids.shape[1] :]
            found.append(tokenizer.decode(new, skip_special_tokens=True))
        return found

    return texts


@pytest.fixture(scope="module")
def opened(folder_of: Callable[[str], Path]) -> Callable[[str], HFBackend]:
    @functools.cache
    def make(architecture: str) -> HFBackend:
        folder = folder_of(architecture)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return HFBackend(ModelSpec("tiny"), "commit", model, AutoTokenizer.from_pretrained(folder))

    return make


def written(
    engine: HFBackend | PackedEngine | PaddedEngine, penalty: float, prompts: Sequence[Prompt] = PROMPTS
) -> list[str]:
    results = collect(engine.generate(prompts, TOKENS, never, penalty))
    return [text_of(results[i]) for i in range(len(prompts))]


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "gemma3", "qwen3", "bloom", "mpt", "mamba"])
def test_texts_are_those_of_transformers_own_generation(
    architecture: str,
    penalty: float,
    opened: Callable[[str], HFBackend],
    expected: Callable[[str, float], list[str]],
) -> None:
    backend = opened(architecture)
    assert backend.packed == (architecture != "mamba")
    assert written(backend, penalty) == expected(architecture, penalty)


def test_a_penalty_changes_the_texts_and_none_leaves_them(
    opened: Callable[[str], HFBackend], expected: Callable[[str, float], list[str]]
) -> None:
    """Else the other tests would prove nothing."""
    usual = written(opened("llama"), 1.0)
    assert usual == expected("llama", 1.0)
    for penalty in PENALTIES:
        assert sum(a != b for a, b in zip(usual, expected("llama", penalty), strict=True)) >= 3


WAYS = [
    (name, mode) for name in ("llama", "gpt_neox", "mamba") for mode in MODES if name != "mamba" or mode != MODES[0]
]
"""A Mamba's state takes padding in, whatever the penalty."""


@pytest.mark.parametrize(("architecture", "mode"), WAYS, ids=lambda value: getattr(value, "name", value))
def test_every_way_that_prompts_go_together_gives_the_same_texts(
    architecture: str,
    mode: BatchMode,
    opened: Callable[[str], HFBackend],
    expected: Callable[[str, float], list[str]],
) -> None:
    engine = opened(architecture)._padded_engine(mode)
    assert written(engine, 1.2) == expected(architecture, 1.2)


def test_padded_batches_that_share_their_beginning_give_the_same_texts(
    opened: Callable[[str], HFBackend], expected: Callable[[str, float], list[str]]
) -> None:
    engine = opened("llama")._padded_engine()
    assert engine.model.shares_prefix
    assert written(engine, 1.2, PROMPTS[1:4]) == expected("llama", 1.2)[1:4]
    assert engine.model.cached_prefix, "the beginning was read once"


@pytest.mark.parametrize("penalty", PENALTIES)
def test_draft_tokens_are_taken_only_where_the_penalty_leaves_them_the_best(
    penalty: float,
    opened: Callable[[str], HFBackend],
    expected: Callable[[str, float], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right, partly right, wrong, and repeated within the draft: the tokens before each of them count."""
    backend = opened("llama")
    assert isinstance(backend._engine, PackedEngine)
    right: dict[tuple[int, ...], list[int]] = {}

    def drafting(draft: Callable[[Any], list[int]]) -> list[str]:
        monkeypatch.setattr(
            Generation,
            "propose_draft",
            lambda row, most, limit: draft(row)[: max(0, limit - len(row.new) - 1)],
        )
        backend.counters.reset()
        return written(backend, penalty)

    def none(row: Any) -> list[int]:
        right[tuple(row.prompt)] = row.new
        return []

    def rest(row: Any) -> list[int]:
        return right[tuple(row.prompt)][len(row.new) :]

    texts = expected("llama", penalty)
    assert drafting(none) == texts
    assert drafting(rest) == texts
    assert backend.counters.rejected_draft_tokens == 0
    assert drafting(lambda row: [*rest(row)[:2], 5, *rest(row)[3:5]]) == texts
    assert drafting(lambda row: [row.prompt[-1]] * 4) == texts
    assert backend.counters.rejected_draft_tokens > 0


def test_an_answer_to_one_prompt_does_not_depend_on_those_asked_with_it(opened: Callable[[str], HFBackend]) -> None:
    backend = opened("llama")
    together = written(backend, 1.2)
    for i, prompt in enumerate(PROMPTS):
        assert written(backend, 1.2, [prompt]) == [together[i]]


# --- by hand --------------------------------------------------------------------------------------------


def test_a_positive_score_is_divided_once_and_a_negative_one_multiplied() -> None:
    """Scores 4, −1, 2.5, 0, −3 after tokens 0 1 1 3: with a penalty of 2 they are 2, −2, 2.5, 0, −3."""
    scores = torch.tensor([[4.0, -1.0, 2.5, 0.0, -3.0]])
    repeated = SeenTokens(2.0, [torch.tensor([0, 1, 1, 3])], scores.device)
    assert repeated.penalize(scores.clone(), 0).tolist() == [[2.0, -2.0, 2.5, 0.0, -3.0]]
    assert RepetitionPenalty(2.0, torch.ones(1, 4))(torch.tensor([[0, 1, 1, 3]]), scores).tolist() == [
        [2.0, -2.0, 2.5, 0.0, -3.0]
    ]
    assert scores.tolist() == [[4.0, -1.0, 2.5, 0.0, -3.0]]


def test_padding_is_no_token_that_was_said() -> None:
    """Row 0 is padded by two, row 1 holds token 0 in its text; what was written counts in both."""
    scores = torch.tensor([[8.0, 8.0, 8.0, 8.0]] * 2)
    processor = RepetitionPenalty(2.0, torch.tensor([[0, 0, 1], [1, 1, 1]]))
    assert processor(torch.tensor([[0, 0, 2], [0, 1, 1]]), scores).tolist() == [[8, 8, 4, 8], [4, 4, 8, 8]]
    assert processor(torch.tensor([[0, 0, 2, 3], [0, 1, 1, 3]]), scores).tolist() == [[8, 8, 4, 4], [4, 4, 8, 4]]


def test_ids_beyond_the_head_have_no_score_to_change() -> None:
    scores = torch.tensor([[8.0, 8.0]])
    assert SeenTokens(2.0, [torch.tensor([7, 1])], scores.device).penalize(scores.clone(), 0).tolist() == [[8.0, 4.0]]
    assert RepetitionPenalty(2.0, torch.ones(1, 2))(torch.tensor([[7, 1]]), scores).tolist() == [[8.0, 4.0]]


@pytest.mark.parametrize("screen", [True, False])
@pytest.mark.parametrize("penalty", [1.2, 0.5, 5.0])
def test_the_best_word_is_that_of_transformers_own_processor(screen: bool, penalty: float) -> None:
    """Over several blocks of the vocabulary, with up to half of it repeated."""
    torch.manual_seed(1)
    head = nn.Linear(24, WORDS, bias=False)
    states = torch.randn(9, 24)
    repeated = [torch.randint(0, WORDS + 3, (400 * row,)) for row in range(9)]
    words, finite = LMHead(head, screen).argmax(states, SeenTokens(penalty, repeated, states.device))
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    exact = [processor(ids[None], head(states[k : k + 1])).argmax() for k, ids in enumerate(repeated) if len(ids)]
    assert words.tolist() == [int(head(states[:1]).argmax()), *map(int, exact)]
    assert finite.all()


def test_scores_that_are_not_finite_are_told_with_a_penalty_too() -> None:
    head = nn.Linear(24, WORDS, bias=False)
    states = torch.rand(3, 24)
    states[1, 0] = math.nan
    repeated = SeenTokens(1.2, [torch.tensor([0, 1])] * 3, states.device)
    assert LMHead(head, False).argmax(states, repeated)[1].tolist() == [True, False, True]


def test_a_model_whose_scores_are_not_finite_gives_an_error_for_the_item(folder_of: Callable[[str], Path]) -> None:
    folder = folder_of("llama")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    backend = HFBackend(ModelSpec("tiny"), "commit", model, AutoTokenizer.from_pretrained(folder))
    with torch.no_grad():
        model.get_output_embeddings().weight[7] = math.inf
    for engine in (backend, backend._padded_engine(MODES[0])):
        assert {getattr(r, "kind", "") for r in collect(engine.generate(PROMPTS, 4, never, 1.2)).values()} == {
            "non_finite"
        }
