"""MP3 length tags: a decoder must find all of the audio."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from junetts._mp3 import _frame_at, with_length


def encode(rate: int, channels: int, n_samples: int) -> bytes:
    """An MP3 of noise, silence and noise, at a variable bitrate, with a length tag."""
    samples = np.random.default_rng(3).normal(0, 0.1, (n_samples, channels))
    samples[n_samples // 3 : n_samples // 3 * 2] = 0
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, rate, format="MP3", subtype="MPEG_LAYER_III")
    return encoded.getvalue()


def untagged(mp3: bytes) -> bytes:
    """The same without its length tag, as a streaming encoder sends it."""
    frame = _frame_at(mp3, 0)
    assert frame is not None
    assert mp3[frame.tag_at : frame.tag_at + 4] in (b"Xing", b"Info")
    return mp3[frame.n_bytes :]


def decoded_samples(mp3: bytes) -> int:
    """How many samples the decoder gives."""
    with soundfile.SoundFile(io.BytesIO(mp3)) as file:
        return len(file.read())


KINDS = [(44_100, 1), (48_000, 2), (32_000, 1), (24_000, 2), (16_000, 1), (8000, 1), (11_025, 2)]


@pytest.mark.parametrize(("rate", "channels"), KINDS)
def test_untagged_stream_is_decoded_to_its_end(rate: int, channels: int) -> None:
    """Without a tag the decoder stops early; with ours it does not."""
    n_samples = rate * 3
    mp3 = untagged(encode(rate, channels, n_samples))
    assert decoded_samples(mp3) < n_samples * 0.9
    assert n_samples <= decoded_samples(with_length(mp3)) <= n_samples + 3000


def test_tagged_stream_is_left_alone() -> None:
    """A right tag also tells the encoder's delay, so it stays, and the length is exact."""
    mp3 = encode(44_100, 1, 50_000)
    assert with_length(mp3) == mp3
    assert decoded_samples(mp3) == 50_000


def test_stream_of_several_files_is_decoded_to_its_end() -> None:
    """The tag of the first file does not hide the others."""
    mp3 = encode(44_100, 1, 50_000)
    assert decoded_samples(mp3 + mp3) == 50_000
    assert decoded_samples(with_length(mp3 + mp3)) >= 100_000


@pytest.mark.parametrize("size", [0, 10, 300])
def test_id3_tag_is_dropped(size: int) -> None:
    """Text in front of the audio is no audio."""
    mp3 = encode(44_100, 1, 20_000)
    tag = b"ID3\4\0\0\0\0" + bytes([size >> 7, size & 0x7F]) + bytes(size)
    assert with_length(tag + mp3) == mp3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ID3",
        b"ID3\4\0\0\0\0\0\0",
        b"fLaC" + bytes(40),
        b"\xff\xfb",
        b"\xff\xfb\x00\x00",  # free bitrate
        b"\xff\xfb\xf0\x00",  # no bitrate
        b"\xff\xfb\x9c\x00",  # no rate
        b"\xff\xfd\x90\x00",  # layer 2
        b"\xff\xeb\x90\x00",  # no version
    ],
)
def test_anything_else_is_unchanged(data: bytes) -> None:
    """What is not MP3 layer 3 is not touched."""
    assert with_length(data) == data


def test_tag_without_a_count_is_not_trusted() -> None:
    """A tag that does not say how long the stream is, is sound like any other frame."""
    mp3 = bytearray(encode(44_100, 1, 50_000))
    frame = _frame_at(bytes(mp3), 0)
    assert frame is not None
    mp3[frame.tag_at + 7] = 0
    assert decoded_samples(with_length(bytes(mp3))) >= 50_000
