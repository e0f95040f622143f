"""Help of `run` and `compare`, and what they say about a value that an option does not take."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from jglue_app.cli import app
from jglue_app.errors import InputError
from jglue_app.messages import say

PANELS = {
    "Options": ["model", "oracle-length", "protocol", "json", "help"],
    "Questions": ["tasks", "data", "split", "limit", "seed", "marc-ja"],
    "Prompt": ["style", "format", "shots", "shots-by-task", "shot-selection", "shot-seed", "system"],
    "Answering": [
        *("method", "max-new-tokens", "thinking", "max-thinking-tokens"),
        *("repetition-penalty", "repetition-penalty-by-task"),
    ],
    "Model and machine": [
        *(
            "dtype",
            "quantization",
            "revision",
            "adapter",
            "gguf-file",
            "allow-bin",
            "backend",
            "budget",
            "device",
            "memory",
            "ray",
            "ray-workers",
            "ray-cpus",
            "yes",
        ),
    ],
    "Stored runs and W&B": ["runs-dir", "wandb", "project", "entity", "offline"],
}
OF_A_SIDE = {
    *("style", "format", "shots", "shots-by-task", "thinking", "max-thinking-tokens", "repetition-penalty"),
    *("repetition-penalty-by-task", "dtype", "quantization", "revision", "adapter", "gguf-file", "backend"),
}
OF_BOTH_SIDES = {"shot-selection", "shot-seed", "system"}
"""A's options without a prefix."""


def help_of(command: str) -> str:
    """The help in a terminal of 80 columns."""
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    assert result.exit_code == 0
    return result.stdout


def panels_of(text: str) -> dict[str, list[str]]:
    """Panel → names of its options, in their order."""
    panels: dict[str, list[str]] = {}
    for line in text.splitlines():
        if title := re.match(r"╭─ (.+?) ─", line):
            panels[title[1]] = []
        elif option := re.match(r"│ --(\S+)", line):
            list(panels.values())[-1].append(option[1])
    return panels


def two_sided(name: str) -> Sequence[str]:
    if name == "model":
        return ("a", "b")
    if name in OF_A_SIDE:
        return (f"a-{name}", f"b-{name}")
    return (name, f"b-{name}") if name in OF_BOTH_SIDES else (name,)


def refusal(*arguments: str) -> InputError:
    result = CliRunner().invoke(app, [*arguments, "--data", "sample"])
    assert isinstance(result.exception, InputError)
    return result.exception


def test_options_of_run_are_grouped_and_written_in_full_at_80_columns() -> None:
    assert panels_of(help_of("run")) == PANELS


def test_options_of_compare_are_grouped_and_written_in_full_at_80_columns() -> None:
    panels = panels_of(help_of("compare"))
    assert panels.pop("Arguments") == []
    assert panels == {panel: [flag for name in names for flag in two_sided(name)] for panel, names in PANELS.items()}


def test_an_option_of_a_without_a_prefix_says_that_it_is_for_b_too() -> None:
    text = re.sub(r"[│\s]+", " ", help_of("compare"))
    assert text.count("of A and, unless given, of B.") == 3
    assert "--shot-seed <int> Seed of the choice of examples; of A and, unless given, of B." in text
    assert "of A and" not in re.sub(r"[│\s]+", " ", help_of("run"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("run --split foo --tasks jnli", "Unknown split 'foo'. Known: train, valid, test."),
        ("run --split foo --tasks jnli,jcola", "Unknown split 'foo'. Known: train, valid, test, out_of_domain."),
        ("run --split out_of_domain --tasks jnli", "JNLI has no split 'out_of_domain'. It has train, valid, test."),
        ("compare --b-shots -1", "--b-shots: The number of few-shot examples must be 0 or more."),
        ("compare --b-max-thinking-tokens 0", "A and B are the same. Change one of them, e.g. add --b-shots 3."),
    ],
)
def test_a_value_that_an_option_does_not_take_is_refused_in_a_sentence(arguments: str, sentence: str) -> None:
    assert str(refusal(*arguments.split())) == sentence


@pytest.mark.parametrize("option", ["--a-style", "--b-style", "--a-format", "--b-format", "--shot-selection"])
def test_an_unknown_name_in_a_comparison_is_refused_with_the_option_of_its_side(option: str) -> None:
    error = refusal("compare", option, "nope")
    assert re.match(rf"{option}: Unknown [a-z -]+ 'nope'\. Known: ", str(error))
    assert re.match(rf"{option}：.*「?nope", say(error.message, "ja"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("run --limit abc", "--limit takes a whole number, not 'abc'."),
        ("run --seed 1.5", "--seed takes a whole number, not '1.5'."),
        ("run --repetition-penalty high", "--repetition-penalty takes a number, not 'high'."),
        ("compare --b-shots two", "--b-shots takes a whole number, not 'two'."),
    ],
)
def test_a_text_that_is_no_number_is_refused_in_a_sentence_below_the_usage(arguments: str, sentence: str) -> None:
    result = CliRunner().invoke(app, arguments.split(), env={"COLUMNS": "160"})
    assert result.exit_code == 2
    assert "Usage: " in result.output
    assert sentence in result.output
