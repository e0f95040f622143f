"""Which data the systems behind the protocols evaluated on."""

from __future__ import annotations

import pytest

from jglue_app.data.known_items import LABEL_VERSIONS
from jglue_app.data.system_data import SYSTEM_DATA, data_of
from jglue_app.scoring.protocols import PROTOCOLS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_data_of_every_protocol_is_known(protocol: str) -> None:
    found = data_of(protocol)
    assert found is not None
    assert found.labels in LABEL_VERSIONS
    assert found.source


@pytest.mark.parametrize(
    ("protocol", "labels", "jsquad"),
    [
        ("official", "v1.3", 4442),
        ("wandb-2023-4shot", "v1.1", 4422),
        ("wandb-2023-0shot", "v1.1", 4422),
        ("stability-jp", "v1.1", 4442),
        ("nejumi-4", "v1.1", 100),
        ("swallow-202411", "v1.1", 4442),
        ("stability-jp-capped", "v1.1", 4442),
    ],
)
def test_labels_and_numbers_of_items_are_the_published_ones(protocol: str, labels: str, jsquad: int) -> None:
    found = data_of(protocol)
    assert found is not None
    assert (found.labels, found.items["jsquad"]) == (labels, jsquad)


@pytest.mark.parametrize("protocol", ["llm-jp-eval", "swallow-202411", "lm-eval-ja", "stability-jp", "nejumi-4"])
def test_every_subset_that_a_system_scored_is_among_its_data(protocol: str) -> None:
    found = data_of(protocol)
    assert found is not None
    # How many MARC-ja items it had is not known of any of them.
    assert set(found.items) == set(PROTOCOLS[protocol].metrics) - {"marc_ja"}


def test_a_protocol_of_no_system_has_no_data() -> None:
    assert data_of("wandb") is None
    assert data_of("official2") is None
    assert len({row.system for row in SYSTEM_DATA}) == len(SYSTEM_DATA)
