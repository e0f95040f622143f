"""What has to be known before a subset is answered: settings that do nothing, thoughts without tokens of their own."""

from __future__ import annotations

from collections.abc import Iterator

from jglue_app.messages import Message
from jglue_app.prompts.thoughts import FREE, is_ignored, is_open, may_follow
from jglue_app.types import Prompt, RunSpec, Task


def notes_on_thinking(spec: RunSpec, task: Task, prompt: Prompt) -> Iterator[Message]:
    """Notes on thoughts, by the first prompt of a subset."""
    thinking, budget, writes = spec.prompt.thinking, spec.decoding.max_thinking_tokens, spec.decoding.method != "choose"
    ignored = thinking == "on" and is_ignored(prompt)
    if ignored:
        yield Message(
            "Thinking was asked for, and nothing in the prompt turns it on: the model answers as it does without. "
            "Choose the format chat, and a model whose template has a switch for thinking."
        )
    if is_open(prompt.thought) and thinking == "off":
        yield Message(
            "The prompt opens a thought ({mark}) although thinking is off: what follows it is the answer.",
            mark=prompt.thought,
        )
    expected = may_follow(prompt, thinking)
    if expected and writes and not budget and (thinking == "on" or prompt.thought != FREE):
        yield Message(
            "A thought has no tokens of its own: it takes them from the answer's. Set “Thinking limit (tokens)” "
            "(--max-thinking-tokens)."
        )
    elif budget and not writes and not ignored:
        yield Message(
            "“Thinking limit (tokens)” (--max-thinking-tokens) has no effect here: answers are only ranked, and no "
            "text is written."
        )
    elif budget and not expected and not ignored:
        yield Message(
            "“Thinking limit (tokens)” (--max-thinking-tokens) has no effect here: nothing in the prompt opens a "
            "thought. Only a thought that the model opens by itself would be limited."
        )
    if prompt.ranked_text and task.kind == "choice" and spec.decoding.method != "generate":
        yield Message(
            "The thought is closed before answers are ranked: each record holds the text they are ranked after."
        )


def notes_on_repetition_penalty(spec: RunSpec, task: str) -> Iterator[Message]:
    """Notes on a repetition penalty that has no effect."""
    if spec.decoding.for_task(task).repetition_penalty == 1:
        return
    if spec.decoding.method == "choose":
        yield Message(
            "“Repetition penalty” (--repetition-penalty) has no effect here: answers are only ranked, and no text is "
            "written."
        )
    elif spec.model.backend == "scripted":
        yield Message(
            "“Repetition penalty” (--repetition-penalty) has no effect here: a table of answers gives them as they "
            "stand in it."
        )
