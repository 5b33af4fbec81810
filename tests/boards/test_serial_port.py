# SPDX-License-Identifier: Apache-2.0
"""The serial port on a pseudo terminal."""

import os
import pty
import time

import pytest

from boards.serial_port import LinkError, SerialPort


@pytest.fixture
def line():
    """The other end, and a port."""
    master, slave = pty.openpty()
    port = SerialPort(os.ttyname(slave), 115200)
    yield master, port
    port.close()
    os.close(slave)
    os.close(master)


def test_every_byte_value_passes(line):
    """Nothing on the way is a control character."""
    master, port = line
    data = bytes(range(256))
    port.write(data, 1)
    assert os.read(master, 1000) == data
    os.write(master, data)
    got = b""
    while len(got) < len(data):
        got += port.read(1)
    assert got == data


def test_bytes_from_before_are_forgotten():
    master, slave = pty.openpty()
    os.write(master, b"left over\n")
    with SerialPort(os.ttyname(slave), 115200) as port:
        assert port.read(0.05) == b""
    os.close(slave)
    os.close(master)


def test_silence(line):
    start = time.monotonic()
    assert line[1].read(0.05) == b"" and time.monotonic() - start >= 0.05
    assert line[1].read(-1) == b""


def test_a_line_that_takes_nothing(line):
    with pytest.raises(LinkError, match=r"^the port /dev/\S+ took \d+ of 1048576 bytes, and none "
                                         r"for 0\.1 s$"):
        line[1].write(bytes(1 << 20), 0.1)


def test_a_device_that_disappears():
    master, slave = pty.openpty()
    with SerialPort(os.ttyname(slave), 115200) as port:
        os.close(slave)
        os.close(master)
        with pytest.raises(LinkError, match=r"^the port /dev/\S+ failed: "):
            port.read(0.5)


def test_no_such_device(tmp_path):
    with pytest.raises(ValueError, match=r"^port must be a serial device, not '/dev/nosuch' "
                                         r"\(No such file or directory\)$"):
        SerialPort("/dev/nosuch", 115200)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"^port must be a serial device, not '.*file' \("):
        SerialPort(str(tmp_path / "file"), 115200)


@pytest.mark.parametrize("baud", [0, 1, -9600])
def test_rate_that_no_system_has(baud):
    with pytest.raises(ValueError, match=rf"^baud must be one of 50, .* 115200, .* not {baud}$"):
        SerialPort("/dev/null", baud)
