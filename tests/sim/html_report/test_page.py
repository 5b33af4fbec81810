# SPDX-License-Identifier: Apache-2.0
"""The page as a parser reads it, and (slow) as a browser shows it."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sim.html_report.page import HEADINGS, layer_cells, paper_table, render
from tests.sim.html_report.small import BUILD, EXPLORED, facts

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
VOID = {"meta", "link", "input", "br", "hr", "img"}


class Reader(HTMLParser):
    """Open tags, ids, addresses that a browser would load, cells of the table."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.loads, self.cells, self.wrong = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.loads += [values[name] for name in ("src", "href")
                       if not values.get(name, "#").startswith(("#", "data:"))]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td" and "data-key" in values:
            self.cells.append(values["data-key"])

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def page():
    return render(replace(facts(), build=BUILD, explored=EXPLORED, accuracy={0: 0.9, 8: 0.9}))


def test_page_is_whole_and_loads_nothing(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open and not reader.wrong and not reader.loads
    figures = {each for each in reader.ids if each.startswith("figure-")}
    assert figures == {f"figure-{name}" for name in (
        "network", "rates", "operations", "cycles", "lane_use", "energy", "energy_totals",
        "accuracy", "residual", "blocks", "memory", "resources", "modules", "critical_path",
        "floorplan", "front")}
    assert len(reader.ids) == len(set(reader.ids))
    assert len(reader.cells) == len(facts().layers) * len(HEADINGS)
    assert "62.5 MHz" in page and "0</b>mismatches" in page


def test_what_is_missing_is_said():
    page = render(facts())
    for sentence in ("No build of this network", "Not searched yet", "names no accuracy",
                     "needs\n<code>--checkpoint FILE"):
        assert sentence in page
    assert "figure-front" not in page


def test_names_are_escaped():
    known = facts()
    model = replace(known.program.model, network=replace(known.network, name="</script><b>"))
    page = render(replace(known, program=replace(known.program, model=model)))
    assert "</script><b>" not in page and "&lt;/script&gt;&lt;b&gt;" in page


def test_cells():
    *rows, whole = layer_cells(facts())
    assert [row[0].text for row in rows] == facts().names and whole[0].text == "total"
    assert sum(row[5].key for row in rows) == whole[5].key == facts().rows[-1].acs


def test_table_1_is_recomputed():
    assert [row["same"] for row in paper_table()] == [True] * 3


@pytest.mark.slow
def test_browser(page, tmp_path):
    """No console error, every figure drawn, sorting, and the choice of layer and timestep."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser: one of {', '.join(BROWSERS)} must be on the PATH")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: "
                                                            "pip install -e '.[browser]'")
    path = tmp_path / "report.html"
    path.write_text(page)
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        context = browser.new_context(offline=True)
        shown, said, asked = context.new_page(), [], []
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(path.as_uri())
        for figure in re.findall(r'id="(figure-\w+)"', page):
            shown.locator(f"#{figure} .main-svg").first.wait_for()
        cycles = shown.locator("#layer-table tbody td:nth-child(9)")
        head = shown.locator("#layer-table th:nth-child(9)")
        values = [row.cycles for row in facts().rows[:-1]]
        for reverse in (True, False):
            head.click()
            assert cycles.all_inner_texts() == [f"{v:,.0f}" for v in sorted(values,
                                                                            reverse=reverse)]
        names = shown.locator("#layer-table tbody td:first-child")
        shown.locator("#layer-table th:first-child").click()
        assert names.all_inner_texts() == sorted(facts().names, reverse=True)
        runs = [run for run in facts().inference.layers if run.spikes is not None]
        for number, timestep in ((0, 0), (3, 2), (len(runs) - 1, 1)):
            shown.locator("#map-layer").select_option(str(number))
            shown.locator("#map-time").fill(str(timestep))
            spikes = runs[number].spikes[timestep]
            assert shown.locator("#map-count").inner_text().startswith(
                f"{spikes.sum():,} spikes of {spikes.size:,} ")
            drawn = shown.evaluate("document.getElementById('map-raster').data[0].z")
            assert drawn == spikes.reshape(len(spikes), -1).astype(int).tolist()
            tokens = shown.evaluate("document.getElementById('map-tokens').data[0].z")
            assert tokens == spikes.sum(0).tolist()
        browser.close()
    assert not said and all(url.startswith(("file:", "data:", "blob:")) for url in asked)
