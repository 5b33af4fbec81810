# SPDX-License-Identifier: Apache-2.0
"""The DDR3 controller around its parts: a quick proof."""

from sim.formal import ddr3_controller
from tests.sim.formal.quick import quick

test_proofs = quick(ddr3_controller)
