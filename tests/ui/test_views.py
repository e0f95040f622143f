"""Payloads and HTML of the views, without a browser."""

from __future__ import annotations

import hashlib
from html.parser import HTMLParser

import pytest

from jglue_app.protocols.official import judge as official
from jglue_app.report import Answered, compare_runs, report_run
from jglue_app.tasks import TASKS
from jglue_app.types import (
    Decoding,
    Item,
    ModelSpec,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunError,
    RunSpec,
)
from jglue_app.ui import views

SPEC = RunSpec(ModelSpec("m"), ("jnli",), "v", {}, PromptSpec(), "", Decoding(), "0")
LABELS = ("entailment", "contradiction", "neutral")
ANSWERS = ("含意", "矛盾", "中立")


def item(id_: str, gold: str) -> Item:
    return Item("jnli", id_, {"sentence1": f"前提{id_}", "sentence2": f"仮説{id_}"}, (gold,), LABELS)


def record(id_: str, text: str | None, logprobs: tuple[float, ...] | None = None, spec: RunSpec = SPEC) -> Record:
    prompt = Prompt("jnli", id_, "一行目\n関係：", None, ("\n",), ANSWERS, "", (), hashlib.sha256(b"").hexdigest())
    if text is None and logprobs is None:
        return Record(spec.spec_id, "jnli", id_, prompt, None, RunError("out_of_memory", "大きすぎる"))
    return Record(spec.spec_id, "jnli", id_, prompt, Output(text, "stop", 9, 2, 0.25, logprobs))


def answered(id_: str, gold: str, text: str | None, logprobs: tuple[float, ...] | None = None) -> Answered:
    one, made = item(id_, gold), record(id_, text, logprobs)
    return Answered(one, made, official(TASKS["jnli"], one, made))


A = {
    "jnli": {
        "1": answered("1", "entailment", "含意"),
        "2": answered("2", "neutral", "含意"),
        "3": answered("3", "neutral", "答え：中立"),
        "4": answered("4", "neutral", ""),
    }
}
B = {
    "jnli": {
        "1": answered("1", "entailment", "矛盾"),
        "2": answered("2", "neutral", "中立"),
        "3": answered("3", "neutral", "中立"),
        "4": answered("4", "neutral", None),
    }
}


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        ("all", ["1", "2", "3", "4"]),
        ("disagree", ["1", "2", "3", "4"]),
        ("only_a", ["1"]),
        ("only_b", ["2", "3"]),
        ("form", ["3"]),
        ("unreadable", ["4"]),
    ],
)
def test_a_filter_keeps_the_items_it_names(which: str, ids: list[str]) -> None:
    assert [row[1] for row in views.item_rows(A, B, which)] == ids


def test_a_row_shows_question_gold_outputs_and_marks() -> None:
    assert views.item_rows(A, B)[0] == ["JNLI", "1", "前提1 / 仮説1", "entailment", "含意", "○", "矛盾", "×"]
    assert views.item_rows(A, B)[3][4:] == ["", "∅", "大きすぎる", "！"]


def test_an_item_only_one_run_has_answered_has_empty_cells_for_the_other() -> None:
    assert views.item_rows(A, {})[0][6:] == ["", ""]


def test_long_and_many_lined_texts_become_one_short_line() -> None:
    assert views.short("一行目\n二行目") == "一行目 ⏎ 二行目"
    assert len(views.short("長" * 500)) == 44


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("答え：中立", (3, 5), [("答え：", False, False), ("中立", True, False)]),
        ("一\n二", None, [("一", False, True), ("二", False, False)]),
        ("一\n二三", (0, 3), [("一", True, True), ("二", True, False), ("三", False, False)]),
        ("", None, []),
    ],
)
def test_pieces_mark_the_span_and_keep_line_ends(
    text: str, span: tuple[int, int] | None, expected: list[tuple[str, bool, bool]]
) -> None:
    assert [(p["text"], p["mark"], p["eol"]) for p in views.pieces(text, span)] == expected


def test_the_item_view_shows_prompt_outputs_readings_and_bars() -> None:
    left = answered("7", "neutral", "関係は「中立」です。", (-3.0, -1.0, -2.0))
    html = views.render("item", views.item_view([("A", "左", left, "<bos>"), ("B", "右", None, "")], "ja"))
    assert "関係は「<mark>中立</mark>」です。" in html
    assert (
        '<span class="jg-special">&lt;bos&gt;</span>一行目<span class="jg-eol" aria-hidden="true">⏎</span>\n関係：'
        in html
    )
    assert "規則: cue" in html
    assert "○ 中立" in html
    assert "width:67%" in html
    assert "width:24%" in html
    assert "未実行" in html


def run(texts: list[str], spec: RunSpec) -> RunData:
    golds = ["entailment", "neutral", "neutral", "contradiction"]
    items = {str(i): item(str(i), gold) for i, gold in enumerate(golds)}
    return RunData(
        spec, {"jnli": items}, {"jnli": "sample"}, [record(str(i), text, None, spec) for i, text in enumerate(texts)]
    )


def test_the_scoreboard_shows_scores_differences_and_where_the_data_came_from() -> None:
    data_a = run(["含意", "含意", "中立です", "？"], SPEC)
    data_b = run(
        ["含意", "中立", "中立", "矛盾"], RunSpec(ModelSpec("n"), ("jnli",), "v", {}, PromptSpec(), "", Decoding(), "0")
    )
    comparison = compare_runs(data_a, data_b)
    payload = views.board(comparison.a, comparison.b, comparison, "en")
    (line,) = payload["rows"]
    assert line["source"] == "sample"
    assert [side["value"] for side in line["sides"]] == ["0.250", "1.000"]
    assert line["sides"][0]["detail"] == "4 items · lenient 0.500 · unreadable 2"
    assert line["difference"] == "+0.750"
    assert line["floor"] == "0.500"
    counts = [[(p["name"], p["count"]) for p in picture["parts"]] for picture in payload["pictures"]]
    assert counts == [[("correct", 1), ("wrong_form", 1), ("wrong", 1), ("unreadable", 1)], [("correct", 4)]]
    html = views.render("board", payload)
    assert "JNLI" in html
    assert "Cannot tell yet" in html


def test_one_run_alone_has_a_scoreboard_without_a_difference() -> None:
    payload = views.board(report_run(run(["含意", "含意", "中立", "中立"], SPEC)), None, None, "ja")
    assert len(payload["rows"][0]["sides"]) == 1
    assert "差（B−A）" not in views.render("board", payload)


class Tags(HTMLParser):
    """Collects what elements and attributes a text holds."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "</pre></div><iframe srcdoc=x>",
    "{{ 7 * 7 }}{% raw %}",
    "' onmouseover='x",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_model_an_item_or_an_error_becomes_markup(text: str) -> None:
    bad = Item("jnli", text, {"sentence1": text, "sentence2": text}, ("neutral",), LABELS)
    prompt = Prompt("jnli", text, text, None, (), (text, "矛盾", "中立"), "", (text,), "")
    made = Record("s", "jnli", text, prompt, Output(text, "stop", 1, 1, 0.0, (-1.0, -2.0, -3.0)))
    row = Answered(bad, made, official(TASKS["jnli"], bad, made))
    parser = Tags()
    parser.feed(views.render("item", views.item_view([("A", text, row, text)], "ja")))
    parser.feed(views.render("status", views.error_status(text, "ja")))
    parser.feed(views.render("status", {"text": text, "bars": [{"name": text, "percent": "1", "count": text}]}))
    assert not parser.found & {"img", "script", "iframe", "onerror", "onmouseover", "srcdoc", "src"}
    assert "49" not in views.render("status", views.error_status(text, "ja"))


@pytest.mark.parametrize("paired", [False, True])
def test_a_scoreboard_of_runs_that_have_only_begun_can_be_drawn(paired: bool) -> None:
    pair = {"sentence1": "犬", "sentence2": "猫"}
    items = {
        "jsts": {"1": Item("jsts", "1", pair, 2.0)},
        "jnli": {"1": item("1", "neutral"), "2": item("2", "neutral")},
        "jsquad": {"1": Item("jsquad", "1", {"title": "", "context": "東京", "question": "？"}, ("東京",))},
    }
    begun = RunData(SPEC, items, dict.fromkeys(items, "sample"), [record("1", "中立")])
    empty = RunData(SPEC, items, dict.fromkeys(items, "sample"), [])
    comparison = compare_runs(begun, empty)
    payload = views.board(comparison.a, comparison.b if paired else None, comparison if paired else None, "ja")
    assert [line["title"] for line in payload["rows"]] == ["JNLI"]
    assert "JSTS" in views.render("board", payload)
    assert views.board(comparison.b, None, None, "ja")["rows"] == []


def test_the_scoreboard_says_how_sure_a_difference_is_and_how_many_items_would_tell() -> None:
    other = RunSpec(ModelSpec("n"), ("jnli",), "v", {}, PromptSpec(), "", Decoding(), "0")
    golds = ["含意", "中立", "中立", "矛盾"]
    far = compare_runs(run(["？"] * 4, SPEC), run(golds, other))
    near = compare_runs(run([*golds[:3], "？"], SPEC), run(golds, other))
    (line,), (less,) = (views.board(c.a, c.b, c, "en")["rows"] for c in (far, near))
    # McNemar, exact: 2 · ½⁴, and 1 for a single item; Miettinen's formula for one item in four.
    assert line["test"].startswith("p 0.125")
    assert less["test"] == f"p 1.000 · about {near.differences['jnli']['accuracy'].needed} items would tell"


def test_the_scoreboard_warns_of_floors_and_counts_what_is_known_but_not_written() -> None:
    items = {str(i): item(str(i), "entailment" if i % 2 else "neutral") for i in range(20)}
    records = [record(id_, "答え：どちらとも" if i < 5 else "含意", (-1.0, -2.0, -3.0)) for i, id_ in enumerate(items)]
    data = RunData(SPEC, {"jnli": items}, {"jnli": "sample"}, records)
    payload = views.board(report_run(data), None, None, "ja")
    assert [line["title"] for line in payload["notices"]] == ["JNLI", "JNLI"]
    html = views.render("board", payload)
    assert "accuracy 0.400 は、いつも同じ答えを出すときの点 0.500 と区別できません。" in html
    assert "対数尤度: accuracy 0.500" in html
    # Items 1 and 3: the gold answer is ranked first, and the text names no label.
    assert [line["text"].endswith("：JNLI 2") for line in payload["knows"]] == [True]


def test_people_and_fine_tuned_models_stand_beside_official_items_alone() -> None:
    data = run(["含意"], SPEC)
    assert views.board(report_run(data), None, None, "ja")["references"] == []
    official = RunData(SPEC, data.items, {"jnli": "official"}, data.records)
    payload = views.board(report_run(official), None, None, "ja")
    assert [line["text"] for line in payload["references"]] == ["JNLI 0.925", "JNLI 0.906", "JNLI 0.934"]
    assert "人間（参考、dev 全体）: JNLI 0.925" in views.render("board", payload)
