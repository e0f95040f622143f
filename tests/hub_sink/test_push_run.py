"""A run sent to an account of the Hub: what arrives, what is refused, and where the token is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from jglue_app import hub_sink
from jglue_app.errors import InputError, NetworkError
from jglue_app.hub_sink import Account
from jglue_app.hub_sink.card import card, escaped
from jglue_app.hub_sink.push_run import repository_name
from jglue_app.results.showcase import run_folder
from jglue_app.runs.store import RunStore
from tests.hub_sink.hub_server import Hub, Repository, hub

ROOT = Path(__file__).parents[2]
RUN = run_folder("base-3-shot")
TOKEN = "hf_oauth_CanaryCanaryCanary0123456789"
NAME = "visitor/jglue-base-3-shot"


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub() as running:
        running.accounts[TOKEN] = "visitor"
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def test_a_run_becomes_a_private_repository_and_the_token_goes_to_the_hub_alone(server: Hub, scratch: Path) -> None:
    seen: list[str] = []

    def look() -> bool:
        """What other programs of this machine can read of the process that sends, while it does."""
        for child in Path("/proc").glob("[0-9]*"):
            try:
                if int((child / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                    seen.extend(
                        (child / name).read_bytes().decode("utf-8", "replace") for name in ("cmdline", "environ")
                    )
            except (OSError, ValueError):
                continue
        files = [path for path in scratch.rglob("*") if path.is_file()]
        seen.extend(path.read_bytes().decode("utf-8", "replace") for path in files)
        return False

    server.delay_s = 0.05
    sent = hub_sink.push(RUN, Account("visitor", TOKEN), should_stop=look)
    assert (sent.repository, sent.url, sent.private) == (NAME, f"{server.address}/datasets/{NAME}", True)
    assert any("jglue_app.hub_sink.uploader" in text for text in seen)
    assert TOKEN[9:25] not in "".join(seen)
    assert list(scratch.iterdir()) == []
    assert TOKEN not in repr(Account("visitor", TOKEN))
    assert {path.split("/")[1] for path, authorization in server.tokens if not authorization} == {"storage"}

    repository = server.repositories[NAME]
    assert (repository.private, repository.commits) == (True, ["A run of JGLUE side by side"])
    assert sorted(repository.files) == ["README.md", "base-3-shot.zip", "items.parquet"]
    with zipfile.ZipFile(io.BytesIO(repository.files["base-3-shot.zip"])) as packed:
        assert packed.read("base-3-shot/records.jsonl") == (RUN / "records.jsonl").read_bytes()
    table = pq.read_table(io.BytesIO(repository.files["items.parquet"]))
    assert table.num_rows == len(RunStore(RUN).data().records) == 227
    front = yaml.safe_load(repository.files["README.md"].decode().split("---\n")[1])
    assert front["configs"][0]["data_files"] == [{"split": "answers", "path": "items.parquet"}]


def test_what_the_hub_refuses_is_a_sentence(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("a", "utf-8")
    job = {"endpoint": server.address, "token": TOKEN, "repository": NAME, "private": True, "folder": str(tmp_path)}
    cases: list[tuple[dict[str, object], int, str]] = [
        ({"token": "hf_of_nobody"}, 0, "The Hub does not take your sign-in any more."),
        ({"repository": "somebody-else/jglue-x"}, 0, "The Hub does not let this application write to somebody-else"),
        ({"repository": "visitor/jglue-public"}, 0, "is there already, and public. Make it private"),
        ({}, 429, "The Hub takes no more from this account for now."),
        ({}, 500, "The Hub answered with status 500 ("),
        ({"endpoint": "http://127.0.0.1:9"}, 0, "http://127.0.0.1:9 cannot be reached ("),
    ]
    server.repositories["visitor/jglue-public"] = Repository(private=False)
    script = (
        "import json, sys; from jglue_app.errors import JglueAppError; from jglue_app.hub_sink.uploader import send\n"
        "for line in sys.stdin:\n"
        "    try: print(json.dumps(str(send(json.loads(line)))), flush=True)\n"
        "    except JglueAppError as e: print(json.dumps(str(e.message)), flush=True)\n"
    )
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | {"HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for changes, fault, expected in cases:
            server.fault = fault
            process.stdin.write(json.dumps(job | changes) + "\n")
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
            assert expected in said
            assert TOKEN not in said
        process.stdin.close()
    assert server.repositories["visitor/jglue-public"].files == {}


def test_a_push_that_is_stopped_ends_at_once_and_leaves_nothing(server: Hub, scratch: Path) -> None:
    server.delay_s = 30
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(NetworkError, match="The push was stopped"):
        hub_sink.push(RUN, Account("visitor", TOKEN), should_stop=stop.is_set)
    assert list(scratch.iterdir()) == []


def test_reviews_that_may_not_be_passed_on_are_not_published(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    data = RunStore(RUN).data()
    monkeypatch.setattr(RunStore, "data", lambda self: replace(data, sources={**data.sources, "marc_ja": "user"}))
    with pytest.raises(InputError, match="may not be passed on"):
        hub_sink.push(RUN, Account("visitor", TOKEN), public=True)
    assert server.tokens == []


@pytest.mark.parametrize("name", ["", "a/b", "../x", "-a", "a b", "あ", "a\n"])
def test_an_account_has_a_name_of_the_hub(name: str) -> None:
    with pytest.raises(InputError, match="has no name that the Hub knows"):
        hub_sink.push(RUN, Account(name, TOKEN))


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("base-3-shot", "jglue-base-3-shot"),
        ("gemma-3-270m_0123abcd", "jglue-gemma-3-270m-0123abcd"),
        ("a..b--c", "jglue-a-b-c"),
        ("あ/..", "jglue"),
        ("x" * 200, "jglue-" + "x" * 84),
    ],
)
def test_a_run_has_one_name_on_the_hub(run: str, name: str) -> None:
    assert repository_name(run) == name


def test_what_a_card_says_of_others_is_text() -> None:
    data = RunStore(RUN).data()
    name = 'm](http://x.example) <img src=x> "\n---\nlicense: mit'
    renamed = replace(data, spec=replace(data.spec, model=replace(data.spec.model, id=name)))
    text = card(renamed, "run", "run.zip")
    front = yaml.safe_load(text.split("---\n")[1])
    assert sorted(front) == ["configs", "language", "pretty_name", "tags"]
    assert r"\) \<img src=x\> " in text
    assert escaped("a|b [c](d) `e` <f>\n# g") == r"a\|b \[c\]\(d\) \`e\` \<f\> \# g"
    assert "| MARC\\-ja | 44/44 | sample | accuracy | 0.500 (" in text
