"""Thoughts of a real model whose marks are special tokens: raw text, budgets, stop strings, ranking, templates."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app import api
from jglue_app.backends import open_backend
from jglue_app.backends.hf.engine.outputs import decode
from jglue_app.backends.hf.tokenization.template_worker import template_arguments
from jglue_app.runs.generation import generate, ranked
from jglue_app.scoring.report import report_run
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, Output, Prompt
from tests.backends.contract import collect, make_prompt, never, output, text_of
from tests.conftest import JAPANESE

THOUGHT, REPLY = "前提を見る。\n犬がいる。", "中立"
WRITTEN = f"{THOUGHT}</think>\n\n{REPLY}"
"""What the model has learnt to write behind `<think>` and a line end."""
TURNS = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
)
OPENS = TURNS + "<think>\n{% endif %}"
SWITCHED = TURNS + "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama that thinks before it answers, whatever is asked; `<think>` and `</think>` are special tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "<think>", "</think>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([*JAPANESE, THOUGHT], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tokenizer.chat_template = OPENS
    size = len(tokenizer)
    lesson = tokenizer(f"<|assistant|><think>\n{WRITTEN}</s>", add_special_tokens=False)["input_ids"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=size,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
        model = LlamaForCausalLM(config)
        optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
        for step in range(140):
            # What stands before is another beginning every time, of any length.
            before = torch.randint(7, size, (4, 5 + 37 * (step % 5)))
            ids = torch.cat([before, torch.tensor(lesson).repeat(4, 1)], 1)
            logits = model(input_ids=ids).logits[:, before.shape[1] : -1]
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, size), ids[:, before.shape[1] + 1 :].reshape(-1)
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it.
            optimizer.step()
    folder = tmp_path_factory.mktemp("thinker")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def backend(thinker: Path, shared_settings: Settings) -> Backend:
    return open_backend(ModelSpec(str(thinker)), shared_settings, device="cpu")


def asked(text: str = "<|user|>関係は？<|assistant|><think>\n", **changes: Any) -> Prompt:
    prompt = make_prompt(text, ("含意", "矛盾", "中立"), item_id="0")
    return replace(prompt, messages=({"role": "user", "content": "関係は？"},), **{"stop": (), **changes})


def tokens(backend: Backend, text: str) -> int:
    return backend.count_tokens(text)


def one(backend: Backend, prompt: Prompt, limit: int, budget: int | None = None) -> Output:
    return output(collect(generate(backend, [prompt], limit, budget, never))[0])


# --- raw text ---------------------------------------------------------------------------------------------


def test_marks_of_a_thought_stay_in_the_raw_text_though_they_are_special_tokens(backend: Backend) -> None:
    assert text_of(collect(backend.generate([asked()], 80, never))[0]) == WRITTEN
    # Where the model writes the opening mark itself, that stays too; other special tokens do not.
    assert text_of(collect(backend.generate([asked("<|user|>関係は？<|assistant|>")], 80, never))[0]) == (
        f"<think>\n{WRITTEN}"
    )


def test_a_tokenizer_without_such_marks_decodes_as_transformers_does(tiny_model: Callable[..., Path]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
    ids = tokenizer("<s>犬が<|user|>走る</s>")["input_ids"]
    assert decode(tokenizer, ids) == "犬が走る"


ROLES = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% if force_reasoning %}{{ '/think\n' }}"
    "{% elif skip_reasoning %}{{ '\n' }}{% endif %}{% endif %}"
)


def test_marks_of_turns_stay_between_thought_and_answer_where_a_thought_is_a_turn() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([*JAPANESE, THOUGHT], trainer)

    def text(template: str, written: str) -> str:
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
        tokenizer.chat_template = template
        return decode(tokenizer, tokenizer(written, add_special_tokens=False)["input_ids"])

    written = f"{THOUGHT}<|im_end|>\n<|im_start|>assistant\n{REPLY}<|im_end|>"
    assert text(ROLES, f"{written}</s>") == written.removesuffix("<|im_end|>")
    assert text(ROLES, f"{REPLY}<|im_end|></s>") == REPLY
    # Of other models they are no part of the text.
    assert text(OPENS, f"{written}</s>") == f"{THOUGHT}\nassistant\n{REPLY}"


# --- limits and stop strings ------------------------------------------------------------------------------


def test_without_a_budget_thought_and_answer_share_the_limit(backend: Backend) -> None:
    cut = one(backend, asked(thought="<think>"), 4)
    assert cut.finish == "length" and cut.new_tokens == 4
    assert cut.text and THOUGHT.startswith(cut.text.rstrip("\ufffd"))


def test_with_a_budget_the_answer_has_all_its_tokens_after_the_thought(backend: Backend) -> None:
    thought, answer = tokens(backend, THOUGHT), tokens(backend, f"\n\n{REPLY}")
    whole = one(backend, asked(thought="<think>"), answer + 1, thought + 1)
    assert (whole.text, whole.finish) == (WRITTEN, "stop")
    assert whole.new_tokens == thought + 1 + answer
    # The answer alone is cut by its own limit.
    short = one(backend, asked(thought="<think>"), 1, thought + 1)
    assert (short.finish, short.new_tokens) == ("length", thought + 2)


def test_a_budget_that_ends_first_leaves_the_thought_unfinished_and_nothing_is_forced(backend: Backend) -> None:
    found = one(backend, asked(thought="<think>"), 50, 5)
    assert (found.finish, found.new_tokens) == ("length", 5)
    assert found.text and "</think>" not in found.text and REPLY not in found.text


def test_a_thought_that_the_model_opens_itself_has_the_budget_too(backend: Backend) -> None:
    prompt = asked("<|user|>関係は？<|assistant|>", thought="free")
    assert one(backend, prompt, 6, 80).text == f"<think>\n{WRITTEN}"
    assert one(backend, prompt, 6).text != f"<think>\n{WRITTEN}"
    assert one(backend, prompt, 80, 5).finish == "length"


@pytest.mark.parametrize("budget", [None, 80])
def test_a_stop_string_does_not_cut_the_thought_and_ends_the_answer(backend: Backend, budget: int | None) -> None:
    opened = asked(thought="<think>", stop=("\n",))
    assert (one(backend, opened, 80, budget).text, one(backend, opened, 80, budget).finish) == (WRITTEN, "stop")
    assert one(backend, replace(opened, stop=("立",)), 80, budget).text == WRITTEN[:-1]
    by_itself = asked("<|user|>関係は？<|assistant|>", stop=("\n",))
    assert one(backend, by_itself, 80, budget).text == f"<think>\n{WRITTEN}"


def test_prompts_with_and_without_thoughts_keep_their_places(backend: Backend) -> None:
    plain = asked("<|user|>犬がいる", thought="")
    found = collect(generate(backend, [plain, asked(thought="<think>", stop=("\n",)), plain], 60, None, never))
    alone = text_of(collect(backend.generate([plain], 60, never))[0])
    assert [text_of(found[i]) for i in range(3)] == [alone, WRITTEN, alone]


def test_a_repetition_penalty_counts_the_thought_though_the_answer_is_written_apart(backend: Backend) -> None:
    """A stop string makes two generations of it; without one it is one, and the penalty has changed it."""
    together = text_of(collect(backend.generate([asked()], 80, never, 2.0))[0])
    assert "</think>" in together and together != WRITTEN
    apart = asked(thought="<think>", stop=("〓",))
    assert text_of(collect(generate(backend, [apart], 80, None, never, 2.0))[0]) == together
    assert text_of(collect(generate(backend, [apart], 80, None, never))[0]) == WRITTEN


# --- whole runs -------------------------------------------------------------------------------------------


def records(run: api.Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "records.jsonl").read_text("utf-8").splitlines()]


def test_a_run_reads_the_answer_behind_the_thought_and_ranks_after_a_closed_one(thinker: Path) -> None:
    how: dict[str, Any] = {"tasks": ["jnli"], "data": "sample", "format": "chat", "limit": 3, "method": "both"}
    run = api.evaluate(str(thinker), **how, max_thinking_tokens=80)
    task = run.report().tasks["jnli"]
    golds = [item.gold[0] for item in run.data().items["jnli"].values() if isinstance(item.gold, tuple)]
    assert task.metrics["accuracy"].value == pytest.approx(golds.count("neutral") / 3)
    assert task.unreadable == 0
    assert [n.kind for n in task.notices if n.kind == "thought_closed"] == ["thought_closed"]
    first = records(run)[0]["prompt"]
    assert first["thought"] == "<think>"
    assert first["text"].endswith("<|assistant|><think>\n")
    assert first["ranked_text"] == first["text"] + "\n</think>\n\n"
    manifest = json.loads((run.path / "manifest.json").read_text("utf-8"))
    assert manifest["thought"] == {"opened": "<think>", "ranked": "after the closed thought"}
    # As an earlier version stored it: ranked where the thought is open.
    old = replace(
        run.data(), records=[replace(r, prompt=replace(r.prompt, ranked_text="")) for r in run.data().records]
    )
    told = [n for n in report_run(old, "official").tasks["jnli"].notices if n.kind == "ranked_in_thought"]
    assert [dict(n.facts) for n in told] == [{"k": 3}]
    cut = api.evaluate(str(thinker), **how, max_thinking_tokens=5)
    assert cut.path != run.path
    report = cut.report().tasks["jnli"]
    assert (report.outcomes, report.unreadable, report.unreadable_lenient) == ({"unfinished_thought": 3}, 3, 3)
    facts = [dict(n.facts) for n in report.notices if n.kind == "unfinished_thoughts"]
    assert facts == [{"k": 3, "n": 3}]


def test_labels_are_scored_after_the_text_that_the_record_names(backend: Backend) -> None:
    closed = "<|user|>関係は？<|assistant|><think>\n\n</think>\n\n"
    prompt = asked(thought="<think>", ranked_text=closed)
    found = output(collect(backend.choose([ranked(prompt)], never))[0]).choice_logprobs
    by_hand = output(collect(backend.choose([asked(closed)], never))[0]).choice_logprobs
    inside = output(collect(backend.choose([asked()], never))[0]).choice_logprobs
    assert found == by_hand != inside


# --- templates --------------------------------------------------------------------------------------------

OFF = {"enable_thinking": False}


@pytest.mark.parametrize(
    ("template", "off", "on"),
    [
        ("{% if enable_thinking is defined and not enable_thinking %}a{% endif %}", OFF, {"enable_thinking": True}),
        (
            "{% if not thinking is defined %}{% set thinking = false %}{% endif %}{% if thinking %}a{% endif %}",
            OFF | {"thinking": False},
            {"thinking": True},
        ),
        (
            "{% if reasoning_effort == 'none' %}a{% endif %}",
            OFF | {"reasoning_effort": "none"},
            {"reasoning_effort": "high"},
        ),
        ("{{ reasoning_effort|default('medium') }}", OFF, {}),
        ("{% if thinking_budget == 0 %}a{% endif %}", OFF | {"thinking_budget": 0}, {}),
        ("{% if skip_reasoning %}a{% endif %}", OFF | {"skip_reasoning": True}, {"skip_reasoning": False}),
        (
            '{% if thinking_mode == "disabled" %}a{% endif %}',
            OFF | {"thinking_mode": "disabled"},
            {"thinking_mode": "enabled"},
        ),
        (
            "{% set mode = thinking_mode if thinking_mode is defined else 'auto' %}{% if mode == 'slow' %}a"
            "{% elif mode == 'fast' %}b{% endif %}",
            OFF | {"thinking_mode": "fast"},
            {"thinking_mode": "slow"},
        ),
        ("{% if thinking_mode %}a{% endif %}", OFF | {"thinking_mode": False}, {"thinking_mode": True}),
        ("{% if use_think %}a{% endif %}", OFF | {"use_think": False}, {"use_think": True}),
        (
            "{% if thinking_enabled is not defined or thinking_enabled %}a{% endif %}",
            OFF | {"thinking_enabled": False},
            {"thinking_enabled": True},
        ),
        ("{% if reasoning %}a{% endif %}", OFF | {"reasoning": False}, {"reasoning": True}),
        (
            "{% if reasoning is defined and reasoning == 'off' %}a{% endif %}",
            OFF | {"reasoning": "off"},
            {"reasoning": "on"},
        ),
        ("{% if reasoning in ['on', 'auto'] %}a{% endif %}", OFF | {"reasoning": "off"}, {"reasoning": "on"}),
        # Words for neither.
        ("{% if reasoning == 'detailed' %}a{% endif %}", OFF, {}),
        ("{% for m in messages %}{{ m.reasoning }}{% if m.use_think == 'on' %}a{% endif %}{% endfor %}", OFF, {}),
        # Words that only look like a switch.
        ("{% for m in messages %}{{ m.thinking }}{{ m['enable_thinking'] }} thinking{% endfor %}", OFF, {}),
        ("{% generation %}{{ messages }}{% endgeneration %}{% if broken", OFF, {}),
    ],
)
def test_a_template_is_given_the_switches_it_reads_and_no_others(
    template: str, off: dict[str, Any], on: dict[str, Any]
) -> None:
    assert template_arguments(template, "off") == off
    assert template_arguments(template, "on") == on
    assert template_arguments(template, "default") == {}


def test_thinking_on_changes_the_prompt_and_is_ranked_after_the_templates_own_form_without(
    thinker: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(thinker)
    tokenizer.chat_template = SWITCHED
    folder = tmp_path / "switched"
    folder.mkdir()
    for file in thinker.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    how: dict[str, Any] = {"tasks": ["jnli"], "data": "sample", "format": "chat", "limit": 2, "method": "both"}
    off = records(api.evaluate(str(folder), **how))[0]["prompt"]
    on_run = api.evaluate(str(folder), **how, thinking="on", max_thinking_tokens=80)
    on = records(on_run)[0]["prompt"]
    assert off["text"].endswith("<|assistant|><think>\n\n</think>\n\n")
    assert (off["thought"], off["ranked_text"]) == ("", "")
    assert on["text"].endswith("<|assistant|>")
    assert (on["thought"], on["ranked_text"]) == ("free", off["text"])
    # The model writes both marks; the strict reading is of what follows.
    assert on_run.report().tasks["jnli"].unreadable == 0
    manifest = json.loads((on_run.path / "manifest.json").read_text("utf-8"))
    assert manifest["thought"] == {"opened": "free", "ranked": "after the closed thought", "turned_on": True}
    assert "thinking_ignored" not in [notice.kind for notice in on_run.report().notices]
    plain = api.evaluate(str(folder), **{**how, "format": "plain"}, thinking="on")
    assert [notice.kind for notice in plain.report().notices] == ["thinking_ignored"]
    manifest = json.loads((plain.path / "manifest.json").read_text("utf-8"))
    assert manifest["thought"] == {"opened": "", "ranked": "after the prompt", "turned_on": False}
