"""Alignment snapshots becoming word times."""

from __future__ import annotations

from junetts._fishwire.events import AlignedText, Alignment, Audio
from junetts._fishwire.word_times import WordTimeline


def snapshot(*words: str, chunk: int, offset_s: float) -> Audio:
    """An event that tells of a chunk's words, one second each."""
    aligned = tuple(
        AlignedText(text=word, start_s=float(i), end_s=i + 0.5) for i, word in enumerate(words)
    )
    return Audio(
        audio=b"",
        alignment=Alignment(segments=aligned),
        chunk_seq=chunk,
        chunk_audio_offset_s=offset_s,
    )


def test_snapshots_replace() -> None:
    """A chunk's later snapshot replaces the earlier one; other chunks stay."""
    timeline = WordTimeline()
    timeline.update(snapshot("later", chunk=1, offset_s=2.0))
    timeline.update(snapshot("wrong", chunk=0, offset_s=0))
    words = timeline.update(snapshot("Hello", "there", chunk=0, offset_s=0))
    assert words is not None
    assert [(w.text, w.start_s, w.end_s) for w in words] == [
        ("Hello", 0.0, 0.5),
        ("there", 1.0, 1.5),
        ("later", 2.0, 2.5),
    ]
    assert {w.provenance for w in words} == {"aligned"}


def test_silence_erases_nothing() -> None:
    """An event without alignment says nothing new."""
    timeline = WordTimeline()
    timeline.update(snapshot("Hello", chunk=0, offset_s=0))
    assert timeline.update(Audio(audio=b"x", chunk_seq=0)) is None
    assert timeline.update(snapshot("more", chunk=1, offset_s=1)) is not None
