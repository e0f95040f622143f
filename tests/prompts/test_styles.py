"""Wording styles: those that are shipped, a user's own, and every way a style file can be wrong."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from jglue_app.data import files
from jglue_app.errors import StyleError, UnknownNameError
from jglue_app.prompts.build import build_prompt
from jglue_app.prompts.examples import answer_text
from jglue_app.prompts.formats import ModelFormatInfo
from jglue_app.prompts.styles import STYLE_DIR, load_style, style_names
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS
from jglue_app.types import PromptSpec

OF_PROTOCOLS = {
    "wandb-2023": (5, 3, 3, 25, 5, 5),
    "wandb-2023-08": (5, 3, 3, 25, 5, 5),
    "stability-jp": (8, 6, 6, 256, 16, 6),
    "llm-jp-eval": (5, 3, 3, 25, 1, 5),
    "flexeval": (6, 6, 6, 64, 64, 6),
    "lm-eval-ja": (8, 6, 6, 256, 16, 6),
}
"""Style made for a scoring protocol → its limits on new tokens, in the order of `TASKS`."""
SHIPPED = tuple(sorted(("choice-text", "en-labels", "ja-labels", "number", *OF_PROTOCOLS)))
SUBSETS = ("marc_ja", "jsts", "jnli", "jsquad", "jcommonsenseqa", "jcola")

OWN = """
title = "自分の書式"
note = "試し。"

[jnli]
instruction = "関係は？"
question = "$sentence1 → ${sentence2}（$$1）"
cue = "答え："
stop = ["\\n", "。"]
max_new_tokens = 5
[jnli.answers]
entailment = "はい"
contradiction = "いいえ"
neutral = "不明"
"""


def write(tmp_path: Path, text: str | bytes, name: str = "own.toml") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- shipped --------------------------------------------------------------------------------------------


def test_the_shipped_styles_are_listed_by_name() -> None:
    assert style_names() == list(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_style_has_words_for_all_six_subsets_and_a_japanese_note(name: str) -> None:
    style = load_style(name)
    assert style.name == name
    assert set(style.tasks) == set(SUBSETS)
    assert re.search("[ぁ-ん]", style.note)
    assert style.title
    assert style.sha256 == hashlib.sha256((STYLE_DIR / f"{name}.toml").read_bytes()).hexdigest()
    for words in style.tasks.values():
        assert re.search("[ぁ-ん]", words.instruction)
        assert name in OF_PROTOCOLS or words.stop == ("\n",)


@pytest.mark.parametrize("name", OF_PROTOCOLS)
def test_a_style_of_a_protocol_has_the_limits_and_stops_of_its_system(name: str) -> None:
    words = [load_style(name).of(task) for task in TASKS]
    assert tuple(w.max_new_tokens for w in words) == OF_PROTOCOLS[name]
    stops = {"wandb-2023": (), "wandb-2023-08": (), "stability-jp": ("\n",)}
    stops |= {"llm-jp-eval": ("\n\n",), "lm-eval-ja": ("\n\n",)}
    written = {"jnli": ("前提", "」"), "jsquad": ("\n\n",), "jcommonsenseqa": ("\n\n",)}
    for task, w in zip(TASKS, words, strict=True):
        assert w.stop == stops.get(name, written.get(task, ("」",)))
        assert w.close == ("」" if name == "flexeval" and w.stop != ("\n\n",) else "")


def test_the_prompts_of_the_system_of_2023_differ_as_they_did_between_june_and_august() -> None:
    june, august = load_style("wandb-2023"), load_style("wandb-2023-08")
    assert june.of("jcommonsenseqa").instruction == june.of("jsquad").instruction
    assert august.of("jcommonsenseqa").instruction != august.of("jsquad").instruction
    assert all(august.of(task).cue == "" != june.of(task).cue for task in TASKS)
    assert "整数" in august.of("jsts").instruction
    choices = {f"choice{n}": word for n, word in enumerate("あいうえお")}
    asked = august.of("jcommonsenseqa").question.substitute(question="？", **choices)
    assert asked.splitlines()[-1].endswith("0.あ,1.い,2.う,3.え,4.お")


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("ja-labels", {"marc_ja": ["肯定", "否定"], "jnli": ["含意", "矛盾", "中立"], "jcola": ["非文", "正文"]}),
        ("en-labels", {"marc_ja": ["positive", "negative"], "jnli": ["entailment", "contradiction", "neutral"]}),
        ("en-labels", {"jcola": ["unacceptable", "acceptable"]}),
        # As the numbers of the file are, and as the system of 2023 asked for them.
        ("number", {"jcola": ["0", "1"]}),
        ("wandb-2023", {"jcola": ["0", "1"]}),
        ("flexeval", {"jnli": ['"含意"', '"矛盾"', '"中立"']}),
        ("number", {"marc_ja": ["0", "1"], "jnli": ["0", "1", "2"], "jcommonsenseqa": ["0", "1", "2", "3", "4"]}),
        ("choice-text", {"jcommonsenseqa": ["$choice0", "$choice1", "$choice2", "$choice3", "$choice4"]}),
    ],
)
def test_a_shipped_style_has_the_answers_its_name_promises(name: str, answers: dict[str, list[str]]) -> None:
    style = load_style(name)
    assert {
        task: [style.of(task).answers[label].template for label in TASKS[task].labels] for task in answers
    } == answers


@pytest.mark.parametrize("task", SUBSETS)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_style_shows_every_sample_item_whole_and_can_write_its_answer(name: str, task: str) -> None:
    style, nowhere = load_style(name), Path("nowhere")
    for split in ("train", "valid"):
        for item in files.load(Settings(False, None, "", nowhere, nowhere, 50), task, split, data="sample").items:
            prompt = build_prompt(item, TASKS[task], style, PromptSpec(), (), ModelFormatInfo())
            assert [text for text in item.fields.values() if text not in prompt.text] == []
            assert "$" not in prompt.text
            assert len(set(prompt.answers)) == len(item.choices)
            answer = answer_text(item, style.of(task))
            assert answer in prompt.answers or not item.choices
            # A stop string inside the right answer would cut it off.
            assert not any(stop in answer for stop in prompt.stop)


# --- a user's own ---------------------------------------------------------------------------------------


def test_a_users_style_is_read_by_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, OWN)
    style = load_style(str(path))
    words = style.of("jnli")
    assert (style.name, style.title, style.note) == ("own", "自分の書式", "試し。")
    assert style.sha256 == hashlib.sha256(OWN.encode()).hexdigest()
    assert (words.instruction, words.cue, words.stop, words.max_new_tokens) == ("関係は？", "答え：", ("\n", "。"), 5)
    assert words.question.substitute(sentence1="犬", sentence2="猫") == "犬 → 猫（$1）"
    assert {label: template.template for label, template in words.answers.items()} == {
        "entailment": "はい",
        "contradiction": "いいえ",
        "neutral": "不明",
    }


def test_cue_and_stop_may_be_left_out_and_line_ends_around_a_text_do_not_count(tmp_path: Path) -> None:
    lines = [line for line in OWN.splitlines() if not line.startswith(("cue", "stop", "instruction"))]
    text = "\n".join(lines).replace("[jnli]", '[jnli]\ninstruction = """\n\n関係は？\n次を読むこと。\n"""')
    words = load_style(str(write(tmp_path, text))).of("jnli")
    assert (words.cue, words.stop, words.instruction) == ("", (), "関係は？\n次を読むこと。")


def test_a_style_without_a_subset_says_so_when_the_subset_is_asked_for(tmp_path: Path) -> None:
    style = load_style(str(write(tmp_path, OWN)))
    with pytest.raises(StyleError, match=r"'own' has no section \[jsts\]\. Add one, or leave the subset out"):
        style.of("jsts")


def test_an_unknown_style_suggests_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown style 'ja-label'\. Did you mean 'ja-labels'\?.*own \.toml"):
        load_style("ja-label")


def test_a_style_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StyleError, match=r"no style file .*gone\.toml\. Known styles: choice-text, en-labels"):
        load_style(str(tmp_path / "gone.toml"))


def test_a_folder_named_like_a_style_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(StyleError, match="no style file"):
        load_style(str(tmp_path / "folder.toml"))


def test_where_paths_are_not_allowed_no_file_is_read_and_none_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, OWN)
    with pytest.raises(UnknownNameError, match="Unknown style") as caught:
        load_style(str(path), allow_paths=False)
    assert "path" not in str(caught.value).removeprefix(f"Unknown style {str(path)!r}.")
    assert load_style("number", allow_paths=False).name == "number"


@pytest.mark.parametrize("name", ["../prompts/number", str(STYLE_DIR / "number"), "NUMBER", "number.toml.toml/.."])
def test_a_name_is_only_ever_a_listed_name(name: str) -> None:
    with pytest.raises(UnknownNameError):
        load_style(name, allow_paths=False)


# --- what can be wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        pytest.param('title = "自分の書式"', "", "top level needs a text 'title'", id="no title"),
        pytest.param('note = "試し。"', "note = 3", "top level needs a text 'note'", id="note is a number"),
        pytest.param('instruction = "関係は？"', "", "[jnli] needs a text 'instruction'", id="no instruction"),
        pytest.param('"関係は？"', '"  "', "[jnli] needs a text 'instruction'", id="blank instruction"),
        pytest.param(
            "$sentence1 →",
            "$context →",
            "[jnli] 'question' names $context; JNLI has $sentence1, $sentence2",
            id="other field",
        ),
        pytest.param(
            "（$$1）", "（$1）", "[jnli] 'question' has a stray $; write $$ for a dollar sign", id="stray dollar"
        ),
        pytest.param('"答え："', "5", "[jnli] cue must be text", id="cue is a number"),
        pytest.param('["\\n", "。"]', '"\\n"', "[jnli] stop must be a list of non-empty texts", id="stop is a text"),
        pytest.param('["\\n", "。"]', '["\\n", ""]', "[jnli] stop must be a list of non-empty texts", id="empty stop"),
        pytest.param('["\\n", "。"]', "[1]", "[jnli] stop must be a list of non-empty texts", id="stop holds a number"),
        *(
            pytest.param(
                "max_new_tokens = 5",
                line,
                "[jnli] max_new_tokens must be a whole number from 1 to 4096",
                id=line or "no max_new_tokens",
            )
            for line in (
                "",
                "max_new_tokens = 0",
                "max_new_tokens = 4097",
                "max_new_tokens = 5.0",
                "max_new_tokens = true",
                'max_new_tokens = "5"',
            )
        ),
        pytest.param(
            'neutral = "不明"',
            "",
            "[jnli.answers] must name exactly entailment, contradiction, neutral",
            id="answer missing",
        ),
        pytest.param(
            'neutral = "不明"',
            'neutral = "不明"\nother = "他"',
            "[jnli.answers] must name exactly entailment, contradiction, neutral",
            id="answer too many",
        ),
        pytest.param('"不明"', '""', "[jnli.answers] needs a text 'neutral'", id="empty answer"),
        pytest.param('"不明"', '"はい"', "[jnli.answers] uses one text for two labels", id="one text for two labels"),
        pytest.param(
            '"不明"', '"$choice0"', "[jnli.answers] 'neutral' names $choice0; JNLI has", id="answer names a field"
        ),
        pytest.param('"不明"', '"5$"', "[jnli.answers] 'neutral' has a stray $", id="answer with a stray dollar"),
    ],
)
def test_a_fault_in_a_style_is_named_with_file_section_and_key(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert OWN.count(old) == 1
    path = write(tmp_path, OWN.replace(old, new))
    with pytest.raises(StyleError) as caught:
        load_style(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)


HEAD = 'title = "t"\nnote = "n"\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("title = ", "not a TOML file in UTF-8", id="not TOML"),
        pytest.param(OWN.encode("shift_jis"), "not a TOML file in UTF-8", id="Shift_JIS"),
        pytest.param(HEAD + "#" * 200_000, "larger than 200,000 bytes", id="too large"),
        pytest.param(HEAD + "jnli = 3", "[jnli] must be a table", id="section is a number"),
        pytest.param(
            HEAD + "[jnli]\nmax_new_tokens = 5\nanswers = 3", "[jnli.answers] must name exactly", id="answers"
        ),
        pytest.param(
            HEAD + '[jsts]\ninstruction = "i"\nquestion = "q"\nmax_new_tokens = 5\n[jsts.answers]\n0 = "0"',
            "[jsts.answers] must name exactly nothing",
            id="answers where they are open",
        ),
    ],
)
def test_a_file_that_is_no_style_is_refused(tmp_path: Path, text: str | bytes, fault: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(StyleError) as caught:
        load_style(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)
