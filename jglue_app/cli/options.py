"""Options that several commands share, and how they become what the package works with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from jglue_app.runs import presets
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_options import options
from jglue_app.settings import Settings, gib, load_settings

RUN, SIDE = options(RunRequest), options(Side)

TasksOption = Annotated[str, typer.Option("--tasks", help=RUN["tasks"].help)]
DataOption = Annotated[str, typer.Option("--data", help=RUN["data"].help)]
SplitOption = Annotated[str, typer.Option(help=RUN["split"].help)]
SeedOption = Annotated[int, typer.Option(help=RUN["seed"].help)]
TokensOption = Annotated[int | None, typer.Option(help=RUN["max_new_tokens"].help)]
StyleOption = Annotated[str | None, typer.Option(help=SIDE["style"].help)]
FormatOption = Annotated[str | None, typer.Option(help=SIDE["format"].help)]
ShotsOption = Annotated[int | None, typer.Option(help=SIDE["shots"].help)]
SelectionOption = Annotated[str, typer.Option(help=SIDE["shot_selection"].help)]
ShotSeedOption = Annotated[int, typer.Option(help=SIDE["shot_seed"].help)]
SystemOption = Annotated[str, typer.Option(help=SIDE["system"].help)]
ThinkingOption = Annotated[str, typer.Option(help=SIDE["thinking"].help)]
ThinkingTokensOption = Annotated[int | None, typer.Option(help=SIDE["max_thinking_tokens"].help)]
DtypeOption = Annotated[str, typer.Option(help=SIDE["dtype"].help)]
QuantizationOption = Annotated[str, typer.Option(help=SIDE["quantization"].help)]
RevisionOption = Annotated[str | None, typer.Option(help=SIDE["revision"].help)]
AdapterOption = Annotated[str | None, typer.Option(help=SIDE["adapter"].help)]
GgufOption = Annotated[str | None, typer.Option(help=SIDE["gguf_file"].help)]
BinOption = Annotated[bool, typer.Option("--allow-bin", help=RUN["allow_bin"].help)]
BackendOption = Annotated[str | None, typer.Option(help=SIDE["backend"].help)]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, or balanced over all GPUs.")]
MarcOption = Annotated[Path | None, typer.Option(help=RUN["marc_ja"].help)]
RunsOption = Annotated[Path | None, typer.Option(help="Folder for runs; without it, JGLUE_RUNS_DIR or ./runs.")]
ProtocolOption = Annotated[
    str, typer.Option(help="Scoring protocol. Settings that are not given are those of its own system.")
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
