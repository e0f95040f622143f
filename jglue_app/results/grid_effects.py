"""A stored grid → what its factors move, from the runs that are complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from jglue_app.errors import StoreError
from jglue_app.grid.members import Member, StoredGrid
from jglue_app.messages import Message, mark
from jglue_app.results.library import Ids, Library
from jglue_app.runs.store import RunStore
from jglue_app.scoring.design import Design
from jglue_app.scoring.effect_types import EffectFactor, EffectTable, LeftOut
from jglue_app.scoring.effects import metric_effects
from jglue_app.scoring.grid_scores import Key, grid_scores, groups_of, run_values
from jglue_app.scoring.judged import Judged
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.protocols import get_protocol
from jglue_app.types import RunData

NOT_BEGUN = Message("It has not begun.")
DELETED = Message("It was deleted. Start the same grid again to make it anew.")


def effect_table(grid: StoredGrid, library: Library, protocol: str = "official") -> EffectTable:
    """What the factors of a grid do to every metric of a protocol. Runs that are gone, damaged or not complete are left
    out, and named.

    Raises:
        UnknownNameError: no such protocol.
    """
    scoring = get_protocol(protocol)
    groups = groups_of(grid.questions)
    used: list[Member] = []
    values: list[Mapping[Key, tuple[Floats, int]]] = []
    left_out: list[LeftOut] = []
    for member in grid.runs:
        try:
            items = grid.items_of(member)
            path = library.runs_dir / member.run
            if not RunStore(path).exists():
                left_out.append(_not_here(member))
                continue
            missing = _missing(library.data(path, items), items)
            if missing:
                lacking = mark("{count:,} items have no output.")
                one = "1 item has no output." if missing == 1 else lacking
                why = Message.worded(one, lacking, {"count": missing})
                left_out.append(LeftOut(member.run, member.levels, why))
                continue
            judged: Judged = library.judged(path, protocol, items)
        except StoreError as e:
            left_out.append(LeftOut(member.run, member.levels, e.message))
            continue
        used.append(member)
        values.append(run_values(judged, scoring, groups))
    factors = tuple(EffectFactor(f.name, f.group, f.levels, f.replicate) for f in grid.factors)
    levels = tuple(member.levels for member in used)
    designs: dict[tuple[int, ...], Design] = {}
    found = (metric_effects(factors, levels, scores, designs) for scores in grid_scores(values, groups))
    return EffectTable(
        grid=grid.name,
        protocol=protocol,
        factors=factors,
        runs=tuple(member.run for member in used),
        levels=levels,
        left_out=tuple(left_out),
        metrics=tuple(effects for effects in found if effects is not None),
        notices=tuple(_notices(grid, left_out)),
    )


def _not_here(member: Member) -> LeftOut:
    """Why a run of a grid has no folder."""
    if member.failed is not None:
        return LeftOut(member.run, member.levels, member.failure)
    return LeftOut(member.run, member.levels, DELETED if member.begun else NOT_BEGUN, begun=member.begun)


def _notices(grid: StoredGrid, left_out: Sequence[LeftOut]) -> Iterator[Message]:
    """How many runs of a grid are in no table."""
    failed = {member.run for member in grid.runs if member.failed is not None} & {out.run for out in left_out}
    if any(out.run not in failed for out in left_out):
        yield Message(
            "{count:,} of {all:,} runs are not in these tables: they are not complete, or cannot be read. Start "
            "the same grid again to complete them.",
            count=len(left_out),
            all=len(grid.runs),
        )
    if not_begun := sum(not out.begun for out in left_out):
        yield Message("{count:,} of {all:,} runs have not begun.", count=not_begun, all=len(grid.runs))
    if failed:
        yield Message(
            "{count:,} of {all:,} runs could not be made, for the reasons given. Where nothing can be done about it, "
            "leave such combinations out of the file with [[exclude]].",
            count=len(failed),
            all=len(grid.runs),
        )


def _missing(data: RunData, items: Ids) -> int:
    """Items of a run without an output."""
    done = {(record.task, record.item_id) for record in data.records if record.output is not None}
    return sum((task, id_) not in done for task, ids in items.items() for id_ in ids)
