"""A model on a server as a backend: prompts become requests, many at once, and answers become outputs.

Three ways to ask, as the prompt and the server have it:

- Chats are sent as turns, and the server's own template renders them. Their text here is only for people.
- With a tokenizer that the endpoint names, prompts (chats too) are rendered and encoded here and sent as token ids.
- Other texts are sent as texts, and the server encodes them.

Answers are ranked by log-probabilities of the prompt's tokens where the server gives them: the prompt with each answer
is sent, and what stands behind the prompt's own tokens is summed, as lm-eval does. Where it gives only the most likely
first tokens of an answer, labels that are single tokens are ranked by these, which is approximate.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.endpoints import served_model
from jglue_app.backends.openai_api import capabilities as kept
from jglue_app.backends.openai_api import failures
from jglue_app.backends.openai_api.bodies import generation_body
from jglue_app.backends.openai_api.capabilities import Capabilities, Handshake
from jglue_app.backends.openai_api.connection import Connection, connect, forget, what_it_can
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.next_tokens import next_tokens
from jglue_app.backends.openai_api.paid_answers import PaidAnswers
from jglue_app.backends.openai_api.parallel import in_parallel
from jglue_app.backends.openai_api.pool_handshake import ServerState, survey
from jglue_app.backends.openai_api.ranking import FIRST_TOKEN, rank, ways_to_rank
from jglue_app.backends.openai_api.rechecks import Recheck
from jglue_app.backends.openai_api.refusals import refuse_what_it_cannot
from jglue_app.backends.openai_api.requests import Exchange, OutOfBudgetError, output_of
from jglue_app.errors import InputError, ModelError, NetworkError
from jglue_app.messages import Joined
from jglue_app.settings import Settings
from jglue_app.types import (
    Account,
    Decoding,
    Doubt,
    ModelInfo,
    ModelSpec,
    NextTokens,
    Output,
    Prompt,
    PromptSpec,
    RunError,
    Tokenizer,
    Usage,
)

Result = tuple[int, Output | RunError]
Notify = Callable[[str], None]
GIVE_UP_AFTER = 6
"""Items in a row that a server fails at, each tried several times, after which the run ends."""
SERVER_FAULTS = ("unreachable", "timeout", "server_error", "rate_limited", "not_json")


def open_model(
    spec: ModelSpec, settings: Settings, device: str, notify: Notify, *, needs_template: bool = False
) -> OpenAIBackend:
    """Connect to the server of a model; see `backends.open_backend`.

    Raises:
        InputError: the endpoint is not described, or its key is missing.
        ModelError, NetworkError: the server cannot be used.
    """
    _reject_local_options(spec)
    served = served_model(spec.id, settings)
    tokenizer = _tokenizer(served, settings, notify)
    connection, found, recheck = connect(served, settings, lambda: tokenizer, notify)
    return OpenAIBackend(served, settings, found, connection, recheck, tokenizer)


def memory_needed(spec: ModelSpec, settings: Settings, device: str = "auto") -> int | None:
    """Bytes of this machine that the weights need: none."""
    return 0


def memory_free(device: str) -> int:
    """Bytes free; irrelevant for a model on a server."""
    return 1


def identity(
    spec: ModelSpec,
    settings: Settings,
    notify: Notify = lambda _: None,
    *,
    again: bool = False,
    verify: bool = False,
) -> dict[str, str]:
    """What distinguishes runs of a model on a server: name → value, of its handshake and of endpoints.toml.

    Args:
        spec: the model.
        settings: where endpoints are described and handshakes kept.
        notify: called with what takes long.
        again: ask the server, though that was done within a day.
        verify: ask it one known question, so that another model under the same name is noticed.

    Raises:
        InputError, ModelError, NetworkError: as `open_model`.
    """
    _reject_local_options(spec)
    served = served_model(spec.id, settings)
    found = what_it_can(
        served, settings, lambda: _tokenizer(served, settings, notify), notify, again=again, verify=verify
    )
    return found.identity | kept.described(served)


def servers(
    spec: ModelSpec, settings: Settings, notify: Notify = lambda _: None
) -> tuple[dict[str, str] | None, list[ServerState]]:
    """The servers of a model, each asked now.

    Returns:
        What distinguishes runs of the model, as `identity`; None where no server of a pool answers, or they differ. And
        the state of each server of a pool; empty where there is one server that stands for itself.

    Raises:
        InputError, ModelError, NetworkError: as `open_model`, for a server that stands for itself.
    """
    served = served_model(spec.id, settings)
    if not served.servers:
        return identity(spec, settings, notify, again=True), []
    _reject_local_options(spec)
    reference, states = survey(served, settings, lambda: _tokenizer(served, settings, notify), notify, again=True)
    agree = reference is not None and not any(state.differs for state in states)
    return (reference.handshake.identity | kept.described(served) if reference and agree else None), states


def can_rank(spec: ModelSpec, settings: Settings, prompt_format: str) -> bool:
    """Whether the server of a model can rank answers after prompts of a format; see `backends.can_rank`."""
    _reject_local_options(spec)
    served = served_model(spec.id, settings)
    can = what_it_can(served, settings, lambda: _tokenizer(served, settings, lambda _: None)).capabilities
    renders = served.facts.tokenizer is not None and can.token_ids
    return bool(ways_to_rank(can, prompt_format == "chat" and not renders))


def _reject_local_options(spec: ModelSpec) -> None:
    """Refuse what is said of weights here, of a model whose weights are on a server."""
    options = {"quantization": spec.quantization != "none", "dtype": spec.dtype != "auto"}
    options |= {"revision": spec.revision is not None, "gguf_file": spec.gguf_file is not None}
    if given := [name for name, is_given in options.items() if is_given]:
        raise InputError(
            "{model} is on a server, which has its own weights: {options} cannot be chosen here. Leave it out.",
            model=spec.id,
            options=Joined(", ", given),
        )


def _tokenizer(served: ServedModel, settings: Settings, notify: Notify) -> Tokenizer | None:
    if served.facts.tokenizer is None:
        return None
    from jglue_app.backends import open_tokenizer  # It imports transformers, which takes seconds.

    return open_tokenizer(ModelSpec(served.facts.tokenizer), settings, notify)


class OpenAIBackend:
    """A model on a server, or on several. Requests of one call run in several threads; calls come one after the
    other."""

    def __init__(
        self,
        served: ServedModel,
        settings: Settings,
        found: Handshake,
        connection: Connection,
        recheck: Recheck,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.spending: Account | None = None
        self._served, self._settings = served, settings
        self._can = found.capabilities
        self._tokenizer = tokenizer
        self._text_follows = False
        """Whether each ranking of a choice is followed by a text, and stored with it."""
        self._unrecorded: dict[tuple[str, str], list[str]] = {}
        """Item → names of the answers that its ranking was made of, until there is its text."""
        self._client, self._recheck = connection, recheck
        self._known_at = time.time()
        """When known questions were last answered as they have to be, in seconds since 1970."""
        folder = settings.cache_dir / "paid-answers"
        server = found.identity | {"model": served.name, "query": json.dumps(dict(served.endpoint.query))}
        self._paid = PaidAnswers(folder, server) if served.priced else None
        self._exchange = Exchange(
            self._client,
            served,
            self._can,
            tokenizer,
            self._paid,
            lambda now: _changed_model(served, settings, self._can, now),
        )
        self._renders = (
            tokenizer is not None
            and tokenizer.info.has_chat_template
            and self._can.completions is not None
            and self._can.token_ids
        )
        self.info = self._model_info()

    def _model_info(self) -> ModelInfo:
        facts, info = self._served.facts, self._tokenizer.info if self._tokenizer else None
        can, priced = self._can, self._served.priced
        interfaces = [interface for interface in (can.chat, can.completions) if interface]
        sampling = "temperature" if not all(i.temperature for i in interfaces) else ""
        if not sampling and not all(i.deterministic for i in interfaces):
            sampling = "varies"
        return ModelInfo(
            name=self._served.id,
            commit=", ".join([*can.models, *can.fingerprints]) or self._served.name,
            dtype="as served",
            device=self._served.endpoint.address,
            context_length=facts.context_length or can.context_length or (info.context_length if info else None),
            bos=info.bos if info else "",
            adds_bos=info.adds_bos if info else False,
            eos=info.eos if info else "",
            has_chat_template=self._renders or can.chat is not None,
            memory_bytes=0,
            tokenizer_source=info.source if info else "",
            continues_text=self._renders or can.chat is None,
            sampling=sampling,
            answered_by=can.fingerprints,
            price_in=facts.price_in or 0.0 if priced else 0.0,
            price_out=facts.price_out or 0.0 if priced else 0.0,
            currency=self._served.endpoint.currency if priced else "",
        )

    # --- before a run ---

    def check(self, prompt: PromptSpec, decoding: Decoding, *, ranks: bool) -> None:
        """Refuse what the server cannot do; see `types.ServerBackend`."""
        self._text_follows, self._unrecorded = decoding.method == "both", {}
        turns = prompt.format == "chat" and not self._renders
        refuse_what_it_cannot(self._served, self._can, prompt, decoding, ranks=ranks, turns=turns)
        approximate = ranks and decoding.method != "generate" and ways_to_rank(self._can, turns) == FIRST_TOKEN
        self.info = replace(self.info, ranking=FIRST_TOKEN if approximate else "")

    def estimate(self, prompts: Sequence[Prompt], max_new_tokens: int, *, generating: bool, choosing: bool) -> Usage:
        """Most that prompts would take; see `types.PaidBackend`."""
        requests = prompt_tokens = new_tokens = 0
        for prompt in prompts:
            size = self._exchange.estimated_tokens(prompt.text, turns=self._sends_turns(prompt))
            if generating:
                requests, prompt_tokens = requests + 1, prompt_tokens + size
                new_tokens += max_new_tokens
            if choosing and prompt.answers:
                exact = ways_to_rank(self._can, self._sends_turns(prompt)) != FIRST_TOKEN
                count = len(prompt.answers) + (0 if self._ids(prompt) is not None else 1) if exact else 1
                requests, prompt_tokens, new_tokens = requests + count, prompt_tokens + size * count, new_tokens + count
        return Usage(requests, prompt_tokens, new_tokens, estimated=True)

    # --- results ---

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        """The chat as the model's template has it, where its tokenizer is here; else a transcript, a turn a line, as
        the server renders what is sent."""
        if self._renders and self._tokenizer is not None:
            return self._tokenizer.render_chat(messages, thinking)
        return "\n".join(f"{m['role']}: {m['content']}" for m in messages) + "\nassistant: "

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[Result]:
        """Greedy continuations; see `types.Backend`."""
        return self.generate_chats(prompts, max_new_tokens, None, should_stop, repetition_penalty)

    def generate_chats(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        thinking_tokens: int | None,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[Result]:
        """Greedy continuations, with thoughts of a limit; see `types.ServerBackend`."""
        limit = max_new_tokens + (thinking_tokens or 0)

        def one(prompt: Prompt, cancelled: threading.Event) -> tuple[Output | RunError, list[str]]:
            turns, ids = self._sends_turns(prompt), self._ids(prompt)
            if ids is not None and self._overflows(len(ids) + limit):
                return Output("", "overflow", len(ids), 0, 0.0), []
            path, body = generation_body(
                self._served, self._can, prompt, limit, thinking_tokens, repetition_penalty, ids
            )
            exchange = self._exchange.begin(self.spending, cancelled)
            start = time.perf_counter()
            try:
                answer = exchange.generate(path, body, prompt.text, limit, turns=turns)
                if answer.prompt_tokens is not None and self._overflows(answer.prompt_tokens + limit):
                    # It did not refuse a prompt that is too long: the answer is to a part of it, or means nothing.
                    return Output("", "overflow", answer.prompt_tokens, 0, 0.0, usage=exchange.usage), exchange.keys
                return output_of(prompt, answer, exchange, limit, time.perf_counter() - start), exchange.keys
            except RequestError as e:
                if e.kind == failures.OVERFLOW:
                    size = self._exchange.estimated_tokens(prompt.text, turns=turns)
                    return Output("", "overflow", size, 0, time.perf_counter() - start), exchange.keys
                raise

        return self._results(prompts, one, should_stop, ("generate", limit, repetition_penalty))

    def choose(self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]) -> Iterator[Result]:
        """Log-probabilities of answers; see `types.Backend`."""

        def one(prompt: Prompt, cancelled: threading.Event) -> tuple[Output | RunError, list[str]]:
            exchange = self._exchange.begin(self.spending, cancelled)
            start = time.perf_counter()
            try:
                result = rank(
                    exchange, self._can, prompt, turns=self._sends_turns(prompt), ids=self._choice_ids(prompt)
                )
            except RequestError as e:
                if e.kind != failures.OVERFLOW:
                    raise
                size = self._exchange.estimated_tokens(prompt.text, turns=self._sends_turns(prompt))
                result = Output(None, "overflow", size, 0, 0.0)
            if isinstance(result, Output):
                seconds, servers = time.perf_counter() - start, tuple(exchange.servers)
                result = replace(result, seconds=seconds, usage=exchange.usage, servers=servers)
            return result, exchange.keys

        return self._results(prompts, one, should_stop, ("choose",))

    def next_tokens(self, prompt: Prompt, count: int, should_stop: Callable[[], bool]) -> NextTokens | RunError | None:
        """The most likely tokens after a prompt, and where its ids are sent at its places; see
        `types.PredictingBackend`."""
        cancelled = threading.Event()

        def ask() -> NextTokens | RunError | None:
            exchange = self._exchange.begin(self.spending, cancelled)
            try:
                return next_tokens(
                    exchange, self._can, prompt, count, turns=self._sends_turns(prompt), ids=self._ids(prompt)
                )
            except OutOfBudgetError:
                return None
            except RequestError as e:
                if e.run is not None:
                    raise e.as_exception() from None
                return None if e.kind == "cancelled" else e.as_run_error()

        return next((result for _, result in in_parallel([ask], 1, should_stop, cancelled)), None)

    def ask_again(self, seconds: float) -> Doubt | None:
        """Whether it is still the same model; see `types.WatchedBackend`."""
        now = time.time()
        doubt = self._recheck(seconds)
        if doubt is None:
            self._known_at = now
        elif doubt.is_certain and self._paid:  # Kept ones would be taken for the model's when they are asked for again.
            self._paid.drop_since(self._known_at)
        self._note_servers()
        return doubt

    def count_tokens(self, text: str) -> int:
        """Tokens of a text: counted where the tokenizer is here, else estimated from what the server counted."""
        if self._tokenizer is not None:
            return len(self._tokenizer.encode_text(text))
        return max(1, round(len(text) * self._can.tokens_per_character)) if text else 0

    def close(self) -> None:
        """Close the connections. Calling it twice is fine."""
        self._client.close()
        if self._paid:
            self._paid.close()

    # --- inside ---

    def _overflows(self, tokens: int) -> bool:
        return self.info.context_length is not None and tokens > self.info.context_length

    def _sends_turns(self, prompt: Prompt) -> bool:
        return prompt.messages is not None and not self._renders

    def _ids(self, prompt: Prompt) -> list[int] | None:
        """The token ids that are sent for a prompt; None where a text or turns are sent."""
        if self._tokenizer is None or not self._can.token_ids or self._sends_turns(prompt):
            return None
        return self._tokenizer.encode(prompt)

    def _choice_ids(self, prompt: Prompt) -> list[tuple[list[int], list[int]]] | None:
        """Token ids of (context, answer) for each answer; None where a text or turns are sent."""
        if self._tokenizer is None or not self._can.token_ids or self._sends_turns(prompt):
            return None
        return [self._tokenizer.split(prompt, answer) for answer in prompt.answers]

    def _results(
        self,
        prompts: Sequence[Prompt],
        one: Callable[[Prompt, threading.Event], tuple[Output | RunError, list[str]]],
        should_stop: Callable[[], bool],
        call: tuple[object, ...],
    ) -> Iterator[Result]:
        """Results of all prompts; those that are equal are sent once."""
        groups: dict[object, list[int]] = {}
        for i, prompt in enumerate(prompts):
            groups.setdefault(self._content(prompt, call), []).append(i)
        firsts = [numbers[0] for numbers in groups.values()]
        cancelled = threading.Event()

        def job(prompt: Prompt) -> Callable[[], tuple[Output | RunError | None, list[str], RequestError | None]]:
            def run() -> tuple[Output | RunError | None, list[str], RequestError | None]:
                try:
                    return (*one(prompt, cancelled), None)
                except OutOfBudgetError:
                    return None, [], None
                except RequestError as e:
                    if e.kind == "cancelled":
                        return None, [], None
                    if e.run is not None:
                        raise e.as_exception() from None
                    return e.as_run_error(), [], e

            return run

        jobs = [job(prompts[i]) for i in firsts]
        failed_in_a_row = 0
        for k, (result, keys, error) in in_parallel(jobs, self._client.at_once, should_stop, cancelled):
            if result is None:  # Not sent: there is no budget for it, or the run is stopped.
                continue
            self._note_servers()
            numbers = list(groups.values())[k]
            for n, i in enumerate(numbers):
                again = replace(result, usage=Usage(0, 0, 0)) if n and isinstance(result, Output) else result
                yield i, again
            if self._paid:  # Its consumer has taken it.
                self._note_recorded([prompts[i] for i in numbers], keys, call)
            failed_in_a_row = failed_in_a_row + 1 if error is not None and error.kind in SERVER_FAULTS else 0
            if failed_in_a_row >= GIVE_UP_AFTER and error is not None:
                raise NetworkError(
                    "The endpoint {endpoint} failed at {count} items in a row, and no more are sent: {reason} What was "
                    "answered is kept: start the same run again to go on.",
                    endpoint=self._served.endpoint.id,
                    count=failed_in_a_row,
                    reason=error.message,
                )
        self._note_servers()

    def _note_servers(self) -> None:
        """Note which configurations have answered so far, and which servers of a pool were refused."""
        seen, left_out = self._exchange.fingerprints, self._client.left_out
        if (seen, left_out) != (self.info.answered_by, self.info.left_out):
            self.info = replace(self.info, answered_by=seen, left_out=left_out)

    def _note_recorded(self, prompts: Sequence[Prompt], keys: list[str], call: tuple[object, ...]) -> None:
        """Note that paid answers are in a record. Rankings are, once there is the text that is stored with them."""
        assert self._paid is not None
        items = [(prompt.task, prompt.item_id) for prompt in prompts]
        if self._text_follows and call[0] == "choose":
            self._unrecorded |= {items[0]: keys}
            return
        self._paid.recorded([*keys, *(key for item in items for key in self._unrecorded.pop(item, ()))])

    @staticmethod
    def _content(prompt: Prompt, call: tuple[object, ...]) -> object:
        """What an answer depends on; equal prompts have one answer."""
        turns = tuple((m["role"], m["content"]) for m in prompt.messages) if prompt.messages is not None else None
        return (*call, prompt.text, turns, prompt.stop, prompt.answers, prompt.lead, prompt.thinking)


def _changed_model(served: ServedModel, settings: Settings, before: Capabilities, now: str) -> ModelError:
    """The error of a server that answers as another model than at the handshake, which is dropped."""
    # Not what is kept: several requests may notice it at once, and the first one drops that.
    forget(served, settings)
    return ModelError(
        "The server of {model} now answers as {now}, and not as {before} as when this run was planned. Nothing of that "
        "is stored. Start the run again: that makes another run.",
        model=served.id,
        now=now[:100],
        before=Joined(", ", before.models) or served.name,
    )
