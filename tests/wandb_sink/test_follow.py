"""A run that W&B follows while it goes on: interrupted, resumed, with a server that comes and goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from jglue_app.errors import RunBusyError
from tests.wandb_server import Run, WandbServer
from tests.wandb_sink.known import (
    KEY,
    LONG_S,
    ROOT,
    Json,
    Later,
    files,
    items,
    spec_id,
    steady,
    table,
    together,
    until,
)

ITEMS = 45
EAGER = (
    "import jglue_app.wandb_sink.live_run as f; f.SPEED_EVERY_S = 0.2; f.SCORES_EVERY_S = 1.0; "
    "from jglue_app.cli import main; main()"
)
"""The command line, but progress is sent more often: the run would have to take minutes."""
HASTY = f"import jglue_app.wandb_sink.live_run as f; f.END_WAIT_S = 4.0; f.NOTIFY_AFTER_S = 1.0; {EAGER}"
"""As that, and W&B is not waited for as long."""
PATIENT = f"import jglue_app.wandb_sink.live_run as f; f.STOPPED_WAIT_S = 2.0; f.NOTIFY_AFTER_S = 1.0; {EAGER}"
"""As that, and W&B is waited for long, unless somebody stops the command."""


@dataclass
class Session:
    """One command under way, with what it writes in files."""

    folder: Path
    server: WandbServer
    name: str
    script: str = EAGER
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, *arguments: object) -> Session:
        own = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": self.server.url, "PYTHONPATH": str(ROOT)}
        own |= {"JGLUE_RUNS_DIR": str(self.folder / "runs"), "WANDB_DIR": str(self.folder), "HOME": str(self.folder)}
        own |= {"TMPDIR": str(self.temporary)}
        self.temporary.mkdir(exist_ok=True)
        with (self.folder / f"{self.name}.out").open("wb") as out, (self.folder / f"{self.name}.err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", self.script, *map(str, arguments)],
                env={**os.environ, **own},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        return self

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def homes(self) -> list[Path]:
        """Folders of the processes that talk to W&B."""
        return list(self.temporary.glob("jglue-wandb-*"))

    @property
    def told(self) -> str:
        return (self.folder / f"{self.name}.err").read_text("utf-8")

    @property
    def printed(self) -> str:
        return (self.folder / f"{self.name}.out").read_text("utf-8")

    def end(self) -> int:
        code = self.process.wait(LONG_S)
        assert "Traceback" not in self.told, self.told
        return code


def records(folder: Path) -> int:
    """Items that all runs of a folder have stored."""
    return sum(file.read_bytes().count(b"\n") for file in folder.glob("runs/*/records.jsonl"))


@dataclass(frozen=True)
class Story:
    """A run that was killed, then stopped, then went on to its end while the server was away for a while."""

    server: WandbServer
    folder: Path
    sessions: list[Session]
    codes: list[int]
    after: list[tuple[list[Json], str, str | None, int]]
    """After each session: history, state, `push/state`, items stored."""
    busy: Session
    """A push while the run was followed."""


def told_of(server: WandbServer, folder: Path) -> tuple[list[Json], str, str | None, int]:
    (run,) = server.runs.values()
    return list(run.history), run.state, run.summary.get("push/state"), records(folder)


def interrupted(folder: Path) -> Story:
    model = steady(folder / "slow.jsonl", seconds=0.12)
    chosen = ("--tasks", "jnli", "--data", "sample", "--limit", ITEMS)
    command = ("run", "--model", model, *chosen, "--wandb", "--project", "team/jglue")
    server = WandbServer()
    sessions, codes, after = [], [], []

    def session(name: str) -> Session:
        sessions.append(Session(folder, server, name).start(*command))
        return sessions[-1]

    first = session("killed")
    until(lambda: records(folder) >= 6, "the sixth item")
    first.process.kill()
    first.process.wait(LONG_S)
    codes.append(first.process.returncode)
    assert first.homes
    until(lambda: next(iter(server.runs.values())).exit_code is not None, "the end of the client")
    until(lambda: not first.homes, "the end of the client's folder")
    after.append(told_of(server, folder))

    second = session("stopped")
    until(lambda: records(folder) >= after[0][3] + 6, "six items more")
    second.process.send_signal(signal.SIGINT)
    codes.append(second.end())
    after.append(told_of(server, folder))

    third = session("whole")
    until(lambda: records(folder) >= after[1][3] + 3, "three items more")
    (run,) = (folder / "runs").iterdir()
    busy = Session(folder, server, "busy").start("push", run, "--project", "team/jglue")
    codes.append(busy.end())
    server.down()
    until(lambda: records(folder) >= after[1][3] + 8, "five items more")
    server.up()
    codes.insert(2, third.end())
    after.append(told_of(server, folder))
    return Story(server, folder, sessions, codes, after, busy)


@dataclass(frozen=True)
class One:
    """A run of one session."""

    server: WandbServer
    folder: Path
    session: Session
    code: int


def late(folder: Path) -> One:
    """It begins while there is no server."""
    server = WandbServer()
    server.down()
    model = steady(folder / "slow.jsonl", seconds=0.05)
    command = ("run", "--model", model, "--tasks", "jnli", "--data", "sample", "--limit", 10)
    session = Session(folder, server, "late").start(*command, "--wandb", "--project", "team/jglue")
    until(lambda: "The run goes on" in session.told, "the sentence")
    server.up()
    return One(server, folder, session, session.end())


@dataclass(frozen=True)
class Silent(One):
    """While it goes on, the server falls silent, and is gone when the push begins."""

    printed: str
    """What was on standard output when W&B was still waited for."""


def silent(folder: Path) -> Silent:
    server = WandbServer()
    model = steady(folder / "slow.jsonl", seconds=0.1)
    command = ("run", "--model", model, "--tasks", "jnli", "--data", "sample", "--limit", 20)
    session = Session(folder, server, "silent", HASTY).start(*command, "--wandb", "--project", "team/jglue")
    until(lambda: records(folder) >= 3, "the third item")
    server.slow("", LONG_S)
    until(lambda: "Waiting for W&B" in session.told, "the sentence")
    printed = session.printed
    until(lambda: "W&B does not answer." in session.told, "the end of patience")
    server.down()
    return Silent(server, folder, session, session.end(), printed)


def ended(folder: Path) -> One:
    """The server falls silent, and somebody has enough of waiting for it."""
    server = WandbServer()
    model = steady(folder / "slow.jsonl", seconds=0.1)
    command = ("run", "--model", model, "--tasks", "jnli", "--data", "sample", "--limit", 20)
    session = Session(folder, server, "ended", PATIENT).start(*command, "--wandb", "--project", "team/jglue")
    until(lambda: records(folder) >= 3, "the third item")
    server.slow("", LONG_S)
    until(lambda: "Waiting for W&B" in session.told, "the sentence")
    session.process.send_signal(signal.SIGTERM)
    return One(server, folder, session, session.end())


def compared(folder: Path) -> One:
    """Two models that are followed and compared."""
    server = WandbServer()
    models = [table(folder / f"{name}.jsonl", shift) for shift, name in enumerate(("one", "two"))]
    command = ("compare", "--a", models[0], "--b", models[1], "--tasks", "jnli", "--data", "sample", "--limit", 4)
    session = Session(folder, server, "both").start(*command, "--wandb", "--project", "team/jglue")
    return One(server, folder, session, session.end())


def refused(folder: Path, users: dict[str, str] | None) -> One:
    """Somebody asks for what the key may not, or with another key."""
    server = WandbServer(users, {"team"})
    model = steady(folder / "model.jsonl")
    command = ("run", "--model", model, "--tasks", "jnli", "--data", "sample", "--limit", 3)
    session = Session(folder, server, "refused").start(*command, "--wandb", "--project", "nobody/jglue")
    return One(server, folder, session, session.end())


@dataclass(frozen=True)
class Stories:
    """All of them at once: they are mostly waiting."""

    interrupted: Story
    late: One
    silent: Silent
    ended: One
    refused: dict[str, One]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    folder = tmp_path_factory.mktemp("follow")
    places = {name: folder / name for name in ("interrupted", "late", "silent", "ended", "key", "entity")}
    for place in places.values():
        place.mkdir()
    story = Later(lambda: interrupted(places["interrupted"]))
    quiet = Later(lambda: silent(places["silent"]))
    later, last, key, entity = together(
        lambda: late(places["late"]),
        lambda: ended(places["ended"]),
        lambda: refused(places["key"], {"another" * 7: "team"}),
        lambda: refused(places["entity"], None),
    )
    first = story.join().value
    assert first is not None, story.error
    mute = quiet.join().value
    assert mute is not None, quiet.error
    yield Stories(first, later, mute, last, {"key": key, "entity": entity})
    for one in (first, later, mute, last, key, entity):
        one.server.close()


@pytest.fixture
def story(stories: Stories) -> Story:
    return stories.interrupted


@pytest.fixture
def the_run(story: Story) -> Run:
    (found,) = story.server.runs.values()
    return found


# --- progress -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_three_sessions_of_one_run_are_one_wandb_run(story: Story, the_run: Run) -> None:
    (folder,) = (story.folder / "runs").iterdir()
    assert the_run.path == f"team/jglue/jglue-{spec_id(folder)}"
    assert the_run.keys == {KEY}
    assert story.server.unknown == []


@pytest.mark.slow
def test_a_row_of_the_progress_stands_at_the_number_of_items_that_are_done(the_run: Run) -> None:
    assert len(the_run.history) >= 6
    for row in the_run.history:
        assert row["progress/share"] == row["progress/items"] / ITEMS
        assert row["progress/jnli/items"] == row["progress/items"]
    assert any(row.get("progress/items_per_s", 0) > 0 for row in the_run.history)


@pytest.mark.slow
def test_no_item_is_counted_twice_however_often_the_run_was_resumed(story: Story, the_run: Run) -> None:
    steps = [row["progress/items"] for row in the_run.history]
    own = [row["_step"] for row in the_run.history]
    assert own == sorted(set(own))
    assert steps == sorted(set(steps))
    assert steps[-1] == ITEMS
    for history, _, _, stored in story.after[:2]:
        assert history, "each session has told something"
        assert [row["progress/items"] for row in history] == steps[: len(history)]
        assert history[-1]["progress/items"] <= stored
    # A session goes on from where the one before it was.
    assert story.after[1][0][-1]["progress/items"] > story.after[0][3]


@pytest.mark.slow
def test_the_last_row_has_the_score_of_the_whole_run(story: Story, the_run: Run) -> None:
    (folder,) = (story.folder / "runs").iterdir()
    right = sum(item["gold"] == ["entailment"] for item in items(folder, "jnli").values())
    assert the_run.history[-1]["progress/jnli/score"] == right / ITEMS
    assert sum("progress/jnli/score" in row for row in the_run.history) >= 2


@pytest.mark.slow
def test_a_run_that_is_killed_or_stopped_does_not_look_finished(story: Story) -> None:
    assert story.codes[:2] == [-signal.SIGKILL, 130]
    assert [(state, push) for _, state, push, _ in story.after[:2]] == [("failed", None)] * 2


@pytest.mark.slow
def test_the_run_is_pushed_at_its_end_and_its_progress_stays(story: Story, the_run: Run) -> None:
    history, state, push, stored = story.after[2]
    (folder,) = (story.folder / "runs").iterdir()
    assert (state, push, stored) == ("finished", "complete", ITEMS)
    assert len(history) == len(the_run.history)
    assert len(story.server.table(the_run, "predictions/jnli")) == ITEMS
    assert story.server.artifact(f"jglue-run-{spec_id(folder)}").files == files(folder)
    assert the_run.tags[0] == "jglue"
    assert the_run.job_type == "evaluation"


@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_costs_the_run_nothing(story: Story) -> None:
    assert story.codes[2] == 0
    assert "exited without a result" not in story.sessions[2].told


@pytest.mark.slow
def test_a_run_that_is_being_followed_is_not_pushed_by_somebody_else_meanwhile(story: Story) -> None:
    assert "is being pushed to team/jglue already. Wait for its end." in story.busy.told
    assert story.codes[3] == RunBusyError.exit_code


# --- a server that is not there at the start ------------------------------------------------------------


@pytest.mark.slow
def test_without_a_server_the_run_goes_on_and_is_pushed_at_its_end(stories: Stories) -> None:
    later = stories.late
    assert "could not be reached" in later.session.told
    assert "The run goes on; `push` sends it afterwards." in later.session.told
    (run,) = later.server.runs.values()
    assert (run.state, run.summary["push/state"]) == ("finished", "complete")
    assert len(later.server.table(run, "predictions/jnli")) == 10
    assert run.history == []


@pytest.mark.slow
def test_a_server_that_falls_silent_is_not_waited_for_and_the_scores_are_there_before(stories: Stories) -> None:
    mute = stories.silent
    assert "stored in" in mute.printed
    assert "Waiting for W&B to take the last of the progress, at most 4 s." in mute.session.told
    assert "0-shot is not all at W&B: W&B does not answer." in mute.session.told
    assert mute.code == 4
    assert records(mute.folder) == 20
    assert f"{mute.server.url} could not be reached" in mute.session.told
    assert "An offline copy is sent by: wandb sync /" in mute.session.told


@pytest.mark.slow
def test_who_has_enough_of_waiting_for_a_silent_server_ends_the_command_and_nothing_of_it_stays(
    stories: Stories,
) -> None:
    last = stories.ended
    assert last.code == 130
    assert "Waiting for W&B to take the last of the progress, at most 60 s." in last.session.told
    assert "0-shot is not all at W&B: W&B does not answer." in last.session.told
    assert "stored in" in last.session.printed
    assert last.session.homes == []
    assert not [process for process in psutil.process_iter() if str(last.folder) in environment(process)]


def environment(process: psutil.Process) -> str:
    try:
        return " ".join(process.environ().values())
    except psutil.Error:
        return ""


# --- two runs -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_two_models_each_is_followed_and_at_the_end_all_three_are_there(tmp_path: Path) -> None:
    two = compared(tmp_path)
    assert two.code == 0
    runs = sorted(two.server.runs.values(), key=lambda run: run.job_type or "")
    assert [run.job_type for run in runs] == ["comparison", "evaluation", "evaluation"]
    assert {run.group for run in runs} == {runs[0].id}
    assert [run.summary["push/state"] for run in runs] == ["complete"] * 3
    assert [[row["progress/items"] for row in run.history][-1:] for run in runs] == [[], [4], [4]]
    assert len(two.server.table(runs[0], "comparison/jnli")) == 4
    for run in runs:
        assert f"{two.server.url}/team/jglue/runs/{run.id}" in two.session.told
    two.server.close()


# --- what is refused before a model is asked ------------------------------------------------------------


@pytest.mark.parametrize(("case", "words"), [("key", "does not accept this key"), ("entity", "nobody/jglue")])
@pytest.mark.slow
def test_a_key_or_an_entity_that_is_not_accepted_stops_the_run_before_its_first_item(
    stories: Stories, case: str, words: str
) -> None:
    refused = stories.refused[case]
    assert refused.code == 2
    assert "error: " in refused.session.told
    assert words in refused.session.told
    assert records(refused.folder) == 0
    assert list((refused.folder / "runs").glob("*")) == []
    assert refused.server.runs == {}
