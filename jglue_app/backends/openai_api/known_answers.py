"""What a server answers to a few known questions: by this one knows again the model that answers at an address.

One short request for each interface (its text and the likeliest first tokens) and one for each way in which it gives
log-probabilities of a prompt: four at most.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api import responses
from jglue_app.backends.openai_api.bodies import PATHS, thinking_parameters
from jglue_app.backends.openai_api.capabilities import Capabilities, Interface
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.logprobs import ask_chat_logprobs, ask_logprobs
from jglue_app.backends.openai_api.responses import Answer

QUESTION = "月曜日から日曜日までの曜日を、順番にすべて書いてください。"
TEXT = "春になると、山の雪がとけて川の水が増えます。田植えの準備も、この時期に始まります。"
CONTINUED = "夏が来るころには、稲は人の膝ほどの高さになっています。"
LIMIT = 16
"""New tokens of an answer."""
CONTEXT_KEYS = ("max_model_len", "context_length", "max_context_length", "context_window")
"""Where lists of models have the context length: vLLM and SGLang, OpenRouter, LM Studio, Groq."""
MEAN_DIFFERENCE, MAX_DIFFERENCE = 0.1, 0.5
"""How much log-probabilities of the same tokens may differ between two servers of one model, on average and each:
16-bit numbers differ by a hundredth with the GPU and with what else is in the batch, weights of four bits by more."""


@dataclass(frozen=True, slots=True)
class KnownAnswers:
    """The answers of one server at a time."""

    models: tuple[str, ...]
    """Names under which the model answered."""
    fingerprints: tuple[str, ...]
    """Values of `system_fingerprint`."""
    texts: Mapping[str, str]
    """Interface → its greedy text; without one whose texts vary by themselves."""
    logprobs: Mapping[str, Mapping[str, float]]
    """What was asked → token or its place → log-probability (natural logarithm)."""
    context_length: int | None
    """As the server's list of models has it."""


def ask(client: Client, kind: str, parameters: Mapping[str, Any], text: str, tries: int) -> Answer:
    """The answer to a text, over one interface; raises RequestError."""
    endpoint = client.endpoint
    prompt = {"messages": [{"role": "user", "content": text}]} if kind == "chat" else {"prompt": text}
    read = responses.chat_answer if kind == "chat" else responses.completion_answer
    return read(endpoint, client.post(PATHS[kind], {**prompt, **parameters, **endpoint.body}, tries=tries))


def greedy_parameters(served: ServedModel, kind: str, interface: Interface) -> dict[str, Any]:
    """The parameters of a short greedy answer without a thought, as far as a server takes them."""
    parameters: dict[str, Any] = {interface.limit: LIMIT}
    parameters |= ({"temperature": 0} if interface.temperature else {}) | ({"seed": 0} if interface.seed else {})
    if kind == "chat":
        parameters |= thinking_parameters(served, "off", None, interface.thinking_off)
    return parameters


def ask_known(served: ServedModel, client: Client, can: Capabilities, tries: int = 1) -> KnownAnswers:
    """Ask a server what is known of a model.

    Args:
        served: the model on this server.
        client: of the server.
        can: what servers of this model can do.
        tries: of each request.

    Raises:
        RequestError: it does not answer, or not to this.
    """
    texts: dict[str, str] = {}
    logprobs: dict[str, Mapping[str, float]] = {}
    answers: list[Answer] = []
    for kind, interface in (("chat", can.chat), ("completions", can.completions)):
        if interface is None:
            continue
        parameters = greedy_parameters(served, kind, interface)
        if interface.top_logprobs:
            top = interface.top_logprobs
            parameters |= {"logprobs": True, "top_logprobs": top} if kind == "chat" else {"logprobs": top}
        answer = ask(client, kind, parameters, QUESTION, tries)
        answers.append(answer)
        if interface.deterministic:
            texts[kind] = answer.text or answer.reasoning or ""
        if interface.top_logprobs:
            logprobs[f"first tokens ({kind})"] = dict(answer.first_tokens)
    if can.completions is not None and can.prompt_logprobs:
        parameters = {"temperature": 0} if can.completions.temperature else {}
        values = ask_logprobs(client, can.prompt_logprobs, TEXT + CONTINUED, parameters, tries=tries)
        logprobs["log-probabilities of a prompt"] = _by_place(values)
    if can.chat is not None and can.chat_logprobs:
        turns = [{"role": "user", "content": QUESTION}]
        tokens = ask_chat_logprobs(client, can.chat.limit, turns, CONTINUED, tries=tries)
        logprobs["log-probabilities of a chat"] = _by_place([value for _, value in tokens])
    return KnownAnswers(
        models=tuple(sorted({answer.model for answer in answers} - {""})),
        fingerprints=tuple(sorted({answer.fingerprint for answer in answers} - {""})),
        texts=texts,
        logprobs=logprobs,
        context_length=listed_context_length(client, served.name),
    )


def listed_context_length(client: Client, name: str) -> int | None:
    """The context length that a server's list of models says of one; None where it says nothing."""
    listed = client.listed_models()
    return context_length_of(listed.get(name) or listed.get(f"{name}:latest") or {})


def context_length_of(row: Mapping[str, Any]) -> int | None:
    """The context length in what a list of models says of one."""
    lengths = (row.get(key) for key in CONTEXT_KEYS)
    return next((n for n in lengths if isinstance(n, int) and not isinstance(n, bool) and n > 0), None)


def differences(expected: KnownAnswers, given: KnownAnswers) -> list[str]:
    """In what two servers answer otherwise, so that they have not the same model in the same version and settings;
    empty where they may stand for each other."""
    found = []
    if expected.models and given.models and not set(given.models) & set(expected.models):
        found.append("model")
    if set(expected.fingerprints or given.fingerprints) and not set(given.fingerprints) & set(expected.fingerprints):
        found.append("system_fingerprint")
    shared = expected.texts.keys() & given.texts.keys()
    found += [f"{kind}: answer" for kind in sorted(shared) if expected.texts[kind] != given.texts[kind]]
    found += [
        name
        for name in sorted(expected.logprobs)
        if not _are_alike(expected.logprobs[name], given.logprobs.get(name, {}), partly=name.startswith("first"))
    ]
    if expected.context_length != given.context_length:
        found.append("context_length")
    return found


def _are_alike(expected: Mapping[str, float], given: Mapping[str, float], *, partly: bool) -> bool:
    """Whether log-probabilities are those of one model; of likeliest tokens the last ones may be others (`partly`)."""
    shared = expected.keys() & given.keys()
    enough = len(shared) >= 0.7 * max(len(expected), len(given)) if partly else expected.keys() == given.keys()
    if not enough:
        return False
    apart = [abs(expected[name] - given[name]) for name in shared]
    return not apart or (max(apart) <= MAX_DIFFERENCE and statistics.fmean(apart) <= MEAN_DIFFERENCE)


def _by_place(values: list[float | None]) -> dict[str, float]:
    return {str(place): value for place, value in enumerate(values) if value is not None}
