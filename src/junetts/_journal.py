"""What was heard: the text of an utterance, segment by segment, and how much of it was spoken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from junetts._report import SegmentReport, SegmentState, WordTime
from junetts._utterance import Segment


@dataclass(slots=True)
class _Entry:
    segment: Segment
    speakable: bool
    state: SegmentState = "unspoken"
    begun: list[tuple[str, int]] = field(default_factory=list)  # backend, character it began at
    start_sample: int = 0
    n_samples: int = 0
    continued_at: int = 0  # samples heard before the backend that speaks it now
    words: tuple[WordTime, ...] = ()
    words_before: tuple[WordTime, ...] = ()  # of those samples

    @property
    def backend(self) -> str | None:
        """Who speaks it, or has."""
        return self.begun[-1][0] if self.begun else None

    @property
    def is_done(self) -> bool:
        """Whether nothing of this segment remains to be said."""
        return self.state == "spoken" or not self.speakable


@dataclass(slots=True)
class Journal:
    """Keeps count of what the listener was handed.

    Pure: no clock, no I/O. Segments are added in order, as text becomes known; audio is entered
    when it is handed out, not when it is made. A segment is ``spoken`` only once all of its audio
    was handed out. ``spoken_text`` is the longest prefix of which nothing remains to be said.
    A segment that another backend begins anew is entered where it begins now; what was heard of
    it before counts in ``n_samples`` only. One that another backend continues keeps its
    beginning.
    """

    sample_rate: int
    n_samples: int = 0
    _entries: list[_Entry] = field(default_factory=list)

    def add(self, segment: Segment, *, speakable: bool) -> None:
        """Enter the next segment's text; unspeakable text needs no audio."""
        if segment.index != len(self._entries):
            raise ValueError(f"segment {segment.index} added as number {len(self._entries)}")
        self._entries.append(_Entry(segment, speakable))

    def heard(self, index: int, n_samples: int, *, backend: str, offset: int = 0) -> float:
        """Enter audio that is handed out now; returns where it starts, in seconds.

        ``offset`` is how many characters of the segment were spoken before this backend went on.
        """
        entry = self._entries[index]
        if entry.state != "speaking" or entry.backend != backend:
            self._begin(entry, backend, offset)
        start_s = self.n_samples / self.sample_rate
        entry.n_samples += n_samples
        self.n_samples += n_samples
        return start_s

    def _begin(self, entry: _Entry, backend: str, offset: int = 0) -> None:
        if entry.state not in ("unspoken", "speaking"):
            raise ValueError(f"segment {entry.segment.index} is already {entry.state}")
        entry.state = "speaking"
        entry.begun.append((backend, offset))
        if offset:
            heard_s = entry.n_samples / self.sample_rate
            entry.words_before = tuple(word for word in entry.words if word.end_s <= heard_s)
            entry.words = entry.words_before
            entry.continued_at = entry.n_samples
            return
        entry.start_sample = self.n_samples
        entry.n_samples = entry.continued_at = 0
        entry.words = entry.words_before = ()

    def words(self, index: int, words: tuple[WordTime, ...]) -> None:
        """Enter the word times of what its backend speaks; they replace that one's earlier ones."""
        entry = self._entries[index]
        shift_s = entry.continued_at / self.sample_rate
        entry.words = entry.words_before + tuple(_later(word, shift_s) for word in words)

    def ended(self, index: int, *, backend: str, truncated: bool = False, offset: int = 0) -> None:
        """Enter that all of the segment's audio was handed out."""
        entry = self._entries[index]
        if entry.state == "unspoken" or entry.backend != backend:
            self._begin(entry, backend, offset)
        entry.state = "truncated" if truncated else "spoken"

    def close(self) -> None:
        """Enter that nothing more will be heard."""
        for entry in self._entries:
            if entry.state == "speaking":
                entry.state = "abandoned"

    @property
    def is_truncated(self) -> bool:
        """Whether a backend ran into its token limit in any segment."""
        return any(entry.state == "truncated" for entry in self._entries)

    @property
    def spoken_text(self) -> str:
        """The text of which nothing remains to be said."""
        return "".join(entry.segment.text for entry in self._entries[: self._n_done()])

    @property
    def unspoken_text(self) -> str:
        """The rest of the text entered so far."""
        return "".join(entry.segment.text for entry in self._entries[self._n_done() :])

    def _n_done(self) -> int:
        return next(
            (i for i, entry in enumerate(self._entries) if not entry.is_done), len(self._entries)
        )

    def segments(self) -> tuple[SegmentReport, ...]:
        """One record per segment."""
        return tuple(map(self._segment_report, self._entries))

    def _segment_report(self, entry: _Entry) -> SegmentReport:
        return SegmentReport(
            index=entry.segment.index,
            text=entry.segment.text,
            state=entry.state if entry.speakable or entry.backend else "spoken",
            backend=entry.backend,
            start_s=entry.start_sample / self.sample_rate,
            duration_s=entry.n_samples / self.sample_rate,
            words=entry.words,
        )

    def bytes_begun(self) -> dict[str, int]:
        """UTF-8 bytes of the segments begun, by the backend that spoke them."""
        totals: dict[str, int] = {}
        for entry in self._entries:
            for backend, offset in entry.begun:
                n_bytes = len(entry.segment.text[offset:].encode("utf-8", "replace"))
                totals[backend] = totals.get(backend, 0) + n_bytes
        return totals


def _later(word: WordTime, shift_s: float) -> WordTime:
    if not shift_s:
        return word
    return replace(word, start_s=word.start_s + shift_s, end_s=word.end_s + shift_s)
