"""Model folders that would run code when they are loaded: pickles, Python files and what leads to them.

They are opened by name in a process of its own, as the owner of a machine would open a folder that somebody gave them.
Each payload would write a file; that file is what is looked for, and so is the loading itself.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.attacks.outcome import Outcome
from tests.attacks.world import World
from tests.ui.conftest import ROOT

KIND = "pickles and repository code"
SECONDS = 300


class _Payload:
    """Unpickling it writes a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, (f"open({str(self._file)!r}, 'w').close()",)


def attack(world: World) -> Iterator[Outcome]:
    """All folders in one child."""
    folder = world.folder / "models"
    made = {name: _folder(folder / f"m{at}", name, change) for at, (name, change) in enumerate(CHANGES.items())}
    command = [sys.executable, "-m", "tests.attacks.open_child", *(str(path) for path in made.values())]
    environment = {**os.environ, "JGLUE_MODE": "local", "HF_HUB_OFFLINE": "1", "JGLUE_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for at, (name, path) in enumerate(made.items()):
        if list(path.glob("ran-*")):
            yield Outcome(KIND, name, "its code ran")
        elif at >= len(said):
            yield Outcome(KIND, name, f"the process ended: {done.stderr.strip()[-200:]}")
        else:
            yield Outcome(KIND, name, said[at]["through"])


def _folder(path: Path, name: str, change: Callable[[Path, Path], None]) -> Path:
    """A folder that looks like a small Llama, changed."""
    path.mkdir(parents=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 8, "hidden_size": 8} | {
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    change(path, path / "ran-it")
    return path


def _config(**more: Any) -> Callable[[Path, Path], None]:
    """More in config.json, and the module it names."""

    def change(folder: Path, ran: Path) -> None:
        config = json.loads((folder / "config.json").read_text("utf-8")) | more
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        _module(folder, ran)

    return change


def _module(folder: Path, ran: Path) -> None:
    code = f"open({str(ran)!r}, 'w').close()\nclass Odd: pass\n"
    for name in (
        "odd.py",
        "tokenizer.py",
        "modeling_odd.py",
        "configuration_odd.py",
        "tokenization_odd.py",
        "pipeline.py",
    ):
        (folder / name).write_text(code, "utf-8")


def _tokenizer(**more: Any) -> Callable[[Path, Path], None]:
    def change(folder: Path, ran: Path) -> None:
        (folder / "tokenizer_config.json").write_text(json.dumps(more), "utf-8")
        _module(folder, ran)

    return change


def _pickled(*names: str, zipped: bool = False) -> Callable[[Path, Path], None]:
    """Pickles under names that loaders read."""

    def change(folder: Path, ran: Path) -> None:
        content = pickle.dumps(_Payload(ran))
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if zipped:  # As torch.save writes.
                packed = io.BytesIO()
                with zipfile.ZipFile(packed, "w") as out:
                    out.writestr("archive/data.pkl", content)
                    out.writestr("archive/version", "3\n")
                path.write_bytes(packed.getvalue())
            else:
                path.write_bytes(content)

    return change


def _adapter(folder: Path, ran: Path) -> None:
    (folder / "config.json").unlink()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(folder), "auto_mapping": {"parent_library": "odd"}}
    (folder / "adapter_config.json").write_text(json.dumps(settings), "utf-8")
    _pickled("adapter_model.bin", zipped=True)(folder, ran)
    _module(folder, ran)


def _linked(folder: Path, ran: Path) -> None:
    _pickled("weights.bin")(folder, ran)
    (folder / "model.safetensors").symlink_to(folder / "weights.bin")


def _template(text: str) -> Callable[[Path, Path], None]:
    def change(folder: Path, ran: Path) -> None:
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"chat_template": text.replace("FILE", str(ran))}), "utf-8"
        )
        (folder / "chat_template.jinja").write_text(text.replace("FILE", str(ran)), "utf-8")

    return change


def _sentence_transformer(folder: Path, ran: Path) -> None:
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "odd.Odd"},
        {"idx": 1, "name": "1", "path": "1", "type": "os.system"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    _module(folder, ran)


CHANGES: dict[str, Callable[[Path, Path], None]] = {
    "auto_map of the model": _config(auto_map={"AutoConfig": "odd.Odd", "AutoModelForCausalLM": "odd.Odd"}),
    "auto_map of one class": _config(auto_map={"AutoModelForCausalLM": "modeling_odd.Odd"}),
    "auto_map of another repository": _config(auto_map={"AutoModelForCausalLM": "somebody/else--odd.Odd"}),
    "auto_map and a kind that is unknown": _config(auto_map={"AutoConfig": "odd.Odd"}, model_type="odd"),
    "auto_map that is a list": _config(auto_map=["odd.Odd"]),
    "auto_map that is null": _config(auto_map=None, trust_remote_code=True),
    "trust_remote_code in the config": _config(trust_remote_code=True, auto_map={"AutoModel": "odd.Odd"}),
    "custom_pipelines": _config(custom_pipelines={"text-generation": {"impl": "pipeline.Odd", "pt": ["odd.Odd"]}}),
    "auto_map of the tokenizer": _tokenizer(auto_map={"AutoTokenizer": ["odd.Odd", None]}, tokenizer_class="Odd"),
    "tokenizer_class of a module": _tokenizer(tokenizer_class="odd.Odd"),
    "tokenizer.py": _tokenizer(tokenizer_class="OddTokenizer", auto_map={"AutoTokenizer": "tokenizer.Odd"}),
    "quantization by a class": _config(quantization_config={"quant_method": "odd", "module": "odd.Odd"}),
    "quantization by torchao": _config(
        quantization_config={"quant_method": "torchao", "quant_type": {"default": {"_type": "odd"}}}
    ),
    "generation by a repository": _config(
        custom_generate="odd", generation_config={"custom_generate": "somebody/else"}
    ),
    "kernels of a repository": _config(use_kernels=True, attn_implementation="somebody/kernel:odd"),
    "torch_dtype that is code": _config(torch_dtype="__import__('os').system('true')"),
    "pytorch_model.bin": _pickled("pytorch_model.bin"),
    "pytorch_model.bin as torch writes": _pickled("pytorch_model.bin", zipped=True),
    "pickle called model.safetensors": _pickled("model.safetensors"),
    "pickle called model.gguf": _pickled("model.gguf"),
    "safetensors that is a link": _linked,
    "tokenizer.model": _pickled("tokenizer.model", "spiece.model"),
    "keras and joblib files": _pickled("model.joblib", "saved_model.pb", "model.keras", "tf_model.h5", "model.pkl"),
    "training_args.bin and others": _pickled("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"),
    "flax, onnx and others": _pickled("flax_model.msgpack", "model.onnx", "rust_model.ot", "consolidated.00.pth"),
    "an adapter": _adapter,
    "modules of an embedding model": _sentence_transformer,
    "template that reaches classes": _template("{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "template that reaches globals": _template("{{ cycler.__init__.__globals__.os.system('touch FILE') }}"),
    "template that reaches an import": _template("{{ self.__init__.__globals__.__builtins__.__import__('os') }}"),
    "template that formats": _template("{{ '{0.__class__.__init__.__globals__}'.format(messages) }}"),
    "template that includes": _template("{% include '/etc/passwd' %}"),
    "template that raises": _template("{{ raise_exception('x') }}{{ strftime_now('%n' * 9) }}"),
}
