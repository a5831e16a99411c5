"""Any valid request survives each encoding; any bytes are decoded or refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from junetts._errors import InvalidRequestError
from junetts._fishwire.server_encoding import Encoding, decode, encode
from junetts._fishwire.server_request import ServerRequest
from junetts._utterance import MAX_SEED, ReferenceClip

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
UNIT = st.floats(0.1, 1.0)
CONTENT_TYPES = st.sampled_from(
    [
        "application/json",
        "application/msgpack",
        "multipart/form-data; boundary=x",
        'multipart/form-data; boundary="y"',
        "multipart/form-data",
        "",
    ]
)
FRAGMENTS = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b"--x", b"--x--", b"\r\n", b'; name="text"', b'; filename="', b"\r\n\r\n"]
        ),
    ),
    max_size=12,
).map(b"".join)


def requests(*, min_audio: int = 1, max_clips: int = 3) -> st.SearchStrategy[ServerRequest]:
    """Requests with recordings of at least so many bytes, and at most so many of them."""
    clips = st.builds(ReferenceClip, audio=st.binary(min_size=min_audio, max_size=400), text=TEXT)
    shape = st.sampled_from([("wav", True), ("wav", False), ("mp3", False)])
    return st.builds(
        lambda shape, **values: ServerRequest(format=shape[0], streaming=shape[1], **values),
        shape,
        text=TEXT,
        chunk_length=st.integers(100, 1000),
        latency=st.sampled_from(["normal", "balanced"]),
        references=st.lists(clips, max_size=max_clips).map(tuple),
        reference_id=st.none() | st.from_regex(r"[a-zA-Z0-9\-_ ]{1,255}", fullmatch=True),
        seed=st.none() | st.integers(0, MAX_SEED),
        use_memory_cache=st.sampled_from(["on", "off"]),
        normalize=st.booleans(),
        max_new_tokens=st.integers(2, 2**31 - 1),
        top_p=UNIT,
        repetition_penalty=st.floats(0.9, 2.0),
        temperature=UNIT,
    )


def round_trip(request: ServerRequest, encoding: Encoding) -> ServerRequest:
    """The request after a trip over the wire."""
    return decode(*encode(request, encoding))


@settings(max_examples=50)
@given(requests())
def test_msgpack_round_trip(request: ServerRequest) -> None:
    """What msgpack carries is what was meant."""
    assert round_trip(request, "msgpack") == request


@settings(max_examples=50)
@given(requests(min_audio=190))
def test_json_round_trip(request: ServerRequest) -> None:
    """What JSON carries is what was meant."""
    assert round_trip(request, "json") == request


@settings(max_examples=50)
@given(requests(max_clips=1))
def test_multipart_round_trip(request: ServerRequest) -> None:
    """What a form carries is what was meant."""
    assert round_trip(request, "multipart") == request


def _decode_or_refuse(content_type: str, body: bytes) -> None:
    try:
        decode(content_type, body)
    except InvalidRequestError:
        return


@settings(max_examples=200)
@given(CONTENT_TYPES, FRAGMENTS)
def test_any_bytes_are_decoded_or_refused(content_type: str, body: bytes) -> None:
    """Nothing but our own error comes out of a decoder."""
    _decode_or_refuse(content_type, body)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(max_examples=100_000, deadline=None)
@given(CONTENT_TYPES, FRAGMENTS)
def test_any_bytes_are_decoded_or_refused_long(content_type: str, body: bytes) -> None:
    """The long run of the same."""
    _decode_or_refuse(content_type, body)
