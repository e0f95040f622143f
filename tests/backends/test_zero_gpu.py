"""ZeroGPU: what is asked for, what comes back from a process that is forked and killed, and what is said without it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from jglue_app.backends.hf.devices import resolve_device
from jglue_app.backends.pool import ModelPool
from jglue_app.backends.zero_gpu import durations, space
from jglue_app.backends.zero_gpu.backend import ZeroGpuBackend
from jglue_app.backends.zero_gpu.durations import Estimate, Rates, Work
from jglue_app.backends.zero_gpu.refusals import KilledError, QuotaError, refusal
from jglue_app.backends.zero_gpu.request import serve
from jglue_app.errors import DeviceError, GpuTimeError, InputError, JglueAppError, ModelError
from jglue_app.messages import say
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.scoring.report import report_run
from jglue_app.settings import Settings
from jglue_app.types import Decoding, ModelSpec
from tests.conftest import TinyModel
from tests.zero_gpu_stand_in import GradioError, ZeroGpu

TASKS = ["jnli", "jsquad"]
GB = 10**9


class Guesses(Rates):
    """Asks for the same, however slow this machine is."""

    def note_load(self, *_: Any) -> None:
        """Nothing."""

    def note_items(self, *_: Any, **__: Any) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def _elsewhere_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "_gpu_call", None)
    monkeypatch.setattr("jglue_app.backends.zero_gpu.backend._rates", Guesses())


@pytest.fixture
def zero_gpu() -> Iterator[ZeroGpu]:
    """This process is one on ZeroGPU."""
    stand_in = ZeroGpu()
    space.decorate(stand_in.GPU)
    yield stand_in
    stand_in.close()


@pytest.fixture
def model(tiny_model: TinyModel) -> ModelSpec:
    # In a process without a GPU `auto` would be another number format than in one that has it.
    return ModelSpec(str(tiny_model("llama")), dtype="float32")


def planned(settings: Settings, model: ModelSpec, limit: int = 12, tasks: Sequence[str] = TASKS) -> Plan:
    return make_plan(settings, model, tasks, data_kind="sample", limit=limit, decoding=Decoding("both"))


def run(settings: Settings, *plans: Plan, should_stop: Callable[[], bool] = lambda: False) -> list[Event]:
    sides: list[tuple[Literal["a", "b"], Plan]] = [("a", plans[0]), *(("b", p) for p in plans[1:])]
    with ModelPool(settings) as pool:
        return list(run_plans(sides, pool, settings.runs_dir, should_stop))


def stored(settings: Settings, plan: Plan) -> list[tuple[str, str]]:
    """(task, item) of every record in the file, in its order."""
    lines = (RunStore.of(settings.runs_dir, plan.spec).path / "records.jsonl").read_text("utf-8").splitlines()
    return [(record["task"], record["item_id"]) for record in map(json.loads, lines)]


def texts(settings: Settings, plan: Plan) -> dict[tuple[str, str], str | None]:
    data = RunStore.of(settings.runs_dir, plan.spec).data()
    return {(r.task, r.item_id): r.output.text if r.output else None for r in data.records}


# --- without ZeroGPU --------------------------------------------------------------------------------------


def test_elsewhere_nothing_is_imported_or_changed(monkeypatch: pytest.MonkeyPatch, model: ModelSpec) -> None:
    for value in (None, "", "0", "false"):
        if value is None:
            monkeypatch.delenv(space.VARIABLE, raising=False)
        else:
            monkeypatch.setenv(space.VARIABLE, value)
        space.prepare()
        assert (space.gpu_call(), space.is_active(), space.runs_there(model)) == (None, False, False)


def test_the_real_decorator_gives_the_function_itself_where_there_is_no_zero_gpu() -> None:
    spaces = pytest.importorskip("spaces")
    assert not spaces.config.Config.zero_gpu
    assert spaces.GPU(duration=space.seconds_of)(serve) is serve


def test_a_space_without_its_package_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(space.VARIABLE, "true")
    monkeypatch.setitem(__import__("sys").modules, "spaces", None)
    with pytest.raises(DeviceError, match=r"the package spaces cannot be used \(import of spaces halted"):
        space.prepare()
    assert not space.is_active()


# --- how long ---------------------------------------------------------------------------------------------


def test_a_first_guess_is_that_of_the_size_and_the_tokens() -> None:
    work = Work("generate", read_tokens=400, new_tokens=20)
    # 0.02 + 400 tokens · 2e9 bytes / 40e12 + 20 steps · (0.04 + 2e9 / 1e12) s / 8 items
    assert durations.guessed_item_seconds(2 * GB, work) == pytest.approx(0.02 + 0.02 + 0.105)
    estimate = Estimate(Rates(), "m", 2 * GB, work)
    # 1.5 times (5 s to start, 6 s and 2e9 / 0.5e9 s to load, 10 items), and 2 s
    assert estimate.seconds(10) == 27 == -(-(1.5 * (5 + 10 + 1.45) + 2) // 1)
    # 40 s leave (40 - 2) / 1.5 - 15 = 10.3 s for items of 0.145 s
    assert estimate.items == 71
    assert estimate.seconds(71) <= 40 < estimate.seconds(73)


def test_measured_rates_replace_the_guess() -> None:
    rates, work = Rates(), Work("choose", 100)
    guess = durations.guessed_item_seconds(GB, work)
    rates.note_load("m", 2.0)
    rates.note_items("m", GB, work, 10, 20 * guess, at_least=False)
    assert rates.load_seconds("m", GB) == 2.0
    assert rates.item_seconds("m", GB, work) == pytest.approx(2 * guess)
    # Another method, of which nothing is known, counts as slow as the model was; another model does not.
    other = Work("generate", 100, 8)
    assert rates.item_seconds("m", GB, other) == pytest.approx(2 * durations.guessed_item_seconds(GB, other))
    assert rates.item_seconds("n", GB, work) == pytest.approx(guess)
    # Faster counts by half, slower at once; what was interrupted proves only slowness.
    rates.note_items("m", GB, work, 10, 10 * guess, at_least=False)
    assert rates.item_seconds("m", GB, work) == pytest.approx(1.5 * guess)
    rates.note_items("m", GB, work, 10, 5 * guess, at_least=True)
    assert rates.item_seconds("m", GB, work) == pytest.approx(1.5 * guess)
    rates.note_items("m", GB, work, 10, 40 * guess, at_least=True)
    assert rates.item_seconds("m", GB, work) == pytest.approx(4 * guess)


def test_a_process_that_was_killed_while_it_loaded_makes_the_next_ask_for_more() -> None:
    rates, work = Rates(), Work("choose", 100)
    rates.note_load("m", 4.0)
    rates.note_killed("m", GB, work, 3.0, loaded=False)  # For another reason than its time.
    assert rates.load_seconds("m", GB) == 4.0
    rates.note_killed("m", GB, work, 20.0, loaded=False)
    assert rates.load_seconds("m", GB) == 40.0
    rates.note_killed("m", GB, work, 20.0, loaded=True)
    assert rates.load_seconds("m", GB) == 40.0 and rates.item_seconds("m", GB, work) == pytest.approx(20.0)


def test_a_large_model_may_ask_for_more_so_that_loading_is_worth_it() -> None:
    work = Work("generate", 300, 32)
    small, large = (Estimate(Rates(), "m", size, work) for size in (2 * GB, 16 * GB))
    assert small.items > 40 and small.seconds(small.items) <= durations.TARGET_SECONDS
    assert large.items == durations.MIN_ITEMS and 40 < large.seconds(large.items) <= durations.MAX_SECONDS
    assert Estimate(Rates(), "m", 400 * GB, work).items == 1


@pytest.mark.parametrize("seconds", range(12, 110, 7))
def test_what_fits_into_the_seconds_that_are_left_asks_for_no_more(seconds: int) -> None:
    estimate = Estimate(Rates(), "m", GB, Work("both", 300, 32))
    count = estimate.items_within(seconds)
    assert count == 0 or estimate.seconds(count) <= max(seconds, durations.MIN_SECONDS)
    assert estimate.seconds(count + 1) > seconds or seconds > durations.MAX_SECONDS - 1


# --- what is said -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "message", "kind", "said"),
    [
        (
            "ZeroGPU quota exceeded",
            "You have exceeded your ZeroGPU quota (40s requested vs. 12s left). Try again in 1 day, 3:20:11. Subscribe",
            QuotaError,
            "40 s were asked for, and 12 s of your daily quota on ZeroGPU are left. More is there in 27 h 21 min.",
        ),
        (
            "ZeroGPU quota exceeded",
            "You have exceeded your ZeroGPU quota (40s requested vs. -1s left). Try again in 0:04:00. Subscribe",
            QuotaError,
            "and 0 s of your daily quota on ZeroGPU are left. More is there in 4 min. Run again then",
        ),
        ("ZeroGPU quota exceeded", "You have exceeded your ZeroGPU runs limit. ", QuotaError, "as often as your quota"),
        ("ZeroGPU quota exceeded", "Space app has reached its GPU limit. Try", QuotaError, "whose quota it is"),
        ("ZeroGPU quota exceeded", "No GPU was available after 60s. Try", GpuTimeError, "No GPU became free"),
        ("ZeroGPU queue timeout", "No GPU was available after 60s. <a href='x'>", GpuTimeError, "No GPU became free"),
        ("ZeroGPU client error", "No GPU was available", GpuTimeError, "No GPU became free"),
        ("ZeroGPU client error", "Expired ZeroGPU proxy token", GpuTimeError, "came with the last click is over"),
        ("ZeroGPU client error", "Internal Gradio error", GpuTimeError, "(ZeroGPU client error)"),
        ("ZeroGPU pending credits exceeded", "You have too many", GpuTimeError, "still going on"),
        ("ZeroGPU illegal duration", "The requested GPU duration (40s) is larger", GpuTimeError, "may not take 40 s"),
        ("ZeroGPU worker error", "GPU task aborted", KilledError, "taken back after the 40 s"),
        ("ZeroGPU worker error", "AcceleratorError", ModelError, "failed on the GPU (AcceleratorError;"),
    ],
)
def test_every_refusal_is_a_sentence_with_what_is_left_to_do(
    title: str, message: str, kind: type[JglueAppError], said: str
) -> None:
    error = refusal(GradioError(title, message), 40)
    assert type(error) is kind and error is not None and said in str(error)
    if isinstance(error, GpuTimeError):
        assert "Run again" in str(error) or "Press Run again" in str(error) or "Choose" in str(error)
        assert str(error).endswith("gemma-3-270m answers a few items on the processor.")
        assert say(error.message, "ja").endswith("プロセッサーで数問に答えます。")
    assert "<a" not in str(error)


def test_an_error_that_is_none_of_zero_gpu_is_left_as_it_is() -> None:
    assert refusal(ValueError("x"), 40) is None
    unreachable = refusal(RuntimeError("ZeroGPU API /schedule error: 502 (Bad Gateway)"), 40)
    assert isinstance(unreachable, GpuTimeError) and "502" in str(unreachable)


# --- where models run -------------------------------------------------------------------------------------


def test_this_process_has_no_gpu_and_keeps_the_embedded_model(zero_gpu: ZeroGpu, model: ModelSpec) -> None:
    assert resolve_device("auto") == "cpu"
    assert space.runs_there(model) and space.runs_there(ModelSpec("Qwen/Qwen3-0.6B"))
    assert not space.runs_there(ModelSpec("gemma-3-270m"))
    assert not space.runs_there(ModelSpec("table.jsonl", "scripted"))
    assert space.embedded_model() == "gemma-3-270m"


def test_models_elsewhere_need_no_room_here(
    settings: Settings, zero_gpu: ZeroGpu, model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jglue_app.backends.hf.load.memory_free", lambda device: 0)
    assert ModelPool(settings).fit_together({model, replace(model, dtype="bfloat16"), replace(model, dtype="float16")})
    assert not ModelPool(settings).fit_together({ModelSpec("gemma-3-270m")})


# --- runs -------------------------------------------------------------------------------------------------


def test_a_run_with_killed_processes_equals_one_without(
    settings: Settings, zero_gpu: ZeroGpu, model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed, here = (replace(settings, runs_dir=settings.runs_dir / name) for name in ("a", "b", "c"))
    plan = planned(settings, model)
    events = run(whole, plan)
    # Twelve items of each subset in one request, in one process that has loaded the model once.
    assert len(zero_gpu.asked) == 2 and len(set(zero_gpu.processes)) == 1
    assert [e.why for e in events if e.kind == "done"] == [""]

    # Begun, Ready, two answers; then before its first answer, before it has loaded, at its first reply, after ten.
    zero_gpu.kill_after = [4, 2, 1, None, 0, 12, None]
    run(killed, plan)
    assert zero_gpu.killed >= 4
    assert sorted(stored(killed, plan)) == sorted(stored(whole, plan))
    assert len(set(stored(killed, plan))) == len(stored(killed, plan)) == 24
    assert report_run(RunStore.of(killed.runs_dir, plan.spec).data()) == report_run(
        RunStore.of(whole.runs_dir, plan.spec).data()
    )
    assert texts(killed, plan) == texts(whole, plan)

    monkeypatch.setattr(space, "_gpu_call", None)
    run(here, plan)
    assert texts(here, plan) == texts(whole, plan)
    heads = [RunStore.of(s.runs_dir, plan.spec).manifest()["model"] for s in (here, killed, whole)]
    assert heads[0] == heads[1] == heads[2]
    assert heads[0]["engine"] == "packed" and heads[0]["memory_bytes"] > 10_000


def test_without_quota_the_other_model_goes_on_and_the_run_can_be_resumed(
    settings: Settings, zero_gpu: ZeroGpu, model: ModelSpec, tmp_path: Path
) -> None:
    table = tmp_path / "table.jsonl"
    plan = planned(settings, model, 8, ["jnli"])
    rows = [{"task": "jnli", "item_id": item.id, "text": "含意"} for item in plan.items["jnli"]]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    other = make_plan(settings, ModelSpec(str(table), "scripted"), ["jnli"], data_kind="sample", limit=8)
    zero_gpu.quota = 3
    ends = {e.side: (e.kind, e.why, e.run_done) for e in run(settings, plan, other) if e.kind in ("done", "stopped")}
    assert ends == {"a": ("stopped", "gpu_time", 0), "b": ("done", "", 8)}
    assert not RunStore.of(settings.runs_dir, plan.spec).exists()

    # A little is left: the process is killed after three answers, and for the rest there is no more.
    zero_gpu.quota, zero_gpu.kill_after = 1_000, [5]
    empty = GradioError("ZeroGPU quota exceeded", "You have exceeded your quota (20s requested vs. 0s left).")
    zero_gpu.refuse = [None, empty]
    events = run(settings, plan)
    assert [(e.kind, e.why, e.run_done) for e in events][-1] == ("stopped", "gpu_time", 3)
    (said,) = [e.message for e in events if e.kind == "notice" and "quota" in e.message]
    assert said.startswith("Your GPU time is used up: 20 s were asked for, and 0 s")
    run(settings, plan)
    assert len(stored(settings, plan)) == len(set(stored(settings, plan))) == 8


def test_the_rest_of_a_quota_is_used_for_a_smaller_request(
    settings: Settings, zero_gpu: ZeroGpu, model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durations, "ITEM_S", 1.0)
    # 1.5 · (5 + 6 + 12 · 1.0 …) + 2 > 30 > 1.5 · (5 + 6 + 7 · 1.0 …) + 2
    zero_gpu.quota = 30
    plan = planned(settings, model, 12, ["jnli"])
    run(settings, plan)
    assert len(stored(settings, plan)) == 12
    assert zero_gpu.asked[0] > 30 >= max(zero_gpu.asked[1:])


def test_a_stop_reaches_the_process_and_what_was_answered_stays(
    settings: Settings, zero_gpu: ZeroGpu, model: ModelSpec
) -> None:
    backend = opened(settings, model)
    stopped: list[float] = []

    def should_stop() -> bool:
        return bool(stopped)

    values: list[tuple[int, str]] = []
    for number, text in backend.answers(answer_slowly, ["a"] * 5, ("",), Work("slow", 1), should_stop):
        values.append((number, text))
        if len(values) == 2:
            stopped.append(time.monotonic())
    assert time.monotonic() - stopped[0] < 2.5
    assert values[:2] == [(0, "0"), (1, "1")] and len(values) < 5
    # The process is used again, so it has ended by itself.
    assert [value for _, value in backend.answers(answer, ["a"], (), Work("x", 1), lambda: False)] == ["a"]
    assert len(set(zero_gpu.processes)) == 1 and not zero_gpu.killed


def test_a_process_that_takes_too_long_is_killed_and_its_answers_are_kept(
    settings: Settings, zero_gpu: ZeroGpu, model: ModelSpec, tmp_path: Path
) -> None:
    backend = opened(settings, model)
    list(backend.answers(answer, ["a"], (), Work("x", 1), lambda: False))  # It is loaded now.
    zero_gpu.second = 0.05
    slow = str(tmp_path / "slow")
    values = list(backend.answers(hang_once, ["a", "b", "c", "d"], (slow,), Work("slow", 1), lambda: False))
    assert sorted(values) == [(0, "a"), (1, "b"), (2, "c"), (3, "d")]
    assert zero_gpu.killed == 1 and Path(slow).exists()


def test_what_never_answers_is_given_up_after_three_requests(
    settings: Settings, zero_gpu: ZeroGpu, model: ModelSpec
) -> None:
    backend = opened(settings, model)
    with pytest.raises(GpuTimeError, match="has answered nothing within"):
        list(backend.answers(answer_nothing, ["a"], (), Work("x", 1), lambda: False))
    assert len(zero_gpu.asked) == 3
    zero_gpu.kill_after = [0, 2, 1]
    with pytest.raises(KilledError):
        list(backend.answers(answer, ["a"], (), Work("x", 1), lambda: False))
    assert len(zero_gpu.asked) == 6


def test_errors_of_ours_arrive_whole_and_others_by_name(
    settings: Settings, zero_gpu: ZeroGpu, model: ModelSpec
) -> None:
    backend = opened(settings, model)
    with pytest.raises(InputError, match="Ask for less than 7") as raised:
        list(backend.answers(fail, ["a"], (True,), Work("x", 1), lambda: False))
    assert raised.value.message.template == "Ask for less than {count}."
    with pytest.raises(ModelError, match=r"failed on the GPU \(ZeroDivisionError"):
        list(backend.answers(fail, ["a"], (False,), Work("x", 1), lambda: False))


def test_prompts_for_another_model_than_the_one_that_is_loaded_are_not_answered(
    settings: Settings, zero_gpu: ZeroGpu, model: ModelSpec
) -> None:
    backend = opened(settings, model)
    backend.info = replace(backend.info, dtype="bfloat16")
    with pytest.raises(ModelError, match="dtype: 'float32', not 'bfloat16'"):
        list(backend.answers(answer, ["a"], (), Work("x", 1), lambda: False))


def test_a_model_that_fails_to_load_there_is_told_as_it_is_here(
    settings: Settings, zero_gpu: ZeroGpu, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in tiny_model("llama").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    backend = opened(settings, ModelSpec(str(folder), dtype="float32"))
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    with pytest.raises(ModelError, match="have changed"):
        list(backend.answers(answer, ["a"], (), Work("x", 1), lambda: False))


def opened(settings: Settings, model: ModelSpec) -> ZeroGpuBackend:
    backend = ModelPool(settings).get(model)
    assert isinstance(backend, ZeroGpuBackend)
    return backend


# --- functions that run in the process with the GPU ---------------------------------------------------------


def answer(backend: Any, should_stop: Any, prompts: list[Any]) -> Iterator[tuple[int, Any]]:
    yield from enumerate(prompts)


def answer_slowly(backend: Any, should_stop: Any, prompts: list[Any], _: str) -> Iterator[tuple[int, str]]:
    for number in range(len(prompts)):
        if number >= 2:
            for _i in range(100):
                time.sleep(0.05)
                if should_stop():
                    return
        yield number, str(number)


def hang_once(backend: Any, should_stop: Any, prompts: list[Any], mark: str) -> Iterator[tuple[int, Any]]:
    for number, prompt in enumerate(prompts):
        if number == 2 and not Path(mark).exists():
            Path(mark).touch()
            time.sleep(60)
        yield number, prompt


def answer_nothing(backend: Any, should_stop: Any, prompts: list[Any]) -> Iterator[tuple[int, Any]]:
    yield from ()


def fail(backend: Any, should_stop: Any, prompts: list[Any], ours: bool) -> Iterator[tuple[int, Any]]:
    yield from ()
    if ours:
        raise InputError("Ask for less than {count}.", count=7)
    raise ZeroDivisionError
