# SPDX-License-Identifier: Apache-2.0
"""docs/tour.ipynb runs from its first cell to its picture, in a Jupyter kernel of its own."""

import base64
from dataclasses import asdict

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from hw.network import NetworkConfig
from quantize import datasets, tensor_file
from quantize.spikingformer import Spikingformer
from tests.test_project import ROOT

PATH = ROOT / "docs" / "tour.ipynb"
TINY = NetworkConfig(embed_dim=16, depth=1, num_heads=2, timesteps=2, in_channels=1,
                     image_height=8, image_width=8, num_classes=10, mlp_ratio=2.0,
                     pool_stages=(False, False, False, True), name="tiny")


def notebook(**parameters):
    """The notebook with other values in the cell that is tagged "parameters"."""
    found = nbformat.read(PATH, as_version=4)
    nbformat.validate(found)
    cell, = (cell for cell in found.cells if "parameters" in cell.metadata.get("tags", ()))
    for name, value in parameters.items():
        assert f"{name} = " in cell.source
        cell.source += f"\n{name} = {value!r}"
    return found


def execute(found):
    """Run in the root of the repository; the outputs of the last cell by type."""
    NotebookClient(found, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    return [output.data for output in found.cells[-1].outputs if "data" in output]


def check_picture(shown):
    png = base64.b64decode(shown[-1]["image/png"])
    assert png.startswith(b"\x89PNG") and len(png) > 10_000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A checkpoint of random weights, whose simulator is soon compiled."""
    torch.manual_seed(0)
    state = {name: tensor for name, tensor in Spikingformer(TINY).state_dict().items()
             if not name.endswith("num_batches_tracked")}
    path = tmp_path_factory.mktemp("tour") / "tiny.safetensors"
    tensor_file.write(path, state, {"network": TINY.to_dict(), "dataset": "digits",
                                    "input": asdict(datasets.input_format("digits"))})
    return path


def test_it_is_stored_without_outputs():
    cells = [cell for cell in nbformat.read(PATH, as_version=4).cells if cell.cell_type == "code"]
    assert cells and not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.slow
def test_it_ends_in_a_picture(tiny, tmp_path):
    found = notebook(CHECKPOINT=str(tiny), OUT=str(tmp_path), SAMPLES=1)
    check_picture(execute(found))
    printed = "".join(output.text for cell in found.cells if cell.cell_type == "code"
                      for output in cell.outputs if output.output_type == "stream")
    assert "\n0 mismatches in " in printed and "top.xdc" in printed
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_the_digits_network(tmp_path):
    check_picture(execute(notebook(OUT=str(tmp_path))))
