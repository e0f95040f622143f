"""What is known about single items of JGLUE, and on which data the systems of the protocols published scores. No I/O.

The two lists are facts about the official files: JNLI dev items that got another label in v1.2 (v1.3 has the labels of
v1.2), and JSQuAD dev questions about a damaged paragraph. An item is recognised by its id and its texts, because other
files (the train and test files, files of users) use the same ids for other sentences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from jglue_app.errors import UnknownNameError
from jglue_app.messages import Message
from jglue_app.types import Item

LabelVersion = Literal["v1.1", "v1.3"]
"""The version of an item's label: JGLUE v1.1, or v1.3, whose labels are the same as in v1.2."""

LABEL_VERSIONS = ("v1.1", "v1.3")
CURRENT_LABELS: LabelVersion = "v1.3"


@dataclass(frozen=True, slots=True)
class Relabelled:
    """A JNLI dev item whose label differs between v1.1 and v1.2."""

    texts: str
    """First 12 hex digits of the sha256 of its sentences; see `_texts`."""
    old: str
    """Label in v1.1."""
    new: str
    """Label in v1.2 and v1.3."""


_E, _N, _C = "entailment", "neutral", "contradiction"

JNLI_RELABELLED: Mapping[str, Relabelled] = {
    "226": Relabelled("66567c9d1772", _N, _E),
    "263": Relabelled("c6acf728e794", _N, _C),
    "282": Relabelled("af0ed9808061", _E, _N),
    "342": Relabelled("5dc6000124cf", _E, _N),
    "389": Relabelled("451ccb70fba5", _E, _N),
    "398": Relabelled("e70112b692b0", _E, _N),
    "415": Relabelled("07fad8c08300", _N, _E),
    "416": Relabelled("79faf7523851", _N, _E),
    "457": Relabelled("9c9a68f75ccb", _E, _N),
    "594": Relabelled("79abfec7059c", _E, _N),
    "771": Relabelled("af5fb1bbc002", _N, _E),
    "891": Relabelled("b727a18a598c", _E, _N),
    "1067": Relabelled("e5610233aeeb", _N, _E),
    "1087": Relabelled("6b7a9209fa06", _E, _N),
    "1281": Relabelled("6048d35a67d5", _N, _E),
    "1437": Relabelled("a32bc25ae93f", _E, _N),
    "1534": Relabelled("4c2fab1732d4", _E, _N),
    "1608": Relabelled("87193d0913ec", _E, _N),
    "1611": Relabelled("d61ad19877d4", _N, _E),
    "1650": Relabelled("3b288341174e", _N, _E),
    "1688": Relabelled("afbe8f5a982f", _E, _N),
    "1710": Relabelled("c1d8226eb7ef", _E, _N),
    "1742": Relabelled("aae9f958d96c", _E, _N),
    "1784": Relabelled("3de58ffd1be1", _N, _E),
    "1865": Relabelled("b7e4ac8cb7c7", _N, _E),
    "1878": Relabelled("9579ff7e2817", _E, _N),
    "1912": Relabelled("a9c7f0999176", _N, _E),
    "2214": Relabelled("11d4bf8b47a1", _N, _E),
    "2373": Relabelled("f07f9e86bfd3", _E, _N),
}
"""`sentence_pair_id` → the change: the 29 items of JNLI dev relabelled in v1.2.

Source: yahoojapan/JGLUE, pull request 14.
"""

_FAULTY_PARAGRAPHS: Mapping[str, int] = {
    "a10743p19": 4,
    "a13221p1": 4,
    "a14985p1": 5,
    "a14985p93": 5,
    "a1540503p36": 5,
    "a18783p1": 1,
    "a18783p3": 3,
    "a18783p8": 1,
    "a18873p25": 4,
    "a18873p26": 3,
    "a20898p10": 1,
    "a20898p15": 4,
    "a2164640p22": 5,
    "a22392p20": 4,
    "a3011628p3": 4,
    "a3189p4": 3,
    "a369953p0": 4,
    "a3949p1": 2,
    "a4596p0": 4,
    "a4596p1": 5,
    "a4596p38": 5,
    "a4768p13": 3,
    "a4768p3": 4,
    "a4768p8": 3,
    "a51481p0": 3,
    "a51481p10": 4,
    "a51481p6": 4,
    "a51481p7": 2,
    "a67892p11": 4,
    "a67892p2": 1,
    "a8874p6": 2,
    "a916079p3": 2,
    "a95156p4": 4,
    "a95156p6": 4,
}
"""Article and paragraph → its number of questions, which are counted from q0."""

JSQUAD_FAULTY: frozenset[str] = frozenset(
    f"{paragraph}q{number}" for paragraph, count in _FAULTY_PARAGRAPHS.items() for number in range(count)
)
"""Ids of the 116 JSQuAD dev questions about 34 paragraphs of fewer than 25 tokens, many of which lost a part of their
text. The ids are those of articles of Wikipedia, and no other split has them.

Source: the list that Stability-AI/lm-evaluation-harness keeps, commented out, as `REMOVE_IDS` in
`lm_eval/tasks/ja/jsquad.py` (counted in tokens of rinna/japanese-gpt-1b); also in swallow-llm/swallow-evaluation at
c1479c37, `lm-evaluation-harness-jp/lm_eval/tasks/ja/jsquad.py`. Its published runs do not leave them out.
"""

_JNLI_IN_JSTS_TRAIN = (
    "3ebff66fbc0e1fd69fe7f0fceeffce787ffb306790ff8666dfc0c3fff9ce01e079ff5e67f9e71155f31eabfda91cfdcfff8d"
    "8fcf7c3c3ff37e7bb3f22f7f3ffff1cf98fff06790ff8606cfffd0018601f203bfffff4ce7f8700c3ffe3ffff802fffc33b7"
    "e7e601fe7999c021fffffe04ffaff9ff9fcb7f99e73f355ffe1f0e1b4f87744cc66fdfffc807fd9ccff1fffb03c1fcfe0ff3"
    "67e6ffd3cfe0cc4018079fffe00769e7830f3ff3fc1ff80b72ddde400ef066f9ffe07bf90db00ff80cc1f1fca480ab9f303f"
    "c3f3a87ff9987bd7aff88bccfc50993fc70f8000103faf8a87f00399fe7fe467c3604fe19ff187cfff6c3fd7ffd98cfe0133"
    "33fccfccf7e78601ffeffb7fe7fc9fffe33c47327f3eff001f077fe2001803ffc0e675fe43f067fe066c79bf8ffffc0ccfbb"
    "c60781ffe"
)
"""The ids of JNLI dev that are in JSTS train as a number in base 16, in which bit n is set for id n."""

_JCOMMONSENSEQA_IN_TRAIN = (
    "9025 9065 9135 9198 9284 9489 9492 9592 9632 9694 9718 9720 9841 9869 9876 9926 9942 9996 10003"
)


@dataclass(frozen=True, slots=True)
class Leak:
    """Evaluated items whose text is also in a train file."""

    sha256: str
    """Checksum of the evaluated file of v1.3 that the ids are those of."""
    train: str
    """The subset whose train file has them."""
    ids: frozenset[str]


LEAKS: Mapping[str, Leak] = {
    "jnli": Leak(
        "ca0353efc7c2eebfb6de4e13f16295053c8b1ee65e7b0849190c90426fbc495f",
        "jsts",
        frozenset(str(n) for n in range(2434) if int(_JNLI_IN_JSTS_TRAIN, 16) >> n & 1),
    ),
    "jcommonsenseqa": Leak(
        "0d8d76f3bfa0d174866939882faccdd01fbc2bcd5a76c43748ba0c40a7b3b8d4",
        "jcommonsenseqa",
        frozenset(_JCOMMONSENSEQA_IN_TRAIN.split()),
    ),
}
"""Subset → its dev items that are also in a train file: 1,487 JNLI pairs, in either order, in JSTS train, and 19
JCommonsenseQA questions in JCommonsenseQA train. Counted in the files of v1.3; `data check` recounts in the available
files, and also in the train files of JNLI and JSQuAD, which are not compared here.
"""


def relabelled(item: Item) -> Relabelled | None:
    """How the label of an item changed between v1.1 and v1.2; None if it did not, or if it is no item of JNLI dev."""
    change = JNLI_RELABELLED.get(item.id) if item.task == "jnli" else None
    return change if change is not None and change.texts == _texts(item) else None


def is_faulty(item: Item) -> bool:
    """Whether an item is a JSQuAD dev question about a damaged paragraph."""
    return item.task == "jsquad" and item.id in JSQUAD_FAULTY


def with_labels_of(item: Item, version: str) -> Item:
    """The item with its gold label in a version of JGLUE, regardless of the version it has now.

    Only the 29 items of JNLI dev that were relabelled are changed. An item of another subset or another file, and one
    whose label is neither the old nor the new one, comes back as it is.

    Args:
        item: an item of any subset.
        version: `v1.1` or `v1.3`. The labels of v1.2 are those of v1.3.

    Raises:
        UnknownNameError: another version.
    """
    check_label_version(version)
    change = relabelled(item)
    if change is None or item.gold not in ((change.old,), (change.new,)):
        return item
    return replace(item, gold=(change.old if version == "v1.1" else change.new,))


def check_label_version(version: str) -> None:
    """Reject a version whose labels are unknown.

    Raises:
        UnknownNameError: it is neither `v1.1` nor `v1.3`.
    """
    if version not in LABEL_VERSIONS:
        raise UnknownNameError(
            "label version", version, LABEL_VERSIONS, Message("The labels of v1.2 are those of v1.3.")
        )


def question_text(item: Item) -> str:
    """All texts of an item without white space: two items with the same question have the same text."""
    return "\0".join("".join(text.split()) for text in item.fields.values())


def _texts(item: Item) -> str:
    """A short checksum of the two sentences of a JNLI item without their white space."""
    return hashlib.sha256(question_text(item).encode("utf-8", "surrogatepass")).hexdigest()[:12]
