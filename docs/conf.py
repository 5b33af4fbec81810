# SPDX-License-Identifier: Apache-2.0
"""The site of `make docs`: the pages of docs/, README as the start page, and the API.

Everything that can go stale is read from the code while the site is built: the commands from their
parsers (`docs.extensions.commands`), the API from the docstrings, the version from pyproject.toml.
Warnings are errors, references that lead nowhere included.
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs.extensions.prose import convert  # noqa: E402  needs the path

_project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = "Spikeloom"
copyright = "the authors of Spikeloom"
version = release = _project["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.apidoc", "docs.extensions.commands"]
exclude_patterns = ["extensions", "static", "api/*/modules.rst"]
smartquotes = False             # "--" stays an option
highlight_language = "text"   # most blocks are commands and what they print

myst_heading_anchors = 4      # the anchors that repository hosts make of headings
myst_enable_extensions = ["deflist"]

# The API pages lie among the sources while the site is built, which Sphinx asks for; git ignores
# them.
apidoc_modules = [
    {"path": str(ROOT / package), "destination": f"api/{package}", "separate_modules": True,
     "module_first": True, "exclude_patterns": [str(ROOT / package / "**/__main__.py")],
     "automodule_options": {"members", "undoc-members"}}
    for package in ("hw", "quantize", "sim", "boards")]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

nitpicky = True
# Types of other projects in signatures: their pages are not at hand offline.
nitpick_ignore_regex = [("py:.*", r"(?!(hw|quantize|sim|boards)\.).*")]

html_theme = "furo"
html_title = f"Spikeloom {version}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["site.css"]


def _docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = convert(lines)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _docstring)
