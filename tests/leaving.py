"""Every way to leave a stream, and a text source that never ends."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest
from anyio import CancelScope

from junetts import SpeechStream

SENTENCES = [f"This is sentence number {n}. " for n in range(1, 60)]
TEXT = "".join(SENTENCES)


class InterruptionError(Exception):
    """What a listener raises."""


async def by_break(stream: SpeechStream) -> None:
    """Leave the loop."""
    async for _ in stream:
        break


async def by_exception(stream: SpeechStream) -> None:
    """Leave the loop by an error of one's own."""
    with suppress(InterruptionError):
        async for _ in stream:
            raise InterruptionError


async def by_aclose(stream: SpeechStream) -> None:
    """Close the stream."""
    await anext(stream)
    await stream.aclose()


async def by_context(stream: SpeechStream) -> None:
    """Leave the context."""
    async with stream:
        await anext(stream)


async def by_cancel(stream: SpeechStream) -> None:
    """Call `cancel`."""
    await anext(stream)
    stream.cancel()


async def by_scope(stream: SpeechStream) -> None:
    """Have one's scope cancelled."""
    with CancelScope() as scope:
        async for _ in stream:
            scope.cancel()
            await asyncio.sleep(0)


async def by_task(stream: SpeechStream) -> None:
    """Have one's task cancelled while it waits for more."""
    heard = asyncio.Event()

    async def listen() -> None:
        async for _ in stream:
            heard.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def by_deadline(stream: SpeechStream) -> None:
    """Run out of time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as deadline:
            async for _ in stream:
                deadline.reschedule(0)
                await asyncio.Event().wait()


async def by_dropping(stream: SpeechStream) -> None:
    """Forget about the loop."""
    chunks = aiter(stream)
    await anext(chunks)
    del chunks
    gc.collect()


async def by_another_thread(stream: SpeechStream) -> None:
    """Have it cancelled by a voice detector's thread."""
    await anext(stream)
    thread = threading.Thread(target=stream.cancel)
    thread.start()
    thread.join()
    await asyncio.sleep(0)  # until the event loop is told


WAYS = [
    by_break,
    by_exception,
    by_aclose,
    by_context,
    by_cancel,
    by_scope,
    by_task,
    by_deadline,
    by_dropping,
    by_another_thread,
]
Way = Callable[[SpeechStream], Awaitable[None]]
every_way = pytest.mark.parametrize("leave", WAYS)


class Endless:
    """A source that never ends, in either form, and tells when its ``finally`` has run."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.closed = threading.Event()

    async def awaited(self) -> AsyncIterator[str]:
        """As an async generator."""
        try:
            for number in count(1):
                self.read.append(f"This is sentence number {number}. ")
                yield self.read[-1]
        finally:
            self.closed.set()

    def blocking(self) -> Iterator[str]:
        """As a generator."""
        try:
            for number in count(1):
                self.read.append(f"This is sentence number {number}. ")
                yield self.read[-1]
        finally:
            self.closed.set()

    def source(self, kind: str) -> AsyncIterator[str] | Iterator[str]:
        """One of the two."""
        return self.awaited() if kind == "awaited" else self.blocking()

    @property
    def text(self) -> str:
        """What was read."""
        return "".join(self.read)


both_kinds = pytest.mark.parametrize("kind", ["awaited", "blocking"])


def assert_left(stream: SpeechStream, text: str) -> None:
    """It was cancelled, and nothing of the text is lost or told twice."""
    report = stream.report
    assert report.outcome == "cancelled"
    assert report.spoken_text + report.unspoken_text == text
    assert report.characters == len(text)
    states = [segment.state for segment in report.segments]
    assert states[0] == "abandoned"
    assert set(states[1:]) <= {"unspoken"}


async def assert_mute(stream: SpeechStream) -> None:
    """Nothing is handed out any more, however often one asks."""
    for _ in range(3):
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
