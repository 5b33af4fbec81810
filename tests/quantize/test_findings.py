# SPDX-License-Identifier: Apache-2.0
"""The report of an analysis, and the sentence it ends in."""

import pytest

from quantize.findings import Analysis


def test_an_empty_analysis_is_supported() -> None:
    analysis = Analysis("net.pth", "checkpoint", facts={"T": "4"}, notes=["look twice"])
    analysis.require()
    assert analysis.supported
    assert analysis.lines() == ["source      net.pth", "kind        checkpoint", "T           4",
                                "note        look twice", "verdict     every layer can be mapped"]


def test_every_finding_is_listed_and_the_first_is_raised() -> None:
    analysis = Analysis("net.pth", "checkpoint")
    analysis.add("norm", "LayerNorm", "it has no hardware", "use BatchNorm")
    with pytest.raises(ValueError, match=r"^net\.pth cannot be imported: norm \(LayerNorm\): "
                                         r"it has no hardware; use BatchNorm$"):
        analysis.require()
    analysis.add("", "order", "a", "b")
    with pytest.raises(ValueError, match=r"BatchNorm \(1 more: see the analysis\)$"):
        analysis.require()
    text = "\n".join(analysis.lines())
    assert "unsupported norm: LayerNorm" in text
    assert "unsupported (whole network): order" in text
    assert text.endswith("2 layers cannot be mapped, so nothing is imported")
