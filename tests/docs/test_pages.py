# SPDX-License-Identifier: Apache-2.0
"""The pages without a build: links, contents, commands, and names of files and code."""

import ast
import re
import subprocess
from functools import cache

import pytest

from docs.extensions import entry_points
from docs.extensions.entry_points import HELP, ROOT, help_of, names, parser, subcommands

DOCS = ROOT / "docs"
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "api" not in path.parts]
ALL = [ROOT / "README.md", *PAGES]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|^(?: {4}.*\n)+|`[^`]*`", re.MULTILINE | re.DOTALL)
every_page = pytest.mark.parametrize("page", ALL, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def anchors(page):
    """Anchors that a repository host makes of the headings, in lower case without punctuation."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page):
    """Links of a page within the repository that lead nowhere."""
    wrong = []
    for link in LINK.findall(CODE.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if target.startswith(("https:", "http:")):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.is_file() or (anchor and anchor not in anchors(path)):
            wrong.append(link)   # a folder is no page of the site
    return wrong


@every_page
def test_links_lead_somewhere(page):
    assert not broken(page)


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# One thing, or two\n")
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](other.md) [b](other.md#one-thing-or-two) [c](#here)\n")
    assert not broken(page)
    page.write_text("`[a](no.md)`\n\n    [b](no.md)\n\n```\n[c](no.md)\n```\n")
    assert not broken(page)
    page.write_text("[a](no.md) [b](other.md#two) [c](#there) [d](.)\n")
    assert broken(page) == ["no.md", "other.md#two", "#there", "."]


def test_every_page_is_in_the_contents():
    index = (DOCS / "index.md").read_text()
    listed = {line for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL)
              for line in block.splitlines() if line and not line.startswith(":")}
    found = {page for page in PAGES for pattern in listed
             if page in DOCS.glob(f"{pattern}.md")}
    assert set(PAGES) - found == {DOCS / "index.md"}
    missing = {each for each in listed if not each.startswith("api/")
               and not list(DOCS.glob(f"{each}.md"))}
    assert not missing
    packages = {each.split("/")[1] for each in listed if each.startswith("api/")}
    assert packages == set(entry_points.PACKAGES)


def test_commands_page_names_every_command():
    page = (DOCS / "commands.md").read_text()
    shown = [HELP.fullmatch(line)["name"] for block in
             re.findall(r"^```{command}\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)
             for line in block.splitlines()]
    assert sorted(shown) == names(), "docs/commands.md must show each command once"
    headings = re.findall(r"^### python -m (\S+)$", page, re.MULTILINE)
    assert headings == shown


def test_entry_points_are_what_python_runs():
    found = names()
    assert {"quantize", "sim", "sim.formal", "hw.build", "boards.host"} <= set(found)
    assert not any(name.endswith("__main__") for name in found)


def test_parsers_are_those_of_the_commands(capsys):
    energy = parser("quantize.energy")
    with pytest.raises(SystemExit):
        energy.parse_args(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m quantize.energy")
    # made inside of main, with arguments
    assert "fit" in parser("hw.area").format_help()


def test_subcommands_and_defaults_are_found():
    host = parser("boards.host")
    assert set(subcommands(host)) == {"identify", "status", "infer", "samples", "load"}
    assert subcommands(parser("quantize.energy")) == {}
    area = parser("hw.area")
    helps = [help_of(action, area) for action in area._actions]
    assert any("area.json" in text for text in helps) and not any("%(" in text for text in helps)


def test_a_command_without_help_is_refused(monkeypatch):
    from quantize import energy

    monkeypatch.setattr(energy, "main", lambda argv: 0)
    with pytest.raises(ValueError, match=r"python -m quantize.energy must print its help"):
        parser("quantize.energy")


@cache
def members(module):
    """Names at the top of a module, and those of its classes as Class.name."""
    found = set()

    def add(body, prefix):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            targets = (node.targets if isinstance(node, ast.Assign) else
                       [node.target] if isinstance(node, ast.AnnAssign) else [])
            for target in targets:
                found.update(prefix + each.id for each in ast.walk(target)
                             if isinstance(each, ast.Name))
            if isinstance(node, ast.ClassDef):
                add(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.ImportFrom | ast.Import):
                found.update(prefix + (each.asname or each.name) for each in node.names)

    add(ast.parse(module.read_text()).body, "")
    return found


def known(name):
    """Whether a dotted name is a package, a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        rest = ".".join(parts[length:])
        module = path.with_suffix(".py")
        if module.is_file():
            return not rest or rest in members(module)
        if path.is_dir():
            return not rest or rest in members(path / "__init__.py")
    return False


@every_page
def test_code_that_pages_name_exists(page):
    """`hw.lif.third` and `tests/hw/test_lif.py`, but for what a reader is asked to write."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", text)
    dotted = [span for span in spans
              if re.fullmatch(r"(?:hw|quantize|sim|boards)(?:\.\w+)+", span)
              and span.rpartition(".")[2] not in ("py", "json", "md")]
    files = [span for span in spans
             if re.fullmatch(r"(?:hw|quantize|sim|boards|tests|docs)(?:/[\w.-]+)+/?", span)
             and "my_board" not in span]
    assert not [name for name in dotted if not known(name)]
    assert not [name for name in files if not (ROOT / name).exists()]


def test_unknown_code_is_found():
    assert known("hw.lif.third") and known("hw.network.Layer.positions") and known("sim.formal")
    assert not known("hw.lif.fourth") and not known("hw.lief") and not known("hw.lif.LIF.none")


def test_generated_pages_are_not_under_version_control():
    listed = subprocess.run(["git", "ls-files", "docs/api"], cwd=ROOT, capture_output=True,
                            text=True, check=False)
    assert not listed.stdout
