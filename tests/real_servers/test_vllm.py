"""vLLM with the embedded model and adapters, beside this process. Opt-in: see the package."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from jglue_app.backends import open_backend
from jglue_app.backends.openai_api.backend import OpenAIBackend
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, Prompt
from tests.backends.contract import collect, logprobs_of, make_prompt, never, output, text_of
from tests.real_servers.conftest import Connect, Prompts

pytestmark = pytest.mark.harness
NEW_TOKENS = 8
RARE = make_prompt("鱻という漢字と😀の絵文字、𠮷野家の", answers=("𠮷", "牛丼", "鱻😀", "the end"))
"""Characters that are several tokens, one for each byte."""


@pytest.fixture(scope="module")
def by_ids(connect: Connect, vllm: str, model_folder: Path) -> OpenAIBackend:
    """The model, sent token ids."""
    backend, can = connect(vllm, "gemma", tokenizer=str(model_folder))
    assert can.token_ids and can.prompt_logprobs and can.context_length == 4096
    assert can.chat and can.completions and can.completions.stop and can.completions.repetition_penalty
    return backend


@pytest.fixture(scope="module")
def by_texts(connect: Connect, vllm: str) -> OpenAIBackend:
    """The model, sent texts."""
    backend, can = connect(vllm, "gemma")
    assert not can.token_ids and can.prompt_logprobs
    return backend


@pytest.mark.parametrize("way", ["by_ids", "by_texts"])
def test_log_probabilities_are_those_of_this_process(
    way: str, request: pytest.FixtureRequest, gemma: Backend, prompts: Prompts
) -> None:
    served: Backend = request.getfixturevalue(way)
    items: list[Prompt] = [*(prompt for prompt in prompts(2) if prompt.answers), RARE]
    assert len(items) == 5
    here, there = (collect(model.choose(items, never)) for model in (gemma, served))
    for i in range(len(items)):
        assert len(logprobs_of(here[i])) == len(items[i].answers)
        assert logprobs_of(there[i]) == pytest.approx(logprobs_of(here[i]), abs=1e-3)


@pytest.mark.parametrize("way", ["by_ids", "by_texts"])
def test_texts_are_those_of_this_process(
    way: str, request: pytest.FixtureRequest, gemma: Backend, prompts: Prompts
) -> None:
    served: Backend = request.getfixturevalue(way)
    items = [*prompts(2), make_prompt("1, 2, 3, 4,", stop=("7",))]
    here, there = (collect(model.generate(items, NEW_TOKENS, never)) for model in (gemma, served))
    assert [text_of(there[i]) for i in range(len(items))] == [text_of(here[i]) for i in range(len(items))]
    assert [output(there[i]).prompt_tokens for i in range(7)] == [output(here[i]).prompt_tokens for i in range(7)]
    assert text_of(there[6]) == " 5, 6, "


@pytest.mark.parametrize("name", ["one", "two"])
def test_an_adapter_of_the_server_is_a_model_of_its_own(
    name: str,
    connect: Connect,
    vllm: str,
    adapters: dict[str, Path],
    model_folder: Path,
    shared_settings: Settings,
    prompts: Prompts,
    gemma: Backend,
) -> None:
    served, _ = connect(vllm, name, tokenizer=str(model_folder))
    here = open_backend(ModelSpec("gemma-3-270m", adapter=str(adapters[name])), shared_settings, device="cpu")
    items = [prompt for prompt in prompts(1) if prompt.answers]
    with contextlib.closing(here):
        expected, plain, found = (collect(model.choose(items, never)) for model in (here, gemma, served))
    for i in range(2):
        assert logprobs_of(found[i]) == pytest.approx(logprobs_of(expected[i]), abs=1e-3)
        assert logprobs_of(found[i]) != pytest.approx(logprobs_of(plain[i]), abs=0.1)
