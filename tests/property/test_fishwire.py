"""Properties of the wire codec and the session table."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from junetts._errors import RemoteProtocolError, UsageError
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
from junetts._fishwire.session import Session, State

LONG = settings(max_examples=100_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SHORT = settings(max_examples=200, deadline=None)

texts = st.text(max_size=20)
integers = st.integers(min_value=-(2**63), max_value=2**64 - 1)
numbers = st.floats(allow_nan=False) | integers
scalars = st.none() | st.booleans() | numbers | texts | st.binary(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(texts, values, max_size=4)
rest = st.dictionaries(texts.filter(lambda name: name != "event"), values, max_size=4)
known = {"start", "text", "flush", "stop", "audio", "finish", "error", "log"}
words = st.builds(AlignedText, text=texts, start_s=numbers, end_s=numbers)
alignments = st.builds(
    Alignment,
    segments=st.lists(words, max_size=3).map(tuple),
    audio_duration_s=st.none() | numbers,
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Start, request=maps),
    st.builds(Text, text=texts),
    st.just(Flush()),
    st.just(Stop()),
    st.builds(
        Audio,
        audio=st.binary(max_size=64),
        time=st.none() | numbers,
        content=st.none() | texts,
        alignment=st.none() | alignments,
        chunk_seq=st.none() | integers,
        chunk_audio_offset_s=st.none() | numbers,
    ),
    st.builds(
        Finish,
        reason=st.sampled_from(["stop", "error"]) | texts,
        time=st.none() | numbers,
        message=st.none() | texts,
    ),
    st.builds(Error, error=texts, max_concurrency=st.none() | integers),
    st.builds(Log, fields=rest),
    st.builds(Unknown, event=texts.filter(lambda name: name not in known), fields=rest),
)


@st.composite
def damaged_messages(draw: st.DrawFn) -> bytes:
    """A real message with a few bytes changed, cut or added: nearer to the edge than noise."""
    message = bytearray(encode(draw(events)))
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, len(message)))
        end = position + draw(st.integers(0, 3))
        message[position:end] = draw(st.binary(max_size=3))
    return bytes(message)


messages = st.binary(max_size=200) | damaged_messages()


def check_round_trip(event: Event) -> None:
    """Encode and decode one event."""
    assert decode(encode(event)) == event


def check_only_our_errors(message: bytes) -> None:
    """Decode one message, whatever it is."""
    try:
        event = decode(message)
    except RemoteProtocolError:
        return
    assert isinstance(event, Event)


def check_session(sequence: list[Event]) -> None:
    """Follow a session and hold it to the protocol, told in another way than by its table."""
    session = Session()
    may_speak = False  # between start and finish
    stopped = failed = False
    for event in sequence:
        before = session.state
        try:
            session.advance(event)
        except (RemoteProtocolError, UsageError):
            assert session.state is before
            continue
        assert not failed or isinstance(event, (Log, Unknown)), "nothing follows failure"
        match event:
            case Start():
                assert not may_speak
                may_speak, stopped = True, False
            case Text() | Flush():
                assert may_speak
                assert not stopped
            case Stop():
                assert may_speak
                assert not stopped
                stopped = True
            case Audio():
                assert may_speak
            case Finish(reason="stop"):
                assert stopped
                may_speak = stopped = False
            case Finish() | Error():
                failed = True
    assert (session.close() is State.CLOSED) == (not may_speak and not failed)


@SHORT
@given(events)
def test_decode_inverts_encode(event: Event) -> None:
    """Decoding what was encoded gives the event back."""
    check_round_trip(event)


@SHORT
@given(messages)
def test_arbitrary_bytes(message: bytes) -> None:
    """Whatever comes is an event or a protocol error, and no other exception."""
    check_only_our_errors(message)


@SHORT
@given(st.lists(events, max_size=12))
def test_session_follows_the_protocol(sequence: list[Event]) -> None:
    """Any sequence of events leaves a session in a state that the protocol allows."""
    check_session(sequence)


@pytest.mark.long
@pytest.mark.timeout(1800)
@LONG
@given(events)
def test_decode_inverts_encode_long(event: Event) -> None:
    """Decoding what was encoded gives the event back, 100,000 times."""
    check_round_trip(event)


@pytest.mark.long
@pytest.mark.timeout(1800)
@LONG
@given(messages)
def test_arbitrary_bytes_long(message: bytes) -> None:
    """Whatever comes is an event or a protocol error, 100,000 times."""
    check_only_our_errors(message)
