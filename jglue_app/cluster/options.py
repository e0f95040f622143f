"""What a user asks of a cluster, and how large its workers are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from jglue_app.errors import InputError

LOCAL, AUTO = "local", "auto"
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class RayOptions:
    """Where workers run, how many there are, and what each of them gets."""

    address: str = LOCAL
    """`local` (processes of this machine), `auto` (the cluster that this machine is in, or `RAY_ADDRESS`), or
    `HOST:PORT` of its head node."""
    min_workers: int = 1
    """So many are kept to the end."""
    max_workers: int | None = None
    """There are never more; None for as many as the cluster has room for."""
    cpus: int | None = None
    """CPUs of each worker; None for a number by the cluster."""
    device: str = "auto"
    """`cuda` (one GPU for each worker), `cpu`, or `auto`: the GPUs of the cluster if it has any."""

    @classmethod
    def parse(cls, address: str, workers: str | None = None, cpus: int | None = None, device: str = "auto") -> Self:
        """What was written on a command line.

        Args:
            workers: `N` or `MIN:MAX`.

        Raises:
            InputError: one of them cannot be used.
        """
        if address.startswith("ray://"):
            raise InputError(
                "--ray takes local, auto or HOST:PORT of a head node, not an address of Ray Client ({address}). Start "
                "the command on a machine of the cluster, or as a Ray job.",
                address=address,
            )
        if address not in (LOCAL, AUTO) and not re.fullmatch(r"[^\s/:]+:\d{1,5}", address):
            raise InputError("--ray takes local, auto or HOST:PORT of a head node, not {address!r}.", address=address)
        match = re.fullmatch(r"(?:(\d{1,5}):)?(\d{1,5})", workers or "1")
        least, most = (int(match[1] or match[2]), int(match[2])) if match else (0, 0)
        if not 1 <= least <= most:
            raise InputError(
                "--ray-workers takes a number of workers, or a smallest and a largest one such as 1:8; not {text!r}.",
                text=workers,
            )
        if cpus is not None and cpus < 1:
            raise InputError("--ray-cpus takes a number of CPUs above 0, not {cpus}.", cpus=cpus)
        if device not in DEVICES:
            raise InputError(
                "With --ray each worker has one GPU or none: --device takes auto, cpu or cuda, not {device!r}.",
                device=device,
            )
        return cls(address, least, most if workers else None, cpus, device)


class NodeSize(NamedTuple):
    """What one machine of a cluster lends in all."""

    cpus: float
    gpus: float


class WorkerSize(NamedTuple):
    """What each worker takes, and how many there may be."""

    cpus: int
    gpus: int
    least: int
    most: int


def worker_size(options: RayOptions, nodes: Sequence[NodeSize]) -> WorkerSize:
    """The workers for a cluster of some machines.

    Raises:
        InputError: GPUs are asked for and there are none, or no machine is large enough for one worker.
    """
    on_gpu = options.device != "cpu" and any(node.gpus >= 1 for node in nodes)
    if options.device == "cuda" and not on_gpu:
        raise InputError(
            "The Ray cluster ({address}) has no GPU. Add a machine with one, or compute on CPUs: --device cpu.",
            address=options.address,
        )
    suited = [node for node in nodes if node.gpus >= 1] if on_gpu else [node for node in nodes if node.cpus >= 1]
    largest = int(max((node.cpus for node in suited), default=0))
    cpus = options.cpus or (1 if on_gpu else _cpus_each(options.max_workers, suited))
    if cpus > largest:
        raise InputError(
            "A worker takes {cpus} CPUs, and no suitable machine of the Ray cluster has more than {largest}. Choose "
            "fewer: --ray-cpus.",
            cpus=cpus,
            largest=largest,
        )
    room = sum(int(min(node.cpus // cpus, node.gpus if on_gpu else node.cpus)) for node in suited)
    most = options.max_workers or max(room, options.min_workers)
    return WorkerSize(cpus, int(on_gpu), min(options.min_workers, most), most)


def _cpus_each(workers: int | None, nodes: Sequence[NodeSize]) -> int:
    """CPUs of each of some workers that share all there are; of one a machine, if it is not said how many."""
    sizes = [int(node.cpus) for node in nodes]
    if workers is None:
        return min(sizes, default=1)
    # The largest size at which they all have room; one CPU where there are more workers than CPUs.
    return next((n for n in range(max(sizes, default=1), 1, -1) if sum(size // n for size in sizes) >= workers), 1)
