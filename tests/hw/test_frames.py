# SPDX-License-Identifier: Apache-2.0
"""FASM to frames, on a database of a few tiles."""

import json

import pytest

from hw.toolchains.frames import FRAME_WORDS, Database, FasmError, frames, frames_text, set_features

TILES = {
    "CLB_X0Y0": {"type": "CLB", "bits": {
        "CLB_IO_CLK": {"baseaddr": "0x00400100", "frames": 36, "offset": 4, "words": 2}}},
    "BRAM_X1Y0": {"type": "BRAM", "bits": {
        "CLB_IO_CLK": {"baseaddr": "0x00400200", "frames": 28, "offset": 0, "words": 10},
        "BLOCK_RAM": {"baseaddr": "0x00C00000", "frames": 128, "offset": 0, "words": 10}}},
    "IOB_SING_X2Y0": {"type": "IOB_SING", "bits": {
        "CLB_IO_CLK": {"baseaddr": "0x00000000", "frames": 42, "offset": 2, "words": 2,
                       "alias": {"type": "IOB", "start_offset": 2,
                                 "sites": {"IOB33_Y0": "IOB33_Y1"}}}}},
    "INT_X3Y0": {"type": "INT", "bits": {}}}
SEGBITS = {
    "segbits_clb.db": "CLB.FF.ZINI 31_01 !30_02\nCLB.LUT.INIT[00] 32_15\nCLB.LUT.INIT[01] 33_40\n"
                      "CLB.OTHER 30_02\n",
    "segbits_bram.db": "BRAM.RAMB18_Y0.IN_USE 27_73\n",
    "segbits_bram.block_ram.db": "BRAM.RAMB18_Y0.INIT_00[016] 00_33\n",
    "segbits_iob.db": "IOB.IOB33_Y0.PULL 38_00\nIOB.IOB33_Y1.PULL 38_33\n",
    "ppips_int.db": "INT.A.B always\n", "ppips_iob.db": "IOB.UPPER.CLK always\n",
    "ppips_iob_sing.db": "IOB_SING.LOWER.CLK always\n"}


@pytest.fixture
def database(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "tilegrid.json").write_text(json.dumps(TILES))
    for name, content in SEGBITS.items():
        (tmp_path / name).write_text(content)
    return Database(tmp_path, "toy")


@pytest.mark.parametrize("line, expected", [
    ("CLB_X0Y0.FF.ZINI", [("FF.ZINI", None)]),
    ("CLB_X0Y0.FF.ZINI 	# comment", [("FF.ZINI", None)]),
    ("CLB_X0Y0.FF.ZINI = 1'b1", [("FF.ZINI", None)]), ("CLB_X0Y0.FF.ZINI = 0", []),
    ("CLB_X0Y0.LUT.INIT[3:0] = 4'b1010", [("LUT.INIT", 1), ("LUT.INIT", 3)]),
    ("CLB_X0Y0.LUT.INIT[7:4] = 4'h9", [("LUT.INIT", 4), ("LUT.INIT", 7)]),
    ("CLB_X0Y0.LUT.INIT[5] = 1", [("LUT.INIT", 5)]), ("CLB_X0Y0.LUT.INIT[5]", [("LUT.INIT", 5)]),
    ("CLB_X0Y0.LUT.INIT[39:0] = 40'h80_0000_0001", [("LUT.INIT", 0), ("LUT.INIT", 39)]),
    ("", []), ("# nothing", []), ("{ .note = \"x\" }", [])])
def test_lines(line, expected):
    assert list(set_features([line])) == [("CLB_X0Y0", *each) for each in expected]


def test_a_line_that_is_no_feature():
    with pytest.raises(FasmError, match=r"^line 2 of the FASM must be a feature, not 'A == B'$"):
        list(set_features(["A.B", "A == B"]))


def test_bits_land_in_their_frames(database):
    content = frames(["CLB_X0Y0.FF.ZINI", "CLB_X0Y0.LUT.INIT[1:0] = 2'b11",
                      "BRAM_X1Y0.RAMB18_Y0.IN_USE", "BRAM_X1Y0.RAMB18_Y0.INIT_00[16]",
                      "INT_X3Y0.A.B"], database)
    words = {(address, word): value for address, frame in content.items()
             for word, value in enumerate(frame) if value}
    assert words == {(0x400100 + 31, 4): 1 << 1, (0x400100 + 32, 4): 1 << 15,
                     (0x400100 + 33, 5): 1 << 8, (0x400200 + 27, 2): 1 << 9, (0xC00000, 1): 2}
    # A frame in which only a 0 is asked for is there, too.
    assert content[0x400100 + 30] == [0] * FRAME_WORDS


def test_tiles_that_borrow_the_bits_of_another_type(database):
    content = frames(["IOB_SING_X2Y0.IOB33_Y0.PULL"], database)
    assert content[38][1] == 2 and sum(map(bool, content[38])) == 1


@pytest.mark.parametrize("line, message", [
    ("CLB_X9Y9.A", r"^tile must be one of the device, not 'CLB_X9Y9'$"),
    ("CLB_X0Y0.NO.WAY", r"^feature of CLB_X0Y0 must be one of type CLB, not 'NO.WAY'$"),
    ("CLB_X0Y0.LUT.INIT[2]", r"^feature of CLB_X0Y0 must be one of type CLB, not 'LUT.INIT'$")])
def test_what_the_database_does_not_know(database, line, message):
    with pytest.raises(FasmError, match=message):
        frames([line], database)


def test_features_that_contradict(database):
    with pytest.raises(FasmError, match=r"^features must agree, but CLB_X0Y0.FF.ZINI and "
                                        r"CLB_X0Y0.OTHER want different values of bit 130 "):
        frames(["CLB_X0Y0.FF.ZINI", "CLB_X0Y0.OTHER"], database)


def test_unknown_fabric(tmp_path):
    with pytest.raises(FasmError, match=r"^fabric must be one that .* has, not 'xc0'$"):
        Database(tmp_path, "xc0")


def test_text():
    lines = frames_text({0x20: [1] + [0] * 100, 0x10: [0] * 101}).splitlines()
    assert [line.split()[0] for line in lines] == ["0x00000010", "0x00000020"]
    words = lines[1].split()[1].split(",")
    assert len(words) == FRAME_WORDS and words[0] == "0x00000001"


def test_connections_of_a_tile_of_half_the_size(database):
    """Under its own names and those of the full one."""
    assert frames(["IOB_SING_X2Y0.UPPER.CLK", "IOB_SING_X2Y0.LOWER.CLK"], database) == {}
    with pytest.raises(FasmError, match=r"^feature of IOB_SING_X2Y0 must be one of type IOB_SING, "
                                        r"not 'OTHER.CLK'$"):
        database.locate("IOB_SING_X2Y0", "OTHER.CLK", None)
