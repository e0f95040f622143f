"""`python app.py` with the real package `spaces` in its ZeroGPU mode, on a machine without a GPU.

Two steps of it need one, in the process that was lent it: initialising CUDA, and moving what is on the emulated device
to the real one. They are left out; the model is then loaded on the processor there. The CPU build of torch lacks three
names of which `spaces` takes note.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_import_module = importlib.import_module


def _import(name: str, package: str | None = None) -> ModuleType:
    if name == "spaces":
        assert not {"torch", "gradio", "transformers"} & sys.modules.keys(), "spaces is to be imported before these"
        _complete_torch()
    module = _import_module(name, package)
    if name == "spaces":
        there: Any = _import_module("spaces.zero.torch")
        there.init, there.move = _without_gpu, _without_gpu
    return module


def _without_gpu(*args: object, **more: object) -> None:
    """In place of what needs a GPU."""


def _complete_torch() -> None:
    import torch

    if torch.version.cuda is None:
        torch.version.cuda = "12.8"
        torch._C._cuda_init = _without_gpu  # of CUDA builds
        torch.cuda._is_in_bad_fork = bool  # a lambda, which cannot be pickled, in the CPU build


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    importlib.import_module = _import
    runpy.run_path("app.py", run_name="__main__")
