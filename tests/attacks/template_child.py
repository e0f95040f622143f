"""Renders chat templates and wording styles, one by one.

    python -m tests.attacks.template_child FILE…

A line of JSON for each: `through` is empty where it was refused in a sentence, or gave a text of moderate length.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jglue_app.backends.hf.tokenization.tokenizer import render_chat
from jglue_app.data import files
from jglue_app.errors import JglueAppError
from jglue_app.prompts.build import build_prompt
from jglue_app.prompts.formats import ModelFormatInfo
from jglue_app.prompts.styles import load_style
from jglue_app.settings import load_settings
from jglue_app.tasks import get_task
from jglue_app.types import PromptSpec

SECONDS, GROWTH, CHARACTERS = 30.0, 512 << 20, 2_000_000
TURNS = [
    {"role": "user", "content": "猫は動物ですか"},
    {"role": "assistant", "content": "はい"},
    {"role": "user", "content": "犬は"},
]


def main() -> None:
    """Render each."""
    for name in sys.argv[1:]:
        path = Path(name)
        render = functools.partial(_chat if path.suffix == ".jinja" else _style, path)
        print(json.dumps({"through": _through(render)}), flush=True)


def _through(render: Callable[[], str]) -> str:
    began, before = _processor_seconds(), _memory()
    try:
        text = render()
    except JglueAppError:
        text = ""
    except BaseException as e:
        return f"{type(e).__name__}: {e}"[:300]
    if os.environ["HF_TOKEN"] in text or "root:x:0" in text:
        return "it holds what only the machine has"
    if len(text) > CHARACTERS:
        return f"it has {len(text):,} characters"
    if (grown := _memory() - before) > GROWTH:
        return f"{grown >> 20} MiB of memory"
    used = _processor_seconds() - began
    return f"{used:.0f} s" if used > SECONDS else ""


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _processor_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _chat(path: Path) -> str:
    return render_chat(_tokenizer(path.read_text("utf-8")), "M", TURNS)


def _tokenizer(template: str) -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>")
    made.chat_template = template
    return made


def _style(path: Path) -> str:
    style = load_style(str(path))
    item = files.load(load_settings(), "jnli", data="sample").items[0]
    prompt = build_prompt(item, get_task("jnli"), style, PromptSpec(style.name), [], ModelFormatInfo())
    return "".join((prompt.text, *prompt.answers, *prompt.stop))


if __name__ == "__main__":
    main()
