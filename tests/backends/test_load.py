"""The transformers backend on tiny models of six architectures, against a plain computation on single sequences."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends import open_backend
from jglue_app.backends.hf.ablation import ALL, Optimizations, without
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.load import memory_free, memory_needed
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import DeviceError, ModelError, UnknownNameError
from jglue_app.runs.plan import make_plan
from jglue_app.runs.runner import run_plan
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, Output, Prompt, PromptSpec, RunError
from tests.backends.contract import (
    BackendContract,
    StopAfter,
    collect,
    logprobs_of,
    make_prompt,
    never,
    output,
    same,
    text_of,
)

ARCHITECTURES = ("llama", "gpt_neox", "bloom", "mpt", "gemma3", "qwen3")
CONTEXT = 192
PADDED = without(["packing"])

TinyModel = Callable[..., Path]
OpenTiny = Callable[..., Backend]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads only wait for each other in models this small, above all beside other processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


TEXTS = (
    "今日は",
    "前提：男性が自転車に乗っている。\n仮説：女性が本を読んでいる。\n関係：",
    "次の質問に日本語で答えてください。\n質問：一年でいちばん寒い季節はいつですか。\n答え：冬\n質問：東京は？\n答え：",
    "レビュー：とても使いやすくて、買ってよかったです。\n評価：",
    "京都には古い寺がたくさんある。 \n",
)
ANSWERS = ("含意", "矛盾", "中立", "含意します", "A", "a b\nc")
PROMPTS = [make_prompt(text, ANSWERS, item_id=str(i)) for i, text in enumerate(TEXTS)]


class ReferenceModel:
    """One unpadded sequence at a time, everything computed again for every token."""

    def __init__(self, folder: Path, *, bos: bool = True) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        start = self.tokenizer.token_to_id("<s>")
        self.bos = [start] if bos and start is not None else []
        self.eos = self.tokenizer.token_to_id("</s>")

    def ids(self, text: str) -> list[int]:
        return [*self.bos, *self.tokenizer.encode(text, add_special_tokens=False).ids]

    def logits(self, ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            logits: torch.Tensor = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        return logits

    def greedy(self, ids: list[int], tokens: int) -> str:
        new: list[int] = []
        while len(new) < tokens:
            best = int(self.logits(ids + new)[-1].argmax())
            if best == self.eos:
                break
            new.append(best)
        return str(self.tokenizer.decode(new, skip_special_tokens=True))

    def logprob(self, ids: list[int], start: int) -> float:
        """Log-probability of the tokens from `start` on, given those before."""
        table = torch.log_softmax(self.logits(ids).double(), dim=-1)
        return float(sum(table[place - 1, ids[place]] for place in range(start, len(ids))))

    def choice(self, prompt: Prompt, answer: str) -> float:
        return self.logprob(self.ids(prompt.text + prompt.lead + answer), len(self.ids(prompt.text.rstrip())))


@pytest.fixture(scope="module")
def reference(tiny_model: TinyModel) -> Callable[..., ReferenceModel]:
    """`reference(architecture, …)`: the plain computation on the same files as `open_tiny(architecture, …)`."""

    def make(architecture: str, **variant: bool) -> ReferenceModel:
        return ReferenceModel(tiny_model(architecture, **variant), bos=variant.get("bos", True))

    return make


@pytest.fixture
def own_copy(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A folder with the tiny Llama that the test may write to."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "own"))


@pytest.fixture
def model(tiny_model: TinyModel) -> Any:
    """Weights of the tiny Llama that the test may change."""
    return AutoModelForCausalLM.from_pretrained(tiny_model("llama"), dtype=torch.float32)


def wrapped(model: Any, folder: Path, optimizations: Optimizations = ALL) -> HFBackend:
    return HFBackend(
        ModelSpec("tiny"), "commit", model, AutoTokenizer.from_pretrained(folder), optimizations=optimizations
    )


def edit_json(path: Path, **changes: object) -> None:
    table = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(table | changes), "utf-8")


def gpu_memory_runs_out() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory, on purpose")


def main_memory_runs_out() -> None:
    torch.empty(2**48)


class Spy:
    """Stands in for `model.forward`: notes the rows of every call, and fails with more rows than allowed."""

    def __init__(self, model: Any, rows_allowed: int = 10**9) -> None:
        self.forward = model.forward
        self.rows_allowed = rows_allowed
        self.fail: Callable[[], None] = gpu_memory_runs_out
        self.rows: list[int] = []
        self.input_ids: list[list[int]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        rows = len(kwargs["input_ids"])
        self.rows.append(rows)
        self.input_ids += kwargs["input_ids"].tolist()
        if rows > self.rows_allowed:
            self.fail()
        return self.forward(*args, **kwargs)


@pytest.fixture
def spied(model: Any, tiny_model: TinyModel) -> tuple[HFBackend, Spy]:
    """A backend of padded batches whose model is watched."""
    backend = wrapped(model, tiny_model("llama"), optimizations=PADDED)
    model.forward = Spy(model)
    return backend, model.forward


@pytest.mark.parametrize(
    "architecture",
    # One of each way to know positions: turned, added to attention, and a window in every other layer.
    ["llama", "bloom", "gemma3", *(pytest.param(n, marks=pytest.mark.slow) for n in ("gpt_neox", "mpt", "qwen3"))],
)
class TestHF(BackendContract):
    """The contract, for every architecture."""

    @pytest.fixture
    def backend(self, architecture: str, open_tiny: OpenTiny) -> Backend:
        return open_tiny(architecture)

    @pytest.fixture
    def closable(self, architecture: str, tiny_model: TinyModel, settings: Settings) -> Backend:
        return open_backend(ModelSpec(str(tiny_model(architecture))), settings, device="cpu")

    @pytest.fixture
    def prompts(self) -> Sequence[Prompt]:
        return PROMPTS


class TestPadded(BackendContract):
    """The contract for padded batches of a model that could be packed."""

    @pytest.fixture
    def backend(self, model: Any, tiny_model: TinyModel) -> Backend:
        return wrapped(model, tiny_model("llama"), optimizations=PADDED)

    @pytest.fixture
    def closable(self, model: Any, tiny_model: TinyModel) -> Backend:
        return wrapped(model, tiny_model("llama"), optimizations=PADDED)

    @pytest.fixture
    def prompts(self) -> Sequence[Prompt]:
        return PROMPTS


# --- the same as the plain computation ------------------------------------------------------------------


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_text_equals_argmax_on_one_unpadded_sequence(
    architecture: str, bos: bool, open_tiny: OpenTiny, reference: Callable[..., ReferenceModel]
) -> None:
    plain = reference(architecture, bos=bos)
    results = collect(open_tiny(architecture, bos=bos).generate(PROMPTS, 16, never))
    for i, prompt in enumerate(PROMPTS):
        assert text_of(results[i]) == plain.greedy(plain.ids(prompt.text), 16)
        assert output(results[i]).prompt_tokens == len(plain.ids(prompt.text))


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logprobs_equal_those_of_one_unpadded_sequence(
    architecture: str, bos: bool, open_tiny: OpenTiny, reference: Callable[..., ReferenceModel]
) -> None:
    plain = reference(architecture, bos=bos)
    for i, result in collect(open_tiny(architecture, bos=bos).choose(PROMPTS, never)).items():
        expected = [plain.choice(PROMPTS[i], answer) for answer in ANSWERS]
        assert logprobs_of(result) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_left_padding_is_invisible(architecture: str, open_tiny: OpenTiny) -> None:
    backend = open_tiny(architecture)
    short, long = make_prompt("犬", ANSWERS), make_prompt("東京は日本の首都で、" * 20, ANSWERS)
    together = [short, long, short]
    alone = collect(backend.generate([short], 10, never))[0], collect(backend.choose([short], never))[0]
    for i in (0, 2):
        same(collect(backend.generate(together, 10, never))[i], alone[0])
        same(collect(backend.choose(together, never))[i], alone[1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_more_prompts_than_one_batch_holds_are_all_answered(architecture: str, open_tiny: OpenTiny) -> None:
    backend = open_tiny(architecture)
    many = [make_prompt(TEXTS[i % 5], ANSWERS[: 1 + i % 3], item_id=str(i)) for i in range(150)]
    generated, chosen = collect(backend.generate(many, 4, never)), collect(backend.choose(many, never))
    assert set(generated) == set(chosen) == set(range(150))
    for i in range(15, 150):
        same(generated[i], generated[i % 15])
        same(chosen[i], chosen[i % 15])


# --- tokens ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("appends_eos", [False, True])
def test_the_model_sees_bos_exactly_once_and_never_an_eos_of_the_tokenizer(
    tiny_model: TinyModel, model: Any, bos: bool, appends_eos: bool, chat: bool
) -> None:
    folder = tiny_model("llama", bos=bos, chat=chat, appends_eos=appends_eos)
    backend = wrapped(model, folder, optimizations=PADDED)
    spy = model.forward = Spy(model)
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = backend.render_chat([{"role": "user", "content": "今日は"}]) if chat else "今日は"
    prompt = make_prompt(text, ("含意",), chat=chat)
    collect(backend.generate([prompt], 1, never))
    collect(backend.choose([prompt], never))
    generated, chosen = spy.input_ids
    pieces = raw.encode("今日は", add_special_tokens=False).ids
    answer = raw.encode("含意", add_special_tokens=False).ids
    if chat:
        names = ("<s>", "<|user|>", "</s>", "<|assistant|>")
        start, user, end, assistant = (raw.token_to_id(name) for name in names)
        expected = [start, user, *pieces, end, assistant]
    else:
        expected = [raw.token_to_id("<s>"), *pieces] if bos else [*pieces]
    assert generated == expected
    assert chosen == expected + answer[:-1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_tokenizer_without_pad_token_changes_nothing(architecture: str, open_tiny: OpenTiny) -> None:
    padded, unpadded = open_tiny(architecture), open_tiny(architecture, pad=False)
    for i, result in collect(unpadded.generate(PROMPTS, 10, never)).items():
        same(result, collect(padded.generate([PROMPTS[i]], 10, never))[0])
    for i, result in collect(unpadded.choose(PROMPTS, never)).items():
        same(result, collect(padded.choose([PROMPTS[i]], never))[0])


def test_a_pad_token_outside_the_vocabulary_of_the_model_changes_nothing(
    own_copy: Path, settings: Settings, open_tiny: OpenTiny
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(own_copy)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(own_copy)
    backend = open_backend(ModelSpec(str(own_copy)), settings, device="cpu")
    for i, result in collect(backend.generate(PROMPTS, 10, never)).items():
        same(result, collect(open_tiny("llama").generate([PROMPTS[i]], 10, never))[0])
    for i, result in collect(backend.choose(PROMPTS, never)).items():
        same(result, collect(open_tiny("llama").choose([PROMPTS[i]], never))[0])


def test_neither_pad_nor_eos_changes_nothing_but_the_end(
    own_copy: Path, settings: Settings, open_tiny: OpenTiny
) -> None:
    for name in ("config.json", "generation_config.json"):
        edit_json(own_copy / name, eos_token_id=None, pad_token_id=None)
    tokenizer = json.loads((own_copy / "tokenizer_config.json").read_text("utf-8"))
    del tokenizer["eos_token"], tokenizer["pad_token"]
    (own_copy / "tokenizer_config.json").write_text(json.dumps(tokenizer), "utf-8")
    backend = open_backend(ModelSpec(str(own_copy)), settings, device="cpu")
    assert backend.info.eos == ""
    whole = collect(open_tiny("llama").generate(PROMPTS, 10, never))
    stops = [text_of(whole[i])[2 * i : 2 * i + 2] for i in range(len(PROMPTS))]
    stopping = [make_prompt(p.text, stop=(stops[i],)) for i, p in enumerate(PROMPTS)]
    for i, result in collect(backend.generate(stopping, 10, never)).items():
        assert text_of(result) == text_of(whole[i]).split(stops[i])[0]
        same(result, collect(backend.generate([stopping[i]], 10, never))[0])


def test_no_chat_template_is_said_with_a_remedy(open_tiny: OpenTiny) -> None:
    backend = open_tiny("llama")
    assert not backend.info.has_chat_template
    with pytest.raises(ModelError, match=r"has no chat template\. Choose another prompt format"):
        backend.render_chat([{"role": "user", "content": "今日は"}])


def test_a_missing_chat_template_is_found_before_the_weights_are_loaded(own_copy: Path, settings: Settings) -> None:
    edit_json(own_copy / "config.json", hidden_size=32)  # The weights have another shape: loading them fails.
    with pytest.raises(ModelError, match=r"do not have the sizes that its config\.json describes"):
        open_backend(ModelSpec(str(own_copy)), settings, device="cpu")
    with pytest.raises(ModelError, match=r"has no chat template\. Choose another prompt format"):
        open_backend(ModelSpec(str(own_copy)), settings, device="cpu", needs_template=True)
    chat = PromptSpec(format="chat")
    plan = make_plan(settings, ModelSpec(str(own_copy)), ["jnli"], data_kind="sample", limit=1, prompt=chat)
    with (
        ModelPool(settings, device="cpu") as pool,
        pytest.raises(ModelError, match=r"has no chat template\. Choose another prompt format"),
    ):
        list(run_plan(plan, pool, settings.runs_dir))
    assert not list(settings.runs_dir.glob("*/manifest.json"))


def test_a_chat_template_that_refuses_a_role_is_said_with_a_remedy(own_copy: Path, settings: Settings) -> None:
    edit_json(own_copy / "tokenizer_config.json", chat_template="{{ raise_exception('no system role here') }}")
    backend = open_backend(ModelSpec(str(own_copy)), settings, device="cpu")
    with pytest.raises(ModelError, match=r"refused this conversation \(no system role here\)\. Leave out the system"):
        backend.render_chat([{"role": "system", "content": "今日は"}])


def test_a_chat_is_rendered_with_the_opening_of_the_answer(open_tiny: OpenTiny) -> None:
    backend = open_tiny("llama", chat=True)
    assert backend.info.has_chat_template
    text = backend.render_chat([{"role": "user", "content": "今日は"}])
    assert text == "<s><|user|>今日は</s><|assistant|>"


def test_white_space_at_the_end_of_a_prompt_is_scored_with_the_answer(
    open_tiny: OpenTiny, reference: Callable[..., ReferenceModel]
) -> None:
    plain = reference("llama")
    prompt = make_prompt("答え： \n", ("冬",), lead=" ")
    ids = plain.ids("答え： \n 冬")
    (result,) = collect(open_tiny("llama").choose([prompt], never)).values()
    assert logprobs_of(result) == pytest.approx([plain.logprob(ids, len(plain.ids("答え：")))], abs=1e-3)


def test_an_answer_that_merges_with_the_prompt_keeps_its_last_token(
    open_tiny: OpenTiny, reference: Callable[..., ReferenceModel]
) -> None:
    plain = reference("llama")
    before, whole = plain.ids("関係：含"), plain.ids("関係：含意")
    assert whole[: len(before)] != before, "the border must merge for this test to say anything"
    (result,) = collect(open_tiny("llama").choose([make_prompt("関係：含", ("意",))], never)).values()
    assert logprobs_of(result) == pytest.approx([plain.logprob(whole, len(whole) - 1)], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "answer", "kind"),
    [("", "含意", "empty_prompt"), ("今日は", "", "empty_answer"), ("関係：", " ", "ok"), ("い", "る", "empty_prompt")],
)
def test_an_answer_is_never_scored_without_tokens_before_it_and_of_its_own(
    open_tiny: OpenTiny, text: str, answer: str, kind: str
) -> None:
    backend = open_tiny("llama", bos=False)
    prompts = [make_prompt(text, (answer, "中立")), PROMPTS[0]]
    results = collect(backend.choose(prompts, never))
    same(results[1], collect(backend.choose([PROMPTS[0]], never))[0])
    if kind == "ok":
        assert logprobs_of(results[0])[0] < 0
    else:
        error = results[0]
        assert isinstance(error, RunError)
        assert error.kind == kind


def test_a_prompt_without_tokens_is_an_error_of_its_own(open_tiny: OpenTiny) -> None:
    results = collect(open_tiny("llama", bos=False).generate([make_prompt(""), PROMPTS[0]], 4, never))
    assert isinstance(results[0], RunError)
    assert results[0].kind == "empty_prompt"
    assert text_of(results[1])


def test_an_item_without_choices_is_an_error_of_its_own(open_tiny: OpenTiny) -> None:
    results = collect(open_tiny("llama").choose([make_prompt("今日は", ()), PROMPTS[0]], never))
    assert isinstance(results[0], RunError)
    assert results[0].kind == "no_choices"
    assert logprobs_of(results[1])


# --- choices --------------------------------------------------------------------------------------------


def test_a_choice_that_begins_another_is_never_less_likely(
    open_tiny: OpenTiny, reference: Callable[..., ReferenceModel]
) -> None:
    plain = reference("llama")
    answers = ("中立", "中立です", "中立ですか")
    ids = [plain.ids("関係：" + a) for a in answers]
    assert ids[1][: len(ids[0])] == ids[0], "the tokens must be a prefix for this test to say anything"
    (result,) = collect(open_tiny("llama").choose([make_prompt("関係：", answers)], never)).values()
    values = logprobs_of(result)
    assert values[0] >= values[1]
    assert values == pytest.approx([plain.logprob(i, len(plain.ids("関係："))) for i in ids], abs=1e-3)


def test_two_equal_choices_get_equal_scores(open_tiny: OpenTiny) -> None:
    (result,) = collect(open_tiny("llama").choose([make_prompt("関係：", ("含意", "中立", "含意"))], never)).values()
    values = logprobs_of(result)
    assert values[0] == values[2] != values[1]


def test_single_token_choices_share_one_reading(spied: tuple[HFBackend, Spy]) -> None:
    backend, spy = spied
    answers = tuple("ABCDE")
    (result,) = collect(backend.choose([make_prompt("答え：", answers)], never)).values()
    assert len(set(logprobs_of(result))) == 5
    assert spy.rows == [1]


# --- how a generation ends ------------------------------------------------------------------------------


def first_tokens(plain: ReferenceModel, text: str, count: int) -> list[int]:
    ids = plain.ids(text)
    for _ in range(count):
        ids.append(int(plain.logits(ids)[-1].argmax()))
    return ids[-count:]


def test_every_end_token_of_the_checkpoint_ends_a_text(
    own_copy: Path, settings: Settings, reference: Callable[..., ReferenceModel]
) -> None:
    plain = reference("llama")
    ends = [first_tokens(plain, PROMPTS[1].text, 4)[3], first_tokens(plain, PROMPTS[3].text, 6)[5]]
    edit_json(own_copy / "generation_config.json", eos_token_id=ends)
    backend = open_backend(ModelSpec(str(own_copy)), settings, device="cpu")
    results = collect(backend.generate(PROMPTS, 12, never))
    for i, prompt in enumerate(PROMPTS):
        new = first_tokens(plain, prompt.text, 12)
        stop = next((k for k, token in enumerate(new) if token in ends), None)
        expected = new[:stop]
        assert text_of(results[i]) == plain.tokenizer.decode(expected, skip_special_tokens=True)
        assert output(results[i]).new_tokens == len(expected)
        assert output(results[i]).finish == ("length" if stop is None else "stop")
    assert {output(r).finish for r in results.values()} == {"length", "stop"}


def test_an_end_token_at_once_is_empty(
    own_copy: Path, settings: Settings, reference: Callable[..., ReferenceModel]
) -> None:
    (first,) = first_tokens(reference("llama"), PROMPTS[0].text, 1)
    edit_json(own_copy / "generation_config.json", eos_token_id=[first])
    backend = open_backend(ModelSpec(str(own_copy)), settings, device="cpu")
    result = output(collect(backend.generate(PROMPTS, 8, never))[0])
    assert (result.text, result.finish, result.new_tokens) == ("", "empty", 0)


def test_a_stop_string_at_the_very_beginning_is_empty(open_tiny: OpenTiny) -> None:
    backend = open_tiny("llama")
    whole = text_of(collect(backend.generate([PROMPTS[2]], 8, never))[0])
    result = output(collect(backend.generate([make_prompt(TEXTS[2], stop=(whole[0],))], 8, never))[0])
    assert (result.text, result.finish) == ("", "empty")


def test_reaching_the_token_limit_is_length_and_a_stop_string_is_stop(open_tiny: OpenTiny) -> None:
    backend = open_tiny("qwen3")
    whole = output(collect(backend.generate([PROMPTS[3]], 8, never))[0])
    assert (whole.finish, whole.new_tokens) == ("length", 8)
    assert whole.text
    stopped = output(collect(backend.generate([make_prompt(TEXTS[3], stop=(whole.text[-2:],))], 8, never))[0])
    assert stopped.finish == "stop"


def test_the_first_of_several_stop_strings_counts(open_tiny: OpenTiny) -> None:
    backend = open_tiny("llama")
    whole = text_of(collect(backend.generate([PROMPTS[2]], 12, never))[0])
    stops = (whole[5:7], whole[2:4])
    result = collect(backend.generate([make_prompt(TEXTS[2], stop=stops)], 12, never))[0]
    assert text_of(result) == whole[: min(whole.index(s) for s in stops)]


def test_a_stop_string_saves_the_tokens_after_it(spied: tuple[HFBackend, Spy]) -> None:
    backend, spy = spied
    whole = text_of(collect(backend.generate([PROMPTS[2]], 40, never))[0])
    spy.rows.clear()
    stopped = output(collect(backend.generate([make_prompt(TEXTS[2], stop=(whole[3],))], 40, never))[0])
    assert len(spy.rows) == stopped.new_tokens < 20


def test_a_request_to_stop_ends_within_one_token(spied: tuple[HFBackend, Spy]) -> None:
    backend, spy = spied
    stop = StopAfter(4)
    assert collect(backend.generate(PROMPTS, 40, stop)) == {}
    assert len(spy.rows) <= 4
    assert stop.asked <= 6


def test_a_request_to_stop_ends_choosing_within_one_batch(spied: tuple[HFBackend, Spy]) -> None:
    backend, spy = spied
    many = [make_prompt(f"{i}番目の質問です。" * 10, ANSWERS) for i in range(40)]
    whole = collect(backend.choose(many, never))
    batches = len(spy.rows)
    spy.rows.clear()
    # From the first layer of the last batch but one, in which it ends.
    results = collect(backend.choose(many, lambda: len(spy.rows) == batches - 1))
    assert len(spy.rows) == batches - 1 > 1
    assert 0 < len(results) < 40
    for i, result in results.items():
        same(result, whole[i])


# --- context length -------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, -1])
def test_a_prompt_over_the_context_length_is_overflow_and_nothing_is_cut(
    open_tiny: OpenTiny, reference: Callable[..., ReferenceModel], room: int
) -> None:
    backend, plain = open_tiny("llama"), reference("llama")
    assert backend.info.context_length == CONTEXT
    text = "AB" * ((CONTEXT - 8) // 2)
    tokens = len(plain.ids(text))
    new = CONTEXT - tokens - room
    prompt = make_prompt(text, ("A" * new, "B"))
    generated, chosen = (
        collect(backend.generate([prompt, PROMPTS[0]], new, never)),
        collect(backend.choose([prompt, PROMPTS[0]], never)),
    )
    if room < 0:
        assert generated[0] == Output("", "overflow", tokens, 0, 0.0)
        assert chosen[0] == Output(None, "overflow", tokens, 0, 0.0)
    else:
        assert text_of(generated[0]) == plain.greedy(plain.ids(text), new)
        assert logprobs_of(chosen[0]) == pytest.approx([plain.choice(prompt, a) for a in prompt.answers], abs=1e-3)
    assert text_of(generated[1])
    assert logprobs_of(chosen[1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_context_length_is_read_from_the_configuration(architecture: str, open_tiny: OpenTiny) -> None:
    # ALiBi in Bloom knows no limit.
    assert open_tiny(architecture).info.context_length == (None if architecture == "bloom" else CONTEXT)


# --- what must not happen silently ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_scores_are_an_error_of_the_item_and_the_others_are_answered(
    tiny_model: TinyModel, model: Any, reference: Callable[..., ReferenceModel], value: float
) -> None:
    plain = reference("llama")
    only_here = set(plain.ids(TEXTS[3])) - {t for i in (0, 1, 2, 4) for t in plain.ids(TEXTS[i])}
    with torch.no_grad():
        model.model.embed_tokens.weight[min(only_here)] = value
    backend = wrapped(model, tiny_model("llama"))
    for results in (collect(backend.generate(PROMPTS, 6, never)), collect(backend.choose(PROMPTS, never))):
        error = results.pop(3)
        assert isinstance(error, RunError)
        assert error.kind == "non_finite"
        assert len(results) == 4
        for i, result in results.items():
            if output(result).text is None:
                expected = [plain.choice(PROMPTS[i], a) for a in ANSWERS]
                assert logprobs_of(result) == pytest.approx(expected, abs=1e-3)
            else:
                assert text_of(result) == plain.greedy(plain.ids(TEXTS[i]), 6)


@pytest.mark.parametrize("fail", [gpu_memory_runs_out, main_memory_runs_out])
def test_running_out_of_memory_halves_the_batch_and_changes_no_result(
    spied: tuple[HFBackend, Spy], open_tiny: OpenTiny, fail: Callable[[], None]
) -> None:
    backend, spy = spied
    spy.rows_allowed, spy.fail = 1, fail
    generated, chosen = collect(backend.generate(PROMPTS, 8, never)), collect(backend.choose(PROMPTS, never))
    assert max(spy.rows) > 1
    whole = collect(open_tiny("llama").generate(PROMPTS, 8, never))
    scored = collect(open_tiny("llama").choose(PROMPTS, never))
    assert set(generated) == set(chosen) == set(range(len(PROMPTS)))
    for i in range(len(PROMPTS)):
        same(generated[i], whole[i])
        same(chosen[i], scored[i])


def test_an_item_that_does_not_fit_alone_is_an_error_and_the_others_go_on(
    spied: tuple[HFBackend, Spy], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, spy = spied
    forward, longest = spy.forward, 60

    def small_memory(*args: Any, **kwargs: Any) -> Any:
        if kwargs["attention_mask"].sum() > longest:
            raise torch.OutOfMemoryError("out of memory, on purpose")
        return forward(*args, **kwargs)

    spy.forward = small_memory
    big = make_prompt("東京は日本の首都で、" * 20, ANSWERS)
    prompts = [PROMPTS[0], big, PROMPTS[1]]
    for results in (collect(backend.generate(prompts, 4, never)), collect(backend.choose(prompts, never))):
        error = results[1]
        assert isinstance(error, RunError)
        assert error.kind == "out_of_memory"
        assert output(results[0])
        assert output(results[2])


def test_another_failure_of_the_model_ends_the_run_with_a_sentence(spied: tuple[HFBackend, Spy]) -> None:
    backend, spy = spied

    def fail() -> None:
        raise RuntimeError("mat1 and mat2 must have the same dtype\nand more")

    spy.rows_allowed, spy.fail = 0, fail
    says = r"^The model failed on a batch \(mat1 and mat2 must have the same dtype\)\. Try another dtype or device\.$"
    with pytest.raises(ModelError, match=says):
        collect(backend.generate(PROMPTS, 4, never))
    with pytest.raises(ModelError, match=says):
        collect(backend.choose(PROMPTS, never))


def test_when_nothing_fits_every_item_is_an_error(spied: tuple[HFBackend, Spy]) -> None:
    backend, spy = spied
    spy.rows_allowed = 0
    for results in (collect(backend.generate(PROMPTS, 4, never)), collect(backend.choose(PROMPTS, never))):
        assert len(results) == len(PROMPTS)
        assert all(isinstance(r, RunError) and r.kind == "out_of_memory" for r in results.values())


def test_sampling_and_penalties_of_the_checkpoint_change_nothing(
    own_copy: Path, settings: Settings, open_tiny: OpenTiny
) -> None:
    edit_json(
        own_copy / "generation_config.json",
        do_sample=True,
        temperature=5.0,
        top_k=3,
        top_p=0.5,
        repetition_penalty=3.0,
        no_repeat_ngram_size=1,
        min_new_tokens=3,
        suppress_tokens=list(range(5, 200)),
        num_beams=3,
        max_length=3,
    )
    backend = open_backend(ModelSpec(str(own_copy)), settings, device="cpu")
    whole = collect(open_tiny("llama").generate(PROMPTS, 12, never))
    for i, result in collect(backend.generate(PROMPTS, 12, never)).items():
        same(result, whole[i])


def test_missing_weights_are_refused_and_never_made_up(own_copy: Path, settings: Settings) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(own_copy / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, own_copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="up_proj"):
        open_backend(ModelSpec(str(own_copy)), settings, device="cpu")


# --- precision, device, memory --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "kind"), [("auto", "float32"), ("float32", "float32"), ("bfloat16", "bfloat16"), ("float16", "float16")]
)
def test_each_dtype_loads_and_answers(
    tiny_model: TinyModel, settings: Settings, open_tiny: OpenTiny, dtype: str, kind: str
) -> None:
    backend = open_backend(ModelSpec(str(tiny_model("llama")), dtype=dtype), settings, device="cpu")
    assert backend.info.dtype == kind
    exact = open_tiny("llama")
    share = 1.0 if kind == "float32" else 0.5
    assert backend.info.memory_bytes == pytest.approx(share * exact.info.memory_bytes, rel=0.01)
    assert all(text_of(r) for r in collect(backend.generate(PROMPTS, 4, never)).values())
    full = collect(exact.choose(PROMPTS, never))
    for i, result in collect(backend.choose(PROMPTS, never)).items():
        assert logprobs_of(result) == pytest.approx(logprobs_of(full[i]), rel=0.1, abs=1.0)


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantized_models_load_on_a_cpu_and_answer(
    tiny_model: TinyModel, settings: Settings, open_tiny: OpenTiny, quantization: str
) -> None:
    backend = open_backend(ModelSpec(str(tiny_model("llama")), quantization=quantization), settings, device="cpu")
    assert backend.info.memory_bytes < 0.6 * open_tiny("llama").info.memory_bytes
    assert all(text_of(r) for r in collect(backend.generate(PROMPTS, 4, never)).values())
    chosen = collect(backend.choose(PROMPTS, never))
    full = collect(open_tiny("llama").choose(PROMPTS, never))
    for i, result in chosen.items():
        assert all(math.isfinite(v) and v < 0 for v in logprobs_of(result))
        assert logprobs_of(result) != logprobs_of(full[i])


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            ModelSpec("gemma-3-270m", dtype="bfloat61"),
            r"Unknown dtype 'bfloat61'\. Did you mean 'bfloat16'\? Known: auto, float32",
        ),
        (
            ModelSpec("gemma-3-270m", quantization="8bits"),
            r"Unknown quantization '8bits'\. Did you mean '8bit'\? Known: none, 8bit, 4bit",
        ),
        (
            ModelSpec("gemma-3-270m", backend="hff"),
            r"Unknown backend 'hff'\. Did you mean 'hf'\? Known: hf, openai_api, scripted",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(settings: Settings, spec: ModelSpec, says: str) -> None:
    with pytest.raises(UnknownNameError, match=says):
        open_backend(spec, settings)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "balanced"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_loads(settings: Settings, device: str) -> None:
    with pytest.raises(DeviceError, match=r"needs a CUDA GPU, and none was found\. Start .* with `--device cpu`"):
        open_backend(ModelSpec("no/such"), settings, device=device)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has an Apple GPU")
def test_an_apple_gpu_that_is_not_there_is_said_before_anything_loads(settings: Settings) -> None:
    with pytest.raises(DeviceError, match=r"needs an Apple GPU, and none was found\. Start .* with `--device cpu`"):
        open_backend(ModelSpec("no/such"), settings, device="mps")


@pytest.mark.parametrize("device", ["gpu", "", "cpu:x", "cuda:", "cpuu"])
def test_an_unknown_device_is_an_error_for_people(settings: Settings, tiny_model: TinyModel, device: str) -> None:
    with pytest.raises((UnknownNameError, DeviceError), match=r"device"):
        open_backend(ModelSpec(str(tiny_model("llama"))), settings, device=device)


@pytest.mark.parametrize("device", ["cuda:2", "cuda:", "cuda:x"])
def test_a_gpu_number_that_is_not_there_is_said_before_anything_loads(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match=r"no device .* this machine has cuda:0 to cuda:1"):
        open_backend(ModelSpec("no/such"), settings, device=device)


@pytest.mark.parametrize(("device", "free"), [("cuda", 5), ("cuda:1", 7), ("balanced", 12)])
def test_free_memory_is_that_of_the_gpus_the_model_goes_to(
    monkeypatch: pytest.MonkeyPatch, device: str, free: int
) -> None:
    table = {"cuda": 5, "cuda:0": 5, "cuda:1": 7}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda where: (table[where], 100))
    assert memory_free(device) == free


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("dtype", "quantization", "bytes_per_weight"),
    [("auto", "none", 4), ("float32", "none", 4), ("bfloat16", "none", 2), ("auto", "8bit", 1), ("auto", "4bit", 0.5)],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="auto is another dtype on a GPU")
def test_too_little_memory_is_said_before_anything_loads(
    tiny_model: TinyModel,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stored: str,
    dtype: str,
    quantization: str,
    bytes_per_weight: float,
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"), dtype=getattr(torch, stored))
    model.save_pretrained(tmp_path / "model")
    need = sum(p.numel() for p in model.parameters()) * bytes_per_weight
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    spec = ModelSpec(str(tmp_path / "model"), dtype=dtype, quantization=quantization)
    assert memory_needed(spec, settings) == pytest.approx(need, rel=0.02)
    monkeypatch.setattr("jglue_app.backends.hf.load.memory_free", lambda device: need * 0.99)
    with pytest.raises(DeviceError, match=r"needs about .* GB and .* GB are free\. Choose 8-bit or 4-bit"):
        open_backend(spec, settings, device="cpu")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_running_out_of_memory_while_loading_is_said(
    tiny_model: TinyModel, settings: Settings, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(DeviceError, match=r"not enough memory for .*\. Choose 8-bit or 4-bit"):
        open_backend(ModelSpec(str(tiny_model("llama"))), settings, device="cpu")


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantization_without_its_library_is_said_before_anything_loads(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, quantization: str
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(DeviceError, match=r"need the package bitsandbytes\. Run `pip install bitsandbytes`"):
        open_backend(ModelSpec("no/such", quantization=quantization), settings, device="cpu")


def test_the_memory_of_a_named_model_is_known_before_it_is_fetched(settings: Settings) -> None:
    # rinna's model has 3.61 billion weights; four bytes each on a CPU, half a byte in 4-bit.
    name = "rinna/japanese-gpt-neox-3.6b"
    assert memory_needed(ModelSpec(name, dtype="float32"), settings) == 14_440_000_000
    assert memory_needed(ModelSpec(name, dtype="bfloat16"), settings) == 7_220_000_000
    assert memory_needed(ModelSpec(name, quantization="4bit"), settings) == 1_805_000_000
    assert memory_needed(ModelSpec("some/model"), settings) is None


def test_an_encoder_decoder_model_is_refused(own_copy: Path, settings: Settings) -> None:
    (own_copy / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}', "utf-8")
    with pytest.raises(ModelError, match="encoder-decoder"):
        open_backend(ModelSpec(str(own_copy)), settings, device="cpu")


def test_closing_gives_the_weights_back(tiny_model: TinyModel, settings: Settings) -> None:
    import gc
    import weakref

    backend = open_backend(ModelSpec(str(tiny_model("llama"))), settings, device="cpu")
    weights = weakref.ref(backend._model)  # type: ignore[attr-defined]
    assert weights() is not None
    backend.close()
    gc.collect()
    assert weights() is None
