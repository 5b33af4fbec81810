# SPDX-License-Identifier: Apache-2.0
"""A model directory as a checkpoint: the very values of its integers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hw.model import SHIPPED_MODEL, FixedPointModel, Samples
from hw.network import Classifier, Kind
from quantize import datasets, fixed, unfuse
from quantize.fuse import fuse
from quantize.golden import GoldenModel
from quantize.random_model import random_model
from quantize.spikingformer import predict
from tests.quantize.test_finetune import NETWORK

MODELS = {"shipped": FixedPointModel.load(SHIPPED_MODEL),
          "tau 1.5": random_model(replace(NETWORK, tau=1.5,
                                          classifier=Classifier.SN_FC_AVGPOOL))}


@pytest.mark.parametrize("name", MODELS)
def test_fused_again_it_has_the_integers(name: str) -> None:
    model = MODELS[name]
    fused = fuse(model.network, unfuse.unfuse(model).state_dict)
    for layer in model.network.layers():
        if not layer.has_weights:
            continue
        scale, unit = fixed.grid(model, layer)
        if layer.kind is Kind.ENCODER:
            scale = scale / model.input.scale
        tensors, part = model.tensors[layer.name], fused[layer.name]
        assert np.allclose(part.weight / scale[:, None, None, None], tensors.weight, atol=1e-3)
        assert np.allclose(part.bias / unit, tensors.bias, rtol=1e-5, atol=1e-2), layer.name


def test_the_float_network_predicts_what_the_integers_do(tmp_path: Path) -> None:
    checkpoint, samples = unfuse.load(SHIPPED_MODEL), Samples.load(SHIPPED_MODEL)
    assert checkpoint.dataset == "digits"
    inputs = samples.inputs[:40]
    pixels = datasets.normalize(inputs * checkpoint.input_format.scale, checkpoint.input_format)
    labels = predict(checkpoint.model(), torch.from_numpy(pixels)).argmax(1).numpy()
    golden = GoldenModel(MODELS["shipped"]).logits(inputs).argmax(1)
    assert (labels == golden).sum() >= 38
    with pytest.raises(ValueError, match="must hold"):
        unfuse.load(tmp_path)
