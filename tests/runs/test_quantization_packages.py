"""Versions of the packages that read quantized weights: in the manifest where they are installed, and noticed where
they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jglue_app.runs.manifest import PACKAGES, package_versions
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import Decoding, ModelSpec
from tests.conftest import TinyModel
from tests.runs.test_runner import notices, run


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`install(name, version)` makes a distribution of that name appear to Python, with nothing in it."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def make(name: str, version: str) -> None:
        folder = tmp_path / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")

    return make


def test_only_packages_that_are_installed_are_named(install: Any) -> None:
    before = package_versions()
    assert set(PACKAGES) <= set(before)
    assert "fp_quant" not in before and "amd-quark" not in before
    install("amd-quark", "0.11.1")
    install("fp_quant", "0.3")
    assert package_versions() == before | {"amd-quark": "0.11.1", "fp_quant": "0.3"}


def planned(settings: Settings, tiny_model: TinyModel, limit: int) -> Plan:
    words: dict[str, Any] = {"data_kind": "sample", "limit": limit, "decoding": Decoding(max_new_tokens=1)}
    return make_plan(settings, ModelSpec(str(tiny_model("llama"))), ["jnli"], **words)


def test_a_package_that_an_earlier_manifest_does_not_know_makes_no_other_machine(
    settings: Settings, tiny_model: TinyModel, install: Any
) -> None:
    run(settings, planned(settings, tiny_model, 1))
    path = RunStore.of(settings.runs_dir, planned(settings, tiny_model, 1).spec).path / "manifest.json"
    install("amd-quark", "0.11.1")
    assert notices(run(settings, planned(settings, tiny_model, 2))) == []
    manifest = json.loads(path.read_text("utf-8"))
    assert "earlier_machines" not in manifest
    assert manifest["machine"]["packages"]["amd-quark"] == "0.11.1"


@pytest.mark.parametrize("quantized", ["", "Quark 4-bit"])
def test_another_version_is_noticed_where_it_reads_the_weights(
    settings: Settings, tiny_model: TinyModel, install: Any, quantized: str
) -> None:
    run(settings, planned(settings, tiny_model, 1))
    path = RunStore.of(settings.runs_dir, planned(settings, tiny_model, 1).spec).path / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["machine"]["packages"]["amd-quark"] = "0.10.0"
    manifest["model"]["quantized"] = quantized
    path.write_text(json.dumps(manifest), "utf-8")
    install("amd-quark", "0.11.1")
    said = notices(run(settings, planned(settings, tiny_model, 2)))
    assert [sentence.split(":")[0] for sentence in said] == (
        ["This run was begun with amd-quark 0.10.0 and goes on with amd-quark 0.11.1"] if quantized else []
    )
    assert json.loads(path.read_text("utf-8"))["earlier_machines"] == [manifest["machine"]]
