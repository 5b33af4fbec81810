# SPDX-License-Identifier: Apache-2.0
"""What holds for every command: both output options, and one sentence for what is wrong."""

import ast
import importlib
import json

import pytest

from tests.test_project import ROOT, modules


def commands():
    """Modules that end in `if __name__ == "__main__"`, as `python -m` takes them."""
    found = []
    for path in modules():
        last = ast.parse(path.read_text()).body[-1]
        if isinstance(last, ast.If) and "__main__" in ast.unparse(last.test):
            found.append(".".join(path.relative_to(ROOT).with_suffix("").parts)
                         .removesuffix(".__main__"))
    return found


COMMANDS = commands()
# Wrong in another way than an option that does not exist: values, names, files.
BAD = {"boards.host": ["--port", "/nowhere", "identify"], "hw.area": ["melt"],
       "hw.build": ["--board", "toaster"], "hw.core": ["/nowhere"],
       "hw.diagram": ["--out", "picture.txt"], "hw.explore": ["--board", "toaster"],
       "hw.fmax": ["--unit", "x", "/nowhere"],
       "hw.soc": ["/nowhere"], "hw.toolchains.cells": ["word"],
       "hw.toolchains.provision": ["--keyring"], "quantize": ["/nowhere", "--out", "out"],
       "quantize.activity": ["/nowhere"], "quantize.analyze": ["/nowhere"],
       "quantize.baseline": ["no-such-network"], "quantize.checkpoint": ["/nowhere"],
       "quantize.energy": ["word"],
       "quantize.finetune": ["/nowhere", "--out", "out.safetensors"],
       "quantize.golden": ["/nowhere"], "quantize.models": ["no-such-network"],
       "quantize.reuse": ["/nowhere"], "quantize.synthesize": ["no-such-network"],
       "quantize.train": ["--out", "out.txt"], "sim": ["--samples", "0"],
       "sim.bench": ["no-such-case"], "sim.board": ["--board", "toaster"],
       "sim.counts": ["/nowhere"], "sim.coverage": ["--only", "-1"],
       "sim.faults": ["/nowhere"], "sim.formal": ["no-such-proof"], "sim.icarus": ["word"],
       "sim.netlist": ["--model", "/nowhere"], "sim.predict": ["/nowhere"],
       "sim.report": ["/nowhere"], "sim.results": ["no-such-case"], "sim.verify": ["--seed", "-1"]}


@pytest.fixture(params=COMMANDS)
def command(request):
    """Name and main function of each command."""
    name = request.param
    try:
        module = importlib.import_module(f"{name}.__main__")
    except ModuleNotFoundError:
        module = importlib.import_module(name)
    return name, module.main


def test_all_commands_are_known():
    assert sorted(BAD) == sorted(COMMANDS)


def test_help_lists_the_output_options(command, capsys):
    name, main = command
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: python -m {name}" in text and "  --quiet " in text and "  --json " in text


@pytest.mark.parametrize("kind", ["option", "value"])
def test_a_bad_argument_is_one_sentence(command, kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name, main = command
    assert main(["--no-such-option"] if kind == "option" else BAD[name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n")
    assert [*tmp_path.iterdir()] == []


def test_an_error_is_json_too(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name, main = command
    assert main([*BAD[name], "--json"]) == 2
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["command"].split()[0], document["status"]) == (name, 2)
    assert err == f"error: {document['error']}\n"
