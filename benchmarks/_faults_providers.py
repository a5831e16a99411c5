"""Two loopback providers of speech: the primary breaks at 40 % of the text, the backup does not.

    python benchmarks/_faults_providers.py FAULT

Each speaks the Fish Audio cloud's protocol on one port and fish-speech's HTTP on another. Their
addresses are printed as a line of JSON; at the end of standard input, so is what they sent when.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import ormsgpack

from _faults_listener import BYTES_PER_S, FAULT_WORD, WORDS
from _faults_voice import speak
from junetts._fishwire.events import Event, Flush, Stop, Text
from junetts.testing import CloudServer, CloudSession, FishServer, ServerCall

FRAME_BYTES = 4096
SPEED = 4  # times as fast as the speech lasts
BREAKS = ("death", "stall", "abort")

Send = Callable[[bytes], Awaitable[None]]
Break = Callable[[], Awaitable[None]]


class Provider:
    """One provider; ``sent`` is what it sent: the time and seconds of audio."""

    def __init__(self, fault: str) -> None:
        self.sent: list[tuple[float, float]] = []
        self._fault = fault
        self._cloud = CloudServer(script=self._live)
        self._server = FishServer(script=self._http)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, stack: AsyncExitStack) -> dict[str, str]:
        """Listen; returns where."""
        await stack.enter_async_context(self._cloud)
        await stack.enter_async_context(self._server)
        urls = {"live": self._cloud.url, "cloud": self._cloud.http_url, "http": self._server.url}
        if self._fault in ("refused", "down"):
            await self._die()
        return urls

    async def _die(self) -> None:
        await self._cloud.aclose()
        await self._server.aclose()

    async def _say(self, text: str, send: Send, broken: Break) -> bool:
        """Speak; returns whether it came to the end."""
        until = WORDS[FAULT_WORD] if self._fault in BREAKS else None
        audio, breaks = speak(text, until=until)
        started_at = time.perf_counter()
        for i in range(0, len(audio), FRAME_BYTES):
            due = started_at + i / (SPEED * BYTES_PER_S)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            frame = audio[i : i + FRAME_BYTES]
            await send(frame)
            self.sent.append((time.time(), len(frame) / BYTES_PER_S))
        if breaks:
            await asyncio.sleep(0.05)  # what was sent is received before the connection breaks
            await broken()
            if self._fault == "death":
                self._tasks.add(asyncio.ensure_future(self._die()))
        return not breaks

    async def _live(self, session: CloudSession) -> None:
        """A socket: speaks, and hears at once if the client leaves."""
        events: asyncio.Queue[Event] = asyncio.Queue()
        speaking = asyncio.ensure_future(self._speak_live(session, events))
        try:
            while True:
                events.put_nowait(await session.receive())
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])

    async def _speak_live(self, session: CloudSession, events: asyncio.Queue[Event]) -> None:
        async def broken() -> None:
            if self._fault == "death":
                await session.drop()
            elif self._fault == "abort":
                session.abort()

        text = ""
        while True:
            event = await events.get()
            if isinstance(event, Text):
                text += event.text
            if isinstance(event, (Flush, Stop)) and text.strip():
                if not await self._say(text, session.send_audio, broken):
                    return
                text = ""
            if isinstance(event, Stop):
                await session.finish()

    async def _http(self, call: ServerCall) -> None:
        """One request over HTTP."""
        if call.method != "POST" or call.path != "/v1/tts":
            await call.answer()
            return

        async def broken() -> None:
            if self._fault == "death":
                await call.cut_off()
            elif self._fault == "abort":
                call.reset()
            else:
                await call.until_left()

        is_json = "json" in call.headers.get("content-type", "")
        body = json.loads(call.body) if is_json else ormsgpack.unpackb(call.body)
        await call.begin()
        if await self._say(body["text"], call.send, broken):
            await call.end()


async def main(fault: str) -> None:
    """Serve until standard input ends."""
    primary = Provider(fault)
    backup = Provider("down" if fault == "down" else "none")
    async with AsyncExitStack() as stack:
        urls = {"primary": await primary.start(stack), "backup": await backup.start(stack)}
        print(json.dumps(urls), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        print(json.dumps(sorted(primary.sent + backup.sent)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
