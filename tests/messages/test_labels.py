"""The labels and texts of the page: each in both languages, each asked for by somebody."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from string import Formatter
from typing import get_args

import pytest
from babel.messages.pofile import escape, read_po

from jglue_app import errors
from jglue_app.messages import FOLDER, table, word
from jglue_app.messages.labels import LABELS
from jglue_app.prompts import lint
from jglue_app.results import showcase
from jglue_app.runs.request import METHODS, RunRequest, Side
from jglue_app.runs.request_options import options
from jglue_app.scoring import insights, scoreboard
from jglue_app.scoring.item_groups import GROUPS
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.standing import FLOOR_NOTICES
from jglue_app.scoring.types import Outcome
from jglue_app.tasks import TASKS
from jglue_app.types import Source
from jglue_app.ui import controls, page
from jglue_app.ui.controls import DATA_CHOICES
from jglue_app.ui.jobs import State
from jglue_app.ui.tabs import about
from jglue_app.ui.tabs.course_steps import STEPS
from jglue_app.ui.views import MARKS
from jglue_app.ui.views.items import FILTERS, SORTS
from tests.messages.extraction import (
    APP,
    catalogue_entry,
    constants,
    first_arguments,
    no_japanese_yet,
    no_longer_used,
    parsed,
)

UI = APP / "ui"
SOURCES = sorted(UI.rglob("*.py"))
TEMPLATES = sorted((UI / "templates").glob("*.html"))
JAPANESE = re.compile("[ぁ-んァ-ヶ一-龠、。・：（「]")


def places(text: str) -> tuple[int, set[str]]:
    """How many places without a name there are to fill, and the names of the others."""
    names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    return names.count(""), set(names) - {""}


@cache
def entries() -> dict[tuple[str | None, str], str]:
    """(key, English) → Japanese, of the catalogue."""
    with (FOLDER / "ja" / "labels.po").open("rb") as file:
        return {
            (entry.context, str(entry.id)): "" if entry.fuzzy else str(entry.string)
            for entry in read_po(file, locale="ja", abort_invalid=True)
            if entry.id
        }


def of_controls() -> Iterator[str]:
    """Keys of the controls that are built of the fields of a request."""
    for option in (*options(RunRequest).values(), *options(Side).values()):
        for public in (False, True):
            yield from controls.label_keys(option, public=public)
        yield from (controls.choice_key(option, choice) for choice in option.choices)


@cache
def asked_for() -> set[str]:
    """Every key that is asked for as a plain text."""
    keys = {
        str(constant.value)
        for path in SOURCES
        for argument in first_arguments(path, ("word", "t"))
        for constant in constants(argument)
    }
    return keys | {key for path in TEMPLATES for key in re.findall(r"\bw\.(\w+)", path.read_text("utf-8"))}


def fail_without_labels(keys: Iterable[str]) -> None:
    """Fail, and say what to add, where one of the keys has no label."""
    missing = [key for key in keys if key not in LABELS]
    if missing:
        lines = "\n".join(f'    "{key}": "…",' for key in missing)
        japanese = no_japanese_yet("labels", [catalogue_entry("…", key=key) for key in missing])
        pytest.fail(f"No label yet. Add to LABELS in jglue_app/messages/labels.py:\n{lines}\n{japanese}", pytrace=False)


# --- both languages ---------------------------------------------------------------------------------------


def test_every_label_has_its_japanese_and_the_catalogue_no_other() -> None:
    assert len(LABELS) > 200
    needed = {(key, english): None for key, english in LABELS.items() if english}
    missing = [catalogue_entry(english, key=key) for key, english in needed if (key, english) not in entries()]
    advice = [no_japanese_yet("labels", missing)] if missing else []
    advice += [
        no_longer_used("labels", f"msgctxt {escape(key or '')}, msgid {escape(english)}")
        for key, english in entries()
        if (key, english) not in needed
    ]
    if advice:
        pytest.fail("\n\n".join(advice), pytrace=False)
    assert [key for (key, _), japanese in entries().items() if not japanese.strip()] == []


def test_only_the_source_that_needs_no_mention_has_no_words() -> None:
    assert [key for key, english in LABELS.items() if not english.strip()] == ["source_official"]


def test_both_languages_have_the_same_places_to_fill() -> None:
    assert [key for (key, english), japanese in entries().items() if places(english) != places(japanese)] == []


def test_japanese_is_japanese_and_english_is_english() -> None:
    # Answers and cues that a sentence speaks of are quoted.
    quoted = re.compile("“.*?”|「.*?」|肯定|否定")
    written = [japanese for (key, _), japanese in entries().items() if key != "percent"]
    assert [japanese for japanese in written if not JAPANESE.search(japanese)] == []
    assert [english for english in LABELS.values() if JAPANESE.search(quoted.sub("", english))] == []


def test_a_label_is_chosen_by_its_key_and_language() -> None:
    assert (word("run", "ja"), word("run", "en")) == ("比べる", "Compare")
    with pytest.raises(KeyError):
        word("no such key", "ja")
    assert table("en")["run"] == "Compare"
    assert set(table("ja")) == set(LABELS)


# --- what is asked for ------------------------------------------------------------------------------------


def test_every_label_that_is_asked_for_exists() -> None:
    used = asked_for()
    assert len(used) >= 150
    assert {"run", "baseline", "flips_note", "moved_down"} <= used
    fail_without_labels(sorted(used))


def rules_of_the_linter() -> Iterator[str]:
    """The rules under which the linter makes its findings, as plain texts."""
    for argument in first_arguments(APP / "prompts" / "lint.py", ("Finding", "_finding")):
        yield from (str(constant.value) for constant in constants(argument))


FINDINGS = set(rules_of_the_linter())


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ("tab_{}", page.TABS),
        ("mark_{}", FLOOR_NOTICES),
        ("lint_{}", FINDINGS),
        ("lint_level_{}", lint.LEVELS),
        ("filter_{}", FILTERS),
        ("sort_{}", SORTS),
        ("list_{}", ("filter", "search", "sort", "task", "every", "items", "count", "none")),
        ("outcome_{}", get_args(Outcome)),
        ("source_{}", get_args(Source)),
        ("verdict_{}", ("a", "b", "undecided", "none")),
        ("finish_{}", ("length", "overflow")),
        ("reading_{}", ("strict", "lenient")),
        ("{}", scoreboard.READINGS),
        # What is being prepared says so in its own words.
        ("{}", sorted(set(get_args(State)) - {"preparing"} | {"loading"})),
        ("protocol_{}", PROTOCOLS),
        ("field_{}", sorted({field for task in TASKS.values() for field in task.fields})),
        ("method_{}", METHODS),
        ("data_{}", DATA_CHOICES),
        ("group_{}", GROUPS),
        ("showcase_{}", [pair.name for pair in showcase.PAIRS]),
        ("course_{}_title", [step.name for step in STEPS]),
        ("course_{}_text", [step.name for step in STEPS]),
        ("course_{}_look", [step.name for step in STEPS]),
        ("about_{}", about.SECTIONS),
    ],
)
def test_whatever_is_named_by_a_key_has_its_label(shape: str, names: Iterable[str]) -> None:
    assert list(names)
    fail_without_labels([shape.format(name) for name in names])


def test_the_rules_of_the_linter_are_found_in_its_source() -> None:
    assert {"answer_too_long", "double_bos", "missing_bos", "no_chat_template", "shot_repeated"} <= FINDINGS
    assert {key.removeprefix("lint_") for key in LABELS if re.match("lint_(?!level_|none)", key)} == FINDINGS


def test_every_insight_is_said_and_every_outcome_marked() -> None:
    assert set(insights.SENTENCES) == {
        *("better", "better_floor", "better_partly", "undecided", "gap", "form", "shapeless", "below", "floor"),
    }
    assert set(MARKS) == set(get_args(Outcome))


def test_every_step_of_the_course_is_numbered_in_order() -> None:
    for lang in ("ja", "en"):
        titles = [word(f"course_{step.name}_title", lang) for step in STEPS]
        assert [title.split(". ")[0] for title in titles] == ["1", "2", "3", "4", "5", "6"]


def test_every_kind_of_error_has_a_few_words() -> None:
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    named = {key.removeprefix("error_") for key in LABELS if key.startswith("error_")}
    # A peer harness is named on the command line alone.
    assert kinds - named == {"PeerError"}


def test_there_is_no_label_that_nobody_asks_for() -> None:
    # A key may go through a variable, so any text in the source files that equals it counts; so does any that fits
    # the shape of a key that is put together.
    texts: set[str] = set()
    shapes: set[str] = set()
    for path in SOURCES:
        nodes = list(ast.walk(parsed(path)))
        texts |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        for argument in first_arguments(path, ("word", "t")):
            for node in ast.walk(argument):
                if isinstance(node, ast.JoinedStr):
                    parts = [re.escape(str(v.value)) if isinstance(v, ast.Constant) else ".+" for v in node.values]
                    shapes.add("".join(parts))
    shapes.add("error_[A-Za-z]+")  # `views.failure` goes through a variable.
    assert all(len(shape.replace(".+", "")) >= 4 for shape in shapes)
    used = texts | asked_for() | set(of_controls())
    assert [k for k in LABELS if k not in used and not any(re.fullmatch(s, k) for s in shapes)] == []
