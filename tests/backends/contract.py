"""The contract of every backend. Its tests subclass `BackendContract` and give a backend and prompts for it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from jglue_app.types import Backend, Output, Prompt, RunError

Results = dict[int, Output | RunError]


def make_prompt(
    text: str,
    answers: tuple[str, ...] = ("含意", "矛盾", "中立"),
    *,
    item_id: str = "0",
    stop: tuple[str, ...] = (),
    lead: str = "",
    chat: bool = False,
) -> Prompt:
    """A prompt with this text; `chat` marks it as rendered from a chat template."""
    return Prompt(
        task="jnli",
        item_id=item_id,
        text=text,
        messages=({"role": "user", "content": text},) if chat else None,
        stop=stop,
        answers=answers,
        lead=lead,
        shot_ids=(),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def never() -> bool:
    """Nobody asks to stop."""
    return False


class StopAfter:
    """Asks to stop from the n-th question on, and counts how often it was asked."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked >= self.n


def collect(results: Iterator[tuple[int, Output | RunError]]) -> Results:
    """Results by index; an index that comes twice is an error."""
    found: Results = {}
    for i, result in results:
        assert i not in found, f"prompt {i} was answered twice"
        found[i] = result
    return found


def output(result: Output | RunError) -> Output:
    """The result, which must be an output."""
    assert isinstance(result, Output), result
    return result


def text_of(result: Output | RunError) -> str:
    """The text of a result, which must have one."""
    text = output(result).text
    assert text is not None
    return text


def logprobs_of(result: Output | RunError) -> tuple[float, ...]:
    """The log-probabilities of a result, which must have some."""
    values = output(result).choice_logprobs
    assert values is not None
    return values


def same(a: Output | RunError, b: Output | RunError) -> None:
    """Equal in all but time and what a server charged, log-probabilities to 1e-4."""
    if isinstance(a, RunError) or isinstance(b, RunError):
        assert a == b
        return
    a_rest, b_rest = (replace(output, seconds=0, choice_logprobs=None, usage=None) for output in (a, b))
    assert a_rest == b_rest
    assert a.choice_logprobs == pytest.approx(b.choice_logprobs, abs=1e-4)


class BackendContract:
    """What the rest of the package relies on."""

    NEW_TOKENS = 10
    VERBATIM = False
    """Whether the backend gives back texts made elsewhere, which it must not shorten."""
    POLLS = False
    """Whether a request to stop is also looked at by the clock, so that it is not the same number of times each run."""

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test."""
        raise NotImplementedError

    @pytest.fixture
    def closable(self, backend: Backend) -> Backend:
        """A backend that may be closed: another one, where `backend` serves several tests."""
        return backend

    @pytest.fixture
    def prompts(self) -> Sequence[Prompt]:
        """At least four prompts of different lengths with distinct item ids, no stop strings, and answers to rank.

        The backend has a text of at least three characters for each, and no two texts are equal.
        """
        raise NotImplementedError

    def generated(
        self, backend: Backend, prompts: Sequence[Prompt], should_stop: Callable[[], bool] = never
    ) -> Results:
        return collect(backend.generate(prompts, self.NEW_TOKENS, should_stop))

    def test_every_prompt_is_answered_exactly_once(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        everyone = set(range(len(prompts)))
        assert set(self.generated(backend, prompts)) == everyone
        assert set(collect(backend.choose(prompts, never))) == everyone

    def test_no_prompts_give_no_results(self, backend: Backend) -> None:
        assert self.generated(backend, []) == {}
        assert collect(backend.choose([], never)) == {}

    def test_each_result_carries_the_index_of_its_prompt(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        texts = {i: text_of(r) for i, r in self.generated(backend, prompts).items()}
        assert len(set(texts.values())) == len(prompts), "the texts must differ for this test to say anything"
        for i, prompt in enumerate(prompts):
            assert text_of(self.generated(backend, [prompt])[0]) == texts[i]

    def test_a_batch_of_one_equals_a_batch_of_many(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        generated, chosen = self.generated(backend, prompts), collect(backend.choose(prompts, never))
        for i, prompt in enumerate(prompts):
            same(self.generated(backend, [prompt])[0], generated[i])
            same(collect(backend.choose([prompt], never))[0], chosen[i])

    def test_the_order_of_the_prompts_does_not_matter(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        backwards, last = prompts[::-1], len(prompts) - 1
        generated, chosen = self.generated(backend, prompts), collect(backend.choose(prompts, never))
        for i, result in self.generated(backend, backwards).items():
            same(result, generated[last - i])
        for i, result in collect(backend.choose(backwards, never)).items():
            same(result, chosen[last - i])

    def test_the_same_prompt_twice_is_answered_twice_alike(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        twice = [prompts[0], prompts[1], prompts[0]]
        generated, chosen = self.generated(backend, twice), collect(backend.choose(twice, never))
        assert set(generated) == set(chosen) == {0, 1, 2}
        same(generated[0], generated[2])
        same(chosen[0], chosen[2])

    def test_stop_strings_are_cut_off_in_any_batch(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        if self.VERBATIM:
            pytest.skip("texts made elsewhere are given back whole")
        whole = {i: text_of(r) for i, r in self.generated(backend, prompts).items()}
        # Each prompt gets a stop string out of its own text at another place, so that rows end at different times.
        stops = {i: text[min(1 + 2 * i, len(text) - 1) :][:2] for i, text in whole.items()}
        stopping = [replace(p, stop=("never to be seen", stops[i])) for i, p in enumerate(prompts)]
        results = self.generated(backend, stopping)
        for i, prompt in enumerate(stopping):
            assert text_of(results[i]) == whole[i][: whole[i].index(stops[i])]
            assert stops[i] not in text_of(results[i])
            assert output(results[i]).finish in ("stop", "empty")
            same(self.generated(backend, [prompt])[0], results[i])

    def test_the_token_limit_holds(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        if self.VERBATIM:
            pytest.skip("texts made elsewhere are given back whole")
        whole = self.generated(backend, prompts)
        for limit in (1, 3):
            for i, result in collect(backend.generate(prompts, limit, never)).items():
                cut = output(result)
                assert 0 < cut.new_tokens <= limit
                if output(whole[i]).new_tokens > limit:
                    assert cut.finish == "length"

    def test_after_a_request_to_stop_nothing_is_answered(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        assert self.generated(backend, prompts, lambda: True) == {}
        assert collect(backend.choose(prompts, lambda: True)) == {}

    def test_a_request_to_stop_never_passes_a_piece_off_as_an_answer(
        self, backend: Backend, prompts: Sequence[Prompt]
    ) -> None:
        whole, scored = self.generated(backend, prompts), collect(backend.choose(prompts, never))
        asked = StopAfter(10**9)
        self.generated(backend, prompts, asked)
        # Wherever the request comes, what is answered is answered in full, and some prompts are left.
        for n in range(1, min(asked.asked, len(prompts) + 1) if self.POLLS else asked.asked):
            answered = self.generated(backend, prompts, StopAfter(n))
            assert len(answered) < len(prompts)
            for i, result in answered.items():
                same(result, whole[i])
            for i, result in collect(backend.choose(prompts, StopAfter(n))).items():
                same(result, scored[i])

    def test_a_consumer_may_leave_early(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        results = backend.generate(prompts, self.NEW_TOKENS, never)
        i, first = next(results)
        assert 0 <= i < len(prompts)
        del results
        same(self.generated(backend, prompts)[i], first)

    def test_every_answer_gets_one_finite_logprob_of_at_most_zero(
        self, backend: Backend, prompts: Sequence[Prompt]
    ) -> None:
        for i, result in collect(backend.choose(prompts, never)).items():
            values = logprobs_of(result)
            assert len(values) == len(prompts[i].answers)
            assert all(math.isfinite(v) and v <= 0 for v in values)
            assert output(result).finish == "scored"
            assert output(result).text is None
            assert output(result).new_tokens == 0

    def test_generation_scores_no_choices(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        assert all(output(r).choice_logprobs is None for r in self.generated(backend, prompts).values())

    def test_token_counts_and_times_are_sensible(self, backend: Backend, prompts: Sequence[Prompt]) -> None:
        shortest, longest = (f(range(len(prompts)), key=lambda i: len(prompts[i].text)) for f in (min, max))
        for results in (self.generated(backend, prompts), collect(backend.choose(prompts, never))):
            outputs = {i: output(r) for i, r in results.items()}
            assert 0 < outputs[shortest].prompt_tokens < outputs[longest].prompt_tokens
            assert all(o.seconds >= 0 for o in outputs.values())

    def test_the_facts_about_the_model_are_filled_in(self, backend: Backend) -> None:
        info = backend.info
        assert info.name
        assert info.commit
        assert info.dtype
        assert info.device
        assert info.memory_bytes >= 0
        assert info.context_length is None or info.context_length > 0

    def test_a_chat_is_rendered_with_every_turn_when_there_is_a_template(self, backend: Backend) -> None:
        if not backend.info.has_chat_template:
            pytest.skip("no chat template")
        text = backend.render_chat(
            [
                {"role": "user", "content": "一つ目"},
                {"role": "assistant", "content": "二つ目"},
                {"role": "user", "content": "三つ目"},
            ]
        )
        assert text.index("一つ目") < text.index("二つ目") < text.index("三つ目")

    def test_closing_twice_is_fine(self, closable: Backend) -> None:
        closable.close()
        closable.close()
