"""Sentences that remember their template, and what they are in another language."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from jglue_app import errors, messages
from jglue_app.errors import InputError, JglueAppError, StoreError, UnknownNameError, first_line, reason_of
from jglue_app.messages import Joined, Message, as_json, from_json, mark, of, say

JAPANESE = r"""
msgid ""
msgstr ""
"Language: ja\n"
"Content-Type: text/plain; charset=utf-8\n"

msgid "At most {most:,} items, not {given!r}."
msgstr "{most:,} 問までです（{given!r} は使えません）。"

msgid "The run failed ({reason})."
msgstr "実行に失敗しました（{reason}）。"

msgid "no space"
msgstr "空きなし"

msgid ", "
msgstr "、"

msgid "{n:,} items"
msgstr "{n:,} 問"

msgid "Give {}."
msgstr "{} を書いてください。"

msgid "No such value: {name}."
msgstr "{nome} はありません。"

msgid "No such format: {name}."
msgstr "{name:,} はありません。"

msgid "Not a template: {name}."
msgstr "{name はありません。"

#, fuzzy
msgid "A guess."
msgstr "当て推量。"

msgid "Not yet."
msgstr ""
"""


@pytest.fixture(autouse=True)
def catalogues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small catalogue in the place of those of the application."""
    (tmp_path / "ja").mkdir()
    (tmp_path / "ja" / "some.po").write_text(JAPANESE, "utf-8")
    monkeypatch.setattr(messages, "FOLDER", tmp_path)
    messages.catalogue.cache_clear()
    yield
    messages.catalogue.cache_clear()


# --- one message ------------------------------------------------------------------------------------------


def test_a_message_is_its_english_text_with_template_and_values() -> None:
    message = Message("At most {most:,} items, not {given!r}.", most=1234, given="9 999")
    assert message == "At most 1,234 items, not '9 999'."
    assert f"{message}" == str(message) == message
    assert (message.template, message.values) == (
        "At most {most:,} items, not {given!r}.",
        {"most": 1234, "given": "9 999"},
    )
    assert say(message, "ja") == "1,234 問までです（'9 999' は使えません）。"
    assert say(message, "en") == "At most 1,234 items, not '9 999'."


def test_what_is_said_is_a_plain_text() -> None:
    for lang in messages.LANGUAGES:
        for text in ("plain", Message("no space"), Message("{n:,} items", n=1), Joined(", ", ["a"])):
            assert type(say(text, lang)) is str


def test_a_template_without_values_is_taken_as_it_is_with_its_braces() -> None:
    message = Message("Give {}.")
    assert message == "Give {}."
    assert say(message, "ja") == "{} を書いてください。"
    assert Message('{"a": 1}') == '{"a": 1}'
    assert Message("{{a}} {b}", b=1) == "{a} 1"


def test_a_missing_value_is_an_error_where_the_message_is_made() -> None:
    with pytest.raises(KeyError, match="given"):
        Message("At most {most:,} items, not {given!r}.", most=1)


def test_values_with_braces_are_not_templates() -> None:
    message = Message("The run failed ({reason}).", reason="{most} {0} {x!r}")
    assert message == "The run failed ({most} {0} {x!r})."
    assert say(message, "ja") == "実行に失敗しました（{most} {0} {x!r}）。"


def test_a_value_may_be_a_message_and_is_said_in_the_same_language() -> None:
    message = Message("The run failed ({reason}).", reason=Message("no space"))
    assert message == "The run failed (no space)."
    assert say(message, "ja") == "実行に失敗しました（空きなし）。"
    quoted = Message("At most {most:,} items, not {given!r}.", most=1, given=Message("no space"))
    assert quoted == "At most 1 items, not 'no space'."
    assert say(quoted, "ja") == "1 問までです（'空きなし' は使えません）。"


def test_messages_in_a_text_without_an_entry_are_translated_all_the_same() -> None:
    assert say(Message("{a}: {b}", a="x", b=Message("no space")), "ja") == "x: 空きなし"


def test_an_error_as_a_value_is_its_message_and_is_not_kept() -> None:
    message = Message("The run failed ({reason}).", reason=InputError("no space"))
    assert message == "The run failed (no space)."
    assert say(message, "ja") == "実行に失敗しました（空きなし）。"
    assert isinstance(message.values["reason"], Message)


def test_a_message_whose_english_is_worded_otherwise_is_looked_up_by_its_template() -> None:
    message = Message.worded("{n:,} item", "{n:,} items", {"n": 1})
    assert message == "1 item"
    assert say(message, "ja") == "1 問"
    assert say(from_json(as_json(message)), "ja") == "1 問"
    assert from_json(as_json(message)) == "1 item"


@pytest.mark.parametrize(
    "text",
    [
        Message("Nobody has translated {name}.", name="it"),
        Message("A guess."),
        Message("Not yet."),
        "no space",
    ],
)
def test_what_the_catalogue_lacks_is_said_in_english(text: str) -> None:
    assert say(text, "ja") == text
    assert say(text, "fr") == text


@pytest.mark.parametrize("template", ["No such value: {name}.", "No such format: {name}.", "Not a template: {name}."])
def test_a_translation_that_cannot_be_filled_falls_back_to_english(template: str) -> None:
    message = Message(template, name="x")
    assert say(message, "ja") == message == template.format(name="x")


# --- lists ------------------------------------------------------------------------------------------------


def test_a_list_is_joined_as_each_language_does() -> None:
    joined = Joined(", ", [Message("no space"), "x", Message("{n:,} items", n=1000)])
    assert joined == "no space, x, 1,000 items"
    assert say(joined, "ja") == "空きなし、x、1,000 問"
    assert say(Joined(" / ", ["a", "b"]), "ja") == "a / b"
    assert Joined(", ", []) == say(Joined(", ", []), "ja") == ""


# --- on their way -----------------------------------------------------------------------------------------

NESTED = Message(
    "The run failed ({reason}).",
    reason=Joined(", ", [Message("no space"), Message("{n:,} items", n=5000)]),
)


def test_a_message_survives_json_pickling_and_copies() -> None:
    ways = (
        from_json(json.loads(json.dumps(as_json(NESTED)))),
        pickle.loads(pickle.dumps(NESTED)),
        copy.deepcopy(NESTED),
        copy.copy(NESTED),
    )
    for back in ways:
        assert back == NESTED == "The run failed (no space, 5,000 items)."
        assert say(back, "ja") == "実行に失敗しました（空きなし、5,000 問）。"


def test_what_json_lacks_becomes_a_text_and_numbers_stay_numbers() -> None:
    message = Message(
        "{path}: {n:,} {share:.1f} {none} {flag}", path=Path("a"), n=1000, share=0.25, none=None, flag=True
    )
    value = as_json(message)
    assert value["values"] == {"path": "a", "n": 1000, "share": 0.25, "none": None, "flag": True}
    assert from_json(json.loads(json.dumps(value))) == "a: 1,000 0.2 None True"
    assert (as_json("plain"), from_json("plain")) == ("plain", "plain")


def test_a_message_is_a_text_for_json_and_for_logs(caplog: pytest.LogCaptureFixture) -> None:
    assert json.dumps({"text": NESTED}) == json.dumps({"text": str(NESTED)})
    with caplog.at_level(logging.WARNING):
        logging.getLogger("test").warning("%s", NESTED)
    assert caplog.messages == [str(NESTED)]
    assert str(NESTED) in {NESTED}


def test_a_mark_gives_the_template_as_it_is() -> None:
    assert mark("no space") == "no space"
    assert type(mark("no space")) is str


# --- errors -----------------------------------------------------------------------------------------------


def test_an_error_has_its_message_and_its_english_as_text() -> None:
    error = InputError("At most {most:,} items, not {given!r}.", most=5, given=7)
    assert str(error) == "At most 5 items, not 7."
    assert say(error.message, "ja") == say(of(error), "ja") == "5 問までです（7 は使えません）。"
    whole = Message("no space")
    assert InputError(whole).message is whole


def test_what_any_error_says_is_its_message_where_it_has_one() -> None:
    message = Message("no space")
    assert of(ValueError(message)) is message
    assert of(ValueError("plain")) == "plain"
    assert of(ValueError()) == ""
    assert of(KeyError("a")) == "'a'"


@pytest.mark.parametrize(
    "error",
    [
        InputError("At most {most:,} items, not {given!r}.", most=5, given=7),
        UnknownNameError("task", "jnl", ["jnli", "jsts"]),
        StoreError("no space"),
    ],
)
def test_an_error_survives_pickling(error: JglueAppError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.message.template == error.message.template
    assert say(back.message, "ja") == say(error.message, "ja")


def test_every_error_survives_pickling() -> None:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, JglueAppError) and kind is not UnknownNameError:
            assert type(pickle.loads(pickle.dumps(kind("no space")))) is kind


# --- with the catalogues of the application ---------------------------------------------------------------


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "FOLDER", Path(messages.__file__).parent)
    messages.catalogue.cache_clear()


@pytest.mark.parametrize(
    ("error", "japanese"),
    [
        (
            UnknownNameError("task", "jnl", ["jnli", "jsts"]),
            "サブセット「jnl」はありません。「jnli」のことですか。使えるのは jnli、jsts です。",
        ),
        (
            UnknownNameError("style", "zzz", ["ja"], Message("Or give the path of your own .toml file.")),
            "言い回し「zzz」はありません。使えるのは ja です。自分の .toml ファイルの場所も入力できます。",
        ),
        (
            UnknownNameError("label version", "zzz", ["v1.1"], "A plain text stays as it is."),
            "ラベルの版「zzz」はありません。使えるのは v1.1 です。A plain text stays as it is.",
        ),
    ],
)
@pytest.mark.usefixtures("shipped")
def test_an_unknown_name_is_said_in_japanese(error: UnknownNameError, japanese: str) -> None:
    assert say(error.message, "ja") == japanese


@pytest.mark.usefixtures("shipped")
def test_what_the_system_says_is_said_in_japanese_where_it_is_known() -> None:
    full = OSError(28, "No space left on device", "/somewhere")
    assert reason_of(full) == "No space left on device"
    assert say(reason_of(full), "ja") == "ディスクに空きがありません"
    assert say(reason_of(OSError(0, "Out of hamsters")), "ja") == "Out of hamsters"
    assert say(reason_of(OSError("without a number\nand a line")), "ja") == "without a number"
    assert reason_of(ValueError("embedded null byte")) == "embedded null byte"
    assert say(first_line(ValueError(Message("Permission denied"))), "ja") == "権限がありません"
    assert say(first_line(RuntimeError("Is a directory\nmore")), "ja") == "フォルダーです"


@pytest.mark.parametrize("reason", errors.SYSTEM_REASONS)
@pytest.mark.usefixtures("shipped")
def test_every_known_reason_has_its_japanese(reason: str) -> None:
    assert say(reason_of(OSError(1, reason)), "ja") != reason
