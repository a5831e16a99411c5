"""One utterance, spoken by one backend after another."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from junetts._audio import BYTES_PER_SAMPLE
from junetts._backend import BackendAudio, TtsBackend
from junetts._config_sections import FallbackSection
from junetts._delivery import Delivery
from junetts._errors import JuneTtsError
from junetts._events import BrokeOff, HandedOver, UtteranceEvent
from junetts._loudness import silent_s
from junetts._monitor import HealthMonitor
from junetts._replay import Replay
from junetts._report import Handover, Provenance, WordTime
from junetts._resumption import Pace, resume_point
from junetts._seam import Seam
from junetts._spoken_words import spoken_length
from junetts._starter import Starter
from junetts._utterance import Segment, Utterance

_logger = logging.getLogger("junetts")


class Relay:
    """The audio of an utterance; `start` first, `aclose` last.

    Guarantees: a segment that one backend has finished is never spoken by another; the next
    backend begins with the first segment that is not finished, or goes on inside it; one that
    broke off after sound speaks again only if nobody else is left, or if the settings let it
    return once it has recovered; each is released before the next begins; there is no click
    where it changes, and the next is as loud as the one before.
    """

    def __init__(
        self,
        backends: Mapping[str, TtsBackend],
        utterance: Utterance,
        segments: AsyncIterable[Segment],
        *,
        rules: FallbackSection,
        monitor: HealthMonitor,
        paces: Mapping[str, Pace],
        random: Callable[[], float],
    ) -> None:
        self._utterance = utterance
        self._rules = rules
        self._monitor = monitor
        self._paces = paces
        self._speed = 1.0 if utterance.prosody is None else utterance.prosody.speed
        self._replay = Replay(segments)
        self._starter = Starter(
            backends,
            utterance,
            self._replay,
            rules=rules,
            monitor=monitor,
            random=random,
        )
        self._delivery: Delivery | None = None
        self._speaker = ""
        self._audio: AsyncIterator[BackendAudio] | None = None
        self._seam = Seam(matches_loudness=rules.match_loudness and len(backends) > 1)
        self._broken_off_by: JuneTtsError | None = None
        self._resumed_by: Provenance | None = None
        self._is_returning = False
        self._partial: BackendAudio | None = None  # the last audio of an unfinished segment
        self._words: tuple[WordTime, ...] = ()  # of it, by the backend that speaks now
        self._n_bytes = 0  # likewise
        self._pieces: list[bytes] = []  # likewise, as the backend made them, for `continue`

    def __aiter__(self) -> Relay:
        return self

    async def __anext__(self) -> BackendAudio:
        while True:
            if self._broken_off_by is not None:
                await self._hand_over(self._broken_off_by)
            elif self._is_returning:
                await self._return()
            assert self._audio is not None
            try:
                return self._passed_on(await anext(self._audio))
            except JuneTtsError as error:
                self._broke_off(error)
                if (last := self._last_of_broken()) is not None:
                    return last

    async def start(self) -> None:
        """Find the first backend that has sound.

        Raises:
            NoBackendAvailableError: if none of several has any.
            JuneTtsError: why the only one has none.
            InvalidRequestError: if what is asked for is beyond every one of them.
        """
        self._delivery = await self._starter.start()
        self._speaker = self._delivery.backend
        self._audio = self._delivery.audio

    async def aclose(self) -> None:
        """Release whatever backend speaks now, and whoever lost a race."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._starter.aclose)
            await self._release()

    async def _release(self) -> None:
        """Leave the backend that speaks."""
        if (delivery := self._delivery) is not None:
            self._monitor.left(delivery.backend, use=delivery.use)
            await delivery.aclose()
            self._delivery = None  # only now: who is cancelled above must be able to come back

    def _broke_off(self, error: JuneTtsError) -> None:
        self._broken_off_by = error
        number = self._utterance.number
        self._observe(BrokeOff(utterance=number, backend=self._speaker, reason=error.message))
        self._starter.broke_off(self._spoken, error)

    async def _hand_over(self, error: JuneTtsError) -> None:
        """Let the next backend go on, if there is anything to say.

        Raises:
            JuneTtsError: the failure itself, if nobody is left or nobody may go on.
            NoBackendAvailableError: if those who were left fail, too.
        """
        await self._release()
        if self._partial is None and not await self._replay.has_more():
            _logger.info("a backend failed when all was said: %s", error)
            raise StopAsyncIteration
        if not self._may_go_on:
            raise self._starter.verdict(error)
        await self._go_on(reason=error.message)
        self._broken_off_by = None

    async def _return(self) -> None:
        """Let a preferred backend that has recovered go on, if there is anything to say."""
        self._is_returning = False
        if not await self._replay.has_more() or not self._starter.has_better_than(self._speaker):
            return
        self._starter.call_back(self._speaker)
        await self._release()
        await self._go_on(reason="a preferred backend has recovered")

    async def _go_on(self, *, reason: str) -> None:
        former = self._speaker
        await self.start()
        if self._speaker != former or self._partial is not None:
            self._seam.join()
        handover = Handover(
            from_backend=former,
            to_backend=self._speaker,
            segment=self._replay.index,
            reason=reason,
            resumed_at=self._replay.offset,
            resumed_by=self._resumed_by,
        )
        self._forget_segment()
        if handover.to_backend != former:
            self._observe(HandedOver(utterance=self._utterance.number, handover=handover))

    @property
    def _may_go_on(self) -> bool:
        """Whether another backend is there to take over, and allowed to."""
        is_allowed = self._partial is None or self._rules.on_partial != "fail"
        return is_allowed and self._starter.has_others_than(self._speaker)

    @property
    def _spoken(self) -> Delivery:
        assert self._delivery is not None
        return self._delivery

    def _passed_on(self, item: BackendAudio) -> BackendAudio:
        """The item as the listener gets it; notes what has been heard."""
        if item.data:
            self._n_bytes += len(item.data)
            if self._rules.on_partial == "continue":
                self._pieces.append(item.data)
            item = self._seam.joined(item)
            self._partial = item
        if item.words is not None:
            self._words = item.words
        if self._replay.offset:
            item = replace(item, offset=self._replay.offset)
        if item.end is not None:
            self._finished(item)
        return item

    def _finished(self, item: BackendAudio) -> None:
        """Enter that a segment is finished, after which a better backend may return."""
        if item.end == "complete" and self._partial is not None and not self._replay.offset:
            self._paces[self._speaker].learn(
                spoken_length(self._replay.unfinished), self._heard_s(self._partial) * self._speed
            )
        self._monitor.succeeded(self._speaker, use=self._spoken.use)
        self._close_segment(item.segment)
        if self._rules.return_at == "segment":
            self._is_returning = self._starter.has_better_than(self._speaker)

    def _close_segment(self, index: int) -> None:
        self._replay.finished(index)
        self._forget_segment()

    def _forget_segment(self) -> None:
        self._partial, self._words, self._n_bytes, self._resumed_by = None, (), 0, None
        self._pieces.clear()

    def _heard_s(self, partial: BackendAudio) -> float:
        return self._n_bytes / BYTES_PER_SAMPLE / partial.format.sample_rate

    def _last_of_broken(self) -> BackendAudio | None:
        """What follows audio that broke off, if another backend is going to speak after it."""
        if self._partial is None or not self._may_go_on:
            return None
        tail = self._seam.last(self._partial)
        if self._rules.on_partial == "continue" and self._is_heard_out(self._partial):
            tail = replace(tail, end="complete")
            self._close_segment(tail.segment)
        return tail

    def _is_heard_out(self, partial: BackendAudio) -> bool:
        """Look where to go on in the segment; whether nothing of it is left to be said."""
        text = self._replay.unfinished
        point = resume_point(
            text,
            heard_s=self._heard_s(partial),
            silent_s=silent_s(b"".join(self._pieces), sample_rate=partial.format.sample_rate),
            words=self._words,
            pace=self._paces[self._speaker],
            speed=self._speed,
        )
        if point.offset == len(text):
            return True
        self._replay.resume_after(point.offset)
        self._resumed_by = point.provenance
        return False

    def _observe(self, event: UtteranceEvent) -> None:
        if self._utterance.observe is not None:
            self._utterance.observe(event)
