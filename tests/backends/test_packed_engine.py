"""The engine: what it reads, and what it does when memory or time run out. That its results are right is tested with
the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends.hf.engine import packed_engine as engine
from jglue_app.backends.hf.engine.packed_engine import Engine
from jglue_app.backends.hf.engine.padded_engine import Batcher
from jglue_app.backends.hf.load import HFBackend
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
        self.engine: Any = self.backend._batcher
        assert isinstance(self.engine, Engine)
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
        ("llama", Engine),
        ("gpt_neox", Engine),
        ("gemma3", Engine),
        ("qwen3", Engine),
        ("bloom", Batcher),
        ("mpt", Batcher),
    ],
)
def test_models_are_packed_where_their_attention_can_be_exchanged(
    tiny_model: TinyModel, architecture: str, kind: type
) -> None:
    folder = tiny_model(architecture)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    backend = HFBackend(ModelSpec("tiny"), "c", model, AutoTokenizer.from_pretrained(folder))
    assert isinstance(backend._batcher, kind)


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
    assert isinstance(backend._batcher, Batcher)
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
    watched.engine._tokens = 60
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
    assert watched.engine._kept[0]
    watched.backend.close()
    watched.backend.close()
    assert (watched.engine._kept, watched.engine._model) == (([], {}), None)


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
    watched.engine._tokens = 1
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
    for name, value in (("_rows", 2), ("_places", 2 * max(len(watched.ids(p.text)) + 6 for p in prompts))):
        usual = getattr(watched.engine, name)
        setattr(watched.engine, name, value)
        watched.read.clear()
        results = collect(watched.backend.generate(prompts, 6, never))
        setattr(watched.engine, name, usual)
        assert max(tokens for tokens in watched.read if tokens <= 4) == 2
        for i, result in results.items():
            same(result, whole[i])


def guessing(monkeypatch: pytest.MonkeyPatch, guess: Callable[[Any], list[int]]) -> None:
    monkeypatch.setattr(engine._Row, "guess", lambda row, most, max_new: guess(row)[: max_new - len(row.new) - 1])


@pytest.mark.parametrize("window", [None, 8])
def test_guesses_change_no_text_only_the_number_of_readings(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, window: int | None
) -> None:
    watched = Watched(tiny_model("gemma3" if window else "llama"))
    prompts = [make_prompt(f"{HEAD}{q}\n答え：", item_id=str(i)) for i, q in enumerate(QUESTIONS)]
    right: dict[tuple[int, ...], list[int]] = {}

    def none(row: Any) -> list[int]:
        right[tuple(row.prompt)] = row.new
        return []

    guessing(monkeypatch, none)
    expected = collect(watched.backend.generate(prompts, 12, never))
    plain = len(watched.read) - 1  # The common beginning is kept from now on.

    def all_of_it(row: Any) -> list[int]:
        return right[tuple(row.prompt)][len(row.new) :]

    def partly(row: Any) -> list[int]:
        rest = all_of_it(row)
        return [*rest[:2], 5, *rest[3:4]]

    readings = {}
    for name, guess in (("all", all_of_it), ("partly", partly), ("wrong", lambda row: [5, 6, 7])):
        guessing(monkeypatch, guess)
        watched.read.clear()
        watched.engine.work.reset()
        results = collect(watched.backend.generate(prompts, 12, never))
        for i, result in results.items():
            same(result, expected[i])
        readings[name] = len(watched.read)
        assert (watched.engine.work.refused == 0) == (name == "all")
        assert watched.engine.work.distinct + watched.engine.work.refused == sum(watched.read)
    assert readings["all"] < readings["partly"] < readings["wrong"] == plain


def test_what_stood_before_in_the_prompt_is_guessed() -> None:
    row = engine._Row(0, [1, 2, 3, 4, 5, 1, 2, 6, 7, 8, 9], ())
    row.new = [1]
    assert row.guess(4, 20) == [], "9 1 stands nowhere"
    row.new = [1, 2]
    assert row.guess(4, 20) == [6, 7], "where it stands last; two at first"
    row.trust = 8
    assert row.guess(4, 20) == [6, 7, 8, 9]
    assert row.guess(4, 4) == [6], "one of the four is left for after it"
    assert row.guess(0, 20) == []


def test_as_much_is_guessed_as_costs_nothing(watched: Watched) -> None:
    free = watched.engine._free
    assert watched.engine._most_guesses(1) == free - 1
    assert watched.engine._most_guesses(free // 2) == 1
    assert watched.engine._most_guesses(free) == watched.engine._most_guesses(10 * free) == 0
