"""A temporary folder for all that is pushed here, and one server with runs of known answers, shared by those who only
look at it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from jglue_app import wandb_sink
from jglue_app.cli import main
from jglue_app.wandb_sink import Login, PushResult
from tests.unsealed import unsealed
from tests.wandb_server import Run, WandbServer
from tests.wandb_sink.known import KEY, SHOWCASE, as_model, login, run_of, spec_id, table, together, until


@pytest.fixture(scope="package", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where temporary files go: nobody's locks are met, and what stays behind is seen."""
    folder = tmp_path_factory.mktemp("tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder
        until(lambda: not list(folder.glob("jglue-wandb-*")), "the end of what pushes leave")


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of known answers, `ada` and `ben`, as links to them."""
    folder = tmp_path_factory.mktemp("made")
    for name, shift in (("ada", 0), ("ben", 1)):
        model = table(folder / f"{name}.jsonl", shift)
        (folder / name).symlink_to(run_of(model, folder / "runs", ("jsts", "jsquad", "jnli")))
    return folder


@dataclass(frozen=True)
class Board:
    """What was pushed, and where."""

    server: WandbServer
    login: Login
    runs_dir: Path
    ada: Path
    ben: Path
    """Two models with known answers, and a comparison of them."""
    gemma: Path
    """The shipped run with examples, all five subsets; pushed under `stability-jp`."""
    half: Path
    """A run that ended early, of a model with a Japanese name; pushed under `flexeval`."""
    sent: dict[str, PushResult]
    """`a`, `b`, `both`, `gemma`, `half` → what the push told."""
    lone: str
    """A W&B run that some push began and never completed."""

    def run(self, name: str) -> Run:
        return self.server.run(self.sent[name].path)


@pytest.fixture(scope="package")
def board(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Iterator[Board]:
    """Do not push to it."""
    runs_dir = tmp_path_factory.mktemp("board")
    ada, ben = ((made / name).resolve() for name in ("ada", "ben"))
    half = unsealed(as_model(ada, "会社/日本語-モデル", runs_dir))
    kept = (half / "records.jsonl").read_text("utf-8").splitlines(keepends=True)
    (half / "records.jsonl").write_text("".join(kept[: len(kept) - 20]), "utf-8")
    gemma = SHOWCASE / "base-3-shot"
    with WandbServer() as server:
        to = login(server)
        lone = server.add_run(Run("team", "jglue", "jglue-lone", job_type="evaluation"))
        lone.raw_summary = {"push/state": "sending", "push/format": 1}
        server.add_run(Run("team", "jglue", "jglue-newer", job_type="evaluation")).raw_summary = {
            "push/state": "complete",
            "push/format": 2,
        }

        def both() -> list[PushResult]:
            return list(wandb_sink.push_comparison(ada, ben, to))

        def others() -> list[PushResult]:
            return [
                wandb_sink.push(gemma, to, protocol="stability-jp"),
                wandb_sink.push(half, to, protocol="flexeval"),
            ]

        copied = server.add_run(
            Run("team", "jglue", "jglue-copy", job_type="evaluation", created="2020-01-01T00:00:00Z")
        )
        copied.raw_config = {"jglue": {"value": {"spec_id": spec_id(ada)}}}
        copied.raw_summary = {"push/state": "complete", "push/format": 1}
        (a, b, joined), (shown, unfinished) = together(both, others)
        sent = {"a": a, "b": b, "both": joined, "gemma": shown, "half": unfinished}
        yield Board(server, to, runs_dir, ada, ben, gemma, half, sent, lone.path)


# --- the command line -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Cli(Protocol):
    """A command in this process, with a key of its own."""

    def __call__(self, *arguments: object, server: WandbServer | None = None, **environment: str) -> Told: ...


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """`cli("push", run, server=…, WANDB_API_KEY=…)`; whatever it was, there is no traceback."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "PY_COLORS", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object, server: WandbServer | None = None, **environment: str) -> Told:
        given = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY} if server else {}
        given |= {"NETRC": str(tmp_path / "no-netrc"), "HOME": str(tmp_path), "COLUMNS": "200", **environment}
        with monkeypatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["jglue_app", *map(str, arguments)])
            capfd.readouterr()
            code: object = 0
            try:
                main()
            except SystemExit as e:
                code = e.code or 0
            out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        assert isinstance(code, int)
        return Told(code, out, err)

    return call
