"""One utterance, spoken by one backend after another."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Literal

from junetts._backend import BackendAudio, TtsBackend
from junetts._errors import InvalidRequestError, JuneTtsError, NoBackendAvailableError
from junetts._replay import Replay
from junetts._report import Attempt, Handover
from junetts._seam import FadeIn, fade_out
from junetts._utterance import Utterance

OnPartial = Literal["respeak", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverRules:
    """When another backend takes over, and what becomes of the sentence that was broken off.

    Attributes:
        first_audio_timeout_s: for the first sound, where another backend could take over.
        stall_timeout_s: likewise, for a pause once sound has begun.
        on_partial: ``respeak`` says an interrupted segment again from its beginning, ``fail``
            gives up instead.
    """

    first_audio_timeout_s: float
    stall_timeout_s: float
    on_partial: OnPartial = "respeak"


class Relay:
    """The audio of an utterance; `start` first, `aclose` last.

    Guarantees: a segment that one backend has finished is never spoken by another; the next
    backend begins with the first segment that is not finished; each backend is tried once, and
    is released before the next one begins; there is no click where it changes.
    """

    def __init__(
        self,
        backends: Sequence[TtsBackend],
        utterance: Utterance,
        replay: Replay,
        rules: HandoverRules,
    ) -> None:
        self._left = deque(backends)
        self._utterance = utterance
        self._replay = replay
        self._rules = rules
        self._stack = AsyncExitStack()
        self._audio: AsyncIterator[BackendAudio] | None = None
        self._backend = ""
        self._reasons: list[tuple[str, JuneTtsError]] = []
        self._broken_off_by: JuneTtsError | None = None
        self._partial: BackendAudio | None = None  # the last audio of an unfinished segment
        self._next_segment = 0
        self._fade: FadeIn | None = None

    def __aiter__(self) -> Relay:
        return self

    async def __anext__(self) -> BackendAudio:
        while True:
            if self._broken_off_by is not None:
                await self._hand_over(self._broken_off_by)
            assert self._audio is not None
            try:
                return self._passed_on(await anext(self._audio))
            except JuneTtsError as error:
                self._broken_off_by = error
                if (tail := self._tail()) is not None:
                    return tail

    async def start(self) -> None:
        """Find the first backend that yields sound.

        Raises:
            NoBackendAvailableError: if none does.
            InvalidRequestError: if what is asked for is beyond every one of them.
        """
        while self._left:
            backend = self._left.popleft()
            self._replay.keep = bool(self._left)
            try:
                speaking = backend.speak(self._in_time(), self._replay.reader())
                self._audio = await self._stack.enter_async_context(speaking)
            except JuneTtsError as error:
                self._reasons.append((backend.name, error))
                self._observe(Attempt(backend=backend.name, reason=error.message))
            else:
                self._backend = backend.name
                return
        raise _verdict(self._reasons)

    async def aclose(self) -> None:
        """Release whatever backend speaks now."""
        self._audio = None
        await self._stack.aclose()

    def _in_time(self) -> Utterance:
        """The utterance, with short deadlines where another backend could take over."""
        if not self._left:
            return self._utterance
        return replace(
            self._utterance,
            first_audio_timeout_s=self._rules.first_audio_timeout_s,
            stall_timeout_s=self._rules.stall_timeout_s,
        )

    async def _hand_over(self, error: JuneTtsError) -> None:
        """Let the next backend go on.

        Raises:
            JuneTtsError: the failure itself, if nobody is left or nobody may go on.
            NoBackendAvailableError: if those who were left fail, too.
        """
        await self.aclose()
        may_go_on = self._partial is None or self._rules.on_partial == "respeak"
        if not self._left or not may_go_on:
            raise error
        former, self._reasons = self._backend, [*self._reasons, (self._backend, error)]
        await self.start()
        self._broken_off_by = None
        if self._partial is not None:
            self._fade = FadeIn(sample_rate=self._partial.format.sample_rate)
            self._partial = None
        self._observe(
            Handover(
                from_backend=former,
                to_backend=self._backend,
                segment=self._next_segment,
                reason=error.message,
            )
        )

    def _passed_on(self, item: BackendAudio) -> BackendAudio:
        """The item as the listener gets it; notes what has been finished."""
        if item.data:
            item = self._faded_in(item)
            self._partial = item
        if item.end is not None:
            self._partial = None
            self._next_segment = item.segment + 1
            self._replay.finished(item.segment)
        return item

    def _faded_in(self, item: BackendAudio) -> BackendAudio:
        if self._fade is None:
            return item
        item = replace(item, data=self._fade.apply(item.data))
        if self._fade.is_over:
            self._fade = None
        return item

    def _tail(self) -> BackendAudio | None:
        """What follows audio that broke off, if another backend is going to speak after it."""
        if self._partial is None or not self._left or self._rules.on_partial == "fail":
            return None
        partial = self._partial
        data = fade_out(partial.data, sample_rate=partial.format.sample_rate)
        return replace(partial, data=data, words=None)

    def _observe(self, event: Attempt | Handover) -> None:
        if self._utterance.observe is not None:
            self._utterance.observe(event)


def _verdict(reasons: list[tuple[str, JuneTtsError]]) -> JuneTtsError:
    """What the caller is told; a request that no backend can honour is the caller's to mend."""
    errors = [error for _, error in reasons]
    if all(type(error) is InvalidRequestError for error in errors):
        return errors[0]
    verdict = NoBackendAvailableError(reasons)
    verdict.__cause__ = errors[-1]
    return verdict
