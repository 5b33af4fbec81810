# SPDX-License-Identifier: Apache-2.0
"""The integer model as a network that can be trained: straight-through rounding on its grids.

The forward pass computes the integers of `quantize.golden`, value for value, in floating point,
which holds them exactly; convolutions are rounded, as a fast one may not be exact.  Backward, every
rounding is the identity and every spike has the surrogate gradient of `quantize.lif`.  Scales,
thresholds and shifts are those that `quantize.fixed` chooses for the weights at the last `refresh`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.bounds import layer_bounds
from hw.model import FixedPointModel, LayerTensors, ResidualFormat
from hw.network import Kind, Layer, Output
from quantize import fixed
from quantize.attention import THRESHOLD
from quantize.checkpoint import Checkpoint
from quantize.fuse import BN_EPSILON, fuse
from quantize.lif import ALPHA


@dataclass(frozen=True)
class Grid:
    """Where the weights of a layer lie: integers times scale, biases times unit (both [O])."""

    scale: Tensor
    unit: Tensor
    tensors: LayerTensors


class FakeQuantized(nn.Module):
    """A network with float weights that computes with their integers.

    checkpoint: where the weights start; its BatchNorm statistics stay as they are
    bits:       of a weight, 8, 6 or 4
    residual:   format of the residual stream

    `integers` is the fixed-point model of the weights at the last `refresh`.
    """

    integers: FixedPointModel

    def __init__(self, checkpoint: Checkpoint, bits: int, residual: ResidualFormat) -> None:
        super().__init__()
        self.network, self.bits, self.input = checkpoint.config, bits, checkpoint.input_format
        self.model = checkpoint.model()
        self.refresh(residual)

    def state(self) -> dict[str, Tensor]:
        """The float weights by canonical name."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()
                if not name.endswith("num_batches_tracked")}

    def refresh(self, residual: ResidualFormat) -> None:
        """Choose scales, thresholds and shifts anew, as `python -m quantize` would."""
        self.residual = residual
        self.integers = fixed.quantize(self.network, fuse(self.network, self.model.state_dict()),
                                       self.input, residual, self.bits)
        self.grids = {layer.name: self._grid(layer) for layer in self.network.layers()
                      if layer.has_weights}
        # The classifier, whose sums are wider, computes in float64 always.
        largest = max(max(bound.current, bound.state) for name, bound
                      in layer_bounds(self.integers).items() if name != "head")
        self.dtype = torch.float32 if largest < 1 << 24 else torch.float64

    def _grid(self, layer: Layer) -> Grid:
        scale, unit = map(torch.from_numpy, fixed.grid(self.integers, layer))
        return Grid(scale, unit, self.integers.tensors[layer.name])

    def quantized(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """Integers of a layer, weight [O, I, k, k] and bias [O]; gradients go straight through."""
        weight, bias = self._fused(layer)
        grid, limit = self.grids[layer.name], 1 << self.bits - 1
        weight = weight / grid.scale[:, None, None, None]
        rounded = weight.detach().round().clamp(-limit, limit - 1)
        bias = bias / grid.unit
        return _straight(weight, rounded), _straight(bias, bias.detach().round())

    def _fused(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """As `quantize.fuse`, in tensors that carry gradients."""
        shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
        if layer.output is Output.LOGITS:
            head = self.model.head
            return head.weight.double().reshape(shape), head.bias.double()
        conv = self.model.get_submodule(f"{layer.name}_conv")
        bn = self.model.get_submodule(f"{layer.name}_bn")
        gain = bn.weight.double() / torch.sqrt(bn.running_var.double() + BN_EPSILON)
        weight = conv.weight.double().reshape(shape) * gain[:, None, None, None]
        bias = torch.zeros(()) if conv.bias is None else conv.bias.double()
        bias = (bias - bn.running_mean.double()) * gain + bn.bias.double()
        return weight * (self.input.scale if layer.kind is Kind.ENCODER else 1), bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes], float64, of raw integers [B, C, H, W], or events [B, T, C, H, W].

        They are the integers of the golden model times its `logit_scale`.
        """
        network = self.network
        x = inputs.to(self.dtype)
        x = x[None] if network.static_input else x.transpose(0, 1)
        stream, branches = x, []
        for layer in network.layers():
            if layer.kind is Kind.ATTENTION:
                x = self._attention(*branches)
                branches = []
                continue
            if layer.kind is Kind.CLASSIFIER:
                return self._classifier(layer, x, stream)
            y, tensors = self._convolution(layer, x), self.grids[layer.name].tensors
            if layer.kind is Kind.ENCODER and network.static_input:
                y = y.expand(network.timesteps, *y.shape[1:])
            if layer.output is Output.RESIDUAL:
                scaled = y * torch.exp2(-torch.as_tensor(tensors.shift).to(y))[:, None, None]
                y = _straight(scaled, torch.floor(scaled.detach() + 0.5))
                stream = y + stream if layer.adds else y
                stream = stream.clamp(-self.residual.maximum - 1, self.residual.maximum)
                y = stream
            spikes = y
            if layer.lif:
                threshold = torch.as_tensor(tensors.threshold).to(y)[:, None, None]
                spikes = _Fire.apply(y, network.tau, threshold, layer.v_threshold)
            if layer.pool:
                spikes = functional.max_pool2d(spikes.flatten(0, 1), 3, 2, 1).unflatten(
                    0, spikes.shape[:2])
            if layer.name.endswith((".attn.q", ".attn.k", ".attn.v")):
                branches.append(spikes)
            else:
                x = spikes
        raise AssertionError("a network ends in a classifier")

    def _convolution(self, layer: Layer, x: Tensor) -> Tensor:
        weight, bias = self.quantized(layer)
        y = functional.conv2d(x.flatten(0, 1), weight.to(x), padding=layer.kernel // 2)
        y = _straight(y, y.detach().round()).unflatten(0, x.shape[:2])
        shift = self.grids[layer.name].tensors.bias_shift
        return y * 2.0 ** shift + bias.to(x)[:, None, None]

    def _attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        size = q.shape
        q, k, v = (part.flatten(3).unflatten(2, (self.network.num_heads, -1))
                   for part in (q, k, v))
        a = ((v @ k.transpose(-1, -2)) @ q).reshape(size)
        return _Fire.apply(a, self.network.tau, torch.tensor(float(THRESHOLD[self.network.tau])),
                           0.5)

    def _classifier(self, layer: Layer, spikes: Tensor, stream: Tensor) -> Tensor:
        weight, bias = self.quantized(layer)
        x = (spikes if self.network.classifier.spiking else stream).double().sum((0, 3, 4))
        shift = self.grids[layer.name].tensors.bias_shift
        return (x @ weight.flatten(1).T * 2.0 ** shift + bias) * self.integers.logit_scale


def _straight(value: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, exactly, with the gradient of `value`."""
    return _Straight.apply(value, rounded)


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, rounded: Tensor) -> Tensor:
        return rounded.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _Fire(torch.autograd.Function):
    """The integer LIF of `quantize.golden.lif` on whole numbers in floating point.

    Backward is that of `quantize.lif` in its units: v_threshold where h is the integer threshold.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float, threshold: Tensor, v_threshold: float) -> Tensor:
        h, v = torch.empty_like(x), torch.zeros_like(x[0])
        for t in range(len(x)):
            h[t] = v + x[t] if tau == 2 else v + 2 * x[t]
            decayed = torch.div(h[t], 2 if tau == 2 else 3, rounding_mode="floor")
            v = decayed.masked_fill(h[t] >= threshold, 0)
        ctx.save_for_backward(h, threshold)
        ctx.tau, ctx.v_threshold = tau, v_threshold
        return (h >= threshold).to(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        h, threshold = ctx.saved_tensors
        unit = ctx.v_threshold / threshold   # of h, in the float network's units
        sigmoid = torch.sigmoid((h * unit - ctx.v_threshold) * ALPHA)
        gradient = gradients[0] * (sigmoid * (1 - sigmoid) * ALPHA)
        keep = 1 - 1 / ctx.tau
        for t in range(len(h) - 2, -1, -1):
            gradient[t] += gradient[t + 1] * keep * (h[t] < threshold)
        # h is factor * H, and x enters H divided by tau.
        return (gradient / ctx.tau * unit * fixed.threshold_factor(ctx.tau), None, None, None)
