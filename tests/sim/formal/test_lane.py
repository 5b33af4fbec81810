# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.lane."""

from sim.formal import lane
from tests.sim.formal.quick import quick

test_proofs = quick(lane)
