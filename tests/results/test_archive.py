"""Archives of strangers: refused by what they say of themselves, before they are unpacked."""

from __future__ import annotations

import json
import resource
import struct
import zipfile
from pathlib import Path

import pytest

from jglue_app.errors import DataError
from jglue_app.results import archive, showcase
from jglue_app.results.importers import unzip


@pytest.fixture
def members() -> dict[str, bytes]:
    """The files of a whole run."""
    run = showcase.run_folder(showcase.run_names()[0])
    return {name: (run / name).read_bytes() for name in archive.CONTENT}


def written(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as out:
        for name, content in members.items():
            out.writestr(f"run/{name}", content)
    return path


def test_a_whole_run_is_taken(members: dict[str, bytes], tmp_path: Path) -> None:
    there = archive.unpack(written(tmp_path / "run.zip", members), tmp_path / "runs")
    assert {path.name for path in there.iterdir()} >= set(archive.CONTENT)


def test_a_run_that_could_not_be_listed_is_refused(members: dict[str, bytes], tmp_path: Path) -> None:
    manifest = json.loads(members["manifest.json"])
    del manifest["created"]
    packed = written(tmp_path / "run.zip", members | {"manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(DataError, match=r"^run\.zip has a manifest that lacks something"):
        archive.unpack(packed, tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("name", ["manifest.json", "items.jsonl", "records.jsonl", "marks.json", "about.json"])
def test_what_packs_too_well_is_refused_without_being_unpacked(
    members: dict[str, bytes], name: str, tmp_path: Path
) -> None:
    source = written(tmp_path / "run.zip", {**members, name: b" " * (archive.SMALL_BYTES + 1)})
    assert source.stat().st_size < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(DataError, match=rf"{name} that unpacks to 64 MiB"):
        archive.unpack(source, tmp_path / "runs")

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024
    assert list((tmp_path / "runs").iterdir()) == []


def test_an_archive_of_many_members_is_refused_by_the_size_of_their_list(tmp_path: Path) -> None:
    source = tmp_path / "run.zip"
    # An end that states a list of members of 3 GiB, which reading would begin with.
    source.write_bytes(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 3 * 2**30, 0, 0))
    with pytest.raises(DataError, match="too many members"):
        archive.unpack(source, tmp_path / "runs")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_that_no_export_uses_are_refused(members: dict[str, bytes], method: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="packed in an unknown way"):
        archive.unpack(written(tmp_path / "run.zip", members, method), tmp_path / "runs")


def test_a_log_that_is_packed_by_another_method_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "log.eval"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_LZMA) as out:
        out.writestr("header.json", "{}")
    with unzip.Archive(source) as log, pytest.raises(DataError, match="packed in an unknown way"):
        log.read("header.json")


def test_a_member_with_damaged_bytes_is_a_sentence(members: dict[str, bytes], tmp_path: Path) -> None:
    source = written(tmp_path / "run.zip", members)
    raw = bytearray(source.read_bytes())
    at = raw.find(b"PK\x03\x04") + 30 + len("run/manifest.json") + 40
    raw[at : at + 30] = b"\xff" * 30
    source.write_bytes(raw)
    with pytest.raises(DataError, match=r"not a readable \.zip file"):
        archive.unpack(source, tmp_path / "runs")
