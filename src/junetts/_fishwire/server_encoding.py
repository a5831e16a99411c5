"""Requests to ``/v1/tts`` as bytes: msgpack, JSON or a form."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Literal

import ormsgpack

from junetts._errors import InvalidRequestError
from junetts._fishwire.multipart import Part, read_form, write_form
from junetts._fishwire.server_request import ServerRequest
from junetts._utterance import ReferenceClip

Encoding = Literal["msgpack", "json", "multipart"]

MAX_PLAIN_CHARACTERS = 255  # the server takes longer audio text for base64, shorter for a file name
_CLIP, _CLIP_TEXT = "reference_audio", "reference_text"
_DEFAULTS = ServerRequest()


def encode(request: ServerRequest, encoding: Encoding) -> tuple[str, bytes]:
    """The content type and the body.

    Raises:
        InvalidRequestError: if this encoding cannot carry the request; msgpack always can.
    """
    return _ENCODERS[encoding](request)


def _msgpack(request: ServerRequest) -> tuple[str, bytes]:
    clips = [{"audio": clip.audio, "text": clip.text} for clip in request.references]
    return "application/msgpack", ormsgpack.packb(_plain(request) | {"references": clips})


def _json(request: ServerRequest) -> tuple[str, bytes]:
    clips = [{"audio": _base64(clip), "text": clip.text} for clip in request.references]
    text = json.dumps(_plain(request) | {"references": clips}, ensure_ascii=False)
    return "application/json", text.encode()


def _base64(clip: ReferenceClip) -> str:
    text = base64.b64encode(clip.audio).decode()
    if len(text) <= MAX_PLAIN_CHARACTERS:
        raise InvalidRequestError(
            f"voice.audio is too short for JSON: its {len(clip.audio)} bytes are {len(text)} "
            f"characters in base64, and the server reads no fewer than {MAX_PLAIN_CHARACTERS + 1}",
            field="voice.audio",
            hint='set server.encoding to "msgpack"',
        )
    return text


def _multipart(request: ServerRequest) -> tuple[str, bytes]:
    """Only what differs from the defaults: servers of this dialect know few fields."""
    if len(request.references) > 1:
        raise InvalidRequestError(
            f"voice.clips must hold one recording, not {len(request.references)}, "
            'where server.encoding is "multipart"',
            field="voice.clips",
            hint='set server.encoding to "msgpack"',
        )
    return write_form(_parts(request))


def _parts(request: ServerRequest) -> Iterator[Part]:
    for name, value in _plain(request).items():
        if name in ("text", "streaming") or value != getattr(_DEFAULTS, name):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield Part(name=name, content=text.encode())
    for clip in request.references:
        yield Part(name=_CLIP, content=clip.audio, is_file=True)
        yield Part(name=_CLIP_TEXT, content=clip.text.encode())


def _plain(request: ServerRequest) -> dict[str, object]:
    """All fields but the recordings; what is not set is left out."""
    names = (field.name for field in fields(request) if field.name != "references")
    values = {name: getattr(request, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


_ENCODERS: Mapping[Encoding, Callable[[ServerRequest], tuple[str, bytes]]] = {
    "msgpack": _msgpack,
    "json": _json,
    "multipart": _multipart,
}


_UNPACKERS: Mapping[str, Callable[[bytes], object]] = {
    "application/msgpack": ormsgpack.unpackb,
    "application/json": json.loads,
}


def decode(content_type: str, body: bytes) -> ServerRequest:
    """The request that a body encodes; fields that the server does not know are ignored.

    Raises:
        InvalidRequestError: if it is malformed or breaks the schema.
    """
    return request_of(decode_fields(content_type, body))


def decode_fields(content_type: str, body: bytes) -> dict[str, object]:
    """The fields of a body as they were written, recordings as ``{audio: bytes, text}``.

    Raises:
        InvalidRequestError: if the body is malformed.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _form_fields(read_form(content_type, body))
    unpack = _UNPACKERS.get(kind)
    if unpack is None:
        raise InvalidRequestError(f"no such content type: {kind!r:.80}", field="content-type")
    try:
        decoded = unpack(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(
            f"the body is not {kind}: {error!s:.200}", field="body"
        ) from error
    if not isinstance(decoded, dict):
        raise InvalidRequestError(f"the body must be a map, not {type(decoded).__name__}")
    return decoded


def request_of(values: Mapping[str, object]) -> ServerRequest:
    """The request with these fields.

    Raises:
        InvalidRequestError: if they break the schema.
    """
    known = {f.name: values[f.name] for f in fields(ServerRequest) if f.name in values}
    if "text" not in known:
        raise InvalidRequestError("text must be given", field="text")
    known["references"] = _clips(known.get("references", []))
    return ServerRequest(**known)  # type: ignore[arg-type]  # checked on construction


def _clips(value: object) -> tuple[ReferenceClip, ...]:
    if not isinstance(value, list):
        raise InvalidRequestError("references must be a list", field="references")
    return tuple(_clip(item) for item in value)


def _clip(item: object) -> ReferenceClip:
    if not isinstance(item, dict):
        raise InvalidRequestError("references must hold maps", field="references")
    audio = item.get("audio")
    if isinstance(audio, str):
        audio = _from_base64(audio)
    return ReferenceClip(audio=audio, text=item.get("text"))  # type: ignore[arg-type]  # checks


def _from_base64(text: str) -> bytes:
    if len(text) > MAX_PLAIN_CHARACTERS:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass  # the server does not insist either
    return text.encode("utf-8", "replace")


def _form_fields(parts: tuple[Part, ...]) -> dict[str, object]:
    """A form's fields, with text where the schema has other types made into those."""
    values: dict[str, object] = {}
    clip: dict[str, object] = {"text": ""}
    for part in parts:
        if part.name == _CLIP:
            clip["audio"] = part.content
        elif part.name == _CLIP_TEXT:
            clip["text"] = part.content.decode("utf-8", "replace")
        else:
            values[part.name] = _typed(part)
    return values | ({"references": [clip]} if "audio" in clip else {})


def _typed(part: Part) -> object:
    text = part.content.decode("utf-8", "replace")
    default = getattr(_DEFAULTS, part.name, None)
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if isinstance(default, int) or part.name == "seed":
            return int(text)
        return float(text) if isinstance(default, float) else text
    except (KeyError, ValueError):
        return text  # for the schema to refuse
