# SPDX-License-Identifier: Apache-2.0
"""Blocks of the DDR3 out of samples: quick proofs."""

from sim.formal import ddr3_capture
from tests.sim.formal.quick import quick

test_proofs = quick(ddr3_capture)
