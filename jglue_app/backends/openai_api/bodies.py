"""Bodies of requests: what a server is told of a prompt, of decoding, and of thinking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api.capabilities import Capabilities
from jglue_app.types import Prompt

PATHS = {"chat": "chat/completions", "completions": "completions"}
"""Interface → its path below the base URL."""
MAX_STOP_STRINGS = 4
"""Stop strings of a request in OpenAI's interface."""


def generation_body(
    served: ServedModel,
    can: Capabilities,
    prompt: Prompt,
    limit: int,
    thinking_tokens: int | None,
    repetition_penalty: float,
    ids: Sequence[int] | None,
) -> tuple[str, dict[str, Any]]:
    """Path and body of the request that continues a prompt greedily.

    Args:
        served: the model.
        can: what its server can do.
        prompt: what is sent: its token ids, else its text, or its turns where there are any.
        limit: most new tokens.
        thinking_tokens: those of them that are for a thought; None if it has no limit of its own.
        repetition_penalty: 1 is none.
        ids: token ids of the prompt, if these are sent.
    """
    turns = ids is None and prompt.messages is not None
    interface = can.chat if turns else can.completions
    assert interface is not None  # `OpenAIBackend.check` refuses other runs.
    body: dict[str, Any] = {interface.limit: limit}
    if interface.temperature:
        body["temperature"] = 0
    if interface.seed:
        body["seed"] = 0
    # Also where it is 1: vLLM would take another from the model's generation_config.json.
    if repetition_penalty != 1 or interface.repetition_penalty:
        body["repetition_penalty"] = repetition_penalty
    if prompt.stop and interface.stop and not interface.reasoning:
        body["stop"] = list(prompt.stop[:MAX_STOP_STRINGS])
    if turns:
        body["messages"] = [dict(message) for message in prompt.messages or ()]
        body |= thinking_parameters(served, prompt.thinking or "off", thinking_tokens, interface.thinking_off)
    else:
        body["prompt"] = list(ids) if ids is not None else prompt.text
    return PATHS["chat" if turns else "completions"], body | dict(served.endpoint.body)


def thinking_parameters(served: ServedModel, thinking: str, budget: int | None, off: str) -> dict[str, Any]:
    """What a request says of thinking, in the server's own way.

    Args:
        served: the model; one without such a way is told nothing.
        thinking: `off`, `on`, or `default`, for which nothing is said either.
        budget: most tokens of a thought; None if there is no limit of its own.
        off: the value of `reasoning_effort` for no thinking.
    """
    way, on = served.facts.thinking, thinking == "on"
    if way is None or thinking == "default":
        return {}
    if way == "reasoning_effort":
        return {"reasoning_effort": served.endpoint.thinking_on if on else off}
    limit = {"thinking_budget": budget} if on and budget is not None else {}
    if way == "enable_thinking":
        return {"enable_thinking": on, **limit}
    return {"chat_template_kwargs": {"enable_thinking": on, **limit}}


def chat_logprobs_body(limit: str, turns: Sequence[Mapping[str, str]], answer: str | None) -> dict[str, Any]:
    """The body of a request for log-probabilities of a chat; see `logprobs.ask_chat_logprobs`."""
    body: dict[str, Any] = {
        "messages": [dict(turn) for turn in turns],
        limit: 1,
        "prompt_logprobs": 0,
        "temperature": 0,
    }
    if answer is not None:
        body["messages"].append({"role": "assistant", "content": answer})
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    return body
