"""Events to and from MessagePack, the content of one binary WebSocket frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ormsgpack import MsgpackEncodeError, packb, unpackb

from junetts._errors import InvalidRequestError, RemoteProtocolError
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

Fields = dict[str, object]


def encode(event: Event) -> bytes:
    """The event as one message; fields that are None are left out.

    Raises:
        InvalidRequestError: if the event holds text or values that cannot be written.
    """
    try:
        return packb(_to_fields(event))
    except MsgpackEncodeError as error:
        raise InvalidRequestError(
            f"text cannot be sent as UTF-8 or a value is out of range: {error}", field="text"
        ) from error


def decode(message: bytes) -> Event:
    """The event that a message is.

    Raises:
        RemoteProtocolError: if it is not a map with an ``event``, or a field is of a wrong type.
    """
    try:
        fields = unpackb(message)
    except ValueError as error:
        raise RemoteProtocolError(f"a message is not MessagePack: {error}") from error
    if type(fields) is not dict:
        raise RemoteProtocolError(f"a message is {_kind(fields)}, not a map")
    name = fields.pop("event", None)
    if type(name) is not str:
        raise RemoteProtocolError(f"a message's event is {_kind(name)}, not str")
    read = _READERS.get(name)
    return Unknown(event=name, fields=fields) if read is None else read(fields)


def _to_fields(event: Event) -> Fields:
    match event:
        case Start():
            return {"event": "start", "request": dict(event.request)}
        case Text():
            return {"event": "text", "text": event.text}
        case Flush():
            return {"event": "flush"}
        case Stop():
            return {"event": "stop"}
        case Audio():
            return _audio_fields(event)
        case Finish():
            optional = _without_none(time=event.time, message=event.message)
            return {"event": "finish", "reason": event.reason, **optional}
        case Error():
            optional = _without_none(max_concurrency=event.max_concurrency)
            return {"event": "error", "error": event.error, **optional}
        case Log():
            return {**event.fields, "event": "log"}
        case Unknown():
            return {**event.fields, "event": event.event}


def _audio_fields(event: Audio) -> Fields:
    optional = _without_none(
        time=event.time,
        content=event.content,
        alignment=None if event.alignment is None else _alignment_fields(event.alignment),
        chunk_seq=event.chunk_seq,
        chunk_audio_offset_sec=event.chunk_audio_offset_s,
    )
    return {"event": "audio", "audio": event.audio, **optional}


def _alignment_fields(alignment: Alignment) -> Fields:
    words = [{"text": w.text, "start": w.start_s, "end": w.end_s} for w in alignment.segments]
    return {"segments": words, **_without_none(audio_duration=alignment.audio_duration_s)}


def _without_none(**fields: object) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def _read_audio(fields: Fields) -> Audio:
    audio = fields.get("audio")
    if type(audio) is not bytes:
        raise _wrong("audio", "bytes", audio)
    if len(fields) == 1:  # the common event, and the one whose cost counts
        return Audio(audio=audio)
    alignment = fields.get("alignment")
    return Audio(
        audio=audio,
        time=_number(fields, "time"),
        content=_text(fields, "content"),
        alignment=None if alignment is None else _read_alignment(alignment),
        chunk_seq=_integer(fields, "chunk_seq"),
        chunk_audio_offset_s=_number(fields, "chunk_audio_offset_sec"),
    )


def _read_alignment(value: object) -> Alignment:
    fields = _map("alignment", value)
    segments = fields.get("segments")
    if not isinstance(segments, list):
        raise _wrong("alignment.segments", "a list", segments)
    return Alignment(
        segments=tuple(map(_read_aligned_text, segments)),
        audio_duration_s=_number(fields, "audio_duration"),
    )


def _read_aligned_text(value: object) -> AlignedText:
    fields = _map("alignment.segments", value)
    text, start_s, end_s = _text(fields, "text"), _number(fields, "start"), _number(fields, "end")
    if text is None or start_s is None or end_s is None:
        raise RemoteProtocolError("an aligned word lacks its text, start or end")
    return AlignedText(text=text, start_s=start_s, end_s=end_s)


def _read_start(fields: Fields) -> Start:
    return Start(request=_map("request", fields.get("request")))


def _read_text(fields: Fields) -> Text:
    return Text(text=_required_text(fields, "text"))


def _read_finish(fields: Fields) -> Finish:
    return Finish(
        reason=_required_text(fields, "reason"),
        time=_number(fields, "time"),
        message=_text(fields, "message"),
    )


def _read_error(fields: Fields) -> Error:
    words = fields.get("error")
    # A failure is not worth less because it is told in an unexpected shape.
    return Error(
        error=words if isinstance(words, str) else str(words),
        max_concurrency=_integer(fields, "max_concurrency"),
    )


_READERS: Mapping[str, Callable[[Fields], Event]] = {
    "audio": _read_audio,
    "start": _read_start,
    "text": _read_text,
    "flush": lambda _: Flush(),
    "stop": lambda _: Stop(),
    "finish": _read_finish,
    "error": _read_error,
    "log": lambda fields: Log(fields=fields),
}


def _map(name: str, value: object) -> Fields:
    if not isinstance(value, dict):
        raise _wrong(name, "a map", value)
    return value


def _required_text(fields: Fields, name: str) -> str:
    value = _text(fields, name)
    if value is None:
        raise _wrong(name, "str", None)
    return value


def _text(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(name, "str", value)
    return value


def _number(fields: Fields, name: str) -> float | None:
    value = fields.get(name)
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    raise _wrong(name, "a number", value)


def _integer(fields: Fields, name: str) -> int | None:
    value = fields.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise _wrong(name, "a whole number", value)


def _wrong(name: str, wanted: str, value: object) -> RemoteProtocolError:
    return RemoteProtocolError(f"a message's {name} is {_kind(value)}, not {wanted}")


def _kind(value: object) -> str:
    return "missing" if value is None else type(value).__name__
