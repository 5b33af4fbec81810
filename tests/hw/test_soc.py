# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The peripheral against a bus functional model of AXI4-Lite and AXI4-Stream, with gaps."""

import random
import struct

import pytest
from amaranth import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw import soc
from hw.accelerator import Accelerator
from hw.axi import ReadPort
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.identity import Identity
from hw.model import in_port_order
from hw.network import NetworkConfig
from hw.readout import OUTPUT
from hw.soc import ADDRESSES, ANSWER, CONTROL, INFERENCES, SAMPLES, STATUS, Peripheral
from hw.spill import DataPort
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples
from tests.hw.axi_memory import AxiMemory, Pauses
from tests.hw.harness import Bench

COUNT, OKAY, SLVERR = 5, 0, 2
RESET, STREAM, INTERRUPT, ENABLE = 1, 2, 4, 8
ACTIVE, COMPLETE, MISPLACED = 1, 2, 4


class Negate(wiring.Component):
    """Takes `COUNT` samples and answers each with its negative, one by one at the end."""

    def __init__(self):
        super().__init__({"i": In(stream.Signature(unsigned(9))),
                          "o": Out(stream.Signature(OUTPUT))})

    def elaborate(self, platform):
        m = Module()
        kept, count, send = Signal(9 * COUNT), Signal(range(COUNT)), Signal()
        m.d.comb += [self.i.ready.eq(~send), self.o.valid.eq(send),
                     self.o.payload.data.eq(-kept[:9]), self.o.payload.last.eq(count == COUNT - 1)]
        with m.If((self.i.valid & self.i.ready) | (self.o.valid & self.o.ready)):
            m.d.sync += [count.eq(count + 1), kept.eq(kept >> 9)]
            with m.If(~send):
                m.d.sync += kept[-9:].eq(self.i.payload)
            with m.If(count == COUNT - 1):
                m.d.sync += [count.eq(0), send.eq(~send)]
        return m


TOLD = Identity(9, COUNT, COUNT, 0, 50_000_000, model=bytes(range(32)))


class Bus:
    """Master of `dut` in a testbench; what was not accepted in time raises."""

    def __init__(self, ctx, dut, gap=0, seed=0):
        self.ctx, self.dut, self.gap = ctx, dut, gap
        self.chance = random.Random(seed)

    async def pause(self):
        if self.gap:
            await self.ctx.tick().repeat(self.chance.randint(1, self.gap))

    async def until(self, signal, sampled=0):
        for _ in range(3000):
            _, _, here, value = await self.ctx.tick().sample(signal, sampled)
            if here:
                return value
        raise TimeoutError(signal.name)

    async def read(self, address):
        """Data and response."""
        ctx, dut = self.ctx, self.dut
        await self.pause()
        ctx.set(dut.s_axi_araddr, address)
        ctx.set(dut.s_axi_arvalid, 1)
        await self.until(dut.s_axi_arready)
        ctx.set(dut.s_axi_arvalid, 0)
        ctx.set(dut.s_axi_araddr, 0xFFFF)
        await self.pause()
        ctx.set(dut.s_axi_rready, 1)
        for _ in range(20):
            _, _, here, value, response = await ctx.tick().sample(
                dut.s_axi_rvalid, dut.s_axi_rdata, dut.s_axi_rresp)
            if here:
                ctx.set(dut.s_axi_rready, 0)
                return value, response
        raise TimeoutError("R")

    async def write(self, address, value, strobes=15, first="both"):
        """The response; address or data may come first."""
        ctx, dut = self.ctx, self.dut
        await self.pause()
        ctx.set(dut.s_axi_awaddr, address)
        ctx.set(dut.s_axi_wdata, value)
        ctx.set(dut.s_axi_wstrb, strobes)
        if first != "both":
            ctx.set(getattr(dut, f"s_axi_{first}valid"), 1)
            await ctx.tick().repeat(3)
        ctx.set(dut.s_axi_awvalid, 1)
        ctx.set(dut.s_axi_wvalid, 1)
        await self.until(dut.s_axi_awready & dut.s_axi_wready)
        ctx.set(dut.s_axi_awvalid, 0)
        ctx.set(dut.s_axi_wvalid, 0)
        await self.pause()
        ctx.set(dut.s_axi_bready, 1)
        response = await self.until(dut.s_axi_bvalid, dut.s_axi_bresp)
        ctx.set(dut.s_axi_bready, 0)
        return response

    async def send(self, samples, last=None):
        """`last` is the index of the sample with tlast."""
        ctx, dut = self.ctx, self.dut
        last = len(samples) - 1 if last is None else last
        for number, sample in enumerate(samples):
            await self.pause()
            ctx.set(dut.s_axis_tdata, sample)
            ctx.set(dut.s_axis_tlast, number == last)
            ctx.set(dut.s_axis_tvalid, 1)
            await self.until(dut.s_axis_tready)
            ctx.set(dut.s_axis_tvalid, 0)

    async def status(self, wanted=COMPLETE):
        """Poll until those bits are set."""
        for _ in range(2000):
            value, _ = await self.read(STATUS)
            if value & wanted == wanted:
                return value
        raise TimeoutError(f"status {value}")

    async def answer(self, words):
        """int64 words from the registers."""
        data = b""
        for word in range(2 * words):
            data += (await self.read(ANSWER + 4 * word))[0].to_bytes(4, "little")
        return list(struct.unpack(f"<{words}q", data))


def run(dut, script, gap=0, words=None, takes=True):
    """Run the script(bus); its value.  `words` grows by what leaves m_axis as (data, last)."""
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    results, chance = [], random.Random(7)

    async def drive(ctx):
        await ctx.tick()
        results.append(await script(Bus(ctx, dut, gap)))

    async def take(ctx):
        while True:
            ctx.set(dut.m_axis_tready, takes and chance.randint(0, gap) == 0)
            _, _, valid, ready, data, last = await ctx.tick().sample(
                dut.m_axis_tvalid, dut.m_axis_tready, dut.m_axis_tdata, dut.m_axis_tlast)
            if valid and ready and words is not None:
                words.append((data - (data >> 63 << 64), last))
    sim.add_testbench(drive)
    sim.add_testbench(take, background=True)
    sim.run()
    return results[0]


FIRST, SECOND = [0, 1, 511, 256, 7], [5, 4, 3, 2, 1]


def test_identity_and_other_registers():
    async def script(bus):
        told = [await bus.read(4 * n) for n in range(16)]
        rest = [await bus.read(place) for place in (
            CONTROL, STATUS, SAMPLES, INFERENCES, ADDRESSES, 0x5C, 0x7FFC, ANSWER + 8 * COUNT)]
        return told, rest
    told, rest = run(Peripheral(Negate(), TOLD), script)
    assert b"".join(value.to_bytes(4, "little") for value, _ in told) == TOLD.pack()
    assert [response for _, response in told] == [OKAY] * 16
    assert rest == [(0, OKAY)] * 5 + [(0, SLVERR)] * 3


@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_two_inferences(gap, streamed):
    words = []

    async def script(bus):
        await bus.write(CONTROL, STREAM * streamed)
        found = []
        for samples in (FIRST, SECOND):
            await bus.send(samples)
            found.append((await bus.status(), await bus.answer(COUNT), await bus.answer(COUNT)))
        return found, await bus.read(INFERENCES)
    found, inferences = run(Peripheral(Negate(), TOLD), script, gap, words)
    negative = [[-value for value in each] for each in (FIRST, SECOND)]
    assert found == [(COMPLETE, each, each) for each in negative]
    assert words == [(value, int(n == COUNT - 1)) for each in negative
                     for n, value in enumerate(each)] * streamed
    assert inferences == (2, OKAY)


def test_a_second_inference_at_once_waits_for_the_first():
    words = []

    async def script(bus):
        await bus.write(CONTROL, STREAM)
        await bus.send(FIRST)
        await bus.send(SECOND)
        await bus.status()
        return await bus.answer(COUNT), (await bus.read(INFERENCES))[0]
    assert run(Peripheral(Negate(), TOLD), script, 1, words) == ([-n for n in SECOND], 2)
    assert [value for value, _ in words] == [-n for n in FIRST + SECOND]


def test_a_stream_that_nobody_takes_holds_the_answer():
    async def script(bus):
        await bus.write(CONTROL, STREAM)
        await bus.send(FIRST)
        await bus.ctx.tick().repeat(100)
        held = await bus.read(STATUS)
        await bus.write(CONTROL, 0)
        return held, await bus.status(), await bus.answer(COUNT)
    held, status, answer = run(Peripheral(Negate(), TOLD), script, takes=False)
    assert held == (ACTIVE, OKAY) and status == COMPLETE and answer == [-n for n in FIRST]


@pytest.mark.parametrize("last", [0, 3, -1])
def test_tlast_that_is_misplaced(last):
    async def script(bus):
        await bus.send(FIRST, last)
        first = await bus.status()
        await bus.write(CONTROL, RESET)
        await bus.ctx.tick().repeat(20)
        return first, await bus.read(STATUS)
    assert run(Peripheral(Negate(), TOLD), script) == (COMPLETE | MISPLACED, (0, OKAY))


def test_reset_in_the_middle():
    async def script(bus):
        await bus.send(FIRST[:3], 9)
        before = await bus.read(STATUS), await bus.read(SAMPLES)
        await bus.write(CONTROL, RESET | INTERRUPT)
        await bus.ctx.tick().repeat(20)
        after = await bus.read(STATUS), await bus.read(SAMPLES), await bus.read(CONTROL)
        await bus.send(SECOND)
        await bus.status()
        return before, after, await bus.answer(COUNT), bus.ctx.get(bus.dut.interrupt)
    before, after, answer, interrupt = run(Peripheral(Negate(), TOLD), script)
    assert before == ((ACTIVE, OKAY), (3, OKAY))
    assert after == ((0, OKAY), (0, OKAY), (INTERRUPT, OKAY))
    assert answer == [-n for n in SECOND] and interrupt


@pytest.mark.parametrize("first", ["both", "aw", "w"])
def test_writes(first):
    """Byte by byte, in any order of the channels, and only where there is something to write."""
    async def script(bus):
        responses = [await bus.write(ADDRESSES, 0x11223344, 15, first),
                     await bus.write(ADDRESSES, 0xAABBCCDD, 0b0101, first),
                     await bus.write(ADDRESSES + 8, 0x55667788, 15, first),
                     await bus.write(STATUS, 1, 15, first), await bus.write(0, 1, 15, first),
                     await bus.write(CONTROL, 15, 0b1110, first)]
        return responses, await bus.read(ADDRESSES), await bus.read(ADDRESSES + 8), (
            await bus.read(CONTROL))
    assert run(Peripheral(Negate(), TOLD), script) == (
        [OKAY, OKAY, OKAY, SLVERR, SLVERR, OKAY], (0x11BB33DD, OKAY), (0x55667788, OKAY),
        (0, OKAY))


def test_a_network():
    network = NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3, pool_stages=(False, False, True, True))
    model = random_model(network, seed=2)
    image = random_samples(model, 1, seed=1).inputs[0]
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2))
    told = Identity.of(program)

    async def script(bus):
        await bus.send([int(value) for value in in_port_order(image)])
        await bus.status()
        return await bus.answer(told.words)
    words = run(Peripheral(Accelerator(program.hardware, program.memory), told), script)
    golden = GoldenModel(model).run(image[None])[0]
    assert words[:3] == golden[-1].logits.tolist()
    assert words[3::3] == [result.acs for result in golden]


class Masters(wiring.Component):
    """A peripheral whose memory masters are ports of `hw.axi` again, made of its signals by name.

    dut: with `m_axi_weights_*`, and if `spilled` with `m_axi_residual_*`
    """

    def __init__(self, dut, bits):
        self.dut = dut
        super().__init__({"weights": Out(ReadPort(bits)), "residual": Out(DataPort(bits))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut

        def channel(name, prefix, port, to_memory):
            for field in port.payload.shape().members if name != "b" else ():
                outside, inside = getattr(dut, f"{prefix}_{name}{field}"), port.payload[field]
                m.d.comb += inside.eq(outside) if to_memory else outside.eq(inside)
            valid, ready = (getattr(dut, f"{prefix}_{name}{end}") for end in ("valid", "ready"))
            m.d.comb += ([port.valid.eq(valid), ready.eq(port.ready)] if to_memory
                         else [valid.eq(port.valid), port.ready.eq(ready)])
        for prefix, read in (("m_axi_weights", self.weights),
                             ("m_axi_residual", self.residual.read)):
            channel("ar", prefix, read.ar, True)
            channel("r", prefix, read.r, False)
        write = self.residual.write
        channel("aw", "m_axi_residual", write.aw, True)
        channel("w", "m_axi_residual", write.w, True)
        channel("b", "m_axi_residual", write.b, False)
        return m


@pytest.mark.parametrize("pauses", [Pauses(), Pauses((3, 40), 0.3)], ids=["fast", "slow"])
def test_a_network_with_weights_and_residual_stream_in_memory(pauses):
    """Registers, samples and all channels of the memory masters, at the peripheral's signals."""
    network = NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3, pool_stages=(False, False, True, True))
    model = random_model(network, seed=2)
    image = random_samples(model, 1, seed=1).inputs[0]
    program = compile_model(model, HardwareConfig.for_model(
        model, lanes=8, banks=2, port_bits=64, spill_residual=True))
    told = Identity.of(program, writable=True)
    dut = Peripheral(Accelerator(program.hardware, program.memory), told)
    bench = Bench(masters := Masters(dut, 64), seed=5, max_cycles=200_000)
    weights = AxiMemory(64, bytearray(0x3000) + program.stream + bytes(4096), pauses)
    weights.serve_reads(bench, masters.weights)
    residual = AxiMemory(64, bytearray(0x1000 + program.residual_bytes + 4096), pauses)
    residual.serve_reads(bench, masters.residual.read)
    residual.serve_writes(bench, masters.residual.write)
    found = []

    async def script(ctx):
        bus = Bus(ctx, dut, gap=2)
        await ctx.tick()
        for place, value in ((ADDRESSES, 0x3000), (ADDRESSES + 4, 0x1000), (CONTROL, ENABLE)):
            assert await bus.write(place, value) == OKAY
        await bus.send([int(value) for value in in_port_order(image)])
        found.append(await bus.status())
        found.append(await bus.answer(told.words))
    bench.sim.add_testbench(script)
    bench.sim.run()
    golden = GoldenModel(model).run(image[None])[0]
    assert weights.faults == [] and residual.faults == []
    assert weights.read and residual.read and residual.written
    status, words = found
    assert status == COMPLETE
    assert words[:3] == golden[-1].logits.tolist()
    assert words[3::3] == [result.acs for result in golden]


def test_command(tmp_path, capsys):
    model = random_model(NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3,
                                       pool_stages=(False, False, True, True)), seed=2)
    model.save(tmp_path / "model")
    out = tmp_path / "new" / "peripheral.v"
    words = [str(tmp_path / "model"), "--lanes", "8", "--out", str(out), "--port-bits", "64"]
    assert soc.main(words) == 0
    text = out.read_text()
    for port in ("input aclk;", "input aresetn;", "output [31:0] s_axi_rdata;",
                 "output s_axis_tready;", "output [63:0] m_axis_tdata;",
                 "output m_axi_weights_arvalid;", "input [63:0] m_axi_weights_rdata;"):
        assert port in text
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert soc.main([str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.startswith("error: model directory must hold manifest.json")
