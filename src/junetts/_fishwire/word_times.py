"""Alignment snapshots, put together into the words of one session."""

from __future__ import annotations

from junetts._fishwire.events import Alignment, Audio
from junetts._report import WordTime


class WordTimeline:
    """The words of one session, as far as they are known.

    Guarantees: a chunk's snapshot replaces the one before it, and silence about a chunk erases
    nothing; times are seconds from the start of the session's audio.
    """

    def __init__(self) -> None:
        self._by_chunk: dict[int, tuple[WordTime, ...]] = {}

    def update(self, event: Audio) -> tuple[WordTime, ...] | None:
        """All words known by now, or None if the event tells nothing about them."""
        if event.alignment is None:
            return None
        words = _placed(event.alignment, offset_s=event.chunk_audio_offset_s or 0.0)
        self._by_chunk[event.chunk_seq or 0] = words
        return tuple(word for chunk in sorted(self._by_chunk) for word in self._by_chunk[chunk])


def _placed(alignment: Alignment, *, offset_s: float) -> tuple[WordTime, ...]:
    return tuple(
        WordTime(
            text=word.text,
            start_s=offset_s + word.start_s,
            end_s=offset_s + word.end_s,
            provenance="aligned",
        )
        for word in alignment.segments
    )
