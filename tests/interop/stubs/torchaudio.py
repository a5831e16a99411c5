"""The three functions of torchaudio that a fish-speech server on a CPU calls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import BinaryIO

import soundfile
import soxr
import torch


def list_audio_backends() -> list[str]:
    """Return the names of the installed decoders."""
    return ["soundfile"]


def load(source: str | BinaryIO, backend: str = "soundfile") -> tuple[torch.Tensor, int]:
    """Return float32 samples [channel, sample] and the sample rate in Hz."""
    samples, sample_rate = soundfile.read(source, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), sample_rate


class Resample:
    """Converts float32 samples [channel, sample] from one sample rate to another."""

    def __init__(self, orig_freq: int, new_freq: int) -> None:
        self._orig_freq = orig_freq
        self._new_freq = new_freq

    def __call__(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the samples at the new rate."""
        resampled = soxr.resample(waveform.numpy().T, self._orig_freq, self._new_freq)
        return torch.from_numpy(resampled.T.copy())


transforms = SimpleNamespace(Resample=Resample)
