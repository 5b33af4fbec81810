# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of sim.formal.queues."""

from sim.formal import queues
from tests.sim.formal.quick import quick

test_proofs = quick(queues)
