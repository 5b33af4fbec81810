# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.faults."""

from sim.formal import faults
from tests.sim.formal.quick import quick

test_proofs = quick(faults)
