"""A finished run that lost or changed something: the same scores as before, or a sentence; never other numbers."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jglue_app import compare, evaluate, open_run, rescore
from jglue_app.api import Run
from jglue_app.cli import app
from jglue_app.data.files import load
from jglue_app.errors import DataError, JglueAppError, StoreError
from jglue_app.results import archive
from jglue_app.results.library import Library
from jglue_app.runs.store import RunStore
from jglue_app.settings import load_settings
from tests.test_api import GOLDS, WORDS

FILES = ("manifest.json", "items.jsonl", "records.jsonl")
TASKS = ["jsts", "jnli"]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """Answers all items of two subsets, a few of them wrongly."""
    rows = [
        {"task": "jnli", "item_id": id_, "text": WORDS[gold] if i % 3 else "中立"}
        for i, (id_, gold) in enumerate(GOLDS.items())
    ]
    path = tmp_path / "model.jsonl"
    samples = load(load_settings(), "jsts", "valid", data="sample").items
    rest = [{"task": "jsts", "item_id": item.id, "text": f"{i % 6}"} for i, item in enumerate(samples)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows + rest), "utf-8")
    return str(path)


@pytest.fixture
def run(model: str) -> Run:
    return evaluate(model, TASKS, data="sample", limit=5, method="generate")


def again(model: str) -> Run:
    return evaluate(model, TASKS, data="sample", limit=5, method="generate")


def numbers(run: Run) -> dict[str, Any]:
    """What a reader would believe: the counts and every metric."""
    return {
        name: (task.n, task.planned, dict(task.metrics), dict(task.outcomes))
        for name, task in run.report().tasks.items()
    }


def change_lines(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        lines = path.read_text("utf-8").splitlines(keepends=True)
        path.write_text("".join(change(lines)), "utf-8")

    return do


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def in_json(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """The second line changed as a value, with no checksum to tell it by."""

    def do(path: Path) -> None:
        lines = path.read_text("utf-8").splitlines()
        row = json.loads(lines[1])
        row.pop("crc32", None)
        change(row)
        lines[1] = json.dumps(row)
        path.write_text("\n".join(lines) + "\n", "utf-8")

    return do


LINES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "blank": lambda path: path.write_bytes(b""),
    "a folder": a_folder,
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "without its last line": change_lines(lambda lines: lines[:-1]),
    "without a line in the middle": change_lines(lambda lines: lines[:3] + lines[4:]),
    "without its first line": change_lines(lambda lines: lines[1:]),
    "with a line twice": change_lines(lambda lines: [*lines, lines[0]]),
    "in another order": change_lines(lambda lines: lines[::-1]),
    "with a blank line": change_lines(lambda lines: [lines[0], "\n", *lines[1:]]),
    "not UTF-8": lambda path: path.write_bytes(b"\xff" + path.read_bytes()),
    "deep": lambda path: path.write_bytes(b"[" * 200_000 + b"\n" + path.read_bytes()),
}


@pytest.mark.parametrize("how", LINES)
@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_of_a_finished_run_that_is_damaged_gives_the_same_scores_or_a_sentence(
    run: Run, model: str, name: str, how: str
) -> None:
    before = numbers(run)
    LINES[how](run.path / name)
    assert told(lambda: Run(run.path)) in (before, "a sentence")
    now = told(lambda: again(model))
    if how in ("a folder", "with a blank line", "not UTF-8", "deep"):
        assert now in (before, "a sentence")
    else:
        assert now == told(lambda: Run(run.path)) == before, "started again, it is whole again"


def told(opened: Callable[[], Run]) -> dict[str, Any] | str:
    """The numbers of a run, or that it was refused in a sentence which names its folder or what is in it."""
    try:
        return numbers(opened())
    except StoreError as e:
        return "a sentence" if ".jsonl" in str(e) or "manifest.json" in str(e) else str(e)


@pytest.mark.parametrize("how", ["missing", "blank", "torn", "without its last line", "without a line in the middle"])
def test_lost_items_are_a_sentence_where_only_the_run_is_at_hand(run: Run, how: str) -> None:
    LINES[how](run.path / "items.jsonl")
    for read in (Run(run.path).report, lambda: rescore(run.path), lambda: compare(run.path, run.path)):
        with pytest.raises(StoreError, match=r"items\.jsonl.*start the same run again, which rewrites it"):
            read()


@pytest.mark.parametrize("how", ["missing", "blank", "without its last line", "without a line in the middle"])
def test_lost_answers_are_a_sentence_and_are_given_anew_when_the_run_is_started_again(
    run: Run, model: str, how: str
) -> None:
    before = (run.path / "records.jsonl").read_text("utf-8").splitlines()
    LINES[how](run.path / "records.jsonl")
    kept = (run.path / "records.jsonl").read_text("utf-8").splitlines() if how != "missing" else []
    with pytest.raises(StoreError, match=rf"has lost {len(before) - len(kept)} of its answers"):
        Run(run.path).report()
    again(model)
    now = (run.path / "records.jsonl").read_text("utf-8").splitlines()
    assert now[: len(kept)] == kept
    assert len(now) == len(before)


def test_answers_without_a_manifest_are_never_taken_for_those_of_todays_weights(run: Run, model: str) -> None:
    (run.path / "manifest.json").unlink()
    with pytest.raises(StoreError, match="holds answers and no manifest"):
        again(model)
    with pytest.raises(StoreError, match="has no manifest"):
        Run(run.path).report()


def test_a_manifest_of_another_run_is_seen(run: Run, model: str) -> None:
    other = evaluate(model, ["jnli"], data="sample", limit=5, method="generate")
    shutil.copy(other.path / "manifest.json", run.path / "manifest.json")
    with pytest.raises(StoreError, match="describes another run"):
        again(model)
    with pytest.raises(StoreError):
        Run(run.path).report()


def test_items_of_another_subset_or_run_are_seen(run: Run, model: str) -> None:
    before = numbers(run)
    for task in ("jcommonsenseqa", "jnli"):
        other = evaluate(model, [task], data="sample", limit=6, method="generate")
        shutil.copy(other.path / "items.jsonl", run.path / "items.jsonl")
        with pytest.raises(StoreError, match=r"items\.jsonl is not as it was written"):
            Run(run.path).report()
        assert numbers(again(model)) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row["output"].update(text=5),
        lambda row: row["output"].update(finish="often"),
        lambda row: row["output"].update(seconds=float("nan")),
        lambda row: row["output"].update(prompt_tokens="3"),
        lambda row: row["output"].update(new_tokens=10**400),
        lambda row: row["output"].update(choice_logprobs="abc"),
        lambda row: row["output"].update(choice_logprobs=[None]),
        lambda row: row.update(output=[]),
        lambda row: row.update(error={"kind": 1, "message": "x"}),
        lambda row: row.update(task=["jnli"]),
        lambda row: row.update(item_id=3),
        lambda row: row.update(item_id="nowhere"),
        lambda row: row["prompt"].update(text=None),
        lambda row: row["prompt"].update(stop="\n"),
        lambda row: row["prompt"].update(answers=[1, 2]),
        lambda row: row["prompt"].update(messages={"role": "user"}),
    ],
)
def test_a_record_of_wrong_types_is_a_sentence_in_a_run_of_any_age(
    run: Run, change: Callable[[dict[str, Any]], Any]
) -> None:
    in_json(change)(run.path / "records.jsonl")
    with pytest.raises(StoreError, match=r"records\.jsonl"):
        Run(run.path).report()
    assert Library(run.path.parent).all() == []
    assert list(Library(run.path.parent).damaged()) == [run.path.name]


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.update(gold="x"),
        lambda row: row.update(gold=float("inf")),
        lambda row: row.update(gold=-1),
        lambda row: row.update(gold=True),
        lambda row: row.update(gold=[]),
        lambda row: row.update(task="jnli"),
        lambda row: row.update(task="elsewhere"),
        lambda row: row.update(fields={"sentence1": 3, "sentence2": "b"}),
        lambda row: row.update(fields={"sentence1": "a"}),
        lambda row: row.update(choices="abc"),
    ],
)
def test_an_item_of_wrong_types_is_a_sentence_in_a_run_of_any_age(
    run: Run, change: Callable[[dict[str, Any]], Any]
) -> None:
    table = json.loads((run.path / "manifest.json").read_text("utf-8"))
    del table["items"], table["records"]
    (run.path / "manifest.json").write_text(json.dumps(table), "utf-8")
    in_json(change)(run.path / "items.jsonl")
    with pytest.raises(StoreError, match=r"items\.jsonl, line 2: damaged"):
        Run(run.path).report()


@pytest.mark.parametrize("how", ["missing", "blank", "without its last line", "without a line in the middle"])
def test_a_run_of_an_older_version_that_lost_items_is_seen_by_its_limit(run: Run, model: str, how: str) -> None:
    before = numbers(run)
    table = json.loads((run.path / "manifest.json").read_text("utf-8"))
    del table["items"], table["records"]
    (run.path / "manifest.json").write_text(json.dumps(table), "utf-8")
    records = (run.path / "records.jsonl").read_text("utf-8").splitlines()
    plain = [json.loads(line) for line in records]
    for row in plain:
        del row["crc32"]
    (run.path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain), "utf-8")
    assert numbers(Run(run.path)) == before, "it opens as before"
    LINES[how](run.path / "items.jsonl")
    with pytest.raises(StoreError, match=r"items\.jsonl"):
        Run(run.path).report()
    assert numbers(again(model)) == before


def test_bytes_cut_doubled_or_changed_anywhere_never_give_other_numbers(run: Run) -> None:
    """400 places over the three files, by a generator of fixed seed; read as `rescore` and the page do."""
    before = numbers(run)
    rng = random.Random(0)
    whole = {name: (run.path / name).read_bytes() for name in FILES}
    seen = {"same": 0, "sentence": 0}
    for turn in range(400):
        name = FILES[turn % 3]
        at, length = rng.randrange(len(whole[name])), rng.choice((1, 1, 2, 40, 2_000))
        part = whole[name][at : at + length]
        instead = rng.choice((b"", part * 2, bytes([part[0] ^ 1]) + part[1:]))
        (run.path / name).write_bytes(whole[name][:at] + instead + whole[name][at + length :])
        library = Library(run.path.parent)
        try:
            assert numbers(Run(run.path)) == before
            assert library.report(run.path) == Run(run.path).report()
            seen["same"] += 1
        except StoreError:
            assert list(library.damaged()) == [run.path.name]
            seen["sentence"] += 1
        (run.path / name).write_bytes(whole[name])
    assert seen["sentence"] > 200
    assert numbers(run) == before


# --- every command ----------------------------------------------------------------------------------------


@pytest.fixture
def called(run: Run) -> Callable[..., tuple[int, str]]:
    def call(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, JglueAppError):
            return result.exception.exit_code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout if "--json" in arguments else result.output

    return call


@pytest.mark.parametrize("name", FILES)
def test_every_command_that_names_a_damaged_run_ends_with_exit_code_5(
    run: Run, tmp_path: Path, called: Callable[..., tuple[int, str]], name: str
) -> None:
    id_ = run.path.name
    (run.path / name).write_bytes(b"".join((run.path / name).read_bytes().splitlines(keepends=True)[:-1]))
    for arguments in (
        ("rescore", id_),
        ("rescore", id_, "--protocol", "official", "--json"),
        ("compare", id_, id_),
        *(("export", id_, str(tmp_path / f"out.{ending}")) for ending in ("jsonl", "csv", "parquet", "zip")),
    ):
        code, said = called(*arguments)
        assert code == 5, (arguments, said)
    assert list(tmp_path.glob("out.*")) == []


def test_lists_name_the_damaged_and_show_the_others(
    run: Run, model: str, called: Callable[..., tuple[int, str]]
) -> None:
    other = evaluate(model, ["jnli"], data="sample", limit=4)
    for name, how in (("items.jsonl", "missing"), ("manifest.json", "missing"), ("records.jsonl", "deep")):
        copy = run.path.with_name(f"copy-{name[:4]}")
        shutil.copytree(run.path, copy)
        LINES[how](copy / name)
    code, said = called("runs", "--json")
    rows = {row["id"]: row for row in json.loads(said)}
    assert code == 0
    assert set(rows) == {run.path.name, other.path.name, "copy-item", "copy-mani", "copy-reco"}
    assert {id_ for id_, row in rows.items() if "damaged" in row} == {"copy-item", "copy-mani", "copy-reco"}
    code, said = called("runs")
    assert code == 0 and said.count("damaged: copy-") == 3
    code, said = called("leaderboard", "--data", "sample", "--tasks", "jnli")
    assert code == 0 and said.count("damaged: copy-") == 3
    for name in ("copy-item", "copy-mani", "copy-reco"):
        assert called("delete", name, "--yes")[0] == 0
    assert Library(run.path.parent).damaged() == {}


def test_a_run_that_has_only_begun_is_not_damaged(run: Run) -> None:
    begun = run.path.with_name("0" * 16)
    with RunStore(begun).writing() as writer:
        assert Library(run.path.parent).damaged() == {}
        writer.items(RunStore(run.path).items())
        assert Library(run.path.parent).damaged() == {}


def test_killed_between_the_two_files_while_its_limit_is_raised_a_run_is_whole(run: Run, model: str) -> None:
    """Each of the three states that raising the limit passes through, made by hand."""
    small = {name: (run.path / name).read_bytes() for name in FILES}
    before = numbers(run)
    evaluate(model, TASKS, data="sample", limit=8, method="generate")
    large = {name: (run.path / name).read_bytes() for name in FILES}
    both = json.loads(small["manifest.json"])
    both["items"] = [both["items"], json.loads(large["manifest.json"])["items"]]
    middle = json.dumps(both).encode()
    for manifest, items in ((middle, small), (middle, large)):
        (run.path / "manifest.json").write_bytes(manifest)
        (run.path / "items.jsonl").write_bytes(items["items.jsonl"])
        (run.path / "records.jsonl").write_bytes(small["records.jsonl"])
        assert numbers(run) == before
        now = evaluate(model, TASKS, data="sample", limit=8, method="generate")
        assert {name: task[0] for name, task in numbers(now).items()} == {"jsts": 8, "jnli": 8}
        assert (run.path / "items.jsonl").read_bytes() == large["items.jsonl"]


# --- brought in from elsewhere ----------------------------------------------------------------------------


def test_what_is_brought_in_is_a_whole_run_or_refused(run: Run, tmp_path: Path) -> None:
    before = numbers(run)
    packed = archive.pack(run.path, tmp_path / "run.zip")
    good = archive.unpack(packed, tmp_path / "good")
    assert numbers(Run(good)) == before
    rng = random.Random(1)
    texts = {name: (run.path / name).read_bytes() for name in FILES}
    for turn in range(120):
        name = FILES[turn % 3]
        at = rng.randrange(len(texts[name]))
        changed = texts | {name: texts[name][:at] + texts[name][at + rng.choice((1, 5, 300)) :]}
        bad = tmp_path / f"bad-{turn}.zip"
        with zipfile.ZipFile(bad, "w") as out:
            for member, content in changed.items():
                out.writestr(f"run/{member}", content)
        try:
            brought = archive.unpack(bad, tmp_path / f"in-{turn}")
        except DataError:
            continue
        assert numbers(Run(brought)) == before


def test_a_folder_opened_by_its_path_is_read_with_the_same_care(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "items.jsonl").unlink()
    with pytest.raises(StoreError, match=r"items\.jsonl is gone"):
        open_run(copy).report()


# --- a smaller request to a larger run --------------------------------------------------------------------


def test_a_smaller_limit_after_a_larger_one_shows_what_was_asked_and_leaves_the_run_as_large_as_it_is(
    model: str, called: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    base = ("--model", model, "--tasks", "jnli", "--data", "sample", "--method", "generate", "--json")
    large = json.loads(called("run", *base, "--limit", "12")[1])
    small = json.loads(called("run", *base, "--limit", "2")[1])
    assert small["run"] == large["run"]
    for told, count in ((large, 12), (small, 2)):
        assert (told["report"]["tasks"]["jnli"]["n"], told["report"]["tasks"]["jnli"]["planned"]) == (count, count)
    folder = Path(small["run"])
    asked = evaluate(model, ["jnli"], data="sample", limit=2, method="generate").items
    assert asked is not None
    # An answer is lost: one that the smaller request asks for is given again by it, another is not.
    whole = (folder / "records.jsonl").read_text("utf-8").splitlines(keepends=True)
    inside = next(line for line in whole if json.loads(line)["item_id"] in asked["jnli"])
    outside = next(line for line in whole if json.loads(line)["item_id"] not in asked["jnli"])
    (folder / "records.jsonl").write_text("".join(line for line in whole if line != inside), "utf-8")
    assert called("run", *base, "--limit", "2")[0] == 0
    assert RunStore(folder).spec().limit == 12
    assert json.loads(called("rescore", folder.name, "--protocol", "official", "--json")[1])["n"] == 12
    (folder / "records.jsonl").write_text("".join(line for line in whole if line != outside), "utf-8")
    for arguments in (("run", *base, "--limit", "2"), ("rescore", folder.name)):
        assert called(*arguments)[0] == 5
    assert json.loads(called("run", *base, "--limit", "12")[1])["report"]["tasks"]["jnli"]["n"] == 12
    code, _ = called("export", folder.name, str(tmp_path / "out.jsonl"))
    assert (code, len((tmp_path / "out.jsonl").read_text("utf-8").splitlines())) == (0, 12)


@pytest.mark.parametrize("key", ["answered", "tried"])
def test_a_count_that_is_infinite_is_refused(run: Run, key: str) -> None:
    path = run.path / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["records"][key] = float("inf")
    path.write_text(json.dumps(manifest).replace("Infinity", "1e999"), "utf-8")
    with pytest.raises(StoreError, match="is not a run's manifest"):
        open_run(run.path).report()


def test_an_answer_whose_prompt_asks_for_other_labels_than_the_item_has_is_refused(run: Run) -> None:
    path = run.path / "records.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows:
        del row["crc32"]
    changed = next(row for row in rows if row["task"] == "jnli")
    changed["prompt"]["answers"].append("別")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with pytest.raises(
        StoreError, match=f"the prompt of jnli '{changed['item_id']}' asks for 4 labels, and the item has 3"
    ):
        open_run(run.path).report()
    library = Library(run.path.parent)
    assert library.all() == []
    assert "asks for 4 labels" in library.damaged()[run.path.name]
