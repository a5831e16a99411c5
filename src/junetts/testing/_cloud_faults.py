"""Faults in the cloud's sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from junetts._fishwire.codec import encode
from junetts._fishwire.events import Audio
from junetts.testing._door import Door
from junetts.testing._fault_performance import perform
from junetts.testing._fault_plan import FaultPlan
from junetts.testing._fault_shapes import Portion
from junetts.testing.cloud_session import CloudSession
from junetts.testing.faults import Fault

INTERNAL_ERROR = 1011
GARBAGE = b"\xc1\xff\x00 no MessagePack"  # 0xc1 is the one byte that begins nothing

EVENT: Portion[Audio] = Portion(
    data=lambda event: event.audio, with_data=lambda event, data: replace(event, audio=data)
)


def faulty_sessions(plan: FaultPlan, door: Door) -> Callable[[CloudSession], Awaitable[None]]:
    """A script that behaves as the cloud does, except where the plan says otherwise."""

    async def script(session: CloudSession) -> None:
        while True:
            text, is_last = await session.receive_portion()
            fault = plan.in_segment(text) if text else None
            if fault is None:
                await session.speak(text)
                if is_last:
                    await session.finish()
                continue
            line = _CloudLine(session, door, is_last=is_last)
            # What closes the socket ends this, too: the client has left, the next step finds.
            await perform(session.audio_of(text), fault, line, EVENT)

    return script


class _CloudLine:
    """A session on a socket that is open; ``is_last`` if no more text follows in it."""

    def __init__(self, session: CloudSession, door: Door, *, is_last: bool) -> None:
        self._session = session
        self._door = door
        self._is_last = is_last

    async def begin(self) -> None:
        """Nothing comes before a session's audio."""

    async def send(self, event: Audio, /) -> None:
        """Send an audio event."""
        await self._session.send_paced(event)

    async def end(self) -> None:
        """Say ``finish``."""
        if self._is_last:
            await self._session.finish()

    def shut_door(self, fault: Fault) -> None:
        """Treat those who come from now on to the fault, too."""
        self._door.shut(fault)

    async def close(self, fault: Fault) -> None:
        """Close with a frame that says that something is wrong."""
        await self._session.close(INTERNAL_ERROR, fault.message)

    async def truncate(self, fault: Fault) -> None:
        """Close as if all was well, but without ``finish``."""
        await self._session.close()

    async def drop(self, fault: Fault) -> None:
        """Hang up without a close frame."""
        await self._session.drop()

    refuse = drop  # it is too late for a status

    async def reset(self, fault: Fault) -> None:
        """Reset the connection."""
        self._session.abort()

    async def vanish(self, fault: Fault) -> None:
        """Neither read nor write any more."""
        await self._session.vanish()

    async def stall(self, fault: Fault) -> None:
        """Take what comes, pings included, and send no more audio."""
        async for _ in self._session:
            pass

    async def corrupt(self, fault: Fault) -> None:
        """Send a binary frame that holds no event."""
        await self._session.send_message(GARBAGE)

    async def oversize(self, fault: Fault) -> None:
        """Send an audio event that is far too long."""
        await self._session.send_message(encode(Audio(audio=b"\x01" * fault.huge_bytes)))

    async def fail(self, fault: Fault) -> None:
        """Say ``finish`` with the reason ``error``."""
        await self._session.finish("error", message=fault.message)

    async def turn_away(self, fault: Fault) -> None:
        """Say ``error``, and close."""
        await self._session.fail(fault.message, max_concurrency=fault.max_concurrency)
        await self._session.close()
