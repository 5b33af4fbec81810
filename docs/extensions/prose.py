# SPDX-License-Identifier: Apache-2.0
"""The docstrings of this project as reStructuredText.

They are prose: paragraphs, lists of "name:  meaning" aligned by spaces, bullets, indented blocks of
equations, and names between backticks.  autodoc by itself would take the alignment for a mistake
and a trailing underscore for a link.  Nothing here knows Sphinx.
"""

import re
from collections.abc import Callable, Iterator, Sequence

# name:  meaning, or first, second:  meaning.
FIELD = re.compile(r"(?P<names>[a-z_]\w*(?:, [a-z_]\w*)*):\s+(?P<text>\S.*)")
BULLET = re.compile(r"[-*] +(?P<text>\S.*)")
OURS = re.compile(r"(?:hw|quantize|sim|boards)(?:\.\w+)+")
Render = Callable[[Sequence[str]], list[str]]
CODE = re.compile(r"``(.+?)``|`([^`]+)`")


def convert(lines: Sequence[str]) -> list[str]:
    """The lines of a dedented docstring as reStructuredText that renders as it was meant."""
    text: list[str] = []
    for block in _blocks(lines):
        for render, part in _parts(block):
            text += [*render(part), ""]
    return text


def inline(text: str) -> str:
    """Names of this project between backticks become links, other names code, the rest text."""
    line, end = "", 0
    for found in CODE.finditer(text):
        name = found[1] or found[2]
        role = f":py:obj:`{name}`" if OURS.fullmatch(name) else f"``{name}``"
        before, after = _plain(text[end:found.start()]), text[found.end():found.end() + 1]
        # A role must not touch a letter: an escaped space separates them and shows as nothing.
        line += before + "\\ " * before[-1:].isalnum() + role + "\\ " * after.isalnum()
        end = found.end()
    return line + _plain(text[end:])


def _plain(text: str) -> str:
    return re.sub(r"([\\*_|`])", r"\\\1", text)


def _indented(line: str) -> bool:
    return line[:1].isspace()


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """Runs of lines without a blank one."""
    block: list[str] = []
    for line in (*lines, ""):
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield block
            block = []


def _parts(block: Sequence[str]) -> Iterator[tuple[Render, list[str]]]:
    """Neighbouring lines of one kind, with what renders them.

    An indented line goes on with what stands above it; a block that begins with one is literal.
    """
    render, part = None, []
    for line in block:
        if _indented(line):
            found = render or _literal
        else:
            found = (_fields if FIELD.match(line) and render is not _paragraph else
                     _bullets if BULLET.match(line) else _paragraph)
        if part and found is not render:
            yield render, part
            part = []
        render = found
        part.append(line)
    yield render, part


def _literal(lines: Sequence[str]) -> list[str]:
    return ["::", "", *(f"    {line}" for line in lines)]


def _entries(lines: Sequence[str]) -> list[str]:
    """Each line that is not indented with the indented ones below it, as one line."""
    entries: list[str] = []
    for line in lines:
        if _indented(line):
            entries[-1] += " " + line.strip()
        else:
            entries.append(line)
    return entries


def _fields(lines: Sequence[str]) -> list[str]:
    text: list[str] = []
    for entry in _entries(lines):
        names, meaning = FIELD.fullmatch(entry).group("names", "text")
        text += [", ".join(f"``{name}``" for name in names.split(", ")), f"    {inline(meaning)}"]
    return text


def _bullets(lines: Sequence[str]) -> list[str]:
    return [f"* {inline(BULLET.fullmatch(entry)['text'])}" for entry in _entries(lines)]


def _paragraph(lines: Sequence[str]) -> list[str]:
    """Text; indented lines right below it go on with it, or are quoted where it ends in a colon."""
    below = next((at for at, line in enumerate(lines) if _indented(line)), len(lines))
    after = next((at for at in range(below, len(lines)) if not _indented(lines[at])), len(lines))
    head, rest = " ".join(lines[:below]), " ".join(line.strip() for line in lines[below:after])
    if head.endswith(":") and rest:
        text = [inline(head), "", f"    {inline(rest)}"]
    else:
        head = head.removesuffix("::") + ":" * head.endswith("::")
        text = [inline(f"{head} {rest}".rstrip())]
    return text if after == len(lines) else [*text, "", *_paragraph(lines[after:])]
