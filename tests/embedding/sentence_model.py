"""A tiny model of sentence-transformers with random weights: a BERT with a WordPiece tokenizer of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from jglue_app.data import files
from jglue_app.settings import load_settings

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def sentences() -> list[str]:
    """The sentences of the JSTS samples."""
    items = files.load(load_settings(), "jsts", "valid", data="sample").items
    return [item.fields[name] for item in items for name in ("sentence1", "sentence2")]


def word_pieces(texts: list[str]) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer trained on some texts, which reads a character at least."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=600, special_tokens=list(SPECIAL.values()), show_progress=False)
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **SPECIAL)


def save_bert(folder: Path, *, seed: int = 1) -> None:
    """A BERT of two layers and its tokenizer, as transformers saves them."""
    tokenizer = word_pieces(sentences())
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_sentence_model(folder: Path, *, seed: int = 1, **config: Any) -> Path:
    """A model of sentence-transformers: that BERT, and the mean over its tokens.

    Args:
        folder: where to.
        seed: of its weights.
        config: what config_sentence_transformers.json is to hold beside what the library writes, such as `prompts`.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    bert = folder.with_name(f"{folder.name}-bert")
    save_bert(bert, seed=seed)
    transformer = Transformer(str(bert))
    SentenceTransformer(modules=[transformer, Pooling(32, "mean")]).save(str(folder), create_model_card=False)
    if config:
        path = folder / "config_sentence_transformers.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | config), "utf-8")
    return folder


def save_static_model(folder: Path, rows: Mapping[str, Sequence[float]]) -> Path:
    """A model of sentence-transformers whose vector of a text is the mean of its words' rows; `[UNK]` has one too."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(rows)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.asarray(list(rows.values()), dtype=np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)]).save(
        str(folder), create_model_card=False
    )
    return folder
