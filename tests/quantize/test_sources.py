# SPDX-License-Identifier: Apache-2.0
"""What the layers read: counted again, it gives the golden model's ACs."""

from dataclasses import replace

import numpy as np
import pytest

from hw.network import Classifier, Kind
from quantize.golden import GoldenModel
from quantize.sources import source_maps
from sim.benches.models import SMALL, random_inputs, random_model


@pytest.mark.parametrize("network", [
    SMALL, replace(SMALL, static_input=False, classifier=Classifier.SN_AVGPOOL_FC)])
def test_sources_give_the_counts(network):
    model = random_model(network)
    golden, image = GoldenModel(model), random_inputs(model, 2)[1]
    maps = source_maps(golden, image)
    results = golden.run(image[None])[0]
    assert list(maps) == [result.name for result in results]
    assert maps["patch_embed.block0"] is image
    for result in results:
        source, layer = maps[result.name], result.layer
        if layer.kind is Kind.ATTENTION:
            q, k, v = source
            assert q.shape == k.shape == v.shape == result.spikes.shape
            assert tuple(each.mean() for each in source) == pytest.approx(result.rates)
        elif layer.kind is Kind.CONV:
            assert source.shape == (network.timesteps, layer.in_channels, layer.height, layer.width)
            assert source.dtype == bool and source.mean() == pytest.approx(result.rates[0])
    head = maps["head"]
    if network.classifier.spiking:
        assert head.sum() * network.num_classes == results[-1].acs
    else:
        wanted = next(result.residual for result in reversed(results)
                      if result.residual is not None).sum((0, 2, 3))
        assert np.array_equal(head, wanted)
