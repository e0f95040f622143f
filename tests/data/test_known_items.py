"""What is known about single items of JGLUE, counted in the official files where they are at hand."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest

from jglue_app.data import files
from jglue_app.data.known_items import JNLI_RELABELLED, JSQUAD_FAULTY, is_faulty, relabelled, with_labels_of
from jglue_app.errors import UnknownNameError
from jglue_app.settings import load_settings
from jglue_app.types import Item

REAL = os.environ.get("JGLUE_DATA_DIR")
needs_jglue = pytest.mark.skipif(not REAL, reason="set JGLUE_DATA_DIR to a folder with the JGLUE v1.3 files")


def jnli(id_: str, gold: str, premise: str = "犬が走っている。") -> Item:
    texts = {"sentence1": premise, "sentence2": "動物が動いている。"}
    return Item("jnli", id_, texts, (gold,), ("entailment", "contradiction", "neutral"))


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Item, ...]]:
    """The dev items of JNLI and JSQuAD."""
    monkeypatch.setenv("JGLUE_DATA_DIR", str(REAL))
    settings = load_settings()
    return {task: files.load(settings, task).items for task in ("jnli", "jsquad")}


def test_29_labels_changed_in_three_ways() -> None:
    changes = Counter((change.old, change.new) for change in JNLI_RELABELLED.values())
    assert changes == {
        ("entailment", "neutral"): 16,
        ("neutral", "entailment"): 12,
        ("neutral", "contradiction"): 1,
    }
    assert JNLI_RELABELLED["263"].new == "contradiction"


def test_116_questions_about_34_paragraphs_are_faulty() -> None:
    assert len(JSQUAD_FAULTY) == 116
    assert len({id_.rpartition("q")[0] for id_ in JSQUAD_FAULTY}) == 34
    assert {"a4596p0q0", "a10743p19q3", "a95156p6q3"} <= JSQUAD_FAULTY
    assert not {"a10743p19q4", "a4596p0q4"} & JSQUAD_FAULTY


@needs_jglue
@pytest.mark.parametrize(
    ("version", "entailment", "contradiction", "neutral"), [("v1.1", 353, 734, 1347), ("v1.3", 349, 735, 1350)]
)
def test_the_labels_of_either_version_have_the_published_counts(
    official: dict[str, tuple[Item, ...]], version: str, entailment: int, contradiction: int, neutral: int
) -> None:
    viewed = [with_labels_of(item, version) for item in official["jnli"]]
    counts = Counter(item.gold[0] for item in viewed if isinstance(item.gold, tuple))
    assert counts == {"entailment": entailment, "contradiction": contradiction, "neutral": neutral}


@needs_jglue
def test_either_view_can_be_had_from_the_other(official: dict[str, tuple[Item, ...]]) -> None:
    for item in official["jnli"]:
        old = with_labels_of(item, "v1.1")
        assert with_labels_of(old, "v1.1") == old
        assert with_labels_of(old, "v1.3") == item == with_labels_of(item, "v1.3")
        assert (old.id, old.fields, old.choices) == (item.id, item.fields, item.choices)


@needs_jglue
def test_every_relabelled_and_every_faulty_item_is_in_the_official_file(
    official: dict[str, tuple[Item, ...]],
) -> None:
    assert sum(relabelled(item) is not None for item in official["jnli"]) == 29
    assert {item.id for item in official["jsquad"] if is_faulty(item)} == JSQUAD_FAULTY
    paragraphs = {item.fields["context"] for item in official["jsquad"] if is_faulty(item)}
    assert len(paragraphs) == 34
    assert sum(item.fields["context"] in paragraphs for item in official["jsquad"]) == 116


@needs_jglue
def test_a_label_that_is_neither_the_old_nor_the_new_one_stays(official: dict[str, tuple[Item, ...]]) -> None:
    item = next(item for item in official["jnli"] if item.id == "226")
    own = replace(item, gold=("contradiction",))
    assert with_labels_of(own, "v1.1") == with_labels_of(own, "v1.3") == own


def test_other_sentences_with_the_id_of_a_relabelled_item_keep_their_label() -> None:
    for id_ in JNLI_RELABELLED:
        item = jnli(id_, "neutral")
        assert with_labels_of(item, "v1.1") == item
        assert relabelled(item) is None


def test_other_subsets_are_unchanged() -> None:
    similarity = Item("jsts", "226", jnli("226", "neutral").fields, 2.4)
    choice = Item("jcommonsenseqa", "226", {"question": "冬に降る白いものは？"}, ("3",), ("0", "1", "2", "3", "4"))
    assert with_labels_of(similarity, "v1.1") == similarity
    assert with_labels_of(choice, "v1.1") == choice
    assert not is_faulty(replace(choice, id="a4596p0q0"))


@pytest.mark.parametrize("version", ["v1.2", "v1.0", "1.1", "V1.1", ""])
def test_a_version_whose_labels_are_not_known_is_refused(version: str) -> None:
    with pytest.raises(UnknownNameError, match=r"label version .*v1\.1, v1\.3.*The labels of v1\.2 are those of v1\.3"):
        with_labels_of(jnli("1", "neutral"), version)
