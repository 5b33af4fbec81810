# SPDX-License-Identifier: Apache-2.0
"""Why some of the hardware is never reached when whole accelerators are simulated.

A statement is named by its file and text, so that an explanation does not outlive what it was
given for; a signal by the class of its unit.
"""

from collections.abc import Mapping

LINES: Mapping[tuple[str, str], str] = {}
SIGNALS: Mapping[tuple[str, str], str] = {}
