# SPDX-License-Identifier: Apache-2.0
"""Rules of the repository that hold for every file."""

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hw", "quantize", "sim", "boards")
MAX_LINES = 500


def files(*suffixes):
    """Files under version control or about to be."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:  # not a clone: an unpacked archive
        paths = [path for folder in (*PACKAGES, "tests") for path in (ROOT / folder).rglob("*")]
    else:
        paths = [ROOT / name for name in listed.stdout.splitlines()]
    return sorted(path for path in set(paths) if path.suffix in suffixes and path.is_file())


def modules():
    """Modules of the packages that hold code of their own."""
    return [path for path in files(".py") if path.relative_to(ROOT).parts[0] in PACKAGES
            and path.name != "__init__.py"]


def test_every_module_has_its_test():
    tests = [path.relative_to(ROOT) for path in files(".py")]
    missing = []
    for path in modules():
        module = path.relative_to(ROOT)
        name = "main" if module.stem == "__main__" else module.stem
        # benches stand apart, as their names are those of the units in hw
        folder = Path("tests", *module.parts[:2 if "benches" in module.parts else 1])
        if not any(test.name == f"test_{name}.py" and test.is_relative_to(folder)
                   and ("benches" in test.parts) == ("benches" in module.parts)
                   for test in tests):
            missing.append(str(module))
    assert not missing, f"modules without a test file: {missing}"


def test_no_file_is_too_long():
    long = {str(path.relative_to(ROOT)): lines for path in files(".py", ".sv", ".v", ".cpp")
            if (lines := len(path.read_text().splitlines())) > MAX_LINES}
    assert not long, f"files of more than {MAX_LINES} lines: {long}"


def test_every_source_names_its_licence():
    unmarked = [str(path.relative_to(ROOT)) for path in files(".py", ".sv", ".toml")
                if "SPDX-License-Identifier: Apache-2.0" not in path.read_text()[:200]]
    assert not unmarked


def test_public_modules_are_documented():
    bare = [str(path.relative_to(ROOT)) for path in modules()
            if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not bare


def test_functions_are_typed():
    """Everywhere but in `elaborate` and functions of Amaranth expressions (hw, boards)."""
    untyped = []
    for path in modules():
        if path.relative_to(ROOT).parts[0] not in ("quantize", "sim"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is None:
                untyped.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not untyped


def test_imports_go_one_way():
    """hw knows nobody, quantize knows hw, sim knows both, boards knows hw.

    Only the commands hw.build, hw.explore and sim.netlist look up boards by name, hw.explore asks
    quantize for the spikes of a network, boards.host for the reader of pictures, sim.board and
    sim.board_top simulate a board, and sim.formal proves its units.
    """
    allowed = {"hw": {"hw"}, "quantize": {"hw", "quantize"}, "sim": {"hw", "quantize", "sim"},
               "boards": {"hw", "boards"}}
    commands = {"hw/build.py": {"boards"}, "hw/explore.py": {"boards", "quantize"},
                "sim/netlist.py": {"boards"}, "boards/host.py": {"quantize"},
                "sim/board.py": {"boards"}, "sim/board_top.py": {"boards"}}
    wrong = []
    for path in modules():
        package = path.relative_to(ROOT).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            names = ([alias.name for alias in node.names] if isinstance(node, ast.Import)
                     else [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            for name in names:
                top = name.partition(".")[0]
                known = allowed[package] | commands.get(f"{package}/{path.name}", set())
                known |= {"boards"} if path.parent == ROOT / "sim" / "formal" else set()
                if (top in PACKAGES and top not in known) or (
                        top == "torch" and package != "quantize"):
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_every_dependency_has_a_reason():
    """A comment beside or above each dependency."""
    text = (ROOT / "pyproject.toml").read_text().splitlines()
    project = tomllib.loads("\n".join(text))["project"]
    for name in (*project["dependencies"], *project["optional-dependencies"]["test"]):
        index = next(i for i, line in enumerate(text) if f'"{name}"' in line)
        assert "#" in text[index] or text[index - 1].strip().startswith("#"), name


@pytest.mark.parametrize("command", [
    "make demo", "make test", "python -m quantize", "python -m hw.build --board arty_a7",
    "python -m sim ", "python -m sim.counts", "make demo-board", "python -m boards.host"])
def test_readme_names_the_commands(command):
    readme = ROOT / "README.md"
    if not readme.is_file():
        pytest.skip("README.md is not written yet")
    assert command in readme.read_text()
