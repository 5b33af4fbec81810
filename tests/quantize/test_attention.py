# SPDX-License-Identifier: Apache-2.0
"""Both orders of attention, with counters that stop, against unbounded integers."""

import numpy as np
import pytest
import torch
from torch import Tensor

from quantize import attention as attention_module
from quantize.attention import LIMIT, THRESHOLD, AttentionOrder, attention, operations
from quantize.golden import lif

ORDERS = list(AttentionOrder)
TAUS = [2.0, 1.5]
# Embedding, heads, token grid: head dimensions 32, 48, 64 and 64 or 196 tokens of the published
# networks, then one token, one channel, and a grid with different sides.
SHAPES = [(64, 2, 8, 8), (96, 2, 8, 8), (128, 2, 8, 8), (64, 2, 14, 14), (96, 2, 14, 14),
          (128, 2, 14, 14), (8, 2, 1, 1), (4, 4, 3, 2), (12, 1, 2, 5)]


def random_spikes(shape: tuple[int, int, int, int], density: float, seed: int,
                  timesteps: int = 6, batch: int = 2) -> list[Tensor]:
    channels, _, height, width = shape
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.random((timesteps, batch, channels, height, width)) < density)
            for _ in range(3)]


def exact(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """A in unbounded int64, from the definition: sum over n of (sum over c of Q K) V."""
    q, k, v = (x.flatten(3).unflatten(2, (heads, -1)).numpy().astype(np.int64) for x in (q, k, v))
    scores = np.einsum("tbhcm,tbhcn->tbhmn", q, k)
    return torch.from_numpy(np.einsum("tbhmn,tbhcn->tbhcm", scores, v)).flatten(2, 3)


def fired(a: Tensor, tau: float) -> Tensor:
    return lif(a.flatten(3), torch.tensor(THRESHOLD[tau]), tau)


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_orders_give_the_spikes_of_unbounded_sums(shape, tau):
    heads, alive = shape[1], 0.0
    # From hardly any spike to nearly all of them set: A from 0 to far beyond its limit.
    for seed, density in enumerate((0.02, 0.07, 0.15, 0.3, 0.6, 0.98)):
        spikes = random_spikes(shape, density, seed)
        unbounded = exact(*spikes, heads)
        wanted = fired(unbounded, tau)
        for order in ORDERS:
            a = attention(*spikes, heads, order)
            assert a.dtype == torch.int64 and a.shape == spikes[0].shape
            assert torch.equal(a.flatten(3), unbounded.clamp(max=LIMIT)), (order, density)
            assert torch.equal(fired(a, tau), wanted), (order, density)
        alive = max(alive, min(float(wanted.double().mean()), 1 - float(wanted.double().mean())))
    assert alive > 0.02 or shape[2] == 1   # some density neither silences nor saturates


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("value", [0, 1, 3, 4, 5, 6, 7, 8, 9, 16, 196])
def test_sums_around_the_limit(value, order, tau):
    """One channel of K and V that fire together at `value` of 196 tokens: A is value exactly."""
    q, k, v = torch.zeros((3, 5, 1, 64, 14, 14), dtype=torch.bool)
    q[:, :, 40] = True
    for x, channel in ((k, 40), (v, 33)):
        x[:, :, channel].flatten(2)[..., :value] = True
    a = attention(q, k, v, 1, order)
    assert (a[:, :, 33] == min(value, LIMIT)).all()
    a[:, :, 33] = 0
    assert not a.any()
    assert torch.equal(fired(attention(q, k, v, 1, order), tau), fired(exact(q, k, v, 1), tau))


@pytest.mark.parametrize("order", ORDERS)
def test_many_small_terms_and_few_large_ones_stop_alike(order):
    """A = 9 as nine terms of 1 (nothing stops before the end), and as one term of 9."""
    for channels, tokens in ((9, 1), (1, 9), (3, 3)):
        q, k, v = torch.zeros((3, 1, 1, 32, 8, 8), dtype=torch.bool)
        q[:, :, :channels, 0, 5] = True
        k[:, :, :channels].flatten(3)[..., :tokens] = True
        v[:, :, 7].flatten(2)[..., :tokens] = True
        a = attention(q, k, v, 1, order)
        assert exact(q, k, v, 1).max() == 9
        assert a[0, 0, 7, 0, 5] == LIMIT
        assert a.count_nonzero() == 1


@pytest.mark.parametrize("order", ORDERS)
def test_all_and_none(order):
    full = torch.ones((2, 1, 96, 14, 14), dtype=torch.bool)
    none = torch.zeros_like(full)
    assert (attention(full, full, full, 2, order) == LIMIT).all()
    for spikes in ((none, full, full), (full, none, full), (full, full, none)):
        assert not attention(*spikes, 2, order).any()


@pytest.mark.parametrize("order", ORDERS)
def test_heads_do_not_mix(order):
    spikes = random_spikes((96, 3, 4, 4), 0.3, 0)
    whole = attention(*spikes, 3, order)
    for head in range(3):
        part = slice(32 * head, 32 * head + 32)
        alone = attention(*(x[:, :, part] for x in spikes), 1, order)
        assert torch.equal(whole[:, :, part], alone)
    assert not torch.equal(whole, attention(*spikes, 1, order))


@pytest.mark.parametrize("order", ORDERS)
def test_one_less_is_not_enough(order, monkeypatch):
    """The test can tell: counters that stop at 7 lose spikes."""
    spikes = random_spikes((64, 2, 8, 8), 0.15, 2)
    wanted = fired(exact(*spikes, 2), 2.0)
    monkeypatch.setattr(attention_module, "LIMIT", 7)
    assert not torch.equal(fired(attention(*spikes, 2, order), 2.0), wanted)


def test_operations_are_rows_added_for_spikes():
    channels, heads, height, width = shape = (96, 2, 5, 4)
    q, k, v = random_spikes(shape, 0.2, 1, timesteps=3)
    for order, first, row in ((AttentionOrder.KV_FIRST, k, channels // heads),
                              (AttentionOrder.QK_FIRST, v, height * width)):
        acs, dense, density = operations(q, k, v, heads, order)
        for image in range(2):
            events = int(q[:, image].sum()) + int(first[:, image].sum())
            assert int(acs[image]) == events * row
            assert float(density[image]) * dense == pytest.approx(events * row)
        full = torch.ones_like(q)
        assert operations(full, full, full, heads, order)[0].tolist() == [dense] * 2
        assert dense == 2 * 3 * channels * height * width * row
