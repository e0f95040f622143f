"""What is stored of runs: the files of their folders, archives, names and marks, and handshakes with servers."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from random import Random

from jglue_app.backends.endpoint_settings import Endpoint, EndpointModel, ServedModel
from jglue_app.backends.openai_api import capabilities
from jglue_app.results import archive, marks, run_name
from jglue_app.results.library import Library
from jglue_app.runs.serialization import facts_of, item_from, line_of, record_from
from jglue_app.scoring.item_groups import groups
from jglue_app.settings import ASSETS, load_settings
from tests.fuzz.blobs import blob_maker
from tests.fuzz.target import Target
from tests.fuzz.texts import text_maker
from tests.fuzz.trees import json_maker

SHIPPED = ASSETS / "showcase" / "base-0-shot"
FILES = ("manifest.json", "items.jsonl", "records.jsonl")


def small_run(folder: Path, items: int = 6) -> Path:
    """A run of a few items, one of each kind that the shipped run has: most of it can be read in a millisecond."""
    run = folder / "template"
    run.mkdir()
    rows = [json.loads(line) for line in (SHIPPED / "items.jsonl").read_text("utf-8").splitlines()]
    kept = [row for task in {row["task"]: 0 for row in rows} for row in rows if row["task"] == task][::15][:items]
    ids = {(row["task"], row["id"]) for row in kept}
    records = [json.loads(line) for line in (SHIPPED / "records.jsonl").read_text("utf-8").splitlines()]
    chosen = [row for row in records if (row["task"], row["item_id"]) in ids]
    manifest = json.loads((SHIPPED / "manifest.json").read_text("utf-8"))
    manifest["items"] = facts_of([item_from(row) for row in kept])
    manifest["records"] = {"answered": len(chosen), "tried": len(chosen)}
    (run / "items.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), "utf-8")
    (run / "records.jsonl").write_bytes(b"".join(line_of(record_from(row)) for row in chosen))
    (run / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False), "utf-8")
    return run


def _documents(run: Path, name: str) -> list[object]:
    text = (run / name).read_text("utf-8")
    if name == "manifest.json":
        return [json.loads(text)]
    rows = [json.loads(line) for line in text.splitlines()]
    # Without their checksums, or every changed record would be refused for that alone.
    return [{key: value for key, value in row.items() if key != "crc32"} for row in rows]


def _run_file(name: str, folder: Path) -> Target:
    """One file of a run: the list of runs, its report and what else is drawn of it."""
    template = small_run(folder)
    documents = _documents(template, name)
    runs = folder / "runs"
    shutil.copytree(template, runs / "good")
    shutil.copytree(template, runs / "other")
    path = runs / "other" / name
    if name != "manifest.json":
        _allow_changes(runs / "other")

    def place(made: bytes) -> bytes:
        path.write_bytes(made)
        return made

    def read(_: bytes) -> object:
        library = Library(runs)
        listed = library.all()
        assert any(run.name == "good" for run in listed), "a damaged run hides a sound one"
        assert len(listed) + len(library.damaged()) == 2
        library.reports("official", "sample")
        run = runs / "other"
        data = library.data(run)
        task = next(iter(data.items))
        library.judged(run, "wandb-2023-0shot")
        library.comparison(runs / "good", run)
        return library.report(run), groups(data), library.item_judgements(run, task, next(iter(data.items[task])))

    make = json_maker(documents, lines=name != "manifest.json")

    def whole(rng: Random) -> bytes:
        """Mostly one line of the whole file is changed, as a file of another number of lines is refused at once."""
        if name == "manifest.json" or rng.random() < 0.2:
            return make(rng)
        lines = [json.dumps(document, ensure_ascii=False) for document in documents]
        lines[rng.randrange(len(lines))] = make(rng).decode("utf-8", "replace").rstrip("\n")
        return ("\n".join(lines) + "\n").encode("utf-8", "replace")

    return Target(f"run: {name}", whole, read, [(template / name).read_bytes()], place, share=0.3)


def _allow_changes(run: Path) -> None:
    """Take out of a manifest what it says of the other files: changed ones would be refused for that alone."""
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    del manifest["items"], manifest["records"]
    manifest["data"] = {task: {**facts, "items": 1} for task, facts in manifest["data"].items()}
    manifest["spec"]["limit"] = 1
    (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def _about(folder: Path) -> Target:
    make = json_maker([{"name": "名前", "description": "説明\n二行目"}])

    def place(made: bytes) -> Path:
        (folder / run_name.FILE).write_bytes(made)
        return folder

    return Target("run: about.json", make, run_name.read_name, [b'{"name": "a"}'], place)


def _marks(folder: Path) -> Target:
    items = [
        {"task": "jnli", "item_id": "5", "marks": ["star"], "note": "…", "more": 1},
        {"task": "jsts", "item_id": "1"},
    ]
    document = {"format": 1, "items": items}
    make = json_maker([document], values=["star", "problem", "x" * 2_001])

    def place(made: bytes) -> Path:
        (folder / marks.FILE).write_bytes(made)
        return folder

    def read(run: Path) -> object:
        found = marks.read(run)
        assert all(set(one.marks) <= set(marks.SIGNS) and len(one.note) <= marks.MAX_NOTE for one in found.values())
        return [one.signs for one in found.values()], marks.has_newer(run)

    return Target("run: marks.json", make, read, [json.dumps(document).encode()], place)


def _names(folder: Path) -> Target:
    text = text_maker(("名前", "run", " ", "\n", "\u202e", "\x07", "A" * 40, "/", "..", "<b>"), longest=3_000)

    def make(rng: Random) -> tuple[str, str]:
        return text(rng), text(rng)

    def read(given: tuple[str, str]) -> object:
        return run_name.checked(*given), marks.item_marks(("star",), given[1])

    return Target("names and notes", make, read, [("名前", "説明")])


def _archive(folder: Path) -> Target:
    """A zip archive, changed as a file and in what it holds."""
    template = small_run(folder)
    sound = archive.pack(template, folder / "run.zip").read_bytes()
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as out:
        for name in FILES:
            out.write(template / name, f"run/{name}")
    damaged = blob_maker([sound, stored.getvalue()])
    makers = {name: json_maker(_documents(template, name), lines=name != "manifest.json") for name in FILES}
    runs, path = folder / "runs", folder / "given.zip"
    _allow_changes(template)

    def make(rng: Random) -> bytes:
        if rng.random() < 0.5:
            return damaged(rng)
        out = io.BytesIO()
        changed = rng.choice(FILES)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in FILES:
                content = makers[name](rng) if name == changed else (template / name).read_bytes()
                packed.writestr(rng.choice(("run/", "", "a/b/", "../", "/")) + name, content)
        return out.getvalue()

    def place(made: bytes) -> Path:
        shutil.rmtree(runs, ignore_errors=True)
        path.write_bytes(made)
        return path

    def read(given: Path) -> object:
        run = archive.unpack(given, runs)
        library = Library(runs)
        assert [one.name for one in library.all()] == [run.name], "what was imported cannot be read"
        return library.report(run), library.groups(run), library.comparison(run, run)

    return Target("archive of a run", make, read, [sound, stored.getvalue()], place, share=0.2)


def _capabilities() -> capabilities.Capabilities:
    chat = capabilities.Interface("max_tokens", True, True, True, True, 20, True, True, "東京")
    return capabilities.Capabilities(("m",), ("fp",), chat, None, "echo", False, True, False, 0.7, 8, 4_096)


def _handshake(folder: Path) -> Target:
    settings = replace(load_settings(), cache_dir=folder)
    endpoint = Endpoint("vllm", "http://127.0.0.1:8000/v1", models={"m": EndpointModel()})
    served = ServedModel(endpoint, "m", endpoint.model("m"))
    kept = capabilities.keep(served, settings, _capabilities())
    path = next((folder / "endpoints").glob("*.json"))
    make = json_maker([json.loads(json.dumps(asdict(kept)))])

    def place(made: bytes) -> bytes:
        path.write_bytes(made)
        return made

    def read(_: bytes) -> object:
        found = capabilities.load(served, settings)
        return found and (found.fresh, found.seconds, found.identity)

    return Target("handshake that is kept", make, read, [path.read_bytes()], place)


TARGETS: dict[str, Callable[[Path], Target]] = {
    **{f"run: {name}": partial(_run_file, name) for name in FILES},
    "run: about.json": _about,
    "run: marks.json": _marks,
    "names and notes": _names,
    "archive of a run": _archive,
    "handshake that is kept": _handshake,
}
