# SPDX-License-Identifier: Apache-2.0
"""Records of finished layers are found again, as far as none is missing and all is the same."""

from dataclasses import replace

from sim.activity import Spent
from sim.compare import compare_layer
from sim.journal import Journal, LayerRecord
from tests.sim import mock
from tests.sim.test_trace import played

NAMES = ["a", "b", "c"]
RECORD = LayerRecord("a", 10, 0, (), 5, 6, 7)


def filled(directory, key="key"):
    journal = Journal(directory, key)
    journal.clear()
    for number, name in enumerate(NAMES):
        journal.add(number, replace(RECORD, name=name))
    return journal


def test_records_come_back(tmp_path):
    filled(tmp_path / "new" / "journal")
    records = Journal(tmp_path / "new" / "journal", "key").resume(NAMES)
    assert records == [replace(RECORD, name=name) for name in NAMES]


def test_records_end_before_the_first_that_is_missing(tmp_path):
    filled(tmp_path)
    (tmp_path / "001-b.json").unlink()
    assert [record.name for record in Journal(tmp_path, "key").resume(NAMES)] == ["a"]


def test_other_key_begins_anew(tmp_path):
    filled(tmp_path)
    assert Journal(tmp_path, "other").resume(NAMES) == []
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_text() == "other"


def test_nothing_yet(tmp_path):
    assert Journal(tmp_path / "none", "key").resume(NAMES) == []


def test_record_of_a_layer():
    results = mock.random_results()
    run = replace(played(mock.events(results, mock.program()))[0],
                  spent=Spent(1, 2, 3, 4), events=5)
    record = LayerRecord.of(run, results[0], compare_layer(run, results[0]), began=False)
    assert (record.wrong, record.shown, record.acs) == (0, (), results[0].acs)
    assert (record.useful, record.density) == (results[0].acs, results[0].input_density)
    assert (record.spent, record.events) == (Spent(1, 2, 3, 4), 5)
    acs = results[0].acs
    results[0].acs += 1
    record = LayerRecord.of(run, results[0], compare_layer(run, results[0]), began=True)
    assert record.wrong == 1 and record.began
    assert record.shown == (
        f"  patch_embed.block0: AC counter must be {acs + 1}, not {acs}",)
