"""Checkpoints of GPTQ and AWQ, packed by hand as their formats say, answer like the same weights unpacked by hand.

Their packages are not among the requirements of the tests: `pip install -e '.[gptq,awq]'`, then

    python -m pytest -n 0 tests/backends/test_gptqmodel.py

The first time gptqmodel compiles its kernels, which takes minutes and needs a compiler.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jglue_app.backends import open_backend
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Output, Prompt
from tests.backends.test_compressed_tensors import ANSWERS, PROMPT, apart, by_hand
from tests.conftest import TinyModel

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("gptqmodel", "optimum")),
    reason="optimum or gptqmodel is not installed",
)
GROUP = 32
"""Rows of a weight (in, out) that share a scale."""
BITS = 4
ZERO = 8
"""The level that stands for 0, of 16."""


AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight columns lies in which bits of an int32, from the lowest on."""


def rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Levels (in, out) and scales (groups, out) of a weight (out, in), and the weight that they stand for."""
    columns = weight.T.contiguous()
    rows = columns.reshape(-1, GROUP, columns.shape[1])
    scales = (rows.abs().amax(dim=1) / (ZERO - 1)).half().float()
    levels = ((rows / scales[:, None]).round() + ZERO).clamp(0, 15)
    value = ((levels - ZERO) * scales[:, None]).reshape(columns.shape).T.contiguous()
    return levels.reshape(columns.shape).long(), scales, value


def as_gptq(levels: torch.Tensor, scales: torch.Tensor) -> dict[str, torch.Tensor]:
    """Eight levels in an int32, the first in the lowest bits: in `qweight` (in / 8, out) those of eight rows, in
    `qzeros` (groups, out / 8) those of eight columns, each less one. A weight is scale · (level − zero)."""
    shifts = torch.arange(8) * BITS
    by_eight = levels.reshape(-1, 8, levels.shape[1]) << shifts[None, :, None]
    zeros = torch.full((scales.shape[0], scales.shape[1] // 8, 8), ZERO - 1) << shifts
    return {
        "qweight": _int32(by_eight.sum(dim=1)),
        "qzeros": _int32(zeros.sum(dim=-1)),
        "scales": scales.half(),
        "g_idx": (torch.arange(levels.shape[0]) // GROUP).int(),
    }


def as_awq(levels: torch.Tensor, scales: torch.Tensor) -> dict[str, torch.Tensor]:
    """Eight columns in an int32 in the order of AWQ: `qweight` (in, out / 8) and `qzeros` (groups, out / 8)."""
    shifts = torch.arange(8) * BITS
    by_eight = levels.reshape(levels.shape[0], -1, 8)[:, :, list(AWQ_ORDER)] << shifts
    zeros = torch.full((scales.shape[0], scales.shape[1] // 8, 8), ZERO) << shifts
    return {"qweight": _int32(by_eight.sum(dim=-1)), "qzeros": _int32(zeros.sum(dim=-1)), "scales": scales.half()}


Pack = Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]
SHARED = {"bits": BITS, "group_size": GROUP}
METHODS: dict[str, tuple[Pack, dict[str, object]]] = {
    "GPTQ": (as_gptq, {"quant_method": "gptq", "desc_act": False, "sym": True, "checkpoint_format": "gptq"}),
    "AWQ": (as_awq, {"quant_method": "awq", "version": "gemm", "zero_point": True}),
}


def _int32(values: torch.Tensor) -> torch.Tensor:
    """The same 32 bits as a signed number."""
    return torch.where(values >= 2**31, values - 2**32, values).int()


@pytest.mark.parametrize("method", METHODS)
# Of optimum and gptqmodel.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_it_answers_like_the_weights_unpacked_by_hand(
    tiny_model: TinyModel, settings: Settings, tmp_path: Path, method: str
) -> None:
    pack, how = METHODS[method]
    source = tiny_model("llama")
    quantized, plain = (Path(shutil.copytree(source, tmp_path / name)) for name in ("quantized", "plain"))
    weights, unpacked = (load_file(source / "model.safetensors") for _ in range(2))
    for key in [key for key in weights if key.endswith("_proj.weight")]:
        levels, scales, unpacked[key] = rounded(weights.pop(key))
        tensors = pack(levels, scales)
        weights |= {f"{key.removesuffix('weight')}{name}": tensor for name, tensor in tensors.items()}
    save_file(weights, quantized / "model.safetensors", {"format": "pt"})
    save_file(unpacked, plain / "model.safetensors", {"format": "pt"})
    table = json.loads((quantized / "config.json").read_text("utf-8"))
    table["quantization_config"] = SHARED | how
    (quantized / "config.json").write_text(json.dumps(table), "utf-8")

    backend = open_backend(ModelSpec(str(quantized), dtype="float32"), settings, device="cpu")
    assert backend.info.quantized == f"{method} 4-bit"
    prompt = Prompt("jnli", "1", PROMPT, None, ("\n",), ANSWERS, "", (), "")
    ((_, chosen),) = list(backend.choose([prompt], lambda: False))
    ((_, generated),) = list(backend.generate([prompt], 4, lambda: False))
    backend.close()
    assert isinstance(chosen, Output) and isinstance(generated, Output)
    assert chosen.choice_logprobs is not None
    unpacked_by_hand = by_hand(plain)
    assert apart(unpacked_by_hand, by_hand(source)) > 1  # The rounding is to be seen.
    # On a CPU its kernels multiply in 16 bits, whatever the dtype of the run.
    assert apart(chosen.choice_logprobs, unpacked_by_hand) < 0.05
