"""Wording style × prompt format × solved examples → Prompt. Pure, but for reading the style file.

A *style* says the words: a TOML file under `assets/prompts/`, or a user's own. A *format* says how the words are
laid out for a model family: a small function in `FORMATS`. Neither knows of the other.
"""

from __future__ import annotations

import hashlib
import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from jglue_app.errors import InputError, ModelError, StyleError, UnknownNameError
from jglue_app.settings import ASSETS
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Prompt, PromptSpec, Task

STYLE_DIR = ASSETS / "prompts"
MAX_STYLE_BYTES = 200_000
SHOT_SELECTIONS = ("fixed", "random", "balanced")

Messages = tuple[Mapping[str, str], ...]
ChatRenderer = Callable[[Sequence[Mapping[str, str]]], str]


@dataclass(frozen=True, slots=True)
class TaskStyle:
    """The words of one subset in one style."""

    instruction: str
    """What to do, said once before everything else."""
    question: Template
    """Layout of one item; names the item's fields as `$sentence1`."""
    cue: str
    """What stands before the answer in formats without turns, e.g. `答え：`."""
    answers: Mapping[str, Template]
    """Canonical label → how it is to be answered; empty for open answers."""
    stop: tuple[str, ...]
    """Strings that end an answer."""
    max_new_tokens: int
    """Tokens an answer may take."""


@dataclass(frozen=True, slots=True)
class Style:
    """A wording style."""

    name: str
    title: str
    note: str
    """For learners, in Japanese."""
    tasks: Mapping[str, TaskStyle]
    sha256: str
    """Checksum of the file."""

    def of(self, task: str) -> TaskStyle:
        """The words for one subset.

        Raises:
            StyleError: the style has none.
        """
        if task not in self.tasks:
            raise StyleError(f"The style {self.name!r} has no section [{task}]. Add one, or leave the subset out.")
        return self.tasks[task]


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


# --- styles ---------------------------------------------------------------------------------------------


def style_names() -> list[str]:
    """Names of the styles that come with the application."""
    return sorted(path.stem for path in STYLE_DIR.glob("*.toml"))


def load_style(name: str, *, allow_paths: bool = True) -> Style:
    """Read a style by name, or by the path of a TOML file.

    Raises:
        UnknownNameError: no such style.
        StyleError: the file cannot be used; the message names the section and key.
    """
    path = STYLE_DIR / f"{name}.toml"
    if name not in style_names():
        path = Path(name)
        if not (allow_paths and name.endswith(".toml")):
            raise UnknownNameError("style", name, style_names(), "Or give the path of your own .toml file.")
        if not path.is_file():
            raise StyleError(f"There is no style file {name}. Known styles: {', '.join(style_names())}.")
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_STYLE_BYTES:
            raise StyleError(f"{path}: larger than {MAX_STYLE_BYTES:,} bytes; a style is a page of text.")
        table = tomllib.loads(raw.decode("utf-8"))
    except OSError as e:
        raise StyleError(f"{path}: cannot be read ({e.strerror}). Give the path of a readable file.") from e
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise StyleError(f"{path}: not a TOML file in UTF-8 ({e}).") from e
    return Style(
        name=path.stem,
        title=_text(table, "title", path, "top level"),
        note=_text(table, "note", path, "top level"),
        tasks={name: _task_style(task, table[name], path) for name, task in TASKS.items() if name in table},
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def _task_style(task: Task, table: Any, path: Path) -> TaskStyle:
    where = f"[{task.name}]"
    if not isinstance(table, dict):
        raise StyleError(f"{path}: {where} must be a table.")
    stop = table.get("stop", [])
    if not isinstance(stop, list) or not all(isinstance(s, str) and s for s in stop):
        raise StyleError(f"{path}: {where} stop must be a list of non-empty texts.")
    tokens = table.get("max_new_tokens")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= 4096:
        raise StyleError(f"{path}: {where} max_new_tokens must be a whole number from 1 to 4096.")
    given = table.get("answers", {})
    if not isinstance(given, dict) or set(given) != set(task.labels):
        raise StyleError(f"{path}: [{task.name}.answers] must name exactly {', '.join(task.labels) or 'nothing'}.")
    answers = {label: _template(given, label, task, path, f"[{task.name}.answers]") for label in task.labels}
    if len({t.template for t in answers.values()}) != len(answers):
        raise StyleError(f"{path}: [{task.name}.answers] uses one text for two labels.")
    cue = table.get("cue", "")
    if not isinstance(cue, str):
        raise StyleError(f"{path}: {where} cue must be text.")
    return TaskStyle(
        instruction=_text(table, "instruction", path, where),
        question=_template(table, "question", task, path, where),
        cue=cue,
        answers=answers,
        stop=tuple(stop),
        max_new_tokens=tokens,
    )


def _text(table: Mapping[str, Any], key: str, path: Path, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise StyleError(f"{path}: {where} needs a text {key!r}.")
    return value.strip("\n")


def _template(table: Mapping[str, Any], key: str, task: Task, path: Path, where: str) -> Template:
    template = Template(_text(table, key, path, where))
    if not template.is_valid():
        raise StyleError(f"{path}: {where} {key!r} has a stray $; write $$ for a dollar sign.")
    unknown = set(template.get_identifiers()) - set(task.fields)
    if unknown:
        raise StyleError(
            f"{path}: {where} {key!r} names ${', $'.join(sorted(unknown))}; {task.title} has "
            f"${', $'.join(task.fields)}."
        )
    return template


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
    return Laid(model.render_chat(messages), (), tuple(messages))


def rinna(parts: Parts, model: ModelText) -> Laid:
    """The turns of rinna's instruction models: `ユーザー: … <NL>システム: …`, line ends written `<NL>`."""
    lines = [parts.system] if parts.system else []
    for user, assistant in _turns(parts):
        lines += [f"ユーザー: {user}", f"システム: {assistant or ''}"]
    return Laid("\n".join(lines).replace("\n", "<NL>"), tuple(dict.fromkeys((*parts.stop, "<NL>"))))


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
        turns=tuple((words.question.substitute(s.fields), answer_text(s, words)) for s in shots),
        question=words.question.substitute(item.fields),
        cue=words.cue,
        stop=words.stop,
    )
    laid = FORMATS[spec.format](parts, model)
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
    )
