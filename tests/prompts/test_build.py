"""Prompts: the exact text of every format, and which solved examples stand before the question."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

import pytest

from jglue_app.errors import InputError, ModelError, StyleError, UnknownNameError
from jglue_app.prompts.build import build_prompt
from jglue_app.prompts.examples import answer_text, pick_shots
from jglue_app.prompts.formats import FORMATS, ModelFormatInfo
from jglue_app.prompts.styles import Style, TaskStyle
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Prompt, PromptSpec

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("entailment", "contradiction", "neutral")


def pair(id: str, sentence1: str, sentence2: str, label: str = "neutral") -> Item:
    return Item("jnli", id, {"sentence1": sentence1, "sentence2": sentence2}, (label,), LABELS)


ITEM = pair("q", "犬が走る。", "動物が動く。", "entailment")
SHOT = pair("s", "空は青い。", "空は赤い。", "contradiction")

WORDS = TaskStyle(
    instruction="関係は？",
    question=Template("前提：$sentence1\n仮説：$sentence2"),
    cue="答え：",
    answers={"entailment": Template("含意"), "contradiction": Template("矛盾"), "neutral": Template("中立")},
    stop=("\n", "。"),
    max_new_tokens=5,
)


def style(task: str = "jnli", words: TaskStyle = WORDS) -> Style:
    return Style(name="tiny", title="t", note="n", tasks={task: words}, sha256="0" * 64)


def render_chat(messages: Sequence[Mapping[str, str]]) -> str:
    """A chat template small enough to read: `{role|content}` for every turn, then the model's turn opens."""
    return "".join(f"{{{turn['role']}|{turn['content']}}}" for turn in messages) + "{assistant|"


MODEL = ModelFormatInfo(bos="<s>", eos="</s>", render_chat=render_chat)


def build(format: str, *shots: Item, item: Item = ITEM, words: TaskStyle = WORDS, system: str = "") -> Prompt:
    spec = PromptSpec(style="tiny", format=format, shots=len(shots), system=system)
    return build_prompt(item, TASKS[item.task], style(item.task, words), spec, shots, MODEL)


# --- formats --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """What a format makes of ITEM."""

    zero: str
    """Without examples."""
    one: str
    """After SHOT."""
    system: str
    """Without examples, with 「正確に。」 as the system turn."""
    stop: tuple[str, ...]
    lead: str = ""


EXPECTED = {
    "plain": Expected(
        zero="関係は？\n\n前提：犬が走る。\n仮説：動物が動く。\n答え：",
        one=(
            "関係は？\n\n前提：空は青い。\n仮説：空は赤い。\n答え：矛盾\n\n前提：犬が走る。\n仮説：動物が動く。\n答え："
        ),
        system="正確に。\n\n関係は？\n\n前提：犬が走る。\n仮説：動物が動く。\n答え：",
        stop=("\n", "。"),
    ),
    "chat": Expected(
        zero="{user|関係は？\n\n前提：犬が走る。\n仮説：動物が動く。}{assistant|",
        one=(
            "{user|関係は？\n\n前提：空は青い。\n仮説：空は赤い。}{assistant|矛盾}"
            "{user|前提：犬が走る。\n仮説：動物が動く。}{assistant|"
        ),
        system="{system|正確に。}{user|関係は？\n\n前提：犬が走る。\n仮説：動物が動く。}{assistant|",
        stop=(),
    ),
    "rinna": Expected(
        zero="ユーザー: 関係は？<NL><NL>前提：犬が走る。<NL>仮説：動物が動く。<NL>システム: ",
        one=(
            "ユーザー: 関係は？<NL><NL>前提：空は青い。<NL>仮説：空は赤い。<NL>システム: 矛盾<NL>"
            "ユーザー: 前提：犬が走る。<NL>仮説：動物が動く。<NL>システム: "
        ),
        system="正確に。<NL>ユーザー: 関係は？<NL><NL>前提：犬が走る。<NL>仮説：動物が動く。<NL>システム: ",
        stop=("\n", "。", "<NL>"),
    ),
    "rinna_bilingual": Expected(
        zero="ユーザー: 関係は？\n\n前提：犬が走る。\n仮説：動物が動く。\nシステム: ",
        one=(
            "ユーザー: 関係は？\n\n前提：空は青い。\n仮説：空は赤い。\nシステム: 矛盾\n"
            "ユーザー: 前提：犬が走る。\n仮説：動物が動く。\nシステム: "
        ),
        system="正確に。\nユーザー: 関係は？\n\n前提：犬が走る。\n仮説：動物が動く。\nシステム: ",
        stop=("\n", "。", "ユーザー:"),
    ),
    "alpaca": Expected(
        zero="### 指示:\n関係は？\n\n### 入力:\n前提：犬が走る。\n仮説：動物が動く。\n\n### 応答:\n",
        one=(
            "### 指示:\n関係は？\n\n"
            "### 入力:\n前提：空は青い。\n仮説：空は赤い。\n\n### 応答:\n矛盾\n\n"
            "### 入力:\n前提：犬が走る。\n仮説：動物が動く。\n\n### 応答:\n"
        ),
        system=("正確に。\n\n### 指示:\n関係は？\n\n### 入力:\n前提：犬が走る。\n仮説：動物が動く。\n\n### 応答:\n"),
        stop=("\n", "。", "###"),
    ),
    "llama2": Expected(
        zero="[INST] 関係は？\n\n前提：犬が走る。\n仮説：動物が動く。 [/INST]",
        one=(
            "[INST] 関係は？\n\n前提：空は青い。\n仮説：空は赤い。 [/INST] 矛盾 </s><s>"
            "[INST] 前提：犬が走る。\n仮説：動物が動く。 [/INST]"
        ),
        system=("[INST] <<SYS>>\n正確に。\n<</SYS>>\n\n関係は？\n\n前提：犬が走る。\n仮説：動物が動く。 [/INST]"),
        stop=("\n", "。", "[INST]"),
        lead=" ",
    ),
}


def test_every_format_has_an_expected_text() -> None:
    assert set(FORMATS) == set(EXPECTED)


@pytest.mark.parametrize(("format", "expected"), EXPECTED.items())
def test_a_format_lays_out_a_question_without_with_one_example_and_with_a_system_text(
    format: str, expected: Expected
) -> None:
    assert build(format).text == expected.zero
    assert build(format, SHOT).text == expected.one
    assert build(format, system="正確に。").text == expected.system


@pytest.mark.parametrize(("format", "expected"), EXPECTED.items())
def test_a_prompt_carries_what_the_backend_needs(format: str, expected: Expected) -> None:
    prompt = build(format, SHOT)
    assert (prompt.task, prompt.item_id, prompt.shot_ids) == ("jnli", "q", ("s",))
    assert prompt.answers == ("含意", "矛盾", "中立")
    assert (prompt.stop, prompt.lead) == (expected.stop, expected.lead)
    assert prompt.sha256 == hashlib.sha256(expected.one.encode()).hexdigest()
    assert (prompt.messages is not None) is (format == "chat")


def test_the_same_string_is_not_a_stop_string_twice() -> None:
    for format, stop in {"rinna": "<NL>", "alpaca": "###", "llama2": "[INST]"}.items():
        assert build(format, words=replace(WORDS, stop=(stop, "\n"))).stop == (stop, "\n")


def test_chat_hands_over_examples_as_turns() -> None:
    assert build("chat", SHOT, system="正確に。").messages == (
        {"role": "system", "content": "正確に。"},
        {"role": "user", "content": "関係は？\n\n前提：空は青い。\n仮説：空は赤い。"},
        {"role": "assistant", "content": "矛盾"},
        {"role": "user", "content": "前提：犬が走る。\n仮説：動物が動く。"},
    )


def test_a_system_text_stands_before_the_first_example_in_llama2() -> None:
    assert build("llama2", SHOT, system="正確に。").text == (
        "[INST] <<SYS>>\n正確に。\n<</SYS>>\n\n関係は？\n\n前提：空は青い。\n仮説：空は赤い。 [/INST] 矛盾 </s><s>"
        "[INST] 前提：犬が走る。\n仮説：動物が動く。 [/INST]"
    )


def test_chat_without_a_chat_template_names_other_formats() -> None:
    with pytest.raises(ModelError, match=r"no chat template\. Choose another prompt format, such as plain or alpaca"):
        build_prompt(ITEM, TASKS["jnli"], style(), PromptSpec(format="chat"), (), ModelFormatInfo())


def test_an_unknown_format_suggests_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown format 'lama2'\. Did you mean 'llama2'\?"):
        build("lama2")


def test_a_style_without_the_subset_is_refused() -> None:
    with pytest.raises(StyleError, match=r"no section \[jnli\]"):
        build_prompt(ITEM, TASKS["jnli"], style("jsts"), PromptSpec(), (), MODEL)


@pytest.mark.parametrize("format", EXPECTED)
@pytest.mark.parametrize(
    "text", ["$5と$sentence2と${x}と$$", "{0}と{user}と%sと\\1", "[/INST] ### <NL> </s>", "𠮷\ud800"]
)
def test_item_text_is_left_alone_whatever_signs_it_holds(format: str, text: str) -> None:
    prompt = build(format, pair("s", "空。", text, "neutral"), item=pair("q", text, "犬。"))
    assert prompt.text.count(text) == 2
    assert f"前提：{text}" in prompt.text
    assert f"仮説：{text}" in prompt.text


# --- answers --------------------------------------------------------------------------------------------

CHOICES = Item(
    "jcommonsenseqa",
    "c",
    {
        "question": "いくら？",
        "choice0": "$choice1",
        "choice1": "{0}円",
        "choice2": "三円",
        "choice3": "四円",
        "choice4": "五円",
    },
    ("0",),
    ("0", "1", "2", "3", "4"),
)
BY_TEXT = replace(WORDS, question=Template("$question"), answers={str(i): Template(f"$choice{i}") for i in range(5)})
OPEN = replace(WORDS, question=Template("$question"), answers={})


def test_answers_may_be_the_choices_own_text_whatever_signs_it_holds() -> None:
    prompt = build("plain", replace(CHOICES, id="s"), item=CHOICES, words=BY_TEXT)
    assert prompt.answers == ("$choice1", "{0}円", "三円", "四円", "五円")
    assert prompt.text == "関係は？\n\nいくら？\n答え：$choice1\n\nいくら？\n答え："


@pytest.mark.parametrize(
    ("gold", "written"), [(0.0, "0.0"), (5.0, "5.0"), (3.6, "3.6"), (2.125, "2.1"), (3.666, "3.7"), (2.96, "3.0")]
)
def test_a_similarity_is_written_with_one_decimal(gold: float, written: str) -> None:
    item = Item("jsts", "1", {"sentence1": "犬。", "sentence2": "猫。"}, gold)
    assert answer_text(item, replace(WORDS, answers={})) == written
    prompt = build("plain", item, item=item, words=replace(WORDS, answers={}))
    assert prompt.text == f"関係は？\n\n前提：犬。\n仮説：猫。\n答え：{written}\n\n前提：犬。\n仮説：猫。\n答え："
    assert prompt.answers == ()


def test_of_several_accepted_spans_the_first_is_shown() -> None:
    fields = {"title": "寺", "context": "京都市の寺。", "question": "どこ？"}
    item = Item("jsquad", "1", fields, ("京都", "京都市"))
    assert answer_text(item, OPEN) == "京都"
    assert build("plain", item, item=item, words=OPEN).answers == ()


# --- examples -------------------------------------------------------------------------------------------

JNLI = TASKS["jnli"]
POOL = tuple(pair(f"{label[0]}{i}", f"文{i}", label, label) for i in range(4) for label in LABELS)
ITEMS = tuple(pair(f"q{i}", f"問い{i}", "文") for i in range(20))


def pick(
    selection: str, shots: int, *, item: Item = ITEM, pool: Sequence[Item] = POOL, seed: int = 0
) -> tuple[str, ...]:
    spec = PromptSpec(shots=shots, shot_seed=seed, shot_selection=selection)
    return tuple(shot.id for shot in pick_shots(item, pool, spec, TASKS[item.task]))


SELECTIONS = pytest.mark.parametrize("selection", ["fixed", "random", "balanced"])


@SELECTIONS
@pytest.mark.parametrize("shots", [0, 1, 5, 12])
def test_as_many_different_examples_as_asked_for_come_from_the_pool(selection: str, shots: int) -> None:
    ids = pick(selection, shots)
    assert len(ids) == len(set(ids)) == shots
    assert set(ids) <= {item.id for item in POOL}


@SELECTIONS
@pytest.mark.parametrize(("shots", "pool"), [(13, POOL), (1, ())])
def test_more_examples_than_the_pool_holds_are_refused(selection: str, shots: int, pool: Sequence[Item]) -> None:
    with pytest.raises(InputError, match=f"JNLI: {shots} examples were asked for and {len(pool)} are at hand. Ask for"):
        pick(selection, shots, pool=pool)


@SELECTIONS
def test_fewer_than_no_examples_are_refused(selection: str) -> None:
    with pytest.raises(InputError, match="must be 0 or more"):
        pick(selection, -1)


def test_an_unknown_selection_suggests_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown few-shot selection 'balance'\. Did you mean 'balanced'\?"):
        pick("balance", 1)


@SELECTIONS
def test_the_same_seed_picks_the_same_examples_and_leaves_the_pool_as_it_was(selection: str) -> None:
    pool = list(POOL)
    assert pick(selection, 3, pool=pool) == pick(selection, 3, pool=pool)
    assert pool == list(POOL)


@SELECTIONS
def test_the_seed_matters(selection: str) -> None:
    assert len({pick(selection, 3, seed=seed) for seed in range(20)}) > 10


@pytest.mark.parametrize("selection", ["fixed", "balanced"])
def test_fixed_and_balanced_examples_are_the_same_for_every_item(selection: str) -> None:
    assert len({pick(selection, 3, item=item) for item in ITEMS}) == 1


def test_random_examples_differ_between_items() -> None:
    assert len({pick("random", 3, item=item) for item in ITEMS}) > 10


def test_examples_are_the_same_in_another_process() -> None:
    script = """
import json
from tests.prompts.test_build import pick
print(json.dumps([pick(s, 5, seed=7) for s in ("fixed", "random", "balanced")]))
"""
    told = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "4711", "PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    here = [list(pick(selection, 5, seed=7)) for selection in ("fixed", "random", "balanced")]
    assert json.loads(told.stdout) == here


@pytest.mark.parametrize(
    ("shots", "counts"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (4, [1, 1, 2]), (6, [2, 2, 2]), (11, [3, 4, 4])]
)
def test_balanced_examples_hold_every_label_as_evenly_as_can_be(shots: int, counts: list[int]) -> None:
    for seed in range(10):
        labels = Counter(id[0] for id in pick("balanced", shots, seed=seed))
        assert sorted(labels.values()) == counts


def test_a_label_that_runs_out_is_made_up_for_by_the_others() -> None:
    pool = [item for item in POOL if item.id in {"e0", "e1", "e2", "e3", "n0"}]
    assert Counter(id[0] for id in pick("balanced", 4, pool=pool)) == {"e": 3, "n": 1}


def test_no_label_always_comes_first_or_is_always_the_one_in_excess() -> None:
    assert {pick("balanced", 3, seed=seed)[0][0] for seed in range(20)} == {"e", "c", "n"}
    assert {pick("balanced", 1, seed=seed)[0][0] for seed in range(20)} == {"e", "c", "n"}


def test_the_order_of_labels_is_no_pattern_that_repeats() -> None:
    orders = ["".join(id[0] for id in pick("balanced", 6, seed=seed)) for seed in range(20)]
    assert any(order[:3] != order[3:] for order in orders)


def test_jsts_examples_are_balanced_by_rounded_similarity() -> None:
    golds = (0.0, 0.2, 0.4, 2.8, 3.2, 4.6, 4.8, 5.0)
    pool = [Item("jsts", str(gold), {"sentence1": "犬。", "sentence2": str(gold)}, gold) for gold in golds]
    for seed in range(10):
        ids = pick("balanced", 3, item=replace(pool[0], id="q"), pool=pool, seed=seed)
        near = {"0.0": 0, "0.2": 0, "0.4": 0, "2.8": 3, "3.2": 3, "4.6": 5, "4.8": 5, "5.0": 5}
        assert sorted(near[id] for id in ids) == [0, 3, 5]


def test_jsquad_examples_are_balanced_by_title() -> None:
    pool = [
        Item("jsquad", f"{title}{i}", {"title": title, "context": f"文{i}", "question": "何？"}, ("文",))
        for title, count in (("寺", 5), ("海", 1), ("山", 2))
        for i in range(count)
    ]
    for seed in range(10):
        ids = pick("balanced", 3, item=replace(pool[0], id="q"), pool=pool, seed=seed)
        assert sorted(id[0] for id in ids) == sorted("寺海山")


# --- thoughts ---------------------------------------------------------------------------------------------


def switching(off: str, on: str) -> ModelFormatInfo:
    """A chat template whose end depends on what it is told of thinking; by default it thinks."""

    def render(messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        return render_chat(messages) + (off if thinking == "off" else on)

    return ModelFormatInfo(render_chat=render)


@pytest.mark.parametrize(
    ("off", "on", "thinking", "thought", "ranked"),
    [
        # Qwen 3: without thinking the template shows an empty thought; with it the model writes the marks.
        ("<think>\n\n</think>\n\n", "", "off", "", None),
        ("<think>\n\n</think>\n\n", "", "on", "free", "<think>\n\n</think>\n\n"),
        ("<think>\n\n</think>\n\n", "", "default", "free", "<think>\n\n</think>\n\n"),
        # A template that opens the thought if it is told so, and one that always does.
        ("</think>", "<think>\n", "on", "<think>", "</think>"),
        ("<think>\n", "<think>\n", "off", "<think>", "<think>\n\n</think>\n\n"),
        ("<think>\n", "<think>\n", "on", "<think>", "<think>\n\n</think>\n\n"),
        ("[THINK]", "[THINK]", "default", "[THINK]", "[THINK][/THINK]"),
        # Tags of other names, and words whose end nothing tells: answers are ranked after the form without thinking.
        ("", "<ponder>\n", "on", "<ponder>", ""),
        ("<ponder>\n", "<ponder>\n", "off", "<ponder>", "<ponder>\n\n</ponder>\n\n"),
        ("", "Let me see.\n", "on", "Let me see.", ""),
        ("", "Let me see.\n", "default", "Let me see.", ""),
        ("", "/think\n", "off", "free", None),
        # Tags that say not to think: nothing is put behind them.
        ("<nothink>", "<nothink>", "off", "", None),
        ("<nothink>", "<think>\n", "on", "<think>", "<nothink>"),
        ("<think_off>", "<think_on>", "on", "free", "<think_off>"),
        # A template that knows nothing of thoughts.
        ("", "", "off", "free", None),
        ("", "", "on", "free", None),
    ],
)
def test_a_chat_prompt_says_what_it_opens_and_what_answers_are_ranked_after(
    off: str, on: str, thinking: str, thought: str, ranked: str | None
) -> None:
    spec = PromptSpec(style="tiny", format="chat", thinking=thinking)
    made = build_prompt(ITEM, TASKS["jnli"], style(), spec, (), switching(off, on))
    begin = render_chat(made.messages or ())
    assert made.text == begin + (off if thinking == "off" else on)
    assert made.thought == thought
    assert made.ranked_text == ("" if ranked is None else begin + ranked)


def test_a_style_that_ends_with_an_opened_thought_says_so_too() -> None:
    opens = replace(WORDS, cue="<think>\nまず、")
    made = build("plain", SHOT, words=opens)
    assert (made.thought, made.ranked_text) == ("<think>", made.text + "\n\n</think>\n\n")
    assert (build("plain").thought, build("plain").ranked_text) == ("", "")
    # A thought that an instruction speaks of is not opened.
    spoken = replace(WORDS, instruction="<think>の中で考えてください。")
    assert build("plain", words=spoken).thought == ""
