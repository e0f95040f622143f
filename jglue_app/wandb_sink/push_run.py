"""A stored run or comparison → W&B, from the side of whoever asks for it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jglue_app.errors import InputError, RunBusyError, StoreError
from jglue_app.results import archive
from jglue_app.runs.store import RunStore
from jglue_app.scoring.protocols import get_protocol
from jglue_app.settings import APP_NAME
from jglue_app.wandb_sink.login import Login, Target
from jglue_app.wandb_sink.payload import comparison_id, run_id
from jglue_app.wandb_sink.process import Worker

Say = Callable[[str], None]
SPARE_BYTES = 64 * 2**20
COPIES = 4
"""How often the content of a run lies in temporary files while it is sent: staged, as tables, as their artifacts."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What has arrived at W&B, or lies in an offline copy."""

    id: str
    """The W&B run's id."""
    path: str
    """`entity/project/id`."""
    url: str
    """Its page; empty for an offline copy."""
    tables: Mapping[str, int]
    """Table → rows."""
    scalars: int
    """Values in its summary."""
    offline: str = ""
    """Folder of an offline copy: `wandb sync` takes it."""
    name: str = ""
    """What W&B calls it for people, who may have changed it there."""


def push(
    run: Path,
    login: Login,
    *,
    protocol: str = "official",
    group: str | None = None,
    replace: bool = False,
    also: Sequence[Path] = (),
    say: Say = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Sent:
    """Send a stored run. Again, it updates the same W&B run.

    Args:
        run: its folder.
        login: where, and the key.
        protocol: whose scores stand first.
        group: W&B group; None leaves it as it is.
        replace: whether it may replace one of more items, of which it is a part.
        also: runs that are to be sent next. What speaks against one of them is told before anything is sent.
        say: takes sentences on the way.
        should_stop: asked a few times a second; what had arrived by then stays.

    Raises:
        StoreError: no run, or no room for temporary files.
        RunBusyError: it is being pushed to the same place already.
        InputError: the key, entity or project is not accepted, the run has nothing to score, or W&B has more of it.
        NetworkError: W&B was not reached or did not answer properly.
    """
    job = _job(run, protocol, login.target) | {"group": group, "replace": replace}
    job |= {"also": [str(other.resolve()) for other in also], "joined": group is not None}
    with alone(login, run_id(RunStore(run).spec().spec_id)):
        return _done(job, login, say, should_stop)


def push_comparison(
    a: Path,
    b: Path,
    login: Login,
    *,
    protocol: str = "official",
    replace: bool = False,
    say: Say = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Sent, Sent, Sent]:
    """Send two stored runs and a third W&B run that joins them; all in one group. See `push`."""
    id_ = comparison_id(*(RunStore(run).spec().spec_id for run in (a, b)))
    if a.resolve() == b.resolve():
        raise InputError("A and B are the same run. Name two.")
    more: dict[str, Any] = {"group": id_, "replace": replace, "say": say, "should_stop": should_stop}
    sides = [push(run, login, protocol=protocol, also=also, **more) for run, also in ((a, [b]), (b, []))]
    links = {side: sent.url for side, sent in zip("ab", sides, strict=True)}
    job = _comparison_job(a, b, protocol, login.target, links)
    with alone(login, id_):
        return sides[0], sides[1], _done(job, login, say, should_stop)


def write_offline(
    runs: tuple[Path, ...],
    target: Target,
    folder: Path,
    *,
    protocol: str = "official",
    compare: bool = False,
    say: Say = lambda _: None,
) -> list[Sent]:
    """What pushes would send, as copies that `wandb sync` sends later. No key is needed and none is used.

    Args:
        runs: folders of stored runs; two when they are to be compared.
        target: the project they are meant for.
        folder: where W&B's `wandb` folder is to lie.
        protocol: whose scores stand first.
        compare: whether to join the two.
        say: takes sentences on the way.

    Raises:
        StoreError: no run, or the folder cannot be written.
        InputError: a run has nothing to score.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StoreError(
            "{folder} cannot be made ({reason}). Name another with WANDB_DIR.", folder=folder, reason=e.strerror
        ) from e
    group = comparison_id(*(RunStore(run).spec().spec_id for run in runs)) if compare else None
    jobs = [_job(run, protocol, target, folder) | {"group": group} for run in runs]
    if compare:
        a, b = runs
        jobs.append(_comparison_job(a, b, protocol, target, {}))
    found = []
    for job in jobs:
        with Worker(job | {"offline": True}, None, keep=folder.resolve()) as worker:
            found.append(Sent(**worker.result(say)))
    return found


def _done(job: Mapping[str, Any], login: Login, say: Say, should_stop: Callable[[], bool]) -> Sent:
    with Worker(job, login) as worker:
        return Sent(**worker.result(say, should_stop))


def _job(run: Path, protocol: str, target: Target, room: Path | None = None) -> dict[str, Any]:
    get_protocol(protocol)
    RunStore(run).data()  # A damaged run is told before anything is asked of W&B.
    need = SPARE_BYTES + COPIES * sum((run / name).stat().st_size for name in archive.MEMBERS if (run / name).is_file())
    place = room or Path(tempfile.gettempdir())
    free = shutil.disk_usage(place).free
    if free < need:
        raise StoreError(
            "To push {run} about {need:,} MiB are needed in {place}, which has {free:,} MiB. Free "
            "some space, or set {choice} to a larger disk. The run is untouched.",
            run=run.name,
            need=need >> 20,
            place=place,
            free=free >> 20,
            choice="WANDB_DIR" if room else "TMPDIR",
        )
    where = {"entity": target.entity, "project": target.project}
    return {"action": "push", "folder": str(run.resolve()), "protocol": protocol, **where}


def _comparison_job(a: Path, b: Path, protocol: str, target: Target, links: Mapping[str, str]) -> dict[str, Any]:
    where = {"entity": target.entity, "project": target.project}
    sides = {"a": str(a.resolve()), "b": str(b.resolve())}
    return {"action": "compare", **sides, "protocol": protocol, "links": dict(links), **where}


@contextlib.contextmanager
def alone(login: Login, id_: str) -> Iterator[None]:
    """Hold a W&B run against a second push from this machine. The lock ends with the process, however that ends.

    Raises:
        RunBusyError: somebody else holds it.
        StoreError: there is no place for locks.
    """
    target = login.target
    # An entity may be named, or be the key's own: either tells the place.
    places = [f"key {login.key}", *([f"entity {target.entity}"] if target.entity else [])]
    with contextlib.ExitStack() as held:
        for place in places:
            name = hashlib.sha256(f"{target.base_url} {place} {target.project} {id_}".encode()).hexdigest()[:16]
            try:
                held.enter_context(FileLock(_locks() / f"{name}.lock", timeout=0))
            except Timeout as e:
                raise RunBusyError(
                    "{id} is being pushed to {path} already. Wait for its end.", id=id_, path=target.path
                ) from e
            except OSError as e:
                raise StoreError(
                    "{gettempdir} holds no lock ({reason}). Free some space, or set TMPDIR.",
                    gettempdir=tempfile.gettempdir(),
                    reason=e.strerror,
                ) from e
        yield


def _locks() -> Path:
    folder = Path(tempfile.gettempdir()) / f"{APP_NAME}-{os.getuid() if hasattr(os, 'getuid') else 'locks'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
