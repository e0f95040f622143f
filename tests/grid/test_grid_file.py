"""Grids as files: what they say, and what is wrong with those that cannot be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jglue_app.errors import InputError
from jglue_app.grid.factors import group_of, option_names
from jglue_app.grid.grid_file import GridFile, read_grid
from jglue_app.grid.grid_plan import combinations, plan_grid, request_of
from jglue_app.runs import presets
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_options import options
from jglue_app.settings import ASSETS, Settings
from jglue_app.types import PromptSpec

RUN = '[run]\ntasks = ["jnli"]\ndata = "sample"\nlimit = 2\nmodel = "a.jsonl"\n'


def grid_of(folder: Path, text: str) -> GridFile:
    path = folder / "some-grid.toml"
    path.write_text(text, "utf-8")
    return read_grid(path)


def test_factors_exclusions_and_common_options_are_read(tmp_path: Path) -> None:
    grid = grid_of(
        tmp_path,
        'max_runs = 7\n[run]\ntasks = ["jnli", "jcola"]\nbudget = 3\n[factors]\nstyle = ["ja-labels", "number"]\n'
        'shots = [0, 4]\nmax-new-tokens = [0, 8]\nshots_by_task = [{}, {jnli = 1}]\n[[exclude]]\nstyle = "number"\n'
        "shots = [0, 4]\nmax_new_tokens = 8\n",
    )
    assert (grid.name, grid.protocol, grid.max_runs, grid.budget) == ("some-grid", "official", 7, 3)
    assert grid.common == {"tasks": ("jnli", "jcola")}
    assert {factor.name: factor.values for factor in grid.factors} == {
        "style": ("ja-labels", "number"),
        "shots": (0, 4),
        "max_new_tokens": (None, 8),
        "shots_by_task": ((), (("jnli", 1),)),
    }
    assert [factor.group for factor in grid.factors] == ["prompt", "prompt", "answering", "prompt"]
    assert [factor.is_replicate for factor in grid.factors] == [True, False, False, False]
    assert grid.factors[2].levels == ("none", "8")
    assert grid.exclusions == (
        {"style": frozenset({"number"}), "shots": frozenset({"0", "4"}), "max_new_tokens": frozenset({"8"})},
    )
    assert grid.combinations == 16


@pytest.mark.parametrize("name", [name for name in option_names() if name not in ("budget", "limit")])
def test_every_option_of_a_run_can_be_a_factor(tmp_path: Path, name: str) -> None:
    of_request = name in options(RunRequest)
    option = options(RunRequest if of_request else Side)[name]
    kinds: dict[str, list[Any]] = {
        "tasks": ["jnli", "jcola"],
        "by task": [{"jnli": 1}, {"jnli": 2}],
        "flag": [False, True],
        "integer": [1, 2],
        "number": [1.5, 2.5],
        "text": list(option.choices[:2]) or ["ja-labels", "number"],
    }
    values = kinds[option.kind]
    text = ", ".join(
        "{jnli = " + str(value["jnli"]) + "}"
        if isinstance(value, dict)
        else str(value).lower()
        if isinstance(value, bool)
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
        for value in values
    )
    grid = grid_of(tmp_path, f"[factors]\n{name} = [{text}]\n")
    (factor,) = grid.factors
    requests = [request_of(grid, {name: value}) for value in factor.values]
    assert requests[0] != requests[1]
    assert group_of(name) in ("model", "prompt", "answering", "questions")


def test_a_protocol_fills_what_no_factor_names(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, '[run]\ntasks = ["jnli"]\n[factors]\nprotocol = ["official", "wandb-2023-0shot"]\n')
    common = {"tasks": ("jnli",)}
    for protocol in ("official", "wandb-2023-0shot"):
        expected = presets.request(protocol, common, {"model": "gemma-3-270m"})
        assert request_of(grid, {"protocol": protocol}) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[factors]\nshots = [0, 1]\nshots = [2]\n", "(at line 3, column 12): 'shots = [2]'"),
        ("[factors]\nshots = [0,\n", "not a TOML file"),
        ("[factors]\nshot = [0]\n", "Did you mean 'shots'?"),
        ("[run]\nstile = 'x'\n", "Unknown option in [run] of"),
        ("shots = [1]\n", "one with several values in [factors]"),
        ("[run]\nprotocol = 'official'\n", "Put protocol at the top"),
        ("[run]\nshots = 1\n[factors]\nshots = [0, 1]\n", "shots is in [run] and in [factors]"),
        (
            "protocol = 'official'\n[factors]\nprotocol = ['official']\n",
            "protocol is at the top of the file and in [factors]",
        ),
        ("[factors]\nshots = [0, 1]\nshots-by-task = ['jnli=1']\nshots_by_task = ['jnli=2']\n", "shots_by_task twice"),
        ("[factors]\nshots = [0, 0]\n", "[factors] shots has '0' twice"),
        ("[factors]\nshots = 3\n", "[factors] shots takes a list"),
        ("[factors]\nshots = []\n", "[factors] shots is an empty list. Give it values"),
        ("[factors]\nshots = ['0', 4]\n", "[factors] shots: '0' is a text. Write the number without quotes."),
        ("[factors]\nshots = [0, -1, 1000]\n", "The file has -1."),
        ("[factors]\nshots = ['many']\n", "[factors] shots: The number of few-shot examples"),
        ("[factors]\nformat = ['plane']\n", "Did you mean 'plain'?"),
        ("[factors]\nstyle = ['ja-label']\n", "Did you mean 'ja-labels'?"),
        ("[factors]\nbudget = [1, 2]\n", "budget cannot be a factor"),
        ("[factors]\nlimit = [1, 2]\n", "limit cannot be a factor"),
        ("[factors]\nprotocol = ['oficial']\n", "Did you mean 'official'?"),
        ("[factors]\nshots = [0, 1]\n[[exclude]]\nshot = 1\n", "Unknown factor in [[exclude]] 1"),
        (
            "[factors]\nshots = [0, 1]\n[[exclude]]\nshots = 2\n",
            "[[exclude]] 1 matches nothing: shots has no level '2'",
        ),
        (
            "[factors]\nstyle = ['number', 'ja-labels']\n[[exclude]]\nstyle = 'nubmer'\n",
            "[[exclude]] 1 style: Unknown style 'nubmer'. Did you mean 'number'?",
        ),
        ("[factors]\nshots = [0, 1]\n[[exclude]]\n", "[[exclude]] 1 names no factor"),
        ("[factors]\nshots = [0, 1]\n[exclude]\nshots = 1\n", "each under [[exclude]]"),
        ("max_runs = 0\n", "max_runs is a whole number from 1"),
        ("name = '../x'\n", "a grid's name has letters"),
        ("run = 3\n", "[run] must be a table"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_that_names_it(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError) as e:
        grid_of(tmp_path, text)
    assert sentence in str(e.value)
    assert "\n" not in str(e.value)


def test_a_file_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "x.toml", tmp_path / "none.toml", tmp_path):
        with pytest.raises(InputError):
            read_grid(path)


@pytest.mark.parametrize("exclude", ["", "[[exclude]]\nshot_seed = 1\n"])
def test_a_million_runs_are_refused_before_any_is_walked(tmp_path: Path, exclude: str) -> None:
    numbers = ", ".join(map(str, range(1000)))
    text = f"[factors]\nshot_seed = [{numbers}]\nseed = [{numbers}]\n{exclude}"
    with pytest.raises(InputError, match="1000 shot_seed × 1000 seed are 1,000,000 combinations, and at most 1"):
        grid_of(tmp_path, text)


def test_the_cap_counts_what_is_left_after_exclusions(tmp_path: Path) -> None:
    text = (
        "max_runs = {}\n[factors]\nshots = [0, 1, 2]\nshot_seed = [0, 1]\n[[exclude]]\nshots = [1, 2]\nshot_seed = 1\n"
    )
    assert combinations(grid_of(tmp_path, text.format(4))) == [
        {"shots": 0, "shot_seed": 0},
        {"shots": 0, "shot_seed": 1},
        {"shots": 1, "shot_seed": 0},
        {"shots": 2, "shot_seed": 0},
    ]
    with pytest.raises(InputError, match="has more than 3 runs, also without what is excluded"):
        combinations(grid_of(tmp_path, text.format(3)))


def test_exclusions_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, "[factors]\nshots = [0, 1]\n[[exclude]]\nshots = 0\n[[exclude]]\nshots = 1\n")
    with pytest.raises(InputError, match="leave none of its 2 combinations"):
        combinations(grid)


def test_a_run_that_several_combinations_are_is_one_and_weights_stand_together(
    tmp_path: Path, settings: Settings
) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text("", "utf-8")
    models = ", ".join(f"'{tmp_path / name}.jsonl'" for name in "ab")
    text = '[run]\ntasks = ["jnli"]\ndata = "sample"\nlimit = 2\n[factors]\nshots = [0, 2]\n'
    planned = plan_grid(grid_of(tmp_path, f"{text}shot_seed = [0, 1]\nmodel = [{models}]\n"), settings)
    assert planned.combinations == 8
    seeds = [(run.levels["model"], run.levels["shots"], run.levels["shot_seed"]) for run in planned.runs]
    first, second = (str(tmp_path / f"{name}.jsonl") for name in "ab")
    assert seeds == [
        *((first, "0", None), (first, "2", "0"), (first, "2", "1")),
        *((second, "0", None), (second, "2", "0"), (second, "2", "1")),
    ]
    assert len({run.plan.spec.spec_id for run in planned.runs}) == 6
    # The run without examples is that of `run --shots 0`, whatever the seed.
    assert planned.runs[0].plan.spec.prompt == PromptSpec()


def test_a_combination_that_cannot_be_run_is_named(tmp_path: Path, settings: Settings) -> None:
    grid = grid_of(tmp_path, '[run]\ntasks = ["jsts"]\ndata = "sample"\n[factors]\nmethod = ["both", "choose"]\n')
    with pytest.raises(InputError, match=r"The grid some-grid, method choose: There are no fixed answers .*exclude"):
        plan_grid(grid, settings)


def test_the_grid_that_comes_with_the_application_is_planned(settings: Settings) -> None:
    planned = plan_grid(read_grid(ASSETS / "grids" / "wordings.toml"), settings)
    assert (planned.combinations, len(planned.runs)) == (4 * 3 * 2 * 3, 4 * 3 * (1 + 3))
    assert {plan.total for plan in planned.plans} == {60}


def test_thinking_makes_no_second_run_where_no_chat_template_is_told_of_it(tmp_path: Path, settings: Settings) -> None:
    text = f"{RUN}[factors]\nformat = ['plain', 'chat']\nthinking = ['on', 'off']\n".replace(
        '"a.jsonl"', f'"{tmp_path / "a.jsonl"}"'
    )
    (tmp_path / "a.jsonl").write_text("", "utf-8")
    planned = plan_grid(grid_of(tmp_path, text), settings)
    levels = [(run.levels["format"], run.levels["thinking"]) for run in planned.runs]
    assert levels == [("plain", None), ("chat", "on"), ("chat", "off")]
    assert planned.runs[0].plan.spec.prompt == PromptSpec(format="plain")
