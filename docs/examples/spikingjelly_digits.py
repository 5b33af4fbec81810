# SPDX-License-Identifier: Apache-2.0
"""A Spikingformer of SpikingJelly's neurons on 8x8 digits, as one might have trained it elsewhere.

Writes net.pth, its state dict, and heldout.npz, images and labels that it has not seen, into the
working folder: what README's "From your checkpoint to a board" begins with.  Half a minute.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

T, D, HEADS, EPOCHS, HELD_OUT = 3, 32, 4, 6, 397
MEAN, STD = 0.3, 0.35


def lif(v_threshold: float = 1.0) -> nn.Module:
    return neuron.LIFNode(tau=2.0, v_threshold=v_threshold, detach_reset=True, step_mode="m")


def per_step(module: nn.Module, x: Tensor) -> Tensor:
    """A module that knows no time on [T, B, ...]."""
    return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Tokenizer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = (1, D // 8, D // 4, D // 2, D, D)
        for i in range(5):
            if i:
                self.add_module(f"block{i - 1}_lif", lif())
            self.add_module(f"block{i}_conv", nn.Conv2d(sizes[i], sizes[i + 1], 3, padding=1,
                                                        bias=False))
            self.add_module(f"block{i}_bn", nn.BatchNorm2d(sizes[i + 1]))
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(5):
            if i:
                x = getattr(self, f"block{i - 1}_lif")(x)
            if i == 4:
                x = per_step(self.pool, x)
            x = per_step(nn.Sequential(getattr(self, f"block{i}_conv"),
                                       getattr(self, f"block{i}_bn")), x)
        return x


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj_lif, self.attn_lif = lif(), lif(0.5)
        for name in "qkv":
            self.add_module(f"{name}_conv", nn.Conv1d(D, D, 1, bias=False))
            self.add_module(f"{name}_bn", nn.BatchNorm1d(D))
            self.add_module(f"{name}_lif", lif())
        self.proj_conv, self.proj_bn = nn.Conv1d(D, D, 1), nn.BatchNorm1d(D)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape
        x = self.proj_lif(x).flatten(3)
        q, k, v = (getattr(self, f"{n}_lif")(per_step(nn.Sequential(
            getattr(self, f"{n}_conv"), getattr(self, f"{n}_bn")), x))
            .unflatten(2, (HEADS, -1)).transpose(-1, -2) for n in "qkv")
        a = (q @ k.transpose(-1, -2) @ v * 0.125).transpose(-1, -2).flatten(2, 3)
        return per_step(nn.Sequential(self.proj_conv, self.proj_bn), self.attn_lif(a)).reshape(size)


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp1_lif, self.mlp2_lif = lif(), lif()
        self.mlp1_conv, self.mlp1_bn = nn.Conv2d(D, 4 * D, 1), nn.BatchNorm2d(4 * D)
        self.mlp2_conv, self.mlp2_bn = nn.Conv2d(4 * D, D, 1), nn.BatchNorm2d(D)

    def forward(self, x: Tensor) -> Tensor:
        x = per_step(nn.Sequential(self.mlp1_conv, self.mlp1_bn), self.mlp1_lif(x))
        return per_step(nn.Sequential(self.mlp2_conv, self.mlp2_bn), self.mlp2_lif(x))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(), MLP()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = Tokenizer()
        self.block = nn.ModuleList([Block()])
        self.head = nn.Linear(D, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x.expand(T, *x.shape))
        for block in self.block:
            x = block(x)
        return self.head(x.mean((3, 4))).mean(0)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    bunch = load_digits()
    images = (bunch.images[:, None] / 16).astype(np.float32)
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    train, held = order[HELD_OUT:], order[:HELD_OUT]
    np.savez("heldout.npz", inputs=images[held], labels=labels[held])
    x, y = (torch.from_numpy(images[train]) - MEAN) / STD, torch.from_numpy(labels[train])
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for epoch in range(EPOCHS):
        for part in torch.randperm(len(x)).split(64):
            functional.reset_net(net)
            loss = nn.functional.cross_entropy(net(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1} of {EPOCHS}, loss {loss.item():.3f}", flush=True)
    torch.save(net.state_dict(), Path("net.pth"))


if __name__ == "__main__":
    main()
