"""A report as one file: what is in it, what is not, and that it runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from jglue_app import api
from jglue_app.cli import main
from jglue_app.errors import InputError, StoreError, UnknownNameError
from jglue_app.results import marks
from jglue_app.settings import Settings
from jglue_app.ui import run_files, static_report, views
from jglue_app.ui.state import AppState
from jglue_app.ui.static_report import contents as report_contents
from jglue_app.ui.static_report.contents import Contents, ReportRequest, last_part
from jglue_app.ui.tabs import report_controls
from tests.test_api import GOLDS
from tests.ui.reading_reports import Parts, report, store, unpacked, value

Stored = Callable[..., Path]


@pytest.fixture
def stored(settings: Settings, tmp_path: Path) -> Stored:
    """`store` in a folder of this test."""
    return partial(store, tmp_path)


# --- what is in it ----------------------------------------------------------------------------------------


def test_every_item_of_every_pair_is_stored_in_both_languages(settings: Settings, stored: Stored) -> None:
    runs = [stored("a"), stored("b", ("含意", "矛盾")), stored("c", ("中立",), 5)]
    page, contents = report(settings, *runs)
    parts = Parts(page)
    first = unpacked(parts.scripts["jgr-block-0"])
    block = unpacked(parts.scripts["jgr-block-1"])
    assert "jgr-block-2" not in parts.scripts
    # Seven items in the first pair; of the second pair the five that both runs have.
    assert (len(contents.keys), list(map(len, contents.listed_keys))) == (7, [7, 5])
    assert len(block["roots"]) == 14
    for lang in ("ja", "en"):
        head = value(first, [], first["head"], lang)
        for pair in (0, 1):
            assert head["pairs"][pair] == json.loads(json.dumps(contents.listed(pair, lang)))
            keys = [(head["pairs"][pair]["tasks"][row[0]][0], row[1]) for row in head["pairs"][pair]["rows"]]
            places = head["pairs"][pair]["places"] or range(7)
            listed = dict(zip(keys, places, strict=True))
            for place, key in enumerate(contents.keys):
                found = value(first, block["nodes"], block["roots"][7 * pair + place], lang)
                if key in listed:
                    assert listed[key] == place
                    assert found == json.loads(json.dumps(contents.item(pair, *key, lang)))
                else:
                    assert found is None


def test_an_item_is_the_one_of_the_page(settings: Settings, stored: Stored) -> None:
    from jglue_app.ui.views.comparison import item_html

    a, b = stored("a"), stored("b", ("含意", "矛盾"))
    _, contents = report(settings, a, b)
    state = AppState(settings)
    for lang in ("ja", "en"):
        for task, id_ in contents.keys:
            drawn = views.render("item", contents.item(0, task, id_, lang), lang)
            on_page = item_html(state, "", {"a": a.name, "b": b.name}, task, id_, lang)
            # Without a server there is no prompt lab, no address to lead to, and no mark to set.
            of_server = (
                r'<button[^>]*(?:data-jg-do="lab"|data-jg-copy-link=).*?</button>\n?'
                r'|<div class="jg-marks".*?</details>\n</div>\n'
            )
            # Where no mark is set, its place is empty.
            drawn = drawn.replace("<div></div>\n", "")
            assert drawn.split() == re.sub(of_server, "", on_page, flags=re.DOTALL).split()
    state.close()


def test_marks_and_notes_are_in_a_report(settings: Settings, stored: Stored) -> None:
    run = stored("a")
    _, contents = report(settings, run)
    (task, id_), other = contents.keys[:2]
    marks.write(run, (task, id_), marks.item_marks(["star"], "<b>見直す</b>"))
    _, contents = report(settings, run)
    drawn = views.render("item", contents.item(0, task, id_, "ja"), "ja")
    assert "★ 重要" in drawn and "&lt;b&gt;見直す&lt;/b&gt;" in drawn and "<textarea" not in drawn
    assert "★" not in views.render("item", contents.item(0, *other, "ja"), "ja")
    assert list(contents.listed(0, "ja")["marked"]) == [f"{task}/{id_}"]


def test_head_and_foot_say_what_it_is(settings: Settings, stored: Stored, tmp_path: Path) -> None:
    page, _ = report(settings, stored("a"), stored("b", ("含意",)), protocol="llm-jp-eval")
    text = re.sub(r"<[^>]+>", " ", page.split("<script")[0])
    assert "作成：2026-08-01 09:30 UTC、jglue-app" in text
    assert "Made 2026-08-01 09:30 UTC with jglue-app" in text
    assert "llm-jp-eval" in text
    assert "a.jsonl" in text and "b.jsonl" in text
    assert "python -m jglue_app compare --a a.jsonl --b b.jsonl" in text
    assert "Apache License 2.0" in text and "CC BY-SA" not in text
    assert "python -m jglue_app" in text


def test_official_texts_name_their_licence(settings: Settings, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Contents, "sources", property(lambda self: ["official", "user"]))
    page, _ = report(settings, stored("a"))
    assert "https://github.com/yahoojapan/JGLUE" in page and "CC BY-SA 4.0" in page
    assert "Apache License 2.0" not in page


def test_with_more_than_two_runs_there_is_a_table_of_all(settings: Settings, stored: Stored) -> None:
    page, contents = report(settings, stored("a", ("含意",)), stored("b", ("矛盾",)), stored("c", ("中立",)))
    listed = contents.lists[0]["en"]
    golds = [listed["golds"][row[3]].split()[0] for row in listed["rows"]]
    expected = [sum(gold == label for gold in golds) / 7 for label in ("entailment", "contradiction", "neutral")]
    table = page.split('class="jg-board jg-matrix"')[1].split("</table>")[0]
    assert [float(found) for found in re.findall(r'jg-value">([\d.]+)<', table)] == pytest.approx(expected, abs=5e-4)
    assert table.count("jg-open-pair") == 2
    first = unpacked(Parts(page).scripts["jgr-block-0"])
    matrix = value(first, [], first["head"], "en")["matrix"]
    assert [run[1].split(".jsonl")[0] for run in matrix["runs"]] == ["a", "b", "c"]
    outcomes = [matrix["outcomes"][place][0] for row in matrix["rows"] for place in row[4]]
    labels = ("entailment", "contradiction", "neutral")
    assert outcomes == ["correct" if gold == label else "wrong" for gold in golds for label in labels]
    options = re.findall(r"<option value=\"(\d)\">([^<]+)</option>", page)
    assert [(number, text.split(".jsonl")[0]) for number, text in options] == [("0", "b"), ("1", "c")]


# --- what is not in it ------------------------------------------------------------------------------------


def test_a_file_fetches_nothing_and_runs_its_own_script_alone(settings: Settings, stored: Stored) -> None:
    page, _ = report(settings, stored("a"), stored("b"))
    page.encode("utf-8")
    parts = Parts(page)
    for tag, attributes in parts.elements:
        assert not {"src", "srcset", "href", "action", "data", "poster", "background", "ping"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert tag not in ("iframe", "object", "embed", "base", "form", "link", "img", "svg")
    scripts = [attributes for tag, attributes in parts.elements if tag == "script"]
    assert [s.get("type") for s in scripts] == ["application/octet-stream"] * 2 + [None]
    (policy,) = [a["content"] for _, a in parts.elements if a.get("http-equiv") == "Content-Security-Policy"]
    checksum = base64.b64encode(hashlib.sha256(parts.scripts["main"].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{checksum}'; style-src 'unsafe-inline'; worker-src blob:; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"url\(|@import", page.split("</style>")[0])
    # What the first card shows of the outputs is text.
    assert "<script>window.__ran=" not in page and page.count("<script") == 3


def everything_in(page: str) -> str:
    """A file with its blocks unpacked."""
    blocks = {name: text for name, text in Parts(page).scripts.items() if name.startswith("jgr-block-")}
    return page + "".join(json.dumps(unpacked(text), ensure_ascii=False) for text in blocks.values())


def test_no_path_of_the_machine_is_in_it(settings: Settings, stored: Stored, tmp_path: Path) -> None:
    everything = everything_in(report(settings, stored("a"), stored("b"), stored("c", ("中立",)))[0])
    assert "a.jsonl" in everything
    assert str(tmp_path) not in everything and "somebody" not in everything


def test_outputs_and_notes_are_never_rewritten(settings: Settings, stored: Stored, tmp_path: Path) -> None:
    path = f"{tmp_path}/somebody/models/a.jsonl"
    run = stored("a", (f"x {path} y ../含意 z /llm", "含意"))
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    key = next(iter(api.open_run(run).data().items["jnli"]))
    marks.write(run, ("jnli", key), marks.item_marks([], f"see {path}"))
    page, contents = report(settings, run)
    assert manifest["spec"]["model"]["id"] == path
    first = unpacked(Parts(page).scripts["jgr-block-0"])
    block = unpacked(Parts(page).scripts["jgr-block-1"])
    places = {of: place for place, of in enumerate(contents.keys)}
    item = value(first, block["nodes"], block["roots"][places["jnli", key]], "en")
    assert item == json.loads(json.dumps(contents.item(0, "jnli", key, "en")))
    everything = everything_in(page)
    assert f"see {path}" in everything and f"x {path} y ../含意 z /llm" in everything
    # What tells of the run itself has the name alone.
    commands = re.findall(r'<pre class="jg-command"[^>]*>([^<]*)</pre>', page)
    assert commands and all("a.jsonl" in command and "somebody" not in command for command in commands)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/me/models/llama", "llama"),
        ("C:\\models\\llama.gguf", "llama.gguf"),
        ("../models/llama/", "llama"),
        ("~/llama", "llama"),
        ("models/mine/llama", "llama"),
        ("sbintuitions/sarashina2.2-1b", "sbintuitions/sarashina2.2-1b"),
        ("gemma-3-270m", "gemma-3-270m"),
        ("local:qwen", "local:qwen"),
    ],
)
def test_of_a_path_the_name_is_left(text: str, left: str) -> None:
    assert last_part(text) == left


def test_a_visitor_of_a_public_server_gets_only_what_they_may_see(settings: Settings, stored: Stored) -> None:
    run = stored("a")
    state = AppState(replace(settings, public=True))
    try:
        with pytest.raises(StoreError, match="There is no run"):
            static_report.report_html(state, "visitor", ReportRequest((run.name,)))
        ids = frozenset(sorted(api.open_run(run).data().items["jnli"])[:2])
        state._ownership.add("visitor", [(run.name, {"jnli": ids})])
        assert {id_ for _, id_ in Contents(state, "visitor", ReportRequest((run.name,))).keys} == ids
        # What is asked for beyond that stays out.
        wanted = ReportRequest((run.name,), items={"jnli": set(GOLDS)})
        assert {id_ for _, id_ in Contents(state, "visitor", wanted).keys} == ids
    finally:
        state.close()


# --- bad input --------------------------------------------------------------------------------------------


def test_what_cannot_be_a_report_is_refused_in_a_sentence(
    settings: Settings, stored: Stored, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = stored("a")
    for wanted, error, sentence in (
        (ReportRequest(()), InputError, "at least one run"),
        (ReportRequest(("a", "a")), InputError, "each run once"),
        (ReportRequest(tuple(map(str, range(13)))), InputError, "at most 12 runs"),
        (ReportRequest((run.name,), "nobodys"), UnknownNameError, "nobodys"),
        (ReportRequest(("gone",)), StoreError, "There is no run 'gone'"),
    ):
        state = AppState(settings)
        with pytest.raises(error, match=sentence):
            static_report.report_html(state, "", wanted)
        state.close()
    monkeypatch.setattr(report_contents, "MAX_ITEMS", 6)
    with pytest.raises(InputError, match=r"at most 6 items, and these are 7\. Choose fewer"):
        api.export_report([run], tmp_path / "long.html")
    assert not (tmp_path / "long.html").exists()


def test_names_of_files_are_safe() -> None:
    assert (
        static_report.file_name(("shipped:base-0-shot", "0123456789abcdef"))
        == "report-base-0-shot-0123456789abcdef.html"
    )
    assert static_report.file_name(("../../etc/passwd\0\n", "x" * 300)) == f"report-etc-passwd-{'x' * 24}.html"
    assert static_report.file_name(("a", "b", "c", "d")) == "report-a-b-and-2-more.html"
    assert static_report.file_name(("…",)) == "report.html"


def test_the_command_line_writes_reports(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def export(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["jglue_app", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capfd.readouterr()
        return ended.value.code or 0, printed.out.strip(), printed.err.strip()

    a, b, c = stored("a"), stored("b"), stored("c", ("中立",))
    capfd.readouterr()
    out = [tmp_path / f"{i}.html" for i in range(4)]
    assert export(a, out[0]) == (0, str(out[0]), "")
    assert export(a, b, out[1]) == (0, str(out[1]), "")
    assert export(a.name, b, c.name, out[2]) == (0, str(out[2]), "")
    assert export(a.name, out[3], "--protocol", "nejumi-4") == (0, str(out[3]), "")
    assert "nejumi-4" in out[3].read_text("utf-8")
    new = tmp_path / "new.html"
    for arguments, sentence in (
        ((a.name, b.name, "x.csv"), "error: Only a report, a file that ends in .html, holds several runs."),
        ((a.name, a.name, new), "error: A report shows each run once."),
        ((a.name, out[0]), "is there already"),
        ((a.name, new, "--protocol", "nobodys"), "error: Unknown protocol 'nobodys'."),
        (("gone", new), "error: There is no run gone."),
    ):
        code, said, why = export(*arguments)
        assert code != 0 and said == "" and sentence in why
    assert not new.exists()


# --- from the page ----------------------------------------------------------------------------------------


def test_a_report_of_a_page_is_of_what_it_shows(settings: Settings, stored: Stored) -> None:
    a, b = stored("a"), stored("b")
    ids = sorted(api.open_run(a).data().items["jnli"])[:3]
    told = {"a": a.name, "b": b.name, "protocol": "nejumi-4", "items": {"jnli": [*ids, 7, "other"], "nothing": ["x"]}}
    wanted = report_controls.report_request(json.dumps(told))
    assert wanted == ReportRequest((a.name, b.name), "nejumi-4", {"jnli": frozenset([*ids, "other"])})
    state = AppState(settings)
    assert [id_ for _, id_ in Contents(state, "", wanted).keys] == sorted(
        ids, key=list(api.open_run(a).data().items["jnli"]).index
    )
    path = run_files.report_of_runs(state, "", wanted)
    assert path.name == f"report-{a.name}-{b.name}.html" and path.read_text("utf-8").startswith("<!doctype html>")
    single = run_files.export_run(state, "", a.name, "html").path
    assert single.name == f"report-{a.name}.html"
    state.close()


@pytest.mark.parametrize(
    "told", [None, "", "[]", "null", "{", "{}", '{"a": 5}', json.dumps({"a": "x" * 300}), "[" * 100_000, '{"b": ["x"]}']
)
def test_what_a_browser_may_send_instead_is_refused_in_a_sentence(told: str | None) -> None:
    with pytest.raises(InputError, match="could not be read"):
        report_controls.report_request(told)
