"""Sentencepiece models run by sentencepiece itself, behind the interface of a transformers tokenizer.

The options that a model was trained with (dummy prefix, white space, normalisation, byte fallback, symbols of the user)
are in its file, and only that library applies them all; every conversion to another library approximates them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sentencepiece
from tokenizers import AddedToken
from transformers import BatchEncoding, PreTrainedTokenizer


@dataclass(frozen=True, slots=True)
class Layout:
    """How the ids of a tokenizer are related to those of its sentencepiece model."""

    classes: tuple[str, ...]
    """Tokenizer classes that use it."""
    offset: int = 0
    """Added to the ids of ordinary pieces."""
    fixed: Mapping[str, int] = field(default_factory=dict)
    """Pieces with other ids."""
    after: tuple[str, ...] = ()
    """Tokens that follow the pieces."""


UNSHIFTED = Layout(
    (
        "LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "T5Tokenizer", "ReformerTokenizer",
        "PreTrainedTokenizer", "PythonBackend", "SentencePieceBackend", "TokenizersBackend", "MistralCommonBackend",
    )
)  # fmt: skip
FAIRSEQ = Layout(
    ("XGLMTokenizer",),
    1,
    {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3},
    tuple(f"<madeupword{i}>" for i in range(7)),
)
# Classes that add BOS by default, by the documentation of transformers; add_bos_token and add_eos_token override it.
_CLASSES_WITH_BOS = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer")


class SentencePieceTokenizer(PreTrainedTokenizer):  # type: ignore[misc]  # transformers has no types here
    """A sentencepiece model and the tokens that a repository puts on top of it.

    Args:
        model_file: the sentencepiece model.
        layout: how ids are related to those of the model.
        class_name: the tokenizer class that the repository names.
        kwargs: the repository's settings: special and added tokens, `legacy`, `add_prefix_space`, `add_bos_token`,
            `do_lower_case`, …
    """

    def __init__(self, model_file: str, layout: Layout = UNSHIFTED, class_name: str = "", **kwargs: Any) -> None:
        self.model = sentencepiece.SentencePieceProcessor(model_file=model_file)
        self._layout = layout
        # Of `legacy` tokenizers every text between added tokens has the dummy prefix, of others the first alone; where
        # `add_prefix_space` is false, none has it, in fast tokenizers of transformers 4 and in those of 5.
        self._legacy = kwargs.get("legacy") is not False
        self._lower = bool(kwargs.get("do_lower_case"))
        self._no_prefix = kwargs.get("add_prefix_space") is False
        self._special_tokens_added = (
            bool(kwargs.get("add_bos_token", class_name in _CLASSES_WITH_BOS)),
            bool(kwargs.get("add_eos_token", class_name == "T5Tokenizer")),
            class_name == "XGLMTokenizer",
        )
        size = self.model.get_piece_size()
        tokens: dict[str, int] = {}
        for i in range(size):
            piece = self.model.id_to_piece(i)
            tokens[piece] = layout.fixed.get(piece, i + layout.offset)
        tokens |= layout.fixed
        tokens |= {text: size + layout.offset + k for k, text in enumerate(layout.after)}
        self._tokens = tokens
        self._unknown_id = tokens[self.model.id_to_piece(self.model.unk_id())]
        added = dict(kwargs.pop("added_tokens_decoder", {}))
        if class_name == "T5Tokenizer":
            count = int(kwargs.get("extra_ids", 100))
            named = {str(token) for token in added.values()}
            for k in range(count):
                text = f"<extra_id_{count - 1 - k}>"
                if text not in named and text not in tokens:
                    added[size + k] = AddedToken(text, special=True, normalized=False)
        super().__init__(added_tokens_decoder=added, **kwargs)

    # --- vocabulary

    @property
    def vocab_size(self) -> int:
        """Pieces of the model, and the tokens that its layout adds."""
        return len(self._tokens)

    def get_vocab(self) -> dict[str, int]:
        """Piece or token → id."""
        return {**self._tokens, **self._added_tokens_encoder}

    @cached_property
    def _texts(self) -> dict[int, str]:
        return {id_: piece for piece, id_ in self._tokens.items()}

    def _convert_token_to_id(self, token: str) -> int:
        return self._tokens.get(token, self._unknown_id)

    def _convert_id_to_token(self, index: int) -> str:
        return self._texts.get(index, "")  # Embeddings may have more rows than the vocabulary has tokens.

    # --- text → ids

    def ids_of(self, text: str) -> list[int]:
        """Ids of a text and of the added tokens in it, without special tokens around it."""
        ids: list[int] = []
        for chunk, id_ in self._chunks(text):
            ids += self._pieces(chunk, first=not ids) if id_ is None else [id_]
        return ids

    def _chunks(self, text: str) -> Iterator[tuple[str, int | None]]:
        """A text in pieces: (text, None), or (token, id) for an added token."""
        pattern = self._pattern
        end = 0
        for match in pattern.finditer(text) if pattern else ():
            if match.start() > end:
                yield text[end : match.start()], None
            yield match[0], self._added_tokens_encoder[match[0].strip() if match[0].strip() else match[0]]
            end = match.end()
        if end < len(text):
            yield text[end:], None

    @property
    def _pattern(self) -> re.Pattern[str] | None:
        tokens = self._added_tokens_decoder
        if self._compiled is None or self._compiled[0] != len(tokens):
            shapes = [
                (r"\s*" if token.lstrip else r"(?<!\w)" if token.single_word else "")
                + re.escape(token.content)
                + (r"\s*" if token.rstrip else r"(?!\w)" if token.single_word else "")
                for token in sorted(tokens.values(), key=lambda token: -len(token.content))
                if token.content
            ]
            self._compiled = len(tokens), re.compile("|".join(shapes)) if shapes else None
        return self._compiled[1]

    _compiled: tuple[int, re.Pattern[str] | None] | None = None

    def _pieces(self, text: str, *, first: bool) -> list[int]:
        """Ids of a text without added tokens."""
        if self._lower:
            text = text.lower()
        if not self._dummy_prefix or (not self._no_prefix and (self._legacy or first)):
            return self._shifted(self.model.encode(text))
        if not text.startswith((" ", "▁")):
            return self._shifted(self._without_prefix.encode(text))
        # The model may remove white space at the beginning; after another character it does not.
        mark = self._without_prefix.encode(".")
        whole = self._without_prefix.encode("." + text)
        return self._shifted(whole[len(mark) :] if whole[: len(mark)] == mark else self._without_prefix.encode(text))

    @property
    def drops_prefix(self) -> bool:
        """Whether the settings switch off the dummy prefix that the model was trained with."""
        return self._no_prefix and self._dummy_prefix

    def _shifted(self, ids: Sequence[int]) -> list[int]:
        if not self._layout.offset:
            return list(ids)
        unknown = self.model.unk_id()
        return [self._unknown_id if i == unknown else i + self._layout.offset for i in ids]

    @cached_property
    def _without_prefix(self) -> Any:
        """The model without the dummy prefix."""
        from sentencepiece import sentencepiece_model_pb2  # Takes time to import.

        module: Any = sentencepiece_model_pb2
        proto = module.ModelProto.FromString(self.model.serialized_model_proto())
        proto.normalizer_spec.add_dummy_prefix = False
        return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())

    @cached_property
    def _dummy_prefix(self) -> bool:
        piece = "".join(self.model.encode(".", out_type=str))
        return piece.startswith(("▁", " ")) or piece.endswith(("▁", " "))

    def _encode_plus(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding:
        if not isinstance(text, str) or text_pair is not None:
            return super()._encode_plus(text, text_pair, add_special_tokens=add_special_tokens, **kwargs)
        encoding = self.prepare_for_model(
            self.ids_of(text),
            add_special_tokens=add_special_tokens,
            return_tensors=kwargs.get("return_tensors"),
            return_attention_mask=kwargs.get("return_attention_mask"),
            prepend_batch_axis=True,
            verbose=False,
        )
        assert isinstance(encoding, BatchEncoding)
        return encoding

    def tokenize(self, text: str, **kwargs: Any) -> list[str]:
        """Pieces of a text, without special tokens around it."""
        return [str(token) for token in self.convert_ids_to_tokens(self.ids_of(text))]

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Ids with the special tokens that the class adds around a text."""
        bos, eos, sep_first = self._special_tokens_added
        before = [self.bos_token_id] if bos and self.bos_token_id is not None else []
        if sep_first and self.eos_token_id is not None:
            before = [self.eos_token_id]
        after = [self.eos_token_id] if eos and self.eos_token_id is not None else []
        return [*before, *token_ids_0, *after, *(token_ids_1 or [])]

    # --- ids → text

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        """Text of ids, without the leading space that encoding would have added."""
        ids = [token_ids] if isinstance(token_ids, int) else [int(i) for i in token_ids]
        special = self._special
        pieces: list[int] = []
        text = ""
        first = True
        for id_ in [*ids, -1]:
            piece = self._piece_id(id_)
            if piece is not None and id_ not in special and id_ not in self._added_tokens_decoder:
                pieces.append(piece)
                continue
            if pieces:
                has_prefix = not self._no_prefix and (first or self._legacy)
                model = self.model if has_prefix or not self._dummy_prefix else self._without_prefix
                text += str(model.decode(pieces))
                pieces, first = [], False
            if id_ >= 0 and not (skip_special_tokens and id_ in special):
                text += str(self.convert_ids_to_tokens(id_))
                first = False
        return text

    @property
    def _special(self) -> frozenset[int]:
        """Ids of special tokens, cached: needed for every generated token."""
        if self._specials is None or self._specials[0] != len(self._added_tokens_decoder):
            self._specials = len(self._added_tokens_decoder), frozenset(self.all_special_ids)
        return self._specials[1]

    _specials: tuple[int, frozenset[int]] | None = None

    def _piece_id(self, id_: int) -> int | None:
        """The id of a token in the model; None if it is not in the model."""
        piece = id_ - self._layout.offset
        if id_ in self._layout.fixed.values() and self._layout.offset:
            return None
        return piece if 0 <= piece < self.model.get_piece_size() and id_ >= 0 else None

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Text of pieces."""
        return str(self.model.decode_pieces(tokens))

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Save nothing: the repository holds the model."""
        return ()
