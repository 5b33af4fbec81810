# SPDX-License-Identifier: Apache-2.0
"""What the LUTs and flip-flops of each unit grow with: a few structural terms a unit.

`hw.area` fits a coefficient to each of them.  A unit is a path of the hierarchy below the
accelerator; what is not listed here belongs to the unit above it.
"""

from hw.block_ram import multiplexed, rams
from hw.config import HardwareConfig
from hw.current import ParamRow
from hw.drain import Tag
from hw.isa import Instruction, bits_for
from hw.layout import LINE_WORDS

# Inputs of a multiplexer that one 6-input LUT takes.
_MUX = 4


def lutram(depth: int, bits: int) -> int:
    """LUTs of a memory that is read without a clock: three bits of 64 words, or six of 32, in 4."""
    return 4 * min(-(-depth // 32) * -(-bits // 6), -(-depth // 64) * -(-bits // 3))


def unit_terms(hardware: HardwareConfig) -> dict[str, dict[str, float]]:
    """Terms by unit, each a number that the configuration has; all units are always there."""
    g = hardware.geometry
    lanes, slots, banks, neurons, beats = g.lanes, g.slots, g.banks, g.neurons, g.beats
    weight, word, line = hardware.weight_bits, g.spike_word, g.line_bits
    row, address = bits_for(hardware.weight_rows), bits_for(max(hardware.spike_lines))
    streamed, tag = hardware.streamed, Tag(hardware).size
    pairs, beside, windows = hardware.pairs, hardware.beside, hardware.spills_maps
    slices = LINE_WORDS * g.slice_bits
    full, current = hardware.logit_width, hardware.current_width
    value = max(current, hardware.residual_width)
    params = ParamRow(hardware).size
    shifter = current + hardware.shift_left + 1
    counters = hardware.attention_engines * hardware.attention_lanes
    per_word = word // neurons
    selected = {memory.name: multiplexed(memory) for memory in rams(hardware)}
    return {
        "": {"one": 1},
        "lanes.lane*": {"tree": lanes * (slots - 1) * weight, "slots": lanes * slots,
                        "accumulators": lanes * hardware.acc_width, "lanes": lanes,
                        "kept": lanes * hardware.acc_width * pairs},
        "lanes": {"one": 1, "pairs": pairs, "beside": beside, "row": lanes * weight * streamed,
                  "addresses": slots * row * streamed, "deep": selected["weights"]},
        "dispatch.scan*": {"events": banks * slices * g.ports, "slices": banks * slices,
                           "rows": slots * row, "queues": banks * (slices + row), "banks": banks},
        "dispatch": {"one": 1, "rows": slots * row, "banks": banks, "beside": slots * beside},
        "gather": {"one": 1, "line": line, "addresses": address, "rows": row,
                   "pairs": line * pairs, "beside": beside,
                   "samples": LINE_WORDS * hardware.in_channels * -(-hardware.input_width // _MUX),
                   "windows": address * windows},
        "finish.drain": {"one": 1, "beats": neurons * hardware.acc_width,
                         "multiplexers": neurons * hardware.acc_width * -(-(beats - 1) // _MUX),
                         "addresses": address, "tag": tag, "pairs": address * pairs,
                         "beside": beside},
        "finish.current": {
            "one": 1, "sums": neurons * hardware.acc_width, "bias": neurons * current,
            "counters": neurons, "parameters": neurons * 2 * hardware.param_width, "tag": tag,
            "rom": 0 if streamed else params * -(-hardware.param_rows // 64)},
        "finish.logits": {
            "one": 1, "sums": neurons * hardware.acc_width, "planes": hardware.plane_width,
            "parameters": neurons * 2 * hardware.param_width,
            "memory": lutram(max(2, min(lanes, hardware.logit_words * neurons)),
                             hardware.plane_width)},
        "finish.residual": {"one": 1, "shifters": neurons * shifter * hardware.shift_width,
                            "sums": neurons * hardware.residual_width, "values": neurons * value,
                            "parameters": neurons * hardware.param_width, "tag": tag,
                            "deep": selected.get("residual stream", 0)},
        "finish.lif": {"one": 1, "states": neurons * hardware.state_width,
                       "slow": neurons * hardware.state_width * hardware.slow_tau,
                       "memory": lutram(max(2, beats) << pairs, neurons * hardware.state_width),
                       "tag": tag},
        "finish.pack": {"one": 1, "word": word, "tag": tag},
        "finish.pool": {"one": 1, "line": line, "addresses": LINE_WORDS * address,
                        "queue": word + tag},
        "finish.token_sum": {
            "one": 1, "sums": neurons * hardware.token_sum_width, "word": word * (per_word > 1),
            "memory": lutram(hardware.token_sum_words, neurons * hardware.token_sum_width)},
        "finish": {"one": 1},
        "attention.kv*": {"counters": counters, "engines": hardware.attention_engines,
                          "memory": hardware.attention_engines * lutram(
                              hardware.max_timesteps * hardware.attention_lanes,
                              4 * hardware.attention_lanes)},
        "attention.lif*": {"counters": counters, "slow": counters * hardware.slow_tau},
        "attention.fetch": {"one": 1, "group": counters, "addresses": address,
                            "line": line * (counters < line)},
        "attention": {"one": 1, "counters": counters, "line": line, "addresses": address,
                      "engines": hardware.attention_engines},
        "memory": {"one": 1, "deep": selected["spikes, half 0"] + selected["spikes, half 1"],
                   "line": line, "addresses": 2 * LINE_WORDS * address,
                   "windows": (line + 2 * LINE_WORDS * address) * windows},
        "readout": {"one": 1, "logits": full,
                    "memory": lutram(max(2, hardware.logit_words * neurons), full)},
        "sequencer": {"one": 1, "instruction": Instruction(hardware).size,
                      "rom": 0 if streamed else hardware.program_layers},
        "loader": {"one": 1, "word": word, "addresses": address,
                   "samples": hardware.in_channels * hardware.input_width},
        "fetch": {"streamed": streamed, "port": hardware.port_bits,
                  "row": streamed * max(lanes * weight, params)},
        "spill": {"spills": hardware.spills_residual,
                  "port": hardware.port_bits * hardware.spills_residual,
                  "word": neurons * hardware.residual_width * hardware.spills_residual},
        "window": {"windows": windows, "port": hardware.port_bits * windows,
                   "line": line * windows, "addresses": address * windows},
    }
