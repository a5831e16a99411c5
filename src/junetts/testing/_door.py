"""Whether a test server lets clients in, and what it does to those that it does not."""

from __future__ import annotations

import asyncio
import json

from junetts.testing._fault_performance import strike
from junetts.testing._fault_plan import FaultPlan
from junetts.testing._listener import Listener, reset, vanish
from junetts.testing.faults import Fault, FaultKind

READ_BYTES = 65_536
NO_HTTP = b"\x00\xff no protocol at all\r\n\r\n"
LONGEST_LINE_BYTES = 2**20  # ten times what any HTTP client takes


class Door:
    """Lets clients in, or not, as a plan says or a fault in a segment left it.

    Args:
        plan: what strikes those who knock.
        listener: whose port is shut where even knocking fails.
    """

    def __init__(self, plan: FaultPlan | None, listener: Listener) -> None:
        self._plan = plan or FaultPlan()
        self._listener = listener
        self._shut_by: Fault | None = None
        self._n_shut = 0

    def begin(self) -> None:
        """Shut the port at once, if that is the plan."""
        fault = self._plan.at_start()
        if fault is not None:
            self.shut(fault)

    def shut(self, fault: Fault) -> None:
        """Treat all who come from now on to the fault, until it has lasted, or until `open`."""
        if self._shut_by is not None:
            return
        self._shut_by = fault
        self._n_shut += 1
        if fault.kind is FaultKind.REFUSE:
            self._listener.refuse()
        elif fault.kind is FaultKind.NEVER_ACCEPT:
            self._listener.ignore()
        if fault.lasts_s is not None:
            self._listener.spawn(self._open_after(fault.lasts_s, n_shut=self._n_shut))

    async def open(self) -> None:
        """Let everyone in again."""
        self._shut_by = None
        await self._listener.listen()

    async def admits(self, line: DoorLine) -> bool:
        """Whether a client may come in; if not, it has got what was due to it."""
        fault = self._shut_by or self._plan.at_door()
        if fault is None:
            return True
        if fault.kind is FaultKind.REFUSE:  # this one was through before the port was shut
            self.shut(fault)
        await strike(fault, line)
        return False

    async def _open_after(self, delay_s: float, *, n_shut: int) -> None:
        await asyncio.sleep(delay_s)
        if n_shut == self._n_shut:  # else it was opened meanwhile, and shut again
            await self.open()


class DoorLine:
    """A connection on which HTTP is awaited, and which gets something else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def close(self, fault: Fault) -> None:
        """Hang up: there is no farewell yet."""
        self._writer.close()

    truncate = drop = close

    async def reset(self, fault: Fault) -> None:
        """Reset the connection."""
        reset(self._writer)

    async def vanish(self, fault: Fault) -> None:
        """Neither read nor write any more."""
        await vanish()

    async def stall(self, fault: Fault) -> None:
        """Say nothing until the client leaves."""
        while await self._reader.read(READ_BYTES):
            pass

    async def corrupt(self, fault: Fault) -> None:
        """Answer with something that is no HTTP."""
        await self._write(NO_HTTP)

    async def oversize(self, fault: Fault) -> None:
        """Answer with a header line that does not end."""
        await self._write(b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * LONGEST_LINE_BYTES)

    async def refuse(self, fault: Fault) -> None:
        """Answer with the status."""
        await self._answer(fault.status, fault)

    async def fail(self, fault: Fault) -> None:
        """Answer that something went wrong."""
        await self._answer(500, fault)

    async def turn_away(self, fault: Fault) -> None:
        """Answer that there are too many requests."""
        await self._answer(429, fault)

    async def _answer(self, status: int, fault: Fault) -> None:
        body = json.dumps({"message": fault.message, "status": status}).encode()
        head = f"HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\n"
        if fault.retry_after_s is not None:
            head += f"Retry-After: {fault.retry_after_s:g}\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await self._write(head.encode() + body)

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self._writer.close()
