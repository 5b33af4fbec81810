# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.finish."""

from sim.formal import finish
from tests.sim.formal.quick import quick

test_proofs = quick(finish)
