# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.attention."""

from sim.formal import attention
from tests.sim.formal.quick import quick

test_proofs = quick(attention)
