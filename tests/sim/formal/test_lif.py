# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.lif."""

from sim.formal import lif
from tests.sim.formal.quick import quick

test_proofs = quick(lif)
