"""What may be asked of a cluster, and how large its workers are."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from jglue_app.cluster.connection import LOCAL_ENVIRONMENT, connected
from jglue_app.cluster.options import NodeSize, RayOptions, WorkerSize, worker_size
from jglue_app.cluster.versions import require_same_versions
from jglue_app.errors import InputError

GPU_NODE, CPU_NODE = NodeSize(16, 4), NodeSize(8, 0)


@pytest.mark.parametrize(
    ("address", "workers", "least", "most"),
    [
        ("local", None, 1, None),
        ("auto", "4", 4, 4),
        ("10.0.0.7:6379", "2:8", 2, 8),
        ("head.example:6379", "3:3", 3, 3),
    ],
)
def test_a_number_of_workers_is_one_or_a_smallest_and_a_largest(
    address: str, workers: str | None, least: int, most: int | None
) -> None:
    options = RayOptions.parse(address, workers)
    assert (options.address, options.min_workers, options.max_workers) == (address, least, most)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("ray://head:10001", None, None, "auto"), "Ray Client"),
        (("head", None, None, "auto"), "'head'"),
        (("local", "8:2", None, "auto"), "'8:2'"),
        (("local", "0", None, "auto"), "'0'"),
        (("local", "many", None, "auto"), "'many'"),
        (("local", "2", 0, "auto"), "--ray-cpus"),
        (("local", "2", 1, "cuda:1"), "'cuda:1'"),
        (("local", "2", 1, "balanced"), "'balanced'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    given: tuple[str, str | None, int | None, str], named: str
) -> None:
    with pytest.raises(InputError, match=r"--") as refused:
        RayOptions.parse(*given)
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("options", "nodes", "size"),
    [
        # One worker for each GPU; machines without one do nothing.
        (RayOptions(), [GPU_NODE, GPU_NODE, CPU_NODE], WorkerSize(1, 1, 1, 8)),
        # Three of the four GPUs have so many CPUs beside them.
        (RayOptions(cpus=5), [GPU_NODE], WorkerSize(5, 1, 1, 3)),
        (RayOptions(min_workers=2, max_workers=2), [GPU_NODE], WorkerSize(1, 1, 2, 2)),
        # Without GPUs one a machine with all its CPUs, or a share of them.
        (RayOptions(device="cpu"), [GPU_NODE, CPU_NODE], WorkerSize(8, 0, 1, 3)),
        (RayOptions(max_workers=4), [CPU_NODE], WorkerSize(2, 0, 1, 4)),
        (RayOptions(max_workers=3), [CPU_NODE, CPU_NODE], WorkerSize(4, 0, 1, 3)),
        (RayOptions(max_workers=2), [NodeSize(1, 0)], WorkerSize(1, 0, 1, 2)),
        (RayOptions(cpus=2), [CPU_NODE], WorkerSize(2, 0, 1, 4)),
    ],
)
def test_workers_fit_into_the_machines(options: RayOptions, nodes: Sequence[NodeSize], size: WorkerSize) -> None:
    assert worker_size(options, nodes) == size


def test_a_cluster_without_gpus_is_told_of_when_they_are_asked_for() -> None:
    with pytest.raises(InputError, match=r"has no GPU\..*--device cpu"):
        worker_size(RayOptions("auto", device="cuda"), [CPU_NODE, CPU_NODE])
    with pytest.raises(InputError, match=r"takes 9 CPUs.*more than 8"):
        worker_size(RayOptions(cpus=9), [CPU_NODE])


HERE = {"host": "driver", "Python": "3.11", "jglue-app": "1.0", "torch": "2.8.0+cpu", "transformers": "5.20.0"}


def test_another_build_of_the_same_release_is_the_same_version() -> None:
    require_same_versions(HERE, {**HERE, "host": "n1", "torch": "2.8.0+cu128"})


@pytest.mark.parametrize(
    ("changed", "there", "here"),
    [
        ({"torch": "2.9.0+cpu"}, "torch 2.9.0+cpu", "torch 2.8.0+cpu"),
        ({"Python": "3.12", "transformers": ""}, "Python 3.12, no transformers", "Python 3.11, transformers 5.20.0"),
        ({"jglue-app": ""}, "no jglue-app", "jglue-app 1.0"),
    ],
)
def test_other_versions_are_told_of_with_the_machine(changed: dict[str, str], there: str, here: str) -> None:
    with pytest.raises(InputError) as refused:
        require_same_versions(HERE, {**HERE, "host": "n7", **changed})
    assert str(refused.value).startswith(f"The worker on n7 has {there}, and this machine (driver) has {here}.")


def test_variables_for_ray_do_not_outlive_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOCAL_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    before, within = dict(os.environ), dict[str, str]()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        patch.setattr(importlib, "import_module", lambda name: within.update(os.environ) or __import__(name))
        with pytest.raises(InputError), connected(RayOptions("local")):
            pass
    assert (within["RAY_AUTH_MODE"], within["RAY_USAGE_STATS_ENABLED"]) == ("token", "1")
    assert dict(os.environ) == before


def test_without_the_package_ray_the_command_says_how_to_install_it() -> None:
    script = (
        "import sys; sys.modules['ray'] = None\n"
        "from jglue_app.cluster import RayOptions\n"
        "from jglue_app.cluster.connection import connected\n"
        "from jglue_app.errors import InputError\n"
        "try:\n"
        "    with connected(RayOptions()): pass\n"
        "except InputError as e: print(e)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "pip install 'ray>=2.60'" in told.stdout, told.stderr
