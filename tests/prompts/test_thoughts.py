"""Where outputs think and where they answer, in every spelling; what prompts leave open."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from jglue_app.prompts.thoughts import (
    FRAME,
    FREE,
    closed,
    closings,
    has_thought_mark,
    kept_tokens,
    left_open,
    opened_otherwise,
    split,
)
from jglue_app.runs.notes import notes_on_thinking
from jglue_app.scoring.parsing import read_choice, read_score, read_span
from jglue_app.tasks import TASKS
from jglue_app.types import Decoding, ModelSpec, Prompt, PromptSpec, RunSpec

PAIRS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<Thought>", "</Thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<reason>", "</reason>"),
    ("<seed:think>", "</seed:think>"),
    ("<思考>", "</思考>"),
    ("<think time=3>", "</think>"),
    ("< think >", "</think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"),
    ("[REASONING]", "[/REASONING]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
    ("<unused94>thought", "<unused95>"),
    ("Here is my thought process:", "Here is my response:"),
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|think|>", "<|end|><|begin|>assistant<|content|>"),
]
every_pair = pytest.mark.parametrize(("opens", "closes"), PAIRS, ids=[opens for opens, _ in PAIRS])
ANSWERS = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}


def answer(text: str, opened: str = "") -> str | None:
    """The part of a text that is the answer; None for an unfinished thought."""
    found = split(text, opened)
    return None if found.answer is None else text[found.answer : found.end].strip()


# --- every spelling ---------------------------------------------------------------------------------------


@every_pair
def test_what_follows_a_thought_is_the_answer_whoever_opened_it(opens: str, closes: str) -> None:
    thought = "\n含意か矛盾か。\n"
    assert answer(f"{opens}{thought}{closes}\n\n中立") == "中立"
    assert answer(f"{thought}{closes}\n\n中立", opens) == "中立"
    # Some models write the mark that their prompt has written already.
    assert answer(f"{opens}{thought}{closes}中立", opens) == "中立"
    assert answer(f"{opens}{closes}中立") == "中立"


@every_pair
def test_a_thought_that_never_ends_has_no_answer_wherever_it_is_cut(opens: str, closes: str) -> None:
    thought = "\n答え：含意\n中立"
    assert answer(f"{opens}{thought}") is None
    assert answer(thought, opens) is None
    assert answer("中立", opens) is None
    # In the middle of the closing mark, up to its last character.
    marks = closes if closes.count("<|") < 2 else closes[: closes.index("|>")]
    for end in range(1, len(marks)):
        assert answer(f"{opens}{thought}{marks[:end]}") is None
        assert answer(f"{thought}{marks[:end]}", opens) is None


@every_pair
def test_no_reader_reads_a_label_out_of_an_unfinished_thought(opens: str, closes: str) -> None:
    for text, opened in ((f"{opens}\n答え：中立", ""), ("中立", opens), ("答えは3.5です", opens), ("\n東京", opens)):
        for readings in (read_choice(text, ANSWERS, None, opened), read_score(text, thought=opened)):
            for parsed in (readings.strict, readings.lenient):
                assert (parsed.value, parsed.status, parsed.rule) == (
                    None,
                    "unfinished_thought",
                    "unfinished_thought",
                )
        span = read_span(text, opened)
        assert (span.strict.value, span.lenient.value, span.strict.status) == (None, None, "unfinished_thought")


@every_pair
def test_strictly_the_answer_is_what_follows_a_thought_that_the_prompt_has_opened(opens: str, closes: str) -> None:
    text = f"答え：含意{closes}\n\n中立\n"
    choice = read_choice(text, ANSWERS, None, opens).strict
    assert (choice.value, choice.status) == ("neutral", "exact")
    assert choice.span is not None and text[slice(*choice.span)] == "中立"
    number = f"1か2{closes} 3.5"
    assert read_score(number, thought=opens).strict.value == 3.5
    span = read_span(f"大阪？{closes}\n東京\n", opens)
    assert (span.strict.value, span.lenient.value) == ("東京", "東京")


ROLE = "<|im_start|>assistant/think"
NEXT = "<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        # A role of its own, with its special tokens and without them.
        (f"含意か。{NEXT}中立<|im_end|>", ROLE, "中立"),
        ("含意か。\nassistant\n中立", ROLE, "中立"),
        ("含意か。assistant とは何か", ROLE, None),
        ("含意か。<|im_end|>\n<|im_start|>assist", ROLE, None),
        (f"/think\n含意か。{NEXT}中立", FREE, "中立"),
        ("/think\n含意か。\nassistant\n中立", "", "中立"),
        ("/think\nIt could be neutral", "", None),
        (f"{ROLE}\n含意か。{NEXT}中立", "", "中立"),
        ("<|im_start|>think\n含意", "", None),
        ("/think\n<think>含意</think>中立", FREE, "中立"),
        ("/think を使わずに答えます。中立", "", "/think を使わずに答えます。中立"),
        # HuatuoGPT-o1.
        ("## Thinking\n\n含意か。\n\n## Final Response\n\n中立", "", "中立"),
        ("含意か。\n\n## Final Response\n\n中立", "## Thinking", "中立"),
        ("含意か。\n\n## Final Response\n\n中立", "", "中立"),
        ("## Thinking\n\n含意か。\n\n## 回答\n中立", "", "中立"),
        ("## Thinking\n\n含意か。\n\n## 前提\n中立", "", None),
        ("## Thinking about it\n中立", "", "## Thinking about it\n中立"),
        ("## 理由\n犬がいる。\n\n## 回答\n中立", "", "## 理由\n犬がいる。\n\n## 回答\n中立"),
        # Other spellings.
        ("‹思考>含意か。</思考>中立", "", "中立"),
        ("‹思考›含意か。‹/思考›中立", "", "中立"),
        ("<思考過程>含意か。", "", None),
        ("＜think＞含意か。</think>中立", "", "中立"),
        ("Here's my thought process: 含意\n\nHere's my response: 中立", "", "中立"),
        ("Here\u2019s my thought process: 含意", "", None),
        ("**Here is my thought process:** 含意", "", None),
        # A closing mark of other brackets, the only one; escaped; with spaces.
        ("<think>含意[/THINK]中立", "", "中立"),
        ("含意[/THINK]中立", "<think>", "中立"),
        ("<think>含意[/THINK]矛盾</think>中立", "", "中立"),
        ("<think>含意[/THINK]矛盾[/THINK]中立", "", None),
        ("<think>含意[/REASONING]中立", "", None),
        ("<think>含意</ think>中立", "", "中立"),
        ("<think>含意<\\/think>中立", "", "中立"),
        ("<think/>中立", "", "中立"),
        ("<think />中立", FREE, "中立"),
        ("<think/>\n<think>含意", "", None),
    ],
)
def test_thoughts_of_roles_headings_and_odd_tags(text: str, opened: str, expected: str | None) -> None:
    assert answer(text, opened) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<nothink>中立",
        "<no_think>\n中立",
        "<no-thinking>中立",
        "<think_off>\n中立",
        "<|nothink|>中立",
        "[no_think]中立",
        "/no_think 中立",
        "</think_off>中立",
        "<reasoning_effort>low</reasoning_effort>中立",
        "<think_mode>fast</think_mode>中立",
        "<thinking_budget>0</thinking_budget>中立",
    ],
)
def test_what_says_not_to_think_is_no_thought_and_the_label_is_read(text: str) -> None:
    assert answer(text) == "中立"
    assert split(text).opened is None
    assert read_choice(text, ANSWERS, None, FREE).strict.value == "neutral"
    assert read_choice(text, ANSWERS).lenient.value == "neutral"


def test_the_thought_behind_a_tag_that_turns_it_on_is_the_thought() -> None:
    assert answer("<think_on>\n<think>含意</think>\n<answer>中立</answer>") == "中立"
    assert answer("<think_on>\n<think>含意") == "<think_on>"
    assert read_choice("<think_on>\n<think>含意", ANSWERS).lenient.value is None


@pytest.mark.parametrize(
    "text",
    [
        "中立。思考の結果です。",
        "思考：前提を見る。\n答え：中立",
        "【思考】犬がいる。【回答】中立",
        "I think the answer is 中立",
        "think\n中立",
        "Thinking: 犬。Answer: 中立",
        "## 理由\n犬がいる。\n答え：中立",
        "### Answer\n中立",
        "## 思考\n犬がいる。\n## 回答\n中立",
        "<b>中立</b>",
        "<answer>中立</answer>",
        "<label>中立",
        "a < think > b。答え：中立",
        "[分析] 中立",
        "#think 中立",
        "assistant\n中立",
        "analysisの結果は中立です。",
        "analysis: 中立",
        "Analysis\n中立",
        "中立 <reason>犬がいる</reason>",
    ],
)
def test_an_answer_that_only_speaks_of_thinking_is_read(text: str) -> None:
    assert read_choice(text, ANSWERS).lenient.value == "neutral"


# --- the shapes that thoughts take ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        # Nested.
        ("<think>a<think>b</think>c</think>中立", "", "中立"),
        ("<think>a<think>b</think>中立", "", None),
        ("<thinking>a<reasoning>b</reasoning>c</thinking>中立", "", "中立"),
        ("a\n<think>b</think>c</think>中立", "<think>", "中立"),
        # Several closings: the last.
        ("<think>a</think>含意</think>中立", "", "中立"),
        ("<think>a</think>前置き<think>b</think>中立", "", "中立"),
        ("含意</think>中立", "", "中立"),
        # A thought that begins again and never ends.
        ("<think>a</think>\n\n<think>\n中立", "", None),
        ("<think>a</think>含意\n<think>\n中立", "", "含意"),
        ("含意\n<think>\n中立かも", "", "含意"),
        ("含意\n<think>\n中立かも\n</think>\n", "", "含意"),
        # Marks that are spoken of.
        ("<think>「</think>」と書く。</think>中立", "", "中立"),
        ("`<think>`の中で考える。</think>中立", "<think>", "中立"),
        ("<think>a</think>答えは<think>です", "", "答えは<think>です"),
        ('<think>a</think>"<think>"', "", '"<think>"'),
        # What stands around the answer.
        ("<think>\na\n</think>\n<answer>\n中立\n</answer>", "", "中立"),
        ("<think>a</think><response>中立</response>", "", "中立"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>中立<|END_RESPONSE|>", "", "中立"),
        ("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>中立<|end_of_solution|>", "", "中立"),
        ("Here are my reasoning steps:\na\n[BEGIN FINAL RESPONSE]\n中立\n[END FINAL RESPONSE]", "", "中立"),
        # Another word in the same brackets.
        ("<thinking>a</think>中立", "", "中立"),
        # No thought at all.
        ("中立", "", "中立"),
        ("中立", FREE, "中立"),
        ("<b>中立</b>", "", "<b>中立</b>"),
        ("Here is my response: 中立", "", "Here is my response: 中立"),
    ],
)
def test_the_answer_is_what_stands_outside_of_thoughts(text: str, opened: str, expected: str | None) -> None:
    assert answer(text, opened) == expected


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("<|channel|>final<|message|>中立", FRAME, "中立"),
        ("<|channel|>final<|message|>中立<|return|>", "", "中立"),
        ("<|channel|>analysis<|message|>含意<|end|>", FRAME, None),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>fin", FRAME, None),
        ("<|channel|>commentary to=x <|constrain|>json<|message|>{}<|call|>", FRAME, None),
        ("a<|end|><|start|>assistant<|channel|>final<|message|>中立", "<|channel|>analysis<|message|>", "中立"),
        # As texts are whose special tokens were left out.
        ("analysis含意か。assistantfinal中立", "", "中立"),
        ("analysis含意か。assistantfinal中立", FRAME, "中立"),
        ("analysis含意", FRAME, None),
        ("final中立", FRAME, "中立"),
        ("中立", FRAME, "中立"),
        ("analysisWe need to choose. It could be 中立", "", None),
        ("analysis前提は犬。中立", FREE, None),
        ("analysis of the sentences: 中立", "", "analysis of the sentences: 中立"),
    ],
)
def test_of_channels_the_final_one_is_the_answer(text: str, opened: str, expected: str | None) -> None:
    assert answer(text, opened) == expected


def test_a_preface_before_a_thought_that_never_ends_gives_no_label() -> None:
    found = read_choice("二つの文を見ます。\n<think>\n答え：含意", ANSWERS)
    assert (found.lenient.value, found.lenient.status) == (None, "unfinished_thought")


def test_where_no_thought_was_asked_for_one_that_is_written_is_no_part_of_a_strict_answer() -> None:
    text = "<think>a</think>中立"
    assert (read_choice(text, ANSWERS).strict.rule, read_choice(text, ANSWERS).lenient.value) == (
        "not_exact",
        "neutral",
    )
    assert read_choice(text, ANSWERS, None, FREE).strict.value == "neutral"
    assert read_choice("中立", ANSWERS, None, FREE).strict.value == "neutral"


def test_behind_a_closed_thought_there_may_be_nothing() -> None:
    for text in ("<think>含意</think>", "<think>含意</think>\n\n"):
        assert read_choice(text, ANSWERS, None, FREE).strict.rule == "no_answer"
        assert read_choice(text, ANSWERS, None, FREE).lenient.value is None
        assert read_span(text, FREE).strict.rule == "no_answer"


@pytest.mark.parametrize(
    "piece", ["<think>", "</think>", "[THINK]", "<", "[", "◁", "<|channel|>analysis<|message|>", "a<"]
)
def test_many_marks_are_read_in_good_time(piece: str) -> None:
    text = (piece * 250_000)[:250_000]
    start = time.thread_time()
    split(text)
    split(text, "<think>")
    assert time.thread_time() - start < 1.5


# --- prompts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("<|user|>関係は？<|assistant|><think>\n", "<think>"),
        ("関係は？<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("[INST]関係は？[/INST][THINK]", "[THINK]"),
        ("[INST]関係は？[/INST]", ""),
        ("<|turn>user\n関係は？<turn|>\n<|turn>model\n<|channel>thought\n<channel|>", ""),
        ("<|turn>system\n<|think|>\n<turn|>関係は？<|turn>model\n<|channel>thought\n", "<|channel>thought"),
        ("<|start|>user<|message|>関係は？<|end|><|start|>assistant", FRAME),
        ("関係は？<|end|><|start|>assistant<|channel|>analysis<|message|>", "<|channel|>analysis<|message|>"),
        ("関係は？<|end|><|start|>assistant<|channel|>final<|message|>", ""),
        ("<think>の中で考えること。関係は？\n答え：", ""),
        ("関係は？\n<think>\nまず、", "<think>"),
    ],
)
def test_what_the_end_of_a_prompt_leaves_open(text: str, mark: str) -> None:
    assert left_open(text, "関係は？") == mark
    if not text.endswith("まず、"):  # Where the question ends is not known here.
        assert left_open(text) == mark


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("関係は？<think>\n", "関係は？<think>\n\n</think>\n\n"),
        ("関係は？<think>", "関係は？<think>\n\n</think>\n\n"),
        ("関係は？[THINK]", "関係は？[THINK][/THINK]"),
        ("関係は？◁think▷", "関係は？◁think▷◁/think▷"),
        ("関係は？<|channel>thought\n", "関係は？<|channel>thought\n<channel|>"),
        (
            "<|message|>関係は？<|end|><|start|>assistant",
            "<|message|>関係は？<|end|><|start|>assistant<|channel|>final<|message|>",
        ),
        (
            "関係は？<|start|>assistant<|channel|>analysis<|message|>",
            "関係は？<|start|>assistant<|channel|>analysis<|message|><|end|><|start|>assistant<|channel|>final<|message|>",
        ),
    ],
)
def test_a_thought_is_closed_as_its_family_does(text: str, expected: str) -> None:
    assert closed(text, left_open(text, "関係は？")) == expected
    assert left_open(expected, "関係は？") == ""


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        (f"<|im_start|>user\n関係は？<|im_end|>\n{ROLE}\n", ROLE),
        ("<|im_start|>user\n関係は？<|im_end|>\n<|im_start|>assistant\n", ""),
        (f"関係は？<|im_end|>\n{ROLE}\n犬がいる。{NEXT}", ""),
        ("関係は？<|im_start|>assistant\n## Thinking\n\n", "## Thinking"),
        ("関係は？<思考>\n", "<思考>"),
        ("関係は？<nothink>", ""),
        ("関係は？ /think<|im_end|>\n<|im_start|>assistant\n", ""),
    ],
)
def test_roles_and_headings_that_a_prompt_leaves_open(text: str, mark: str) -> None:
    assert left_open(text, "関係は？") == mark
    if mark:
        assert left_open(closed(text, mark), "関係は？") == ""


def test_a_tag_that_says_not_to_think_is_shown_and_nothing_is_put_behind_it() -> None:
    assert has_thought_mark("関係は？<nothink>", "関係は？")
    assert closed("関係は？<nothink>", "<nothink>") == "関係は？<nothink>"
    assert closings("<nothink>") == ()


HEAD = "<|im_start|>user\n関係は？<|im_end|>\n<|im_start|>assistant"


@pytest.mark.parametrize(
    ("text", "off", "mark"),
    [
        (f"{HEAD}\n<ponder>\n", f"{HEAD}\n", "<ponder>"),
        (f"{HEAD}\n<ponder>\n", f"{HEAD}\n<ponder>\n", "<ponder>"),
        (f"{HEAD}\n<ponder>\n", f"{HEAD}\n<none>\n", "<ponder>"),
        (f"{HEAD}\n<ponder>\n", f"{HEAD}\n<ponder></ponder>\n", "<ponder>"),
        (f"{HEAD} (slowly)\n", f"{HEAD}\n", "(slowly)"),
        (f"{HEAD}\nLet me see.\n", f"{HEAD}\n", "Let me see."),
        # Nothing is opened.
        (f"{HEAD}\n", f"{HEAD}\n", ""),
        (f"{HEAD}\n", f"{HEAD}\n<none>\n", ""),
        (f"{HEAD}\n", f"{HEAD}", ""),
        (f"{HEAD}\n", f"{HEAD}\n<think>\n\n</think>\n\n", ""),
        (f"{HEAD}\n<mode>slow</mode>\n", f"{HEAD}\n", ""),
        (f"{HEAD}\n<think_on>", f"{HEAD}\n<think_off>", ""),
        (f"{HEAD}\n<nothink>", f"{HEAD}\n<nothink>", ""),
        # What is known is found otherwise.
        (f"{HEAD}\n<think>\n", f"{HEAD}\n", ""),
        # Further up than the end.
        (
            "関係は？ /on<|im_end|>\n<|im_start|>assistant\n",
            "関係は？ /off<|im_end|>\n<|im_start|>assistant\n",
            "",
        ),
        ("関係は？[unused16]", "関係は？ /no_think[unused16]", ""),
        # Turns and answers.
        *((f"関係は？\n{tag}\n", f"関係は？\n{tag}\n", "") for tag in ("<assistant>", "<bot>", "<answer>", "<s>")),
        *((f"関係は？{tag}", f"関係は？{tag}", "") for tag in ("<reserved_107>", "<start_of_turn>", "<extra_id_1>")),
    ],
)
def test_what_a_template_opens_in_other_words(text: str, off: str, mark: str) -> None:
    assert opened_otherwise(text, off, "関係は？") == mark


def test_behind_words_that_are_no_known_mark_only_a_closing_mark_leads_to_an_answer() -> None:
    assert answer("含意か。</ponder>中立", "<ponder>") == "中立"
    assert answer("含意か。中立", "<ponder>") is None
    assert answer("含意か。</think>中立", "<ponder>") is None
    assert answer("含意か。中立", "(slowly)") is None
    assert answer("含意か。</think>中立", "(slowly)") == "中立"
    assert answer("<think>含意か。", "(slowly)") is None
    assert (closings("<ponder>"), closings("(slowly)")) == (("</ponder>",), ())


@every_pair
def test_whatever_is_opened_can_be_closed_and_is_closed_then(opens: str, closes: str) -> None:
    prompt = f"関係は？\n{opens}"
    assert left_open(prompt, "関係は？") == opens
    assert left_open(closed(prompt, opens), "関係は？") == ""
    assert any(end in closes for end in closings(opens))


def test_a_thought_that_is_shown_closed_is_told_from_none() -> None:
    assert has_thought_mark("関係は？\n<think>\n\n</think>\n\n", "関係は？")
    assert not has_thought_mark("<think></think>関係は？\n答え：", "関係は？")


@pytest.mark.parametrize(
    ("special", "kept"),
    [
        (["<s>", "</s>", "<think>", "</think>"], {"<think>", "</think>"}),
        (["<s>", "[INST]", "[THINK]", "[/THINK]"], {"[THINK]", "[/THINK]"}),
        (
            ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"],
            {"<|start|>", "<|end|>", "<|message|>", "<|channel|>"},
        ),
        # Turns of a model without channels.
        (["<|start|>", "<|end|>", "<|user|>"], set()),
        (["<bos>", "<|think|>", "<|channel>", "<channel|>", "<turn|>"], {"<|channel>", "<channel|>"}),
        (["<s>", "</s>", "<pad>"], set()),
        (["<s>", "<nothink>", "<|no_think|>", "<think_on>", "<think_off>"], set()),
    ],
)
def test_of_special_tokens_those_of_thoughts_are_kept(special: list[str], kept: set[str]) -> None:
    assert kept_tokens(special) == kept


# --- what a run says of them -------------------------------------------------------------------------------

IGNORED = "Thinking was asked for, and nothing in the prompt turns it on: "
SHARED = "A thought has no tokens of its own: "
NO_TEXT = "“Thinking limit (tokens)” (--max-thinking-tokens) has no effect here: answers are only ranked"
NO_THOUGHT = (
    "“Thinking limit (tokens)” (--max-thinking-tokens) has no effect here: nothing in the prompt opens a thought"
)
OPENS = "The prompt opens a thought (<think>) although thinking is off"


@pytest.mark.parametrize(
    ("thinking", "budget", "method", "changes", "expected"),
    [
        ("off", None, "generate", {}, []),
        ("on", None, "generate", {}, [IGNORED]),
        ("on", 99, "generate", {}, [IGNORED]),
        ("on", None, "generate", {"messages": (), "thought": "free"}, [IGNORED]),
        ("on", None, "generate", {"messages": (), "thought": "free", "ranked_text": "q"}, [SHARED]),
        ("on", 99, "generate", {"messages": (), "thought": "free", "ranked_text": "q"}, []),
        ("on", 99, "choose", {"messages": (), "thought": "free", "ranked_text": "q"}, [NO_TEXT]),
        ("on", None, "choose", {"messages": (), "thought": "free", "ranked_text": "q"}, []),
        ("on", None, "generate", {"messages": (), "thought": "<think>", "ranked_text": "q"}, [SHARED]),
        ("off", 99, "generate", {}, [NO_THOUGHT]),
        ("off", 99, "generate", {"messages": (), "thought": "free"}, [NO_THOUGHT]),
        ("off", 99, "choose", {}, [NO_TEXT]),
        ("default", 99, "generate", {}, [NO_THOUGHT]),
        ("default", 99, "generate", {"messages": (), "thought": "free"}, []),
        ("off", 99, "generate", {"thought": "<think>", "ranked_text": "q"}, [OPENS]),
        ("off", None, "generate", {"thought": "<think>", "ranked_text": "q"}, [OPENS, SHARED]),
    ],
)
def test_what_is_told_of_thinking_and_of_its_limit_is_what_happens(
    thinking: str, budget: int | None, method: str, changes: dict[str, Any], expected: list[str]
) -> None:
    spec = RunSpec(
        ModelSpec("m"),
        ("jnli",),
        "v",
        {},
        PromptSpec(thinking=thinking),
        "",
        Decoding(method, max_thinking_tokens=budget),
        "0",
    )
    prompt = replace(Prompt("jnli", "1", "p", None, (), (), "", (), ""), **changes)
    told = list(notes_on_thinking(spec, TASKS["jnli"], prompt))
    told = [sentence for sentence in told if not sentence.startswith("The thought is closed before answers")]
    assert [sentence[: len(begin)] for sentence, begin in zip(told, expected, strict=True)] == expected


def test_marks_of_turns_are_kept_where_a_thought_is_a_turn() -> None:
    special = ["<s>", "<|im_start|>", "<|im_end|>", "<|stop|>"]
    assert kept_tokens(special) == set()
    assert kept_tokens(special, ROLE) == {"<|im_start|>", "<|im_end|>"}
    assert kept_tokens(special, "<think>") == set()
