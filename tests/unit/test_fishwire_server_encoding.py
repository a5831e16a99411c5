"""Requests to ``/v1/tts`` as bytes."""

from __future__ import annotations

import json

import ormsgpack
import pytest

from junetts._errors import InvalidRequestError
from junetts._fishwire.multipart import Part, read_form, write_form
from junetts._fishwire.server_encoding import decode, decode_fields, encode, request_of
from junetts._fishwire.server_request import ServerRequest
from junetts._utterance import ReferenceClip

CLIP = ReferenceClip(audio=bytes(range(256)), text="Ünïcode.")
SHORT = ReferenceClip(audio=b"RIFF", text="Short.")


def test_msgpack_carries_bytes_and_strict_floats() -> None:
    """References are bytes, floats floats, and what is not set is absent."""
    content_type, body = encode(
        ServerRequest(text="Hi.", references=(SHORT,), temperature=1, streaming=True), "msgpack"
    )
    fields = ormsgpack.unpackb(body)
    assert content_type == "application/msgpack"
    assert fields["references"] == [{"audio": b"RIFF", "text": "Short."}]
    assert isinstance(fields["temperature"], float)
    assert fields["streaming"] is True
    assert not {"seed", "reference_id"} & set(fields)


def test_json_carries_base64_and_plain_unicode() -> None:
    """References are base64, and floats keep their point."""
    content_type, body = encode(
        ServerRequest(text="Grüße.", references=(CLIP,), temperature=1), "json"
    )
    assert content_type == "application/json"
    assert "Grüße." in body.decode()
    assert b'"temperature": 1.0' in body
    assert len(json.loads(body)["references"][0]["audio"]) == 344


def test_json_refuses_a_recording_that_the_server_would_take_for_a_file_name() -> None:
    """Up to 255 characters of base64 are not decoded by the server."""
    with pytest.raises(InvalidRequestError, match="too short for JSON") as caught:
        encode(ServerRequest(text="Hi.", references=(SHORT,)), "json")
    assert "msgpack" in (caught.value.hint or "")
    just_short = ReferenceClip(audio=b"x" * 189, text="")  # 252 characters
    with pytest.raises(InvalidRequestError):
        encode(ServerRequest(references=(just_short,)), "json")
    just_long = ReferenceClip(audio=b"x" * 190, text="")  # 256 characters
    assert encode(ServerRequest(references=(just_long,)), "json")


def test_a_form_holds_little_more_than_text_and_recording() -> None:
    """Wrappers know ``text``, ``streaming`` and ``reference_audio``; the rest only if it is set."""
    content_type, body = encode(
        ServerRequest(text="Hi.", references=(SHORT,), streaming=True, seed=3), "multipart"
    )
    assert read_form(content_type, body) == (
        Part(name="text", content=b"Hi."),
        Part(name="seed", content=b"3"),
        Part(name="streaming", content=b"true"),
        Part(name="reference_audio", content=b"RIFF", is_file=True),
        Part(name="reference_text", content=b"Short."),
    )
    assert b'filename="reference_audio"\r\nContent-Type: application/octet-stream' in body


def test_a_form_holds_one_recording() -> None:
    """A second recording has no place, and is not left out silently."""
    with pytest.raises(InvalidRequestError, match="one recording, not 2") as caught:
        encode(ServerRequest(references=(SHORT, CLIP)), "multipart")
    assert caught.value.field == "voice.clips"


def test_a_form_bounds_any_content() -> None:
    """The boundary occurs in no part, not even in one that holds an older form."""
    _, inner = write_form([Part(name="a", content=b"\r\n--x\r\n")])
    content_type, body = write_form([Part(name="b", content=inner)])
    assert read_form(content_type, body) == (Part(name="b", content=inner),)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b"--x\r\nno end"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nnameless\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nname\r\n--x--\r\n"),
        ("application/json", b"{"),
        ("application/json", b"\xff"),
        ("application/json", b"[]"),
        ("application/json", b"[" * 100_000),
        ("application/json", b"1" * 5000),
        ("application/msgpack", b"\xc1"),
        ("application/msgpack", b"\x01"),
        ("text/plain", b"{}"),
        ("application/json", b"{}"),
        ("application/json", b'{"text": "", "references": null}'),
        ("application/json", b'{"text": "", "references": [1]}'),
        ("application/json", b'{"text": "", "references": [{"audio": "", "text": ""}]}'),
        ("application/json", b'{"text": "", "references": [{"audio": "a"}]}'),
        ("application/json", b'{"text": "", "temperature": "0.8"}'),
        ("multipart/form-data; boundary=x", b'--x\r\nA: b; name="text"\r\n\r\n\xff\r\n--x'),
    ],
)
def test_bad_bodies_are_refused(content_type: str, body: bytes) -> None:
    """Only our own error comes out of a decoder."""
    with pytest.raises(InvalidRequestError):
        decode(content_type, body)


def test_unknown_fields_are_ignored() -> None:
    """As the server does."""
    assert decode("application/json", b'{"text": "a", "mood": 1}') == ServerRequest(text="a")


def test_text_that_is_no_base64_is_taken_as_it_is() -> None:
    """The server's own leniency, long or short."""
    request = request_of({"text": "", "references": [{"audio": "é" * 300, "text": ""}]})
    assert request.references[0].audio == ("é" * 300).encode()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("streaming", "true", True),
        ("streaming", "0", False),
        ("streaming", "maybe", "maybe"),
        ("seed", "12", 12),
        ("chunk_length", "many", "many"),
        ("temperature", "0.5", 0.5),
        ("mood", "glad", "glad"),
    ],
)
def test_form_text_becomes_what_the_schema_has(name: str, text: str, value: object) -> None:
    """A form only has text; what does not fit is left for the schema to refuse."""
    content_type, body = write_form([Part(name=name, content=text.encode())])
    assert decode_fields(content_type, body) == {name: value}
