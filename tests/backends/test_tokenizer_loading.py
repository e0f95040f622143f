"""A repository's tokenizer gives the ids of its own files, in every format that repositories ship.

What is right is said by the library that defines the format (sentencepiece, tokenizers, tiktoken), never by
transformers.
"""

from __future__ import annotations

import base64
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tiktoken
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from jglue_app.backends import open_backend, open_tokenizer
from jglue_app.backends.hf.tokenization import tokenizer_loading
from jglue_app.backends.hf.tokenization.encoding import Encoder, tokenizer_facts
from jglue_app.backends.hf.tokenization.tokenizer import context_length
from jglue_app.backends.hf.tokenization.tokenizer_check import (
    SAMPLE_TEXTS,
    TokenizerSource,
    first_difference,
    require_same_ids,
    source_of,
)
from jglue_app.backends.hf.tokenization.tokenizer_loading import load_tokenizer
from jglue_app.errors import ModelError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Output, Prompt
from tests.conftest import JAPANESE, TinyModel
from tests.tokenizers import make_files, outcomes

TEXTS = (*JAPANESE, "ユーザー: 質問 システム: 答え", "It's 2024, don't  double  spaces.")
Train = Callable[..., Path]


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """`train(**options)`: a sentencepiece model trained with these options, once a session."""

    @functools.cache
    def made(**options: Any) -> Path:
        folder = tmp_path_factory.mktemp("spiece")
        (folder / "text.txt").write_text("\n".join(TEXTS * 20), "utf-8")
        settings: dict[str, Any] = {
            "model_type": "unigram",
            "byte_fallback": True,
            "normalization_rule_name": "identity",
        }
        settings |= options
        if "symbols" in settings:
            settings["user_defined_symbols"] = list(settings.pop("symbols"))
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "text.txt"),
            model_prefix=str(folder / "sp"),
            vocab_size=480,
            hard_vocab_limit=False,
            pad_id=3,
            minloglevel=2,
            **settings,
        )
        return folder / "sp.model"

    return made


def repository(folder: Path, *, model_type: str = "llama", files: dict[str, Path] | None = None, **config: Any) -> Path:
    """A folder with these files, a tokenizer_config.json, and a config.json of that model type."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in (files or {}).items():
        shutil.copy(file, folder / name)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def load(folder: Path) -> Any:
    where = {"pretrained_model_name_or_path": str(folder), "revision": None, "trust_remote_code": False, "token": None}
    return load_tokenizer("a model", where)


def bare(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def decoded(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


# --- sentencepiece --------------------------------------------------------------------------------------

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
RINNA = {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "symbols": ("<NL>",)}
LLAMA = {"model_type": "bpe", "remove_extra_whitespaces": False}
SHIPPED: dict[str, tuple[dict[str, Any], str, str, dict[str, Any]]] = {
    # How it was trained, name of the file, model type, tokenizer_config.json.
    "rinna": (RINNA, "spiece.model", "gpt_neox", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}),
    "llama": (LLAMA, "tokenizer.model", "llama", {"tokenizer_class": "LlamaTokenizer", "legacy": True}),
    "llama not legacy": (LLAMA, "tokenizer.model", "llama", {"tokenizer_class": "LlamaTokenizer", "legacy": False}),
    "unigram llama": ({}, "tokenizer.model", "llama", {"tokenizer_class": "LlamaTokenizer"}),
    "gemma": (
        LLAMA | {"add_dummy_prefix": False, "symbols": ("\n", "\n\n")},
        "tokenizer.model",
        "gemma",
        {"tokenizer_class": "GemmaTokenizer"},
    ),
    "t5": ({"normalization_rule_name": "nmt_nfkc", "byte_fallback": False}, "spiece.model", "gpt2",
           {"tokenizer_class": "T5Tokenizer"}),
    "nfkc": ({"normalization_rule_name": "nfkc"}, "tokenizer.model", "llama", {"tokenizer_class": "LlamaTokenizer"}),
    "no class": (RINNA, "spiece.model", "gpt2", {}),
    "a class of its own": (LLAMA, "tokenizer.model", "llama", {"tokenizer_class": "InternLMTokenizer"}),
    "a fast class": (LLAMA, "tokenizer.model", "llama", {"tokenizer_class": "PreTrainedTokenizerFast"}),
    "another name": (RINNA, "japanese.model", "gpt_neox", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}),
    "white space as suffix": (
        LLAMA | {"treat_whitespace_as_suffix": True}, "tokenizer.model", "llama", {"tokenizer_class": "LlamaTokenizer"}
    ),
}  # fmt: skip


@pytest.fixture(params=SHIPPED)
def shipped(request: pytest.FixtureRequest, train: Train, tmp_path: Path) -> tuple[Any, Any, str]:
    """(the tokenizer as loaded, sentencepiece's own, the name of the file) of a repository without tokenizer.json."""
    options, name, model_type, config = SHIPPED[request.param]
    file = train(**options)
    folder = repository(tmp_path / "m", model_type=model_type, files={name: file}, **SPECIAL, **config)
    return load(folder), sentencepiece.SentencePieceProcessor(model_file=str(file)), name


def test_ids_are_those_of_the_sentencepiece_model(shipped: tuple[Any, Any, str]) -> None:
    tokenizer, own, name = shipped
    for text in (*SAMPLE_TEXTS, *TEXTS, "", " ", "\n", "ユーザー: 関係は?<NL>システム: "):
        assert bare(tokenizer, text) == own.encode(text)
    assert source_of(tokenizer) == f"{name} (sentencepiece)"
    several = tokenizer(list(TEXTS), add_special_tokens=False)["input_ids"]
    assert several == [own.encode(text) for text in TEXTS]


def test_text_of_ids_is_that_of_the_sentencepiece_model(shipped: tuple[Any, Any, str]) -> None:
    tokenizer, own, _ = shipped
    for text in SAMPLE_TEXTS:
        ids = [i for i in own.encode(text) if i != own.unk_id()]
        assert decoded(tokenizer, ids) == own.decode(ids)
    for id_ in range(4, own.get_piece_size()):
        assert decoded(tokenizer, [id_]) == own.decode([id_])


def test_special_tokens_have_the_ids_of_the_sentencepiece_model(shipped: tuple[Any, Any, str]) -> None:
    tokenizer, own, _ = shipped
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (1, 2, 0)
    assert bare(tokenizer, "犬</s><s>") == [*own.encode("犬"), 2, 1]
    assert tokenizer.get_vocab()["<pad>"] == 3
    assert decoded(tokenizer, [1, 2]) == ""
    assert tokenizer.decode([1, 2], skip_special_tokens=False) == "<s></s>"
    # Models may have more rows than the vocabulary has tokens.
    assert decoded(tokenizer, [99_999]) == ""


@pytest.mark.parametrize(
    ("config", "before", "after"),
    [
        ({"tokenizer_class": "LlamaTokenizer"}, [1], []),
        ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": False}, [], []),
        ({"tokenizer_class": "LlamaTokenizer", "add_eos_token": True}, [1], [2]),
        ({"tokenizer_class": "GemmaTokenizer"}, [1], []),
        ({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}, [], [2]),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, [], []),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True}, [1], []),
    ],
)
def test_bos_and_eos_stand_where_the_class_and_its_settings_put_them(
    train: Train, tmp_path: Path, config: dict[str, Any], before: list[int], after: list[int]
) -> None:
    file = train(**LLAMA)
    tokenizer = load(repository(tmp_path / "m", files={"tokenizer.model": file}, **SPECIAL, **config))
    own = sentencepiece.SentencePieceProcessor(model_file=str(file)).encode("犬が走る")
    assert tokenizer("犬が走る")["input_ids"] == [*before, *own, *after]
    encoder = Encoder(tokenizer)
    assert (encoder.bos, encoder.suffix, encoder.adds_bos) == (before, after, bool(before))
    assert encoder.encode("犬が走る", has_special=False) == [*before, *own]
    assert encoder.encode("犬が走る", has_special=True) == own


@pytest.mark.parametrize(("legacy", "space"), [(True, True), (None, True), (False, False)])
def test_text_behind_a_token_has_a_dummy_prefix_in_legacy_tokenizers_alone(
    train: Train, tmp_path: Path, legacy: bool | None, space: bool
) -> None:
    file = train(**LLAMA)
    config: dict[str, Any] = {} if legacy is None else {"legacy": legacy}
    folder = repository(
        tmp_path / "m", files={"tokenizer.model": file}, tokenizer_class="LlamaTokenizer", **SPECIAL, **config
    )
    own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    with_prefix = own.encode("犬")
    without = own.encode("<0x0A>犬")[-len(with_prefix) + 1 :]  # The same pieces without the one for the space.
    assert own.id_to_piece(with_prefix[0]) == "▁"
    tokenizer = load(folder)
    assert bare(tokenizer, "犬</s>犬") == [*with_prefix, 2, *(with_prefix if space else without)]
    assert tokenizer.decode(bare(tokenizer, "犬</s>犬"), skip_special_tokens=False) == "犬</s>犬"
    # A space of the text's own stays one.
    assert tokenizer.decode(bare(tokenizer, "犬</s> 犬"), skip_special_tokens=False) == "犬</s> 犬"


@pytest.mark.parametrize("legacy", [None, True, False])
def test_no_text_has_a_dummy_prefix_where_the_settings_say_so(
    train: Train, tmp_path: Path, legacy: bool | None
) -> None:
    file = train(**LLAMA)
    config: dict[str, Any] = {} if legacy is None else {"legacy": legacy}
    folder = repository(
        tmp_path / "m",
        files={"tokenizer.model": file},
        tokenizer_class="LlamaTokenizer",
        add_prefix_space=False,
        **SPECIAL,
        **config,
    )
    # The same pieces as those of a model that was trained without the prefix: its option is all that is changed.
    module: Any = sentencepiece_model_pb2
    proto = module.ModelProto.FromString(file.read_bytes())
    proto.normalizer_spec.add_dummy_prefix = False
    own = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    with_prefix = sentencepiece.SentencePieceProcessor(model_file=str(file))
    tokenizer = load(folder)
    for text in (*SAMPLE_TEXTS, *TEXTS, " 犬", "犬"):
        assert bare(tokenizer, text) == own.encode(text)
        assert decoded(tokenizer, own.encode(text)) == text
    assert bare(tokenizer, "犬</s>犬") == [*own.encode("犬"), 2, *own.encode("犬")]
    assert own.encode("犬") != with_prefix.encode("犬")
    assert source_of(tokenizer) == "tokenizer.model (sentencepiece, no dummy prefix by add_prefix_space)"


def test_a_prefix_that_no_model_has_is_not_said_to_be_missing(train: Train, tmp_path: Path) -> None:
    folder = repository(
        tmp_path / "m",
        model_type="gpt_neox",
        files={"spiece.model": train(**RINNA)},
        tokenizer_class="T5Tokenizer",
        add_prefix_space=False,
    )
    assert source_of(load(folder)) == "spiece.model (sentencepiece)"


@pytest.mark.parametrize("sampling", [{"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}, {}])
@pytest.mark.parametrize("class_name", ["PLBartTokenizer", "LlamaTokenizer"])
def test_pieces_are_not_drawn_by_lot(train: Train, tmp_path: Path, class_name: str, sampling: dict[str, Any]) -> None:
    file = train()
    name = "tokenizer.model" if class_name == "LlamaTokenizer" else "sentencepiece.bpe.model"
    folder = repository(
        tmp_path / "m", files={name: file}, tokenizer_class=class_name, sp_model_kwargs=sampling, **SPECIAL
    )
    own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    tokenizer = load(folder)
    text = TEXTS[2].replace("\n", "")
    for _ in range(5):
        assert tokenizer.convert_ids_to_tokens(bare(tokenizer, text)) == own.encode(text, out_type=str)


@pytest.mark.parametrize(
    ("class_name", "file", "says"),
    [
        ("AlbertTokenizer", "spiece.model", "transformers cannot make the AlbertTokenizer of a model from its file"),
        ("PegasusTokenizer", "spiece.model", "transformers cannot make the PegasusTokenizer of a model from its file"),
        ("GPTSw3Tokenizer", "sentencepiece.bpe.model", "transformers cannot make the GPTSw3Tokenizer of a model from"),
        ("XLNetTokenizer", "spiece.model", "The tokenizer that transformers makes for a model is not that of its file"),
        ("XLMRobertaTokenizer", "sentencepiece.bpe.model", "The tokenizer that transformers makes for a model is not "),
    ],
)
def test_a_class_that_makes_nothing_of_a_sentencepiece_model_is_refused_in_a_sentence(
    train: Train, tmp_path: Path, class_name: str, file: str, says: str
) -> None:
    folder = repository(tmp_path / "m", files={file: train()}, tokenizer_class=class_name, **SPECIAL)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert str(caught.value).startswith(says)
    assert str(caught.value).endswith("Choose a repository of this model that holds a tokenizer.json.")


def test_added_tokens_keep_the_ids_that_the_settings_name(train: Train, tmp_path: Path) -> None:
    file = train(**RINNA)
    own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    size = own.get_piece_size()
    token = {"content": "<|話者|>", "special": True, "normalized": False, "lstrip": False, "rstrip": False,
             "single_word": False}  # fmt: skip
    plain = repository(
        tmp_path / "a",
        files={"spiece.model": file},
        tokenizer_class="T5Tokenizer",
        extra_ids=0,
        added_tokens_decoder={str(size + 5): token, str(size + 6): token | {"content": "<|次|>", "rstrip": True}},
        **SPECIAL,
    )
    older = repository(
        tmp_path / "b", files={"spiece.model": file}, tokenizer_class="T5Tokenizer", extra_ids=0, **SPECIAL
    )
    (older / "added_tokens.json").write_text(json.dumps({"<|話者|>": size + 5}), "utf-8")
    for folder in (plain, older):
        tokenizer = load(folder)
        assert bare(tokenizer, "犬<|話者|>猫") == [*own.encode("犬"), size + 5, *own.encode("猫")]
        assert tokenizer.decode([size + 5], skip_special_tokens=False) == "<|話者|>"
    assert bare(load(plain), "犬<|次|> \n猫") == [*own.encode("犬"), size + 6, *own.encode("猫")]


def test_extra_ids_of_t5_follow_its_pieces_backwards(train: Train, tmp_path: Path) -> None:
    file = train(**RINNA)
    size = sentencepiece.SentencePieceProcessor(model_file=str(file)).get_piece_size()
    tokenizer = load(
        repository(tmp_path / "m", files={"spiece.model": file}, tokenizer_class="T5Tokenizer", extra_ids=2, **SPECIAL)
    )
    assert bare(tokenizer, "<extra_id_0><extra_id_1>") == [size + 1, size]


def test_text_is_lowered_where_the_settings_say_so(train: Train, tmp_path: Path) -> None:
    file = train(**RINNA)
    tokenizer = load(
        repository(
            tmp_path / "m",
            files={"spiece.model": file},
            tokenizer_class="T5Tokenizer",
            extra_ids=0,
            do_lower_case=True,
            **SPECIAL,
        )
    )
    assert bare(tokenizer, "ABC犬") == sentencepiece.SentencePieceProcessor(model_file=str(file)).encode("abc犬")


def test_xglm_moves_the_ids_of_its_model_by_one(train: Train, tmp_path: Path) -> None:
    file = train(byte_fallback=False)
    own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    tokenizer = load(
        repository(
            tmp_path / "m",
            model_type="xglm",
            files={"sentencepiece.bpe.model": file},
            tokenizer_class="XGLMTokenizer",
            **SPECIAL,
        )
    )
    for text in (*SAMPLE_TEXTS, *TEXTS):
        # fairseq's dictionary begins <s> <pad> </s> <unk>, sentencepiece's <unk> <s> </s>.
        assert bare(tokenizer, text) == [3 if i == 0 else i + 1 for i in own.encode(text)]
    assert tokenizer("犬")["input_ids"][0] == tokenizer.eos_token_id == 2
    assert decoded(tokenizer, [i + 1 for i in own.encode(TEXTS[0])]) == own.decode(own.encode(TEXTS[0]))


def test_a_chat_template_and_its_tokens_work_with_a_sentencepiece_model(train: Train, tmp_path: Path) -> None:
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    file = train(**LLAMA)
    folder = repository(
        tmp_path / "m",
        files={"tokenizer.model": file},
        tokenizer_class="LlamaTokenizer",
        chat_template=template,
        **SPECIAL,
    )
    text = load(folder).apply_chat_template([{"role": "user", "content": "犬"}], tokenize=False)
    assert text == "<s>[user]犬</s>"
    own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    assert bare(load(folder), text) == [1, *own.encode("[user]犬"), 2]


def test_a_model_like_rinnas_is_scored_on_the_tokens_of_its_file(
    train: Train, tiny_model: TinyModel, settings: Settings, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    file = train(**RINNA)
    folder = tmp_path / "rinna"
    shutil.copytree(tiny_model("gpt_neox"), folder)
    (folder / "tokenizer.json").unlink()
    shutil.copy(file, folder / "spiece.model")
    settings_of_rinna = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, **SPECIAL}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings_of_rinna), "utf-8")
    text = "ユーザー: 前提：犬が庭を走っている。<NL>関係は？<NL>システム: "
    prompt = Prompt("jnli", "1", text, None, (), ("含意", "矛盾"), "", (), "")
    backend = open_backend(ModelSpec(str(folder)), settings, device="cpu")
    ((_, result),) = list(backend.choose([prompt], lambda: False))
    info = backend.info
    counted = backend.count_tokens(text)
    backend.close()

    own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    expected = []
    for answer in prompt.answers:
        context, whole = own.encode(text.rstrip()), own.encode(text + answer)
        with torch.no_grad():
            scores = torch.log_softmax(model(input_ids=torch.tensor([whole])).logits[0], -1)
        expected.append(sum(float(scores[k - 1, whole[k]]) for k in range(len(context), len(whole))))
    assert isinstance(result, Output)
    assert result.choice_logprobs == pytest.approx(expected, abs=1e-3)
    assert counted == len(own.encode(text))
    assert (info.tokenizer_source, info.prefix, info.adds_bos) == ("spiece.model (sentencepiece)", "", False)
    assert (info.tokenizer_round_trip, info.tokenizer_unknown) == (True, 0.0)


# --- tokenizer.json -------------------------------------------------------------------------------------


def byte_level(*, split: str = "", special: tuple[str, ...] = ("<s>", "</s>", "<pad>")) -> Tokenizer:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)
    if split:
        cut = pre_tokenizers.Split(tokenizers.Regex(split), "isolated")
        raw.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)])
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=list(special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return raw


def unigram() -> Tokenizer:
    raw = Tokenizer(models.Unigram())
    raw.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "▁")])
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    raw.decoder = decoders.Metaspace(prepend_scheme="never", split=False)
    raw.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(
            vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
        ),
    )
    return raw


@pytest.mark.parametrize(
    "class_name",
    ["", "PreTrainedTokenizerFast", "LlamaTokenizerFast", "GPTNeoXTokenizerFast", "T5TokenizerFast", "GemmaTokenizer",
     "Qwen2Tokenizer", "GPT2Tokenizer", "BloomTokenizerFast", "CodeGenTokenizer", "XGLMTokenizer", "NoSuchTokenizer"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["byte level", "digits one by one", "unigram"])
def test_tokenizer_json_is_taken_as_it_stands_whatever_class_is_named(
    tmp_path: Path, class_name: str, kind: str
) -> None:
    raw = unigram() if kind == "unigram" else byte_level(split=r"\d|\s?\p{L}+|[^\d\p{L}]+" if "digits" in kind else "")
    config: dict[str, Any] = {"tokenizer_class": class_name} if class_name else {}
    folder = repository(tmp_path / "m", model_type="gpt_neox", bos_token="<s>", eos_token="</s>", **config)
    raw.save(str(folder / "tokenizer.json"))
    tokenizer = load(folder)
    for text in (*SAMPLE_TEXTS, *TEXTS, "犬</s><s>猫"):
        expected = raw.encode(text, add_special_tokens=False).ids
        assert bare(tokenizer, text) == expected
        assert decoded(tokenizer, expected) == raw.decode(expected)
    assert source_of(tokenizer) == "tokenizer.json"
    assert len(tokenizer) == raw.get_vocab_size()


@pytest.mark.parametrize("model_first", [False, True])
def test_what_makes_a_tokenizer_random_is_switched_off(tmp_path: Path, model_first: bool) -> None:
    plain, random = byte_level(), byte_level()
    random.model.dropout = 0.3
    assert len({tuple(random.encode(SAMPLE_TEXTS[0]).ids) for _ in range(5)}) > 1
    told = json.loads(random.to_str())
    if model_first:
        told = {"model": told.pop("model"), **told}
    folder = repository(tmp_path / "m", model_type="gpt_neox", bos_token="<s>", eos_token="</s>")
    (folder / "tokenizer.json").write_text(json.dumps(told), "utf-8")
    tokenizer = load(folder)
    for text in (*SAMPLE_TEXTS, *TEXTS):
        expected = plain.encode(text, add_special_tokens=False).ids
        assert [bare(tokenizer, text) for _ in range(3)] == [expected] * 3
    assert source_of(tokenizer) == "tokenizer.json, without its dropout of 0.3"


def test_a_tokenizer_that_stays_random_is_refused() -> None:
    raw = byte_level()
    raw.model.dropout = 0.3
    with pytest.raises(ModelError, match=r"The tokenizer of a model gives the same text other tokens each time, so no"):
        tokenizer_loading._require_deterministic("a model", PreTrainedTokenizerFast(tokenizer_object=raw))
    raw.model.dropout = None
    tokenizer_loading._require_deterministic("a model", PreTrainedTokenizerFast(tokenizer_object=raw))


def test_tokenizer_json_is_read_where_the_package_of_its_class_is_missing(tmp_path: Path) -> None:
    raw = byte_level()
    folder = repository(tmp_path / "m", tokenizer_class="MistralCommonBackend", bos_token="<s>", eos_token="</s>")
    raw.save(str(folder / "tokenizer.json"))
    tokenizer = load(folder)
    assert bare(tokenizer, SAMPLE_TEXTS[0]) == raw.encode(SAMPLE_TEXTS[0], add_special_tokens=False).ids


def test_special_tokens_that_only_the_class_names_are_known(tmp_path: Path) -> None:
    # As the first repositories of GPT-2: their settings name no token at all.
    raw = byte_level(special=("<|endoftext|>",))
    folder = repository(tmp_path / "m", model_type="gpt2", model_max_length=1024)
    raw.save(str(folder / "tokenizer.json"))
    tokenizer = load(folder)
    assert tokenizer.eos_token_id == tokenizer.bos_token_id == raw.token_to_id("<|endoftext|>") == 0
    assert len(tokenizer) == raw.get_vocab_size()


def test_a_null_in_the_settings_is_not_replaced_by_the_default_of_the_class(tmp_path: Path) -> None:
    raw = byte_level(special=("<|endoftext|>",))
    folder = repository(tmp_path / "m", model_type="gpt2", tokenizer_class="GPT2Tokenizer", bos_token=None)
    raw.save(str(folder / "tokenizer.json"))
    assert load(folder).bos_token is None


@pytest.mark.parametrize("template", ["$A", "<s> $A"])
@pytest.mark.parametrize("told", [None, True, False])
def test_the_settings_of_llama_decide_on_bos_and_else_the_file(
    tmp_path: Path, template: str, told: bool | None
) -> None:
    raw = byte_level()
    raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<s>", 0)])
    config: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>"} | (
        {} if told is None else {"add_bos_token": told}
    )
    folder = repository(tmp_path / "m", tokenizer_class="LlamaTokenizerFast", **config)
    raw.save(str(folder / "tokenizer.json"))
    expected = told if told is not None else template == "<s> $A"
    assert load(folder)("犬")["input_ids"] == [0] * expected + raw.encode("犬", add_special_tokens=False).ids
    # Other classes have always left it to the file.
    repository(folder, tokenizer_class="PreTrainedTokenizerFast", **config)
    assert (load(folder)("犬")["input_ids"][:1] == [0]) == (template == "<s> $A")


def test_a_tokenizer_json_whose_model_stands_first_is_compared_as_a_whole(tmp_path: Path) -> None:
    raw = byte_level()
    folder = repository(tmp_path / "m", tokenizer_class="LlamaTokenizer", bos_token="<s>", eos_token="</s>")
    table = json.loads(raw.to_str())
    text = json.dumps({"model": table.pop("model"), **table}, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, "utf-8")
    assert bare(load(folder), TEXTS[0]) == raw.encode(TEXTS[0]).ids


def test_a_sentencepiece_model_that_disagrees_with_tokenizer_json_is_noted(train: Train, tmp_path: Path) -> None:
    file = train(**RINNA)
    raw = byte_level()
    folder = repository(tmp_path / "m", files={"tokenizer.model": file}, bos_token="<s>", eos_token="</s>")
    raw.save(str(folder / "tokenizer.json"))
    tokenizer = load(folder)
    assert bare(tokenizer, TEXTS[0]) == raw.encode(TEXTS[0]).ids
    assert source_of(tokenizer) == "tokenizer.json, not tokenizer.model"


def test_a_sentencepiece_model_that_agrees_with_tokenizer_json_is_not_mentioned(train: Train, tmp_path: Path) -> None:
    file = train(**RINNA)
    own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    pieces = [(own.id_to_piece(i), own.get_score(i)) for i in range(own.get_piece_size())]
    raw = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    folder = repository(tmp_path / "m", files={"spiece.model": file}, bos_token="<s>", eos_token="</s>")
    raw.save(str(folder / "tokenizer.json"))
    assert source_of(load(folder)) == "tokenizer.json"


# --- vocabularies whose rules stand elsewhere -----------------------------------------------------------


@pytest.mark.parametrize("class_name", ["GPT2Tokenizer", "Qwen2Tokenizer"])
def test_vocab_json_with_merges_is_read_by_the_rules_of_its_class(tmp_path: Path, class_name: str) -> None:
    raw = byte_level(special=("<|endoftext|>",))
    folder = repository(
        tmp_path / "m", model_type="gpt2", tokenizer_class=class_name, eos_token="<|endoftext|>", bos_token=None
    )
    raw.model.save(str(folder))
    if class_name == "Qwen2Tokenizer":
        # Digits one by one, composed characters.
        raw.normalizer = normalizers.NFC()
        pattern = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
            r"|\s+(?!\S)|\s+"
        )
        cut = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        raw.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer = load(folder)
    for text in (*SAMPLE_TEXTS, *TEXTS):
        assert bare(tokenizer, text) == raw.encode(text, add_special_tokens=False).ids
        assert decoded(tokenizer, bare(tokenizer, text)) == raw.decode(bare(tokenizer, text))
    assert source_of(tokenizer) == "vocab.json with merges.txt"


def test_a_wrongly_built_tokenizer_is_exchanged_for_the_one_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import GPT2Tokenizer

    raw = byte_level(special=("<|endoftext|>",))
    folder = repository(tmp_path / "m", model_type="gpt2", tokenizer_class="GPT2Tokenizer")
    raw.model.save(str(folder))
    built = GPT2Tokenizer.__init__

    def wrong(self: Any, *args: Any, **kwargs: Any) -> None:
        built(self, *args, **kwargs)
        self._tokenizer.normalizer = normalizers.NFKC()

    monkeypatch.setattr(GPT2Tokenizer, "__init__", wrong)
    tokenizer = load(folder)
    assert bare(tokenizer, "①２") == raw.encode("①２").ids
    assert tokenizer.eos_token_id == 0


def test_words_of_bert_are_cut_by_its_settings(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "犬", "猫", "abc", "ABC", "##d", "。"]
    folder = repository(tmp_path / "m", model_type="gpt2", tokenizer_class="BertTokenizer", do_lower_case=False)
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")
    tokenizer = load(folder)
    assert bare(tokenizer, "犬猫 ABC abcd。鳥") == [5, 6, 8, 7, 9, 10, 1]
    encoder = Encoder(tokenizer)
    assert (encoder.bos, encoder.suffix, encoder.adds_bos) == ([2], [3], False)
    assert encoder.encode("犬", has_special=False) == [2, 5]


def ranks() -> dict[bytes, int]:
    """Byte pairs as tiktoken keeps them: single bytes, then pairs in the order of their learning."""
    found = {bytes([i]): i for i in range(256)}
    for text in ("の", "で", "す", "犬", "。\n", " a", "20", "2024", "ab"):
        data = text.encode()
        for end in range(2, len(data) + 1):
            found.setdefault(data[:end], len(found))
    return found


LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def test_a_tiktoken_file_of_llama_3_gives_the_ids_of_tiktoken(tmp_path: Path) -> None:
    folder = repository(tmp_path / "m", model_type="llama", tokenizer_class="PreTrainedTokenizerFast")
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks().items()]
    (folder / "tokenizer.model").write_text("\n".join(lines) + "\n", "utf-8")
    own = tiktoken.Encoding("own", pat_str=LLAMA3, mergeable_ranks=ranks(), special_tokens={})
    tokenizer = load(folder)
    for text in (*SAMPLE_TEXTS, *TEXTS):
        assert bare(tokenizer, text) == own.encode(text)
    assert source_of(tokenizer) == "tokenizer.model"


def test_a_tiktoken_file_without_a_known_rule_is_refused(tmp_path: Path) -> None:
    folder = repository(tmp_path / "m", model_type="gpt_neox", tokenizer_class="PreTrainedTokenizerFast")
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks().items()]
    (folder / "tokenizer.model").write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(ModelError, match=r"^The file tokenizer\.model of a model does not say how text is cut"):
        load(folder)


def test_a_tekken_file_gives_the_ids_of_tiktoken_behind_its_special_tokens(tmp_path: Path) -> None:
    folder = repository(tmp_path / "m", model_type="mistral", tokenizer_class="PreTrainedTokenizerFast")
    special = [{"rank": i, "token_str": text, "is_control": True} for i, text in enumerate(("<unk>", "<s>", "</s>"))]
    rows = [{"rank": r, "token_bytes": base64.b64encode(t).decode(), "token_str": None} for t, r in ranks().items()]
    config = {"pattern": LLAMA3, "num_vocab_tokens": len(rows), "default_vocab_size": len(rows) + 10,
              "default_num_special_tokens": 10, "version": "v3"}  # fmt: skip
    table = {"config": config, "vocab": rows, "special_tokens": special}
    (folder / "tekken.json").write_text(json.dumps(table), "utf-8")
    own = tiktoken.Encoding("own", pat_str=LLAMA3, mergeable_ranks=ranks(), special_tokens={})
    tokenizer = load(folder)
    for text in (*SAMPLE_TEXTS, *TEXTS):
        assert bare(tokenizer, text) == [i + 10 for i in own.encode(text)]


def test_a_prompt_on_which_tokenizer_and_file_disagree_is_refused(tmp_path: Path) -> None:
    raw = byte_level(special=("<|endoftext|>",))
    folder = repository(tmp_path / "m", model_type="gpt2", tokenizer_class="GPT2Tokenizer")
    raw.model.save(str(folder))
    tokenizer = load(folder)
    encoder = Encoder(tokenizer)
    assert encoder.encode("犬。", has_special=True) == raw.encode("犬。").ids
    assert encoder.encode("犬<|endoftext|>犬。", has_special=True) == raw.encode("犬<|endoftext|>犬。").ids
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("犬", "猫")
    with pytest.raises(
        ModelError, match=r"for a model is not that of its file vocab\.json with merges\.txt: 「犬。」 becomes \["
    ):
        encoder.encode("犬。", has_special=True)
    with pytest.raises(ModelError, match="is not that of its file"):
        encoder.encode("猫<|endoftext|>犬。", has_special=True)
    assert encoder.encode("猫。<|endoftext|>", has_special=True) == raw.encode("猫。<|endoftext|>").ids


def test_the_first_difference_is_named() -> None:
    class Upper:
        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [ord(c) for c in text.upper()]}

    check = TokenizerSource("m", "f", lambda text: [ord(c) for c in text], skip=("!",))
    assert (
        first_difference(Upper(), ["ABC", "!a", "ABc"], check)
        == "「ABc」 becomes [67] from token 3 on, by the file [99]"
    )
    assert first_difference(Upper(), ["ABC", "!a"], check) == ""
    require_same_ids(Upper(), "abc", [1])  # Nothing to compare with.


def test_no_tokenizer_class_of_transformers_gives_other_ids_than_its_file(tmp_path: Path) -> None:
    found = list(outcomes(make_files(tmp_path)))
    assert [one for one in found if one.result == "DIFFERENT"] == []
    same = {(one.class_name, one.format) for one in found if one.result == "same"}
    # Those of decoder-only models must load, whatever transformers makes of them.
    with_json = {"GPT2Tokenizer", "GPTNeoXTokenizer", "GemmaTokenizer", "LlamaTokenizer", "Qwen2Tokenizer",
                 "CohereTokenizer", "CodeLlamaTokenizer", "TokenizersBackend", "XGLMTokenizer"}  # fmt: skip
    assert {(name, "tokenizer.json") for name in with_json} <= same
    with_model = {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "T5Tokenizer", "XGLMTokenizer",
                  "ReformerTokenizer"}  # fmt: skip
    assert {(name, "sentencepiece") for name in with_model} <= same
    assert {(name, "vocab.json with merges.txt") for name in ("GPT2Tokenizer", "Qwen2Tokenizer")} <= same


# --- what tokenizers put before a text ------------------------------------------------------------------


def glm_like(folder: Path, template: str = "[gMASK] <sop> $A", chat: str = "") -> Path:
    raw = byte_level(special=("[gMASK]", "<sop>", "</s>", "<s>"))
    tokens = [(text, raw.token_to_id(text)) for text in ("[gMASK]", "<sop>", "</s>", "<s>")]
    raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=tokens)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", chat_template=chat or None)
    tokenizer.save_pretrained(folder)
    return folder


def test_two_tokens_before_every_text_are_given_to_the_model_once(
    tiny_model: TinyModel, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "glm"
    shutil.copytree(tiny_model("llama"), folder)
    glm_like(folder, chat="[gMASK]<sop>{% for m in messages %}{{ m.content }}{% endfor %}")
    tokenizer = open_tokenizer(ModelSpec(str(folder)), settings)
    plain = Prompt("jnli", "1", "犬", None, (), (), "", (), "")
    assert tokenizer.encode(plain)[:2] == [0, 1] and tokenizer.encode(plain).count(0) == 1
    chat = Prompt("jnli", "1", tokenizer.render_chat([{"role": "user", "content": "犬"}]), ({},), (), (), "", (), "")
    assert tokenizer.encode(chat) == tokenizer.encode(plain)
    assert tokenizer.split(plain, "猫")[0] == tokenizer.encode(plain)
    info = tokenizer.info
    assert (info.prefix, info.adds_bos, info.bos, info.suffix) == (("[gMASK]", "<sop>"), False, "", ())
    backend = open_backend(ModelSpec(str(folder)), settings, device="cpu")
    assert (backend.info.prefix, backend.info.adds_bos) == ("[gMASK]<sop>", False)
    backend.close()


@pytest.mark.parametrize(
    ("template", "bos", "prefix", "adds_bos", "suffix"),
    [
        ("$A", "<s>", "", False, []),
        ("<s> $A", "<s>", "<s>", True, []),
        ("<s> $A", None, "<s>", False, []),
        ("<s> <sop> $A </s>", "<s>", "<s><sop>", True, [2]),
        ("[gMASK] $A", "<s>", "[gMASK]", False, []),
        ("$A </s>", "<s>", "", False, [2]),
    ],
)
def test_what_stands_around_a_text_is_told_apart(
    tmp_path: Path, template: str, bos: str | None, prefix: str, adds_bos: bool, suffix: list[int]
) -> None:
    folder = glm_like(tmp_path / "m", template)
    repository(folder, tokenizer_class="PreTrainedTokenizerFast", eos_token="</s>", bos_token=bos)
    tokenizer = load(folder)
    facts = tokenizer_facts(tokenizer)
    assert (facts.prefix, facts.adds_bos) == (prefix, adds_bos)
    encoder = Encoder(tokenizer)
    assert encoder.suffix == suffix
    ids = encoder.encode("犬。", has_special=False)
    assert ids + suffix == tokenizer("犬。")["input_ids"]


def test_a_prefix_that_only_some_texts_have_is_none() -> None:
    class Sometimes:
        bos_token_id = 1

        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            ids = [ord(c) for c in text]
            return {"input_ids": [1, *ids] if add_special_tokens and text.isascii() else ids}

    assert Encoder(Sometimes()).bos == []


def test_facts_say_when_a_text_does_not_come_back(train: Train, tmp_path: Path) -> None:
    file = train(normalization_rule_name="nmt_nfkc", byte_fallback=False)
    tokenizer = load(
        repository(tmp_path / "m", files={"tokenizer.model": file}, tokenizer_class="LlamaTokenizer", **SPECIAL)
    )
    facts = tokenizer_facts(tokenizer)
    assert not facts.round_trip  # Line ends become spaces.
    assert facts.unknown > 0  # （ is folded to ( , which the training text has not.


def _of_words(**options: Any) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.WordLevel({"a": 0, "あ": 1, "1": 2, "2": 3}, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, **options)


def test_a_tokenizer_without_its_unknown_token_is_refused_at_the_first_text_that_needs_it() -> None:
    tokenizer = _of_words(name_or_path="some/model")
    encoder = Encoder(tokenizer)
    assert encoder.encode("a あ", has_special=True) == [0, 1]
    with pytest.raises(ModelError, match="some/model cannot encode the text 'b'"):
        encoder.encode("b", has_special=True)
    with pytest.raises(ModelError, match="cannot encode"):
        tokenizer_facts(tokenizer)


@pytest.mark.parametrize("limit", [{"a": 5}, "512", [5]])
def test_a_limit_that_is_no_number_is_told_in_a_sentence(limit: object) -> None:
    with pytest.raises(ModelError, match="cannot encode the text 'a'"):
        Encoder(_of_words(model_max_length=limit))


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), -1, "512", {"a": 5}, None])
def test_a_context_length_that_is_none_is_not_taken(limit: object) -> None:
    tokenizer = _of_words()
    tokenizer.model_max_length = limit
    assert context_length(LlamaConfig(max_position_embeddings=0), tokenizer) is None


# --- added tokens ---------------------------------------------------------------------------------------


def with_added_tokens(folder: Path, **config: Any) -> Path:
    """A repository of a tokenizer.json whose added tokens have all kinds of attributes."""
    tokenizer = Tokenizer(models.BPE({"<s>": 0, "a": 1, "b": 2, "ab": 3, "<unk>": 4}, [("a", "b")], unk_token="<unk>"))
    tokenizer.add_special_tokens([tokenizers.AddedToken("<s>", lstrip=True), tokenizers.AddedToken("<unk>")])
    tokenizer.add_tokens([tokenizers.AddedToken("[X]", rstrip=True, single_word=True, normalized=False)])
    repository(folder, **config)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def state(tokenizer: Any) -> list[Any]:
    """What added and special tokens a tokenizer of transformers has."""
    named = {name: repr(token) for name, token in tokenizer._special_tokens_map.items()}
    added = {number: repr(token) for number, token in tokenizer.added_tokens_decoder.items()}
    return [named, added, tokenizer.init_kwargs, tokenizer.all_special_ids, tokenizer.backend_tokenizer.to_str()]


def test_a_tokenizer_json_is_read_once_and_its_added_tokens_are_those_that_transformers_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_added_tokens(tmp_path / "a", bos_token="<s>", unk_token="<unk>", mask_token="[X]")
    expected = PreTrainedTokenizerFast.from_pretrained(folder)
    found: list[str] = []
    parse = json.load

    def noted(file: Any, *args: Any, **options: Any) -> Any:
        found.append(Path(file.name).name)
        return parse(file, *args, **options)

    monkeypatch.setattr(json, "load", noted)
    tokenizer = load(folder)
    assert "tokenizer.json" not in found
    assert state(tokenizer) == state(expected)
    assert repr(tokenizer._special_tokens_map["bos_token"]) == repr(
        tokenizers.AddedToken("<s>", lstrip=True, special=True, normalized=False)
    )


def test_added_tokens_that_another_file_names_are_left_to_transformers(tmp_path: Path) -> None:
    folder = with_added_tokens(tmp_path / "a", unk_token="<unk>")
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<s>"}), "utf-8")
    expected = PreTrainedTokenizerFast.from_pretrained(folder)
    assert expected.bos_token == "<s>"
    assert state(load(folder)) == state(expected)
