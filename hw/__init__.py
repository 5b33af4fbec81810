# SPDX-License-Identifier: Apache-2.0
"""The accelerator: network and hardware parameters, compiler, and RTL in Amaranth."""
