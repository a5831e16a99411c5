"""The session table, row by row."""

from __future__ import annotations

import pytest

from junetts._errors import RemoteProtocolError, UsageError
from junetts._fishwire.events import (
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

START = Start(request={})
AUDIO = Audio(audio=b"x")
STOPPED = Finish(reason="stop")
BROKEN = Finish(reason="error")
FAILED = Error(error="no")


def after(*events: Event) -> Session:
    """A session that has seen some events."""
    session = Session()
    for event in events:
        session.advance(event)
    return session


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.IDLE),
        ([START, Text(text="a"), Flush(), AUDIO], State.STARTED),
        ([START, Stop(), AUDIO], State.STOPPING),
        ([START, Stop(), STOPPED], State.FINISHED),
        ([START, Stop(), STOPPED, START], State.STARTED),
        ([START, Stop(), BROKEN], State.FAILED),
        ([START, BROKEN], State.FAILED),
        ([START, FAILED], State.FAILED),
        ([FAILED], State.FAILED),
        ([START, Log(fields={}), Unknown(event="x", fields={})], State.STARTED),
    ],
)
def test_states(events: list[Event], state: State) -> None:
    """Legal events lead where the protocol says."""
    assert after(*events).state is state


@pytest.mark.parametrize(
    ("events", "illegal"),
    [
        ([], AUDIO),
        ([], STOPPED),
        ([START, Text(text="a")], STOPPED),
        ([START, Stop(), STOPPED], AUDIO),
        ([START, Stop(), STOPPED], STOPPED),
        ([FAILED], AUDIO),
    ],
)
def test_the_server_breaks_the_protocol(events: list[Event], illegal: Event) -> None:
    """Finishing before all text was sent, among others, is the server's fault."""
    session = after(*events)
    before = session.state
    with pytest.raises(RemoteProtocolError, match=type(illegal).__name__.lower()):
        session.advance(illegal)
    assert session.state is before


@pytest.mark.parametrize(
    ("events", "illegal"),
    [
        ([], Text(text="a")),
        ([START], START),
        ([START, Stop()], Text(text="a")),
        ([START, Stop()], Stop()),
        ([FAILED], START),
    ],
)
def test_we_break_the_protocol(events: list[Event], illegal: Event) -> None:
    """What must not be sent is our own fault."""
    with pytest.raises(UsageError):
        after(*events).advance(illegal)


def test_the_server_role_swaps_fault() -> None:
    """The same table serves a server, for which the client is the remote side."""
    session = Session(role="server")
    with pytest.raises(RemoteProtocolError):
        session.advance(Stop())
    with pytest.raises(UsageError):
        session.advance(AUDIO)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.CLOSED),
        ([START, Stop(), STOPPED], State.CLOSED),
        ([START], State.FAILED),
        ([START, Stop()], State.FAILED),
        ([FAILED], State.FAILED),
    ],
)
def test_closing(events: list[Event], state: State) -> None:
    """Closing is clean only where no speech was owed, and closing again changes nothing."""
    session = after(*events)
    assert session.close() is state
    assert session.close() is state


def test_repr_names_the_state() -> None:
    """A session in a log line says where it stands."""
    assert repr(after(START)) == "Session(role='client', state=STARTED)"
