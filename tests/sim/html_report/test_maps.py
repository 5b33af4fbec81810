# SPDX-License-Identifier: Apache-2.0
"""Spikes as the page's script unpacks them, and the residual stream."""

from base64 import b64decode

import numpy as np

from sim.html_report import maps
from tests.sim.html_report.small import facts


def test_packed():
    spikes = np.zeros((1, 1, 2, 5), bool)
    spikes[0, 0, 0, 0] = spikes[0, 0, 1, 4] = True
    assert b64decode(maps.packed(spikes)) == bytes([0x80, 0x40])


def test_viewer_holds_every_spike():
    runs = [run for run in facts().inference.layers if run.spikes is not None]
    entries = maps.viewer(facts())
    assert len(entries) == len(runs) > 8
    for entry, run in zip(entries, runs):
        bits = np.unpackbits(np.frombuffer(b64decode(entry["bits"]), np.uint8))
        size = run.spikes.size
        assert entry["shape"] == list(run.spikes.shape) and entry["name"].startswith(run.layer.lif)
        assert np.array_equal(bits[:size].reshape(run.spikes.shape), run.spikes)


def test_picture_and_residual():
    assert maps.picture(facts()) == facts().image.sum(0).tolist()
    box, ends = maps.residual(facts()).data
    streams = [run.residual for run in facts().inference.layers if run.residual is not None]
    assert list(box.x) == ["patch_embed.block4", "block.0.attn.proj", "block.0.mlp.mlp2"]
    assert list(ends.y) == [each.min() / 16 for each in streams] + [
        each.max() / 16 for each in streams]
