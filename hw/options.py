# SPDX-License-Identifier: Apache-2.0
"""The command-line options that choose the hardware: one group for every command that compiles."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hw.axi import PORT_BITS
from hw.config import HardwareConfig
from hw.layout import DEFAULT_BANKS, DEFAULT_LANES
from hw.model import SHIPPED_MODEL, FixedPointModel

# Weights from which on they are streamed unless told otherwise: 8-bit weights of this number take a
# whole Artix-7 35T.
MANY_WEIGHTS = 200_000
DEFAULT_PORT_BITS = 128


def positive(text: str) -> int:
    """A positive integer, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return value


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """`model`, a model directory, of the commands that do without one as well."""
    parser.add_argument("model", nargs="?", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="model directory (default: the shipped digits network)")


def add_hardware_options(parser: argparse.ArgumentParser) -> None:
    """The options that `hardware` reads."""
    group = parser.add_argument_group("hardware")
    group.add_argument("--lanes", type=positive, default=DEFAULT_LANES, metavar="N",
                       help="output channels that accumulate at once (default: %(default)s)")
    group.add_argument("--banks", type=positive, default=DEFAULT_BANKS, metavar="N",
                       help="memories of weights, each with its share of the input channels "
                            "(default: %(default)s)")
    group.add_argument("--ports", type=int, choices=(1, 2), default=2,
                       help="rows of weights that a bank reads at once (default: %(default)s)")
    group.add_argument("--neurons", type=positive, metavar="N",
                       help="lanes that the finish pipeline takes per cycle")
    group.add_argument("--spike-word", type=positive, metavar="BITS",
                       help="channels of a word of spike memory")
    group.add_argument("--attention-engines", type=positive, metavar="N",
                       help="attention engines, of a head each (default: a word of spikes for "
                            "every 64 lanes)")
    group.add_argument("--pairs", action=argparse.BooleanOptionalAction,
                       help="neighbouring positions share additions (default: if it saves cycles)")
    group.add_argument("--beside", action=argparse.BooleanOptionalAction,
                       help="layers of few channels take two positions at once (default: likewise)")
    group.add_argument("--port-bits", type=int, choices=(0, *PORT_BITS),
                       help="stream the weights through a memory port of this width; 0: hold them "
                            f"on chip (default: 0 below {MANY_WEIGHTS:,} weights, else "
                            f"{DEFAULT_PORT_BITS})")
    group.add_argument("--weight-rows", type=positive, metavar="N",
                       help="streamed: rows of each weight bank (default: room for two tiles)")
    add_spill_options(group)
    add_parity_option(group)


def add_parity_option(group: Any) -> None:
    """Of `HardwareConfig.parity`."""
    group.add_argument("--parity", action="store_true",
                       help="a parity bit for each word of the weights and of the residual stream "
                            "on chip; an error stops the inference and is told")


def add_spill_options(group: Any) -> None:
    """What streamed hardware keeps in external memory besides the weights."""
    group.add_argument("--spill-residual", action="store_true",
                       help="streamed: keep the residual stream in external memory")
    group.add_argument("--spike-lines", type=positive, nargs=2, metavar=("A", "B"),
                       help="streamed: lines of 4 words in each half of spike memory; larger maps "
                            "of the tokenizer go to external memory (default: room for all)")


def weight_count(model: FixedPointModel) -> int:
    """Weights of all layers."""
    return sum(tensors.weight.size for tensors in model.tensors.values())


def hardware(models: Sequence[FixedPointModel], options: argparse.Namespace) -> HardwareConfig:
    """The hardware that `options` ask for, large enough for each of `models`.

    Raises ValueError, one sentence, for options that do not go together or cannot be built.
    """
    port_bits = options.port_bits
    if port_bits is None:
        many = max(map(weight_count, models)) >= MANY_WEIGHTS
        port_bits = DEFAULT_PORT_BITS if many else 0
    streamed: dict[str, Any] = {"weight_rows": options.weight_rows,
                                "spill_residual": options.spill_residual,
                                "spike_lines": options.spike_lines and tuple(options.spike_lines)}
    asked = [name for name, value in streamed.items() if value]
    if asked and not port_bits:
        raise ValueError(f"--{asked[0].replace('_', '-')} needs weights that are streamed: "
                         f"--port-bits must be {' or '.join(map(str, PORT_BITS))}, not 0")
    config = HardwareConfig.for_models(models, options.lanes, options.banks, options.spike_word,
                                       options.neurons, port_bits, **streamed,
                                       attention_engines=options.attention_engines,
                                       pairs=options.pairs, beside=options.beside,
                                       ports=options.ports)
    return replace(config, parity=options.parity)


def describe(model: FixedPointModel, config: HardwareConfig) -> str:
    """One line: the slots, and where the weights of a model are."""
    geometry, count = config.geometry, weight_count(model)
    place = (f"streamed through a port of {config.port_bits} bits (--port-bits 0 holds them on "
             "chip)" if config.streamed else "on chip (--port-bits 128 streams them)")
    ports = f"banks of {geometry.ports} ports" if geometry.ports > 1 else "banks"
    return (f"{geometry.lanes} lanes x {geometry.banks} {ports}, words of {geometry.spike_word} "
            f"spikes, {geometry.neurons} neurons at a time; {count:,} weights of "
            f"{config.weight_bits} bits {place}")
