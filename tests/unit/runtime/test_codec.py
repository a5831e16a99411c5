"""Decoding and encoding with codecs of several sizes, and what they refuse."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from codec_reference import (
    ODD_SIZES,
    SIZES,
    WholeDecoder,
    load,
    random_codec,
    random_codes,
    random_weights,
)
from junetts._errors import CheckpointError, InvalidRequestError
from junetts._runtime.codec.past import Past
from junetts._runtime.codec.stream import BLOCK_FRAMES
from junetts._runtime.sizes import CodecSizes

FRAME = SIZES.frame_length


@pytest.mark.parametrize("sizes", [SIZES, ODD_SIZES])
@pytest.mark.parametrize("n_frames", [1, 7, 2 * BLOCK_FRAMES + 5])
def test_decode_equals_a_plain_decode_of_the_whole(sizes: CodecSizes, n_frames: int) -> None:
    """Blocks and state change nothing."""
    weights, codes = random_weights(sizes), random_codes(sizes, n_frames)
    wave = load(weights, sizes).decode(codes)
    plain = WholeDecoder(weights, sizes)(codes)
    assert wave.shape == (n_frames * sizes.frame_length,)
    assert 0.01 < float(plain.square().mean().sqrt()) < 0.9
    torch.testing.assert_close(wave.double(), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", [SIZES, ODD_SIZES])
def test_few_positions_are_computed_in_another_way(
    sizes: CodecSizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix products and convolution kernels give the same samples and codes."""
    weights, codes = random_weights(sizes), random_codes(sizes, 9)
    plain, samples = WholeDecoder(weights, sizes)(codes), torch.linspace(-1, 1, 500)
    found = []
    for limit in (0, 10_000):
        monkeypatch.setattr("junetts._runtime.codec.layers.MAX_MATMUL_POSITIONS", limit)
        codec = load(weights, sizes)
        torch.testing.assert_close(codec.decode(codes).double(), plain, atol=1e-5, rtol=0)
        found.append(codec.encode(samples))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("sizes", [SIZES, ODD_SIZES])
def test_encode_does_not_depend_on_blocks(
    sizes: CodecSizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording longer than a block has the codes that it has in one piece."""
    codec = random_codec(sizes)
    samples = torch.randn(sizes.frame_length * 3 * BLOCK_FRAMES, generator=torch.manual_seed(1))
    codes = codec.encode(samples)
    assert codes.shape == (sizes.n_codebooks, 3 * BLOCK_FRAMES)
    monkeypatch.setattr("junetts._runtime.codec.codec.BLOCK_FRAMES", 1000)
    torch.testing.assert_close(codec.encode(samples), codes)


def test_encode_pads_the_last_frame_with_zeros() -> None:
    """One sample too many makes one more frame, as zeros after it would."""
    codec, samples = random_codec(), torch.linspace(-1, 1, FRAME + 1)
    codes = codec.encode(samples)
    assert codes.shape[1] == 2
    padded = torch.cat((samples, torch.zeros(FRAME - 1)))
    torch.testing.assert_close(codec.encode(padded), codes)


def test_encoding_weights_are_read_late() -> None:
    """Until something is encoded the encoding half has no data; then it is loaded once."""
    codec = random_codec()
    half = codec._encoding._half
    assert all(parameter.is_meta for parameter in half.parameters())
    codec.encode(torch.zeros(FRAME))
    assert not any(parameter.is_meta for parameter in half.parameters())
    weight = half.encoder.block[0].conv.weight
    codec.encode(torch.zeros(FRAME))
    assert half.encoder.block[0].conv.weight is weight
    assert not any(parameter.requires_grad for parameter in half.parameters())


def test_codes_above_their_codebook_are_its_last() -> None:
    """As upstream does."""
    codec = random_codec()
    last = torch.tensor([[31], [15], [15]])
    torch.testing.assert_close(codec.decode(last + 1000), codec.decode(last))


def test_attributes() -> None:
    """Rate, frame length and device are those of the checkpoint; nothing keeps gradients."""
    codec = random_codec()
    assert (codec.sample_rate, codec.frame_length) == (8000, 24)
    assert codec.device == torch.device("cpu")
    assert not any(parameter.requires_grad for parameter in codec.decoding.parameters())
    assert not codec.decode(random_codes(SIZES, 1)).requires_grad


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, ">i2"])
def test_codes_of_any_integer_type(dtype: str) -> None:
    """Arrays and tensors of any integer type are codes, read-only ones too."""
    codec, codes = random_codec(), random_codes(SIZES, 3)
    array = codes.numpy().astype(dtype)
    array.flags.writeable = False
    torch.testing.assert_close(codec.decode(array), codec.decode(codes))
    torch.testing.assert_close(codec.decode(codes.to(torch.int16)), codec.decode(codes))


def test_samples_of_any_float_type() -> None:
    """Arrays and tensors of any floating-point type are samples."""
    codec, samples = random_codec(), np.linspace(-1, 1, 50, dtype=np.float16)
    codes = codec.encode(samples)
    torch.testing.assert_close(codec.encode(samples.astype(np.float64)), codes)
    torch.testing.assert_close(codec.encode(torch.from_numpy(samples)), codes)


def test_no_codes() -> None:
    """No frames are no samples."""
    assert random_codec().decode(torch.zeros(3, 0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("codes", "complaint"),
    [
        (torch.zeros(2, 4, dtype=torch.int64), r"shape \[3, frames\], not \[2, 4\]"),
        (torch.zeros(3, dtype=torch.int64), r"not \[3\]"),
        (torch.zeros(3, 4), "whole numbers, not torch.float32"),
        (torch.zeros(3, 4, dtype=torch.bool), "not torch.bool"),
        (np.zeros((3, 4)), "not float64"),
        ([[0], [0], [0]], "not list"),
        (torch.tensor([[0], [-1], [0]]), "0 or more, not -1"),
    ],
)
def test_wrong_codes(codes: torch.Tensor, complaint: str) -> None:
    """What are no codes is refused, naming the field."""
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        random_codec().decode(codes)
    assert caught.value.field == "codes"


def test_negative_codes_that_nobody_looked_at() -> None:
    """On an accelerator, where values are not checked, no code reads another's row."""
    codec = random_codec()
    codes = torch.tensor([[[-5], [-1], [3]]])
    with torch.inference_mode():
        wave = codec.decoding(codes, Past.of(codec.decoding))[0]
    torch.testing.assert_close(wave, codec.decode(codes[0].clamp(min=0)))


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (torch.zeros(0), r"n at least 1, not \[0\]"),
        (torch.zeros(2, 9), r"not \[2, 9\]"),
        (torch.zeros(9, dtype=torch.int16), "floating-point numbers, not torch.int16"),
        (np.zeros(9, dtype=np.int16), "not int16"),
        (torch.zeros(9, dtype=torch.complex64), "not torch.complex64"),
        (b"RIFF", "not bytes"),
        (np.array([0.0, np.nan]), "finite"),
        (torch.tensor([0.0, torch.inf]), "finite"),
    ],
)
def test_wrong_samples(samples: torch.Tensor, complaint: str) -> None:
    """What are no samples is refused, naming the field."""
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        random_codec().encode(samples)
    assert caught.value.field == "samples"


@pytest.mark.parametrize("part", ["encoder.block.0.conv.bias", "decoder.model.0.conv.weight"])
def test_weights_are_checked_when_loaded(part: str) -> None:
    """A weight that is missing, misshapen or unknown is named at once, in either half."""
    weights = random_weights(SIZES)
    for wrong in (
        {name: tensor for name, tensor in weights.items() if name != part},
        weights | {part: torch.zeros(1, 2, 3)},
    ):
        with pytest.raises(CheckpointError, match=re.escape(part)):
            load(wrong, SIZES)
    with pytest.raises(CheckpointError, match=r"surplus\.weight"):
        load(weights | {"surplus.weight": torch.zeros(1)}, SIZES)


@pytest.mark.parametrize(
    ("gain", "direction"),
    [
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        ("weight_g", "weight_v"),
    ],
)
def test_weight_norm_is_baked(gain: str, direction: str) -> None:
    """Gain and direction stand for their product, per input channel in transposed convolutions."""
    weights = random_weights(SIZES)
    layers = ("decoder.model.1.block.1.conv", "encoder.block.0.conv")
    spelt = dict(weights)
    for layer in layers:
        weight = spelt.pop(f"{layer}.weight")
        spelt[f"{layer}.{gain}"] = weight.norm(dim=(1, 2), keepdim=True)
        spelt[f"{layer}.{direction}"] = 3 * weight
    plain, baked = load(weights, SIZES), load(spelt, SIZES)
    codes, samples = random_codes(SIZES, 4), torch.linspace(-1, 1, 99)
    torch.testing.assert_close(baked.decode(codes), plain.decode(codes), atol=1e-5, rtol=0)
    torch.testing.assert_close(baked.encode(samples), plain.encode(samples))


def test_other_widths_are_other_networks() -> None:
    """Weights of one size do not load into another."""
    with pytest.raises(CheckpointError, match="shape"):
        load(random_weights(SIZES), replace(SIZES, decoder_dim=32))
