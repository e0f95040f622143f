"""Marks on the page: what a visitor puts on an item, who sees it, and what is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from jglue_app.cli.stored import export as cli_export
from jglue_app.errors import InputError
from jglue_app.results import marks
from jglue_app.results.marks import ItemMarks
from jglue_app.settings import Settings
from jglue_app.ui import item_marks, run_files
from jglue_app.ui.address import from_query
from jglue_app.ui.item_server import server_functions
from jglue_app.ui.state import AppState
from jglue_app.ui.views.comparison import Pair, item_html, item_list_value
from jglue_app.wandb_sink.login import Target
from jglue_app.wandb_sink.push_run import push_job
from tests.ui.test_state import Make, make, name_of, public, state

__all__ = ("make", "public", "state")
SHIPPED = "shipped:base-0-shot"
ANA, BEN = "a" * 22, "b" * 22


def asks(server: AppState, name: str, visitor: str, lang: str = "en", **data: Any) -> dict[str, Any]:
    """What a function of the item list answers a browser."""
    cookies = f"jg_visitor={visitor}; jg_lang={lang}" if visitor else f"jg_lang={lang}"
    request = Request({"type": "http", "headers": [(b"cookie", cookies.encode())]})
    (function,) = (one for one in server_functions(server) if one.__name__ == name)
    answer: dict[str, Any] = function(data, request)
    return answer


def first_id(server: AppState, owner: str, name: str) -> str:
    return next(iter(server.data(owner, name).items["jnli"]))


def test_a_mark_is_stored_beside_the_run_and_shown_in_list_item_and_export(state: AppState, make: Make) -> None:
    run = name_of(make(ANA, "含意"))
    id_ = first_id(state, ANA, run)
    said = asks(state, "mark", ANA, run=run, task="jnli", id=id_, marks=["question"], note="\u202e犬")
    assert said == {"marks": ["question"], "note": "‹U+202E›犬", "said": "Saved"}
    assert marks.read(state.path(ANA, run)) == {("jnli", id_): ItemMarks(("question",), "\u202e犬")}
    # On one's own machine all pages are one person's.
    value = item_list_value(state, BEN, Pair(run), "ja")
    assert value["marked"] == {f"jnli/{id_}": {"a": {"marks": ["question"], "note": "‹U+202E›犬"}}}
    html = asks(state, "item", BEN, a=run, task="jnli", id=id_)["html"]
    assert 'data-mark="question" aria-pressed="true"' in html
    assert 'data-mark="star" aria-pressed="false"' in html
    assert "‹U+202E›犬</textarea>" in html
    path = run_files.export_run(state, ANA, run, "jsonl").path
    assert json.loads(path.read_text("utf-8").splitlines()[0])["note"] == "\u202e犬"
    assert asks(state, "mark", ANA, run=run, task="jnli", id=id_, marks=[], note="")["marks"] == []
    assert item_list_value(state, ANA, Pair(run), "ja")["marked"] == {}


def test_in_a_pair_the_marks_of_each_side_are_those_of_its_run(state: AppState, make: Make) -> None:
    a, b = name_of(make(ANA, "含意")), name_of(make(ANA, "矛盾"))
    id_ = first_id(state, ANA, a)
    asks(state, "mark", ANA, run=b, task="jnli", id=id_, marks=["star"], note="")
    value = item_list_value(state, ANA, Pair(a, b), "ja")
    assert value["marked"] == {f"jnli/{id_}": {"b": {"marks": ["star"], "note": ""}}}
    assert marks.read(state.path(ANA, a)) == {}
    assert item_list_value(state, ANA, Pair(b), "ja")["marked"][f"jnli/{id_}"] == {"a": {"marks": ["star"], "note": ""}}


def test_runs_that_came_with_the_application_are_marked_in_the_folder_for_runs(
    state: AppState, settings: Settings
) -> None:
    id_ = first_id(state, ANA, SHIPPED)
    asks(state, "mark", ANA, run=SHIPPED, task="jnli", id=id_, marks=["star"], note="")
    assert not (state.path(ANA, SHIPPED) / marks.FILE).exists()
    assert state.marks.of(BEN, SHIPPED, state.path(BEN, SHIPPED)) == {("jnli", id_): ItemMarks(("star",))}
    # It is no run, and a server that starts anew finds it.
    assert list(state.runs(ANA, shipped=False)) == []
    again = AppState(settings, "cpu")
    assert again.marks.of(ANA, SHIPPED, state.path(ANA, SHIPPED)) == {("jnli", id_): ItemMarks(("star",))}
    again._scratch.cleanup()


def test_marks_on_a_run_that_came_with_the_application_are_in_what_the_command_line_and_a_push_take(
    state: AppState, settings: Settings, tmp_path: Path
) -> None:
    id_ = first_id(state, ANA, SHIPPED)
    asks(state, "mark", ANA, run=SHIPPED, task="jnli", id=id_, marks=["star"], note="犬")
    folder, rows_file = state.path(ANA, SHIPPED), tmp_path / "rows.jsonl"
    cli_export([str(folder)], rows_file, runs_dir=settings.runs_dir)
    rows = [json.loads(line) for line in rows_file.read_text("utf-8").splitlines()]
    assert [(row["item_id"], row["note"]) for row in rows if row["note"]] == [(id_, "犬")]
    target = Target("e", "p")
    own, visitors = (push_job(folder, "official", target, runs_dir) for runs_dir in (settings.runs_dir, None))
    assert marks.read(Path(own["marks"])) == {("jnli", id_): ItemMarks(("star",), "犬")}
    assert marks.read(Path(visitors["marks"])) == {}
    # A run that was made here has them in its own folder.
    assert marks.folder_of(tmp_path, settings.runs_dir) == tmp_path


def test_on_a_public_server_each_visitors_marks_are_theirs_alone(public: AppState, make: Make) -> None:
    job = make(ANA, "含意")
    run = name_of(job)
    public.grant_access(job)
    public.grant_access(replace_owner(job, BEN))
    id_ = first_id(public, ANA, run)
    for name in (run, SHIPPED):
        put: dict[str, Any] = {"task": "jnli", "id": first_id(public, ANA, name), "marks": ["star"], "note": "秘密"}
        assert asks(public, "mark", ANA, run=name, **put)["said"] == "Saved"
    assert [path.name for path in public.settings.runs_dir.rglob("marks.json")] == []
    assert item_list_value(public, ANA, Pair(run), "ja")["marked"][f"jnli/{id_}"]["a"]["note"] == "秘密"
    for name in (run, SHIPPED):
        assert item_list_value(public, BEN, Pair(name), "ja")["marked"] == {}
        html = item_html(public, BEN, {"a": name}, "jnli", first_id(public, BEN, name), "ja")
        assert "秘密" not in html
        assert "印とメモはあなたにだけ見えます" in html
    assert "秘密" not in run_files.export_run(public, BEN, run, "jsonl").path.read_text("utf-8")
    assert "秘密" in run_files.export_run(public, ANA, run, "jsonl").path.read_text("utf-8")
    packed = run_files.export_run(public, BEN, run, "zip").path
    assert "秘密".encode() not in packed.read_bytes()
    # Without a cookie one is a stranger with every call.
    assert asks(public, "mark", "", run=SHIPPED, task="jnli", id=id_, marks=["star"], note="x")["said"] == "Saved"
    assert 'aria-pressed="true"' not in asks(public, "item", "", a=SHIPPED, task="jnli", id=id_)["html"]
    assert "error" in asks(public, "mark", "", run=run, task="jnli", id=id_, marks=["star"])


@pytest.mark.parametrize(("protocol", "kept"), [("official", {}), ("nejumi-4", {"protocol": "nejumi-4"})])
def test_the_link_of_an_item_opens_it_under_its_protocol(state: AppState, protocol: str, kept: dict[str, str]) -> None:
    id_ = first_id(state, ANA, SHIPPED)
    html = asks(state, "item", ANA, a=SHIPPED, task="jnli", id=id_, protocol=protocol)["html"]
    link = json.loads(unescape(html.partition("data-jg-copy-link='")[2].partition("'")[0]))
    assert link == {"run_a": SHIPPED, "item": f"jnli/{id_}", **kept}
    assert from_query(link).protocol == kept.get("protocol", "")


def replace_owner(job: Any, owner: str) -> Any:
    """The same job, as somebody else asked for it."""
    other = copy.copy(job)
    other.owner = owner
    return other


def test_a_public_visitor_marks_so_many_items_and_no_more(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_marks, "MAX_VISITOR_ITEMS", 2)
    of = item_marks.VisitorMarks(replace(settings, public=True))
    path = settings.runs_dir / "r"
    star = ItemMarks(("star",))
    for id_ in ("1", "2", "1"):
        of.set(ANA, "r", path, ("jnli", id_), star)
    with pytest.raises(InputError, match="at most 2 items can be marked"):
        of.set(ANA, "r", path, ("jnli", "3"), star)
    of.set(ANA, "r", path, ("jnli", "1"), ItemMarks())
    of.set(ANA, "r", path, ("jnli", "3"), star)
    assert set(of.of(ANA, "r", path)) == {("jnli", "2"), ("jnli", "3")}
    assert of.of(BEN, "r", path) == {}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"note": "あ" * 10**6}, "The note has 1,000,000 characters; at most 2,000 are kept. Nothing was saved"),
        ({"marks": ["heart"]}, "Unknown mark 'heart'"),
        ({"id": "nowhere"}, "The run has no such item, so nothing was saved"),
        ({"task": "nothing"}, "The run has no such item"),
        ({"run": "../../etc"}, "There is no run '../../etc' here"),
        ({"run": ["x"], "marks": "star", "note": {"a": 1}}, "There is no run"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_a_sentence(
    state: AppState, make: Make, data: dict[str, Any], sentence: str
) -> None:
    run = name_of(make(ANA, "含意"))
    usual = {"run": run, "task": "jnli", "id": first_id(state, ANA, run), "marks": ["star"], "note": "x"}
    assert sentence in asks(state, "mark", ANA, **{**usual, **data})["error"]
    assert marks.read(state.path(ANA, run)) == {}


def test_a_mark_on_an_item_of_a_run_that_was_just_deleted_is_a_sentence(state: AppState, make: Make) -> None:
    run = name_of(make(ANA, "含意"))
    id_ = first_id(state, ANA, run)
    state.delete(ANA, run)
    said = asks(state, "mark", ANA, "ja", run=run, task="jnli", id=id_, marks=["star"], note="")
    assert said["error"] == f"実行結果 {run} はここにありません。一覧から選ぶか、もう一度実行してください。"
    assert not (state.settings.runs_dir / run).exists()


def test_a_damaged_file_of_marks_hides_no_item_and_is_named_when_one_is_set(state: AppState, make: Make) -> None:
    run = name_of(make(ANA, "含意"))
    id_ = first_id(state, ANA, run)
    (state.path(ANA, run) / marks.FILE).write_text("{", "utf-8")
    assert len(item_list_value(state, ANA, Pair(run), "ja")["rows"]) == 3
    assert 'data-item="jnli/' in asks(state, "item", ANA, a=run, task="jnli", id=id_)["html"]
    said = asks(state, "mark", ANA, run=run, task="jnli", id=id_, marks=["star"], note="")
    assert "marks.json cannot be read" in said["error"]


def test_a_fault_is_a_sentence_with_an_incident(state: AppState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "path", lambda *_: 1 / 0)
    assert "An unexpected fault" in asks(state, "mark", ANA, run="x", task="jnli", id="1")["error"]


@pytest.mark.parametrize(
    ("function", "data"),
    [
        ("mark", {"run": "\ud800", "task": "jnli", "id": "1"}),
        ("mark", {"run": SHIPPED, "task": "jnli", "id": "\ud800"}),
        ("mark", {"marks": ["\ud800"]}),
        ("mark", {"run": SHIPPED, "task": "\ud800", "id": "1", "marks": [1, None, {}], "note": "\ud800x"}),
        ("item", {"a": "\ud800", "task": "jnli", "id": "1"}),
        ("item", {"a": SHIPPED, "task": "\ud800", "id": "\ud800", "protocol": "\ud800"}),
    ],
)
def test_half_a_character_is_answered_with_what_can_be_sent(
    state: AppState, make: Make, function: str, data: dict[str, Any]
) -> None:
    if "run" not in data and function == "mark":
        run = name_of(make(ANA, "含意"))
        data = {**data, "run": run, "task": "jnli", "id": first_id(state, ANA, run)}
    answer = asks(state, function, ANA, **data)
    json.dumps(answer, ensure_ascii=False).encode("utf-8")
    assert "unexpected" not in answer.get("error", "")
    assert answer.get("error") or "html" in answer


def test_marks_of_a_newer_version_are_said_once_and_do_not_hide_the_others(state: AppState, make: Make) -> None:
    run = name_of(make(ANA, "含意"))
    id_ = first_id(state, ANA, run)
    row = {"task": "jnli", "item_id": "other", "marks": ["heart"]}
    (state.path(ANA, run) / marks.FILE).write_text(json.dumps({"format": 1, "items": [row]}), "utf-8")
    given: dict[str, Any] = {"run": run, "task": "jnli", "id": id_, "marks": ["star"], "note": ""}
    assert "from a newer version" in asks(state, "mark", ANA, **given)["said"]
    assert asks(state, "mark", ANA, **given)["said"] == "Saved"
    assert list(item_list_value(state, ANA, Pair(run), "ja")["marked"]) == [f"jnli/{id_}"]
    stored = json.loads((state.path(ANA, run) / marks.FILE).read_text("utf-8"))["items"]
    assert row in stored
