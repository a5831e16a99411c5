"""The line in front of a server that does one thing at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import Lock, move_on_after

from junetts._errors import BackendBusyError

# Who is still in line when nearly all of the time for the next sound has gone could not be heard
# in time any more; leaving then tells the real reason, a moment before a deadline would.
PATIENCE = 0.95


class ServerQueue:
    """One request at a time, first come, first served.

    A turn is one segment, not one utterance: text may trickle in and listeners may pause, and
    a server held meanwhile would idle while others wait. A speaker's next sentence waits for at
    most one sentence of each other speaker, during which its listener still hears the last one.

    Guarantees: of those who have not begun to speak, at most ``limit`` wait, so that a newcomer
    is told at once to go elsewhere; who has begun is never turned away from the line.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()

    @property
    def n_waiting(self) -> int:
        """How many wait for their turn."""
        return self._lock.statistics().tasks_waiting

    @asynccontextmanager
    async def turn(self, *, timeout_s: float, is_newcomer: bool) -> AsyncIterator[None]:
        """Wait for a turn, and hold it.

        Args:
            timeout_s: when the caller's next sound is due, in seconds from now.
            is_newcomer: whether the caller has not been heard yet.

        Raises:
            BackendBusyError: if the line is full, or did not move up in time.
        """
        ahead = self.n_waiting
        if is_newcomer and self._lock.locked() and ahead >= self._limit:
            raise BackendBusyError(
                f"the server speaks one request at a time, and {ahead} already wait",
                hint="run another server, or raise server.queue_limit",
            )
        with move_on_after(timeout_s * PATIENCE) as scope:
            await self._lock.acquire()
        if scope.cancelled_caught:
            raise BackendBusyError(
                f"no turn within {timeout_s:g} s: the server speaks one request at a time, "
                f"and {ahead + 1} came before",
            )
        try:
            yield
        finally:
            self._lock.release()
