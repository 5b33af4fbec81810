# SPDX-License-Identifier: Apache-2.0
import re

import pytest
from amaranth import Module, unsigned
from amaranth.back import rtlil
from amaranth.lib.memory import Memory

from hw.asic.macros import Macro, SramPlatform, macro_of, model_text, stub_text


def memory(depth, bits, reads=1, writes=1, domain="sync", init=(), **port):
    made = Memory(shape=unsigned(bits), depth=depth, init=init)
    for _ in range(writes):
        made.write_port(**port)
    for _ in range(reads):
        made.read_port(domain=domain)
    return made


@pytest.mark.parametrize(("given", "expected"), [
    (memory(64, 16), Macro(64, 16, False)),
    (memory(65, 32, reads=2), Macro(65, 32, True)),
    (memory(63, 16), None),                         # 1,008 bits
    (memory(1024, 32, domain="comb"), None),
], ids=["least", "two reads", "small", "read without a clock"])
def test_a_memory_becomes_a_macro_or_flip_flops(given, expected):
    assert macro_of(given) == expected


@pytest.mark.parametrize("given", [
    memory(256, 32, writes=2), memory(256, 32, reads=3), memory(256, 32, writes=0),
    memory(256, 32, granularity=8)], ids=["two writes", "three reads", "no write", "by bytes"])
def test_ports_that_no_macro_has_are_refused(given):
    with pytest.raises(ValueError, match="must have one write port and one or two plain read"):
        macro_of(given)


def test_a_transparent_read_is_refused():
    given = Memory(shape=8, depth=256, init=[])
    given.read_port(transparent_for=(given.write_port(),))
    with pytest.raises(ValueError, match="plain read ports"):
        macro_of(given)


def test_initial_contents_are_refused():
    given = memory(4, 8, init=[0, 0, 5])
    with pytest.raises(ValueError, match="must have no initial contents, not 4 words"):
        SramPlatform().get_memory(given)


def test_the_platform_puts_instances_in_place():
    platform = SramPlatform()
    m = Module()
    for n in range(2):
        m.submodules[f"same{n}"] = memory(577, 256, reads=2)
    m.submodules.other = memory(300, 8)
    m.submodules.small = memory(4, 8)
    text = rtlil.convert(m, platform=platform, ports=[])
    assert platform.macros == {Macro(577, 256, True): 2, Macro(300, 8, False): 1}
    assert len(re.findall(r"cell \\sram_1r1rw_577x256 \\macro", text)) == 2
    assert text.count("cell $memrd_v2") + text.count("memory width 8 size 4") > 0
    for macro in platform.macros:
        for port in re.findall(r"(?:input|output reg) (?:\[\d+:0\] )?(\w+)", macro.heading()):
            assert f"connect \\{port} " in text


def test_texts_hold_every_port():
    macros = [Macro(5, 3, False), Macro(577, 256, True)]
    stubs, models = stub_text(macros), model_text(macros)
    assert stubs.count("(* blackbox *)") == 2
    assert "reg" not in stubs
    for text in (stubs, models):
        assert "input [2:0] r_addr" in text
        assert "input [9:0] b_addr" in text
        assert "[255:0] a_data" in text
    assert "memory [0:7]" in models
    assert macros[1].total == 147_712
