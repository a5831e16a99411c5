"""What can go wrong with speech, and where: the vocabulary of fault injection."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Wire = Literal["cloud", "server", "backend"]
Point = Literal["answer", "sound", "bytes", "events", "end", "after"]


class FaultKind(enum.Enum):
    """What goes wrong; the value is how it is called in reports."""

    REFUSE = "refuse"  # nothing listens on the port
    NEVER_ACCEPT = "never accept"  # the port neither takes nor refuses connections
    NEVER_ANSWER = "never answer"  # the connection is taken, and not a byte comes back
    STATUS = "status"  # an HTTP status instead of what was asked for
    CLOSE = "close with a frame"
    DROP = "close without a frame"
    RESET = "reset"
    HALF_OPEN = "half-open"  # the peer is gone, and nothing says so
    STALL = "stall"  # the peer is there, and sends no more
    TRICKLE = "trickle"  # a few bytes at a time, slowly, but all of them
    TRUNCATE = "truncate"  # a polite end that claims no success
    DUPLICATE = "duplicate"  # the same audio event twice
    REORDER = "reorder"  # two audio events swapped
    CORRUPT = "corrupt"  # bytes that the protocol does not allow
    WRONG_RATE = "wrong rate"  # PCM or WAV at half the declared rate
    ZEROS = "zeros"  # PCM or WAV of zeros
    NO_AUDIO = "no audio"  # success, without the audio
    FINISH_ERROR = "finish: error"
    ERROR_EVENT = "error"  # `error` with ``max_concurrency``
    LATE_FINISH = "late finish"  # all audio, and success long after it
    HUGE_FRAME = "huge frame"
    OK_THEN_NOTHING = "200 then nothing"


class Detection(enum.Enum):
    """What a client can make of a fault."""

    FAILURE = "failure"  # it can tell that speech is broken, so it must say so
    HARMLESS = "harmless"  # the audio is whole: success is the truth
    IMPOSSIBLE = "impossible"  # whatever it says, it does not know; it must not hang


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """How far a segment gets before its fault strikes.

    ``answer`` is before anything is sent back, ``sound`` after the head of the response but
    before any audio, ``bytes`` and ``events`` after ``n`` of those of the segment's audio,
    ``end`` after all of it, when only the word of success is missing, and ``after`` follows that
    word, so that it is the next segment that suffers. A segment that has less than ``n`` is
    struck at its end.
    """

    point: Point
    n: int = 0

    def __post_init__(self) -> None:
        if self.n < 0 or (self.n > 0) != (self.point in ("bytes", "events")):
            raise ValueError(f"{self.point!r} cannot be after {self.n}")

    @property
    def is_before_sound(self) -> bool:
        """Whether no audio comes before it."""
        return self.point in ("answer", "sound")


BEFORE_ANSWER = Where(point="answer")
BEFORE_SOUND = Where(point="sound")
AT_END = Where(point="end")
AFTER_END = Where(point="after")


def after_bytes(n: int) -> Where:
    """After ``n`` bytes of a segment's audio, at least 1, be it in the middle of a sample."""
    return Where(point="bytes", n=n)


def after_events(n: int) -> Where:
    """After ``n`` audio events of the cloud, or chunks of HTTP; at least 1."""
    return Where(point="events", n=n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, at one place.

    Attributes:
        kind: what goes wrong.
        where: how far the segment gets before. A late finish is always at the end, and what
            changes audio is never after it, but at the end instead.
        status: of the answer, for `STATUS`.
        retry_after_s: what an answer with a status asks for.
        message: the server's words, where the kind has any.
        max_concurrency: of an `ERROR_EVENT`; None leaves it away, so that it is no refusal.
        delay_s: how long a late finish takes.
        trickle_bytes: size of one portion of a trickle.
        trickle_pause_s: the time before each of its first portions; then all the rest comes.
        huge_bytes: size of a huge frame.
        lasts_s: how long a server that closed its door in a segment lets nobody in; None is
            until its ``mend()``.
    """

    kind: FaultKind
    where: Where = BEFORE_SOUND
    status: int = 503
    retry_after_s: float | None = None
    message: str = "injected fault"
    max_concurrency: int | None = 5
    delay_s: float = 60.0
    trickle_bytes: int = 3
    trickle_pause_s: float = 0.2
    huge_bytes: int = 40 * 2**20
    lasts_s: float | None = None

    def __str__(self) -> str:
        n = f" {self.where.n}" if self.where.n else ""
        return f"{self.kind.value} at {self.where.point}{n}"

    @property
    def is_at_door(self) -> bool:
        """Whether it can strike before there is text, because it lets nobody get so far."""
        if self.kind in AT_DOOR:
            return self.where.is_before_sound
        return self.where.point == "answer" and self.kind in _INSTEAD_OF_ANSWER

    @property
    def is_after_end(self) -> bool:
        """Whether the segment that it strikes is whole, and was said to be."""
        return self.where.point == "after" and self.kind not in _NEVER_AFTER_END

    def detection(self, wire: Wire) -> Detection:
        """What a client can make of it, in the segment that it strikes."""
        if self.is_after_end:
            return Detection.HARMLESS
        if self.kind is FaultKind.TRICKLE or (wire, self.kind) == ("backend", FaultKind.HUGE_FRAME):
            return Detection.HARMLESS
        return Detection.FAILURE if self.why_undetectable is None else Detection.IMPOSSIBLE

    @property
    def is_detectable(self) -> bool:
        """Whether a client that looks closely can know that something is wrong."""
        return self.why_undetectable is None

    @property
    def why_undetectable(self) -> str | None:
        """The reason, if it is not; for audio without a container."""
        if self.kind in _TELLS_IF_SILENT and self.where.is_before_sound:
            return None
        return _UNDETECTABLE.get(self.kind)


AT_DOOR = frozenset(
    {FaultKind.REFUSE, FaultKind.NEVER_ACCEPT, FaultKind.NEVER_ANSWER, FaultKind.STATUS}
)

_INSTEAD_OF_ANSWER = frozenset(
    {
        FaultKind.CLOSE,
        FaultKind.DROP,
        FaultKind.RESET,
        FaultKind.HALF_OPEN,
        FaultKind.STALL,
        FaultKind.TRUNCATE,
        FaultKind.CORRUPT,
        FaultKind.FINISH_ERROR,
        FaultKind.ERROR_EVENT,
        FaultKind.HUGE_FRAME,
    }
)

# These change audio instead of breaking off, so at the end they take the last two portions.
RESHAPING = frozenset(
    {
        FaultKind.TRICKLE,
        FaultKind.DUPLICATE,
        FaultKind.REORDER,
        FaultKind.WRONG_RATE,
        FaultKind.ZEROS,
        FaultKind.NO_AUDIO,
    }
)

_NEVER_AFTER_END = RESHAPING | {FaultKind.LATE_FINISH}
_TELLS_IF_SILENT = frozenset({FaultKind.ZEROS, FaultKind.NO_AUDIO})
_UNDETECTABLE: Mapping[FaultKind, str] = {
    FaultKind.DUPLICATE: "raw audio is not numbered",
    FaultKind.REORDER: "raw audio is not numbered",
    FaultKind.WRONG_RATE: "raw audio does not say its rate",
    FaultKind.ZEROS: "a pause in speech is made of zeros, too",
    FaultKind.NO_AUDIO: "raw audio does not say its length",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What a kind is on one wire: itself, or if not ``is_literal``, its nearest equivalent."""

    is_literal: bool
    what: str


def applies(kind: FaultKind, wire: Wire) -> Application:
    """What a kind of fault is on a wire."""
    nearest = _NEAREST.get((kind, wire))
    return Application(is_literal=nearest is None, what=nearest or kind.value)


_BREAKS = "raises that the connection broke"
_HANGS = "yields nothing more"
_NEAREST: Mapping[tuple[FaultKind, Wire], str] = {
    (FaultKind.CLOSE, "server"): "hangs up without the last chunk: HTTP has no close frame",
    (FaultKind.DROP, "server"): "hangs up in the middle of a chunk",
    (FaultKind.TRUNCATE, "server"): "hangs up between two chunks, without the last one",
    (FaultKind.TRUNCATE, "cloud"): "closes with code 1000, without `finish`",
    (FaultKind.FINISH_ERROR, "server"): "status 500 before the head; later, no last chunk",
    (FaultKind.ERROR_EVENT, "server"): "status 429 before the head; later, no last chunk",
    (FaultKind.HUGE_FRAME, "server"): "the line before a chunk is huge: chunks have no bound",
    (FaultKind.LATE_FINISH, "server"): "the last chunk is late",
    (FaultKind.OK_THEN_NOTHING, "cloud"): "the handshake succeeds, and nothing follows",
    (FaultKind.REFUSE, "backend"): "raises that nothing listens",
    (FaultKind.NEVER_ACCEPT, "backend"): _HANGS,
    (FaultKind.NEVER_ANSWER, "backend"): _HANGS,
    (FaultKind.STATUS, "backend"): "raises what the status means",
    (FaultKind.CLOSE, "backend"): _BREAKS,
    (FaultKind.DROP, "backend"): _BREAKS,
    (FaultKind.RESET, "backend"): _BREAKS,
    (FaultKind.HALF_OPEN, "backend"): _HANGS,
    (FaultKind.STALL, "backend"): _HANGS,
    (FaultKind.TRUNCATE, "backend"): "stops without an item that has ``end``",
    (FaultKind.CORRUPT, "backend"): "yields audio of a segment that nobody asked for",
    (FaultKind.FINISH_ERROR, "backend"): "raises that the backend broke off",
    (FaultKind.ERROR_EVENT, "backend"): "raises that there are too many requests",
    (FaultKind.LATE_FINISH, "backend"): "the item with ``end`` is late",
    (FaultKind.HUGE_FRAME, "backend"): "all the rest in one item",
    (FaultKind.OK_THEN_NOTHING, "backend"): _HANGS,
}
