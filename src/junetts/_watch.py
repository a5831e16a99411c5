"""How long a backend may take: timed only while it owes audio and someone waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable
from typing import TypeVar

from junetts._errors import BackendTimeoutError, BackendUnavailableError
from junetts._utterance import Segment, Utterance

T = TypeVar("T")


class Watch:
    """Hands segments to a backend and times how long it owes their audio.

    Guarantees: a backend has ``first_audio_timeout_s`` to ask for text, for it may have to connect
    first; the first sound is due as long after text was handed over to one that owed nothing;
    once ``heard``, each step is due ``stall_timeout_s`` after it was asked for, together with
    those before it that ``brought_nothing``; a backend that owes nothing has all the time in the
    world while it waits for text, but none to neither speak nor take what there is. One timer
    serves all steps, because a timer for each would cost more than the rest of a step.
    """

    def __init__(
        self, utterance: Utterance, segments: AsyncIterable[Segment], *, backend: str
    ) -> None:
        self.backend = backend
        self.heard = False
        self.brought_nothing = False  # to hear, although it was a step
        self.has_all_text = False
        self.owed: dict[int, Segment] = {}
        self._utterance = utterance
        self._segments = aiter(segments)
        self._loop = asyncio.get_running_loop()
        self._waits_since = self._loop.time()
        self._spent_s = 0.0  # on steps since something was heard
        self._first_audio_at = self._waits_since + utterance.first_audio_timeout_s
        self._due_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Task[object] | None = None
        self._is_late = False
        self._is_asked = False  # for text; before, it connects or prepares itself otherwise
        self._awaits_text = False

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Segment:
        self._is_asked = self._awaits_text = True
        if not self.owed:
            self._due_at = None
        try:
            segment = await anext(self._segments)
        except StopAsyncIteration:
            self.has_all_text = True
            self._awaits_text = False
            self._resume()
            raise
        self._awaits_text = False
        if not self.owed:
            self._first_audio_at = self._loop.time() + self._utterance.first_audio_timeout_s
        self.owed[segment.index] = segment
        self._resume()
        return segment

    async def limit(self, step: Awaitable[T]) -> T:
        """Await the backend's next step, in time.

        Raises:
            BackendTimeoutError: if it takes too long; the step was cancelled.
        """
        task = asyncio.current_task()
        assert task is not None
        n_cancellations = task.cancelling()
        self._waiter = task
        self._waits_since = self._loop.time() - (self._spent_s if self.brought_nothing else 0.0)
        self._set_due()
        try:
            return await step
        except asyncio.CancelledError:
            if task.cancelling():
                raise
            # Nobody cancelled this task: something that the backend awaited was cancelled.
            raise BackendUnavailableError(
                "the backend cancelled itself", backend=self.backend, retryable=False
            ) from None
        finally:
            self._waiter = None
            self._spent_s = self._loop.time() - self._waits_since
            # Whatever the step made of our cancellation; but not of someone else's.
            if self._is_late and task.uncancel() <= n_cancellations:
                raise self._too_late() from None

    def close(self) -> None:
        """Stop timing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _resume(self) -> None:
        """Time the step that is waited for, if it was not because text was."""
        if self._waiter is not None and self._due_at is None:
            self._waits_since = self._loop.time()
            self._set_due()

    def _set_due(self) -> None:
        if not self.owed and self._awaits_text:
            self._due_at = None
            return
        is_first = not self.heard and (bool(self.owed) or not self._is_asked)
        stall_at = self._waits_since + self._utterance.stall_timeout_s
        due_at = self._first_audio_at if is_first else stall_at
        self._due_at = due_at
        if self._timer is None or due_at < self._timer.when():
            self._set_timer(due_at)

    def _set_timer(self, due_at: float) -> None:
        self.close()
        self._timer = self._loop.call_at(due_at, self._ring)

    def _ring(self) -> None:
        """Cancel the step if it is late; else look again when it would be."""
        self._timer = None
        if self._waiter is None or self._due_at is None:
            return
        if self._loop.time() < self._due_at:
            self._set_timer(self._due_at)
            return
        self._is_late = True
        self._waiter.cancel()

    def _too_late(self) -> BackendTimeoutError:
        if self.heard:
            what, limit_s = "sound stopped and nothing came", self._utterance.stall_timeout_s
        else:
            what, limit_s = "no sound came", self._utterance.first_audio_timeout_s
        return BackendTimeoutError(f"{what} for {limit_s:g} s", backend=self.backend)
