# SPDX-License-Identifier: Apache-2.0
"""The page of `python -m sim.report`: what was measured, as figures of one HTML file."""
