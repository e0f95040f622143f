"""Every tokenizer class of the installed transformers, with a tiny vocabulary in each format that the class reads.

    python -m tests.tokenizers [CLASS …]

prints what becomes of each: `same` (the ids of the library that defines the format, sentencepiece or tokenizers, never
transformers), `refused` with the sentence, or `DIFFERENT`, which must not occur. Where the rules stand in the class, a
text is only encoded and decoded again: `same` or `changes text`, such as letters made small.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from jglue_app.backends.hf.tokenization.tokenizer_check import SAMPLE_TEXTS, source_of
from jglue_app.backends.hf.tokenization.tokenizer_loading import load_tokenizer
from jglue_app.errors import ModelError, first_line
from tests.conftest import JAPANESE

FORMATS = ("tokenizer.json", "sentencepiece", "vocab.json with merges.txt", "vocab.txt", "another format")
MODELS_OF_FAST_CLASSES = ("GemmaTokenizer", "XGLMTokenizer")
"""Classes that name no sentencepiece model, though repositories of their models ship one."""
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


@dataclass(frozen=True)
class Outcome:
    """What became of one class with one format."""

    class_name: str
    format: str
    result: str
    """`same`, `refused`, `DIFFERENT`, `own rules`, `changes text`, `not built` or `not tried`."""
    reason: str = ""


@dataclass(frozen=True)
class Files:
    """A tiny vocabulary in each format, made once."""

    spiece: Path
    json: Path
    folder: Path
    """With vocab.json, merges.txt and vocab.txt."""


def make_files(folder: Path) -> Files:
    """Train the vocabularies."""
    text = folder / "text.txt"
    text.write_text("\n".join([*JAPANESE, "It's 2024, don't  double  spaces."] * 20), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "sp"),
        vocab_size=480,
        model_type="unigram",
        byte_fallback=True,
        hard_vocab_limit=False,
        pad_id=3,
        minloglevel=2,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
    )
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=[*SPECIAL.values(), "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([*JAPANESE, "It's 2024, don't  double  spaces."], trainer)
    raw.save(str(folder / "tokenizer.json"))
    raw.model.save(str(folder))
    characters = sorted(set("".join((*JAPANESE, *SAMPLE_TEXTS))) - set(" \n\t\r"))
    (folder / "vocab.txt").write_text("\n".join(["<pad>", "<unk>", "<s>", "</s>", "<mask>", *characters]), "utf-8")
    return Files(folder / "sp.model", folder / "tokenizer.json", folder)


def classes() -> dict[str, str]:
    """Tokenizer class → a model type that uses it."""
    return {name: model for model, name in TOKENIZER_MAPPING_NAMES.items() if name}


def outcomes(files: Files, names: Sequence[str] = ()) -> Iterator[Outcome]:
    """Try all classes, or some."""
    for name, model_type in sorted(classes().items()):
        if names and name not in names:
            continue
        kind = getattr(transformers, name, None)
        told = [str(file) for file in (getattr(kind, "vocab_files_names", None) or {}).values()]
        # Repositories ship this whatever the class is.
        yield _tried(name, model_type, FORMATS[0], {"tokenizer.json": files.json}, _by_tokenizers(files.json))
        spiece = next((file for file in told if file.endswith((".model", ".spm"))), None)
        if spiece or name in MODELS_OF_FAST_CLASSES:
            shipped = spiece or "tokenizer.model"
            yield _tried(name, model_type, FORMATS[1], {shipped: files.spiece}, None)
        if "vocab.json" in told and "merges.txt" in told:
            both = {file: files.folder / file for file in ("vocab.json", "merges.txt")}
            yield _tried(name, model_type, FORMATS[2], both, _no_judge)
        if "vocab.txt" in told:
            yield _tried(name, model_type, FORMATS[3], {"vocab.txt": files.folder / "vocab.txt"}, _no_judge)
        if not {"tokenizer.json", "vocab.txt", "merges.txt", spiece} & set(told):
            yield Outcome(name, FORMATS[4], "not tried", f"its files are {', '.join(told) or 'none'}")


def _by_tokenizers(file: Path) -> Callable[[str], list[int]]:
    raw = Tokenizer.from_file(str(file))
    return lambda text: list(raw.encode(text, add_special_tokens=False).ids)


def _no_judge(_: str) -> list[int]:
    """The class itself has the rules of these formats; tests/backends/test_tokenizer_loading.py has known ones."""
    return []


def _tried(
    name: str, model_type: str, format: str, shipped: dict[str, Path], judge: Callable[[str], list[int]] | None
) -> Outcome:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for target, file in shipped.items():
            shutil.copy(file, folder / target)
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name} | SPECIAL), "utf-8")
        where = {"pretrained_model_name_or_path": place, "revision": None, "trust_remote_code": False, "token": None}
        try:
            tokenizer = load_tokenizer(name, where)
            tokenizer("a")
        except ModelError as e:
            return Outcome(name, format, "refused", str(e))
        except Exception as e:  # As `open_model` would tell it: a package that is missing, a file that does not fit.
            return Outcome(name, format, "not built", first_line(e))
        if judge is _no_judge:
            return _round_trip(name, format, tokenizer)
        if "(class" in source_of(tokenizer):
            return Outcome(name, format, "own rules", "code of transformers runs the library")
        own = sentencepiece.SentencePieceProcessor(model_file=str(shipped.popitem()[1])) if judge is None else None
        for text in SAMPLE_TEXTS:
            ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
            if own is not None:
                # By piece: some classes move the ids.
                found, right = tokenizer.convert_ids_to_tokens(ids), own.encode(text, out_type=str)
            else:
                assert judge is not None
                found, right = ids, judge(text)
            if found != right:
                return Outcome(name, format, "DIFFERENT", repr(text[:20]))
        return Outcome(name, format, "same")


def _round_trip(name: str, format: str, tokenizer: Any) -> Outcome:
    text = JAPANESE[2].replace("\n", "")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    back = str(tokenizer.decode(ids, skip_special_tokens=False)).replace(" ", "")
    return Outcome(name, format, "same" if back == text else "changes text", "" if back == text else back[:40])


def main() -> None:
    """Print a line for each class and format, and a count; exit code 1 if one differs, 2 if no such class is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classes", nargs="*", metavar="CLASS", help="these alone, such as T5Tokenizer")
    asked: list[str] = parser.parse_args().classes
    if unknown := [name for name in asked if name not in classes()]:
        parser.error(f"transformers maps no model type to a tokenizer class {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as place:
        found = list(outcomes(make_files(Path(place)), asked))
    for one in found:
        print(f"{one.class_name:32} {one.format:28} {one.result:12} {one.reason}")
    counts = {result: sum(one.result == result for one in found) for result in dict.fromkeys(o.result for o in found)}
    print(f"transformers {transformers.__version__}:", ", ".join(f"{n} {result}" for result, n in counts.items()))
    sys.exit(any(one.result == "DIFFERENT" for one in found))


if __name__ == "__main__":
    main()
