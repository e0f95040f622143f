"""`transformers serve` with the embedded model, which this process has read too."""

from __future__ import annotations

from pathlib import Path

import pytest

from jglue_app.backends.openai_api.backend import OpenAIBackend
from jglue_app.errors import InputError
from jglue_app.types import Backend, Decoding, PromptSpec
from tests.backends.contract import collect, make_prompt, never, output, text_of
from tests.real_servers.conftest import Connect, Prompts

pytestmark = pytest.mark.harness
NEW_TOKENS = 8


@pytest.fixture(scope="module")
def served(connect: Connect, transformers_serve: str, model_folder: Path) -> OpenAIBackend:
    """The model as the server answers for it, one request at a time as that works."""
    backend, can = connect(transformers_serve, str(model_folder), requests_at_once=1)
    assert can.completions and can.completions.stop and can.completions.deterministic
    assert (can.chat, can.prompt_logprobs, can.completions.top_logprobs) == (None, "", 0)
    return backend


def test_texts_are_those_of_this_process(served: OpenAIBackend, gemma: Backend, prompts: Prompts) -> None:
    items = prompts(2)
    assert {prompt.task for prompt in items} == {"jnli", "jcommonsenseqa", "jsts"}
    here, there = (collect(model.generate(items, NEW_TOKENS, never)) for model in (gemma, served))
    assert [text_of(there[i]) for i in range(6)] == [text_of(here[i]) for i in range(6)]
    for i in range(6):
        # BOS is put before the text on both sides.
        assert output(there[i]).prompt_tokens == output(here[i]).prompt_tokens
        assert not (usage := output(there[i]).usage) or not usage.estimated
    assert any(text_of(here[i]).strip() for i in range(6))


def test_texts_end_before_a_stop_string_that_the_server_leaves_in(served: OpenAIBackend, gemma: Backend) -> None:
    prompt = make_prompt("1, 2, 3, 4,", stop=("7",))
    (here,), (there,) = (list(collect(model.generate([prompt], 16, never)).values()) for model in (gemma, served))
    assert text_of(here) == text_of(there) == " 5, 6, "
    assert output(there).finish == "stop"
    # The server stops too: eight tokens, and not the sixteen that it may write.
    assert output(there).new_tokens <= 9


def test_what_it_cannot_do_is_refused_in_a_sentence(served: OpenAIBackend) -> None:
    served.check(PromptSpec(), Decoding(), ranks=True)
    with pytest.raises(InputError, match=r"cannot rank answers: its server gives no log-probabilities"):
        served.check(PromptSpec(), Decoding(method="choose"), ranks=True)
    with pytest.raises(InputError, match="does not apply a repetition penalty"):
        served.check(PromptSpec(), Decoding(repetition_penalty=1.1), ranks=True)
    # The embedded model has no chat template.
    with pytest.raises(InputError, match="answers no chats"):
        served.check(PromptSpec(format="chat"), Decoding(), ranks=True)
