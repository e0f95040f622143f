"""A GGUF file's tokenizer is that of the file: its rule for cutting, its spaces, its special tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import pytest
import sentencepiece
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, GPT2Tokenizer, GPTNeoXTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from jglue_app.backends.hf.checkpoint.gguf_header import read_header
from jglue_app.backends.hf.checkpoint.gguf_tokenizer import (
    RULES,
    correct_tokenizer,
    reject_unknown_rule,
)
from jglue_app.backends.hf.tokenization.tokenizer_check import SAMPLE_TEXTS
from jglue_app.errors import ModelError
from tests.conftest import JAPANESE

TEXTS = (*SAMPLE_TEXTS, *JAPANESE, "答え：\n含意", "12345円、2024年\r\n")
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def write(
    file: Path, model: str, tokens: Sequence[str], types: Sequence[int], *, rule: str = "default", **more: Any
) -> Path:
    """A GGUF file of a Llama without weights."""
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(16)
    writer.add_head_count(2)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(list(tokens))
    writer.add_token_types(list(types))
    writer.add_bos_token_id(more.pop("bos", 1))
    writer.add_eos_token_id(more.pop("eos", 2))
    for name, value in more.items():
        getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return file


def opened(file: Path, folder: Path) -> Any:
    """Its tokenizer as it is found after a conversion."""
    header = read_header(file)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    correct_tokenizer(tokenizer, file, header)
    tokenizer.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("prefix", [True, False])
def test_a_sentencepiece_vocabulary_gives_the_ids_of_sentencepiece(kind: str, prefix: bool, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join(JAPANESE * 5), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"),
        model_prefix=str(tmp_path / "sp"),
        model_type=kind,
        vocab_size=420,
        byte_fallback=True,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=prefix,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "sp.model"))
    ids = range(pieces.vocab_size())
    kinds = [
        UNKNOWN if pieces.is_unknown(i) else CONTROL if pieces.is_control(i) else BYTE if pieces.is_byte(i) else NORMAL
        for i in ids
    ]
    tokens, scores = [pieces.id_to_piece(i) for i in ids], [pieces.get_score(i) for i in ids]
    more: dict[str, Any] = {"token_scores": scores, "unk_token_id": 0, "add_space_prefix": prefix}
    file = write(tmp_path / "m.gguf", "llama", tokens, kinds, **more)
    tokenizer = opened(file, tmp_path / "saved")
    # A space at the beginning of a text is not doubled.
    texts = [text for text in TEXTS if not prefix or not text.startswith(" ")]
    for text in texts:
        encoded = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert encoded == pieces.encode(text), text
        assert tokenizer.decode(encoded, clean_up_tokenization_spaces=False) == pieces.decode(encoded), text
    assert tokenizer(texts[0])["input_ids"][0] == 1


def byte_level(rule: Any) -> tuple[Any, list[str], list[str]]:
    """Byte-level BPE trained with a rule for cutting, its vocabulary and its merges."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = rule
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator([*TEXTS * 3, *("：\n" * k + "あ" for k in range(1, 9))], trainer)
    tokens = sorted(raw.get_vocab(), key=raw.get_vocab().__getitem__)
    return raw, tokens, [" ".join(pair) for pair in json.loads(raw.to_str())["model"]["merges"]]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("glm4", [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]),
        ("smollm", [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)]),
        ("gpt-2", [pre_tokenizers.ByteLevel(False)]),
    ],
)
def test_text_is_cut_by_the_rule_that_the_file_names(name: str, rule: list[Any], tmp_path: Path) -> None:
    raw, tokens, merges = byte_level(pre_tokenizers.Sequence(rule))
    file = write(tmp_path / "m.gguf", "gpt2", tokens, [NORMAL] * len(tokens), rule=name, token_merges=merges)
    tokenizer = opened(file, tmp_path / "saved")
    for text in TEXTS:
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == raw.encode(text).ids, text


@pytest.mark.parametrize(
    ("name", "tokenizer_class"), [("qwen2", Qwen2Tokenizer), ("olmo", GPTNeoXTokenizer), ("gpt-2", GPT2Tokenizer)]
)
def test_signs_are_composed_where_the_models_own_tokenizer_does(
    name: str, tokenizer_class: Any, tmp_path: Path
) -> None:
    own = tokenizer_class(vocab=None).backend_tokenizer.normalizer
    _, tokens, merges = byte_level(pre_tokenizers.ByteLevel(False))
    file = write(tmp_path / "m.gguf", "gpt2", tokens, [NORMAL] * len(tokens), rule=name, token_merges=merges)
    tokenizer = opened(file, tmp_path / "saved")
    decomposed = "か\u3099っこう、cafe\u0301"
    expected = own.normalize_str(decomposed) if own else decomposed
    assert (expected != decomposed) is (name != "gpt-2")
    assert tokenizer.decode(tokenizer(decomposed, add_special_tokens=False)["input_ids"]) == expected


def test_a_rule_that_is_not_known_is_refused(tmp_path: Path) -> None:
    tokens, types, file = ["a", "b", "c"], [NORMAL] * 3, tmp_path / "m.gguf"
    for name in ("deepseek-llm", "default", "some-new-one"):
        write(file, "gpt2", tokens, types, rule=name)
        with pytest.raises(ModelError, match=rf"tokenizer\.ggml\.pre: {name}\): other tokens would be scored"):
            reject_unknown_rule(file, read_header(file))
    for kind in ("t5", "rwkv", "plamo2"):
        write(file, kind, tokens, types, token_scores=[-1.5, -2.5, -3.5])
        with pytest.raises(ModelError, match=rf"tokenizer\.ggml\.model: {kind}\): other tokens would be scored"):
            reject_unknown_rule(file, read_header(file))
    write(file, "llama", tokens, types, token_scores=[-1000.0] * 3)
    with pytest.raises(ModelError, match=r"gives all of its tokens one score and has no merges"):
        reject_unknown_rule(file, read_header(file))
    write(file, "llama", tokens, types, token_scores=[-1000.0] * 3, token_merges=["a b"])
    reject_unknown_rule(file, read_header(file))
    write(file, "gpt2", tokens, types, rule="qwen2")
    reject_unknown_rule(file, read_header(file))


def test_a_sentencepiece_vocabulary_that_leaves_open_how_text_is_divided_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    kana = [chr(code) * n for n in (1, 2) for code in range(0x3041, 0x3091)]
    for more, scores, sentence in (
        (["（"], [-0.5] * 40 + [-1.0] * 121, "scores of a unigram model and others those of byte-pair encoding"),
        (["("], [-1.5] * 161, "whether full-width letters and digits become half-width"),
        (["（"], [-1.5] * 161, None),
        (["（"], [float(-i) for i in range(161)], None),
    ):
        write(file, "llama", [*kana, *more], [NORMAL] * 161, token_scores=scores, token_merges=["ぁ ぁ"])
        if sentence is None:
            reject_unknown_rule(file, read_header(file))
        else:
            with pytest.raises(ModelError, match=sentence):
                reject_unknown_rule(file, read_header(file))


def test_patterns_are_those_that_transformers_has_under_the_same_names() -> None:
    known = pytest.importorskip("transformers.integrations.gguf.gguf_tokenizer_mapping").GGUF_PRE_TOKENIZER_SPLITS
    shared = RULES.keys() & known.keys()
    assert len(shared) > 15
    assert {name: RULES[name] for name in shared} == {name: known[name] for name in shared}


def test_special_tokens_outside_the_byte_level_alphabet_are_whole_and_have_their_ids(tmp_path: Path) -> None:
    _, tokens, merges = byte_level(pre_tokenizers.ByteLevel(False))
    special = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>"]
    first = len(tokens)
    file = write(
        tmp_path / "m.gguf",
        "gpt2",
        [*tokens, *special],
        [*[NORMAL] * first, *[CONTROL] * 3],
        rule="llama-bpe",
        token_merges=merges,
        bos=first,
        eos=first + 1,
    )
    tokenizer = opened(file, tmp_path / "saved")
    assert len(tokenizer) == first + 3
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (first, first + 1)
    question = "前提：犬がいる。"
    plain = tokenizer(question, add_special_tokens=False)["input_ids"]
    # BOS is added by this rule unless the file says otherwise.
    assert tokenizer(f"<｜User｜>{question}")["input_ids"] == [first, first + 2, *plain]
    assert tokenizer.decode([first + 2, *plain], skip_special_tokens=True) == question
    assert re.fullmatch(r"[^｜]+", tokenizer.decode(plain))
