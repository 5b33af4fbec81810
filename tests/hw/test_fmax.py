# SPDX-License-Identifier: Apache-2.0
"""python -m hw.fmax, with synthesis and placement replaced."""

import json

import pytest

from hw import fmax, toolchains
from hw.toolchains.toolchain import Step, Timing, ToolError

TIMING = Timing(90, 150, {"LUT": (1, 2)}, [Step("unit.scan0", "unit.scan0.a", "logic", 3)])


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Call the command: exit status, stdout, stderr; what was synthesized is in `run.sources`."""
    monkeypatch.chdir(tmp_path)

    def synthesize(source, top, cache, *, family, netlist):
        call.sources.append((source.read_text(), top, family.name))

    def call(*arguments, place=lambda *_: TIMING):
        for name in ("ecp5", "xilinx"):
            monkeypatch.setattr(toolchains.get(name), "place", place, raising=False)
            monkeypatch.setattr(toolchains.get(name), "missing", lambda: call.missing)
        return (fmax.main([*arguments]), *capsys.readouterr())
    call.sources, call.missing = [], None
    monkeypatch.setattr(fmax, "synthesize", synthesize)
    return call


@pytest.mark.parametrize("device, family", [("ecp5_85f", "ecp5"), ("xc7a100t", "xc7"),
                                            ("xc7z020", "xc7")])
def test_the_core(run, device, family):
    as_json = device == "xc7z020"
    status, out, err = run("--lanes", "32", "--device", device, *["--json"] * as_json)
    assert (status, err) == (0, "")
    (source, top, name), = run.sources
    assert (top, name) == ("harness", family) and "  accelerator unit (" in source
    if as_json:
        document = json.loads(out)
        assert (document["command"], document["status"], document["fmax_mhz"]) == (
            "hw.fmax", 0, 90)
    else:
        assert "Fmax 90.0 MHz, target 150 MHz: missed" in out and "unit.scan0" in out


@pytest.mark.parametrize("device", ["xc7a100t", "xc7z020"])
def test_place_and_route_for_xilinx_gets_a_pin_for_each_port(run, device):
    placed = []

    def place(design, top, part, target, options):
        assert "xdc=pins.xdc" in options
        placed.append((design.parent / "pins.xdc").read_text().splitlines())
        return TIMING

    assert run("--device", device, place=place)[0] == 0
    (lines,) = placed
    pins = [line.split()[2] for line in lines if " LOC " in line]
    assert len(set(pins)) == 4   # no two on one pin
    for port in ("clk", "rst", "i", "o"):
        assert sum(line.endswith(f"[get_ports {port}]") for line in lines) == 2


def test_one_unit(run):
    assert run("--unit", "dispatch")[0] == 0
    assert "  \\accelerator.dispatch  unit (" in run.sources[0][0]


@pytest.mark.parametrize("arguments, message", [
    (["--unit", "no"], "unit must be a module of the design, not 'accelerator.no'"),
    (["nowhere"], "model directory must hold manifest.json, not 'nowhere'")])
def test_bad_input_is_one_sentence(run, arguments, message):
    assert run(*arguments) == (2, run_output(arguments), f"error: {message}\n")


def run_output(arguments):
    """What is printed before the error: the hardware, once there is one."""
    return "" if arguments == ["nowhere"] else (
        "32 lanes x 2 banks of 2 ports, words of 16 spikes, 8 neurons at a time; 110,920 weights "
        "of 8 bits on chip (--port-bits 128 streams them)\n")


def test_missing_tools(run):
    run.missing = "install them"
    assert run() == (2, "", "error: --device ecp5_85f needs tools: install them\n")


def test_a_failed_tool(run):
    def place(*_):
        raise ToolError("nextpnr failed:\nno")
    status, _, err = run(place=place)
    assert (status, err) == (1, "error: nextpnr failed:\nno\n")
