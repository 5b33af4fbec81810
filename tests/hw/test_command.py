# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hw import command
from hw.command import (
    CommandError,
    Outcome,
    Parser,
    doing,
    execute,
    note,
    progress_bar,
)


@dataclass
class Figures:
    count: int


def parser():
    made = Parser(prog="python -m a.command")
    made.add_argument("--number", type=int)
    made.add_subparsers(dest="sub").add_parser("part")
    return made


def run(arguments):
    note("a remark")
    print("the result")
    return Outcome({"figures": Figures(3), "array": np.arange(2), "number": np.int64(7),
                    "path": Path("x"), "words": arguments.words})


def test_result_and_remarks(capsys):
    assert execute(parser(), run, []) == 0
    assert capsys.readouterr().out == "a remark\nthe result\n"
    assert execute(parser(), run, ["--quiet"]) == 0
    assert capsys.readouterr().out == "the result\n"


@pytest.mark.parametrize("words", [["--json", "part"], ["part", "--json"], ["--jso", "part"],
                                   ["--quiet", "--json", "part"]])
def test_one_document(capsys, words):
    assert execute(parser(), run, words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.pop("words")[-1] == "part" or words[-1] == "--json"
    assert document == {"command": "a.command", "status": 0, "figures": {"count": 3},
                        "array": [0, 1], "number": 7, "path": "x"}


class RefusedError(CommandError):
    status = 7


@pytest.mark.parametrize(("error", "status", "text"), [
    (ValueError("size must be 1, not 2"), 2, "size must be 1, not 2"),
    (FileNotFoundError(2, "No such file or directory", "a.txt"), 2,
     "'a.txt' cannot be used: no such file or directory"),
    (ImportError("nir is missing"), 2, "nir is missing"),
    (CommandError("yosys failed"), 1, "yosys failed"), (RefusedError("no"), 7, "no"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (KeyboardInterrupt("--resume continues"), 130, "interrupted; --resume continues")])
def test_errors_are_sentences(capsys, error, status, text):
    def fails(arguments):
        raise error

    assert execute(parser(), fails, []) == status
    assert capsys.readouterr() == ("", f"error: {text}\n")
    assert execute(parser(), fails, ["--json"]) == status
    out, err = capsys.readouterr()
    assert (json.loads(out)["error"], json.loads(out)["status"]) == (text, status)


def test_a_fault_of_ours_is_not_hidden():
    def fails(arguments):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        execute(parser(), fails, [])


def test_bad_words(capsys):
    assert execute(parser(), run, ["--number", "x"]) == 2
    assert capsys.readouterr().err == ("error: argument --number: invalid int value: 'x'; "
                                       "python -m a.command --help lists what there is\n")


def test_progress_is_shown_on_a_terminal_only(capsys, monkeypatch):
    def works(arguments):
        with doing("thinking hard"):
            time.sleep(0.05)
        return Outcome({"items": [*progress_bar(range(3), desc="counting")]})

    assert execute(parser(), works, []) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(command, "TICK_SECONDS", 0.01)
    assert execute(parser(), works, []) == 0
    err = capsys.readouterr().err
    assert err.count("thinking hard") > 2 and "counting: 100%" in err
    assert execute(parser(), works, ["--quiet"]) == 0
    assert capsys.readouterr().err == ""


PROGRAM = """
import sys
from tests.hw.test_command import parser, run
from hw.command import Outcome, execute, note

def one(arguments): return run(arguments)
def many(arguments): print("many lines\\n" * 10_000); return Outcome()
def breaks(arguments): raise BrokenPipeError(32, "a simulator died")
sys.exit(execute(parser(), {}, sys.argv[1:]))
"""


@pytest.mark.parametrize(("function", "words"), [
    ("one", []), ("one", ["--json"]), ("one", ["--help"]), ("many", []), ("breaks", ["--json"])])
def test_output_that_nobody_reads_ends_silently(function, words):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        ended = subprocess.run([sys.executable, "-c", PROGRAM.format(function), *words],
                               stdout=closed, stderr=subprocess.PIPE, text=True, check=False,
                               env=os.environ | {"PYTHONUNBUFFERED": ""})
    assert (ended.returncode, ended.stderr) == (141, "")


def test_another_broken_pipe_is_an_error(capfd):
    def breaks(arguments):
        raise BrokenPipeError("a simulator died")

    assert execute(parser(), breaks, []) == 2
    assert capfd.readouterr().err == "error: a simulator died\n"


def test_what_was_found_before_a_failure_is_in_the_document(capsys):
    def fails(arguments):
        raise CommandError("too slow", {"figures": Figures(3)})

    assert execute(parser(), fails, ["--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "command": "a.command", "error": "too slow", "figures": {"count": 3}, "status": 1}
