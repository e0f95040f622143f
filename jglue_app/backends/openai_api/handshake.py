"""Finding out what a server can do, by asking it a few known things. What it takes and ignores counts as not done.

About twenty short requests for each model, once in a day. A server that answers but cannot be used at all is an error
here, before any item is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jglue_app.backends.endpoints import ServedModel
from jglue_app.backends.openai_api import failures, responses
from jglue_app.backends.openai_api.capabilities import Capabilities, Handshake, Interface, keep, load
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.responses import Answer
from jglue_app.errors import ModelError
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import Prompt, Tokenizer

QUESTION = "月曜日から日曜日までの曜日を、順番にすべて書いてください。"
TEXT = "春になると、山の雪がとけて川の水が増えます。田植えの準備も、この時期に始まります。"
CONTINUED = "夏が来るころには、稲は人の膝ほどの高さになっています。"
SHORT = "あ"
TRIES = 3
"""Answers to one prompt that are compared."""
LIMIT, THINKING_LIMIT = 16, 2_048
"""New tokens of a probe, and of one where a thought has taken them all."""
TOP = (20, 5)
"""Numbers of most likely tokens to ask for: the most of vLLM and of OpenAI's chats, and of OpenAI's completions."""
MAX_BARE_TOKENS = 6
"""Tokens that `SHORT` may take with BOS and others, where no chat template is put around it."""
MAX_DIFFERENCE = 0.5
"""How much the log-probability of a token may differ by what stands behind it, through rounding."""
PENALTY = 5.0
PATHS = {"chat": "chat/completions", "completions": "completions"}

Notify = Callable[[str], None]


def handshake(
    served: ServedModel,
    settings: Settings,
    tokenizer: Callable[[], Tokenizer | None],
    notify: Notify = lambda _: None,
    *,
    again: bool = False,
) -> Handshake:
    """What the server of a model can do: as it is kept, or found out now where that is too old.

    Args:
        served: the model.
        settings: where handshakes are kept.
        tokenizer: loads the model's tokenizer, where the endpoint names one; called if the server is asked.
        notify: called with what takes long.
        again: ask in any case.

    Raises:
        ModelError, NetworkError: the server cannot be used.
    """
    kept = None if again else load(served, settings)
    if kept is not None and kept.fresh:
        return kept
    notify(Message("Asking the endpoint {endpoint} what it can do.", endpoint=served.endpoint.id))
    client = Client(served)
    try:
        found = _Probes(served, client, tokenizer()).capabilities()
    except RequestError as e:
        raise e.as_exception() from None
    finally:
        client.close()
    return keep(served, settings, found)


def as_token_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of a bare text as a prompt, with what the tokenizer puts before it."""
    return tokenizer.encode(Prompt("", "", text, messages=None, stop=(), answers=(), lead="", shot_ids=(), sha256=""))


class _Probes:
    """The questions of one handshake, and what is seen on the way."""

    def __init__(self, served: ServedModel, client: Client, tokenizer: Tokenizer | None) -> None:
        self._served, self._client, self._tokenizer = served, client, tokenizer
        self._endpoint = served.endpoint
        self._models: set[str] = set()
        self._fingerprints: set[str] = set()

    def capabilities(self) -> Capabilities:
        """Everything; raises RequestError or ModelError if the server answers in no interface."""
        found: dict[str, Interface | None] = {}
        errors: list[RequestError] = []
        for kind in PATHS:
            found[kind] = None
            if kind in self._endpoint.interfaces:
                try:
                    found[kind] = self._interface(kind)
                except RequestError as e:
                    if e.transient or e.kind in ("no_access", "no_quota", "redirected", "too_large"):
                        raise
                    errors.append(e)
        chat, completions = found["chat"], found["completions"]
        if chat is None and completions is None:
            raise next((e for e in errors if e.kind == "no_model"), errors[0])
        way, token_ids = self._prompt_logprobs(completions) if completions else ("", False)
        per_character, overhead = self._sizes(chat, completions)
        return Capabilities(
            models=tuple(sorted(self._models)),
            fingerprints=tuple(sorted(self._fingerprints)),
            chat=chat,
            completions=completions,
            prompt_logprobs=way,
            token_ids=token_ids,
            applies_template=completions is not None and self._applies_template(completions),
            tokens_per_character=per_character,
            overhead=overhead,
        )

    # --- one interface ---

    def _interface(self, kind: str) -> Interface:
        can = self._endpoint.can
        parameters, first = self._negotiate(kind)
        limit = "max_completion_tokens" if "max_completion_tokens" in parameters else "max_tokens"
        texts = [first.text]
        while len(texts) < TRIES:
            texts.append(self._ask(kind, parameters).text)
        reasoning = bool(first.reasoning or first.reasoning_tokens)
        top = 0
        if not reasoning and can.get("top_logprobs") is not False:
            top = self._top_logprobs(kind, {**parameters, limit: 1})
        stop, penalty = can.get("stop"), can.get("repetition_penalty")
        thinking_off = parameters.get("reasoning_effort", "")
        return Interface(
            limit=limit,
            temperature="temperature" in parameters and can.get("temperature") is not False,
            seed="seed" in parameters and can.get("seed") is not False,
            deterministic=len(set(texts)) == 1,
            stop=self._stops(kind, parameters, first.text) if stop is None else stop,
            top_logprobs=top,
            repetition_penalty=self._penalizes(kind, parameters, first.text) if penalty is None else penalty,
            usage=first.prompt_tokens is not None and first.new_tokens is not None,
            reasoning=reasoning,
            thinking_off=str(thinking_off),
        )

    def _negotiate(self, kind: str) -> tuple[dict[str, Any], Answer]:
        """The parameters that the server takes for a greedy answer of a few tokens, and that answer."""
        parameters: dict[str, Any] = {"max_tokens": LIMIT, "temperature": 0, "seed": 0, **self._thinking(kind)}
        if self._endpoint.can.get("seed") is False:
            del parameters["seed"]
        if self._endpoint.can.get("temperature") is False:
            del parameters["temperature"]
        refused: RequestError | None = None
        for _ in range(8):
            try:
                answer = self._ask(kind, parameters)
            except RequestError as e:
                changed = _without_refused(parameters, e)
                if changed is None:
                    raise
                parameters, refused = changed, e
                continue
            limit = "max_tokens" if "max_tokens" in parameters else "max_completion_tokens"
            if answer.new_tokens is not None and answer.new_tokens > parameters[limit]:
                if limit == "max_completion_tokens":
                    raise ModelError(
                        "The endpoint {endpoint} writes on beyond the limit on new tokens that it is given "
                        "({new} of {limit}), so that its answers cannot be compared with others.",
                        endpoint=self._endpoint.id,
                        new=answer.new_tokens,
                        limit=parameters[limit],
                    )
                parameters = _renamed(parameters)
                continue
            if not answer.text and answer.finish == "length" and parameters[limit] == LIMIT:
                parameters[limit] = THINKING_LIMIT  # A thought has taken them all.
                continue
            return parameters, answer
        raise refused or failures.other_shape(self._endpoint, "choices")

    def _thinking(self, kind: str) -> dict[str, Any]:
        if kind != "chat" or self._served.facts.thinking is None:
            return {}
        return thinking_parameters(self._served, "off", None, self._endpoint.thinking_off)

    def _ask(self, kind: str, parameters: Mapping[str, Any], text: str = QUESTION) -> Answer:
        if kind == "chat":
            body = {"messages": [{"role": "user", "content": text}], **parameters, **self._endpoint.body}
            answer = responses.chat_answer(self._endpoint, self._client.post(PATHS[kind], body))
        else:
            body = {"prompt": text, **parameters, **self._endpoint.body}
            answer = responses.completion_answer(self._endpoint, self._client.post(PATHS[kind], body))
        self._models |= {answer.model} - {""}
        self._fingerprints |= {answer.fingerprint} - {""}
        return answer

    def _stops(self, kind: str, parameters: Mapping[str, Any], text: str) -> bool:
        """Whether an answer ends at a string from the middle of the answer that is known."""
        middle = text[len(text) // 2 :][:2]
        if len(text) < 4 or not middle.strip():
            return False
        answer = self._try(kind, {**parameters, "stop": [middle]})
        return answer is not None and middle not in answer.text and len(answer.text) < len(text)

    def _top_logprobs(self, kind: str, parameters: Mapping[str, Any]) -> int:
        for count in TOP:
            more = {"logprobs": True, "top_logprobs": count} if kind == "chat" else {"logprobs": count}
            answer = self._try(kind, {**parameters, **more})
            if answer is not None and len(answer.first_tokens) >= min(count, 5):
                return min(count, len(answer.first_tokens))
        return 0

    def _penalizes(self, kind: str, parameters: Mapping[str, Any], text: str) -> bool:
        """Whether a high penalty changes the answer, in a text that repeats itself."""
        answer = self._try(kind, {**parameters, "repetition_penalty": PENALTY})
        return answer is not None and answer.text != text

    def _try(self, kind: str, parameters: Mapping[str, Any]) -> Answer | None:
        """An answer; None where the server does not take the parameters."""
        try:
            return self._ask(kind, parameters)
        except RequestError as e:
            if e.run is not None or e.kind == "unreachable":
                raise
            return None

    # --- log-probabilities of prompts ---

    def _prompt_logprobs(self, interface: Interface) -> tuple[str, bool]:
        """How the server gives log-probabilities of a prompt, and whether it takes token ids."""
        ids = self._token_ids(interface)
        if self._endpoint.can.get("prompt_logprobs") is False:
            return "", ids is not None
        whole: Any = TEXT + CONTINUED
        context: Any = TEXT
        if ids is not None:
            whole, context = ids, ids[: len(ids) // 2]
        for way in ("echo", "prompt_logprobs"):
            try:
                long = ask_logprobs(self._client, way, whole, {"temperature": 0} if interface.temperature else {})
                short = ask_logprobs(self._client, way, context, {"temperature": 0} if interface.temperature else {})
            except RequestError as e:
                if e.run is not None or e.kind == "unreachable":
                    raise
                continue
            if _are_of_prompt(long, short):
                return way, ids is not None
        return "", ids is not None

    def _token_ids(self, interface: Interface) -> list[int] | None:
        """Ids of the text, if the endpoint names a tokenizer and the server takes ids.

        Raises:
            ModelError: the tokenizer is not that of the model on the server.
        """
        if self._tokenizer is None or self._endpoint.can.get("token_ids") is False:
            return None
        ids = as_token_ids(self._tokenizer, TEXT + CONTINUED)
        # A server may put BOS before a text, or not.
        bare = len(self._tokenizer.encode_text(TEXT + CONTINUED))
        limit = {interface.limit: 1}
        text = self._try_prompt(TEXT + CONTINUED, limit)
        if text is not None and text.prompt_tokens is not None and not (bare <= text.prompt_tokens <= bare + 2):
            raise ModelError(
                "The tokenizer {tokenizer} of the endpoint {endpoint} makes {count} tokens of a text of which the "
                "server makes {other}: it is not that of {model}. Correct it in endpoints.toml, or leave it out.",
                tokenizer=self._served.facts.tokenizer,
                endpoint=self._endpoint.id,
                count=bare,
                other=text.prompt_tokens,
                model=self._served.name,
            )
        answer = self._try_prompt(ids, limit)
        return ids if answer is not None and answer.prompt_tokens == len(ids) else None

    def _try_prompt(self, prompt: Any, parameters: Mapping[str, Any]) -> Answer | None:
        try:
            answer = self._client.post(PATHS["completions"], {"prompt": prompt, **parameters})
            return responses.completion_answer(self._endpoint, answer)
        except RequestError as e:
            if e.run is not None or e.kind == "unreachable":
                raise
            return None

    def _applies_template(self, interface: Interface) -> bool:
        answer = self._try_prompt(SHORT, {interface.limit: 1})
        return answer is not None and (answer.prompt_tokens or 0) > MAX_BARE_TOKENS

    def _sizes(self, chat: Interface | None, completions: Interface | None) -> tuple[float, int]:
        """Tokens per character of Japanese text, and tokens of a chat besides its text."""
        kind, interface = ("chat", chat) if chat else ("completions", completions)
        assert interface is not None
        if not interface.usage:
            return 1.0, 16
        limit = {interface.limit: THINKING_LIMIT if interface.reasoning else 1}
        counts = []
        for text in (TEXT, TEXT + CONTINUED):
            try:
                counts.append(self._ask(kind, limit, text).prompt_tokens)
            except RequestError as e:
                if e.run is not None or e.kind == "unreachable":
                    raise
                return 1.0, 16
        short, long = counts
        if short is None or long is None or long <= short:
            return 1.0, 16
        per_character = (long - short) / len(CONTINUED)
        return per_character, max(0, round(short - per_character * len(TEXT)))


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


def ask_logprobs(
    client: Client, way: str, prompt: str | list[int], parameters: Mapping[str, Any], **more: Any
) -> list[float | None]:
    """Log-probabilities of the tokens of a prompt; that of the first is None.

    Args:
        client: of the server.
        way: `echo` or `prompt_logprobs`.
        prompt: a text or its token ids.
        parameters: further ones of the request.
        more: further arguments of `Client.post`.

    Raises:
        RequestError: the server gives none.
    """
    body: dict[str, Any] = {"prompt": prompt, "max_tokens": 1, **parameters}
    body |= {"echo": True, "logprobs": 1} if way == "echo" else {"prompt_logprobs": 0}
    answer = client.post(PATHS["completions"], body, **more)
    read = responses.echoed_logprobs if way == "echo" else responses.prompt_logprobs
    return read(client.endpoint, answer)


def _are_of_prompt(long: list[float | None], short: list[float | None]) -> bool:
    """Whether two lists are log-probabilities of a text and of its beginning: equal where both have a value. The last
    token of the beginning may be another in the whole."""
    shared = [(a, b) for a, b in zip(long[1:], short[1:-1], strict=False) if a is not None and b is not None]
    if len(long) <= len(short) or len(shared) < 3 or len({a for a, _ in shared}) < 3:
        return False
    return sum(abs(a - b) <= MAX_DIFFERENCE for a, b in shared) >= 0.9 * len(shared)


def _renamed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the other name of the limit."""
    names = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
    return {names.get(name, name): value for name, value in parameters.items()}


def _without_refused(parameters: Mapping[str, Any], error: RequestError) -> dict[str, Any] | None:
    """The parameters without what the server does not take; None if nothing can be left out."""
    if error.kind != failures.REFUSED:
        return None
    detail = error.detail
    if "max_tokens" in parameters and ("max_tokens" in detail or "max_completion_tokens" in detail):
        return _renamed(parameters)
    if "reasoning_effort" in parameters and ("reasoning" in detail or "effort" in detail):
        weaker = {"none": "minimal", "minimal": "low"}.get(str(parameters["reasoning_effort"]))
        return {**parameters, "reasoning_effort": weaker} if weaker else None
    for name in ("temperature", "seed", "enable_thinking", "chat_template_kwargs"):
        if name in parameters and name in detail:
            return {key: value for key, value in parameters.items() if key != name}
    # It does not say what it does not take.
    for name in ("seed", "temperature"):
        if name in parameters:
            return {key: value for key, value in parameters.items() if key != name}
    return None
