"""The codec computes what upstream computes, on both tiny checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from junetts._runtime.checkpoint import open_checkpoint
from junetts._runtime.codec import Codec

DATA = Path(__file__).parents[2] / "data"
FULL_SCALE, RELATIVE_RMS, EXACT = 1e-4, 1e-5, 1e-5

pytestmark = pytest.mark.parametrize("name", ["s1-tiny", "s2-tiny"])


def load(name: str, dtype: torch.dtype = torch.float32) -> Codec:
    """Load the codec of a tiny checkpoint."""
    checkpoint = open_checkpoint(DATA / name)
    return Codec.load(
        checkpoint.codec_weights(),
        checkpoint.codec,
        device="cpu",
        dtype=dtype,
        path=checkpoint.codec_path,
    )


def expected(name: str) -> dict[str, np.ndarray]:
    """Read upstream's results."""
    with np.load(DATA / "expected" / name / "codec.npz") as archive:
        return dict(archive)


def test_decode(name: str) -> None:
    """The wave is upstream's, codes above their codebook included."""
    golden = expected(name)
    wave = load(name).decode(golden["decode_codes"]).numpy()
    start = int(golden["wave_exact_start"])
    error = wave[start : start + 4096] - golden["wave_exact"]
    assert abs(wave - golden["wave"]).max() <= FULL_SCALE
    assert abs(error).max() <= EXACT
    assert np.sqrt(np.mean(error**2)) <= RELATIVE_RMS * golden["wave_rms"]
    assert np.sqrt(np.mean(wave.astype(np.float64) ** 2)) == pytest.approx(
        golden["wave_rms"], rel=RELATIVE_RMS
    )


def test_frames_do_not_look_ahead(name: str) -> None:
    """Another frame 40 changes nothing before it, and after it exactly what it changes upstream."""
    golden, codec = expected(name), load(name)
    frame = int(golden["perturb_frame"])
    codes = golden["decode_codes"].copy()
    before = codec.decode(codes)
    codes[:, frame] = golden["perturb_column"]
    difference = (codec.decode(codes) - before).abs()
    per_frame = difference.view(-1, codec.frame_length).amax(1).numpy()
    changed = difference.nonzero().flatten()
    assert int(changed[0]) == golden["perturb_changed_any"][0] == frame * codec.frame_length
    np.testing.assert_allclose(per_frame, golden["perturb_frame_maxdiff"], atol=EXACT)


def test_encode(name: str) -> None:
    """The codes of a recording are upstream's."""
    golden = expected(name)
    codes = load(name).encode(golden["encode_wave"])
    assert codes.dtype == torch.int64
    np.testing.assert_array_equal(codes.numpy(), golden["encode_codes"])


def test_bfloat16(name: str) -> None:
    """In bfloat16 the wave is near, about 30 dB above its error; codes are those of float32."""
    golden, codec = expected(name), load(name, torch.bfloat16)
    wave = codec.decode(golden["decode_codes"])
    error = wave.numpy() - golden["wave"]
    assert wave.dtype == torch.float32
    assert np.sqrt(np.mean(error**2)) <= 0.05 * golden["wave_rms"]
    np.testing.assert_array_equal(codec.encode(golden["encode_wave"]), golden["encode_codes"])
