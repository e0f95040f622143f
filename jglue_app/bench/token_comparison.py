"""Whether another harness runs the tokens that run here: items per second of other work would mean nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jglue_app.bench.adapters.harness_worker import Fingerprint, fingerprint
from jglue_app.bench.measure import Workload

if TYPE_CHECKING:  # torch takes seconds to import
    from jglue_app.backends.hf.backend import HFBackend


@dataclass(frozen=True, slots=True)
class TokenComparison:
    """The tokens of a workload's prompts there and here; of ranked items with each answer."""

    items: int
    same: int
    """Items all tokens of which are the same."""
    ours: int
    """Tokens of all prompts, and of each with each answer where answers are ranked."""
    theirs: int
    ours_sha256: str
    """Over all tokens, 64 hex digits."""
    theirs_sha256: str
    first_other: str
    """Id of the first item with other tokens; empty if there is none."""


def tokens_here(backend: HFBackend, work: Workload) -> list[list[Fingerprint]]:
    """Of each prompt the fingerprints of its tokens: one for each answer, or of the prompt alone."""
    from jglue_app.backends.hf.tokenization.encoding import Encoder  # transformers takes seconds to import

    encoder = Encoder(backend.tokenizer)
    if work.method == "choose":
        return [[fingerprint(*encoder.encode_answer(p, answer)) for answer in p.answers] for p in work.prompts]
    return [[fingerprint(encoder.encode(p.text, has_special=p.messages is not None))] for p in work.prompts]


def compare_tokens(
    work: Workload, ours: Sequence[Sequence[Fingerprint]], theirs: Sequence[Sequence[Fingerprint]]
) -> TokenComparison:
    """Compare the fingerprints of both sides."""
    other = [
        prompt.item_id
        for prompt, here, there in zip(work.prompts, ours, theirs, strict=True)
        if list(here) != list(there)
    ]
    return TokenComparison(
        len(ours), len(ours) - len(other), _count(ours), _count(theirs), _sha256(ours), _sha256(theirs), (*other, "")[0]
    )


def _count(rows: Sequence[Sequence[Fingerprint]]) -> int:
    return sum(before + scored for row in rows for before, scored, _ in row)


def _sha256(rows: Sequence[Sequence[Fingerprint]]) -> str:
    text = "\n".join(f"{before} {scored} {checksum}" for row in rows for before, scored, checksum in row)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
