"""Options that several commands share, and how they become what the package works with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from jglue_app.runs import presets
from jglue_app.settings import Settings, gib, load_settings

TasksOption = Annotated[
    str,
    typer.Option("--tasks", help="Subsets, separated by commas, or 'all' that the protocol scores (jcola if named)."),
]
DataOption = Annotated[str, typer.Option("--data", help="official (JGLUE v1.3) or sample (embedded items).")]
SplitOption = Annotated[str, typer.Option(help="train, valid or test; JCoLA also has out_of_domain.")]
LimitOption = Annotated[int | None, typer.Option(help="Items per subset; without it, all.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the order in which items are taken under a limit.")]
MethodOption = Annotated[
    str | None,
    typer.Option(help="generate, choose (log-likelihood of each answer) or both; without it, as the protocol needs."),
]
TokensOption = Annotated[int | None, typer.Option(help="Limit on new tokens; without it, the style's own.")]
StyleOption = Annotated[
    str | None,
    typer.Option(help="Wording style: a name, or the path of your own .toml file; without it, the protocol's own."),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        help="Prompt format: plain, chat, rinna, rinna_bilingual, alpaca or llama2; without it, the protocol's own."
    ),
]
ShotsOption = Annotated[
    int | None, typer.Option(help="Number of solved examples; without it, as the protocol has them.")
]
SelectionOption = Annotated[str, typer.Option(help="How examples are chosen: fixed, random or balanced.")]
ShotSeedOption = Annotated[int, typer.Option(help="Seed of the choice of examples.")]
SystemOption = Annotated[str, typer.Option(help="Text of the system turn.")]
ThinkingOption = Annotated[
    str,
    typer.Option(
        help="Thinking before the answer, for --format chat and models whose template has a switch for it: off, on, or "
        "default (the template's own)."
    ),
]
ThinkingTokensOption = Annotated[
    int | None,
    typer.Option(help="Limit on tokens of a thought, beside those of the answer; without it, they share one limit."),
]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
QuantizationOption = Annotated[str, typer.Option(help="none, 8bit or 4bit.")]
RevisionOption = Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")]
GgufOption = Annotated[str | None, typer.Option(help="File in a Hub repository that holds GGUF weights.")]
BinOption = Annotated[bool, typer.Option("--allow-bin", help="Accept pickled .bin weights, read weights-only.")]
BackendOption = Annotated[
    str | None, typer.Option(help="hf or scripted (a table of answers); by itself, scripted for .jsonl files.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, or balanced over all GPUs.")]
MarcOption = Annotated[Path | None, typer.Option(help="Your own MARC-ja file in the official format.")]
RunsOption = Annotated[Path | None, typer.Option(help="Folder for runs; without it, JGLUE_RUNS_DIR or ./runs.")]
ProtocolOption = Annotated[
    str, typer.Option(help="Scoring protocol. Settings that are not given are those of its own system.")
]
OracleOption = Annotated[
    bool | None,
    typer.Option(
        "--oracle-length/--no-oracle-length",
        help="Cut JSQuAD answers at the longest gold answer's token count: an oracle; without it, the protocol's own.",
        show_default=False,
    ),
]
PenaltyOption = Annotated[
    float | None,
    typer.Option(
        help="Lower the scores of tokens that stand in the prompt or were written: above 0, such as 1.2; 1 is none; "
        "without it, as the protocol has it."
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option("--memory", help="GiB to work in beside the weights; without it, JGLUE_MEMORY, or as is free."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def task_list(text: str, protocol: str = "official") -> list[str]:
    """Subsets named on the command line; `all` is what the protocol scores."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    return presets.subsets(protocol, None if names == ["all"] else names)


def settings_of(runs_dir: Path | None, memory: str | None = None) -> Settings:
    """Settings from the environment, with another folder for runs or another memory if they are given."""
    settings = load_settings()
    if runs_dir:
        settings = dataclasses.replace(settings, runs_dir=runs_dir)
    return dataclasses.replace(settings, memory_bytes=gib("--memory", memory)) if memory else settings


def find_run(name: str, settings: Settings) -> str | Path:
    """A stored run that was named by its folder or its id."""
    return settings.runs_dir / name if (settings.runs_dir / name / "manifest.json").is_file() else name
