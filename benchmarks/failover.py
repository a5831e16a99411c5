"""What failover costs while nothing fails: the same backend bare, guarded, and as one of two.

    python benchmarks/failover.py

The backend has its chunks ready, so that nothing but junetts is measured. The ways to speak take
turns within each round; printed are medians over the rounds, and the median of what failover adds
to the guarded backend in the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import statistics
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import junetts
from junetts import AudioFormat, BackendAudio, Capabilities, Health, Segment, TtsBackend, Utterance
from junetts._assembly import Wiring
from junetts._config import resolve

SAMPLE_RATE = 44_100
CHUNK = bytes(range(256)) * 16  # 4 KiB, and not silent
TEXT = "A sentence that is spoken."
FIRST_AUDIO_BUDGET_US = 500
CHUNK_BUDGET_US = 10


class ReadyBackend:
    """Yields a number of chunks at once."""

    capabilities = Capabilities(sample_rate=SAMPLE_RATE)

    def __init__(self, name: str, *, n_chunks: int) -> None:
        self.name = name
        self._n_chunks = n_chunks

    async def warmup(self) -> None:
        """There is nothing to do."""

    async def probe(self) -> Health:
        """It is always well."""
        return Health(status="ok", detail="ready")

    async def aclose(self) -> None:
        """There is nothing to release."""

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak, without waiting for anything but text."""
        yield self._chunks(segments)

    async def _chunks(self, segments: AsyncIterable[Segment]) -> AsyncIterator[BackendAudio]:
        form = AudioFormat(sample_rate=SAMPLE_RATE)
        async for segment in segments:
            for _ in range(self._n_chunks):
                yield BackendAudio(segment=segment.index, format=form, data=CHUNK)
            yield BackendAudio(segment=segment.index, format=form, end="complete")


async def text() -> AsyncIterator[Segment]:
    """One segment."""
    yield Segment(index=0, text=TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Microseconds from the request to the first audio, and per chunk after it."""

    first_audio_us: float
    chunk_us: float


Speak = Callable[[], Awaitable[Times]]


def through(backend: TtsBackend, *, n_chunks: int) -> Speak:
    """Speak with a backend, by the protocol that all have."""

    def enter() -> AbstractAsyncContextManager[AsyncIterator[BackendAudio]]:
        return backend.speak(Utterance(), text())

    async def speak() -> Times:
        started_at = time.perf_counter()
        async with enter() as audio:
            await anext(audio)
            first_at = time.perf_counter()
            async for _ in audio:
                pass
            return times(started_at, first_at, n_chunks)

    return speak


def through_client(tts: junetts.TTS, *, n_chunks: int) -> Speak:
    """Speak with the whole client."""

    async def speak() -> Times:
        started_at = time.perf_counter()
        stream = tts.stream(TEXT)
        chunks = aiter(stream)
        await anext(chunks)
        first_at = time.perf_counter()
        async for _ in chunks:
            pass
        return times(started_at, first_at, n_chunks)

    return speak


def times(started_at: float, first_at: float, n_chunks: int) -> Times:
    """The times of an utterance that ends now."""
    rest = time.perf_counter() - first_at
    per_chunk = rest / (n_chunks - 1) if n_chunks > 1 else 0.0
    return Times(first_audio_us=(first_at - started_at) * 1e6, chunk_us=per_chunk * 1e6)


async def measure(*, n_chunks: int, n_rounds: int) -> dict[str, list[Times]]:
    """The times of every round, by the way to speak; some rounds before are not counted."""
    raw = ReadyBackend("first", n_chunks=n_chunks)
    backends = [raw, ReadyBackend("second", n_chunks=n_chunks)]
    wiring = Wiring(resolve({"backends": backends}, {}))
    await wiring.connect()
    try:
        async with junetts.TTS({"backends": backends}) as tts:
            ways: dict[str, Speak] = {
                "the backend itself": through(raw, n_chunks=n_chunks),
                "guarded": through(wiring.configured[0], n_chunks=n_chunks),
                "failover, two backends": through(wiring.backend(None), n_chunks=n_chunks),
                "the whole client, two backends": through_client(tts, n_chunks=n_chunks),
            }
            return await rounds(ways, n_rounds=n_rounds)
    finally:
        await wiring.aclose()


async def rounds(ways: dict[str, Speak], *, n_rounds: int) -> dict[str, list[Times]]:
    """Let the ways take turns, each round in another order."""
    found: dict[str, list[Times]] = {name: [] for name in ways}
    n_idle = max(3, n_rounds // 10)
    names = list(ways)
    for i in range(n_rounds + n_idle):
        gc.collect()
        gc.disable()
        await ways[names[-1]]()  # whoever comes first would find the processor's caches cold
        for name in names[i % len(names) :] + names[: i % len(names)]:
            spoken = await ways[name]()
            if i >= n_idle:
                found[name].append(spoken)
        gc.enable()
    return found


def added(found: dict[str, list[Times]]) -> Times:
    """The medians of what failover adds to the guarded backend in one round."""
    pairs = list(zip(found["failover, two backends"], found["guarded"], strict=True))
    return Times(
        first_audio_us=statistics.median(a.first_audio_us - b.first_audio_us for a, b in pairs),
        chunk_us=statistics.median(a.chunk_us - b.chunk_us for a, b in pairs),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500, help="of short utterances")
    parser.add_argument("--long-rounds", type=int, default=40)
    parser.add_argument("--chunks", type=int, default=2_000, help="of a long utterance")
    options = parser.parse_args()
    short = asyncio.run(measure(n_chunks=1, n_rounds=options.rounds))
    long = asyncio.run(measure(n_chunks=options.chunks, n_rounds=options.long_rounds))
    print(
        f"Python {platform.python_version()}, {platform.machine()}; {options.rounds} short "
        f"utterances, {options.long_rounds} of {options.chunks} chunks of {len(CHUNK)} bytes\n"
    )
    print("| | first audio, us | us per chunk |")
    print("|---|---|---|")
    for name in short:
        first = statistics.median(one.first_audio_us for one in short[name])
        chunk = statistics.median(one.chunk_us for one in long[name])
        print(f"| {name} | {first:.0f} | {chunk:.2f} |")
    first, chunk = added(short).first_audio_us, added(long).chunk_us
    print(f"| **added by failover** | {first:.0f} | {chunk:.2f} |")
    print(f"| budget | {FIRST_AUDIO_BUDGET_US} | {CHUNK_BUDGET_US} |")


if __name__ == "__main__":
    main()
