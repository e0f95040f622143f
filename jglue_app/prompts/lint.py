"""What in a prompt will cost points or time, told before a model is run. No I/O: looks at prompts and token ids.

A new rule is a function `(Case, Tokenizer) → Findings` and a line in `RULES`.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jglue_app.messages import Joined, Message, mark
from jglue_app.prompts.findings import Finding
from jglue_app.prompts.thoughts import FRAME, FREE, closings, is_ignored, is_open, may_follow
from jglue_app.types import Item, Prompt, Task, Tokenizer

LEVELS = ("error", "warning", "info")
TOKENS_PER_CHARACTER = 1.5
"""More than this on ordinary Japanese text means that the tokenizer falls back to bytes."""
SIMILARITIES = tuple(f"{n / 10:.1f}" for n in range(51))

Findings = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Case:
    """The prompts of one subset, as a run would make them."""

    task: Task
    items: Sequence[Item]
    prompts: Sequence[Prompt]
    """One for each item."""
    shots: Mapping[str, Item]
    """Example id → item, for the examples that the prompts show."""
    max_new_tokens: int
    format: str
    deliberate: bool = False
    """Whether the wording is that of a protocol, whose quirks are on purpose."""
    thinking: str = "off"
    """What is passed to the chat template; see `types.PromptSpec.thinking`."""
    max_thinking_tokens: int | None = None


def lint(cases: Sequence[Case], tokenizer: Tokenizer) -> tuple[Finding, ...]:
    """Every finding, errors first; what holds for several subsets in the same words is reported once."""
    findings = [
        finding for case in cases if case.prompts for rule in RULES.values() for finding in rule(case, tokenizer)
    ]
    alone = [f for f in findings if f.task]
    general = {(f.rule, f.message): f for f in findings if not f.task}
    return tuple(sorted([*general.values(), *alone], key=lambda f: LEVELS.index(f.level)))


def no_chat_template(tokenizer: Tokenizer) -> Finding:
    """What is reported in place of everything else when the format needs a template that is not there."""
    return Finding(
        "no_chat_template",
        "error",
        "",
        Message(
            "{model} has no chat template, so the format chat cannot be used. Choose plain or alpaca.",
            model=tokenizer.info.name,
        ),
    )


# --- what the prompts ask for -----------------------------------------------------------------------------


def answer_too_long(case: Case, tokenizer: Tokenizer) -> Findings:
    """Answers that need more tokens than may be generated."""
    limit = case.max_new_tokens
    long: list[tuple[str, str, int]] = []  # item id, answer, tokens
    for item, prompt in zip(case.items, case.prompts, strict=True):
        prompt_tokens = len(tokenizer.encode(prompt))
        wholes = {
            answer: sum(map(len, tokenizer.split(prompt, answer))) for answer in _answers(case.task, item, prompt)
        }
        sizes = [(answer, max(1, whole - prompt_tokens)) for answer, whole in wholes.items()]
        worst = [(item.id, answer, n) for answer, n in sizes if n > limit]
        # Of a span, one accepted answer that fits is enough.
        if worst and (case.task.kind != "span" or len(worst) == len(sizes)):
            long += worst if case.task.kind != "span" else [min(worst, key=lambda w: w[2])]
    if not long:
        return
    items = list(dict.fromkeys(id_ for id_, _, _ in long))
    answers = dict(sorted({answer: n for _, answer, n in long}.items(), key=lambda pair: -pair[1]))
    examples = Joined(", ", [Message("「{answer}」 ({n})", answer=a, n=n) for a, n in list(answers.items())[:3]])
    open_ended = case.task.kind == "span"
    yield _finding(
        "answer_too_long",
        "warning" if open_ended else "error",
        case,
        Message(_TOO_LONG[case.task.kind], limit=limit, answers=examples, longest=max(answers.values())),
        items,
        {"limit": limit, "longest": max(answers.values())},
    )


def missing_stop(case: Case, tokenizer: Tokenizer) -> Findings:
    """Nothing that ends an answer but an end token, which base models rarely write."""
    prompt = case.prompts[0]
    if prompt.stop or prompt.messages is not None:
        return
    if case.deliberate:
        yield Finding(
            "missing_stop",
            "info",
            "",
            Message(
                "There is no stop string, as in the system whose protocol this is: what follows the "
                "answer is output too."
            ),
        )
        return
    yield _finding(
        "missing_stop",
        "warning",
        case,
        Message(
            "There is no stop string: a model that writes no end token goes on to its {max_new_tokens} "
            "new tokens, and the rest of the line counts as its answer. Add one to the style, such as "
            "a line end.",
            max_new_tokens=case.max_new_tokens,
        ),
    )


def stop_in_answer(case: Case, tokenizer: Tokenizer) -> Findings:
    """Answers that a stop string would cut."""
    cut = [
        (item.id, stop, answer)
        for item, prompt in zip(case.items, case.prompts, strict=True)
        for answer in _answers(case.task, item, prompt)
        for stop in prompt.stop
        if stop in answer
    ]
    if not cut:
        return
    _, stop, answer = cut[0]
    yield _finding(
        "stop_in_answer",
        "error" if case.task.kind == "choice" else "warning",
        case,
        Message(
            "The stop string {stop!r} occurs in the answer 「{answer}」, which would be cut there. Choose another.",
            stop=stop,
            answer=answer,
        ),
        list(dict.fromkeys(id_ for id_, _, _ in cut)),
        {"stop": stop, "answer": answer},
    )


def shot_imbalance(case: Case, tokenizer: Tokenizer) -> Findings:
    """Examples that show some labels more often than others, or twice the same example."""
    labels = case.task.labels
    uneven: list[tuple[str, Counter[str]]] = []
    twice: list[str] = []
    for item, prompt in zip(case.items, case.prompts, strict=True):
        shots = [case.shots[id_] for id_ in prompt.shot_ids]
        if len({s.id for s in shots}) < len(shots):
            twice.append(item.id)
        counts = Counter(dict.fromkeys(labels, 0))
        counts.update(str(s.gold[0]) for s in shots if isinstance(s.gold, tuple))
        if labels and len(shots) > 1 and max(counts.values()) > math.ceil(len(shots) / len(labels)):
            uneven.append((item.id, counts))
    if uneven:
        counts = uneven[0][1]
        shares = Joined(", ", [f"{label} {counts[label]}" for label in labels])
        yield _finding(
            "shot_imbalance",
            "warning",
            case,
            Message(
                "The examples are uneven ({counts}): models repeat the label they see most. Choose balanced for "
                "“Choice of examples” (--shot-selection balanced).",
                counts=shares,
            ),
            [id_ for id_, _ in uneven],
            dict(counts),
        )
    if twice:
        yield _finding(
            "shot_repeated",
            "warning",
            case,
            Message("The same example stands in the prompt twice. Ask for fewer."),
            twice,
        )


def uneven_labels(case: Case, tokenizer: Tokenizer) -> Findings:
    """Labels of different lengths, of which a sum of log-probabilities favours the short."""
    prompt = _prompt_of_ranking(case.prompts[0])
    if case.task.kind != "choice" or len({p.answers for p in case.prompts}) > 1:
        return
    prompt_tokens = len(tokenizer.encode(prompt))
    sizes = {
        answer: max(1, sum(map(len, tokenizer.split(prompt, answer))) - prompt_tokens) for answer in prompt.answers
    }
    if len(set(sizes.values())) > 1:
        tokens = Joined(", ", [f"「{answer}」 {n}" for answer, n in sizes.items()])
        yield _finding(
            "uneven_labels",
            "info",
            case,
            Message(
                "The labels have different numbers of tokens ({tokens}): a summed log-likelihood favours "
                "the shorter ones.",
                tokens=tokens,
            ),
            facts=dict(sizes),
        )


# --- thoughts -----------------------------------------------------------------------------------------------


def thoughts(case: Case, tokenizer: Tokenizer) -> Findings:
    """A thought that the prompt opens, or that was asked for, and what becomes of it."""
    prompt = case.prompts[0]
    opened = is_open(prompt.thought)
    if opened and not closings(prompt.thought):
        yield Finding(
            "thought_unknown",
            "warning",
            "",
            Message(
                "With thinking the prompt ends with {thought!r}, which is no mark known here: how that ends cannot "
                "be told. Nothing is read from an output without a known closing mark, and answers are ranked after "
                "the form without thinking. Turn “Thinking” off (--thinking off).",
                thought=prompt.thought,
            ),
        )
    elif opened and case.thinking == "off":
        yield Finding(
            "thought_opened",
            "warning",
            "",
            Message(
                "The prompt opens a thought ({thought}) although thinking is off: its template knows "
                "no switch, or the style's own words open it. The answer is what follows the closing "
                "mark; without one there is none.",
                thought=prompt.thought,
            ),
        )
    elif opened:
        yield Finding(
            "thought_opened",
            "info",
            "",
            Message(
                "The prompt opens a thought ({thought}): the answer is what follows its closing mark.",
                thought=prompt.thought,
            ),
        )
    ignored = case.thinking == "on" and is_ignored(prompt)
    if ignored:
        yield Finding(
            "thinking_ignored",
            "warning",
            "",
            Message(
                "Thinking is on, and nothing in the prompt turns it on: the format has no chat "
                "template, or the template has no switch. The model answers as it does without. Choose "
                "the format chat, and a model whose template has a switch for thinking."
            ),
        )
    elif case.thinking == "off" and prompt.thought == FRAME:
        yield Finding(
            "thinking_ignored",
            "warning",
            "",
            Message(
                "Thinking is off, and the template cannot turn it off: the model opens a channel for "
                "its thought by itself."
            ),
        )
    expected = may_follow(prompt, case.thinking)
    if expected and case.max_thinking_tokens is None and (case.thinking == "on" or prompt.thought != FREE):
        yield _finding(
            "thought_limit",
            "warning",
            case,
            Message(
                "A thought and its answer share {max_new_tokens} new tokens: a longer thought leaves no answer. Give "
                "thoughts a limit of their own, such as 2048: “Thinking limit (tokens)” (--max-thinking-tokens).",
                max_new_tokens=case.max_new_tokens,
            ),
            facts={"limit": case.max_new_tokens},
        )
    elif case.max_thinking_tokens is not None and not expected and not ignored:
        yield Finding(
            "thought_limit_unused",
            "info",
            "",
            Message(
                "“Thinking limit (tokens)” (--max-thinking-tokens) has no effect: nothing in the prompt opens a "
                "thought. Only a thought that the model opens by itself would be limited."
            ),
        )
    if opened and prompt.stop:
        stops = Joined(", ", map(repr, prompt.stop))
        yield _finding(
            "stop_in_thought",
            "info",
            case,
            Message(
                "The stop strings {stops} would cut a thought: they wait until it is closed, and end the answer alone.",
                stops=stops,
            ),
        )
    if prompt.ranked_text and prompt.answers:
        yield _finding(
            "ranked_in_thought",
            "info" if case.thinking != "off" else "warning",
            case,
            Message(
                "By log-likelihood the labels would be ranked inside the thought, or where one is to "
                "begin. They are ranked after the same prompt with the thought closed, which ends with "
                "{end!r}.",
                end=prompt.ranked_text[-24:],
            ),
        )


def _prompt_of_ranking(prompt: Prompt) -> Prompt:
    """The prompt that answers are ranked after."""
    return replace(prompt, text=prompt.ranked_text) if prompt.ranked_text else prompt


# --- what the tokenizer makes of them -----------------------------------------------------------------------


def bos(case: Case, tokenizer: Tokenizer) -> Findings:
    """What opens a sequence, BOS or several tokens: twice, or not at all."""
    info = tokenizer.info
    opening = list(info.prefix) or ([info.bos] if info.adds_bos else [])
    pieces = tokenizer.pieces(tokenizer.encode(case.prompts[0])[: 2 * max(1, len(opening))])
    if (opening and pieces == opening * 2) or (info.bos and pieces[:2] == [info.bos] * 2):
        yield _finding(
            "double_bos",
            "error",
            case,
            Message(
                "The prompt begins with {opening} twice: its text holds one and the tokenizer adds "
                "another. Leave it out of the text.",
                opening="".join(opening) or info.bos,
            ),
        )
    elif opening:
        if pieces[: len(opening)] != opening and (opening != [info.bos] or info.bos != info.eos):
            yield Finding(
                "missing_bos",
                "warning",
                "",
                Message(
                    "The tokenizer puts {opening} before every text, but this prompt is without it: "
                    "the chat template leaves it out. A model that was trained with it may answer "
                    "worse.",
                    opening="".join(opening),
                ),
            )
    elif info.bos and pieces[:1] != [info.bos] and info.bos != info.eos:
        yield Finding(
            "missing_bos",
            "info",
            "",
            Message(
                "The model knows the token {bos}, and its tokenizer does not put it first. That is so "
                "by design in some models; if other programs add it, their scores differ.",
                bos=info.bos,
            ),
        )
    if opening and opening != [info.bos]:
        yield Finding(
            "opening_tokens",
            "info",
            "",
            Message(
                "The tokenizer opens every text with {opening}, which is not its BOS alone. The model "
                "is given it once; programs that add BOS only, or nothing, get other scores.",
                opening="".join(opening),
            ),
        )


def eos(case: Case, tokenizer: Tokenizer) -> Findings:
    """No end token, one after the prompt, or a turn that ends with another."""
    info = tokenizer.info
    if not info.ends:
        yield Finding(
            "no_eos",
            "warning",
            "",
            Message("The model names no end token: an answer ends at a stop string or at the token limit alone."),
        )
    if info.adds_eos or info.suffix:
        yield Finding(
            "adds_eos",
            "info",
            "",
            Message(
                "The tokenizer puts {suffix} after every text, as if nothing could follow. It is left "
                "out here; other programs may score the model with it.",
                suffix="".join(info.suffix) or info.eos,
            ),
        )
    ids = tokenizer.encode(case.prompts[0])
    if info.eos and info.eos != info.bos and tokenizer.pieces(ids[-1:]) == [info.eos]:
        yield _finding(
            "eos_after_prompt",
            "error",
            case,
            Message(
                "The prompt ends with {eos}: to the model everything is said already. Take it off the text.",
                eos=info.eos,
            ),
        )
    chat = case.prompts[0].messages is not None
    if chat and info.turn_end and info.ends and info.turn_end not in info.ends:
        yield Finding(
            "turn_end",
            "warning",
            "",
            Message(
                "The chat template closes a turn with {turn_end}, but generation ends at {ends}: the "
                "model may go on to write the next turn.",
                turn_end=info.turn_end,
                ends=Joined(", ", info.ends),
            ),
        )


def chat_format(case: Case, tokenizer: Tokenizer) -> Findings:
    """A model with a chat template that is asked in another format."""
    if tokenizer.info.has_chat_template and case.format == "plain":
        yield Finding(
            "chat_template_unused",
            "info",
            "",
            Message(
                "The model has a chat template, and the format is plain. If it was trained on conversations, try the "
                "“Prompt format” chat (--format chat)."
            ),
        )


def token_boundary(case: Case, tokenizer: Tokenizer) -> Findings:
    """Answers whose first token is another after the prompt than alone, or that merge with the prompt's last."""
    merged: list[tuple[str, str, list[int], list[int]]] = []
    shifted: dict[str, tuple[list[str], list[str]]] = {}
    for item, prompt in zip(case.items, map(_prompt_of_ranking, case.prompts), strict=True):
        alone = tokenizer.encode(prompt)
        for answer in prompt.answers or (SIMILARITIES[-1:] if case.task.kind == "score" else ()):
            context, rest = tokenizer.split(prompt, answer)
            whole = context + rest
            if whole[: len(alone)] != alone:
                at = common(alone, whole)
                merged.append((item.id, answer, alone[at:], whole[at : len(alone) + 1]))
            answer_ids = tokenizer.encode_text(answer)
            if rest and answer_ids and rest != answer_ids and answer not in shifted and not prompt.text[-1:].isspace():
                shifted[answer] = (tokenizer.pieces(rest), tokenizer.pieces(answer_ids))
    if merged:
        _, answer, before, after = merged[0]
        yield _finding(
            "token_boundary",
            "warning",
            case,
            Message(
                "The end of the prompt and the answer 「{answer}」 merge into other tokens ({before} "
                "becomes {after}): the answer is scored from a place that the model never sees when "
                "it writes. End the cue with other characters, and without a space.",
                answer=answer,
                before=_bracketed(tokenizer.pieces(before)),
                after=_bracketed(tokenizer.pieces(after)),
            ),
            list(dict.fromkeys(id_ for id_, *_ in merged)),
        )
    if shifted:
        answer, (here, own_pieces) = next(iter(shifted.items()))
        yield _finding(
            "answer_tokens",
            "info",
            case,
            Message(
                "After the prompt the answer 「{answer}」 has the tokens {after_prompt}, alone {alone}. "
                "Programs that tokenize prompt and answer apart get other scores.",
                answer=answer,
                after_prompt=_bracketed(here),
                alone=_bracketed(own_pieces),
            ),
        )


def context_overflow(case: Case, tokenizer: Tokenizer) -> Findings:
    """Prompts for which the context is too short."""
    limit = tokenizer.info.context_length
    if limit is None:
        return
    sizes = {item.id: len(tokenizer.encode(p)) for item, p in zip(case.items, case.prompts, strict=True)}
    thought = case.max_thinking_tokens if may_follow(case.prompts[0], case.thinking) else 0
    new = case.max_new_tokens + (thought or 0)
    over = [id_ for id_, size in sizes.items() if size + new > limit]
    if over:
        longest = max(sizes.values())
        yield _finding(
            "context_overflow",
            "error",
            case,
            Message(
                "{count} of {total} prompts do not fit: the longest has {longest:,} tokens, with "
                "{new_tokens} to be written, and the model takes {limit:,}. They will have no answer. Ask for "
                "fewer examples.",
                count=len(over),
                total=len(sizes),
                longest=longest,
                new_tokens=new,
                limit=limit,
            ),
            over,
            {"longest": longest, "limit": limit},
        )


def beyond_vocabulary(case: Case, tokenizer: Tokenizer) -> Findings:
    """Tokens that the tokenizer has and the model's embedding has not: the run would fail."""
    rows = tokenizer.info.rows
    if rows is None:
        return
    first_ids: dict[str, int] = {}  # item id → the first such token
    for item, prompt in zip(case.items, case.prompts, strict=True):
        parts = [tokenizer.encode(prompt), *(ids for a in prompt.answers for ids in tokenizer.split(prompt, a))]
        if beyond := [id_ for ids in parts for id_ in ids if id_ >= rows]:
            first_ids[item.id] = beyond[0]
    if first_ids:
        id_ = next(iter(first_ids.values()))
        yield _finding(
            "beyond_vocabulary",
            "error",
            case,
            Message(
                "{count} of {total} prompts hold a token that the model has no embedding for: "
                "{token} has the id {id}, and the embedding {rows:,} rows. The run will fail. Use the "
                "tokenizer that belongs to the weights, or a format without this token.",
                count=len(first_ids),
                total=len(case.prompts),
                token=tokenizer.pieces([id_])[0],
                id=id_,
                rows=rows,
            ),
            list(first_ids),
            {"id": id_, "rows": rows},
        )


def unknown_tokens(case: Case, tokenizer: Tokenizer) -> Findings:
    """Text that the tokenizer does not know, or spells out in bytes."""
    sizes, characters, count, unknown = 0, 0, 0, []
    for item, prompt in zip(case.items, case.prompts, strict=True):
        ids = tokenizer.encode(prompt)
        sizes += len(ids)
        characters += len(prompt.text)
        if lost := tokenizer.unknown(ids):
            count += lost
            unknown.append(item.id)
    if unknown:
        yield _finding(
            "unknown_tokens",
            "warning",
            case,
            Message(
                "{count} of {total} prompts hold characters that the tokenizer does not know "
                "({percent:.1f} % of the tokens): the model cannot see them. Choose a model with a "
                "Japanese vocabulary.",
                count=len(unknown),
                total=len(case.prompts),
                percent=100 * count / sizes,
            ),
            unknown,
            {"unknown_share": count / sizes},
        )
    if characters and sizes / characters > TOKENS_PER_CHARACTER:
        yield _finding(
            "many_tokens",
            "warning",
            case,
            Message(
                "The tokenizer needs {tokens:.1f} tokens for each character: it spells Japanese out in "
                "bytes. Prompts are long and slow, and token limits are reached early.",
                tokens=sizes / characters,
            ),
            facts={"tokens_per_character": sizes / characters},
        )


def round_trip(case: Case, tokenizer: Tokenizer) -> Findings:
    """Text that does not come back from its tokens: the model reads something else."""
    changed: list[tuple[str, str, str]] = []  # item id, text, what comes back
    for item, prompt in zip(case.items, case.prompts, strict=True):
        back = tokenizer.text(tokenizer.encode_text(prompt.text))
        # Some tokenizers put a space before a text; that is how they were trained.
        if prompt.text not in (back, back.removeprefix(" ")):
            changed.append((item.id, prompt.text, back))
    if not changed:
        return
    folded = all(_folded(text) == _folded(back) for _, text, back in changed)
    _, text, back = changed[0]
    at = _first_change(text, back)
    yield _finding(
        "round_trip",
        "info" if folded else "warning",
        case,
        Message(
            "{count} of {total} prompts do not come back from their tokens as they were: 「{text}」 "
            "becomes 「{decoded}」. The model reads the second text. Write the prompt with characters that "
            "the tokenizer keeps.",
            count=len(changed),
            total=len(case.prompts),
            text=_cut(text, at),
            decoded=_cut(back, at),
        ),
        [id_ for id_, *_ in changed],
    )


def tokenizer_files(case: Case, tokenizer: Tokenizer) -> Findings:
    """Files of one repository that define different tokenizers."""
    other = tokenizer.info.disputed
    if other:
        yield Finding(
            "tokenizer_files",
            "info",
            "",
            Message(
                "The files tokenizer.json and {other} of this model make other tokens of the same "
                "text. The first is read here; programs that read the second get other scores.",
                other=other,
            ),
        )


def _folded(text: str) -> str:
    """A text without differences of width and compatibility."""
    return unicodedata.normalize("NFKC", text)


def _first_change(text: str, back: str) -> int:
    return next((k for k, (x, y) in enumerate(zip(text, back, strict=False)) if x != y), min(len(text), len(back)))


def _cut(text: str, at: int) -> str:
    """Some characters around a place."""
    return text[max(0, at - 4) : at + 6].replace("\n", "⏎")


RULES: dict[str, Callable[[Case, Tokenizer], Findings]] = {
    rule.__name__: rule
    for rule in (
        answer_too_long,
        missing_stop,
        stop_in_answer,
        shot_imbalance,
        uneven_labels,
        thoughts,
        bos,
        eos,
        chat_format,
        token_boundary,
        context_overflow,
        beyond_vocabulary,
        unknown_tokens,
        round_trip,
        tokenizer_files,
    )
}


_TOO_LONG = {
    "choice": mark(
        "Labels need more than the {limit} new tokens allowed: {answers} tokens. They cannot be written whole. Raise "
        "max_new_tokens to {longest}, or ask for shorter labels."
    ),
    "score": mark(
        "Answers need more than the {limit} new tokens allowed: {answers} tokens. They cannot be written whole. Raise "
        "max_new_tokens to {longest}, or ask for shorter labels."
    ),
    "span": mark(
        "Answers need more than the {limit} new tokens allowed: {answers} tokens. They cannot be written whole. Raise "
        "max_new_tokens to {longest}."
    ),
}
"""Kind of a subset → what `answer_too_long` says."""


def _answers(task: Task, item: Item, prompt: Prompt) -> Sequence[str]:
    """What may have to be written."""
    if task.kind == "score":
        return SIMILARITIES
    return prompt.answers or (item.gold if isinstance(item.gold, tuple) else ())


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _bracketed(pieces: Sequence[str]) -> str:
    return " ".join(f"[{piece}]" for piece in pieces).replace("\n", "⏎")


def _finding(
    rule: str,
    level: Literal["error", "warning", "info"],
    case: Case,
    message: str,
    items: Sequence[str] = (),
    facts: Mapping[str, str | float] | None = None,
) -> Finding:
    return Finding(
        rule, level, case.task.name, message, len(items), len(case.items), items[0] if items else "", facts or {}
    )
