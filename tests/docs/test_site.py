# SPDX-License-Identifier: Apache-2.0
"""The site, built as `make docs` builds it: warnings are errors."""

import re
import subprocess
import sys

import pytest

from docs.extensions.entry_points import ROOT, names

pytest.importorskip("sphinx", reason="needs pip install -e '.[docs]'")

# What a browser would fetch for the page by itself.
LOADED = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?:[^\"]+)")


def recipe():
    """The line of the Makefile that builds the site."""
    makefile = (ROOT / "Makefile").read_text()
    return re.search(r"^docs: .*\n\t\$\(python\) (-m sphinx .*) -d \S+ docs build/docs$", makefile,
                     re.MULTILINE)[1].split()


def build(tmp_path, source=ROOT / "docs"):
    return subprocess.run(
        [sys.executable, *recipe(), "-d", str(tmp_path / "pages"), str(source),
         str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    result = build(tmp_path)
    assert result.returncode == 0, result.stderr
    site = tmp_path / "site"
    # README is the start page, and its links go to pages of the site.
    start = (site / "index.html").read_text()
    assert "<title>Spikeloom" in start and 'href="boards.html#systems-on-chip"' in start
    commands = (site / "commands.html").read_text()
    assert all(f"python -m {name}" in commands for name in names())
    assert "serial device of the board" in commands and "%(default)" not in commands
    # A docstring: aligned names are a list, a name of the project is a link.
    network = (site / "api" / "hw" / "hw.network.html").read_text()
    assert re.search(r"<dt>.*pool.*</dt>", network) and 'href="#hw.network.Kind"' in network
    for page in site.rglob("*.html"):
        loaded = LOADED.findall(page.read_text())
        assert not loaded, f"{page.name} loads {loaded[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[to nowhere](no.md)", "[no anchor](other.md#none)",
                                  "{py:obj}`hw.lif.Nothing`",
                                  "```{command}\npython -m sim.nothing --help\n```"])
def test_what_leads_nowhere_is_an_error(tmp_path, text):
    source = tmp_path / "docs"
    source.mkdir()
    # The same settings, without the API.
    settings = (ROOT / "docs" / "conf.py").read_text()
    settings = re.sub(r"^ROOT = .*$", f"ROOT = Path({str(ROOT)!r})", settings, flags=re.MULTILINE)
    settings += "\napidoc_modules = []\nhtml_static_path = []\n"
    (source / "conf.py").write_text(settings)
    (source / "other.md").write_text("# Other\n")
    index = "# Start\n\n{}\n\n```{{toctree}}\nother\n```\n"
    (source / "index.md").write_text(index.format(""))
    assert build(tmp_path, source).returncode == 0
    (source / "index.md").write_text(index.format(text))
    result = build(tmp_path, source)
    assert result.returncode != 0 and "index.md" in result.stderr
