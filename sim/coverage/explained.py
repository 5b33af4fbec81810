# SPDX-License-Identifier: Apache-2.0
"""Why some of the hardware is never reached when whole accelerators are simulated.

A statement is named by its file and text, so that an explanation does not outlive what it was
given for; a signal by the class of its unit.
"""

from collections.abc import Mapping

_IMAGE = "every simulated image is sound; tests/hw/test_fetch.py has others"

LINES: Mapping[tuple[str, str], str] = {
    ("hw/fetch.py", "m.d.comb += self.bad_image.eq(1)"): _IMAGE,
}
_FAULT = "no simulated memory fails; tests/sim/test_fault_bench.py has those that do"
SIGNALS: Mapping[tuple[str, str], str] = {
    ("Accelerator", "faults"): _FAULT,
    ("Fetch", "bad_image"): _IMAGE,
    ("Accelerator", "bad_image"): _IMAGE,
}
