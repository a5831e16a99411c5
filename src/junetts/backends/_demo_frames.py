"""What the demo voice and its child process say to each other: length-prefixed frames."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

MAX_PAYLOAD_BYTES = 2**26  # far above any text or buffer: a larger length is garbage, not a frame

_HEADER = struct.Struct("<BII")  # kind, request, length of the payload
_RATE = struct.Struct("<H")
_WORD = struct.Struct("<III")


class Kind(IntEnum):
    """What a frame says; ``SPEAK`` and ``CANCEL`` go to the child, the others come from it."""

    SPEAK = 1  # a `SpeakRequest`
    CANCEL = 2  # stop this request, or forget it if it has not begun
    READY = 3  # UTF-8: sample rate and version, then one voice a line
    BROKEN = 4  # UTF-8: why the library cannot be used
    AUDIO = 5  # s16le mono
    WORDS = 6  # `WordEvent`s, one after another
    DONE = 7  # the request is over: spoken, or cancelled
    REFUSED = 8  # UTF-8: why the request was not spoken


class Frame(NamedTuple):
    """One message; ``request`` says which request it belongs to, 0 for none."""

    kind: Kind
    request: int
    payload: bytes = b""


class SpeakRequest(NamedTuple):
    """Text to speak, the voice's identifier and the pace in words per minute."""

    text: str
    voice: str
    words_per_minute: int


class WordEvent(NamedTuple):
    """A word begins: its first character, its length in characters, its first sample.

    With a length of 0 it is a pause that begins.
    """

    position: int
    length: int
    sample: int


def encode_frame(frame: Frame) -> bytes:
    """The bytes of a frame."""
    return _HEADER.pack(frame.kind, frame.request, len(frame.payload)) + frame.payload


class FrameDecoder:
    """Turns bytes back into frames, however the bytes were cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes.

        Raises:
            ValueError: the bytes are not frames; the decoder is of no use any more.
        """
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            kind, request, length = _HEADER.unpack_from(self._buffer, start)
            if length > MAX_PAYLOAD_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            end = start + _HEADER.size + length
            if end > len(self._buffer):
                break
            payload = bytes(self._buffer[start + _HEADER.size : end])
            frames.append(Frame(Kind(kind), request, payload))
            start = end
        del self._buffer[:start]
        return frames


def encode_request(request: SpeakRequest) -> bytes:
    """The payload of ``SPEAK``; text and voice must hold no NUL and no lone surrogate."""
    voice = request.voice.encode()
    return _RATE.pack(request.words_per_minute) + voice + b"\0" + request.text.encode()


def decode_request(payload: bytes) -> SpeakRequest:
    """The inverse of `encode_request`."""
    (words_per_minute,) = _RATE.unpack_from(payload)
    voice, _, text = payload[_RATE.size :].partition(b"\0")
    return SpeakRequest(text.decode(), voice.decode(), words_per_minute)


def encode_words(words: list[WordEvent]) -> bytes:
    """The payload of ``WORDS``."""
    return b"".join(_WORD.pack(*word) for word in words)


def decode_words(payload: bytes) -> list[WordEvent]:
    """The inverse of `encode_words`."""
    return [WordEvent(*fields) for fields in _WORD.iter_unpack(payload)]
