"""The characters in which two texts differ, and which long equal parts fold."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest

from jglue_app.scoring.text_diff import CONTEXT, FOLD_FROM, MAX_CHARS, Only, Piece, diff, folds, ranges


def shape(a: str, b: str) -> list[tuple[str, Only]]:
    return [(piece.text, piece.only) for piece in diff(a, b)]


@pytest.mark.parametrize(
    ("a", "b", "pieces"),
    [
        ("", "", []),
        ("同じ\n文", "同じ\n文", [("同じ\n文", "")]),
        ("犬", "", [("犬", "a")]),
        ("", "犬", [("犬", "b")]),
        ("答え：中立です", "答え：含意です", [("答え：", ""), ("中立", "a"), ("含意", "b"), ("です", "")]),
        ("positive", "negative", [("posi", "a"), ("nega", "b"), ("tive", "")]),
        ("猫が好き", "猫がとても好き", [("猫が", ""), ("とても", "b"), ("好き", "")]),
        ("猫\nが", "猫が", [("猫", ""), ("\n", "a"), ("が", "")]),
        # A letter stays with its accent, and a kanji with the form that is chosen of it.
        ("か\u3099き", "かき", [("か\u3099", "a"), ("か", "b"), ("き", "")]),
        ("葛\U000e0100城", "葛城", [("葛\U000e0100", "a"), ("葛", "b"), ("城", "")]),
        # Half a character, as a model may write one.
        ("犬\ud83d", "犬", [("犬", ""), ("\ud83d", "a")]),
    ],
)
def test_what_only_one_text_has_is_a_piece_of_its_own(a: str, b: str, pieces: list[tuple[str, Only]]) -> None:
    assert shape(a, b) == pieces


def test_letters_that_are_equal_by_chance_do_not_break_up_what_differs() -> None:
    # 「は」, 「が」 and 「で」 stand in both, in the same order.
    assert shape("私は猫が好きで", "今日は天気がいいので散歩に行きま") == [
        ("私は猫が好きで", "a"),
        ("今日は天気がいいので散歩に行きま", "b"),
    ]


def test_what_both_sides_of_a_difference_end_with_is_no_part_of_it() -> None:
    # The first 「評：」 of B is as good a match as its last, which is followed by the rest.
    assert shape("説明。\n評：犬が走る。", "別。\n評：猫だ\n評：鳥\n評：犬が走る。") == [
        ("説明。", "a"),
        ("別。\n評：猫だ\n評：鳥", "b"),
        ("\n評：犬が走る。", ""),
    ]


def test_without_the_pieces_of_the_other_each_text_is_whole_and_the_equal_part_as_long_as_it_can_be() -> None:
    generator = random.Random(0)
    for _ in range(60):
        a = "".join(generator.choices("あいうえお\nxyz", k=generator.randrange(60)))
        kept = [character for character in a if generator.random() > 0.1]
        b = "".join(kept) + "".join(generator.choices("あいかき", k=3))
        pieces = diff(a, b)
        assert "".join(piece.text for piece in pieces if piece.only != "b") == a
        assert "".join(piece.text for piece in pieces if piece.only != "a") == b
        assert all(piece.text for piece in pieces)
        assert all(left.only != right.only for left, right in pairwise(pieces))
        assert all(len(piece.text) > shorter for piece, shorter in between_differences(pieces))


def between_differences(pieces: list[Piece]) -> list[tuple[Piece, int]]:
    """The equal pieces between two differences, each with the length of the shorter difference."""
    lengths: list[int] = [0]
    equal: list[Piece] = []
    for piece in pieces:
        if piece.only:
            lengths[-1] = max(lengths[-1], len(piece.text))
        else:
            equal.append(piece)
            lengths.append(0)
    found = zip(equal, lengths, lengths[1:], strict=False)
    return [(piece, min(before, after)) for piece, before, after in found if before and after]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("".join(random.Random(1).choices("あいうえおかきくけこ", k=MAX_CHARS)),) * 2,
        (
            "".join(random.Random(1).choices("あいうえおかきくけこ", k=MAX_CHARS)),
            "".join(random.Random(2).choices("あいうえおかきくけこ", k=MAX_CHARS)),
        ),
        ("あい" * (MAX_CHARS // 2), "あう" * (MAX_CHARS // 2)),
        ("あ" * 500_000, "い" + "あ" * 400_000 + "う"),
    ],
)
def test_texts_of_many_characters_take_no_seconds(a: str, b: str) -> None:
    began = time.process_time()
    pieces = diff(a, b)
    assert time.process_time() - began < 1.0
    assert "".join(piece.text for piece in pieces if piece.only != "b") == a


def test_what_is_longer_than_the_limit_differs_throughout_between_its_ends() -> None:
    middle = "い" * (MAX_CHARS + 1)
    assert shape("始" + middle + "終", "始う" + middle + "え終") == [
        ("始", ""),
        (middle, "a"),
        ("う" + middle + "え", "b"),
        ("終", ""),
    ]


def test_each_side_has_its_own_places() -> None:
    pieces = [Piece("答え：", ""), Piece("中立", "a"), Piece("含意だ", "b"), Piece("。", "")]
    assert ranges(pieces, "a") == [((0, 3), False), ((3, 5), True), ((5, 6), False)]
    assert ranges(pieces, "b") == [((0, 3), False), ((3, 6), True), ((6, 7), False)]


def test_long_equal_parts_fold_up_to_the_differences_and_what_is_to_stay_visible() -> None:
    pieces = [Piece("あ" * 500, ""), Piece("犬", "a"), Piece("い" * (FOLD_FROM - 1), ""), Piece("う", "b")]
    assert folds(pieces, "a") == [(CONTEXT, 500 - CONTEXT)]
    assert folds(pieces, "b") == [(CONTEXT, 500 - CONTEXT)]
    assert folds(pieces, "a", [(240, 250)]) == [(CONTEXT, 240 - CONTEXT), (250 + CONTEXT, 500 - CONTEXT)]
    # Between 105 and 290 too little is left.
    assert folds(pieces, "a", [(100, 105), (290, 291)]) == [(291 + CONTEXT, 500 - CONTEXT)]
