# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.arbiter."""

from sim.formal import arbiter
from tests.sim.formal.quick import quick

test_proofs = quick(arbiter)
