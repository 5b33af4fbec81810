# SPDX-License-Identifier: Apache-2.0
"""Simulation of the generated Verilog and its comparison with the integer golden model."""
