"""Runs of embeddings: made, continued, scored, compared, exported and shown as any other run is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats
from sentence_transformers import SentenceTransformer

from jglue_app import api
from jglue_app.errors import InputError
from jglue_app.results import archive, table_files
from jglue_app.results.embedding_references import cosine_in
from jglue_app.results.exporters import export
from jglue_app.results.library import Library
from jglue_app.runs.embedding import make_embedding_plan
from jglue_app.runs.request import RunRequest
from jglue_app.runs.store import RunStore
from jglue_app.scoring import waterfall
from jglue_app.scoring.insights import insights
from jglue_app.scoring.leaderboard import leaderboard
from jglue_app.scoring.notices import sentence
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.settings import Settings
from jglue_app.types import Item, ModelSpec, RunData
from jglue_app.wandb_sink.comparison_payload import comparison_payload
from jglue_app.wandb_sink.run_payload import run_payload
from tests.embedding.making import N, make, plan_of


def sentences_of(item: Item) -> list[str]:
    return [item.fields["sentence1"], item.fields["sentence2"]]


# --- the run itself ---


def test_the_scores_are_correlations_of_cosines_with_the_gold_values(
    run: Path, data: RunData, sentence_model: Path
) -> None:
    model = SentenceTransformer(str(sentence_model), device="cpu")
    items = list(data.items["jsts"].values())
    cosines, golds = [], [item.gold for item in items]
    for item in items:
        a, b = model.encode(sentences_of(item), prompt_name="STS", convert_to_tensor=True).double()
        cosines.append(float((a @ b) / (a.norm() * b.norm())))
    stored = {r.item_id: float(r.output.text or "") for r in data.records if r.output}
    assert [stored[item.id] for item in items] == pytest.approx(cosines, abs=1e-6)
    metrics = api.open_run(run).report().tasks["jsts"].metrics
    assert metrics["pearson"].value == pytest.approx(stats.pearsonr(cosines, golds).statistic, abs=1e-6)
    assert metrics["spearman"].value == pytest.approx(stats.spearmanr(cosines, golds).statistic, abs=1e-9)
    assert metrics["spearman"].n == N
    assert metrics["spearman"].low is not None


def test_a_record_shows_both_texts_as_they_were_embedded(data: RunData) -> None:
    for record in data.records:
        one, two = sentences_of(data.items["jsts"][record.item_id])
        assert record.prompt.text == f"類似：{one}\n類似：{two}"
        assert record.output is not None
        assert (record.output.finish, record.output.new_tokens) == ("scored", 0)
        assert record.output.prompt_tokens > 4
        assert repr(float(record.output.text or "")) == record.output.text


def test_the_prefix_and_the_files_are_a_part_of_the_identity(
    sentence_model: Path, settings: Settings, tmp_path: Path
) -> None:
    plain, stored = plan_of(sentence_model, settings, prefix=""), plan_of(sentence_model, settings)
    assert stored.spec.prompt.prefix == "類似："
    assert plain.spec.prompt.prefix == ""
    assert plain.spec.spec_id != stored.spec.spec_id
    assert stored.spec.label == 'tiny · sentence embeddings · prefix "類似："'
    assert {"model.safetensors", "modules.json", "1_Pooling/config.json"} <= set(stored.files)
    pooling = sentence_model / "1_Pooling" / "config.json"
    before = pooling.read_text("utf-8")
    try:
        pooling.write_text(before + " ", "utf-8")
        assert plan_of(sentence_model, settings).spec.spec_id != stored.spec.spec_id
    finally:
        pooling.write_text(before, "utf-8")


def test_a_stopped_run_goes_on_and_a_larger_limit_extends_it(sentence_model: Path, settings: Settings) -> None:
    asked = iter([False] * 7 + [True] * 50)
    path = make(plan_of(sentence_model, settings), settings, lambda: next(asked))
    first = RunStore(path).records()
    assert 0 < len(first) < N
    assert make(plan_of(sentence_model, settings), settings) == path
    assert make(plan_of(sentence_model, settings, limit=N + 5), settings) == path
    records = RunStore(path).records()
    assert records[: len(first)] == first
    assert len({r.item_id for r in records}) == len(records) == N + 5
    manifest = RunStore(path).manifest()
    assert manifest["records"] == {"answered": N + 5, "tried": N + 5}
    assert manifest["machine"]["packages"]["sentence-transformers"] != "not installed"
    assert manifest["model"]["engine"].startswith("sentence-transformers (Transformer, Pooling mean)")


def test_cosines_do_not_depend_on_how_many_items_are_asked(sentence_model: Path, settings: Settings) -> None:
    few = make(plan_of(sentence_model, settings, limit=3, prefix="a"), settings)
    stored = {r.item_id: r.output.text for r in RunStore(few).records() if r.output}
    more = replace(settings, runs_dir=settings.runs_dir.with_name("more"))
    path = make(plan_of(sentence_model, more, limit=N, prefix="a"), more)
    again = {r.item_id: r.output.text for r in RunStore(path).records() if r.output}
    assert {id_: again[id_] for id_ in stored} == stored


def test_a_prefix_that_leaves_no_room_makes_overflows_and_no_numbers(sentence_model: Path, settings: Settings) -> None:
    path = make(plan_of(sentence_model, settings, limit=3, prefix="!" * 63), settings)
    records = RunStore(path).records()
    assert [r.output.finish for r in records if r.output] == ["overflow"] * 3
    report = api.open_run(path).report().tasks["jsts"]
    assert report.outcomes == {"overflow": 3}
    assert report.metrics == {}
    assert report.n == 0


def test_bad_requests_are_sentences(sentence_model: Path, settings: Settings) -> None:
    spec = ModelSpec(str(sentence_model), "sentence_transformers")
    with pytest.raises(InputError, match="data"):
        make_embedding_plan(settings, spec, data_kind="nonsense")
    with pytest.raises(InputError, match="split"):
        make_embedding_plan(settings, spec, data_kind="sample", split="nonsense")
    with pytest.raises(InputError, match="at least 1"):
        make_embedding_plan(settings, spec, data_kind="sample", limit=0)
    with pytest.raises(InputError, match="at most 2,000"):
        make_embedding_plan(settings, spec, data_kind="sample", prefix="a" * 2001)
    with pytest.raises(InputError, match="public server embeds nothing"):
        make_embedding_plan(replace(settings, public=True), spec, data_kind="sample")
    with pytest.raises(InputError, match="method"):
        RunRequest(tasks=("jsts",), method="embed")


# --- scored ---


def test_official_reads_a_cosine_as_it_is_and_has_no_other_reading(run: Path) -> None:
    report = api.open_run(run).report()
    task = report.tasks["jsts"]
    assert task.outcomes == {"cosine": N}
    assert (task.lenient, task.choose, task.imputed) == ({}, {}, {})
    assert (task.unreadable, task.unreadable_lenient) == (0, 0)
    scale = next(notice for notice in task.notices if notice.kind == "cosine_scale")
    assert "a model of sentence-transformers; prefix: '類似：'" in sentence(scale)
    row = next(iter(api.open_run(run).answered()["jsts"].values()))
    assert row.judgement.strict.rule == "cosine"
    assert row.judgement.lenient.value is None


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "official"])
def test_no_other_protocol_makes_a_number_of_a_cosine(run: Path, protocol: str) -> None:
    report = api.open_run(run).report(protocol)
    if "jsts" not in PROTOCOLS[protocol].metrics:
        assert report.tasks.get("jsts") is None or report.tasks["jsts"].metrics == {}
        return
    task = report.tasks["jsts"]
    assert task.metrics == {}
    assert task.unscored == "cosines"
    assert any(notice.kind == "cosines" for notice in task.notices)
    assert report.average.value is None


def test_an_edited_output_is_an_error_and_never_a_score(run: Path) -> None:
    from jglue_app.scoring.protocols.official import judge
    from jglue_app.tasks import TASKS

    (record, *_), items = RunStore(run).records(), RunStore(run).data().items["jsts"]
    assert record.output is not None
    for text in ("", "nan", "1.5", "三"):
        edited = replace(record, output=replace(record.output, text=text))
        assert judge(TASKS["jsts"], items[record.item_id], edited).outcome == "error"


def test_nothing_of_it_can_be_explained(run: Path, data: RunData) -> None:
    assert waterfall.explainable(data, "official", "llm-jp-eval") == []
    with pytest.raises(InputError, match="only official scores"):
        api.explain(run, "official", "llm-jp-eval")


def test_rescoring_finds_no_disagreement_about_readings(run: Path) -> None:
    rescored = api.rescore(run)
    assert rescored.reports["official"].tasks["jsts"].metrics["pearson"].value is not None
    assert {name for name, r in rescored.reports.items() if r.tasks.get("jsts") and r.tasks["jsts"].metrics} == {
        "official"
    }
    assert list(rescored.disagreements["jsts"]) == []


# --- compared ---


def test_a_comparison_tests_the_correlations_of_both(run: Path, written: Path) -> None:
    comparison = api.compare(run, written)
    difference = comparison.differences["jsts"]["spearman"]
    assert difference.difference.n == N - 1
    assert difference.test == "bootstrap"
    assert difference.a.value is not None
    assert difference.b.value is not None
    assert difference.difference.value == pytest.approx(difference.b.value - difference.a.value)
    assert comparison.lenient.get("jsts", {}) == {}
    assert comparison.choose.get("jsts", {}) == {}
    assert comparison.flips == {}
    assert comparison.agreement == {}
    assert all(not insight.items for insight in insights(comparison.a, comparison.b, comparison) if not insight.side)


def test_the_leaderboard_ranks_it_by_its_correlation(run: Path, written: Path, settings: Settings) -> None:
    reports = Library(settings.runs_dir).reports("official", "sample")
    assert set(reports) == {run.name, written.name}
    entries = leaderboard(reports, reports, ["jsts"])
    assert {entry.rank for entry in entries} == {1, 2}
    entry = next(entry for entry in entries if entry.name == run.name)
    assert entry.average.value == api.open_run(run).report().tasks["jsts"].metrics["pearson"].value


def test_it_stands_beside_a_run_over_the_same_items_and_not_over_others(
    run: Path, written: Path, sentence_model: Path, settings: Settings
) -> None:
    make(plan_of(sentence_model, settings, limit=N - 1, prefix="x"), settings)  # Lacks an item.
    (reference,) = api.open_run(written).embeddings()
    assert reference.run == run.name
    assert reference.prefix == "類似："
    assert reference.label == 'tiny · sentence embeddings · prefix "類似："'
    own = api.open_run(run).report().tasks["jsts"].metrics
    assert (reference.pearson, reference.spearman) == (own["pearson"], own["spearman"])
    few = api.Run(written, {"jsts": frozenset(list(RunStore(written).data().items["jsts"])[:5])})
    assert {r.spearman.n for r in few.embeddings()} == {5}
    assert len(few.embeddings()) == 2
    assert api.open_run(run).embeddings(api.open_run(written)) == ()


def test_an_item_has_its_rank_among_the_cosines(run: Path, data: RunData, settings: Settings) -> None:
    stored = Library(settings.runs_dir).stored(run)
    values = {r.item_id: float(r.output.text or "") for r in data.records if r.output}
    best = max(values, key=values.__getitem__)
    found = cosine_in(stored, data, data.items["jsts"][best])
    assert found is not None
    assert (found.rank, found.n, found.value) == (1, N, values[best])
    other = replace(data.items["jsts"][best], gold=0.0 if data.items["jsts"][best].gold else 1.0)
    assert cosine_in(stored, data, other) is None


# --- sent elsewhere ---


def test_the_archive_brings_it_elsewhere_and_back(run: Path, tmp_path: Path, settings: Settings) -> None:
    packed = archive.pack(run, tmp_path / "run.zip")
    unpacked = archive.unpack(packed, tmp_path / "elsewhere")
    assert RunStore(unpacked).data() == RunStore(run).data()
    assert Library(tmp_path / "elsewhere").report(unpacked) == Library(settings.runs_dir).report(run)


def test_rows_of_items_hold_the_cosine_and_no_verdict_of_others(run: Path, data: RunData) -> None:
    row = table_files.rows(data)[0]
    assert row["raw"] == row["strict"]
    assert row["outcome"] == "cosine"
    assert row["lenient"] is None
    assert row["verdict/official"] == float(row["raw"])
    others = [value for name, value in row.items() if name.startswith("verdict/") and name != "verdict/official"]
    assert set(others) == {None}


def test_every_eval_ever_says_that_it_is_of_embeddings(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "scores.json", "every-eval-ever")
    table = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    names = [result["evaluation_name"] for result in table["evaluation_results"]]
    assert names == ["jglue-app-sample/jsts/embeddings"] * 2
    result = table["evaluation_results"][0]
    assert "the cosine of the embeddings of the two sentences" in result["metric_config"]["evaluation_description"]
    details = result["generation_config"]["additional_details"]
    assert "generation_args" not in result["generation_config"]
    assert details["prompt_prefix"] == "類似："
    assert details["decoding_method"] == "embed"
    assert details["decoding_strategy"] == "cosine of two vectors: sentence embeddings"
    with pytest.raises(InputError, match="gives this run no score"):
        export(run, tmp_path / "other.json", "every-eval-ever", "llm-jp-eval")


def test_formats_that_would_claim_answers_of_the_model_refuse_it(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lm-eval has no task that embeds"):
        export(run, tmp_path / "logs", "lm-eval")
    with pytest.raises(InputError, match="cosines of embeddings"):
        export(run, tmp_path / "scores.yaml", "hub-eval-results")
    assert not (tmp_path / "logs").exists()


def test_wandb_has_the_scores_the_prefix_and_no_claim_of_text(run: Path, data: RunData, written: Path) -> None:
    payload = run_payload(data, RunStore(run).manifest(), "official")
    report = api.open_run(run).report().tasks["jsts"]
    assert payload.summary["jglue/jsts/pearson"] == report.metrics["pearson"].value
    assert payload.summary["jglue/jsts/decided_by"] == "cosine"
    assert payload.summary["outcomes/jsts/cosine"] == N
    assert not any("lenient" in key or "imputed" in key for key in payload.summary)
    assert not any(key.startswith("protocols/llm-jp-eval/jsts/pearson/low") for key in payload.summary)
    assert payload.config["prefix"] == "類似："
    assert payload.config["method"] == "embed"
    assert "embeddings" in payload.tags
    assert "none" not in payload.tags[:4]
    table = payload.tables["predictions/jsts"]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["outcome"] == "cosine"
    assert row["verdict/official"] == float(str(row["raw"]))
    assert row["verdict/llm-jp-eval"] is None
    with pytest.raises(InputError, match="Push it under official"):
        run_payload(data, RunStore(run).manifest(), "llm-jp-eval")
    both = comparison_payload(data, RunStore(written).data(), "official", {})
    winners = both.tables["comparison/jsts"]
    at = winners.columns.index("who_is_right")
    assert {row[at] for row in winners.rows} == {None}
