"""The linter over the prompts of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from jglue_app.prompts import lint
from jglue_app.prompts.findings import Finding
from jglue_app.prompts.formats import ModelFormatInfo
from jglue_app.runs.plan import Plan, build_prompts
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Prompt, Tokenizer


def lint_plan(plan: Plan, tokenizer: Tokenizer, *, deliberate: bool = False) -> tuple[Finding, ...]:
    """What in the prompts of a plan would cost points or time.

    Args:
        plan: of a run; all its items are looked at.
        tokenizer: the model's.
        deliberate: whether the wording is that of a protocol, whose quirks are on purpose.
    """
    info = tokenizer.info
    if plan.spec.prompt.format == "chat" and not info.has_chat_template:
        return (lint.no_chat_template(tokenizer),)
    text = ModelFormatInfo(info.bos, info.eos, tokenizer.render_chat if info.has_chat_template else None)
    cases = [
        lint_case(plan, name, items, build_prompts(plan, name, items, text), deliberate=deliberate)
        for name, items in plan.items.items()
    ]
    return lint.lint(cases, tokenizer)


def lint_case(
    plan: Plan, task: str, items: Sequence[Item], prompts: Sequence[Prompt], *, deliberate: bool = False
) -> lint.Case:
    """Items of one subset with their prompts, as the linter takes them."""
    prompt, decoding = plan.spec.prompt, plan.spec.decoding
    return lint.Case(
        task=TASKS[task],
        items=items,
        prompts=prompts,
        shots={item.id: item for item in plan.pools[task].items} if task in plan.pools else {},
        max_new_tokens=decoding.max_new_tokens or plan.style.of(task).max_new_tokens,
        format=prompt.format,
        deliberate=deliberate,
        thinking=prompt.thinking,
        max_thinking_tokens=decoding.max_thinking_tokens,
    )
