# SPDX-License-Identifier: Apache-2.0
"""What is cited has the names of what is measured."""

from sim.metrics import BY_KEY
from sim.peers import GOALS, PEERS


def test_keys():
    for figures in (*PEERS.values(), *GOALS.values()):
        assert set(figures) <= set(BY_KEY)
    assert all("arXiv" in name for name in PEERS)


def test_aims_are_beyond_the_musts():
    for key, must in GOALS["must"].items():
        aim = GOALS["aim"][key]
        assert aim >= must if BY_KEY[key].better == "more" else aim <= must
