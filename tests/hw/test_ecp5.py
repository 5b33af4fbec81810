# SPDX-License-Identifier: Apache-2.0
"""ECP5: what packs; tests/hw/test_pypi.py has its parts, tests/boards/test_ulx3s.py a bitstream."""

from hw.toolchains.ecp5 import Ecp5


def test_packer():
    name, command = Ecp5().packer("top", "LFE5U-85F-6BG381C")
    assert name == "ecppack" and command[-3:] == ["--compress", "top.config", "top.bit"]
