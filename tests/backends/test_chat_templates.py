"""Chat templates: programs of strangers, which run under limits and give what transformers gives."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jglue_app.backends.hf.tokenization import chat_template
from jglue_app.backends.hf.tokenization.chat_template import render_template
from jglue_app.backends.hf.tokenization.template_worker import template_arguments
from jglue_app.backends.hf.tokenization.thought_tokens import decoder
from jglue_app.backends.hf.tokenization.tokenizer import render_chat
from jglue_app.errors import ModelError

TURNS = [
    {"role": "system", "content": "短く答えてください。"},
    {"role": "user", "content": '「猫」は動物ですか?\n<b>"\\ud83d"</b> 🐈'},
    {"role": "assistant", "content": "はい"},
    {"role": "user", "content": "\ud800"},
]
CHATML = (
    "{%- for message in messages %}\n    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + "
    "'<|im_end|>\\n' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n"
    "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
    "        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}"
)
LLAMA = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start|>' + "
    "message['role'] + '<|end|>\\n\\n' + message['content'] | trim + eos_token %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
)
NAMESPACED = (
    "{% set ns = namespace(system='') %}{% for m in messages if m.role == 'system' %}{% set ns.system = m.content %}"
    "{% endfor %}{{ ns.system | tojson(indent=2) }}{% for m in messages %}{% if m.role == 'system' %}{% continue %}"
    "{% endif %}{% generation %}{{ m }}{% endgeneration %}{{ tools }}{{ documents }}"
    "{% endfor %}{{ dict(a=1) }}{{ messages[::-1][0]['content'] | upper }}"
)
ENDLESS = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
GROWING = "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"


def tokenizer(template: Any) -> Any:
    """One with this template."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>")
    made.chat_template = template
    return made


@pytest.mark.parametrize(
    "template",
    [CHATML, LLAMA, NAMESPACED, {"default": LLAMA, "tool_use": CHATML}, "", "{{ bos_token }}", " {# a #}\n a\n"],
)
@pytest.mark.parametrize("thinking", ["on", "off"])
def test_a_conversation_is_written_as_transformers_writes_it(template: Any, thinking: str) -> None:
    of_model = tokenizer(template)
    arguments = template_arguments(of_model.get_chat_template(), thinking)

    expected = of_model.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True, **arguments)

    assert render_template(of_model, "M", TURNS, thinking=thinking, generation=True) == expected
    assert render_template(of_model, "M", TURNS[:1]) == of_model.apply_chat_template(TURNS[:1], tokenize=False)


def test_a_template_that_writes_the_date_writes_the_same_on_every_day() -> None:
    macro = "{% macro today() %}{{ strftime_now('%d %b %Y') }}{% endmacro %}"
    template = macro + "{% if strftime_now is defined %}{{ strftime_now('%Y-%m-%d') }} {{ today() }}{% endif %}"
    assert render_template(tokenizer(template), "M", TURNS[:1]) == "2024-07-26 26 Jul 2024"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ 'a' * 10**10 }}", "takes more than 256 MiB of memory"),
        ("{{ 'a'.center(10**10) }}", "takes more than 256 MiB of memory"),
        ("{{ '%1000000000d' % 1 }}", "takes more than 256 MiB of memory"),
        ("{{ [1] | batch(10**9, 'x') | list }}", "takes more than 256 MiB of memory"),
        (GROWING, "takes more than 256 MiB of memory"),
        ("{{ 'a' * 2000000 }}", "makes more than 1,000,"),
        ("a" * 1_000_001, "has 1,000,001 characters"),
        ("{{ range(10**9) }}", "refused this conversation"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "refused this conversation"),
        ("{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}", "refused this conversation"),
        ({"tool_use": CHATML}, "refused this conversation"),
    ],
)
def test_a_template_that_grows_is_refused_in_a_sentence(template: Any, sentence: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(ModelError, match=sentence):
        render_chat(tokenizer(template), "M", TURNS[:1])

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 32 * 1024
    assert render_chat(tokenizer(CHATML), "M", TURNS[1:2]).endswith("</think>\n\n")


@pytest.mark.slow
@pytest.mark.parametrize("template", [ENDLESS, "{{ 9 ** (9**9) }}", "{{ lipsum(n=100000, max=1000) }}"])
def test_a_template_without_an_end_is_stopped(template: str) -> None:
    before = cpu_of_children()

    with pytest.raises(ModelError, match="takes too long over one conversation"):
        render_chat(tokenizer(template), "M", TURNS[:1])

    assert cpu_of_children() - before < 6
    assert render_chat(tokenizer(CHATML), "M", TURNS[1:2]).endswith("</think>\n\n")


def cpu_of_children() -> float:
    """Seconds of processor time of children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_forked_process_has_a_renderer_of_its_own() -> None:
    of_model, turns = tokenizer("{{ messages[0].content }}"), [{"role": "user", "content": "前"}]
    assert render_template(of_model, "M", turns) == "前"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, render_template(of_model, "M", turn("子")).encode())
        finally:
            os._exit(0)
    os.close(writer)
    texts = {render_template(of_model, "M", turn(f"親{k}")) for k in range(50)}
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read().decode() == "子"
    os.waitpid(child, 0)
    assert texts == {f"親{k}" for k in range(50)}


def test_a_renderer_that_was_killed_from_outside_is_replaced() -> None:
    of_model = tokenizer("{{ messages[0].content }}")
    assert render_template(of_model, "M", turn("前")) == "前"
    worker = chat_template._renderer._process
    assert worker is not None

    # Stopped, it takes the request and gives no answer; then it is killed, as by a system without memory.
    os.kill(worker._process.pid, signal.SIGSTOP)
    killing = threading.Timer(0.5, worker.kill)
    killing.start()

    assert render_template(of_model, "M", turn("後")) == "後"
    killing.join()


def turn(text: str) -> list[Mapping[str, str]]:
    """A conversation of one turn."""
    return [{"role": "user", "content": text}]


def test_a_prompt_costs_little() -> None:
    of_model = tokenizer(CHATML + "{# " + "x" * 8_000 + " #}")
    render_chat(of_model, "M", TURNS[1:2])
    started = time.process_time()
    for _ in range(300):
        render_chat(of_model, "M", TURNS[1:2])
    assert (time.process_time() - started) / 300 < 0.002


def test_what_marks_thoughts_is_not_guessed_where_the_machine_could_not_render(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the mark that the template opens, thoughts would be read as answers; and it would be remembered."""
    of_model = tokenizer("{{ messages[0].content }}{% if add_generation_prompt %}<think>{% endif %}")
    of_model.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids = of_model.convert_tokens_to_ids(["<think>"])
    with monkeypatch.context() as patched:
        patched.setattr(chat_template, "_WORKER", Path("/nowhere/worker.py"))
        chat_template._renderer._close()
        with pytest.raises(ModelError, match="ended without a result"):
            decoder(of_model)(ids)
    assert decoder(of_model)(ids) == "<think>"
    growing = tokenizer("{{ 'a' * 10**10 }}")
    assert decoder(growing)(growing.convert_tokens_to_ids(["<s>"])) == ""
