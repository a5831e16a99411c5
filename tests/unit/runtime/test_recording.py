"""Recordings to imitate: what can be used, and what is said of the rest."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from junetts._errors import InvalidRequestError
from junetts._runtime import recording
from junetts._runtime.recording import read_recording

RATE = 44_100


def tone(n_samples: int, *, rate: int = RATE, frequency_hz: float = 440) -> NDArray[np.float32]:
    """A sine at half of full scale."""
    times_s = np.arange(n_samples) / rate
    return (0.5 * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


def sound_file(
    samples: NDArray[np.float32], *, rate: int = RATE, form: str = "WAV", subtype: str = "FLOAT"
) -> bytes:
    """The bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def problem(audio: bytes) -> str:
    """What is said of audio that cannot be used."""
    with pytest.raises(InvalidRequestError) as raised:
        read_recording(audio, RATE)
    assert raised.value.field == "voice.audio"
    assert raised.value.message.startswith("voice.audio ")
    return raised.value.message.removeprefix("voice.audio ")


def test_samples_at_the_codecs_rate_stay_as_they_are() -> None:
    """Nothing is resampled that need not be."""
    samples = tone(RATE)
    found = read_recording(sound_file(samples), RATE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, samples)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")],
)
@pytest.mark.parametrize("rate", [8000, 48_000])
def test_any_format_and_rate(form: str, subtype: str, rate: int) -> None:
    """The same tone comes out, as loud and as long, whatever it was stored as."""
    audio = sound_file(tone(2 * rate, rate=rate), rate=rate, form=form, subtype=subtype)
    samples = read_recording(audio, RATE)
    assert len(samples) == pytest.approx(2 * RATE, rel=0.06)  # mp3 pads
    middle = samples[RATE // 2 : RATE // 2 + RATE]
    assert np.abs(np.fft.rfft(middle)).argmax() == 440
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_channels_are_mixed() -> None:
    """Mono is their mean, also where a file is decoded in several blocks."""
    n_frames = recording._BLOCK_VALUES // 2 + 1000
    left = tone(n_frames)
    found = read_recording(sound_file(np.stack([left, 0 * left], axis=1)), RATE)
    np.testing.assert_allclose(found, left / 2, atol=1e-7)


@pytest.mark.parametrize("audio", [b"x", b"\0" * 5000, b"RIFF\0\0\0\0WAVE", b"fLaC" + b"x" * 50])
def test_no_audio_file(audio: bytes) -> None:
    """Bytes of another kind are refused with the decoder's reason, in one line."""
    message = problem(audio)
    assert message.startswith("cannot be decoded: ")
    assert "BytesIO" not in message
    assert "\n" not in message


def test_headerless_audio_is_not_guessed() -> None:
    """A file object may claim to be of raw samples; bytes never are."""
    assert problem(tone(RATE).tobytes()).startswith("cannot be decoded: ")


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_truncated_files(form: str) -> None:
    """Half of a file is half of the sound or none, and never another exception."""
    subtype = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS"}[form]
    audio = sound_file(tone(2 * RATE), form=form, subtype=subtype)
    for n_bytes in range(4, len(audio), len(audio) // 40):
        try:
            samples = read_recording(audio[:n_bytes], RATE)
        except InvalidRequestError:
            continue
        assert len(samples) <= 2 * RATE


def test_length_has_bounds() -> None:
    """The bounds themselves are allowed; what is beyond is told with them."""
    shortest = round(recording.MIN_S * RATE)
    assert len(read_recording(sound_file(tone(shortest)), RATE)) == shortest
    assert problem(sound_file(tone(shortest - 1))) == "is 0.20 s long; it must be 0.2 to 120 s"
    assert problem(sound_file(tone(441))) == "is 0.01 s long; it must be 0.2 to 120 s"
    assert "is 0.00 s long" in problem(sound_file(tone(0)))
    longest = sound_file(tone(120 * 8000, rate=8000), rate=8000, subtype="PCM_16")
    assert len(read_recording(longest, 8000)) == 120 * 8000
    longer = sound_file(tone(120 * 8000 + 1, rate=8000), rate=8000, subtype="PCM_16")
    assert problem(longer) == "is longer than 120 s; it must be 0.2 to 120 s"


@pytest.mark.parametrize("rate", [500, 1_000_000])
def test_rate_has_bounds(rate: int) -> None:
    """A rate that nobody records with is not resampled from."""
    message = problem(sound_file(tone(rate, rate=rate), rate=rate))
    assert message == f"has a sample rate of {rate} Hz; it must be 1000 to 768000"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
@pytest.mark.parametrize("rate", [RATE, 16_000])
def test_samples_must_be_finite(value: float, rate: int) -> None:
    """A broken float file does not reach the codec, not even through the resampler."""
    samples = np.stack([tone(rate, rate=rate)] * 2, axis=1)
    samples[1000] = value
    assert problem(sound_file(samples, rate=rate)) == "holds samples that are no finite numbers"


@pytest.mark.parametrize("gain", [0, 1e-5])
def test_silence_is_no_voice(gain: float) -> None:
    """Nothing to imitate is a mistake, not a voice."""
    assert problem(sound_file(np.float32(gain) * tone(RATE))) == "is silent"


def test_opposite_channels_are_silence() -> None:
    """What is refused is what the codec would be given."""
    assert problem(sound_file(np.stack([tone(RATE), -tone(RATE)], axis=1))) == "is silent"
