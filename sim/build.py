# SPDX-License-Identifier: Apache-2.0
"""Simulators compiled by Verilator, cached by the hash of everything that shapes them."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.toolchain import MAKE_VARIABLES, Toolchain, ToolError, cocotb_libraries, find_toolchain

CACHE = Path("build/sim")
EXECUTABLE = "simulator"

FLAGS = (
    "--cc", "--exe", "--prefix", "Vtop", "-o", EXECUTABLE,
    "--timing",       # the testbench generates its own clock
    "-Wno-fatal", "-Wno-WIDTH",  # yosys relies on Verilog's implicit width extension
    "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert",
    "--output-split", "20000",   # several C++ files, so that all processors compile
)


@dataclass(frozen=True)
class Design:
    """What to simulate.

    sources:     file name to Verilog or SystemVerilog text
    toplevel:    name of the top module
    parameters:  of the top module
    public:      control lines for Verilator that make signals visible to cocotb
    cocotb:      linked with cocotb (else with Verilator's own main, which needs $finish)
    waves:       able to write a VCD file
    random:      registers and memories without initial contents can begin with noise: run it with
                 +verilator+rand+reset+2
    main:        C++ with a function main of its own, instead of Verilator's own; not with cocotb
    coverage:    counts which lines run and which bits change, and writes that at its end; not with
                 cocotb
    pins:        ports that are `inout` tell it what they drive, and whether
    vpi:         with `main`: what is public can be found by name at run time
    short:       for short runs: compiled without optimisation, which takes longer than they do
    """

    sources: Mapping[str, str]
    toplevel: str
    parameters: Mapping[str, int]
    public: Sequence[str] = ()
    cocotb: bool = True
    waves: bool = False
    random: bool = False
    main: str = ""
    pins: bool = False
    vpi: bool = False
    short: bool = False
    coverage: bool = False

    def arguments(self) -> list[str]:
        """Verilator's arguments, apart from files."""
        arguments = [*FLAGS, "--top-module", self.toplevel]
        arguments += [f"-G{name}={value}" for name, value in sorted(self.parameters.items())]
        if self.vpi:
            arguments += ["--vpi"]
        if not self.main:
            arguments += ["--vpi"] if self.cocotb else ["--main"]
        if self.pins:
            arguments += ["--pins-inout-enables"]
        if self.waves:
            arguments += ["--trace-vcd"]
        if self.coverage:
            arguments += ["--coverage-line", "--coverage-toggle"]
        if self.random:   # the last one counts
            arguments += ["--x-assign", "unique", "--x-initial", "unique"]
        return arguments

    def key(self, toolchain: Toolchain) -> str:
        """Hash of the sources, the arguments and the tools."""
        parts = [*self.arguments(), *self.public, *toolchain.versions, *MAKE_VARIABLES]
        parts += [self.main] if self.main else []
        parts += ["short"] if self.short else []
        for name, text in sorted(self.sources.items()):
            parts += [name, text]
        return content_hash(parts)

    def library_key(self, toolchain: Toolchain) -> str:
        """Hash of what shapes Verilator's run-time library, the same for most designs."""
        return content_hash([*FLAGS, str(self.cocotb or self.vpi), str(self.waves),
                             *toolchain.versions, *MAKE_VARIABLES, *["coverage"] * self.coverage])


def content_hash(parts: Sequence[str]) -> str:
    """Hash of a sequence of texts, short enough for a file name."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:20]


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears complete or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    os.replace(partial, path)


def build(design: Design, cache: Path = CACHE, toolchain: Toolchain | None = None) -> Path:
    """Path of the simulator for `design`, compiled if the cache does not hold it.

    A cache entry appears complete or not at all; two processes that want the same one build it
    once.  Raises ToolError with the first complaint of the tool that failed.
    """
    toolchain = toolchain or find_toolchain()
    entry = cache / design.key(toolchain)
    executable = (entry / EXECUTABLE).absolute()
    if executable.is_file():
        return executable
    cache.mkdir(parents=True, exist_ok=True)
    with locked(entry.with_suffix(".lock")):
        if not executable.is_file():
            with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as temporary:
                library = cache / f"library-{design.library_key(toolchain)}"
                built = _compile(design, Path(temporary), toolchain, library)
                finished = Path(temporary) / "entry"
                finished.mkdir()
                shutil.move(built, finished / EXECUTABLE)
                shutil.rmtree(entry, ignore_errors=True)
                os.replace(finished, entry)
    return executable


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the kernel releases it if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(design: Design, directory: Path, toolchain: Toolchain, library: Path) -> Path:
    """Translate and compile in `directory`; returns the executable.

    `library` keeps the objects of Verilator's run-time library, which take longer to compile than
    a small unit does.
    """
    files = []
    for name, text in design.sources.items():
        (directory / name).write_text(text)
        files.append(name)
    if design.public:
        (directory / "public.vlt").write_text("\n".join(("`verilator_config", *design.public, "")))
        files.append("public.vlt")
    arguments = [*design.arguments(), "-Mdir", "obj"]
    if design.main:
        (directory / "main.cpp").write_text(design.main)
        files.append("main.cpp")
    elif design.cocotb:
        libraries, main = cocotb_libraries()
        arguments += ["-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"]
        files.append(str(main))
    _run([str(toolchain.verilator), *arguments, *files], directory, toolchain, "Verilator")
    compiled = directory / "obj"
    classes = _group(compiled)
    for item in library.glob("*.o"):
        shutil.copy(item, compiled)  # not copy2: make takes them only if they are new
    _run([*toolchain.make_command(Path("obj"), "Vtop.mk"), f"VM_TRACE={int(design.waves)}",
          *classes, *["OPT_FAST=-O0"] * design.short], directory, toolchain, "the C++ compiler")
    if not library.exists():
        kept = directory / "library"
        kept.mkdir()
        for item in compiled.glob("verilated*.o"):
            shutil.move(item, kept)
        with contextlib.suppress(OSError):  # another process was faster
            os.replace(kept, library)
    return compiled / EXECUTABLE


def _group(compiled: Path) -> list[str]:
    """Join Verilator's C++ files into one per processor, and one that is not optimised.

    Most are tiny, and each reads a second's worth of headers.  Returns variables for make.
    """
    files = list(compiled.glob("Vtop*.cpp"))
    slow = [path for path in files if "Slow" in path.stem]
    fast: list[list[Path]] = [[] for _ in range(os.cpu_count() or 1)]
    for path in sorted(set(files) - set(slow), key=lambda path: -path.stat().st_size):
        min(fast, key=lambda group: sum(each.stat().st_size for each in group)).append(path)
    variables = {"VM_CLASSES_FAST": [group for group in fast if group],
                 "VM_CLASSES_SLOW": [slow] if slow else []}
    for name, groups in variables.items():
        for number, group in enumerate(groups):
            text = "".join(f'#include "{path.name}"\n' for path in group)
            (compiled / f"{name}{number}.cpp").write_text(text)
    for kind in ("fast", "slow"):
        (compiled / f"Vtop__pch.h.{kind}.gch").touch()  # see MAKE_VARIABLES: never used
    return [*(f"{name}={' '.join(f'{name}{number}' for number in range(len(groups)))}"
              for name, groups in variables.items()), "VM_SUPPORT_FAST=", "VM_SUPPORT_SLOW="]


def _run(command: list[str], directory: Path, toolchain: Toolchain, name: str) -> None:
    result = subprocess.run(command, cwd=directory, env=toolchain.environment(), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if result.returncode:
        lines = result.stdout.strip().splitlines() or ["no message"]
        complaint = next((line for line in lines if "rror" in line), lines[-1])
        raise ToolError(f"{name} must compile the simulator, but failed with: {complaint.strip()}")
