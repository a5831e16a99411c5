"""Sounds that the tests send and compare."""

from __future__ import annotations

import io
import wave

import numpy as np


def sine_wav(*, radians_per_sample: float = 0.1) -> bytes:
    """Return half a second of a tone, a reference clip."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        tone = 8000 * np.sin(np.arange(8000) * radians_per_sample)
        file.writeframes(tone.astype("<i2").tobytes())
    return buffer.getvalue()


def pcm_of(wav: bytes) -> bytes:
    """Return the samples of a WAV file, after a look at its format."""
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 44100)
        return file.readframes(file.getnframes())
