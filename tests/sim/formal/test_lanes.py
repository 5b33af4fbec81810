# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.lanes."""

from sim.formal import lanes
from tests.sim.formal.quick import quick

test_proofs = quick(lanes)
