"""The README.md of a run's repository on the Hub: what it is, its scores, its files, and whose texts it holds."""

from __future__ import annotations

import re

from jglue_app.results.local_paths import shareable_spec
from jglue_app.runs.request import RunRequest
from jglue_app.runs.request_text import to_command_line
from jglue_app.scoring.report import main_metric, report_run
from jglue_app.scoring.types import Estimate
from jglue_app.tasks import TASKS
from jglue_app.types import RunData
from jglue_app.version import __version__

TABLE = "items.parquet"
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|&~$:@-])")
_SOURCES = {
    "sample": "the application's own sample items, written for it",
    "official": "official JGLUE",
    "user": "a file of whoever made the run",
}
FRONT_MATTER = """---
pretty_name: "{name}"
language:
  - ja
tags:
  - jglue
  - japanese
  - evaluation
configs:
  - config_name: default
    data_files:
      - split: answers
        path: {table}
---
"""


def card(data: RunData, run: str, archive: str) -> str:
    """The text of README.md.

    Args:
        data: the run.
        run: its id.
        archive: file name of the archive beside the card.
    """
    name = one_line(data.spec.label)
    parts = [
        FRONT_MATTER.format(name=_quoted(f"JGLUE: {name}"), table=TABLE),
        f"# {escaped(name)}",
        "Answers of a language model to items of JGLUE, one row an item, as `JGLUE side by side` "
        f"{__version__} stored them. JGLUE の問題に対する言語モデルの回答です（1 行が 1 問）。",
        _scores(data),
        _files(run, archive),
        _repeat(data),
        _licences(data),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def one_line(text: str) -> str:
    """A text without line ends and other control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def escaped(text: str) -> str:
    """A text that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", one_line(text))


def _quoted(text: str) -> str:
    """What stands between double quotes in YAML."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _scores(data: RunData) -> str:
    """The scores of the application's own protocol, as a table."""
    report = report_run(data)
    lines = [
        "## Scores",
        "",
        "Strict reading, protocol `official`, with 95 % intervals; `jglue-app rescore` gives those of other protocols.",
        "",
        "| subset | items | data | metric | score | lenient reading |",
        "|---|---:|---|---|---:|---:|",
    ]
    for task, scores in report.tasks.items():
        metric = next(iter(scores.metrics), "")
        value = main_metric(scores, report.protocol)
        lenient = scores.lenient.get(metric)
        cells = [TASKS[task].title, f"{scores.n}/{scores.planned}", scores.source, metric]
        numbers = [_number(value), _number(lenient) if lenient else "–"]
        lines.append("| " + " | ".join([*map(escaped, cells), *numbers]) + " |")
    return "\n".join(lines)


def _number(value: Estimate) -> str:
    if value.value is None:
        return "–"
    if value.low is None or value.high is None:
        return f"{value.value:.3f}"
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def _files(run: str, archive: str) -> str:
    return "\n".join(
        [
            "## Files",
            "",
            f"- `{TABLE}`: item, prompt, raw output and every protocol's verdict, one row an item.",
            f"- `{archive}`: the run `{run}` with all that is stored of it. `jglue-app import {archive}` opens it.",
        ]
    )


def _repeat(data: RunData) -> str:
    request = RunRequest.of_spec(shareable_spec(data.spec))
    if request is None:
        return ""
    return f"## Make it again\n\n```bash\n{to_command_line(request)}\n```"


def _licences(data: RunData) -> str:
    lines = ["## Whose texts these are", ""]
    lines += [
        f"- {TASKS[task].title}: {_SOURCES.get(source, escaped(str(source)))}" for task, source in data.sources.items()
    ]
    if any(source == "official" for source in data.sources.values()):
        lines += [
            "",
            "Questions and right answers of official JGLUE are licensed under CC BY-SA 4.0 by Yahoo Japan Corporation "
            "and Kawahara Lab at Waseda University: whoever publishes this repository must keep to that.",
        ]
    lines += ["", "The outputs are under the terms of the model that wrote them."]
    return "\n".join(lines)
