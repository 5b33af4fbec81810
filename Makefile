# SPDX-License-Identifier: Apache-2.0
#
#   make demo        set up, then checkpoint -> fixed point -> RTL simulation -> Arty A7 build ->
#                    one HTML page about all of it
#   make demo-board  set up, then the real host infers on 10 images on a simulated board
#   make test        set up, then the test suite
#   make test-slow   the tests that take long and whose ground others mostly cover
#   make verify      50 random networks on random hardware, every value of each (about half an hour)
#   make fuzz        2,000 damaged and made-up files for each loader
#   make test-icarus the testbenches on Icarus Verilog as well, which `make tools-icarus` unpacks
#                    from Debian's or Ubuntu's package into ~/.cache/spikeloom (no root)
#   make formal      proofs of the units, each also shown to fail for broken copies of them
#   make coverage    what tests and simulations reach: Python, Verilog, combinations (an hour);
#                    a part: make coverage ARGS=--verilog, --functional or --python
#   make lint        ruff
#   make docs        the site, from docs/, README and the docstrings, into build/docs
#   make fashion-mnist   Fashion-MNIST for quantize.train, from Debian's or Ubuntu's package of it
#                        (apt-get, no root) into build/data; where there is no apt, set the
#                        environment variable FASHION_MNIST to a folder with its four .gz files
#   make tools-xilinx    place and route for Xilinx 7 series: unpacks Debian unstable's packages of it
#                    into ~/.cache/spikeloom (no root); MIRROR=URL where apt knows no Debian mirror
#   make tools-ice40     place and route for the iCE40, from PyPI (72 MB)
#   make tools-asic  standard-cell libraries for hw.build --target asic, from Debian's or Ubuntu's
#                    packages of them into ~/.cache/spikeloom (no root)
#   make clean       remove build/; `make distclean` removes the environment too
#
# Needs Python 3.11 or newer with venv, a C++ compiler and make.
#
# PyTorch: a CPU build is enough, a CUDA build works but is several GB. On Linux the default package
# index serves the CUDA build; PyTorch's "get started" page names an index with CPU builds, and pip
# prefers its "+cpu" versions once it is given:
#   make demo PIP_ARGS="--extra-index-url <PyTorch's CPU index>"
# A machine whose pip is configured with such an index or wheel needs nothing. Any torch within
# pyproject.toml's range will do: make demo TORCH="torch==2.9.1".

PYTHON   ?= python3
VENV     ?= .venv
TORCH    ?= torch==2.13.0
PIP_ARGS ?=
BOARD    ?= arty_a7
MODEL    ?= build/digits
SAMPLES  ?= 1
WORKERS  ?= 2
FASHION  := build/data/fashion-mnist

export PIP_DISABLE_PIP_VERSION_CHECK = 1

python := $(VENV)/bin/python
stamp  := $(VENV)/.spikeloom
sphinx := $(VENV)/.spikeloom-docs

.PHONY: setup demo demo-board test test-slow test-icarus verify fuzz formal coverage lint docs \
        fashion-mnist tools-xilinx tools-ice40 tools-asic tools-icarus clean distclean
.DELETE_ON_ERROR:

setup: $(stamp)

# The stamp is touched last, so that an interrupted set-up is taken up again.  SpikingJelly, which
# tests compare with, comes without its dependencies: torchvision, which nothing here uses, would
# replace torch.  0.0.0.0.14 is the last with clock_driven.
$(stamp): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'error: Python must be 3.11 or newer, not '"$$($(PYTHON) -V 2>&1)"'; set PYTHON=' >&2; \
	  exit 2; }
	test -x $(python) || $(PYTHON) -m venv $(VENV)
	$(python) -m pip install --quiet $(PIP_ARGS) '$(TORCH)'
	$(python) -m pip install --quiet $(PIP_ARGS) -e '.[test]'
	$(python) -m pip install --quiet --no-deps $(PIP_ARGS) spikingjelly==0.0.0.0.14
	touch $@

# The explorer's points are for the report. It searches while yosys runs, and knows no area of some
# boards: then the report has no front.
demo: $(stamp)
	$(python) -m quantize quantize/checkpoints/digits.safetensors --out $(MODEL)
	$(python) -m sim $(MODEL) --samples $(SAMPLES)
	@$(python) -m hw.explore --model $(MODEL) --board $(BOARD) >/dev/null 2>&1 & \
	set -x; $(python) -m hw.build --board $(BOARD) --model $(MODEL); status=$$?; wait; exit $$status
	$(python) -m sim.report $(MODEL) --checkpoint quantize/checkpoints/digits.safetensors \
	  --build build/$(BOARD) --out $(MODEL)/report.html

demo-board: $(stamp)
	$(python) -m sim.board --board $(BOARD) $(ARGS)

# One thread per worker: with two workers, PyTorch's own threads would only get in the way.
test: $(stamp)
	@OMP_NUM_THREADS=1 $(python) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(stamp)
	@OMP_NUM_THREADS=1 $(python) -m pytest -m slow $(ARGS)

test-icarus: tools-icarus
	@SPIKELOOM_ICARUS=required OMP_NUM_THREADS=1 $(python) -m pytest -m "slow or not slow" \
	  tests/sim/test_icarus.py $(ARGS)

fuzz: $(stamp)
	@SPIKELOOM_FUZZ=2000 OMP_NUM_THREADS=1 $(python) -m pytest -n $(WORKERS) \
	  tests/*/test_hostile_*.py $(ARGS)

verify: $(stamp)
	@OMP_NUM_THREADS=1 $(python) -m sim.verify --workers $(WORKERS) $(ARGS)

formal: $(stamp)
	@$(python) -m sim.formal --broken --workers $(WORKERS) $(ARGS)

coverage: $(stamp)
	@OMP_NUM_THREADS=1 $(python) -m sim.coverage --workers $(WORKERS) $(ARGS)

lint: $(stamp)
	$(python) -m ruff check .

$(sphinx): $(stamp)
	$(python) -m pip install --quiet $(PIP_ARGS) -e '.[docs]'
	touch $@

docs: $(sphinx)
	$(python) -m sphinx --quiet --fail-on-warning --keep-going -d build/docs-pages docs build/docs
	@echo 'wrote build/docs/index.html'

# Unpacked beside its place and renamed, so that the folder appears complete or not at all.
fashion-mnist:
	@if test -d $(FASHION); then echo '$(FASHION) is there'; exit; fi; \
	if ! command -v apt-get || ! command -v dpkg-deb; then \
	  echo 'error: make fashion-mnist needs apt-get and dpkg-deb; without them, set FASHION_MNIST' \
	    'to a folder with the four .gz files of Fashion-MNIST' >&2; exit 2; \
	fi >/dev/null; \
	mkdir -p $(FASHION:%/fashion-mnist=%) && work=$$(mktemp -d $(FASHION).XXXXXX) || exit; \
	trap 'rm -rf "$$work"' EXIT; trap 'exit 130' INT TERM; \
	if ! (cd "$$work" && apt-get download --quiet dataset-fashion-mnist); then \
	  echo 'error: apt-get could not download dataset-fashion-mnist; apt-get update may help, or' \
	    'set FASHION_MNIST to a folder with the four .gz files of Fashion-MNIST' >&2; exit 2; \
	fi; \
	dpkg-deb -x "$$work"/*.deb "$$work" && \
	mv "$$work/usr/share/datasets/fashion-mnist" $(FASHION) && echo 'wrote $(FASHION)'

tools-xilinx: $(stamp)
	@$(python) -m hw.toolchains.provision $(if $(MIRROR),--mirror $(MIRROR))

tools-ice40: $(stamp)
	$(python) -m pip install --quiet $(PIP_ARGS) -e '.[ice40]'

tools-asic: $(stamp)
	@$(python) -m hw.toolchains.cells

tools-icarus: $(stamp)
	@$(python) -m sim.icarus

clean:
	rm -rf build docs/api .pytest_cache .ruff_cache .hypothesis

distclean: clean
	rm -rf $(VENV) *.egg-info
