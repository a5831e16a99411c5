"""One segment's answer, up to the fault that strikes it and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from junetts.testing._fault_shapes import Portion, divided, reshaped, trickled
from junetts.testing.faults import AT_DOOR, RESHAPING, Fault, FaultKind

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Ending(Protocol):
    """All the ways in which a server's answer can go wrong.

    Those that hang return when the client leaves, or never, until the server closes.
    """

    async def close(self, fault: Fault) -> None:
        """Close with a farewell that says that something is wrong."""

    async def truncate(self, fault: Fault) -> None:
        """Close with a farewell, but too early."""

    async def drop(self, fault: Fault) -> None:
        """Hang up without a farewell."""

    async def reset(self, fault: Fault) -> None:
        """Reset the connection."""

    async def vanish(self, fault: Fault) -> None:
        """Neither read nor write any more."""

    async def stall(self, fault: Fault) -> None:
        """Stay, and send nothing."""

    async def corrupt(self, fault: Fault) -> None:
        """Send what the protocol does not allow."""

    async def oversize(self, fault: Fault) -> None:
        """Send more at once than a client should take."""

    async def refuse(self, fault: Fault) -> None:
        """Answer with a status, or hang up if it is too late for one."""

    async def fail(self, fault: Fault) -> None:
        """Say that generating speech failed."""

    async def turn_away(self, fault: Fault) -> None:
        """Say that there are too many requests."""


class Line(Ending, Protocol[T_contra]):
    """A server's end of one answer."""

    async def begin(self) -> None:
        """Send what comes before audio, unless it was sent."""

    async def send(self, portion: T_contra, /) -> None:
        """Send one portion of audio."""

    async def end(self) -> None:
        """Claim success."""

    def shut_door(self, fault: Fault) -> None:
        """Treat those who come from now on to the fault, too."""


async def perform(portions: Sequence[T], fault: Fault, line: Line[T], portion: Portion[T]) -> None:
    """Send audio, and let the fault strike."""
    before, struck = divided(portions, fault, portion)
    if not _is_instead_of_answer(fault):
        await line.begin()
    for one in before:
        await line.send(one)
    if fault.kind in RESHAPING:
        await _send_reshaped(before, struck, fault, line, portion)
        return
    if fault.is_after_end:
        await line.end()
    if fault.kind in AT_DOOR:
        line.shut_door(fault)
    await strike(fault, line)
    if fault.kind in _CONTINUING and not fault.is_after_end:
        for one in struck:
            await line.send(one)
        await line.end()


async def strike(fault: Fault, ending: Ending) -> None:
    """Let the fault do what it does to an answer, wherever that stands."""
    await _STRIKES[fault.kind](ending, fault)


def _is_instead_of_answer(fault: Fault) -> bool:
    """Whether not even the head of a response is sent before it."""
    if fault.kind is FaultKind.OK_THEN_NOTHING:
        return False
    if fault.kind in _ANSWERS:
        return fault.where.is_before_sound
    return fault.where.point == "answer"


async def _send_reshaped(
    before: Sequence[T], struck: Sequence[T], fault: Fault, line: Line[T], portion: Portion[T]
) -> None:
    if fault.kind is FaultKind.TRICKLE:
        tiny, struck = trickled(struck, fault, portion)
        for one in tiny:
            await asyncio.sleep(fault.trickle_pause_s)
            await line.send(one)
    for one in reshaped(before, struck, fault, portion):
        await line.send(one)
    await line.end()


async def _be_late(_: Ending, fault: Fault) -> None:
    await asyncio.sleep(fault.delay_s)


# Before sound these are another answer, or none at all.
_ANSWERS = AT_DOOR | {FaultKind.FINISH_ERROR, FaultKind.ERROR_EVENT}
# After these the server goes on, as if to see whether the client does.
_CONTINUING = frozenset({FaultKind.CORRUPT, FaultKind.HUGE_FRAME, FaultKind.LATE_FINISH})
_STRIKES: Mapping[FaultKind, Callable[[Ending, Fault], Awaitable[None]]] = {
    FaultKind.REFUSE: lambda ending, fault: ending.reset(fault),
    FaultKind.NEVER_ACCEPT: lambda ending, fault: ending.vanish(fault),
    FaultKind.NEVER_ANSWER: lambda ending, fault: ending.stall(fault),
    FaultKind.STATUS: lambda ending, fault: ending.refuse(fault),
    FaultKind.CLOSE: lambda ending, fault: ending.close(fault),
    FaultKind.DROP: lambda ending, fault: ending.drop(fault),
    FaultKind.RESET: lambda ending, fault: ending.reset(fault),
    FaultKind.HALF_OPEN: lambda ending, fault: ending.vanish(fault),
    FaultKind.STALL: lambda ending, fault: ending.stall(fault),
    FaultKind.TRUNCATE: lambda ending, fault: ending.truncate(fault),
    FaultKind.CORRUPT: lambda ending, fault: ending.corrupt(fault),
    FaultKind.FINISH_ERROR: lambda ending, fault: ending.fail(fault),
    FaultKind.ERROR_EVENT: lambda ending, fault: ending.turn_away(fault),
    FaultKind.LATE_FINISH: _be_late,
    FaultKind.HUGE_FRAME: lambda ending, fault: ending.oversize(fault),
    FaultKind.OK_THEN_NOTHING: lambda ending, fault: ending.stall(fault),
}
