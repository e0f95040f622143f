"""Options, exit codes, the Launch form and what W&B is sent, as they were in version 0.1.0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.compatibility import interface
from tests.compatibility.comparing import differences
from tests.compatibility.conftest import RUNS, read_stored
from tests.compatibility.interface import call
from tests.compatibility.requests import EXIT_CODES, with_run_ids

OPTIONS = read_stored("options.json")
WANDB = {"a": "official", "hub": "llm-jp-eval"}


def test_no_command_is_lost() -> None:
    assert set(OPTIONS) - set(interface.options()) == set()


@pytest.mark.parametrize("command", OPTIONS)
def test_a_command_keeps_its_options_and_arguments(command: str) -> None:
    old, new = OPTIONS[command], interface.options()[command]
    assert new["arguments"] == old["arguments"]
    assert {name: new["options"].get(name) for name in old["options"]} == old["options"]


@pytest.mark.usefixtures("folder")
def test_commands_end_with_their_exit_codes() -> None:
    codes = [[line, call(*with_run_ids(line, RUNS).split()).code] for line in EXIT_CODES]
    assert codes == read_stored("exit-codes.json")


def test_kinds_of_errors_keep_their_exit_codes() -> None:
    old = read_stored("errors.json")
    new = interface.exit_codes()
    assert {name: new.get(name) for name in old} == old
    assert set(new.values()) <= set(old.values())


def test_the_launch_form_keeps_its_fields() -> None:
    old, new = read_stored("launch.json")["properties"], interface.launch_schema()["properties"]
    for name, field in old.items():
        for key in set(field) - {"title", "description", "enum"}:
            assert new[name].get(key) == field[key], (name, key)
        if "enum" in field:
            assert set(field["enum"]) <= set(new[name]["enum"]), name
            assert new[name]["enum"][0] == field["enum"][0], f"the default of {name}"
    required = [name for name, field in new.items() if field.get("required")]
    assert required == [name for name, field in old.items() if field.get("required")]


def assert_same_payload(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Nothing is lost of what W&B was sent; with another protocol there may be more."""
    for name, table in old["tables"].items():
        columns = [column for column in new["tables"][name]["columns"] if column in table["columns"]]
        assert columns == table["columns"], name
    rows_of = [{name: rows(name, table) for name, table in payload["tables"].items()} for payload in (old, new)]
    assert list(differences(old | {"tables": rows_of[0]}, new | {"tables": rows_of[1]})) == []


def rows(name: str, table: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table by its columns, without the words of rules and notices."""
    if name == "notices":
        return []
    named = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    return [{column: cell for column, cell in row.items() if column != "rule"} for row in named]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("name", "protocol"), WANDB.items())
def test_wandb_is_sent_the_same_of_a_run(name: str, protocol: str) -> None:
    assert_same_payload(read_stored(f"wandb-{name}.json.gz"), interface.wandb_run(Path("runs", RUNS[name]), protocol))


@pytest.mark.usefixtures("folder")
def test_wandb_is_sent_the_same_of_a_comparison() -> None:
    new = interface.wandb_comparison(Path("runs", RUNS["a"]), Path("runs", RUNS["b"]), "wandb-2023-0shot")
    assert_same_payload(read_stored("wandb-comparison.json.gz"), new)


@pytest.mark.parametrize(("protocol", "accuracy"), [("official", 0.0), ("stability-jp", 2 / 3)])
def test_runs_that_were_pushed_once_are_ranked_by_their_summaries(protocol: str, accuracy: float) -> None:
    (entry,) = interface.wandb_ranking([read_stored("wandb-a.json.gz")], protocol, ["jnli"])
    jnli = entry["tasks"]["jnli"]
    assert (entry["label"], jnli["n"]) == ("a.jsonl · plain · ja-labels · 0-shot", 3)
    assert jnli["value"] == pytest.approx(accuracy)
