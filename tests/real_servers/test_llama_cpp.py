"""llama.cpp's Python server with the embedded GGUF file. Opt-in: see the package.

It computes with quantized weights and activations, so that its texts need not be those of this process.
"""

from __future__ import annotations

import json
import urllib.request

import pytest

from jglue_app.backends.openai_api.backend import OpenAIBackend
from jglue_app.errors import InputError
from jglue_app.types import Backend, Decoding, PromptSpec, RunError
from tests.backends.contract import collect, logprobs_of, make_prompt, never, output, text_of
from tests.real_servers.conftest import Connect, Prompts

pytestmark = pytest.mark.harness
NEW_TOKENS = 8


@pytest.fixture(scope="module")
def served(connect: Connect, llama_cpp: str) -> OpenAIBackend:
    """The model as the server answers for it, one request at a time as that works."""
    backend, can = connect(llama_cpp, "gemma", requests_at_once=1, timeout=300)
    assert (can.prompt_logprobs, can.token_ids, can.chat_logprobs) == ("", False, False)
    return backend


def test_it_generates(served: OpenAIBackend, gemma: Backend, prompts: Prompts) -> None:
    items = [*prompts(1), make_prompt("1, 2, 3, 4,", stop=("7",))]
    here, there = (collect(model.generate(items, NEW_TOKENS, never)) for model in (gemma, served))
    assert text_of(there[3]) == " 5, 6, "
    for i in range(len(items)):
        # The same tokens, BOS among them, whatever is computed from them.
        assert output(there[i]).prompt_tokens == output(here[i]).prompt_tokens


def test_why_its_log_probabilities_of_prompts_are_not_believed(llama_cpp: str) -> None:
    body = {"prompt": "日本の首都は", "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
    request = urllib.request.Request(
        f"{llama_cpp}/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        answer = json.load(response)
    # It counts BOS, but has no value for it, so that the last of as many values is that of the new token.
    assert answer["usage"]["prompt_tokens"] == 4
    assert answer["choices"][0]["logprobs"]["tokens"][:3] == ["日本の", "首都", "は"]
    assert len(answer["choices"][0]["logprobs"]["token_logprobs"]) == 3 + answer["usage"]["completion_tokens"]


def test_only_labels_of_one_token_can_be_ranked_and_approximately(served: OpenAIBackend) -> None:
    served.check(PromptSpec(), Decoding(method="choose"), ranks=True)
    assert served.info.ranking == "first token"
    long = make_prompt("1, 2, 3, 4, 5,", answers=("含意である", "矛盾である"))
    result = collect(served.choose([make_prompt("一、二、三、", answers=("四", "五")), long], never))
    assert len(logprobs_of(result[0])) == 2 and logprobs_of(result[0])[0] > logprobs_of(result[0])[1]
    assert isinstance(result[1], RunError) and result[1].kind == "not_in_top"


def test_what_it_cannot_do_is_refused_in_a_sentence(served: OpenAIBackend) -> None:
    with pytest.raises(InputError, match="does not apply a repetition penalty"):
        served.check(PromptSpec(), Decoding(repetition_penalty=1.1), ranks=True)
