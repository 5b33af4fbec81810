# SPDX-License-Identifier: Apache-2.0
"""The memory map: every memory of the generated design, regions, bytes moved."""

import re
from dataclasses import replace

import pytest

from hw.axi import BURST
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_rtlil
from hw.memory_map import ALIGNMENT, memory_map, regions, traffic
from hw.network import Output
from sim.benches.models import SMALL, random_model

# An image that is large beside the token grid.
NETWORK = replace(SMALL, image_height=22, image_width=11, pool_stages=(True,) * 4)
MODEL = random_model(NETWORK)
SPILLED = {"port_bits": 64, "spill_residual": True, "spike_lines": (24, 30)}


def program(**options):
    return compile_model(MODEL, HardwareConfig.for_model(MODEL, lanes=8, banks=2, **options))


@pytest.mark.parametrize("options", [{}, {"port_bits": 128}, SPILLED],
                         ids=["on-chip", "streamed", "spilled"])
def test_every_memory_of_the_design_is_there(options):
    mapped = memory_map(program(**options))
    sizes = re.findall(r"^ +memory width (\d+) size (\d+)", accelerator_rtlil(program(**options)),
                       re.MULTILINE)
    assert sorted((int(size), int(width)) for width, size in sizes) == sorted(
        (memory.entries, memory.bits) for memory in mapped.memories for _ in range(memory.count))
    assert mapped.on_chip_bits == sum(int(size) * int(width) for width, size in sizes)


def test_names_and_sizes():
    compiled = program()
    hardware = compiled.hardware
    mapped = {memory.name: memory for memory in memory_map(compiled).memories}
    weights = mapped["weights"]
    assert (weights.count, weights.entries, weights.bits) == (2, hardware.weight_rows, 8 * 8)
    assert [mapped[f"spikes, half {half}"].total for half in (0, 1)] == [
        lines * hardware.geometry.line_bits for lines in hardware.spike_lines]
    assert mapped["residual stream"].entries == hardware.residual_words
    assert set(list(mapped)[:6]) == {"weights", "parameters", "spikes, half 0", "spikes, half 1",
                                     "residual stream", "membranes"}
    named = memory_map(compiled)
    assert named.bits_besides_weights == named.on_chip_bits - weights.total
    assert not named.regions and not named.traffic
    assert not any("residual" in name for name in
                   (memory.name for memory in memory_map(program(**SPILLED)).memories))


def test_regions_follow_each_other():
    compiled = program(**SPILLED)
    placed = regions(compiled)
    assert [region.port for region in placed] == ["weights", "residual", "maps"]
    assert [region.size for region in placed] == [
        len(compiled.stream), compiled.residual_bytes, compiled.map_bytes]
    for region, following in zip(placed, placed[1:]):
        assert region.offset + region.size <= following.offset
        assert following.offset % ALIGNMENT == 0


def test_traffic():
    compiled = program(**SPILLED)
    weights, residual, maps = traffic(compiled)
    assert weights.read == len(compiled.stream) - (BURST - 1) * 8 and not weights.written
    adding = [layer for layer in NETWORK.layers() if layer.output is Output.RESIDUAL]
    assert residual.written == len(adding) * compiled.residual_bytes
    assert residual.read == (len(adding) - 1) * compiled.residual_bytes
    windowed = [layer for layer in compiled.plan.layers if layer.sources[0].windowed]
    assert windowed and maps.read >= maps.written > 0
    # An image of zeros behind the last record would be read, too.
    longer = replace(compiled, stream=compiled.stream + bytes(8))
    assert traffic(longer)[0].read == weights.read + 8


def test_lines():
    text = memory_map(program(**SPILLED)).lines()
    assert re.search(r"^  spikes, half 0 +4 x 24 +8 +768 +0\.1$", "\n".join(text), re.MULTILINE)
    assert any(line.startswith("  besides weights") for line in text)
    assert any(re.match(r"  spike maps +maps +0x[0-9a-f]+ +[\d,]+$", line) for line in text)
    assert any(re.match(r"  port residual +[\d,]+ +[\d,]+$", line) for line in text)
