"""Faults in the answers of a fish-speech server."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from junetts.testing._door import LONGEST_LINE_BYTES, NO_HTTP, Door
from junetts.testing._fault_performance import perform
from junetts.testing._fault_plan import FaultPlan
from junetts.testing._fault_shapes import RAW
from junetts.testing.faults import Fault
from junetts.testing.server_call import ServerAnswer, ServerCall


def faulty_calls(plan: FaultPlan, door: Door) -> Callable[[ServerCall], Awaitable[None]]:
    """A script that answers as fish-speech does, except where the plan says otherwise."""

    async def script(call: ServerCall) -> None:
        answer = call.usual_answer()
        is_speech = call.request is not None and answer.status == 200
        fault = plan.in_segment(call.request.text) if call.request and is_speech else None
        if fault is None:
            await call.answer(answer)
            return
        await perform(answer.chunks, fault, _ServerLine(call, door, answer.headers), RAW)

    return script


class _ServerLine:
    """A response that has perhaps not yet begun."""

    def __init__(self, call: ServerCall, door: Door, headers: Mapping[str, str]) -> None:
        self._call = call
        self._door = door
        self._headers = headers
        self._has_begun = False

    async def begin(self) -> None:
        """Send the head."""
        if not self._has_begun:
            self._has_begun = True
            await self._call.begin(200, self._headers)

    async def send(self, chunk: bytes, /) -> None:
        """Send a chunk."""
        await self.begin()
        await self._call.send(chunk)

    async def end(self) -> None:
        """Send the last chunk."""
        await self.begin()
        await self._call.end()

    def shut_door(self, fault: Fault) -> None:
        """Treat those who come from now on to the fault, too."""
        self._door.shut(fault)

    async def close(self, fault: Fault) -> None:
        """Hang up between two chunks."""
        await self._call.cut_off()

    truncate = close

    async def drop(self, fault: Fault) -> None:
        """Hang up in the middle of a chunk, if the response has begun."""
        if self._has_begun:
            await self._call.send_raw(b"1000\r\n")  # the size of one that does not come
        await self._call.cut_off()

    async def reset(self, fault: Fault) -> None:
        """Reset the connection."""
        self._call.reset()

    async def vanish(self, fault: Fault) -> None:
        """Neither read nor write any more."""
        self._call.vanish()

    async def stall(self, fault: Fault) -> None:
        """Send no more until the client leaves."""
        await self._call.until_left()

    async def corrupt(self, fault: Fault) -> None:
        """Send what is neither a response nor a chunk."""
        await self._call.send_raw(NO_HTTP)

    async def oversize(self, fault: Fault) -> None:
        """Send a line without end where a chunk's size or a header belongs."""
        start = b"1;" if self._has_begun else b"HTTP/1.1 200 OK\r\nX-Filler: "
        await self._call.send_raw(start + b"x" * LONGEST_LINE_BYTES)

    async def refuse(self, fault: Fault) -> None:
        """Answer with the status."""
        await self._answer_or_cut_off(fault.status, fault)

    async def fail(self, fault: Fault) -> None:
        """Answer that generating failed."""
        await self._answer_or_cut_off(500, fault)

    async def turn_away(self, fault: Fault) -> None:
        """Answer that there are too many requests."""
        await self._answer_or_cut_off(429, fault)

    async def _answer_or_cut_off(self, status: int, fault: Fault) -> None:
        if self._has_begun:
            await self._call.cut_off()
            return
        self._has_begun = True
        headers = {"Content-Type": "application/json"}
        if fault.retry_after_s is not None:
            headers["Retry-After"] = f"{fault.retry_after_s:g}"
        body = json.dumps({"statusCode": status, "message": fault.message}).encode()
        await self._call.answer(ServerAnswer(status=status, headers=headers, chunks=(body,)))
