# SPDX-License-Identifier: Apache-2.0
"""The cases of docs/results.md name networks that can be made, and hardware that can be built."""

import pytest

from hw.layout import Geometry
from hw.network import Classifier
from quantize import synthesize
from quantize.models import MODELS
from sim.cases import BENCH, CASES, Case, Source, Surroundings, synthetic


@pytest.mark.parametrize("case", (*CASES.values(), *BENCH.values()), ids=(*CASES, *BENCH))
def test_case(case):
    options = case.hardware_options()
    if options.lanes is not None:
        Geometry.for_lanes(options.lanes, options.banks or 1, options.spike_word, options.neurons)
    cases = BENCH if case.tool == "sim.bench" else CASES
    assert case.command == f"python -m {case.tool} {case.name}" and cases[case.name] is case
    for source in case.sources:
        if isinstance(source.make, tuple):
            parsed = synthesize.build_parser().parse_args(list(source.make))
            assert parsed.name in MODELS
            out = parsed.out or synthesize.OUT / parsed.name
            assert out == source.directory
            assert source.checkpoint == out.with_name(f"{out.name}.safetensors")
            assert (parsed.bits == 4) == source.name.endswith("-4bit")
    assert len({source.directory for source in case.sources}) == len(case.sources)
    assert len({str(around) for around in case.around}) == len(case.around)


def test_synthetic_networks_have_a_directory_for_each_classifier():
    sources = [synthetic("cifar10-4-256", form) for form in Classifier]
    assert sources[0].name == "cifar10-4-256" and sources[0].make == ("cifar10-4-256",)
    assert sources[-1].name == "cifar10-4-256-sn_fc_avgpool"


def test_surroundings():
    assert str(Surroundings(latency=7)) == "latency 7"
    around = Surroundings(latency=1, stalls=2, gaps=3)
    assert str(around) == "latency 1, stalls seed 2, gaps seed 3"
    assert around.keywords() == {"latency": 1, "stalls": 2, "gaps": 3}


def test_bad_options_are_refused():
    with pytest.raises(SystemExit):
        Case("x", (Source("a", "make a"),), ("--port-bits", "3")).hardware_options()
