"""Where one voice breaks off and another begins: no click at either side."""

from __future__ import annotations

import numpy as np

FADE_S = 0.005


def fade_out(pcm: bytes, *, sample_rate: int) -> bytes:
    """A tail that leads from the last sample of s16le audio to silence."""
    last = int.from_bytes(pcm[-2:], "little", signed=True)
    slope = np.linspace(1.0, 0.0, int(FADE_S * sample_rate) + 1)[1:]
    return np.rint(last * slope).astype("<i2").tobytes()


class FadeIn:
    """Raises the first milliseconds of s16le audio out of silence, however they are cut."""

    def __init__(self, *, sample_rate: int) -> None:
        self._slope = np.linspace(0.0, 1.0, int(FADE_S * sample_rate) + 1)[:-1]

    @property
    def is_over(self) -> bool:
        """Whether audio passes unchanged from here on."""
        return not len(self._slope)

    def apply(self, pcm: bytes) -> bytes:
        """The next piece, quieter than it was as long as the fade lasts."""
        samples = np.frombuffer(pcm, "<i2").copy()
        slope, self._slope = self._slope[: len(samples)], self._slope[len(samples) :]
        samples[: len(slope)] = np.rint(samples[: len(slope)] * slope)
        return samples.tobytes()
