# SPDX-License-Identifier: Apache-2.0
"""Who reads whom, published operations, files of others."""

import pytest

from hw.network import Kind
from quantize.energy import paper_operations, total
from quantize.models import find
from quantize.rates import measured
from sim.benches.models import SMALL
from sim.html_report.facts import IMAGE, published_operations, read_json, sources


def test_sources():
    names = [layer.name for layer in SMALL.layers()]
    read = {name: tuple("image" if each == IMAGE else names[each] for each in numbers)
            for name, numbers in zip(names, sources(SMALL.layers()))}
    assert read["patch_embed.block0"] == ("image",)
    assert read["patch_embed.block2"] == ("patch_embed.block1",)
    assert read["block.0.attn.q"] == read["block.0.attn.v"] == ("patch_embed.block4",)
    assert read["block.0.attn.ssa"] == ("block.0.attn.q", "block.0.attn.k", "block.0.attn.v")
    assert read["block.0.attn.proj"] == ("block.0.attn.ssa",)
    assert read["block.0.mlp.mlp1"] == ("block.0.attn.proj",)
    assert read["head"] == ("block.0.mlp.mlp2",)


def test_published_operations_are_those_of_the_authors():
    """8-512 at its own rates: what their log adds up to, which has rates of three digits."""
    network = find("imagenet-8-512").network
    found = published_operations(network)
    assert total(found).energy_mj == pytest.approx(7.4635, rel=5e-3)
    encoder = next(i for i, layer in enumerate(network.layers()) if layer.kind is Kind.ENCODER)
    assert found[encoder].acs == 0 and found[encoder].macs > 0
    names = [layer.name for layer in network.layers()]
    q = names.index("block.3.attn.q")
    rate = measured()["block.3.attn.proj_lif"].rate
    assert found[q] == paper_operations(network.layers()[q], (rate,), 4, network.head_dim)


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', "\x80"])
def test_files_that_are_none_of_ours(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"file\.json must be "):
        read_json(path, ("points",))
