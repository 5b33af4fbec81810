# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hw.network import Classifier, NetworkConfig
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples

NETWORKS = {
    "digits": NetworkConfig(32, 1, 4, 4, 1, 8, 8, 10, pool_stages=(False, False, False, True)),
    "events": NetworkConfig(16, 1, 2, 3, 2, 9, 8, 3, tau=1.5, static_input=False),
    "spiking head": NetworkConfig(16, 1, 2, 4, 1, 6, 6, 3, classifier=Classifier.SN_FC_AVGPOOL,
                                  pool_stages=(False, False, False, True)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_lif_is_alive(name):
    model = random_model(NETWORKS[name], seed=1)
    for step in GoldenModel(model).steps(random_samples(model, 2, seed=1).inputs):
        if step.spikes is not None:
            rate = float(step.spikes.double().mean())
            # Attention multiplies three rates; the others are near the density asked for.
            low, high = (0, 1) if step.layer.name.endswith("ssa") else (0.01, 0.8)
            assert low < rate < high, step.layer.name


def test_the_seed_makes_the_model():
    one, same, other = (random_model(NETWORKS["digits"], seed=seed) for seed in (1, 1, 2))
    for name, tensors in one.tensors.items():
        assert np.array_equal(tensors.weight, same.tensors[name].weight)
        if tensors.threshold is not None:
            assert np.array_equal(tensors.threshold, same.tensors[name].threshold)
    assert not np.array_equal(one.tensors["head"].weight, other.tensors["head"].weight)


def test_labels_are_the_golden_models_answers():
    model = random_model(NETWORKS["digits"])
    samples = random_samples(model, 3, seed=4)
    assert np.array_equal(samples.labels, GoldenModel(model).logits(samples.inputs).argmax(1))
