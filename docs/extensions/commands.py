# SPDX-License-Identifier: Apache-2.0
"""The directive `command`: usage and options of one command, from its parser, at build time."""

import argparse
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs.extensions.entry_points import HELP, help_of, names, parser, subcommands


class Command(SphinxDirective):
    """What its only line, `python -m NAME --help`, would print: elsewhere the line itself shows."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        line = " ".join(self.content).strip()
        found = HELP.fullmatch(line)
        if not found or found["name"] not in names():
            raise self.error(f"the directive must hold python -m NAME --help, not {line!r}")
        self.env.note_reread()    # the parser may change without a change of this page
        return self._help(parser(found["name"]))

    def _help(self, found: argparse.ArgumentParser) -> list[nodes.Node]:
        usage = found.format_usage().removeprefix("usage: ").rstrip()
        result: list[nodes.Node] = [nodes.literal_block(usage, usage, language="text")]
        if found.description:
            result.append(nodes.paragraph(text=found.description % {"prog": found.prog}))
        for group in found._action_groups:
            actions = [action for action in group._group_actions
                       if action.help is not argparse.SUPPRESS
                       and not isinstance(action, argparse._HelpAction)]
            # The two groups that every parser has need no heading.
            if actions and group not in (found._positionals, found._optionals):
                result.append(nodes.rubric(text=group.title))
            if actions:
                result.append(self._options(actions, found))
        for each in subcommands(found).values():
            result += [nodes.rubric(text=each.prog), *self._help(each)]
        if found.epilog:
            result.append(nodes.paragraph(text=found.epilog))
        return result

    def _options(self, actions: list[argparse.Action],
                 found: argparse.ArgumentParser) -> nodes.Node:
        formatter = found._get_formatter()
        result = nodes.definition_list()
        for action in actions:
            names = formatter._format_action_invocation(action)
            item = nodes.definition_list_item()
            item += nodes.term("", "", nodes.literal(names, names))
            text = help_of(action, found)
            if action.choices and not isinstance(action, argparse._SubParsersAction) \
                    and "{" not in names:
                text += f" One of: {', '.join(map(str, action.choices))}."
            item += nodes.definition("", nodes.paragraph(text=text))
            result += item
        return result


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("command", Command)
    return {"parallel_read_safe": True, "version": "1"}
