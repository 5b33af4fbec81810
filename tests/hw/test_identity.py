# SPDX-License-Identifier: Apache-2.0
"""Identity: the bytes, what the digests see, and what a host refuses."""

from dataclasses import replace

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.identity import ANY_MODEL, MAGIC, SIZE, Identity, model_digest, sample_count
from hw.model import SHIPPED_MODEL, FixedPointModel
from hw.network import NetworkConfig

MODEL = FixedPointModel.load(SHIPPED_MODEL)
FULL = Identity(input_bits=16, samples=1 << 24, classes=65535, layers=1000,
                clock_hz=(1 << 32) - 1, writable=True, external=True, hardware=b"hardware",
                model=bytes(range(32)))


def test_bytes():
    data = FULL.pack()
    assert len(data) == SIZE and data[:8] == MAGIC + b"\x01\x10" + (1000).to_bytes(2, "little")
    assert data[8:20] == bytes.fromhex("00000001 ffff 0300 ffffffff")
    assert data[24:] == b"hardware" + bytes(range(32))


@pytest.mark.parametrize("identity", [FULL, Identity(1, 1, 1, 0)])
def test_round_trip(identity):
    assert Identity.unpack(identity.pack()) == identity


@pytest.mark.parametrize("data, sentence", [
    (b"", r"^the identity must be 64 bytes that begin with b'SPKL', not b''$"),
    (b"X" * 64, r"^the identity must be 64 bytes .* not b'XXXXXXXX'$"),
    (MAGIC + b"\x02" + bytes(59), r"^the board must speak version 1 of the protocol, not 2$")])
def test_what_is_no_identity(data, sentence):
    with pytest.raises(ValueError, match=sentence):
        Identity.unpack(data)


@pytest.mark.parametrize("name, value", [("input_bits", 0), ("input_bits", 17), ("samples", 0),
                                         ("classes", 0), ("layers", -1), ("clock_hz", 1 << 32)])
def test_impossible_sizes(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be .* not {value}$"):
        replace(FULL, **{name: value})


def test_digests_must_have_their_size():
    with pytest.raises(ValueError, match=r"^model must have 32 bytes, not b'x'$"):
        replace(FULL, model=b"x")


def test_of_a_program():
    program = compile_model(MODEL, HardwareConfig.for_model(MODEL))
    identity = Identity.of(program, 50_000_000)
    assert (identity.samples, identity.words, identity.sample_bytes) == (64, 10 + 3 * 13, 1)
    assert identity.model == model_digest(MODEL) and not identity.writable
    identity.check(MODEL)
    other = compile_model(MODEL, HardwareConfig.for_model(MODEL, lanes=16))
    assert Identity.of(other).hardware != identity.hardware
    # What only watches: images for one are good for the other.
    watched = replace(program.hardware, parity=True, timeout_bits=9)
    assert watched.digest() == program.hardware.digest() == identity.hardware
    assert Identity.of(program, writable=True).model == ANY_MODEL


def test_samples_of_events_count_timesteps():
    network = NetworkConfig(16, 1, 2, 3, 2, 5, 6, 3, static_input=False)
    assert sample_count(network) == 3 * 2 * 5 * 6


def changed_weight(model):
    name = next(iter(model.tensors))
    tensors = model.tensors[name]
    weight = tensors.weight.copy()
    weight.flat[-1] += 1
    return replace(model, tensors=model.tensors | {name: replace(tensors, weight=weight)})


def test_the_digest_sees_one_weight_and_no_name():
    assert model_digest(changed_weight(MODEL)) != model_digest(MODEL)
    renamed = replace(MODEL, network=replace(MODEL.network, name="other"), accuracy={})
    assert model_digest(renamed) == model_digest(MODEL)


def test_check_refuses_other_weights_and_sizes():
    identity = Identity(5, 64, 10, 13, model=model_digest(MODEL))
    identity.check(MODEL)
    with pytest.raises(ValueError, match=r"^the board must be built from these weights, but it "):
        identity.check(changed_weight(MODEL))
    replace(identity, model=ANY_MODEL).check(changed_weight(MODEL))
    with pytest.raises(ValueError, match=r"^the board must be built for the network: it has 65 "
                                         r"samples an inference, not 64$"):
        replace(identity, samples=65).check(MODEL)
