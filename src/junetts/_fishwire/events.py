"""What is said over Fish Audio's socket: one frozen value per event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Client: begin a session; ``request`` is a map of the fields of `CloudRequest`."""

    request: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Client: more text; fragments are concatenated as they are, spaces included."""

    text: str


@dataclass(frozen=True, slots=True)
class Flush:
    """Client: speak what is buffered now; the session stays open and nothing acknowledges it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Client: no more text; the server speaks the rest, then says `Finish`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedText:
    """When a word is heard, in seconds from the start of its chunk."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """All that is known of one chunk's words by now; the next one replaces it."""

    segments: tuple[AlignedText, ...]
    audio_duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Server: some bytes of speech, possibly none.

    Attributes:
        audio: the bytes, in the format that was asked for.
        time: the server's own measurement, as it gives it.
        content: the text that ``alignment`` describes.
        alignment: the words of chunk ``chunk_seq``; None says nothing new.
        chunk_seq: which chunk is described; says nothing about the bytes of this event.
        chunk_audio_offset_s: where that chunk begins, in seconds of the session's audio.
    """

    audio: bytes
    time: float | None = None
    content: str | None = None
    alignment: Alignment | None = None
    chunk_seq: int | None = None
    chunk_audio_offset_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Server: the session is over; only ``reason == "stop"`` is success."""

    reason: str
    time: float | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Server: the request failed, and the socket will be closed."""

    error: str
    max_concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Server: something for its own developers; ``fields`` is the rest of the message."""

    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """An event of a later protocol version, to be ignored."""

    event: str
    fields: Mapping[str, object]


ClientEvent = Start | Text | Flush | Stop
ServerEvent = Audio | Finish | Error | Log
Event = ClientEvent | ServerEvent | Unknown
