"""One word for one thing, and one way to write it: all labels and all sentences, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.pofile import read_po

from jglue_app.messages import FOLDER, listed, table, word
from jglue_app.messages.labels import LABELS
from jglue_app.prompts.styles import load_style, style_names
from jglue_app.results.library import StoredRun
from jglue_app.results.run_label import flat, setting_name
from jglue_app.scoring.metric_names import METRIC_NAMES, metric_list
from jglue_app.tasks import TASKS
from jglue_app.types import Decoding, ModelSpec, PromptSpec, RunSpec
from jglue_app.ui.views.metrics import metric_name, metric_names
from jglue_app.ui.views.run_labels import labels_of, run_label_text, setting_text

QUOTED = re.compile(r"`[^`]*`|\{\{.*?\}\}|--[a-z-]+")
"""What a sentence quotes: commands, JSON, options."""
JAPANESE = "ぁ-んァ-ヶー一-龠「」（）。、"
NOT_WRITTEN = {
    "くらべ": "比べる; くらべ is in the product's name alone",
    "フォルダ(?!ー)": "フォルダー",
    "トークナイザ(?!ー)": "トークナイザー",
    "ポインタ(?!ー)": "ポインター",
    "メモリー": "メモリ",
    "ブラウザー": "ブラウザ",
    "バージョン": "版",
    "(?<!数)点数": "スコア for a value; 点 for what an answer gains or loses",
    "下限": "基準点 for what one constant answer scores",
    "全量": "全問実行",
    "代償": "書式で失った点",
    "約束": "制限",
    "厳密には読": "厳密な読み取りで不可",
    r"\d-shot": "例題なし, 例題 4 つ",
    r"(?<![A-Za-z_{-])id(?=[ はがをの、。）])": "ID",
    r"[\d}] %": "95% without a space",
}
"""What no Japanese text has, and what it has instead."""


def japanese() -> Iterator[tuple[str, str]]:
    """Where it is, and the Japanese, without what is quoted; of labels, sentences and words."""
    for path in sorted((FOLDER / "ja").glob("*.po")):
        with path.open("rb") as file:
            for entry in read_po(file, locale="ja"):
                if entry.id:
                    where = f"{path.stem}: {entry.context or entry.id}"
                    yield where, QUOTED.sub("", str(entry.string))


def test_all_texts_are_walked() -> None:
    texts = list(japanese())
    assert sum(where.startswith("labels: ") for where, _ in texts) == sum(map(bool, LABELS.values()))
    assert len(texts) > 1500


@pytest.mark.parametrize("pattern", NOT_WRITTEN)
def test_a_thing_has_one_word(pattern: str) -> None:
    found = [(where, text) for where, text in japanese() if re.search(pattern, text) and where != "labels: title"]
    assert found == [], NOT_WRITTEN[pattern]


def test_no_word_is_written_with_and_without_a_long_vowel() -> None:
    words = {word for _, text in japanese() for word in re.findall("[ァ-ヴー]{2,}", text)}
    assert [word for word in words if word + "ー" in words] == []


def test_japanese_names_are_separated_by_japanese_commas_and_colons() -> None:
    # 「応答:」 is what a model writes.
    halfwidth = re.compile(rf"[{JAPANESE}}}][,:] |(?<! )[,:] ?[{JAPANESE}](?<!:」)")
    assert [(where, text) for where, text in japanese() if halfwidth.search(text)] == []
    assert listed(["正解", "不正解"], "ja") == "正解、不正解"
    assert listed(["right", "wrong"], "en") == "right, wrong"


def test_only_names_are_written_in_latin_letters_alone() -> None:
    spelt = {}
    for where, text in japanese():
        plain = "".join(part for part, *_ in Formatter().parse(text))
        if re.search("[A-Za-z]", plain) and not re.search(f"[{JAPANESE}：・]", plain):
            spelt[where] = text
    assert spelt == {}


def test_no_label_that_a_reader_of_english_sees_is_japanese() -> None:
    # Answers and cues that a sentence speaks of are quoted.
    quoted = re.compile("“.*?”|「.*?」|肯定|否定")
    kana = re.compile("[ぁ-んァ-ヶ一-龠、。：（）]")
    assert [key for key, english in LABELS.items() if kana.search(quoted.sub("", english))] == []
    assert {key for key, japanese in table("ja").items() if japanese == LABELS[key]} == {"source_official"}


def test_every_wording_style_has_a_title_in_both_languages() -> None:
    for name in style_names():
        assert LABELS[f"style_{name}"].endswith(f" ({name})")
        own = load_style(name).title.replace("（", "、").removesuffix("）")
        assert table("ja")[f"style_{name}"] == f"{own}（{name}）"


def test_metrics_have_their_japanese_names_on_the_page_and_their_keys_elsewhere() -> None:
    japanese = {metric: metric_name(metric, "ja") for metric in METRIC_NAMES}
    assert japanese["accuracy"] == "正解率"
    assert japanese["exact_match"] == "完全一致"
    assert japanese["f1"] == japanese["char_f1"] == "文字 F1"
    assert (japanese["pearson"], japanese["spearman"]) == ("ピアソン相関", "スピアマン相関")
    assert japanese["mcc"] == "マシューズ相関"
    assert {metric for task in TASKS.values() for metric in task.metrics} <= set(METRIC_NAMES)
    assert metric_name("exact_match", "en") == "exact match"
    # In a sentence of the command line a metric has its key.
    assert metric_list(("exact_match", "char_f1")) == "exact_match, char_f1"


def test_the_english_of_a_metric_stands_behind_it_once() -> None:
    assert metric_names(["accuracy", "pearson", "accuracy"], "ja") == [
        "正解率（accuracy）",
        "ピアソン相関（Pearson correlation）",
        "正解率",
    ]
    assert metric_names(["accuracy", "accuracy"], "en") == ["accuracy", "accuracy"]
    assert metric_names(["own_metric"], "ja") == ["own_metric"]


@pytest.mark.parametrize(
    ("label", "japanese"),
    [
        ("gemma · plain · ja-labels · 0-shot", "gemma · plain · 日本語ラベル · 例題なし"),
        ("3-shot · chat · number · 3-shot · thinking", "3-shot · chat · 番号 · 例題 3 個 · 思考あり"),
        (
            "m · plain · s · 0–4-shot · 8bit · thinking by default · repetition penalty 1–1.1 · oracle length · train",
            "m · plain · s · 例題 0–4 個 · 8bit · 思考はテンプレートの既定 · 繰り返しペナルティ 1–1.1 · 長さのオラクル"
            " · train",
        ),
        ('m · mean of hidden states · prefix "文: "', "m · 隠れ状態の平均 · 接頭辞「文: 」"),
        ("m", "m"),
    ],
)
def test_the_label_of_a_run_is_said_in_japanese(label: str, japanese: str) -> None:
    assert run_label_text(label, "ja") == japanese
    english = label.replace('"文: "', "“文: ”").replace("ja-labels", "Japanese labels").replace("number", "the number")
    assert run_label_text(label, "en") == english


def test_what_tells_runs_of_one_label_apart_is_said_in_japanese() -> None:
    def run(name: str, called: str = "m · 3-shot", **spec: object) -> StoredRun:
        return StoredRun(name, Path(), called, "", 1, 1, spec, {}, made_as="m · 3-shot")

    one = run("a", seed=0, prompt={"shot_seed": 0, "shot_selection": "balanced"}, code_version="1", limit=None)
    two = run("b", seed=1, prompt={"shot_seed": 2, "shot_selection": "random"}, code_version="2", limit=20)
    assert labels_of({"a": one, "b": two}, "ja") == {
        "a": "m · 例題 3 個 · 問題選びのシード 0、例題選びのシード 0、例題の選び方 全問共通（答えが偏らないように）"
        "、版 1",
        "b": "m · 例題 3 個 · 問題選びのシード 1、例題選びのシード 2、例題の選び方 問題ごとに無作為、版 2 …",
    }
    assert labels_of({"a": one}, "ja") == {"a": "m · 例題 3 個"}
    assert labels_of({"a": one, "b": two}, "en")["b"].startswith(
        "m · 3-shot · seed 1, shot seed 2, shot selection random"
    )
    flags = {name: run(name, model={"allow_bin": name == "a"}) for name in "ab"}
    assert labels_of(flags, "ja")["a"] == "m · 例題 3 個 · safetensors のないモデルで .bin の重みを読む あり"
    given = {name: run(name, "0-shot", seed=seed) for seed, name in enumerate("ab")}
    assert labels_of(given, "ja")["b"] == "0-shot · 問題選びのシード 1"


def test_every_setting_that_may_tell_runs_apart_has_a_japanese_name() -> None:
    spec = RunSpec(ModelSpec("m"), ("jnli",), "sample-1", {"jnli/valid": "0"}, PromptSpec(), "0", Decoding(), "1")
    names = {setting_name(path) for path, _ in flat(asdict(spec))}
    assert [name for name in names if not re.search(f"[{JAPANESE}]", setting_text(name, "1", "ja"))] == []


def test_a_button_that_opens_a_tab_calls_it_as_the_tab_is_called() -> None:
    for lang in ("ja", "en"):
        assert word("tab_lab", lang).casefold() in word("open_in_lab", lang).casefold()
        assert word("tab_compare", lang) in word("matrix_pair", lang)
        assert word("tab_compare", lang) in word("open_items", lang)


FOR_COMMANDS = re.compile(
    r"(api|bench|cli|cluster|grid|launch)/|backends/embedding/|runs/(embedding|predictions)\.py"
    r"|results/importers/import_run\.py|ui/page\.py|api\.py"
)
"""Modules whose sentences are read beside a command alone; those of `ui/page.py` refuse to start."""
BESIDE = re.compile(r"`[^`]*`|\([^()]*\)|（[^（）]*）")
"""Where a sentence of the page may name an option of the command line: beside the name of the control, or in a
command."""


def test_a_sentence_of_the_page_names_its_control_and_not_an_option_of_the_command_line() -> None:
    both = 0
    for path in sorted((FOLDER / "ja").glob("*.po")):
        with path.open("rb") as file:
            for entry in read_po(file, locale="ja"):
                if all(FOR_COMMANDS.match(module) for module, _ in entry.locations):
                    continue
                for text in (str(entry.id), str(entry.string)):
                    both += "(--" in text
                    assert not re.search(r"(?<!\w)--[a-z]", BESIDE.sub("", text)), f"{path.stem}: {text}"
    assert both > 20


def test_groups_of_options_are_called_after_what_is_in_them() -> None:
    for lang in ("ja", "en"):
        for kind in ("", "_public"):
            titles = [word(f"advanced_{part}{kind}", lang) for part in ("run", "side")]
            assert len(set(titles)) == 2
        for part in ("run", "side"):
            assert word(f"advanced_{part}", lang).startswith(word(f"advanced_{part}_public", lang))
    assert word("option_split", "ja") in word("advanced_run_public", "ja")
    assert word("option_shot_selection", "ja") in word("advanced_side_public", "ja")
    assert word("option_system", "ja") in word("advanced_side_public", "ja")
