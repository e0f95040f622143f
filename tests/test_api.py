"""The public Python functions. The model is a table of answers to the sample items."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import jglue_app
from jglue_app import api, compare, evaluate, open_run
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import DataError, InputError, ModelNotFoundError, RunBusyError, StoreError, UnknownNameError
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

JNLI = Path(jglue_app.__file__).parent.parent / "assets" / "samples" / "jnli" / "valid.json"
GOLDS = {row["sentence_pair_id"]: row["label"] for row in map(json.loads, JNLI.read_text("utf-8").splitlines())}
WORDS = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}


def table(path: Path, wrong: Sequence[str] = ()) -> str:
    """Answers in the words of the style ja-labels: right but for the ids in `wrong`, which get 「わかりません」."""
    rows = [{"item_id": i, "text": "わかりません" if i in wrong else WORDS[gold]} for i, gold in GOLDS.items()]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture
def right(tmp_path: Path) -> str:
    return table(tmp_path / "right.jsonl")


@pytest.fixture
def poor(tmp_path: Path) -> str:
    return table(tmp_path / "poor.jsonl", wrong=list(GOLDS)[:9])


def test_the_example_in_the_documentation_runs(right: str, capsys: pytest.CaptureFixture[str]) -> None:
    title, _, example = (api.__doc__ or "").partition("\n\n")
    assert title.startswith("The public Python functions")
    lines = example.strip().splitlines()
    assert lines[0].startswith("from jglue_app import")
    assert 5 < len(lines) <= 10
    assert example.count('"gemma-3-270m"') == 2
    exec(compile(example.replace('"gemma-3-270m"', repr(right)), "example", "exec"), {})
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("Estimate(value=1.0, ")
    assert out[0].endswith("n=10)")
    assert out[1].startswith("Estimate(value=0.0, ")
    outputs = [line for line in out if "Output(text='" in line]
    assert len(outputs) == 10
    assert all("status='exact'" in line for line in outputs)


def test_everything_in_all_is_there() -> None:
    assert [name for name in jglue_app.__all__ if not hasattr(jglue_app, name)] == []
    assert {"evaluate", "compare", "open_run", "TASKS"} <= set(jglue_app.__all__)


def test_modules_are_there_without_an_import_of_their_own() -> None:
    code = (
        "import jglue_app, sys; assert 'numpy' not in sys.modules; jglue_app.errors.ModelError, jglue_app.api.compare"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for nothing in ("nothing", "__main__"):
        assert not hasattr(jglue_app, nothing)


def test_a_run_is_evaluated_stored_scored_and_opened_again(settings: Settings, poor: str) -> None:
    run = evaluate(poor, ["jnli"], data="sample")
    n = len(GOLDS)
    assert run.path.parent == settings.runs_dir
    assert [record.item_id for record in run.data().records] == list(GOLDS)
    jnli = run.report().tasks["jnli"]
    assert (jnli.n, jnli.unreadable, jnli.source) == (n, 9, "sample")
    assert jnli.metrics["accuracy"].value == pytest.approx((n - 9) / n)
    answered = run.answered()["jnli"]
    assert [row.judgement.outcome for row in answered.values()] == ["unreadable"] * 9 + ["correct"] * (n - 9)
    for name in (run.path, str(run.path), run.path.name):
        assert open_run(name).data() == run.data()


def test_a_folder_in_the_working_directory_is_no_run_just_by_its_name(
    settings: Settings, right: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = evaluate(right, ["jnli"], data="sample", limit=1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / run.path.name).mkdir()
    assert open_run(run.path.name).path == run.path


def test_what_is_stored_is_not_done_again_and_a_higher_limit_adds_to_it(right: str) -> None:
    first = evaluate(right, ["jnli"], data="sample", limit=3)
    before = (first.path / "records.jsonl").read_bytes()
    assert evaluate(right, ["jnli"], data="sample", limit=3) == first
    assert (first.path / "records.jsonl").read_bytes() == before
    longer = evaluate(right, ["jnli"], data="sample", limit=5)
    assert longer.path == first.path
    assert (first.path / "records.jsonl").read_bytes().startswith(before)
    # Each is scored on the items that were asked for; the run itself holds them all.
    assert [run.report().tasks["jnli"].n for run in (first, longer, open_run(first.path))] == [3, 5, 5]


def test_every_setting_reaches_the_spec(right: str, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text('{"review_id": "m1", "sentence": "とてもよい。", "label": "positive"}\n', "utf-8")
    run = evaluate(
        ModelSpec(right, "scripted", revision="r"),
        ["marc_ja"],
        data="sample",
        limit=1,
        seed=3,
        style="number",
        format="alpaca",
        shots=2,
        method="both",
        marc_ja=str(own),
    )
    spec = run.data().spec
    assert (spec.model.id, spec.model.revision, spec.tasks, spec.split) == (right, "r", ("marc_ja",), "valid")
    assert (spec.limit, spec.seed, spec.decoding.method) == (1, 3, "both")
    assert (spec.prompt.style, spec.prompt.format, spec.prompt.shots) == ("number", "alpaca", 2)
    assert run.data().sources == {"marc_ja": "user"}


def test_without_subsets_all_five_are_taken_and_not_jcola(right: str) -> None:
    run = evaluate(right, data="sample", limit=1)
    assert tuple(run.data().items) == ("marc_ja", "jsts", "jnli", "jsquad", "jcommonsenseqa")


def test_b_minus_a_on_the_items_both_have_answered(right: str, poor: str) -> None:
    a, b = evaluate(poor, ["jnli"], data="sample"), evaluate(right, ["jnli"], data="sample", limit=20)
    gained = len(set(list(GOLDS)[:9]) & set(b.data().items["jnli"])) / 20
    assert gained > 0
    for left, right_ in ((a, b), (a.path, str(b.path)), (a.path.name, b.path.name)):
        found = compare(left, right_).differences["jnli"]["accuracy"]
        assert found.difference.n == 20
        assert found.difference.value == pytest.approx(gained)
        assert (found.a.value, found.b.value) == pytest.approx((1 - gained, 1))
    assert compare(b, a).differences["jnli"]["accuracy"].difference.value == pytest.approx(-gained)
    itself = compare(a, a).differences["jnli"]["accuracy"]
    assert (itself.difference.value, itself.verdict) == (0, "undecided")


def test_a_pool_keeps_a_model_between_calls_and_stays_the_callers(settings: Settings, right: str) -> None:
    with ModelPool(settings) as pool:
        evaluate(right, ["jnli"], data="sample", limit=1, pool=pool)
        (spec,) = pool.resident
        kept = pool.get(spec)
        run = evaluate(right, ["jnli"], data="sample", limit=2, pool=pool)
        assert pool.resident == [spec]
        assert pool.get(spec) is kept
    assert run.report().tasks["jnli"].n == 2


def test_each_fault_has_an_error_of_its_own_with_a_remedy(settings: Settings, right: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Choose at least one subset"):
        evaluate(right, [], data="sample")
    with pytest.raises(UnknownNameError, match="Did you mean 'jnli'"):
        evaluate(right, ["jnil"], data="sample")
    with pytest.raises(DataError, match="Give the path"):
        evaluate(right, ["marc_ja"], data="sample", marc_ja=tmp_path / "none.json")
    with pytest.raises(ModelNotFoundError, match="Give the path"):
        evaluate(str(tmp_path / "none.jsonl"), ["jnli"], data="sample", limit=1)
    for nothing in ("none", tmp_path / "none"):
        with pytest.raises(StoreError, match=r"There is no run .*none"):
            open_run(nothing)
    for nothing in ("", settings.cache_dir):
        with pytest.raises(StoreError, match="is not a run"):
            open_run(nothing)
    run = evaluate(right, ["jnli"], data="sample", limit=1)
    with pytest.raises(StoreError, match="There is no run none"):
        compare(run, "none")
    with pytest.raises(UnknownNameError, match=r"Unknown protocol 'offical'\. Did you mean 'official'\?"):
        compare(run, run, protocol="offical")
    with pytest.raises(UnknownNameError, match="Unknown protocol"):
        run.report("offical")
    with RunStore(run.path).writing(), pytest.raises(RunBusyError, match="Another process"):
        evaluate(right, ["jnli"], data="sample", limit=2)
