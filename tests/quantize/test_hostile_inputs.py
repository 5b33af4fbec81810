# SPDX-License-Identifier: Apache-2.0
"""Pictures, arrays and NIR graphs that somebody damaged or made up, as `tests.hostile` says."""

import ast
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantize import nir_graph
from quantize.datasets import load_image
from quantize.nir_export import to_graph
from tests.hostile import EXAMPLES, NUMBERS, damages, frugal, fuzz
from tests.quantize.test_datasets import COLOUR, GREY
from tests.quantize.test_nir_export import CONFIG, DT, checkpoint

SUFFIXES = ("png", "jpeg", "bmp", "gif", "tiff", "webp", "ppm", "npy")


@pytest.fixture(scope="module")
def files():
    """Whole ones, by suffix."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    made = {}
    for suffix in SUFFIXES[:-1]:
        Image.fromarray(pixels).save(content := io.BytesIO(), suffix)
        made[suffix] = content.getvalue()
    np.save(content := io.BytesIO(), pixels[:4, :6, 0])
    return made | {"npy": content.getvalue()}


@fuzz
@given(suffix=st.sampled_from(SUFFIXES), damage=damages(), network=st.sampled_from([GREY, COLOUR]))
def test_damaged_pictures_and_arrays(files, tmp_path, suffix, damage, network):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(damage(files[suffix]))
    with frugal(path.stat().st_size):
        image = load_image(path, network)
        assert image.shape == (network.in_channels, 4, 6) and 0 <= image.min() <= image.max() <= 1


@fuzz
@given(key=st.sampled_from(["descr", "fortran_order", "shape"]), value=st.one_of(
    NUMBERS, st.lists(NUMBERS, max_size=4).map(tuple), st.text(max_size=8),
    st.sampled_from(["<f8", "|O", "<U99999999", "[('a', '<f8', (9,))]", "|V0", "<M8[s]"])))
def test_arrays_with_another_header(files, tmp_path, key, value):
    whole = files["npy"]
    size = 10 + int.from_bytes(whole[8:10], "little")
    header = ast.literal_eval(whole[10:size].decode()) | {key: value}
    text = repr(header).encode("latin1", "replace")
    path = tmp_path / "a.npy"
    path.write_bytes(whole[:8] + len(text).to_bytes(2, "little") + text + whole[size:])
    with frugal(path.stat().st_size):
        assert load_image(path, GREY).shape == (1, 4, 6)


# A process is started for each.
few = settings(fuzz, max_examples=EXAMPLES // 4)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    nir = pytest.importorskip("nir")
    path = tmp_path_factory.mktemp("graph") / "a.nir"
    nir.write(path, to_graph(checkpoint(replace(CONFIG, depth=1)), DT))
    return path.read_bytes()


@few
@given(damage=damages())
def test_damaged_graphs(graph, tmp_path, damage):
    path = tmp_path / "a.nir"
    path.write_bytes(damage(graph))
    with frugal(path.stat().st_size):
        read = nir_graph.read(path)
        nir_graph.analyze(read, dt=DT).require()


@few
@given(data=st.data())
def test_graphs_with_other_entries(graph, tmp_path, data):
    import h5py

    path = tmp_path / "a.nir"
    path.write_bytes(graph)
    with h5py.File(path, "r+") as file:
        names = []
        file.visit(names.append)
        name = data.draw(st.sampled_from(names))
        kind = data.draw(st.sampled_from(["gone", "number", "text", "array", "vast", "itself",
                                          "link"]))
        del file[name]
        if kind in ("number", "text"):
            file[name] = data.draw(NUMBERS.filter(lambda value: abs(value) < 2**63)
                                   if kind == "number" else st.text(st.characters(
                                       exclude_categories=["Cs"], exclude_characters="\0")))
        elif kind in ("array", "vast"):
            largest = 9 if kind == "array" else 1 << 40
            shapes = st.lists(st.integers(0, largest), max_size=4).filter(
                lambda shape: np.prod(shape, dtype=object) < 1 << 60)
            file.create_dataset(name, data.draw(shapes), data.draw(
                st.sampled_from(["<f4", "<i8", "?"])))
        elif kind != "gone":
            file[name] = file["/"] if kind == "itself" else h5py.ExternalLink("/etc/passwd", "/")
    with frugal(path.stat().st_size):
        nir_graph.analyze(nir_graph.read(path), dt=DT).require()
