"""Which files of a model folder can change an output, by their names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jglue_app.backends import weight_files

_SUFFIXES = (".json", ".jinja", ".model", ".txt", ".tiktoken", ".vocab", ".spm", ".bpe", ".codes", ".tokenizer")
"""Endings of configurations, tokenizers and templates."""
_IRRELEVANT = re.compile(
    r"(readme|licen[cs]e|notice|copying|changelog|citation|requirements|use_policy)\b.*"
    r"|(trainer_state|training_args|dataset_info|eval_results|train_results|all_results|test_results"
    r"|preprocessor_config|processor_config|video_preprocessor_config|image_processor_config)\.json",
    re.IGNORECASE,
)
"""Names of files that no output depends on: documentation, and what training leaves behind."""


def relevant_files(folder: Path, *, allow_bin: bool = False) -> list[str]:
    """Names of the files in a model folder that can change an output, with `/` between folders, in order.

    Configurations, generation settings, tokenizers of every kind, chat templates, adapters, and the weights: those that
    are loaded (`weight_files.first_file`), and also `model*.safetensors` and what the index of the safetensors names,
    else all safetensors, else, if they are allowed, the `.bin` files. A file that counts although nothing is loaded
    from it makes another run at worst; one that is left out would mix two models.

    Raises:
        OSError: the folder cannot be listed.
    """
    present = {path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()}
    names = {name for name in present if name.endswith(_SUFFIXES) and not _IRRELEVANT.fullmatch(name)}
    names -= {name for name in names if name.endswith(".index.json")}
    names |= _weight_files(folder, present, allow_bin)
    names |= {name for name in present if name.startswith("adapter_model.")}
    templates = folder / "additional_chat_templates"
    if templates.is_dir():
        names |= {f"{templates.name}/{path.name}" for path in templates.glob("*.jinja")}
    return sorted(names)


def relevant_files_below(folder: Path) -> list[str]:
    """Names of the files of a folder, and of the folders in it, from which sentence-transformers may load a model: all
    with the ending of a configuration, a tokenizer or safetensors, in order.

    Raises:
        OSError: a folder cannot be listed.
    """
    paths = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file()]
    return sorted(
        path.relative_to(folder).as_posix()
        for path in paths
        if path.name.endswith((*_SUFFIXES, ".safetensors"))
        and not path.name.startswith(".")
        and not _IRRELEVANT.fullmatch(path.name)
    )


def _weight_files(folder: Path, present: set[str], allow_bin: bool) -> set[str]:
    safe = {name for name in present if name.endswith(".safetensors")}
    main = {name for name in safe if name.startswith("model")}
    loaded = _loaded_files(folder)
    if not any(name.endswith(".bin") for name in loaded):
        main |= loaded
        loaded = set()
    index = "model.safetensors.index.json"
    main |= {index} | _indexed_files(folder, index) if (folder / index).is_file() else set()
    safe -= {name for name in safe if name.startswith("adapter_")}
    if not allow_bin:
        return main or safe
    # Pickled weights that are loaded count whatever other files there are.
    if main or safe:
        return (main or safe) | loaded
    bins = {name for name in present if name.endswith(".bin") and name != "training_args.bin"}
    index = "pytorch_model.bin.index.json"
    return bins | loaded | ({index} | _indexed_files(folder, index) if index in present else set())


def _loaded_files(folder: Path) -> set[str]:
    """The files that the weights are loaded from, with their index, as far as they exist."""
    first = weight_files.first_file(lambda name: (folder / name).is_file(), json_object(folder / "config.json"))
    if first is None or not (folder / first).is_file():
        return set()
    return {first} | (_indexed_files(folder, first) if weight_files.is_index(first) else set())


def _indexed_files(folder: Path, index: str) -> set[str]:
    """The files that an index names, as far as they exist."""
    return {name for name in weight_files.indexed_files(json_object(folder / index)) if (folder / name).is_file()}


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}
