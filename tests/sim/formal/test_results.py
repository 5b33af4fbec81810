# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.results."""

from sim.formal import results
from tests.sim.formal.quick import quick

test_proofs = quick(results)
