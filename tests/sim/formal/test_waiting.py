# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.waiting."""

from sim.formal import waiting
from tests.sim.formal.quick import quick

test_proofs = quick(waiting)
