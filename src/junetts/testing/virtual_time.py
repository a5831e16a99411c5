"""An event loop whose clock jumps to the next timer, so that deadlines are tested without waiting.

In a test of your own::

    from junetts.testing import virtual_time

    def test_it_gives_up_after_a_minute():
        virtual_time.run(asks_and_waits_for_60_s(), limit_s=120.0)

and for all async tests of a module that anyio's pytest plugin runs::

    @pytest.fixture
    def anyio_backend():
        return junetts.testing.VIRTUAL_TIME

What the clock can rely on, and what not:

- Work of this event loop takes no time at all. Real sockets between tasks of this loop work: as
  long as there are any, each jump is preceded by a look at them of ``settle_s``. What a peer in
  another thread or process does may take longer than that; then a deadline of ours passes though
  the peer is quick. Serve from the loop that is tested, or raise ``settle_s``.
- The clock stands still while a thread works that was started by `asyncio.to_thread`,
  ``loop.run_in_executor`` or `anyio.to_thread.run_sync`. Other threads are not seen: hold the
  clock for as long as they work, ``with loop.held(): ...``.
- A thread may itself wait for the clock, or for a person. After ``thread_patience_s`` real
  seconds in which it gave no sign the clock goes on without it.
- `time.monotonic`, `time.perf_counter` and the like still tell the real time.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from queue import Queue
from types import CodeType, FrameType
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Ready = list[tuple[selectors.SelectorKey, int]]

SETTLE_S = 0.001
THREAD_PATIENCE_S = 5.0
THREAD_POLL_S = 0.002
HANG_S = 10.0
N_OWN_SOCKETS = 1  # through which threads wake the event loop
MAX_TASKS_SHOWN = 20


class StuckError(AssertionError):
    """Nothing will ever happen again, or not within the limit; the message lists who waits."""


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for input; where there is none, lets the clock jump instead of waiting."""

    def __init__(self, *, settle_s: float, hang_s: float) -> None:
        super().__init__()
        self.jumped_s = 0.0
        self.settle_s = settle_s
        self.hang_s = hang_s
        self.wait_for_threads: Callable[[Callable[[float], Ready]], Ready] = lambda _: []
        self.check: Callable[[float], None] = lambda _: None
        self.hangs: Callable[[], None] = lambda: None

    def select(self, timeout: float | None = None) -> Ready:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        ready = self.wait_for_threads(super().select) or self._settled(timeout)
        if ready or timeout is None:
            return ready
        self.check(self.jumped_s + timeout)
        self.jumped_s += timeout
        return ready

    def _settled(self, timeout: float | None) -> Ready:
        """What comes while nothing but input can make a difference."""
        if timeout is not None:
            has_sockets = len(self.get_map()) > N_OWN_SOCKETS
            return super().select(self.settle_s if has_sockets else 0)
        ready = super().select(self.hang_s)
        if not ready:
            self.hangs()
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs timers at once, in order, at the times they were set for.

    Guarantees: no timer fires before input that was there, or came within ``settle_s``, has been
    dealt with, nor while a thread works that the loop was asked for; if nothing is scheduled and
    no input comes for ``hang_s`` real seconds, or a timer lies beyond ``limit_s`` of virtual time,
    `StuckError` ends the run. See the module for the limits of this.

    Args:
        limit_s: how far the clock may go, in virtual seconds.
        settle_s: how long, in real seconds, sockets are listened to before the clock jumps.
        thread_patience_s: how long, in real seconds, the clock stands still for a thread that
            gives no sign.
        hang_s: how long, in real seconds, to wait for input when nothing is scheduled.
    """

    def __init__(
        self,
        *,
        limit_s: float = math.inf,
        settle_s: float = SETTLE_S,
        thread_patience_s: float = THREAD_PATIENCE_S,
        hang_s: float = HANG_S,
    ) -> None:
        self._jumping = _JumpingSelector(settle_s=settle_s, hang_s=hang_s)
        self._jumping.wait_for_threads = self._wait_for_threads
        self._jumping.check = self._check
        self._jumping.hangs = self._hangs
        self._limit_s = self._next_limit_s = limit_s
        self._thread_patience_s = thread_patience_s
        self._holding: set[object] = set()
        self._given_up: set[object] = set()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that were jumped."""
        return self._jumping.jumped_s

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the clock while a thread works that the loop does not know of."""
        hold = object()
        self._holding.add(hold)
        try:
            yield
        finally:
            self._holding.discard(hold)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function in a thread; the clock stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._holding.add(future)
        future.add_done_callback(self._holding.discard)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads, however long they take: the clock has nothing to do with it."""
        with self.held():
            await super().shutdown_default_executor()

    def _wait_for_threads(self, select: Callable[[float], Ready]) -> Ready:
        """Input that comes while threads work; none once they have ended or are given up."""
        until = time.monotonic() + self._thread_patience_s
        while working := self._working():
            ready = select(THREAD_POLL_S)
            if ready:
                return ready
            if time.monotonic() >= until:
                self._given_up |= working
        return []

    def _working(self) -> set[object]:
        """Who holds the clock."""
        working = self._holding | {
            thread for thread in threading.enumerate() if _works_for(thread, self)
        }
        self._given_up &= working
        return working - self._given_up

    def _check(self, time_s: float) -> None:
        if time_s > self._next_limit_s:
            self._next_limit_s = time_s + self._limit_s  # for what cleans up after this
            raise StuckError(f"{self._limit_s:g} s of virtual time are over; {_who_waits(self)}")

    def _hangs(self) -> None:
        what = f"nothing is scheduled and no input came for {self._jumping.hang_s:g} s"
        raise StuckError(f"{what}; {_who_waits(self)}")


VIRTUAL_TIME: tuple[str, dict[str, object]] = ("asyncio", {"loop_factory": VirtualTimeLoop})


def run(
    main: Coroutine[object, object, T],
    *,
    limit_s: float,
    settle_s: float = SETTLE_S,
    hang_s: float = HANG_S,
) -> T:
    """Run a coroutine in virtual time and give what it gives.

    Raises:
        StuckError: after ``limit_s`` virtual seconds, or if it hangs; the tasks were cancelled.
    """

    def loop() -> VirtualTimeLoop:
        return VirtualTimeLoop(limit_s=limit_s, settle_s=settle_s, hang_s=hang_s)

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)


def _works_for(thread: threading.Thread, loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a thread of anyio's has work of this loop in hand: its queue knows."""
    queue: object = getattr(thread, "queue", None)
    is_ours = getattr(thread, "loop", None) is loop
    return is_ours and isinstance(queue, Queue) and queue.unfinished_tasks > 0


def _who_waits(loop: asyncio.AbstractEventLoop) -> str:
    tasks = sorted(asyncio.all_tasks(loop), key=asyncio.Task.get_name)
    lines = [f"  {task.get_name()}: {_where(task)}" for task in tasks[:MAX_TASKS_SHOWN]]
    if len(tasks) > MAX_TASKS_SHOWN:
        lines.append(f"  and {len(tasks) - MAX_TASKS_SHOWN} more")
    return "\n".join([f"{len(tasks)} tasks wait:", *lines])


def _where(task: asyncio.Task[object]) -> str:
    """The places at which a task waits, from the outermost in."""
    places: list[str] = []
    step: object = task.get_coro()
    while (place := _place(step)) is not None:
        places.append(place)
        step = _inner(step)
    return " > ".join(places) or "has not begun"


def _place(step: object) -> str | None:
    for kind in ("cr", "ag", "gi"):
        frame, code = getattr(step, f"{kind}_frame", None), getattr(step, f"{kind}_code", None)
        if isinstance(frame, FrameType) and isinstance(code, CodeType):
            file = code.co_filename.rpartition("/")[2]
            return f"{code.co_qualname} ({file}:{frame.f_lineno})"
    return None


def _inner(step: object) -> object:
    awaited = (getattr(step, name, None) for name in ("cr_await", "ag_await", "gi_yieldfrom"))
    return next((one for one in awaited if one is not None), None)
