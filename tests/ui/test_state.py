"""Who may look at which stored runs, and what is kept for a while."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app import messages
from jglue_app.audit.auditor import audit_table
from jglue_app.errors import InputError, StoreError
from jglue_app.results import archive, showcase
from jglue_app.results.run_name import RunName
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from jglue_app.ui import run_files, static_report, views
from jglue_app.ui.jobs import Job
from jglue_app.ui.state import AppState
from jglue_app.ui.static_report.contents import Contents
from jglue_app.ui.tabs import waterfall
from jglue_app.ui.views import comparison, ranking
from jglue_app.ui.views.audit import table_view
from tests.test_api import GOLDS

SHIPPED_RUNS = [
    *("shipped:base-0-shot", "shipped:words-4-shot", "shipped:base-4-shot", "shipped:base-3-shot"),
    *("shipped:bare-3-shot", "shipped:chat-3-shot"),
]

Make = Callable[..., Job]


@pytest.fixture
def state(settings: Settings) -> Iterator[AppState]:
    """A server on somebody's own machine."""
    made = AppState(settings, "cpu")
    yield made
    made.pool.clear()
    made._scratch.cleanup()


@pytest.fixture
def public(settings: Settings) -> Iterator[AppState]:
    """A server for strangers over the same folder of runs."""
    made = AppState(replace(settings, public=True), "cpu")
    yield made
    made._scratch.cleanup()


@pytest.fixture
def make(state: AppState, tmp_path: Path) -> Make:
    """`make(owner, said)`: the ended job of a small run whose every answer is `said`."""

    def one(owner: str, said: str, limit: int = 3) -> Job:
        path = tmp_path / f"{said}.jsonl"
        rows = [{"task": "jnli", "item_id": id_, "text": said} for id_ in GOLDS]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        request = RunRequest(("jnli",), "sample", limit, "generate", Side(str(path)))
        job = state.jobs.start_runs(owner, "compare", request)
        assert job.ended.wait(60)
        return job

    return one


def name_of(job: Job) -> str:
    return job.runs["a"].run


def texts(state: AppState, owner: str, name: str) -> set[str | None]:
    return {record.output.text for record in state.data(owner, name).records if record.output}


# --- looking ----------------------------------------------------------------------------------------------


def test_the_runs_that_came_with_the_application_can_be_looked_at_by_anyone(state: AppState, public: AppState) -> None:
    for server in (state, public):
        for owner in ("ana", "stranger", ""):
            assert list(server.runs(owner)) == SHIPPED_RUNS
            assert list(server.runs(owner, shipped=False)) == []
            for name in SHIPPED_RUNS:
                assert server.path(owner, name) == showcase.run_folder(name.removeprefix(SHIPPED))
    assert sum(len(items) for items in public.data("stranger", SHIPPED_RUNS[0]).items.values()) == 227


def test_on_ones_own_machine_every_run_can_be_looked_at(state: AppState, make: Make) -> None:
    one, two = make("ana", "含意"), make("ben", "矛盾")
    for owner in ("ana", "ben", "somebody else"):
        assert set(state.runs(owner, shipped=False)) == {name_of(one), name_of(two)}
        assert texts(state, owner, name_of(two)) == {"矛盾"}
        runs = state.runs(owner)
        assert list(state.scores(owner, "official", runs, "official")) == []
        assert set(state.scores(owner, "official", runs, "sample")) == {name_of(one), name_of(two), *SHIPPED_RUNS}


def test_a_public_visitor_sees_the_runs_of_their_own_jobs_alone(
    public: AppState, make: Make, settings: Settings
) -> None:
    one, two = make("ana", "含意"), make("ben", "矛盾")
    assert len(list(settings.runs_dir.iterdir())) == 2
    for job in (one, two):
        public.grant_access(job)
    for owner, own, other, said in (("ana", one, two, "含意"), ("ben", two, one, "矛盾")):
        assert list(public.runs(owner)) == [name_of(own), *SHIPPED_RUNS]
        assert list(public.scores(owner, "official", public.runs(owner), "sample")) == [name_of(own), *SHIPPED_RUNS]
        assert texts(public, owner, name_of(own)) == {said}
        for look in (public.path, public.data):
            with pytest.raises(StoreError, match="There is no run"):
                look(owner, name_of(other))
    assert list(public.runs("eva")) == SHIPPED_RUNS


def test_who_asks_for_two_items_of_a_run_that_has_twelve_is_shown_two(
    public: AppState, state: AppState, make: Make, tmp_path: Path
) -> None:
    many, few = make("ana", "含意", limit=12), make("ben", "含意", limit=2)
    name = name_of(many)
    assert name == name_of(few)
    for job in (many, few):
        public.grant_access(job)
        state.grant_access(job)
    for owner, count in (("ana", 12), ("ben", 2)):
        run = public.runs(owner)[name]
        assert (run.done, run.planned) == (count, count)
        assert public.stored(owner, name).planned == count
        report, subset = public.report(owner, name), public.summary(owner, name, "official").subsets["jnli"]
        assert (report.tasks["jnli"].n, report.tasks["jnli"].planned) == (count, count)
        assert (subset.score, subset.planned) == (report.tasks["jnli"].metrics["accuracy"], count)
        assert public.scores(owner, "official", {name: run}, "sample")[name].tasks["jnli"] == subset.score
        assert len(public.judged(owner, name)["jnli"]) == count
        assert set(public.data(owner, name).items["jnli"]) == set((many if count == 12 else few).runs["a"].ids["jnli"])
        exported = run_files.export_run(public, owner, name, "jsonl").path.read_text("utf-8").splitlines()
        assert len(exported) == count
        brought = archive.unpack(run_files.export_run(public, owner, name, "zip").path, tmp_path / owner)
        assert len(RunStore(brought).data().records) == len(RunStore(brought).items()) == count
        # On one's own machine a stored run is one thing, and a request another.
        assert state.report(owner, name).tasks["jnli"].n == 12
        assert state.report(owner, name, requested_only=True).tasks["jnli"].n == count
    assert state.report("eva", name, requested_only=True).tasks["jnli"].n == 12
    # Whoever asks for more has more, and keeps it when less is asked for again.
    for limit in (5, 2):
        public.grant_access(make("ben", "含意", limit=limit))
        assert public.report("ben", name).tasks["jnli"].n == 5


def test_what_a_job_has_not_been_noted_for_is_nobodys_on_a_public_server(public: AppState, make: Make) -> None:
    job = make("ana", "含意")
    with pytest.raises(StoreError, match="There is no run"):
        public.path("ana", name_of(job))
    public.grant_access(job)
    assert public.path("ana", name_of(job)).name == name_of(job)


def test_the_visitors_who_have_not_come_for_longest_are_forgotten(
    settings: Settings, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jglue_app.ui.state.MAX_OWNERS", 2)
    small = AppState(replace(settings, public=True), "cpu")
    runs = make("ana", "含意").runs
    for owner in ("ana", "ben", "ana", "eva"):
        small.grant_access(Job("id", owner, "compare", runs=runs))
    assert [owner for owner in ("ana", "ben", "eva") if small.runs(owner, shipped=False)] == ["ana", "eva"]
    small._scratch.cleanup()


WAYS_OUT = [
    *("", ".", "..", "/", "../x", "../outside", "../runs/{name}", "./{name}", "{name}/", "{name}/../{name}"),
    *("/etc/passwd", "{outside}", "{runs}/{name}", "~", "~root", "*", "?" * 16, "{name}\0", "{name}\n", "..\\outside"),
    *("%2e%2e/outside", "{name}/manifest.json", ".import-x", "file://{outside}"),
    *("shipped:", "shipped:.", "shipped:..", "shipped:../../etc", "shipped:../samples", "shipped:{outside}"),
    *("shipped:base-0-shot/", "shipped:./base-0-shot", "shipped:../showcase/base-0-shot", "shipped:{name}"),
    *("Shipped:base-0-shot", "base-0-shot", "shipped:shipped:base-0-shot", "shipped: base-0-shot"),
]


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_name_that_leads_elsewhere_is_no_run(
    state: AppState, public: AppState, make: Make, settings: Settings, tmp_path: Path, way: str
) -> None:
    job = make("ana", "含意")
    public.grant_access(job)
    outside = tmp_path / "outside"
    shutil.copytree(settings.runs_dir / name_of(job), outside)
    name = way.format(name=name_of(job), outside=outside, runs=settings.runs_dir.resolve())
    for server in (state, public):
        for look in (server.path, server.data):
            with pytest.raises(StoreError, match="There is no run"):
                look("ana", name)
    with pytest.raises((StoreError, InputError), match=r"There is no run|stays"):
        state.delete("ana", name)
    assert (outside / "manifest.json").is_file()
    assert (settings.runs_dir / name_of(job) / "manifest.json").is_file()
    assert showcase.is_available()


def test_a_run_that_is_gone_is_a_sentence_also_for_its_owner(public: AppState, make: Make, settings: Settings) -> None:
    job = make("ana", "含意")
    public.grant_access(job)
    shutil.rmtree(settings.runs_dir / name_of(job))
    with pytest.raises(StoreError, match="There is no run"):
        public.path("ana", name_of(job))
    assert list(public.runs("ana")) == SHIPPED_RUNS


def test_a_copy_without_the_shipped_runs_works_without_them(
    state: AppState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(showcase, "FOLDER", tmp_path / "none")
    assert state.runs("ana") == {}
    with pytest.raises(StoreError, match="There is no run 'shipped:base-0-shot' here"):
        state.path("ana", "shipped:base-0-shot")


# --- deleting ---------------------------------------------------------------------------------------------


def test_a_name_that_somebody_gave_is_said_as_it_is_everywhere(state: AppState, make: Make) -> None:
    mine = "my experiment · 3-shot · thinking"
    a, b = name_of(make("ann", "含意")), name_of(make("ann", "矛盾"))
    state.rename("ann", a, mine, "")
    id_ = next(iter(state.data("ann", a).items["jnli"]))
    pair = comparison.Pair(a, b)
    run = state.stored("ann", a)
    contents = Contents(state, "ann", static_report.ReportRequest((a, b)))
    for shown in (
        comparison.first_html(state, "ann", pair, "ja"),
        comparison.board_html(state, "ann", pair, "ja", links=False),
        comparison.provenance_html(state, "ann", pair, "ja"),
        comparison.item_html(state, "ann", {"a": a, "b": b}, "jnli", id_, "ja"),
        ranking.run_label(run, a, "ja"),
        contents.labels("ja")[a],
    ):
        assert mine in shown
        assert "my experiment · 例題" not in shown
    # How it was made is said in the language of the page.
    assert "例題なし" in comparison.first_html(state, "ann", pair, "ja")


def test_a_run_made_here_is_deleted(state: AppState, make: Make, settings: Settings) -> None:
    kept, gone = make("ana", "含意"), make("ana", "矛盾")
    state.delete("ana", name_of(gone))
    assert list(state.runs("ana", shipped=False)) == [name_of(kept)]
    assert [path.name for path in settings.runs_dir.iterdir()] == [name_of(kept)]


@pytest.mark.parametrize("name", SHIPPED_RUNS)
def test_a_run_that_came_with_the_application_stays(state: AppState, public: AppState, name: str) -> None:
    with pytest.raises(InputError, match="came with the application and stays"):
        state.delete("ana", name)
    with pytest.raises(InputError, match="public server"):
        public.delete("ana", name)
    assert (showcase.run_folder(name.removeprefix(SHIPPED)) / "manifest.json").is_file()


def test_on_a_public_server_nobody_deletes_a_run_not_even_their_own(public: AppState, make: Make) -> None:
    job = make("ana", "含意")
    public.grant_access(job)
    with pytest.raises(InputError, match=r"On a public server .* Nothing was deleted"):
        public.delete("ana", name_of(job))
    assert list(public.runs("ana", shipped=False)) == [name_of(job)]


# --- what is kept for a while -----------------------------------------------------------------------------


def test_of_the_folders_for_files_on_their_way_the_last_few_are_kept(state: AppState) -> None:
    made = []
    for number in range(12):
        made.append(state.scratch())
        (made[-1] / "run.zip").write_text(str(number), "utf-8")
    assert len(set(made)) == 12
    assert [path.exists() for path in made] == [False] * 4 + [True] * 8
    assert [(path / "run.zip").read_text("utf-8") for path in made[4:]] == [str(n) for n in range(4, 12)]
    assert set(made[-1].parent.iterdir()) == set(made[4:])


def test_a_tokenizer_is_read_once(state: AppState, smollm2_gguf: Path) -> None:
    gemma, other = ModelSpec("gemma-3-270m"), ModelSpec(str(smollm2_gguf))
    first = state.tokenizer(gemma)
    assert state.tokenizer(other) is not first
    assert state.tokenizer(gemma) is first


def test_tables_of_answers_have_no_tokenizer_to_look_at(state: AppState) -> None:
    with pytest.raises(InputError, match="has no tokenizer to look at"):
        state.tokenizer(ModelSpec("a.jsonl", "scripted"))


def test_logs_of_one_name_are_not_put_one_over_the_other(state: AppState, tmp_path: Path) -> None:
    paths = [tmp_path / folder / "outputs.jsonl" for folder in ("jnli", "jsquad")]
    for path in paths:
        path.parent.mkdir()
        path.write_text('{"lm_output": "a", "extra_info": {}}\n', "utf-8")
    with pytest.raises(InputError, match=r"Two of the files are called outputs\.jsonl\. Import them one by one"):
        run_files.import_run(state, paths)
    assert not list(state.settings.runs_dir.glob("*"))


def test_a_log_that_cannot_be_read_is_named_without_the_folder_it_was_copied_to(
    state: AppState, tmp_path: Path
) -> None:
    (tmp_path / "up").mkdir()
    path = tmp_path / "up" / "outputs.jsonl"
    path.write_text('{"lm_output": "a", "extra_info": {}}\n[1]\n', "utf-8")
    with pytest.raises(InputError) as caught:
        run_files.import_run(state, [path])
    assert str(caught.value).startswith("outputs.jsonl, line ")
    assert messages.say(caught.value.message, "ja").startswith("outputs.jsonl")


def test_a_public_server_takes_nobodys_run_apart_but_ones_own(make: Make, public: AppState) -> None:
    name = make("anna", "neutral").runs["a"].run
    assert name is not None
    for look in (
        lambda: waterfall.waterfall_html(public, "ben", name, "official", "wandb-2023-0shot", "en"),
        lambda: run_files.export_run(public, "ben", name, "lm-eval"),
        lambda: run_files.export_run(public, "ben", "../" + name, "hub-eval-results"),
    ):
        with pytest.raises(StoreError, match="There is no run") as caught:
            look()
        assert str(public.settings.runs_dir) not in str(caught.value)
    with pytest.raises(InputError, match="A public server takes no files"):
        run_files.import_run(public, [public.settings.runs_dir / name])


def test_outputs_and_names_stand_as_text_on_the_page(make: Make, state: AppState) -> None:
    said = "<img src=x onerror=alert(1)>"
    name = make("anna", said.replace("/", "")).runs["a"].run
    assert name is not None
    html = waterfall.waterfall_html(state, "anna", name, "official", "wandb-2023-0shot", "en")
    assert "&lt;img src=x onerror=alert(1)&gt;" in html and "<img" not in html
    audit = audit_table(f"model,JNLI,<b>c</b>\n{said},0.3016,1\n{said},0.3016,1\nb,x<i>,1\n")
    html = views.render("audited", table_view(audit, "en"), "en")
    assert "&lt;img src=x" in html and "&lt;b&gt;" in html and "&lt;i&gt;" in html
    assert not re.search("<(img|b|i)[ >]", html)


# --- names ------------------------------------------------------------------------------------------------


def test_a_run_is_named_here_but_not_on_a_public_server_nor_one_that_came_with_it(
    state: AppState, public: AppState, make: Make
) -> None:
    (plan,) = make("ana", "含意").runs.values()
    assert state.rename("ana", plan.run, "ここ", "説明") == RunName("ここ", "説明")
    assert (state.stored("ana", plan.run).label, state.runs("ana")[plan.run].description) == ("ここ", "説明")
    with pytest.raises(InputError, match="came with the application and keeps its name"):
        state.rename("ana", f"{SHIPPED}base-0-shot", "a", "")
    with pytest.raises(StoreError, match="There is no run"):
        state.rename("ana", "../elsewhere", "a", "")
    with pytest.raises(InputError, match="public server runs are not named"):
        public.rename("ana", plan.run, "a", "")
    assert state.stored("ana", plan.run).label == "ここ"
