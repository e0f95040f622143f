"""What the server answers to a request that meets no fault: bodies in the shapes of OpenAI and vLLM."""

from __future__ import annotations

import base64
import hashlib
import math
import random
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.api_server.config import ApiConfig
from tests.api_server.model import BOS, END_THINK, FIRST_PIECE, THINK, Generation, LanguageModel

Json = dict[str, Any]

OPENAI_PARAMETERS = {
    *("model", "messages", "prompt", "input", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n"),
    *("stop", "seed", "logprobs", "top_logprobs", "echo", "stream", "stream_options", "user", "suffix", "best_of"),
    *("presence_penalty", "frequency_penalty", "logit_bias", "reasoning_effort", "encoding_format", "dimensions"),
    *("response_format", "service_tier", "store", "metadata"),
}


class RefusedError(Exception):
    """An answer with an error status, worded as OpenAI does."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | int | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True, slots=True)
class Answer:
    """A body with what it really took."""

    body: Json
    prompt_tokens: int = 0
    new_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks of the generation, as far as the server heeds it."""

    max_tokens: int
    stop: tuple[str, ...]
    temperature: float
    rng: random.Random
    penalty: float
    ends: bool
    keeps_stop: bool = False
    """Whether the stop string stays in the text, with the rest of its token."""

    def generate(self, model: LanguageModel, prompt: Sequence[int], max_tokens: int | None = None) -> Generation:
        """Continue a prompt."""
        answer = model.generate(
            prompt,
            self.max_tokens if max_tokens is None else max_tokens,
            self.stop,
            temperature=self.temperature,
            rng=self.rng,
            penalty=self.penalty,
            ends=self.ends,
        )
        return replace(answer, text=model.decode(answer.ids)) if self.keeps_stop else answer


# --- parameters -----------------------------------------------------------------------------------------


def _unsupported(name: str, instead: str = "") -> RefusedError:
    use = f" Use '{instead}' instead." if instead else ""
    message = f"Unsupported parameter: '{name}' is not supported with this model.{use}"
    return RefusedError(400, message, code="unsupported_parameter", param=name)


def _given(body: Mapping[str, Any], name: str) -> bool:
    return body.get(name) is not None and body[name] is not False


def check_parameters(config: ApiConfig, body: Mapping[str, Any]) -> None:
    """Refuse what the server is configured to refuse."""
    limits = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
    for name, other in limits.items():
        if body.get(name) is not None and config.token_limit == other:
            raise _unsupported(name, other)
    for name in ("echo", "prompt_logprobs", "seed", "repetition_penalty"):
        if getattr(config, name) == "refused" and _given(body, name):
            raise _unsupported(name)
    if config.top_logprobs == "refused" and _given(body, "logprobs"):
        raise _unsupported("logprobs")
    if config.temperature == "refused" and body.get("temperature") not in (None, 1):
        message = "Unsupported value: 'temperature' does not support {} with this model. Only the default (1) value"
        message = f"{message.format(body['temperature'])} is supported."
        raise RefusedError(400, message, code="unsupported_value", param="temperature")
    stop = body.get("stop")
    if stop and config.stop == "refused":
        raise _unsupported("stop")
    if isinstance(stop, list) and len(stop) > 4 and config.stop == "four":
        message = f"Invalid 'stop': array too long. Expected an array with maximum length 4, but got {len(stop)}."
        raise RefusedError(400, message, code="array_above_max_length", param="stop")
    known = OPENAI_PARAMETERS | {
        *(name for name in ("repetition_penalty", "prompt_logprobs") if getattr(config, name) != "refused"),
        *(config.reasoning_switches if config.reasoning else ()),
    }
    unknown = sorted(set(body) - known)
    if unknown and config.unknown_parameters == "refused":
        raise RefusedError(400, f"Unrecognized request argument supplied: {unknown[0]}")
    most = [body.get(name) for name in ("logprobs", "top_logprobs", "prompt_logprobs")]
    if max((n for n in most if isinstance(n, int)), default=0) > config.most_logprobs:
        raise RefusedError(400, f"Requested logprobs exceed the maximum of {config.most_logprobs}.", param="logprobs")


def _options(config: ApiConfig, body: Mapping[str, Any], default_tokens: int) -> Options:
    limits = [n for n in (body.get("max_tokens"), body.get("max_completion_tokens")) if n is not None]
    max_tokens = limits[0] if limits else default_tokens
    if max_tokens < config.least_tokens:
        raise RefusedError(400, f"max_tokens must be at least {config.least_tokens}, got {max_tokens}.")
    if config.token_limit == "ignored":
        max_tokens = 400
    stop = body.get("stop") or ()
    temperature = body.get("temperature")
    seed = body.get("seed") if config.seed == "supported" else None
    return Options(
        max_tokens,
        ((stop,) if isinstance(stop, str) else tuple(stop)) if config.stop in ("supported", "four", "kept") else (),
        1.0 if temperature is None or config.temperature != "supported" else float(temperature),
        random.Random(seed),
        float(body.get("repetition_penalty") or 1.0) if config.repetition_penalty == "supported" else 1.0,
        ends=config.token_limit != "ignored",
        keeps_stop=config.stop == "kept",
    )


def _fitting(config: ApiConfig, prompt: list[int], max_tokens: int) -> list[int]:
    return prompt[-max(1, config.context_length - max_tokens) :] if config.cuts_prompts else prompt


def _check_context(config: ApiConfig, prompt_tokens: int, max_tokens: int, param: str) -> None:
    if prompt_tokens + max_tokens <= config.context_length:
        return
    asked = prompt_tokens + max_tokens
    message = (
        f"This model's maximum context length is {config.context_length} tokens. However, you requested {asked} tokens "
        f"({prompt_tokens} in the {param}, {max_tokens} in the completion). Please reduce the length of the {param} or "
        "completion."
    )
    if config.context_wording == "vllm":
        raise RefusedError(400, message, kind="BadRequestError", code=400)
    raise RefusedError(400, message, code="context_length_exceeded", param=param)


def _usage(config: ApiConfig, prompt_tokens: int, new_tokens: int, reasoning_tokens: int | None = None) -> Json:
    if config.usage == "missing":
        return {}
    counts: Json = {"prompt_tokens": prompt_tokens, "completion_tokens": new_tokens}
    counts["total_tokens"] = prompt_tokens + new_tokens
    if config.usage == "without_bos":
        counts["prompt_tokens"] -= 1
    elif config.usage != "right":
        counts = {name: _wrong(config, count) for name, count in counts.items()}
    elif reasoning_tokens is not None and config.counts_reasoning:
        counts["completion_tokens_details"] = {"reasoning_tokens": reasoning_tokens}
    return {"usage": counts}


def _wrong(config: ApiConfig, count: int) -> int | str:
    match config.usage:
        case "negative":
            return -count - 1
        case "huge":
            return 10**15 + count
        case "strings":
            return str(count)
    return 0


def _frame(kind: str, number: int, answers_as: str, fingerprint: str | None) -> Json:
    prefix = {"chat.completion": "chatcmpl", "text_completion": "cmpl"}[kind]
    created = int(time.time())
    return {
        **{"id": f"{prefix}-{number}", "object": kind, "created": created, "model": answers_as},
        "system_fingerprint": fingerprint,
    }


# --- chat -----------------------------------------------------------------------------------------------


def thinking_effort(config: ApiConfig, body: Mapping[str, Any]) -> str:
    """`low`, `medium` or `high`; `none` where the model does not think."""
    if not config.reasoning:
        return "none"
    given = {name: body[name] for name in config.reasoning_switches if name in body}
    kwargs = given.get("chat_template_kwargs") or {}
    if given.get("enable_thinking") is False or kwargs.get("enable_thinking") is False:
        return "none"
    return str(given.get("reasoning_effort") or kwargs.get("reasoning_effort") or "medium")


def _thought(model: LanguageModel, prompt: Sequence[int], effort: str) -> list[int]:
    """Tokens of a thought, as many as the prompt and the effort say."""
    length = (4 + sum(prompt) % 8) * {"minimal": 1, "low": 1, "medium": 2, "high": 4}.get(effort, 2)
    ids: list[int] = []
    for _ in range(length):
        scores = model.scores([*prompt, *ids])
        ids.append(max(range(FIRST_PIECE, model.size), key=scores.__getitem__))
    return ids


def chat(config: ApiConfig, model: LanguageModel, body: Json, frame: tuple[int, str, str | None]) -> Answer:
    """`POST /chat/completions`."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RefusedError(400, "Missing required parameter: 'messages'.", code="missing_required_parameter")
    effort = thinking_effort(config, body)
    prompt = model.render_chat(messages, thinks=effort != "none")
    if config.reasoning and effort == "none":
        prompt += [THINK, END_THINK]
    if body.get("continue_final_message") and config.continues_turns and messages[-1].get("role") == "assistant":
        prompt = prompt[:-2]  # Without the end of its turn and the opening of another.
    options = _options(config, body, min(256, max(1, config.context_length - len(prompt))))
    prompt = _fitting(config, prompt, options.max_tokens)
    _check_context(config, len(prompt), options.max_tokens, "messages")

    thought = [*_thought(model, prompt, effort), END_THINK] if effort != "none" else []
    closed = len(thought) <= options.max_tokens
    thought = thought[: options.max_tokens]
    answer = Generation((), "length", "")
    if len(thought) < options.max_tokens:
        answer = options.generate(model, [*prompt, *thought], options.max_tokens - len(thought))
    new_tokens = len(thought) + answer.tokens

    words = model.decode(thought)
    message: Json = {"role": "assistant", "content": answer.text}
    if config.reasoning == "field":
        message |= {"content": answer.text if closed else None, "reasoning_content": words or None}
    elif config.reasoning == "tags" and thought:
        message["content"] = f"<think>{words}" + (f"</think>\n{answer.text}" if closed else "")
    choice: Json = {"index": 0, "message": message, "finish_reason": answer.finish, "logprobs": None}
    if body.get("logprobs") and config.top_logprobs == "supported":
        choice["logprobs"] = _chat_logprobs(model, prompt, [*thought, *answer.ids], body.get("top_logprobs") or 0)
    counts = _usage(config, len(prompt), new_tokens, len(thought) if config.reasoning else None)
    whole = {**_frame("chat.completion", *frame), "choices": [choice], **counts}
    if body.get("prompt_logprobs") is not None and config.prompt_logprobs == "supported":
        whole["prompt_logprobs"] = _prompt_logprobs(model, prompt, body["prompt_logprobs"])
    return Answer(whole, len(prompt), new_tokens)


def _chat_logprobs(model: LanguageModel, prompt: Sequence[int], ids: Sequence[int], n: int) -> Json:
    def entry(token: int, logprob: float) -> Json:
        return {"token": model.token_text(token), "logprob": logprob, "bytes": list(model.token_bytes(token))}

    content = []
    for i, token in enumerate(ids):
        prefix = [*prompt, *ids[:i]]
        top = [entry(*pair) for pair in model.top(prefix, n)]
        content.append({**entry(token, model.logprob(prefix, token)), "top_logprobs": top})
    return {"content": content, "refusal": None}


# --- completions ----------------------------------------------------------------------------------------


def _prompts(config: ApiConfig, model: LanguageModel, prompt: object) -> list[list[int]]:
    """Ids of each prompt of a request: a text, a list of texts, ids, or a list of lists of ids."""
    if isinstance(prompt, str):
        ids = [BOS] * config.adds_bos + model.encode(prompt)
        if not ids:
            raise RefusedError(400, "The prompt cannot be empty", kind="BadRequestError", code=400)
        return [ids]
    if not isinstance(prompt, list) or not prompt:
        raise RefusedError(400, "Missing required parameter: 'prompt'.", code="missing_required_parameter")
    if isinstance(prompt[0], int):
        if config.token_ids != "supported":
            raise RefusedError(400, "Invalid type for 'prompt': expected a string, but got an array of integers.")
        if not all(isinstance(token, int) and 0 <= token < model.size for token in prompt):
            raise RefusedError(400, "Token id is out of vocabulary", kind="BadRequestError", code=400)
        return [prompt]
    return [ids for each in prompt for ids in _prompts(config, model, each)]


def completions(config: ApiConfig, model: LanguageModel, body: Json, frame: tuple[int, str, str | None]) -> Answer:
    """`POST /completions`."""
    prompts = _prompts(config, model, body.get("prompt"))
    options = _options(config, body, config.default_tokens)
    choices, new_tokens = [], 0
    prompts = [_fitting(config, prompt, options.max_tokens) for prompt in prompts]
    for index, prompt in enumerate(prompts):
        _check_context(config, len(prompt), options.max_tokens, "prompt")
        answer = options.generate(model, prompt)
        new_tokens += answer.tokens
        echo = bool(body.get("echo")) and config.echo == "supported"
        text = (model.decode(prompt) if echo else "") + answer.text
        choice: Json = {"index": index, "text": text, "finish_reason": answer.finish, "logprobs": None}
        n = body.get("logprobs")
        if n is not None and n is not False and config.top_logprobs == "supported":
            choice["logprobs"] = _completion_logprobs(model, prompt, answer.ids, int(n), echo)
        if body.get("prompt_logprobs") is not None and config.prompt_logprobs == "supported":
            choice["prompt_logprobs"] = _prompt_logprobs(model, prompt, body["prompt_logprobs"])
        choices.append(choice)
    prompt_tokens = sum(map(len, prompts))
    counts = _usage(config, prompt_tokens, new_tokens)
    return Answer({**_frame("text_completion", *frame), "choices": choices, **counts}, prompt_tokens, new_tokens)


def _completion_logprobs(model: LanguageModel, prompt: Sequence[int], new: Sequence[int], n: int, echo: bool) -> Json:
    ids = [*prompt, *new]
    start = 0 if echo else len(prompt)
    values = model.sequence_logprobs(ids)
    texts = [model.token_text(token) for token in ids]
    offsets, at = [], 0
    for text in texts[start:]:
        offsets.append(at)
        at += len(text)
    top: list[Json | None] = []
    for i in range(start, len(ids)):
        best = model.top(ids[:i], n, ids[i]) if i and n else []
        top.append({model.token_text(token): logprob for token, logprob in best} if i else None)
    logprobs: Json = {"tokens": texts[start:], "token_logprobs": values[start:], "text_offset": offsets}
    return {**logprobs, "top_logprobs": top if n else None}


def _prompt_logprobs(model: LanguageModel, prompt: Sequence[int], n: int) -> list[Json | None]:
    """Of each token of the prompt: the n most likely ones and itself, by id, as vLLM gives them; None for the first."""
    out: list[Json | None] = [None]
    for i in range(1, len(prompt)):
        ranked, values = model.ranked(prompt[:i])
        ranks = {int(token): k + 1 for k, token in enumerate(ranked[:n])}
        ranks = {prompt[i]: int((ranked == prompt[i]).argmax()) + 1} | ranks
        out.append(
            {
                str(other): {"logprob": float(values[other]), "rank": rank, "decoded_token": model.token_text(other)}
                for other, rank in ranks.items()
            }
        )
    return out


# --- the rest -------------------------------------------------------------------------------------------

DIMENSIONS = 16


def embedding(model: LanguageModel, ids: Sequence[int]) -> list[float]:
    """Sum of a fixed random vector of each token, at length 1: texts that share tokens are close."""
    total = [0.0] * DIMENSIONS
    for token in ids:
        digest = hashlib.sha256(b"%d" % token).digest()
        total = [value + byte / 127.5 - 1 for value, byte in zip(total, digest, strict=False)]
    length = math.sqrt(sum(value * value for value in total)) or 1.0
    return [value / length for value in total]


def embeddings(config: ApiConfig, model: LanguageModel, body: Json, frame: tuple[int, str, str | None]) -> Answer:
    """`POST /embeddings`."""
    texts = _prompts(config, model, body.get("input"))
    data: list[Json] = []
    for index, ids in enumerate(texts):
        _check_context(config, len(ids), 0, "input")
        vector: object = embedding(model, ids)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *embedding(model, ids))).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(map(len, texts))
    counts = _usage(config, tokens, 0)
    return Answer({"object": "list", "data": data, "model": frame[1], **counts}, tokens)


def models(config: ApiConfig) -> Json:
    """`GET /models`, with the context length as vLLM gives it."""
    entries = [
        {"id": name, "object": "model", "created": 0, "owned_by": "tests", "max_model_len": config.context_length}
        for name in config.models
    ]
    return {"object": "list", "data": entries}
