# SPDX-License-Identifier: Apache-2.0
"""The accelerator for silicon: SRAM macros, standard cells, constraints."""
