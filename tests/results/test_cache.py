"""What is read of stored runs is parsed, judged and computed once for each content of their files, within bounds."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app.errors import StoreError
from jglue_app.results import cache
from jglue_app.results.cache import KeyLocks, ResultCache, RunCache
from jglue_app.results.library import Library
from jglue_app.runs import serialization
from jglue_app.runs.store import RunStore
from jglue_app.scoring import protocols
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.item_groups import with_and_without
from jglue_app.scoring.judged import judge_run, only
from jglue_app.scoring.report import report_run
from jglue_app.scoring.types import Judgement
from jglue_app.settings import Settings
from jglue_app.types import Item, Record, Task
from jglue_app.ui.state import AppState
from jglue_app.ui.views import comparison
from jglue_app.ui.views.comparison import Pair
from tests.results.test_library import stored
from tests.test_api import GOLDS
from tests.unsealed import unsealed


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many records were parsed (`parsed`) and how many items judged (`judged`), under every protocol."""
    counted: Counter[str] = Counter()
    parse = serialization.record_from

    def counting_parse(row: Any) -> Record:
        counted["parsed"] += 1
        return parse(row)

    monkeypatch.setattr(serialization, "record_from", counting_parse)
    for name, protocol in list(protocols.PROTOCOLS.items()):
        judge = protocol.judge

        def counting_judge(task: Task, item: Item, record: Record, judge: Any = judge) -> Judgement:
            counted["judged"] += 1
            judgement: Judgement = judge(task, item, record)
            return judgement

        monkeypatch.setitem(protocols.PROTOCOLS, name, replace(protocol, judge=counting_judge))
    return counted


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs over the first ten JNLI samples; the second has three wrong."""
    return stored(tmp_path / "a.jsonl"), stored(tmp_path / "b.jsonl", wrong=list(GOLDS)[:3])


@pytest.fixture
def state(settings: Settings) -> Iterator[AppState]:
    made = AppState(settings, "cpu")
    yield made
    made._scratch.cleanup()


def test_a_comparison_that_is_drawn_again_parses_and_judges_nothing(
    state: AppState, pair: tuple[Path, Path], counts: Counter[str]
) -> None:
    a, b = (path.name for path in pair)

    def draw(lang: str, protocol: str) -> tuple[str, Any, str, str]:
        shown = Pair(a, b)
        value = comparison.item_list_value(state, "ana", shown, lang, open_first=True)
        item = comparison.item_html(state, "ana", {"a": a, "b": b}, "jnli", value["open"]["id"], lang)
        board = comparison.board_html(state, "ana", shown, lang, protocol=protocol)
        return comparison.provenance_html(state, "ana", shown, lang), value, item, board

    first = draw("ja", "official")
    assert counts["parsed"] == 20
    # Both runs under `official`, and one item of either under every protocol.
    assert counts["judged"] == 20 + 2 * len(protocols.PROTOCOLS)
    counts.clear()
    assert draw("ja", "official") == first
    draw("en", "official")
    assert counts == {}
    draw("ja", "stability-jp")
    assert counts == {"judged": 20}
    counts.clear()
    draw("en", "stability-jp")
    assert counts == {}
    other = next(id_ for id_ in RunStore(pair[0]).finished() if id_[1] != first[1]["open"]["id"])[1]
    counts.clear()
    comparison.item_html(state, "ana", {"a": b}, "jnli", other, "en")
    assert counts == {"judged": len(protocols.PROTOCOLS)}


def test_what_is_added_to_a_run_alone_is_parsed_and_judged(tmp_path: Path, counts: Counter[str]) -> None:
    path = unsealed(stored(tmp_path / "a.jsonl"))
    lines = (path / "records.jsonl").read_bytes().splitlines(keepends=True)
    (path / "records.jsonl").write_bytes(b"".join(lines[:6]))
    library = Library(path.parent)
    library.report(path)
    counts.clear()
    with (path / "records.jsonl").open("ab") as file:
        file.write(b"".join(lines[6:]))
    assert library.report(path).tasks["jnli"].n == 10
    assert counts == {"parsed": 4, "judged": 4}


def test_a_file_that_is_rewritten_with_as_many_bytes_is_read_again(tmp_path: Path) -> None:
    path = unsealed(stored(tmp_path / "a.jsonl"))
    library = Library(path.parent)
    assert {r.output.finish for r in library.data(path).records if r.output} == {"stop"}
    text = (path / "records.jsonl").read_text("utf-8")
    (path / "records.jsonl").write_text(text.replace('"stop"', '"pots"'), "utf-8")
    with pytest.raises(StoreError, match="damaged"):
        library.data(path)
    (path / "records.jsonl").write_text(text, "utf-8")
    assert len(library.data(path).records) == 10


@pytest.mark.parametrize("protocol", ["official", "wandb-2023-0shot", "stability-jp"])
def test_what_is_given_is_what_the_pure_functions_make_of_the_files(pair: tuple[Path, Path], protocol: str) -> None:
    a, b = pair
    library = Library(a.parent)
    data, other = RunStore(a).data(), RunStore(b).data()
    ids = list(data.items["jnli"])
    few = {"jnli": ids[2:5]}
    for _ in range(2):
        assert library.data(a) == data
        assert library.judged(a, protocol) == judge_run(data, protocol)
        assert library.report(a, protocol) == report_run(data, protocol)
        assert library.report(a, protocol, few) == report_run(only(data, few), protocol)
        assert library.comparison(a, b, protocol) == compare_runs(data, other, protocol)
        assert library.comparison(a, b, protocol, few) == compare_runs(only(data, few), other, protocol)
        assert library.groups(a, protocol) == with_and_without(data, protocol, judge_run(data, protocol))
    assert library.item_judgements(a, "jnli", "no such item") == {}
    assert library.item_judgements(a, "jnli", ids[1])[protocol] == judge_run(data, protocol)["jnli"][ids[1]].judgement


def test_two_requests_at_once_compute_a_result_once_and_others_do_not_wait() -> None:
    results = ResultCache()
    began, go_on = threading.Event(), threading.Event()
    computed = []

    def slow() -> str:
        computed.append(threading.get_ident())
        began.set()
        assert go_on.wait(30)
        return "slow"

    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(results.get("key", 1, slow))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert began.wait(30)
    # While the first is being computed another key is free.
    assert results.get("other", 1, lambda: "quick") == "quick"
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert (found, len(computed)) == (["slow"] * 3, 1)
    assert results.get("key", 2, lambda: "of changed files") == "of changed files"


def test_a_failure_is_not_kept_and_frees_the_key() -> None:
    results = ResultCache()
    with pytest.raises(ZeroDivisionError):
        results.get("key", 1, lambda: 1 // 0)
    assert results.get("key", 1, lambda: 7) == 7


def test_results_are_bounded_in_bytes_and_what_is_too_large_is_not_kept() -> None:
    results = ResultCache(max_bytes=20_000)
    for number in range(100):
        results.get(number, 1, lambda: "x" * 100)
    assert results._entries.currsize <= 20_000
    assert 10 < len(results._entries) < 20
    assert results.get("large", 1, lambda: "x" * 20_000) == "x" * 20_000
    assert "large" not in results._entries
    assert len(results._entries) > 10, "it pushes nothing else out"


def test_runs_in_memory_are_bounded_and_the_least_recently_used_leaves_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [stored(tmp_path / f"{name}.jsonl", said=name, wrong=list(GOLDS)[:1]) for name in "abc"]
    monkeypatch.setattr(cache, "MAX_RUN_BYTES", 300_000)
    monkeypatch.setattr(cache, "MIN_RUN_BYTES", 140_000)
    runs = RunCache()
    first = runs.data(paths[0])
    runs.data(paths[1])
    assert runs.data(paths[0]) is first
    runs.data(paths[2])
    assert list(runs._runs) == [paths[0], paths[2]]
    # A run's judgements count as well.
    monkeypatch.setattr(cache, "BYTES_PER_JUDGEMENT", 16_000)
    runs.judged(paths[2], "official")
    assert list(runs._runs) == [paths[2]]


def test_a_run_larger_than_the_cache_is_kept_alone(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_RUN_BYTES", 10)
    monkeypatch.setattr(cache, "MIN_RUN_BYTES", 1)
    runs = RunCache()
    assert runs.data(pair[0]) is runs.data(pair[0])
    runs.data(pair[1])
    assert list(runs._runs) == [pair[1]]


def test_locks_last_as_long_as_they_are_held() -> None:
    locks = KeyLocks()
    lock = locks.of("a")
    assert locks.of("a") is lock
    assert locks.of("b") is not lock
    del lock
    assert not locks._locks


def test_a_model_that_a_manifest_names_is_in_the_summary(pair: tuple[Path, Path]) -> None:
    manifest = json.loads((pair[0] / "manifest.json").read_text("utf-8"))
    run = Library(pair[0].parent).stored(pair[0])
    assert run.model == manifest["model"] and run.model["device"]
    assert (run.done, run.planned) == (10, 10)
