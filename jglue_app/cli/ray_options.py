"""`--ray` and what belongs to it."""

from __future__ import annotations

from typing import Annotated

import typer

from jglue_app.cluster import RayOptions
from jglue_app.errors import InputError

RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Answer over workers of a Ray cluster: local (processes of this machine), auto (the cluster it is in) or "
        "HOST:PORT of a head node. Needs pip install 'ray>=2.60'.",
    ),
]
RayWorkersOption = Annotated[
    str | None, typer.Option("--ray-workers", help="N workers, or MIN:MAX; without it, as many as there is room for.")
]
RayCpusOption = Annotated[
    int | None, typer.Option("--ray-cpus", help="CPUs of each worker; without it, 1 with a GPU, else an even share.")
]


def ray_options(address: str | None, workers: str | None, cpus: int | None, device: str) -> RayOptions | None:
    """What was asked of a cluster; None if nothing was. Raises InputError for what cannot be used."""
    if address is None:
        if workers is not None or cpus is not None:
            raise InputError("--ray-workers and --ray-cpus are for --ray: say where, such as --ray local.")
        return None
    return RayOptions.parse(address, workers, cpus, device)
