"""Runs: every item is answered once, whatever happens in between. The model is a table of answers."""

from __future__ import annotations

import collections
import hashlib
import importlib.metadata
import itertools
import json
import multiprocessing
import platform
import random
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from jglue_app.backends.fingerprint import CONVERSION, ModelFingerprint
from jglue_app.backends.pool import ModelPool
from jglue_app.backends.scripted import ScriptedBackend
from jglue_app.data import files
from jglue_app.errors import ModelError, ModelNotFoundError, RunBusyError, StoreError
from jglue_app.prompts.styles import style_names
from jglue_app.runs import runner
from jglue_app.runs.changes import changes_since
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plan, run_plans
from jglue_app.runs.store import RunStore
from jglue_app.scoring.report import report_run
from jglue_app.settings import ASSETS, Settings
from jglue_app.tasks import DEFAULT_TASKS, TASKS
from jglue_app.types import Decoding, Item, ModelSpec, Prompt, PromptSpec, Record, RunError
from tests.conftest import TinyModel

ROOT = Path(__file__).resolve().parents[2]
ALL = list(DEFAULT_TASKS)


def sample_items(task: str) -> tuple[Item, ...]:
    path = files.sample_path(task, "valid")
    return files.read_file(task, "valid", path, "sample", "sample-1").items


def table(path: Path, tasks: Iterable[str] = ALL, *, leave_out: Sequence[str] = (), **more: Any) -> Path:
    """A table with a text of its own for each sample item, and log-probabilities where there are choices."""
    rows = [
        {
            "task": task,
            "item_id": item.id,
            "text": f"答え {task} {item.id}",
            "choice_logprobs": [-0.5 * i - n / 1000 for i in range(len(item.choices))] or None,
            **more,
        }
        for task in tasks
        for n, item in enumerate(sample_items(task))
        if item.id not in leave_out
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return table(tmp_path / "table.jsonl")


def planned(settings: Settings, model: Path, tasks: Sequence[str] = ("jnli",), **words: Any) -> Plan:
    words = {"data_kind": "sample", **words}
    return make_plan(settings, ModelSpec(str(model), "scripted"), tasks, **words)


def run(settings: Settings, *plans: Plan, should_stop: Callable[[], bool] = lambda: False) -> list[Event]:
    """Run one plan, or two as sides A and B."""
    sides: list[tuple[Literal["a", "b"], Plan]] = [("a", plans[0]), *(("b", p) for p in plans[1:])]
    with ModelPool(settings) as pool:
        return list(run_plans(sides, pool, settings.runs_dir, should_stop))


def records_file(settings: Settings, plan: Plan) -> Path:
    return RunStore.of(settings.runs_dir, plan.spec).path / "records.jsonl"


def written(settings: Settings, plan: Plan) -> list[tuple[str, str]]:
    """(task, item id) of every line, in order, read without the code under test."""
    rows = [json.loads(line) for line in records_file(settings, plan).read_text("utf-8").splitlines()]
    return [(row["task"], row["item_id"]) for row in rows]


def wanted(plan: Plan) -> list[tuple[str, str]]:
    return [(task, item.id) for task, items in plan.items.items() for item in items]


def told(events: Iterable[Event]) -> list[Record]:
    return [event.record for event in events if event.record]


# --- every item once --------------------------------------------------------------------------------------


def test_every_item_of_every_subset_gets_one_record_that_is_told_of_once_stored(
    settings: Settings, model: Path
) -> None:
    plan = planned(settings, model, ALL)
    assert plan.total > 200
    file, seen = records_file(settings, plan), list[Record]()
    with ModelPool(settings) as pool:
        for event in run_plan(plan, pool, settings.runs_dir):
            if event.record:
                seen.append(event.record)
                assert file.read_bytes().count(b"\n") >= len(seen)
    assert written(settings, plan) == wanted(plan) == [(r.task, r.item_id) for r in seen]
    assert RunStore(file.parent).records() == seen
    for record in seen:
        assert record.spec_id == plan.spec.spec_id
        assert record.output
        assert record.output.text == f"答え {record.task} {record.item_id}"


def test_events_count_items_of_subset_and_run_up_to_the_end_errors_too(settings: Settings, model: Path) -> None:
    items = planned(settings, model, ["jsts", "jnli"], limit=6).items
    table(model, leave_out=[items["jsts"][1].id, items["jnli"][4].id])
    plan = planned(settings, model, ["jsts", "jnli"], limit=6)
    events = run(settings, plan)
    notices = [e for e in events if e.kind == "notice"]
    assert [(e.message, e.task) for e in notices] == [(f"Preparing {model}.", "jsts")], "loaded once for both subsets"
    records, end = [e for e in events if e.kind == "record"], events[-1]
    assert [(e.task, e.done, e.total) for e in records] == [("jsts", i, 6) for i in range(1, 7)] + [
        ("jnli", i, 6) for i in range(1, 7)
    ]
    assert [(e.run_done, e.run_total) for e in records] == [(i, 12) for i in range(1, 13)]
    assert [i for i, record in enumerate(told(events)) if record.error] == [1, 10]
    assert (end.kind, end.run_done, end.run_total) == ("done", 10, 12)
    assert {(e.side, e.run) for e in events} == {("a", "table.jsonl · plain · ja-labels · 0-shot")}


def test_the_manifest_says_what_was_run_on_what_and_nothing_of_the_machine_s_owner(
    settings: Settings, model: Path
) -> None:
    plan = planned(settings, model, limit=2, prompt=PromptSpec(shots=1))
    run(settings, plan)
    store = RunStore.of(settings.runs_dir, plan.spec)
    assert store.spec() == plan.spec
    manifest = store.manifest()
    assert manifest["model"]["commit"] == hashlib.sha256(model.read_bytes()).hexdigest()
    train = ASSETS / "samples" / "jnli" / "train.json"
    assert manifest["data"]["jnli"]["source"] == "sample"
    assert manifest["data"]["jnli"]["examples"]["sha256"] == hashlib.sha256(train.read_bytes()).hexdigest()
    assert manifest["machine"]["python"] == platform.python_version()
    del manifest["spec"]["model"]["id"]
    text = json.dumps(manifest)
    assert str(settings.runs_dir.parent) not in text
    assert platform.node() not in text
    created = manifest["created"]
    run(settings, planned(settings, model, limit=3, prompt=PromptSpec(shots=1)))
    assert (store.manifest()["created"], store.spec().limit) == (created, 3)


# --- again, and further -----------------------------------------------------------------------------------


def test_a_finished_run_started_again_redoes_nothing_and_does_not_even_load_the_model(
    settings: Settings, model: Path
) -> None:
    plan = planned(settings, model, ALL, limit=5)
    run(settings, plan)
    folder = RunStore.of(settings.runs_dir, plan.spec).path
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    for limit in (5, 2):
        again = planned(settings, model, ALL, limit=limit)
        (event,) = run(settings, again)  # Loading would have told of itself.
        assert (event.kind, event.run_done, event.run_total) == ("done", 5 * limit, 5 * limit)
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()} == before


def test_a_higher_limit_appends_only_the_new_items_to_the_same_run(settings: Settings, model: Path) -> None:
    small, large, everything = (planned(settings, model, ["jsts", "jnli"], limit=n) for n in (3, 6, None))
    run(settings, small)
    file = records_file(settings, small)
    before = file.read_bytes()
    events = run(settings, large)
    assert records_file(settings, large) == file
    assert file.read_bytes().startswith(before)
    new = [(r.task, r.item_id) for r in told(events)]
    assert new == [key for key in wanted(large) if key not in wanted(small)]
    assert written(settings, large) == wanted(small) + new
    assert [e.done for e in events if e.kind == "record"] == [4, 5, 6, 4, 5, 6]
    run(settings, everything)
    assert sorted(written(settings, everything)) == sorted(wanted(everything))
    assert len(list(settings.runs_dir.iterdir())) == 1


def test_a_run_that_was_extended_reports_exactly_what_one_long_run_reports(settings: Settings, tmp_path: Path) -> None:
    golds = {(task, item.id): item.gold for task in ("jsts", "jsquad") for item in sample_items(task)}
    rows = [
        {
            "task": task,
            "item_id": id_,
            "text": f"{(gold + n % 3) % 5:.1f}" if isinstance(gold, float) else gold[0][n % 4 :],
        }
        for n, ((task, id_), gold) in enumerate(golds.items())
    ]
    model = tmp_path / "t.jsonl"
    model.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elsewhere = replace(settings, runs_dir=tmp_path / "elsewhere")
    plans = [planned(settings, model, ["jsquad", "jsts"], limit=n) for n in (5, 11, 20)]
    for plan in plans:
        run(settings, plan)
    run(elsewhere, plans[-1])
    extended, direct = (RunStore.of(s.runs_dir, plans[-1].spec).data() for s in (settings, elsewhere))
    assert report_run(extended) == report_run(direct)
    assert extended.items == direct.items
    assert [list(items) for items in extended.items.values()] == [list(items) for items in direct.items.values()]


def test_items_that_failed_are_tried_again_and_the_others_are_not(settings: Settings, model: Path) -> None:
    plan = planned(settings, model, limit=5)
    first, second, *_ = plan.items["jnli"]
    prompt = Prompt("jnli", first.id, "", None, (), (), "", (), "")
    error = Record(plan.spec.spec_id, "jnli", first.id, prompt, None, RunError("out_of_memory", "理由。"))
    with RunStore.of(settings.runs_dir, plan.spec).writing() as writer:
        writer.append([error, replace(error, item_id=second.id)])
    run(settings, plan)
    assert written(settings, plan) == [("jnli", first.id), ("jnli", second.id), *wanted(plan)]
    records = RunStore.of(settings.runs_dir, plan.spec).records()
    assert len(records) == 5
    assert all(record.output for record in records)


def test_an_item_without_an_answer_is_an_error_of_its_own_each_time_it_is_tried(
    settings: Settings, tmp_path: Path
) -> None:
    plan = planned(settings, table(tmp_path / "t.jsonl", leave_out=["sn002"]))
    for turn in (1, 2):
        events = run(settings, plan)
        failed = [record for record in told(events) if record.error]
        assert [(r.item_id, r.error.kind) for r in failed if r.error] == [("sn002", "not_in_table")]
        assert events[-1].run_done == plan.total - 1
        assert len(told(events)) == (plan.total if turn == 1 else 1)
    counts = collections.Counter(written(settings, plan))
    assert counts.pop(("jnli", "sn002")) == 2
    assert set(counts.values()) == {1}


def notices(events: Iterable[Event]) -> list[str]:
    return [event.message for event in events if event.kind == "notice" and not event.task]


def test_changed_files_are_another_run_and_a_notice_names_them(settings: Settings, tmp_path: Path) -> None:
    model = table(tmp_path / "table.jsonl")
    small = planned(settings, model, limit=3)
    assert notices(run(settings, small)) == []
    before = records_file(settings, small).read_bytes()
    table(model, note="other bytes, the same answers")
    large = planned(settings, model, limit=6)
    events = run(settings, large)
    said = (
        f"The files of {model} have changed since run {small.spec.spec_id} of the same settings (table.jsonl): "
        "this is another run, and that one is kept."
    )
    assert notices(events) == [said]
    assert events[0].message == said  # Before anything else.
    assert large.spec.spec_id != small.spec.spec_id
    assert sorted(written(settings, large)) == sorted(wanted(large))
    assert records_file(settings, small).read_bytes() == before
    # Also when nothing is left to do.
    assert [event.kind for event in run(settings, planned(settings, model, limit=6))] == ["notice", "done"]
    # As it was: the first run goes on.
    table(model)
    again = planned(settings, model, limit=6)
    assert again.spec.spec_id == small.spec.spec_id
    run(settings, again)
    assert records_file(settings, small).read_bytes().startswith(before)
    assert sorted(written(settings, again)) == sorted(wanted(again))


def test_what_is_only_converted_otherwise_is_said_to_be(settings: Settings, tmp_path: Path) -> None:
    model = table(tmp_path / "table.jsonl")
    plan = planned(settings, model, limit=3)
    run(settings, plan)
    files = {**plan.files, **CONVERSION}
    spec = replace(plan.spec, model=replace(plan.spec.model, files_sha256=ModelFingerprint(files).digest))
    assert [str(notice) for notice in changes_since(replace(plan, spec=spec, files=files), settings.runs_dir)] == [
        f"This version converts the GGUF file of {model} otherwise than the one that made run {plan.spec.spec_id} of "
        "the same settings: this is another run, and that one is kept."
    ]


def test_a_change_between_planning_and_answering_is_refused(settings: Settings, tmp_path: Path) -> None:
    model = table(tmp_path / "table.jsonl")
    plan = planned(settings, model, limit=3)
    table(model, note="other bytes")
    with pytest.raises(ModelError, match=r"have changed since the run was planned\. Start it again"):
        run(settings, plan)
    assert not RunStore.of(settings.runs_dir, plan.spec).path.exists()


def test_a_change_between_two_subsets_stops_the_run_before_it_is_mixed(settings: Settings, tmp_path: Path) -> None:
    model = table(tmp_path / "table.jsonl")
    plan = planned(settings, model, ["jsts", "jnli"], limit=3)

    def answer(pool: ModelPool) -> None:
        for event in run_plan(plan, pool, settings.runs_dir):
            if event.kind == "record" and (event.task, event.done) == ("jsts", 3):
                table(model, note="other bytes")

    with ModelPool(settings) as pool, pytest.raises(ModelError, match="have changed since the run was planned"):
        answer(pool)
    assert {task for task, _ in written(settings, plan)} == {"jsts"}


def test_a_run_made_before_files_were_recorded_is_left_alone(settings: Settings, model: Path) -> None:
    plan = planned(settings, model, limit=3)
    old = replace(plan, spec=replace(plan.spec, model=replace(plan.spec.model, files_sha256=None)), files={})
    run(settings, old)
    path = RunStore.of(settings.runs_dir, old.spec).path / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    del manifest["model_files"], manifest["spec"]["model"]["files_sha256"]
    path.write_text(json.dumps(manifest), "utf-8")
    assert RunStore(path.parent).spec() == old.spec
    before = records_file(settings, old).read_bytes()
    said = (
        f"Run {old.spec.spec_id} of the same settings does not say with which files of {model} it was made: "
        "this is another run, and that one is kept."
    )
    assert notices(run(settings, plan)) == [said]
    assert notices(run(settings, plan)) == []
    assert records_file(settings, old).read_bytes() == before


def test_runs_that_differ_in_more_than_the_files_are_not_told_of(settings: Settings, tmp_path: Path) -> None:
    model = table(tmp_path / "table.jsonl")
    run(settings, planned(settings, model, limit=3))
    table(model, note="other bytes")
    other = planned(settings, model, limit=3, prompt=PromptSpec(style="en-labels"))
    assert notices(run(settings, other)) == []


def test_a_damaged_run_of_the_same_model_is_no_obstacle_to_another(settings: Settings, tmp_path: Path) -> None:
    """Such a seed could be given to earlier versions, which stored what they could not read again."""
    model = table(tmp_path / "table.jsonl")
    damaged = planned(settings, model, limit=3)
    run(settings, damaged)
    manifest = records_file(settings, damaged).with_name("manifest.json")
    content = json.loads(manifest.read_text("utf-8"))
    content["spec"]["seed"] = 10**20
    manifest.write_text(json.dumps(content), "utf-8")
    table(model, note="other bytes")
    other = planned(settings, model, limit=3)
    assert notices(run(settings, other)) == []
    assert sorted(written(settings, other)) == sorted(wanted(other))


def test_weights_whose_files_are_not_known_are_refused_once_they_change(settings: Settings, tmp_path: Path) -> None:
    model = tmp_path / "table.jsonl"
    small, large = planned(settings, model, limit=3), planned(settings, model, limit=6)
    assert small.spec.model.files_sha256 is None
    old = hashlib.sha256(table(model).read_bytes()).hexdigest()
    run(settings, small)
    before = records_file(settings, small).read_bytes()
    new = hashlib.sha256(table(model, note="other bytes, the same answers").read_bytes()).hexdigest()
    with pytest.raises(StoreError, match=rf"have changed .*{old} is now {new}.*Delete .*{small.spec.spec_id}"):
        run(settings, large)
    assert records_file(settings, small).read_bytes() == before
    table(model)
    run(settings, large)
    assert sorted(written(settings, large)) == sorted(wanted(large))


def test_a_run_that_goes_on_with_other_versions_says_so_and_keeps_both_on_record(
    settings: Settings, tiny_model: TinyModel
) -> None:
    def plan(limit: int) -> Plan:
        words: dict[str, Any] = {"data_kind": "sample", "limit": limit, "decoding": Decoding(max_new_tokens=1)}
        return make_plan(settings, ModelSpec(str(tiny_model("llama"))), ["jnli"], **words)

    run(settings, plan(1))
    path = RunStore.of(settings.runs_dir, plan(1).spec).path / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    here = manifest["machine"]["packages"]
    assert here["transformers"] == importlib.metadata.version("transformers")
    old = {**manifest["machine"], "packages": {"transformers": "5.0.0", "gradio": "6.0.0"}}
    path.write_text(json.dumps({**manifest, "machine": old}), "utf-8")
    assert notices(run(settings, plan(1))) == []
    said = notices(run(settings, plan(2)))
    assert said == [
        f"This run was begun with transformers 5.0.0 and goes on with transformers {here['transformers']}: some "
        f"answers may differ from those of one version alone. To have all of one, delete run {path.parent.name} first."
    ]
    after = json.loads(path.read_text("utf-8"))
    assert after["earlier_machines"] == [old]
    assert after["machine"]["packages"] == here
    assert notices(run(settings, plan(3))) == []
    assert json.loads(path.read_text("utf-8"))["earlier_machines"] == [old]


def test_another_precision_of_the_same_weights_is_refused_too(settings: Settings, model: Path) -> None:
    plan = planned(settings, model, limit=6)
    run(settings, planned(settings, model, limit=3))
    path = RunStore.of(settings.runs_dir, plan.spec).path / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["model"]["dtype"] = "bfloat16"
    path.write_text(json.dumps(manifest), "utf-8")
    before = records_file(settings, plan).read_bytes()
    with pytest.raises(StoreError, match=r"started in bfloat16, .*Name the dtype"):
        run(settings, plan)
    assert records_file(settings, plan).read_bytes() == before


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind_and_can_be_started_again(
    settings: Settings, tmp_path: Path
) -> None:
    plan = planned(settings, tmp_path / "t.jsonl", limit=3)
    with pytest.raises(ModelNotFoundError, match=r"t\.jsonl.*Give the path"):
        run(settings, plan)
    assert not RunStore.of(settings.runs_dir, plan.spec).path.exists()
    table(tmp_path / "t.jsonl")
    run(settings, plan)
    assert written(settings, plan) == wanted(plan)


def test_a_run_that_another_one_is_writing_to_is_left_alone(settings: Settings, model: Path) -> None:
    plan = planned(settings, model, limit=3)
    with RunStore.of(settings.runs_dir, plan.spec).writing(), pytest.raises(RunBusyError):
        run(settings, plan)
    run(settings, plan)
    assert written(settings, plan) == wanted(plan)


# --- stopping ---------------------------------------------------------------------------------------------


def test_a_stop_keeps_what_is_finished_and_the_next_start_does_the_rest(settings: Settings, model: Path) -> None:
    plan = planned(settings, model, ["jsts", "jnli"], limit=12)
    stop, events = threading.Event(), list[Event]()
    with ModelPool(settings) as pool:
        for event in run_plan(plan, pool, settings.runs_dir, stop.is_set):
            events.append(event)
            if len(told(events)) == 15:
                stop.set()
    assert len(told(events)) == 15
    assert (events[-1].kind, events[-1].run_done, events[-1].run_total) == ("stopped", 15, 24)
    assert written(settings, plan) == wanted(plan)[:15]
    rest = run(settings, plan)
    assert [(r.task, r.item_id) for r in told(rest)] == wanted(plan)[15:]
    assert [e.run_done for e in rest if e.kind == "record"] == list(range(16, 25))
    assert written(settings, plan) == wanted(plan)


def test_a_stop_before_the_start_leaves_nothing_and_one_after_the_end_changes_nothing(
    settings: Settings, model: Path
) -> None:
    plan = planned(settings, model, limit=2)
    (event,) = run(settings, plan, should_stop=lambda: True)
    assert (event.kind, event.run_done, event.run_total) == ("stopped", 0, 2)
    assert not settings.runs_dir.exists()
    run(settings, plan)
    (event,) = run(settings, plan, should_stop=lambda: True)
    assert (event.kind, event.run_done) == ("done", 2)


def test_a_stop_at_any_point_never_stores_half_an_answer(settings: Settings, model: Path, tmp_path: Path) -> None:
    whole = set[int]()
    for n in itertools.count(1):
        here = replace(settings, runs_dir=tmp_path / f"runs-{n}")
        plan = planned(here, model, limit=6, decoding=Decoding("both"))
        asked = itertools.count(1)
        events = run(here, plan, should_stop=lambda limit=n, asked=asked: next(asked) >= limit)  # type: ignore[misc]
        whole.add(len(told(events)))
        run(here, plan)
        records = RunStore.of(here.runs_dir, plan.spec).records()
        assert written(here, plan) == wanted(plan)
        assert all(r.output and r.output.text and r.output.choice_logprobs for r in records)
        if events[-1].kind == "done":
            break
    assert whole == {0, 1, 2, 3, 4, 5, 6}


def test_an_abandoned_run_frees_its_folder_and_keeps_its_records(settings: Settings, model: Path) -> None:
    plan = planned(settings, model, limit=8)
    with ModelPool(settings) as pool:
        events = run_plan(plan, pool, settings.runs_dir)
        assert len(told(itertools.islice(events, 4))) == 3
        assert isinstance(events, Iterator)
        del events
        (*_, end) = run_plan(plan, pool, settings.runs_dir)
    assert (end.kind, end.run_done) == ("done", 8)
    assert written(settings, plan) == wanted(plan)


# --- two plans --------------------------------------------------------------------------------------------


def test_two_plans_take_turns_subset_by_subset_and_every_event_names_its_side(
    settings: Settings, model: Path, tmp_path: Path
) -> None:
    other = table(tmp_path / "other.jsonl")
    a, b = planned(settings, model, ["jsts", "jnli"], limit=2), planned(settings, other, ["jnli", "jsts"], limit=3)
    events = run(settings, a, b)
    records = [e for e in events if e.kind == "record"]
    assert [(e.side, e.task) for e in records] == (
        [("a", "jsts")] * 2 + [("b", "jsts")] * 3 + [("a", "jnli")] * 2 + [("b", "jnli")] * 3
    )
    assert [(e.side, e.kind, e.run_done) for e in events[-2:]] == [("a", "done", 4), ("b", "done", 6)]
    assert {(e.side, e.run.split(" ")[0]) for e in events} == {("a", "table.jsonl"), ("b", "other.jsonl")}
    assert [e.message for e in events if e.kind == "notice"] == [f"Preparing {model}.", f"Preparing {other}."]
    assert (written(settings, a), written(settings, b)) == (wanted(a), wanted(b))


def test_two_models_that_do_not_fit_together_run_one_after_the_other(
    settings: Settings, model: Path, tmp_path: Path
) -> None:
    a, b = (planned(settings, m, ["jsts", "jnli"], limit=2) for m in (model, table(tmp_path / "other.jsonl")))
    with ModelPool(settings, size=1) as pool:
        events = list(run_plans([("a", a), ("b", b)], pool, settings.runs_dir))
    assert events[0].message == "The two models do not fit in memory together: they run one after the other."
    assert [e.side for e in events if e.kind == "record"] == ["a"] * 4 + ["b"] * 4
    messages = [e.message for e in events if e.kind == "notice"][1:]
    assert messages == [f"Preparing {model}.", f"Preparing {b.spec.model.id}.", f"Unloading {model} to make room."]


def test_one_model_in_two_settings_is_loaded_once(settings: Settings, model: Path) -> None:
    a, b = (planned(settings, model, limit=2, prompt=PromptSpec(shots=shots)) for shots in (0, 2))
    events = run(settings, a, b)
    assert [e.message for e in events if e.kind == "notice"] == [f"Preparing {model}."]
    assert (written(settings, a), written(settings, b)) == (wanted(a), wanted(b))


def test_the_same_plan_twice_runs_once(settings: Settings, model: Path) -> None:
    a, b = (planned(settings, model, ["jsts", "jnli"], limit=3) for _ in "ab")
    events = run(settings, a, b)
    assert [e.side for e in events if e.kind == "record"] == ["a"] * 6
    assert [(e.side, e.kind, e.run_done) for e in events[-2:]] == [("a", "done", 6), ("b", "done", 6)]
    assert written(settings, a) == wanted(a)


# --- speed ------------------------------------------------------------------------------------------------


def test_speed_and_time_left_are_those_of_this_session(settings: Settings, tmp_path: Path) -> None:
    model = table(tmp_path / "slow.jsonl", seconds=0.02)
    run(settings, planned(settings, model, limit=8))
    started = time.monotonic()
    events = [e for e in run(settings, planned(settings, model, limit=16)) if e.kind == "record"]
    took = time.monotonic() - started
    assert [e.done for e in events] == list(range(9, 17))
    for event in events:
        assert event.items_per_s is not None
        assert event.seconds_left is not None
        assert 0 < event.items_per_s <= 1 / 0.02, "the eight items of the first session do not count"
        assert event.seconds_left == pytest.approx((16 - event.done) / event.items_per_s)
    assert events[-1].seconds_left == 0
    assert events[-1].items_per_s is not None
    assert events[-1].items_per_s >= 8 / took


# --- methods ----------------------------------------------------------------------------------------------


def test_both_stores_the_text_and_the_log_probabilities_of_an_item_in_one_record(
    settings: Settings, model: Path
) -> None:
    plan = planned(settings, model, ["jnli", "jsts"], limit=30, decoding=Decoding("both"))
    run(settings, plan)
    assert written(settings, plan) == wanted(plan)
    order = {item.id: n for n, item in enumerate(sample_items("jnli"))}
    for record in RunStore.of(settings.runs_dir, plan.spec).records():
        assert record.output
        assert record.output.text == f"答え {record.task} {record.item_id}"
        assert record.output.finish == "stop"
        n = order.get(record.item_id, 0) / 1000
        expected = (-n, -0.5 - n, -1.0 - n) if record.task == "jnli" else None
        assert record.output.choice_logprobs == expected


def test_choose_stores_log_probabilities_alone(settings: Settings, model: Path) -> None:
    plan = planned(settings, model, ["marc_ja"], limit=3, decoding=Decoding("choose"))
    for record in told(run(settings, plan)):
        assert record.output
        assert (record.output.text, record.output.finish) == (None, "scored")
        assert record.output.choice_logprobs
        assert len(record.output.choice_logprobs) == 2
    assert written(settings, plan) == wanted(plan)


def test_one_failed_half_makes_the_whole_item_an_error(settings: Settings, tmp_path: Path) -> None:
    rows = [
        {"item_id": "sn001", "text": "含意"},
        {"item_id": "sn002", "choice_logprobs": [-1, -2, -3]},
        {"item_id": "sn003", "text": "含意", "choice_logprobs": [-1, -2, -3]},
    ]
    model = tmp_path / "t.jsonl"
    model.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    plan = planned(settings, model, decoding=Decoding("both"))
    records = {record.item_id: record for record in told(run(settings, plan))}
    assert [id_ for id_, record in records.items() if record.output] == ["sn003"]
    assert {record.error.kind for record in records.values() if record.error} == {"not_in_table"}


# --- examples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_no_prompt_shows_an_item_under_evaluation_as_an_example(settings: Settings, model: Path, task: str) -> None:
    evaluated = {
        "".join(text.split()) for item in sample_items(task) for text in item.fields.values() if len(text) > 12
    }
    train = {item.id: item for item in files.load(settings, task, "train", data="sample").items}
    for style, selection in itertools.product(style_names(), ("fixed", "random", "balanced")):
        prompt = PromptSpec(style=style, shots=3, shot_selection=selection)
        plan = planned(settings, model, [task], limit=4, prompt=prompt)
        for record in told(run(settings, plan)):
            shown = record.prompt.shot_ids
            assert len(set(shown)) == 3
            assert {"".join(t.split()) for id_ in shown for t in train[id_].fields.values()}.isdisjoint(evaluated)
            (item,) = (item for item in plan.items[task] if item.id == record.item_id)
            longest = max(item.fields.values(), key=len)
            assert record.prompt.text.count(longest) == 1, "the item itself, and no example like it"


@pytest.mark.parametrize("selection", ["fixed", "random", "balanced"])
def test_an_example_that_leaked_into_the_train_file_is_never_shown(
    settings: Settings, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selection: str
) -> None:
    def row(id_: str, one: str, other: str) -> bytes:
        texts = {"sentence_pair_id": id_, "sentence1": one, "sentence2": other, "label": "neutral"}
        return json.dumps(texts, ensure_ascii=False).encode() + b"\n"

    folder = tmp_path / "jglue" / "jnli-v1.3"
    folder.mkdir(parents=True)
    valid = b"".join(row(f"sn{i:03}", f"文{i}です。", f"別の文{i}です。") for i in range(1, 9))
    # The same pairs under other ids, turned round and spaced; and three that may be shown.
    leaked = b"".join(row(f"t{i}", f"別の文{i} です。", f"文{i}です。 ") for i in range(1, 9))
    clean = b"".join(row(f"c{i}", f"例{i}です。", f"別の例{i}です。") for i in range(3))
    (folder / "valid-v1.3.json").write_bytes(valid)
    (folder / "train-v1.3.json").write_bytes(leaked + clean)
    monkeypatch.setitem(files.PINNED_SHA256, "jnli/valid", hashlib.sha256(valid).hexdigest())
    monkeypatch.delitem(files.PINNED_SHA256, "jnli/train", raising=False)
    here = replace(settings, data_dir=folder.parent)
    prompt = PromptSpec(shots=3, shot_selection=selection)
    plan = planned(here, model, data_kind="official", limit=2, prompt=prompt)
    records = told(run(here, plan))
    assert len(records) == 2
    assert all(set(record.prompt.shot_ids) == {"c0", "c1", "c2"} for record in records)


def test_the_examples_of_an_item_do_not_depend_on_the_limit(settings: Settings, model: Path, tmp_path: Path) -> None:
    for selection in ("fixed", "random", "balanced"):
        prompt = PromptSpec(shots=2, shot_selection=selection)
        few, many = (
            {r.item_id: r.prompt for r in told(run(replace(settings, runs_dir=tmp_path / f"{selection}{n}"), plan))}
            for n in (3, 9)
            for plan in [planned(settings, model, limit=n, prompt=prompt)]
        )
        assert len(few) == 3
        assert all(many[id_] == shown for id_, shown in few.items())


# --- kill -9 ----------------------------------------------------------------------------------------------


def test_a_run_killed_at_any_moment_resumes_to_the_report_of_an_uninterrupted_one(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = table(tmp_path / "slow.jsonl", seconds=0.01)
    golds = {item.id: item.gold for task in ALL for item in sample_items(task)}
    rows = [json.loads(line) for line in model.read_text("utf-8").splitlines()]
    for row in rows:
        gold = golds[row["item_id"]]
        row["text"] = f"{gold:.0f}" if isinstance(gold, float) else gold[0]
    model.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    plan = planned(settings, model, ALL, limit=20)
    command = ["run", "--model", str(model), "--data", "sample", "--limit", "20"]

    def report(runs_dir: Path) -> dict[str, Any]:
        arguments = [*command, "--runs-dir", str(runs_dir), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "jglue_app", *arguments], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        table: dict[str, Any] = json.loads(done.stdout)
        assert table.pop("run") == str(runs_dir / plan.spec.spec_id)
        return table

    killed = replace(settings, runs_dir=tmp_path / "killed")
    file = records_file(killed, plan)
    # A process that has imported the command line already, and forks one that runs it as `python -m jglue_app` does.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["jglue_app.cli"])
    monkeypatch.setattr(sys, "argv", ["jglue_app", *command, "--runs-dir", str(killed.runs_dir)])
    dice = random.Random(20260701)
    counts = []
    for moment in [0, 0, *sorted(dice.sample(range(1, plan.total - 30), 10))]:
        child = forks.Process(target=runpy.run_module, args=("jglue_app", None, "__main__", True))
        child.start()
        deadline = time.monotonic() + 120
        while moment and not (file.exists() and file.read_bytes().count(b"\n") >= moment):
            assert child.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.012 if moment else 0.1))
        child.kill()
        child.join()
        assert child.exitcode == -9
        child.close()
        counts.append(file.read_bytes().count(b"\n") if file.exists() else 0)
    assert counts == sorted(counts)
    assert len(set(counts)) > 5
    assert counts[-1] < plan.total

    resumed = report(killed.runs_dir)
    assert written(killed, plan) == wanted(plan), "none twice, none missing"
    uninterrupted = report(tmp_path / "uninterrupted")
    assert resumed == uninterrupted
    assert resumed["report"]["tasks"]["jnli"]["n"] == 20
    assert resumed["report"]["tasks"]["marc_ja"]["planned"] == 20


# --- settings of protocols --------------------------------------------------------------------------------


def test_a_subset_may_have_its_own_number_of_examples_and_the_run_is_found_again(
    settings: Settings, model: Path
) -> None:
    prompt = PromptSpec(shots=3, shots_by_task=(("jsquad", 2), ("jsts", 0)))
    plan = planned(settings, model, ["jsts", "jnli", "jsquad"], limit=2, prompt=prompt)
    assert plan.spec.label == "table.jsonl · plain · ja-labels · 0–3-shot"
    assert set(plan.pools) == {"jnli", "jsquad"}
    shown = {record.task: len(record.prompt.shot_ids) for record in told(run(settings, plan))}
    assert shown == {"jsts": 0, "jnli": 3, "jsquad": 2}
    assert RunStore.of(settings.runs_dir, plan.spec).data().spec == plan.spec
    assert told(run(settings, plan)) == [], "nothing is done again"


def test_an_oracle_gives_each_jsquad_answer_the_length_of_its_longest_gold_answer(
    settings: Settings, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, int] = {}
    generate = ScriptedBackend.generate

    def watched(self: ScriptedBackend, prompts: Sequence[Prompt], max_new_tokens: int, *more: Any) -> Any:
        limits.update((prompt.item_id, max_new_tokens) for prompt in prompts)
        return generate(self, prompts, max_new_tokens, *more)

    monkeypatch.setattr(ScriptedBackend, "generate", watched)
    capped, plain = (
        planned(settings, model, ["jnli", "jsquad"], limit=12, decoding=Decoding(oracle_length=oracle))
        for oracle in (True, False)
    )
    assert capped.spec.spec_id != plain.spec.spec_id
    assert len(told(run(settings, capped))) == 24
    golds = {item.id: item.gold for item in capped.items["jsquad"]}
    # A table's token is a character.
    assert {i: limits[i] for i in golds} == {
        i: min(32, max(map(len, gold))) for i, gold in golds.items() if isinstance(gold, tuple)
    }
    assert len({limits[i] for i in golds}) > 3
    assert {limits[item.id] for item in capped.items["jnli"]} == {6}
    run(settings, plain)
    assert {limits[i] for i in golds} == {32}


NO_PENALTY = "“Repetition penalty” (--repetition-penalty) has no effect here:"


def test_each_subset_is_written_with_its_own_repetition_penalty(
    settings: Settings, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    penalties: dict[str, set[float]] = {}
    generate = ScriptedBackend.generate

    def watched(self: ScriptedBackend, prompts: Sequence[Prompt], *more: Any) -> Any:
        for prompt in prompts:
            penalties.setdefault(prompt.task, set()).add(more[2])
        return generate(self, prompts, *more)

    monkeypatch.setattr(ScriptedBackend, "generate", watched)
    decoding = Decoding(repetition_penalty_by_task=(("jnli", 1.2), ("jsquad", 1.1)))
    plan = planned(settings, model, ["jsts", "jnli", "jsquad"], limit=3, decoding=decoding)
    events = run(settings, plan)
    assert penalties == {"jsts": {1.0}, "jnli": {1.2}, "jsquad": {1.1}}
    assert plan.spec.label == "table.jsonl · plain · ja-labels · 0-shot · repetition penalty 1–1.2"
    stored = RunStore.of(settings.runs_dir, plan.spec)
    assert stored.data().spec == plan.spec, "the manifest holds it"
    assert stored.manifest()["spec"]["decoding"]["repetition_penalty_by_task"] == [["jnli", 1.2], ["jsquad", 1.1]]
    said = [(event.task, event.message) for event in events if "--repetition-penalty" in event.message]
    told_once = f"{NO_PENALTY} a table of answers gives them as they stand in it."
    assert said == [("jnli", told_once)]


def test_a_repetition_penalty_is_said_to_have_no_effect_where_answers_are_only_ranked(
    settings: Settings, model: Path
) -> None:
    plan = planned(settings, model, ["jnli"], limit=2, decoding=Decoding("choose", repetition_penalty=1.2))
    said = [event.message for event in run(settings, plan) if "--repetition" in event.message]
    assert said == [f"{NO_PENALTY} answers are only ranked, and no text is written."]


@pytest.mark.parametrize(
    ("number", "speed", "size"), [(0, 0.0, 4), (1, 900.0, 24), (2, 2.0, 96), (5, 100.0, 500), (9, 1e6, 2_048)]
)
def test_chunks_are_small_at_first_and_then_as_large_as_a_few_seconds_need(
    number: int, speed: float, size: int
) -> None:
    assert runner._chunk_size(number, speed) == size


def test_one_subset_can_come_before_the_others_and_the_run_stays_the_same(settings: Settings, model: Path) -> None:
    first, again = (
        planned(settings, model, ("marc_ja", "jsts", "jnli"), limit=2),
        planned(settings, model, ALL, limit=2),
    )
    with ModelPool(settings) as pool:
        events = list(run_plans([("a", first)], pool, settings.runs_dir, first="jnli"))
        assert list(dict.fromkeys(event.task for event in events if event.kind == "record")) == [
            *("jnli", "marc_ja", "jsts")
        ]
        # Without it, in the order of the table, as ever.
        events = list(run_plans([("a", again)], pool, settings.runs_dir))
    assert list(dict.fromkeys(event.task for event in events if event.kind == "record")) == list(again.spec.tasks)
    assert first.spec.tasks == ("marc_ja", "jsts", "jnli")
