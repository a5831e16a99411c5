"""Events as bytes: byte by byte where the wire is documented, and what is refused."""

from __future__ import annotations

import ormsgpack
import pytest

from junetts._errors import InvalidRequestError, RemoteProtocolError
from junetts._fishwire.codec import decode, encode
from junetts._fishwire.events import (
    AlignedText,
    Alignment,
    Audio,
    Error,
    Event,
    Finish,
    Flush,
    Log,
    Start,
    Stop,
    Text,
    Unknown,
)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Stop(), b"\x81\xa5event\xa4stop"),
        (Flush(), b"\x81\xa5event\xa5flush"),
        (Text(text="Hi "), b"\x82\xa5event\xa4text\xa4text\xa3Hi "),
        (
            Start(request={"text": ""}),
            b"\x82\xa5event\xa5start\xa7request\x81\xa4text\xa0",
        ),
        (Audio(audio=b"\x01\x02"), b"\x82\xa5event\xa5audio\xa5audio\xc4\x02\x01\x02"),
        (Finish(reason="stop"), b"\x82\xa5event\xa6finish\xa6reason\xa4stop"),
    ],
)
def test_wire_form(event: Event, message: bytes) -> None:
    """Each event has exactly the bytes that the protocol documents."""
    assert encode(event) == message
    assert decode(message) == event


def test_reference_audio_is_binary() -> None:
    """A recording travels as MessagePack's bin type, never as text."""
    message = encode(Start(request={"references": [{"audio": b"RIFF", "text": "t"}]}))
    assert b"\xc4\x04RIFF" in message


def test_aligned_audio() -> None:
    """Word alignment is read from the names that the with-timestamp path uses."""
    message = ormsgpack.packb(
        {
            "event": "audio",
            "audio": b"",
            "time": 920,
            "content": "Hello there.",
            "alignment": {
                "segments": [{"text": "Hello", "start": 0, "end": 0.42}],
                "audio_duration": 0.86,
            },
            "chunk_seq": 1,
            "chunk_audio_offset_sec": 1.5,
        }
    )
    assert decode(message) == Audio(
        audio=b"",
        time=920,
        content="Hello there.",
        alignment=Alignment(
            segments=(AlignedText(text="Hello", start_s=0, end_s=0.42),), audio_duration_s=0.86
        ),
        chunk_seq=1,
        chunk_audio_offset_s=1.5,
    )


def test_null_fields_are_absent_ones() -> None:
    """A null alignment says as little as a missing one."""
    fields = {"event": "audio", "audio": b"x", "alignment": None, "time": None}
    assert decode(ormsgpack.packb(fields)) == Audio(audio=b"x")


def test_unknown_and_log_events_keep_their_fields() -> None:
    """What this version does not know is passed on, to be ignored."""
    assert decode(ormsgpack.packb({"event": "new", "x": 1})) == Unknown(
        event="new", fields={"x": 1}
    )
    assert decode(ormsgpack.packb({"event": "log", "x": 1})) == Log(fields={"x": 1})


def test_error_words_of_any_shape() -> None:
    """A failure told in an unexpected shape is still that failure."""
    assert decode(ormsgpack.packb({"event": "error", "error": {"code": 7}})) == Error(
        error="{'code': 7}"
    )


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"", "not MessagePack"),
        (b"\xc1", "not MessagePack"),
        (b"\xa2hi", "is str, not a map"),
        (b"\x80", "event is missing"),
        (ormsgpack.packb({"event": 5}), "event is int, not str"),
        (ormsgpack.packb({"event": "audio"}), "audio is missing, not bytes"),
        (ormsgpack.packb({"event": "audio", "audio": "x"}), "audio is str"),
        (ormsgpack.packb({"event": "audio", "audio": b"", "time": True}), "time is bool"),
        (ormsgpack.packb({"event": "audio", "audio": b"", "alignment": 1}), "alignment is int"),
        (
            ormsgpack.packb({"event": "audio", "audio": b"", "alignment": {}}),
            "alignment.segments is missing, not a list",
        ),
        (
            ormsgpack.packb({"event": "audio", "audio": b"", "alignment": {"segments": [{}]}}),
            "lacks its text",
        ),
        (ormsgpack.packb({"event": "audio", "audio": b"", "chunk_seq": 0.5}), "chunk_seq is float"),
        (ormsgpack.packb({"event": "text", "text": 1}), "text is int, not str"),
        (ormsgpack.packb({"event": "finish"}), "reason is missing"),
        (ormsgpack.packb({"event": "start"}), "request is missing"),
    ],
)
def test_refused_messages(message: bytes, words: str) -> None:
    """What breaks the protocol is named."""
    with pytest.raises(RemoteProtocolError, match=words):
        decode(message)


def test_text_that_is_no_unicode() -> None:
    """A lone surrogate cannot be sent, and the caller is told which field it was in."""
    with pytest.raises(InvalidRequestError, match="surrogates") as caught:
        encode(Text(text="\ud800"))
    assert caught.value.field == "text"
