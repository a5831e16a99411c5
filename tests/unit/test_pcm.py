"""Sample conversion: exact values at the edges, clipping, carry, resampling, gain."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from junetts._audio import PcmFormat, SampleEncoding
from junetts._errors import RemoteProtocolError
from junetts._pcm import PcmConverter, resample_pcm

RATE = 16_000


def convert(
    data: bytes,
    encoding: SampleEncoding = "s16",
    *,
    channels: int = 1,
    rate: int = RATE,
    gain_db: float = 0.0,
) -> list[int]:
    """All samples that come out."""
    converter = PcmConverter(sample_rate=RATE, gain_db=gain_db)
    layout = PcmFormat(sample_rate=rate, channels=channels, encoding=encoding)
    pcm = converter.push(data, layout) + converter.end()
    return [int(sample) for sample in np.frombuffer(pcm, "<i2")]


def s24(*values: int) -> bytes:
    """Three bytes per value, little endian."""
    return b"".join(value.to_bytes(3, "little", signed=True) for value in values)


@pytest.mark.parametrize(
    ("encoding", "data", "samples"),
    [
        ("u8", bytes([0, 127, 128, 255]), [-32768, -256, 0, 32512]),
        ("s16", struct.pack("<4h", -32768, -1, 0, 32767), [-32768, -1, 0, 32767]),
        ("s24", s24(-(2**23), -256, 127, 128, 384, 2**23 - 1), [-32768, -1, 0, 0, 2, 32767]),
        ("s32", struct.pack("<4i", -(2**31), 65536, 98304, 2**31 - 1), [-32768, 1, 2, 32767]),
        (
            "f32",
            struct.pack("<5f", -1.0, 1.0, 1.5, -1.5, 0.5),
            [-32768, 32767, 32767, -32768, 16384],
        ),
        ("f64", struct.pack("<3d", -1.0, 1.0, 1 / 32768), [-32768, 32767, 1]),
    ],
)
def test_encodings(encoding: SampleEncoding, data: bytes, samples: list[int]) -> None:
    """Every layout at its extremes: rounded to nearest, clipped and never wrapped."""
    assert convert(data, encoding) == samples


@pytest.mark.parametrize(("encoding", "code"), [("f32", "f"), ("f64", "d")])
def test_floats_that_are_no_sound(encoding: SampleEncoding, code: str) -> None:
    """Not-a-number is silence; infinity and absurd values are full scale, resampled or not."""
    values = [float("nan"), float("inf"), float("-inf"), 3e38, -3e38]
    data = struct.pack(f"<5{code}", *values)
    assert convert(data, encoding) == [0, 32767, -32768, 32767, -32768]
    assert len(convert(data * 1000, encoding, rate=8000)) == 10_000


def test_downmix_is_the_mean() -> None:
    """Channels are averaged, so that two loud ones do not overflow."""
    data = struct.pack("<8h", 32767, 32767, -32768, -32768, 100, 0, 3, 0)
    assert convert(data, channels=2) == [32767, -32768, 50, 2]
    assert convert(struct.pack("<3h", 3, 6, 9), channels=3) == [6]


@pytest.mark.parametrize(("gain_db", "sample"), [(6.0, 1995), (-6.0, 501), (0.0, 1000)])
def test_gain(gain_db: float, sample: int) -> None:
    """Decibels scale the samples."""
    assert convert(struct.pack("<h", 1000), gain_db=gain_db) == [sample]


def test_gain_clips() -> None:
    """Loud samples end at full scale."""
    assert convert(struct.pack("<2h", 30_000, -30_000), gain_db=20) == [32767, -32768]


def test_gain_may_rescue_overs() -> None:
    """Float samples beyond full scale are turned down before they are clipped."""
    assert convert(struct.pack("<f", 1.5), "f32", gain_db=-20) == [4915]


def test_canonical_input_is_handed_through() -> None:
    """Samples that are right already come out as the very same object."""
    converter = PcmConverter(sample_rate=RATE)
    data = bytes(4096)
    for _ in range(3):
        assert converter.push(data, PcmFormat(sample_rate=RATE)) is data


def test_odd_bytes_are_carried() -> None:
    """A sample cut in two comes out whole, and its half is dropped at the end."""
    converter = PcmConverter(sample_rate=RATE)
    layout = PcmFormat(sample_rate=RATE)
    assert converter.push(b"\1", layout) == b""
    assert converter.push(b"\2\3", PcmFormat(sample_rate=RATE)) == b"\1\2"
    assert converter.push(b"", layout) == b""
    assert converter.end() == b""
    assert converter.push(b"\4\5\6", layout) == b"\4\5"
    converter.realign()
    assert converter.push(b"\7\7", layout) == b"\7\7"


def test_half_a_frame_does_not_survive_a_change_of_format() -> None:
    """Bytes of one layout are never read as another."""
    converter = PcmConverter(sample_rate=RATE)
    assert converter.push(b"\1\2\3", PcmFormat(sample_rate=RATE)) == b"\1\2"
    assert converter.push(b"\x80\x80", PcmFormat(sample_rate=RATE, encoding="u8")) == bytes(4)


def noise(n_samples: int) -> npt.NDArray[np.int16]:
    """Reproducible sound."""
    return np.random.default_rng(7).integers(-9000, 9000, n_samples).astype("<i2")


def reference(
    samples: np.ndarray[tuple[int], np.dtype[np.int16]], source: int, target: int
) -> bytes:
    """The whole resampled at once."""
    resampled = soxr.resample(samples.astype(np.float32), source, target, quality="HQ")
    return bytes(np.clip(np.rint(resampled), -32768, 32767).astype("<i2").tobytes())


@pytest.mark.parametrize("rate", [8000, 22_050, 24_000, 44_100, 48_000, 96_000])
def test_resampling_equals_resampling_at_once(rate: int) -> None:
    """A stream resampled piece by piece is bit for bit the whole, with its end flushed."""
    samples = noise(rate // 3)
    converter = PcmConverter(sample_rate=RATE)
    layout = PcmFormat(sample_rate=rate)
    data = samples.tobytes()
    for _ in range(2):  # the second segment starts afresh
        pcm = b"".join(
            converter.push(data[at : at + 999], layout) for at in range(0, len(data), 999)
        )
        assert pcm + converter.end() == reference(samples, rate, RATE)


def test_resampler_continues_across_layouts_of_one_rate() -> None:
    """A new header that only changes the layout does not interrupt the sound."""
    samples = noise(6000)
    converter = PcmConverter(sample_rate=RATE)
    pcm = converter.push(samples[:3000].tobytes(), PcmFormat(sample_rate=8000))
    stereo = np.repeat(samples[3000:], 2).tobytes()
    pcm += converter.push(stereo, PcmFormat(sample_rate=8000, channels=2))
    assert pcm + converter.end() == reference(samples, 8000, RATE)


@pytest.mark.parametrize("other", [24_000, RATE])
def test_change_of_rate_flushes(other: int) -> None:
    """At a new rate the old sound is finished first; nothing is lost or mixed."""
    samples = noise(3000)
    converter = PcmConverter(sample_rate=RATE)
    pcm = b""
    for rate in (8000, other, 8000):
        pcm += converter.push(samples.tobytes(), PcmFormat(sample_rate=rate))
    pcm += converter.end()
    slow = reference(samples, 8000, RATE)
    middle = samples.tobytes() if other == RATE else reference(samples, other, RATE)
    assert pcm == slow + middle + slow


def test_end_without_sound_is_nothing() -> None:
    """Flushing a converter that never resampled, or just flushed, gives nothing."""
    converter = PcmConverter(sample_rate=RATE)
    assert converter.end() == b""
    converter.push(noise(100).tobytes(), PcmFormat(sample_rate=8000))
    assert converter.end()
    assert converter.end() == b""


def test_resample_pcm() -> None:
    """A whole sound at another rate."""
    samples = noise(2000)
    assert resample_pcm(samples.tobytes(), source_rate=8000, target_rate=RATE) == reference(
        samples, 8000, RATE
    )
    assert resample_pcm(b"\1\2", source_rate=RATE, target_rate=RATE) == b"\1\2"


@pytest.mark.parametrize("rate", [0, -1, 999, 768_001])
def test_absurd_rates_are_refused(rate: int) -> None:
    """A rate that would blow one byte up to megabytes is the peer's error."""
    with pytest.raises(RemoteProtocolError, match=f"1000 to 768000 Hz, not {rate}"):
        PcmFormat(sample_rate=rate)


def test_frame_bytes() -> None:
    """A frame is one sample of every channel."""
    assert PcmFormat(sample_rate=8000, channels=3, encoding="s24").frame_bytes == 9
