# SPDX-License-Identifier: Apache-2.0
"""iCE40: what packs; tests/hw/test_pypi.py has its parts, tests/boards/test_icebreaker.py a
bitstream."""

from hw.toolchains.ice40 import Ice40


def test_packer():
    name, command = Ice40().packer("top", "iCE40UP5K-SG48")
    assert name == "icepack" and command[-2:] == ["top.asc", "top.bin"]
