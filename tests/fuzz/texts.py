"""Texts: of pieces that mean something, mutated, of Hypothesis, and in shapes that cost quadratic time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from random import Random

ORDINARY = 2_000
LONGEST = 20_000
MEGABYTE = 1_000_000

ODD = (
    *("\0", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\u200b", "\u200d", "\ufe0f", "\u202e", "\u2066"),
    *("\ud800", "\udfff", "\ud83d\ude00", "\U0010ffff", "\U000e0100", "\u0301", "\u0323\u0301", "\u3099", "ﾞ", "ｶﾞ"),
    *(" ", "\t", "\n", "\r\n", "\u3000", "\xa0", "İ", "ß", "ǆ", "\ufdfa", "שלום", "١٢", "２", "②", "三", "👨‍👩‍👧"),
    *(
        "'",
        '"',
        "`",
        "\\",
        "/",
        "..",
        "%",
        "%00",
        "&",
        "=",
        "+",
        "#",
        "?",
        ":",
        ";",
        ",",
        "|",
        "$",
        "${x}",
        "{0}",
        "{{",
    ),
    *("-1", "0", "1e999", "nan", "inf", "1_0", "9" * 40, "0x10", "True", "null", "None", "~", "*", "@", "<b>", "\x1c"),
)
"""Characters and pieces that readers have stumbled over."""
PAIRS = (
    ("「", "」"),
    ("『", "』"),
    ("(", ")"),
    ("[", "]"),
    ("{", "}"),
    ("<", ">"),
    ('"', '"'),
    ("<think>", "</think>"),
)


@functools.cache
def hypothesis_texts(count: int = 400) -> tuple[str, ...]:
    """Texts that Hypothesis draws, always the same."""
    import hypothesis
    from hypothesis import strategies

    drawn: list[str] = []

    @hypothesis.seed(0)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategies.text(strategies.characters(exclude_categories=()), max_size=60))
    def draw(text: str) -> None:
        drawn.append(text)

    draw()
    return tuple(drawn)


def text_maker(pieces: Sequence[str], examples: Sequence[str] = (), longest: int = LONGEST) -> Callable[[Random], str]:
    """A maker of texts for a reader to which these pieces mean something."""
    valid = tuple(examples) or tuple(pieces)

    def make(rng: Random) -> str:
        kind = rng.random()
        if kind < 0.35:
            text = mutated(rng, rng.choice(valid), pieces)
        elif kind < 0.65:
            text = joined(rng, pieces, rng.randint(1, 25))
        elif kind < 0.75:
            text = rng.choice(hypothesis_texts())
        elif kind < 0.85:
            text = run(rng, pieces, rng.randint(200, 2 * ORDINARY))
        elif kind < 0.93:
            text = shape(rng, pieces, rng.randint(20, ORDINARY))
        else:
            text = shape(rng, pieces, rng.randint(ORDINARY, LONGEST))
        return text[:longest]

    return make


def joined(rng: Random, pieces: Sequence[str], count: int) -> str:
    return "".join(rng.choice(ODD) if rng.random() < 0.2 else rng.choice(pieces) for _ in range(count))


def mutated(rng: Random, text: str, pieces: Sequence[str]) -> str:
    """A text with some characters taken out, put in, doubled or moved."""
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        start = rng.randint(0, len(text))
        end = min(len(text), start + rng.choice((1, 1, 2, 5, 30)))
        inserted = rng.choice(ODD) if rng.random() < 0.5 else rng.choice(pieces)
        match rng.randrange(6):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:start] + inserted + text[start:]
            case 2:
                text = text[:start] + inserted + text[end:]
            case 3:
                text = text[:end] + text[start:end] * rng.randint(1, 20) + text[end:]
            case 4:
                text = text[end:] + text[:start]
            case 5:
                text = text[:end]
    return text


def run(rng: Random, pieces: Sequence[str], length: int) -> str:
    """A piece, a long run of one sign, and perhaps another piece: what makes a regular expression try every split."""
    signs = (
        " ",
        " ",
        "\n",
        "\u3000",
        "\t",
        "a",
        "1",
        "あ",
        "。",
        "、",
        "「",
        "*",
        "-",
        "ー",
        "#",
        "\n ",
        "はい",
        ":",
        "=",
        '"',
        ".",
    )
    return rng.choice(("", "\n", "x")) + rng.choice(pieces) + rng.choice(signs) * length + rng.choice((*pieces, "", ""))


def shape(rng: Random, pieces: Sequence[str], length: int) -> str:
    """A long text of little variety: what costs a reader time that grows with the square of its length."""
    unit = rng.choice(pieces) if rng.random() < 0.6 else rng.choice(ODD)
    more = rng.choice(pieces)
    end = rng.choice(("", rng.choice(pieces), rng.choice(ODD)))
    match rng.randrange(6):
        case 0:
            text = unit * length
        case 1:
            text = (unit + more) * length
        case 2:
            opener, closer = rng.choice(PAIRS)
            half = max(1, length // (len(opener) + len(closer)))
            return opener * half + unit + closer * rng.choice((half, half - 1, 0)) + end
        case 3:
            text = "".join(unit + str(n) for n in range(min(length, 4_000)))
        case 4:
            text = more + unit[:1] * length
        case _:
            text = joined(rng, pieces, min(length, 3_000))
    return text[: max(0, length - len(end))] + end


def megabytes(pieces: Sequence[str]) -> Callable[[], tuple[str, ...]]:
    """Texts of a million characters: each piece again and again, nested signs, and all pieces in random order."""

    def make() -> tuple[str, ...]:
        units = [
            piece for piece in dict.fromkeys((*pieces, " ", "\n", "1", "a", "「", "\u0323\u0301", "\ud800")) if piece
        ]
        repeated = [(unit * (MEGABYTE // len(unit) + 1))[:MEGABYTE] + "x" for unit in units]
        nested = [a * (MEGABYTE // 2 // len(a)) + "x" + b * (MEGABYTE // 2 // len(b)) for a, b in PAIRS[:5]]
        return (*repeated, *nested, joined(Random(0), pieces, MEGABYTE // 4)[:MEGABYTE])

    return make
