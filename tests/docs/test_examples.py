# SPDX-License-Identifier: Apache-2.0
"""The examples of the pages are run, and print what stands there."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
         if EXAMPLES.search(path.read_text())]
# What the page is there to show by examples.
SHOWN = {"numerics.md": ("golden import lif", "requantize(", "residual", "attention(", "scale =",
                         "acs)", "logit_scale")}


def run(text, name):
    """Failures of the blocks of a page, which share their names, as doctest reports them."""
    names, reports = {}, []
    runner = doctest.DocTestRunner(verbose=False)
    for found in EXAMPLES.finditer(text):
        line = text.count("\n", 0, found.start(1))
        test = doctest.DocTestParser().get_doctest(found[1], names, name, name, line)
        runner.run(test, out=reports.append, clear_globs=False)
        names = test.globs
    assert runner.tries
    return reports


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_examples_print_what_stands_there(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    reports = run(page.read_text(), page.name)
    assert not reports, "".join(reports)


@pytest.mark.parametrize("name", SHOWN)
def test_pages_have_the_examples(name):
    blocks = "".join(EXAMPLES.findall((ROOT / "docs" / name).read_text()))
    assert not [each for each in SHOWN[name] if each not in blocks]


def test_a_wrong_number_is_found():
    assert run("```pycon\n>>> x = 2\n```\n\n```pycon\n>>> x + x\n5\n```\n", "page")
    assert not run("```pycon\n>>> x = 2\n```\n\n```pycon\n>>> x + x\n4\n```\n", "page")
