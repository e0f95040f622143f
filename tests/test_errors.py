"""The exception tree and what its messages say."""

from __future__ import annotations

import re

import pytest

from jglue_app import errors
from jglue_app.errors import JglueAppError, UnknownNameError, first_line

BRANCH = re.compile(r"^(?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+Error)\s+(?:exit (?P<exit>\d+): )?\S")


def drawn_tree() -> dict[str, tuple[str | None, int | None]]:
    """Class → (parent, stated exit code), as drawn in the docstring."""
    tree: dict[str, tuple[str | None, int | None]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := BRANCH.match(line):
            depth, name = len(match["indent"]), match["name"]
            while above and above[-1][0] >= depth:
                above.pop()
            tree[name] = (above[-1][1] if above else None, int(match["exit"]) if match["exit"] else None)
            above.append((depth, name))
    return tree


def classes() -> dict[str, type[JglueAppError]]:
    return {
        name: thing
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, JglueAppError)
    }


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    real = {
        name: (None if thing.__base__ is Exception else getattr(thing.__base__, "__name__", None))
        for name, thing in classes().items()
    }
    assert {name: parent for name, (parent, _) in drawn_tree().items()} == real
    assert list(real.values()).count(None) == 1


def test_every_class_has_the_exit_code_stated_at_its_branch() -> None:
    tree = drawn_tree()
    assert {name: code for name, (_, code) in tree.items() if code is not None} == {
        "InputError": 2,
        "ModelError": 3,
        "NetworkError": 4,
        "StoreError": 5,
    }
    for name, thing in classes().items():
        branch: str | None = name
        while branch is not None and tree[branch][1] is None:
            branch = tree[branch][0]
        assert thing.exit_code == (tree[branch][1] if branch else 1), name


def test_no_error_for_people_exits_like_success() -> None:
    assert all(thing.exit_code != 0 for thing in classes().values())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jnil", "Unknown task 'jnil'. Did you mean 'jnli'? Known: marc_ja, jsts, jnli."),
        ("marc-ja", "Unknown task 'marc-ja'. Did you mean 'marc_ja'? Known: marc_ja, jsts, jnli."),
        ("squad", "Unknown task 'squad'. Known: marc_ja, jsts, jnli."),
        ("", "Unknown task ''. Known: marc_ja, jsts, jnli."),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one_and_all_that_exist(name: str, message: str) -> None:
    assert str(UnknownNameError("task", name, ["marc_ja", "jsts", "jnli"])) == message


def test_an_unknown_name_may_come_with_a_hint_and_names_from_a_generator() -> None:
    error = UnknownNameError("style", "ja", (name for name in ("ja-labels", "number")), "Or give a path.")
    assert str(error) == "Unknown style 'ja'. Known: ja-labels, number. Or give a path."


def test_a_lower_layers_message_is_cut_to_its_first_line() -> None:
    assert first_line(ValueError("\nfirst\nsecond")) == "first"
    assert first_line(ValueError("x" * 400)) == "x" * 300


def test_an_error_without_a_message_is_called_by_its_class() -> None:
    assert first_line(TimeoutError()) == "TimeoutError"
