# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.pool."""

from sim.formal import pool
from tests.sim.formal.quick import quick

test_proofs = quick(pool)
