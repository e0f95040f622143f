"""Blocks of people in a report, and ours, after it was saved again."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jglue_app.wandb_sink.report_blocks import EMPTY_PARAGRAPH, Block, checksum, merge


def paragraph(text: str) -> Block:
    return {"type": "paragraph", "children": [{"text": text}]}


def heading(text: str, level: int = 2) -> Block:
    return {"type": "heading", "level": level, "children": [{"text": text}]}


def table(text: str) -> Block:
    return {"type": "markdown-block", "children": [{"text": ""}], "content": text}


def grid(metric: str, **more: Any) -> Block:
    panel = {"__id__": f"id of {metric}", "viewType": "Bar Chart", "layout": {"x": 0, "y": 0, "w": 8, "h": 6}}
    panel["config"] = {"metrics": [metric], "chartTitle": "JNLI"} | more
    runs = {"id": "r1", "project": {"name": "jglue"}, "filters": {"filters": [{"op": "=", "value": "sample"}]}}
    return {"type": "panel-grid", "metadata": {"runSets": [runs], "panelBankSectionConfig": {"panels": [panel]}}}


def ours(score: str) -> dict[str, Block]:
    return {
        "intro": paragraph("Read me."),
        "title": heading("Scores"),
        "scores": table(score),
        "bars": grid("accuracy"),
    }


def shown(blocks: list[Block]) -> list[str]:
    """What is read from above to below; `[…]` for a folded section, `list` for the list of our blocks."""
    out = []
    for block in blocks:
        text = str(block.get("content", "")) + "".join(child.get("text", "") for child in block.get("children", []))
        out.append("bars" if block["type"] == "panel-grid" else "list" if "jglue_app blocks:" in text else text)
        out += [f"[{', '.join(shown(inner))}]"] if (inner := block.get("collapsedChildren")) else []
    return out


def saved(score: str = "0.1") -> list[Block]:
    return copy.deepcopy(merge([], ours(score)).blocks)


def test_a_new_report_has_our_blocks_and_the_list_of_them() -> None:
    assert shown(saved()) == ["", "Read me.", "Scores", "0.1", "bars", "list", ""]


def test_the_same_again_changes_nothing_and_a_new_score_one_block() -> None:
    again = merge(saved(), ours("0.1"))
    assert (again.blocks, again.kept, again.edited, again.removed, again.listed) == (saved(), 0, (), (), True)
    assert shown(merge(saved(), ours("0.2")).blocks) == ["", "Read me.", "Scores", "0.2", "bars", "list", ""]


def test_blocks_of_people_stay_where_they_are_and_so_do_moved_ones_of_ours() -> None:
    blocks = saved()
    blocks.insert(0, paragraph("First."))
    blocks.insert(4, paragraph("About the scores."))
    blocks.append(table("Last."))
    found = merge(blocks, ours("0.2"))
    texts = ["First.", "", "Read me.", "Scores", "About the scores.", "0.2", "bars", "list", "", "Last."]
    assert (shown(found.blocks), found.kept) == (["", *texts, ""], 5)
    moved = saved()
    moved.insert(1, moved.pop(4))
    assert shown(merge(moved, ours("0.2")).blocks) == ["", "bars", "Read me.", "Scores", "0.2", "list", ""]


def test_an_edited_block_stays_behind_the_new_one_and_is_people_s_from_then_on() -> None:
    blocks = saved()
    blocks[3]["content"] = "0.1, which is too low"
    found = merge(blocks, ours("0.2"))
    texts = ["", "Read me.", "Scores", "0.2", "0.1, which is too low", "bars", "list", ""]
    assert (shown(found.blocks), found.edited, found.removed) == (texts, ("scores",), ())
    again = merge(copy.deepcopy(found.blocks), ours("0.3"))
    assert shown(again.blocks) == [text.replace("0.2", "0.3") for text in texts]
    assert (again.kept, again.edited) == (1, ())


def test_of_a_grid_of_panels_sizes_settings_and_filters_are_edits_and_what_the_browser_adds_is_none() -> None:
    blocks = saved()
    panel = blocks[4]["metadata"]["panelBankSectionConfig"]["panels"][0]
    panel |= {"__id__": "other", "ref": {"id": "x"}}
    panel["layout"]["w"] = 8.0
    blocks[4]["metadata"] |= {"openRunSet": 1, "name": "unused-name"}
    blocks[4]["metadata"]["runSets"][0] |= {"id": "r2", "runFeed": {"pageSize": 50}}
    assert merge(copy.deepcopy(blocks), ours("0.1")).kept == 0
    for at, edit in (("layout", {"w": 24}), ("config", {"limit": 3})):
        edited = copy.deepcopy(blocks)
        edited[4]["metadata"]["panelBankSectionConfig"]["panels"][0][at] |= edit
        assert merge(edited, ours("0.1")).edited == ("bars",)
    blocks[4]["metadata"]["runSets"][0]["filters"]["filters"][0]["value"] = "official"
    assert merge(blocks, ours("0.1")).edited == ("bars",)


def test_a_removed_block_stays_away() -> None:
    blocks = saved()
    del blocks[4]
    found = merge(blocks, ours("0.2"))
    assert (shown(found.blocks), found.removed) == (["", "Read me.", "Scores", "0.2", "list", ""], ("bars",))
    assert merge(copy.deepcopy(found.blocks), ours("0.3")).removed == ("bars",)


def test_a_block_that_is_new_with_this_version_is_put_behind_the_one_before_it() -> None:
    before = merge([], {name: block for name, block in ours("0.1").items() if name != "scores"}).blocks
    before.insert(4, paragraph("Mine."))
    found = merge(copy.deepcopy(before), ours("0.1"))
    assert shown(found.blocks) == ["", "Read me.", "Scores", "0.1", "bars", "Mine.", "list", ""]
    # And one that this version no longer has goes, unless people have edited it.
    fewer = {name: block for name, block in ours("0.1").items() if name != "scores"}
    assert shown(merge(saved(), fewer).blocks) == ["", "Read me.", "Scores", "bars", "list", ""]


def test_without_the_list_only_what_is_equal_is_ours() -> None:
    blocks = [block for block in saved() if "jglue_app" not in json.dumps(block)]
    found = merge(blocks, ours("0.2"))
    assert shown(found.blocks) == ["", "Read me.", "Scores", "0.2", "0.1", "bars", "list", ""]
    assert (found.kept, found.edited, found.removed, found.listed) == (1, (), (), False)


def test_a_section_that_is_folded_up_is_updated_in_there_and_stays_folded() -> None:
    blocks = saved()
    blocks[2:5] = [{**blocks[2], "collapsedChildren": [paragraph("Mine."), *blocks[3:5]]}, heading("Mine too")]
    found = merge(blocks, ours("0.2"))
    assert shown(found.blocks) == ["", "Read me.", "Scores", "[Mine., 0.2, bars]", "Mine too", "list", ""]


def test_comments_on_a_block_that_says_the_same_stay() -> None:
    blocks = saved()
    blocks[1]["children"][0]["inlineComment_7"] = {"refId": "7"}
    assert "inlineComment_7" in json.dumps(merge(blocks, ours("0.2")).blocks)


TEXTS = st.lists(st.sampled_from(["a", "b", "Scores", "Read me.", ""]), max_size=3)


@settings(max_examples=40)
@given(st.data())
def test_nothing_of_people_is_ever_lost_and_an_update_is_stable(data: st.DataObject) -> None:
    blocks: list[Block] = []
    _, *inner, _ = saved()
    for block in inner:
        blocks += map(paragraph, data.draw(TEXTS))
        if data.draw(st.integers(0, 3)):
            is_list = shown([block]) == ["list"]  # It is made anew, whatever people have done to it.
            blocks.append(block if is_list or data.draw(st.integers(0, 3)) else {**block, "mine": True})
    blocks = [EMPTY_PARAGRAPH, *blocks, EMPTY_PARAGRAPH]
    found = merge(copy.deepcopy(blocks), ours("0.2"))
    # All but what stood there as we had written it is there afterwards, in its order.
    written = {checksum(block) for block in saved()}
    foreign = [checksum(block) for block in blocks if checksum(block) not in written]
    after = [checksum(block) for block in found.blocks]
    rest = iter(after)
    assert all(any(sum_ == other for other in rest) for sum_ in foreign)
    again = merge(copy.deepcopy(found.blocks), ours("0.2"))
    assert [checksum(block) for block in again.blocks] == after
    assert again.edited == () and found.blocks[-1] == EMPTY_PARAGRAPH
