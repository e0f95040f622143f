"""Named scoring protocols: what one system would make of one stored record.

A system is a list of named decisions (`types.Rules` for each subset, with where its own code makes each), and one judge
carries out all of them. A new protocol is one file in this folder and a line in `PROTOCOLS`. A judge never raises,
whatever the output holds, and never falls back to a default that its system does not have.
"""

from __future__ import annotations

from jglue_app.errors import UnknownNameError
from jglue_app.scoring.protocols import flexeval, llm_jp_eval, lm_eval_ja, nejumi_4, official, stability_jp, wandb_2023
from jglue_app.scoring.types import Judgement, ScoringProtocol
from jglue_app.types import Item, Record, Task

PROTOCOLS: dict[str, ScoringProtocol] = {
    protocol.name: protocol
    for protocol in (
        official.PROTOCOL,
        wandb_2023.AUGUST,
        wandb_2023.JUNE,
        wandb_2023.OCTOBER,
        stability_jp.PROTOCOL,
        stability_jp.CAPPED,
        llm_jp_eval.PROTOCOL,
        llm_jp_eval.SWALLOW,
        nejumi_4.PROTOCOL,
        flexeval.PROTOCOL,
        lm_eval_ja.PROTOCOL,
    )
}


def get_protocol(name: str) -> ScoringProtocol:
    """The protocol called `name`.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def judge_all(task: Task, item: Item, record: Record) -> dict[str, Judgement]:
    """What every protocol that scores the subset makes of one record."""
    return {
        name: scoring.judge(task, item, record) for name, scoring in PROTOCOLS.items() if task.name in scoring.metrics
    }


def protocol_names(text: str) -> list[str]:
    """The protocols named in a text: `all`, or names separated by commas.

    Raises:
        UnknownNameError: one of them does not exist.
    """
    names = list(PROTOCOLS) if text.strip() == "all" else [name.strip() for name in text.split(",") if name.strip()]
    return [get_protocol(name).name for name in dict.fromkeys(names or [text])]
