"""What was heard: the text of an utterance, segment by segment, and how much of it was spoken."""

from __future__ import annotations

from dataclasses import dataclass, field

from junetts._report import SegmentReport, SegmentState, WordTime
from junetts._utterance import Segment


@dataclass(slots=True)
class _Entry:
    segment: Segment
    speakable: bool
    state: SegmentState = "unspoken"
    backends: list[str] = field(default_factory=list)  # that began it, one after another
    start_sample: int = 0
    n_samples: int = 0
    words: tuple[WordTime, ...] = ()

    @property
    def backend(self) -> str | None:
        """Who speaks it, or has."""
        return self.backends[-1] if self.backends else None

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
    it before counts in ``n_samples`` only.
    """

    sample_rate: int
    n_samples: int = 0
    _entries: list[_Entry] = field(default_factory=list)

    def add(self, segment: Segment, *, speakable: bool) -> None:
        """Enter the next segment's text; unspeakable text needs no audio."""
        if segment.index != len(self._entries):
            raise ValueError(f"segment {segment.index} added as number {len(self._entries)}")
        self._entries.append(_Entry(segment, speakable))

    def heard(self, index: int, n_samples: int, *, backend: str) -> float:
        """Enter audio that is handed out now; returns where it starts, in seconds."""
        entry = self._entries[index]
        if entry.state != "speaking" or entry.backend != backend:
            self._begin(entry, backend)
        start_s = self.n_samples / self.sample_rate
        entry.n_samples += n_samples
        self.n_samples += n_samples
        return start_s

    def _begin(self, entry: _Entry, backend: str) -> None:
        if entry.state not in ("unspoken", "speaking"):
            raise ValueError(f"segment {entry.segment.index} is already {entry.state}")
        entry.state = "speaking"
        entry.backends.append(backend)
        entry.start_sample = self.n_samples
        entry.n_samples = 0
        entry.words = ()

    def words(self, index: int, words: tuple[WordTime, ...]) -> None:
        """Enter the segment's word times; they replace earlier ones."""
        self._entries[index].words = words

    def ended(self, index: int, *, backend: str, truncated: bool = False) -> None:
        """Enter that all of the segment's audio was handed out."""
        entry = self._entries[index]
        if entry.state == "unspoken" or entry.backend != backend:
            self._begin(entry, backend)
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
            n_bytes = len(entry.segment.text.encode("utf-8", "replace"))
            for backend in entry.backends:
                totals[backend] = totals.get(backend, 0) + n_bytes
        return totals
