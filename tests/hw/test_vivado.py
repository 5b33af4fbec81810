# SPDX-License-Identifier: Apache-2.0
"""Vivado's reports, in the form that Amaranth's script asks for; tests/hw/test_build.py runs it."""

import pytest

from hw.toolchains.toolchain import ToolError
from hw.toolchains.vivado import read_reports

TIMING = """
    WNS(ns)      TNS(ns)  TNS Failing Endpoints
    -------      -------  ---------------------
     -2.500      -31.000                     17
"""
UTILIZATION = """
+-------------------------+-------+-------+------------+-----------+-------+
|        Site Type        |  Used | Fixed | Prohibited | Available | Util% |
+-------------------------+-------+-------+------------+-----------+-------+
| Slice LUTs*             | 10123 |     0 |          0 |     20800 | 48.67 |
| Block RAM Tile          |  34.5 |     0 |          0 |        50 | 69.00 |
"""


def test_reports(tmp_path):
    (tmp_path / "top_timing.rpt").write_text(TIMING)
    (tmp_path / "top_utilization_place.rpt").write_text(UTILIZATION)
    timing = read_reports(tmp_path, "top", 100, 12)
    assert timing.slack_ns == pytest.approx(-2.5) and timing.fmax_mhz == pytest.approx(80)
    assert timing.utilization == {"Slice LUTs": (10123, 20800), "Block RAM Tile": (34, 50)}


def test_no_report(tmp_path):
    with pytest.raises(ToolError, match=r"^vivado left no slack in top_timing.rpt$"):
        read_reports(tmp_path, "top", 100, 12)
