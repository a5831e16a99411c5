"""Where one voice breaks off and another goes on: no click, and no jump in loudness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from junetts._backend import BackendAudio
from junetts._loudness import LoudnessMatch, LoudnessTail

FADE_S = 0.005
MATCHING_FADE_S = 0.03  # while a voice that is too loud is being lowered


class Seam:
    """Joins what one backend after another says, in canonical PCM.

    Guarantees: audio passes unchanged until there is a seam; after one it rises out of silence,
    and approaches the loudness of what was heard before; samples do not depend on how they are
    cut, and none is held back.
    """

    def __init__(self, *, matches_loudness: bool) -> None:
        self._matches_loudness = matches_loudness
        self._sample_rate = 0
        self._tail: LoudnessTail | None = None
        self._match: LoudnessMatch | None = None
        self._target_dbfs: float | None = None
        self._fade: FadeIn | None = None

    def joined(self, item: BackendAudio) -> BackendAudio:
        """The item, its audio as the listener is to hear it."""
        if self._match is not None or self._fade is not None:
            item = replace(item, data=self._adapted(item.data))
        if self._tail is not None:
            self._tail.heard(item.data)
        elif not self._sample_rate:
            self._begin(item)
        return item

    def last(self, item: BackendAudio) -> BackendAudio:
        """What leads from the last sample of an item, as it was heard, to silence."""
        return replace(item, data=fade_out(item.data, sample_rate=self._sample_rate), words=None)

    def join(self) -> None:
        """Say that another backend speaks from here on."""
        level_dbfs = None if self._tail is None else self._tail.level()
        self._target_dbfs = self._target_dbfs if level_dbfs is None else level_dbfs
        if self._target_dbfs is not None:
            self._match = LoudnessMatch(
                target_dbfs=self._target_dbfs, sample_rate=self._sample_rate
            )
        fade_s = FADE_S if self._match is None else MATCHING_FADE_S
        self._fade = FadeIn(sample_rate=self._sample_rate, fade_s=fade_s)

    def _begin(self, item: BackendAudio) -> None:
        self._sample_rate = item.format.sample_rate
        if self._matches_loudness:
            self._tail = LoudnessTail(sample_rate=self._sample_rate)
            self._tail.heard(item.data)

    def _adapted(self, pcm: bytes) -> bytes:
        if self._match is not None:
            pcm = self._match.apply(pcm)
        if self._fade is not None:
            pcm = self._fade.apply(pcm)
            if self._fade.is_over:
                self._fade = None
        return pcm


def fade_out(pcm: bytes, *, sample_rate: int) -> bytes:
    """A tail that leads from the last sample of s16le audio to silence."""
    last = int.from_bytes(pcm[-2:], "little", signed=True)
    slope = np.linspace(1.0, 0.0, int(FADE_S * sample_rate) + 1)[1:]
    return np.rint(last * slope).astype("<i2").tobytes()


class FadeIn:
    """Raises the first milliseconds of s16le audio out of silence, however they are cut."""

    def __init__(self, *, sample_rate: int, fade_s: float = FADE_S) -> None:
        self._slope = np.linspace(0.0, 1.0, int(fade_s * sample_rate) + 1)[:-1]

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
