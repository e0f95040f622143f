"""How far two runs on the same items agree: their log-probabilities of the same answers, and their texts to the
character. For quantized weights beside the original ones, and for one model behind two backends. No I/O.

Formulas:
    KL(A‖B) = Σ p(i) · ln(p(i) / q(i)), in nats (Kullback and Leibler 1951), where p and q are A's and B's probabilities
    of the item's answers: the softmax over the choices of the summed log-probabilities, so they add up to 1.
    Total variation = ½ · Σ |p(i) − q(i)|, from 0 (the same) to 1 (Levin, Peres and Wilmer 2009, proposition 4.2).
    Bits per character = −log2 P(gold answer | prompt) / characters of the gold answer as the prompt asks for it; the
    information that the model lacks to write it, as in Shannon (1951), for the characters of one answer.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from jglue_app.messages import Message
from jglue_app.scoring import significance
from jglue_app.scoring.protocols.common import is_cosine, usable_logprobs
from jglue_app.scoring.types import (
    Agreement,
    ItemAgreement,
    LogprobAgreement,
    LogprobDifference,
    TextAgreement,
)
from jglue_app.types import Item, ModelInfo, Output, Record, RunData

Both = tuple[Item, Record, Record]
"""An item with A's and B's record of it."""


def agreements(a: RunData, b: RunData) -> dict[str, Agreement]:
    """Subset → how far two runs agree, over the items that are the same in both and that both have a record of.

    Of items with log-probabilities on both sides those count for which both runs have ranked the same texts; of the
    others there is only a number. A subset with nothing to compare has no entry.
    """
    approximate = is_approximate(a.model) or is_approximate(b.model)
    each = {task: _agreement(both, approximate) for task, both in common_items(a, b).items()}
    return {task: agreement for task, agreement in each.items() if agreement}


def common_items(a: RunData, b: RunData) -> dict[str, list[Both]]:
    """Subset → the items that are the same in both runs and that both have a record of, each with A's and B's."""
    records_a, records_b = ({(r.task, r.item_id): r for r in data.records} for data in (a, b))
    return {
        task: [
            (item, records_a[task, id_], records_b[task, id_])
            for id_, item in items.items()
            if b.items.get(task, {}).get(id_) == item and (task, id_) in records_a and (task, id_) in records_b
        ]
        for task, items in a.items.items()
    }


def common_texts(a: RunData, b: RunData) -> dict[str, dict[str, tuple[str, str]]]:
    """Subset → item id → the raw texts of A and B, for the items that are the same in both and have a text in both."""
    return {task: _texts_of(both) for task, both in common_items(a, b).items()}


def is_approximate(model: ModelInfo | None) -> bool:
    """Whether a model's log-probabilities are not of whole answers, so that no distribution follows from them."""
    return model is not None and bool(model.ranking)


def item_agreement(item: Item, a: Record, b: Record, *, approximate: bool = False) -> ItemAgreement:
    """How far two runs agree on one item.

    Args:
        item: the item, the same in both.
        a, b: what the runs have stored of it.
        approximate: whether either run's log-probabilities are approximate; they are not compared then.
    """
    logprobs = None if approximate else _same_answers(item, a, b)
    texts = _texts(a, b)
    return ItemAgreement(
        kl_divergence(*logprobs) if logprobs else None,
        total_variation(*logprobs) if logprobs else None,
        first_difference(*texts) if texts else None,
    )


def sentences(agreement: Agreement) -> Iterator[Message]:
    """Why log-probabilities, or some items' of them, are not compared; nothing where all are."""
    if agreement.approximate:
        yield Message(
            "Log-probabilities are not compared: answers of at least one side are ranked by their first tokens alone, "
            "which gives no probability of a whole answer."
        )
    if agreement.other_answers:
        yield Message(
            "Log-probabilities of {count} of the items are not compared: the two runs ranked other texts for them "
            "(another wording style), or which texts is not stored.",
            count=agreement.other_answers,
        )


# --- formulas -------------------------------------------------------------------------------------------


def kl_divergence(a: Sequence[float], b: Sequence[float]) -> float:
    """KL(A‖B) in nats between the softmax distributions of two rows of finite log-probabilities of the same answers."""
    log_p, log_q = _log_softmax(a), _log_softmax(b)
    divergence = math.fsum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))
    return max(0.0, divergence)  # Rounding can put equal distributions just below 0.


def total_variation(a: Sequence[float], b: Sequence[float]) -> float:
    """Total variation distance in 0–1 between the same two distributions."""
    pairs = zip(_log_softmax(a), _log_softmax(b), strict=True)
    return min(1.0, math.fsum(abs(math.exp(p) - math.exp(q)) for p, q in pairs) / 2)


def bits_per_character(logprob: float, answer: str) -> float:
    """Bits for each character (code point) of an answer whose summed log-probability (natural logarithm) is given.

    The space that some formats put before an answer is part of its log-probability and not of its characters.
    """
    return (0.0 - logprob) / math.log(2) / len(answer)


def first_difference(a: str, b: str) -> int | None:
    """How many characters (code points) two texts have in common at their beginning, so the position, from 0, of the
    first that differs; None if the texts are identical."""
    if a == b:
        return None
    shorter = min(len(a), len(b))
    return bisect_left(range(shorter), True, key=lambda at: a[: at + 1] != b[: at + 1])


def _log_softmax(logprobs: Sequence[float]) -> list[float]:
    most = max(logprobs)
    total = most + math.log(math.fsum(math.exp(value - most) for value in logprobs))
    return [value - total for value in logprobs]


# --- subsets --------------------------------------------------------------------------------------------


def _texts_of(both: Sequence[Both]) -> dict[str, tuple[str, str]]:
    return {item.id: pair for item, a, b in both if (pair := _texts(a, b))}


def _agreement(both: Sequence[Both], approximate: bool) -> Agreement | None:
    ranked = [row for row in both if all(usable_logprobs(row[0], record) for record in row[1:])]
    texts = _texts_of(both)
    same = {row[0].id: (row, logprobs) for row in ranked if (logprobs := _same_answers(*row))}
    if not ranked and not texts:
        return None
    return Agreement(
        _logprob_agreement(list(same.values())) if same and not approximate else None,
        _text_agreement(texts) if texts else None,
        0 if approximate else len(ranked) - len(same),
        approximate and bool(ranked),
    )


def _same_answers(item: Item, a: Record, b: Record) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Both sides' log-probabilities of the item's choices; None unless both have them, for the same texts."""
    logprobs = usable_logprobs(item, a), usable_logprobs(item, b)
    if logprobs[0] is None or logprobs[1] is None:
        return None
    # Of an imported run the texts may be missing; then nothing says that they are the same.
    known = len(a.prompt.answers) == len(item.choices) and all(a.prompt.answers)
    return (logprobs[0], logprobs[1]) if known and a.prompt.answers == b.prompt.answers else None


def _texts(a: Record, b: Record) -> tuple[str, str] | None:
    """Both raw texts; None unless both runs have generated one, which a cosine of embeddings is not."""
    if is_cosine(a) or is_cosine(b) or not (_is_text(a.output) and _is_text(b.output)):
        return None
    assert a.output and b.output and a.output.text is not None and b.output.text is not None
    return a.output.text, b.output.text


def _is_text(output: Output | None) -> bool:
    return output is not None and output.text is not None and output.finish != "overflow"


def _logprob_agreement(
    rows: Sequence[tuple[Both, tuple[tuple[float, ...], tuple[float, ...]]]],
) -> LogprobAgreement:
    bits: tuple[list[float], list[float]] = [], []
    differences: list[LogprobDifference] = []
    means = []
    for (item, record, _), pair in rows:
        answers = record.prompt.answers
        each = [LogprobDifference(item.id, *values) for values in zip(answers, *pair, strict=True)]
        means.append(math.fsum(d.size for d in each) / len(each))
        differences.append(max(each, key=lambda d: d.size))
        if isinstance(item.gold, tuple) and item.gold and item.gold[0] in item.choices:
            gold = item.choices.index(item.gold[0])
            for side, logprobs in zip(bits, pair, strict=True):
                side.append(bits_per_character(logprobs[gold], answers[gold]))
    pairs = [pair for _, pair in rows]
    return LogprobAgreement(
        kl=significance.mean([kl_divergence(*pair) for pair in pairs]),
        total_variation=significance.mean([total_variation(*pair) for pair in pairs]),
        bits_a=significance.mean(bits[0]),
        bits_b=significance.mean(bits[1]),
        bits_difference=significance.mean_difference_test(*bits).difference,
        mean_difference=significance.mean(means),
        largest=max(differences, key=lambda d: d.size),
    )


def _text_agreement(texts: Mapping[str, tuple[str, str]]) -> TextAgreement:
    firsts = {id_: at for id_, pair in texts.items() if (at := first_difference(*pair)) is not None}
    earliest = min(firsts, key=firsts.__getitem__, default=None)
    return TextAgreement(
        len(texts),
        len(texts) - len(firsts),
        None if earliest is None else float(statistics.median(firsts.values())),
        None if earliest is None else firsts[earliest],
        earliest or "",
    )
