"""Faults in the audio of a backend that is in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import NoReturn

from junetts._audio import AudioFormat
from junetts._backend import BackendAudio
from junetts._errors import (
    BackendUnavailableError,
    JuneTtsError,
    RateLimitedError,
    RemoteProtocolError,
)
from junetts._fishwire.refusals import refusal
from junetts._utterance import Segment
from junetts.testing._fault_plan import FaultPlan
from junetts.testing._fault_shapes import Portion, divided, reshaped, trickled
from junetts.testing.faults import AT_END, RESHAPING, Fault, FaultKind, Where

Audio = AsyncIterator[BackendAudio]
Items = AsyncGenerator[BackendAudio, None]
Interference = Callable[[Segment, Audio], Audio]

WRONG_SEGMENTS = 1_000_000  # added to a segment's index

ITEM: Portion[BackendAudio] = Portion(
    data=lambda item: item.data, with_data=lambda item, data: replace(item, data=data)
)


def faulty(plan: FaultPlan) -> Interference:
    """What passes a segment's audio on, except where the plan says otherwise.

    When it ends, or is closed, the segment's audio is closed.
    """

    async def interfere(segment: Segment, audio: Audio) -> Items:
        fault = plan.in_segment(segment.text, has_door=False)
        items = _ends_apart(audio)
        async with aclosing(items if fault is None else _struck(segment, items, fault)) as passed:
            async for item in passed:
                yield item

    return interfere


async def _struck(segment: Segment, items: Items, fault: Fault) -> Items:
    async with aclosing(items):
        if fault.kind in RESHAPING:
            going_on = _reshaped(items, fault)
        else:
            passage = _Passage(AT_END if fault.kind is FaultKind.LATE_FINISH else fault.where)
            while not passage.is_over:
                for item in passage.take(await anext(items)):
                    yield item
            going_on = _going_on(segment, items, fault, passage.rest)
        async with aclosing(going_on):
            async for item in going_on:
                yield item


async def _going_on(
    segment: Segment, items: Items, fault: Fault, rest: list[BackendAudio]
) -> Items:
    """What comes when the fault strikes, and after it, if anything does."""
    if fault.is_after_end:
        yield rest.pop()
    if fault.kind is FaultKind.TRUNCATE:
        return
    if fault.kind is FaultKind.LATE_FINISH:
        await asyncio.sleep(fault.delay_s)
    elif fault.kind is FaultKind.CORRUPT:
        yield _of_another_segment(segment)
    elif fault.kind is not FaultKind.HUGE_FRAME:
        await _fail(fault)
    rest += [item async for item in items]
    for item in _in_one(rest) if fault.kind is FaultKind.HUGE_FRAME and rest else rest:
        yield item


async def _reshaped(items: Items, fault: Fault) -> Items:
    """The segment once it is complete, as the fault leaves it."""
    *sound, end = [item async for item in items]
    before, struck = divided(sound, fault, ITEM)
    for item in before:
        yield item
    if fault.kind is FaultKind.TRICKLE:
        tiny, struck = trickled(struck, fault, ITEM)
        for item in tiny:
            await asyncio.sleep(fault.trickle_pause_s)
            yield item
    for item in reshaped(before, struck, fault, ITEM):
        yield item
    yield end


class _Passage:
    """Lets a segment's items through up to a place; ``rest`` is what was held back there."""

    def __init__(self, where: Where) -> None:
        self.is_over = where.is_before_sound
        self.rest: list[BackendAudio] = []
        self._where = where
        self._n_left = where.n

    def take(self, item: BackendAudio) -> list[BackendAudio]:
        """What may pass of an item; the segment's end may not."""
        if item.end is not None:
            self._stop(item)
            return []
        if self._where.point in ("end", "after"):
            return [item]
        if self._where.point == "events":
            return self._count(item, 1)
        n_bytes = len(item.data)
        if n_bytes <= self._n_left:
            return self._count(item, n_bytes)
        self._stop(replace(item, data=item.data[self._n_left :]))
        return [replace(item, data=item.data[: self._n_left])]

    def _count(self, item: BackendAudio, n: int) -> list[BackendAudio]:
        self._n_left -= n
        self.is_over = self._n_left == 0
        return [item]

    def _stop(self, *rest: BackendAudio) -> None:
        self.rest += rest
        self.is_over = True


async def _ends_apart(audio: Audio) -> Items:
    """The items, each segment's end as one of its own; closes the audio with itself."""
    try:
        async for item in audio:
            if item.end is not None and item.data:
                yield replace(item, end=None)
                yield replace(item, data=b"", words=None)
            else:
                yield item
    finally:
        if isinstance(audio, AsyncGenerator):
            await audio.aclose()


def _in_one(items: list[BackendAudio]) -> list[BackendAudio]:
    """The items' audio in the last of them, which has the segment's end."""
    data = b"".join(item.data for item in items)
    words = [replace(item, data=b"") for item in items[:-1] if item.words is not None]
    return [*words, replace(items[-1], data=data)]


def _of_another_segment(segment: Segment) -> BackendAudio:
    index = segment.index + WRONG_SEGMENTS
    return BackendAudio(segment=index, format=AudioFormat(sample_rate=44_100), data=b"\x01\x02")


async def _fail(fault: Fault) -> NoReturn:
    """Raise, or hang."""
    if fault.kind is FaultKind.STATUS:
        raise _status_error(fault)
    if fault.kind in _ERRORS:
        raise _ERRORS[fault.kind](fault)
    await asyncio.get_running_loop().create_future()
    raise AssertionError("a future that nobody knows was set")


def _status_error(fault: Fault) -> JuneTtsError:
    wait_s = fault.retry_after_s
    headers = {} if wait_s is None else {"retry-after": f"{wait_s:g}"}
    error = refusal(fault.status, fault.message.encode(), headers, backend="")
    error.backend = None  # whoever wraps the backend says its name
    return error


def _too_many(fault: Fault) -> JuneTtsError:
    if fault.max_concurrency is None:
        return BackendUnavailableError(f"the backend broke off: {fault.message}")
    return RateLimitedError(fault.message, retry_after_s=fault.retry_after_s)


_ERRORS: Mapping[FaultKind, Callable[[Fault], JuneTtsError]] = {
    FaultKind.REFUSE: lambda _: BackendUnavailableError("nothing listens there"),
    FaultKind.CLOSE: lambda fault: RemoteProtocolError(f"closed too early: {fault.message}"),
    FaultKind.DROP: lambda _: RemoteProtocolError("the connection ended too early"),
    FaultKind.RESET: lambda _: BackendUnavailableError("the connection was reset"),
    FaultKind.FINISH_ERROR: lambda fault: BackendUnavailableError(
        f"the backend broke off: {fault.message}"
    ),
    FaultKind.ERROR_EVENT: _too_many,
}
