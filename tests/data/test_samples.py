"""The sample items shipped with the application: valid, balanced, and none shown as an example of itself."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from jglue_app.data import files
from jglue_app.settings import ASSETS, Settings
from jglue_app.types import Dataset, Item

SUBSETS = ("marc_ja", "jsts", "jnli", "jsquad", "jcommonsenseqa", "jcola")
STATEMENTS = {
    "marc_ja": ("sentence",),
    "jsts": ("sentence1", "sentence2"),
    "jnli": ("sentence1", "sentence2"),
    "jsquad": ("context", "question"),
    "jcommonsenseqa": ("question",),
    "jcola": ("sentence",),
}
"""The texts that make an item; choices and titles may well occur twice."""


def load(task: str, split: str) -> Dataset:
    nowhere = Path("nowhere")
    return files.load(Settings(False, None, "", nowhere, nowhere, 50), task, split, data="sample")


def label(item: Item) -> str:
    assert isinstance(item.gold, tuple)
    return item.gold[0]


def texts(task: str, item: Item) -> list[str]:
    return ["".join(item.fields[name].split()) for name in STATEMENTS[task]]


def test_samples_cover_all_six_subsets_and_nothing_else() -> None:
    shipped = sorted(str(path.relative_to(ASSETS / "samples")) for path in (ASSETS / "samples").rglob("*.json"))
    assert shipped == sorted(f"{task}/{split}.json" for task in SUBSETS for split in ("train", "valid"))


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("task", SUBSETS)
def test_a_sample_file_is_valid_and_marked_as_sample(task: str, split: str) -> None:
    found = load(task, split)
    assert (found.task, found.split, found.source, found.version) == (task, split, "sample", "sample-1")
    assert len(found.items) >= (40 if split == "valid" else 10)


@pytest.mark.parametrize(
    ("task", "counts"),
    [
        ("marc_ja", {"positive": 22, "negative": 22}),
        ("jnli", {"entailment": 15, "contradiction": 15, "neutral": 15}),
        ("jcommonsenseqa", {"0": 9, "1": 9, "2": 9, "3": 9, "4": 9}),
        ("jcola", {"acceptable": 22, "unacceptable": 22}),
    ],
)
def test_labels_are_balanced(task: str, counts: dict[str, int]) -> None:
    assert Counter(label(item) for item in load(task, "valid").items) == counts


def test_jsts_similarities_fill_their_range_evenly() -> None:
    bands = [(0.0, 0.6), (0.8, 1.6), (1.8, 2.4), (2.6, 3.4), (3.6, 4.2), (4.4, 5.0)]
    golds = [item.gold for item in load("jsts", "valid").items]
    assert [sum(isinstance(gold, float) and low <= gold <= high for gold in golds) for low, high in bands] == [8] * 6
    assert len(golds) == 48


@pytest.mark.parametrize("task", ["marc_ja", "jnli", "jcommonsenseqa", "jcola"])
def test_the_train_items_hold_every_label_equally_often(task: str) -> None:
    counts = Counter(label(item) for item in load(task, "train").items)
    assert set(counts) == set(load(task, "train").items[0].choices)
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("task", SUBSETS)
def test_no_train_item_shares_a_text_with_a_valid_item(task: str) -> None:
    valid = set(chain.from_iterable(texts(task, item) for item in load(task, "valid").items))
    shared = [item.id for item in load(task, "train").items if valid & set(texts(task, item))]
    assert shared == []


@pytest.mark.parametrize("task", SUBSETS)
def test_no_text_is_asked_about_twice(task: str) -> None:
    # A JSQuAD paragraph has several questions; everything else stands once.
    asked = ["\n".join(texts(task, item)) for split in ("train", "valid") for item in load(task, split).items]
    assert [text for text, count in Counter(asked).items() if count > 1] == []


@pytest.mark.parametrize("task", SUBSETS)
def test_ids_of_train_and_valid_items_differ(task: str) -> None:
    assert not {item.id for item in load(task, "train").items} & {item.id for item in load(task, "valid").items}


@pytest.mark.parametrize("split", ["train", "valid"])
def test_jcommonsenseqa_choices_of_an_item_differ(split: str) -> None:
    for item in load("jcommonsenseqa", split).items:
        assert len({item.fields[f"choice{i}"] for i in range(5)}) == 5, item.id


@pytest.mark.parametrize("split", ["train", "valid"])
def test_every_jsquad_answer_occurs_in_its_paragraph(split: str) -> None:
    for item in load("jsquad", split).items:
        assert isinstance(item.gold, tuple)
        for gold in item.gold:
            assert gold in item.fields["context"], item.id


@pytest.mark.parametrize("split", ["train", "valid"])
def test_every_jsquad_answer_stands_where_the_file_says(split: str) -> None:
    document = json.loads((ASSETS / "samples/jsquad" / f"{split}.json").read_text("utf-8"))
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            assert paragraph["context"].startswith(article["title"] + " [SEP] ")
            for question in paragraph["qas"]:
                for answer in question["answers"]:
                    start = answer["answer_start"]
                    assert paragraph["context"][start : start + len(answer["text"])] == answer["text"], question["id"]


def test_jsquad_samples_have_many_subjects() -> None:
    items = load("jsquad", "valid").items
    titles = Counter(item.fields["title"] for item in items)
    assert "" not in titles
    assert max(titles.values()) <= 4
