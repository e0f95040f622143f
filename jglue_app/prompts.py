"""Wording style × prompt format × solved examples → Prompt. Pure.

A *style* (`styles.py`) says the words. A *format* says how the words are laid out for a model family: a small
function in `FORMATS`. Neither knows of the other.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from jglue_app import thought as thoughts
from jglue_app.errors import InputError, ModelError, UnknownNameError
from jglue_app.styles import Style, TaskStyle
from jglue_app.types import Item, Prompt, PromptSpec, Task

SHOT_SELECTIONS = ("fixed", "random", "balanced")

Messages = tuple[Mapping[str, str], ...]
ChatRenderer = Callable[..., str]
"""(turns, what the template is told about thinking) → text; the second may be left out where it is `off`."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A prompt before it is laid out."""

    system: str
    instruction: str
    turns: tuple[tuple[str, str], ...]
    """Solved examples as (question, answer)."""
    question: str
    cue: str
    stop: tuple[str, ...]
    thinking: str = "off"


@dataclass(frozen=True, slots=True)
class ModelText:
    """What a format needs to know of the model: the texts of its BOS and EOS tokens and its chat template."""

    bos: str = ""
    eos: str = ""
    render_chat: ChatRenderer | None = None


@dataclass(frozen=True, slots=True)
class Laid:
    """A laid-out prompt: the text, its chat turns if any, stop strings, and the text between prompt and answer."""

    text: str
    stop: tuple[str, ...]
    messages: Messages | None = None
    lead: str = ""
    thought: str = ""
    """What the end of the text opens; see `types.Prompt.thought`."""
    ranked_text: str = ""
    """The text that answers are ranked after, where it is another."""


# --- formats --------------------------------------------------------------------------------------------


def plain(parts: Parts, model: ModelText) -> Laid:
    """One text, examples separated by blank lines, the answer follows the cue."""
    blocks = [f"{question}\n{parts.cue}{answer}" for question, answer in parts.turns]
    blocks.append(f"{parts.question}\n{parts.cue}")
    return Laid("\n\n".join([*_opening(parts), *blocks]), parts.stop)


def chat(parts: Parts, model: ModelText) -> Laid:
    """The tokenizer's own chat template; examples become turns."""
    if model.render_chat is None:
        raise ModelError(
            "This model's tokenizer has no chat template. Choose another prompt format, such as plain or alpaca."
        )
    messages: list[Mapping[str, str]] = []
    if parts.system:
        messages.append({"role": "system", "content": parts.system})
    for user, assistant in _turns(parts):
        messages.append({"role": "user", "content": user})
        if assistant is not None:
            messages.append({"role": "assistant", "content": assistant})
    return _thinking(messages, parts.thinking, model.render_chat)


def _thinking(messages: Sequence[Mapping[str, str]], thinking: str, render: ChatRenderer) -> Laid:
    """The conversation as a chat template renders it, with what it opens, and with every thought closed.

    Answers are ranked after the form that the template has without thinking; where that opens a thought too, its mark
    is closed as the templates of its family do it.
    """
    asked = messages[-1]["content"]
    off = render(messages)
    text = off if thinking == "off" else render(messages, thinking)
    mark = thoughts.left_open(text, asked) or thoughts.opened_otherwise(text, off, asked)
    # Where the template does not show the model a thought that has ended, it is free to write one.
    free = not mark and not thoughts.is_shown(text, asked)
    ranked = off
    if left := thoughts.left_open(off, asked) or thoughts.opened_otherwise(off, off, asked):
        ranked = thoughts.closed(off, left)
    return Laid(
        text,
        (),
        tuple(messages),
        thought=mark or (thoughts.FREE if free else ""),
        ranked_text="" if ranked == text else ranked,
    )


def rinna(parts: Parts, model: ModelText) -> Laid:
    """The turns of rinna's Japanese instruction models: `ユーザー: … <NL>システム: …`, line ends written `<NL>`."""
    return Laid(_speakers(parts).replace("\n", "<NL>"), tuple(dict.fromkeys((*parts.stop, "<NL>"))))


def rinna_bilingual(parts: Parts, model: ModelText) -> Laid:
    """The turns of rinna's bilingual 4B models, whose tokenizer knows line ends: `ユーザー: …`, a line for each."""
    return Laid(_speakers(parts), tuple(dict.fromkeys((*parts.stop, "ユーザー:"))))


def _speakers(parts: Parts) -> str:
    lines = [parts.system] if parts.system else []
    for user, assistant in _turns(parts):
        lines += [f"ユーザー: {user}", f"システム: {assistant or ''}"]
    return "\n".join(lines)


def alpaca(parts: Parts, model: ModelText) -> Laid:
    """Headed sections `### 指示`, `### 入力`, `### 応答`; the instruction stands once."""
    blocks = [*([parts.system] if parts.system else []), f"### 指示:\n{parts.instruction}"]
    blocks += [f"### 入力:\n{question}\n\n### 応答:\n{answer}" for question, answer in parts.turns]
    blocks.append(f"### 入力:\n{parts.question}\n\n### 応答:\n")
    return Laid("\n\n".join(blocks), tuple(dict.fromkeys((*parts.stop, "###"))))


def llama2(parts: Parts, model: ModelText) -> Laid:
    """The turns of Llama 2 chat: `[INST] … [/INST] answer`, each closed by EOS and opened by BOS.

    The first BOS is the tokenizer's; the answer follows a space, which belongs to the answer's first token.
    """
    turns = list(_turns(parts))
    if parts.system:
        user, assistant = turns[0]
        turns[0] = (f"<<SYS>>\n{parts.system}\n<</SYS>>\n\n{user}", assistant)
    text = ""
    for user, assistant in turns:
        text += f"[INST] {user} [/INST]"
        if assistant is not None:
            text += f" {assistant} {model.eos}{model.bos}"
    return Laid(text, tuple(dict.fromkeys((*parts.stop, "[INST]"))), lead=" ")


FORMATS: dict[str, Callable[[Parts, ModelText], Laid]] = {
    "plain": plain,
    "chat": chat,
    "rinna": rinna,
    "rinna_bilingual": rinna_bilingual,
    "alpaca": alpaca,
    "llama2": llama2,
}


def _opening(parts: Parts) -> list[str]:
    return [text for text in (parts.system, parts.instruction) if text]


def _turns(parts: Parts) -> list[tuple[str, str | None]]:
    turns: list[tuple[str, str | None]] = [*parts.turns, (parts.question, None)]
    first, answer = turns[0]
    turns[0] = (f"{parts.instruction}\n\n{first}", answer)
    return turns


# --- examples -------------------------------------------------------------------------------------------


def pick_shots(item: Item, pool: Sequence[Item], spec: PromptSpec, task: Task) -> tuple[Item, ...]:
    """Choose `spec.shots` solved examples from a pool that holds no item under evaluation.

    `fixed`: drawn once by the seed, the same for every item. `balanced`: the same, labels as even as possible
    (JSTS: by rounded similarity; JSQuAD: by title). `random`: drawn anew for each item, by seed and item id.

    Raises:
        InputError: the pool is smaller than the number of examples asked for.
        UnknownNameError: no such selection.
    """
    if spec.shot_selection not in SHOT_SELECTIONS:
        raise UnknownNameError("few-shot selection", spec.shot_selection, SHOT_SELECTIONS)
    if spec.shots < 0:
        raise InputError("The number of few-shot examples must be 0 or more.")
    if spec.shots > len(pool):
        raise InputError(
            f"{task.title}: {spec.shots} examples were asked for and {len(pool)} are at hand. "
            "Ask for fewer, or fetch the official train file with `python -m jglue_app data fetch --split train`."
        )
    salt = item.id if spec.shot_selection == "random" else ""
    rng = random.Random(f"shots-{task.name}-{spec.shot_seed}-{salt}")
    if spec.shot_selection != "balanced":
        return tuple(rng.sample(pool, spec.shots))
    strata: dict[str, list[Item]] = {}
    for candidate in pool:
        strata.setdefault(task.stratum(candidate), []).append(candidate)
    order = sorted(strata)
    rng.shuffle(order)
    for members in strata.values():
        rng.shuffle(members)
    picked: list[Item] = []
    while len(picked) < spec.shots:
        picked += [strata[key].pop() for key in order if strata[key]]
    del picked[spec.shots :]
    rng.shuffle(picked)
    return tuple(picked)


# --- all together ---------------------------------------------------------------------------------------


def answer_text(item: Item, style: TaskStyle) -> str:
    """The gold answer of an item as the style would have it written; JSTS with one decimal."""
    if isinstance(item.gold, float):
        return f"{item.gold:.1f}"
    if style.answers:
        return style.answers[item.gold[0]].substitute(item.fields)
    return item.gold[0]


def build_prompt(
    item: Item, task: Task, style: Style, spec: PromptSpec, shots: Sequence[Item], model: ModelText
) -> Prompt:
    """The prompt of one item, after the solved examples `shots`.

    Raises:
        UnknownNameError: no such format.
        StyleError: the style has no words for the subset.
        ModelError: the format needs a chat template that the model lacks.
    """
    if spec.format not in FORMATS:
        raise UnknownNameError("format", spec.format, FORMATS)
    words = style.of(task.name)
    parts = Parts(
        system=spec.system,
        instruction=words.instruction,
        turns=tuple((words.question.substitute(s.fields), answer_text(s, words) + words.close) for s in shots),
        question=words.question.substitute(item.fields),
        cue=words.cue,
        stop=words.stop,
        thinking=spec.thinking,
    )
    laid = FORMATS[spec.format](parts, model)
    if laid.messages is None and (mark := thoughts.left_open(laid.text, parts.question)):
        laid = replace(laid, thought=mark, ranked_text=thoughts.closed(laid.text, mark))
    return Prompt(
        task=task.name,
        item_id=item.id,
        text=laid.text,
        messages=laid.messages,
        stop=laid.stop,
        answers=tuple(words.answers[label].substitute(item.fields) for label in item.choices),
        lead=laid.lead,
        shot_ids=tuple(shot.id for shot in shots),
        sha256=hashlib.sha256(laid.text.encode("utf-8", "surrogatepass")).hexdigest(),
        thought=laid.thought,
        ranked_text=laid.ranked_text,
    )
