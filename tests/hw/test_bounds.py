# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hw.bounds import layer_bounds, signed_width
from hw.layout import token_sum_width
from hw.network import Classifier, Kind, NetworkConfig
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples

LAST = (False, False, False, True)
NETWORKS = {
    "tau 2": NetworkConfig(16, 1, 2, 3, 1, 5, 5, 4, pool_stages=LAST),
    "tau 1.5": NetworkConfig(16, 1, 2, 3, 2, 5, 5, 4, tau=1.5, static_input=False,
                             pool_stages=LAST),
    "spiking head": NetworkConfig(16, 1, 2, 3, 1, 5, 5, 4, pool_stages=LAST,
                                  classifier=Classifier.SN_AVGPOOL_FC),
}


@pytest.mark.parametrize("limit", [0, 1, 7, 8, 127, 128, 1000])
def test_signed_width(limit):
    width = signed_width(limit)
    assert -(1 << width - 1) <= -limit <= limit < 1 << width - 1
    assert width == 1 or limit >= 1 << width - 2   # and no bit more


@pytest.mark.parametrize("name", NETWORKS)
def test_the_worst_input_reaches_the_sum_and_none_exceeds_it(name):
    model = random_model(NETWORKS[name], seed=2)
    for layer, bound in layer_bounds(model).items():
        weight = model.tensors[layer].weight.astype(np.int64)
        rows = weight.reshape(len(weight), -1)
        worst = max(np.where(rows > 0, rows, 0).sum(1).max(),
                    -np.where(rows < 0, rows, 0).sum(1).min())
        assert bound.sum == worst


@pytest.mark.parametrize("name", NETWORKS)
def test_no_input_exceeds_current_or_state(name):
    model = random_model(NETWORKS[name], seed=2)
    bounds, tau = layer_bounds(model), model.network.tau
    inputs = random_samples(model, 3).inputs
    inputs[0], inputs[1] = model.input.maximum, model.input.minimum
    for step in GoldenModel(model).steps(inputs):
        if step.layer.kind is Kind.ATTENTION:
            continue
        bound = bounds[step.layer.name]
        if step.logits is not None:
            assert int(step.logits.abs().max()) <= bound.current
            continue
        assert int(step.current.abs().max()) <= bound.current
        if step.spikes is None:
            continue
        x = (step.current if step.residual is None else step.residual).numpy()
        threshold = model.tensors[step.layer.name].threshold[:, None, None]
        v = np.zeros_like(x[0])
        for current in x:
            h = v + current if tau == 2 else v + 2 * current
            assert np.abs(h).max() <= bound.state
            v = np.where(h >= threshold, 0, h >> 1 if tau == 2 else h // 3)
        assert threshold.max() <= bound.state


def test_bit_planes_of_any_sign_stay_inside_the_total():
    """All inputs at their most negative or largest, by the sign of each weight."""
    model = random_model(NETWORKS["tau 2"], seed=3)
    head, width = model.tensors["head"], token_sum_width(model.network, model.residual.width)
    limit = 1 << width - 1
    weight = head.weight.reshape(len(head.weight), -1).astype(object)
    extreme = max(abs(sum(w * (-limit if w < 0 else limit - 1) for w in row)) for row in weight)
    assert extreme <= layer_bounds(model)["head"].total
