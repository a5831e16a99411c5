"""An event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for input, but never waits for it while a timer is pending."""

    jumped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.jumped_s += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs timers at once, in order, at the times they were set for.

    Not for tests in which a thread works while a timer is pending: the thread's time is nothing.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that were jumped."""
        return self._jumping.jumped_s


VIRTUAL_TIME: tuple[str, dict[str, object]] = ("asyncio", {"loop_factory": VirtualTimeLoop})
