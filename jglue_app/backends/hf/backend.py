"""A loaded transformers model as a backend: it chooses an engine for the model, and for each prompt.

Prompts run in the packed engine where the model's attention can be exchanged, else in padded batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.pytorch_utils import Conv1D

from jglue_app import messages
from jglue_app.backends.embedding.vectors import NO_TOKENS, Embedding, as_vector
from jglue_app.backends.hf.ablation import ALL, Optimizations
from jglue_app.backends.hf.checkpoint.weight_checks import (
    embedding_rows,
    first_id_beyond,
    no_embedding_row,
    reject_constant_logits,
)
from jglue_app.backends.hf.counters import Counters
from jglue_app.backends.hf.engine.equivalence import (
    NotCausalError,
    ReferenceModel,
    Unsupported,
    stopped_between_layers,
)
from jglue_app.backends.hf.engine.float32_weights import expand_4bit_exactly
from jglue_app.backends.hf.engine.fused_layers import fuse_layers
from jglue_app.backends.hf.engine.fused_modules import fuse_modules
from jglue_app.backends.hf.engine.linear import pack_layers, watch_reads
from jglue_app.backends.hf.engine.next_tokens import most_likely, with_texts
from jglue_app.backends.hf.engine.outputs import OUT_OF_MEMORY
from jglue_app.backends.hf.engine.packed_engine import PackedEngine
from jglue_app.backends.hf.engine.packed_model import PackedModel
from jglue_app.backends.hf.engine.padded_engine import PaddedEngine
from jglue_app.backends.hf.engine.padded_model import PAD_ID, SINGLE, UNCACHED, BatchMode, PaddedModel
from jglue_app.backends.hf.engine.requests import EMPTY_PROMPT, Limits, Result
from jglue_app.backends.hf.failures import first_pass_failed, model_failures, not_causal
from jglue_app.backends.hf.memory import is_out_of_memory, memory_budget, release_freed, release_unused
from jglue_app.backends.hf.tokenization.encoding import Encoder, tokenizer_facts
from jglue_app.backends.hf.tokenization.tokenizer import context_length, end_ids, render_chat
from jglue_app.errors import JglueAppError
from jglue_app.messages import Joined, Message, mark
from jglue_app.types import ModelInfo, ModelSpec, NextTokens, Prompt, RunError

Engine = PackedEngine | PaddedEngine


class HFBackend:
    """A loaded transformers model.

    Args:
        spec: the model as it was requested.
        commit: which weights they are.
        model: the model; its attention is exchanged if that is possible.
        tokenizer: its tokenizer.
        optimizations: which are on.
        memory: bytes to work in; None for a part of what is free.
        max_prompt_tokens: tokens of the longest prompt that runs; None for no limit but the model's.
        quantized: how the weights are quantized in the files already; empty if they are not.

    Raises:
        InputError: more memory is requested than is free.
        ModelError: the model fails on a first short text.
    """

    def __init__(
        self,
        spec: ModelSpec,
        commit: str,
        model: Any,
        tokenizer: Any,
        *,
        optimizations: Optimizations = ALL,
        memory: int | None = None,
        max_prompt_tokens: int | None = None,
        quantized: str = "",
    ) -> None:
        model.eval()
        # Sampling settings or penalties of the checkpoint must not reach greedy decoding.
        eos = end_ids(getattr(model, "generation_config", None), tokenizer)
        model.generation_config = GenerationConfig(do_sample=False, eos_token_id=eos or None, pad_token_id=PAD_ID)
        memory_bytes = int(model.get_memory_footprint())
        self._eos, self._optimizations = eos, optimizations
        self._base: HFBackend | None = None
        self._quantized = bool(quantized) or spec.quantization != "none"
        self._limits = Limits(context_length(model.config, tokenizer), max_prompt_tokens)
        self._model: Any = model
        self._tokenizer = tokenizer
        self._encoder = Encoder(tokenizer)
        self._reference = self._first_pass(spec, model)
        self.memory = memory_budget(model, memory)
        self._why_not_packed = ""
        self._single_engines: dict[BatchMode, PaddedEngine] = {}
        """For prompts whose length would change the results of others; made when they are first needed."""
        self._engine: Engine = self._packed_engine() or self._padded_engine(
            SINGLE if self._reference.too_noisy else None
        )
        self._reference.clear_cache()
        self.info = self._model_info(spec, commit, memory_bytes, quantized)
        rows = embedding_rows(model)
        # Token ids are checked only where some could be beyond the embedding: encoding every text twice takes time.
        highest = max([len(tokenizer), *(i + 1 for i in tokenizer.added_tokens_decoder)])
        self._embedding_rows = rows if highest > rows else None

    def _first_pass(self, spec: ModelSpec, model: Any) -> ReferenceModel:
        """Run a first short text, and repack the weights of linear layers that no other code reads."""
        expand_4bit_exactly(model)
        try:
            with watch_reads(model), torch.inference_mode():
                first = model(input_ids=torch.tensor([[0, 1, 2]], device=model.device), use_cache=False)
            reject_constant_logits(spec.id, first.logits)
            del first
            if self._optimizations.prepacking:
                pack_layers(model)
            if self._optimizations.fusion:
                fuse_modules(model)
                fuse_layers(model)
            release_freed()  # Of layers before they were packed.
            return ReferenceModel(model, self._limits.context_length)
        except NotCausalError as e:
            raise not_causal(spec.id, e) from e
        except Exception as e:  # Of an architecture, its kernels, its sizes: of any kind.
            if isinstance(e, JglueAppError) or is_out_of_memory(e):
                raise
            raise first_pass_failed(spec, e) from e

    def _model_info(self, spec: ModelSpec, commit: str, memory_bytes: int, quantized: str) -> ModelInfo:
        facts = tokenizer_facts(self._tokenizer)
        engine, reason = self._engine_and_reason()
        return ModelInfo(
            name=spec.id,
            commit=commit,
            dtype=str(self._model.dtype).removeprefix("torch."),
            device=str(self._model.device),
            context_length=self._limits.context_length,
            bos=self._tokenizer.bos_token or "",
            adds_bos=facts.adds_bos,
            eos=self._tokenizer.eos_token or "",
            has_chat_template=bool(getattr(self._tokenizer, "chat_template", None)),
            memory_bytes=memory_bytes,
            engine=engine,
            engine_reason=reason,
            prefix=facts.prefix,
            tokenizer_source=facts.source,
            tokenizer_round_trip=facts.round_trip,
            tokenizer_unknown=facts.unknown,
            quantized=quantized,
        )

    # --- engines ---

    def _packed_engine(self) -> PackedEngine | None:
        """The packed engine, where the model's attention can be exchanged and the results are the same."""
        if not self._optimizations.packing:
            self._why_not_packed = Message("left out to measure it")
            return None
        if self._reference.too_noisy:
            self._why_not_packed = Message("quantized in such a way that scores depend on what is computed together")
            return None
        try:
            options = self._optimizations
            packed = PackedModel(
                self._model,
                self._reference,
                screen=None if options.screening else False,
                batching=options.batching,
            )
        except Unsupported as e:
            self._why_not_packed = messages.of(e)
            return None
        return PackedEngine(
            packed,
            self._tokenizer,
            self._eos,
            self._limits,
            self.memory,
            self._optimizations,
            max_row_tokens=self._reference.max_batched_length,
        )

    def _padded_engine(self, mode: BatchMode | None = None) -> PaddedEngine:
        share_prefix = self._optimizations.prefix_cache
        model = PaddedModel(self._model, self._reference, share_prefix=share_prefix, mode=mode)
        return PaddedEngine(model, self._tokenizer, self._eos, self._limits, self.memory)

    def _engine_and_reason(self) -> tuple[str, str]:
        """How prompts run, and why not in a faster way, for `ModelInfo`."""
        if isinstance(self._engine, PackedEngine):
            if not self._single_engines:
                return "packed", ""
            limit = self._reference.max_batched_length
            return "packed", Message("prompts of more than {limit:,} tokens: one at a time", limit=limit)
        packed = Message("packed: {reason}", reason=self._why_not_packed)
        return self._engine.mode.name, Joined("; ", filter(None, (packed, self._engine.reason)))

    @property
    def counters(self) -> Counters:
        """What has been processed and scored so far."""
        return self._engine.counters

    @property
    def packed(self) -> bool:
        """Whether prompts run in the packed engine."""
        return isinstance(self._engine, PackedEngine)

    def weight_multiplications(self) -> tuple[int, int]:
        """Weights multiplied per token of a forward pass, and per position at which the vocabulary is scored."""
        head = self._model.get_output_embeddings()
        kinds = (torch.nn.Linear, Conv1D)
        layers = [m for m in self._model.base_model.modules() if isinstance(m, kinds) and m is not head]
        sizes = [m.weight.numel() if isinstance(m, Conv1D) else m.in_features * m.out_features for m in layers]
        return sum(sizes), head.in_features * head.out_features

    def drop_prefix(self) -> None:
        """Drop what the engine keeps of a call for the next one, which then does all of its work."""
        for engine in (self._engine, *self._single_engines.values()):
            engine.drop_prefix()

    # --- results ---

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        """A conversation in the model's own chat template, with the opening of the answer; see `types.Backend`."""
        return render_chat(self._tokenizer, self.info.name, messages, thinking)

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[Result]:
        """Greedy generation; see `types.Backend`."""

        def run(engine: Engine, batch: Sequence[Prompt]) -> Iterator[Result]:
            return engine.generate(batch, max_new_tokens, should_stop, repetition_penalty)

        failed = mark(
            "{name} failed while it wrote ({error}: {reason}). Try another dtype or device, or choose another model."
        )
        with model_failures(self.info.name, failed, quantized=self._quantized):
            self._reject_unknown_ids(prompts, answers=False)
            yield from self._results(prompts, max_new_tokens, run)

    def choose(self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]) -> Iterator[Result]:
        """Log-likelihood of each legal answer; see `types.Backend`."""

        def run(engine: Engine, batch: Sequence[Prompt]) -> Iterator[Result]:
            return engine.choose(batch, should_stop)

        failed = mark(
            "{name} failed while it scored answers ({error}: {reason}). Try another dtype or device, or choose another "
            "model."
        )
        with model_failures(self.info.name, failed, quantized=self._quantized):
            self._reject_unknown_ids(prompts, answers=True)
            yield from self._results(prompts, 0, run)

    def embed(
        self, texts: Sequence[str], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Embedding | RunError]:
        """The vector of each text: the mean of the last hidden states over its tokens, without those that the tokenizer
        puts before it (BOS). Every text runs alone, through the model's own attention.

        Raises:
            StopRequested: the caller asked to stop between two layers.
        """
        failed = mark(
            "{name} failed while it embedded ({error}: {reason}). Try another dtype or device, or choose another model."
        )
        with model_failures(self.info.name, failed, quantized=self._quantized):
            for text in texts:
                with stopped_between_layers(self._model, should_stop):
                    embedding = self._embedding(text)
                yield embedding

    def _embedding(self, text: str) -> Embedding | RunError:
        ids = self._encoder.encode(text, has_special=True)
        self._reject_unknown(ids)
        before = self._encoder.bos
        tokens = len(before) + len(ids)
        if error := self._limits.too_long(tokens):
            return error
        if self._limits.overflows(tokens):
            return Embedding(None, tokens)
        if not ids:
            return NO_TOKENS
        if not self._reference.fits(tokens, self.memory):
            return OUT_OF_MEMORY
        states = self._reference.last_hidden_states([*before, *ids])[len(before) :]
        return Embedding(as_vector(states.double().mean(0).cpu().numpy()), tokens)

    def next_tokens(self, prompt: Prompt, count: int, should_stop: Callable[[], bool]) -> NextTokens | RunError | None:
        """The most likely tokens at each place of a prompt; see `types.PredictingBackend`. It runs alone, through the
        model's own attention."""
        failed = mark(
            "{name} failed while it read a prompt ({error}: {reason}). Try another dtype or device, or choose another "
            "model."
        )
        with model_failures(self.info.name, failed, quantized=self._quantized):
            ids = self._encoder.encode(prompt.text, has_special=prompt.messages is not None)
            self._reject_unknown(ids)
            if not ids:
                return EMPTY_PROMPT
            if error := self._limits.too_long(len(ids)) or self._limits.beyond_context(len(ids)):
                return error
            if not self._reference.fits(len(ids), self.memory):
                return OUT_OF_MEMORY
            found = most_likely(self._model, self._reference, ids, count, should_stop)
        return None if found is None else with_texts(ids, *found, self._tokenizer)

    def _results(
        self,
        prompts: Sequence[Prompt],
        new_tokens: int,
        run: Callable[[Engine, Sequence[Prompt]], Iterator[Result]],
    ) -> Iterator[Result]:
        """Results of all prompts; those whose length would change others run one at a time.

        Before its first result the packed engine verifies that it may run prompts of this length. Where it may not,
        padded batches do, from here on.
        """
        modes = {i: mode for i, prompt in enumerate(prompts) if (mode := self._single_mode(prompt, new_tokens))}
        together = [i for i in range(len(prompts)) if i not in modes]
        left = set(together)
        try:
            for i, result in _run(run, self._engine, prompts, together) if together else ():
                left.discard(i)
                yield i, result
        except Unsupported as e:
            # The results so far are of sequences below the threshold that was reached now.
            self._why_not_packed = messages.of(e)
            self._engine.close()
            self._engine = self._padded_engine()
            yield from _run(run, self._engine, prompts, sorted(left))
        for mode in dict.fromkeys(modes.values()):
            if mode not in self._single_engines:
                self._single_engines[mode] = self._padded_engine(mode)
            yield from _run(run, self._single_engines[mode], prompts, [i for i in modes if modes[i] == mode])
        engine, reason = self._engine_and_reason()
        if (engine, reason) != (self.info.engine, self.info.engine_reason):
            self.info = replace(self.info, engine=engine, engine_reason=reason)

    def _single_mode(self, prompt: Prompt, new_tokens: int) -> BatchMode | None:
        """The mode of a prompt that must run alone, as its length would change others; None if it can run with them."""
        limit = self._reference.max_batched_length
        if limit is None:
            return None
        texts = [prompt.text] if new_tokens else [prompt.text + prompt.lead + answer for answer in prompt.answers]
        tokens = max((self.count_tokens(text) + len(self._engine.bos) for text in texts), default=0)
        if tokens + new_tokens <= limit:
            return None
        # The KV cache of a short sequence is wrong when the sequence has become long.
        return SINGLE if tokens > limit else UNCACHED

    def _reject_unknown_ids(self, prompts: Sequence[Prompt], *, answers: bool) -> None:
        """Raise ModelError if a token has no row in the embedding."""
        if self._embedding_rows is None:
            return
        for prompt in prompts:
            encoded = [self._encoder.encode(prompt.text, has_special=prompt.messages is not None)]
            if answers:
                encoded += [ids for a in prompt.answers for ids in self._encoder.encode_answer(prompt, a)]
            for ids in encoded:
                self._reject_unknown(ids)

    def _reject_unknown(self, ids: Sequence[int]) -> None:
        """Raise ModelError if one of the tokens has no row in the embedding."""
        if self._embedding_rows is not None and (id_ := first_id_beyond(ids, self._embedding_rows)) is not None:
            token = str(self._tokenizer.convert_ids_to_tokens(id_))
            raise no_embedding_row(self.info.name, token, id_, self._embedding_rows)

    # --- what an adapter is applied to ---

    @property
    def model(self) -> Any:
        """The model of transformers; its attention may be exchanged."""
        return self._model

    @property
    def attention(self) -> str:
        """The attention that the model was loaded with, by its name in transformers."""
        return self._reference.attention

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self._tokenizer

    @property
    def optimizations(self) -> Optimizations:
        """Which are on."""
        return self._optimizations

    @property
    def is_quantized(self) -> bool:
        """Whether the weights are quantized, in the files or when they were loaded."""
        return self._quantized

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._model is None

    def probe(self) -> torch.Tensor:
        """Log-probabilities after the last tokens of a short sequence, which is always the same; (4, vocabulary)."""
        sequence = self._reference.probe_sequences(self._reference.initial_length).sequence(0)
        return self._reference.rounded_logprobs(sequence, min(4, len(sequence)))

    def close_with(self, base: HFBackend) -> None:
        """Close another backend, the weights of which are used here, together with this one."""
        self._base = base

    def count_tokens(self, text: str) -> int:
        """Tokens of a text; see `types.Backend`."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def close(self) -> None:
        """Drop the weights."""
        self._model = None
        self._engine.close()
        for engine in self._single_engines.values():
            engine.close()
        self._reference.close()
        if self._base is not None:
            self._base.close()
            self._base = None
        release_unused()


def _run(
    run: Callable[[Engine, Sequence[Prompt]], Iterator[Result]],
    engine: Engine,
    prompts: Sequence[Prompt],
    numbers: Sequence[int],
) -> Iterable[Result]:
    """Results of some prompts under their numbers among all prompts."""
    for k, result in run(engine, [prompts[i] for i in numbers]):
        yield numbers[k], result
