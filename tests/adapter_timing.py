"""How long an adapter on loaded weights takes, and how long the model itself takes to load again.

    python -m tests.adapter_timing [--model gemma-3-270m]

A LoRA of rank 8 with random weights on all linear layers is made in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jglue_app.backends.hf.checkpoint.find_weights import find_model
from jglue_app.backends.pool import ModelPool
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec, Prompt
from tests.peft_adapters import KINDS, make_adapter

PROMPT = Prompt(
    "jnli", "1", "前提：犬が庭を走っている。\n仮説：動物が外にいる。\n関係：", None, (), ("含意", "矛盾"), "", (), ""
)


def seconds(work: Callable[[], Any]) -> float:
    """Time of the process in one call: that of all its threads together, whatever else the machine does."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gemma-3-270m")
    model: str = parser.parse_args(arguments).model
    settings = load_settings()
    KINDS["timed"] = ("LORA", {"r": 8, "target_modules": "all-linear"})
    with tempfile.TemporaryDirectory() as place, ModelPool(settings, device="cpu") as pool:
        base_folder = Path(find_model(ModelSpec(model), settings, print).path)
        adapters = []
        for seed in (1, 2):
            folder = make_adapter(base_folder, Path(place) / f"lora-{seed}", "timed", seed=seed, size=0.01)
            config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
            (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": model}))
            adapters.append(ModelSpec(model, adapter=str(folder)))
        base = ModelSpec(model)

        def get(spec: ModelSpec) -> float:
            return seconds(lambda: pool.get(spec))

        def answer(spec: ModelSpec) -> float:
            backend = pool.get(spec)
            return seconds(
                lambda: (
                    list(backend.choose([PROMPT], lambda: False)),
                    list(backend.generate([PROMPT], 8, lambda: False)),
                )
            )

        print(f"first load of {model}: {get(base):.2f} s; first answers {answer(base):.2f} s")
        pool.clear()
        print(f"load again: {get(base):.2f} s; first answers {answer(base):.2f} s, next {answer(base):.2f} s")
        for number, spec in enumerate(adapters, 1):
            applied = get(spec)
            answers = answer(spec), answer(spec)
            print(f"apply adapter {number}: {applied:.2f} s; first answers {answers[0]:.2f} s, next {answers[1]:.2f} s")
        for name, spec in (
            ("the base", base),
            ("adapter 1", adapters[0]),
            ("adapter 2", adapters[1]),
            ("the base", base),
        ):
            print(f"switch to {name}: {get(spec) * 1000:.2f} ms")


if __name__ == "__main__":
    main()
