"""The words of the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

from jglue_app import errors
from jglue_app.prompts import lint
from jglue_app.results import showcase
from jglue_app.runs.plan import METHODS
from jglue_app.scoring import insights, references, rules, scoreboard
from jglue_app.scoring.item_groups import GROUPS
from jglue_app.scoring.notices import SENTENCES
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.types import Outcome
from jglue_app.tasks import TASKS
from jglue_app.types import Source
from jglue_app.ui import words
from jglue_app.ui.controls import DATA_CHOICES
from jglue_app.ui.jobs import State
from jglue_app.ui.tabs import about
from jglue_app.ui.tabs.lab_course import STEPS
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
        ("test_reference_{}", [who.split()[0].strip(",").lower() for who in references.TEST_SETS]),
        ("asks_{}", TASKS),
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


ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
APP = UI.parent
MODULES = [
    *(
        APP / f"{name}.py"
        for name in ("archive", "changes", "configuration", "data", "export", "jobs", "lab", "library", "lint")
    ),
    *(APP / "exporters" / f"{name}.py" for name in ("__init__", "hub_eval_results", "source", "writing")),
    *(
        APP / f"{name}.py"
        for name in ("plan", "prompts", "runner", "store", "styles", "tasks/jcola", "tasks/jsquad", "tasks/rows")
    ),
    *(APP / "audit" / f"{name}.py" for name in ("auditor", "grid", "printed", "table")),
    *(APP / "backends" / f"{name}.py" for name in ("__init__", "batching", "checkpoint", "gguf", "hf")),
    *(APP / "backends" / f"{name}.py" for name in ("identity", "locate", "memory", "own_tokenizer", "scripted")),
    *(APP / "backends" / f"{name}.py" for name in ("stored", "tokenizer")),
    *(APP / "importers" / f"{name}.py" for name in ("__init__", "build", "imports", "inspect_log")),
    *(APP / "importers" / f"{name}.py" for name in ("llm_jp_eval", "lm_eval", "log", "swallow", "unzip")),
    *(UI / f"{name}.py" for name in ("desk", "results")),
]
"""Whose sentences come to the page as they are. (What the other modules of the page say is chosen by language.)"""
UNMET = (
    # The page never asks for the train split, a limit on tokens or a file of one's own.
    "MARC-ja is no longer distributed.",
    "7 has no split '7'.",
    "The embedded samples of 7 have no '7' split.",
    "The limit on new tokens must be",
    "Few-shot examples are taken from the train split",
    "--marc-ja gives the MARC-ja items",
    # Nor does it ask for a revision, or for a GGUF file of a repository.
    "7 has no revision '7'.",
    "7 has no file '7'.",
    "The download of 7 broke off",
    # Of the server's own set-up.
    "WANDB_BASE_URL takes",
    "7 cannot be used to prepare",
    "7 cannot be made",
    "7 holds no lock",
)
"""Beginnings of sentences that no visitor meets."""
UNMET_KINDS = {"backend", "few-shot selection"}
"""What the page chooses itself."""
NO_COMMAND = re.compile("`.+?`")


def constants_of(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """Names that are set to one plain text among some nodes → the text."""
    texts: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given = node.value.value if isinstance(node.value, ast.Constant) else None
            texts.setdefault(node.targets[0].id, set()).add(given if isinstance(given, str) else "")
    return {name: given.pop() for name, given in texts.items() if len(given) == 1 and all(given)}


def text_of(argument: ast.AST, constants: Mapping[str, str]) -> str:
    """A text as it is written in a file, a 7 for every value; empty if it is none."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    parts: list[str] = []
    for part in argument.values if isinstance(argument, ast.JoinedStr) else ():
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
            continue
        assert isinstance(part, ast.FormattedValue)
        known = constants.get(part.value.id) if isinstance(part.value, ast.Name) else None
        parts.append(known or ("'7'" if part.conversion == ord("r") else "7"))
    return "".join(parts)


@cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax."""
    return ast.parse(path.read_text("utf-8"))


def texts_of(path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Every text in a file, with its node."""
    tree = parsed(path)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    whole = constants_of(tree.body)
    seen: set[ast.AST] = set()
    for function in [*functions[::-1], tree]:  # An inner function comes after the one around it.
        own = dict(whole)
        if isinstance(function, ast.FunctionDef):
            own |= constants_of(ast.walk(function))
            names = function.args.args[::-1]
            for name, default in zip(names, function.args.defaults[::-1], strict=False):
                if isinstance(default, ast.Name) and default.id in whole:
                    own[name.arg] = whole[default.id]
        for node in ast.walk(function):
            if node not in seen and (text := text_of(node, own)):
                seen.add(node)
                yield node, text


def raised(path: Path) -> list[str]:
    """Sentences with which a file makes errors, findings and notices; a 7 stands for every value."""
    tree = parsed(path)
    told: set[ast.AST] = set()
    faults: set[ast.AST] = set()

    def tell(argument: ast.expr) -> None:
        if isinstance(argument, ast.Call):  # A function that words it.
            name = getattr(argument.func, "attr", getattr(argument.func, "id", ""))
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef) and function.name == name:
                    for node in ast.walk(function):
                        if isinstance(node, ast.Return) and node.value is not None:
                            tell(node.value)
        elif isinstance(argument, ast.Name):
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == argument.id:
                    told.add(node.value)
        told.add(argument)

    places = {"RunError": 1, "Finding": 3, "_finding": 3, "notify": 0, "ValueError": 0}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = getattr(node.func, "id", "")
        place = 0 if function in ERRORS - {"UnknownNameError"} else places.get(function, -1)
        if 0 <= place < len(node.args):
            tell(node.args[place])
            faults |= {node.args[place]} if function == "ValueError" else set()
        elif function == "Event":
            for keyword in node.keywords:
                if keyword.arg == "message":
                    tell(keyword.value)
    # What is only put together has been worded elsewhere.
    found = dict.fromkeys(text for node, text in texts_of(path) if node in told and re.search("[a-z]", text))
    # A fault in a file has its place before the colon.
    placed = {text for node, text in texts_of(path) if node in faults}
    return [re.sub("^7: ", "line 7: ", text) if text in placed else text for text in found]


def english_left(sentence: str) -> bool:
    """Whether a sentence in Japanese is not yet so: without kana, or with three English words on end."""
    text = NO_COMMAND.sub("", sentence)
    return not re.search("[ぁ-んァ-ヶ一-龠]", text) or bool(re.search(r"(?:\b[a-z]{2,}\b[ ,]+){2}\b[a-z]{2,}", text))


@pytest.mark.parametrize("path", [*PUSHING, *MODULES], ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_every_error_is_said_in_japanese(path: Path) -> None:
    found = raised(path)
    assert found
    met = [text for text in found if not text.startswith(UNMET)]
    assert [text for text in met if english_left(words.said(text, "ja"))] == []
    fitting = {text: [p for p, _ in words.SAID_JA if re.fullmatch(p, text, re.DOTALL)] for text in met}
    assert {text: patterns for text, patterns in fitting.items() if len(patterns) > 1} == {}


def test_no_sentence_in_japanese_is_left_of_one_that_nobody_says() -> None:
    texts = {text for path in sorted(APP.rglob("*.py")) if path.name != "words.py" for _, text in texts_of(path)}
    # A place in a file and what is wrong there are said together, and counts of several subsets.
    texts |= {part for text in texts for part in (text.partition(": ")[0], text.partition(": ")[2])}
    texts.add("7 in 7, 7 in 7")
    dead = [p for p, _ in words.SAID_JA if not any(re.fullmatch(p, text, re.DOTALL) for text in texts)]
    assert dead == []


def test_sentences_that_no_visitor_meets_are_still_raised() -> None:
    found = [text for path in (*PUSHING, *MODULES) for text in raised(path)]
    assert [text for text in UNMET if not any(sentence.startswith(text) for sentence in found)] == []


def unknown_kinds(path: Path) -> Iterator[str]:
    """What a file says is unknown, as plain texts; those of a loop are taken from its table."""
    tree = ast.parse(path.read_text("utf-8"))
    for argument in calls(path, "UnknownNameError"):
        yield from keys(argument)
        for loop in ast.walk(tree):
            if isinstance(argument, ast.Name) and isinstance(loop, ast.For) and isinstance(loop.target, ast.Tuple):
                names = [getattr(name, "id", "") for name in loop.target.elts]
                if argument.id in names and isinstance(loop.iter, ast.Tuple):
                    for row in loop.iter.elts:
                        assert isinstance(row, ast.Tuple)
                        yield from keys(row.elts[names.index(argument.id)])


def test_whatever_kind_of_name_is_unknown_is_said_in_japanese() -> None:
    more = ["tasks/__init__", "protocols/__init__", "ui/compare", "ui/controls", "audit/facts"]
    found = {kind for path in (*MODULES, *(APP / f"{name}.py" for name in more)) for kind in unknown_kinds(path)}
    assert {"task", "style", "dtype", "quantization", "method"} <= found
    assert found - set(words.KINDS_JA) == UNMET_KINDS
    assert set(words.KINDS_JA) - found == set()


@pytest.mark.parametrize(
    ("error", "japanese"),
    [
        (
            errors.UnknownNameError("task", "jnl", ["jnli", "jsts"]),
            "サブセット「jnl」はありません。「jnli」のことですか。使えるのは jnli, jsts です。",
        ),
        (
            errors.UnknownNameError("model", "it's", ["a.b"], "This server runs the listed models only."),
            "モデル「it's」はありません。使えるのは a.b です。このサーバーでは一覧のモデルだけを使えます。",
        ),
        (
            errors.UnknownNameError("style", "zzz", ["ja"], "Or give the path of your own .toml file."),
            "言い回し「zzz」はありません。使えるのは ja です。自分の .toml ファイルの場所も入力できます。",
        ),
        (errors.UnknownNameError("backend", "x", ["hf"]), "Unknown backend 'x'. Known: hf."),
    ],
)
def test_an_unknown_name_is_said_in_japanese(error: errors.UnknownNameError, japanese: str) -> None:
    assert words.said(str(error), "ja") == japanese
    assert words.said(str(error), "en") == str(error)


@pytest.mark.parametrize(
    ("english", "japanese"),
    [
        (
            "a.json, line 3: field 'label' is missing. Correct the file, or delete it and run `python x`.",
            "a.json：3 行目：欄 'label' がありません。"
            "ファイルを直してください（削除すると、次の実行で取得し直します）。",
        ),
        (
            "runs/x/records.jsonl, line 3: damaged (ValueError: no). Delete the line; its item is then done again.",
            "runs/x/records.jsonl の 3 行目が壊れています（ValueError: no）。"
            "その行を削除すると、その問題はやり直せます。",
        ),
        (
            "A record of 9 bytes could not be written to runs/x (No space left on device). Everything before is kept: "
            "free some space and start the same run again.",
            "記録（9 バイト）を runs/x に書き込めません（ディスクに空きがありません）。それまでの分は残っています。"
            "空きを作って、同じ実行をもう一度始めてください。",
        ),
        (
            "Nothing of this run may stand on a model card (its items are samples of this application, not JGLUE). "
            "Export it as lm-eval instead.",
            "この実行には、モデルカードの成績にできるものがありません"
            "（JGLUE ではなく、このアプリの見本の問題です）。lm-eval の形式なら書き出せます。",
        ),
        (
            "a-shots in this link must be a whole number from 0 to 16, not '99'. Correct the link.",
            "このリンクの a-shots は、0 から 16 までの整数にしてください（'99' は使えません）。",
        ),
    ],
)
def test_the_parts_of_a_sentence_are_japanese_too(english: str, japanese: str) -> None:
    assert words.said(english, "ja") == japanese
