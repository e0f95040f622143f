"""The words of the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

from jglue_app import errors, insights, lint, references, rules, scoreboard, showcase
from jglue_app.configuration import DATA
from jglue_app.jobs import State
from jglue_app.notices import SENTENCES
from jglue_app.plan import METHODS
from jglue_app.protocols import PROTOCOLS
from jglue_app.tasks import TASKS
from jglue_app.types import Outcome, Source
from jglue_app.ui import about, words
from jglue_app.ui.course import STEPS
from jglue_app.ui.views import MARKS
from jglue_app.ui.views.board import MARKED
from jglue_app.ui.views.items import FILTERS, SORTS

UI = Path(words.__file__).parent
SOURCES = [path for path in sorted(UI.rglob("*.py")) if path.name != "words.py"]
TEMPLATES = sorted((UI / "templates").glob("*.html"))


def places(text: str) -> tuple[int, set[str]]:
    """How many places without a name there are to fill, and the names of the others."""
    names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    return names.count(""), set(names) - {""}


def calls(path: Path, *functions: str) -> Iterator[ast.expr]:
    """First arguments of all calls of some functions in a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions and node.args:
            yield node.args[0]


def keys(argument: ast.expr) -> Iterator[str]:
    """Plain texts that an argument may be."""
    if isinstance(argument, ast.IfExp):
        yield from keys(argument.body)
        yield from keys(argument.orelse)
    elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value


def asked_for() -> set[str]:
    """Every key that is asked for as a plain text."""
    found = {key for path in SOURCES for argument in calls(path, "word", "t") for key in keys(argument)}
    return found | {key for path in TEMPLATES for key in re.findall(r"\bw\.(\w+)", path.read_text("utf-8"))}


# --- both languages ---------------------------------------------------------------------------------------


def test_every_word_stands_in_japanese_and_in_english_with_the_same_places_to_fill() -> None:
    assert len(words.WORDS) > 200
    for key, (ja, en) in words.WORDS.items():
        assert bool(ja.strip()) == bool(en.strip()), key
        assert places(ja) == places(en), key


def test_only_the_source_that_needs_no_mention_has_no_words() -> None:
    assert [key for key, (ja, _) in words.WORDS.items() if not ja] == ["source_official"]


def test_japanese_is_japanese_and_english_is_english() -> None:
    japanese = re.compile("[ぁ-んァ-ヶ一-龠]")
    # Answers and cues that a sentence speaks of are quoted.
    quoted = re.compile("“.*?”|「.*?」|肯定|否定")
    for key, (ja, en) in words.WORDS.items():
        assert not ja or japanese.search(ja), key
        assert not japanese.search(quoted.sub("", en)), key


def test_a_word_is_chosen_by_its_key_and_language() -> None:
    assert (words.word("run", "ja"), words.word("run", "en")) == ("くらべる", "Compare")
    assert words.word("run", "fr") == "くらべる"
    with pytest.raises(KeyError):
        words.word("no such key", "ja")
    assert words.table("en")["run"] == "Compare"
    assert set(words.table("ja")) == set(words.WORDS)


def test_gradio_is_given_every_word_under_a_prefix_of_ours() -> None:
    found = words.browser_words().translations
    assert set(found) == {"ja", "en"}
    for lang in found:
        assert set(found[lang]) == {f"jg_{key}" for key in words.WORDS}
    assert found["ja"]["jg_run"] == "くらべる"
    assert found["en"]["jg_run"] == "Compare"


# --- what is asked for ------------------------------------------------------------------------------------


def test_every_word_that_is_asked_for_exists() -> None:
    used = asked_for()
    assert len(used) >= 150
    assert {"run", "radar", "flips_note", "moved_down", "model_info_public"} <= used
    assert used - set(words.WORDS) == set()


def made(module: object, *functions: str) -> set[str]:
    """The first arguments, written as plain texts, with which a module makes its findings."""
    path = Path(str(getattr(module, "__file__", "")))
    return {key for argument in calls(path, *functions) for key in keys(argument)}


INSIGHTS = made(insights, "Insight") | set(insights.FLOORS)
FINDINGS = made(lint, "Finding", "_finding")


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ("insight_{}", INSIGHTS),
        ("notice_{}", SENTENCES),
        ("mark_{}", MARKED),
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
        ("reference_{}", [who.split()[0].lower() for who in references.REFERENCES]),
        ("asks_{}", TASKS),
        ("field_{}", sorted({field for task in TASKS.values() for field in task.fields})),
        ("method_{}", METHODS),
        ("data_{}", DATA),
        ("showcase_{}", [pair.name for pair in showcase.PAIRS]),
        ("course_{}_title", [step.name for step in STEPS]),
        ("course_{}_text", [step.name for step in STEPS]),
        ("course_{}_look", [step.name for step in STEPS]),
        ("about_{}", about.SECTIONS),
    ],
)
def test_whatever_is_named_by_a_key_has_its_words(shape: str, names: Iterable[str]) -> None:
    assert list(names)
    assert [name for name in names if shape.format(name) not in words.WORDS] == []


def test_what_the_source_files_name_is_found_there() -> None:
    assert {"better", "undecided", "gap", "form", "shapeless", "below", "floor"} == INSIGHTS
    assert {"answer_too_long", "double_bos", "missing_bos", "no_chat_template", "shot_repeated"} <= FINDINGS
    assert set(MARKS) == set(get_args(Outcome))


def test_whatever_the_linter_finds_has_a_name() -> None:
    assert [rule for rule in sorted(FINDINGS) if f"lint_{rule}" not in words.WORDS] == []


def test_every_step_of_the_course_is_numbered_in_order() -> None:
    for lang in ("ja", "en"):
        titles = [words.word(f"course_{step.name}_title", lang) for step in STEPS]
        assert [title.split(". ")[0] for title in titles] == ["1", "2", "3", "4", "5", "6"]


def test_every_kind_of_error_has_a_few_words() -> None:
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    named = {key.removeprefix("error_") for key in words.WORDS if key.startswith("error_")}
    # A peer harness is named on the command line alone.
    assert kinds - named == {"PeerError"}


def test_there_is_no_word_that_nobody_asks_for() -> None:
    # A key may go through a variable, so any text in the source files that equals it counts; so does any that fits
    # the shape of a key that is put together.
    texts: set[str] = set()
    shapes: set[str] = set()
    for path in SOURCES:
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        texts |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        for argument in calls(path, "word", "t"):
            for node in ast.walk(argument):
                if isinstance(node, ast.JoinedStr):
                    parts = [re.escape(str(v.value)) if isinstance(v, ast.Constant) else ".+" for v in node.values]
                    shapes.add("".join(parts))
    shapes.add("error_[A-Za-z]+")  # `views.failure` goes through a variable.
    assert all(len(shape.replace(".+", "")) >= 4 for shape in shapes)
    asked = texts | asked_for()
    assert [k for k in words.WORDS if k not in asked and not any(re.fullmatch(s, k) for s in shapes)] == []


# --- how something was read -------------------------------------------------------------------------------


def test_every_reading_rule_has_a_japanese_clause_and_none_is_without_a_rule() -> None:
    assert set(words.RULES_JA) == set(rules.RULES)
    assert all(text.strip() for text in words.RULES_JA.values())


def test_rules_that_follow_one_another_are_read_one_by_one() -> None:
    assert words.rule_text("exact", "ja") == "前後の空白を除き、出力がそのまま答え"
    assert words.rule_text("cue+quoted", "ja") == "「答え：」などの合図のあと、さらにかぎ括弧の中"
    assert (
        words.rule_text("cue+quoted", "en") == "what follows a cue such as 答え：, then what stands in quotation marks"
    )


@pytest.mark.parametrize("rule", ["unheard_of", "cue+unheard_of", "", "+"])
def test_a_rule_without_words_is_shown_by_its_name(rule: str) -> None:
    assert words.rule_text(rule, "ja") == words.rule_text(rule, "en") == rule


@pytest.mark.parametrize(
    ("english", "japanese"),
    [
        ("Loading gemma-3-270m.", "gemma-3-270m を読み込んでいます。"),
        ("x works in up to 9.4 GiB beside its weights.", "x は、重みのほかに 9.4 GiB まで使います。"),
        ("A sentence that nobody has put into Japanese.", "A sentence that nobody has put into Japanese."),
    ],
)
def test_what_is_said_below_the_page_is_japanese_where_there_are_words(english: str, japanese: str) -> None:
    assert words.said(english, "ja") == japanese
    assert words.said(english, "en") == english


def test_every_sentence_in_japanese_has_a_place_for_each_value() -> None:
    for pattern, japanese in words.SAID_JA:
        assert re.compile(pattern).groups >= japanese.count("{}"), pattern


# --- what pushing says ------------------------------------------------------------------------------------

SINK = UI.parent / "wandb_sink"
PUSHING = [
    *(SINK / f"{name}.py" for name in ("login", "pushing", "process", "sending", "payload")),
    UI / "wandb_push.py",
]


def raised(path: Path) -> Iterator[str]:
    """Sentences with which a file makes errors; a 7 stands for every value."""
    tree = ast.parse(path.read_text("utf-8"))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = function.args.args[::-1]
        for name, default in zip(names, function.args.defaults[::-1], strict=False):
            if isinstance(default, ast.Name) and default.id in constants:
                constants[name.arg] = constants[default.id]
    for argument in calls(path, "InputError", "NetworkError", "StoreError", "RunBusyError"):
        if isinstance(argument, ast.Constant):
            yield str(argument.value)
        elif isinstance(argument, ast.JoinedStr):
            parts = []
            for part in argument.values:
                if isinstance(part, ast.Constant):
                    parts.append(str(part.value))
                    continue
                assert isinstance(part, ast.FormattedValue)
                value = constants.get(part.value.id) if isinstance(part.value, ast.Name) else None
                parts.append(value if isinstance(value, str) else "'7'" if part.conversion == ord("r") else "7")
            yield "".join(parts)


@pytest.mark.parametrize("path", PUSHING, ids=lambda path: path.stem)
def test_every_error_of_a_push_is_said_in_japanese(path: Path) -> None:
    found = list(raised(path))
    assert found
    # Of the server's own set-up; no visitor meets them.
    operators = ("WANDB_BASE_URL takes", "7 cannot be used to prepare", "7 cannot be made", "7 holds no lock")
    english = [text for text in found if words.said(text, "ja") == text and not text.startswith(operators)]
    assert english == []
