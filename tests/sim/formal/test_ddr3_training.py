# SPDX-License-Identifier: Apache-2.0
"""The training of the DDR3 controller: a quick proof."""

from sim.formal import ddr3_training
from tests.sim.formal.quick import quick

test_proofs = quick(ddr3_training)
