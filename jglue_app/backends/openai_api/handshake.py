"""Finding out what a server can do, by asking it a few known things. What it takes and ignores counts as not done.

About twenty short requests for each model, once in a day. A server that answers but cannot be used at all is an error
here, before any item is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api import failures, responses
from jglue_app.backends.openai_api.bodies import PATHS, thinking_parameters
from jglue_app.backends.openai_api.capabilities import Capabilities, Handshake, Interface, keep, load
from jglue_app.backends.openai_api.client import TRIES, Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.known_answers import (
    CONTINUED,
    LIMIT,
    QUESTION,
    TEXT,
    ask,
    context_length_of,
    greedy_parameters,
)
from jglue_app.backends.openai_api.logprobs import (
    are_equal,
    are_of_prompt,
    ask_chat_logprobs,
    ask_logprobs,
    begins_with,
)
from jglue_app.backends.openai_api.responses import Answer
from jglue_app.errors import ModelError, NetworkError
from jglue_app.messages import Message
from jglue_app.money import money_text
from jglue_app.settings import Settings
from jglue_app.types import Prompt, Tokenizer

SHORT = "あ"
ANSWERS = 3
"""Answers to one prompt that are compared."""
THINKING_LIMIT = 2_048
"""New tokens of a probe where a thought has taken all of `LIMIT`."""
TOP = (20, 5)
"""Numbers of most likely tokens to ask for: the most of vLLM and of OpenAI's chats, and of OpenAI's completions."""
MAX_PROBES, MAX_PROBE_TOKENS = 30, 120
"""Requests of a handshake, and tokens of the prompt of each, at most; for the price that is told."""
MAX_BARE_TOKENS = 6
"""Tokens that `SHORT` may take with BOS and others, where no chat template is put around it."""
CHARS_PER_TOKEN = 8
"""A text of more characters for each token has more tokens than the limit, where the server does not count them."""
PENALTY = 5.0
INTERNAL_ERROR = 500
NO_MODEL = "no-model-of-this-name"
PROBE_TRIES = 2
"""Tries of a probe that a server may be unable to answer."""

Notify = Callable[[str], None]


def handshake(
    served: ServedModel,
    settings: Settings,
    tokenizer: Callable[[], Tokenizer | None],
    notify: Notify = lambda _: None,
    *,
    again: bool = False,
    verify: bool = False,
) -> Handshake:
    """What the server of a model can do: as it is kept, or found out now where that is too old.

    Args:
        served: the model.
        settings: where handshakes are kept.
        tokenizer: loads the model's tokenizer, where the endpoint names one; called if the server is asked.
        notify: called with what takes long.
        again: ask in any case.
        verify: ask what is kept one known question first, however new it is: behind an address another model may
            answer under the same name.

    Raises:
        ModelError, NetworkError: the server cannot be used.
    """
    kept = None if again else load(served, settings)
    trusted = kept is not None and kept.fresh
    if kept is not None and trusted and verify:
        trusted = _still_answers(served, kept.capabilities)
    if kept is not None and trusted:
        return kept
    client = Client(served)  # Without a key nothing is asked, and nothing is announced.
    notify(asking(served))
    try:
        found = _Probes(served, client, tokenizer()).capabilities()
    except RequestError as e:
        raise e.as_exception(NetworkError if e.transient else ModelError) from None
    finally:
        client.close()
    return keep(served, settings, found)


def asking(served: ServedModel) -> Message:
    """What a handshake does, and where it is paid, at most for how much."""
    endpoint = served.endpoint
    if not served.priced:
        return Message("Asking the endpoint {endpoint} what it can do.", endpoint=endpoint.id)
    most = (MAX_PROBES * MAX_PROBE_TOKENS * (served.facts.price_in or 0.0)) / 1e6
    most += (MAX_PROBES * LIMIT * (served.facts.price_out or 0.0)) / 1e6
    return Message(
        "Asking the endpoint {endpoint} what it can do: about 25 short requests, up to about {price}, which count into "
        "no budget.",
        endpoint=endpoint.id,
        price=money_text(most, endpoint.currency, up=True),
    )


def _still_answers(served: ServedModel, can: Capabilities) -> bool:
    """Whether a server answers a known question as at its handshake; true where that cannot be told."""
    kind = next((k for k, i in (("chat", can.chat), ("completions", can.completions)) if i and i.sample), None)
    interface = can.chat if kind == "chat" else can.completions
    if kind is None or interface is None or interface.reasoning:
        return True
    client = Client(served)
    try:
        answer = ask(client, kind, greedy_parameters(served, kind, interface), QUESTION, PROBE_TRIES)
    except RequestError:  # Said where an item is sent.
        return True
    finally:
        client.close()
    return answer.text == interface.sample and (not answer.model or answer.model in can.models)


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
                    # A server whose model has no chat template fails at each chat with status 500.
                    broken = e.transient and e.status != INTERNAL_ERROR
                    if broken or e.kind in ("no_access", "no_quota", "redirected", "too_large"):
                        raise
                    errors.append(e)
        context_length = self._check_name(found)
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
            chat_logprobs=chat is not None and self._chat_logprobs(chat),
            token_ids=token_ids,
            applies_template=completions is not None and self._applies_template(completions),
            tokens_per_character=per_character,
            overhead=overhead,
            context_length=context_length,
        )

    def _check_name(self, found: Mapping[str, Interface | None]) -> int | None:
        """The context length that the server's list of models says; None where it says nothing.

        Raises:
            RequestError: the list does not have the model, and the server answers to any name.
        """
        listed = self._client.listed_models()
        name = self._served.name
        row = listed.get(name) or listed.get(f"{name}:latest")
        if row is not None:
            return context_length_of(row)
        kind = next((kind for kind in PATHS if found[kind]), None)
        if listed and kind is not None and self._answers_to_any_name(kind, found[kind]):
            raise failures.unlisted(self._endpoint, name, list(listed))
        return None

    def _answers_to_any_name(self, kind: str, interface: Interface | None) -> bool:
        assert interface is not None
        body: dict[str, Any] = {"model": NO_MODEL, interface.limit: 1}
        body |= {"messages": [{"role": "user", "content": SHORT}]} if kind == "chat" else {"prompt": SHORT}
        try:
            self._client.post(PATHS[kind], body, tries=1)
        except RequestError:
            return False
        return True

    # --- one interface ---

    def _interface(self, kind: str) -> Interface:
        can = self._endpoint.can
        parameters, first = self._negotiate(kind)
        limit = "max_completion_tokens" if "max_completion_tokens" in parameters else "max_tokens"
        texts = [first.text]
        # A server that ignores temperature 0 and not the seed would give one drawn text again and again.
        seeded = "seed" in parameters and "temperature" in parameters
        while len(texts) < ANSWERS:
            texts.append(self.ask(kind, {**parameters, **({"seed": len(texts)} if seeded else {})}).text)
        deterministic = len(set(texts)) == 1
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
            deterministic=deterministic,
            stop=self._stops(kind, parameters, first.text) if stop is None else stop,
            top_logprobs=top,
            # Where answers vary by themselves, another one tells nothing of the penalty.
            repetition_penalty=(deterministic and self._penalizes(kind, parameters, first.text))
            if penalty is None
            else penalty,
            sample=first.text if deterministic else "",
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
                answer = self.ask(kind, parameters)
            except RequestError as e:
                changed = _without_refused(parameters, e)
                if changed is None:
                    raise
                parameters, refused = changed, e
                continue
            limit = "max_tokens" if "max_tokens" in parameters else "max_completion_tokens"
            new = answer.new_tokens
            if new is None:  # At least so many.
                new = math.ceil((len(answer.text) + len(answer.reasoning or "")) / CHARS_PER_TOKEN)
            if new > parameters[limit]:
                if limit == "max_completion_tokens":
                    raise ModelError(
                        "The endpoint {endpoint} writes on beyond the limit on new tokens that it is given "
                        "({new} of {limit}), so that its answers cannot be compared with others.",
                        endpoint=self._endpoint.id,
                        new=new,
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

    def ask(self, kind: str, parameters: Mapping[str, Any], text: str = QUESTION, tries: int = TRIES) -> Answer:
        answer = ask(self._client, kind, parameters, text, tries)
        self._models |= {answer.model} - {""}
        self._fingerprints |= {answer.fingerprint} - {""}
        return answer

    def _stops(self, kind: str, parameters: Mapping[str, Any], text: str) -> bool:
        """Whether an answer ends at a string from the middle of the answer that is known. Some servers leave the string
        in the text, with the rest of its token, which is cut off here."""
        middle = text[len(text) // 2 :][:2]
        if len(text) < 4 or not middle.strip():
            return False
        answer = self._try(kind, {**parameters, "stop": [middle]})
        if answer is None or len(answer.text) >= len(text):
            return False
        return middle not in answer.text or answer.text.startswith(text[: text.index(middle)])

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
            return self.ask(kind, parameters, tries=PROBE_TRIES)
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
            parameters = {"temperature": 0} if interface.temperature else {}
            try:
                short, long, again = (
                    ask_logprobs(self._client, way, prompt, parameters, tries=PROBE_TRIES)
                    for prompt in (context, whole, context)
                )
            except RequestError as e:
                if e.run is not None or e.kind == "unreachable":
                    raise
                continue
            # Some servers give others where a part of the prompt is in their cache.
            if are_of_prompt(long, short, same_tokens=ids is not None) and are_equal(short, again):
                return way, ids is not None
        return "", ids is not None

    def _chat_logprobs(self, interface: Interface) -> bool:
        """Whether the server gives log-probabilities of a chat that ends with an answer, after the very tokens that
        stand before an answer that it generates."""
        if interface.reasoning or self._endpoint.can.get("prompt_logprobs") is False:
            return False
        turns = [{"role": "user", "content": QUESTION}]
        try:
            before, whole, shorter, again = (
                ask_chat_logprobs(self._client, interface.limit, turns, answer, tries=PROBE_TRIES)
                for answer in (None, CONTINUED, CONTINUED[:-1], None)
            )
        except RequestError as e:
            if e.run is not None or e.kind == "unreachable":
                raise
            return False
        if not begins_with(whole, before) or len(whole) - len(before) < 3:
            return False
        if whole[-1][0] == shorter[-1][0]:  # Something follows the answer: its turn was closed.
            return False
        values = [[value for _, value in tokens] for tokens in (before, whole, again)]
        return are_of_prompt(values[1], values[0]) and are_equal(values[0], values[2])

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
            answer = self._client.post(PATHS["completions"], {"prompt": prompt, **parameters}, tries=PROBE_TRIES)
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
                counts.append(self.ask(kind, limit, text).prompt_tokens)
            except RequestError as e:
                if e.run is not None or e.kind == "unreachable":
                    raise
                return 1.0, 16
        short, long = counts
        if short is None or long is None or long <= short:
            return 1.0, 16
        per_character = (long - short) / len(CONTINUED)
        return per_character, max(0, round(short - per_character * len(TEXT)))


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
