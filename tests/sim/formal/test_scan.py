# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.scan."""

from sim.formal import scan
from tests.sim.formal.quick import quick

test_proofs = quick(scan)
