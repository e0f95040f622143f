"""Which other harnesses are compared with, by which interpreters and with which files: the options of `bench`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jglue_app.backends.named_models import named_models
from jglue_app.bench.harnesses import HARNESSES, HarnessSpec
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec


@dataclass(frozen=True, slots=True)
class HarnessRequest:
    """One harness of the command line."""

    name: str
    """A key of `HARNESSES`."""
    python: Path
    """The interpreter of its environment."""
    gguf: Path | None
    """The GGUF file that it runs; None where it runs the files of the model that runs here."""

    @property
    def spec(self) -> HarnessSpec:
        """How it is run."""
        return HARNESSES[self.name]


def requested_harnesses(
    names: Sequence[str], pythons: Sequence[Path], files: Sequence[Path], model: ModelSpec, settings: Settings
) -> list[HarnessRequest]:
    """Each harness with its interpreter and file, which are given in the same order.

    Raises:
        UnknownNameError: there is no such harness.
        InputError: there are too few or too many interpreters or files, or a file is no GGUF file.
        ModelError: the GGUF file of a named model cannot be found or written.
    """
    for name in names:
        if name not in HARNESSES:
            raise UnknownNameError("harness", name, HARNESSES)
    paths = iter(_files(names, files, model, settings))
    return [
        HarnessRequest(name, python, next(paths) if HARNESSES[name].gguf else None)
        for name, python in zip(names, _interpreters(names, pythons), strict=True)
    ]


def _interpreters(names: Sequence[str], pythons: Sequence[Path]) -> Iterator[Path]:
    """One for each harness; those that are installed here may be left out."""
    elsewhere = [name for name in names if not HARNESSES[name].installed_here]
    if len(pythons) not in (len(names), len(elsewhere)):
        raise InputError(
            "{peers} × --peer and {pythons} × --peer-python: give one interpreter for each harness (transformers needs "
            "none).",
            peers=len(names),
            pythons=len(pythons),
        )
    given = iter(pythons)
    for name in names:
        here = len(pythons) < len(names) and HARNESSES[name].installed_here
        yield Path(sys.executable) if here else next(given)


def _files(names: Sequence[str], files: Sequence[Path], model: ModelSpec, settings: Settings) -> list[Path]:
    """The GGUF file of each harness that needs one: that of the model here, if it is one and no other is given."""
    count = sum(HARNESSES[name].gguf for name in names)
    if count and not files and (own := _gguf_of(model, settings)) is not None:
        return [own] * count
    if len(files) != count:
        raise InputError(
            "{peers} × --peer llama-cpp and {files} × --peer-model: give one GGUF file for each.",
            peers=count,
            files=len(files),
        )
    for path in files:
        _check(path)
    return list(files)


def _gguf_of(model: ModelSpec, settings: Settings) -> Path | None:
    """The GGUF file that a model here comes from; None if it comes from other files."""
    named = named_models().get(model.id)
    if named and named.package:
        from jglue_app.backends.hf.checkpoint.gguf import packaged_file  # transformers takes seconds to import

        return packaged_file(named.package, settings.cache_dir)
    return Path(model.id) if model.id.endswith(".gguf") else None


def _check(path: Path) -> None:
    if not path.is_file():
        raise InputError("There is no file {path}. Name a GGUF file with --peer-model.", path=path)
    if not _facts(path):
        raise InputError("{path} is no GGUF file, or is damaged. Name another with --peer-model.", path=path)


def check_same_model(path: Path, model: ModelSpec, config: Any) -> None:
    """Raise InputError if a GGUF file holds a model of another size.

    Args:
        path: the file.
        model: the model here.
        config: its configuration in transformers.
    """
    text = config.get_text_config()
    here = getattr(text, "num_hidden_layers", None), getattr(text, "hidden_size", None)
    facts = _facts(path)
    there = facts.get("block_count"), facts.get("embedding_length")
    if all((*here, *there)) and here != there:
        raise InputError(
            "{path} holds a model of {layers} layers of width {width}, and {model} has {ours} of {our_width}. Name the "
            "GGUF file of the same model.",
            path=path,
            layers=there[0],
            width=there[1],
            model=model.id,
            ours=here[0],
            our_width=here[1],
        )


def _facts(path: Path) -> dict[str, int]:
    """The sizes in the header of a GGUF file, without the name of the architecture; empty if it is none."""
    from jglue_app.backends.hf.checkpoint.gguf_header import numbers

    return {key.partition(".")[2]: int(value) for key, value in numbers(path) if key.count(".") == 1}
