# SPDX-License-Identifier: Apache-2.0
"""The models of memory chips in `sim/*_chip.h`, for designs in Amaranth's simulator.

Their checks are those of the data sheets; what a master does wrong is in `faults`, as sentences.
"""

import ctypes
import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from sim.board_top import inlined
from sim.build import CACHE, content_hash, locked
from sim.toolchain import find_compiler, first_line

HERE = Path(__file__).parent
SIM = HERE.parents[1] / "sim"
FLASH_SIZE = 1 << 24
# Nanoseconds of the board and the pins, there and back.
FLIGHT = 9.0
NAMES = {0b100: "activate", 0b010: "read", 0b011: "write", 0b101: "precharge", 0b110: "refresh",
         0b111: "mode", 0b001: "stop"}
# By the model's own numbers.
ORDER = ("", "stop", "read", "write", "activate", "precharge", "refresh", "mode")


@functools.cache
def library() -> ctypes.CDLL:
    """The models, compiled if the cache does not hold them."""
    compiler = find_compiler()
    source = HERE / "chips.cpp"
    headers = [inlined(path.name) for path in sorted(SIM.glob("*_chip.h"))]
    key = content_hash([source.read_text(), *headers, first_line(compiler)])
    CACHE.mkdir(parents=True, exist_ok=True)
    built = CACHE / f"chips-{key}.so"
    with locked(built.with_suffix(".lock")):
        if not built.is_file():
            partial = built.with_suffix(".partial")
            subprocess.run([compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-I", str(SIM), "-o",
                            str(partial), str(source)], check=True)
            partial.rename(built)
    found = ctypes.CDLL(str(built.absolute()))
    for name, kind, arguments in (
            ("flash_new", ctypes.c_void_p, "uud"), ("flash_delete", None, "p"),
            ("flash_load", None, "pusu"), ("flash_see", None, "pdiiuu"),
            ("flash_output", ctypes.c_uint, "pd"), ("flash_report", ctypes.c_char_p, "p"),
            ("sdram_new", ctypes.c_void_p, "dd"), ("sdram_delete", None, "p"),
            ("sdram_put", None, "puu"), ("sdram_get", ctypes.c_int, "pu"),
            ("sdram_see", None, "pdiiuuui"), ("sdram_output", ctypes.c_uint, "pd"),
            ("sdram_finish", None, "p"), ("sdram_report", ctypes.c_char_p, "p"),
            ("ddr3_new", ctypes.c_void_p, "ddddii"), ("ddr3_delete", None, "p"),
            ("ddr3_put", None, "puu"), ("ddr3_get", ctypes.c_int, "pu"),
            ("ddr3_cycle", ctypes.POINTER(ctypes.c_uint8), "pdduuuuu"),
            ("ddr3_finish", None, "p"), ("ddr3_report", ctypes.c_char_p, "p")):
        function = getattr(found, name)
        function.restype = kind
        types = {"p": ctypes.c_void_p, "u": ctypes.c_uint, "i": ctypes.c_int, "d": ctypes.c_double,
                 "s": ctypes.c_char_p}
        function.argtypes = [types[each] for each in arguments]
    return found


class Chip:
    """A model of `kind`, made from `arguments`."""

    def __init__(self, kind: str, *arguments: float) -> None:
        self._kind = kind
        self._chip = self._call("new", *arguments, chip=False)

    def __del__(self) -> None:
        self._call("delete")

    def _call(self, name: str, *arguments: Any, chip: bool = True) -> Any:
        function = getattr(library(), f"{self._kind}_{name}")
        return function(*([self._chip] if chip else []), *arguments)

    def _report(self, name: str) -> Any:
        return json.loads(self._call("report"))[name]

    @property
    def faults(self) -> list[str]:
        return self._report("faults")


class FlashChip(Chip):
    """`contents` from address 0, the rest is erased; registers as after power-up.

    write_ns: time that writing a register takes (140 ms and more, in simulation less)
    """

    def __init__(self, contents: bytes, configuration: int = 0, status: int = 0,
                 write_ns: float = 3000.0) -> None:
        super().__init__("flash", configuration, status, write_ns)
        self._contents = contents
        self._call("load", 0, contents, len(contents))

    @property
    def reads(self) -> list[int]:
        """Address of each read command."""
        return self._report("reads")

    @property
    def commands(self) -> list[int]:
        return self._report("commands")

    @property
    def configuration(self) -> int:
        return self._report("configuration")

    @property
    def status(self) -> int:
        return self._report("status")

    def byte(self, address: int) -> int:
        address %= FLASH_SIZE
        return self._contents[address] if address < len(self._contents) else 0xFF

    def serve(self, bench: Any, pins: Any, period_ns: float) -> None:
        """Answer on `pins` of a design whose clock has a period of `period_ns`.

        Pins are registers, so looking after each edge sees every change.
        """
        async def chip(ctx):
            cycle = 0
            while True:
                time = cycle * period_ns
                self._call("see", time, not ctx.get(pins.cs), ctx.get(pins.sck),
                           ctx.get(pins.dq_o), ctx.get(pins.dq_oe))
                # What the design samples at the end of this cycle.
                ctx.set(pins.dq_i, self._call("output", time + period_ns))
                await ctx.tick()
                cycle += 1
        bench.sim.add_testbench(chip, background=True)


class SdramChip(Chip):
    """Words by word address (row, bank, column), noise where nothing was written.

    The chip sees a command in the middle of the cycle after the one in which it stands in the
    controller's registers (registers of the pins, and a clock that is half a period late).
    """

    def __init__(self, power_up: float = 200_000.0, flight: float = FLIGHT) -> None:
        super().__init__("sdram", power_up, flight)
        self.power_up = power_up

    def load(self, address: int, contents: bytes) -> None:
        """Bytes at a byte address."""
        for n, word in enumerate(np.frombuffer(contents, "<u2").tolist()):
            self._call("put", address // 2 + n, word)

    def word(self, place: int) -> int:
        """At a word address; -1 where nothing was written."""
        return self._call("get", place)

    @property
    def commands(self) -> list[str]:
        return [ORDER[code] for code in self._report("commands")]

    @property
    def refreshes(self) -> int:
        return self._report("refreshes")

    def command(self, time: float, name: str, bank: int, a: int) -> None:
        """A command at the pins, in the middle of a clock of its own."""
        code = next(code for code, each in NAMES.items() if each == name)
        for moment, clock in ((time - 2, 0), (time, 1), (time + 1, 0)):
            self._call("see", moment, clock, code, bank, a, 0, name == "write")

    def finish(self) -> list[str]:
        """All faults, once the run is over."""
        self._call("finish")
        return self.faults

    def serve(self, bench: Any, pins: Any, period_ns: float) -> None:
        """Answer on `pins` of a design whose clock has a period of `period_ns`."""
        async def chip(ctx):
            cycle, registers = 0, (0, 0, 0, 0, 0)
            while True:
                time = cycle * period_ns
                self._call("see", time, 0, *registers)
                ctx.set(pins.dq_i, self._call("output", time + period_ns / 2))
                self._call("see", time + period_ns / 2, 1, *registers)
                registers = (ctx.get(pins.ras) << 2 | ctx.get(pins.cas) << 1 | ctx.get(pins.we),
                             ctx.get(pins.ba), ctx.get(pins.a), ctx.get(pins.dq_o),
                             ctx.get(pins.dq_oe))
                await ctx.tick()
                cycle += 1
        bench.sim.add_testbench(chip, background=True)


class Ddr3Chip(Chip):
    """As `SdramChip`, with pads (`boards.ddr3_pads`) before it.

    power_up, wake_up: ns in reset, and from it to the clock enable
    access: ns by which data comes after the clock (tDQSCK); flight: of the board and the pins
    absent: nothing drives the data pins
    late: eighths of a cycle by which the strobe of writes is too late
    """

    FLAGS = ("rst", "cke", "ras", "cas", "we", "dq_oe", "dqs_o")
    ORDER = ("", "calibrate", *ORDER[2:])

    def __init__(self, power_up: float = 200_000.0, wake_up: float = 500_000.0, access: float = 5.5,
                 flight: float = 3.0, absent: bool = False, late: int = 0) -> None:
        super().__init__("ddr3", power_up, wake_up, access, flight, absent, late)
        self.power_up, self.wake_up = power_up, wake_up

    load, word, finish = SdramChip.load, SdramChip.word, SdramChip.finish

    @property
    def commands(self) -> list[str]:
        return [self.ORDER[code] for code in self._report("commands")]

    @property
    def refreshes(self) -> int:
        return self._report("refreshes")

    def cycle(self, time: float, period: float, flags: int, ba: int = 0, a: int = 0, dm: int = 0,
              dq: int = 0) -> int:
        """One of the clock; `flags` in the order of FLAGS.  Returns the samples at the inputs."""
        came = self._call("cycle", time, period, flags, ba, a, dm, dq)
        return int.from_bytes(bytes(came[:16]), "little")

    def serve(self, bench: Any, pins: Any, period_ns: float) -> None:
        """Answer on `pins` of a design whose clock has a period of `period_ns`."""
        async def chip(ctx):
            cycle = 0
            while True:
                flags = sum(ctx.get(getattr(pins, name)) << n for n, name in enumerate(self.FLAGS))
                words = (ctx.get(getattr(pins, name)) for name in ("ba", "a", "dm_o", "dq_o"))
                ctx.set(pins.dq_i, self.cycle(cycle * period_ns, period_ns, flags, *words))
                await ctx.tick()
                cycle += 1
        bench.sim.add_testbench(chip, background=True)
