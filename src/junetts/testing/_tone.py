"""Speech-like sound for test servers: deterministic, audible, as long as its text."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile

SECONDS_PER_CHARACTER = 0.05
PITCH_HZ = 140.0
UNKNOWN_LENGTH = 0xFFFFFF00  # what the cloud's streamed WAV headers say, whatever the length


def speech_like(text: str, *, sample_rate: int) -> bytes:
    """Signed 16 bit little-endian mono: a voice's pitch and harmonics, swelling per character."""
    n_samples = int(len(text.strip()) * SECONDS_PER_CHARACTER * sample_rate)
    time_s = np.arange(n_samples) / sample_rate
    voice = sum(np.sin(2 * np.pi * PITCH_HZ * k * time_s) / k for k in (1, 2, 3, 4))
    swell = 0.6 + 0.4 * np.sin(np.pi * time_s / SECONDS_PER_CHARACTER)
    samples = np.asarray(0.25 * swell * voice * 32767).astype("<i2")
    samples[samples == 0] = 1
    return samples.tobytes()


def encoded(pcm: bytes, *, sample_rate: int, container: str) -> bytes:
    """PCM as the cloud would send it in ``pcm``, ``wav``, ``mp3`` or ``opus``."""
    if container == "pcm" or not pcm:
        return pcm
    if container == "wav":
        return wav_header(sample_rate) + pcm
    formats = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS")}
    file = io.BytesIO()
    kind, subtype = formats[container]
    samples = np.frombuffer(pcm, dtype="<i2")
    soundfile.write(file, samples, sample_rate, format=kind, subtype=subtype)
    return file.getvalue()


def wav_header(sample_rate: int) -> bytes:
    """A 44-byte header whose lengths mean "unknown"."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", UNKNOWN_LENGTH, b"WAVE", b"fmt ", 16, 1, 1),
        *(sample_rate, sample_rate * 2, 2, 16, b"data", UNKNOWN_LENGTH),
    )
