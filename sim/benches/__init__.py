# SPDX-License-Identifier: Apache-2.0
"""cocotb testbenches of single units, run by `sim.units`."""
