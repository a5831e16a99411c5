"""From a worker thread to one reader in the event loop, without either waiting for the other."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """What a thread has put in, for one task of the event loop in which this was made.

    It has no bound of its own: who puts must stop when enough waits to be taken.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[T] = deque()
        self._arrived = asyncio.Event()

    def put(self, item: T) -> None:
        """Add an item, from any thread; after the event loop has closed, nobody misses it."""
        self._items.append(item)
        if not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._arrived.set)
            except RuntimeError:  # closed in this moment
                self._items.clear()

    async def take(self) -> T:
        """The next item, as soon as there is one."""
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()
