# SPDX-License-Identifier: Apache-2.0
"""cocotb test of the whole peripheral by others' models of its buses: cocotbext-axi.

Its masters, streams and memories know nothing of this project, and check what AXI demands of a
burst: its size, that it stays within 4 KB, where the last beat is.
"""

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

import cocotb
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import (
    AxiBus,
    AxiLiteBus,
    AxiLiteMaster,
    AxiRam,
    AxiRamRead,
    AxiReadBus,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.identity import SIZE
from hw.network import NetworkConfig
from hw.soc import (
    ADDRESSES,
    ANSWER,
    CONTROL,
    INFERENCES,
    MEMORIES,
    STATUS,
    connect_through,
    peripheral,
)
from sim.benches.models import random_model
from sim.streams import parameters

STREAM, INTERRUPT, ENABLE = 2, 4, 8   # of the control register
COMPLETE = 2                          # of the status register
CYCLES = 400_000                      # that an answer may take
REGION = 1 << 16                      # bytes between the memories' addresses


class WithIds(wiring.Component):
    """The peripheral with the ID signals that those memories want; they mean nothing to it.

    memories: names of its AXI4 ports, and whether they write
    """

    def __init__(self, inner: Any, memories: Mapping[str, bool]) -> None:
        self._inner = inner
        ids = {f"m_axi_{name}_{channel}id": (Out if channel[0] == "a" else In)(1)
               for name, writes in memories.items()
               for channel in ("ar", "r", *(("aw", "b") if writes else ()))}
        super().__init__(ids | dict(inner.signature.members.items()))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.inner = inner = self._inner
        m.d.comb += connect_through(self, inner)
        return m


def program(parameters: Mapping[str, Any]) -> Program:
    """Random weights of the network `network`, on hardware of the options `hardware`."""
    model = random_model(NetworkConfig.from_dict(parameters["network"]))
    options = dict(parameters["hardware"])
    if "spike_lines" in options:
        options["spike_lines"] = tuple(options["spike_lines"])
    return compile_model(model, HardwareConfig.for_model(model, **options))


def memories(built: Program) -> dict[str, bool]:
    """The AXI4 ports of its hardware, and whether they write."""
    sizes = zip(MEMORIES, (len(built.stream), built.residual_bytes, built.map_bytes))
    return {name: name != "weights" for name, size in sizes if size}


def unit(parameters: Mapping[str, Any]) -> wiring.Component:
    """The peripheral of `program`."""
    built = program(parameters)
    return WithIds(peripheral(built, 50_000_000), memories(built))


def pauses(chance: float, seed: int) -> Iterator[bool]:
    """In which cycles a channel rests."""
    rng = random.Random(seed)
    return (rng.random() < chance for _ in itertools.count())


@cocotb.test()
async def inferences(dut: SimHandleBase) -> None:
    """Inference after inference, answers by registers and by stream; parameters:

    network:  as `NetworkConfig.to_dict` gives it; its weights are random
    hardware: options of HardwareConfig.for_model
    samples:  bytes of each inference in the order of the input port
    words:    of each answer: logits, AC of all layers, saturations of all layers
    layers:   of the network
    identity: its bytes
    pause:    share of cycles in which each channel rests
    """
    given = parameters()
    built = program(given)
    cocotb.start_soon(Clock(dut.aclk, 2, unit="step").start(start_high=False))
    dut.aresetn.value = 0
    reset = {"clock": dut.aclk, "reset": dut.aresetn, "reset_active_level": False}
    registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), **reset)
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), **reset)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), **reset)
    channels = [registers.write_if.aw_channel, registers.write_if.w_channel,
                registers.write_if.b_channel, registers.read_if.ar_channel,
                registers.read_if.r_channel, source, sink]
    for number, (name, writes) in enumerate(memories(built).items()):
        prefix, base = f"m_axi_{name}", REGION * number
        if writes:
            ram = AxiRam(AxiBus.from_prefix(dut, prefix), **reset, size=4 * REGION)
            parts = [ram.read_if]
            ram.write(base, random.Random(number).randbytes(REGION))
            channels += [ram.write_if.aw_channel, ram.write_if.w_channel, ram.write_if.b_channel]
        else:
            ram = AxiRamRead(AxiReadBus.from_prefix(dut, prefix), **reset, size=4 * REGION)
            parts = [ram]
            ram.write(base, built.stream)
        channels += [parts[0].ar_channel, parts[0].r_channel]
    for seed, channel in enumerate(channels):
        channel.set_pause_generator(pauses(given["pause"], seed))
    await ClockCycles(dut.aclk, 20)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 20)

    identity = await registers.read(0, SIZE)
    assert bytes(identity.data) == bytes.fromhex(given["identity"])
    for number, name in enumerate(memories(built)):
        await registers.write_dword(ADDRESSES + 4 * MEMORIES.index(name), REGION * number)
    size = 8 * (len(given["words"][0]) + given["layers"])
    for count, (samples, words) in enumerate(zip(given["samples"], given["words"]), 1):
        streams = count % 2 == 0
        await registers.write_dword(CONTROL, ENABLE | INTERRUPT | STREAM * streams)
        await source.send(AxiStreamFrame(bytes.fromhex(samples)))
        if streams:
            answer = bytes((await with_timeout(sink.recv(), 2 * CYCLES, "step")).tdata)
        else:
            await with_timeout(RisingEdge(dut.interrupt), 2 * CYCLES, "step")
            read = await registers.read(ANSWER, size)
            assert read.resp == AxiResp.OKAY
            answer = bytes(read.data)
        assert await registers.read_dword(STATUS) == COMPLETE, "something is wrong or under way"
        assert await registers.read_dword(INFERENCES) == count
        values = [int.from_bytes(answer[at:at + 8], "little", signed=True)
               for at in range(0, len(answer), 8)]
        classes = len(values) - 3 * given["layers"]
        got = values[:classes] + values[classes::3] + values[classes + 2::3]   # not the cycles
        assert got == words, f"inference {count}: {got} must be {words}"
    beyond = await registers.read(ANSWER + size, 4)
    assert beyond.resp == AxiResp.SLVERR
