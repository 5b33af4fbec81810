# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.boards."""

from sim.formal import boards
from tests.sim.formal.quick import quick

test_proofs = quick(boards)
