"""Prompt formats: how the parts of a prompt are rendered for a family of models. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jglue_app.errors import ModelError
from jglue_app.prompts import thoughts
from jglue_app.types import ModelInfo

Messages = tuple[Mapping[str, str], ...]
ChatRenderer = Callable[..., str]
"""(turns, the thinking setting passed to the template) → text; the second may be left out where it is `off`."""


@dataclass(frozen=True, slots=True)
class PromptParts:
    """The parts of a prompt before rendering."""

    system: str
    instruction: str
    turns: tuple[tuple[str, str], ...]
    """Solved examples as (question, answer)."""
    question: str
    cue: str
    stop: tuple[str, ...]
    thinking: str = "off"


@dataclass(frozen=True, slots=True)
class ModelFormatInfo:
    """What a format needs to know of the model: the texts of its BOS and EOS tokens and its chat template."""

    bos: str = ""
    eos: str = ""
    render_chat: ChatRenderer | None = None
    remote_chat: bool = False
    """Whether a server renders the turns itself, so that `render_chat` gives a transcript for people."""


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A rendered prompt: the text, its chat turns if any, stop strings, and the text between prompt and answer."""

    text: str
    stop: tuple[str, ...]
    messages: Messages | None = None
    lead: str = ""
    thought: str = ""
    """What the end of the text opens; see `types.Prompt.thought`."""
    ranked_text: str = ""
    """The text that answers are ranked after, where it is another."""
    thinking: str = ""
    """See `types.Prompt.thinking`."""


def format_info(info: ModelInfo, render_chat: ChatRenderer) -> ModelFormatInfo:
    """What formats need to know of a loaded model."""
    return ModelFormatInfo(
        info.bos,
        info.eos,
        render_chat if info.has_chat_template else None,
        remote_chat=info.has_chat_template and not info.continues_text,
    )


def plain(parts: PromptParts, model: ModelFormatInfo) -> RenderedPrompt:
    """One text, examples separated by blank lines, the answer follows the cue."""
    blocks = [f"{question}\n{parts.cue}{answer}" for question, answer in parts.turns]
    blocks.append(f"{parts.question}\n{parts.cue}")
    return RenderedPrompt("\n\n".join([*_instruction_blocks(parts), *blocks]), parts.stop)


def chat(parts: PromptParts, model: ModelFormatInfo) -> RenderedPrompt:
    """The tokenizer's own chat template; examples become turns."""
    if model.render_chat is None:
        raise ModelError(
            "This model's tokenizer has no chat template. Choose another prompt format, such as plain or alpaca."
        )
    messages: list[Mapping[str, str]] = []
    if parts.system:
        messages.append({"role": "system", "content": parts.system})
    for user, assistant in _chat_turns(parts):
        messages.append({"role": "user", "content": user})
        if assistant is not None:
            messages.append({"role": "assistant", "content": assistant})
    if model.remote_chat:
        text = model.render_chat(messages)
        return RenderedPrompt(text, (), tuple(messages), thought=thoughts.FREE, thinking=parts.thinking)
    return _thinking(messages, parts.thinking, model.render_chat)


def _thinking(messages: Sequence[Mapping[str, str]], thinking: str, render: ChatRenderer) -> RenderedPrompt:
    """The conversation as a chat template renders it, with what it opens, and with every thought closed.

    Answers are ranked after the form that the template has without thinking; where that opens a thought too, its mark
    is closed as the templates of its family do it.
    """
    question = messages[-1]["content"]
    off = render(messages)
    text = off if thinking == "off" else render(messages, thinking)
    mark = thoughts.left_open(text, question) or thoughts.opened_otherwise(text, off, question)
    # Where the template does not show the model a thought that has ended, it is free to write one.
    free = not mark and not thoughts.has_thought_mark(text, question)
    ranked = off
    if left := thoughts.left_open(off, question) or thoughts.opened_otherwise(off, off, question):
        ranked = thoughts.closed(off, left)
    return RenderedPrompt(
        text,
        (),
        tuple(messages),
        thought=mark or (thoughts.FREE if free else ""),
        ranked_text="" if ranked == text else ranked,
    )


def rinna(parts: PromptParts, model: ModelFormatInfo) -> RenderedPrompt:
    """The turns of rinna's Japanese instruction models: `ユーザー: … <NL>システム: …`, line ends written `<NL>`."""
    return RenderedPrompt(_speakers(parts).replace("\n", "<NL>"), tuple(dict.fromkeys((*parts.stop, "<NL>"))))


def rinna_bilingual(parts: PromptParts, model: ModelFormatInfo) -> RenderedPrompt:
    """The turns of rinna's bilingual 4B models, whose tokenizer knows line ends: `ユーザー: …`, a line for each."""
    return RenderedPrompt(_speakers(parts), tuple(dict.fromkeys((*parts.stop, "ユーザー:"))))


def _speakers(parts: PromptParts) -> str:
    lines = [parts.system] if parts.system else []
    for user, assistant in _chat_turns(parts):
        lines += [f"ユーザー: {user}", f"システム: {assistant or ''}"]
    return "\n".join(lines)


def alpaca(parts: PromptParts, model: ModelFormatInfo) -> RenderedPrompt:
    """Headed sections `### 指示`, `### 入力`, `### 応答`; the instruction stands once."""
    blocks = [*([parts.system] if parts.system else []), f"### 指示:\n{parts.instruction}"]
    blocks += [f"### 入力:\n{question}\n\n### 応答:\n{answer}" for question, answer in parts.turns]
    blocks.append(f"### 入力:\n{parts.question}\n\n### 応答:\n")
    return RenderedPrompt("\n\n".join(blocks), tuple(dict.fromkeys((*parts.stop, "###"))))


def llama2(parts: PromptParts, model: ModelFormatInfo) -> RenderedPrompt:
    """The turns of Llama 2 chat: `[INST] … [/INST] answer`, each closed by EOS and opened by BOS.

    The first BOS is the tokenizer's; the answer follows a space, which belongs to the answer's first token.
    """
    turns = list(_chat_turns(parts))
    if parts.system:
        user, assistant = turns[0]
        turns[0] = (f"<<SYS>>\n{parts.system}\n<</SYS>>\n\n{user}", assistant)
    text = ""
    for user, assistant in turns:
        text += f"[INST] {user} [/INST]"
        if assistant is not None:
            text += f" {assistant} {model.eos}{model.bos}"
    return RenderedPrompt(text, tuple(dict.fromkeys((*parts.stop, "[INST]"))), lead=" ")


FORMATS: dict[str, Callable[[PromptParts, ModelFormatInfo], RenderedPrompt]] = {
    "plain": plain,
    "chat": chat,
    "rinna": rinna,
    "rinna_bilingual": rinna_bilingual,
    "alpaca": alpaca,
    "llama2": llama2,
}


def _instruction_blocks(parts: PromptParts) -> list[str]:
    return [text for text in (parts.system, parts.instruction) if text]


def _chat_turns(parts: PromptParts) -> list[tuple[str, str | None]]:
    turns: list[tuple[str, str | None]] = [*parts.turns, (parts.question, None)]
    first, answer = turns[0]
    turns[0] = (f"{parts.instruction}\n\n{first}", answer)
    return turns
