# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/energy.md are those of the commands it names."""

import argparse
import re
from functools import cache
from types import SimpleNamespace

import pytest

from docs.extensions.entry_points import ROOT
from hw.cycles import predict_inference
from quantize import energy
from quantize.golden import GoldenModel
from quantize.sources import source_maps
from sim.counts import count, executed
from sim.executed import Work, additions
from sim.load import add_arguments, load_inputs, load_program

PAGE = (ROOT / "docs" / "energy.md").read_text()


def block(command):
    """What the page shows below a command."""
    text = re.search(rf"^    \$ {re.escape(command)}\n((?:    .*\n|\n(?=    ))*)", PAGE,
                     re.MULTILINE)[1]
    return [line.removeprefix("    ").rstrip() for line in text.splitlines()]


def test_table_1_is_what_the_command_prints(capsys):
    assert energy.main([]) == 0
    assert block("python -m quantize.energy") == capsys.readouterr().out.splitlines()


def test_table_of_the_networks():
    rows = re.findall(r"^\| 8-(\d+) \| ([\d.]+) \| ([\d.]+) \| (.*?) \|$", PAGE, re.MULTILINE)
    assert [f"imagenet-8-{width}" for width, *_ in rows] == list(energy.TABLE_1)
    for width, paper, recomputed, layers in rows:
        name = f"imagenet-8-{width}"
        acs, published = energy.TABLE_1[name]
        macs = energy.multiplied_operations(energy.find(name).network)
        each = energy.Operations(acs * 1e9, macs)
        assert (paper, recomputed) == (f"{published:.2f}", f"{each.energy_mj:.4f}")
        if name in energy.LOGGED:
            assert f"{energy.LOGGED[name].energy_mj:.6f}" in layers


@cache
def counts(command):
    """Program and rows of `sim.counts` for one image, without the RTL.

    Additions are the golden model's and events the cycle model's, which the RTL has to equal
    (`tests/sim`, `tests/hw/test_cycles.py`).
    """
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(command.split()[3:])
    program = load_program(arguments.model, arguments)
    (image,) = load_inputs(arguments.model, program.model, arguments.samples).values
    golden = GoldenModel(program.model)
    results = [result.without_maps() for result in golden.results(image)]
    predicted = predict_inference(program, source_maps(golden, image), arguments.latency).layers
    runs = [SimpleNamespace(layer=result.layer, acs=result.acs, events=each.events,
                            cycles=each.cycles) for result, each in zip(results, predicted)]
    return program, count([SimpleNamespace(layers=runs)], [results], program)[:-1]


DIGITS = "python -m sim.counts hw/models/digits --samples 1"


def test_additions_of_the_digits_network(monkeypatch):
    monkeypatch.chdir(ROOT)
    shown = [line for line in block(DIGITS) if line.strip() and line != "..."]
    assert shown[:-1] == [line.rstrip() for line in executed(*counts(DIGITS))]
    assert shown[-1].startswith("0 mismatches in ")


def test_figures_in_the_text(monkeypatch):
    monkeypatch.chdir(ROOT)
    program, rows = counts(DIGITS)
    layers = program.model.network.layers()
    work = {each.name: each for each in additions(
        layers, [row.acs for row in rows], [row.executed for row in rows],
        [energy.Operations(row.paper_acs, row.paper_macs) for row in rows],
        program.model.network.timesteps)}
    for text in sentences(**{name.split()[0]: each for name, each in work.items()}):
        assert text in " ".join(PAGE.split())


def sentences(encoder: Work, convolutions: Work, attention: Work, classifier: Work,
              residual: Work):
    """What the page says of the digits network in its text."""
    def nj(work):
        return f"{energy.energy_nj(work.executed):.1f}"

    yield (f"{encoder.paper.macs:,.0f} MACs ({encoder.paper.energy_nj:.1f} nJ) become "
           f"{encoder.acs:,.0f} additions ({nj(encoder)} nJ)")
    fewer = 1 - convolutions.acs / convolutions.paper.acs
    yield (f"({convolutions.paper.acs:,.0f} against {convolutions.acs:,.0f}, {100 * fewer:.1f} % "
           "fewer,")
    yield f"({attention.paper.acs:,.0f} against {attention.acs:,.0f} here)"
    yield (f"({classifier.acs:,.0f} additions for {classifier.paper.macs:,.0f} MACs in the digits "
           f"network) and more energy, {nj(classifier)} nJ against "
           f"{classifier.paper.energy_nj:.1f} nJ")
    yield f"{residual.acs:,.0f} additions in the digits network"


def large():
    """Rows of the table of 8-512 by name: AC, executed, nJ, and by the paper AC, MAC, nJ."""
    text = re.search(r"^    \$ python -m sim.counts build/synthetic/imagenet-8-512.*?(?=^\S)", PAGE,
                     re.MULTILINE | re.DOTALL)[0]
    return {found[1]: [float(number.replace(",", "")) for number in found[2].split()]
            for found in re.finditer(r"^ {6}(\w+(?: \w+)*) {2,}([\d,. ]+)$", text, re.MULTILINE)}


def test_table_of_8_512_is_consistent():
    """It takes minutes to measure; shapes, prices and the order of its columns are checked."""
    rows = large()
    assert list(rows)[:5] == ["encoder", "convolutions", "attention", "classifier",
                              "residual additions"]
    for acs, done, nj, *paper in list(rows.values())[:5]:
        assert done <= acs and nj == pytest.approx(energy.energy_nj(done), abs=0.05)
        if paper:
            each = energy.Operations(*paper[:2])
            assert paper[2] == pytest.approx(each.energy_nj, abs=0.06)
    network = energy.find("imagenet-8-512").network
    macs = rows["encoder"][4] + rows["classifier"][4]
    assert macs == energy.multiplied_operations(network)
    positions = network.tokens * network.embed_dim * network.timesteps
    assert rows["residual additions"][0] == positions * 2 * network.depth


def test_summary_of_8_512():
    kinds = list(large().values())[:4]     # residual additions are in no total
    contained, done, _, paper, macs, eq_19 = (sum(row[i] for row in kinds) for i in range(6))
    rows = {found[1].strip("*"): [cell.strip("* ") for cell in found[2].split("|")]
            for found in re.finditer(r"^\| (.+?) \| (.*) \|$", PAGE, re.MULTILINE)}
    assert rows["this hardware, additions that the same sums contain"] == [
        f"{contained / 1e9:.4f}", "0", f"{energy.energy_nj(contained) / 1e6:.4f}"]
    assert rows["this hardware, additions executed"] == [
        f"{done / 1e9:.4f}", "0", f"{energy.energy_nj(done) / 1e6:.4f}"]
    assert rows["Eq. 18 and 19 on the spikes of the simulated image (synthetic)"] == [
        f"{paper / 1e9:.4f}", f"{macs / 1e9:.4f}", f"{eq_19 / 1e6:.4f}"]
    logged = energy.LOGGED["imagenet-8-512"]
    assert rows["recomputed from the authors' counts of each layer"] == [
        f"{logged.acs / 1e9:.4f}", f"{logged.macs / 1e9:.4f}", f"{logged.energy_mj:.4f}"]
    encoder, convolutions = kinds[:2]
    text = " ".join(PAGE.split())
    assert (f"{encoder[4] / 1e6:.1f} M MACs ({encoder[5] / 1e6:.3f} mJ) become "
            f"{encoder[0] / 1e6:.1f} M additions ({encoder[2] / 1e6:.3f} mJ)") in text
    assert (f"saves {100 * (1 - convolutions[1] / convolutions[0]):.1f} % of the convolutions' "
            "additions") in text
    assert f"({100 * (1 - convolutions[0] / convolutions[3]):.1f} % in 8-512)" in text
