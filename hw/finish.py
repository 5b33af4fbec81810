# SPDX-License-Identifier: Apache-2.0
"""Finish: the pipeline from the lanes' sums to spikes, residual stream, token sums and logits."""

from collections.abc import Sequence

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.current import Current, param_write
from hw.drain import Drain
from hw.isa import Emit, Instruction
from hw.lanes import Sums
from hw.layout import LINE_WORDS
from hw.lif import LIF
from hw.logits import Logit, Logits
from hw.pool import Pack, Pool, SpikeWord
from hw.residual import NeuronBeat, Residual, WordExchange
from hw.spike_memory import SpikeRead, SpikeWrite
from hw.tiles import TILE_COUNT_BITS
from hw.token_sum import TokenSum


class Finish(wiring.Component):
    """Drain -> Current -> Residual -> LIF -> Pack -> Pool, or -> Logits; and the taps beside it.

    Never stalls: `Dispatch` closes groups no faster than the beats go through.
    Ports: `instruction`, `start` and `start_planes` (pulses), `clear` (counters), `i` (sums),
    `pool_read`, `pool_write`, `plane_write` (spike memory), `logits` (results of the classifier),
    `done` (pulse, when the last result is in memory), `acs`, `saturations`; `residuals` and
    `spikes` carry every result before pooling (traces, token sums); `restart` (pulse: a new
    inference), `released` (tiles finished in it), with streamed weights `params`, and with a
    spilled residual stream `spill`, else `residual_error` if there is parity; `row_done` (pulse: a
    row of the target is in memory).
    """

    def __init__(self, hardware: HardwareConfig, params: Sequence[int]) -> None:
        self._hardware, self._params = hardware, params
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "start_planes": In(1),
            "clear": In(1), "i": In(stream.Signature(Sums(hardware), always_ready=True)),
            "pool_read": Out(SpikeRead(hardware, answers=False)),
            "pool_write": Out(SpikeWrite(hardware, LINE_WORDS, merges=True)),
            "plane_write": Out(SpikeWrite(hardware)),
            "logits": Out(stream.Signature(Logit(hardware), always_ready=True)),
            "residuals": Out(stream.Signature(NeuronBeat(hardware), always_ready=True)),
            "spikes": Out(stream.Signature(SpikeWord(hardware), always_ready=True)),
            "done": Out(1), "acs": Out(hardware.tally_bits),
            "saturations": Out(hardware.tally_bits),
            "restart": In(1), "released": Out(TILE_COUNT_BITS), "row_done": Out(1),
        } | ({"params": In(param_write(hardware))} if hardware.streamed else {})
          | ({"spill": Out(WordExchange(hardware))} if hardware.spills_residual else
             {"residual_error": Out(1)} if hardware.parity else {}))

    def elaborate(self, platform):
        m = Module()
        hardware, ins = self._hardware, self.instruction
        m.submodules.drain = drain = Drain(hardware)
        m.submodules.current = current = Current(hardware, self._params)
        m.submodules.logits = logits = Logits(hardware)
        m.submodules.residual = residual = Residual(hardware)
        m.submodules.lif = lif = LIF(hardware)
        m.submodules.pack = pack = Pack(hardware)
        m.submodules.pool = pool = Pool(hardware)
        m.submodules.token_sum = token_sum = TokenSum(hardware)
        m.d.comb += [unit.instruction.eq(ins)
                     for unit in (drain, current, logits, residual, lif, pool, token_sum)]
        m.d.comb += [drain.start.eq(self.start), token_sum.start.eq(self.start_planes),
                     current.clear.eq(self.clear), residual.clear.eq(self.clear),
                     self.acs.eq(current.acs), self.saturations.eq(residual.saturations)]

        m.d.comb += [drain.restart.eq(self.restart), self.released.eq(drain.released)]
        if hardware.streamed:
            wiring.connect(m, wiring.flipped(self.params), current.params)
        if hardware.spills_residual:
            wiring.connect(m, residual.spill, wiring.flipped(self.spill))
        else:
            m.d.comb += residual.address.eq(current.ahead)
            if hardware.parity:
                m.d.comb += self.residual_error.eq(residual.error)

        wiring.connect(m, wiring.flipped(self.i), drain.i)
        wiring.connect(m, drain.o, current.i)
        is_residual, is_logits = ins.emit == Emit.RESIDUAL, ins.emit == Emit.LOGITS
        m.d.comb += [
            logits.i.payload.eq(drain.o.payload), logits.i.valid.eq(drain.o.valid & is_logits),
            logits.row.eq(current.row),
            lif.i.payload.eq(residual.o.payload), lif.i.valid.eq(residual.o.valid & ins.fire),
            token_sum.i.payload.eq(residual.o.payload), token_sum.i.valid.eq(residual.o.valid),
            self.residuals.payload.eq(residual.o.payload),
            self.residuals.valid.eq(residual.o.valid & is_residual),
            pool.i.payload.eq(pack.o.payload), pool.i.valid.eq(pack.o.valid),
            self.spikes.payload.eq(pack.o.payload), self.spikes.valid.eq(pack.o.valid),
        ]
        wiring.connect(m, current.o, residual.i)
        wiring.connect(m, logits.o, wiring.flipped(self.logits))
        wiring.connect(m, lif.o, pack.i)
        wiring.connect(m, wiring.flipped(self.pool_read), pool.read)
        wiring.connect(m, wiring.flipped(self.pool_write), pool.write)
        wiring.connect(m, wiring.flipped(self.plane_write), token_sum.write)

        # The last beat needs the latency of every stage, and its word the pool's queue.
        latency = sum(unit.LATENCY for unit in (drain, current, residual, lif, pack))
        # A beat of the classifier goes through Logits class by class.
        slow = drain.LATENCY + logits.LATENCY + hardware.geometry.neurons
        flush = Signal(range(max(latency, slow) + 2))
        with m.If(drain.done):
            m.d.sync += flush.eq(Mux(is_logits, slow, latency) + 1)
        with m.Elif((flush > 1) | pool.idle):
            m.d.sync += flush.eq(flush - (flush != 0))
        m.d.comb += [self.done.eq(((flush == 1) & pool.idle) | token_sum.done),
                     self.row_done.eq(pool.row_done)]
        return m
