"""Someone who has a text spoken: the source that writes it, and the listener who may leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from faults.soak_plan import UtterancePlan
from junetts import TTS, JuneTtsError, SpeechReport, SpeechStream

HANG_S = 3_600.0  # virtual; whatever happens, every utterance has ended by then


class SourceError(Exception):
    """What a text source raises."""


@dataclass(kw_only=True)
class Hearing:
    """What came of one utterance.

    Attributes:
        plan: what was asked for.
        read: the text that its source has given.
        pcm: what was heard.
        has_left: whether the listener left, if only at the very end.
        error: what was raised.
        report: how it ended.
    """

    plan: UtterancePlan
    read: str = ""
    pcm: bytearray = field(default_factory=bytearray)
    has_left: bool = False
    error: Exception | None = None
    report: SpeechReport | None = None


async def hear(tts: TTS, plan: UtterancePlan, dice: Random) -> Hearing:
    """Have one text spoken.

    Raises:
        TimeoutError: if it hangs.
    """
    hearing = Hearing(plan=plan)
    async with asyncio.timeout(HANG_S):
        if plan.collects and plan.leaving is None:
            await _collect(tts, hearing, dice)
        else:
            await _follow(tts, hearing, dice)
    return hearing


async def _collect(tts: TTS, hearing: Hearing, dice: Random) -> None:
    text = _Source(hearing, dice)
    try:
        speech = await tts.synthesize(
            text.text,
            voice=hearing.plan.voice,
            backend=hearing.plan.backend,
            timeout_s=hearing.plan.timeout_s,
        )
    except JuneTtsError as error:
        hearing.error, hearing.report = error, error.report
        hearing.pcm += b"" if error.speech is None else error.speech.pcm
    else:
        hearing.report = speech.report
        hearing.pcm += speech.pcm


async def _follow(tts: TTS, hearing: Hearing, dice: Random) -> None:
    source = _Source(hearing, dice)
    stream = tts.stream(
        source.text,
        voice=hearing.plan.voice,
        backend=hearing.plan.backend,
        timeout_s=hearing.plan.timeout_s,
    )
    source.stream = stream
    listener = asyncio.create_task(_listen(stream, hearing, dice))
    try:
        await _interrupt(listener, stream, hearing)
        with suppress(asyncio.CancelledError):
            await listener
    finally:
        listener.cancel()
        await stream.aclose()
    assert [chunk async for chunk in _rest(stream)] == []
    hearing.report = stream.report


async def _interrupt(listener: asyncio.Task[None], stream: SpeechStream, hearing: Hearing) -> None:
    """Have the listener cancelled at the planned moment, unless it has ended before."""
    plan = hearing.plan
    if plan.leaving not in ("cancel", "task"):
        return
    await asyncio.wait([listener], timeout=plan.leaves_after_s)
    hearing.has_left = True
    if plan.leaving == "cancel":
        stream.cancel()
    else:
        listener.cancel()


async def _listen(stream: SpeechStream, hearing: Hearing, dice: Random) -> None:
    plan = hearing.plan
    limit_s = plan.leaves_after_s if plan.leaving == "deadline" else None
    try:
        async with asyncio.timeout(limit_s):
            await _take(stream, hearing, dice)
    except (JuneTtsError, SourceError) as error:
        hearing.error = error
    except TimeoutError:
        hearing.has_left = True


async def _take(stream: SpeechStream, hearing: Hearing, dice: Random) -> None:
    plan = hearing.plan
    n_chunks = plan.leaves_after_chunks if plan.leaving in ("break", "aclose") else -1
    async for chunk in stream:
        hearing.pcm += chunk.pcm
        n_chunks -= 1
        if n_chunks == 0:
            hearing.has_left = True
            break
        if plan.listener_pause_s:
            await asyncio.sleep(dice.uniform(0, plan.listener_pause_s))
    if hearing.has_left and plan.leaving == "aclose":
        await stream.aclose()


async def _rest(stream: SpeechStream) -> AsyncIterator[object]:
    """What is still handed out when all is over: nothing."""
    with suppress(StopAsyncIteration):
        while True:
            yield await anext(stream)


class _Source:
    """Writes the text piece by piece, and notes what was read."""

    def __init__(self, hearing: Hearing, dice: Random) -> None:
        self.stream: SpeechStream | None = None
        self._hearing = hearing
        self._dice = dice

    @property
    def text(self) -> str | AsyncIterator[str]:
        """What to give a client."""
        if self._hearing.plan.pieces is None:
            self._hearing.read = self._hearing.plan.text
            return self._hearing.plan.text
        return self._written(self._hearing.plan.pieces)

    async def _written(self, pieces: tuple[str, ...]) -> AsyncIterator[str]:
        plan = self._hearing.plan
        for piece in pieces:
            if plan.source_pause_s:
                await asyncio.sleep(self._dice.uniform(0, plan.source_pause_s))
            self._hearing.read += piece
            yield piece
            self._flush_now_and_then()
        if plan.raises:
            raise SourceError

    def _flush_now_and_then(self) -> None:
        """Between two words, for half of one is none that anybody knows."""
        is_between_words = self._hearing.read.endswith((" ", "\n"))
        if self.stream is not None and self._hearing.plan.flushes and is_between_words:
            self.stream.flush()
