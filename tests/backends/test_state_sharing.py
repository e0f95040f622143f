"""Copies of a recurrent model's state: prefix, paragraph and question run once, and padding enters no state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from jglue_app.backends import open_backend
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine.outputs import decode
from jglue_app.backends.hf.engine.state_generation import Unit, batches, units
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from tests import architectures
from tests.backends.contract import StopAfter, collect, logprobs_of, make_prompt, never, output, text_of

INSTRUCTION = "次の文を読んで、質問に日本語で短く答えてください。答えだけを書きます。\n"
TEXTS = (
    INSTRUCTION + "前提：店は開いている。\n関係：",
    INSTRUCTION + "前提：男性が町を歩いている。\n仮説：人が外にいる。\n関係：",
    INSTRUCTION + "月",
    INSTRUCTION + "レビュー：とても残念でした。\n" * 5 + "評価：",
)
PROMPTS = [make_prompt(text, architectures.ANSWERS, item_id=str(i)) for i, text in enumerate(TEXTS)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def opened(name: str, folder: Path, settings: Settings) -> tuple[Any, list[list[float]]]:
    """A backend of an architecture, and the scores of its own forward pass."""
    architectures.make(name, folder)
    backend = open_backend(ModelSpec(str(folder), dtype="float32"), settings, device="cpu")
    assert isinstance(backend, HFBackend)
    plain = architectures.Plain(folder, torch.float32)
    return backend, [plain.scores(text) for text in TEXTS]


def assert_scores(backend: HFBackend, expected: list[list[float]]) -> None:
    found = collect(backend.choose(PROMPTS, never))
    assert [list(logprobs_of(found[i])) for i in range(len(TEXTS))] == [
        pytest.approx(row, abs=1e-4) for row in expected
    ]


@pytest.mark.parametrize("name", ["rwkv", "lfm2"])
def test_prefix_and_question_run_once_and_scores_are_those_of_the_model_alone(
    name: str, tmp_path: Path, settings: Settings
) -> None:
    backend, expected = opened(name, tmp_path, settings)
    backend.counters.reset()
    assert_scores(backend, expected)
    first = backend.counters.forward_tokens
    assert first < backend.counters.naive_tokens / 3
    backend.counters.reset()
    assert_scores(backend, expected)  # The state after the prefix is as it was.
    prefix = len(backend._engine.model.state_sharing.prefix)
    assert prefix > 16
    assert backend.counters.forward_tokens == first - prefix


def test_memory_that_runs_out_in_the_middle_changes_no_score(tmp_path: Path, settings: Settings) -> None:
    backend, expected = opened("rwkv", tmp_path, settings)
    sharing = backend._engine.model.state_sharing
    run, asked = sharing.run, list[int]()

    def runs_out(rows: Any, state: Any, last: int) -> Any:
        asked.append(len(rows))
        if len(asked) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory, on purpose")
        return run(rows, state, last)

    sharing.run = runs_out
    assert_scores(backend, expected)
    assert len(asked) == 5


def test_a_model_that_does_not_continue_from_its_state_runs_as_before(tmp_path: Path, settings: Settings) -> None:
    """Mamba's code in transformers takes one token at a time after the first pass."""
    backend, expected = opened("mamba", tmp_path, settings)
    assert backend._engine.model.state_sharing is None
    assert_scores(backend, expected)


def test_a_state_that_changes_results_is_not_used(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jglue_app.backends.hf.engine import state_sharing
    from jglue_app.backends.hf.engine.cache_rows import repeated as usual

    monkeypatch.setattr(state_sharing, "repeated", lambda state, rows: [part * 0.9 for part in usual(state, rows)])
    backend, expected = opened("rwkv", tmp_path, settings)
    assert backend._engine.model.state_sharing is None
    assert_scores(backend, expected)


def test_answers_of_two_tokens_are_scored_where_single_tokens_of_several_rows_mix(
    tmp_path: Path, settings: Settings
) -> None:
    """RWKV's code in transformers adds the states of all rows to each where one token of each goes in."""
    backend, _ = opened("rwkv", tmp_path, settings)
    assert backend._engine.model.state_sharing.rows == "single"
    ends = [text for text in "犬猫庭町店" if len(architectures.tokenizer()(text)["input_ids"]) == 3]
    assert len(ends) > 1
    prompt = make_prompt(TEXTS[1], tuple(ends))
    plain = architectures.Plain(tmp_path, torch.float32)
    expected = []
    for end in ends:
        ids = architectures.tokenizer()(TEXTS[1] + end)["input_ids"]
        expected.append(float(sum(plain.logprobs(ids)[k - 1, ids[k]] for k in (-2, -1))))
    assert list(logprobs_of(collect(backend.choose([prompt], never))[0])) == pytest.approx(expected, abs=1e-4)


# --- generation ---

PARAGRAPHS = (
    "今日は犬が外にいる。この犬が庭を走っている。動物が町を歩いている。京都には古い寺がたくさんある。\n",
    "東京には多くの店がある。寺は庭が大きい。\n店は閉まっている。男性が自転車に乗っている。" * 2,
)
QUESTIONS = (
    *(
        INSTRUCTION + PARAGRAPHS[0] + end
        for end in ("質問：犬はどこ。", "質問：日本の首都はどこですか。答え：", "答え")
    ),
    *(INSTRUCTION + PARAGRAPHS[1] + end for end in ("質", "質問：一年でいちばん寒い季節はいつですか。\n答え：", "")),
    INSTRUCTION + "月",
    INSTRUCTION + "レビュー：とても残念でした。\n" * 5 + "評価：",
)
"""Two paragraphs with three questions each, one of them no question at all, and two prompts with nothing in common but
the instruction: one token, and many."""
SHARED = 0.5
"""Part of the tokens of `QUESTIONS` that go in at most, where the paragraphs are shared."""


def assert_texts(backend: HFBackend, texts: tuple[str, ...], *, stop: tuple[str, ...] = ()) -> None:
    """The texts are those that plain transformers writes, greedily and one at a time, up to a stop string."""
    plain = architectures.Plain(Path(backend.info.name), torch.float32)
    prompts = [make_prompt(text, (), item_id=str(i), stop=stop) for i, text in enumerate(texts)]
    found = collect(backend.generate(prompts, architectures.NEW_TOKENS, never))
    assert sorted(found) == list(range(len(texts)))
    for i, text in enumerate(texts):
        expected = decode(backend.tokenizer, plain.written(text).ids)
        for end in stop:
            expected = expected.partition(end)[0]
        assert text_of(found[i]) == expected, i


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("lfm2", SHARED),  # Convolutions between layers of attention.
        pytest.param("mamba2", SHARED, marks=pytest.mark.slow),
        pytest.param("qwen3_5_text", SHARED, marks=pytest.mark.slow),
        pytest.param("falcon_h1", SHARED, marks=pytest.mark.slow),  # A state and attention in one layer.
        pytest.param("granitemoehybrid", SHARED, marks=pytest.mark.slow),
        pytest.param("rwkv", SHARED, marks=pytest.mark.slow),  # One row at a time.
        pytest.param("minimax", 1, marks=pytest.mark.slow),  # Rows of one length; a cache of a class of its own.
        pytest.param("mamba", 2, marks=pytest.mark.slow),  # Nothing is shared.
        pytest.param("jamba", 2, marks=pytest.mark.slow),
        pytest.param("recurrent_gemma", 2, marks=pytest.mark.slow),
    ],
)
def test_prefix_and_paragraphs_run_once_and_texts_are_those_of_the_model_alone(
    name: str, part: float, tmp_path: Path, settings: Settings
) -> None:
    backend, _ = opened(name, tmp_path, settings)
    backend.counters.reset()
    assert_texts(backend, QUESTIONS)
    assert backend.counters.forward_tokens < part * backend.counters.naive_tokens
    assert_texts(backend, QUESTIONS[:1])  # From the state that is kept of the prefix, and no other.
    assert_texts(backend, (INSTRUCTION, INSTRUCTION + "月"))


def test_a_stop_string_ends_a_row_and_the_others_go_on(tmp_path: Path, settings: Settings) -> None:
    backend, _ = opened("lfm2", tmp_path, settings)
    found = collect(backend.generate([make_prompt(QUESTIONS[0], ())], architectures.NEW_TOKENS, never))
    middle = text_of(found[0])[2:3]
    assert middle
    assert_texts(backend, QUESTIONS, stop=(middle,))


def test_a_repetition_penalty_counts_the_whole_prompt(tmp_path: Path, settings: Settings) -> None:
    backend, _ = opened("lfm2", tmp_path, settings)
    prompts = [make_prompt(text, (), item_id=str(i)) for i, text in enumerate(QUESTIONS)]
    found = collect(backend.generate(prompts, 8, never, 1.7))
    model = architectures.Plain(tmp_path, torch.float32).model
    for i, text in enumerate(QUESTIONS):
        ids = architectures.tokenizer()(text, return_tensors="pt")["input_ids"]
        options = {"max_new_tokens": 8, "do_sample": False, "repetition_penalty": 1.7, "pad_token_id": 2}
        new = model.generate(ids, **options)[0, ids.shape[1] :].tolist()
        assert text_of(found[i]) == decode(backend.tokenizer, new[: new.index(1)] if 1 in new else new), i


def test_memory_that_runs_out_while_writing_halves_the_batch_and_changes_no_text(
    tmp_path: Path, settings: Settings
) -> None:
    backend, _ = opened("lfm2", tmp_path, settings)
    sharing = backend._engine.model.state_sharing
    step, asked = sharing.step, list[int]()

    def runs_out(tokens: Any, batch: Any) -> Any:
        asked.append(len(tokens))
        if len(tokens) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory, on purpose")
        return step(tokens, batch)

    sharing.step = runs_out
    assert_texts(backend, QUESTIONS)
    assert asked[0] == len(QUESTIONS)
    assert max(asked[1:]) == 4


def test_a_request_to_stop_ends_a_batch_between_two_tokens(tmp_path: Path, settings: Settings) -> None:
    backend, _ = opened("lfm2", tmp_path, settings)
    prompts = [make_prompt(text, (), item_id=str(i)) for i, text in enumerate(QUESTIONS)]
    whole = StopAfter(10**9)
    texts = collect(backend.generate(prompts, architectures.NEW_TOKENS, whole))
    early = StopAfter(whole.asked - 8)
    some = collect(backend.generate(prompts, architectures.NEW_TOKENS, early))
    assert early.asked < whole.asked
    assert len(some) < len(texts)
    assert all(output(result).text == text_of(texts[i]) for i, result in some.items())


def test_prompts_that_share_a_paragraph_are_units_of_near_lengths() -> None:
    prefix, paragraph = list(range(20)), list(range(100, 140))
    prompts = {
        0: [*prefix, *paragraph, *range(200, 203)],
        1: [*prefix, *paragraph, *range(210, 240)],
        2: [*prefix, *paragraph, *range(250, 255)],
        3: [*prefix, 7],
        4: [*prefix, 8, 9],
        5: [*prefix, *paragraph[:16], 1],  # With the others they would share much less.
    }
    found = units(prompts, len(prefix), 10, lambda tokens: 8, group=True)
    assert found == [Unit(60, [1]), Unit(60, [2, 0]), Unit(20, [5]), Unit(20, [4, 3])]
    assert list(batches(found, lambda unit: 3)) == [found[:2], found[2:]]
    assert units(prompts, len(prefix), 10, lambda tokens: 2, group=False) == [
        *(Unit(20, [1]), Unit(20, [2, 0])),
        *(Unit(20, [5]), Unit(20, [4, 3])),
    ]
    # Without a prefix, those that share nothing are left out.
    assert units({6: [1, 2], 7: [1, 3]}, 0, 10, lambda tokens: 8, group=True) == []
