# SPDX-License-Identifier: Apache-2.0
"""The leaky integrate-and-fire neuron of the paper, over all timesteps of a batch at once."""

from typing import Any

import torch
from torch import Tensor, nn

ALPHA = 4.0  # slope of the sigmoid surrogate, the value the published networks were trained with


class LIF(nn.Module):
    """LIF layer (arXiv 2304.11954, Eq. 21 to 23) on `[T, ...]`, any float dtype.

    With V[-1] = 0 and for t = 0 .. T-1::

        H[t] = V[t-1] + (X[t] - V[t-1]) / tau
        S[t] = 1 where H[t] >= v_threshold, else 0
        V[t] = 0 where S[t], else H[t]                   (hard reset, v_reset = 0)

    The state begins at 0 in every call: nothing leaks from one inference into the next, and batches
    are independent.  Backward replaces the step by the derivative of sigmoid(ALPHA * (H - v_th))
    and treats the reset as a constant.  The layer has no parameters.

    Raises ValueError if tau is below 1 or v_threshold is not positive.
    """

    def __init__(self, tau: float = 2.0, v_threshold: float = 1.0) -> None:
        super().__init__()
        if not tau >= 1:
            raise ValueError(f"tau must be at least 1, not {tau!r}")
        if not v_threshold > 0:
            raise ValueError(f"v_threshold must be positive, not {v_threshold!r}")
        self.tau = tau
        self.v_threshold = v_threshold

    def forward(self, x: Tensor) -> Tensor:
        """Currents [T, ...] to spikes 0.0 or 1.0 of the same shape and dtype."""
        return _Fire.apply(x, self.tau, self.v_threshold)

    def extra_repr(self) -> str:
        return f"tau={self.tau}, v_threshold={self.v_threshold}"


class _Fire(torch.autograd.Function):
    """The recurrence as one node of the graph.

    Autograd through the loop would keep five tensors a timestep and half of the training time;
    H alone determines everything that the backward pass needs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float, v_threshold: float) -> Tensor:
        h = torch.empty_like(x)
        spikes = torch.empty_like(x)
        v = torch.zeros_like(x[0])
        for t in range(len(x)):
            torch.sub(x[t], v, out=h[t])
            # Divided, not multiplied by 1/tau: the two differ in the last bit for tau 1.5.
            h[t].div_(tau).add_(v)
            fire = h[t] >= v_threshold
            spikes[t] = fire
            v = h[t].masked_fill(fire, 0)
        ctx.save_for_backward(h)
        ctx.tau, ctx.v_threshold = tau, v_threshold
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (h,) = ctx.saved_tensors
        sigmoid = torch.sigmoid((h - ctx.v_threshold) * ALPHA)
        gradient = gradients[0] * (sigmoid * (1 - sigmoid) * ALPHA)  # with respect to H, so far
        keep = 1 - 1 / ctx.tau
        for t in range(len(h) - 2, -1, -1):
            # V[t] reaches H[t+1] with the factor 1 - 1/tau, unless the neuron was reset.
            gradient[t] += gradient[t + 1] * keep * (h[t] < ctx.v_threshold)
        return gradient / ctx.tau, None, None
