"""Ctrl-C and SIGTERM as cancellation, so that work ends in order and files stay valid."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from anyio import CancelScope


@dataclass(slots=True)
class Interruption:
    """Which signal has ended the work, if one has."""

    signum: int | None = None

    @property
    def exit_status(self) -> int | None:
        """What a shell expects of a command that a signal has ended."""
        return None if self.signum is None else 128 + self.signum


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Cancel what is inside on SIGINT or SIGTERM; a second signal acts as it did before.

    To be used in the main thread, inside the event loop.
    """
    interruption = Interruption()
    loop = asyncio.get_running_loop()
    scope = CancelScope()

    def interrupt(signum: int, _: object) -> None:
        interruption.signum = signum
        signal.signal(signum, before[signal.Signals(signum)])
        loop.call_soon_threadsafe(scope.cancel)  # also wakes the loop up

    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        for signum in before:
            signal.signal(signum, interrupt)
        with scope:
            yield interruption
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
