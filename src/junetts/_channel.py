"""The way from the task that speaks to the listener: ordered and bounded by seconds of audio."""

from __future__ import annotations

import asyncio
from collections import deque

from junetts._backend import BackendAudio


class AudioChannel:
    """Carries items from one producer to one consumer.

    Guarantees: items arrive in order, then the end or the producer's error; the producer waits
    while ``max_bytes`` of audio are unread, so that a listener who plays at the speed of sound
    does not make memory grow; nothing is delivered after `discard`.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._items: deque[BackendAudio] = deque()
        self._n_bytes = 0
        self._max_bytes = max_bytes
        self._closed = False
        self._error: Exception | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def put(self, item: BackendAudio) -> None:
        """Add an item, waiting while the channel is full; dropped if the channel is closed."""
        while not self.offer(item):
            self._writable.clear()
            await self._writable.wait()

    def offer(self, item: BackendAudio) -> bool:
        """`put` without waiting; whether it could."""
        if self._closed:
            return True
        if self._n_bytes >= self._max_bytes:
            return False
        self._items.append(item)
        self._n_bytes += len(item.data)
        self._readable.set()
        return True

    def close(self, error: Exception | None = None) -> None:
        """End the channel; ``error`` is raised to the consumer after the last item."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._readable.set()

    def discard(self) -> None:
        """End the channel now and forget what was not read."""
        self._closed = True
        self._error = None
        self._items.clear()
        self._n_bytes = 0
        self._readable.set()
        self._writable.set()

    async def wait(self) -> bool:
        """Wait for an item; False at the end.

        Raises:
            Exception: the producer's error, once, after the last item.
        """
        while not self._items:
            if self._closed:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                return False
            self._readable.clear()
            await self._readable.wait()
        return True

    @property
    def has_items(self) -> bool:
        """Whether an item waits."""
        return bool(self._items)

    def take(self) -> BackendAudio:
        """The next item; only if one waits."""
        item = self._items.popleft()
        self._n_bytes -= len(item.data)
        if self._n_bytes < self._max_bytes:
            self._writable.set()
        return item

    def take_all(self) -> list[BackendAudio]:
        """All items that wait."""
        items = list(self._items)
        self._items.clear()
        self._n_bytes = 0
        self._writable.set()
        return items

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be put in."""
        return self._closed

    @property
    def is_exhausted(self) -> bool:
        """Whether the producer ended well and everything was taken."""
        return self._closed and self._error is None and not self._items

    def next_is_marker(self) -> bool:
        """Whether an item without audio is next, which a listener need not wait for."""
        return bool(self._items) and not self._items[0].data
