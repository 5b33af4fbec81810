# SPDX-License-Identifier: Apache-2.0
"""A bad serial line: bytes that are flipped, dropped, repeated, or never sent, by chance."""

import random

KINDS = ("flip", "drop", "repeat", "garbage")


class Noise:
    """Damages each byte with probability `rate`, in one of the `KINDS` each as often.

    seed: of what happens
    counts: what happened so far, by kind
    """

    def __init__(self, rate: float, seed: int = 0) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"noise must be 0 to 1, not {rate!r}")
        self.rate, self.counts = rate, dict.fromkeys(KINDS, 0)
        self._chance = random.Random(seed)

    def apply(self, data: bytes) -> bytes:
        """What arrives of `data`."""
        arrived = bytearray()
        for byte in data:
            if self._chance.random() >= self.rate:
                arrived.append(byte)
                continue
            kind = self._chance.choice(KINDS)
            self.counts[kind] += 1
            if kind == "flip":
                arrived.append(byte ^ 1 << self._chance.randrange(8))
            elif kind == "repeat":
                arrived += bytes([byte, byte])
            elif kind == "garbage":
                arrived += self._chance.randbytes(self._chance.randint(1, 20)) + bytes([byte])
        return bytes(arrived)

    def __str__(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
