"""Values of sound."""

from __future__ import annotations

import dataclasses

import pytest

from junetts._audio import AudioChunk, AudioFormat, PcmFormat
from junetts._errors import RemoteProtocolError


def test_a_chunk_knows_its_length_and_samples() -> None:
    """Duration in seconds, samples as float32 in [-1, 1)."""
    pcm = b"\x00\x80\x00\x00\xff\x7f\x00\x40"
    chunk = AudioChunk(pcm=pcm, sample_rate=8000, start_s=1.5, segment=2)
    assert chunk.duration_s == pytest.approx(4 / 8000)
    assert chunk.samples.dtype == "float32"
    assert chunk.samples.tolist() == [-1.0, 0.0, 32767 / 32768, 0.5]


def test_values_are_frozen() -> None:
    """What was handed out cannot be changed."""
    chunk = AudioChunk(pcm=b"", sample_rate=8000, start_s=0, segment=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        chunk.pcm = b"x"  # type: ignore[misc]
    assert (chunk.duration_s, chunk.samples.size) == (0, 0)
    assert AudioFormat(sample_rate=8000) == AudioFormat(
        sample_rate=8000, channels=1, media_type="audio/pcm"
    )


@pytest.mark.parametrize(("encoding", "width"), [("u8", 1), ("s24", 3), ("f64", 8)])
def test_frames(encoding: str, width: int) -> None:
    """A frame is one sample of every channel."""
    pcm_format = PcmFormat(sample_rate=8000, channels=2, encoding=encoding)  # type: ignore[arg-type]
    assert pcm_format.frame_bytes == 2 * width


@pytest.mark.parametrize(
    ("rate", "channels", "what"),
    [
        (999, 1, "sample rate must be 1000 to 768000 Hz, not 999"),
        (768_001, 1, "not 768001"),
        (0, 1, "not 0"),
        (8000, 0, "must have 1 to 32 channels, not 0"),
        (8000, 33, "not 33"),
    ],
)
def test_what_is_no_sound_is_the_peers_fault(rate: int, channels: int, what: str) -> None:
    """Rates and channel counts out of bounds name the bounds."""
    with pytest.raises(RemoteProtocolError, match=what):
        PcmFormat(sample_rate=rate, channels=channels)
    PcmFormat(sample_rate=1000, channels=32)
    PcmFormat(sample_rate=768_000)


def test_a_chunk_is_short_to_print() -> None:
    """Whoever prints a chunk sees what it is, not its samples."""
    chunk = AudioChunk(pcm=bytes(8820), sample_rate=44_100, start_s=1.5, segment=2)
    assert repr(chunk) == "<AudioChunk: 0.10 s at 44100 Hz, segment 2, from 1.50 s>"
