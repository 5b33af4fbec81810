# SPDX-License-Identifier: Apache-2.0
"""What the tests and simulations reach: Python, generated Verilog, and crosses of settings."""
