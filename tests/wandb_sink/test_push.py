"""Pushing again: nothing is doubled, what is new arrives, and what people have added stays."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jglue_app import wandb_sink
from jglue_app.api import open_run
from jglue_app.errors import InputError, NetworkError, StoreError, UnknownNameError
from jglue_app.wandb_sink.comparison_payload import comparison_payload
from tests.unsealed import unsealed
from tests.wandb_server import Run, WandbServer
from tests.wandb_sink.conftest import Cli
from tests.wandb_sink.known import (
    JNLI,
    JSTS,
    Json,
    files,
    lines,
    login,
    run_of,
    spec_id,
    steady,
    together,
)

MANY = 12_000
EARLIER, LATER = "jglue-vs-1111111111111111", "jglue-vs-2222222222222222"
"""Two comparisons."""


@dataclass(frozen=True)
class Seen:
    """A W&B run and its artifacts at one moment."""

    run: Run
    tables: dict[str, list[Json]]
    versions: dict[str, list[tuple[int, str, list[str]]]]
    """Collection → version, checksum and aliases."""


def seen(server: WandbServer, project: str, id_: str) -> Seen:
    run = copy.deepcopy(server.run(f"team/{project}/{id_}"))
    tables = {key: server.table(run, key) for key, value in run.summary.items() if isinstance(value, dict)}
    versions: dict[str, list[tuple[int, str, list[str]]]] = {}
    for artifact in server.artifacts:
        if (artifact.project, artifact.run) == (project, id_):
            found = (artifact.version, artifact.digest, list(artifact.aliases))
            versions.setdefault(artifact.name, []).append(found)
    return Seen(run, tables, versions)


def plain(run: Run) -> Json:
    """The values of a summary, without tables and the client's own."""
    return {key: value for key, value in run.summary.items() if not isinstance(value, dict) and key[0] != "_"}


def sure(folder: Path, method: str = "generate") -> Path:
    """A run over all of JNLI without a failure."""
    return run_of(steady(folder / f"sure-{method}.jsonl"), folder / "runs", method=method)


def multiplied(run: Path, folder: Path, wanted: int) -> Path:
    """The same run with many more items, each with its own words."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns(".lock"))
    unsealed(folder)
    stored = {row["item_id"]: row for row in lines(run / "records.jsonl")}
    asked = lines(run / "items.jsonl")
    with (folder / "items.jsonl").open("w") as items, (folder / "records.jsonl").open("w") as records:
        for number in range(wanted):
            item = asked[number % len(asked)]
            id_ = f"many{number:05}"
            record = {name: value for name, value in stored[item["id"]].items() if name != "crc32"}
            output = record["output"] | {"text": f"含意{number}", "seconds": number / 1024}
            items.write(json.dumps(item | {"id": id_}) + "\n")
            records.write(json.dumps(record | {"item_id": id_, "output": output}) + "\n")
    return folder


@dataclass(frozen=True)
class Pushed:
    """What was seen after each push of the module."""

    first: Seen
    again: Seen
    other: Seen
    """After people had added things, under another protocol."""
    half: Seen
    whole: Seen
    refusal: str
    """What was said when a part was pushed after the whole."""
    untouched: Seen
    """What stood there then."""
    smaller: Seen
    """After the part was pushed all the same."""
    many: Seen
    ada: Path
    grown: Path


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Iterator[Pushed]:
    folder = tmp_path_factory.mktemp("push")
    ada = (made / "ada").resolve()
    complete = sure(folder)
    grown = folder / "grown"
    shutil.copytree(complete, grown, ignore=shutil.ignore_patterns(".lock"))
    unsealed(grown)
    kept = (grown / "records.jsonl").read_bytes().splitlines(keepends=True)
    (grown / "records.jsonl").write_bytes(b"".join(kept[:30]))
    big = multiplied(complete, folder / "many", MANY)
    with WandbServer() as server:

        def push(run: Path, project: str, protocol: str = "official", **more: Any) -> Seen:
            sent = wandb_sink.push(run, login(server, project=project), protocol=protocol, **more)
            return seen(server, project, sent.id)

        def changing() -> list[Seen]:
            first = push(ada, "changing")
            run = server.run(first.run.path)
            run.tags.insert(0, "mine")
            run.notes = "worth a look"
            run.raw_config["reviewer"] = {"value": {"name": "花子"}}
            run.raw_summary |= {"mine/score": 0.5, "verdict": "good", "notices_of_hanako": 3}
            return [first, push(ada, "changing"), push(ada, "changing", "stability-jp")]

        def growing() -> list[Seen]:
            half = push(grown, "growing")
            run = server.run(half.run.path)
            run.display_name = "named by Hanako"
            # As an earlier version left a run of a comparison: in its group, and with its tag.
            run.group, run.tags = EARLIER, [*run.tags, EARLIER]
            (grown / "records.jsonl").write_bytes(b"".join(kept))
            whole = push(grown, "growing", group=LATER)
            (grown / "records.jsonl").write_bytes(b"".join(kept[:29]))
            with pytest.raises(InputError) as error:
                push(grown, "growing")
            refusals.append(str(error.value))
            untouched = seen(server, "growing", whole.run.id)
            return [half, whole, untouched, push(grown, "growing", replace=True, group=LATER)]

        refusals: list[str] = []
        found = together(changing, growing, lambda: [push(big, "many")], at_once=3)
        (first, again, other), (half, whole, untouched, smaller), (many,) = found
        (refusal,) = refusals
        assert server.unknown == []
        yield Pushed(first, again, other, half, whole, refusal, untouched, smaller, many, ada, grown)


# --- the same again -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_push_changes_no_row_no_score_and_no_setting(pushed: Pushed) -> None:
    first, again = pushed.first, pushed.again
    assert len(first.tables) == 5
    assert again.tables == first.tables
    assert {key: plain(again.run)[key] for key in plain(first.run)} == plain(first.run)
    assert {key: again.run.config[key] for key in first.run.config} == first.run.config
    assert (again.run.display_name, again.run.group, again.run.job_type) == (
        first.run.display_name,
        first.run.group,
        first.run.job_type,
    )


@pytest.mark.slow
def test_a_second_push_makes_no_second_run_and_no_second_version(pushed: Pushed) -> None:
    assert pushed.again.run.path == pushed.first.run.path
    assert pushed.again.versions == pushed.first.versions
    assert len(pushed.first.versions) == 6
    assert {len(versions) for versions in pushed.first.versions.values()} == {1}


@pytest.mark.slow
def test_a_second_push_leaves_no_second_copy_of_a_table(pushed: Pushed) -> None:
    assert set(pushed.again.run.files) == set(pushed.first.run.files)


@pytest.mark.slow
def test_no_push_writes_history(pushed: Pushed) -> None:
    assert [found.run.history for found in (pushed.first, pushed.again, pushed.other, pushed.many)] == [[]] * 4


# --- under another protocol -----------------------------------------------------------------------------


@pytest.mark.slow
def test_another_protocol_takes_the_first_place_and_leaves_no_key_of_the_old_one(pushed: Pushed) -> None:
    def first_place(found: Seen) -> set[str]:
        return {key.split("/")[1] for key in found.run.summary if key.startswith("jglue/")}

    assert {"jsts", "jnli", "jsquad", "average"} <= first_place(pushed.again)
    # It does not score JSTS, and has no lenient reading.
    assert "jsts" not in first_place(pushed.other)
    assert not {key for key in pushed.other.run.summary if key.startswith("jglue/") and "lenient" in key}
    assert "jglue/jnli/macro_f1" in pushed.other.run.summary
    assert "jglue/jnli/macro_f1" not in pushed.again.run.summary
    assert pushed.other.run.summary["push/protocol"] == pushed.other.run.config["protocol"] == "stability-jp"
    assert "stability-jp" in pushed.other.run.tags


@pytest.mark.slow
def test_the_tag_of_the_protocol_before_is_taken_away(pushed: Pushed) -> None:
    assert "official" in pushed.again.run.tags
    assert "official" not in pushed.other.run.tags


@pytest.mark.slow
def test_the_scores_by_protocol_stay_whichever_is_chosen(pushed: Pushed) -> None:
    def by_protocol(found: Seen) -> Json:
        return {key: value for key, value in found.run.summary.items() if key.startswith("protocols/")}

    assert len(by_protocol(pushed.again)) > 100
    assert by_protocol(pushed.other) == by_protocol(pushed.again)


@pytest.mark.slow
def test_the_rows_are_then_read_as_the_other_protocol_reads_them(pushed: Pushed) -> None:
    before, after = (found.tables["predictions/jnli"] for found in (pushed.again, pushed.other))
    assert [row["raw"] for row in before] == [row["raw"] for row in after]
    assert [row["correct"] for row in before] == [v and v == 1.0 for v in (row["verdict/official"] for row in before)]
    assert [row["parsed"] for row in after] == [row["choice"] for row in after]
    assert [row["parsed"] for row in before] != [row["parsed"] for row in after]


# --- what people have added -----------------------------------------------------------------------------


@pytest.mark.slow
def test_what_people_have_added_at_the_server_survives_every_push(pushed: Pushed) -> None:
    for found in (pushed.again, pushed.other):
        assert "mine" in found.run.tags
        assert found.run.notes == "worth a look"
        assert found.run.config["reviewer"] == {"name": "花子"}
        assert found.run.summary["mine/score"] == 0.5
        assert found.run.summary["verdict"] == "good"


@pytest.mark.slow
def test_a_key_that_only_begins_like_one_of_ours_survives(pushed: Pushed) -> None:
    assert pushed.again.run.summary["notices_of_hanako"] == 3


# --- a run that grows -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_that_was_unfinished_is_completed_in_place(pushed: Pushed) -> None:
    half, whole = pushed.half, pushed.whole
    assert half.run.path == whole.run.path
    assert ("unfinished" in half.run.tags, "unfinished" in whole.run.tags) == (True, False)
    assert (half.run.summary["push/items"], whole.run.summary["push/items"]) == (30, 45)
    assert (half.run.summary["push/finished"], whole.run.summary["push/finished"]) == (False, True)
    assert (len(half.tables["predictions/jnli"]), len(whole.tables["predictions/jnli"])) == (30, 45)
    assert whole.run.summary["jglue/jnli/accuracy"] == sum(gold == "entailment" for gold in JNLI.values()) / 45


@pytest.mark.slow
def test_its_folder_gets_a_second_version_and_the_newest_is_the_latest(pushed: Pushed) -> None:
    name = f"jglue-run-{spec_id(pushed.grown)}"
    before, after = pushed.half.versions[name], pushed.whole.versions[name]
    assert [(version, aliases) for version, _, aliases in before] == [(0, ["latest"])]
    assert [(version, aliases) for version, _, aliases in after] == [(0, []), (1, ["latest"])]


@pytest.mark.slow
def test_a_name_that_people_have_given_a_run_stays(pushed: Pushed) -> None:
    assert pushed.whole.run.display_name == "named by Hanako"


@pytest.mark.slow
def test_a_part_does_not_replace_the_whole_unless_it_is_told_to(pushed: Pushed) -> None:
    assert "W&B has 45 items of this run already, and here it has 29. Nothing was sent." in pushed.refusal
    assert "--replace" in pushed.refusal
    assert pushed.untouched == pushed.whole
    assert (pushed.smaller.run.summary["push/items"], "unfinished" in pushed.smaller.run.tags) == (29, True)
    assert len(pushed.smaller.tables["predictions/jnli"]) == 29


# --- comparisons ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_comparison_leaves_the_run_in_the_first_and_the_same_again_adds_nothing(pushed: Pushed) -> None:
    assert "comparisons" not in pushed.half.run.config
    for found in (pushed.whole, pushed.smaller):
        assert found.run.group == EARLIER
        assert found.run.config["comparisons"] == [EARLIER, LATER]
        assert (found.run.tags.count(EARLIER), found.run.tags.count(LATER)) == (1, 1)


# --- size -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_table_of_twelve_thousand_rows_arrives_whole(pushed: Pushed) -> None:
    rows = pushed.many.tables["predictions/jnli"]
    assert [row["item_id"] for row in rows] == [f"many{number:05}" for number in range(MANY)]
    assert [row["raw"] for row in rows] == [f"含意{number}" for number in range(MANY)]
    assert [row["seconds"] for row in rows] == [number / 1024 for number in range(MANY)]
    assert pushed.many.run.summary["jglue/jnli/accuracy/n"] == MANY


# --- what cannot be pushed ------------------------------------------------------------------------------


def told(call: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception, match=r".") as found:
        call()
    return found.value


def test_what_has_nothing_to_score_is_refused_in_a_sentence_before_anything_is_sent(tmp_path: Path, made: Path) -> None:
    ada = (made / "ada").resolve()
    texts = sure(tmp_path)
    with_jsts = run_of(made / "ada.jsonl", tmp_path / "runs", ("jsts", "jnli"), "generate")
    only_jsts = run_of(made / "ada.jsonl", tmp_path / "jsts", ("jsts",), "generate")
    empty = tmp_path / "empty"
    shutil.copytree(ada, empty)
    (unsealed(empty) / "records.jsonl").write_bytes(b"")
    with WandbServer() as server:
        to = login(server)

        def pushing(run: Path, protocol: str = "stability-jp") -> Callable[[], BaseException]:
            return lambda: told(lambda: wandb_sink.push(run, to, protocol=protocol))

        found = together(pushing(texts), pushing(with_jsts), pushing(only_jsts), pushing(empty, "official"))
        assert [type(error) for error in found] == [InputError] * 4
        for error in found[:2]:
            assert "stability-jp" in str(error)
            assert "--method" in str(error)
        assert "stability-jp" in str(found[2])
        assert "no answer yet" in str(found[3])
        assert server.requests == []


@pytest.mark.slow
def test_a_run_whose_every_output_is_unreadable_is_sent_as_that(tmp_path: Path) -> None:
    rows = [{"task": "jsts", "item_id": id_, "text": "とても近い"} for id_ in JSTS]
    model = tmp_path / "wordy.jsonl"
    model.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    run = run_of(model, tmp_path / "runs", ("jsts",), "generate")
    with WandbServer() as server:
        sent = wandb_sink.push(run, login(server))
        found = server.run(sent.id)
        assert (found.state, found.summary["push/state"], found.summary["push/items"]) == ("finished", "complete", 48)
        assert (found.summary["jglue/jsts/pearson/n"], found.summary.get("jglue/jsts/pearson")) == (0, None)
        assert found.summary["jglue/jsts/pearson/unreadable"] == 48
        assert [row["raw"] for row in server.table(found, "predictions/jsts")] == ["とても近い"] * 48
        standing = wandb_sink.standings(login(server)).of("official", "sample")[sent.id]
        assert (standing.tasks["jsts"].value, standing.tasks["jsts"].n) == (None, 0)


def test_what_is_no_run_or_no_protocol_is_refused_before_anything_is_sent(tmp_path: Path, made: Path) -> None:
    ada = (made / "ada").resolve()
    before = files(ada)
    with WandbServer() as server:
        to = login(server)
        with pytest.raises(StoreError, match=r"is not a run: it has no manifest\.json"):
            wandb_sink.push(tmp_path / "nothing", to)
        with pytest.raises(UnknownNameError, match=r"Did you mean 'official'\?"):
            wandb_sink.push(ada, to, protocol="oficial")
        with pytest.raises(InputError, match=r"are the same run"):
            wandb_sink.push_comparison(ada, ada / ".." / ada.name, to)
        with pytest.raises(StoreError, match=r"is not a run"):
            wandb_sink.push_comparison(ada, tmp_path, to)
        assert server.requests == []
    assert files(ada) == before


def test_runs_without_a_common_item_cannot_be_compared(tmp_path: Path, made: Path) -> None:
    jsts = run_of(made / "ada.jsonl", tmp_path / "runs", ("jsts",))
    with pytest.raises(InputError, match=r"no item in common"):
        comparison_payload(open_run(jsts).data(), open_run(sure(tmp_path)).data(), "official", {})
    with WandbServer() as server, pytest.raises(InputError, match=r"no item in common"):
        wandb_sink.push_comparison(jsts, sure(tmp_path), login(server))
    assert server.runs == {}


def test_what_speaks_against_the_second_is_told_before_the_first_is_sent(made: Path, cli: Cli) -> None:
    ada, ben = ((made / name).resolve() for name in ("ada", "ben"))
    with WandbServer() as server:
        larger = server.add_run(Run("team", "jglue", f"jglue-{spec_id(ben)}", job_type="evaluation"))
        larger.raw_summary = {"push/items": 10_000}
        with pytest.raises(InputError, match=r"W&B has 10,000 items of this run already.*ben"):
            wandb_sink.push_comparison(ada, ben, login(server))
        told = cli("push", ada, ben, "--project", "team/jglue", server=server)
        assert (told.code, told.out) == (2, "")
        assert "W&B has 10,000 items of this run already" in told.err
        assert list(server.runs) == [larger.path]


@pytest.mark.slow
def test_of_two_runs_the_one_that_arrived_is_named_when_the_second_fails(
    made: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = ((made / name).resolve() for name in ("ada", "ben"))
    real = wandb_sink.push

    def push(run: Path, *rest: Any, **more: Any) -> wandb_sink.PushResult:
        if run == ben:
            raise NetworkError("The line was cut.")
        return real(run, *rest, **more)

    monkeypatch.setattr(wandb_sink, "push", push)
    with WandbServer() as server:
        told = cli("push", ada, ben, "--project", "team/jglue", "--json", server=server)
        assert (told.code, told.out) == (4, "")
        assert f"Sent: {server.url}/team/jglue/runs/jglue-{spec_id(ada)}" in told.err
        assert "An offline copy is sent by: wandb sync" in told.err
        assert server.run(f"jglue-{spec_id(ada)}").summary["push/state"] == "complete"
