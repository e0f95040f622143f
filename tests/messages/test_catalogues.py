"""Every sentence has its Japanese, with the same values, and no Japanese is left of one that is not raised."""

from __future__ import annotations

import ast
import io
import re
from collections import defaultdict
from functools import cache
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import escape, read_po

from jglue_app.messages import FOLDER, LANGUAGES
from tests.messages.extraction import (
    APP,
    ERRORS,
    KEYWORDS,
    catalogue_entry,
    constants,
    first_arguments,
    no_japanese_yet,
    no_longer_used,
    parsed,
    room,
    sources,
    templates,
)

CATALOGUES = sorted((FOLDER / "ja").glob("*.po"))
SAME_IN_JAPANESE = (
    # Names, numbers and marks alone.
    "{edition} {n:,}",
)
"""Templates whose Japanese is the same text."""
JAPANESE = re.compile("[ぁ-んァ-ヶ一-龠、。・：（「]")
WORDS = re.compile(r"[A-Za-z]{2}")
UNSPOKEN = ("scoring/parsing/", "tasks/", "bench/measure.py", "backends/openai_api/known_answers.py")
"""Modules with Japanese that is read in answers or given to a model."""
COMMAND = re.compile("`.+?`")


@cache
def catalogue(name: str) -> Catalog:
    with (FOLDER / "ja" / f"{name}.po").open("rb") as file:
        return read_po(file, locale="ja", abort_invalid=True)


def entries() -> list[tuple[str, str, str]]:
    """Catalogue, template and Japanese of every sentence; labels are tested in test_labels.py."""
    return [
        (path.stem, str(entry.id), str(entry.string))
        for path in CATALOGUES
        for entry in catalogue(path.stem)
        if entry.id and not entry.context
    ]


def fields(template: str) -> set[str]:
    """The values that a template names: `item` of `{item.id!r:>10}`."""
    return {re.split(r"[.\[]", name)[0] for _, name, _, _ in Formatter().parse(template) if name is not None}


def missing() -> dict[str, list[str]]:
    """Catalogue → the entries it lacks, ready to be filled in."""
    known = {template for _, template, _ in entries()}
    lacking: dict[str, list[str]] = defaultdict(list)
    for template, modules in templates().items():
        if template not in known:
            # One entry is enough for all modules that say the same.
            module = min(modules)
            lacking[room(APP / module)].append(catalogue_entry(template, module=module))
    return lacking


def test_the_extractor_reads_calls_in_calls_and_choices_of_texts() -> None:
    known = templates()
    assert len(known) > 500
    # In brackets of another call, in a table, as one of two, as a kind of name, and raised.
    for template in (
        "「{answer}」 ({n})",
        "no text was generated; the ranking decides",
        "-1 to 1, or -100 to 100 %",
        "task",
        "The table has no rows. It takes a head, such as model,JNLI, and a row for each model.",
    ):
        assert template in known
    assert {"InputError", "UnknownNameError", "RunBusyError"} <= ERRORS <= set(KEYWORDS)


def test_every_sentence_has_its_japanese() -> None:
    advice = [no_japanese_yet(name, lacking) for name, lacking in missing().items()]
    if advice:
        pytest.fail("\n\n".join(advice), pytrace=False)


def test_no_japanese_is_left_of_a_sentence_that_is_not_raised() -> None:
    advice = [
        no_longer_used(name, f"msgid {escape(template)}")
        for name, template, _ in entries()
        if template not in templates()
    ]
    if advice:
        pytest.fail("\n".join(advice), pytrace=False)


@pytest.mark.parametrize("key", ["", "run"])
def test_an_entry_that_a_failing_test_proposes_can_be_pasted(key: str) -> None:
    english = 'A "quoted" {name},\na second line and a \\.'
    proposed = io.StringIO(catalogue_entry(english, module="runs/run.py", key=key))
    (entry,) = [entry for entry in read_po(proposed, abort_invalid=True) if entry.id]
    assert (entry.id, entry.string, entry.context or "") == (english, "…", key)
    assert [name for name, _ in entry.locations] == ["runs/run.py"]


def test_an_entry_is_in_the_catalogue_of_a_room_that_uses_it() -> None:
    known = {path.stem for path in CATALOGUES} - {"labels"}
    assert known <= {room(path) for path in sources()}
    used = {template: {room(APP / file) for file in files} for template, files in templates().items()}
    assert [(name, text) for name, text, _ in entries() if text in used and name not in used[text]] == []


@pytest.mark.parametrize("name", [path.stem for path in CATALOGUES])
def test_a_catalogue_is_whole(name: str) -> None:
    found = catalogue(name)
    source = (FOLDER / "ja" / f"{name}.po").read_text("utf-8")
    assert [entry.id for entry in found if entry.fuzzy] == []
    assert [entry.id for entry in found if entry.id and not entry.string] == []
    assert [name for entry in found for name, _ in entry.locations if not (APP / name).is_file()] == []
    assert not found.obsolete
    # The reader keeps the last of two entries of one template.
    assert len(re.findall("^msgid ", source, re.MULTILINE)) == len(found) + 1, "a template appears twice"


def test_a_template_has_one_japanese_text_in_all_catalogues() -> None:
    texts: dict[str, set[str]] = {}
    for _, template, japanese in entries():
        texts.setdefault(template, set()).add(japanese)
    assert {template: found for template, found in texts.items() if len(found) > 1} == {}


def test_the_japanese_names_the_same_values() -> None:
    assert [(name, text) for name, text, japanese in entries() if fields(text) != fields(japanese)] == []


def test_the_japanese_is_japanese() -> None:
    for _, template, japanese in entries():
        plain = "".join(text for text, *_ in Formatter().parse(template))
        if WORDS.search(plain) and template not in SAME_IN_JAPANESE:
            text = COMMAND.sub("", japanese)
            # Three English words on end are a part that was left over.
            assert JAPANESE.search(text) or not WORDS.search(text), japanese
            assert not re.search(r"(?:\b[a-z]{2,}\b[ ,]+){2}\b[a-z]{2,}", text), japanese


def test_a_template_is_written_where_it_is_given() -> None:
    """A text that is put together has no entry: neither an f-string, nor `+`, `%` or `.format`."""

    def made(argument: ast.expr) -> bool:
        if isinstance(argument, ast.IfExp):
            return made(argument.body) or made(argument.orelse)
        method = argument.func if isinstance(argument, ast.Call) else None
        text = method.value if isinstance(method, ast.Attribute) else None
        return isinstance(argument, (ast.JoinedStr, ast.BinOp)) or isinstance(text, (ast.Constant, ast.JoinedStr))

    found = [
        f"{path.relative_to(APP)}:{argument.lineno}"
        for path in sources()
        for argument in first_arguments(path, KEYWORDS)
        if made(argument) and not list(constants(argument))
    ]
    assert found == []


def test_every_language_but_english_has_catalogues() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"} == {
        language for language in LANGUAGES if language != "en"
    }


def test_japanese_stands_in_no_module_of_sentences() -> None:
    """A sentence in Japanese belongs into a catalogue; what is read, quoted or asked in Japanese does not."""
    sentence = re.compile("(?:です|ます|ません|ください|でした|ました)。")
    found = {
        f"{path.relative_to(APP)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and sentence.search(node.value)
    }
    assert {place for place in found if not place.startswith(UNSPOKEN)} == set()
