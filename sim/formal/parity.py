# SPDX-License-Identifier: Apache-2.0
"""Parity of the weights: nothing is told of whole words, and every odd one whenever it is read.

The environment flips any bits of any words, parity bits too, in any cycle.
"""

from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Array, Cat, Const, Mux, Signal, Value

from hw.config import HardwareConfig
from hw.lanes import tree_levels
from sim.formal.harness import Break, Harness, Probes, Proof
from sim.formal.lanes import IMAGES, ROWS, lane_hardware, lane_sums

LATENCY = 3   # from a row of weights to `error`
CHUNK = 3     # so that rows, of four bits here, have several parts


def _whole(hardware: HardwareConfig, units: ModuleType) -> Harness:
    """Nothing flips: sums and counts are those that `lanes-*` prove of lanes without parity."""
    with patch.object(units, "CHUNK_BITS", CHUNK):
        proof, unit, probes = lane_sums(hardware, units.CheckedLanes)
    _parities(proof, probes, hardware, [[Const(0, 1)] * (ROWS + 1)] * hardware.geometry.banks)
    # What the parity memories showed at first has gone at the end of a reset, or of `clearing`.
    shown = proof.later(proof.started, "shown", LATENCY - 1)
    proof.implies("no_error", Const(1) if hardware.streamed else shown, ~unit.error)
    return proof


def _parities(proof: Harness, probes: Probes, hardware: HardwareConfig, odd: Any) -> None:
    """Of each row of each bank is known whether its bits are odd; so induction knows them all."""
    m, row_bits = proof.m, hardware.geometry.lanes * hardware.weight_bits
    for bank in range(hardware.geometry.banks):
        for row in range(ROWS + 1):
            word = probes.word(m, f"banks.bank{bank}", row, row_bits)
            stored = probes.word(m, f"parity.bank{bank}", row, 1)
            proof.claim(f"bank{bank}_row{row}", word.xor() ^ stored == odd[bank][row])


def _flipped(hardware: HardwareConfig, units: ModuleType) -> Harness:
    """Any events, any rows written, any flips: what is told, and when."""
    proof = Harness()
    geometry = hardware.geometry
    images = [] if hardware.streamed else IMAGES[:geometry.banks]
    m, unit = proof.m, units.CheckedLanes(hardware, images)
    with patch.object(units, "CHUNK_BITS", CHUNK):
        probes = proof.add(unit)
    events, interval = proof.drive(unit.i.payload, "i"), proof.drive(unit.interval, "interval")
    proof.assume(interval != 0)
    for row in events.rows:
        proof.assume(row <= ROWS)
    clearing, load = Const(0), None
    if hardware.streamed:
        clearing, load = proof.drive(unit.clearing, "clearing"), probes["banks.load"]
        proof.assume(Mux(proof.started, ~clearing | proof.later(clearing, "cleared"), clearing))
        for name in unit.load.signature.members:
            proof.drive(getattr(unit.load, name), f"load_{name}")
        proof.assume((unit.load.address <= ROWS) & (unit.load.select < geometry.banks))

    # One word of each bank in each cycle: any bits of it.  A word is written or flips.
    odd = [[Signal(name=f"odd{bank}_{row}") for row in range(ROWS + 1)]
           for bank in range(geometry.banks)]
    for bank, rows in enumerate(odd):
        at = proof.free(range(ROWS + 1), f"at{bank}")
        mask = proof.free(geometry.lanes * hardware.weight_bits, f"mask{bank}")
        bit = proof.free(1, f"bit{bank}")
        probes.flip(m, f"banks.bank{bank}", at, mask)
        probes.flip(m, f"parity.bank{bank}", at, bit)
        m.d.sync += Array(rows)[at].eq(Array(rows)[at] ^ mask.xor() ^ bit)
        if load is not None:
            writes = load.en & (load.select == bank)
            proof.assume(~(writes & (load.address == at)) | ((mask == 0) & (bit == 0)))
            # Row 0 is what all banks show until then.
            proof.assume(~clearing | ((mask == 0) & (bit == 0)))
            with m.If(writes):
                m.d.sync += Array(rows)[load.address].eq(0)
    _parities(proof, probes, hardware, odd)
    proof.implies("none_yet", clearing, ~Cat(*odd).any())

    # A word that was read and is odd, whichever; second ports that write read nothing.
    wrong = Signal(geometry.slots, name="wrong")
    for slot, row in enumerate(events.rows):
        bank, second = divmod(slot, geometry.ports)
        writes = load.en & (load.select == bank) if load is not None and second else Const(0)
        m.d.comb += wrong[slot].eq(Array(odd[bank])[row] & ~writes)
    shown = proof.later(proof.started, "shown", LATENCY - 1)
    proof.implies("told", shown & ~proof.later(clearing, "clearing_before"),
                  unit.error == proof.later(wrong.any(), "wrong_before", LATENCY))
    proof.implies("told_of_none", proof.later(clearing, "clearing_then"), ~unit.error)
    _before_sums(proof, unit, probes, hardware, wrong.any(), shown)
    return proof


def _before_sums(proof: Harness, unit: Any, probes: Probes, hardware: HardwareConfig,
                 wrong: Value, shown: Value) -> None:
    """The fault stands (`hw.accelerator` keeps it) when a sum that a wrong word is in comes out."""
    m = proof.m
    told = Signal(name="fault")
    m.d.sync += told.eq(told | (unit.error & shown))
    now, kept, waits, out = (Signal(name=f"wrong_{part}")
                             for part in ("now", "kept", "waits", "out"))
    last, moving, begin = probes["last"], probes["moving"], Const(0)
    behind = tree_levels(hardware) + 1
    if hardware.pairs:
        begin = Mux(last.resume, kept, 0)
        with m.If(last.fork):
            m.d.sync += kept.eq(now)
        proof.implies("kept_told", kept, told)
    m.d.sync += now.eq(Mux(last.close, begin, now) | proof.later(wrong, "wrong_added", behind))
    with m.If(last.close):
        m.d.sync += waits.eq(now)
    with m.If(moving):
        m.d.sync += out.eq(waits)
    proof.implies("now_told", now, told | unit.error)
    proof.implies("waits_told", waits, told)
    proof.implies("sums_told", out, told)


_SKIPPED = Break("odd &= ~skipped", "pass")
_WRITTEN = Break("write.data.eq(self.load.data.xor())", "write.data.eq(self.load.data[0])")
_IMAGE = Break("init=[row.bit_count() & 1 for row in image]", "init=[]")
_CLEARING = Break("valid = ~self.clearing if hardware.streamed else 1", "valid = 1")
_CHUNK = Break("word[n:n + CHUNK_BITS] for", "word[n:n + CHUNK_BITS - 1] for")
_SLOTS = Break("self.error.eq(wrong.any() & valid)", "self.error.eq(wrong[0] & valid)")
_LATE = Break("m.d.comb += wrong[slot].eq(odd)", "m.d.sync += wrong[slot].eq(odd)")
_ALWAYS = Break("m.d.sync += skipped.eq(self.wrote[bank])", "m.d.sync += skipped.eq(1)")
_FIXED = {"banks": 2, "pairs": True, "parity": True}
_STREAMED = {**_FIXED, "port_bits": 64}

PROOFS = [
    *(Proof(f"lanes-checked-{label}", "hw.parity", f"LaneArray with parity, {what}: the exact sum "
            "and count of each group, once, in order, in time, and no error",
            lambda units, changes=changes: _whole(lane_hardware(**changes), units),
            depth=9, induction=9, broken=broken)
      for label, what, changes, broken in (
          ("fixed", "weights on chip", _FIXED, (_IMAGE, _CHUNK)),
          ("streamed", "streamed weights", _STREAMED, (_SKIPPED, _WRITTEN, _CLEARING)))),
    *(Proof(f"parity-{label}", "hw.parity", f"Parity of the weights, {what}: an error for each odd "
            "word that is read, 3 cycles later, and no other; before any sum with it comes out",
            lambda units, changes=changes: _flipped(lane_hardware(**changes), units),
            depth=9, induction=9, broken=broken, quick=label == "fixed")
      for label, what, changes, broken in (
          ("fixed", "on chip", _FIXED, (_SLOTS, _LATE, _CHUNK)),
          ("streamed", "streamed", _STREAMED, (_SKIPPED, _WRITTEN, _CLEARING, _ALWAYS)))),
]
