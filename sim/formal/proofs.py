# SPDX-License-Identifier: Apache-2.0
"""All proofs by name."""

from collections.abc import Sequence

from sim.formal import (
    arbiter,
    attending,
    attention,
    boards,
    bursts,
    chips,
    ddr3,
    ddr3_capture,
    ddr3_controller,
    ddr3_power_up,
    ddr3_reads,
    ddr3_training,
    dispatch,
    drain,
    faults,
    finish,
    flash,
    gates,
    image,
    image_check,
    lane,
    lanes,
    lif,
    link,
    memory,
    parity,
    pool,
    queues,
    registers,
    results,
    scan,
    token_sum,
    waiting,
)
from sim.formal.harness import Proof

ALL: tuple[Proof, ...] = tuple(
    proof for module in (lif, attention, attending, finish, pool, token_sum, results, scan,
                         dispatch, lanes, lane, parity, faults, drain, queues, bursts, gates,
                         registers, waiting, memory, image, link, chips, ddr3, ddr3_reads,
                         ddr3_capture, ddr3_power_up, ddr3_training, ddr3_controller, flash,
                         arbiter, image_check, boards)
    for proof in module.PROOFS)


def named(names: Sequence[str]) -> list[Proof]:
    """Proofs whose names begin with one of `names`; ValueError if there is none for one of them."""
    for name in names:
        if not any(proof.name.startswith(name) for proof in ALL):
            raise ValueError("a proof must be one that --list names, or the beginning of its name, "
                             f"not {name!r}")
    return [proof for proof in ALL if proof.name.startswith(tuple(names))]
