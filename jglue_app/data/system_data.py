"""Which data the systems of the protocols evaluated on: version of the labels, copy of JGLUE, and items per subset. No
I/O.

Two scores of one model can differ because of this alone: JNLI's labels changed in v1.2, and some systems read a
corrected copy, a part of the items, or leave some out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SystemData:
    """What one system evaluated on."""

    system: str
    """The beginning of the names of its protocols, such as `wandb-2023`."""
    labels: str
    """Version of the JNLI labels: `v1.1` or `v1.3`."""
    copy: str
    """Where it reads JGLUE from."""
    items: Mapping[str, int]
    """Subset → items it scores; a subset that it does not score, or whose number is not known, is missing."""
    note: str
    """Further facts, in one or two sentences; or empty."""
    source: str
    """Where this is written: repository, commit, file."""


_DEV = {"jsts": 1457, "jnli": 2434, "jsquad": 4442, "jcommonsenseqa": 1119}
"""Items of the dev files, the same numbers in v1.1 and v1.3."""


def _dev(*subsets: str, **other: int) -> Mapping[str, int]:
    return {name: _DEV[name] for name in subsets} | other


SYSTEM_DATA: tuple[SystemData, ...] = (
    SystemData(
        "official",
        "v1.3",
        "yahoojapan/JGLUE at v1.3.0",
        _DEV,
        "The baselines in its README were measured again after the labels had changed.",
        "yahoojapan/JGLUE, pull request 14, README.md at v1.3.0",
    ),
    SystemData(
        "wandb-2023",
        "v1.1",
        "shunk031/JGLUE",
        _dev("jsts", "jnli", "jcommonsenseqa", jsquad=4422),
        "The whole validation split, but for 20 JSQuAD items that have a long reference. "
        "100 items a subset came only in December 2023.",
        "wandb/llm-leaderboard, src/japanese-task-evaluation.py and src/utils.py, 2023-06-27 to 2023-11-01",
    ),
    SystemData(
        "stability-jp",
        "v1.1",
        "shunk031/JGLUE",
        _dev("jnli", "jsquad", "jcommonsenseqa"),
        "MARC-ja has 5,734 items in its older results and 5,654 in its newer ones. "
        "A list of 116 faulty JSQuAD items is in its code, but they are scored.",
        "Stability-AI/lm-evaluation-harness, branch jp-stable at effdbeaf, lm_eval/tasks/ja",
    ),
    SystemData(
        "llm-jp-eval",
        "v1.1",
        "yahoojapan/JGLUE at v1.1.0",
        _dev("jsts", "jnli", "jsquad", "jcommonsenseqa"),
        "Its test set is JGLUE's dev file. Its examples come from nine tenths of the train file, shuffled.",
        "swallow-llm/swallow-evaluation at 635f5a82, llm-jp-eval/src/llm_jp_eval/datasets",
    ),
    SystemData(
        "swallow-202411",
        "v1.1",
        "yahoojapan/JGLUE at v1.1.0",
        _dev("jsts", "jnli", "jsquad", "jcommonsenseqa"),
        "llm-jp-eval 1.3.0 with all items and the first four train items as examples. "
        "Its leaderboard prints JSQuAD and JCommonsenseQA alone.",
        "swallow-llm/swallow-evaluation at 635f5a82, llm-jp-eval/src/llm_jp_eval/datasets",
    ),
    SystemData(
        "nejumi-4",
        "v1.1",
        "the data of llm-jp-eval, stored as a W&B artifact",
        {"jnli": 100, "jsquad": 100, "jcommonsenseqa": 100, "jcola": 100},
        "The first 100 items of each dev file: an interval is 6.7 times as wide as on JSQuAD's 4,442.",
        "wandb/llm-leaderboard at 0172aa9e, scripts/evaluator/jaster.py",
    ),
    SystemData(
        "flexeval",
        "v1.1",
        "sbintuitions/JCommonsenseQA and sbintuitions/JSQuAD; llm-book/JGLUE for JNLI",
        _dev("jnli", "jsquad", "jcommonsenseqa"),
        "The first two are copies with SB Intuitions' corrections, so their gold answers are not all those of the "
        "official files.",
        "sbintuitions/flexeval at fd2dfc72, flexeval/preset_configs/EvalSetup/ja_generation",
    ),
    SystemData(
        "lm-eval-ja",
        "v1.1",
        "Rakuten/JGLUE",
        _dev("jnli", "jsquad", "jcommonsenseqa"),
        "",
        "EleutherAI/lm-evaluation-harness at 02e08142, lm_eval/tasks/japanese_leaderboard",
    ),
)
"""One row per system. The versions of copies that are older than v1.2 (March 2025) are v1.1; shunk031/JGLUE has no
newer one: its pull request 20 and its issue 33 are open."""


def data_of(protocol: str) -> SystemData | None:
    """What the system behind a protocol evaluated on; the variants of a system share it. None if unknown."""
    fitting = [row for row in SYSTEM_DATA if protocol == row.system or protocol.startswith(f"{row.system}-")]
    return max(fitting, key=lambda row: len(row.system), default=None)
