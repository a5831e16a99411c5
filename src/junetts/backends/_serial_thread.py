"""Calls made one after another, in a thread of their own."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from junetts._errors import EngineError

EXIT_TIMEOUT_S = 5.0

T = TypeVar("T")


class SerialThread:
    """Makes the calls of an event loop in order of arrival, one at a time.

    Guarantees: the loop never waits; a call whose caller left before its turn is not made; one
    whose caller left later is finished all the same, and the next waits for that. The queue
    holds at most one call per caller, so it is bounded by how many there are.

    The thread starts with the first call and does not keep the process alive; but when the
    interpreter exits, it is given a while to end first, because a thread that came back from
    torch later would take the process down.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: Thread | None = None
        self._turns: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether no more calls are made; the one in hand may stop early."""
        return self._is_closed

    async def call(self, function: Callable[[], T]) -> T:
        """Make a call when its turn has come, and give what it gives.

        Raises:
            EngineError: if the thread was closed before its turn.
        """
        future: Future[T] = Future()
        if self._is_closed:
            raise _closed()
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
            atexit.register(self._leave)
        self._turns.put(lambda: self._take_turn(function, future))
        return await asyncio.wrap_future(future)

    def close(self) -> Thread | None:
        """Make no more calls; the thread ends after the one in hand, and is there to wait for."""
        self._is_closed = True
        self._turns.put(None)
        atexit.unregister(self._leave)
        return self._thread

    def _leave(self) -> None:
        """The interpreter exits."""
        thread = self.close()
        if thread is not None:
            thread.join(EXIT_TIMEOUT_S)

    def _run(self) -> None:
        while (turn := self._turns.get()) is not None:
            turn()
            del turn  # and with it what the call held

    def _take_turn(self, function: Callable[[], T], future: Future[T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        if self._is_closed:
            future.set_exception(_closed())
            return
        try:
            result = function()
        except Exception as error:  # noqa: BLE001  (noqa: reviewed) passed to the caller
            future.set_exception(error)
        else:
            future.set_result(result)


def _closed() -> EngineError:
    return EngineError("the engine has been closed")
