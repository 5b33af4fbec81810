# SPDX-License-Identifier: Apache-2.0
"""Attention without softmax in integers, in both orders of its two products.

For every head, with spikes Q, K, V [N, d]:

    KV_FIRST:  A = Q (K^T V)    [N, d] from [d, d]; what the RTL executes
    QK_FIRST:  A = (Q K^T) V    [N, d] from [N, N]; what most software executes

Counters stop at LIMIT in each product, and either order gives min(A, 8): below 8 nothing has
stopped, and a term that did stop makes A at least 8 by itself.  Every A >= 8 fires and resets,
whatever the state is, so the spikes are those of the unbounded A (docs/numerics.md).
"""

from enum import Enum

import torch
from torch import Tensor

LIMIT = 8                           # in units of the scale 1/8: where the counters stop
THRESHOLD = {2.0: 8, 1.5: 12}       # of h, by tau


class AttentionOrder(Enum):
    """Which of the two products comes first."""

    KV_FIRST = "kv_first"
    QK_FIRST = "qk_first"


def attention(q: Tensor, k: Tensor, v: Tensor, num_heads: int,
              order: AttentionOrder = AttentionOrder.KV_FIRST) -> Tensor:
    """A in counters that stop at LIMIT; bool [T, B, D, H, W] each to int64 of the same shape."""
    # Transposed, as channels lead: [T, B, heads, d, N].  float32 holds every count below 2**24.
    qt, kt, vt = (x.flatten(3).unflatten(2, (num_heads, -1)).float() for x in (q, k, v))
    if order is AttentionOrder.KV_FIRST:
        at = (vt @ kt.mT).clamp_(max=LIMIT) @ qt
    else:
        at = vt @ (kt.mT @ qt).clamp_(max=LIMIT)
    return at.clamp_(max=LIMIT).flatten(2, 3).unflatten(3, q.shape[3:]).long()


def operations(q: Tensor, k: Tensor, v: Tensor, num_heads: int,
               order: AttentionOrder = AttentionOrder.KV_FIRST) -> tuple[Tensor, int, Tensor]:
    """ACs [B], how many there were if every spike were set, and the share of spikes that are, [B].

    bool [T, B, D, H, W] each.  A spike of the first product adds a row of the other operand: d for
    each one of K and of Q in Q (K^T V), N for each one of Q and of V in (Q K^T) V.
    """
    first, row = ((k, q.shape[2] // num_heads) if order is AttentionOrder.KV_FIRST else
                  (v, q.shape[3] * q.shape[4]))
    events = q.sum((0, 2, 3, 4)) + first.sum((0, 2, 3, 4))
    size = 2 * q[:, 0].numel()
    return events * row, size * row, torch.true_divide(events, size)
