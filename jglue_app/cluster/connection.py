"""A Ray cluster: one that is there, or one of processes on this machine."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jglue_app.cluster.options import AUTO, LOCAL, NodeSize, RayOptions
from jglue_app.errors import InputError, NetworkError, first_line, reason_of

CONNECT_S = 5.0
"""How long the head node may take to answer. Where nothing answers, Ray would end this process after a minute."""
OBJECT_STORE_BYTES = 256 * 2**20
"""Memory of a cluster of our own for what is on its way: prompts and records are small."""
ENVIRONMENT = {
    # Nothing is sent to anybody about how Ray is used.
    "RAY_USAGE_STATS_ENABLED": "0",
    # As in later versions: without it Ray warns of the change.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # What it tells of lost workers goes to standard output, which is for results; notices of ours say the same.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
}
"""Variables for Ray, where they are not set."""
LOCAL_ENVIRONMENT = {**ENVIRONMENT, "RAY_AUTH_MODE": "token"}
"""The same for a cluster of our own: its processes run what they are sent, and a token keeps other users out. Ray makes
it by itself."""


@contextmanager
def connected(options: RayOptions) -> Iterator[Any]:
    """The module ray, connected. A cluster of our own ends afterwards; a connection that was there before stays.

    Raises:
        InputError: the package is missing, there is no such cluster, or it has other versions or another token.
        NetworkError: it does not answer.
    """
    with _environment(LOCAL_ENVIRONMENT if options.address == LOCAL else ENVIRONMENT):
        yield from _connection(options)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process, where they are not set; afterwards they are not, for other clusters and programs."""
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _connection(options: RayOptions) -> Iterator[Any]:
    """See `connected`."""
    try:
        ray = importlib.import_module("ray")
    except ImportError as e:
        raise InputError(
            "--ray needs the package ray, which is not installed. Install it, on every machine of the cluster: "
            "pip install 'ray>=2.60'"
        ) from e
    if ray.is_initialized():
        yield ray
        return
    with _own_signal_handlers():
        _connect(ray, options)
    try:
        yield ray
    finally:
        ray.shutdown()


def node_sizes(ray: Any) -> list[NodeSize]:
    """What each machine of the cluster lends."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [NodeSize(float(node.get("CPU", 0)), float(node.get("GPU", 0))) for node in nodes]


def _connect(ray: Any, options: RayOptions) -> None:
    address = options.address
    listens = address != LOCAL and _require_answer(address)
    local = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, ray.exceptions.AuthenticationError) as e:
        if listens or isinstance(e, ray.exceptions.AuthenticationError):
            raise InputError(
                "The Ray cluster ({address}) does not let this process in. Set RAY_AUTH_MODE, and RAY_AUTH_TOKEN or "
                "RAY_AUTH_TOKEN_PATH, as on its machines.",
                address=address,
            ) from e
        raise InputError(
            "There is no Ray cluster ({address}). Start one with `ray start --head`, name the address of its head "
            "node, or leave it to this machine: --ray local.",
            address=address,
        ) from e
    except RuntimeError as e:
        if "Version mismatch" in str(e):
            versions = " ".join(line.strip() for line in str(e).splitlines() if line.startswith(" "))
            raise InputError(
                "The Ray cluster ({address}) and this machine have different versions of Ray or Python ({versions}). "
                "Install the same ones.",
                address=address,
                versions=versions,
            ) from e
        raise NetworkError("Ray cannot be started ({reason}).", reason=first_line(e)) from e
    except (OSError, ValueError, ray.exceptions.RayError) as e:
        raise NetworkError("Ray cannot be started ({reason}).", reason=first_line(e)) from e


def _require_answer(address: str) -> bool:
    """Whether something listens at the head node's address, as far as that is known; raises NetworkError if nothing
    does."""
    address = _noted_address() if address == AUTO else address
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return False  # Ray finds it by itself, or says that there is none.
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as e:
        raise NetworkError(
            "The head node of the Ray cluster ({address}) does not answer ({reason}). Check the address, and that the "
            "cluster runs.",
            address=address,
            reason=reason_of(e),
        ) from e
    return True


def _noted_address() -> str:
    """The address that `auto` stands for, as far as it is noted; else empty."""
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (folder / "ray" / "ray_current_cluster").read_text("utf-8").strip()
    return ""


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Ray replaces the handlers of this process, which stop a run in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
