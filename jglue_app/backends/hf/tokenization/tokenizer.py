"""A model's tokenizer without its weights, for the prompt linter; chat templates, end tokens and context length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from transformers import AutoConfig, GenerationConfig

from jglue_app.backends.hf.adapter.adapter_files import find_adapter
from jglue_app.backends.hf.adapter.adapter_tokenizer import choose_tokenizer
from jglue_app.backends.hf.checkpoint.find_weights import find_model
from jglue_app.backends.hf.tokenization.chat_template import (
    TemplateLimitError,
    TemplateRefusedError,
    render_template,
)
from jglue_app.backends.hf.tokenization.encoding import Encoder, TokenizerFacts, token_ids, tokenizer_facts
from jglue_app.backends.hf.tokenization.tokenizer_check import disputed_by, source_of
from jglue_app.backends.hf.tokenization.tokenizer_loading import load_tokenizer
from jglue_app.errors import JglueAppError, ModelError, first_line
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Prompt, TokenizerInfo


def open_tokenizer(spec: ModelSpec, settings: Settings, notify: Callable[[str], None] = lambda _: None) -> HFTokenizer:
    """Load the tokenizer and configuration of a model; with an adapter, the tokenizer that was saved with that.

    Raises:
        ModelError: one of its kinds, when there is no such model or its tokenizer cannot be loaded.
        NetworkError: the Hub cannot be reached.
    """
    files = find_model(spec, settings, notify)
    location = {
        "pretrained_model_name_or_path": files.path,
        "revision": files.revision,
        "trust_remote_code": False,
        "token": settings.hub_token,
    }
    try:
        config, tokenizer = AutoConfig.from_pretrained(**location), load_tokenizer(spec.id, location)
        if spec.adapter is not None:
            adapter = find_adapter(spec, settings, notify)
            tokenizer = choose_tokenizer(adapter, tokenizer, spec.id, config.get_text_config().vocab_size)
    except JglueAppError:
        raise
    except Exception as e:  # Of transformers, the tokenizer, the network: of any kind.
        raise ModelError(
            "The tokenizer of {model} could not be loaded ({reason}). Check that it is a "
            "text-generation model that transformers supports without code of its own.",
            model=spec.id,
            reason=first_line(e),
        ) from e
    try:
        generation = GenerationConfig.from_pretrained(files.path, revision=files.revision, token=settings.hub_token)
    except Exception:  # Many models have no such file.
        generation = None
    return HFTokenizer(spec.id, tokenizer, config, generation)


class HFTokenizer:
    """A tokenizer of transformers as the prompt linter needs it; see `types.Tokenizer`."""

    def __init__(self, name: str, tokenizer: Any, config: Any, generation: Any) -> None:
        self._tokenizer = tokenizer
        self._encoder = Encoder(tokenizer)
        self._name = name
        self._end_ids = end_ids(generation, tokenizer)
        self._context_length = context_length(config, tokenizer)
        size = getattr(config.get_text_config(), "vocab_size", None)
        self._vocabulary_size = size if isinstance(size, int) else None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of transformers."""
        return self._tokenizer

    @cached_property
    def facts(self) -> TokenizerFacts:
        """What it adds before texts, and how it encodes a fixed Japanese text."""
        return tokenizer_facts(self._tokenizer)

    @cached_property
    def info(self) -> TokenizerInfo:
        """Facts; see `types.TokenizerInfo`."""
        return TokenizerInfo(
            name=self._name,
            bos=self._tokenizer.bos_token or "",
            adds_bos=self._encoder.adds_bos,
            eos=self._tokenizer.eos_token or "",
            adds_eos=self._tokenizer.eos_token_id is not None and self._tokenizer.eos_token_id in self._encoder.suffix,
            ends=tuple(self.pieces(self._end_ids)),
            turn_end=self._turn_end(),
            context_length=self._context_length,
            has_chat_template=bool(getattr(self._tokenizer, "chat_template", None)),
            prefix=tuple(self.pieces(self._encoder.bos)),
            suffix=tuple(self.pieces(self._encoder.suffix)),
            source=source_of(self._tokenizer),
            disputed=disputed_by(self._tokenizer),
            rows=self._vocabulary_size,
        )

    def _turn_end(self) -> str:
        """The token with which the chat template ends the model's turn; empty if there is none, or it is not known."""
        if not getattr(self._tokenizer, "chat_template", None):
            return ""
        turns = [{"role": "user", "content": "問い"}, {"role": "assistant", "content": "答え"}]
        try:
            text = render_template(self._tokenizer, self._name, turns)
        except (TemplateLimitError, TemplateRefusedError):
            return ""
        ids = token_ids(self._tokenizer, text.rpartition("答え")[2].strip())
        return self.pieces(ids[:1])[0] if ids else ""

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        """A conversation in the chat template with the opening of the answer; raises ModelError as `render_chat`."""
        return render_chat(self._tokenizer, self._name, messages, thinking)

    def encode(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt as the model gets them."""
        return self._encoder.encode(prompt.text, has_special=prompt.messages is not None)

    def split(self, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
        """Ids of (context, answer) as they are scored; see `Encoder.encode_answer`."""
        return self._encoder.encode_answer(prompt, answer)

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text, without special tokens around it."""
        return self._encoder.encode(text, has_special=True)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token as text."""
        return [self.text([i]) for i in ids]

    def text(self, ids: Sequence[int]) -> str:
        """Some tokens together as text."""
        # Cleaning up would remove the space before a full stop, as in English.
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def special(self, ids: Sequence[int]) -> list[bool]:
        """Whether each token is a special one."""
        return [i in self._special_ids for i in ids]

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        added = {i for i, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        return frozenset(added | set(self._tokenizer.all_special_ids))

    def unknown(self, ids: Sequence[int]) -> int:
        """How many of the tokens are the unknown token."""
        unknown = self._tokenizer.unk_token_id
        return 0 if unknown is None else sum(i == unknown for i in ids)


def require_template(tokenizer: Any, name: str) -> None:
    """Raise ModelError if a tokenizer has no chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "The tokenizer of {name} has no chat template. Choose another prompt format, such as plain or alpaca.",
            name=name,
        )


def render_chat(tokenizer: Any, name: str, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
    """A conversation in a tokenizer's own chat template, with the opening of the answer.

    Args:
        tokenizer: of transformers.
        name: of the model, for messages.
        messages: the turns.
        thinking: `off`, `on`, or `default`, which passes nothing to the template; see
            `template_worker.template_arguments`.

    Raises:
        ModelError: it has no template, or the template refuses the conversation or exceeds its limits.
    """
    require_template(tokenizer, name)
    try:
        return render_template(tokenizer, name, messages, thinking=thinking, generation=True)
    except TemplateRefusedError as e:
        raise ModelError(
            "The chat template of {name} refused this conversation ({reason}). Leave out the "
            "system text, or choose another prompt format.",
            name=name,
            reason=first_line(e),
        ) from e


def end_ids(generation: Any, tokenizer: Any) -> list[int]:
    """Ids of the tokens that end a generation: those of the generation config, if there is one, and EOS."""
    ids: list[int] = []
    for value in (getattr(generation, "eos_token_id", None), tokenizer.eos_token_id):
        ids += value if isinstance(value, list) else [value] if value is not None else []
    return list(dict.fromkeys(ids))


def context_length(config: Any, tokenizer: Any) -> int | None:
    """Most tokens of prompt and answer together; None if there is no limit."""
    text_config = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        value = getattr(text_config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if isinstance(limit, int | float) and 0 < limit < 10**9 else None
