"""Which blocks of a W&B Report are ours, and a newer state of ours among those of people. Pure.

A Report is a list of blocks, as JSON, that people edit in the browser; W&B keeps nothing of ours beside it. So the last
of our blocks, a paragraph, lists our blocks with a checksum of each, as we wrote it:

- A block whose checksum is listed is ours: it is replaced in place.
- Any other block is people's: it stays, behind the same block as before.
- Where one of ours is listed and gone, and another block of its kind stands in its place, people have edited it: theirs
  stays as a block of its own behind the new one. Where none does they have removed it, and it stays away.

A Report without the list is of an earlier version, or people have removed the list: then only blocks that are equal to
what is written now are ours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jglue_app.runs.serialization import dumps

Block = dict[str, Any]
"""A block as W&B stores it."""
LIST_NAME = "list"
"""Name of the list itself among our blocks."""
LIST_TEXT = (
    "Blocks of this report that come from jglue_app are written anew when it saves the report again. Blocks that you "
    "add stay. One that you change stays too, behind the new one; one that you remove stays away. "
)
_LIST = re.compile(r"jglue_app blocks:((?: [a-z-]+=(?:[0-9a-f]{12}|removed))*)\s*$")
REMOVED = "removed"
"""In place of the checksum of a block that people have removed."""
EMPTY_PARAGRAPH = {"type": "paragraph", "children": [{"text": ""}]}
RUN_SET_KEYS = ("project", "name", "search", "filters", "grouping", "sort", "selections")
"""What people choose of the runs of a panel grid; ids and widths are the browser's."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The blocks of a report after an update."""

    blocks: list[Block]
    kept: int
    """Blocks of people."""
    edited: tuple[str, ...] = field(default=())
    """Names of our blocks that people had edited since: theirs stands behind ours, once more."""
    removed: tuple[str, ...] = field(default=())
    """Names of our blocks that people have removed: they are not written again."""
    listed: bool = True
    """Whether the report had the list of our blocks."""


def merge(stored: Sequence[Block], ours: Mapping[str, Block]) -> Merged:
    """The blocks of a report that is updated.

    Args:
        stored: its blocks, as W&B has them; empty for a new report.
        ours: name → block, as they are to be now, in their order.
    """
    flat = _without_edges(list(_flat(stored)))
    before = next((found for block in flat if (found := _listed(block)) is not None), None)
    names = _owners(flat, before or {name: checksum(block) for name, block in ours.items()})
    edited = _edited(flat, names, before or {}, ours)
    gone = [name for name in before or {} if name not in names.values()]
    removed = tuple(name for name in gone if name not in edited and name in ours)
    list_block = _list_block({name: REMOVED if name in removed else checksum(block) for name, block in ours.items()})
    blocks: list[Block] = []
    for at, block in enumerate(flat):
        name = names.get(at)
        if name is None:
            blocks += [ours[theirs] for theirs, place in edited.items() if place == at]
            blocks.append(block)
        elif name == LIST_NAME:
            blocks.append(list_block)
        elif name in ours:
            # Where nothing has changed the stored one stays, with people's comments on it.
            blocks.append(block if checksum(block) == checksum(ours[name]) else ours[name])
    names_now = {name for name in names.values() if name in ours} | set(edited)
    _insert(blocks, [name for name in ours if name not in names_now and name not in removed], ours)
    if LIST_NAME not in names.values():
        blocks.append(list_block)
    return Merged(
        [EMPTY_PARAGRAPH, *_collapsed(blocks, stored), EMPTY_PARAGRAPH],
        sum(at not in names for at in range(len(flat))),
        tuple(edited),
        removed,
        before is not None,
    )


def _owners(flat: Sequence[Block], before: Mapping[str, str]) -> dict[int, str]:
    """Position → name of our block that stands there as we wrote it. Of two equal ones the first is ours."""
    names: dict[int, str] = {}
    for at, block in enumerate(flat):
        if _listed(block) is not None and LIST_NAME not in names.values():
            names[at] = LIST_NAME
            continue
        sum_ = checksum(block)
        name = next((n for n, listed in before.items() if listed == sum_ and n not in names.values()), None)
        if name is not None:
            names[at] = name
    return names


def _edited(
    flat: Sequence[Block], names: Mapping[int, str], before: Mapping[str, str], ours: Mapping[str, Block]
) -> dict[str, int]:
    """Name of our block that people have edited → position of theirs: the first of its kind between the two of ours
    that it stood between."""
    order = list(before)
    places = {name: at for at, name in names.items()}
    edited: dict[str, int] = {}
    for index, name in enumerate(order):
        if name in places or before[name] == REMOVED or name not in ours:
            continue
        start = max((places[earlier] + 1 for earlier in order[:index] if earlier in places), default=0)
        end = min((places[later] for later in order[index + 1 :] if later in places), default=len(flat))
        free = (at for at in range(start, end) if at not in names and at not in edited.values())
        if (at := next((at for at in free if _kind(flat[at]) == _kind(ours[name])), None)) is not None:
            edited[name] = at
    return edited


def _insert(blocks: list[Block], new: Sequence[str], ours: Mapping[str, Block]) -> None:
    """Put blocks that the report does not have behind the one that they follow in our order, or else first."""
    order = list(ours)
    for name in new:
        places = {checksum(block): at + 1 for at, block in reversed(list(enumerate(blocks)))}
        earlier = (places.get(checksum(ours[other])) for other in reversed(order[: order.index(name)]))
        blocks.insert(next(filter(None, earlier), 0), ours[name])


# --- what a block says ------------------------------------------------------------------------------------


def checksum(block: Block) -> str:
    """Checksum of what people see of a block, without what the browser adds by itself: ids, comments, what is open."""
    return hashlib.sha256(dumps(_content(block)).encode()).hexdigest()[:12]


def _content(block: Block) -> Any:
    if block.get("type") == "panel-grid":
        metadata = block.get("metadata") or {}
        panels = (metadata.get("panelBankSectionConfig") or {}).get("panels") or []
        run_sets = [{key: run_set.get(key) for key in RUN_SET_KEYS} for run_set in metadata.get("runSets") or []]
        return _plain(["panel-grid", panels, run_sets, metadata.get("customRunColors"), metadata.get("hideRunSets")])
    kept = {key: value for key, value in block.items() if key not in ("children", "collapsedChildren")}
    return [_plain(kept), [_content(child) for child in block.get("children") or []]]


def _plain(value: Any) -> Any:
    """JSON without ids, comments and empty values, and with whole numbers as such: 1.0 and 1 are the same there."""
    if isinstance(value, dict):
        kept = {key: _plain(part) for key, part in value.items() if not _is_added(key)}
        return {key: part for key, part in sorted(kept.items()) if part not in (None, {}, [], False)}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_added(key: str) -> bool:
    return key in ("id", "__id__", "ref", "inlineComments") or key.startswith("inlineComment_")


def _kind(block: Block) -> tuple[Any, Any]:
    return block.get("type"), block.get("level")


def _text(block: Block) -> str:
    return str(block.get("text", "")) + "".join(_text(child) for child in block.get("children") or [])


# --- the list ----------------------------------------------------------------------------------------------


def _list_block(checksums: Mapping[str, str]) -> Block:
    listed = " ".join(["jglue_app blocks:", *(f"{name}={sum_}" for name, sum_ in checksums.items())])
    return {"type": "paragraph", "children": [{"text": LIST_TEXT}, {"text": listed, "inlineCode": True}]}


def _listed(block: Block) -> dict[str, str] | None:
    """Name → checksum, if a block is the list."""
    found = _LIST.search(_text(block)) if block.get("type") == "paragraph" else None
    if found is None:
        return None
    return dict(entry.split("=", 1) for entry in found[1].split())


# --- sections that are folded up ---------------------------------------------------------------------------


def _flat(blocks: Sequence[Block]) -> Iterator[Block]:
    """All blocks in their order, those in folded sections too; a heading is then the mark of its section."""
    for block in blocks:
        if inner := block.get("collapsedChildren"):
            yield {key: value for key, value in block.items() if key != "collapsedChildren"}
            yield from _flat(inner)
        else:
            yield block


def _collapsed(blocks: Sequence[Block], stored: Sequence[Block]) -> list[Block]:
    """The blocks, with the sections folded up that people have folded up: all up to a heading as high or higher."""
    folded = [checksum(block) for block in _headings(stored) if block.get("collapsedChildren")]
    out: list[Block] = []
    at = 0
    while at < len(blocks):
        block = blocks[at]
        at += 1
        if block.get("type") == "heading" and checksum(block) in folded:
            end = at
            while end < len(blocks) and not (
                blocks[end].get("type") == "heading" and blocks[end].get("level", 1) <= block.get("level", 1)
            ):
                end += 1
            if inner := _collapsed(blocks[at:end], stored):
                block = {**block, "collapsedChildren": inner}
            at = end
        out.append(block)
    return out


def _headings(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        if block.get("type") == "heading":
            yield block
        yield from _headings(block.get("collapsedChildren") or [])


def _without_edges(blocks: list[Block]) -> list[Block]:
    """Without the empty paragraph at each end, which every report has."""
    if blocks and checksum(blocks[0]) == checksum(EMPTY_PARAGRAPH):
        blocks = blocks[1:]
    if blocks and checksum(blocks[-1]) == checksum(EMPTY_PARAGRAPH):
        blocks = blocks[:-1]
    return blocks
