"""A repository's tokenizer as its own files define it.

transformers 5 builds most tokenizers anew, from the vocabulary of the repository's file and rules of its own class.
Where the rules differ from those in the file, text becomes other ids than the model was trained with, and nothing says
so. Therefore the file decides here, in this order:

1. `tokenizer.json` is read by the library that defines the format, tokenizers, as it stands. It comes before a
   sentencepiece model beside it: it is the later conversion, its maker's word on how the model is to be used, and what
   every program reads that uses fast tokenizers. Where the two disagree, that is noted in the tokenizer's source.
2. A sentencepiece model (`spiece.model`, `tokenizer.model`, …) is run by sentencepiece itself, with the options that
   it was trained with.
3. `vocab.json` with `merges.txt`, `vocab.txt`, `tekken.json` and tiktoken files leave rules open that the class or a
   pattern holds. A reference is built from file and documented rules; what transformers makes is compared with it on a
   fixed text when it is loaded, and on every prompt. Where it differs, the reference is used, or the model is refused.
4. Tokenizers that are code of transformers alone are taken as they are.

Tokens named in `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` come on top of each file.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from huggingface_hub import list_repo_files
from tokenizers import AddedToken, decoders, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name
from transformers.utils import cached_file

from jglue_app.backends.hf.tokenization.sentencepiece_tokenizer import FAIRSEQ, STRAIGHT, SentencePieceTokenizer
from jglue_app.errors import ModelError, first_line

PROBE = (
    "前提：男性が自転車に乗っている。\n仮説：女性が本を読んでいる。\n\n関係：",
    "  先頭の空白\t\tタブ。行末の空白  \n",
    "ユーザー: 1,234円は①２３㌔ ｶﾀｶﾅ ＡＢＣ abc ﾊﾟ が゙ですか？\r\nシステム: ",
    "𠮷野家の髙﨑さん👨‍👩‍👧🇯🇵が麤皮と鬱金、\u200bか\u3000゛を見た…",
    "It's 2024-12-31, don't 12345678 A  b   c, naïve e\u0301.",
)
"""What texts are compared on: line ends, widths, rare and composed characters, spaces, digits, look-alikes."""
_CHECK = "_jglue_check"
_HEAD = 2**22
"""Bytes at the beginning of a tokenizer.json in which everything but the vocabulary stands, as a rule."""
_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_SPIECE = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "sentencepiece.model", "spm.model", "sp.model")
_OTHERS = ("vocab.json", "merges.txt", "vocab.txt", "tekken.json", "config.json")
# Of these, transformers 4 took `add_bos_token` and `add_eos_token` from the settings, whatever their tokenizer.json
# said; transformers 5 drops them. DeepSeek's tokenizers rely on it.
_OBEY_FLAGS = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer")
_GPT2_RULES = (
    "GPT2Tokenizer", "CodeGenTokenizer", "RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer",
    "BlenderbotTokenizer", "GPTNeoXTokenizer", "PhiTokenizer",
)  # fmt: skip
_BERT_RULES = ("BertTokenizer", "ElectraTokenizer", "DistilBertTokenizer")
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)

Ids = Callable[[str], list[int]]


@dataclass(slots=True)
class Check:
    """Where a tokenizer comes from, and what its ids are compared with."""

    name: str
    """Of the model, for messages."""
    source: str
    """The file or files it was read from, and what is to be known of them."""
    reference: Ids | None = None
    """Text → ids by the file itself, without what is put before and after; None if the file itself is in use."""
    skip: tuple[str, ...] = ()
    """Texts with one of these are not compared: tokens that the reference does not know."""
    disputed: str = ""
    """A file beside the source that defines other ids; empty if there is none."""


@dataclass(frozen=True, slots=True)
class _Repository:
    """The tokenizer's files."""

    where: Mapping[str, Any]
    """Arguments of `from_pretrained`."""
    files: Mapping[str, Path]
    """Name → file."""
    settings: Mapping[str, Any]
    """Of tokenizer_config.json, with special_tokens_map.json where it names none."""
    model: Mapping[str, Any]
    """Of config.json."""
    class_name: str
    """Of the tokenizer, without `Fast`; empty if neither file nor model type names one."""
    added: Mapping[int, AddedToken] = field(default_factory=dict)
    """Id → token, as the settings name them."""

    def first(self, names: Iterable[str]) -> Path | None:
        """The first of some files that is there."""
        return next((self.files[name] for name in names if name in self.files), None)


def load_tokenizer(name: str, where: Mapping[str, Any]) -> Any:
    """The tokenizer of a repository, with the ids of the repository's own files.

    Args:
        name: of the model, for messages.
        where: arguments of `from_pretrained`: folder or Hub id, revision, token.

    Raises:
        ModelError: the files say one thing, transformers another, and the files cannot be used alone.
        Exception: of any kind, from transformers, tokenizers or the network, when it cannot be loaded.
    """
    found = _repository(where)
    _refuse_code(name, found)
    if "tokenizer.json" in found.files:
        tokenizer, check = _from_json(name, found)
    elif (file := _spiece_file(found)) is not None:
        tokenizer, check = _from_spiece(name, found, file)
    else:
        file = found.first(name for name in found.files if name not in (*_FILES, "config.json"))
        tokenizer, check = _compared(name, found, _built_by_class(name, found, file))
    if not hasattr(tokenizer, "__dict__"):  # Not of transformers.
        return tokenizer
    if dropout := _settle(getattr(tokenizer, "backend_tokenizer", None)):
        check.source += f", without its dropout of {dropout:.3g}"
    _require_repeatable(name, tokenizer)
    setattr(tokenizer, _CHECK, check)
    return tokenizer


_SAMPLING = ("enable_sampling", "alpha", "nbest_size")
"""Options of sentencepiece with which it cuts the same text differently each time, for training."""


def _settle(raw: Any) -> float:
    """Switch off the dropout of a tokenizer of the library tokenizers, which is for training; what it was, else 0."""
    dropout = getattr(getattr(raw, "model", None), "dropout", None)
    if dropout is None:
        return 0.0
    raw.model.dropout = None
    return float(dropout)


def _without_sampling(found: _Repository) -> dict[str, Any]:
    """Arguments with which the classes of transformers that run sentencepiece do not draw the pieces by lot."""
    told = found.settings.get("sp_model_kwargs")
    if not isinstance(told, dict) or not set(told) & set(_SAMPLING):
        return {}
    return {"sp_model_kwargs": {key: value for key, value in told.items() if key not in _SAMPLING}}


def _require_repeatable(name: str, tokenizer: Any) -> None:
    """Raise ModelError if the fixed text does not become the same ids twice."""
    for text in PROBE:
        try:
            one, other = (list(tokenizer(text, add_special_tokens=False)["input_ids"]) for _ in range(2))
        except Exception:  # A vocabulary without a token for what it does not know; other texts may do.
            continue
        if one != other:
            raise ModelError(
                "The tokenizer of {name} gives the same text other tokens each time, so no score "
                "could be repeated. Choose a repository whose tokenizer does not sample.",
                name=name,
            )


def _refuse_code(name: str, found: _Repository) -> None:
    """Refuse a tokenizer class that is code of the repository: what it does beside its files cannot be known."""
    table = found.settings.get("auto_map")
    own = table.get("AutoTokenizer") if isinstance(table, dict) else table
    if own and (not found.class_name or tokenizer_class_from_name(found.class_name) is None):
        raise ModelError(
            "{name} needs to run code from its repository, which this application never does. "
            "Choose a model that transformers supports by itself.",
            name=name,
        )


def source_of(tokenizer: Any) -> str:
    """The files that a tokenizer was read from, as the manifest tells it; empty if it was not loaded here."""
    check: Check | None = getattr(tokenizer, _CHECK, None)
    if check is None:
        return ""
    return f"{check.source}, not {check.disputed}" if check.disputed else check.source


def disputed_by(tokenizer: Any) -> str:
    """A file of the repository that defines other ids than the one in use; empty if there is none."""
    check: Check | None = getattr(tokenizer, _CHECK, None)
    return check.disputed if check else ""


def reference_of(tokenizer: Any) -> Check | None:
    """What prompts are compared with; None if the tokenizer is the file itself."""
    check: Check | None = getattr(tokenizer, _CHECK, None)
    return check if check and check.reference else None


def first_difference(tokenizer: Any, texts: Iterable[str], check: Check) -> str:
    """Where a tokenizer differs from the file, as a clause of a sentence; empty if it does not on these texts."""
    for text in texts:
        if any(token in text for token in check.skip):
            continue
        found = difference(tokenizer, text, tokenizer(text, add_special_tokens=False)["input_ids"], check)
        if found:
            return found
    return ""


def difference(tokenizer: Any, text: str, ids: Sequence[int], check: Check) -> str:
    """The same for one text whose ids are known."""
    if check.reference is None:
        return ""
    own = check.reference(text)
    if own == list(ids):
        return ""
    at = next((k for k, (x, y) in enumerate(zip(own, ids, strict=False)) if x != y), min(len(own), len(ids)))
    return (
        f"「{_excerpt(text)}」 becomes {list(ids[at : at + 3])} from token {at + 1} on, by the file {own[at : at + 3]}"
    )


def require_same(tokenizer: Any, text: str, ids: Sequence[int]) -> None:
    """Raise ModelError if a prompt's ids are not those of the file that the tokenizer is compared with."""
    check = reference_of(tokenizer)
    if check is None or any(token in text for token in check.skip):
        return
    found = difference(tokenizer, text, ids, check)
    if found:
        raise _refused(check.name, check.source, found)


def _refused(name: str, source: str, found: str) -> ModelError:
    return ModelError(
        "The tokenizer that transformers makes for {name} is not that of its file {source}: "
        "{found}. Choose a repository of this model that holds a tokenizer.json.",
        name=name,
        source=source,
        found=found,
    )


def _excerpt(text: str) -> str:
    short = text if len(text) <= 40 else text[:39] + "…"
    return short.replace("\n", "⏎").replace("\r", "").replace("\t", "⇥")


# --- files ----------------------------------------------------------------------------------------------


def _repository(where: Mapping[str, Any]) -> _Repository:
    files = _files(where)
    settings = dict(_table(files.get("tokenizer_config.json")))
    if "added_tokens_decoder" not in settings:
        settings |= {key: value for key, value in _table(files.get("special_tokens_map.json")).items() if value}
    model = _table(files.get("config.json"))
    named = settings.get("tokenizer_class") or model.get("tokenizer_class")
    class_name = str(named or TOKENIZER_MAPPING_NAMES.get(str(model.get("model_type"))) or "").removesuffix("Fast")
    return _Repository(where, files, settings, model, class_name, _added(files, settings))


def _files(where: Mapping[str, Any]) -> dict[str, Path]:
    """The tokenizer's files, fetched if need be; from the Hub no other vocabulary where there is a tokenizer.json."""
    place = Path(str(where["pretrained_model_name_or_path"]))
    if place.is_dir():
        wanted = (*_FILES, *_SPIECE, *_OTHERS)
        models = sorted(path.name for path in place.iterdir() if path.suffix in (".model", ".tiktoken"))
        return {name: place / name for name in dict.fromkeys((*wanted, *models)) if (place / name).is_file()}

    def fetch(name: str) -> str | None:
        found: str | None = cached_file(
            where["pretrained_model_name_or_path"],
            name,
            revision=where.get("revision"),
            token=where.get("token"),
            _raise_exceptions_for_missing_entries=False,
        )
        return found

    found = {name: Path(path) for name in (*_FILES, "config.json") if (path := fetch(name))}
    if "tokenizer.json" in found:
        return found
    try:
        names = list_repo_files(str(place), revision=where.get("revision"), token=where.get("token"))
    except Exception:  # Without the network, what is in the cache is what transformers can read as well.
        names = [path.name for path in next(iter(found.values())).parent.iterdir()] if found else []
    others = [n for n in names if n in (*_SPIECE, *_OTHERS) or ("/" not in n and n.endswith((".model", ".tiktoken")))]
    return found | {name: Path(path) for name in others if (path := fetch(name))}


def _table(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    table = json.loads(file.read_text("utf-8"))
    return table if isinstance(table, dict) else {}


def _added(files: Mapping[str, Path], settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Tokens that the settings name with their ids."""
    told = settings.get("added_tokens_decoder")
    if isinstance(told, dict):
        return {int(i): _token(token) for i, token in told.items()}
    special = {str(_token(v)) for k, v in settings.items() if k.endswith("_token") and isinstance(v, (str, dict))}
    more = settings.get("additional_special_tokens") or []
    special |= {str(_token(v)) for v in more} if isinstance(more, list) else set()
    return {
        int(i): AddedToken(text, special=text in special, normalized=text not in special)
        for text, i in _table(files.get("added_tokens.json")).items()
    }


def _token(told: Any) -> AddedToken:
    if isinstance(told, dict):
        return AddedToken(**{key: value for key, value in told.items() if key != "__type"})
    return told if isinstance(told, AddedToken) else AddedToken(str(told), special=True)


def _class_defaults(found: _Repository, knows: Callable[[str], bool]) -> dict[str, str]:
    """Special tokens that the tokenizer's class names by default, where the settings name none."""
    try:
        kind = tokenizer_class_from_name(found.class_name) if found.class_name else None
        names = [n for n in getattr(kind, "SPECIAL_TOKENS_ATTRIBUTES", ()) if n not in found.settings]
        told = inspect.signature(kind.__init__).parameters if kind is not None else {}
    except Exception:  # A class that needs a package that is not here.
        return {}
    defaults = {n: str(told[n].default) for n in names if n in told and isinstance(told[n].default, (str, AddedToken))}
    return {name: text for name, text in defaults.items() if knows(text)}


# --- tokenizer.json -------------------------------------------------------------------------------------


def _from_json(name: str, found: _Repository) -> tuple[Any, Check]:
    """The file as tokenizers reads it. The class of transformers that would build it anew is passed over."""
    file = found.files["tokenizer.json"]
    # Read once: the class that every other fast one is made from takes the file as it is.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(**found.where)
    vocabulary = tokenizer.backend_tokenizer.token_to_id
    for key, text in _class_defaults(found, lambda text: vocabulary(text) is not None).items():
        tokenizer.add_special_tokens({key: text})
    _obey_flags(tokenizer, found)
    dropout = _settle(tokenizer.backend_tokenizer)
    check = Check(name, "tokenizer.json" + (f", without its dropout of {dropout:.3g}" if dropout else ""))
    with file.open("rb") as opened:
        told = _sections(opened.read(_HEAD).decode("utf-8", "ignore"))
    backend = tokenizer.backend_tokenizer
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if told is None or part in told:
            own = getattr(backend, part)
            have = json.loads(own.__getstate__()) if own is not None else None
            if told is None or have != told[part]:
                _compare_whole(tokenizer, file, check)
                break
    if (other := _spiece_file(found)) is not None:
        check.disputed = other.name if _disagree(tokenizer, found, other) else ""
    return tokenizer, check


def _sections(text: str) -> dict[str, Any] | None:
    """What a tokenizer.json holds before its vocabulary; None if that does not stand at its end.

    A vocabulary of 262,144 tokens takes a second to parse; what comes before it, milliseconds.
    """
    decoder = json.JSONDecoder()
    key_at = re.compile(r'[\s,{]*"(\w+)"\s*:\s*')
    found: dict[str, Any] = {}
    at = 0
    while (key := key_at.match(text, at)) and key[1] != "model":
        try:
            found[key[1]], at = decoder.raw_decode(text, key.end())
        except ValueError:
            return None
    return found if {"normalizer", "pre_tokenizer", "decoder"} <= set(found) else None


def _compare_whole(tokenizer: Any, file: Path, check: Check) -> None:
    """Compare with the file read a second time, on the fixed text; refuse what differs."""
    raw = tokenizers.Tokenizer.from_file(str(file))
    _settle(raw)
    raw.add_tokens([token for _, token in sorted(tokenizer.added_tokens_decoder.items())])
    check.reference = lambda text: list(raw.encode(text, add_special_tokens=False).ids)
    if different := first_difference(tokenizer, PROBE, check):
        raise _refused(check.name, check.source, different)
    check.reference = None


def _obey_flags(tokenizer: Any, found: _Repository) -> None:
    """Put BOS and EOS as the settings say, for the classes whose settings decide that."""
    if found.class_name not in _OBEY_FLAGS:
        return
    whole, bare = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    now = (
        bos is not None and whole[: len(whole) - len(bare)][:1] == [bos],
        eos is not None and whole[-len(bare) :] != bare and whole[-1:] == [eos],
    )
    told = (found.settings.get("add_bos_token"), found.settings.get("add_eos_token"))
    # What the settings do not name stays as it is.
    wanted = tuple(
        flag if isinstance(flag, bool) and id_ is not None else is_
        for flag, id_, is_ in zip(told, (bos, eos), now, strict=True)
    )
    if wanted != now:
        # Both at once: setting one builds the whole rule anew.
        tokenizer._add_bos_token, tokenizer._add_eos_token = wanted
        tokenizer.update_post_processor()


def _disagree(tokenizer: Any, found: _Repository, file: Path) -> bool:
    """Whether the sentencepiece model beside a tokenizer.json gives other ids."""
    try:
        own = SentencePieceTokenizer(str(file), layout=FAIRSEQ if found.class_name in FAIRSEQ.classes else STRAIGHT)
    except Exception:  # A tiktoken file, or another kind of model.
        return False
    return any(own.ids_of(text) != tokenizer(text, add_special_tokens=False)["input_ids"] for text in PROBE)


# --- sentencepiece --------------------------------------------------------------------------------------


def _spiece_file(found: _Repository) -> Path | None:
    """The sentencepiece model, if there is one and no other file holds the vocabulary."""
    if "vocab.json" in found.files:  # Marian, M2M100, …: the ids are those of vocab.json.
        return None
    rest = [name for name in found.files if name.endswith(".model") and name not in _SPIECE]
    file = found.first((*_SPIECE, *(rest if len(rest) == 1 else ())))
    return file if file is not None and not _is_tiktoken(file) else None


def _is_tiktoken(file: Path) -> bool:
    """Whether a file holds lines of `base64 rank`."""
    if file.suffix not in (".model", ".tiktoken"):
        return False
    with file.open("rb") as opened:
        line = opened.readline(512)
    return re.fullmatch(rb"[A-Za-z0-9+/]+=* \d+\r?\n?", line) is not None


def _from_spiece(name: str, found: _Repository, file: Path) -> tuple[Any, Check]:
    layout = FAIRSEQ if found.class_name in FAIRSEQ.classes else STRAIGHT
    if layout is STRAIGHT and _has_rules_of_its_own(found.class_name):
        tokenizer = _built_by_class(name, found, file)
        check = Check(name, file.name)
        if not getattr(tokenizer, "is_fast", False):  # Runs sentencepiece itself, as GPT-SW3's does.
            check.source += f" (class {type(tokenizer).__name__})"
            return tokenizer, check
        own = SentencePieceTokenizer(str(file), layout=STRAIGHT)
        unknown = tokenizer.unk_token or ""
        vocabulary = tokenizer.get_vocab()
        check.reference = lambda text: [
            vocabulary.get(piece, vocabulary.get(unknown, -1)) for piece in own.sp.encode(text, out_type=str)
        ]
        check.skip = tuple(str(token) for token in tokenizer.added_tokens_decoder.values())
        if different := first_difference(tokenizer, PROBE, check):
            raise _refused(name, file.name, different)
        return tokenizer, check
    tokenizer = SentencePieceTokenizer.from_pretrained(
        **found.where, own_file=str(file), layout=layout, class_name=found.class_name, **_names(found, file)
    )
    how = "sentencepiece, no dummy prefix by add_prefix_space" if tokenizer.drops_prefix else "sentencepiece"
    return tokenizer, Check(name, f"{file.name} ({how})")


def _built_by_class(name: str, found: _Repository, file: Path | None) -> Any:
    """What the class that the repository names makes of a vocabulary; it has been tried on a text.

    Raises:
        ModelError: it makes nothing of it.
        Exception: of any kind, where there is no such file, or the network does not give it.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(**found.where, **_without_sampling(found))
        if file is not None:
            tokenizer(PROBE[0])
    except ImportError as e:
        raise ModelError(
            "{name} has a tokenizer of the class {class_name}, which needs a package that is not "
            "installed ({reason}). Install it, or choose a repository of this model that holds a "
            "tokenizer.json.",
            name=name,
            class_name=found.class_name,
            reason=first_line(e),
        ) from e
    except Exception as e:  # Of any kind, from a converter that takes other models for granted.
        here = Path(str(found.where["pretrained_model_name_or_path"])).is_dir()
        if file is None or (isinstance(e, OSError) and not here):
            raise
        raise ModelError(
            "transformers cannot make the {class_name} of {name} from its file {file}. Choose a "
            "repository of this model that holds a tokenizer.json.",
            class_name=found.class_name or "tokenizer",
            name=name,
            file=file.name,
        ) from e
    return tokenizer


def _names(found: _Repository, file: Path) -> dict[str, str]:
    pieces = SentencePieceTokenizer(str(file)).get_vocab()
    return _class_defaults(found, pieces.__contains__)


def _has_rules_of_its_own(class_name: str) -> bool:
    """Whether a class does more with a sentencepiece model than run it, such as folding accents or moving ids."""
    if class_name in STRAIGHT.classes or not class_name:
        return False
    kind = tokenizer_class_from_name(class_name)
    names = getattr(kind, "vocab_files_names", {}) if kind is not None else {}
    return any(str(name).endswith((".model", ".spm")) for name in names.values())


# --- vocabularies whose rules stand elsewhere -----------------------------------------------------------


def _compared(name: str, found: _Repository, tokenizer: Any) -> tuple[Any, Check]:
    """A tokenizer of transformers compared with a reference, which takes its place where they differ."""
    source, raw, reference = _reference(found)
    check = Check(name, source or f"class {type(tokenizer).__name__}", reference)
    if reference is None:
        if source:
            raise ModelError(
                "The file {source} of {name} does not say how text is cut before it is looked up, "
                "and its model type is none whose rule is known. Choose a repository of this model "
                "that holds a tokenizer.json.",
                source=source,
                name=name,
            )
        return tokenizer, check
    check.reference, check.skip = _with_added(reference, tokenizer)
    different = first_difference(tokenizer, PROBE, check)
    if not different:
        return tokenizer, check
    if raw is None or not getattr(tokenizer, "is_fast", False):
        raise _refused(name, source, different)
    return _exchanged(tokenizer, raw, check), Check(name, source)


def _with_added(reference: Ids, tokenizer: Any) -> tuple[Ids, tuple[str, ...]]:
    """The reference with a tokenizer's added tokens on top, and those that cannot be put there."""
    added = {str(token): (i, token) for i, token in tokenizer.added_tokens_decoder.items() if str(token)}
    odd = tuple(text for text, (_, token) in added.items() if token.lstrip or token.rstrip or token.single_word)
    plain = {text: i for text, (i, _) in added.items() if text not in odd}
    if not plain:
        return reference, odd
    cut = re.compile("(" + "|".join(map(re.escape, sorted(plain, key=len, reverse=True))) + ")")

    def ids(text: str) -> list[int]:
        found: list[int] = []
        for part in cut.split(text):
            if part:
                found += [plain[part]] if part in plain else reference(part)
        return found

    return ids, odd


def _exchanged(tokenizer: Any, raw: Any, check: Check) -> Any:
    """The same tokenizer with the reference inside."""
    added = sorted(tokenizer.added_tokens_decoder.items())
    raw.add_tokens([token for _, token in added])
    moved = [str(token) for id_, token in added if raw.token_to_id(str(token)) != id_]
    if moved:
        raise _refused(check.name, check.source, f"the token {moved[0]} has another id")
    raw.post_processor = tokenizer.backend_tokenizer.post_processor
    tokenizer._tokenizer = raw
    return tokenizer


def _reference(found: _Repository) -> tuple[str, Any, Ids | None]:
    """The name of the file, a tokenizer of the library tokenizers if it can be built, and text → ids."""
    raw: Any = None
    source = ""
    if "vocab.json" in found.files and "merges.txt" in found.files:
        if found.class_name in _GPT2_RULES:
            raw = _byte_level(found, None)
        elif found.class_name == "Qwen2Tokenizer":
            raw = _byte_level(found, _QWEN2_SPLIT)
        source = "vocab.json with merges.txt" if raw is not None else ""
    elif "vocab.txt" in found.files and found.class_name in (
        "BertTokenizer",
        "ElectraTokenizer",
        "DistilBertTokenizer",
    ):
        raw, source = _word_pieces(found), "vocab.txt"
    elif "tekken.json" in found.files:
        return "tekken.json", None, _tekken(found.files["tekken.json"])
    elif (file := next((f for f in found.files.values() if _is_tiktoken(f)), None)) is not None:
        known = found.model.get("model_type") == "llama" and file.suffix == ".model"
        return file.name, None, _tiktoken(file, _LLAMA3_SPLIT) if known else None
    if raw is None:
        return source, None, None
    return source, raw, lambda text: list(raw.encode(text, add_special_tokens=False).ids)


def _byte_level(found: _Repository, split: str | None) -> Any:
    """Byte-level BPE by the rules of GPT-2, or with a pattern by those of Qwen 2."""
    files = (str(found.files["vocab.json"]), str(found.files["merges.txt"]))
    raw = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(*files))
    space = bool(found.settings.get("add_prefix_space"))
    if split is None:
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    else:
        raw.normalizer = normalizers.NFC()
        cut = pre_tokenizers.Split(tokenizers.Regex(split), "isolated")
        raw.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(space, use_regex=False)])
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.ByteLevel(trim_offsets=False)
    return raw


def _word_pieces(found: _Repository) -> Any:
    """BERT's word pieces by its settings."""
    told = found.settings
    raw = tokenizers.BertWordPieceTokenizer(
        str(found.files["vocab.txt"]),
        lowercase=bool(told.get("do_lower_case", True)),
        handle_chinese_chars=bool(told.get("tokenize_chinese_chars", True)),
        strip_accents=told.get("strip_accents"),
    )
    return raw._tokenizer


def _tiktoken(file: Path, pattern: str) -> Ids:
    """Lines of `base64 rank`, run by tiktoken."""
    import tiktoken

    rows = (line.split() for line in file.read_bytes().splitlines() if line.strip())
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    encoding = tiktoken.Encoding(file.name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: encoding.encode(text, disallowed_special=())


def _tekken(file: Path) -> Ids:
    """Mistral's file, run by tiktoken: its special tokens come first, and it holds its own pattern."""
    import tiktoken

    table = json.loads(file.read_text("utf-8"))
    told = table["config"]
    first = told.get("default_num_special_tokens") or len(table.get("special_tokens") or [])
    rows = table["vocab"]
    if told.get("default_vocab_size"):
        rows = rows[: told["default_vocab_size"] - first]
    ranks = {base64.b64decode(row["token_bytes"]): rank for rank, row in enumerate(rows)}
    encoding = tiktoken.Encoding(file.name, pat_str=told["pattern"], mergeable_ranks=ranks, special_tokens={})
    return lambda text: [id_ + first for id_ in encoding.encode(text, disallowed_special=())]
