"""A recording to imitate as samples: decoded, mixed to mono, and checked for use."""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from junetts._errors import InvalidRequestError

MIN_S = 0.2
MAX_S = 120.0
MIN_PEAK = 1 / 32_768  # less is silence in 16 bit
_RATES = (1000, 768_000)  # in Hz; nobody records with others, and they would cost memory
_BLOCK_VALUES = 2**20  # decoded at a time: a file may claim any length and a thousand channels

Samples = NDArray[np.float32]


def read_recording(audio: bytes, sample_rate: int) -> Samples:
    """Decode an audio file of any format that libsndfile knows.

    Args:
        audio: the file's bytes.
        sample_rate: wanted, in Hz.

    Returns:
        Mono samples [n_samples] at that rate.

    Raises:
        InvalidRequestError: if it cannot be decoded, is shorter than 0.2 s or longer than 120 s,
            or holds no sound.
    """
    samples, rate = _decoded(audio)
    duration_s = len(samples) / rate
    if duration_s < MIN_S:
        raise _unusable(f"is {duration_s:.2f} s long; it must be {MIN_S:g} to {MAX_S:g} s")
    if np.abs(samples).max() < MIN_PEAK:
        raise _unusable("is silent")
    if rate != sample_rate:
        samples = soxr.resample(samples, rate, sample_rate)
    if not np.isfinite(samples).all():  # the wildest finite ones become infinite on the way
        raise _unusable("holds samples that are no finite numbers")
    return samples


def _decoded(audio: bytes) -> tuple[Samples, int]:
    try:
        with soundfile.SoundFile(io.BytesIO(audio)) as file:
            return _mono(file), file.samplerate
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: taken for headerless audio
        cause = error
    reason = getattr(cause, "error_string", "") or "its format is not recognised"
    raise _unusable(f"cannot be decoded: {reason.strip().rstrip('.')}") from cause


def _mono(file: soundfile.SoundFile) -> Samples:
    rate = file.samplerate
    if not _RATES[0] <= rate <= _RATES[1]:
        raise _unusable(f"has a sample rate of {rate} Hz; it must be {_RATES[0]} to {_RATES[1]}")
    n_frames = max(1, _BLOCK_VALUES // file.channels)
    blocks: list[Samples] = []
    n_read = 0
    while len(block := file.read(n_frames, dtype="float32", always_2d=True)):
        n_read += len(block)
        if n_read > MAX_S * rate:
            raise _unusable(f"is longer than {MAX_S:g} s; it must be {MIN_S:g} to {MAX_S:g} s")
        with np.errstate(all="ignore"):  # what is not finite is refused later
            blocks.append(block.mean(axis=1, dtype=np.float32))
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)


def _unusable(problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"voice.audio {problem}", field="voice.audio")
