# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.token_sum."""

from sim.formal import token_sum
from tests.sim.formal.quick import quick

test_proofs = quick(token_sum)
