"""Files as people have them: line ends, encodings, exports of the Hugging Face Hub, tables; and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jglue_app import api
from jglue_app.data import files
from jglue_app.errors import DataError
from jglue_app.runs.events import Event
from jglue_app.runs.plan import make_plan
from jglue_app.runs.predictions import read_predictions
from jglue_app.runs.runner import run_plans
from jglue_app.settings import Settings
from jglue_app.types import Dataset, Item, ModelSpec

LABELS = ("entailment", "contradiction", "neutral")
PAIRS = [
    {
        "sentence_pair_id": str(i),
        "yjcaptions_id": f"{i}-1-2",
        "sentence1": f"犬が{i}匹走る。",
        "sentence2": "動物が動く。",
        "label": label,
    }
    for i, label in enumerate(("neutral", "entailment", "contradiction", "neutral"))
]
NUMBERS = [{**row, "label": number} for row, number in zip(PAIRS, (2, 0, 1, 2), strict=True)]
ANSWERS = [{"text": "京都", "answer_start": 2}, {"text": "京都市", "answer_start": 2}]
QUESTIONS = [
    {
        "id": f"q{i}",
        "title": "寺",
        "context": f"寺 [SEP] {place}にある。",
        "question": "どこか。",
        "answers": {"text": ["京都", "京都市"], "answer_start": [2, 2]},
        "is_impossible": False,
    }
    for i, place in enumerate(("京都市", "京都市", "東の京都市"))
]


def lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def features(*names: str) -> dict[str, str]:
    """What `datasets` writes into the metadata of a Parquet file."""
    kinds = {"label": {"names": list(names), "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": kinds}})}


def parquet(path: Path, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, str] | None = None) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)).replace_schema_metadata(metadata), path)
    return path


@pytest.fixture
def official(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A folder for JNLI, whose official file would hold the four pairs."""
    monkeypatch.setitem(files.PINNED_SHA256, "jnli/valid", hashlib.sha256(lines(PAIRS)).hexdigest())
    (tmp_path / "jglue" / "jnli-v1.3").mkdir(parents=True)
    return replace(settings, data_dir=tmp_path / "jglue")


def place(settings: Settings, content: bytes, suffix: str = ".json") -> Path:
    assert settings.data_dir is not None
    path = settings.data_dir / f"jnli-v1.3/valid-v1.3{suffix}"
    path.write_bytes(content)
    return path


# --- official files in another form ------------------------------------------------------------------------

FORMS = {
    "CRLF": lines(PAIRS).replace(b"\n", b"\r\n"),
    "CR": lines(PAIRS).replace(b"\n", b"\r"),
    "byte-order mark": b"\xef\xbb\xbf" + lines(PAIRS),
    "UTF-16": lines(PAIRS).decode().replace("\n", "\r\n").encode("utf-16"),
    "another format": json.dumps(PAIRS, indent=2).encode(),
}


@pytest.mark.parametrize("says", FORMS)
def test_an_official_file_in_another_form_is_verified_after_normalising_and_this_is_said(
    official: Settings, says: str
) -> None:
    path = place(official, lines(PAIRS))
    plain = files.load(official, "jnli")
    assert (plain.note, plain.sha256) == ("", hashlib.sha256(lines(PAIRS)).hexdigest())
    path.write_bytes(FORMS[says])
    found = files.load(official, "jnli")
    assert (found.items, found.sha256) == (plain.items, plain.sha256)
    assert found.note.startswith(f"{path}: ")
    assert says in found.note
    assert "Verified after normalising" in found.note
    row = next(row for row in files.verify(official) if (row["task"], row["split"]) == ("jnli", "valid"))
    assert (row["state"], row["sha256"], row["message"]) == ("ok", plain.sha256, found.note)


def test_a_run_over_a_copy_with_windows_line_ends_is_the_same_run_and_says_so(
    official: Settings, tmp_path: Path
) -> None:
    path = place(official, lines(PAIRS))
    model = ModelSpec(str(tmp_path / "table.jsonl"), "scripted")
    plain = make_plan(official, model, ["jnli"])
    path.write_bytes(FORMS["CRLF"])
    other = make_plan(official, model, ["jnli"])
    assert other.spec == plain.spec
    assert other.spec.spec_id == plain.spec.spec_id

    class NoPool:
        def fit_together(self, models: object) -> bool:
            return True

    first = next(iter(run_plans([("a", other)], NoPool(), tmp_path / "runs", lambda: True)))  # type: ignore[arg-type]
    assert isinstance(first, Event)
    assert (first.kind, first.message) == ("notice", other.datasets["jnli"].note)


def test_numbers_as_labels_of_the_official_file_are_taken_only_in_the_order_that_the_checksum_proves(
    official: Settings,
) -> None:
    path = place(official, lines(NUMBERS))
    assert [item.gold for item in files.load(official, "jnli").items] == [(row["label"],) for row in PAIRS]
    path.write_bytes(lines([{**row, "label": (0, 2, 1)[int(str(row["label"]))]} for row in NUMBERS]))
    with pytest.raises(DataError, match=r"not the official JGLUE v1\.3 file"):
        files.load(official, "jnli")


@pytest.mark.parametrize("order", [LABELS, LABELS[::-1]])
def test_a_parquet_export_of_the_official_file_is_verified_by_its_own_names_of_the_labels(
    official: Settings, order: tuple[str, ...]
) -> None:
    rows = [{**row, "label": order.index(row["label"])} for row in PAIRS]
    parquet(place(official, b"", ".parquet"), rows, features(*order))
    found = files.load(official, "jnli")
    assert [item.gold for item in found.items] == [(row["label"],) for row in PAIRS]
    assert found.sha256 == hashlib.sha256(lines(PAIRS)).hexdigest()


def test_one_changed_character_in_an_export_is_refused(official: Settings) -> None:
    parquet(
        place(official, b"", ".parquet"),
        [{**NUMBERS[0], "sentence1": "犬が0匹走る！"}, *NUMBERS[1:]],
        features(*LABELS),
    )
    with pytest.raises(DataError, match=r"not the official JGLUE v1\.3 file"):
        files.load(official, "jnli")


def test_similarities_in_32_bits_are_those_that_were_written(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**row, "label": score} for row, score in zip(PAIRS, (2.2, 0.0, 4.8, 3.3333333), strict=True)]
    monkeypatch.setitem(files.PINNED_SHA256, "jsts/valid", hashlib.sha256(lines(rows)).hexdigest())
    (tmp_path / "jsts-v1.3").mkdir()
    table = pa.Table.from_pylist(rows)
    table = table.set_column(4, "label", table["label"].cast(pa.float32()))
    pq.write_table(table, tmp_path / "jsts-v1.3/valid-v1.3.parquet")
    found = files.load(replace(settings, data_dir=tmp_path), "jsts")
    assert [item.gold for item in found.items] == [2.2, 0.0, 4.8, 3.3333333]


def test_a_flat_jsquad_export_is_the_nested_file(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [{"question": "どこか。", "id": f"q{i}", "answers": ANSWERS, "is_impossible": False} for i in range(3)]
    texts = [str(row["context"]) for row in QUESTIONS]
    paragraphs = [{"qas": asked[:2], "context": texts[0]}, {"qas": asked[2:], "context": texts[2]}]
    nested = lines([{"data": [{"title": "寺", "paragraphs": paragraphs}]}])
    monkeypatch.setitem(files.PINNED_SHA256, "jsquad/valid", hashlib.sha256(nested).hexdigest())
    folder = tmp_path / "jsquad-v1.3"
    folder.mkdir()
    here = replace(settings, data_dir=tmp_path)
    (folder / "valid-v1.3.json").write_bytes(nested)
    plain = files.load(here, "jsquad")
    for content in (lines(QUESTIONS), json.dumps(QUESTIONS, indent=1).encode()):
        (folder / "valid-v1.3.json").write_bytes(content)
        assert files.load(here, "jsquad").items == plain.items
    (folder / "valid-v1.3.json").unlink()
    parquet(folder / "valid-v1.3.parquet", QUESTIONS)
    assert files.load(here, "jsquad").items == plain.items
    assert plain.items[2].gold == ("京都", "京都市")


# --- one's own files ---------------------------------------------------------------------------------------


def review(label: object) -> dict[str, Any]:
    return {"review_id": "r1", "sentence": "とてもよい。", "label": label}


@pytest.mark.parametrize("label", [0, 1, "0"])
def test_a_number_as_a_label_that_nothing_names_is_refused_not_guessed(
    settings: Settings, tmp_path: Path, label: object
) -> None:
    path = tmp_path / "marc.json"
    path.write_text(json.dumps([review(label)]))
    with pytest.raises(
        DataError, match=r"entry 1: unknown label .+; expected one of positive, negative\. What a number"
    ):
        files.load(settings, "marc_ja", marc_ja=path)
    parquet(tmp_path / "marc.parquet", [review(int(str(label)))])
    with pytest.raises(DataError, match="row 1: unknown label"):
        files.load(settings, "marc_ja", marc_ja=tmp_path / "marc.parquet")


@pytest.mark.parametrize(
    ("names", "gold"), [(("positive", "negative"), "negative"), (("negative", "positive"), "positive")]
)
def test_a_number_means_what_the_file_says_it_means(
    settings: Settings, tmp_path: Path, names: tuple[str, ...], gold: str
) -> None:
    found = [files.load(settings, "marc_ja", marc_ja=parquet(tmp_path / "a.parquet", [review(1)], features(*names)))]
    kinds = json.loads(features(*names)["huggingface"])["info"]["features"]
    viewer = {"features": [{"name": "label", "type": kinds["label"]}], "rows": [{"row_idx": 0, "row": review(1)}]}
    (tmp_path / "viewer.json").write_text(json.dumps(viewer))
    found.append(files.load(settings, "marc_ja", marc_ja=tmp_path / "viewer.json"))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"features": kinds}))
    (tmp_path / "b.jsonl").write_bytes(lines([review(1)]))
    (tmp_path / "b.csv").write_text("review_id,sentence,label\nr1,とてもよい。,1\n", "utf-8")
    found += [files.load(settings, "marc_ja", marc_ja=tmp_path / name) for name in ("b.jsonl", "b.csv")]
    assert [d.items[0].gold for d in found] == [(gold,)] * 4


@pytest.mark.parametrize(("label", "says"), [(-1, "label -1 .*kept secret"), (2, "label 2 has no name")])
def test_a_number_beyond_the_names_is_refused(settings: Settings, tmp_path: Path, label: int, says: str) -> None:
    path = parquet(tmp_path / "a.parquet", [review(label)], features("positive", "negative"))
    with pytest.raises(DataError, match=f"row 1: {says}"):
        files.load(settings, "marc_ja", marc_ja=path)


def test_the_hubs_names_of_choices_are_their_numbers(tmp_path: Path) -> None:
    choices = {f"choice{i}": f"答え{i}" for i in range(5)}
    row = {"q_id": 1, "question": "どれか。", **choices, "label": 3}
    path = parquet(tmp_path / "a.parquet", [row], features(*choices))
    assert files.read_file("jcommonsenseqa", "valid", path, "user", "user").items[0].gold == ("3",)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "a.jsonl",
            '{"review_id": "1", "sentence": "犬"}'.encode("cp932"),
            r"line 1: not UTF-8\. Save the file as UTF-8",
        ),
        ("a.jsonl", '{"a": "犬"}'.encode("utf-16") + b"x", "begins as UTF-16 and does not go on so"),
        (
            "a.jsonl",
            b'{"review_id": "1", "label": "positive", "label": "negative"}',
            "line 1: the key 'label' appears twice",
        ),
        ("a.jsonl.gz", gzip.compress(b"{}", mtime=0), "is packed as gzip"),
        ("a.xlsx", b"PK\x03\x04rest", r"is packed as zip \(or a spreadsheet\)"),
        ("a.parquet", b"PAR1rest", "not a sound Parquet or Arrow file"),
        ("a.csv", b"review_id,sentence,label\n1,a\n", r"line 2: not as many cells as columns \(3\)"),
        ("a.csv", b"review_id,label,label\n1,a,b\n", "a column appears twice"),
        ("a.csv", b'review_id,sentence,label\n1,"a,b\n', r"line \d: not valid CSV \(unexpected end of data\)"),
        ("a.json", b'[{"review_id": "1"}', r"line 1, column \d+: not valid JSON"),
        ("a.json", b'[{"review_id": "1"}, 5]', "entry 1: field 'sentence' is missing"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_sentence(
    settings: Settings, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        files.load(settings, "marc_ja", marc_ja=tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


# --- predictions -------------------------------------------------------------------------------------------

JNLI = Dataset(
    "jnli",
    "valid",
    tuple(
        Item("jnli", f"0{i}", {"sentence1": "犬。", "sentence2": "猫。"}, (label,), LABELS)
        for i, label in enumerate(LABELS)
    ),
    "official",
    "v1.3",
    "valid.json",
    "ab" * 32,
)
OUTPUTS = [{"item_id": f"0{i}", "text": "は,い\n", "choice_logprobs": [-0.5, -1.25, -3.0]} for i in range(3)]


def test_predictions_of_every_shape_are_the_same_predictions(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(OUTPUTS))
    (tmp_path / "b.json").write_bytes(json.dumps(OUTPUTS, indent=1).encode())
    parquet(tmp_path / "c.parquet", OUTPUTS)
    cells = "".join(f'0{i},"は,い\n","[-0.5, -1.25, -3.0]"\n' for i in range(3))
    (tmp_path / "d.csv").write_bytes(f"item_id,text,choice_logprobs\n{cells}".replace("\n", "\r\n").encode("utf-8-sig"))
    tabs = "".join(f'0{i}\t"は,い\n"\t"[-0.5, -1.25, -3.0]"\n' for i in range(3))
    (tmp_path / "e.tsv").write_text(f"item_id\ttext\tchoice_logprobs\n{tabs}", "utf-8")
    (tmp_path / "f.jsonl").write_bytes(lines(OUTPUTS).decode().encode("utf-16"))
    for name in ("a.jsonl", "b.json", "c.parquet", "d.csv", "e.tsv", "f.jsonl"):
        found = [record.output for record in read_predictions(tmp_path / name, JNLI).records]
        assert [(o.text, o.choice_logprobs) for o in found if o] == [("は,い\n", (-0.5, -1.25, -3.0))] * 3, name


def test_an_empty_cell_is_an_empty_text_and_no_log_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("item_id,text,choice_logprobs\n00,,\n01,neutral,\n02,,\n")
    found = [record.output for record in read_predictions(path, JNLI).records]
    assert [(o.text, o.choice_logprobs) for o in found if o] == [("", None), ("neutral", None), ("", None)]


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ([0.2, 0.3, 0.5], r"holds 0\.2, .* give natural logarithms, not probabilities"),
        ([1, 0, 0], "holds 1, .* not probabilities"),
        ([2.5, 1.0, 0.1], r"holds 2\.5, .* not losses, logits or percentages"),
        ([-1.0, -2.0, 1e-3], r"holds 0\.001"),
        ([0, 0, 0], "are all 0"),
        (["-1", "-2", "-3"], "must be one number each for entailment"),
        ([-1, -2], "must be one number each for entailment"),
    ],
)
def test_numbers_that_are_no_log_probabilities_are_refused_by_line_and_item(
    tmp_path: Path, numbers: list[Any], says: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        lines([{"item_id": "00", "choice_logprobs": [-0.5, -0.25, 0]}, {"item_id": "01", "choice_logprobs": numbers}])
    )
    with pytest.raises(DataError, match=rf"line 2: 'choice_logprobs' of item '01' {says}"):
        read_predictions(path, JNLI, partial=True)


def test_scoring_says_that_the_official_file_was_normalised(
    official: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(official, FORMS["CRLF"])
    monkeypatch.setenv("JGLUE_DATA_DIR", str(official.data_dir))
    (tmp_path / "p.jsonl").write_bytes(lines([{"item_id": str(i), "text": "neutral"} for i in range(4)]))
    said: list[str] = []
    found = api.score("jnli", tmp_path / "p.jsonl", notify=said.append)
    assert found.reports["official"].tasks["jnli"].metrics["accuracy"].value == 2 / 4
    assert [sentence.startswith(f"{path}: line ends CRLF") for sentence in said] == [True]
