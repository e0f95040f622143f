"""`lint-prompt`: what in a prompt will cost points or time, before a model is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from jglue_app import api
from jglue_app.backends import backend_for
from jglue_app.cli.counts import counted
from jglue_app.cli.options import (
    BackendOption,
    FormatOption,
    GgufOption,
    JsonOption,
    MarcOption,
    RevisionOption,
    SeedOption,
    SelectionOption,
    ShotSeedOption,
    ShotsOption,
    SplitOption,
    StyleOption,
    SystemOption,
    TasksOption,
    ThinkingOption,
    ThinkingTokensOption,
    TokensOption,
    task_list,
)
from jglue_app.cli.tables import print_json, print_lines
from jglue_app.errors import InputError
from jglue_app.prompts.findings import Finding
from jglue_app.runs.progress import ProgressView
from jglue_app.tasks import TASKS
from jglue_app.types import ModelSpec


def lint_prompt(
    model: Annotated[str, typer.Option(help="Registry name, Hub id, folder or .gguf file.")] = "gemma-3-270m",
    tasks: TasksOption = "all",
    data_kind: Annotated[
        str | None, typer.Option("--data", help="official or sample; without it, official if its files are here.")
    ] = None,
    split: SplitOption = "valid",
    limit: Annotated[int, typer.Option(min=1, help="Prompts of each subset to look at.")] = 50,
    seed: SeedOption = 0,
    style: StyleOption = None,
    format: FormatOption = None,
    shots: ShotsOption = None,
    shot_selection: SelectionOption = "balanced",
    shot_seed: ShotSeedOption = 0,
    system: SystemOption = "",
    thinking: ThinkingOption = "off",
    max_new_tokens: TokensOption = None,
    max_thinking_tokens: ThinkingTokensOption = None,
    revision: RevisionOption = None,
    gguf_file: GgufOption = None,
    backend: BackendOption = None,
    marc_ja: MarcOption = None,
    protocol: Annotated[str, typer.Option(help="Whose settings to take where none are given.")] = "official",
    as_json: JsonOption = False,
) -> None:
    """Look for what will cost points or time in the prompts of a run. Loads the tokenizer alone.

    Exit code 2 when there is an error among the findings.
    """
    items: dict[str, int] = {}
    with ProgressView() as view:
        findings = api.lint_prompt(
            ModelSpec(model, backend or backend_for(model), revision, gguf_file=gguf_file),
            task_list(tasks, protocol),
            data=data_kind,
            split=split,
            limit=limit,
            seed=seed,
            protocol=protocol,
            style=style,
            format=format,
            shots=shots,
            shot_selection=shot_selection,
            shot_seed=shot_seed,
            system=system,
            thinking=thinking,
            max_new_tokens=max_new_tokens,
            max_thinking_tokens=max_thinking_tokens,
            marc_ja=marc_ja,
            notify=view.say,
            checked=items.update,
        )
    if as_json:
        print_json({"model": model, "checked": items, "findings": findings})
    else:
        print_lines(_line(finding) for finding in findings)
        counts = ", ".join(_count(findings, *names) for names in (("error",), ("warning",), ("info", "note")))
        looked_at = ", ".join(f"{TASKS[name].title} {count:,}" for name, count in items.items())
        print_lines([f"{model}: {counts if findings else 'nothing found'}. Items checked: {looked_at}."])
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(InputError.exit_code)


def _line(finding: Finding) -> str:
    where = f"{TASKS[finding.task].title}: " if finding.task else ""
    count = f" ({finding.items} of {finding.of} items, such as {finding.example})" if finding.items else ""
    return f"{finding.level:8}{where}{finding.message} [{finding.rule}]{count}"


def _count(findings: Sequence[Finding], level: str, name: str = "") -> str:
    n = sum(finding.level == level for finding in findings)
    return counted(n, name or level)
