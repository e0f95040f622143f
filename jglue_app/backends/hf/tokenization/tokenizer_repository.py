"""The files of a repository that define its tokenizer, and its settings."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import list_repo_files
from tokenizers import AddedToken
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name
from transformers.utils import cached_file

SETTINGS_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
SENTENCEPIECE_FILES = (
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spm.model",
    "sp.model",
)
OTHER_FILES = ("vocab.json", "merges.txt", "vocab.txt", "tekken.json", "config.json")


@dataclass(frozen=True, slots=True)
class TokenizerRepository:
    """A tokenizer's files and settings."""

    location: Mapping[str, Any]
    """Arguments of `from_pretrained`: folder or Hub id, revision, token."""
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
        """The first of some files that exists."""
        return next((self.files[name] for name in names if name in self.files), None)


def open_repository(location: Mapping[str, Any]) -> TokenizerRepository:
    files = _files(location)
    settings = dict(read_table(files.get("tokenizer_config.json")))
    if "added_tokens_decoder" not in settings:
        settings |= {key: value for key, value in read_table(files.get("special_tokens_map.json")).items() if value}
    model = read_table(files.get("config.json"))
    named = settings.get("tokenizer_class") or model.get("tokenizer_class")
    class_name = str(named or TOKENIZER_MAPPING_NAMES.get(str(model.get("model_type"))) or "").removesuffix("Fast")
    return TokenizerRepository(location, files, settings, model, class_name, _added_tokens(files, settings))


def _files(location: Mapping[str, Any]) -> dict[str, Path]:
    """The tokenizer's files, fetched if need be; from the Hub no other vocabulary where there is a tokenizer.json."""
    folder = Path(str(location["pretrained_model_name_or_path"]))
    if folder.is_dir():
        known = (*SETTINGS_FILES, *SENTENCEPIECE_FILES, *OTHER_FILES)
        models = sorted(path.name for path in folder.iterdir() if path.suffix in (".model", ".tiktoken"))
        return {name: folder / name for name in dict.fromkeys((*known, *models)) if (folder / name).is_file()}

    def fetch(name: str) -> str | None:
        path: str | None = cached_file(
            location["pretrained_model_name_or_path"],
            name,
            revision=location.get("revision"),
            token=location.get("token"),
            _raise_exceptions_for_missing_entries=False,
        )
        return path

    files = {name: Path(path) for name in (*SETTINGS_FILES, "config.json") if (path := fetch(name))}
    if "tokenizer.json" in files:
        return files
    try:
        names = list_repo_files(str(folder), revision=location.get("revision"), token=location.get("token"))
    except Exception:  # Without the network, what is in the cache is what transformers can read as well.
        names = [path.name for path in next(iter(files.values())).parent.iterdir()] if files else []
    further = [
        n
        for n in names
        if n in (*SENTENCEPIECE_FILES, *OTHER_FILES) or ("/" not in n and n.endswith((".model", ".tiktoken")))
    ]
    return files | {name: Path(path) for name in further if (path := fetch(name))}


def read_table(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    table = json.loads(file.read_text("utf-8"))
    return table if isinstance(table, dict) else {}


def _added_tokens(files: Mapping[str, Path], settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Tokens that the settings name with their ids."""
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        return {int(i): _as_added_token(token) for i, token in decoder.items()}
    special = {
        str(_as_added_token(v)) for k, v in settings.items() if k.endswith("_token") and isinstance(v, (str, dict))
    }
    more = settings.get("additional_special_tokens") or []
    special |= {str(_as_added_token(v)) for v in more} if isinstance(more, list) else set()
    return {
        int(i): AddedToken(text, special=text in special, normalized=text not in special)
        for text, i in read_table(files.get("added_tokens.json")).items()
    }


def _as_added_token(setting: Any) -> AddedToken:
    if isinstance(setting, dict):
        return AddedToken(**{key: value for key, value in setting.items() if key != "__type"})
    return setting if isinstance(setting, AddedToken) else AddedToken(str(setting), special=True)


def class_defaults(repository: TokenizerRepository, is_known: Callable[[str], bool]) -> dict[str, str]:
    """Attribute → special token, by the defaults of the tokenizer's class, where the settings name none.

    Args:
        repository: of the tokenizer.
        is_known: whether the vocabulary has a token.
    """
    try:
        class_ = tokenizer_class_from_name(repository.class_name) if repository.class_name else None
        names = [n for n in getattr(class_, "SPECIAL_TOKENS_ATTRIBUTES", ()) if n not in repository.settings]
        parameters = inspect.signature(class_.__init__).parameters if class_ is not None else {}
    except Exception:  # A class that needs a package that is not here.
        return {}
    defaults = {
        n: str(parameters[n].default)
        for n in names
        if n in parameters and isinstance(parameters[n].default, (str, AddedToken))
    }
    return {name: text for name, text in defaults.items() if is_known(text)}


def sentencepiece_file(repository: TokenizerRepository) -> Path | None:
    """The sentencepiece model, if there is one and no other file holds the vocabulary."""
    if "vocab.json" in repository.files:  # Marian, M2M100, …: the ids are those of vocab.json.
        return None
    others = [name for name in repository.files if name.endswith(".model") and name not in SENTENCEPIECE_FILES]
    file = repository.first((*SENTENCEPIECE_FILES, *(others if len(others) == 1 else ())))
    return file if file is not None and not is_tiktoken(file) else None


def is_tiktoken(file: Path) -> bool:
    """Whether a file holds lines of `base64 rank`."""
    if file.suffix not in (".model", ".tiktoken"):
        return False
    with file.open("rb") as opened:
        line = opened.readline(512)
    return re.fullmatch(rb"[A-Za-z0-9+/]+=* \d+\r?\n?", line) is not None
