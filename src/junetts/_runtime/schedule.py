"""How many frames to collect before they are decoded and handed out."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

SLOW_CHUNK = 4  # where gaps cannot be avoided: most of what decoding together saves
SAFETY = 0.5  # of the audio that the listener still has, what a chunk's making may use up


class ChunkSchedule:
    """Chunks of 1, 2, 4, 8, 16 frames: early sound first, cheap decoding later.

    Guarantees: the first chunk is one frame; a chunk is at most twice as long as the one before
    and at most ``max_frames``; and no chunk is longer than what can be made, at the speed
    measured so far, in half of the time that the listener's buffer lasts. Where speech is made
    slower than it is spoken there is no such buffer: chunks of four frames then end sooner.

    Args:
        frame_s: duration of one frame of audio, in seconds.
        max_frames: of the longest chunk.
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, frame_s: float, max_frames: int = 16, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._frame_s = frame_s
        self._max_frames = max_frames
        self._clock = clock
        self._last = 0  # frames in the last chunk
        self._handed_out_s = 0.0
        self._playing_since = 0.0
        self._n_made = 0
        self._making_s = 0.0
        self._made_at: float | None = None

    def pause(self) -> None:
        """Making stopped, for want of text or of a listener's room; that time does not count."""
        self._made_at = None

    def made(self) -> None:
        """One more frame has been made."""
        now = self._clock()
        if self._made_at is not None:
            self._making_s += now - self._made_at
            self._n_made += 1
        self._made_at = now

    def is_due(self, n_frames: int) -> bool:
        """Whether the frames that wait are to be handed out now."""
        return n_frames >= self._wanted()

    def handed_out(self, n_frames: int) -> None:
        """A chunk has gone to the listener."""
        now = self._clock()
        if self._buffered_s(now) <= 0:  # the first chunk, or the listener ran dry
            self._playing_since, self._handed_out_s = now, 0.0
        self._handed_out_s += n_frames * self._frame_s
        self._last = n_frames

    def _wanted(self) -> int:
        """Frames of the next chunk."""
        grown = min(2 * self._last, self._max_frames)
        if self._n_made == 0:
            return max(1, grown)
        seconds_per_frame = self._making_s / self._n_made
        if seconds_per_frame > self._frame_s:
            return max(1, min(grown, SLOW_CHUNK))
        spare_s = SAFETY * self._buffered_s(self._clock())
        affordable = int(spare_s / seconds_per_frame) if seconds_per_frame > 0 else grown
        return max(1, min(grown, affordable))

    def _buffered_s(self, now: float) -> float:
        """Audio that the listener has not heard yet, if it is played as it comes."""
        return self._handed_out_s - (now - self._playing_since)
