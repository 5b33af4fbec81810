# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.gates."""

from sim.formal import gates
from tests.sim.formal.quick import quick

test_proofs = quick(gates)
