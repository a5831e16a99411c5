"""One session on Fish Audio's socket: which event may follow which, as a table."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Literal

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


class State(enum.Enum):
    """Where a session stands; ``FINISHED`` may be followed by another on the same socket."""

    IDLE = "idle"
    STARTED = "started"
    STOPPING = "stopping"
    FINISHED = "finished"
    FAILED = "failed"
    CLOSED = "closed"


class FailedFinish:
    """A `Finish` whose reason is not ``stop``."""


class Closed:
    """The socket closing, by either side."""


Kind = type[Event] | type[FailedFinish] | type[Closed]

# `finish` before `stop` is not in the table: text that was still to come would go unspoken.
_NEXT: Mapping[State, Mapping[Kind, State]] = {
    State.IDLE: {
        Start: State.STARTED,
        Error: State.FAILED,
        Closed: State.CLOSED,
    },
    State.STARTED: {
        Text: State.STARTED,
        Flush: State.STARTED,
        Stop: State.STOPPING,
        Audio: State.STARTED,
        FailedFinish: State.FAILED,
        Error: State.FAILED,
        Closed: State.FAILED,
    },
    State.STOPPING: {
        Audio: State.STOPPING,
        Finish: State.FINISHED,
        FailedFinish: State.FAILED,
        Error: State.FAILED,
        Closed: State.FAILED,
    },
    State.FINISHED: {
        Start: State.STARTED,
        Error: State.FAILED,
        Closed: State.CLOSED,
    },
    State.FAILED: {Closed: State.FAILED},
    State.CLOSED: {Closed: State.CLOSED},
}
_IGNORED: tuple[Kind, ...] = (Log, Unknown)
_BY_CLIENT: tuple[Kind, ...] = (Start, Text, Flush, Stop)


class Session:
    """Follows one socket's sessions, as client or as server.

    Guarantees: an event that may not come now leaves the state as it was and raises, a
    `RemoteProtocolError` if the peer sent it and a `UsageError` if we were about to.
    """

    def __init__(self, *, role: Literal["client", "server"] = "client") -> None:
        self.state = State.IDLE
        self._role = role

    def __repr__(self) -> str:
        return f"Session(role={self._role!r}, state={self.state.name})"

    def advance(self, event: Event) -> State:
        """Take one event, sent or received.

        Raises:
            RemoteProtocolError: if the peer may not send it now.
            UsageError: if we may not.
        """
        kind: Kind = type(event)
        if kind in _IGNORED:
            return self.state
        if isinstance(event, Finish) and event.reason != "stop":
            kind = FailedFinish
        after = _NEXT[self.state].get(kind)
        if after is None:
            raise self._illegal(type(event))
        self.state = after
        return after

    def close(self) -> State:
        """Take the end of the socket: clean where nothing was owed, else a failure."""
        self.state = _NEXT[self.state][Closed]
        return self.state

    def _illegal(self, kind: Kind) -> RemoteProtocolError | UsageError:
        what = f"{kind.__name__.lower()} must not come while a session is {self.state.value}"
        is_ours = (kind in _BY_CLIENT) == (self._role == "client")
        return UsageError(what) if is_ours else RemoteProtocolError(what)
