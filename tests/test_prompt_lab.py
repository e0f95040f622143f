"""One item in many formats: token by token, answered, swept over; with the embedded model and with tables."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, cast

import pytest

from jglue_app import prompt_lab
from jglue_app.backends import open_tokenizer
from jglue_app.backends.pool import ModelPool
from jglue_app.data.files import load
from jglue_app.errors import InputError, ModelError
from jglue_app.results.library import Library
from jglue_app.runs.plan import Plan
from jglue_app.runs.request import Side
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS
from jglue_app.types import Item, ModelSpec, Prompt, Tokenizer
from tests.backends.contract import StopAfter
from tests.conftest import TinyModel
from tests.peft_adapters import make_adapter
from tests.test_api import GOLDS

NLI = prompt_lab.make_item(TASKS["jnli"], {"sentence1": "犬が走る。", "sentence2": "動物が動く。"}, "entailment")


@pytest.mark.parametrize("name", TASKS)
def test_an_item_is_the_same_when_it_is_typed_again(settings: Settings, name: str) -> None:
    for item in load(settings, name, data="sample").items[:5]:
        again = prompt_lab.make_item(TASKS[name], item.fields, prompt_lab.gold_as_typed(item), item.id)
        assert again.fields == {k: v.strip("\n") for k, v in item.fields.items()}
        assert again.choices == item.choices
        assert (again.gold if isinstance(again.gold, float) else set(again.gold)) == (
            item.gold if isinstance(item.gold, float) else set(item.gold)
        )


@pytest.mark.parametrize(
    ("task", "fields", "gold", "sentence"),
    [
        ("jnli", {"sentence1": "あ", "sentence2": " "}, "neutral", "sentence2 is empty"),
        ("jnli", {"sentence1": "あ", "sentence2": "い"}, "多分", "is one of entailment"),
        ("jsts", {"sentence1": "あ", "sentence2": "い"}, "6", "from 0 to 5"),
        ("jsts", {"sentence1": "あ", "sentence2": "い"}, "nan", "from 0 to 5"),
        ("jsquad", {"context": " ", "question": "い"}, "\n", "context is empty"),
        ("marc_ja", {"sentence": "あ" * 10**6}, "positive", "1,000,000 characters"),
        ("marc_ja", {"sentence": "あ"}, "い" * 10**6, "1,000,000 characters"),
    ],
)
def test_an_item_that_is_none_is_a_sentence(task: str, fields: dict[str, str], gold: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prompt_lab.make_item(TASKS[task], fields, gold)


def test_a_prompt_is_shown_token_by_token(settings: Settings) -> None:
    found = prompt_lab.inspect_item(settings, Side(), NLI)
    assert "".join(token.text for token in found.tokens if not token.special) == found.prompt.text
    assert [token.text for token in found.tokens if token.special] == ["<bos>"]
    assert sum(len(token.ids) for token in found.tokens) == found.count
    tokenizer = open_tokenizer(ModelSpec("gemma-3-270m"), settings)
    assert [id_ for token in found.tokens for id_ in token.ids] == tokenizer.encode(found.prompt)
    assert [(answer.text, answer.gold) for answer in found.answers] == [
        ("含意", True),
        ("矛盾", False),
        ("中立", False),
    ]
    assert all(answer.tokens == len(tokenizer.encode_text(answer.text)) for answer in found.answers)
    assert found.max_new_tokens > 0


def test_a_chat_template_shows_its_marks_as_special_tokens(settings: Settings, smollm2_gguf: Path) -> None:
    found = prompt_lab.inspect_item(settings, Side(str(smollm2_gguf), "chat"), NLI)
    special = [token.text for token in found.tokens if token.special]
    assert "<|im_start|>" in special
    assert "<|im_end|>" in special
    assert "".join(token.text for token in found.tokens) == found.prompt.text
    # A tokenizer of English words spells Japanese in bytes: a character is one piece, with several ids.
    assert any(len(token.ids) > 1 and len(token.text) == 1 for token in found.tokens)


def test_without_a_chat_template_the_chat_format_is_refused(settings: Settings, tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match="chat template"):
        prompt_lab.inspect_item(settings, Side(str(tiny_model("llama")), "chat"), NLI)


def test_the_linter_speaks_of_this_prompt(settings: Settings, tiny_model: TinyModel) -> None:
    found = prompt_lab.inspect_item(settings, Side(str(tiny_model("llama")), "rinna"), NLI)
    assert found.findings
    assert all(finding.of <= 1 for finding in found.findings)


def test_one_item_is_answered_without_storing_anything(settings: Settings, tiny_model: TinyModel) -> None:
    side = Side(str(tiny_model("llama")))
    with ModelPool(settings, device="cpu") as pool:
        tried = prompt_lab.try_item(settings, pool, side, NLI)
        assert tried is not None
        output = tried.answered.record.output
        assert output is not None
        assert output.text is not None
        assert len(output.choice_logprobs or ()) == 3
        assert prompt_lab.try_item(settings, pool, side, NLI, should_stop=lambda: True) is None
    assert not settings.runs_dir.exists()


OWN = {
    "jnli": {"sentence1": "犬が走る。", "sentence2": "動物が動く。"},
    "jsts": {"sentence1": "犬が走る。", "sentence2": "動物が動く。"},
    "jsquad": {"context": "首都は東京だ。", "question": "首都は"},
}


@pytest.mark.parametrize(
    ("task", "text", "legal", "strict", "outcome"),
    [
        ("jnli", "含意", ["含意", "矛盾", "中立"], "entailment", "unscored"),
        ("jnli", "さあ", ["含意", "矛盾", "中立"], None, "unreadable"),
        ("jnli", "", ["含意", "矛盾", "中立"], None, "empty"),
        ("jsts", "3.5", [], 3.5, "unscored"),
        ("jsquad", "東京", [], "東京", "unscored"),
    ],
)
def test_an_item_without_a_gold_answer_is_looked_at_and_answered_but_not_scored(
    settings: Settings,
    tiny_model: TinyModel,
    tmp_path: Path,
    task: str,
    text: str,
    legal: list[str],
    strict: object,
    outcome: str,
) -> None:
    item = prompt_lab.make_item(TASKS[task], OWN[task], " \n")
    assert (item.gold, item.id) == ((), prompt_lab.TYPED)
    assert prompt_lab.gold_as_typed(item) == ""
    found = prompt_lab.inspect_item(settings, Side(str(tiny_model("llama"))), item)
    assert [(answer.text, answer.gold) for answer in found.answers] == [(answer, False) for answer in legal]
    path = tmp_path / "model.jsonl"
    row = {"item_id": prompt_lab.TYPED, "text": text} | ({"choice_logprobs": [-1, -2, -3]} if legal else {})
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
    with ModelPool(settings, device="cpu") as pool:
        tried = prompt_lab.try_item(settings, pool, Side(str(path)), item)
    assert tried is not None
    judgement = tried.answered.judgement
    assert (judgement.strict.value, judgement.outcome, judgement.scores) == (strict, outcome, {})
    assert judgement.choice == ("entailment" if legal else None)


def test_the_next_tokens_of_an_item_are_those_of_its_prompt(settings: Settings, tiny_model: TinyModel) -> None:
    side = Side(str(tiny_model("llama")), "alpaca")
    with ModelPool(settings, device="cpu") as pool:
        found = prompt_lab.foresee(settings, pool, side, NLI)
        assert found is not None
        assert [id_ for token in found.inspected.tokens for id_ in token.ids] == list(found.next.ids)
        assert len(found.next.top) == found.inspected.count + 1
        assert len(found.next.top[-1]) == 10
        # The likeliest token is the first that the model writes.
        tried = prompt_lab.try_item(settings, pool, side, NLI)
        assert tried is not None and tried.answered.record.output is not None
        first = found.next.top[-1][0].text
        assert (tried.answered.record.output.text or "").startswith(first) or first.startswith("<0x")
        assert prompt_lab.foresee(settings, pool, side, NLI, should_stop=StopAfter(60)) is None
        long = prompt_lab.make_item(TASKS["jnli"], {"sentence1": "犬" * 200, "sentence2": "猫"}, "")
        with pytest.raises(InputError, match="the model takes 192"):
            prompt_lab.foresee(settings, pool, side, long)
    assert not settings.runs_dir.exists()


def test_a_table_of_answers_expects_no_next_token(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "model.jsonl"
    path.write_text('{"item_id": "typed", "text": "含意"}\n', "utf-8")
    with ModelPool(settings, device="cpu") as pool, pytest.raises(InputError, match="does not say which tokens"):
        prompt_lab.foresee(settings, pool, Side(str(path)), NLI)


def test_a_sweep_runs_every_format_and_counts_the_answers_that_change(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "model.jsonl"
    rows = [{"task": "jnli", "item_id": id_, "text": "含意", "choice_logprobs": [-1, -2, -3]} for id_ in GOLDS]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    sides = prompt_lab.variants(Side(str(path)), ["plain", "alpaca"], ["ja-labels", "en-labels"])
    assert len(sides) == 4
    planned: list[tuple[Side, Plan]] = []
    with ModelPool(settings, device="cpu") as pool:
        for event in prompt_lab.sweep(settings, pool, "jnli", sides, 6):
            if isinstance(event, tuple):
                planned.append(event)
    table = prompt_lab.sweep_table(Library(settings.runs_dir), "jnli", planned)
    assert [row.n for row in table] == [6] * 4
    # The same words in another layout; and 含意 is no legal answer where English labels are asked for.
    assert [row.flips and (row.flips.changed, row.flips.n) for row in table] == [None, (0, 6), (6, 6), (6, 6)]
    assert [row.unreadable for row in table] == [0, 0, 6, 6]
    assert table[2].lenient.value == table[0].strict.value


def test_a_sweep_needs_two_formats_that_exist() -> None:
    with pytest.raises(InputError, match="at least two"):
        prompt_lab.variants(Side(), ["plain"])
    with pytest.raises(InputError, match="Unknown format 'haiku'"):
        prompt_lab.variants(Side(), ["plain", "haiku"])


def test_groups_of_tokens_are_whole_characters(settings: Settings, smollm2_gguf: Path) -> None:
    tokenizer = open_tokenizer(ModelSpec(str(smollm2_gguf)), settings)
    item = Item("marc_ja", "x", {"sentence": "鰻🍣とé"}, ("positive",), ("positive", "negative"))
    ids = tokenizer.encode_text(item.fields["sentence"])
    groups = list(prompt_lab.tokens_of(ids, tokenizer))
    assert "".join(group.text for group in groups) == "鰻🍣とé"
    assert sum(len(group.ids) for group in groups) == len(ids) > len(groups)


# --- bounds that are looked at before any work -------------------------------------------------------------


def test_two_long_lists_are_refused_before_their_product_is_built() -> None:
    many = [f"style-{i}" for i in range(100_000)]
    began = time.process_time()
    with pytest.raises(InputError, match=r"at most 40 formats times styles, not 10,000,000,000\."):
        prompt_lab.variants(Side(), many, many)
    with pytest.raises(InputError, match=r"not 100,000\."):
        prompt_lab.variants(Side(), ["plain"], many)
    assert time.process_time() - began < 1
    assert len(prompt_lab.variants(Side(), ["plain", "rinna"] * 50_000, ["ja-labels"] * 100_000)) == 2


@pytest.mark.parametrize("names", [["plain", 3], ["plain", ["rinna"]], ["plain", None]])
def test_names_of_other_types_are_refused(names: list[Any]) -> None:
    with pytest.raises(InputError, match="lists of names"):
        prompt_lab.variants(Side(), names)
    with pytest.raises(InputError, match="lists of names"):
        prompt_lab.variants(Side(), ["plain"], names)


def test_accepted_answers_are_read_once_each_and_not_without_end() -> None:
    fields = {"context": "京都と奈良", "question": "どこ", "title": ""}
    assert prompt_lab.make_item(TASKS["jsquad"], fields, "京都\n奈良\n京都\n" * 1_000).gold == ("京都", "奈良")
    assert len(prompt_lab.make_item(TASKS["jsquad"], fields, "\n".join(map(str, range(20)))).gold) == 20  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"21 accepted answers\. At most 20 are read here"):
        prompt_lab.make_item(TASKS["jsquad"], fields, "\n".join(map(str, range(21))))


class Counting:
    """A real tokenizer that notes what it was asked."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.asked: list[tuple[str, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def encode(self, prompt: Prompt) -> list[int]:
        self.asked.append(("encode", prompt.text))
        return self.tokenizer.encode(prompt)

    def split(self, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
        self.asked.append(("split", prompt.text, answer))
        return self.tokenizer.split(prompt, answer)


def test_a_prompt_is_tokenized_once_with_each_answer_and_no_more_once_it_is_stopped(
    settings: Settings, tiny_model: TinyModel
) -> None:
    plan = prompt_lab.plan_one(settings, "jsquad", Side(str(tiny_model("llama"))))
    counting = Counting(open_tokenizer(plan.spec.model, settings))
    golds = [f"答え{i}" for i in range(20)]
    item = prompt_lab.make_item(TASKS["jsquad"], {"context": "京都" * 50, "question": "どこ"}, "\n".join(golds))
    found = prompt_lab.inspect_prompt(plan, item, cast(Tokenizer, counting))
    assert [answer.text for answer in found.answers] == golds
    assert sorted(key[2] for key in counting.asked if key[0] == "split") == sorted(golds)
    assert len([key for key in counting.asked if key[0] == "encode"]) == 1
    assert found == prompt_lab.inspect_prompt(plan, item, counting.tokenizer)
    counting.asked.clear()
    with pytest.raises(InputError, match="It was stopped"):
        prompt_lab.inspect_prompt(plan, item, cast(Tokenizer, counting), lambda: len(counting.asked) > 3)
    assert len(counting.asked) == 4


@pytest.mark.slow
def test_adapters_of_a_sweep_stand_beside_the_model_alone(
    settings: Settings, tmp_path: Path, tiny_model: TinyModel
) -> None:
    base = Path(shutil.copytree(tiny_model("llama"), tmp_path / "base"))
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1_024}), "utf-8")
    tokenizer = json.loads((base / "tokenizer_config.json").read_text("utf-8"))
    (base / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"model_max_length": 1_024}), "utf-8")
    adapters = [str(make_adapter(base, tmp_path / kind, kind)) for kind in ("lora", "dora")]
    sides = prompt_lab.variants(Side(str(base)), ["plain", "alpaca"], ["ja-labels"], adapters)
    assert [(side.format, side.adapter) for side in sides] == [
        (format_, adapter) for format_ in ("plain", "alpaca") for adapter in (None, *adapters)
    ]
    planned = []
    loaded = 0
    with ModelPool(settings, device="cpu") as pool:
        for event in prompt_lab.sweep(settings, pool, "jnli", sides, 3):
            if isinstance(event, tuple):
                planned.append(event)
            else:
                loaded += event.message == f"Loading {base}."
        assert len(pool.resident) == 1
    assert loaded == 1
    rows = prompt_lab.sweep_table(Library(settings.runs_dir), "jnli", planned)
    best: dict[tuple[str, str | None], list[int]] = {}
    for row in rows:
        outputs = [record.output for record in sorted(RunStore(row.path).records(), key=lambda r: r.item_id)]
        scores = [output.choice_logprobs for output in outputs if output and output.choice_logprobs]
        best[row.side.format, row.side.adapter] = [max(range(3), key=list(s).__getitem__) for s in scores]
    assert all(len(answers) == 3 for answers in best.values())
    assert rows[0].ranked_flips is None
    for row in rows[1:]:
        against = best[row.side.format if row.side.adapter else "plain", None]
        changed = sum(a != b for a, b in zip(against, best[row.side.format, row.side.adapter], strict=True))
        assert row.ranked_flips is not None
        assert (row.ranked_flips.changed, row.ranked_flips.n) == (changed, 3)
    assert any(row.ranked_flips and row.ranked_flips.changed for row in rows if row.side.adapter)


def test_a_sweep_of_too_many_adapters_is_refused() -> None:
    with pytest.raises(InputError, match=r"at most 40 formats times styles times adapters .* not 42"):
        prompt_lab.variants(Side(), ["plain", "alpaca"], ["ja-labels"], [f"owner/lora-{k}" for k in range(20)])
