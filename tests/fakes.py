"""A backend that follows a script, and a client that proves that nothing of it is left."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from junetts import TTS
from junetts._audio import AudioFormat
from junetts._backend import BackendAudio, Capabilities, Health, SegmentEnd
from junetts._errors import JuneTtsError
from junetts._events import Event
from junetts._report import WordTime
from junetts._utterance import Segment, Utterance

RATE_HZ = 8000
CHUNK_S = 0.1
Performance = Callable[[Segment], AsyncIterator[BackendAudio]]
Hook = Callable[[], Awaitable[None]]


def tone_pcm(duration_s: float = CHUNK_S, *, hz: float = 200.0, rate: int = RATE_HZ) -> bytes:
    """A tone without a single zero sample."""
    n_samples = round(duration_s * rate)
    wave = (math.sin(2 * math.pi * hz * (i + 0.5) / rate) for i in range(n_samples))
    return array("h", (round(12_000 * value) or 1 for value in wave)).tobytes()


def audio(
    segment: Segment | int,
    data: bytes = b"",
    *,
    end: SegmentEnd | None = None,
    words: tuple[WordTime, ...] | None = None,
    rate: int = RATE_HZ,
    media_type: str = "audio/pcm",
) -> BackendAudio:
    """An item as a raw backend yields it."""
    return BackendAudio(
        segment=segment if isinstance(segment, int) else segment.index,
        format=AudioFormat(sample_rate=rate, media_type=media_type),
        data=data,
        end=end,
        words=words,
    )


def speaks(n_chunks: int = 3, *, pause_s: float = 0.0) -> Performance:
    """Every segment is a tone of some chunks."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        for _ in range(n_chunks):
            await asyncio.sleep(pause_s)
            yield audio(segment, tone_pcm())
        yield audio(segment, end="complete")

    return perform


def yields(*items: BackendAudio) -> Performance:
    """Speech is these items; each segment that is asked for gives those up to the next one's."""
    left = list(items)

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        ended = False
        while left and not (ended and left[0].segment > segment.index):
            await asyncio.sleep(0)
            ended = left[0].end is not None
            yield left.pop(0)

    return perform


def breaks(error: BaseException, *, segment: int = 0, after: int = 1) -> Performance:
    """Speaks, but fails in one segment after some chunks."""

    async def perform(given: Segment) -> AsyncIterator[BackendAudio]:
        if given.index == segment:
            for _ in range(after):
                yield audio(given, tone_pcm())
            raise error
        async for item in speaks()(given):
            yield item

    return perform


def hangs(*, segment: int = 0, after: int = 0) -> Performance:
    """Speaks, but stops for ever in one segment after some chunks."""

    async def perform(given: Segment) -> AsyncIterator[BackendAudio]:
        if given.index == segment:
            for _ in range(after):
                yield audio(given, tone_pcm())
            await asyncio.get_running_loop().create_future()
        async for item in speaks()(given):
            yield item

    return perform


class FakeBackend:
    """Does what ``perform`` says with every segment, and remembers it.

    Attributes:
        given: the texts that it was handed.
        utterances: what it was asked for, one per attempt.
        n_open: how many utterances hold it now.
        n_bytes: how much audio it has made.
        n_closed: how often it was closed.
    """

    def __init__(
        self,
        perform: Performance | None = None,
        *,
        name: str = "fake",
        enter: Hook | None = None,
        leave: Hook | None = None,
        refuses: JuneTtsError | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        self.name = name
        self.capabilities = capabilities or Capabilities(sample_rate=RATE_HZ, voice_ids=True)
        self.given: list[str] = []
        self.utterances: list[Utterance] = []
        self.n_open = 0
        self.n_bytes = 0
        self.n_closed = 0
        self.n_warmups = 0
        self.health = Health(status="ok", detail="a fake is always well")
        self.refuses = refuses
        self._perform = perform or speaks()
        self._enter = enter
        self._leave = leave

    async def warmup(self) -> None:
        """Count, or refuse."""
        self.n_warmups += 1
        if self.refuses is not None:
            raise self.refuses

    async def probe(self) -> Health:
        """Say what was told."""
        return self.health

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Follow the script."""
        self.utterances.append(replace(utterance, observe=None))
        self.n_open += 1
        made = self._made(segments)
        try:
            if self._enter is not None:
                await self._enter()
            if self.refuses is not None:
                raise self.refuses
            yield made
        finally:
            await made.aclose()
            if self._leave is not None:
                await self._leave()
            self.n_open -= 1

    async def _made(self, segments: AsyncIterable[Segment]) -> AsyncGenerator[BackendAudio, None]:
        async for segment in segments:
            self.given.append(segment.text)
            async for item in self._perform(segment):
                self.n_bytes += len(item.data)
                yield item

    async def aclose(self) -> None:
        """Count."""
        self.n_closed += 1


@asynccontextmanager
async def client(
    *backends: FakeBackend, on_event: Callable[[Event], None] | None = None, **settings: object
) -> AsyncIterator[TTS]:
    """A client of these backends; afterwards, each is released and no task is left."""
    before = asyncio.all_tasks()
    config = {"backends": list(backends), "sample_rate": RATE_HZ, **settings}
    async with TTS(config, on_event=on_event) as tts:
        yield tts
    await settled()
    assert asyncio.all_tasks() == before
    for backend in backends:
        assert (backend.n_open, backend.n_closed) == (0, 1)


async def settled(n_rounds: int = 30) -> None:
    """Let everything happen that needs no time."""
    for _ in range(n_rounds):
        await asyncio.sleep(0)
