"""The rate at which this machine multiplies matrices: the upper bound of the benchmark."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from jglue_app.backends.hf.engine.linear import Product, can_pack, multiply, pack

MATRIX_SIZE = {"cpu": 2_048, "other": 8_192}
"""Rows and columns of the matrices that are multiplied."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a measurement."""

    device: str
    threads: int
    torch: str
    """Version."""
    dtype: str
    gflops: float
    """Best measured rate of matrix products in that dtype, 10⁹ operations per second."""


def measure_machine(device: str, dtype: str) -> Machine:
    """The device by its name, and the rate at which it multiplies large matrices.

    Args:
        device: as torch names it.
        dtype: `float32`, `bfloat16` or `float16`.
    """
    torch_device = torch.device(device)
    name = torch.cuda.get_device_name(torch_device) if torch_device.type == "cuda" else platform.machine()
    return Machine(
        name, torch.get_num_threads(), torch.__version__, dtype, _gemm_rate(torch_device, getattr(torch, dtype))
    )


@torch.inference_mode()
def _gemm_rate(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    size = MATRIX_SIZE["cpu" if device.type == "cpu" else "other"]
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    products: list[tuple[Product, torch.Tensor]] = [(functional.linear, b)]
    if can_pack(b):
        products.append((multiply, pack(b)))
    best = float("inf")
    for product, weight in products:
        product(a, weight)
        times: list[float] = []
        while sum(times) < seconds or len(times) < 5:
            _synchronize(device)
            started = time.perf_counter()
            product(a, weight)
            _synchronize(device)
            times.append(time.perf_counter() - started)
        best = min(best, *times)
    return float(2e-9 * size**3 / best)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def accelerator_peak() -> int | None:
    """Peak of this process's accelerator memory in bytes; None without a CUDA GPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
