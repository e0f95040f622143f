"""Each check of prompts, by a tokenizer that is easy to follow; then real tokenizers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from jglue_app import lint_prompt
from jglue_app.errors import InputError
from jglue_app.prompts.findings import Finding
from jglue_app.prompts.lint import Case, lint
from jglue_app.prompts.styles import STYLE_DIR
from jglue_app.tasks import TASKS
from jglue_app.types import Backend, Item, Prompt, TokenizerInfo

INFO = TokenizerInfo("toy", "<s>", True, "</s>", False, ("</s>",), "", None, False)


class Toy:
    """A token is one character, or a run of one and the same character; `<s>` and `</s>` are tokens too."""

    def __init__(self, **changes: object) -> None:
        self.info = replace(INFO, **changes)  # type: ignore[arg-type]
        self.table: list[str] = []

    def encode_text(self, text: str) -> list[int]:
        pieces = text.replace("</s>", "\1").replace("<s>", "\0")
        runs = ["".join(run) for _, run in groupby(pieces)]
        names = [run.replace("\0", "<s>").replace("\1", "</s>") for run in runs]
        # A repeated BOS is two tokens.
        found = [piece for name in names for piece in (["<s>", "<s>"] if name == "<s><s>" else [name])]
        self.table += [piece for piece in found if piece not in self.table]
        return [self.table.index(piece) for piece in found]

    def encode(self, prompt: Prompt) -> list[int]:
        own = self.encode_text("<s>") if self.info.adds_bos and prompt.messages is None else []
        return own + self.encode_text(prompt.text)

    def split(self, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
        text = prompt.text.rstrip()
        context = self.encode(replace(prompt, text=text))
        whole = self.encode(replace(prompt, text=prompt.text + prompt.lead + answer))
        at = min(len(context), len(whole) - 1)
        return whole[:at], whole[at:]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [self.table[i] for i in ids]

    def text(self, ids: Sequence[int]) -> str:
        return "".join(self.pieces(ids))

    def special(self, ids: Sequence[int]) -> list[bool]:
        return [False] * len(ids)

    def unknown(self, ids: Sequence[int]) -> int:
        return sum("？" in self.table[i] for i in ids)

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        return "".join(m["content"] for m in messages)


def nli(id_: str, gold: str = "neutral") -> Item:
    return Item("jnli", id_, {"sentence1": "甲", "sentence2": "乙"}, (gold,), TASKS["jnli"].labels)


def case(
    task: str = "jnli",
    text: str = "問題。答え：",
    answers: Sequence[str] = ("含意", "矛盾", "中立"),
    stop: Sequence[str] = ("\n",),
    items: Sequence[Item] = (),
    shots: Sequence[Item] = (),
    limit: int = 4,
    messages: bool = False,
    lead: str = "",
    format: str = "plain",
) -> Case:
    asked = items or [nli("1"), nli("2")]
    turns = ({"role": "user", "content": text},) if messages else None
    prompts = [
        Prompt(task, item.id, text, turns, tuple(stop), tuple(answers), lead, tuple(s.id for s in shots), "")
        for item in asked
    ]
    return Case(TASKS[task], asked, prompts, {s.id: s for s in shots}, limit, format)


def found(one: Case, **info: object) -> dict[str, Finding]:
    return {finding.rule: finding for finding in lint([one], Toy(**info))}


def test_a_prompt_without_faults_has_no_findings() -> None:
    assert found(case()) == {}
    assert lint([], Toy()) == ()


def test_labels_longer_than_the_limit_are_errors_and_named_with_their_tokens() -> None:
    finding = found(case(answers=("はい", "いいえです", "どちらとも")))["answer_too_long"]
    assert (finding.level, finding.task, finding.items, finding.of, finding.example) == ("error", "jnli", 2, 2, "1")
    assert "more than the 4 new tokens allowed: 「どちらとも」 (5) tokens." in finding.message
    assert "Raise max_new_tokens to 5" in finding.message
    assert finding.facts == {"limit": 4, "longest": 5}


def squad(id_: str, *gold: str) -> Item:
    return Item("jsquad", id_, {"title": "", "context": "…", "question": "…"}, gold)


def test_of_a_span_one_accepted_answer_that_fits_is_enough() -> None:
    items = [squad("1", "東京都庁舎", "東京"), squad("2", "大阪府庁舎")]
    finding = found(case("jsquad", answers=(), items=items))["answer_too_long"]
    assert (finding.level, finding.items, finding.of, finding.example) == ("warning", 1, 2, "2")


def test_similarities_take_three_tokens() -> None:
    items = [Item("jsts", "1", {"sentence1": "甲", "sentence2": "乙"}, 2.0)]
    assert found(case("jsts", answers=(), items=items, limit=3)) == {}
    assert found(case("jsts", answers=(), items=items, limit=2))["answer_too_long"].level == "error"


def test_without_a_stop_string_only_a_chat_ends_by_itself() -> None:
    assert found(case(stop=()))["missing_stop"].level == "warning"
    assert "missing_stop" not in found(case(stop=(), messages=True, format="chat"), adds_bos=False)


def test_a_stop_string_within_an_answer_would_cut_it() -> None:
    finding = found(case(stop=("盾",)))["stop_in_answer"]
    assert (finding.level, finding.facts["answer"]) == ("error", "矛盾")


def test_examples_that_show_one_label_too_often_are_counted() -> None:
    even = [nli("a", "neutral"), nli("b", "entailment"), nli("c", "contradiction"), nli("d", "neutral")]
    assert found(case(shots=even)) == {}
    uneven = [nli("a"), nli("b"), nli("c"), nli("d", "entailment")]
    finding = found(case(shots=uneven))["shot_imbalance"]
    assert finding.facts == {"entailment": 1, "contradiction": 0, "neutral": 3}
    assert "--shot-selection balanced" in finding.message
    assert found(case(shots=uneven[:1])) == {}, "one example cannot be even"


def test_the_same_example_twice_is_noticed() -> None:
    assert "shot_repeated" in found(case(shots=[nli("a"), nli("a")]))


def test_labels_of_different_lengths_are_worth_knowing() -> None:
    finding = found(case(answers=("肯定", "否", "中")))["uneven_labels"]
    assert (finding.level, finding.facts) == ("info", {"肯定": 2, "否": 1, "中": 1})


def test_an_opening_of_two_tokens_is_known() -> None:
    two = {"prefix": ("[", "s"), "bos": "", "adds_bos": False}

    def opened(text: str) -> dict[str, Finding]:
        return found(case(text=text, messages=True, format="chat"), **two)

    assert "missing_bos" in opened("答え：")
    assert "[s" in opened("答え：")["missing_bos"].message
    assert "missing_bos" not in opened("[s答え：")
    assert "double_bos" not in opened("[s答え：")
    assert opened("[s[s答え：")["double_bos"].level == "error"
    assert opened("[s答え：")["opening_tokens"].level == "info"
    # One BOS is nothing to be told of.
    assert "opening_tokens" not in found(case(), prefix=("<s>",))


def test_tokens_after_a_text_are_told_by_their_names() -> None:
    finding = found(case(), suffix=("[SEP]",))["adds_eos"]
    assert (finding.level, "[SEP]" in finding.message) == ("info", True)


def test_text_that_does_not_come_back_is_a_warning_and_a_matter_of_width_is_told() -> None:
    class Losing(Toy):
        def __init__(self, old: str, new: str) -> None:
            super().__init__()
            self.old, self.new = old, new

        def encode_text(self, text: str) -> list[int]:
            return super().encode_text(text.replace(self.old, self.new))

    def of(tokenizer: Toy) -> dict[str, Finding]:
        return {f.rule: f for f in lint([case(text="問題①。\n答え：")], tokenizer)}

    lost = of(Losing("\n", ""))["round_trip"]
    assert (lost.level, lost.task, lost.items) == ("warning", "jnli", 2)
    assert "2 of 2 prompts" in lost.message
    assert "「問題①。⏎答え：」 becomes 「問題①。答え：」" in lost.message
    assert of(Losing("①", "1"))["round_trip"].level == "info"
    assert "round_trip" not in of(Losing("x", "y"))


def test_a_second_tokenizer_file_that_disagrees_is_told_of() -> None:
    finding = found(case(), disputed="tokenizer.model")["tokenizer_files"]
    assert (finding.level, finding.task, "tokenizer.model" in finding.message) == ("info", "", True)
    assert "tokenizer_files" not in found(case())


def test_bos_stands_once() -> None:
    double = found(case(text="<s>答え："))["double_bos"]
    assert (double.level, double.task) == ("error", "jnli")
    missing = found(case(), adds_bos=False)["missing_bos"]
    assert (missing.level, missing.task) == ("info", "")
    left_out = found(case(text="答え：", messages=True, format="chat"))["missing_bos"]
    assert (left_out.level, "chat template leaves it out" in left_out.message) == ("warning", True)
    assert "missing_bos" not in found(case(text="<s>答え："), adds_bos=False)
    assert "missing_bos" not in found(case(), adds_bos=False, bos="")
    assert "double_bos" not in found(case(text="<s>答え：", messages=True, format="chat"))


def test_end_tokens_are_known_and_not_in_the_prompt() -> None:
    assert found(case(), ends=())["no_eos"].level == "warning"
    assert found(case(), adds_eos=True)["adds_eos"].level == "info"
    assert found(case(text="答え：</s>"))["eos_after_prompt"].level == "error"


def test_a_turn_that_ends_with_a_token_which_does_not_end_the_generation_goes_on() -> None:
    chat = case(text="<s>答え：", messages=True, format="chat")
    assert found(chat, turn_end="<|im_end|>")["turn_end"].level == "warning"
    assert "turn_end" not in found(chat, turn_end="</s>")
    assert "turn_end" not in found(case(), turn_end="<|im_end|>")


def test_tokens_that_the_embedding_has_no_row_for_fail_the_run() -> None:
    # The toy gives ids in the order of appearance: `<s>` 0, 答 1, え 2, ： 3; 含 4, 意 5, 矛 6, 盾 7 are answers.
    prompt = case(text="答え：", answers=("含意", "矛盾"))
    finding = found(prompt, rows=3)["beyond_vocabulary"]
    assert (finding.level, finding.task, finding.items) == ("error", "jnli", 2)
    assert finding.facts == {"id": 3, "rows": 3}
    assert "： has the id 3, and the embedding 3 rows" in finding.message
    assert found(prompt, rows=7)["beyond_vocabulary"].facts == {"id": 7, "rows": 7}
    assert "beyond_vocabulary" not in found(prompt, rows=8)
    assert "beyond_vocabulary" not in found(prompt, rows=None)


def test_a_chat_model_asked_in_plain_text_is_noticed() -> None:
    assert found(case(), has_chat_template=True)["chat_template_unused"].level == "info"
    assert "chat_template_unused" not in found(case(format="alpaca"), has_chat_template=True)


def test_an_answer_that_merges_with_the_end_of_the_prompt_is_shown_with_its_tokens() -> None:
    finding = found(case(text="答えは。含", answers=("含意", "矛盾", "中立")))["token_boundary"]
    assert (finding.level, finding.items) == ("warning", 2)
    assert "[含] becomes" in finding.message
    assert "[含含]" in finding.message
    assert "token_boundary" not in found(case(text="答え："))


def test_a_space_at_the_end_of_the_prompt_shifts_the_border() -> None:
    class Words(Toy):
        """As real tokenizers do: a space belongs to the word after it."""

        def encode_text(self, text: str) -> list[int]:
            pieces = re.findall(r" ?[^ ]+| ", text)
            self.table += [piece for piece in pieces if piece not in self.table]
            return [self.table.index(piece) for piece in pieces]

    spaced = replace(case(text="答え： "), max_new_tokens=9)
    (finding,) = (f for f in lint([spaced], Words()) if f.rule == "token_boundary")
    assert "([ ] becomes [ 含意])" in finding.message


def test_an_answer_with_other_tokens_than_alone_is_worth_knowing() -> None:
    finding = found(case(lead=" "))["answer_tokens"]
    assert (finding.level, "[ ] [含] [意]" in finding.message) == ("info", True)


def test_prompts_beyond_the_context_are_counted() -> None:
    # <s> and six characters, and four to be written.
    assert "context_overflow" not in found(case(text="問題。答え："), context_length=11)
    finding = found(case(text="問題。答え："), context_length=10)["context_overflow"]
    assert (finding.level, finding.items, finding.facts) == ("error", 2, {"longest": 7, "limit": 10})


def test_characters_that_the_tokenizer_does_not_know_are_counted() -> None:
    unknown = found(case(text="？：答え："))["unknown_tokens"]
    # One of six tokens, BOS among them.
    assert (unknown.items, unknown.facts) == (2, {"unknown_share": 1 / 6})
    assert "(16.7 % of the tokens)" in unknown.message


def test_bytes_in_place_of_characters_are_noticed() -> None:
    class Bytes(Toy):
        def encode(self, prompt: Prompt) -> list[int]:
            return super().encode(prompt) * 3

    (finding,) = (f for f in lint([case()], Bytes()) if f.rule == "many_tokens")
    assert finding.facts["tokens_per_character"] == pytest.approx(21 / 6)


def test_what_holds_for_all_subsets_is_told_once_and_errors_come_first() -> None:
    marc = case("marc_ja", answers=("肯定", "否定"), items=[Item("marc_ja", "1", {"sentence": "…"}, ("positive",))])
    marc = replace(marc, items=[replace(marc.items[0], choices=("positive", "negative"))])
    findings = lint([case(stop=()), replace(marc, max_new_tokens=1)], Toy(adds_bos=False))
    assert [f.rule for f in findings if f.rule == "missing_bos"] == ["missing_bos"]
    assert [f.level for f in findings] == sorted((f.level for f in findings), key=["error", "warning", "info"].index)
    assert findings[0].rule == "answer_too_long"


# --- real tokenizers ---------------------------------------------------------------------------------------


def rules(findings: Sequence[Finding]) -> dict[str, set[str]]:
    """Rule → subsets."""
    out: dict[str, set[str]] = {}
    for finding in findings:
        out.setdefault(finding.rule, set()).add(finding.task)
    return out


def test_a_models_own_tokenizer_is_looked_at_without_its_weights(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the weights were loaded")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", loaded)
    found = rules(lint_prompt(str(tiny_model("llama")), ["jnli", "jsquad"], limit=6, shots=3, max_new_tokens=2))
    # A context of 192 tokens, and a vocabulary of a few hundred pieces.
    assert found["context_overflow"] == {"jnli", "jsquad"}
    assert found["answer_too_long"] == {"jnli", "jsquad"}
    assert "missing_bos" not in found


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ({"bos": False}, {"missing_bos"}),
        ({"appends_eos": True}, {"adds_eos"}),
        ({"chat": True}, {"chat_template_unused"}),
        ({}, set()),
    ],
)
def test_special_tokens_of_real_tokenizers(tiny_model: Any, variant: dict[str, bool], expected: set[str]) -> None:
    found = rules(lint_prompt(str(tiny_model("qwen3", **variant)), ["marc_ja"], limit=2))
    special = {"missing_bos", "double_bos", "adds_eos", "no_eos", "eos_after_prompt", "turn_end"}
    assert set(found) & (special | {"chat_template_unused"}) == expected


def test_a_chat_without_a_template_is_one_error(tiny_model: Any) -> None:
    (finding,) = lint_prompt(str(tiny_model("llama")), ["jnli"], format="chat", limit=2)
    assert (finding.rule, finding.level) == ("no_chat_template", "error")


def test_a_chat_template_is_followed_to_its_end_token(smollm2_gguf: Path) -> None:
    found = rules(lint_prompt(str(smollm2_gguf), ["jnli"], format="chat", limit=3, max_new_tokens=4))
    assert not {"double_bos", "turn_end", "missing_stop", "eos_after_prompt", "no_eos"} & set(found)
    assert found["answer_too_long"] == {"jnli"}
    # Japanese is hardly in its vocabulary.
    assert rules(lint_prompt(str(smollm2_gguf), ["jnli"], limit=3))["many_tokens"] == {"jnli"}


@pytest.mark.slow
def test_the_embedded_model_and_the_default_style_have_no_faults(gemma: Backend) -> None:
    assert [f for f in lint_prompt("gemma-3-270m", limit=5, shots=3) if f.level != "info"] == []
    short = lint_prompt("gemma-3-270m", ["jnli"], limit=5, protocol="wandb-2023-0shot", max_new_tokens=1)
    assert rules(short) == {"answer_too_long": {"jnli"}, "missing_stop": {""}, "uneven_labels": {"jnli"}}


@pytest.mark.slow
def test_a_cue_that_ends_in_a_space_is_noticed_with_a_real_tokenizer(gemma: Backend, tmp_path: Path) -> None:
    style = tmp_path / "spaced.toml"
    words = (STYLE_DIR / "stability-jp.toml").read_text("utf-8")
    style.write_text(words.replace('cue = "関係性："', 'cue = "関係性： "'), "utf-8")
    found = rules(lint_prompt("gemma-3-270m", ["jnli", "marc_ja"], limit=2, style=str(style)))
    assert found["token_boundary"] == {"jnli"}


def test_a_table_of_answers_has_no_tokenizer(tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    table.write_text('{"item_id": "1", "text": "x"}\n', "utf-8")
    with pytest.raises(InputError, match="has no tokenizer to look at"):
        lint_prompt(str(table), ["jnli"])


# --- thoughts ---------------------------------------------------------------------------------------------


def thinking(one: Case, thought: str, ranked: str = "", **how: Any) -> Case:
    prompts = [replace(p, thought=thought, ranked_text=ranked) for p in one.prompts]
    return replace(one, prompts=prompts, **how)


OPENED: dict[str, Any] = {"text": "問題<think>", "messages": True, "format": "chat", "stop": ()}


def test_a_template_that_opens_a_thought_is_told_with_its_limit_and_what_labels_are_ranked_after() -> None:
    told = found(thinking(case(**OPENED), "<think>", "問題<think>\n\n</think>\n\n"), adds_bos=False, bos="")
    assert set(told) == {"thought_opened", "thought_limit", "ranked_in_thought"}
    assert {finding.level for finding in told.values()} == {"warning"}
    assert "(<think>) although thinking is off" in told["thought_opened"].message
    assert told["thought_limit"].facts == {"limit": 4}
    assert told["ranked_in_thought"].message.endswith(r"which ends with '問題<think>\n\n</think>\n\n'.")


def test_an_end_that_is_no_known_mark_is_told_and_nothing_is_said_of_its_closing() -> None:
    one = thinking(case(**OPENED | {"text": "問題(slowly)"}), "(slowly)", "問題", thinking="on", max_thinking_tokens=99)
    told = found(one, adds_bos=False, bos="")
    assert "thought_opened" not in told
    assert told["thought_unknown"].level == "warning"
    assert "'(slowly)'" in told["thought_unknown"].message


def test_a_thought_that_was_asked_for_and_has_its_own_limit_is_no_warning() -> None:
    one = thinking(case(**OPENED), "<think>", "問題<think></think>", thinking="default", max_thinking_tokens=99)
    told = found(one, adds_bos=False, bos="")
    assert {rule: finding.level for rule, finding in told.items()} == {
        "thought_opened": "info",
        "ranked_in_thought": "info",
    }


def test_thinking_without_a_switch_is_told() -> None:
    one = thinking(case(messages=True, format="chat", stop=()), "free", thinking="on", max_thinking_tokens=99)
    assert set(found(one, adds_bos=False, bos="")) == {"thinking_ignored"}
    plain = thinking(case(), "", thinking="on", max_thinking_tokens=99)
    assert set(found(plain)) == {"thinking_ignored"}
    channels = thinking(case(messages=True, format="chat", stop=()), "<|start|>assistant", max_thinking_tokens=99)
    told = found(channels, adds_bos=False, bos="")["thinking_ignored"]
    assert "cannot turn it off" in told.message


def test_thinking_without_a_switch_asks_for_no_limit_and_a_limit_without_a_thought_is_told() -> None:
    assert set(found(thinking(case(), "", thinking="on"))) == {"thinking_ignored"}
    message = found(thinking(case(), "", thinking="on"))["thinking_ignored"].message
    assert message.endswith("Choose the format chat, and a model whose template has a switch for thinking.")
    off = found(thinking(case(), "", max_thinking_tokens=99))
    assert {rule: finding.level for rule, finding in off.items()} == {"thought_limit_unused": "info"}
    # Tokens that no thought takes are not held against the context.
    assert "context_overflow" not in found(thinking(case(), "", max_thinking_tokens=20), context_length=24)


def test_stop_strings_that_would_cut_a_thought_are_told_to_wait() -> None:
    told = found(thinking(case(text="問題<think>"), "<think>", max_thinking_tokens=9))
    assert told["stop_in_thought"].message.startswith(r"The stop strings '\n' would cut a thought")


def test_the_tokens_of_a_thought_count_for_the_context() -> None:
    one = thinking(case(), "<think>", max_thinking_tokens=20)
    assert "context_overflow" not in found(case(), context_length=24)
    assert "with 24 to be written" in found(one, context_length=24)["context_overflow"].message
