# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.parity."""

from sim.formal import parity
from tests.sim.formal.quick import quick

test_proofs = quick(parity)
