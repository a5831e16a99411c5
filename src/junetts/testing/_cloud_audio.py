"""What the loopback cloud says to a text, in which portions, and when its words are heard."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from junetts._fishwire.events import AlignedText, Alignment
from junetts._report import WordTime
from junetts.testing._tone import SECONDS_PER_CHARACTER, encoded, speech_like

AudioSource = bytes | Callable[[str, Mapping[str, object]], bytes]
Pace = Callable[[], Awaitable[object]]

DEFAULT_RATES = {"opus": 48_000}


@runtime_checkable
class TimedSource(Protocol):
    """An audio source that also tells when words are heard."""

    def __call__(self, text: str, request: Mapping[str, object]) -> bytes:
        """The audio for a text."""

    def words(self, text: str) -> tuple[WordTime, ...]:
        """The words, with times from the start of the text's audio."""

    def duration_s(self, text: str) -> float:
        """How long the text takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioScript:
    """What the server says to a text, and in which portions.

    Attributes:
        source: bytes for every text, or a function of the text and the request; None is
            speech-like sound in the format and at the rate that the request asks for.
            Word times are those of speech-like sound, or a `TimedSource`'s own.
        frame_bytes: size of one audio event.
        pace: awaited before each audio event, so that a test can hold them back.
    """

    source: AudioSource | None = None
    frame_bytes: int = 4096
    pace: Pace | None = None

    def audio(self, text: str, request: Mapping[str, object]) -> bytes:
        """The audio for a text."""
        if callable(self.source):
            return self.source(text, request)
        if self.source is not None:
            return self.source
        container, rate = str(request.get("format", "mp3")), sample_rate_of(request)
        pcm = speech_like(text, sample_rate=rate)
        return encoded(pcm, sample_rate=rate, container=container)

    def alignment(self, text: str, *, heard: float) -> Alignment:
        """The words that end within the first ``heard`` of a text."""
        if isinstance(self.source, TimedSource):
            return _known(self.source.words(text), heard * self.source.duration_s(text))
        return alignment(text, heard=heard)

    def frames(self, audio: bytes) -> list[bytes]:
        """The audio in portions."""
        return [audio[i : i + self.frame_bytes] for i in range(0, len(audio), self.frame_bytes)]


def sample_rate_of(request: Mapping[str, object]) -> int:
    """The rate that a request asks for or gets without asking."""
    rate = request.get("sample_rate")
    return rate if isinstance(rate, int) else DEFAULT_RATES.get(str(request.get("format")), 44_100)


def alignment(text: str, *, heard: float) -> Alignment:
    """The words that end within the first ``heard`` of a text, as `speech_like` times them."""
    start = len(text) - len(text.lstrip())
    words = tuple(
        WordTime(
            text=match.group(),
            start_s=(match.start() - start) * SECONDS_PER_CHARACTER,
            end_s=(match.end() - start) * SECONDS_PER_CHARACTER,
            provenance="aligned",
        )
        for match in re.finditer(r"\S+", text)
    )
    return _known(words, heard * len(text.strip()) * SECONDS_PER_CHARACTER)


def _known(words: tuple[WordTime, ...], heard_s: float) -> Alignment:
    """What the server tells once this much is heard."""
    known = tuple(
        AlignedText(text=word.text, start_s=word.start_s, end_s=word.end_s)
        for word in words
        if word.end_s <= heard_s + 1e-9
    )
    return Alignment(segments=known, audio_duration_s=heard_s)
