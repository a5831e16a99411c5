"""From a thread into the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from junetts.backends._inbox import Inbox

pytestmark = pytest.mark.anyio


async def test_items_arrive_in_order() -> None:
    """Whatever the thread puts in is taken, once."""
    inbox = Inbox[int]()
    thread = threading.Thread(target=lambda: [inbox.put(n) for n in range(1000)])
    thread.start()
    assert [await inbox.take() for _ in range(1000)] == list(range(1000))
    thread.join()


async def test_a_reader_who_leaves_loses_nothing() -> None:
    """Cancelled while waiting; the next read gets what came."""
    inbox = Inbox[str]()
    reader = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    inbox.put("late")
    assert await inbox.take() == "late"


def test_after_the_loop_has_closed_putting_is_harmless() -> None:
    """A thread may still be at it when the program ends."""

    async def make() -> Inbox[int]:
        return Inbox()

    inbox = asyncio.run(make())
    inbox.put(1)
