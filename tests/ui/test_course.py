"""The course: what each step says is what the stored runs hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import gradio as gr
import pytest

from jglue_app.messages import word
from jglue_app.results import showcase
from jglue_app.runs.store import RunStore
from jglue_app.scoring.judged import ScoredItem, judge_run
from jglue_app.scoring.report import report_run
from jglue_app.scoring.types import TaskReport
from jglue_app.settings import Settings
from jglue_app.types import RunData
from jglue_app.ui import progress
from jglue_app.ui.jobs import Job
from jglue_app.ui.lab_jobs import ANSWER
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import lab_course
from jglue_app.ui.tabs.course_steps import STEPS, Example, Step
from jglue_app.ui.tabs.lab_course import live_html, step_html
from jglue_app.ui.views.course import prompt_end
from jglue_app.ui.views.item import bars
from tests.ui.event_loops import run_in_thread

OWNER = "somebody"


@pytest.fixture
def state(settings: Settings) -> Iterator[AppState]:
    """A server that nobody has used yet."""
    made = AppState(settings, "cpu")
    yield made
    made.pool.clear()
    made._scratch.cleanup()


@pytest.fixture(scope="module")
def runs() -> dict[str, RunData]:
    """Folder of a shipped run → what it holds."""
    return {name: RunStore(showcase.run_folder(name)).data() for name in showcase.run_names()}


def step(name: str) -> Step:
    return next(step for step in STEPS if step.name == name)


def answers(runs: dict[str, RunData], example: Example) -> list[ScoredItem]:
    """What the runs of an example hold of its item, under our own protocol."""
    return [judge_run(runs[run], "official")[example.task][example.item] for run in example.runs]


def report(runs: dict[str, RunData], run: str, task: str, protocol: str = "official") -> TaskReport:
    return report_run(runs[run], protocol).tasks[task]


def text(row: ScoredItem) -> str:
    assert row.record.output
    return row.record.output.text or ""


def ranked_first(row: ScoredItem) -> str:
    """The label whose log-likelihood is the highest."""
    assert row.record.output and row.record.output.choice_logprobs
    logprobs = row.record.output.choice_logprobs
    return row.item.choices[logprobs.index(max(logprobs))]


def test_step_1_a_base_model_writes_like_a_review_and_ranks_the_right_label_first(runs: dict[str, RunData]) -> None:
    (row,) = answers(runs, step("base").examples[0])
    assert text(row) == "とても気に入りました。"
    assert (row.judgement.strict.value, row.judgement.lenient.value) == (None, None)
    assert row.judgement.scores == {"accuracy": 0.0}
    assert (row.item.gold, ranked_first(row)) == (("positive",), "positive")


def test_step_2_the_words_of_the_right_choice_score_nothing_strictly_and_are_right_otherwise(
    runs: dict[str, RunData],
) -> None:
    (row,) = answers(runs, step("form").examples[0])
    assert text(row) == row.item.fields["choice0"] == "塩"
    assert row.item.gold == ("0",)
    assert row.record.prompt.answers[0] == "ア"
    assert (row.judgement.outcome, row.judgement.strict.value) == ("wrong_form", None)
    assert row.judgement.scores == {"accuracy": 0.0}
    assert (row.judgement.lenient.value, row.judgement.lenient_scores) == ("0", {"accuracy": 1.0})
    assert ranked_first(row) == "0"


def test_step_3_examples_teach_the_form_and_the_model_gives_one_answer_always(runs: dict[str, RunData]) -> None:
    right, wrong = (answers(runs, example) for example in step("shots").examples)
    for without, with_examples in (right, wrong):
        assert without.judgement.strict.value is None
        assert text(with_examples) == "否定"
    assert {row[1].judgement.outcome for row in (right, wrong)} == {"correct", "wrong"}
    all_answers = judge_run(runs["base-3-shot"], "official")["marc_ja"].values()
    assert [text(row) for row in all_answers] == ["否定"] * 44
    found = report(runs, "base-3-shot", "marc_ja")
    assert found.metrics["accuracy"].value == found.floors["accuracy"] == 0.5


def test_step_4_one_model_with_the_same_words_with_and_without_its_template(runs: dict[str, RunData]) -> None:
    example = step("chat").examples[0]
    bare, chat = answers(runs, example)
    (of_bare, of_chat) = (runs[run].spec for run in example.runs)
    assert of_bare.model == of_chat.model
    assert (of_bare.prompt.format, of_chat.prompt.format) == ("plain", "chat")
    assert bare.record.prompt.shot_ids == chat.record.prompt.shot_ids
    assert "<|im_start|>" in chat.record.prompt.text
    assert "<|im_start|>" not in bare.record.prompt.text
    assert bare.record.prompt.text.endswith("答え：")
    assert "You are a helpful AI assistant" in chat.record.prompt.text
    words = bare.record.prompt.text.replace("答え：", "").splitlines()
    assert all(line in chat.record.prompt.text for line in words)
    assert (text(bare), bare.judgement.outcome) == ("エ", "correct")
    assert text(chat).startswith("エ")
    assert (chat.judgement.outcome, chat.judgement.scores) == ("wrong_form", {"accuracy": 0.0})
    assert ranked_first(bare) == ranked_first(chat) == "3"
    scores = [report(runs, run, "jcommonsenseqa").metrics["accuracy"].value for run in example.runs]
    assert scores == [8 / 45, 0]
    assert all(f"{score:.2f}" in word("course_chat_look", lang) for score in scores for lang in ("ja", "en"))


def test_step_5_the_right_label_is_far_ahead_of_a_text_without_an_answer(runs: dict[str, RunData]) -> None:
    (row,) = answers(runs, step("ranking").examples[0])
    assert text(row) in row.item.fields["sentence"]
    assert row.record.output and row.record.output.finish == "length"
    assert row.judgement.outcome == "truncated"
    assert (row.item.gold, ranked_first(row)) == (("negative",), "negative")
    bar = next(bar for bar in bars(row) if bar["best"])
    found = report(runs, "base-0-shot", "marc_ja")
    texts = bar["share"], f"{found.metrics['accuracy'].value:.2f}", f"{found.choose['accuracy'].value:.2f}"
    assert texts == ("93", "0.00", "0.68")
    assert all(part in word("course_ranking_look", lang) for part in texts for lang in ("ja", "en"))


def test_step_6_the_same_outputs_have_two_scores(runs: dict[str, RunData]) -> None:
    two = step("leaderboards").two_scores
    assert two
    scores = [report(runs, two.run, two.task, protocol).metrics["accuracy"].value for protocol in two.protocols]
    assert scores == [0, 0.5]
    golds = [item.gold for item in runs[two.run].items[two.task].values()]
    assert golds.count(("positive",)) == 22
    first, second = (judge_run(runs[two.run], protocol)[two.task] for protocol in two.protocols)
    apart = [id_ for id_ in first if first[id_].judgement.scores != second[id_].judgement.scores]
    assert {first[id_].item.gold for id_ in apart} == {("positive",)}
    assert len(apart) == 22
    (row,) = answers(runs, step("leaderboards").examples[0])
    assert row.item.id in apart
    assert row.judgement.strict.value is None


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize("shown", STEPS, ids=lambda step: step.name)
def test_every_step_shows_its_stored_answers_before_it_is_tried(state: AppState, shown: Step, lang: str) -> None:
    html = step_html(state, OWNER, shown, lang)
    assert html.count("jg-raw") == sum(len(example.runs) for example in shown.examples)
    for example in shown.examples:
        for run in example.runs:
            row = state.judged(OWNER, f"shipped:{run}")[example.task][example.item]
            assert text(row)[:1] in html
            assert row.record.prompt.text.splitlines()[-1] in unescape(re.sub("<[^>]+>", "", html))
    assert html.index("jg-raw") < html.index("jg-look")
    assert "jg-raw" not in live_html(shown, lang)


def test_two_scores_name_the_items_that_differ_and_the_decisions_between_them(state: AppState) -> None:
    html = step_html(state, OWNER, step("leaderboards"), "en")
    assert "disagree about 22 of 44 items" in html
    assert "and 16 more" in html
    assert "0.000 [0.000, 0.080]" in html
    assert "0.500 [0.358, 0.642]" in html
    assert html.count('class="jg-swatch jg-o-wrong"') == 6
    assert 'href="?tab=results&amp;run_a=shipped:base-0-shot&amp;protocol=wandb-2023-0shot&amp;subset=marc_ja"' in html


def test_of_a_long_prompt_the_last_lines_are_shown() -> None:
    whole = [{"text": text, "eol": text != "答え："} for text in ("一", *"二三四五六七八", "答え：")]
    assert prompt_end(whole) == [{"text": "…", "special": True, "eol": True}, *whole[1:]]
    assert prompt_end(whole[1:]) == whole[1:]


def test_a_copy_without_the_shipped_runs_still_has_the_course(
    state: AppState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(showcase, "FOLDER", tmp_path / "none")
    html = step_html(state, OWNER, STEPS[0], "en")
    assert "What a base model does with a question" in html
    assert "jg-raw" not in html
    assert "jg-look" not in html


async def built(state: AppState) -> lab_course.CourseTab:
    """Where an event loop runs, Gradio leaves none of its own behind."""
    with gr.Blocks():
        return lab_course.build(state, lambda key: key)


def test_what_a_step_waits_for_can_be_stopped_from_the_course(state: AppState, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_INTERVAL_S", "REDRAW_INTERVAL_S", "HEARTBEAT_S"):
        monkeypatch.setattr(progress, name, 0.01)
    tab = run_in_thread(built(state))

    def until_stopped(job: Job) -> None:
        with state.jobs.accelerator(job):
            assert job.stop.wait(60)

    before = state.jobs.start("w" * 22, "full", until_stopped)
    page = gr.Request(headers={"accept-language": "en"}, cookies={"jg_visitor": "v" * 22}, session_hash="page")
    answering = tab.ask(page, STEPS[0].name)
    assert any(updates.get(tab.other.button, {}).get("visible") for updates in answering)
    tab.other.press(page)
    assert before.stop.is_set()
    mine = state.jobs.latest("v" * 22, ANSWER)
    assert mine is not None
    state.jobs.stop(mine)
    assert {update[tab.other.button]["visible"] for update in answering if tab.other.button in update} <= {False}
    assert before.ended.wait(60)
    assert mine.ended.wait(60)
