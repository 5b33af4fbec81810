# SPDX-License-Identifier: Apache-2.0
"""Masters by their signals: names, widths, and every value from one side to the other."""

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from hw.axi import ReadPort, WritePort
from hw.axi_channels import connect_read, connect_write, read_members, write_members

BITS = 64
# As AMBA's specification has them; no IDs, no user signals, no regions.
ADDRESS = {"addr": 32, "len": 8, "size": 3, "burst": 2, "lock": 1, "cache": 4, "prot": 3, "qos": 4}
OUT = {**{f"{channel}{name}": width for channel in ("ar", "aw") for name, width in ADDRESS.items()},
       "arvalid": 1, "awvalid": 1, "rready": 1, "wdata": BITS, "wstrb": BITS // 8, "wlast": 1,
       "wvalid": 1, "bready": 1}
INTO = {"arready": 1, "awready": 1, "rdata": BITS, "rresp": 2, "rlast": 1, "rvalid": 1,
        "wready": 1, "bresp": 2, "bvalid": 1}


class Master(wiring.Component):
    """Both ports inside, their signals outside."""

    def __init__(self):
        super().__init__({"read": In(ReadPort(BITS)), "write": In(WritePort(BITS)),
                          **read_members("m", BITS), **write_members("m", BITS)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [*connect_read(self, "m", self.read), *connect_write(self, "m", self.write)]
        return m


def test_names_and_widths():
    members = {**read_members("m", BITS), **write_members("m", BITS)}
    for names, flow in ((OUT, wiring.Out), (INTO, wiring.In)):
        found = {name[2:]: member.shape for name, member in members.items() if member.flow is flow}
        assert found == names


@pytest.mark.parametrize("seed", range(3))
def test_every_value_arrives(seed):
    dut, chance, seen = Master(), random.Random(seed), {}
    read, write = dut.read, dut.write
    fields = ("addr", "len", "size", "burst")
    inner = {"arvalid": read.ar.valid, "awvalid": write.aw.valid, "rready": read.r.ready,
             "wdata": write.w.payload.data, "wlast": write.w.payload.last,
             "wvalid": write.w.valid, "bready": write.b.ready,
             **{f"ar{name}": read.ar.payload[name] for name in fields},
             **{f"aw{name}": write.aw.payload[name] for name in fields}}
    outer = {"arready": read.ar.ready, "awready": write.aw.ready, "rdata": read.r.payload.data,
             "rresp": read.r.payload.resp, "rlast": read.r.payload.last, "rvalid": read.r.valid,
             "wready": write.w.ready, "bresp": write.b.payload, "bvalid": write.b.valid}
    values = {name: chance.getrandbits(width) for name, width in (OUT | INTO).items()}

    async def check(ctx):
        for name, signal in inner.items():
            ctx.set(signal, values[name])
        for name in outer:
            ctx.set(getattr(dut, f"m_{name}"), values[name])
        await ctx.delay(1e-9)
        seen.update({name: ctx.get(getattr(dut, f"m_{name}")) for name in OUT})
        seen.update({name: ctx.get(signal) for name, signal in outer.items()})
    sim = Simulator(dut)
    sim.add_testbench(check)
    sim.run()
    constant = {"cache": 0b0011, "lock": 0, "prot": 0, "qos": 0}
    assert seen == values | {"wstrb": 0xFF} | {
        f"{channel}{name}": value for channel in ("ar", "aw") for name, value in constant.items()}
