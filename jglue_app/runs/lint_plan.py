"""The linter over the prompts of a plan."""

from __future__ import annotations

from jglue_app.prompts import lint
from jglue_app.prompts.findings import Finding
from jglue_app.prompts.formats import ModelFormatInfo
from jglue_app.runs.plan import Plan, build_prompts
from jglue_app.tasks import TASKS
from jglue_app.types import Tokenizer


def lint_plan(plan: Plan, tokenizer: Tokenizer, *, deliberate: bool = False) -> tuple[Finding, ...]:
    """What in the prompts of a plan would cost points or time.

    Args:
        plan: of a run; all its items are looked at.
        tokenizer: the model's.
        deliberate: whether the wording is that of a protocol, whose quirks are on purpose.
    """
    info, prompt, decoding = tokenizer.info, plan.spec.prompt, plan.spec.decoding
    if prompt.format == "chat" and not info.has_chat_template:
        return (lint.no_chat_template(tokenizer),)
    text = ModelFormatInfo(info.bos, info.eos, tokenizer.render_chat if info.has_chat_template else None)
    cases = [
        lint.Case(
            task=TASKS[name],
            items=items,
            prompts=build_prompts(plan, name, items, text),
            shots={item.id: item for item in plan.pools[name].items} if name in plan.pools else {},
            max_new_tokens=decoding.max_new_tokens or plan.style.of(name).max_new_tokens,
            format=prompt.format,
            deliberate=deliberate,
            thinking=prompt.thinking,
            max_thinking_tokens=decoding.max_thinking_tokens,
        )
        for name, items in plan.items.items()
    ]
    return lint.lint(cases, tokenizer)
