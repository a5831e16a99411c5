"""What fish-speech 2.0 answers to each request, without sockets."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import ormsgpack

from junetts._errors import InvalidRequestError
from junetts._fishwire.multipart import Part, read_form
from junetts._fishwire.server_encoding import decode_fields, request_of
from junetts._fishwire.server_request import ServerRequest, is_reference_id
from junetts._utterance import ReferenceClip
from junetts.testing._tone import encoded, speech_like
from junetts.testing.server_call import ServerAnswer

SAMPLE_RATE = 44_100
BYTES_PER_FRAME = 4096
MAX_PROMPT_BYTES = 2048  # the server counts tokens; with its smallest tokenizer they are bytes

Audio = bytes | Callable[[ServerRequest], bytes]
References = dict[str, tuple[ReferenceClip, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request as the routes need it; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """Of the body."""
        return self.headers.get("content-type", "")


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: object) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def answer(self) -> ServerAnswer:
        """The error as fish-speech words it."""
        if isinstance(self.message, list):
            return _json(self.message, self.status)
        phrase = HTTPStatus(self.status).phrase
        body = {"statusCode": self.status, "message": self.message, "error": phrase}
        return _json(body, self.status)


@dataclass(slots=True, kw_only=True)
class FishRoutes:
    """The routes and the state behind them.

    ``references`` are the directories of voices; one without recordings is not listed.
    ``audio`` is PCM for every text, or a function of the request.
    """

    api_key: str = ""
    audio: Audio | None = None
    chunk_bytes: int | None = None
    references: References = field(default_factory=dict)

    def answer(self, arrival: Arrival) -> ServerAnswer:
        """The answer to one request."""
        try:
            self._require_key(arrival)
            return self._route(arrival)(arrival)
        except RefusedError as refused:
            return refused.answer()

    def _require_key(self, arrival: Arrival) -> None:
        if self.api_key and arrival.headers.get("authorization") != f"Bearer {self.api_key}":
            raise RefusedError(401, "Invalid token")

    def _route(self, arrival: Arrival) -> Callable[[Arrival], ServerAnswer]:
        routes: dict[str, dict[str, Callable[[Arrival], ServerAnswer]]] = {
            "/v1/health": {"GET": self._health, "POST": self._health},
            "/v1/tts": {"POST": self._speak},
            "/v1/references/list": {"GET": self._list},
            "/v1/references/add": {"POST": self._add},
            "/v1/references/delete": {"DELETE": self._delete},
            "/v1/references/update": {"POST": self._rename},
        }
        methods = routes.get(arrival.path)
        if methods is None:
            raise RefusedError(404, "Not Found")
        if arrival.method not in methods:
            raise RefusedError(405, "Method Not Allowed")
        return methods[arrival.method]

    def _health(self, _: Arrival) -> ServerAnswer:
        return _json({"status": "ok"})

    def _speak(self, arrival: Arrival) -> ServerAnswer:
        request = _tts_request(arrival)
        if request.reference_id is not None:
            self.references.setdefault(request.reference_id, ())  # as the real one does
        is_too_long = len(request.text.encode()) > MAX_PROMPT_BYTES
        if is_too_long and not request.streaming:
            n_bytes = len(request.text.encode())
            raise RefusedError(500, f"Prompt is too long: {n_bytes} > {MAX_PROMPT_BYTES}")
        chunks = () if is_too_long else self._chunks(request)
        media_type = "audio/mpeg" if request.format == "mp3" else "audio/wav"
        headers = {
            "Content-Type": media_type,
            "Content-Disposition": f"attachment; filename=audio.{request.format}",
        }
        return ServerAnswer(headers=headers, chunks=chunks, is_cut_off=is_too_long)

    def _chunks(self, request: ServerRequest) -> tuple[bytes, ...]:
        pcm = self._pcm(request)
        if request.format == "mp3":
            pcm = encoded(pcm, sample_rate=SAMPLE_RATE, container="mp3")
        elif not request.streaming:
            pcm = _wav(pcm)
        size = self.chunk_bytes or len(pcm) or 1
        return tuple(pcm[i : i + size] for i in range(0, len(pcm), size))

    def _pcm(self, request: ServerRequest) -> bytes:
        limit = (request.max_new_tokens - 1) * BYTES_PER_FRAME
        if callable(self.audio):
            return self.audio(request)
        if self.audio is not None:
            return self.audio
        return speech_like(request.text, sample_rate=SAMPLE_RATE)[:limit]

    def _list(self, arrival: Arrival) -> ServerAnswer:
        ids = sorted(name for name, clips in self.references.items() if clips)
        message = f"Found {len(ids)} reference voices"
        return _result({"success": True, "reference_ids": ids, "message": message}, arrival)

    def _add(self, arrival: Arrival) -> ServerAnswer:
        parts = {part.name: part.content for part in _form(arrival)}
        name = _id(parts.get("id", b"").decode())
        if name in self.references:
            return _failed(f"Reference ID '{name}' already exists", arrival, 409)
        try:
            clip = ReferenceClip(audio=parts.get("audio", b""), text=parts["text"].decode())
        except (InvalidRequestError, KeyError):
            return _failed("Audio file is empty or could not be read", arrival, 400)
        self.references[name] = (clip,)
        return _done(f"Reference voice '{name}' added successfully", arrival)

    def _delete(self, arrival: Arrival) -> ServerAnswer:
        name = _id(_fields(arrival).get("reference_id"))
        if self.references.pop(name, None) is None:
            return _failed(f"Reference ID '{name}' not found", arrival, 404)
        return _done(f"Reference voice '{name}' deleted successfully", arrival)

    def _rename(self, arrival: Arrival) -> ServerAnswer:
        values = _fields(arrival)
        old, new = _id(values.get("old_reference_id")), _id(values.get("new_reference_id"))
        if old not in self.references:
            return _failed(f"Reference ID '{old}' not found", arrival, 404)
        if new in self.references:
            return _failed(f"Reference ID '{new}' already exists", arrival, 409)
        self.references[new] = self.references.pop(old)
        return _done(f"Reference voice renamed to '{new}'", arrival)


def _tts_request(arrival: Arrival) -> ServerRequest:
    values = _fields(arrival)
    container, is_streaming = values.get("format", "wav"), values.get("streaming", False)
    if is_streaming is True and container != "wav":
        raise RefusedError(400, "Streaming only supports WAV format")
    if container in ("pcm", "opus"):
        raise RefusedError(500, "Failed to generate speech")
    if values.get("max_new_tokens") == 1:
        raise RefusedError(500, "Failed to generate speech")
    bounded = {"chunk_length": ServerRequest().chunk_length}  # its bounds are not enforced
    try:
        return request_of(values | bounded)
    except InvalidRequestError as error:
        complaint = {"loc": [error.field], "type": "value_error", "msg": error.message}
        raise RefusedError(422, [complaint]) from error


def _fields(arrival: Arrival) -> dict[str, object]:
    kind = arrival.content_type.partition(";")[0].strip()
    statuses = {"application/json": 400, "application/msgpack": 500, "multipart/form-data": 400}
    try:
        return decode_fields(arrival.content_type, arrival.body)
    except InvalidRequestError as error:
        raise RefusedError(statuses.get(kind, 415), error.message) from error


def _form(arrival: Arrival) -> tuple[Part, ...]:
    try:
        return read_form(arrival.content_type, arrival.body)
    except InvalidRequestError as error:
        raise RefusedError(400, error.message) from error


def _id(value: object) -> str:
    if not isinstance(value, str) or not is_reference_id(value):
        raise RefusedError(400, "Reference ID contains invalid characters or is too long")
    return value


def _done(message: str, arrival: Arrival) -> ServerAnswer:
    return _result({"success": True, "message": message}, arrival)


def _failed(message: str, arrival: Arrival, status: int) -> ServerAnswer:
    return _result({"success": False, "message": message}, arrival, status)


def _result(value: Mapping[str, object], arrival: Arrival, status: int = 200) -> ServerAnswer:
    """A reference route's answer: msgpack, unless JSON is asked for."""
    if "application/json" in arrival.headers.get("accept", ""):
        return _json(value, status)
    headers = {"Content-Type": "application/msgpack"}
    return ServerAnswer(status=status, headers=headers, chunks=(ormsgpack.packb(value),))


def _json(value: object, status: int = 200) -> ServerAnswer:
    headers = {"Content-Type": "application/json"}
    return ServerAnswer(status=status, headers=headers, chunks=(json.dumps(value).encode(),))


def _wav(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(pcm)
    return file.getvalue()
