# SPDX-License-Identifier: Apache-2.0
"""Formal proofs of the units: `python -m sim.formal`; docs/verification.md says what they prove."""
