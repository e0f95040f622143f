"""The engine: what it reads, and what it does when memory or time run out. That its results are right is tested with
the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine.generation import Generation
from jglue_app.backends.hf.engine.packed_engine import PackedEngine
from jglue_app.backends.hf.engine.padded_engine import PaddedEngine
from jglue_app.errors import ModelError
from jglue_app.types import ModelSpec, Output, Prompt, RunError
from tests.backends.contract import StopAfter, collect, logprobs_of, make_prompt, never, output, same, text_of

TinyModel = Callable[..., Path]
ANSWERS = ("含意", "矛盾", "中立")
HEAD = "次の二つの文の関係を答えてください。\n前提：犬が走る。\n仮説：動物が動く。\n関係：含意\n\n"
QUESTIONS = ("猫が眠る。", "空は青い。", "雨が降る。", "月が出た。")
PROMPTS = [make_prompt(f"{HEAD}前提：{q}\n関係：", ANSWERS, item_id=str(i)) for i, q in enumerate(QUESTIONS)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Watched:
    """A packed backend that notes how many tokens the model reads in each pass."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.backend = HFBackend(ModelSpec("tiny"), "commit", self.model, self.tokenizer)
        self.engine: Any = self.backend._engine
        assert isinstance(self.engine, PackedEngine)
        self.read: list[int] = []
        self.allowed = 10**9
        self.fail: Callable[[], None] = gpu_memory_runs_out
        body = self.model.base_model
        forward = body.forward

        def watched(*args: Any, **kwargs: Any) -> Any:
            tokens = kwargs["input_ids"].shape[1]
            self.read.append(tokens)
            if tokens > self.allowed:
                self.fail()
            return forward(*args, **kwargs)

        body.forward = watched

    def ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=True)["input_ids"]
        return found


def gpu_memory_runs_out() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory, on purpose")


def main_memory_runs_out() -> None:
    torch.empty(2**48)


@pytest.fixture
def watched(tiny_model: TinyModel) -> Watched:
    return Watched(tiny_model("llama"))


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("llama", PackedEngine),
        ("gpt_neox", PackedEngine),
        ("gemma3", PackedEngine),
        ("qwen3", PackedEngine),
        ("bloom", PackedEngine),
        ("mpt", PackedEngine),
    ],
)
def test_models_are_packed_where_their_attention_can_be_exchanged(
    tiny_model: TinyModel, architecture: str, kind: type
) -> None:
    folder = tiny_model(architecture)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    backend = HFBackend(ModelSpec("tiny"), "c", model, AutoTokenizer.from_pretrained(folder))
    assert isinstance(backend._engine, kind)


def test_a_model_that_gives_other_results_when_packed_is_left_as_it_was(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model("llama")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    usual = model.config._attn_implementation
    forward = model.model.layers[1].self_attn.forward

    def twice(*args: Any, **kwargs: Any) -> Any:
        out, weights = forward(*args, **kwargs)
        return (out * 2 if model.config._attn_implementation != usual else out), weights

    monkeypatch.setattr(model.model.layers[1].self_attn, "forward", twice)
    backend = HFBackend(ModelSpec("tiny"), "c", model, AutoTokenizer.from_pretrained(folder))
    assert isinstance(backend._engine, PaddedEngine)
    assert model.config._attn_implementation == usual
    assert set(collect(backend.generate(PROMPTS, 4, never))) == {0, 1, 2, 3}


def distinct(prompts: list[Prompt], watched: Watched, *, answers: bool) -> int:
    """Distinct beginnings among all that has to be read."""
    sequences = []
    for prompt in prompts:
        context = watched.ids(prompt.text)
        if answers:
            sequences += [watched.ids(prompt.text + answer)[:-1] for answer in prompt.answers]
        sequences.append(context)
    return len({tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)})


def test_choosing_reads_each_distinct_token_once(watched: Watched) -> None:
    collect(watched.backend.choose(PROMPTS, never))
    assert sum(watched.read) <= distinct(PROMPTS, watched, answers=True) + 16 * len(PROMPTS)
    naive = sum(len(watched.ids(p.text + a)) for p in PROMPTS for a in p.answers)
    assert sum(watched.read) < naive / 4


def test_the_common_beginning_is_read_once_for_all_calls(watched: Watched) -> None:
    collect(watched.backend.choose(PROMPTS[:2], never))
    first = list(watched.read)
    watched.read.clear()
    again = collect(watched.backend.choose(PROMPTS[2:], never))
    assert max(first) >= len(watched.ids(HEAD)) - 2
    assert max(watched.read) < len(watched.ids(HEAD))
    fresh = collect(watched.backend.choose([PROMPTS[2]], never))
    assert logprobs_of(again[0]) == pytest.approx(logprobs_of(fresh[0]), abs=1e-4)


def test_equal_prompts_are_read_once_and_all_answered(watched: Watched) -> None:
    one = [replace(PROMPTS[0], item_id=str(i)) for i in range(5)]
    results = collect(watched.backend.choose(one, never))
    assert sum(watched.read) < 2 * len(watched.ids(PROMPTS[0].text))
    assert [results[i] for i in range(5)] == [results[0]] * 5
    watched.read.clear()
    texts = collect(watched.backend.generate(one, 4, never))
    assert len({text_of(texts[i]) for i in range(5)}) == 1
    assert watched.read[0] < 2 * len(watched.ids(PROMPTS[0].text))


def test_a_row_that_has_ended_is_read_no_further(watched: Watched) -> None:
    whole = {i: text_of(r) for i, r in collect(watched.backend.generate(PROMPTS, 12, never)).items()}
    stopping = [replace(p, stop=(whole[i][:2],)) if i < 3 else p for i, p in enumerate(PROMPTS)]
    watched.read.clear()
    results = collect(watched.backend.generate(stopping, 12, never))
    assert [text_of(results[i]) for i in range(4)] == ["", "", "", whole[3]]
    steps = [tokens for tokens in watched.read if tokens <= 4]
    assert steps[-1] == 1
    assert sum(steps) < 30


@pytest.mark.parametrize("fail", [gpu_memory_runs_out, main_memory_runs_out])
def test_running_out_of_memory_halves_the_batch_and_changes_no_result(
    watched: Watched, fail: Callable[[], None]
) -> None:
    # Unlike each other from the first token on, so that nothing is shared.
    prompts = [make_prompt(f"{q}{HEAD[i:]}", ANSWERS, item_id=str(i)) for i, q in enumerate(QUESTIONS)]
    chosen, generated = (
        collect(watched.backend.choose(prompts, never)),
        collect(watched.backend.generate(prompts, 6, never)),
    )
    watched.allowed, watched.fail = max(len(watched.ids(p.text)) for p in prompts) + 20, fail
    watched.read.clear()
    for before, now in (
        (chosen, collect(watched.backend.choose(prompts, never))),
        (generated, collect(watched.backend.generate(prompts, 6, never))),
    ):
        assert set(now) == {0, 1, 2, 3}
        for i, result in now.items():
            same(result, before[i])
    assert max(watched.read) > watched.allowed, "it was tried"


def test_a_prompt_that_does_not_fit_at_once_is_read_in_smaller_pieces(watched: Watched) -> None:
    prompts = [make_prompt("犬", ANSWERS), make_prompt("東京は日本の首都で、" * 8, ANSWERS)]
    expected = [collect(watched.backend.generate(prompts, 4, never)), collect(watched.backend.choose(prompts, never))]
    watched.allowed = 40
    found = [collect(watched.backend.generate(prompts, 4, never)), collect(watched.backend.choose(prompts, never))]
    for now, before in zip(found, expected, strict=True):
        same(now[0], before[0])
        same(now[1], before[1])


def test_an_item_that_does_not_fit_alone_is_an_error_and_the_others_go_on(watched: Watched) -> None:
    prompts = [make_prompt("犬", ANSWERS), make_prompt("東京は日本の首都で、" * 8, ANSWERS), make_prompt("猫", ANSWERS)]
    watched.allowed = 20
    for results in (
        collect(watched.backend.generate(prompts, 4, never)),
        collect(watched.backend.choose(prompts, never)),
    ):
        error = results[1]
        assert isinstance(error, RunError)
        assert error.kind == "out_of_memory"
        assert isinstance(results[0], Output)
        assert isinstance(results[2], Output)


def test_another_failure_of_the_model_ends_the_run_with_a_sentence(watched: Watched) -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 must have the same dtype\nand more")

    watched.allowed, watched.fail = 0, fail
    for call in (watched.backend.generate(PROMPTS, 4, never), watched.backend.choose(PROMPTS, never)):
        with pytest.raises(
            ModelError, match=r"^The model failed on a batch \(mat1 and mat2 must have the same dtype\)\."
        ):
            collect(call)


def test_a_request_to_stop_ends_choosing_within_one_pass_and_writing_within_one_token(watched: Watched) -> None:
    watched.engine._max_pass_tokens = 60
    many = [make_prompt(f"{i}番目の質問です。" * 4, ANSWERS, item_id=str(i)) for i in range(12)]
    whole = collect(watched.backend.choose(many, never))
    passes = len(watched.read)
    watched.read.clear()
    results = collect(watched.backend.choose(many, StopAfter(3)))
    assert len(watched.read) <= 3 < passes
    for i, result in results.items():
        same(result, whole[i])
    watched.read.clear()
    assert collect(watched.backend.generate(PROMPTS, 40, StopAfter(4))) == {}
    assert len(watched.read) <= 6


def test_closing_gives_up_the_model_and_what_is_kept(watched: Watched) -> None:
    collect(watched.backend.choose(PROMPTS, never))
    assert watched.engine._cached_prefix[0]
    watched.backend.close()
    watched.backend.close()
    assert (watched.engine._cached_prefix, watched.engine._model) == (([], {}), None)


def test_questions_about_one_paragraph_share_it(watched: Watched) -> None:
    paragraph = "京都には古い寺がたくさんある。" * 3
    prompts = [make_prompt(f"{paragraph}質問：{q}\n答え：", item_id=str(i)) for i, q in enumerate(QUESTIONS)]
    other = [make_prompt(f"別の文章です。{p.text}", item_id=p.item_id) for p in prompts]
    results = collect(watched.backend.generate([*prompts, *other], 3, never))
    alone = {i: collect(watched.backend.generate([p], 3, never))[0] for i, p in enumerate([*prompts, *other])}
    for i, result in results.items():
        assert output(result).text == output(alone[i]).text


def test_texts_are_read_in_several_passes_and_written_together(watched: Watched) -> None:
    prompts = [make_prompt(f"{q}{HEAD[i:]}", ANSWERS, item_id=str(i)) for i, q in enumerate(QUESTIONS)]
    whole = collect(watched.backend.generate(prompts, 6, never))
    watched.engine._max_pass_tokens = 1
    watched.read.clear()
    for i, result in collect(watched.backend.generate(prompts, 6, never)).items():
        same(result, whole[i])
    assert len([tokens for tokens in watched.read if tokens > 4]) == 4, "each alone"
    assert watched.read[4] == 4, "all together"
    watched.read.clear()
    assert collect(watched.backend.generate(prompts, 6, StopAfter(3))) == {}
    assert len(watched.read) < 4


def test_no_more_texts_are_written_at_once_than_there_is_room_for(watched: Watched) -> None:
    prompts = [make_prompt(f"{q}{HEAD[i:]}", item_id=str(i)) for i, q in enumerate(QUESTIONS)]
    whole = collect(watched.backend.generate(prompts, 6, never))
    for name, value in (
        ("_max_generations", 2),
        ("_max_kv_tokens", 2 * max(len(watched.ids(p.text)) + 6 for p in prompts)),
    ):
        usual = getattr(watched.engine, name)
        setattr(watched.engine, name, value)
        watched.read.clear()
        results = collect(watched.backend.generate(prompts, 6, never))
        setattr(watched.engine, name, usual)
        assert max(tokens for tokens in watched.read if tokens <= 4) == 2
        for i, result in results.items():
            same(result, whole[i])


def propose(monkeypatch: pytest.MonkeyPatch, draft: Callable[[Any], list[int]]) -> None:
    """Have these draft tokens proposed."""

    def propose_draft(generation: Any, limit: int, max_new_tokens: int) -> list[int]:
        return draft(generation)[: max_new_tokens - len(generation.new) - 1]

    monkeypatch.setattr(Generation, "propose_draft", propose_draft)


@pytest.mark.parametrize("window", [None, 8])
def test_draft_tokens_change_no_text_only_the_number_of_forward_passes(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, window: int | None
) -> None:
    watched = Watched(tiny_model("gemma3" if window else "llama"))
    prompts = [make_prompt(f"{HEAD}{q}\n答え：", item_id=str(i)) for i, q in enumerate(QUESTIONS)]
    right: dict[tuple[int, ...], list[int]] = {}

    def none(generation: Any) -> list[int]:
        right[tuple(generation.prompt)] = generation.new
        return []

    propose(monkeypatch, none)
    expected = collect(watched.backend.generate(prompts, 12, never))
    plain = len(watched.read) - 1  # The shared prefix is cached from now on.

    def all_right(generation: Any) -> list[int]:
        return right[tuple(generation.prompt)][len(generation.new) :]

    def partly_right(generation: Any) -> list[int]:
        rest = all_right(generation)
        return [*rest[:2], 5, *rest[3:4]]

    passes = {}
    counters = watched.engine.counters
    for name, draft in (("all", all_right), ("partly", partly_right), ("wrong", lambda generation: [5, 6, 7])):
        propose(monkeypatch, draft)
        watched.read.clear()
        counters.reset()
        results = collect(watched.backend.generate(prompts, 12, never))
        for i, result in results.items():
            same(result, expected[i])
        passes[name] = len(watched.read)
        assert (counters.rejected_draft_tokens == 0) == (name == "all")
        assert counters.forward_tokens + counters.rejected_draft_tokens == sum(watched.read)
    assert passes["all"] < passes["partly"] < passes["wrong"] == plain


def test_a_sequence_has_no_more_draft_tokens_than_can_be_accepted() -> None:
    generation = Generation(0, [1, 2, 3, 4, 5, 1, 2, 6, 7, 8, 9], (), [1, 2])
    generation.lookup.draft_length = 8
    assert generation.propose_draft(4, 20) == [6, 7, 8, 9]
    assert generation.propose_draft(4, 4) == [6], "of the two tokens left one follows the draft"
    assert generation.propose_draft(4, 3) == []


def test_after_memory_ran_out_only_prompts_without_a_result_run_again(watched: Watched) -> None:
    ends = {i: text_of(result) for i, result in collect(watched.backend.generate(PROMPTS, 4, never)).items()}
    ending = [replace(p, stop=(ends[i],)) if i else p for i, p in enumerate(PROMPTS)]
    decode = watched.engine._model.decode
    steps: list[int] = []

    def fails_when_one_is_left(tokens: Sequence[int], step: Any) -> Any:
        steps.append(len(step.positions))
        if len(tokens) == 1 and steps.count(1) == 1:
            gpu_memory_runs_out()
        return decode(tokens, step)

    watched.engine._step_tokens = 0
    watched.engine._model.decode = fails_when_one_is_left
    results = list(watched.backend.generate(ending, 12, never))
    assert steps[0] == 4 and 1 in steps, "three have ended before the fourth fails"
    assert sorted(i for i, _ in results) == [0, 1, 2, 3]
