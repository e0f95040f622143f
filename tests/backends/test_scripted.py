"""The scripted backend: texts come from a table."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app.backends import open_backend
from jglue_app.errors import InputError, JglueAppError, ModelNotFoundError
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, Prompt, RunError
from tests.backends.contract import BackendContract, collect, make_prompt, never, output, text_of

ROWS: list[dict[str, Any]] = [
    {"item_id": "0", "text": "含意です", "choice_logprobs": [-0.1, -2.0, -3.5]},
    {"item_id": "1", "text": "矛盾です\nと思う", "choice_logprobs": [-4.0, -0.25, -1.0]},
    {"item_id": 2, "text": "中立です", "choice_logprobs": [-1, -2, 0]},
    {"item_id": "3", "text": "わかりません", "choice_logprobs": [-1.5, -1.5, -1.5]},
]


def write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", "utf-8")
    return path


def opened(path: Path, settings: Settings) -> Backend:
    return open_backend(ModelSpec(str(path), backend="scripted"), settings)


@pytest.fixture
def backend(tmp_path: Path, settings: Settings) -> Backend:
    return opened(write(tmp_path / "table.jsonl", ROWS), settings)


class TestScripted(BackendContract):
    """The contract."""

    VERBATIM = True

    @pytest.fixture
    def backend(self, tmp_path: Path, settings: Settings) -> Backend:
        return opened(write(tmp_path / "table.jsonl", ROWS), settings)

    @pytest.fixture
    def prompts(self) -> Sequence[Prompt]:
        return [make_prompt("問" * (i + 1), item_id=str(i)) for i in range(len(ROWS))]


def test_a_text_comes_back_whole_whatever_the_stop_strings_and_the_limit(backend: Backend) -> None:
    prompt = make_prompt("問", item_id="1", stop=("\n", "です"))
    assert text_of(collect(backend.generate([prompt], 1, never))[0]) == "矛盾です\nと思う"


def test_the_logprobs_are_those_of_the_table(backend: Backend) -> None:
    prompt = make_prompt("問", item_id="1")
    assert output(collect(backend.choose([prompt], never))[0]).choice_logprobs == (-4.0, -0.25, -1.0)


def test_an_item_that_is_not_in_the_table_is_an_error_and_the_others_go_on(backend: Backend) -> None:
    prompts = [make_prompt("問", item_id="9"), make_prompt("問", item_id="0")]
    generated, chosen = collect(backend.generate(prompts, 5, never)), collect(backend.choose(prompts, never))
    for results in (generated, chosen):
        error = results[0]
        assert isinstance(error, RunError)
        assert error.kind == "not_in_table"
        assert "9" in error.message
        assert output(results[1])


def test_an_item_that_is_not_in_the_table_is_left_open_once_stopped(backend: Backend) -> None:
    prompts = [make_prompt("問", item_id="9")]
    assert collect(backend.generate(prompts, 5, lambda: True)) == {}
    assert collect(backend.choose(prompts, lambda: True)) == {}


def test_the_wrong_number_of_logprobs_is_an_error(backend: Backend) -> None:
    (result,) = collect(backend.choose([make_prompt("問", ("はい", "いいえ"), item_id="0")], never)).values()
    assert isinstance(result, RunError)
    assert result.kind == "not_in_table"


@pytest.mark.parametrize("text", ["", " \n", "　"])
def test_a_blank_text_is_finished_as_empty(tmp_path: Path, settings: Settings, text: str) -> None:
    backend = opened(write(tmp_path / "t.jsonl", [{"item_id": "0", "text": text}]), settings)
    result = output(collect(backend.generate([make_prompt("問")], 5, never))[0])
    assert (result.text, result.finish) == (text, "empty")


def test_a_task_tells_items_of_the_same_id_apart(tmp_path: Path, settings: Settings) -> None:
    rows = [
        {"item_id": "0", "task": "jnli", "text": "含意"},
        {"item_id": "0", "task": "jsts", "text": "3.0"},
        {"item_id": "0", "text": "どれでも"},
    ]
    backend = opened(write(tmp_path / "t.jsonl", rows), settings)
    prompts = [replace(make_prompt("問"), task=task) for task in ("jsts", "jnli", "jsquad")]
    results = collect(backend.generate(prompts, 5, never))
    assert [text_of(results[i]) for i in range(3)] == ["3.0", "含意", "どれでも"]


def test_the_commit_is_the_checksum_of_the_table(tmp_path: Path, settings: Settings) -> None:
    path = write(tmp_path / "t.jsonl", ROWS)
    assert opened(path, settings).info.commit == hashlib.sha256(path.read_bytes()).hexdigest()


def test_seconds_slow_an_answer_down_and_a_request_to_stop_ends_the_wait(tmp_path: Path, settings: Settings) -> None:
    backend = opened(write(tmp_path / "t.jsonl", [{"item_id": "0", "text": "はい", "seconds": 0.2}]), settings)
    started = time.monotonic()
    assert collect(backend.generate([make_prompt("問")], 5, never))
    assert time.monotonic() - started >= 0.2
    slow = opened(write(tmp_path / "u.jsonl", [{"item_id": "0", "text": "はい", "seconds": 60}]), settings)
    started = time.monotonic()
    assert collect(slow.generate([make_prompt("問")], 5, lambda: time.monotonic() - started > 0.1)) == {}
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: not valid JSON"),
        ("[1]", "line 2: expected a JSON object"),
        ('{"text": "a"}', "line 2: 'item_id' is missing"),
        ('{"item_id": null, "text": "a"}', "line 2: 'item_id' is missing"),
        ('{"item_id": "1", "task": ["a"], "text": "a"}', "line 2: 'task'"),
        ('{"item_id": "1", "text": 5}', "line 2: 'text'"),
        ('{"item_id": "1", "text": "a", "seconds": "long"}', "line 2: 'seconds'"),
        ('{"item_id": "1", "text": "a", "seconds": NaN}', "line 2: 'seconds'"),
        ('{"item_id": "1", "text": "a", "seconds": 1' + "0" * 400 + "}", "too large"),
        ('{"item_id": "1", "choice_logprobs": ["a"]}', "line 2: 'choice_logprobs'"),
        ('{"item_id": "1", "choice_logprobs": [NaN]}', "line 2: 'choice_logprobs'"),
        ('{"item_id": "1", "choice_logprobs": 5}', "line 2: 'choice_logprobs'"),
        # Probabilities: they order the answers as their logarithms do, and give other distributions.
        ('{"item_id": "1", "choice_logprobs": [0.7, 0.2, 0.1]}', "none of which is above 0"),
        # The later one alone would answer.
        ('{"item_id": 0, "text": "another"}', "line 2: the table has item '0' already"),
    ],
)
def test_a_line_that_is_not_in_the_format_is_refused_by_number(
    tmp_path: Path, settings: Settings, line: str, says: str
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"item_id": "0", "text": "ok"}\n' + line + "\n", "utf-8")
    with pytest.raises(InputError, match=r"t\.jsonl, ") as caught:
        opened(path, settings)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "", "a\0b", "x" * 5000])
def test_a_table_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match="cannot be read"):
        open_backend(ModelSpec(name, backend="scripted"), settings)


def test_bytes_that_are_no_text_are_shown_as_replaced(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"item_id": "0", "text": "a\xff"}\n')
    assert text_of(collect(opened(path, settings).generate([make_prompt("問")], 5, never))[0]) == "a�"


def test_public_mode_takes_no_tables(tmp_path: Path, settings: Settings) -> None:
    path = write(tmp_path / "t.jsonl", ROWS)
    with pytest.raises(JglueAppError, match="local mode only"):
        opened(path, replace(settings, public=True))
