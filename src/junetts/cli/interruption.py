"""Ctrl-C and SIGTERM as cancellation, so that work ends in order and files stay valid."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from anyio import CancelScope

ECHO_S = 0.3


@dataclass(slots=True)
class Interruption:
    """Which signal has ended the work, if one has."""

    signum: int | None = None

    @property
    def exit_status(self) -> int | None:
        """What a shell expects of a command that a signal has ended."""
        return None if self.signum is None else 128 + self.signum


@contextmanager
def interruptible(*, clock: Callable[[], float] = time.monotonic) -> Iterator[Interruption]:
    """Cancel what is inside on SIGINT or SIGTERM; a second signal acts as it did before.

    One that comes at once is the same one: `timeout`, for example, sends it to the process and
    then to its group. To be used in the main thread, inside the event loop.
    """
    interruption = Interruption()
    loop = asyncio.get_running_loop()
    scope = CancelScope()
    echo_until: float | None = None

    def interrupt(signum: int, _: object) -> None:
        nonlocal echo_until
        if echo_until is None:
            echo_until = clock() + ECHO_S
            interruption.signum = signum
            loop.call_soon_threadsafe(scope.cancel)  # also wakes the loop up
        elif clock() > echo_until:
            signal.signal(signum, before[signal.Signals(signum)])
            signal.raise_signal(signum)

    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        for signum in before:
            signal.signal(signum, interrupt)
        with scope:
            yield interruption
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
