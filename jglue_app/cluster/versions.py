"""Whether a worker's machine has the versions of the driver."""

from __future__ import annotations

from collections.abc import Mapping

from jglue_app.errors import InputError
from jglue_app.messages import Joined, Message


def require_same_versions(here: Mapping[str, str], there: Mapping[str, str]) -> None:
    """Refuse a worker whose answers might differ for its versions; see `worker.process_facts`.

    What follows a `+` is left out: it names the kind of GPU that a package was built for.

    Raises:
        InputError: names the machine and what differs there.
    """
    names = [name for name in here if name != "host" and _release(here[name]) != _release(there.get(name, ""))]
    if not names:
        return
    raise InputError(
        "The worker on {host} has {there}, and this machine ({driver}) has {here}. Install the same versions on all "
        "machines of the cluster.",
        host=there.get("host", ""),
        driver=here["host"],
        there=Joined(", ", [_named(name, there.get(name, "")) for name in names]),
        here=Joined(", ", [_named(name, here[name]) for name in names]),
    )


def _release(version: str) -> str:
    return version.partition("+")[0]


def _named(package: str, version: str) -> str:
    return f"{package} {version}" if version else Message("no {package}", package=package)
