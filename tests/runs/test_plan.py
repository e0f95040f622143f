"""Plans: what is refused before anything is loaded, and what a plan holds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app.data import files
from jglue_app.errors import DataError, InputError, NetworkError, StyleError, UnknownNameError
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.settings import ASSETS, Settings
from jglue_app.types import Decoding, ModelSpec, PromptSpec

# A model that cannot be opened: whatever is refused for another reason was refused before.
MODEL = ModelSpec("no such table.jsonl", "scripted")
SAMPLES = ASSETS / "samples"


def lines(*rows: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


PARAGRAPH = {
    "context": "寺 [SEP] その寺は京都にある。",
    "qas": [{"id": "q1", "question": "寺はどこか。", "answers": [{"text": "京都", "answer_start": 10}]}],
}
OFFICIAL = {
    "jsts": lines({"sentence_pair_id": "1", "sentence1": "猫が眠る。", "sentence2": "猫が寝る。", "label": 4.6}),
    "jnli": lines(
        {"sentence_pair_id": "7", "sentence1": "犬が走る。", "sentence2": "動物が動く。", "label": "entailment"},
        {"sentence_pair_id": "8", "sentence1": "空は青い。", "sentence2": "空は赤い。", "label": "contradiction"},
    ),
    "jsquad": json.dumps({"data": [{"title": "寺", "paragraphs": [PARAGRAPH]}]}).encode(),
    "jcommonsenseqa": lines(
        {"q_id": 3, "question": "紙を切る道具は？", **{f"choice{i}": f"物{i}" for i in range(5)}, "label": 1}
    ),
}
MARC = lines({"review_id": "m1", "sentence": "とても使いやすい。", "label": "positive"})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def planned(settings: Settings, tasks: list[str] | None = None, **words: Any) -> Plan:
    return make_plan(settings, MODEL, tasks or ["jnli"], **{"data_kind": "sample", **words})


@pytest.fixture
def official(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a data folder of small files, which pass for the official ones; no server answers."""
    folder = tmp_path / "jglue"
    for task, content in OFFICIAL.items():
        (folder / f"{task}-v1.3").mkdir(parents=True)
        (folder / f"{task}-v1.3" / "valid-v1.3.json").write_bytes(content)
        monkeypatch.setitem(files.PINNED_SHA256, f"{task}/valid", sha256(content))
    return replace(settings, data_dir=folder, data_url="http://127.0.0.1:9")


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ({"tasks": []}, InputError, "Choose at least one subset: marc_ja, jsts, jnli, jsquad, jcommonsenseqa, jcola."),
        ({"tasks": ["jnil"]}, UnknownNameError, "Unknown task 'jnil'. Did you mean 'jnli'?"),
        ({"tasks": ["jnli", ""]}, UnknownNameError, "Unknown task ''. Known: marc_ja"),
        ({"tasks": ["all"]}, UnknownNameError, "Unknown task 'all'. Known: marc_ja"),
        ({"split": "dev"}, UnknownNameError, "Unknown split 'dev'. Known: train, valid, test."),
        (
            {"split": "test"},
            InputError,
            "have no 'test' split. Choose valid for “Split” (--split), or the official “Data” (--data official).",
        ),
        ({"data_kind": "samples"}, UnknownNameError, "Unknown data 'samples'. Did you mean 'sample'?"),
        ({"marc_ja": Path("none.json"), "tasks": ["marc_ja"]}, DataError, "Give the path of a readable file."),
        ({"limit": 0}, InputError, "The number of items must be at least 1."),
        ({"limit": -1}, InputError, "The number of items must be at least 1."),
        (
            {"model": ModelSpec("m", "vllm")},
            UnknownNameError,
            "Unknown backend 'vllm'. Known: hf, openai_api, scripted.",
        ),
        (
            {"prompt": PromptSpec(style="ja-label")},
            UnknownNameError,
            "Unknown style 'ja-label'. Did you mean 'ja-labels'? Known: choice-text, en-labels, flexeval, ja-labels, "
            "llm-jp-eval, lm-eval-ja, number, stability-jp, wandb-2023, wandb-2023-08. "
            "Or give the path of your own .toml file.",
        ),
        ({"prompt": PromptSpec(style="none.toml")}, StyleError, "There is no style file none.toml. Known styles:"),
        (
            {"prompt": PromptSpec(format="alpacca")},
            UnknownNameError,
            "Unknown format 'alpacca'. Did you mean 'alpaca'? Known: plain, chat, rinna, rinna_bilingual, alpaca, "
            "llama2.",
        ),
        ({"prompt": PromptSpec(shots=-1)}, InputError, "The number of few-shot examples must be 0 or more."),
        ({"prompt": PromptSpec(shots=13)}, InputError, "JNLI: 13 examples were asked for and 12 are at hand. Ask for"),
        ({"prompt": PromptSpec(shots=10**9)}, InputError, "Ask for fewer"),
        (
            {"prompt": PromptSpec(shot_selection="balance")},
            UnknownNameError,
            "Unknown few-shot selection 'balance'. Did you mean 'balanced'? Known: fixed, random, balanced.",
        ),
        (
            {"decoding": Decoding(method="rank")},
            UnknownNameError,
            "Unknown method 'rank'. Known: generate, choose, both.",
        ),
        ({"decoding": Decoding(max_new_tokens=0)}, InputError, "The limit on new tokens must be from 1 to 4096."),
        ({"decoding": Decoding(max_new_tokens=-1)}, InputError, "The limit on new tokens must be from 1 to 4096."),
        ({"decoding": Decoding(max_new_tokens=4097)}, InputError, "The limit on new tokens must be from 1 to 4096."),
        (
            {"decoding": Decoding("choose"), "tasks": ["jnli", "jsquad"]},
            InputError,
            "There are no fixed answers to rank in JSQuAD. Choose the method generate or both, or leave them out.",
        ),
        (
            {"decoding": Decoding("choose"), "tasks": ["jsts", "jsquad"]},
            InputError,
            "no fixed answers to rank in JSTS and JSQuAD",
        ),
    ],
)
def test_a_bad_request_is_refused_with_a_remedy_before_anything_is_loaded(
    settings: Settings, words: dict[str, Any], error: type[InputError], says: str
) -> None:
    request: dict[str, Any] = {"model": MODEL, "tasks": ["jnli"], "data_kind": "sample", **words}
    with pytest.raises(InputError) as caught:
        make_plan(settings, **request)
    assert type(caught.value) is error
    assert says in str(caught.value)
    assert caught.value.exit_code == 2
    assert not settings.runs_dir.exists()


def test_the_limit_on_new_tokens_may_be_anything_from_1_to_4096(settings: Settings) -> None:
    for tokens in (1, 4096):
        assert planned(settings, decoding=Decoding(max_new_tokens=tokens)).spec.decoding.max_new_tokens == tokens


@pytest.mark.parametrize("value", [0, 0.0, -1.2, math.nan, math.inf, -math.inf, True, "1.2", None, 10**400])
def test_a_repetition_penalty_that_is_no_number_above_0_is_refused(settings: Settings, value: Any) -> None:
    for decoding in (
        Decoding(repetition_penalty=value),
        Decoding(repetition_penalty_by_task=(("jnli", value),)),
        Decoding(repetition_penalty_by_task=(("jsts", value),)),  # Of a subset that is not asked for, too.
    ):
        with pytest.raises(
            InputError, match=r"^The repetition penalty is a number above 0, such as 1\.2; 1 is none\.$"
        ):
            planned(settings, decoding=decoding)
    with pytest.raises(UnknownNameError, match="jnlj"):
        planned(settings, decoding=Decoding(repetition_penalty_by_task=(("jnlj", 1.2),)))


def test_penalties_that_mean_the_same_are_one_run(settings: Settings) -> None:
    both = ["jsts", "jnli"]
    plain = planned(settings, both).spec
    assert planned(settings, both, decoding=Decoding(repetition_penalty=1)).spec == plain
    assert planned(settings, both, decoding=Decoding(repetition_penalty_by_task=(("jsquad", 1.1),))).spec == plain
    same = [
        Decoding(repetition_penalty=2),
        Decoding(repetition_penalty=2.0),
        Decoding(repetition_penalty_by_task=(("jnli", 2), ("jsts", 2.0), ("jsquad", 1.1))),
        Decoding(repetition_penalty=2.0, repetition_penalty_by_task=(("jnli", 2.0),)),
    ]
    assert {planned(settings, both, decoding=one).spec.spec_id for one in same} == {
        planned(settings, both, decoding=same[0]).spec.spec_id
    }
    assert planned(settings, both, decoding=same[0]).spec.label.endswith(" · 0-shot · repetition penalty 2")
    mixed = planned(settings, both, decoding=Decoding(repetition_penalty_by_task=(("jnli", 1.2),))).spec
    turned = Decoding(repetition_penalty=1.2, repetition_penalty_by_task=(("jsts", 1.0),))
    assert planned(settings, both, decoding=turned).spec == mixed
    assert [mixed.decoding.for_task(task).repetition_penalty for task in both] == [1.0, 1.2]
    assert mixed.label.endswith(" · repetition penalty 1–1.2")
    assert len({spec.spec_id for spec in (plain, mixed, planned(settings, both, decoding=same[0]).spec)}) == 3


def test_a_style_without_words_for_a_subset_is_refused(settings: Settings, tmp_path: Path) -> None:
    words = (ASSETS / "prompts" / "number.toml").read_text("utf-8")
    style = tmp_path / "mine.toml"
    style.write_text(words[: words.index("[jsquad]")], "utf-8")
    prompt = PromptSpec(style=str(style))
    assert planned(settings, ["jnli", "jsts"], prompt=prompt).style.name == "mine"
    for shots in (0, 2):
        with pytest.raises(StyleError, match=r"\[jsquad\]\. Add one, or leave the subset out"):
            planned(settings, ["jnli", "jsquad"], prompt=replace(prompt, shots=shots))


def test_an_altered_official_file_is_refused(official: Settings) -> None:
    assert official.data_dir
    path = official.data_dir / "jnli-v1.3" / "valid-v1.3.json"
    path.write_bytes(OFFICIAL["jnli"][:-9])
    with pytest.raises(DataError, match=r"not the official JGLUE v1\.3 file .*data fetch --task jnli"):
        planned(official, data_kind="official")


def test_official_data_without_a_server_is_a_network_error(settings: Settings) -> None:
    with pytest.raises(NetworkError, match="--data sample"):
        planned(replace(settings, data_url="http://127.0.0.1:9"), data_kind="official")


# --- what a plan holds ------------------------------------------------------------------------------------


def test_a_larger_limit_holds_all_items_of_a_smaller_one_in_the_order_of_the_file(settings: Settings) -> None:
    everything = [item.id for item in planned(settings).items["jnli"]]
    assert everything == [f"sn{i:03}" for i in range(1, len(everything) + 1)]
    small, large = (planned(settings, limit=n).items["jnli"] for n in (3, 6))
    assert (len(small), len(large)) == (3, 6)
    assert {item.id for item in small} < {item.id for item in large} < set(everything)
    for items in (small, large):
        assert sorted(item.id for item in items) == [item.id for item in items]
    assert planned(settings, limit=3).spec.spec_id == planned(settings, limit=6).spec.spec_id
    assert len(planned(settings, limit=10**6).items["jnli"]) == len(everything)


def test_another_seed_takes_other_items_and_is_another_run(settings: Settings) -> None:
    one, other = (planned(settings, limit=10, seed=seed) for seed in (0, 1))
    assert one.items != other.items
    assert one.spec.spec_id != other.spec.spec_id
    assert one.items == planned(settings, limit=10, seed=0).items


def test_the_order_in_which_subsets_are_named_does_not_matter_nor_how_often(settings: Settings) -> None:
    one = planned(settings, ["jsquad", "marc_ja", "jnli"], limit=2)
    other = planned(settings, ["jnli", "jsquad", "marc_ja", "jnli"], limit=2)
    assert one.spec == other.spec
    assert one.spec.spec_id == other.spec.spec_id
    assert one.spec.tasks == tuple(one.items) == tuple(other.items) == ("marc_ja", "jnli", "jsquad")
    assert one.total == other.total == 6


def test_the_checksum_of_every_file_that_is_used_is_recorded(settings: Settings) -> None:
    def of(task: str, split: str) -> str:
        return sha256((SAMPLES / task / f"{split}.json").read_bytes())

    tasks = ["jsts", "jnli"]
    valid = {f"{task}/valid": of(task, "valid") for task in tasks}
    assert planned(settings, tasks).spec.data_sha256 == valid
    shots = planned(settings, tasks, prompt=PromptSpec(shots=1))
    assert shots.spec.data_sha256 == valid | {f"{task}/examples": of(task, "train") for task in tasks}
    assert shots.spec.style_sha256 == sha256((ASSETS / "prompts" / "ja-labels.toml").read_bytes())
    train = planned(settings, ["jnli"], split="train")
    assert train.spec.data_sha256 == {"jnli/train": of("jnli", "train")}
    assert train.spec.split == "train"


def test_examples_are_gathered_only_when_there_are_shots(settings: Settings) -> None:
    assert planned(settings).pools == {}
    pools = planned(settings, prompt=PromptSpec(shots=2)).pools
    assert [(name, pool.split, len(pool.items)) for name, pool in pools.items()] == [("jnli", "train", 12)]


def test_train_items_are_not_evaluated_with_train_items_as_examples(settings: Settings) -> None:
    with pytest.raises(InputError, match=r"Choose valid for “Split” \(--split\), or no examples"):
        planned(settings, split="train", prompt=PromptSpec(shots=1))


def test_marc_ja_falls_back_to_the_samples_while_the_others_are_official(official: Settings) -> None:
    plan = planned(official, ["marc_ja", *OFFICIAL], data_kind="official", prompt=PromptSpec(shots=1))
    assert {name: d.source for name, d in plan.datasets.items()} == {
        "marc_ja": "sample",
        "jsts": "official",
        "jnli": "official",
        "jsquad": "official",
        "jcommonsenseqa": "official",
    }
    assert plan.spec.data_version == "v1.3"
    assert plan.spec.data_sha256["jsts/valid"] == sha256(OFFICIAL["jsts"])
    assert plan.spec.data_sha256["marc_ja/valid"] == sha256((SAMPLES / "marc_ja" / "valid.json").read_bytes())
    assert {pool.source for pool in plan.pools.values()} == {"sample"}, "there is no train file"
    assert [item.id for item in plan.items["jnli"]] == ["7", "8"]


def test_a_users_marc_ja_file_is_used_and_said_to_be_the_users(official: Settings, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_bytes(MARC)
    own = planned(official, ["marc_ja", "jnli"], data_kind="official", marc_ja=mine)
    assert (own.datasets["marc_ja"].source, own.datasets["jnli"].source) == ("user", "official")
    assert [item.id for item in own.items["marc_ja"]] == ["m1"]
    assert own.spec.data_sha256["marc_ja/valid"] == sha256(MARC)
    assert own.spec.spec_id != planned(official, ["marc_ja", "jnli"], data_kind="official").spec.spec_id


def test_other_data_is_another_run(official: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned(official, data_kind="official")
    assert before.spec.spec_id != planned(official).spec.spec_id
    assert official.data_dir
    longer = OFFICIAL["jnli"] + lines(
        {"sentence_pair_id": "9", "sentence1": "雨が降る。", "sentence2": "道がぬれる。", "label": "neutral"}
    )
    (official.data_dir / "jnli-v1.3" / "valid-v1.3.json").write_bytes(longer)
    monkeypatch.setitem(files.PINNED_SHA256, "jnli/valid", sha256(longer))
    assert planned(official, data_kind="official").spec.spec_id != before.spec.spec_id
